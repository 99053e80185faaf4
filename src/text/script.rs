//! Which letters are outside the scripts that an engine reads. Pure, on the caller's thread.

use std::ops::Range;

use icu_properties::{
    PropertyParser,
    props::Script,
    script::{ScriptWithExtensions, ScriptWithExtensionsBorrowed},
};

/// In letters; longer words in capitals are shouted.
const MAX_ABBREVIATION: usize = 4;

/// The first letter of `text` that is in none of `scripts` (ISO 15924 codes); none if `scripts` is empty.
#[must_use]
pub fn foreign_letter(text: &str, scripts: &[String]) -> Option<char> {
    if scripts.is_empty() {
        return None;
    }
    let mut home = Home::new(scripts);
    text.chars().find(|&c| home.is_foreign(c))
}

/// Where `text` changes between letters of `scripts` and others, or between two others: its parts in order, none empty.
///
/// What is no letter stays with what is before it; opening quotes and brackets go with what they open, abbreviations
/// with what they are written together with ("AI技术", "卡拉OK").
pub(super) fn runs(text: &str, scripts: &[String]) -> Vec<Range<usize>> {
    let words = words(text, scripts);
    let (mut runs, mut start) = (Vec::new(), 0);
    for (before, word) in words.iter().zip(words.iter().skip(1)) {
        if before.side == word.side {
            continue;
        }
        let left = text[start..word.at.start].trim_end_matches(opens);
        // Apart from the word before it, or it is not what an opening mark opens.
        let opened = start + left.len() < word.at.start && left.ends_with(char::is_whitespace);
        let cut = if opened { start + left.len() } else { word.at.start };
        if cut > start {
            runs.push(start..cut);
            start = cut;
        }
    }
    if start < text.len() {
        runs.push(start..text.len());
    }
    runs
}

/// Letters of one side with nothing between them.
struct Word {
    at: Range<usize>,
    side: Side,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Home,
    Foreign(Script),
}

fn words(text: &str, scripts: &[String]) -> Vec<Word> {
    let mut home = Home::new(scripts);
    let mut words: Vec<Word> = Vec::new();
    for (at, c) in text.char_indices().filter(|(_, c)| c.is_alphabetic()) {
        let side = home.side(c);
        let end = at + c.len_utf8();
        match words.last_mut().filter(|word| word.at.end == at) {
            // Letters of no script are at home everywhere.
            Some(word) if side.is_none_or(|side| side == word.side) => word.at.end = end,
            _ => words.extend(side.map(|side| Word { at: at..end, side })),
        }
    }
    for index in 0..words.len() {
        let Range { start, end } = words[index].at;
        let touches = |other: &&Word| other.at.start == end || other.at.end == start;
        let neighbour = words.get(index + 1).filter(touches);
        let neighbour = neighbour.or_else(|| words.get(index.wrapping_sub(1)).filter(touches));
        if let Some(side) = neighbour.map(|word| word.side)
            && is_abbreviation(&text[start..end])
        {
            words[index].side = side;
        }
    }
    words
}

/// Spelt alike by whoever speaks the text around it.
fn is_abbreviation(word: &str) -> bool {
    word.len() <= MAX_ABBREVIATION && word.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn opens(c: char) -> bool {
    matches!(
        c,
        '(' | '[' | '{' | '"' | '\'' | '“' | '‘' | '«' | '„' | '「' | '『' | '《' | '〈' | '（' | '【' | '¿' | '¡'
    )
}

/// The scripts that an engine reads.
///
/// Letters without a script of their own (`µ`, mathematical letters, the long-vowel mark `ー`) are never foreign, nor is
/// the ohm sign. A letter that several scripts share is at home in each of them.
struct Home {
    known: Vec<Script>,
    latin: bool,
    properties: ScriptWithExtensionsBorrowed<'static>,
    /// Text stays in one script for long: the last answer is most often the next one.
    last: Script,
}

impl Home {
    fn new(scripts: &[String]) -> Self {
        let known: Vec<Script> = scripts.iter().flat_map(|code| unicode_scripts(code)).collect();
        let latin = known.contains(&Script::Latin);
        Self { known, latin, properties: ScriptWithExtensions::new(), last: Script::Common }
    }

    fn is_foreign(&mut self, c: char) -> bool {
        if c.is_ascii() {
            return !self.latin && c.is_ascii_alphabetic();
        }
        if !c.is_alphabetic() || c == '\u{2126}' {
            return false;
        }
        let script = self.properties.get_script_val(c);
        if script == self.last {
            return false;
        }
        let home = matches!(script, Script::Common | Script::Inherited)
            || self.known.contains(&script)
            || self.properties.get_script_extensions_val(c).iter().any(|extension| self.known.contains(&extension));
        if home && self.known.contains(&script) {
            self.last = script;
        }
        !home
    }

    /// None for letters of no script.
    fn side(&mut self, c: char) -> Option<Side> {
        if !self.is_foreign(c) {
            return self.known.contains(&self.properties.get_script_val(c)).then_some(Side::Home);
        }
        Some(Side::Foreign(match self.properties.get_script_val(c) {
            Script::Hiragana | Script::Katakana | Script::Bopomofo => Script::Han,
            script => script,
        }))
    }
}

/// Unicode knows scripts, ISO 15924 also ways to write: what stands for several, or for a variant, is resolved.
fn unicode_scripts(code: &str) -> Vec<Script> {
    match code.to_ascii_lowercase().as_str() {
        "jpan" => vec![Script::Han, Script::Hiragana, Script::Katakana],
        "hrkt" => vec![Script::Hiragana, Script::Katakana],
        "kore" => vec![Script::Hangul, Script::Han],
        "hans" | "hant" => vec![Script::Han],
        "hanb" => vec![Script::Han, Script::Bopomofo],
        "jamo" => vec![Script::Hangul],
        "latf" | "latg" => vec![Script::Latin],
        "cyrs" => vec![Script::Cyrillic],
        "aran" => vec![Script::Arabic],
        "geok" => vec![Script::Georgian],
        "syre" | "syrj" | "syrn" => vec![Script::Syriac],
        other => PropertyParser::<Script>::new().get_loose(other).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_outside_the_scripts_are_found() {
        let table: [(&str, &[&str], Option<char>); 21] = [
            ("Hello, world 123!", &["Latn"], None),
            ("Grüße, ça va, Đặng", &["Latn"], None),
            ("Say привет now", &["Latn"], Some('п')),
            ("Say привет now", &["Latn", "Cyrl"], None),
            ("привет ok", &["Cyrl"], Some('o')),
            ("ok 你好", &["Latn"], Some('你')),
            ("你好", &["Hans"], None),
            ("日本語とカタカナー", &["Jpan"], None),
            ("日本語 한국", &["Jpan"], Some('한')),
            ("한국 漢字", &["Kore"], None),
            ("ＡＢＣ", &["Latn"], None),
            ("1ª 2º 5 µm ™ K", &["Latn"], None),
            ("10 k\u{2126}", &["Latn"], None),
            ("𝓗𝓲 😀 ①", &["Latn"], None),
            ("e\u{301}", &["Latn"], None),
            ("π is Greek", &["Latn"], Some('π')),
            ("नमस्ते।", &["Deva"], None),
            ("नमस्ते", &["Latn"], Some('न')),
            ("مرحبا، ٣", &["Arab"], None),
            ("anything, 你好", &[], None),
            ("abc", &["Zzzz", "nonsense"], Some('a')),
        ];
        for (text, scripts, expected) in table {
            let scripts: Vec<String> = scripts.iter().map(|&script| script.into()).collect();
            assert_eq!(foreign_letter(text, &scripts), expected, "{text} in {scripts:?}");
        }
    }

    #[test]
    fn runs_part_where_the_script_changes() {
        let table: [(&str, &[&str]); 17] = [
            ("Hello 你好 world", &["Hello ", "你好 ", "world"]),
            ("Hello, 你好! And 42 more.", &["Hello, ", "你好! ", "And 42 more."]),
            ("He said “你好” to me", &["He said ", "“你好” ", "to me"]),
            ("iPhone很好用", &["iPhone", "很好用"]),
            ("all Latin, 100%!", &["all Latin, 100%!"]),
            ("你好", &["你好"]),
            ("123 你好 456", &["123 你好 456"]),
            ("5 µm ナノ ー x", &["5 µm ", "ナノ ー ", "x"]),
            ("привет (hello) мир", &["привет ", "(hello) ", "мир"]),
            ("你好 привет hello", &["你好 ", "привет ", "hello"]),
            ("日本語のテスト한국어", &["日本語のテスト", "한국어"]),
            ("AI技术很好", &["AI技术很好"]),
            ("去唱卡拉OK吧, OK?", &["去唱卡拉OK吧, ", "OK?"]),
            ("买A股和3D打印 cool", &["买A股和3D打印 ", "cool"]),
            ("AMAZING技术", &["AMAZING", "技术"]),
            ("OK 你好", &["OK ", "你好"]),
            ("", &[]),
        ];
        for (text, expected) in table {
            let parts: Vec<_> = runs(text, &["Latn".to_owned()]).into_iter().map(|run| &text[run]).collect();
            assert_eq!(parts, expected, "{text}");
        }
    }
}
