//! What `/v1/chat` says to requests that it cannot do, and to those that start and stop chats.

use serde_json::json;

use super::{
    chat::{chat, chat_with},
    *,
};

#[tokio::test]
async fn channels_are_started_and_stopped_with_a_voice_of_their_own() {
    let chat = chat().await;
    let body = json!({"platform": "Twitch", "channel": "Ann", "voice": "rowan"});
    let state = chat.post("/v1/chat/start", body).await.json();
    let connection = json!({"platform": "twitch", "channel": "ann", "state": "connected", "detail": null,
        "voice": "rowan", "engine": null});
    assert_eq!(state["connections"], json!([connection]));
    let mut message = json!({"platform": "twitch", "user": "Bo", "text": "Hi.", "channel": "ann"});
    assert_eq!(chat.post("/v1/chat/enqueue", message.clone()).await.json()["voice"], "rowan");
    let stop = json!({"platform": "twitch", "channel": "ann"});
    assert_eq!(chat.post("/v1/chat/stop", stop.clone()).await.json()["connections"], json!([]));
    for (path, body, status, answer) in [
        ("start", stop.clone(), 202, json!({"status": "started", "channel": "ann"})),
        ("stop", stop.clone(), 202, json!({"status": "stopped", "channel": "ann"})),
        ("stop", stop, 200, json!({"status": "idle", "channel": null})),
    ] {
        let told = chat.post(&format!("/api/danmaku/{path}"), body).await;
        assert_eq!((told.status.as_u16(), told.json()), (status, answer));
    }
    for (path, body, status, code, param) in [
        ("/v1/chat/start", json!({"channel": "nobody"}), 400, "channel_not_found", "channel"),
        ("/v1/chat/start", json!({"channel": null}), 400, "invalid_value", "channel"),
        ("/v1/chat/start", json!({"platform": "fax"}), 400, "invalid_value", "platform"),
        ("/v1/chat/stop", json!({"platform": "fax"}), 400, "invalid_value", "platform"),
        ("/v1/chat/start", json!({"engine": "fax"}), 404, "model_not_found", "engine"),
        ("/v1/chat/start", json!({"voice": "fax"}), 404, "voice_not_found", "voice"),
        ("/api/danmaku/start", json!({"platform": "fax"}), 400, "invalid_value", "platform"),
        ("/api/danmaku/stop", json!({"platform": "fax"}), 400, "invalid_value", "platform"),
        ("/api/danmaku/start", json!({"engine": "fax"}), 404, "model_not_found", "engine"),
        ("/api/danmaku/start", json!({"voice_id": "fax"}), 404, "voice_not_found", "voice_id"),
    ] {
        let mut whole = json!({"platform": "twitch", "channel": "x"});
        body.as_object().expect("fields").iter().for_each(|(name, value)| whole[name] = value.clone());
        let told = chat.post(path, whole).await;
        assert_eq!(told.error(), (status, code.to_owned()), "{path} {body}");
        let error = told.json()["error"].clone();
        assert_eq!(error["param"], param, "{path} {body}");
        assert!(param != "platform" || error["message"].as_str().is_some_and(|told| told.contains("\"bilibili\"")));
    }
    assert_eq!(post_to(&chat.app, "/v1/chat/stop", "").await.json()["enabled"], false);
    message["id"] = json!("again");
    assert_eq!(chat.post("/v1/chat/enqueue", message.clone()).await.json()["rule"], "disabled");
    assert_eq!(post_to(&chat.app, "/v1/chat/start", "").await.json()["enabled"], true);
}

#[tokio::test]
async fn a_body_that_is_wrong_is_told() {
    let chat = chat().await;
    for (body, code) in [
        (json!({"platform": "twitch", "text": "x"}), "invalid_json"),
        (json!({"platform": "!", "user": "a", "text": "x"}), "invalid_value"),
        (json!({"platform": "twitch", "user": "", "text": "x"}), "invalid_value"),
        (json!([]), "invalid_json"),
    ] {
        assert_eq!(chat.post("/v1/chat/enqueue", body.clone()).await.error(), (400, code.to_owned()), "{body}");
    }
    let empty = chat.enqueue("Ann", "   ").await;
    assert_eq!(empty["accepted"], false);
    assert_eq!(chat.post("/v1/chat/ack", json!({"overlay": "o", "id": "x", "state": "finished"})).await.error().0, 404);
}

#[tokio::test]
async fn where_an_item_is_is_told_to_whoever_looks_for_it_elsewhere() {
    let chat = chat_with(|config| config.chat.rules.approval = crate::config::Approval::First).await;
    let held = chat.enqueue("Ann", "First.").await["id"].clone();
    let audio = format!("/v1/chat/items/{}/audio", held.as_str().expect("an id"));
    let told = |answer: Answer| {
        assert_eq!(answer.error(), (404, "item_not_found".to_owned()));
        answer.json()["error"]["message"].as_str().expect("a message").to_owned()
    };
    assert!(told(get(&chat.app, &audio).await).ends_with("is held for approval"));
    let which = json!({"id": held});
    assert_eq!(chat.post("/v1/chat/approve", which.clone()).await.status, 200);
    assert!(told(chat.post("/v1/chat/approve", which.clone()).await).contains("needs no approval"));
    chat.post("/v1/chat/mute-user", json!({"platform": "twitch", "user": "Ann"})).await;
    for path in ["approve", "reject"] {
        let message = told(chat.post(&format!("/v1/chat/{path}"), which.clone()).await);
        assert!(message.ends_with("has ended (withdrawn)"), "{message}");
    }
    assert!(told(get(&chat.app, &audio).await).ends_with("has ended (withdrawn)"));
    assert!(told(get(&chat.app, "/v1/chat/items/x-1/audio").await).contains("no chat item is called"));
}
