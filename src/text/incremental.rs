//! Segmentation of a text that comes in pieces, as a language model writes it. Pure, on the caller's thread.
//!
//! The text is read one character at a time, and whether something is released is decided from what was read so far
//! alone: so any way to cut the text into pieces gives the same segments, unless a flush intervenes. What is released
//! ends at the first clause, then at sentences, and is cut by `segment` as a text of its own.
//!
//! A mark ends nothing until what follows it is known: `3.` may be a decimal, `example.` an address, `Dr.` a name. In a
//! link nothing ends; what stands before a long one is not held until that has come.
//! Every character is read once, or twice if it was needed to decide about what stands before it.

use super::{
    Limits, Piece, Reader, SHORT_CHARS,
    abbreviations::{Stop, stop_after},
    clause::{MARKS, SIDE, ends_clause},
    clean::{Kind, is_unspaced, kind},
    cluster::{is_speakable, measure},
    link::{MAX_LINK, goes_on, opening},
    segment_for,
    sentence::{ends_sentence, is_closer, is_opener, is_terminal, last_word},
};

/// Bytes after a full stop that are waited for, to see what word follows.
const REACH: usize = 48;
/// Bytes of a link after which what stands before it may be said: about a second of a language model's writing.
const LONG_LINK: usize = 80;

/// See the module's header.
#[derive(Debug)]
pub struct Incremental {
    limits: Limits,
    reader: Reader,
    /// What is not released, as it came.
    pending: String,
    /// Where `pending` begins in the whole text, in bytes and in code points.
    base_bytes: usize,
    base_chars: usize,
    /// The same of a place in `pending` up to which code points were counted.
    counted_bytes: usize,
    counted_chars: usize,
    /// Nothing was released yet.
    opening: bool,
    scan: Scan,
}

/// How far `pending` was read, and what was found.
#[derive(Debug, Default)]
struct Scan {
    /// What is released next begins here: everything before it is released, or is space.
    begin: usize,
    at: usize,
    size: Size,
    /// Released before at most so much; then `segment` is asked where to cut. Zero: the limit that holds now.
    patience: usize,
    /// Of the visible characters, the last that is no closing mark.
    tail: Tail,
    /// White space since the last visible character.
    gap: Gap,
    wait: Option<Wait>,
    link: Option<Open>,
    /// The last end of a clause or sentence at which nothing was released, as more was wanted.
    breath: Option<usize>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Tail {
    #[default]
    Word,
    FullStop,
    Terminal,
    /// The end of a clause, also where no space follows.
    Clause,
}

#[derive(Debug, Clone, Copy, Default)]
struct Gap {
    from: Option<usize>,
    newlines: usize,
    after_return: bool,
}

/// About how much was read: ideographs and their like say twice as much.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    chars: usize,
    weight: usize,
    speakable: usize,
}

/// A full stop that is decided when what follows is known.
#[derive(Debug, Clone, Copy)]
struct Wait {
    /// Where the next sentence would begin.
    cut: usize,
    before: Size,
    /// What ends a clause, if it turns out not to end a sentence.
    clause: bool,
    /// The whole next word tells, not its first letter.
    word: bool,
}

/// A link that is being read, or was and is followed by space alone.
#[derive(Debug, Clone, Copy)]
struct Open {
    start: usize,
    /// What follows of it is not said.
    past_host: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Boundary {
    Clause,
    Sentence,
    Line,
}

impl Incremental {
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self::for_reader(limits, Reader::default())
    }

    /// As `new`, for one engine.
    #[must_use]
    pub fn for_reader(limits: Limits, reader: Reader) -> Self {
        Self {
            limits,
            reader,
            pending: String::new(),
            base_bytes: 0,
            base_chars: 0,
            counted_bytes: 0,
            counted_chars: 0,
            opening: true,
            scan: Scan::default(),
        }
    }

    /// The text goes on; gives what can be said now. Spans are those of the whole text.
    pub fn push(&mut self, text: &str) -> Vec<Piece> {
        self.pending.push_str(text);
        let mut pieces = Vec::new();
        while let Some(c) = self.pending[self.scan.at..].chars().next() {
            if let Some(cut) = self.step(c) {
                self.release(cut, &mut pieces);
            }
        }
        self.trim();
        pieces
    }

    /// What can be said of the rest without tearing a clause; nothing if there is no whole one. `stalled`: no text has
    /// come for a while, so that a mark at its very end most likely ends a clause.
    pub fn hurry(&mut self, stalled: bool) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let cut = if stalled && self.ends_here() { Some(self.pending.len()) } else { self.scan.breath };
        if let Some(cut) = cut {
            self.release(cut, &mut pieces);
            pieces.append(&mut self.push(""));
        }
        pieces
    }

    /// Whether `hurry` would give something.
    #[must_use]
    pub fn can_hurry(&self, stalled: bool) -> bool {
        self.scan.breath.is_some() || (stalled && self.ends_here())
    }

    /// The rest, however it ends.
    pub fn flush(&mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        self.release(self.pending.len(), &mut pieces);
        self.trim();
        pieces
    }

    /// Reads one character; where to cut, if something before it, or with it, is released.
    fn step(&mut self, c: char) -> Option<usize> {
        let at = self.scan.at;
        self.scan.at += c.len_utf8();
        match kind(c) {
            Kind::Space | Kind::Newline => {
                self.scan.gap.read(c, at);
                if self.scan.size.chars == 0 {
                    self.scan.begin = self.scan.at;
                }
                return self.decided(c, at);
            }
            Kind::Mark | Kind::Joiner | Kind::Glue | Kind::Drop => return None,
            Kind::Letter | Kind::Other => {}
        }
        if let Some(cut) = self.decided(c, at) {
            return Some(cut);
        }
        if let Some(open) = &mut self.scan.link {
            if self.scan.gap.from.is_none() && u8::try_from(c).is_ok_and(goes_on) && at - open.start < MAX_LINK {
                let start = open.start;
                open.past_host |= matches!(c, '/' | '?' | '#');
                if open.past_host {
                    self.scan.tail = self.scan.tail.after(c, false);
                } else {
                    self.scan.visible(c);
                }
                return self.before_link(start);
            }
            self.scan.link = None;
        }
        if self.scan.size.chars > 0
            && let Some(cut) = self.before(c, at)
        {
            return Some(cut);
        }
        self.scan.visible(c);
        if self.reader.links && matches!(c, '/' | '.') {
            let begin = self.scan.begin;
            let read = &self.pending.as_bytes()[begin..self.scan.at];
            let told_by_ending = c == '/' && !read.ends_with(b"//");
            let open = |start| Open { start: begin + start, past_host: told_by_ending };
            self.scan.link = opening(read, at - begin).map(open);
        }
        self.too_long()
    }

    /// What stands before a link that has turned out long: released where nothing is heard yet.
    fn before_link(&mut self, start: usize) -> Option<usize> {
        if self.scan.at - start != LONG_LINK {
            return None;
        }
        let begin = self.scan.begin;
        let before = self.pending[begin..start].trim_end_matches(is_opener);
        let size = measure(before.trim());
        if size.speakable == 0 || size.chars < SIDE {
            return None;
        }
        let cut = begin + before.len();
        self.scan.breath = Some(cut);
        self.opening.then_some(cut)
    }

    /// Whether something ends before the visible character at `at`.
    fn before(&mut self, c: char, at: usize) -> Option<usize> {
        let Scan { begin, tail, gap, size, .. } = self.scan;
        if gap.newlines > 1 || (gap.newlines == 1 && !c.is_lowercase()) {
            return self.boundary(Boundary::Line, at, size);
        }
        let line = &self.pending[begin..self.scan.at];
        let (end, next) = (gap.from.unwrap_or(at) - begin, at - begin);
        let spaced = gap.from.is_some();
        let clause = match tail {
            // One letter of the next word does not tell whether it opens sentences.
            Tail::FullStop if Self::stop_before(line, end) == Stop::MayEnd => false,
            _ if spaced => ends_clause(&line[..end], &line[next..], line, next),
            _ => tail == Tail::Clause && is_speakable(c),
        };
        // What goes on with a sentence, by the Unicode rules.
        let goes_on = is_terminal(c) || MARKS.contains(&c) || matches!(c, ',' | ';' | ':' | '-' | '–');
        match tail {
            _ if goes_on || (!spaced && is_closer(c)) => {}
            Tail::Terminal if ends_sentence(line, 0, next) => {
                return self.boundary(Boundary::Sentence, at, size);
            }
            Tail::FullStop if (spaced || !c.is_ascii()) && !c.is_lowercase() => {
                let word = Self::stop_before(line, end) == Stop::MayEnd;
                let wait = Wait { cut: at, before: size, clause, word };
                if word || !c.is_alphabetic() {
                    self.scan.wait = Some(wait);
                    return None;
                }
                return self.judge(wait);
            }
            _ => {}
        }
        if clause { self.boundary(Boundary::Clause, at, size) } else { None }
    }

    /// What the full stop before `end` says; of a number it depends on the next word.
    fn stop_before(line: &str, end: usize) -> Stop {
        let word = last_word(line[..end].trim_end_matches(is_closer).trim_end_matches('.'));
        if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) { Stop::MayEnd } else { stop_after(word) }
    }

    /// A full stop that waited for what follows, if that is known with `c`.
    fn decided(&mut self, c: char, at: usize) -> Option<usize> {
        let wait = self.scan.wait?;
        let far = at - wait.cut >= REACH;
        let known = if wait.word {
            !c.is_alphanumeric() && self.pending[wait.cut..at].contains(char::is_alphanumeric)
        } else {
            c.is_alphabetic()
        };
        if !known && !far {
            return None;
        }
        self.scan.wait = None;
        self.judge(wait)
    }

    fn judge(&mut self, wait: Wait) -> Option<usize> {
        let Scan { begin, at, .. } = self.scan;
        let first = self.pending[wait.cut..at].chars().find(|c| c.is_alphabetic());
        let goes_on = first.is_some_and(char::is_lowercase);
        if !goes_on && ends_sentence(&self.pending[begin..at], 0, wait.cut - begin) {
            return self.boundary(Boundary::Sentence, wait.cut, wait.before);
        }
        if wait.clause { self.boundary(Boundary::Clause, wait.cut, wait.before) } else { None }
    }

    /// Releases what is enough by itself, and remembers the place if it is not.
    fn boundary(&mut self, boundary: Boundary, cut: usize, size: Size) -> Option<usize> {
        let enough = match boundary {
            _ if size.speakable == 0 => false,
            Boundary::Line => true,
            Boundary::Sentence => size.weight >= if self.opening { SIDE } else { SHORT_CHARS },
            Boundary::Clause => self.opening && size.weight >= SIDE,
        };
        if !enough && size.speakable > 0 && size.weight >= SIDE {
            self.scan.breath = Some(cut);
        }
        enough.then_some(cut)
    }

    /// Without an end in sight: where `segment` would cut, all but the last piece.
    fn too_long(&mut self) -> Option<usize> {
        let limit = if self.opening { self.limits.first_chars + self.limits.first_chars / 2 } else { 0 };
        // Both sides of a cut should have a few words.
        let limit = if self.opening { limit } else { self.limits.max_chars + 2 * SIDE };
        if self.scan.size.chars <= limit.max(1).max(self.scan.patience) {
            return None;
        }
        // No further look before it is half as long again: the work stays in proportion to the text.
        self.scan.patience = self.scan.size.chars + self.scan.size.chars / 2;
        let read = &self.pending[self.scan.begin..self.scan.at];
        // Parted by script they would only be more.
        let reader = Reader { scripts: Vec::new(), ..self.reader };
        let pieces = segment_for(read, self.limits_now(), &reader);
        let last = pieces.last().filter(|_| pieces.len() > 1)?;
        Some(self.scan.begin + last.span.start)
    }

    /// Whether what was read ends with a whole clause, as far as its mark tells.
    fn ends_here(&self) -> bool {
        let Scan { begin, size, tail, gap, link, .. } = self.scan;
        let within_link = link.is_some() && gap.from.is_none();
        if size.speakable == 0 || size.weight < SIDE || within_link {
            return false;
        }
        let text = self.pending[begin..].trim_end_matches(|c| kind(c) == Kind::Space || is_closer(c));
        match tail {
            // "1," may be the beginning of a number.
            Tail::Word => gap.from.is_some() && text.ends_with([',', ';', ':']),
            Tail::Clause => true,
            Tail::Terminal => {
                // A mark that no address has ends it; behind others it may go on.
                text.ends_with(|mark: char| !mark.is_ascii())
                    || !text.rsplit(char::is_whitespace).next().is_some_and(|token| token.contains(['/', '@', '=']))
            }
            Tail::FullStop => {
                let word = last_word(text.trim_end_matches('.'));
                let plain = word.chars().all(char::is_alphabetic) && word.chars().nth(1).is_some();
                plain && matches!(stop_after(word), Stop::End)
            }
        }
    }

    fn limits_now(&self) -> Limits {
        let first_chars = if self.opening { self.limits.first_chars } else { self.limits.max_chars };
        Limits { first_chars, ..self.limits }
    }

    /// Makes pieces of everything up to `cut`; what follows is read again.
    fn release(&mut self, cut: usize, pieces: &mut Vec<Piece>) {
        let from = self.scan.begin.min(cut);
        self.count(from);
        let (bytes, chars) = (self.base_bytes + from, self.base_chars + self.counted_chars);
        for mut piece in segment_for(self.pending[from..cut].trim_end(), self.limits_now(), &self.reader) {
            piece.span = bytes + piece.span.start..bytes + piece.span.end;
            piece.place.shift(chars);
            pieces.push(piece);
        }
        self.scan = Scan { begin: cut, at: cut, ..Scan::default() };
        self.opening &= pieces.is_empty();
    }

    /// Forgets what was released.
    fn trim(&mut self) {
        let Scan { begin, at, ref mut wait, ref mut breath, ref mut gap, ref mut link, .. } = self.scan;
        if begin == 0 {
            return;
        }
        // Nothing is remembered of what lies before `begin`.
        *breath = breath.map(|cut| cut - begin);
        *link = link.map(|open| Open { start: open.start - begin, ..open });
        gap.from = gap.from.map(|from| from.saturating_sub(begin));
        if let Some(wait) = wait {
            wait.cut -= begin;
        }
        (self.scan.begin, self.scan.at) = (0, at - begin);
        self.count(begin);
        self.pending.drain(..begin);
        self.base_bytes += begin;
        self.base_chars += self.counted_chars;
        (self.counted_bytes, self.counted_chars) = (0, 0);
    }

    /// Counts the code points up to `to`, which only goes forward: linear over the whole text.
    fn count(&mut self, to: usize) {
        self.counted_chars += self.pending[self.counted_bytes..to].chars().count();
        self.counted_bytes = to;
    }
}

impl Scan {
    fn visible(&mut self, c: char) {
        let spaced = self.gap.from.is_some();
        let spaces = usize::from(spaced && self.size.chars > 0);
        self.size.chars += spaces + 1;
        self.size.weight += spaces + if is_unspaced(c) { 2 } else { 1 };
        self.size.speakable += usize::from(is_speakable(c));
        self.gap = Gap::default();
        self.tail = self.tail.after(c, spaced);
    }
}

impl Tail {
    fn after(self, c: char, spaced: bool) -> Self {
        match c {
            '.' => Self::FullStop,
            _ if is_closer(c) && !spaced => self,
            _ if is_terminal(c) => Self::Terminal,
            _ if MARKS.contains(&c) => Self::Clause,
            _ => Self::Word,
        }
    }
}

impl Gap {
    fn read(&mut self, c: char, at: usize) {
        self.from.get_or_insert(at);
        let newline = kind(c) == Kind::Newline && !(c == '\n' && self.after_return);
        self.newlines += usize::from(newline);
        self.after_return = c == '\r';
    }
}
