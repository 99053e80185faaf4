//! `[chat.twitch]` and the other platforms: what is listened to, and how it is reached.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::secret::Secret;

/// What all connections share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Connect {
    /// Certificates (PEM) that are trusted beside the machine's own; empty: none.
    pub ca_file: PathBuf,
    /// After a lost connection the first wait is about this long, and each further one twice as long.
    pub reconnect_s: f64,
    pub reconnect_max_s: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Twitch {
    /// The channel's login name.
    pub channel: String,
    /// Of an application registered with Twitch; needed to sign in with the device flow.
    pub client_id: String,
    /// A user's access token; empty: the one of the device flow, else anonymous.
    pub token: Secret,
    /// Messages of other channels of a shared chat.
    pub shared_chat: bool,
    /// Channel-point redemptions; needs the broadcaster's token.
    pub redemptions: bool,
    pub irc_url: String,
    pub eventsub_url: String,
    pub api_url: String,
    pub auth_url: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Youtube {
    /// A video or a channel: an address, an id or a handle.
    pub address: String,
    pub api_key: Secret,
    /// What the key may spend in a day, in YouTube's units.
    pub daily_quota: u64,
    /// For how long a day's quota must last.
    pub hours: f64,
    /// Messages that are older than this when the chat is joined are not spoken.
    pub history_s: f64,
    /// Between looks whether a channel is live.
    pub live_check_s: f64,
    pub api_url: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bilibili {
    /// The room's number, short or long; 0: none.
    pub room: u64,
    /// The cookie of a signed-in user; without it Bilibili masks names.
    pub sessdata: Secret,
    /// That user's id.
    pub uid: u64,
    pub api_url: String,
    pub live_api_url: String,
    /// Empty: the servers that Bilibili names.
    pub socket_url: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhook {
    /// Shared with the sender; empty: no webhook.
    pub secret: Secret,
    /// How far the sender's clock may be off.
    pub tolerance_s: f64,
}

impl Default for Connect {
    fn default() -> Self {
        Self { ca_file: PathBuf::new(), reconnect_s: 1.0, reconnect_max_s: 60.0 }
    }
}

impl Default for Twitch {
    fn default() -> Self {
        Self {
            channel: String::new(),
            client_id: String::new(),
            token: Secret::default(),
            shared_chat: true,
            redemptions: true,
            irc_url: "wss://irc-ws.chat.twitch.tv:443".into(),
            eventsub_url: "wss://eventsub.wss.twitch.tv/ws".into(),
            api_url: "https://api.twitch.tv/helix".into(),
            auth_url: "https://id.twitch.tv/oauth2".into(),
        }
    }
}

impl Default for Youtube {
    fn default() -> Self {
        Self {
            address: String::new(),
            api_key: Secret::default(),
            daily_quota: 10_000,
            hours: 4.0,
            history_s: 30.0,
            live_check_s: 60.0,
            api_url: "https://www.googleapis.com/youtube/v3".into(),
        }
    }
}

impl Default for Bilibili {
    fn default() -> Self {
        Self {
            room: 0,
            sessdata: Secret::default(),
            uid: 0,
            api_url: "https://api.bilibili.com".into(),
            live_api_url: "https://api.live.bilibili.com".into(),
            socket_url: String::new(),
        }
    }
}

impl Default for Webhook {
    fn default() -> Self {
        Self { secret: Secret::default(), tolerance_s: 300.0 }
    }
}
