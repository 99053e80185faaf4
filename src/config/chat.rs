//! `[chat]`: the livestream's chat, from the queue to the overlay.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ChatRules;
use super::chat_sources::{Bilibili, Connect, Twitch, Webhook, Youtube};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// Where the server listens beyond loopback.
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Chat {
    /// False: nothing new is taken until somebody enables it.
    pub enabled: bool,
    /// Whether the chat's paths ask for a token.
    pub auth: Auth,
    /// Of the database and the tokens; empty: the data directory. Loading makes it absolute.
    pub directory: PathBuf,
    pub queue: ChatQueue,
    pub voices: ChatVoices,
    pub rules: ChatRules,
    pub connect: Connect,
    pub twitch: Twitch,
    pub youtube: Youtube,
    pub bilibili: Bilibili,
    pub webhook: Webhook,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChatQueue {
    /// Unpaid items that may wait; beyond that the oldest of whoever has most is dropped.
    pub max_waiting: usize,
    /// Paid items that may wait; none of them is dropped, further ones are refused.
    pub max_paid: usize,
    /// Items that may wait for somebody to approve them.
    pub max_held: usize,
    /// Nobody approved it by then: it is refused.
    pub approval_timeout_s: f64,
    /// An unpaid item that waited for so long is dropped; 0: never.
    pub max_age_s: f64,
    /// Items that the overlay is given while one plays.
    pub ahead: usize,
    /// An overlay whose connection is gone may come back for so long before another one speaks.
    pub grace_s: f64,
    /// Beyond an item's own duration, for an overlay that is connected to tell that it played it; 0: for ever.
    pub ack_grace_s: f64,
    /// Ended items that the database remembers.
    pub keep: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChatVoices {
    /// Among which viewers' voices are chosen; empty: those that speak the default voice's language.
    pub pool: Vec<String>,
    /// Viewers may choose from the pool themselves.
    pub choice: bool,
}

impl Default for Chat {
    fn default() -> Self {
        Self {
            enabled: true,
            auth: Auth::Auto,
            directory: PathBuf::new(),
            queue: ChatQueue::default(),
            voices: ChatVoices::default(),
            rules: ChatRules::default(),
            connect: Connect::default(),
            twitch: Twitch::default(),
            youtube: Youtube::default(),
            bilibili: Bilibili::default(),
            webhook: Webhook::default(),
        }
    }
}

impl Default for ChatQueue {
    fn default() -> Self {
        Self {
            max_waiting: 200,
            max_paid: 10_000,
            max_held: 100,
            approval_timeout_s: 120.0,
            max_age_s: 900.0,
            ahead: 1,
            grace_s: 2.0,
            ack_grace_s: 15.0,
            keep: 20_000,
        }
    }
}

impl Default for ChatVoices {
    fn default() -> Self {
        Self { pool: Vec::new(), choice: true }
    }
}
