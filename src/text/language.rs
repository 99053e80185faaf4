//! Which language a piece of text is in, where nobody says. Pure, on the caller's thread.
//!
//! Chat is short, and a detector is often wrong about short text. A wrong guess about a Latin line would take English
//! from the engine that speaks it, so there it must be long and sure; other scripts leave little to guess.

use std::collections::BTreeSet;

use whatlang::{Detector, Info, Lang, Script};

use super::link;

/// A Latin line with fewer letters is not guessed at.
const MIN_LATIN_LETTERS: usize = 20;
/// Without an accent.
const MIN_LATIN_CONFIDENCE: f64 = 0.95;
/// Common in English, and in hardly any other language that is written in Latin letters.
const ENGLISH_WORDS: &[&str] = &[
    "the", "and", "you", "your", "this", "that", "with", "what", "are", "not", "have", "they", "from", "my", "she",
    "i", "i'm", "it", "it's", "of",
];
/// Commoner in English than anywhere else; for text that is English or not, where `ENGLISH_WORDS` only stand against
/// another language.
const OWN_WORDS: &[&str] = &[
    "about", "after", "and", "because", "been", "could", "don't", "everyone", "from", "good", "have", "hello", "his",
    "how", "i'm", "into", "it's", "know", "like", "more", "never", "often", "only", "other", "others", "our", "out",
    "people", "said", "should", "some", "thank", "thanks", "that", "the", "their", "them", "there", "these", "they",
    "think", "this", "those", "today", "very", "welcome", "were", "what", "when", "where", "which", "who", "why",
    "with", "would", "yes", "you", "your",
];
/// Of English too.
const SHARED_WORDS: &[&str] = &[
    "a", "all", "am", "an", "are", "as", "at", "be", "but", "by", "can", "do", "for", "get", "had", "has", "he", "her",
    "him", "i", "if", "in", "is", "it", "just", "me", "my", "no", "not", "now", "of", "on", "or", "over", "she", "so",
    "than", "then", "to", "up", "us", "want", "was", "we", "will",
];
/// Of text that has such words.
const MIN_ENGLISH_LETTERS: usize = 12;
/// Below it the detector is guessing among languages that look alike.
const MIN_CONFIDENCE: f64 = 0.3;
/// A beginning tells as much as the whole.
const MAX_CHARS: usize = 1_000;

/// BCP 47; none for what may be English, or is too short to tell. Only for text in one language: a mixed one is parted
/// by script before. Links are in none.
#[must_use]
pub fn language(text: &str) -> Option<&'static str> {
    let text = &*link::left_out(text);
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

/// As `language`, but English is told as well: for what says all that is known, such as the words of a clip.
#[must_use]
pub fn language_or_english(text: &str) -> Option<&'static str> {
    language(text).or_else(|| (is_english(text) || has_english_words(text)).then_some("en"))
}

/// What is too short to tell may be in any language; but a whole English sentence is in English.
#[must_use]
pub fn is_english(text: &str) -> bool {
    text.chars().filter(char::is_ascii_alphabetic).count() >= MIN_LATIN_LETTERS
        && whatlang::detect(text).is_some_and(|found| found.lang() == Lang::Eng && found.is_reliable())
}

/// Shorter than `is_english` looks at, or with a name that leads the detector astray.
fn has_english_words(text: &str) -> bool {
    if text.chars().filter(|c| c.is_alphabetic()).count() < MIN_ENGLISH_LETTERS {
        return false;
    }
    let (mut all, mut known, mut own) = (0, 0, BTreeSet::new());
    for word in words(text).map(str::to_lowercase) {
        all += 1;
        if let Some(word) = OWN_WORDS.iter().find(|own| **own == word) {
            known += 1;
            own.insert(*word);
        } else {
            known += usize::from(SHARED_WORDS.contains(&word.as_str()));
        }
    }
    match own.len() {
        0 => false,
        // A title in a sentence of another language.
        1 => known * 2 >= all || likeliest(text).is_some_and(|found| found.lang() == Lang::Eng),
        _ => known * 10 >= all * 3,
    }
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
    let found = likeliest(text)?;
    let mut words = words(text);
    if words.clone().any(|word| ENGLISH_WORDS.contains(&word.to_lowercase().as_str())) {
        return None;
    }
    // Names keep their accents in English ("Mbappé", "Kraków"): only words in lower case count.
    let accented = words.any(|word| word.starts_with(char::is_lowercase) && !word.is_ascii());
    let enough = if accented { MIN_CONFIDENCE } else { MIN_LATIN_CONFIDENCE };
    Some(tag(found.lang())).filter(|tag| found.confidence() >= enough && !tag.is_empty())
}

fn likeliest(text: &str) -> Option<Info> {
    // Languages that nobody streams in, and that take English for themselves.
    let never = [Lang::Epo, Lang::Lat, Lang::Jav, Lang::Zul, Lang::Sna, Lang::Aka, Lang::Tgl, Lang::Afr];
    Detector::with_denylist(never.to_vec()).detect(text)
}

fn words(text: &str) -> impl Iterator<Item = &str> + Clone {
    text.split(|c: char| !c.is_alphabetic() && !matches!(c, '\'' | '’')).filter(|word| !word.is_empty())
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
    use super::{is_english, language, language_or_english};

    const ENGLISH: &str = include_str!("../../tests/data/english_chat.txt");

    #[test]
    fn no_line_of_english_chat_is_taken_for_another_language() {
        assert!(ENGLISH.lines().count() >= 400);
        let stolen: Vec<_> = ENGLISH.lines().filter_map(|line| Some((line, language(line)?))).collect();
        assert!(stolen.is_empty(), "{stolen:?}");
    }

    #[test]
    fn english_is_told_where_it_is_asked_for() {
        for text in [
            "What is said in the clip.",
            "Hello, my name is Anna and I live in London.",
            "The birch canoe slid on the smooth planks.",
            "Some call me nature, others call me mother nature.",
            "Thanks for calling, your order left our workshop yesterday.",
            "Rice is often served in round bowls.",
            "Let's go to Kraków and eat crème brûlée with Mbappé.",
        ] {
            assert_eq!((language(text), language_or_english(text)), (None, Some("en")), "{text}");
        }
        let other: Vec<_> =
            ENGLISH.lines().filter(|line| language_or_english(line).is_some_and(|tag| tag != "en")).collect();
        assert!(other.is_empty(), "{other:?}");
    }

    #[test]
    fn nothing_else_is_taken_for_english() {
        for text in [
            "",
            "Ah.",
            "He said no.",
            "Hola",
            "Guten Tag, wie geht es Ihnen heute Abend?",
            "Ich bin der Mann in dem Haus.",
            "Ik heb het boek in de tas gelegd.",
            "I gatti e i cani sono amici.",
            "Dzien dobry, ja i my wszyscy jestesmy w domu.",
            "Ja i ti idemo u grad i kupujemo kruh.",
            "Ana are mere si pere, iar Ion are prune.",
            "Jeg har ikke set det, men jeg er glad i dag.",
            "Bonjour a tous, on va parler de cuisine.",
            "Chao cac ban, hom nay my se noi ve i am thuc.",
            "Xin chào các bạn",
            "你好，世界",
        ] {
            assert_ne!(language_or_english(text), Some("en"), "{text}");
            assert!(!is_english(text), "{text}");
        }
    }

    #[test]
    fn links_are_in_no_language() {
        let link = format!("https://ejemplo.es/{}", "una-pagina-muy-larga-con-palabras/".repeat(20));
        for (text, expected) in [
            (link.clone(), None),
            (format!("Look: {link}"), None),
            (format!("看看这个 {link}"), Some("zh")),
            (format!("Das ist heute leider nicht möglich, weil wir noch keine Zeit dafür hatten: {link}"), Some("de")),
        ] {
            assert_eq!(language(&text), expected, "{text}");
        }
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
