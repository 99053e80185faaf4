//! Which language a piece of text is in, where nobody says. Pure, on the caller's thread.
//!
//! Chat is short, and a detector is often wrong about short text. A wrong guess about a Latin line would take English
//! from the engine that speaks it, so there it must be long and sure; other scripts leave little to guess.

use std::collections::BTreeSet;

use whatlang::{Detector, Lang, Script};

/// A Latin line with fewer letters is not guessed at.
const MIN_LATIN_LETTERS: usize = 20;
/// Without an accent.
const MIN_LATIN_CONFIDENCE: f64 = 0.95;
/// Common in English, and in hardly any other language that is written in Latin letters.
const ENGLISH_WORDS: &[&str] = &[
    "the", "and", "you", "your", "this", "that", "with", "what", "are", "not", "have", "they", "from", "my", "she",
    "i", "i'm", "it", "it's", "of",
];
/// Below it the detector is guessing among languages that look alike.
const MIN_CONFIDENCE: f64 = 0.3;
/// A beginning tells as much as the whole.
const MAX_CHARS: usize = 1_000;

/// BCP 47; none for what may be English, or is too short to tell. Only for text in one language: a mixed one is parted
/// by script before.
#[must_use]
pub fn language(text: &str) -> Option<&'static str> {
    let end = text.char_indices().nth(MAX_CHARS).map_or(text.len(), |(end, _)| end);
    let text = &text[..end];
    if text.is_ascii() && text.len() < MIN_LATIN_LETTERS {
        return None;
    }
    if is_vietnamese(text) {
        return Some("vi");
    }
    match whatlang::detect_script(text)? {
        Script::Latin => latin(text),
        script => other(text, script),
    }
}

/// All that a text can be found to be in, and English; sorted.
#[must_use]
pub fn languages() -> BTreeSet<&'static str> {
    Lang::all().iter().map(|language| tag(*language)).filter(|tag| !tag.is_empty()).chain(["en"]).collect()
}

/// Of a script that is not Latin: where several languages share it and the detector is not sure, the language whose
/// letters these are, else the commonest.
fn other(text: &str, script: Script) -> Option<&'static str> {
    let own = own_letters(script);
    let by_letter = || own.iter().find(|(letters, _)| text.contains(*letters)).map(|(_, tag)| *tag);
    let commonest = match script {
        Script::Cyrillic => "ru",
        Script::Arabic => "ar",
        Script::Devanagari => "hi",
        _ => "",
    };
    let found = Detector::new().detect(text)?;
    let sure = commonest.is_empty() || found.confidence() >= MIN_CONFIDENCE;
    let tag = by_letter().unwrap_or(if sure { tag(found.lang()) } else { commonest });
    Some(tag).filter(|tag| !tag.is_empty())
}

/// Letters that one of the languages of a script has alone, or alone but for a rarer one; first match first.
fn own_letters(script: Script) -> &'static [(&'static [char], &'static str)] {
    match script {
        Script::Cyrillic => &[
            (&['ђ', 'ћ', 'Ђ', 'Ћ'], "sr"),
            (&['ѓ', 'ќ', 'Ѓ', 'Ќ'], "mk"),
            (&['ў', 'Ў'], "be"),
            (&['ї', 'є', 'ґ', 'Ї', 'Є', 'Ґ'], "uk"),
        ],
        Script::Arabic => &[(&['ٹ', 'ڈ', 'ڑ', 'ں', 'ے', 'ہ'], "ur"), (&['پ', 'چ', 'ژ', 'گ', 'ی', 'ک'], "fa")],
        _ => &[],
    }
}

fn latin(text: &str) -> Option<&'static str> {
    if text.chars().filter(|c| c.is_alphabetic()).count() < MIN_LATIN_LETTERS {
        return None;
    }
    // Languages that nobody streams in, and that take English for themselves.
    let never = [Lang::Epo, Lang::Lat, Lang::Jav, Lang::Zul, Lang::Sna, Lang::Aka, Lang::Tgl, Lang::Afr];
    let found = Detector::with_denylist(never.to_vec()).detect(text)?;
    let mut words =
        text.split(|c: char| !c.is_alphabetic() && !matches!(c, '\'' | '’')).filter(|word| !word.is_empty());
    if words.clone().any(|word| ENGLISH_WORDS.contains(&word.to_lowercase().as_str())) {
        return None;
    }
    // Names keep their accents in English ("Mbappé", "Kraków"): only words in lower case count.
    let accented = words.any(|word| word.starts_with(char::is_lowercase) && !word.is_ascii());
    let enough = if accented { MIN_CONFIDENCE } else { MIN_LATIN_CONFIDENCE };
    Some(tag(found.lang())).filter(|tag| found.confidence() >= enough && !tag.is_empty())
}

/// Its letters are its own, and its words are short: two of them are enough.
fn is_vietnamese(text: &str) -> bool {
    let own = |c: char| matches!(c, '\u{1ea0}'..='\u{1ef9}' | 'đ' | 'Đ' | 'ơ' | 'Ơ' | 'ư' | 'Ư');
    let (mut words, mut marked, mut certain) = (0, 0, false);
    for word in text.split_whitespace().filter(|word| word.contains(char::is_alphabetic)) {
        words += 1;
        marked += usize::from(word.chars().any(|c| !c.is_ascii() && c.is_alphabetic()));
        certain |= word.contains(own);
    }
    certain && marked * 3 >= words
}

/// ISO 639-3 to BCP 47; empty for English and what no engine here would know by it.
fn tag(language: Lang) -> &'static str {
    match language {
        Lang::Ara => "ar",
        Lang::Aze => "az",
        Lang::Bel => "be",
        Lang::Ben => "bn",
        Lang::Bul => "bg",
        Lang::Cat => "ca",
        Lang::Ces => "cs",
        Lang::Cmn => "zh",
        Lang::Cym => "cy",
        Lang::Dan => "da",
        Lang::Deu => "de",
        Lang::Ell => "el",
        Lang::Est => "et",
        Lang::Fin => "fi",
        Lang::Fra => "fr",
        Lang::Guj => "gu",
        Lang::Heb => "he",
        Lang::Hin => "hi",
        Lang::Hrv => "hr",
        Lang::Hun => "hu",
        Lang::Hye => "hy",
        Lang::Ind => "id",
        Lang::Ita => "it",
        Lang::Jpn => "ja",
        Lang::Kan => "kn",
        Lang::Kat => "ka",
        Lang::Kor => "ko",
        Lang::Lav => "lv",
        Lang::Lit => "lt",
        Lang::Mal => "ml",
        Lang::Mar => "mr",
        Lang::Mkd => "mk",
        Lang::Mya => "my",
        Lang::Nep => "ne",
        Lang::Nld => "nl",
        Lang::Nob => "nb",
        Lang::Ori => "or",
        Lang::Pan => "pa",
        Lang::Pes => "fa",
        Lang::Pol => "pl",
        Lang::Por => "pt",
        Lang::Ron => "ro",
        Lang::Rus => "ru",
        Lang::Sin => "si",
        Lang::Slk => "sk",
        Lang::Slv => "sl",
        Lang::Spa => "es",
        Lang::Srp => "sr",
        Lang::Swe => "sv",
        Lang::Tam => "ta",
        Lang::Tel => "te",
        Lang::Tha => "th",
        Lang::Tuk => "tk",
        Lang::Tur => "tr",
        Lang::Ukr => "uk",
        Lang::Urd => "ur",
        Lang::Uzb => "uz",
        Lang::Vie => "vi",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::language;

    const ENGLISH: &str = include_str!("../../tests/data/english_chat.txt");

    #[test]
    fn no_line_of_english_chat_is_taken_for_another_language() {
        assert!(ENGLISH.lines().count() >= 400);
        let stolen: Vec<_> = ENGLISH.lines().filter_map(|line| Some((line, language(line)?))).collect();
        assert!(stolen.is_empty(), "{stolen:?}");
    }

    #[test]
    fn other_languages_are_found() {
        for (text, expected) in [
            ("你好，世界", Some("zh")),
            ("こんにちは世界", Some("ja")),
            ("안녕하세요 여러분", Some("ko")),
            ("Xin chào các bạn", Some("vi")),
            ("Cảm ơn bạn rất nhiều", Some("vi")),
            ("Привет, как дела у вас сегодня?", Some("ru")),
            ("Дякую, що завітали до нас сьогодні, це дуже приємно", Some("uk")),
            ("مرحبا كيف حالك اليوم يا صديقي", Some("ar")),
            ("नमस्ते आप कैसे हैं", Some("hi")),
            ("สวัสดีครับ", Some("th")),
            ("Das ist ein sehr schöner Abend, und wir freuen uns alle auf das Spiel.", Some("de")),
            ("Bonjour tout le monde, je suis très heureux de vous voir ce soir.", Some("fr")),
            ("Muchas gracias por estar aquí, espero que estén disfrutando de la transmisión.", Some("es")),
            ("No entiendo muy bien por qué lo hizo él mañana.", Some("es")),
            ("Amanhã de manhã vamos à praia.", Some("pt")),
            ("Jag förstår inte varför han gjorde så.", Some("sv")),
            ("She said the crème brûlée and the soufflé were cliché", None),
            ("Zlatan Ibrahimović, Luka Modrić, Kylian Mbappé", None),
            ("привет", Some("ru")),
            ("спасибо", Some("ru")),
            ("слава україні", Some("uk")),
            ("ћао свима", Some("sr")),
            ("прывітанне ўсім", Some("be")),
            ("مرحبا", Some("ar")),
            ("شكرا", Some("ar")),
            ("سلام، حال شما چطور است؟", Some("fa")),
            ("شکریہ", Some("ur")),
            ("नमस्ते", Some("hi")),
            ("γεια σου", Some("el")),
            ("שלום", Some("he")),
            ("hola", None),
            ("I love phở so much", None),
            ("Müller scored", None),
            ("", None),
            ("12345 !!!", None),
        ] {
            assert_eq!(language(text), expected, "{text}");
        }
    }
}
