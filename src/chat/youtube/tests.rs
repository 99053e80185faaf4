//! The polling against a server of the tests' own that pages and errs as YouTube does.

use std::sync::{Arc, Mutex};

use serde_json::json;

use super::*;
use crate::chat::{
    Platform,
    source::{
        State,
        testing::{self, Listening},
    },
};

const VIDEO: &str = "dQw4w9WgXcQ";
const CHANNEL: &str = "UC_x5XG1OV2P6uZZ5FSM9Ttw";

type Answers = Vec<(u16, Value)>;

fn text(id: &str, published: &str) -> Value {
    json!({"id": id, "snippet": {"type": "textMessageEvent", "publishedAt": published,
        "textMessageDetails": {"messageText": id}}, "authorDetails": {"channelId": "UCa", "displayName": "A"}})
}

const LATER: &str = "2099-01-01T00:00:00Z";
const LONG_AGO: &str = "2020-01-01T00:00:00Z";

fn page(next: &str, items: &[Value]) -> (u16, Value) {
    (200, json!({"nextPageToken": next, "pollingIntervalMillis": 1, "items": items}))
}

fn error(status: u16, reason: &str) -> (u16, Value) {
    (status, json!({"error": {"code": status, "message": reason, "errors": [{"reason": reason}]}}))
}

/// Answers calls for messages in turn; the asked paths are noted.
async fn youtube(messages: Answers, live: bool) -> (String, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (noted, messages) = (Arc::clone(&asked), Arc::new(Mutex::new(messages.into_iter())));
    let url = testing::http(move |path, headers, _body| {
        noted.lock().expect("whole").push(path.to_owned());
        assert_eq!(headers["x-goog-api-key"], "key");
        assert!(!path.contains("key="), "{path}");
        let details = json!({"activeLiveChatId": "chat", "actualStartTime": LONG_AGO});
        match path.split('?').next().unwrap_or_default() {
            "/videos" if live => (200, json!({"items": [{"id": VIDEO, "liveStreamingDetails": details}]})),
            "/videos" => {
                (200, json!({"items": [{"id": VIDEO, "liveStreamingDetails": {"scheduledStartTime": LATER}}]}))
            }
            "/channels" => (200, json!({"items": [{"id": CHANNEL}]})),
            "/playlistItems" => (200, json!({"items": [{"contentDetails": {"videoId": VIDEO}}]})),
            "/search" => (200, json!({"items": []})),
            "/liveChat/messages" => {
                messages.lock().expect("whole").next().unwrap_or_else(|| error(403, "liveChatEnded"))
            }
            other => panic!("{other}"),
        }
    })
    .await;
    (url, asked)
}

fn listen(url: &str, address: &str) -> Listening {
    let (url, address) = (url.to_owned(), address.to_owned());
    testing::listen(Platform::Youtube, |chat| {
        chat.youtube.api_url = url;
        chat.youtube.address = address;
        chat.youtube.api_key = "key".into();
        // Waits of some milliseconds between pages.
        chat.youtube.daily_quota = 1_000_000_000;
        chat.youtube.live_check_s = 0.01;
    })
}

#[tokio::test]
async fn pages_errors_and_the_end() {
    let answers = vec![
        page("p1", &[text("old", LONG_AGO), text("a", LATER)]),
        (503, Value::Null),
        page("p2", &[text("a", LATER), text("b", LATER)]),
        page("p3", &[text("c", LONG_AGO)]),
    ];
    let (url, asked) = youtube(answers, true).await;
    let mut listening = listen(&url, VIDEO);
    assert_eq!(listening.texts(3).await, ["a", "b", "c"]);
    let ended = Event::Ended { platform: Platform::Youtube, channel: VIDEO.into() };
    assert_eq!(listening.event().await, ended);
    assert_eq!(listening.until(State::is_over).await, State::Ended);
    let asked = asked.lock().expect("whole").clone();
    let pages: Vec<bool> = asked[1..].iter().map(|path| path.contains("pageToken=p1")).collect();
    // The page that failed is asked for again.
    assert_eq!(pages, [false, true, true, false, false], "{asked:?}");
    assert_eq!(asked.iter().filter(|path| path.starts_with("/videos")).count(), 1, "{asked:?}");
}

#[tokio::test]
async fn a_page_that_is_not_known_any_more() {
    let answers = vec![
        page("p1", &[text("a", LATER)]),
        error(400, "pageTokenInvalid"),
        page("p2", &[text("a", LATER), text("b", LATER)]),
    ];
    let (url, _asked) = youtube(answers, true).await;
    assert_eq!(listen(&url, VIDEO).texts(2).await, ["a", "b"]);
}

#[tokio::test]
async fn a_handle_finds_its_live_stream_without_a_search() {
    let (url, asked) = youtube(vec![page("p", &[text("a", LATER)])], true).await;
    assert_eq!(listen(&url, "https://www.youtube.com/@name").texts(1).await, ["a"]);
    let asked = asked.lock().expect("whole").clone();
    assert!(asked[0].starts_with("/channels?part=id&forHandle=%40name"), "{asked:?}");
    assert!(asked[1].contains("playlistId=UU_x5XG1OV2P6uZZ5FSM9Ttw"), "{asked:?}");
    assert!(!asked.iter().any(|path| path.starts_with("/search")), "{asked:?}");
}

#[tokio::test]
async fn a_channels_next_stream_is_waited_for() {
    let answers = vec![page("p", &[text("a", LATER)]), error(403, "liveChatEnded"), page("q", &[text("b", LATER)])];
    let (url, asked) = youtube(answers, true).await;
    let mut listening = listen(&url, "@name");
    assert_eq!(listening.texts(1).await, ["a"]);
    listening.until(|state| matches!(state, State::Waiting { reason, .. } if reason.contains("next one"))).await;
    assert_eq!(listening.texts(1).await, ["b"]);
    let asked = asked.lock().expect("whole").clone();
    assert_eq!(asked.iter().filter(|path| path.starts_with("/channels")).count(), 1, "{asked:?}");
}

#[tokio::test]
async fn a_channel_that_is_not_live_is_looked_at_again_and_searched_once() {
    let (url, asked) = youtube(Vec::new(), false).await;
    let mut listening = listen(&url, CHANNEL);
    for _ in 0..3 {
        listening.until(|state| matches!(state, State::Waiting { reason, .. } if reason.contains("not live"))).await;
        listening.until(|state| *state == State::Connecting).await;
    }
    let asked = asked.lock().expect("whole").clone();
    assert_eq!(asked.iter().filter(|path| path.starts_with("/search")).count(), 1, "{asked:?}");
}

#[tokio::test]
async fn a_used_up_quota_waits_for_the_next_day_and_is_remembered() {
    let (url, asked) = youtube(vec![error(403, "quotaExceeded")], true).await;
    let mut listening = listen(&url, VIDEO);
    let waiting = listening.until(|state| matches!(state, State::Waiting { .. })).await;
    let State::Waiting { until, reason } = waiting else { panic!("{waiting:?}") };
    assert!(until > SystemTime::now() && reason.contains("quotaExceeded"), "{reason}");
    let calls = asked.lock().expect("whole").len();
    let Listening { handle, directory, .. } = listening;
    handle.stop().await;

    let mut again = testing::listen_in(directory, Platform::Youtube, |chat| {
        chat.youtube.api_url = url;
        chat.youtube.address = VIDEO.into();
        chat.youtube.api_key = "key".into();
        chat.youtube.daily_quota = 1_000_000_000;
    });
    again.until(|state| matches!(state, State::Waiting { .. })).await;
    assert_eq!(asked.lock().expect("whole").len(), calls);
}

#[tokio::test]
async fn a_wrong_key_and_a_disabled_chat_fail_for_good() {
    for (status, reason) in [(400, "keyInvalid"), (403, "liveChatDisabled")] {
        let (url, _asked) = youtube(vec![error(status, reason)], true).await;
        let failed = listen(&url, VIDEO).until(State::is_over).await;
        assert_eq!(failed, State::Failed { reason: format!("YouTube answers {status}: {reason}") });
    }
}
