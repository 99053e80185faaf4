//! `/v1/chat` against the fake engine, with a database.

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::{
    chat::{Connection, ConnectionStatus, Connector, Desk, Event, Platform},
    error::Error,
};

/// Every channel but "nobody" is there at once, in lower case.
struct Tapped;

impl Connector for Tapped {
    fn configured(&self) -> Vec<(Platform, String)> {
        Vec::new()
    }

    fn connect(
        &self,
        _: Platform,
        channel: &str,
        _: tokio::sync::mpsc::Sender<Event>,
    ) -> Result<(String, Box<dyn Connection>), Error> {
        match channel {
            "nobody" => Err(Error::invalid("channel_not_found", Some("channel"), "there is no such channel")),
            channel => Ok((channel.to_lowercase(), Box::new(Self))),
        }
    }
}

impl Connection for Tapped {
    fn status(&self) -> ConnectionStatus {
        ConnectionStatus { state: "connected".to_owned(), detail: None }
    }
}

pub struct Chat {
    pub app: Router,
    pub desk: Arc<Desk>,
    _directory: TempDir,
}

pub async fn chat_with(configure: impl FnOnce(&mut Config)) -> Chat {
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = Config::default();
    config.chat.directory = directory.path().to_path_buf();
    configure(&mut config);
    let config = Arc::new(config);
    let speech = service(&config, vec![FakeOptions::default()]).await;
    let desk = Desk::open(Arc::clone(&config), Arc::clone(&speech), Arc::new(Tapped)).expect("a desk");
    let app = router(App::new(speech, Ok(Arc::clone(&desk)), config).expect("an app"));
    Chat { app, desk, _directory: directory }
}

pub async fn chat() -> Chat {
    chat_with(|_| ()).await
}

impl Chat {
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        post_to(&self.app, path, body.to_string()).await
    }

    pub async fn enqueue(&self, user: &str, text: &str) -> Value {
        let answer = self.post("/v1/chat/enqueue", json!({"platform": "twitch", "user": user, "text": text})).await;
        assert_eq!(answer.status, 202, "{:?}", answer.body);
        answer.json()
    }

    pub async fn listen(&self, query: &str) -> Overlay {
        let request = request("GET", &format!("/v1/chat/stream?{query}")).body(Body::empty()).expect("a request");
        let response = self.app.clone().oneshot(request).await.expect("infallible");
        assert_eq!(response.status(), 200);
        Overlay { body: response.into_body(), rest: String::new() }
    }

    pub async fn ack(&self, id: &Value, state: &str) -> Value {
        let answer = self.post("/v1/chat/ack", json!({"overlay": "obs", "id": id, "state": state})).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        answer.json()
    }
}

pub struct Overlay {
    body: Body,
    rest: String,
}

impl Overlay {
    async fn next(&mut self) -> Value {
        use http_body_util::BodyExt;
        loop {
            if let Some((event, rest)) = self.rest.split_once("\n\n") {
                let event = event.strip_prefix("data: ").map(str::to_owned);
                self.rest = rest.to_owned();
                match event {
                    Some(event) => return serde_json::from_str(&event).expect("JSON"),
                    None => continue,
                }
            }
            let frame = timeout(SOON, self.body.frame()).await.expect("in time").expect("a frame").expect("no error");
            self.rest += std::str::from_utf8(frame.data_ref().expect("data")).expect("text");
        }
    }

    pub async fn expect(&mut self, kind: &str) -> Value {
        let event = self.next().await;
        assert_eq!(event["type"], kind, "{event}");
        event
    }

    pub async fn item(&mut self) -> Value {
        self.expect("item").await
    }
}

#[tokio::test]
async fn a_message_becomes_sound_at_the_overlay() {
    let chat = chat().await;
    let mut overlay = chat.listen("overlay=obs").await;
    let hello = overlay.expect("hello").await;
    assert_eq!((hello["speaking"].clone(), hello["overlay"].clone()), (json!(true), json!("obs")));
    let enqueued = chat.enqueue("Ann", "Hello there!").await;
    assert_eq!(enqueued["accepted"], true);
    let item = overlay.item().await;
    assert_eq!(item["id"], enqueued["id"]);
    for (field, expected) in
        [("user", "Ann"), ("text", "Hello there!"), ("priority", "everyone"), ("platform", "twitch")]
    {
        assert_eq!(item[field], expected);
    }
    let sound = get(&chat.app, item["audio_url"].as_str().expect("a URL")).await;
    assert_eq!((sound.status, sound.header("content-type")), (StatusCode::OK, Some("audio/wav")));
    assert!(sound.body.len() > 1000);
    let events = get(&chat.app, item["speech_url"].as_str().expect("a URL")).await;
    assert!(events.body.windows(12).any(|bytes| bytes == b"event: done\n"), "{:?}", events.body.len());
    assert_eq!(chat.ack(&item["id"], "started").await, json!({"id": item["id"], "state": "playing", "counted": true}));
    overlay.expect("progress").await;
    assert_eq!(
        chat.ack(&item["id"], "finished").await,
        json!({"id": item["id"], "state": "finished", "counted": true})
    );
    assert_eq!(
        chat.ack(&item["id"], "finished").await,
        json!({"id": item["id"], "state": "finished", "counted": false})
    );
    let queue = get(&chat.app, "/v1/chat/queue").await.json();
    assert_eq!(queue["ended"][0]["state"], "finished");
    assert!(queue["playing"].as_array().expect("a list").is_empty());
}

#[tokio::test]
async fn the_same_id_is_the_same_item() {
    let chat = chat().await;
    let message = json!({"platform": "youtube", "user": "Bo", "text": "Take my money", "id": "tip-1",
        "paid": {"amount": "5", "currency": "EUR"}});
    let first = chat.post("/v1/chat/enqueue", message.clone()).await.json();
    assert_eq!(
        (first["priority"].clone(), first["paid"].clone()),
        (json!("paid"), json!({"amount": "5", "currency": "EUR"}))
    );
    let again = chat.post("/v1/chat/enqueue", message).await.json();
    assert_eq!(first, again);
    assert_eq!(get(&chat.app, "/v1/chat/queue").await.json()["waiting"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn two_overlays_do_not_both_speak() {
    let chat = chat_with(|config| config.chat.queue.grace_s = 0.0).await;
    let mut first = chat.listen("overlay=obs").await;
    let mut second = chat.listen("overlay=other").await;
    assert_eq!(first.expect("hello").await["speaking"], true);
    assert_eq!(second.expect("hello").await["speaking"], false);
    let id = chat.enqueue("Ann", "One.").await["id"].clone();
    assert_eq!(first.item().await["id"], id);
    assert_eq!(second.item().await["id"], id, "the other one shows it");
    drop(first);
    assert_eq!(second.expect("role").await["speaking"], true);
    assert_eq!(second.item().await["id"], id, "from its beginning");
}

#[tokio::test]
async fn an_overlay_that_was_replaced_fails_nothing_of_its_successors() {
    let chat = chat_with(|config| config.chat.queue.grace_s = 0.0).await;
    let mut first = chat.listen("overlay=obs").await;
    let mut second = chat.listen("overlay=other").await;
    first.expect("hello").await;
    second.expect("hello").await;
    let id = chat.enqueue("Ann", "One.").await["id"].clone();
    second.item().await;
    drop(first);
    second.expect("role").await;
    let late = chat.ack(&id, "failed").await;
    assert_eq!((&late["state"], &late["counted"]), (&json!("playing"), &json!(false)));
    let told = chat.post("/v1/chat/ack", json!({"overlay": "other", "id": id, "state": "failed"})).await.json();
    assert_eq!((&told["state"], &told["counted"]), (&json!("failed"), &json!(true)));
}

#[tokio::test]
async fn an_overlay_that_comes_back_has_its_items_again() {
    let chat = chat().await;
    let mut overlay = chat.listen("overlay=obs").await;
    overlay.expect("hello").await;
    let ids = [chat.enqueue("Ann", "One.").await, chat.enqueue("Bo", "Two.").await].map(|item| item["id"].clone());
    overlay.item().await;
    overlay.item().await;
    chat.ack(&ids[0], "finished").await;
    drop(overlay);
    let mut again = chat.listen("overlay=obs").await;
    assert_eq!(again.expect("hello").await["speaking"], true);
    assert_eq!(again.item().await["id"], ids[1]);
}

#[tokio::test]
async fn no_more_than_the_next_item_is_handed_out_so_that_turns_are_kept() {
    let chat = chat().await;
    let mut overlay = chat.listen("overlay=obs").await;
    overlay.expect("hello").await;
    for index in 0..10 {
        chat.enqueue("flood", &format!("Number {index}.")).await;
    }
    let first = overlay.item().await;
    overlay.item().await;
    let guest = chat.enqueue("guest", "May I?").await;
    chat.ack(&first["id"], "finished").await;
    overlay.expect("progress").await;
    assert_eq!(overlay.item().await["id"], guest["id"]);
}

#[tokio::test]
async fn what_is_taken_back_never_sounds() {
    let chat = chat().await;
    let mut overlay = chat.listen("overlay=obs").await;
    overlay.expect("hello").await;
    let message = |id: &str| json!({"platform": "twitch", "user": "Ann", "text": format!("Hello, {id}."), "id": id});
    for id in ["a", "b", "c"] {
        chat.post("/v1/chat/enqueue", message(id)).await;
    }
    let playing = overlay.item().await;
    overlay.item().await;
    let events = chat.desk.events();
    let deleted = |id: &str| Event::Deleted { platform: Platform::Twitch, channel: String::new(), id: id.to_owned() };
    events.send(deleted("c")).await.expect("taken");
    events.send(deleted("a")).await.expect("taken");
    let stop = overlay.expect("stop").await;
    assert_eq!(stop["id"], playing["id"]);
    let sound = get(&chat.app, playing["audio_url"].as_str().expect("a URL")).await;
    assert_eq!(sound.error(), (404, "item_not_found".to_owned()));
    let queue = get(&chat.app, "/v1/chat/queue").await.json();
    assert!(queue["waiting"].as_array().expect("a list").is_empty(), "{queue}");
    assert_eq!(queue["ended"][0]["state"], "withdrawn");
    let muted = chat.post("/v1/chat/mute-user", json!({"platform": "twitch", "user": "@ann"})).await.json();
    assert_eq!(muted, json!({"muted": true, "withdrawn": 1}));
    overlay.expect("stop").await;
    let refused = chat.enqueue("Ann", "Still here?").await;
    assert_eq!((refused["accepted"].clone(), refused["rule"].clone()), (json!(false), json!("muted")));
    chat.post("/v1/chat/mute-user", json!({"platform": "twitch", "user": "ANN", "muted": false})).await;
    assert_eq!(chat.enqueue("Ann", "Thanks.").await["accepted"], true);
}

#[tokio::test]
async fn whoever_is_in_control_skips_pauses_and_clears() {
    let chat = chat().await;
    let mut overlay = chat.listen("overlay=obs").await;
    overlay.expect("hello").await;
    let first = chat.enqueue("Ann", "One.").await;
    overlay.item().await;
    let skipped = chat.post("/v1/chat/skip", json!({})).await.json();
    assert_eq!(
        (skipped["skipped"]["id"].clone(), skipped["skipped"]["state"].clone()),
        (first["id"].clone(), json!("skipped"))
    );
    overlay.expect("stop").await;
    assert_eq!(post_to(&chat.app, "/v1/chat/skip", "").await.json(), json!({"skipped": null}));
    assert_eq!(post_to(&chat.app, "/v1/chat/pause", "").await.json()["paused"], true);
    overlay.expect("pause").await;
    chat.enqueue("Ann", "Two.").await;
    assert_eq!(get(&chat.app, "/v1/chat/queue").await.json()["waiting"].as_array().map(Vec::len), Some(1));
    post_to(&chat.app, "/v1/chat/resume", "").await;
    overlay.expect("resume").await;
    overlay.item().await;
    chat.enqueue("Bo", "Three.").await;
    overlay.item().await;
    assert_eq!(post_to(&chat.app, "/v1/chat/clear", "").await.json(), json!({"cleared": 1}));
    overlay.expect("stop").await;
    assert_eq!(chat.post("/v1/chat/volume", json!({"volume": 0.25})).await.json()["volume"], 0.25);
    assert_eq!(overlay.expect("volume").await["volume"], 0.25);
    assert_eq!(chat.post("/v1/chat/volume", json!({"volume": 7})).await.error().0, 400);
}

#[tokio::test]
async fn a_listener_without_a_name_is_handed_everything() {
    let chat = chat().await;
    let mut plain = chat.listen("").await;
    for index in 0..5 {
        chat.enqueue("Ann", &format!("Number {index}.")).await;
        let item = plain.item().await;
        assert_eq!(get(&chat.app, item["audio_url"].as_str().expect("a URL")).await.status, 200);
    }
    let mut watcher = chat.listen("speak=false&overlay=x").await;
    assert_eq!(watcher.expect("hello").await["speaking"], false);
    let mut overlay = chat.listen("overlay=obs").await;
    assert_eq!(overlay.expect("hello").await["speaking"], true);
    chat.post("/v1/chat/volume", json!({"volume": 0.5})).await;
    let last = chat.enqueue("Bo", "To all.").await;
    chat.post("/v1/chat/skip", json!({"id": last["id"]})).await;
    assert_eq!(plain.item().await["id"], last["id"]);
    assert_eq!(plain.expect("stop").await["id"], last["id"]);
}

#[tokio::test]
async fn what_cannot_be_said_fails_and_the_next_one_plays() {
    let chat = chat().await;
    let mut overlay = chat.listen("overlay=obs").await;
    overlay.expect("hello").await;
    let bad = chat.enqueue("Ann", "[raise]").await;
    overlay.item().await;
    assert_eq!(overlay.expect("stop").await["id"], bad["id"]);
    let good = chat.enqueue("Bo", "Fine.").await;
    assert_eq!(overlay.item().await["id"], good["id"]);
    let ended = get(&chat.app, "/v1/chat/queue").await.json()["ended"][0].clone();
    assert_eq!((ended["id"].clone(), ended["state"].clone()), (bad["id"].clone(), json!("failed")));
}

#[tokio::test]
async fn a_message_that_comes_again_long_after_its_end_has_ended() {
    let chat = chat_with(|config| {
        config.chat.rules.user_max_per_minute = 0;
        config.chat.rules.duplicate_window_s = 0.0;
    })
    .await;
    let tip = json!({"platform": "twitch", "user": "Ann", "text": "Hello.", "id": "tip-1"});
    let item = chat.post("/v1/chat/enqueue", tip.clone()).await.json();
    chat.post("/v1/chat/skip", json!({"id": item["id"]})).await;
    // More than are shown: those that do not fit into the queue have ended as well.
    for _ in 0..512 {
        chat.enqueue("Bo", "Hello.").await;
    }
    chat.post("/v1/chat/clear", json!({})).await;
    let ended = get(&chat.app, "/v1/chat/queue").await.json()["ended"].clone();
    assert!(ended.as_array().expect("a list").iter().all(|shown| shown["id"] != item["id"]));
    let again = chat.post("/v1/chat/enqueue", tip).await.json();
    assert_eq!((&again["id"], &again["state"]), (&item["id"], &json!("skipped")));
}

#[tokio::test]
async fn the_token_opens_the_overlays_paths_and_a_wrong_one_nothing() {
    let chat = chat().await;
    let foreign = |method: &str, path: &str| {
        request(method, path).header("sec-fetch-site", "cross-site").body(Body::empty()).expect("a request")
    };
    let refused = send(&chat.app, foreign("GET", "/v1/chat/stream?overlay=x")).await;
    assert_eq!(refused.error(), (403, "origin_not_allowed".to_owned()));
    assert_eq!(send(&chat.app, foreign("GET", "/v1/chat/state")).await.error().0, 403);
    assert_eq!(get(&chat.app, "/v1/chat/stream?token=wrong").await.error(), (401, "token_invalid".to_owned()));
    let id = chat.enqueue("Ann", "Hello.").await["id"].clone();
    let path = |token: &str| format!("/v1/chat/items/{}/audio?token={token}", id.as_str().expect("an id"));
    assert_eq!(get(&chat.app, &path("wrong")).await.error().0, 401);
    let sound = send(&chat.app, foreign("GET", &path(chat.desk.token()))).await;
    assert_eq!(sound.status, 200);
    let state = get(&chat.app, "/v1/chat/state").await.json();
    assert_eq!(state["overlay_url"], format!("/overlay?token={}", chat.desk.token()));
}

/// Each path of the chat's control, with a body that it takes.
fn controls() -> Vec<(&'static str, &'static str, Value)> {
    let ann = json!({"platform": "twitch", "user": "Ann", "text": "Hello."});
    let channel = json!({"platform": "twitch", "channel": "ann"});
    let original = json!({"id": "1", "platform": "Twitch", "channel": "ann", "username": "Bo", "priority": "Normal",
        "content": {"Text": "Hello!"}});
    vec![
        ("POST", "/v1/chat/start", channel.clone()),
        ("POST", "/v1/chat/stop", channel.clone()),
        ("POST", "/v1/chat/enqueue", ann.clone()),
        ("POST", "/v1/chat/test", ann.clone()),
        ("GET", "/v1/chat/state", Value::Null),
        ("GET", "/v1/chat/queue", Value::Null),
        ("POST", "/v1/chat/skip", json!({})),
        ("POST", "/v1/chat/pause", Value::Null),
        ("POST", "/v1/chat/resume", Value::Null),
        ("POST", "/v1/chat/clear", Value::Null),
        ("POST", "/v1/chat/volume", json!({"volume": 0.5})),
        ("POST", "/v1/chat/mute-user", ann.clone()),
        ("POST", "/v1/chat/user-voice", ann),
        ("POST", "/v1/chat/approve", json!({"id": "x"})),
        ("POST", "/v1/chat/reject", json!({"id": "x"})),
        ("GET", "/v1/chat/twitch/sign-in", Value::Null),
        ("POST", "/v1/chat/twitch/sign-in", Value::Null),
        ("POST", "/api/danmaku/start", channel.clone()),
        ("POST", "/api/danmaku/stop", channel),
        ("POST", "/api/danmaku/enqueue", original),
        ("GET", "/speaker.bot", Value::Null),
        ("GET", "/api/danmaku/stream", Value::Null),
    ]
}

#[tokio::test]
async fn beyond_this_machine_the_control_token_opens_the_chat_and_nothing_else_does() {
    let chat = chat_with(|config| config.http.host = "0.0.0.0".into()).await;
    let ask = async |method: &str, path: &str, body: &Value, header: Option<String>| {
        let request = request(method, path);
        let request = match header {
            Some(value) => request.header("authorization", value),
            None => request,
        };
        let response = chat.app.clone().oneshot(request.body(Body::from(body.to_string())).expect("a request")).await;
        response.expect("infallible").status().as_u16()
    };
    let (control, overlay) = (chat.desk.control_token(), chat.desk.token());
    for (method, path, body) in controls() {
        assert_eq!(ask(method, path, &body, None).await, 401, "{path}");
        assert_eq!(ask(method, path, &body, Some(format!("Bearer {overlay}"))).await, 401, "{path}");
        assert_eq!(ask(method, &format!("{path}?token={overlay}"), &body, None).await, 401, "{path}");
        assert_eq!(ask(method, &format!("{path}?token={control}x"), &body, None).await, 401, "{path}");
        for status in [
            ask(method, path, &body, Some(format!("Bearer {control}"))).await,
            ask(method, &format!("{path}?token={control}"), &body, None).await,
        ] {
            // No item has this id, nobody signs in here, and these are no WebSockets.
            let right = match path {
                "/v1/chat/approve" | "/v1/chat/reject" => [404, 404],
                "/v1/chat/twitch/sign-in" if method == "POST" => [409, 409],
                "/speaker.bot" => [400, 400],
                _ => [200, 202],
            };
            assert!(right.contains(&status), "{method} {path} {status}");
        }
    }
    for (path, code) in [("/v1/chat/state", "token_missing"), ("/v1/chat/state?token=x", "token_invalid")] {
        let answer = get(&chat.app, path).await;
        assert_eq!((answer.error(), answer.header("www-authenticate")), ((401, code.to_owned()), Some("Bearer")));
    }
    let webhook = chat.post("/v1/chat/webhook", json!({})).await;
    assert_eq!(webhook.error().0, 404, "it is signed, and not set up here");
    assert_eq!(post(&chat.app, r#"{"input": "Hello."}"#).await.status, 200);
    assert_eq!(get(&chat.app, "/").await.status, 200);
}

#[tokio::test]
async fn beyond_this_machine_overlays_show_their_token_too() {
    let chat = chat_with(|config| config.chat.auth = crate::config::Auth::Always).await;
    let (control, overlay) = (chat.desk.control_token().to_owned(), chat.desk.token().to_owned());
    let body = json!({"platform": "twitch", "user": "Ann", "text": "Hello."});
    let id = chat.post(&format!("/v1/chat/enqueue?token={control}"), body).await.json()["id"].clone();
    let id = id.as_str().expect("an id");
    for path in ["audio", "speech"].map(|what| format!("/v1/chat/items/{id}/{what}")) {
        assert_eq!(get(&chat.app, &path).await.error(), (401, "token_missing".to_owned()));
        for token in [&overlay, &control] {
            assert_eq!(get(&chat.app, &format!("{path}?token={token}")).await.status, 200);
        }
    }
    assert_eq!(get(&chat.app, "/v1/chat/stream").await.error(), (401, "token_missing".to_owned()));
    chat.listen(&format!("overlay=obs&token={overlay}")).await.expect("hello").await;
    let ack = json!({"overlay": "obs", "id": id, "state": "finished"});
    assert_eq!(chat.post("/v1/chat/ack", ack.clone()).await.error().0, 401);
    // What is wrong besides is not even read.
    for body in [json!([]), json!({"overlay": "x".repeat(900_000)}), json!({"overlay": "x".repeat(2_000_000)})] {
        for (query, code) in [("", "token_missing"), ("?token=", "token_missing"), ("?token=x", "token_invalid")] {
            let told = chat.post(&format!("/v1/chat/ack{query}"), body.clone()).await.error();
            assert_eq!(told, (401, code.to_owned()), "{query}");
        }
    }
    for path in ["/v1/chat/ack?token=x&token=y", "/v1/chat/stream?speak=perhaps", "/v1/chat/stream?overlay="] {
        let told = if path.contains("ack") { chat.post(path, json!({})).await } else { get(&chat.app, path).await };
        assert_eq!(told.error().0, 401, "{path}");
    }
    assert_eq!(chat.post(&format!("/v1/chat/ack?token={overlay}"), json!([])).await.error().0, 400);
    assert_eq!(chat.post(&format!("/v1/chat/ack?token={overlay}"), ack).await.status, 200);
}

#[tokio::test]
async fn without_a_database_only_the_chat_is_missing() {
    let app = app().await;
    assert_eq!(get(&app, "/v1/chat/state").await.error(), (503, "chat_unavailable".to_owned()));
    assert_eq!(post_to(&app, "/v1/chat/enqueue", "{}").await.error().0, 503);
    assert_eq!(post(&app, r#"{"input": "Hello."}"#).await.status, 200);
}
