//! Which letters are outside the scripts that an engine reads. Pure, on the caller's thread.

use icu_properties::{PropertyParser, props::Script, script::ScriptWithExtensions};

/// The first letter of `text` that is in none of `scripts` (ISO 15924 codes); none if `scripts` is empty.
///
/// Letters without a script of their own (`µ`, mathematical letters, the long-vowel mark `ー`) are never foreign, nor is
/// the ohm sign. A letter that several scripts share is at home in each of them.
#[must_use]
pub fn foreign_letter(text: &str, scripts: &[String]) -> Option<char> {
    if scripts.is_empty() {
        return None;
    }
    let known: Vec<Script> = scripts.iter().flat_map(|code| unicode_scripts(code)).collect();
    let latin = known.contains(&Script::Latin);
    let properties = ScriptWithExtensions::new();
    // Text stays in one script for long: the last answer is most often the next one.
    let mut last = Script::Common;
    text.chars().find(|&c| {
        if c.is_ascii() {
            return !latin && c.is_ascii_alphabetic();
        }
        if !c.is_alphabetic() || c == '\u{2126}' {
            return false;
        }
        let script = properties.get_script_val(c);
        if script == last {
            return false;
        }
        let home = matches!(script, Script::Common | Script::Inherited)
            || known.contains(&script)
            || properties.get_script_extensions_val(c).iter().any(|extension| known.contains(&extension));
        if home && known.contains(&script) {
            last = script;
        }
        !home
    })
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
}
