use proptest::prelude::*;
use serde_json::json;

use super::*;

const PAGE: &str = include_str!("fixtures/page.json");

fn read() -> Page {
    page(&serde_json::from_str(PAGE).expect("JSON"), "channel")
}

fn message(page: &Page, id: &str) -> Message {
    let found = page.events.iter().find_map(|event| match event {
        Event::Message(message) if message.id == id => Some(message.clone()),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("{id}"))
}

#[test]
fn a_page_of_every_kind() {
    let page = read();
    assert_eq!(page.next_page.as_deref(), Some("GI6Tn9TtkPgCII6Tn9TtkPgC"));
    assert_eq!((page.interval.as_millis(), page.is_over, page.events.len()), (3141, false, 13));

    let text = message(&page, "LCC.text");
    assert_eq!((text.user.id.as_str(), text.user.name.as_str(), text.channel.as_str()), ("UCa", "@viewer", "channel"));
    assert_eq!(text.user.roles, Roles { moderator: true, subscriber: true, ..Roles::default() });
    let emotes: Vec<&str> = text.emotes.iter().map(|emote| &text.text[emote.bytes.clone()]).collect();
    assert_eq!(emotes, [":face-blue-smiling:", ":_team:"]);
    let sent = text.sent_at.expect("told").duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    assert_eq!(sent.as_micros(), 1_709_296_245_123_456);
    assert_eq!(message(&page, "LCC.owner").text, "only shown");
    assert!(message(&page, "LCC.owner").user.roles.broadcaster);
}

#[test]
fn money_and_memberships() {
    let page = read();
    let amount = |micros, currency: &str| Kind::SuperChat { amount: Amount { micros, currency: currency.into() } };
    let paid = message(&page, "LCC.super");
    assert_eq!((paid.kind, paid.text.as_str()), (amount(1_000_000_000, "JPY"), "頑張って"));
    let silent = message(&page, "LCC.silent");
    assert_eq!((silent.kind, silent.text.as_str()), (amount(1_990_000, "USD"), ""));
    let sticker = message(&page, "LCC.sticker");
    assert_eq!((sticker.kind, sticker.text.as_str()), (amount(5_000_000, "EUR"), "A dancing pear"));
    let member = |months| Kind::Subscription { tier: "Gold".into(), months, amount: None };
    assert_eq!(message(&page, "LCC.member").kind, member(1));
    let milestone = message(&page, "LCC.milestone");
    assert_eq!((milestone.kind, milestone.text.as_str()), (member(6), "half a year"));
    assert_eq!(message(&page, "LCC.gifts").kind, Kind::SubscriptionGift { tier: "Gold".into(), count: 20 });
}

#[test]
fn what_was_paid_for_is_kept_whatever_is_missing() {
    for (kind, details, text) in [
        ("superChatEvent", json!({"superChatDetails": {"userComment": "well done"}}), "well done"),
        ("superChatEvent", json!({"superChatDetails": {"amountMicros": "much", "userComment": "hi"}}), "hi"),
        ("superStickerEvent", json!({}), ""),
    ] {
        let mut item = json!({"id": "LCC.x", "snippet": details, "authorDetails": {"channelId": "UCa"}});
        item["snippet"]["type"] = json!(kind);
        let page = page(&json!({"items": [item]}), "channel");
        let unknown = Kind::SuperChat { amount: Amount { micros: 0, currency: String::new() } };
        assert_eq!(message(&page, "LCC.x").kind, unknown);
        assert_eq!(message(&page, "LCC.x").text, text);
    }
}

#[test]
fn what_is_taken_back() {
    let page = read();
    let (platform, channel) = (Platform::Youtube, "channel".to_owned());
    let deleted = |id: &str| Event::Deleted { platform, channel: channel.clone(), id: id.into() };
    let banned = |name: Option<&str>, seconds| Event::UserRemoved {
        platform,
        channel: channel.clone(),
        user_id: "UCa".into(),
        user_name: name.map(str::to_owned),
        seconds,
    };
    let taken: Vec<Event> = page.events.iter().filter(|event| !matches!(event, Event::Message(_))).cloned().collect();
    let (timed_out, banned) = (banned(Some("@viewer"), Some(300)), banned(None, None));
    let expected = [deleted("LCC.text"), deleted("LCC.milestone"), timed_out, banned, deleted("LCC.t")];
    assert_eq!(taken, expected);
}

#[test]
fn the_end() {
    assert!(page(&json!({"offlineAt": "2024-03-01T12:30:45Z", "items": []}), "c").is_over);
    assert!(page(&json!({"items": [{"id": "x", "snippet": {"type": "chatEndedEvent"}}]}), "c").is_over);
    assert_eq!(page(&json!(null), "c"), Page { interval: DEFAULT_INTERVAL, ..Page::default() });
    assert_eq!(page(&json!({"pollingIntervalMillis": u64::MAX}), "c").interval, MAX_INTERVAL);
}

#[test]
fn refusals_as_youtube_words_them() {
    let because = |reason: &str| json!({"error": {"code": 403, "message": "m", "errors": [{"reason": reason}]}});
    assert_eq!(refusal(403, &because("quotaExceeded")), Refusal::Quota);
    assert_eq!(refusal(403, &because("rateLimitExceeded")), Refusal::TooFast);
    assert_eq!(refusal(403, &because("liveChatEnded")), Refusal::Ended);
    assert_eq!(refusal(404, &because("liveChatNotFound")), Refusal::Ended);
    assert_eq!(refusal(403, &because("liveChatDisabled")), Refusal::Never);
    assert_eq!(refusal(400, &because("keyInvalid")), Refusal::Never);
    assert_eq!(refusal(400, &because("pageTokenInvalid")), Refusal::Page);
    assert_eq!(refusal(503, &Value::Null), Refusal::Later);
    assert_eq!(told(503, &Value::Null), "YouTube answers 503");
}

proptest! {
    #[test]
    fn shortcodes_are_on_boundaries(text in "[:a_\\-1 你]{0,40}|\\PC{0,40}") {
        let mut end = 0;
        for emote in shortcodes(&text) {
            prop_assert!(emote.bytes.start >= end && text.get(emote.bytes.clone()).is_some());
            end = emote.bytes.end;
        }
    }

    /// Every value of the page is replaced by something else in turn.
    #[test]
    fn any_values_are_read_without_a_panic(at in 0_usize..400, number in any::<i64>(), text in "\\PC{0,12}", choice in 0_usize..4) {
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
        let mut json: Value = serde_json::from_str(PAGE).expect("JSON");
        let new = [json!(null), json!(number), json!(text), json!([{}])][choice].clone();
        replace(&mut json, &mut at.clone(), &new);
        let _ = page(&json, "c");
    }
}
