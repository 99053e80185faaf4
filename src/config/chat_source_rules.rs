//! What the settings of the chats' sources must be.

use super::{
    rules::{Rule, SPAN, SPAN_OR_ZERO, is_text, span, span_or_zero, unless},
    secret::HIDDEN,
};

/// Shown as (hidden) wherever settings are shown.
pub(super) const SECRETS: [&str; 4] =
    ["chat.twitch.token", "chat.youtube.api_key", "chat.bilibili.sessdata", "chat.webhook.secret"];

const HTTP_ADDRESS: &str = "an address that begins with https:// (or http://), without a query";
const SOCKET_ADDRESS: &str = "an address that begins with wss:// (or ws://)";
const SECRET: &str = "a text of printable ASCII characters without spaces";

/// Shorter ones could be tried out.
const MIN_WEBHOOK_SECRET: usize = 16;

pub(super) const RULES: &[Rule] = &[
    Rule {
        key: "chat.connect.ca_file",
        must_be: "a path",
        fault: |config| {
            let path = config.chat.connect.ca_file.to_string_lossy();
            unless(!path.contains('\0'), &path)
        },
    },
    Rule { key: "chat.connect.reconnect_s", must_be: SPAN, fault: |config| span(config.chat.connect.reconnect_s) },
    Rule {
        key: "chat.connect.reconnect_max_s",
        must_be: SPAN,
        fault: |config| span(config.chat.connect.reconnect_max_s),
    },
    Rule {
        key: "chat.twitch.channel",
        must_be: "a channel's login name, letters, digits and underscores, 25 at most",
        fault: |config| {
            let channel = &config.chat.twitch.channel;
            let letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
            unless(channel.len() <= 25 && channel.chars().all(letter), channel)
        },
    },
    Rule {
        key: "chat.twitch.client_id",
        must_be: "the client id of an application registered with Twitch",
        fault: |config| {
            let id = &config.chat.twitch.client_id;
            unless(id.chars().all(|letter| letter.is_ascii_alphanumeric()), id)
        },
    },
    Rule { key: "chat.twitch.token", must_be: SECRET, fault: |config| secret(config.chat.twitch.token.reveal()) },
    Rule { key: "chat.twitch.shared_chat", must_be: "true or false", fault: |_| None },
    Rule { key: "chat.twitch.redemptions", must_be: "true or false", fault: |_| None },
    Rule {
        key: "chat.twitch.irc_url",
        must_be: SOCKET_ADDRESS,
        fault: |config| address(&config.chat.twitch.irc_url, SOCKET),
    },
    Rule {
        key: "chat.twitch.eventsub_url",
        must_be: SOCKET_ADDRESS,
        fault: |config| address(&config.chat.twitch.eventsub_url, SOCKET),
    },
    Rule {
        key: "chat.twitch.api_url",
        must_be: HTTP_ADDRESS,
        fault: |config| address(&config.chat.twitch.api_url, HTTP),
    },
    Rule {
        key: "chat.twitch.auth_url",
        must_be: HTTP_ADDRESS,
        fault: |config| address(&config.chat.twitch.auth_url, HTTP),
    },
    Rule {
        key: "chat.youtube.address",
        must_be: "the address of a video or a channel, an id or a handle such as \"@name\"",
        fault: |config| {
            let address = &config.chat.youtube.address;
            unless(address.is_empty() || is_text(address, 512), address)
        },
    },
    Rule { key: "chat.youtube.api_key", must_be: SECRET, fault: |config| secret(config.chat.youtube.api_key.reveal()) },
    Rule {
        key: "chat.youtube.daily_quota",
        must_be: "a whole number of units, 100 or more",
        fault: |config| unless(config.chat.youtube.daily_quota >= 100, &config.chat.youtube.daily_quota),
    },
    Rule {
        key: "chat.youtube.hours",
        must_be: "a number of hours above 0, 24 at most",
        fault: |config| {
            let hours = config.chat.youtube.hours;
            unless(hours > 0.0 && hours <= 24.0, &hours)
        },
    },
    Rule {
        key: "chat.youtube.history_s",
        must_be: SPAN_OR_ZERO,
        fault: |config| span_or_zero(config.chat.youtube.history_s),
    },
    Rule { key: "chat.youtube.live_check_s", must_be: SPAN, fault: |config| span(config.chat.youtube.live_check_s) },
    Rule {
        key: "chat.youtube.api_url",
        must_be: HTTP_ADDRESS,
        fault: |config| address(&config.chat.youtube.api_url, HTTP),
    },
    Rule { key: "chat.bilibili.room", must_be: "a room's number (0: none)", fault: |_| None },
    Rule {
        key: "chat.bilibili.sessdata",
        must_be: SECRET,
        fault: |config| secret(config.chat.bilibili.sessdata.reveal()),
    },
    Rule { key: "chat.bilibili.uid", must_be: "a user's number (0: none)", fault: |_| None },
    Rule {
        key: "chat.bilibili.api_url",
        must_be: HTTP_ADDRESS,
        fault: |config| address(&config.chat.bilibili.api_url, HTTP),
    },
    Rule {
        key: "chat.bilibili.live_api_url",
        must_be: HTTP_ADDRESS,
        fault: |config| address(&config.chat.bilibili.live_api_url, HTTP),
    },
    Rule {
        key: "chat.bilibili.socket_url",
        must_be: "empty, or an address that begins with wss:// (or ws://)",
        fault: |config| {
            let url = &config.chat.bilibili.socket_url;
            if url.is_empty() { None } else { address(url, SOCKET) }
        },
    },
    Rule {
        key: "chat.webhook.secret",
        must_be: "empty, or 16 printable ASCII characters or more without spaces",
        fault: |config| {
            let text = config.chat.webhook.secret.reveal();
            let long = text.is_empty() || text.len() >= MIN_WEBHOOK_SECRET;
            if long { secret(text) } else { Some(HIDDEN.into()) }
        },
    },
    Rule { key: "chat.webhook.tolerance_s", must_be: SPAN, fault: |config| span(config.chat.webhook.tolerance_s) },
];

const HTTP: [&str; 2] = ["https", "http"];
const SOCKET: [&str; 2] = ["wss", "ws"];

/// What is wrong with a secret is told without it.
fn secret(text: &str) -> Option<String> {
    (!text.chars().all(|letter| letter.is_ascii_graphic())).then(|| HIDDEN.into())
}

fn address(text: &str, schemes: [&str; 2]) -> Option<String> {
    let parsed = url::Url::parse(text).ok();
    let good = parsed.is_some_and(|url| {
        schemes.contains(&url.scheme())
            && url.host().is_some()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    });
    unless(good, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["https://api.twitch.tv/helix", "http://127.0.0.1:8080", "https://[::1]/x/"] {
            assert_eq!(address(good, HTTP), None, "{good}");
        }
        for bad in ["", "x", "wss://a", "https://", "https://a?b", "https://a#b", "https://u:p@a", "file:///etc"] {
            assert!(address(bad, HTTP).is_some(), "{bad}");
        }
        assert_eq!(address("wss://irc-ws.chat.twitch.tv:443", SOCKET), None);
        assert!(address("https://irc-ws.chat.twitch.tv", SOCKET).is_some());
    }

    #[test]
    fn a_bad_secret_is_not_repeated() {
        assert_eq!(secret("oauth:abc"), None);
        assert_eq!(secret("two words"), Some(HIDDEN.to_owned()));
    }
}
