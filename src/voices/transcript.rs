//! What is told of a voice in words: of those that no engine can say, and no log can show, nothing is kept. Pure.

use crate::error::Error;

/// The words of a clip, on one line. `param`: the field of a request that holds them.
///
/// # Errors
/// Control characters other than those that part lines and columns.
pub fn transcript(text: &str, param: &'static str) -> Result<String, Error> {
    let mut words = String::with_capacity(text.len());
    let mut parted = false;
    for letter in text.trim().chars() {
        if letter.is_control() && !letter.is_whitespace() {
            return Err(control(param, letter));
        }
        if letter.is_control() {
            parted = true;
            continue;
        }
        if std::mem::take(&mut parted) {
            words.push(' ');
        }
        words.push(letter);
    }
    Ok(words)
}

/// For people: a name, a licence, or with lines a description.
///
/// # Errors
/// Control characters, but for those between lines if there may be `lines`.
pub(super) fn label(text: String, param: &'static str, lines: bool) -> Result<String, Error> {
    match text.chars().find(|letter| letter.is_control() && !(lines && letter.is_whitespace())) {
        Some(letter) => Err(control(param, letter)),
        None => Ok(text),
    }
}

fn control(param: &'static str, letter: char) -> Error {
    let message = format!("{param:?} must not hold control characters, such as U+{:04X}", u32::from(letter));
    Error::invalid("invalid_value", Some(param), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_is_one_line_of_what_can_be_said() {
        for (text, words) in [
            ("Hi.", "Hi."),
            (" Hi.\n", "Hi."),
            ("One.\r\nTwo.\t\tThree.\u{85}Four.", "One. Two. Three. Four."),
            ("Xin chào, 你好 👋🏽", "Xin chào, 你好 👋🏽"),
            ("  ", ""),
        ] {
            assert_eq!(transcript(text, "text").as_deref(), Ok(words));
        }
        for (text, named) in [("a\0b", "U+0000"), ("a\u{1b}[31m", "U+001B"), ("a\u{7f}", "U+007F")] {
            match transcript(text, "text").expect_err(named) {
                Error::Invalid { code: "invalid_value", param: Some("text"), message } => {
                    assert!(message.contains(named), "{message}");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_label_is_one_line_and_a_description_may_be_more() {
        assert_eq!(label("CC0-1.0".to_owned(), "licence", false).as_deref(), Ok("CC0-1.0"));
        assert!(label("CC0\n1.0".to_owned(), "licence", false).is_err());
        assert_eq!(label("One.\nTwo.".to_owned(), "description", true).as_deref(), Ok("One.\nTwo."));
        assert!(label("One.\0Two.".to_owned(), "description", true).is_err());
    }
}
