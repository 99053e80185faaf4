//! Bilibili's messages, turned into what the chat knows. Pure.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::chat::{Amount, Emote, Event, Kind, Message, Platform, Roles, User, source::decimal_micros};

/// What a message needs to know of its room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Room {
    pub channel: String,
    /// The streamer's id; 0: not known.
    pub owner: u64,
}

/// Money is counted in gold coins: 1,000 are one yuan.
const MICROS_PER_COIN: u64 = 1000;
const CURRENCY: &str = "CNY";

pub(super) fn read(body: &[u8], room: &Room) -> Vec<Event> {
    let Ok(told) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
    let command = told.get("cmd").and_then(Value::as_str).unwrap_or_default();
    let data = told.get("data").unwrap_or(&Value::Null);
    // "DANMU_MSG:4:0:2:2:2:0" is the same as "DANMU_MSG".
    let message = match command.split(':').next().unwrap_or_default() {
        "DANMU_MSG" => danmu(told.get("info").unwrap_or(&Value::Null), room),
        "SUPER_CHAT_MESSAGE" => super_chat(data, room),
        "SEND_GIFT" => gift(data, room),
        "GUARD_BUY" => guard(data, room),
        "SUPER_CHAT_MESSAGE_DELETE" => {
            let ids = data.get("ids").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let deleted = |id: &Value| {
                let id = format!("superchat-{}", name_of(id)?);
                Some(Event::Deleted { platform: Platform::Bilibili, channel: room.channel.clone(), id })
            };
            return ids.iter().filter_map(deleted).collect();
        }
        "RECALL_DANMU_MSG" => {
            let id = data.get("target_id").and_then(name_of).filter(|id| !id.is_empty());
            let deleted = |id| Event::Deleted { platform: Platform::Bilibili, channel: room.channel.clone(), id };
            return id.map(deleted).into_iter().collect();
        }
        "ROOM_BLOCK_MSG" => {
            let either = |key: &str| data.get(key).or(told.get(key)).and_then(name_of).filter(|word| !word.is_empty());
            let (uid, name) = (either("uid").filter(|uid| uid != "0"), either("uname"));
            if uid.is_none() && name.is_none() {
                return Vec::new();
            }
            return vec![Event::UserRemoved {
                platform: Platform::Bilibili,
                channel: room.channel.clone(),
                user_id: uid.unwrap_or_default(),
                user_name: name,
                seconds: None,
            }];
        }
        _ => None,
    };
    message.map(Event::Message).into_iter().collect()
}

fn danmu(info: &Value, room: &Room) -> Option<Message> {
    let at = |pointer: &str| info.pointer(pointer);
    let text = at("/1")?.as_str()?;
    let name = at("/2/1").and_then(Value::as_str)?;
    let uid = at("/2/0").and_then(integer).unwrap_or_default();
    // In milliseconds; the list's second time is in seconds.
    let sent_ms = at("/0/4").and_then(integer);
    let extra = at("/0/15/extra").and_then(Value::as_str).and_then(|extra| serde_json::from_str::<Value>(extra).ok());
    let extra = extra.unwrap_or_default();
    let id = match extra.get("id_str").and_then(Value::as_str).filter(|id| !id.is_empty()) {
        Some(id) => id.to_owned(),
        // Older servers give none: the time and the number that the sender drew tell messages apart.
        None => format!("{}-{}-{uid}-{name}", sent_ms.unwrap_or_default(), at("/0/5").and_then(name_of)?),
    };
    let guard = at("/7").and_then(integer).unwrap_or_default();
    let emotes = if at("/0/12").and_then(integer) == Some(1) && !text.is_empty() {
        vec![Emote { name: text.to_owned(), bytes: 0..text.len() }]
    } else {
        emotes(text, extra.get("emots").unwrap_or(&Value::Null))
    };
    Some(Message {
        platform: Platform::Bilibili,
        channel: room.channel.clone(),
        id,
        user: user(
            uid,
            name,
            Roles {
                moderator: at("/2/2").and_then(integer) == Some(1),
                subscriber: guard > 0,
                broadcaster: uid != 0 && uid == room.owner,
                ..Roles::default()
            },
        ),
        text: text.to_owned(),
        emotes,
        kind: Kind::Chat,
        sent_at: sent_ms.and_then(|milliseconds| time(Duration::from_millis(milliseconds))),
    })
}

/// `table`: the emotes of the text by their names ("[doge]").
fn emotes(text: &str, table: &Value) -> Vec<Emote> {
    let Some(table) = table.as_object() else { return Vec::new() };
    let mut emotes = Vec::new();
    let mut open = None;
    for (at, letter) in text.char_indices() {
        match (letter, open) {
            ('[', _) => open = Some(at),
            (']', Some(start)) => {
                if table.contains_key(&text[start..=at]) {
                    emotes.push(Emote { name: text[start..=at].to_owned(), bytes: start..at + 1 });
                }
                open = None;
            }
            _ => {}
        }
    }
    emotes
}

fn super_chat(data: &Value, room: &Room) -> Option<Message> {
    let micros = micros(data.get("price")?)?;
    let info = data.get("user_info").unwrap_or(&Value::Null);
    let roles = Roles {
        moderator: info.get("manager").and_then(integer) == Some(1),
        subscriber: info.get("guard_level").and_then(integer).unwrap_or_default() > 0,
        ..Roles::default()
    };
    let name = info.get("uname").and_then(Value::as_str).unwrap_or_default();
    Some(Message {
        platform: Platform::Bilibili,
        channel: room.channel.clone(),
        id: format!("superchat-{}", name_of(data.get("id")?)?),
        user: user(data.get("uid").and_then(integer).unwrap_or_default(), name, roles),
        text: data.get("message").and_then(Value::as_str).unwrap_or_default().to_owned(),
        emotes: Vec::new(),
        kind: Kind::SuperChat { amount: Amount { micros, currency: CURRENCY.into() } },
        sent_at: sent(data, "ts").or_else(|| sent(data, "start_time")),
    })
}

fn gift(data: &Value, room: &Room) -> Option<Message> {
    let word = |key: &str| data.get(key).and_then(Value::as_str).unwrap_or_default();
    let number = |key: &str| data.get(key).and_then(integer).unwrap_or_default();
    let coins = match number("total_coin") {
        0 => number("price").saturating_mul(number("num")),
        coins => coins,
    };
    // Silver coins are free.
    let amount = (word("coin_type") == "gold" && coins > 0)
        .then(|| Amount { micros: coins.saturating_mul(MICROS_PER_COIN), currency: CURRENCY.into() });
    let id = match data.get("tid").or(data.get("rnd")).and_then(name_of).filter(|id| !id.is_empty() && id != "0") {
        Some(id) => format!("gift-{id}"),
        None => format!("gift-{}-{}-{}-{}", number("timestamp"), number("uid"), word("uname"), number("giftId")),
    };
    let roles = Roles { subscriber: number("guard_level") > 0, ..Roles::default() };
    Some(Message {
        platform: Platform::Bilibili,
        channel: room.channel.clone(),
        id,
        user: user(number("uid"), word("uname"), roles),
        text: String::new(),
        emotes: Vec::new(),
        kind: Kind::Gift {
            name: Some(word("giftName")).filter(|name| !name.is_empty())?.into(),
            count: number("num").max(1),
            amount,
        },
        sent_at: sent(data, "timestamp"),
    })
}

fn guard(data: &Value, room: &Room) -> Option<Message> {
    let number = |key: &str| data.get(key).and_then(integer).unwrap_or_default();
    let name = data.get("username").and_then(Value::as_str)?;
    let tier = match (number("guard_level"), data.get("gift_name").and_then(Value::as_str)) {
        (_, Some(name)) if !name.is_empty() => name,
        (1, _) => "总督",
        (2, _) => "提督",
        _ => "舰长",
    };
    let months = number("num").max(1);
    let amount = number("price").checked_mul(months)?.checked_mul(MICROS_PER_COIN)?;
    Some(Message {
        platform: Platform::Bilibili,
        channel: room.channel.clone(),
        // It has no id of its own.
        id: format!("guard-{}-{}-{name}-{}", number("start_time"), number("uid"), number("guard_level")),
        user: user(number("uid"), name, Roles { subscriber: true, ..Roles::default() }),
        text: String::new(),
        emotes: Vec::new(),
        kind: Kind::Subscription {
            tier: tier.to_owned(),
            months,
            amount: (amount > 0).then(|| Amount { micros: amount, currency: CURRENCY.into() }),
        },
        sent_at: sent(data, "start_time"),
    })
}

/// Without a login names are cut to "a***" and ids are 0.
fn user(uid: u64, name: &str, roles: Roles) -> User {
    let id = if uid == 0 { String::new() } else { uid.to_string() };
    User { masked: uid == 0 && name.contains("***"), id, name: name.to_owned(), login: String::new(), roles }
}

fn sent(data: &Value, key: &str) -> Option<SystemTime> {
    time(Duration::from_secs(data.get(key).and_then(integer).filter(|seconds| *seconds > 0)?))
}

fn time(since: Duration) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(since)
}

/// Ids are numbers in one version and texts in another.
fn name_of(json: &Value) -> Option<String> {
    match json {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn integer(json: &Value) -> Option<u64> {
    json.as_u64().or_else(|| json.as_str()?.parse().ok()).or_else(|| json.as_bool().map(u64::from))
}

/// Yuan as a number or a text, whole or with a point.
fn micros(price: &Value) -> Option<u64> {
    decimal_micros(&name_of(price)?)
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
