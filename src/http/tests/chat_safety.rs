//! What must not reach the stream: names, people and engines that would embarrass whoever streams.

use serde_json::{Value, json};

use super::{
    chat::{Chat, chat, chat_with},
    *,
};
use crate::{
    chat::{Kind, Message, Platform, Roles, Taken, User},
    config::Approval,
};

async fn queue(chat: &Chat) -> Value {
    get(&chat.app, "/v1/chat/queue").await.json()
}

#[tokio::test]
async fn names_are_shown_as_they_may_be_read() {
    let chat = chat_with(|config| config.chat.rules.banned_words = vec!["darn".to_owned()]).await;
    let mut overlay = chat.listen("overlay=obs").await;
    overlay.expect("hello").await;
    let enqueued = chat.enqueue("xX_d4rn_Xx", "Hello there!").await;
    // Whoever is in control sees who it was.
    assert_eq!((&enqueued["user"], &enqueued["shown_user"]), (&json!("xX_d4rn_Xx"), &json!("someone")));
    assert_eq!(overlay.item().await["user"], "someone");
    chat.enqueue("@An\u{202e}n", "Hello again!").await;
    let shown = overlay.item().await;
    assert_eq!((&shown["user"], &shown["masked"]), (&json!("Ann"), &json!(false)));
}

#[tokio::test]
async fn until_one_is_approved_every_message_of_a_viewer_is_the_first() {
    let chat = chat_with(|config| config.chat.rules.approval = Approval::First).await;
    let (first, second) = (chat.enqueue("Ann", "Hello there!").await, chat.enqueue("Ann", "Hello again!").await);
    assert_eq!((&first["state"], &second["state"]), (&json!("held"), &json!("held")));
    chat.post("/v1/chat/reject", json!({"id": first["id"]})).await;
    assert_eq!(chat.enqueue("Ann", "Why not?").await["state"], "held");
    chat.post("/v1/chat/approve", json!({"id": second["id"]})).await;
    assert_eq!(chat.enqueue("Ann", "Thank you.").await["state"], "waiting");
    assert_eq!(chat.enqueue("Bo", "And me?").await["state"], "held");
}

#[tokio::test]
async fn who_was_approved_is_known_after_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let configure = |config: &mut Config| {
        config.chat.directory = directory.path().to_path_buf();
        config.chat.rules.approval = Approval::First;
    };
    let before = chat_with(configure).await;
    let held = before.enqueue("Ann", "Hello there!").await;
    before.enqueue("Bo", "Hello, too!").await;
    before.post("/v1/chat/approve", json!({"id": held["id"]})).await;
    let desk = Arc::downgrade(&before.desk);
    drop(before);
    // Its database is closed by the last one who has it.
    while desk.upgrade().is_some() {
        tokio::task::yield_now().await;
    }
    let after = chat_with(configure).await;
    assert_eq!(after.enqueue("Ann", "Here again.").await["state"], "waiting");
    assert_eq!(after.enqueue("Bo", "Here again, too.").await["state"], "held");
}

#[tokio::test]
async fn whoever_is_muted_has_nothing_held_that_could_be_approved() {
    let chat = chat_with(|config| config.chat.rules.approval = Approval::All).await;
    let message = json!({"platform": "twitch", "user": "Ann", "user_id": "7", "text": "Hello there!"});
    let held = chat.post("/v1/chat/enqueue", message.clone()).await.json();
    assert_eq!(held["state"], "held");
    let muted = chat.post("/v1/chat/mute-user", json!({"platform": "twitch", "user": "ann"})).await.json();
    assert_eq!(muted["withdrawn"], 1);
    assert_eq!(chat.post("/v1/chat/approve", json!({"id": held["id"]})).await.error().0, 404);
    let verdict = chat.post("/v1/chat/test", message.clone()).await.json();
    assert_eq!((&verdict["decision"], &verdict["rule"]), (&json!("refuse"), &json!("muted")));
    assert_eq!(verdict["trace"][0]["rule"], "muted");
    post_to(&chat.app, "/v1/chat/stop", "").await;
    assert_eq!(chat.post("/v1/chat/test", message).await.json()["rule"], "disabled");
}

fn by_unal(id: &str) -> Message {
    Message {
        platform: Platform::Twitch,
        channel: "bar".to_owned(),
        id: id.to_owned(),
        user: User {
            id: "7".to_owned(),
            name: "伊爾".to_owned(),
            login: "unal".to_owned(),
            masked: false,
            roles: Roles::default(),
        },
        text: "Hello there!".to_owned(),
        emotes: Vec::new(),
        kind: Kind::Cheer { bits: 100 },
        sent_at: None,
    }
}

#[tokio::test]
async fn whoever_is_shown_by_another_name_is_found_by_the_login() {
    let chat = chat().await;
    chat.desk.set_nickname("@Unal", Some("Uncle")).await.expect("stored");
    let voice = json!({"platform": "twitch", "user": "unal", "voice": "wren"});
    assert_eq!(chat.post("/v1/chat/user-voice", voice).await.status, 200);
    let taken = chat.desk.take(by_unal("1")).await.expect("stored");
    let Taken::Item(item) = taken else { panic!("{taken:?}") };
    assert_eq!((item.item.voice.as_deref(), &*item.item.user_name), (Some("wren"), "伊爾"));
    assert_eq!(item.item.speech, "Uncle cheered 100: Hello there!");
    let mute = |user: &str, muted: bool| json!({"platform": "twitch", "user": user, "muted": muted});
    assert_eq!(chat.post("/v1/chat/mute-user", mute("@UNAL", true)).await.json()["withdrawn"], 1);
    let refused = chat.desk.take(by_unal("2")).await.expect("judged");
    assert!(matches!(&refused, Taken::Refused { rule, .. } if rule == "muted"), "{refused:?}");
    chat.post("/v1/chat/mute-user", mute("伊爾", false)).await;
    assert!(matches!(chat.desk.take(by_unal("3")).await.expect("stored"), Taken::Item(_)));
    assert_eq!(get(&chat.app, "/v1/chat/state").await.json()["muted"], json!([]));
}

#[tokio::test]
async fn whoever_was_muted_before_a_restart_is_unmuted_by_any_writing_of_the_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let configure = |config: &mut Config| config.chat.directory = directory.path().to_path_buf();
    let before = chat_with(configure).await;
    for (user, user_id) in [("@Ann", "UCa"), ("ÜNAL", "UCu")] {
        let muted = json!({"platform": "youtube", "user": user, "user_id": user_id});
        assert_eq!(before.post("/v1/chat/mute-user", muted).await.status, 200);
    }
    let desk = Arc::downgrade(&before.desk);
    drop(before);
    while desk.upgrade().is_some() {
        tokio::task::yield_now().await;
    }
    let after = chat_with(configure).await;
    let muted = || async { get(&after.app, "/v1/chat/state").await.json()["muted"].as_array().map(Vec::len) };
    assert_eq!(muted().await, Some(2));
    for user in ["ann", "ünal"] {
        after.post("/v1/chat/mute-user", json!({"platform": "youtube", "user": user, "muted": false})).await;
    }
    assert_eq!(muted().await, Some(0));
}

#[tokio::test]
async fn a_language_is_spoken_though_its_engine_is_missing() {
    let chat = chat_with(|config| {
        config.chat.rules.engines.insert("zh".to_owned(), "gone".to_owned());
        config.chat.rules.voices.insert("zh".to_owned(), "nobody".to_owned());
        config.chat.voices.pool = vec!["nobody".to_owned()];
    })
    .await;
    let mut overlay = chat.listen("overlay=obs").await;
    overlay.expect("hello").await;
    chat.enqueue("Ann", "今天天气真好，我们出去玩吧").await;
    let item = overlay.item().await;
    assert!(item["voice"].as_str().is_some_and(|voice| voice != "nobody"), "{item}");
    let playing = &queue(&chat).await["playing"][0];
    assert_eq!((&playing["id"], &playing["engine"]), (&item["id"], &Value::Null), "{playing}");
    assert_eq!(get(&chat.app, item["audio_url"].as_str().expect("a URL")).await.status, 200);
}

#[tokio::test]
async fn what_was_paid_for_is_not_given_up_because_an_engine_stumbled() {
    let chat = chat().await;
    let mut overlay = chat.listen("overlay=obs").await;
    overlay.expect("hello").await;
    let tip = json!({"platform": "twitch", "user": "Ann", "text": "[stumble] Thank you!",
        "paid": {"amount": 5, "currency": "EUR"}});
    chat.post("/v1/chat/enqueue", tip).await;
    let item = overlay.item().await;
    let sound = item["audio_url"].as_str().expect("a URL");
    // The first try is under way when the item is told, and fails for whoever asks meanwhile.
    let heard = async {
        loop {
            match get(&chat.app, sound).await.status.as_u16() {
                200 => break,
                404 => panic!("it was given up: {}", queue(&chat).await["ended"]),
                _ => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(SOON, heard).await.expect("it is spoken");
    assert_eq!(chat.ack(&item["id"], "finished").await["counted"], true);
}

#[tokio::test]
async fn the_originals_messages_are_bounded_and_tell_no_amounts() {
    let chat = chat().await;
    let message = |id: &str, user: &str, metadata: Value| {
        json!({"id": id, "platform": "Twitch", "channel": "ann", "user_id": null, "username": user,
            "priority": "Paid", "content": {"Text": "Hello!"}, "metadata": metadata})
    };
    let long = "x".repeat(257);
    for wrong in [message("", "Bo", json!({})), message("1", "B\no", json!({})), message(&long, "Bo", json!({}))] {
        assert_eq!(chat.post("/api/danmaku/enqueue", wrong.clone()).await.error().0, 400, "{wrong}");
    }
    for (id, metadata) in [("1", json!({})), ("2", json!({"amount": "19.99", "currency": "eur"}))] {
        assert_eq!(chat.post("/api/danmaku/enqueue", message(id, "Bo", metadata)).await.status, 202);
    }
    let waiting = queue(&chat).await["waiting"].clone();
    let heard = |index: usize| (waiting[index]["speech"].clone(), waiting[index]["paid"].clone());
    assert_eq!(heard(0), (json!("Hello!"), Value::Null));
    let paid = json!({"amount": "19.99", "currency": "EUR"});
    assert_eq!(heard(1), (json!("Bo sent 19.99 EUR: Hello!"), paid));
    assert_eq!(waiting[0]["priority"], "paid");
}

#[tokio::test]
async fn what_was_refused_is_not_kept_whole() {
    let chat = chat_with(|config| config.chat.rules.banned_words = vec!["darn".to_owned()]).await;
    let refused = chat.enqueue("Ann", &format!("darn {}", "🎉 long ".repeat(10_000))).await;
    assert_eq!(refused["rule"], "banned");
    let kept = queue(&chat).await["refused"][0]["text"].clone();
    assert!(kept.as_str().is_some_and(|text| text.chars().count() <= 501 && text.ends_with('…')), "{kept}");
    let channel = json!({"platform": "twitch", "user": "Ann", "text": "Hi.", "channel": "x".repeat(300)});
    assert_eq!(chat.post("/v1/chat/enqueue", channel).await.error().0, 400);
}
