//! Where emotes stand in a message's text: as Twitch's tag tells, in code points, and cheermotes, which no tag tells. Pure.

use std::ops::Range;

use crate::chat::Emote;

/// `tag`: "25:0-4,12-16/1902:6-10", ends inclusive. What is out of the text, overlaps or is no number is left out.
pub(super) fn from_tag(tag: &str, text: &str) -> Vec<Emote> {
    let mut spans: Vec<Range<usize>> = tag
        .split('/')
        .filter_map(|emote| emote.split_once(':'))
        .flat_map(|(_id, spans)| spans.split(','))
        .filter_map(|span| {
            let (first, last) = span.split_once('-')?;
            Some(first.parse().ok()?..last.parse::<usize>().ok()?.checked_add(1)?)
        })
        .filter(|span: &Range<usize>| span.start < span.end)
        .collect();
    spans.sort_by_key(|span| (span.start, span.end));
    in_bytes(&spans, text)
}

/// Both the spans and the text are walked once, so a message full of emotes takes no more time than one without.
fn in_bytes(spans: &[Range<usize>], text: &str) -> Vec<Emote> {
    let mut emotes = Vec::new();
    let mut boundaries = text.char_indices().map(|(byte, _)| byte).chain([text.len()]).enumerate().peekable();
    let mut byte_at = |code_point: usize| {
        while boundaries.next_if(|(at, _)| *at < code_point).is_some() {}
        boundaries.peek().filter(|(at, _)| *at == code_point).map(|(_, byte)| *byte)
    };
    let mut end = 0;
    for span in spans {
        if span.start < end {
            continue;
        }
        let (Some(from), Some(to)) = (byte_at(span.start), byte_at(span.end)) else { break };
        emotes.push(Emote { name: text[from..to].to_owned(), bytes: from..to });
        end = span.end;
    }
    emotes
}

/// "Cheer100" in a message that gave bits. Prefixes differ from channel to channel; but the numbers add up to the bits.
pub(super) fn cheermotes(text: &str, bits: u64) -> Vec<Emote> {
    let mut found = Vec::new();
    let mut total = 0_u64;
    for word in text.split_ascii_whitespace() {
        let letters = word.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (name, digits) = word.split_at(letters);
        if name.is_empty() || digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            continue;
        }
        let Ok(number) = digits.parse::<u64>() else { continue };
        let start = word.as_ptr() as usize - text.as_ptr() as usize;
        total = total.saturating_add(number);
        found.push((number, Emote { name: name.to_owned(), bytes: start..start + word.len() }));
    }
    // Else a word such as "top10" is among them: only the one prefix that all channels have is sure.
    let all = total == bits;
    found
        .into_iter()
        .filter(|(_, emote)| all || emote.name.eq_ignore_ascii_case("cheer"))
        .map(|(_, emote)| emote)
        .collect()
}

/// Both kinds, ascending, without overlaps.
pub(super) fn all(tag: Option<&str>, text: &str, bits: u64) -> Vec<Emote> {
    let mut emotes = tag.map(|tag| from_tag(tag, text)).unwrap_or_default();
    if bits > 0 {
        let free = |found: &Emote| {
            emotes.iter().all(|emote| found.bytes.end <= emote.bytes.start || emote.bytes.end <= found.bytes.start)
        };
        let cheers: Vec<Emote> = cheermotes(text, bits).into_iter().filter(free).collect();
        emotes.extend(cheers);
        emotes.sort_by_key(|emote| emote.bytes.start);
    }
    emotes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(emotes: &[Emote]) -> Vec<&str> {
        emotes.iter().map(|emote| emote.name.as_str()).collect()
    }

    #[test]
    fn positions_count_code_points_and_ends_are_inclusive() {
        let text = "Kappa 你好 🎉👍🏽 Keepo Kappa";
        let at = |word: &str| text.chars().count() - text[text.rfind(word).expect("there")..].chars().count();
        let tag = format!("25:0-4,{}-{}/1902:{}-{}", at("Kappa"), at("Kappa") + 4, at("Keepo"), at("Keepo") + 4);
        let emotes = from_tag(&tag, text);
        assert_eq!(names(&emotes), ["Kappa", "Keepo", "Kappa"]);
        assert!(emotes.iter().all(|emote| text[emote.bytes.clone()] == emote.name));
    }

    #[test]
    fn spans_that_cannot_be_are_left_out() {
        assert_eq!(names(&from_tag("1:0-1,1-2,9-10,5-3,x-1,3-18446744073709551615/2", "abcd")), ["ab"]);
        assert_eq!(names(&from_tag("1:3-3", "abcd")), ["d"]);
        assert!(from_tag("1:4-4", "abcd").is_empty());
    }

    #[test]
    fn cheers_are_emotes_and_other_words_with_numbers_are_not() {
        assert_eq!(names(&all(None, "Cheer100 go top10 PogChamp50", 160)), ["Cheer", "top", "PogChamp"]);
        assert_eq!(names(&all(None, "cheer100 go top10", 100)), ["cheer"]);
        assert!(all(None, "cheer100 go top10", 0).is_empty());
        assert_eq!(names(&all(Some("1:0-7"), "Cheer100 Cheer1", 101)), ["Cheer100", "Cheer"]);
    }

    proptest! {
        #[test]
        fn ranges_are_on_boundaries_ascending_and_apart(
            text in "\\PC{0,60}",
            tag in "([0-9]{1,2}:[0-9]{1,2}-[0-9]{1,2}(,[0-9]{1,2}-[0-9]{1,2}){0,4}/?){0,5}|.{0,40}",
            bits in 0_u64..200,
        ) {
            let mut end = 0;
            for emote in all(Some(&tag), &text, bits) {
                prop_assert!(end <= emote.bytes.start && emote.bytes.start < emote.bytes.end);
                prop_assert!(text.get(emote.bytes.clone()).is_some());
                end = emote.bytes.end;
            }
        }
    }
}
