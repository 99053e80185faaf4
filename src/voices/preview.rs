//! What a voice says of itself.

/// Sentences of everyday words, long enough to hear a voice.
const SENTENCES: [(&str, &str); 12] = [
    ("de", "Hallo, so klinge ich, wenn ich dir etwas erzähle."),
    ("en", "Hello there, this is how I sound when I speak to you."),
    ("es", "Hola, así sueno cuando te hablo."),
    ("fr", "Bonjour, voici comment je parle."),
    ("it", "Ciao, questa è la mia voce quando ti parlo."),
    ("ja", "こんにちは、私の声はこんな感じです。"),
    ("ko", "안녕하세요, 제 목소리는 이렇게 들립니다."),
    ("nl", "Hallo, zo klink ik als ik met je praat."),
    ("pl", "Cześć, tak brzmi mój głos, kiedy do ciebie mówię."),
    ("pt", "Olá, é assim que eu soo quando falo contigo."),
    ("vi", "Xin chào, đây là giọng nói của tôi."),
    ("zh", "你好，这就是我说话的声音。"),
];
const ENGLISH: usize = 1;

/// In a language (BCP 47), else in English.
#[must_use]
pub fn sentence(language: &str) -> &'static str {
    let main = language.split('-').next().unwrap_or_default();
    let own = SENTENCES.iter().find(|(known, _)| known.eq_ignore_ascii_case(main));
    own.unwrap_or(&SENTENCES[ENGLISH]).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_in_the_language_or_in_english() {
        assert!(sentence("VI-VN").starts_with("Xin"));
        for other in ["en", "en-GB", "und", "", "tlh"] {
            assert!(sentence(other).starts_with("Hello"), "{other}");
        }
    }
}
