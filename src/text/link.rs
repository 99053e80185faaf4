//! Links: what stands for a page, and is said as its host alone, however long it is. Pure, on the caller's thread.
//!
//! Nothing is cut inside of one, and of what is not said of it (scheme, path and query) nothing counts, where the engine
//! reads links. What a link is must be one there as well, so these rules are those of `ishowtts/text/web.py`, and
//! `tests/data/links.json` holds the two together. A link is printable ASCII: what follows is for the engine to tell.

use std::{borrow::Cow, cell::Cell, ops::Range};

use super::cluster::{Measure, is_boundary};

/// In bytes: longer than browsers, mail and signed links need. What goes on is text like any other, so that a stream which
/// never ends its link is still said.
pub(super) const MAX_LINK: usize = 2048;
const MAX_SCHEME: usize = 16;
const MAX_USER: usize = 64;
/// The longest name that DNS takes.
const MAX_HOST: usize = 253;
const MAX_LABEL: usize = 63;
const LABELS: Range<usize> = 2..6;
/// Characters that " dot " has beside its own.
const SAID_MARK: usize = 4;

/// Endings that tell a host by themselves where a path follows.
const ENDINGS: &[&str] = &[
    "com", "net", "org", "edu", "gov", "io", "tv", "gg", "me", "co", "cn", "jp", "uk", "de", "fr", "eu", "us", "ru",
    "info", "dev", "app", "ai", "xyz", "live", "top", "fm", "ly", "be", "moe",
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    /// In bytes. Sentence marks at its end are not part of it, nor are brackets that close what it stands in.
    pub at: Range<usize>,
    /// What counts of it: its host, though never more than a segment may have.
    pub said: Measure,
    /// Of the whole of it.
    written: Measure,
}

/// Those of a text, in order. None where the engine says links as they are written.
#[derive(Debug, Default)]
pub(super) struct Links {
    all: Vec<Link>,
    /// The answer to the last question: who asks goes through the text, so the next one is near.
    near: Cell<usize>,
}

impl Links {
    /// `most_chars`: of the shortest segment there is.
    pub fn find(text: &str, most_chars: usize) -> Self {
        let mut links: Vec<Link> = Vec::new();
        // Most texts hold none, and these searches are far faster than the one below.
        if !text.contains('/') && !["www.", "Www.", "WWW."].iter().any(|www| text.contains(www)) {
            return Self::default();
        }
        let bytes = text.as_bytes();
        let mut from = 0;
        while let Some(at) = bytes[from..].iter().position(|byte| matches!(byte, b'/' | b'.')).map(|at| from + at) {
            from = at + 1;
            let after = links.last().map_or(0, |link| link.at.end);
            let Some(link) = read(text, at, most_chars).filter(|link| link.at.start >= after) else { continue };
            from = link.at.end.max(from);
            links.push(link);
        }
        Self { all: links, near: Cell::new(0) }
    }

    /// The index of the first link that begins at `at` or behind it.
    fn from(&self, at: usize) -> usize {
        let mut index = self.near.get();
        while index > 0 && self.all[index - 1].at.start >= at {
            index -= 1;
        }
        while self.all.get(index).is_some_and(|link| link.at.start < at) {
            index += 1;
        }
        self.near.set(index);
        index
    }

    /// The end of the link that `at` lies in, its beginning excluded.
    pub fn torn_at(&self, at: usize) -> Option<usize> {
        let link = &self.all[..self.from(at)].last()?;
        (at < link.at.end).then_some(link.at.end)
    }

    /// The link that begins at `at`.
    pub fn starting(&self, at: usize) -> Option<&Link> {
        self.all.get(self.from(at)).filter(|link| link.at.start == at)
    }

    /// What counts of `range`, which tears no link and which `written` is the measure of.
    pub fn said(&self, range: &Range<usize>, written: Measure) -> Measure {
        let within = self.all[self.from(range.start)..].iter().take_while(|link| link.at.start < range.end);
        within.fold(written, |sum, link| Measure {
            chars: sum.chars + link.said.chars - link.written.chars,
            speakable: sum.speakable + link.said.speakable - link.written.speakable,
        })
    }
}

/// `text` without its links.
pub(super) fn left_out(text: &str) -> Cow<'_, str> {
    let links = Links::find(text, MAX_HOST).all;
    if links.is_empty() {
        return Cow::Borrowed(text);
    }
    let starts = std::iter::once(0).chain(links.iter().map(|link| link.at.end));
    let ends = links.iter().map(|link| link.at.start).chain([text.len()]);
    Cow::Owned(starts.zip(ends).map(|(start, end)| &text[start..end]).collect())
}

fn is_www(bytes: &[u8]) -> bool {
    matches!(bytes, b"www." | b"Www." | b"WWW.")
}

/// The link whose opening ends with the `/` or `.` at `at`.
fn read(text: &str, at: usize, most_chars: usize) -> Option<Link> {
    let bytes = text.as_bytes();
    let start = opening(bytes, at)?;
    let most = start.saturating_add(MAX_LINK).min(bytes.len());
    let by_ending = !(bytes[..at].ends_with(b"/") || is_www(&bytes[start..=at]));
    let host = if by_ending { start..at } else { host(bytes, at + 1)? };
    let named = bytes[host.clone()].iter().filter(|byte| byte.is_ascii_alphanumeric()).count();
    let end = path(bytes, host.end.min(most), most);
    // A mark behind it belongs to its last character, a sign before numbers to its first.
    let end = if is_boundary(text, start, end) { end } else { end - 1 };
    if named == 0 || end <= start || !is_boundary(text, 0, start) {
        return None;
    }
    let marks = bytes[host.clone()].iter().filter(|byte| !byte.is_ascii_alphanumeric()).count();
    let chars = (host.len() + SAID_MARK * marks).min(most_chars).max(1);
    let written = bytes[start..end].iter().filter(|byte| byte.is_ascii_alphanumeric()).count();
    Some(Link {
        at: start..end,
        said: Measure { chars: chars.min(end - start), speakable: named.min(chars).min(written) },
        written: Measure { chars: end - start, speakable: written },
    })
}

/// Where the link begins whose opening ends with the character at `at`: `https://`, `www.`, or `example.com/`.
pub(super) fn opening(bytes: &[u8], at: usize) -> Option<usize> {
    let before = &bytes[..at];
    match bytes.get(at)? {
        b'/' if before.ends_with(b":/") => {
            let scheme = &before[..at - 2];
            let length = scheme.iter().rev().take(MAX_SCHEME).take_while(|byte| byte.is_ascii_alphanumeric()).count();
            // Digits right before it are a time or a price.
            let begins = |&start: &usize| {
                let inside = start > 0 && scheme[start - 1].is_ascii_alphabetic();
                scheme[start].is_ascii_alphabetic() && !inside
            };
            (scheme.len() - length..scheme.len()).find(begins)
        }
        b'/' => by_ending(before),
        b'.' if at >= 3 && is_www(&bytes[at - 3..=at]) => {
            let joins = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'@' | b'.');
            (!before[..at - 3].last().is_some_and(joins)).then_some(at - 3)
        }
        _ => None,
    }
}

/// The host that `bytes` end with, if it can be told by its ending.
fn by_ending(bytes: &[u8]) -> Option<usize> {
    let length = bytes.iter().rev().take(5).position(|&byte| byte == b'.')?;
    let ending = &bytes[bytes.len() - length..];
    if !ENDINGS.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(ending)) {
        return None;
    }
    let start = run(bytes, MAX_HOST, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))?;
    if bytes[..start].last().is_some_and(|byte| matches!(byte, b'_' | b'@' | b'/')) {
        return None;
    }
    let mut labels = bytes[start..].split(|&byte| byte == b'.');
    let sound = |label: &[u8]| label.first().is_some_and(u8::is_ascii_alphanumeric) && label.len() <= MAX_LABEL;
    (LABELS.contains(&labels.clone().count()) && labels.all(sound)).then_some(start)
}

/// Where the bytes begin that `is` holds for, up to the end of `bytes`; none if there are none, or more than `most`.
fn run(bytes: &[u8], most: usize, is: impl Fn(u8) -> bool) -> Option<usize> {
    let length = bytes.iter().rev().take(most + 1).take_while(|&&byte| is(byte)).count();
    (1..=most).contains(&length).then(|| bytes.len() - length)
}

/// The host behind an opening, and behind the name of a user; none if there is none that DNS would take.
fn host(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let ends_user = |byte: &u8| !byte.is_ascii_graphic() || matches!(byte, b'/' | b'?' | b'#' | b'@');
    let user = bytes[at..].iter().take(MAX_USER + 1).position(ends_user);
    let start = user.filter(|user| bytes[at + user] == b'@').map_or(at, |user| at + user + 1);
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let name = bytes[start..].iter().take(MAX_HOST + 1).take_while(|byte| is_name(byte));
    let length = name.count();
    let tail = bytes[start..start + length].iter().rev().take_while(|byte| matches!(byte, b'-' | b'.')).count();
    let www = if length > 4 && is_www(&bytes[start..start + 4]) { 4 } else { 0 };
    (www + tail < length && length <= MAX_HOST).then(|| start + www..start + length - tail)
}

/// The end of the link whose host ends at `at`, at `most` at the latest.
fn path(bytes: &[u8], at: usize, most: usize) -> usize {
    let mut end = at;
    if bytes.get(end) == Some(&b':') {
        let digits = bytes[end + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count().min(5);
        end = if digits > 0 { end + 1 + digits } else { end };
    }
    if bytes.get(end).is_some_and(|byte| matches!(byte, b'/' | b'?' | b'#')) {
        let length = unbroken(&bytes[end..most.max(end)]);
        let closed = bytes[end..end + length].iter().rev().take_while(|&&byte| is_closing(byte)).count();
        end += length - closed;
    }
    end.min(most)
}

/// How far a path goes. Brackets in it come in pairs: one that closes what was opened before the link ends it.
fn unbroken(path: &[u8]) -> usize {
    let plain = |from: usize| (from..path.len()).take_while(|&at| is_plain(&path[at..])).count();
    let mut at = plain(0);
    while let Some(closing) = path.get(at).and_then(|&opening| closing_of(opening)) {
        let inside = plain(at + 1);
        if path.get(at + 1 + inside) != Some(&closing) {
            break;
        }
        at += inside + 2;
        at += plain(at);
    }
    at
}

fn closing_of(opening: u8) -> Option<u8> {
    match opening {
        b'(' => Some(b')'),
        b'[' => Some(b']'),
        b'{' => Some(b'}'),
        _ => None,
    }
}

/// Whether a path holds the first byte of `rest` by itself: `https://a.b/c,https://d.e/f` are two.
fn is_plain(rest: &[u8]) -> bool {
    let next = || rest[1..].starts_with(b"http://") || rest[1..].starts_with(b"https://");
    match rest[0] {
        b'(' | b')' | b'[' | b']' | b'{' | b'}' => false,
        b',' | b';' => !next(),
        byte => goes_on(byte),
    }
}

/// Whether a path may hold it. Quotes and angle brackets are put around links, bars between them.
pub(super) fn goes_on(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'`' | b'|')
}

/// What belongs to the sentence around a link that it ends.
fn is_closing(byte: u8) -> bool {
    matches!(byte, b'.' | b',' | b';' | b':' | b'!' | b'?' | b'\'' | b'*')
}

#[cfg(test)]
mod tests {
    use super::{super::cluster::measure, *};

    fn found(text: &str) -> Vec<&str> {
        Links::find(text, 80).all.into_iter().map(|link| &text[link.at]).collect()
    }

    #[test]
    fn links_are_found_as_the_normaliser_finds_them() {
        let rows: serde_json::Value = serde_json::from_str(include_str!("../../tests/data/links.json")).unwrap();
        let rows = rows.as_array().unwrap();
        assert!(rows.len() > 20);
        for row in rows {
            let expected: Vec<&str> =
                row["links"].as_array().unwrap().iter().map(|link| link.as_str().unwrap()).collect();
            assert_eq!(found(row["text"].as_str().unwrap()), expected);
        }
    }

    #[test]
    fn what_no_name_server_would_take_is_no_link() {
        let name = |chars: usize| format!("https://{}.example.com/x", "a".repeat(chars));
        assert_eq!(found(&name(200)), [name(200)]);
        assert!(found(&name(250)).is_empty());
        assert!(found(&format!("{}.example.com/x", "a".repeat(64))).is_empty());
        assert!(found(&format!("{}://a.b/", "a".repeat(17))).is_empty());
        // What belongs to one character stays together.
        assert_eq!(found("https://a.b/cd\u{301} x"), ["https://a.b/c"]);
        assert!(found("\u{600}https://a.b/c").is_empty());
    }

    #[test]
    fn a_link_counts_as_its_host() {
        let text = "看 https://www.example.com/a/b?c=d, ok";
        let said = |most_chars| Links::find(text, most_chars).said(&(0..text.len()), measure(text));
        let host = "example dot com".len();
        assert_eq!(said(80), Measure { chars: "看 , ok".chars().count() + host, speakable: 3 + "examplecom".len() });
        assert_eq!(said(5).chars, "看 , ok".chars().count() + 5);
    }
}
