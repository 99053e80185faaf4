//! The text as it is cut and said: whitespace folded, invisible and hostile parts bounded, offsets kept. Pure, on the
//! caller's thread.
//!
//! A line break that ends a sentence stays as `\n`; every other run of whitespace becomes one space. Control and format
//! characters go, except the joiners that scripts and emoji need. Marks beyond `MAX_MARKS` on one base go: what draws
//! them stacks them, what speaks them takes time that is quadratic in their number. A run of letters and digits beyond
//! `MAX_RUN` gets a space, as engines say only the beginning of an unbroken word; scripts written without spaces are
//! left as they are, and so are links where the engine reads them.

use std::borrow::Cow;

use icu_properties::{
    CodePointSetData,
    props::{ExtendedPictographic, GeneralCategory as Category},
};

use super::{
    cluster::{MAX_CLUSTER_CODE_POINTS, general_category, is_boundary},
    link::Links,
};

/// Of a base character. Vietnamese needs two, pointed Hebrew and Arabic three, with cantillation four.
pub(super) const MAX_MARKS: usize = 4;
/// Letters and digits without a break. The longest words that are written (German, Turkish, chemistry aside) are shorter.
pub(super) const MAX_RUN: usize = 72;
/// In bytes. Text that was wrapped at a width has lines longer than this; chat and lists seldom do.
const WRAPPED_LINE: usize = 40;

/// Where the cleaned text parts from the original: what follows `at` comes from `resume`, what precedes it ended at
/// `kept_to`, with the marks that were dropped from its last character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edit {
    pub at: usize,
    pub kept_to: usize,
    pub resume: usize,
}

#[derive(Debug)]
pub(super) struct Clean<'t> {
    pub text: Cow<'t, str>,
    edits: Vec<Edit>,
}

impl Clean<'_> {
    /// The original offset of the character at `at`.
    pub fn original_start(&self, at: usize) -> usize {
        let known = self.edits.partition_point(|edit| edit.at <= at);
        self.edits[..known].last().map_or(at, |edit| edit.resume + (at - edit.at))
    }

    /// The original offset of the end of what precedes `at`.
    pub fn original_end(&self, at: usize) -> usize {
        let known = self.edits.partition_point(|edit| edit.at < at);
        let end = self.edits[..known].last().map_or(at, |edit| edit.resume + (at - edit.at));
        self.edits.get(known).filter(|edit| edit.at == at).map_or(end, |edit| edit.kept_to.max(end))
    }

    /// Those from `start` to `end`, both included.
    pub fn edits_within(&self, start: usize, end: usize) -> &[Edit] {
        let from = self.edits.partition_point(|edit| edit.at < start);
        let to = self.edits.partition_point(|edit| edit.at <= end);
        &self.edits[from..to.max(from)]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A letter or digit of a script with spaces between words.
    Letter,
    Other,
    Space,
    Newline,
    Mark,
    Joiner,
    /// Invisible, part of the character before it.
    Glue,
    Drop,
}

pub(super) fn kind(c: char) -> Kind {
    match c {
        ' ' | '\t' => Kind::Space,
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => Kind::Newline,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => Kind::Drop,
        '!'..='~' if c.is_ascii_alphanumeric() => Kind::Letter,
        '!'..='~' | '\u{4e00}'..='\u{9fff}' | '\u{3041}'..='\u{3096}' => Kind::Other,
        '\u{430}'..='\u{44f}' | '\u{ac00}'..='\u{d7a3}' => Kind::Letter,
        // The last two are Hangul fillers: letters by category, blanks in use.
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => Kind::Space,
        '\u{3164}' | '\u{ffa0}' => Kind::Space,
        '\u{200c}' | '\u{200d}' => Kind::Joiner,
        '\u{e0020}'..='\u{e007f}' => Kind::Glue,
        // Skin tones, Thai and Lao am, halfwidth voicing: no marks by category, but they sit on what is before them.
        '\u{1f3fb}'..='\u{1f3ff}' | '\u{e33}' | '\u{eb3}' | '\u{ff9e}' | '\u{ff9f}' => Kind::Mark,
        // Signs that stand before the number they belong to: of category Format, but visible.
        '\u{600}'..='\u{605}'
        | '\u{6dd}'
        | '\u{70f}'
        | '\u{890}'
        | '\u{891}'
        | '\u{8e2}'
        | '\u{110bd}'
        | '\u{110cd}' => Kind::Other,
        _ => match general_category(c) {
            Category::NonspacingMark | Category::EnclosingMark | Category::SpacingMark => Kind::Mark,
            Category::Format | Category::Control | Category::Unassigned => Kind::Drop,
            Category::UppercaseLetter | Category::LowercaseLetter | Category::TitlecaseLetter => Kind::Letter,
            Category::OtherLetter | Category::ModifierLetter | Category::DecimalNumber if !is_unspaced(c) => {
                Kind::Letter
            }
            _ => Kind::Other,
        },
    }
}

/// Scripts that put no spaces between words: South-East Asian, Tibetan, Chinese, Japanese, Yi.
pub(super) fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{1900}'..='\u{1aaf}' | '\u{1b00}'..='\u{1b7f}'
        | '\u{2e80}'..='\u{a4cf}' | '\u{a980}'..='\u{aadf}' | '\u{f900}'..='\u{faff}' | '\u{ff65}'..='\u{ff9f}'
        | '\u{16fe0}'..='\u{18dff}' | '\u{1aff0}'..='\u{1b2ff}' | '\u{20000}'..='\u{3ffff}')
}

/// Whether a zero-width joiner or non-joiner means something after `before`: it shapes Arabic, Indic and Mongolian
/// letters and builds emoji.
fn joins(before: char, joiner: char) -> bool {
    match before {
        '\u{600}'..='\u{109f}' | '\u{1780}'..='\u{18af}' | '\u{1cd0}'..='\u{1cff}' | '\u{a8e0}'..='\u{a8ff}' => true,
        '\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}' => joiner == '\u{200d}',
        _ => {
            joiner == '\u{200d}'
                && !before.is_ascii()
                && CodePointSetData::new::<ExtendedPictographic>().contains(before)
        }
    }
}

struct Cleaner<'t> {
    text: &'t str,
    /// Long words of links stay whole.
    keeps_links: bool,
    out: String,
    /// What is kept but not yet copied starts here.
    from: usize,
    edits: Vec<Edit>,
    /// Since the last base; full where there is none to sit on.
    marks: usize,
    /// Letters and digits since the last break.
    run: usize,
    /// Of the line being read, and of the first of the lines that were joined to it.
    line_start: usize,
    chain_start: usize,
}

/// Cleans the whole of `text`; borrows it if there is nothing to do.
pub(super) fn clean(text: &str, keeps_links: bool) -> Clean<'_> {
    let mut cleaner = Cleaner {
        text,
        keeps_links,
        out: String::new(),
        from: 0,
        edits: Vec::new(),
        marks: MAX_MARKS,
        run: 0,
        line_start: 0,
        chain_start: 0,
    };
    cleaner.read();
    let Cleaner { mut out, from, edits, .. } = cleaner;
    if from == 0 {
        return Clean { text: Cow::Borrowed(text), edits };
    }
    out.push_str(&text[from..]);
    Clean { text: Cow::Owned(out), edits }
}

impl Cleaner<'_> {
    fn read(&mut self) {
        let bytes = self.text.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if byte.is_ascii_graphic() {
                let length = bytes[at..].iter().position(|byte| !byte.is_ascii_graphic());
                let end = length.map_or(bytes.len(), |length| at + length);
                self.ascii(at, end);
                at = end;
            } else if byte == b' ' && bytes.get(at + 1).is_some_and(u8::is_ascii_graphic) {
                self.run = 0;
                at += 1;
            } else {
                at = self.other(at);
            }
        }
    }

    /// Printable ASCII without a space.
    fn ascii(&mut self, start: usize, end: usize) {
        self.marks = 0;
        let token = &self.text.as_bytes()[start..end];
        if self.run + token.len() > MAX_RUN {
            let links = if self.keeps_links { Links::find(&self.text[start..end], 1) } else { Links::default() };
            for (offset, byte) in token.iter().enumerate() {
                if !byte.is_ascii_alphanumeric() || links.torn_at(offset).is_some() {
                    self.run = 0;
                    continue;
                }
                if self.run >= MAX_RUN {
                    self.replace(start + offset, start + offset, " ", false);
                    self.run = 0;
                }
                self.run += 1;
            }
        } else if self.text.as_bytes().get(end).is_some_and(|byte| !byte.is_ascii()) {
            let tail = token.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric()).count();
            self.run = if tail == token.len() { self.run + tail } else { tail };
        }
    }

    /// One character, or one run of whitespace; its end.
    fn other(&mut self, at: usize) -> usize {
        let Some(c) = self.text[at..].chars().next() else { return self.text.len() };
        let end = at + c.len_utf8();
        match kind(c) {
            Kind::Space | Kind::Newline => return self.whitespace(at),
            Kind::Letter => {
                if self.run >= MAX_RUN
                    && (is_boundary(self.text, self.from, at) || self.run >= MAX_RUN + MAX_CLUSTER_CODE_POINTS)
                {
                    self.replace(at, at, " ", false);
                    self.run = 0;
                }
                self.run += 1;
                self.marks = 0;
            }
            Kind::Other => {
                self.run = 0;
                self.marks = 0;
            }
            Kind::Mark if self.marks < MAX_MARKS => self.marks += 1,
            Kind::Joiner if self.marks < MAX_MARKS && self.last_kept(at).is_some_and(|before| joins(before, c)) => {
                self.marks += 1;
            }
            Kind::Mark | Kind::Joiner | Kind::Glue => self.replace(at, end, "", true),
            Kind::Drop => self.replace(at, end, "", false),
        }
        end
    }

    /// A run of whitespace and of what is invisible or has no base within it; its end.
    fn whitespace(&mut self, start: usize) -> usize {
        let mut newlines = 0;
        let mut before = '\0';
        let mut end = self.text.len();
        for (offset, c) in self.text[start..].char_indices() {
            match kind(c) {
                Kind::Newline => newlines += usize::from(!(before == '\r' && c == '\n')),
                Kind::Letter | Kind::Other => {
                    end = start + offset;
                    break;
                }
                _ => {}
            }
            before = c;
        }
        let opens = self.out.is_empty() && self.from == start;
        let wrapped = newlines == 1 && self.is_wrapped(start, end);
        let replacement = match newlines {
            _ if opens || end == self.text.len() => "",
            0 => " ",
            1 if wrapped => " ",
            _ => "\n",
        };
        if &self.text[start..end] != replacement {
            self.replace(start, end, replacement, false);
        }
        if newlines > 0 {
            self.line_start = end;
            if !wrapped {
                self.chain_start = end;
            }
        }
        self.marks = MAX_MARKS;
        self.run = 0;
        end
    }

    /// Whether the line that ends at `end` goes on at `next`: that starts in lower case, this does not look finished, and
    /// is either long or the beginning of a sentence. Short lines in lower case are chat or a list.
    fn is_wrapped(&self, end: usize, next: usize) -> bool {
        let unfinished =
            |c: char| c.is_alphanumeric() || matches!(c, ',' | '-' | '–' | '—' | '\'' | '’' | '"' | '”' | '»' | ')');
        self.text[next..].chars().next().is_some_and(char::is_lowercase)
            && self.text[..end].chars().next_back().is_some_and(unfinished)
            && (end - self.line_start >= WRAPPED_LINE
                || self.text[self.chain_start..end]
                    .chars()
                    .take(8)
                    .find(|c| c.is_alphabetic())
                    .is_some_and(char::is_uppercase))
    }

    fn last_kept(&self, at: usize) -> Option<char> {
        self.text[self.from..at].chars().next_back().or_else(|| self.out.chars().next_back())
    }

    /// Puts `replacement` for `start..end`; `glue`: what went belonged to the character before it.
    fn replace(&mut self, start: usize, end: usize, replacement: &str, glue: bool) {
        self.out.push_str(&self.text[self.from..start]);
        let adjacent = self.from == start && replacement.is_empty();
        self.from = end;
        if let Some(last) = self.edits.last_mut().filter(|last| adjacent && last.at == self.out.len()) {
            if glue && last.kept_to == start {
                last.kept_to = end;
            }
            last.resume = end;
            return;
        }
        self.out.push_str(replacement);
        if replacement.len() != end - start {
            let kept_to = if glue { end } else { start };
            self.edits.push(Edit { at: self.out.len(), kept_to, resume: end });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_text_is_borrowed() {
        for text in ["", "Plain text, as it comes.", "Two lines.\nAnd more.", "Übung, 你好。", "नमस्ते"]
        {
            assert!(matches!(clean(text, true).text, Cow::Borrowed(kept) if kept == text), "{text}");
        }
    }

    #[test]
    fn what_is_invisible_goes() {
        let table = [
            ("  a  b\t c ", "a b c"),
            ("he\0llo\u{7} \u{200b} you\u{feff}", "hello you"),
            ("\u{202e}abc\u{202c} d\u{ad}ef", "abc def"),
            ("a\u{a0}b\u{3000}c", "a b c"),
            ("a\u{200c}b\u{200d}c", "abc"),
            ("می\u{200c}خواهم", "می\u{200c}خواهم"),
            ("क्\u{200d}ष", "क्\u{200d}ष"),
            ("👩\u{200d}👧 ok", "👩\u{200d}👧 ok"),
            ("👩\u{200d}\u{200d}👧", "👩\u{200d}👧"),
            ("\u{301}\u{301}a \u{301} b", "a b"),
            ("\u{3164}\u{3164}hi\u{3164}", "hi"),
            ("\u{0} \u{200b}", ""),
        ];
        for (text, expected) in table {
            assert_eq!(clean(text, true).text, expected, "{text:?}");
        }
    }

    #[test]
    fn lines_end_sentences_but_where_prose_is_wrapped() {
        let table = [
            ("Hi all\r\nWhat is up", "Hi all\nWhat is up"),
            ("This is a\nwrapped line", "This is a wrapped line"),
            ("The cat sat\non the mat\nand slept.", "The cat sat on the mat and slept."),
            (
                "the quick brown fox jumps over the lazy dog,\nand sleeps",
                "the quick brown fox jumps over the lazy dog, and sleeps",
            ),
            ("lol\nbrb\nok", "lol\nbrb\nok"),
            ("Buy:\nmilk\neggs", "Buy:\nmilk\neggs"),
            ("Done.\nnext", "Done.\nnext"),
            ("A title\n\nthen text", "A title\nthen text"),
            ("a \n\n\n B\u{2029}C", "a\nB\nC"),
        ];
        for (text, expected) in table {
            assert_eq!(clean(text, true).text, expected, "{text:?}");
        }
    }

    #[test]
    fn marks_and_runs_are_bounded() {
        let marks = format!("a{}b", "\u{301}".repeat(100_000));
        assert_eq!(clean(&marks, true).text, format!("a{}b", "\u{301}".repeat(MAX_MARKS)));
        for letter in ["a", "я", "7"] {
            let text = letter.repeat(2 * MAX_RUN + 1);
            let run = letter.repeat(MAX_RUN);
            assert_eq!(clean(&text, true).text, format!("{run} {run} {letter}"));
        }
        let han = "好".repeat(500);
        assert_eq!(clean(&han, true).text, han);
        // A conjunct is not torn: the break waits for its end.
        let conjuncts = format!("{}क्षक", "क".repeat(MAX_RUN - 1));
        assert_eq!(clean(&conjuncts, true).text, format!("{}क्ष क", "क".repeat(MAX_RUN - 1)));
    }

    #[test]
    fn offsets_lead_back_to_the_original() {
        let text = "\u{feff} é\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}  b\0c\u{200b} d";
        let clean = clean(text, true);
        for (at, c) in clean.text.char_indices().filter(|(_, c)| c.is_alphabetic()) {
            let start = clean.original_start(at);
            assert!(text[start..].starts_with(c), "{c} at {at}");
        }
        let accented = clean.text.find(' ').unwrap();
        assert_eq!(clean.original_end(accented), text.find("  b").unwrap(), "dropped marks stay with their base");
        assert_eq!(clean.original_end(clean.text.len()), text.len());
    }
}
