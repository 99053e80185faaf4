//! Where a piece stands in the original text, in code points: what users count in, whatever they program in. Pure.

use std::ops::Range;

use super::clean::Edit;

/// Of one piece. Cleaning may have dropped or folded characters inside it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    start: usize,
    end: usize,
    /// By offset in the piece, ascending. Empty for most pieces.
    edits: Vec<Edit>,
}

impl Place {
    /// The whole piece.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.start..self.end
    }

    /// Where this part of the piece stands in the original. Never outside of the piece's own span.
    #[must_use]
    pub fn original(&self, part: Range<usize>) -> Range<usize> {
        let start = self.resume(self.edits.partition_point(|edit| edit.at <= part.start), part.start);
        let known = self.edits.partition_point(|edit| edit.at < part.end);
        let end = self.resume(known, part.end);
        let kept_to =
            self.edits.get(known).filter(|edit| edit.at == part.end).map_or(end, |edit| edit.kept_to.max(end));
        let start = start.clamp(self.start, self.end);
        start..kept_to.clamp(start, self.end)
    }

    /// The text turned out to begin `chars` code points earlier.
    pub(super) fn shift(&mut self, chars: usize) {
        self.start += chars;
        self.end += chars;
        for edit in &mut self.edits {
            edit.kept_to += chars;
            edit.resume += chars;
        }
    }

    fn resume(&self, known: usize, at: usize) -> usize {
        self.edits[..known]
            .last()
            .map_or(self.start.saturating_add(at), |edit| edit.resume.saturating_add(at - edit.at))
    }
}

/// Counts code points up to byte offsets that only go forward: linear over all pieces of a text.
pub(super) struct Counter<'t> {
    text: &'t str,
    byte: usize,
    chars: usize,
}

impl<'t> Counter<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, byte: 0, chars: 0 }
    }

    pub(super) fn at(&mut self, byte: usize) -> usize {
        let (from, to) = (self.byte.min(byte), self.byte.max(byte));
        let between = self.text[from..to].chars().count();
        self.chars = if byte >= self.byte { self.chars + between } else { self.chars - between };
        self.byte = byte;
        self.chars
    }
}

/// The place of a piece whose text is `text` and begins at `offset` of the cleaned text. `edits`: those within it.
pub(super) fn place(
    original: &mut Counter<'_>,
    span: &Range<usize>,
    text: &str,
    offset: usize,
    edits: &[Edit],
) -> Place {
    let start = original.at(span.start);
    let mut piece = Counter::new(text);
    let edits = edits
        .iter()
        .map(|edit| Edit {
            at: piece.at(edit.at - offset),
            kept_to: original.at(edit.kept_to),
            resume: original.at(edit.resume),
        })
        .collect();
    Place { start, end: original.at(span.end), edits }
}

#[cfg(test)]
mod tests {
    use crate::text::{Limits, segment};

    fn places(text: &str, words: &[&str]) {
        let chars: Vec<char> = text.chars().collect();
        let pieces = segment(text, Limits { first_chars: 40, max_chars: 40 });
        assert!(!pieces.is_empty());
        let mut found = 0;
        for piece in &pieces {
            let said: Vec<char> = piece.text.chars().collect();
            assert_eq!(
                text[piece.span.clone()].chars().collect::<String>(),
                chars[piece.place.span()].iter().collect::<String>()
            );
            for word in words {
                let word: Vec<char> = word.chars().collect();
                for at in 0..=said.len().saturating_sub(word.len()) {
                    if said[at..at + word.len()] == word {
                        let original: String = chars[piece.place.original(at..at + word.len())].iter().collect();
                        let kept: String = original.chars().filter(|c| !c.is_control() && *c != '\u{200b}').collect();
                        assert_eq!(kept, word.iter().collect::<String>(), "{text:?}");
                        found += 1;
                    }
                }
            }
        }
        assert_eq!(found, words.len(), "{text:?}");
    }

    #[test]
    fn a_word_is_found_where_it_stands() {
        places("Plain words, nothing to clean.", &["words", "nothing", "clean"]);
        places("Übung macht — den Meister. Наконец готово!", &["macht", "Meister", "готово"]);
        places(
            "  \u{200b}One\u{200b}  two \0 thr\0ee.\n\n  Four   \u{7}five, and  six.",
            &["One", "two", "three", "Four", "five", "six"],
        );
        places("第一句话在这里。\u{200b}  第二句在那里。", &["这里", "第二"]);
    }

    #[test]
    fn what_is_out_of_range_stays_within_the_piece() {
        let pieces = segment("One two. Three four five six.", Limits { first_chars: 10, max_chars: 40 });
        let place = &pieces[1].place;
        assert_eq!(place.original(0..1000), place.span());
        assert_eq!(place.original(1000..2000), place.span().end..place.span().end);
        assert_eq!(place.original(usize::MAX..usize::MAX), place.span().end..place.span().end);
        let cleaned = &segment("One \u{200b} two.", Limits { first_chars: 40, max_chars: 40 })[0].place;
        assert_eq!(cleaned.original(usize::MAX..usize::MAX), cleaned.span().end..cleaned.span().end);
    }
}
