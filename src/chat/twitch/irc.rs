//! One line of IRC with IRCv3 message tags (RFC 1459, 2.3; IRCv3 "Message Tags"). Pure, in time proportional to the line.

use std::borrow::Cow;

/// Borrowed from the line that it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line<'a> {
    tags: Vec<(&'a str, &'a str)>,
    pub prefix: Option<&'a str>,
    pub command: &'a str,
    pub params: Vec<&'a str>,
}

impl<'a> Line<'a> {
    /// None: there is no command in it.
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let mut rest = line.trim_end_matches(['\r', '\n']);
        let mut tags = Vec::new();
        if let Some(tagged) = rest.strip_prefix('@') {
            let (all, after) = tagged.split_once(' ')?;
            tags = all.split(';').filter(|tag| !tag.is_empty()).map(key_and_value).collect();
            rest = after.trim_start_matches(' ');
        }
        let mut prefix = None;
        if let Some(prefixed) = rest.strip_prefix(':') {
            let (name, after) = prefixed.split_once(' ')?;
            prefix = Some(name);
            rest = after.trim_start_matches(' ');
        }
        let (command, mut rest) = rest.split_once(' ').unwrap_or((rest, ""));
        if command.is_empty() {
            return None;
        }
        let mut params = Vec::new();
        loop {
            rest = rest.trim_start_matches(' ');
            if let Some(last) = rest.strip_prefix(':') {
                params.push(last);
                break;
            }
            if rest.is_empty() {
                break;
            }
            let (param, after) = rest.split_once(' ').unwrap_or((rest, ""));
            params.push(param);
            rest = after;
        }
        Some(Self { tags, prefix, command, params })
    }

    /// A tag's value with its escapes undone. Empty and missing are the same, says IRCv3.
    pub(super) fn tag(&self, name: &str) -> Option<Cow<'a, str>> {
        let (_, value) = self.tags.iter().rev().find(|(key, _)| *key == name)?;
        (!value.is_empty()).then(|| unescape(value))
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.tag(name)?.parse().ok()
    }

    pub(super) fn param(&self, index: usize) -> &'a str {
        self.params.get(index).copied().unwrap_or_default()
    }

    /// "nick" of "nick!user@host".
    pub(super) fn nick(&self) -> &'a str {
        let prefix = self.prefix.unwrap_or_default();
        prefix.split_once('!').map_or(prefix, |(nick, _)| nick)
    }
}

fn key_and_value(tag: &str) -> (&str, &str) {
    tag.split_once('=').unwrap_or((tag, ""))
}

fn unescape(value: &str) -> Cow<'_, str> {
    if !value.contains('\\') {
        return Cow::Borrowed(value);
    }
    let mut plain = String::with_capacity(value.len());
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            plain.push(letter);
            continue;
        }
        match letters.next() {
            Some('s') => plain.push(' '),
            Some(':') => plain.push(';'),
            Some('r') => plain.push('\r'),
            Some('n') => plain.push('\n'),
            // An unknown escape is the letter itself; one at the end is nothing.
            Some(other) => plain.push(other),
            None => {}
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tags_prefix_command_and_parameters() {
        let line = Line::parse(
            "@id=a1;display-name=\\sA\\:b\\\\c\\x;mod=;flag :u!u@u.tmi.twitch.tv PRIVMSG #c :hi: there \r\n",
        )
        .expect("a line");
        assert_eq!(line.tag("id").as_deref(), Some("a1"));
        assert_eq!(line.tag("display-name").as_deref(), Some(" A;b\\cx"));
        assert_eq!((line.tag("mod"), line.tag("flag"), line.tag("none")), (None, None, None));
        assert_eq!((line.nick(), line.command), ("u", "PRIVMSG"));
        assert_eq!(line.params, ["#c", "hi: there "]);
    }

    #[test]
    fn lines_without_this_or_that() {
        let ping = Line::parse("PING :tmi.twitch.tv").expect("a line");
        assert_eq!((ping.command, ping.param(0), ping.prefix), ("PING", "tmi.twitch.tv", None));
        let welcome = Line::parse(":tmi.twitch.tv 001  nick  :Welcome, GLHF!").expect("a line");
        assert_eq!((welcome.command, welcome.param(0), welcome.param(1)), ("001", "nick", "Welcome, GLHF!"));
        assert_eq!(welcome.param(7), "");
        for empty in ["", "\r\n", "@a=b", "@a=b ", ":x", ":x ", " "] {
            assert_eq!(Line::parse(empty), None, "{empty:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,400}") {
            if let Some(line) = Line::parse(&text) {
                let _ = (line.nick(), line.tag("a"), line.number("a"));
                prop_assert!(!line.command.is_empty());
            }
        }

        #[test]
        fn escapes_are_undone(value in "[ ;\\\\\r\na-z:]{1,30}") {
            let escaped: String = value.chars().map(|letter| match letter {
                ' ' => "\\s".to_owned(),
                ';' => "\\:".to_owned(),
                '\\' => "\\\\".to_owned(),
                '\r' => "\\r".to_owned(),
                '\n' => "\\n".to_owned(),
                other => other.to_string(),
            }).collect();
            let text = format!("@k={escaped} X");
            let line = Line::parse(&text).expect("a line");
            let read = line.tag("k");
            prop_assert_eq!(read.as_deref(), Some(value.as_str()));
        }
    }
}
