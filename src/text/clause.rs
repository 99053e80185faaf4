//! Where a sentence that is too long is cut: at the end of a clause, before a conjunction, between words, and between
//! grapheme clusters only if there is nothing else. Pure, on the caller's thread.
//!
//! One scan looks at no more than `limit` clusters, and words of scripts without spaces are looked up in the last
//! `WORD_WINDOW` of them, so that the work for a sentence stays in proportion to its length.

use std::sync::LazyLock;

use icu_segmenter::{WordSegmenter, WordSegmenterBorrowed, options::WordBreakInvariantOptions};

use super::{
    cluster::{cluster_end, is_boundary, is_speakable},
    link::{Link, Links},
    sentence::{ends_sentence, is_closer},
};

/// What both sides of a cut should have, in clusters: about three words. Ideographs say more each.
pub(super) const SIDE: usize = 12;
const WIDE_SIDE: usize = 6;
/// Clusters looked up in dictionaries for one cut.
const WORD_WINDOW: usize = 48;
/// Bytes past the limit that the dictionaries may see, so that the last word is not a torn one.
const WORD_CONTEXT: usize = 24;

/// Marks that end a clause and need no space after them.
pub(super) const MARKS: &[char] = &['、', '，', '；', '：', '。', '！', '？', '—', '…', '､', '༎', '।'];

const CONJUNCTIONS: &[&str] = &[
    "and", "or", "but", "because", "which", "while", "when", "where", "who", "that", "if", "though", "although", "und",
    "oder", "aber", "weil", "dass", "wenn", "et", "ou", "mais", "car", "que", "qui", "y", "o", "pero", "porque", "e",
    "ma", "perché", "mas", "en", "maar", "и", "или", "но", "что", "a",
];

/// Where the first part ends, in bytes, and its clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub at: usize,
    pub chars: usize,
}

/// Where a text stands in a longer one, whose links are known.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'t> {
    pub links: &'t Links,
    pub start: usize,
}

impl At<'_> {
    fn link(&self, at: usize) -> Option<&Link> {
        self.links.starting(self.start + at)
    }
}

/// The best place of each kind within the limit.
#[derive(Debug)]
pub(super) struct Cuts<'t> {
    text: &'t str,
    place: At<'t>,
    total: usize,
    limit: usize,
    clause: Option<Cut>,
    conjunction: Option<Cut>,
    /// After a word of some weight, in the second half.
    space: Option<Cut>,
    any_space: Option<Cut>,
    /// Where the last `WORD_WINDOW` clusters begin.
    window: Cut,
    /// The limit itself.
    end: Cut,
}

impl<'t> Cuts<'t> {
    /// Looks through the first `limit` of the `total` clusters of `text`.
    pub fn find(text: &'t str, total: usize, limit: usize, place: At<'t>) -> Self {
        let none = Cut { at: 0, chars: 0 };
        let mut cuts = Self {
            text,
            place,
            total,
            limit,
            clause: None,
            conjunction: None,
            space: None,
            any_space: None,
            window: none,
            end: none,
        };
        let window_starts = (limit / 2).max(limit.saturating_sub(WORD_WINDOW));
        let mut word_starts = 0;
        while cuts.end.chars < limit && cuts.end.at < text.len() {
            let start = cuts.end.at;
            let next = cuts.next(cuts.end);
            if next.chars > limit {
                break;
            }
            cuts.end = next;
            if cuts.end.chars <= window_starts {
                cuts.window = cuts.end;
            }
            let at = cuts.end.at;
            match text.as_bytes().get(at) {
                None => break,
                Some(b' ') if is_boundary(text, at, at + 1) => {
                    cuts.at_space(&text[word_starts..at]);
                    word_starts = at + 1;
                }
                Some(_) if !text.as_bytes()[start].is_ascii() => cuts.after_mark(),
                Some(_) => {}
            }
        }
        cuts
    }

    /// Past one cluster, or past one link.
    fn next(&self, cut: Cut) -> Cut {
        match self.place.link(cut.at) {
            Some(link) => Cut { at: link.at.end - self.place.start, chars: cut.chars + link.said.chars },
            None => Cut { at: cluster_end(self.text, cut.at), chars: cut.chars + 1 },
        }
    }

    /// The latest end of a clause that leaves enough on both sides.
    pub fn clause(&self) -> Option<Cut> {
        self.clause
    }

    pub fn best(&self) -> Cut {
        let in_second_half = |cut: &Cut| cut.chars >= self.limit / 2;
        self.clause
            .or(self.conjunction)
            .or_else(|| self.any_space.filter(|cut| in_second_half(cut) && self.space.is_none()).or(self.space))
            .or_else(|| self.word())
            .or(self.any_space)
            .unwrap_or(self.end)
    }

    fn at_space(&mut self, word: &str) {
        let cut = self.end;
        let left = &self.text[..cut.at];
        let right = &self.text[cut.at + 1..];
        if self.has_sides(cut, SIDE) {
            if ends_clause(left, right, self.text, cut.at + 1) {
                self.clause = Some(cut);
            } else if cut.chars >= self.limit / 2 && CONJUNCTIONS.contains(&right.split(' ').next().unwrap_or_default())
            {
                self.conjunction = Some(cut);
            }
            // Not after "of the": the next word belongs to it.
            if cut.chars >= self.limit / 2 && (word.len() > 3 || !word.is_ascii()) {
                self.space = Some(cut);
            }
        }
        self.any_space = Some(cut);
    }

    fn after_mark(&mut self) {
        let left = &self.text[..self.end.at];
        let stripped = left.trim_end_matches(is_closer);
        let next = self.text[self.end.at..].chars().next();
        let marked = stripped.ends_with(['、', '，', '；', '：', '。', '！', '？', '—', '…', '､', '༎', '།']);
        let goes_on = next.is_some_and(|next| !is_closer(next) && is_speakable(next));
        if marked && goes_on && self.has_sides(self.end, WIDE_SIDE) {
            self.clause = Some(self.end);
        }
    }

    fn has_sides(&self, cut: Cut, side: usize) -> bool {
        let side = side.min(self.limit / 3).max(1);
        cut.chars >= side.max(self.limit / 6) && self.total - cut.chars >= side
    }

    /// The last word that ends in the second half, where no spaces tell.
    fn word(&self) -> Option<Cut> {
        static WORDS: LazyLock<WordSegmenterBorrowed<'static>> =
            LazyLock::new(|| WordSegmenter::new_auto(WordBreakInvariantOptions::default()));
        let from = self.window.at;
        let mut to = self.text.len().min(self.end.at + WORD_CONTEXT);
        while !self.text.is_char_boundary(to) {
            to -= 1;
        }
        let mut cut = self.window;
        let mut last = None;
        for boundary in WORDS.segment_str(&self.text[from..to]).map(|boundary| from + boundary) {
            while cut.at < boundary {
                cut = self.next(cut);
            }
            if cut.chars > self.limit {
                break;
            }
            let opens_word = self.text[boundary..].chars().next().is_some_and(is_speakable);
            if cut.at == boundary && boundary > from && opens_word && self.has_sides(cut, WIDE_SIDE) {
                last = Some(cut);
            }
        }
        last
    }
}

/// Whether the space between `left` and `right` ends a clause; `right` begins at `at` of `text`, and `left` begins it.
pub(super) fn ends_clause(left: &str, right: &str, text: &str, at: usize) -> bool {
    let stripped = left.trim_end_matches(is_closer);
    match stripped.chars().next_back() {
        Some(
            ',' | ';' | ':' | '!' | '?' | '—' | '–' | '…' | '،' | '؛' | '؟' | '۔' | '·' | '՝' | '।' | '॥' | '၊' | '။'
            | '។' | '፣' | '፤' | '፥' | '፦' | '།',
        ) => true,
        Some('-') => stripped.ends_with(" -"),
        // Sentences in lower case, which the Unicode rules run together.
        Some('.') => stripped.ends_with("..") || ends_sentence(text, 0, at),
        // Thai, Lao, Khmer and Burmese put spaces between clauses.
        Some('\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}') => right
            .starts_with(|c| matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}')),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::cluster::measure, *};

    fn parts(text: &str, limit: usize) -> (&str, &str) {
        let place = At { links: &Links::default(), start: 0 };
        let cut = Cuts::find(text, measure(text).chars, limit, place).best();
        assert_eq!(measure(&text[..cut.at]).chars, cut.chars);
        (text[..cut.at].trim(), text[cut.at..].trim())
    }

    #[test]
    fn cuts_are_where_a_reader_would_breathe() {
        // `|` marks the expected cut.
        let table = [
            (40, "When the rain had stopped, |we went out into the wet garden again."),
            (60, "It was 1,000.50 dollars at 9:30, see https://a.b/c,d; |that was far too much for a boat."),
            (40, "We walked all the way to the old mill |and sat there until the sun went down"),
            (40, "i went home early. |then i slept like a stone until noon"),
            (40, "we saw dr. smith at no. 5 on the other |side of the street today"),
            (26, "The old captain walked |to the harbour and back again"),
            (20, "今天天气很好，|我们一起去公园散步吧，好不好？"),
            (24, "ฉันชอบกินข้าว |เธอชอบกินก๋วยเตี๋ยวมาก"),
            (30, "He said — and meant it — |that nobody would ever come back"),
            (40, "I thought about it... |maybe we should not go there at all"),
        ];
        for (limit, marked) in table {
            let (left, right) = marked.split_once('|').unwrap();
            let text = format!("{left}{right}");
            assert_eq!(parts(&text, limit), (left.trim(), right.trim()), "{marked}");
        }
    }

    #[test]
    fn scripts_without_spaces_are_cut_between_words() {
        let (left, right) = parts("我们明天早上要去北京大学图书馆看书学习", 12);
        assert_eq!((left, right), ("我们明天早上要去北京大学", "图书馆看书学习"));
        let (left, right) = parts("ภาษาไทยเป็นภาษาที่มีความสวยงามมากและมีประวัติศาสตร์ยาวนาน", 20);
        assert_eq!((left, right), ("ภาษาไทยเป็นภาษาที่มีความ", "สวยงามมากและมีประวัติศาสตร์ยาวนาน"));
    }

    #[test]
    fn an_unbroken_word_is_cut_between_clusters() {
        let text = "e\u{301}".repeat(50);
        let (left, right) = parts(&text, 20);
        assert_eq!((measure(left).chars, measure(right).chars), (20, 30));
        assert!(right.starts_with('e'));
    }
}
