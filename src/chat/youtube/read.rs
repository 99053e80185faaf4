//! A page of `liveChat/messages`, turned into what the chat knows. Pure.

use std::time::{Duration, SystemTime};

use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::chat::{Amount, Emote, Event, Kind, Message, Platform, Roles, User};

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Page {
    pub events: Vec<Event>,
    pub next_page: Option<String>,
    /// Sooner nobody should ask again.
    pub interval: Duration,
    pub is_over: bool,
}

/// A page says when to ask again; this where it does not, and never more often than that.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);
const MAX_INTERVAL: Duration = Duration::from_secs(120);

pub(super) fn page(json: &Value, channel: &str) -> Page {
    let items = json.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let interval = json.get("pollingIntervalMillis").and_then(integer).map(Duration::from_millis);
    Page {
        events: items.iter().filter_map(|item| event(item, channel)).collect(),
        next_page: json.get("nextPageToken").and_then(Value::as_str).map(str::to_owned),
        interval: interval.unwrap_or(DEFAULT_INTERVAL).min(MAX_INTERVAL),
        is_over: json.get("offlineAt").is_some_and(Value::is_string)
            || items.iter().any(|item| word(item, "/snippet/type") == "chatEndedEvent"),
    }
}

fn event(item: &Value, channel: &str) -> Option<Event> {
    let (platform, channel) = (Platform::Youtube, channel.to_owned());
    let deleted =
        |id: &str| (!id.is_empty()).then(|| Event::Deleted { platform, channel: channel.clone(), id: id.to_owned() });
    let snippet = |pointer: &str| word(item, &format!("/snippet/{pointer}"));
    let count = |pointer: &str| item.pointer(&format!("/snippet/{pointer}")).and_then(integer);
    let (kind, text) = match snippet("type") {
        "textMessageEvent" => (Kind::Chat, snippet("textMessageDetails/messageText")),
        "superChatEvent" => (super_chat(item, "superChatDetails"), snippet("superChatDetails/userComment")),
        "superStickerEvent" => {
            (super_chat(item, "superStickerDetails"), snippet("superStickerDetails/superStickerMetadata/altText"))
        }
        "newSponsorEvent" => {
            let tier = snippet("newSponsorDetails/memberLevelName").to_owned();
            (Kind::Subscription { tier, months: 1, amount: None }, "")
        }
        "memberMilestoneChatEvent" => {
            let tier = snippet("memberMilestoneChatDetails/memberLevelName").to_owned();
            let months = count("memberMilestoneChatDetails/memberMonth").unwrap_or(1);
            (Kind::Subscription { tier, months, amount: None }, snippet("memberMilestoneChatDetails/userComment"))
        }
        "membershipGiftingEvent" => {
            let tier = snippet("membershipGiftingDetails/giftMembershipsLevelName").to_owned();
            let count = count("membershipGiftingDetails/giftMembershipsCount").unwrap_or(1);
            (Kind::SubscriptionGift { tier, count }, "")
        }
        "messageDeletedEvent" => return deleted(snippet("messageDeletedDetails/deletedMessageId")),
        "messageRetractedEvent" => return deleted(snippet("messageRetractedDetails/retractedMessageId")),
        // Stands where a message was.
        "tombstone" => return deleted(word(item, "/id")),
        "userBannedEvent" => {
            let user_id = snippet("userBannedDetails/bannedUserDetails/channelId").to_owned();
            let name = Some(snippet("userBannedDetails/bannedUserDetails/displayName")).filter(|name| !name.is_empty());
            let user_name = name.map(str::to_owned);
            let seconds = count("userBannedDetails/banDurationSeconds")
                .filter(|_| snippet("userBannedDetails/banType") != "permanent");
            return (!user_id.is_empty() || user_name.is_some()).then_some(Event::UserRemoved {
                platform,
                channel,
                user_id,
                user_name,
                seconds,
            });
        }
        // Those who receive a gift did nothing themselves; the end of the chat is the page's; polls are not said.
        _ => return None,
    };
    let text = match (text, &kind) {
        ("", Kind::Chat) => snippet("displayMessage"),
        (text, _) => text,
    };
    let id = Some(word(item, "/id")).filter(|id| !id.is_empty())?;
    let is = |name: &str| item.pointer(&format!("/authorDetails/{name}")).and_then(Value::as_bool).unwrap_or_default();
    Some(Event::Message(Message {
        platform,
        channel,
        id: id.to_owned(),
        user: User {
            id: Some(word(item, "/authorDetails/channelId"))
                .filter(|id| !id.is_empty())
                .unwrap_or_else(|| snippet("authorChannelId"))
                .to_owned(),
            name: word(item, "/authorDetails/displayName").to_owned(),
            login: String::new(),
            masked: false,
            roles: Roles {
                broadcaster: is("isChatOwner"),
                moderator: is("isChatModerator"),
                subscriber: is("isChatSponsor"),
                ..Roles::default()
            },
        },
        text: text.to_owned(),
        emotes: shortcodes(text),
        kind,
        sent_at: OffsetDateTime::parse(snippet("publishedAt"), &Rfc3339).ok().map(SystemTime::from),
    }))
}

/// It is paid for although nothing tells how much: 0 then.
fn super_chat(item: &Value, details: &str) -> Kind {
    let micros = item.pointer(&format!("/snippet/{details}/amountMicros")).and_then(integer).unwrap_or_default();
    let currency = word(item, &format!("/snippet/{details}/currency")).to_uppercase();
    Kind::SuperChat { amount: Amount { micros, currency } }
}

/// YouTube's own and a channel's emoji are in the text as ":face-blue-smiling:"; the API tells no positions.
fn shortcodes(text: &str) -> Vec<Emote> {
    let mut emotes = Vec::new();
    let mut open: Option<usize> = None;
    for (at, letter) in text.char_indices() {
        match (letter, open) {
            (':', Some(start)) if is_shortcode(&text[start + 1..at]) => {
                emotes.push(Emote { name: text[start + 1..at].to_owned(), bytes: start..at + 1 });
                open = None;
            }
            (':', _) => open = Some(at),
            (letter, Some(_)) if !(letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_')) => open = None,
            _ => {}
        }
    }
    emotes
}

/// Not "10:30:00", nor "::".
fn is_shortcode(name: &str) -> bool {
    name.len() >= 2 && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}

fn word<'a>(json: &'a Value, pointer: &str) -> &'a str {
    json.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// 64-bit integers come as strings, smaller ones as numbers.
fn integer(json: &Value) -> Option<u64> {
    json.as_u64().or_else(|| json.as_str()?.parse().ok())
}

/// Why YouTube would not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nothing more today.
    Quota,
    TooFast,
    Ended,
    /// The page that was asked for is not known any more.
    Page,
    Never,
    Later,
}

pub(super) fn refusal(status: u16, json: &Value) -> Refusal {
    let reasons = json.pointer("/error/errors").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let reason =
        reasons.iter().map(|error| word(error, "/reason")).find(|reason| !reason.is_empty()).unwrap_or_default();
    match (status, reason) {
        (_, "quotaExceeded" | "dailyLimitExceeded") => Refusal::Quota,
        (429, _) | (_, "rateLimitExceeded" | "userRateLimitExceeded") => Refusal::TooFast,
        (_, "liveChatEnded" | "liveChatNotFound") => Refusal::Ended,
        (_, "pageTokenInvalid" | "invalidPageToken") => Refusal::Page,
        (400..=499, _) => Refusal::Never,
        _ => Refusal::Later,
    }
}

/// In YouTube's words.
pub(super) fn told(status: u16, json: &Value) -> String {
    match word(json, "/error/message") {
        "" => format!("YouTube answers {status}"),
        message => format!("YouTube answers {status}: {message}"),
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
