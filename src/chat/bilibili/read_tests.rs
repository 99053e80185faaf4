use proptest::prelude::*;
use serde_json::json;

use super::*;

const MESSAGES: &str = include_str!("fixtures/messages.jsonl");

fn room() -> Room {
    Room { channel: "6".into(), owner: 12345 }
}

fn events(line: usize) -> Vec<Event> {
    read(MESSAGES.lines().nth(line).expect("a line").as_bytes(), &room())
}

fn message(line: usize) -> Message {
    match events(line).as_slice() {
        [Event::Message(message)] => message.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_and_its_emotes() {
    let message = message(0);
    assert_eq!(
        (message.id.as_str(), message.text.as_str(), message.channel.as_str()),
        ("5a2b3c", "你好[doge]呀[x]", "6")
    );
    assert_eq!((message.user.id.as_str(), message.user.name.as_str(), message.user.masked), ("12345", "观众", false));
    assert_eq!(message.user.roles, Roles { moderator: true, subscriber: true, broadcaster: true, ..Roles::default() });
    assert_eq!(message.emotes.len(), 1);
    assert_eq!(&message.text[message.emotes[0].bytes.clone()], "[doge]");
    assert_eq!(message.sent_at, time(Duration::from_millis(1_700_000_000_123)));
}

#[test]
fn a_masked_name_is_marked_and_an_emoticon_is_one_emote() {
    let message = message(1);
    assert_eq!((message.user.masked, message.user.id.as_str(), message.user.name.as_str()), (true, "", "观***"));
    assert_eq!(message.emotes, [Emote { name: "赞".into(), bytes: 0..3 }]);
    assert_eq!(message.id, "1700000001456-42-0-观***");
}

#[test]
fn paid_ones() {
    let cny = |micros| Amount { micros, currency: "CNY".into() };
    let super_chat = message(2);
    assert_eq!(super_chat.kind, Kind::SuperChat { amount: cny(30_000_000) });
    assert_eq!((super_chat.text.as_str(), super_chat.user.name.as_str()), ("加油！", "金主"));
    assert_eq!(message(4).kind, Kind::Gift { name: "小花花".into(), count: 5, amount: Some(cny(500_000)) });
    assert_eq!(message(5).kind, Kind::Gift { name: "辣条".into(), count: 10, amount: None });
    assert!(message(5).user.masked);
    assert_ne!(message(4).id, message(5).id);
    assert_eq!(message(6).kind, Kind::Subscription { tier: "舰长".into(), months: 2, amount: Some(cny(396_000_000)) });
}

#[test]
fn what_is_taken_back() {
    let (platform, channel) = (Platform::Bilibili, "6".to_owned());
    let deleted = |id: &str| Event::Deleted { platform, channel: channel.clone(), id: id.into() };
    assert_eq!(events(3), [deleted("superchat-7890123"), deleted("superchat-7890124")]);
    assert_eq!(message(2).id, "superchat-7890123");
    assert_eq!((events(9), message(0).id.as_str()), (vec![deleted("5a2b3c")], "5a2b3c"));
    let removed = |user_id: &str, name: Option<&str>| Event::UserRemoved {
        platform,
        channel: channel.clone(),
        user_id: user_id.into(),
        user_name: name.map(str::to_owned),
        seconds: None,
    };
    assert_eq!(events(7), [removed("12345", Some("观众"))]);
    assert_eq!(events(8), []);
    let nameless = json!({"cmd": "ROOM_BLOCK_MSG", "data": {"uid": 0, "uname": "观众"}});
    assert_eq!(read(nameless.to_string().as_bytes(), &room()), [removed("", Some("观众"))]);
}

#[test]
fn prices() {
    for (price, expected) in [
        (json!(30), Some(30_000_000)),
        (json!(0.1), Some(100_000)),
        (json!("29.99"), Some(29_990_000)),
        (json!(-1), None),
        (json!(1e30), None),
        (json!("1.+5"), None),
        (json!(u64::MAX), None),
        (json!(null), None),
    ] {
        assert_eq!(micros(&price), expected, "{price}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read(&bytes, &room()).is_empty());
    }

    #[test]
    fn emotes_are_on_boundaries(text in "[\\[\\]a你]{0,30}") {
        let table = json!({"[a]": {}, "[你]": {}, "[]": {}});
        let mut end = 0;
        for emote in emotes(&text, &table) {
            prop_assert!(emote.bytes.start >= end && text.get(emote.bytes.clone()).is_some());
            end = emote.bytes.end;
        }
    }

    /// Every value of the messages is replaced by something else in turn.
    #[test]
    fn any_values_are_read_without_a_panic(line in 0_usize..10, at in 0_usize..80, number in any::<i64>(), text in "\\PC{0,12}", choice in 0_usize..4) {
        fn replace(value: &mut Value, at: &mut usize, new: &Value) {
            if *at == 0 {
                *value = new.clone();
            }
            *at = at.wrapping_sub(1);
            match value {
                Value::Array(values) => values.iter_mut().for_each(|value| replace(value, at, new)),
                Value::Object(values) => values.values_mut().for_each(|value| replace(value, at, new)),
                _ => {}
            }
        }
        let mut json: Value = serde_json::from_str(MESSAGES.lines().nth(line).expect("a line")).expect("JSON");
        let new = [json!(null), json!(number), json!(text), json!([{}])][choice].clone();
        replace(&mut json, &mut at.clone(), &new);
        let _ = read(json.to_string().as_bytes(), &room());
    }
}
