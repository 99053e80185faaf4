//! What every platform's chat is turned into before anything looks at it. Plain data; no thread of its own.

use std::{ops::Range, time::SystemTime};

use serde::{Deserialize, Serialize};

use super::Platform;

/// What a connection tells: speech to consider, or speech to take back.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Message(Message),
    /// A moderator or the author took one message back.
    Deleted {
        platform: Platform,
        channel: String,
        id: String,
    },
    /// Banned or timed out: everything of theirs that has not sounded is taken back.
    UserRemoved {
        platform: Platform,
        channel: String,
        /// Empty where the platform names no id.
        user_id: String,
        /// As far as it is told: by it those are found whose id the platform hides.
        user_name: Option<String>,
        seconds: Option<u64>,
    },
    /// The whole chat was cleared.
    Cleared {
        platform: Platform,
        channel: String,
    },
    /// The platform says that there is nothing more to come (the stream is over).
    Ended {
        platform: Platform,
        channel: String,
    },
}

/// One thing that somebody said or did. The platform and its `id` name it for good, also after a reconnect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub platform: Platform,
    /// As the platform names it: a login, a channel id, a room number.
    pub channel: String,
    /// The platform's own id of the message; unique within the platform.
    pub id: String,
    pub user: User,
    /// What the user wrote, unchanged; empty where there are no words (a gift, a raid).
    pub text: String,
    /// Byte ranges of `text` on character boundaries, ascending, not overlapping.
    pub emotes: Vec<Emote>,
    pub kind: Kind,
    /// None where the platform does not say.
    pub sent_at: Option<SystemTime>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// The platform's id, which a change of name does not change. Empty where the platform hides it.
    pub id: String,
    /// As it is shown.
    pub name: String,
    /// By which others name them, where that is not what is shown (Twitch). Else empty.
    #[serde(default)]
    pub login: String,
    /// The platform hid parts of the name (Bilibili without a login).
    pub masked: bool,
    pub roles: Roles,
}

impl User {
    /// What people call them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.name).chain(Some(&*self.login).filter(|login| !login.is_empty()))
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Roles {
    pub broadcaster: bool,
    pub moderator: bool,
    pub vip: bool,
    /// Twitch subscriber, YouTube member, Bilibili guard.
    pub subscriber: bool,
    /// The platform itself marks the account as a bot.
    pub bot: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emote {
    pub name: String,
    pub bytes: Range<usize>,
}

/// What happened beside the words, with what was paid for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    Chat,
    /// Twitch bits.
    Cheer {
        bits: u64,
    },
    /// YouTube Super Chat and Super Sticker, Bilibili Super Chat.
    SuperChat {
        amount: Amount,
    },
    /// Bilibili gifts; free ones have no amount.
    Gift {
        name: String,
        count: u64,
        amount: Option<Amount>,
    },
    /// New and renewed subscriptions, memberships and guards.
    Subscription {
        tier: String,
        months: u64,
        amount: Option<Amount>,
    },
    /// Subscriptions given to others.
    SubscriptionGift {
        tier: String,
        count: u64,
    },
    Raid {
        viewers: u64,
    },
    /// Twitch channel points.
    Redemption {
        reward_id: String,
        title: String,
        points: u64,
    },
}

impl Kind {
    /// Somebody paid money, or what stands for money, for this.
    #[must_use]
    pub const fn is_paid(&self) -> bool {
        match self {
            Self::Chat | Self::Raid { .. } | Self::Redemption { .. } => false,
            Self::Gift { amount, .. } => amount.is_some(),
            Self::Cheer { .. } | Self::SuperChat { .. } | Self::Subscription { .. } | Self::SubscriptionGift { .. } => {
                true
            }
        }
    }
}

/// Money. Never a float: a threshold must not depend on rounding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Millionths of the currency's unit.
    pub micros: u64,
    /// ISO 4217, upper case.
    pub currency: String,
}
