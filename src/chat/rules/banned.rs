//! Banned words and patterns, found whatever they are disguised as (fold.rs). Only linear-time expressions.

use std::ops::Range;

use aho_corasick::AhoCorasick;
use regex::{Regex, RegexBuilder};

use super::fold::{Folded, composed, is_apostrophe, is_of_solid_script, readings};

/// Of one compiled expression: keeps what a pattern may cost bounded.
const MAX_PATTERN_BYTES: usize = 1 << 20;
const MAX_EXACT_BYTES: usize = 16 << 20;

pub(super) struct BannedWords {
    words: Vec<Word>,
    /// Finds all words' letters at once, whatever their number.
    all: Option<AhoCorasick>,
    patterns: Vec<Regex>,
    /// Those that are found only as they are written: "=mọi" is not "mới".
    exact: Option<Regex>,
}

struct Word {
    /// How often each letter is repeated at least: "as" is not found for "ass", "asss" is.
    counts: Vec<usize>,
    /// Other letters may stand before it, after it.
    open_start: bool,
    open_end: bool,
    /// Of a script without spaces.
    solid: bool,
}

/// A text in which each run of one letter is that letter once.
struct Collapsed {
    text: String,
    /// For each byte of `text` that begins a letter: its place among the letters.
    places: Vec<usize>,
    counts: Vec<usize>,
    /// Where each letter's run begins in the folded text, and its end.
    starts: Vec<usize>,
}

impl BannedWords {
    /// # Errors
    /// Which entry cannot be used, and why.
    pub fn new(words: &[String], patterns: &[String]) -> Result<Self, String> {
        let mut found: Vec<(String, Word)> = Vec::new();
        let mut exact = Vec::new();
        for word in words {
            if let Some(word) = word.strip_prefix('=').map(str::trim) {
                if !word.chars().any(char::is_alphanumeric) {
                    return Err(format!("banned_words: \"={word}\" holds no letter or digit"));
                }
                exact.push(regex::escape(&composed(word).text));
                continue;
            }
            let bare: String = word.trim_matches('*').chars().filter(|c| !is_apostrophe(*c)).collect();
            for one in ['i', 'l'] {
                let read = readings(&bare, one);
                let solid = read.solid.text.chars().any(is_of_solid_script);
                let folded = if solid { &read.solid } else { &read.words };
                if folded.text.is_empty() {
                    return Err(format!("banned_words: {word:?} holds no letter or digit"));
                }
                let Collapsed { text, counts, .. } = collapsed(&folded.text);
                let (open_start, open_end) = (solid || word.starts_with('*'), solid || word.ends_with('*'));
                found.push((text, Word { counts, open_start, open_end, solid }));
            }
        }
        let all = (!found.is_empty()).then(|| AhoCorasick::new(found.iter().map(|(letters, _)| letters)));
        let all = all.transpose().map_err(|error| format!("banned_words: {error}"))?;
        let patterns = patterns.iter().map(|pattern| {
            let built = RegexBuilder::new(pattern).case_insensitive(true).size_limit(MAX_PATTERN_BYTES).build();
            built.map_err(|error| {
                let why = error.to_string();
                format!("banned_patterns: {pattern:?} cannot be used: {}", why.lines().last().unwrap_or_default())
            })
        });
        let patterns = patterns.collect::<Result<_, _>>()?;
        let exact = (!exact.is_empty()).then(|| {
            let pattern = format!(r"\b(?:{})\b", exact.join("|"));
            RegexBuilder::new(&pattern).case_insensitive(true).size_limit(MAX_EXACT_BYTES).build()
        });
        let exact = exact.transpose().map_err(|error| format!("banned_words: {error}"))?;
        Ok(Self { words: found.into_iter().map(|(_, word)| word).collect(), all, patterns, exact })
    }

    /// Where they stand in `text`, in bytes, in no particular order.
    pub fn find(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let composed = composed(text);
        if let Some(exact) = &self.exact {
            found.extend(exact.find_iter(&composed.text).map(|found| composed.origin(found.range())));
        }
        if let Some(all) = &self.all {
            for one in ['i', 'l'] {
                let read = readings(text, one);
                for folded in [&read.words, &read.joined, &read.pairs] {
                    found.extend(self.matches(all, folded, |found| !found.word.solid && found.is_whole()));
                }
                for folded in [&read.solid, &read.gapped] {
                    found.extend(self.matches(all, folded, |found| found.word.solid));
                }
                // Letters that were spelled one by one, or nearly: nobody spells what is harmless.
                found.extend(self.matches(all, &read.spelled, |found| !found.word.solid));
                let pieces = &read.pieces;
                found.extend(self.matches(all, &pieces.text, |found| !found.word.solid && pieces.are_of(&found.place)));
            }
        }
        let mut read = vec![composed];
        if !self.patterns.is_empty() {
            read.extend(['i', 'l'].map(|one| readings(text, one).joined));
        }
        for pattern in &self.patterns {
            let matches = |text| pattern.find_iter(text).map(|found| found.range()).filter(|range| !range.is_empty());
            found.extend(matches(text));
            for folded in &read {
                found.extend(matches(folded.text.as_str()).map(|range| folded.origin(range)));
            }
        }
        found
    }

    /// Where `folded` has them in the original.
    fn matches(&self, all: &AhoCorasick, folded: &Folded, wanted: impl Fn(&Found<'_>) -> bool) -> Vec<Range<usize>> {
        if folded.text.is_empty() {
            return Vec::new();
        }
        let text = collapsed(&folded.text);
        let bytes = text.text.as_bytes();
        let mut all_found = Vec::new();
        for one in all.find_overlapping_iter(&text.text) {
            let word = &self.words[one.pattern().as_usize()];
            let first = text.places[one.start()];
            let letters = first..first + word.counts.len();
            let often = word.counts.iter().zip(&text.counts[letters.clone()]).all(|(least, count)| count >= least);
            let found = Found {
                word,
                starts: one.start() == 0 || bytes[one.start() - 1] == b' ',
                ends: one.end() == bytes.len() || bytes[one.end()] == b' ',
                place: text.starts[letters.start]..text.starts[letters.end],
            };
            if often && wanted(&found) {
                all_found.push(folded.origin(found.place));
            }
        }
        all_found
    }
}

/// A word's letters, in a reading.
struct Found<'a> {
    word: &'a Word,
    /// Nothing stands before them, after them.
    starts: bool,
    ends: bool,
    place: Range<usize>,
}

impl Found<'_> {
    fn is_whole(&self) -> bool {
        (self.starts || self.word.open_start) && (self.ends || self.word.open_end)
    }
}

fn collapsed(folded: &str) -> Collapsed {
    let mut made = Collapsed { text: String::new(), places: Vec::new(), counts: Vec::new(), starts: Vec::new() };
    let mut last = None;
    for (at, letter) in folded.char_indices() {
        if last == Some(letter) {
            if let Some(count) = made.counts.last_mut() {
                *count += 1;
            }
            continue;
        }
        last = Some(letter);
        made.places.resize(made.text.len() + letter.len_utf8(), made.counts.len());
        made.text.push(letter);
        made.counts.push(1);
        made.starts.push(at);
    }
    made.starts.push(folded.len());
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> BannedWords {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        BannedWords::new(&words, &[]).expect("they can be used")
    }

    #[test]
    fn disguised_words_are_found() {
        let banned = words(&["darn", "ass", "skill issue", "troll*", "*nazi*", "傻逼", "блин"]);
        for text in [
            "darn",
            "DARN!",
            "oh d4rn it",
            "d a r n",
            "d.a.r.n",
            "daaaarn",
            "ｄａｒｎ",
            "dаrn",
            "d\u{200b}arn",
            "dar-n",
            "you a$$",
            "asssss",
            "Skill   Issue",
            "sk1ll i$$ue",
            "trolling",
            "neonazis",
            "你是傻 逼吗",
            "傻*逼",
            "БЛИН",
            "блииин",
            "d arn",
            "da rn",
            "da\nrn",
            "dar n it",
            "d ar n",
            "oh d ar n it",
            "da r n it",
            "that darn's old",
            "darn’s",
            "darn2",
            "darn420!",
            "2darn",
            "darη",
            "ᎠARN",
            "đarn",
            "dɐrn",
            "ðarn",
            "傻1逼",
            "傻x逼",
            "傻!!逼",
            "你傻xx逼吗",
        ] {
            assert!(!banned.find(text).is_empty(), "{text:?}");
        }
    }

    #[test]
    fn others_are_not() {
        let banned = words(&[
            "darn", "ass", "hit", "sex", "hell", "penis", "gook", "chink", "rape", "anal", "cum", "dick", "tit",
            "shit", "傻逼",
        ]);
        for text in [
            "as you like",
            "class",
            "assassin",
            "455",
            "$455",
            "a s",
            "darning",
            "my brother's ex is here",
            "the U.S. hits",
            "hello",
            "shell",
            "white",
            "Essex",
            "",
            "the pen is red",
            "go ok",
            "as sit",
            "class hits",
            "hell0 there",
            "as s tier",
            "cl455",
            "rap e pop",
            "chín k rồi",
            "he 'll be there, he ll",
            "is it a big one",
            "the bad arn, and arn, mad arnold",
            "my brother's exit",
            "c3 um",
            "5 hits 3hits",
            "ti 2 t",
            "他很傻abc逼近了",
            "他很傻 ok 逼近了",
        ] {
            assert!(banned.find(text).is_empty(), "{text:?}");
        }
    }

    #[test]
    fn exact_words_keep_their_accents() {
        let banned = words(&["=mọi đen", "=a.b"]);
        for text in [
            "MỌI ĐEN",
            "cái mọi đen!",
            "a.b",
            "mo\u{323}i đen",
            "MO\u{323}I ĐE\u{200b}N",
            "m\u{200b}o\u{200b}\u{323}i đen",
            "ｍọi đen",
        ] {
            assert!(!banned.find(text).is_empty(), "{text:?}");
        }
        let text = "cái mo\u{323}\u{200b}i đen!";
        assert_eq!(banned.find(text).first().map(|found| &text[found.clone()]), Some("mo\u{323}\u{200b}i đen"));
        let decomposed = words(&["=mo\u{323}i đen"]);
        assert!(!decomposed.find("mọi đen").is_empty() && decomposed.find("mới đến").is_empty());
        for text in ["mới đến", "mo\u{31b}\u{301}i đe\u{302}\u{301}n", "moi den", "mọi đensity", "axb"] {
            assert!(banned.find(text).is_empty(), "{text:?}");
        }
        assert!(BannedWords::new(&["= ".to_owned()], &[]).is_err_and(|why| why.contains("no letter")));
    }

    #[test]
    fn patterns_ignore_case_and_are_bounded() {
        let banned = BannedWords::new(&[], &[r"buy\s+followers".to_owned()]).expect("it can be used");
        assert_eq!(banned.find("Buy  Followers now").first(), Some(&(0..14)));
        // Disguised likewise.
        for text in ["bu\u{200b}y fоllоwers", "ｂｕｙ f0ll0wers", "b.u.y followers", "búy   followérs"] {
            assert!(!banned.find(text).is_empty(), "{text:?}");
        }
        assert!(BannedWords::new(&[], &["(".to_owned()]).is_err_and(|why| why.contains("banned_patterns")));
        assert!(BannedWords::new(&[], &["(a{1000}){1000}".to_owned()]).is_err());
        assert!(BannedWords::new(&["**".to_owned()], &[]).is_err_and(|why| why.contains("no letter")));
    }
}
