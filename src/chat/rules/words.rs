//! The rules on the words: what of them is said and shown, in which language, and how much.

use std::ops::Range;

use super::{
    Outcome,
    judge::{Case, Decided},
    shape,
};
use crate::{
    chat::message::Kind,
    config::{Banned, Caps, Links, Part, TooLong},
    text,
};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Banned,
    Link,
    Emote,
}

/// Banned words, links and emotes, all looked for in the words as they were written. Whether it must be approved.
pub(super) fn parts(case: &mut Case<'_>, range: Range<usize>) -> Decided<bool> {
    let settings = &case.rules.settings;
    let (text, offset) = (&case.message.text[range.clone()], range.start);
    let mut marks: Vec<(Range<usize>, Mark)> = Vec::new();
    let banned = merged(case.rules.banned.find(text));
    let mut held = false;
    match (banned.first(), settings.banned) {
        (None, _) => case.pass("banned")?,
        (Some(_), Banned::Refuse) => case.refuse("banned", "it holds a banned word")?,
        (Some(_), Banned::Replace) => {
            marks.extend(banned.into_iter().map(|range| (range, Mark::Banned)));
            case.changed("banned", "a banned word was replaced")?;
        }
        (Some(_), Banned::Hold) => {
            held = true;
            case.changed("banned", "it holds a banned word: somebody must approve it")?;
        }
    }
    let links = shape::links(text);
    match (links.first(), settings.links) {
        (None, _) => case.pass("links")?,
        (Some(_), Links::Refuse) => case.refuse("links", "it holds a link")?,
        (Some(_), Links::Drop) => case.changed("links", "a link is not said")?,
        (Some(_), Links::Say) => case.changed("links", format!("a link is said as {:?}", settings.link_word))?,
    }
    marks.extend(links.into_iter().map(|range| (range, Mark::Link)));
    let emotes = case
        .message
        .emotes
        .iter()
        .filter(|emote| emote.bytes.start >= offset && emote.bytes.end <= offset + text.len());
    marks.extend(emotes.map(|emote| (emote.bytes.start - offset..emote.bytes.end - offset, Mark::Emote)));
    let (keep, seen) = build(case, text, marks);
    match seen {
        0 => case.pass("emotes")?,
        seen if seen > keep => case.changed("emotes", format!("{} of {seen} emotes are said", keep))?,
        _ => case.pass("emotes")?,
    }
    Ok(held)
}

/// Fills in what is said and what is shown. How many emotes are said at most, and how many there are.
fn build(case: &mut Case<'_>, text: &str, mut marks: Vec<(Range<usize>, Mark)>) -> (usize, usize) {
    let settings = &case.rules.settings;
    marks.retain(|(range, _)| text.get(range.clone()).is_some_and(|part| !part.is_empty()));
    marks.sort_by_key(|(range, mark)| (*mark, range.start));
    let mut taken: Vec<(Range<usize>, Mark)> = Vec::new();
    for (range, mark) in marks {
        // Of two that overlap, the one whose rule comes first.
        if taken.iter().all(|(other, _)| range.end <= other.start || range.start >= other.end) {
            taken.push((range, mark));
        }
    }
    taken.sort_by_key(|(range, _)| range.start);
    let keep = match settings.emotes {
        Part::Say => usize::MAX,
        Part::Limit => settings.max_emotes,
        Part::Drop => 0,
    };
    let (mut said, mut shown) = (String::with_capacity(text.len()), String::with_capacity(text.len()));
    let (mut at, mut seen) = (0, 0);
    for (range, mark) in taken {
        said.push_str(&text[at..range.start]);
        shown.push_str(&text[at..range.start]);
        at = range.end;
        let part = &text[range];
        let word = match (mark, settings.links) {
            (Mark::Banned, _) => settings.replacement.as_str(),
            (Mark::Link, Links::Drop) => "",
            (Mark::Link, _) => settings.link_word.as_str(),
            // "Cheer100": the template tells the bits.
            (Mark::Emote, _) if is_cheermote(&case.message.kind, part) => "",
            (Mark::Emote, _) => {
                seen += 1;
                if seen <= keep { part } else { "" }
            }
        };
        said.push(' ');
        said.push_str(word);
        said.push(' ');
        shown.push_str(if mark == Mark::Emote { part } else { word });
    }
    said.push_str(&text[at..]);
    shown.push_str(&text[at..]);
    (case.said, case.shown) = (shape::tidy(&said), shape::tidy(&shown));
    (keep, seen)
}

fn is_cheermote(kind: &Kind, part: &str) -> bool {
    let prefix = part.trim_end_matches(|c: char| c.is_ascii_digit());
    matches!(kind, Kind::Cheer { .. }) && prefix.len() < part.len() && prefix.chars().all(|c| c.is_ascii_alphabetic())
}

fn merged(mut found: Vec<Range<usize>>) -> Vec<Range<usize>> {
    found.sort_by_key(|range| range.start);
    let mut all: Vec<Range<usize>> = Vec::new();
    for range in found {
        match all.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => all.push(range),
        }
    }
    all
}

/// What was taken out or cut may have parted a banned word, or be all that hid it.
pub(super) fn banned_again(case: &mut Case<'_>, held: bool) -> Decided {
    if !held && !case.rules.banned.find(&case.said).is_empty() {
        return case.refuse("banned", "it holds a banned word once other parts are taken out");
    }
    Ok(())
}

pub(super) fn emoji(case: &mut Case<'_>) -> Decided {
    let settings = &case.rules.settings;
    let most = match settings.emoji {
        Part::Say => return case.pass("emoji"),
        Part::Limit => settings.max_emotes,
        Part::Drop => 0,
    };
    let said = shape::limit_emoji(&case.said, most);
    case.say("emoji", said, "not all of the emoji are said")
}

pub(super) fn repeats(case: &mut Case<'_>) -> Decided {
    let said = shape::limit_repeats(&case.said, case.rules.settings.max_repeats);
    case.say("repeats", said, "repetitions are cut")
}

/// What was taken out may have been all that hid a link.
pub(super) fn links_again(case: &mut Case<'_>) -> Decided {
    let settings = &case.rules.settings;
    let found = shape::links(&case.said);
    let word = match settings.links {
        _ if found.is_empty() => return Ok(()),
        Links::Refuse => return case.refuse("links", "it holds a link once other parts are taken out"),
        Links::Drop => "",
        Links::Say => &settings.link_word,
    };
    let (mut said, mut at) = (String::with_capacity(case.said.len()), 0);
    for link in found {
        said.extend([&case.said[at..link.start], " ", word, " "]);
        at = link.end;
    }
    said.push_str(&case.said[at..]);
    case.say("links", shape::tidy(&said), "a link is not said")
}

/// What was paid for is said all the same, without the words: who sent how much.
fn refuse_words(case: &mut Case<'_>, rule: &'static str, reason: &str) -> Decided {
    if !case.paid {
        return case.refuse(rule, reason);
    }
    case.said.clear();
    case.shown.clear();
    case.changed(rule, format!("{reason}: only what was paid is said"))
}

pub(super) fn caps(case: &mut Case<'_>) -> Decided {
    match case.rules.settings.caps {
        Caps::Refuse if shape::shouts(&case.said) => refuse_words(case, "caps", "it is all capitals"),
        Caps::Lower if shape::shouts(&case.said) => {
            let said = case.said.to_lowercase();
            case.say("caps", said, "capitals are said as small letters")
        }
        _ => case.pass("caps"),
    }
}

pub(super) fn words(case: &mut Case<'_>) -> Decided {
    if case.plain && !shape::is_speakable(&case.said) {
        return case.refuse("words", "there are no words in it");
    }
    case.pass("words")
}

pub(super) fn language(case: &mut Case<'_>) -> Decided<Option<String>> {
    let settings = &case.rules.settings;
    let found = text::language(&case.said).or_else(|| text::is_english(&case.said).then_some("en"));
    let Some(found) = found else { return case.pass("language").map(|()| None) };
    let base = |tag: &str| tag.split('-').next().unwrap_or_default().to_lowercase();
    if !settings.languages.is_empty() && !settings.languages.iter().any(|tag| base(tag) == base(found)) {
        return refuse_words(case, "language", &format!("it is in {found:?}, which is not spoken")).map(|()| None);
    }
    let reason = format!("it is in {found:?}");
    case.told("language", Outcome::Passed, reason);
    Ok(Some(found.to_owned()))
}

pub(super) fn longest(case: &Case<'_>) -> usize {
    let settings = &case.rules.settings;
    if case.paid { settings.max_paid_chars } else { settings.max_chars }
}

pub(super) fn length(case: &mut Case<'_>) -> Decided {
    let settings = &case.rules.settings;
    let most = longest(case);
    let Some(said) = shape::cut(&case.said, most) else {
        case.shown = shape::cut(&case.shown, most).unwrap_or_else(|| std::mem::take(&mut case.shown));
        return case.pass("length");
    };
    if settings.too_long == TooLong::Refuse && !case.paid {
        return case.refuse("length", format!("it is longer than {most} characters"));
    }
    case.shown = shape::cut(&case.shown, most).unwrap_or_else(|| std::mem::take(&mut case.shown));
    case.say("length", said, &format!("cut to {most} characters"))
}
