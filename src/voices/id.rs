//! The ids of voices, and ids for names. Pure.

use deunicode::deunicode_with_tofu;

use super::MAX_NAME_CHARS;
use crate::error::Error;

/// Lower-case ASCII, so that ids are the same on every file system and never a path.
#[must_use]
pub fn is_id(name: &str) -> bool {
    let letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    name.len() <= MAX_NAME_CHARS
        && name.starts_with(letter)
        && name.chars().all(|other| letter(other) || matches!(other, '-' | '_'))
}

/// # Errors
/// That it cannot be a voice's id, and what can.
pub fn check_id(id: &str) -> Result<(), Error> {
    if is_id(id) {
        return Ok(());
    }
    let message = format!(
        "{:?} cannot be a voice's id: it is made of a-z, 0-9, - and _, begins with a letter or a digit and has \
         {MAX_NAME_CHARS} characters at most",
        id.chars().take(MAX_NAME_CHARS).collect::<String>()
    );
    Err(Error::invalid("invalid_id", Some("id"), message))
}

/// An id for a voice of that name: its letters without their marks, those of other scripts as they sound. None: there is
/// no letter and no digit in it.
#[must_use]
pub fn id_of_name(name: &str) -> Option<String> {
    let mut id = String::new();
    // More letters than an id has change nothing.
    let start: String = name.chars().take(4 * MAX_NAME_CHARS).collect();
    for letter in deunicode_with_tofu(&start, "-").chars().map(|letter| letter.to_ascii_lowercase()) {
        match letter {
            'a'..='z' | '0'..='9' => id.push(letter),
            '_' if !id.is_empty() => id.push(letter),
            // As in "don't": no seam.
            '\'' => {}
            _ if !id.is_empty() && !id.ends_with('-') => id.push('-'),
            _ => {}
        }
    }
    id.truncate(MAX_NAME_CHARS);
    id.truncate(id.trim_end_matches(['-', '_']).len());
    is_id(&id).then_some(id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_normalization::UnicodeNormalization;

    use super::*;

    #[test]
    fn ids_are_never_paths() {
        for good in ["a", "0", "a-b_c", &"a".repeat(64)] {
            assert!(is_id(good), "{good}");
        }
        for bad in ["", "-a", "_a", "A", "a.b", "..", "a/b", "a b", "é", "a\0", &"a".repeat(65)] {
            assert!(!is_id(bad), "{bad}");
        }
    }

    #[test]
    fn a_name_makes_an_id() {
        for (name, id) in [
            ("My Voice", "my-voice"),
            ("  Anna_2 (old)", "anna_2-old"),
            ("_x_", "x"),
            ("Ánh Đào", "anh-dao"),
            ("Nữ nhẹ nhàng", "nu-nhe-nhang"),
            ("Jörg Weiß", "jorg-weiss"),
            ("Søren Åse", "soren-ase"),
            ("Łukasz Þór Œuvre", "lukasz-thor-oeuvre"),
            ("小美", "xiao-mei"),
            ("Анна", "anna"),
            ("Ｆｕｌｌ　ｗｉｄｔｈ", "full-width"),
            ("O'Brien’s", "obriens"),
        ] {
            assert_eq!(id_of_name(name).as_deref(), Some(id), "{name}");
            // As names of files come from some systems.
            let apart: String = name.nfd().collect();
            assert_eq!(id_of_name(&apart).as_deref(), Some(id), "{name}, decomposed");
        }
        for name in ["", " ", "…", "_-_", "\u{301}", "\u{f8ff}"] {
            assert_eq!(id_of_name(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn whatever_it_makes_is_an_id(name in "\\PC{0,80}") {
            if let Some(id) = id_of_name(&name) {
                prop_assert!(is_id(&id), "{id}");
                prop_assert_eq!(id_of_name(&id), Some(id.clone()));
            }
        }
    }
}
