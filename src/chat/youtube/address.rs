//! What a user gives to name a stream: addresses, ids and handles in the forms that YouTube has. Pure.

use url::Url;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Video(String),
    ChannelId(String),
    /// With its "@".
    Handle(String),
    /// Of the old addresses `/user/NAME`.
    UserName(String),
}

const VIDEO_ID_CHARS: usize = 11;
const CHANNEL_ID_CHARS: usize = 24;

/// None: nothing that YouTube has.
pub(super) fn parse(text: &str) -> Option<Address> {
    let text = text.trim();
    if text.starts_with('@') {
        return handle(text);
    }
    if !text.contains(['/', '.']) {
        return channel_id(text).or_else(|| video(text));
    }
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&with_scheme).ok()?;
    let host = url.host_str()?.trim_start_matches("www.").trim_start_matches("m.").to_owned();
    let mut path = url.path_segments()?.filter(|segment| !segment.is_empty());
    let first = path.next().unwrap_or_default();
    if host == "youtu.be" {
        return video(first);
    }
    if !matches!(host.as_str(), "youtube.com" | "studio.youtube.com" | "gaming.youtube.com" | "music.youtube.com") {
        return None;
    }
    let second = path.next().unwrap_or_default();
    match first {
        "watch" | "live_chat" => video(&url.query_pairs().find(|(key, _)| key == "v")?.1),
        "live" | "shorts" | "embed" | "v" | "video" => video(second),
        "channel" => channel_id(second),
        "user" => word(second).map(Address::UserName),
        // "/c/NAME" is no name that the API knows, but nearly always the handle as well.
        "c" => handle(&format!("@{second}")),
        name if name.starts_with('@') || name.starts_with("%40") => handle(&name.replacen("%40", "@", 1)),
        _ => None,
    }
}

fn video(id: &str) -> Option<Address> {
    (id.len() == VIDEO_ID_CHARS && is_id(id)).then(|| Address::Video(id.to_owned()))
}

fn channel_id(id: &str) -> Option<Address> {
    (id.len() == CHANNEL_ID_CHARS && id.starts_with("UC") && is_id(id)).then(|| Address::ChannelId(id.to_owned()))
}

/// Handles may be of any script (addresses hold them with escapes).
fn handle(handle: &str) -> Option<Address> {
    let name =
        url::form_urlencoded::parse(format!("h={}", handle.replace('+', "%2B")).as_bytes()).next()?.1.into_owned();
    let bare = name.strip_prefix('@')?;
    word(bare).map(|bare| Address::Handle(format!("@{bare}")))
}

fn word(text: &str) -> Option<String> {
    let good = (1..=100).contains(&text.chars().count())
        && text.chars().all(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.' | '·'));
    good.then(|| text.to_owned())
}

fn is_id(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_the_forms() {
        let video = Some(Address::Video("dQw4w9WgXcQ".into()));
        for text in [
            "dQw4w9WgXcQ",
            " https://www.youtube.com/watch?v=dQw4w9WgXcQ&t=1s ",
            "youtube.com/watch?app=desktop&v=dQw4w9WgXcQ",
            "https://youtu.be/dQw4w9WgXcQ?si=abc",
            "https://m.youtube.com/live/dQw4w9WgXcQ",
            "https://studio.youtube.com/video/dQw4w9WgXcQ/livestreaming",
            "https://www.youtube.com/live_chat?is_popout=1&v=dQw4w9WgXcQ",
        ] {
            assert_eq!(parse(text), video, "{text}");
        }
        let channel = Some(Address::ChannelId("UC_x5XG1OV2P6uZZ5FSM9Ttw".into()));
        for text in ["UC_x5XG1OV2P6uZZ5FSM9Ttw", "https://www.youtube.com/channel/UC_x5XG1OV2P6uZZ5FSM9Ttw/live"] {
            assert_eq!(parse(text), channel, "{text}");
        }
        for text in
            ["@GoogleDevelopers", "https://www.youtube.com/@GoogleDevelopers/live", "youtube.com/%40GoogleDevelopers"]
        {
            assert_eq!(parse(text), Some(Address::Handle("@GoogleDevelopers".into())), "{text}");
        }
        assert_eq!(parse("https://www.youtube.com/@%E6%B8%AC%E8%A9%A6"), Some(Address::Handle("@測試".into())));
        assert_eq!(parse("https://www.youtube.com/user/google"), Some(Address::UserName("google".into())));
        for text in ["", "@", "x", "https://example.org/watch?v=dQw4w9WgXcQ", "https://youtube.com/", "ftp://", "a b/c"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC{0,80}|(https://)?(www.)?youtube.com/\\PC{0,40}|@\\PC{0,20}") {
            let _ = parse(&text);
        }
    }
}
