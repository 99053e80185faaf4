//! Text to segments: what is said in one go, and where it stands in the original text.
//!
//! Pure, on the caller's thread, in time proportional to the text whatever it holds. A text is cleaned (clean.rs), cut
//! into sentences (sentence.rs), and sentences over the limit are cut further (clause.rs).

mod abbreviations;
mod clause;
mod clean;
mod cluster;
mod incremental;
#[cfg(test)]
mod incremental_tests;
mod language;
mod link;
mod place;
mod script;
mod sentence;
#[cfg(test)]
mod tests;

use std::ops::Range;

use self::{
    clause::{At, Cut, Cuts},
    clean::{Clean, clean},
    cluster::{Measure, measure},
    link::Links,
    place::Counter,
    sentence::for_each_sentence,
};

pub use self::{
    incremental::Incremental,
    language::{is_english, language, language_or_english, languages},
    place::Place,
    script::foreign_letter,
};

/// A sentence below this, in grapheme clusters, is said together with the next of its line: a call of the engine for
/// "Hi." costs as much as one for ten words and has no melody.
const SHORT_CHARS: usize = 16;
/// Short sentences are put together up to here.
const TOGETHER_CHARS: usize = 48;

/// Lengths in grapheme clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of the first segment, kept small so that sound starts early. A sentence without a clause to cut at may be up to
    /// half as long again, as a cut between words harms the melody more than the wait; `max_chars` holds in any case.
    pub first_chars: usize,
    /// Of every segment: the engine's limit.
    pub max_chars: usize,
}

/// What the engine that will say a text makes of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reader {
    /// ISO 15924 codes. A piece that mixes letters of these scripts with others is parted there, as the engine cannot say
    /// the rest. Empty: any.
    pub scripts: Vec<String>,
    /// Of a link its host alone is said: however long it is it stays in one piece, and counts as its host.
    pub links: bool,
}

/// A piece of text to be said in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// What to say: the original's text, trimmed, its hostile parts bounded.
    pub text: String,
    /// Where it stands in the original, in bytes, on character boundaries.
    pub span: Range<usize>,
    /// The same in code points, for what is told to users.
    pub place: Place,
    /// Grapheme clusters of `text`; of a link that is read, those of its host.
    pub chars: usize,
    /// Letters and digits of `text`, in grapheme clusters, counted so too: never zero.
    pub speakable: usize,
}

/// Cuts `text` into pieces in reading order. Empty if it holds nothing speakable.
///
/// A limit of zero counts as one. Punctuation and emoji without a letter beside them are left out where they do not fit
/// into the piece before or after them.
#[must_use]
pub fn segment(text: &str, limits: Limits) -> Vec<Piece> {
    segment_for(text, limits, &Reader::default())
}

/// As `segment`, for one engine.
#[must_use]
pub fn segment_for(text: &str, limits: Limits, reader: &Reader) -> Vec<Piece> {
    let clean = clean(text, reader.links);
    let max_chars = limits.max_chars.max(1);
    let limits = Limits { first_chars: limits.first_chars.clamp(1, max_chars), max_chars };
    let links = if reader.links { Links::find(&clean.text, limits.first_chars) } else { Links::default() };
    let original = Counter::new(text);
    let home = &reader.scripts;
    let mut assembly = Assembly { clean: &clean, links, original, limits, home, draft: None, pieces: Vec::new() };
    let mut line_start = 0;
    for line in clean.text.split('\n') {
        let mut from = 0;
        for_each_sentence(line, |_, end| {
            if assembly.links.torn_at(line_start + end).is_none() {
                assembly.add(line_start + from, line_start + end);
                from = end;
            }
        });
        assembly.finish();
        line_start += line.len() + 1;
    }
    assembly.pieces
}

/// All of `text` as one piece, just as it stands. Empty if it holds nothing speakable.
#[must_use]
pub fn whole(text: &str) -> Vec<Piece> {
    let Measure { chars, speakable } = measure(text);
    if speakable == 0 {
        return Vec::new();
    }
    let span = 0..text.len();
    let place = place::place(&mut Counter::new(text), &span, text, 0, &[]);
    vec![Piece { text: text.to_owned(), span, place, chars, speakable }]
}

/// Part of the cleaned text that will be one piece, or more if it is too long.
#[derive(Debug, Clone)]
struct Draft {
    start: usize,
    end: usize,
    measure: Measure,
}

struct Assembly<'c> {
    clean: &'c Clean<'c>,
    links: Links,
    original: Counter<'c>,
    limits: Limits,
    home: &'c [String],
    draft: Option<Draft>,
    pieces: Vec<Piece>,
}

impl Assembly<'_> {
    /// Takes the next sentence of the line: into the draft if one of the two is too little by itself.
    fn add(&mut self, start: usize, end: usize) {
        let Some(next) = self.draft_of(start, end) else { return };
        let limit = self.limit();
        if let Some(draft) = &mut self.draft {
            let measure = Measure {
                // Between two sentences is nothing or one space.
                chars: draft.measure.chars + (next.start - draft.end) + next.measure.chars,
                speakable: draft.measure.speakable + next.measure.speakable,
            };
            let silent = draft.measure.speakable == 0 || next.measure.speakable == 0;
            let short = draft.measure.chars < SHORT_CHARS && measure.chars <= TOGETHER_CHARS;
            if (silent || short) && measure.chars <= limit {
                *draft = Draft { start: draft.start, end: next.end, measure };
                return;
            }
        }
        if next.measure.speakable > 0 || self.draft.is_none() {
            self.finish();
            self.draft = Some(next);
        }
    }

    /// Makes pieces of the draft; nothing of it if it is silent.
    fn finish(&mut self) {
        let Some(mut rest) = self.draft.take() else { return };
        while rest.measure.speakable > 0 {
            let text = &self.clean.text[rest.start..rest.end];
            let Some(cut) = self.cut(rest.start, text, rest.measure.chars) else {
                self.push(&rest);
                return;
            };
            let (head, tail) = (text[..cut.at].trim_end(), text[cut.at..].trim_start());
            let (start, end) = (rest.start, rest.start + head.len());
            let head = Draft { start, end, measure: self.measure(start, end) };
            // Between the two are spaces, each a cluster.
            rest.measure.chars -= cut.chars + (text.len() - cut.at - tail.len());
            rest.measure.speakable -= head.measure.speakable;
            rest.start = rest.end - tail.len();
            self.push(&head);
        }
    }

    /// Where `text`, which begins at `start`, is cut, if it is too long for the next piece.
    fn cut(&self, start: usize, text: &str, chars: usize) -> Option<Cut> {
        let limit = self.limit();
        if chars <= limit {
            return None;
        }
        let cuts = Cuts::find(text, chars, limit, At { links: &self.links, start });
        if self.pieces.is_empty() && chars <= (limit + limit / 2).min(self.limits.max_chars) {
            return cuts.clause();
        }
        Some(cuts.best())
    }

    fn limit(&self) -> usize {
        if self.pieces.is_empty() { self.limits.first_chars } else { self.limits.max_chars }
    }

    /// The measured part without the spaces around it; none if nothing else is there.
    fn draft_of(&self, start: usize, end: usize) -> Option<Draft> {
        let text = &self.clean.text[start..end];
        let end = start + text.trim_end().len();
        let start = end.saturating_sub(text.trim().len());
        (start < end).then(|| Draft { start, end, measure: self.measure(start, end) })
    }

    fn measure(&self, start: usize, end: usize) -> Measure {
        self.links.said(&(start..end), measure(&self.clean.text[start..end]))
    }

    fn push(&mut self, draft: &Draft) {
        let text = &self.clean.text[draft.start..draft.end];
        if script::foreign_letter(text, self.home).is_none() {
            return self.push_whole(draft);
        }
        let mut from = draft.start;
        for run in script::runs(text, self.home) {
            let to = draft.start + run.end;
            if self.links.torn_at(to).is_none() {
                let part = self.draft_of(from, to);
                from = to;
                part.iter().for_each(|part| self.push_whole(part));
            }
        }
    }

    fn push_whole(&mut self, draft: &Draft) {
        if draft.measure.speakable == 0 {
            return;
        }
        let text = &self.clean.text[draft.start..draft.end];
        let span = self.clean.original_start(draft.start)..self.clean.original_end(draft.end);
        let edits = self.clean.edits_within(draft.start, draft.end);
        let place = place::place(&mut self.original, &span, text, draft.start, edits);
        self.pieces.push(Piece {
            text: text.to_owned(),
            span,
            place,
            chars: draft.measure.chars,
            speakable: draft.measure.speakable,
        });
    }
}
