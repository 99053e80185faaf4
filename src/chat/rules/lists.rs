//! The lists of words that come with the program (banned.txt). Pure.

use base64::{Engine, prelude::BASE64_STANDARD};

const LISTS: &str = include_str!("banned.txt");

/// Of those lists: as in `chat.rules.banned_words`.
///
/// # Errors
/// There is no list of a name.
pub(super) fn entries(names: &[String]) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for name in names {
        let found = sections().find(|(section, _)| section.eq_ignore_ascii_case(name));
        let Some((_, lines)) = found else {
            let known: Vec<&str> = sections().map(|(section, _)| section).collect();
            return Err(format!("banned_lists: there is no list {name:?}; there are {}", known.join(", ")));
        };
        all.extend(lines.lines().filter_map(entry));
    }
    Ok(all)
}

/// Names, and what stands below them.
fn sections() -> impl Iterator<Item = (&'static str, &'static str)> {
    LISTS.split("\n[").skip(1).filter_map(|section| section.split_once("]\n"))
}

fn entry(line: &str) -> Option<String> {
    String::from_utf8(BASE64_STANDARD.decode(line.trim()).ok()?).ok().filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_an_entry() {
        for (name, lines) in sections() {
            assert!(lines.lines().count() > 5, "{name}");
            assert!(lines.lines().all(|line| entry(line).is_some()), "{name}");
        }
        let names: Vec<&str> = sections().map(|(name, _)| name).collect();
        assert_eq!(names, ["en", "zh", "vi"]);
        assert!(entries(&["fr".to_owned()]).is_err_and(|why| why.contains("en, zh, vi")));
    }
}
