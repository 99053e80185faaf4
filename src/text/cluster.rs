//! Grapheme clusters: their ends, and how many of them there are. Pure, on the caller's thread.

use icu_properties::{
    CodePointMapData,
    props::{GeneralCategory, GeneralCategoryGroup},
};
use icu_segmenter::{GraphemeClusterSegmenter, GraphemeClusterSegmenterBorrowed};

pub(super) const GRAPHEMES: GraphemeClusterSegmenterBorrowed<'static> = GraphemeClusterSegmenter::new();

/// Code points of one cluster. Conjuncts, Hangul jamo and joined emoji make clusters of any length, which would pass
/// every limit that counts clusters; nothing that people write comes near this, and what does counts as several.
pub(super) const MAX_CLUSTER_CODE_POINTS: usize = 32;

/// How long a text is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Measure {
    /// Grapheme clusters.
    pub chars: usize,
    /// Those of them with a letter or a digit.
    pub speakable: usize,
}

pub(super) fn general_category(c: char) -> GeneralCategory {
    CodePointMapData::<GeneralCategory>::new().get(c)
}

/// Whether `c` is a letter or a digit that can stand by itself. Hangul fillers are letters by category and blank on the
/// page; Thai and Lao am and halfwidth voicing are part of the letter before them.
pub(super) fn is_speakable(c: char) -> bool {
    match c {
        '\0'..='\x7f' => c.is_ascii_alphanumeric(),
        '\u{3041}'..='\u{3096}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' => true,
        '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' => false,
        '\u{e33}' | '\u{eb3}' | '\u{ff9e}' | '\u{ff9f}' => false,
        _ => {
            let category = general_category(c);
            GeneralCategoryGroup::Letter.contains(category) || GeneralCategoryGroup::Number.contains(category)
        }
    }
}

/// The end of the cluster that starts at `start`; `text` holds no CR (see clean.rs).
pub(super) fn cluster_end(text: &str, start: usize) -> usize {
    let mut chars = text[start..].chars();
    let Some(first) = chars.next() else { return text.len() };
    let end = start + first.len_utf8();
    if is_lone(first) && chars.next().is_none_or(is_lone) {
        return end;
    }
    let window = text[start..].char_indices().nth(MAX_CLUSTER_CODE_POINTS).map_or(text.len(), |(at, _)| start + at);
    GRAPHEMES.segment_str(&text[start..window]).nth(1).map_or(window, |length| start + length)
}

/// Whether a cluster starts at `at`, as far as the characters from `start` on and just before it tell.
pub(super) fn is_boundary(text: &str, start: usize, at: usize) -> bool {
    let Some(next) = text[at..].chars().next() else { return true };
    let before = &text[start..at];
    if is_lone(next) && before.chars().next_back().is_none_or(is_lone) {
        return true;
    }
    let from = before.char_indices().rev().take(16).last().map_or(at, |(offset, _)| start + offset);
    GRAPHEMES.segment_str(&text[from..at + next.len_utf8()]).any(|boundary| boundary == at - from)
}

/// The clusters of `text` that hold a letter or a digit, and all of them.
pub(super) fn measure(text: &str) -> Measure {
    if text.is_ascii() {
        let speakable = text.bytes().filter(u8::is_ascii_alphanumeric).count();
        return Measure { chars: text.len(), speakable };
    }
    let mut measure = Measure::default();
    let mut at = 0;
    while at < text.len() {
        let end = cluster_end(text, at);
        measure.chars += 1;
        measure.speakable += usize::from(text[at..end].chars().any(is_speakable));
        at = end;
    }
    measure
}

/// Whether `c` makes a cluster of its own beside any other such character: the shortcut past the segmenter's tables.
fn is_lone(c: char) -> bool {
    matches!(c,
        ' '..='~' | '\n'
        | '\u{a0}'..='\u{ac}' | '\u{ae}'..='\u{2ff}' | '\u{370}'..='\u{377}' | '\u{384}'..='\u{482}'
        | '\u{48a}'..='\u{52f}' | '\u{531}'..='\u{58a}' | '\u{5d0}'..='\u{5ea}' | '\u{620}'..='\u{64a}'
        | '\u{660}'..='\u{66f}' | '\u{671}'..='\u{6d4}' | '\u{e01}'..='\u{e30}' | '\u{e40}'..='\u{e46}'
        | '\u{10a0}'..='\u{10ff}' | '\u{1200}'..='\u{1357}' | '\u{1e00}'..='\u{1fff}' | '\u{2010}'..='\u{2027}'
        | '\u{2030}'..='\u{205e}' | '\u{2070}'..='\u{20c0}' | '\u{2100}'..='\u{2bff}' | '\u{3000}'..='\u{3029}'
        | '\u{3030}'..='\u{3096}' | '\u{309b}'..='\u{31ff}' | '\u{3200}'..='\u{a48c}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}' | '\u{ff01}'..='\u{ff9d}' | '\u{1f300}'..='\u{1f3fa}' | '\u{1f400}'..='\u{1f6ff}'
        | '\u{1f900}'..='\u{1faff}' | '\u{20000}'..='\u{323af}')
}

#[cfg(test)]
mod tests {
    use icu_properties::props::GraphemeClusterBreak as Class;

    use super::*;

    #[test]
    fn the_shortcut_takes_only_characters_that_join_no_other_such() {
        let classes = CodePointMapData::<Class>::new();
        for c in (' '..=char::MAX).filter(|&c| is_lone(c)) {
            let class = classes.get(c);
            // A syllable joins only jamo after it, and jamo are none of these.
            assert!(matches!(class, Class::Other | Class::LV | Class::LVT), "U+{:04X} is {class:?}", u32::from(c));
        }
    }

    #[test]
    fn clusters_are_counted_whole() {
        let table = [
            ("", 0, 0),
            ("Hello, 12!", 10, 7),
            ("e\u{301}a", 2, 2),
            ("你好。", 3, 2),
            ("👩\u{200d}👩\u{200d}👧!", 2, 0),
            ("🇩🇪🇫🇷", 2, 0),
            ("नमस्ते", 3, 3),
            ("กำ", 1, 1),
            ("한국", 2, 2),
            ("\u{3164}\u{3164}", 2, 0),
        ];
        for (text, chars, speakable) in table {
            assert_eq!(measure(text), Measure { chars, speakable }, "{text}");
        }
    }

    #[test]
    fn an_endless_cluster_counts_as_several() {
        let text = "👩\u{200d}".repeat(64);
        assert_eq!(measure(&text).chars, 4);
    }
}
