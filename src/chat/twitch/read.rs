//! Twitch's IRC lines, turned into what the chat knows. Pure but for what it remembers of gifted subscriptions.

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use super::{emotes, irc::Line};
use crate::chat::{Amount, Event, Kind, Message, Platform, Roles, User};

/// Gifts to the community that are being handed out at the same time.
const MAX_GIFTS: usize = 64;

/// What a line means to the connection.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Incoming {
    Ping(String),
    Pong,
    Reconnect,
    /// The server knows who we are.
    Welcome,
    /// We are in the channel.
    Joined,
    /// The server says why it will not have us.
    Notice {
        id: Option<String>,
        text: String,
    },
    Event(Event),
    /// A message that a channel-point reward came with: EventSub tells of it as well.
    Redeemed {
        reward_id: String,
        message: Message,
    },
    Nothing,
}

#[derive(Debug)]
pub(super) struct Reader {
    shared_chat: bool,
    /// Each gift of these is announced again by itself.
    community_gifts: VecDeque<String>,
}

impl Reader {
    pub(super) fn new(shared_chat: bool) -> Self {
        Self { shared_chat, community_gifts: VecDeque::new() }
    }

    pub(super) fn read(&mut self, line: &Line<'_>) -> Incoming {
        match line.command {
            "PING" => Incoming::Ping(line.param(0).to_owned()),
            "PONG" => Incoming::Pong,
            "RECONNECT" => Incoming::Reconnect,
            "001" => Incoming::Welcome,
            // Twitch sends ROOMSTATE with its commands, every server the end of the names.
            "366" | "ROOMSTATE" => Incoming::Joined,
            "NOTICE" => Incoming::Notice { id: line.tag("msg-id").map(Into::into), text: line.param(1).to_owned() },
            "PRIVMSG" if self.is_for_us(line) => message(line),
            "USERNOTICE" if self.is_for_us(line) => self.notice(line).map_or(Incoming::Nothing, said),
            "CLEARMSG" => match line.tag("target-msg-id") {
                Some(id) => Incoming::Event(Event::Deleted {
                    platform: Platform::Twitch,
                    channel: channel(line),
                    id: id.into(),
                }),
                None => Incoming::Nothing,
            },
            "CLEARCHAT" => Incoming::Event(cleared(line)),
            _ => Incoming::Nothing,
        }
    }

    /// In a shared chat each message tells where it was written.
    fn is_for_us(&self, line: &Line<'_>) -> bool {
        let source = line.tag("source-room-id");
        self.shared_chat || source.is_none() || source == line.tag("room-id")
    }

    fn notice(&mut self, line: &Line<'_>) -> Option<Message> {
        let tier = || tier(line.tag("msg-param-sub-plan").as_deref().unwrap_or_default()).to_owned();
        let months = || line.number("msg-param-cumulative-months").or(line.number("msg-param-months")).unwrap_or(1);
        // In a shared chat the other channel's notices have a name of their own.
        let id = match line.tag("msg-id")?.as_ref() {
            "sharedchatnotice" => line.tag("source-msg-id")?.into_owned(),
            id => id.to_owned(),
        };
        let kind = match id.as_str() {
            "sub" | "resub" | "giftpaidupgrade" | "anongiftpaidupgrade" | "primepaidupgrade" => {
                Kind::Subscription { tier: tier(), months: months(), amount: None }
            }
            "submysterygift" | "anonsubmysterygift" => {
                self.remember(line);
                Kind::SubscriptionGift { tier: tier(), count: line.number("msg-param-mass-gift-count").unwrap_or(1) }
            }
            "subgift" | "anonsubgift" if self.is_part_of_a_gift(line) => return None,
            "subgift" | "anonsubgift" => Kind::SubscriptionGift { tier: tier(), count: 1 },
            "raid" => Kind::Raid { viewers: line.number("msg-param-viewerCount").unwrap_or_default() },
            "charitydonation" => Kind::Gift { name: charity(line), count: 1, amount: Some(donation(line)?) },
            // Announcements and whatever else a viewer says something with.
            _ if !line.param(1).is_empty() => Kind::Chat,
            _ => return None,
        };
        let text = line.param(1);
        Some(Message { kind, ..said_by(line, line.tag("login").as_deref().unwrap_or_default(), text, 0)? })
    }

    fn remember(&mut self, line: &Line<'_>) {
        for id in gift_ids(line) {
            self.community_gifts.push_back(id);
        }
        while self.community_gifts.len() > MAX_GIFTS {
            self.community_gifts.pop_front();
        }
    }

    fn is_part_of_a_gift(&self, line: &Line<'_>) -> bool {
        gift_ids(line).any(|id| self.community_gifts.contains(&id))
    }
}

fn gift_ids(line: &Line<'_>) -> impl Iterator<Item = String> {
    ["msg-param-community-gift-id", "msg-param-origin-id"].into_iter().filter_map(|name| line.tag(name)).map(Into::into)
}

fn message(line: &Line<'_>) -> Incoming {
    let text = line.param(1);
    // "/me": positions of emotes count from the text inside.
    let text = text.strip_prefix("\u{1}ACTION ").map_or(text, |action| action.strip_suffix('\u{1}').unwrap_or(action));
    let bits = line.number("bits").unwrap_or_default();
    let Some(mut message) = said_by(line, line.nick(), text, bits) else { return Incoming::Nothing };
    if bits > 0 {
        message.kind = Kind::Cheer { bits };
    } else if let Some(reward) = line.tag("custom-reward-id") {
        return Incoming::Redeemed { reward_id: reward.into(), message };
    }
    said(message)
}

fn said(message: Message) -> Incoming {
    Incoming::Event(Event::Message(message))
}

/// None: it has no id, so it cannot be withdrawn nor known again.
fn said_by(line: &Line<'_>, login: &str, text: &str, bits: u64) -> Option<Message> {
    let name = line.tag("display-name").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    let sent_at = line.number("tmi-sent-ts").map(Duration::from_millis);
    Some(Message {
        platform: Platform::Twitch,
        channel: channel(line),
        id: line.tag("id")?.into(),
        user: User {
            id: line.tag("user-id").map(Into::into).unwrap_or_default(),
            name: name.unwrap_or_else(|| login.to_owned()),
            login: login.to_owned(),
            masked: false,
            roles: roles(line),
        },
        text: text.to_owned(),
        emotes: emotes::all(line.tag("emotes").as_deref(), text, bits),
        kind: Kind::Chat,
        sent_at: sent_at.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since)),
    })
}

fn roles(line: &Line<'_>) -> Roles {
    let mut roles = Roles {
        moderator: line.number("mod") == Some(1),
        subscriber: line.number("subscriber") == Some(1),
        ..Roles::default()
    };
    // Who can remove messages everywhere can do so here.
    roles.moderator |= matches!(line.tag("user-type").as_deref(), Some("mod" | "global_mod" | "admin" | "staff"));
    roles.vip = line.number("vip") == Some(1);
    for badge in line.tag("badges").as_deref().unwrap_or_default().split(',') {
        match badge.split_once('/').map_or(badge, |(name, _)| name) {
            "broadcaster" => roles.broadcaster = true,
            "moderator" | "lead_moderator" => roles.moderator = true,
            "vip" => roles.vip = true,
            "subscriber" | "founder" => roles.subscriber = true,
            "bot-badge" => roles.bot = true,
            _ => {}
        }
    }
    roles
}

fn channel(line: &Line<'_>) -> String {
    line.param(0).trim_start_matches('#').to_owned()
}

fn cleared(line: &Line<'_>) -> Event {
    let channel = channel(line);
    match line.tag("target-user-id") {
        Some(user_id) => Event::UserRemoved {
            platform: Platform::Twitch,
            channel,
            user_id: user_id.into(),
            user_name: Some(line.param(1).to_owned()).filter(|login| !login.is_empty()),
            seconds: line.number("ban-duration"),
        },
        None => Event::Cleared { platform: Platform::Twitch, channel },
    }
}

/// What viewers call it.
fn tier(plan: &str) -> &str {
    match plan {
        "1000" => "1",
        "2000" => "2",
        "3000" => "3",
        other => other,
    }
}

fn charity(line: &Line<'_>) -> String {
    line.tag("msg-param-charity-name").map(Into::into).unwrap_or_default()
}

/// "msg-param-donation-amount=500;msg-param-exponent=2;msg-param-donation-currency=USD" is 5.00 USD.
fn donation(line: &Line<'_>) -> Option<Amount> {
    let exponent = u32::try_from(line.number("msg-param-exponent").unwrap_or(2)).ok()?;
    let scale = 1_000_000_u64.checked_div(10_u64.checked_pow(exponent)?).filter(|scale| *scale > 0)?;
    Some(Amount {
        micros: line.number("msg-param-donation-amount")?.checked_mul(scale)?,
        currency: line.tag("msg-param-donation-currency")?.to_uppercase(),
    })
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
