//! The connection's life against servers of the tests' own.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message as Frame};

use super::*;
use crate::chat::{
    Kind, Platform,
    source::{
        State,
        testing::{self, Listening, accept, next_message, server},
    },
};

async fn next_line(socket: &mut WebSocketStream<TcpStream>) -> String {
    next_message(socket).await.into_text().expect("text").trim_end().to_owned()
}

async fn say(socket: &mut WebSocketStream<TcpStream>, lines: &str) {
    socket.send(Frame::text(lines.to_owned())).await.expect("sent");
}

fn message(id: &str, text: &str) -> String {
    format!("@id={id};user-id=7;display-name=Ann;room-id=1 :ann!a@a PRIVMSG #bar :{text}\r\n")
}

/// As the server: lets the client in.
async fn admit(socket: &mut WebSocketStream<TcpStream>) -> String {
    admit_after(socket, async {}).await
}

/// As the server: lets the client in, right after something else was done.
async fn admit_after(socket: &mut WebSocketStream<TcpStream>, done: impl Future<Output = ()>) -> String {
    let mut hello = String::new();
    while !hello.contains("NICK ") {
        hello = hello + &next_line(socket).await + "\n";
    }
    say(socket, ":tmi.twitch.tv 001 x :Welcome, GLHF!\r\n").await;
    assert_eq!(next_line(socket).await, "JOIN #bar");
    done.await;
    say(socket, ":x!x@x JOIN #bar\r\n@room-id=1 :tmi.twitch.tv ROOMSTATE #bar\r\n").await;
    hello
}

fn listen(address: &str) -> Listening {
    let url = format!("ws://{address}");
    testing::listen(Platform::Twitch, |chat| {
        chat.twitch.channel = "Bar".into();
        chat.twitch.irc_url = url;
    })
}

#[tokio::test]
async fn anonymous_and_through_a_lost_connection() {
    let (listener, address) = server().await;
    let mut listening = listen(&address);
    let mut first = accept(&listener).await;
    let hello = admit(&mut first).await;
    assert!(hello.starts_with("CAP REQ :twitch.tv/tags twitch.tv/commands\nNICK justinfan"), "{hello}");
    listening.until(|state| *state == State::Connected { warning: None }).await;
    say(&mut first, &(message("1", "one") + &message("2", "two") + "PING :tmi.twitch.tv\r\n")).await;
    assert_eq!(next_line(&mut first).await, "PONG :tmi.twitch.tv");
    assert_eq!(listening.texts(2).await, ["one", "two"]);
    drop(first);

    let mut second = accept(&listener).await;
    admit(&mut second).await;
    say(&mut second, &(message("2", "two") + &message("3", "three"))).await;
    assert_eq!(listening.message().await.text, "three");
    say(&mut second, "@target-msg-id=3 :tmi.twitch.tv CLEARMSG #bar :three\r\n").await;
    let deleted = Event::Deleted { platform: Platform::Twitch, channel: "bar".into(), id: "3".into() };
    assert_eq!(listening.event().await, deleted);
}

#[tokio::test]
async fn a_reconnect_loses_nothing() {
    let (listener, address) = server().await;
    let mut listening = listen(&address);
    let mut old = accept(&listener).await;
    admit(&mut old).await;
    say(&mut old, &(message("1", "one") + ":tmi.twitch.tv RECONNECT\r\n")).await;
    let mut new = accept(&listener).await;
    // The new one is not in the channel yet: the old one is still heard.
    say(&mut old, &message("2", "two")).await;
    assert_eq!(listening.texts(2).await, ["one", "two"]);
    admit(&mut new).await;
    say(&mut new, &(message("2", "two") + &message("3", "three"))).await;
    assert_eq!(listening.message().await.text, "three");
    // What was said before the new one came may still be on its way to the old one, which ends when the server says so.
    say(&mut old, &(message("3", "three") + &message("late", "late"))).await;
    assert_eq!(listening.message().await.text, "late");
    drop(old);
    say(&mut new, &message("4", "four")).await;
    assert_eq!(listening.message().await.text, "four");
    assert!(matches!(*listening.handle.state().borrow(), State::Connected { .. }));
}

/// A connection that RECONNECT has ended, and its successor, which is in the channel.
async fn relieved(listener: &TcpListener) -> (WebSocketStream<TcpStream>, WebSocketStream<TcpStream>) {
    let mut old = accept(listener).await;
    admit(&mut old).await;
    say(&mut old, ":tmi.twitch.tv RECONNECT\r\n").await;
    let mut new = accept(listener).await;
    admit(&mut new).await;
    (old, new)
}

async fn until_left(old: &mut WebSocketStream<TcpStream>) {
    let left = async { while let Some(Ok(_)) = old.next().await {} };
    tokio::time::timeout(10 * LINGER, left).await.expect("it is left");
}

#[tokio::test]
async fn an_old_connection_is_left_in_the_end() {
    let (listener, address) = server().await;
    let mut listening = listen(&address);
    let (mut old, mut new) = relieved(&listener).await;
    say(&mut new, &message("1", "one")).await;
    assert_eq!(listening.message().await.text, "one");
    until_left(&mut old).await;
    say(&mut new, &message("2", "two")).await;
    assert_eq!(listening.message().await.text, "two");
}

#[tokio::test]
async fn what_a_banned_user_said_does_not_come_late() {
    let (listener, address) = server().await;
    let mut listening = listen(&address);
    let (mut old, mut new) = relieved(&listener).await;
    say(&mut new, "@target-user-id=1 :tmi.twitch.tv CLEARCHAT #bar :u\r\n").await;
    assert!(matches!(listening.event().await, Event::UserRemoved { .. }));
    // It may have been left already.
    let _ = old.send(Frame::text(message("late", "late"))).await;
    until_left(&mut old).await;
    say(&mut new, &message("1", "one")).await;
    assert_eq!(listening.message().await.text, "one");
}

#[tokio::test]
async fn what_came_before_the_new_connection_was_there_is_read() {
    let (listener, address) = server().await;
    let mut listening = listen(&address);
    let mut old = accept(&listener).await;
    admit(&mut old).await;
    say(&mut old, ":tmi.twitch.tv RECONNECT\r\n").await;
    let mut new = accept(&listener).await;
    // One frame, which is there when the new one is in the channel; what the new one says comes after it.
    let texts: Vec<String> = (0..32).map(|number| number.to_string()).collect();
    let lines: String = texts.iter().map(|text| message(text, text)).collect();
    admit_after(&mut new, async { say(&mut old, &lines).await }).await;
    say(&mut new, &message("after", "after")).await;
    assert_eq!(listening.texts(32).await, texts);
    assert_eq!(listening.message().await.text, "after");
}

#[tokio::test]
async fn a_new_connection_that_fails_is_tried_again_while_the_old_one_is_heard() {
    let (listener, address) = server().await;
    let mut listening = listen(&address);
    let mut old = accept(&listener).await;
    admit(&mut old).await;
    listening.until(|state| matches!(state, State::Connected { .. })).await;
    say(&mut old, ":tmi.twitch.tv RECONNECT\r\n").await;
    drop(accept(&listener).await);
    let mut new = accept(&listener).await;
    say(&mut old, &message("1", "one")).await;
    assert_eq!(listening.message().await.text, "one");
    admit(&mut new).await;
    say(&mut new, &message("2", "two")).await;
    assert_eq!(listening.message().await.text, "two");
    assert!(matches!(*listening.handle.state().borrow(), State::Connected { .. }));
}

#[tokio::test]
async fn a_channel_that_does_not_let_us_in() {
    let (listener, address) = server().await;
    let mut listening = listen(&address);
    let mut socket = accept(&listener).await;
    while !next_line(&mut socket).await.starts_with("NICK") {}
    say(&mut socket, ":tmi.twitch.tv 001 x :hi\r\n@msg-id=msg_channel_suspended :tmi.twitch.tv NOTICE #bar :gone\r\n")
        .await;
    let failed = listening.until(State::is_over).await;
    assert_eq!(failed, State::Failed { reason: "Twitch: gone".into() });
}

#[tokio::test]
async fn stopping_closes_the_connection() {
    let (listener, address) = server().await;
    let mut listening = listen(&address);
    let mut socket = accept(&listener).await;
    admit(&mut socket).await;
    listening.until(|state| matches!(state, State::Connected { .. })).await;
    let state = listening.handle.state();
    listening.handle.stop().await;
    assert_eq!(*state.borrow(), State::Ended);
    assert_eq!(listening.events.recv().await, None);
}

/// Twitch's account server: accepts the access token "new" alone, and one refresh of "refresh".
async fn accounts() -> String {
    testing::http(|path, headers, body| match path {
        "/validate" => match headers.get("authorization").and_then(|value| value.to_str().ok()) {
            Some("OAuth new") => {
                let scopes = ["chat:read", eventsub::SCOPE];
                (200, json!({"client_id": "c", "login": "bar", "user_id": "1337", "scopes": scopes, "expires_in": 9}))
            }
            _ => (401, json!({"status": 401, "message": "invalid access token"})),
        },
        "/token" if body.contains("grant_type=refresh_token&refresh_token=refresh&client_id=c") => {
            (200, json!({"access_token": "new", "refresh_token": "refresh2"}))
        }
        "/device" => (
            200,
            json!({"device_code": "d", "user_code": "ABCD", "verification_uri": "https://x", "interval": 1, "expires_in": 60}),
        ),
        "/token" if body.contains("device_code=d") => (200, json!({"access_token": "new", "refresh_token": "r"})),
        _ => (400, json!({"status": 400, "message": "Invalid refresh token"})),
    })
    .await
}

fn kept(directory: &std::path::Path) -> Value {
    serde_json::from_slice(&std::fs::read(directory.join(token::FILE)).expect("kept")).expect("JSON")
}

#[tokio::test]
async fn a_sign_in_is_refreshed_and_channel_points_are_heard() {
    let (chat, chat_address) = server().await;
    let (points, points_address) = server().await;
    let auth_url = accounts().await;
    let api_url = testing::http(|path, headers, body| {
        let wanted: Value = serde_json::from_str(body).unwrap_or_default();
        assert_eq!(path, "/eventsub/subscriptions");
        assert_eq!(headers["authorization"], "Bearer new");
        assert_eq!(wanted["condition"]["broadcaster_user_id"], "1337");
        assert_eq!(wanted["transport"]["session_id"], "AQoQILE98gtqShGmLD7AM6yJThAB");
        (202, json!({"data": []}))
    })
    .await;
    let directory = tempfile::tempdir().expect("a directory");
    let old = json!({"client_id": "c", "access_token": "old", "refresh_token": "refresh"});
    std::fs::write(directory.path().join(token::FILE), old.to_string()).expect("written");
    let mut listening = testing::listen_in(directory, Platform::Twitch, |settings| {
        settings.twitch.channel = "bar".into();
        settings.twitch.irc_url = format!("ws://{chat_address}");
        settings.twitch.eventsub_url = format!("ws://{points_address}");
        settings.twitch.auth_url = auth_url;
        settings.twitch.api_url = api_url;
    });
    let mut chat = accept(&chat).await;
    let hello = admit(&mut chat).await;
    assert!(hello.contains("PASS oauth:new\nNICK bar"), "{hello}");
    assert_eq!(kept(listening.directory.path())["refresh_token"], "refresh2");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let file = listening.directory.path().join(token::FILE);
        assert_eq!(std::fs::metadata(file).expect("there").permissions().mode() & 0o777, 0o600);
    }

    let told: Vec<&str> = include_str!("fixtures/eventsub.jsonl").lines().collect();
    let mut socket = accept(&points).await;
    say(&mut socket, told[0]).await;
    say(&mut socket, told[1]).await;
    // The same notification twice, as EventSub may deliver it.
    say(&mut socket, told[2]).await;
    say(&mut socket, told[2]).await;
    let redeemed = listening.message().await;
    assert!(matches!(redeemed.kind, Kind::Redemption { points: 100, .. }), "{redeemed:?}");

    // Sent on to another server, where the next one comes.
    say(
        &mut socket,
        &told[3].replace("wss://eventsub.wss.twitch.tv?challenge=abc", &format!("ws://{points_address}/2")),
    )
    .await;
    let mut successor = accept(&points).await;
    say(&mut successor, told[0]).await;
    say(&mut successor, &told[2].replace("befa7b53", "other").replace("17fa2df1", "next")).await;
    assert!(listening.message().await.id.starts_with("next"));
    // The chat's message of the same redemption is not another one, however many connections tell it.
    let same =
        "@id=c;user-id=9001;custom-reward-id=92af127c-7326-4483-a52b-b0da0be61c01 :u!u@u PRIVMSG #bar :pogchamp\r\n";
    say(&mut chat, &(same.repeat(3) + &message("z", "after"))).await;
    assert_eq!(listening.message().await.text, "after");
}

#[tokio::test]
async fn the_device_flow_keeps_what_it_is_given() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut chat = config::Chat { directory: directory.path().join("new"), ..config::Chat::default() };
    assert!(matches!(sign_in(&chat).await, Err(TokenError::Refused(reason)) if reason.contains("client_id")));
    chat.twitch.client_id = "c".into();
    chat.twitch.auth_url = accounts().await;
    let sign_in = sign_in(&chat).await.expect("begun");
    assert_eq!((sign_in.address.as_str(), sign_in.user_code.as_str()), ("https://x", "ABCD"));
    assert_eq!(sign_in.wait().await, Ok(Some("bar".to_owned())));
    let expected = json!({"client_id": "c", "access_token": "new", "refresh_token": "r", "login": "bar"});
    assert_eq!(kept(&chat.directory), expected);
    assert_eq!(signed_in(&chat), Some(Some("bar".to_owned())));
    chat.twitch.token = "mine".into();
    assert!(matches!(super::sign_in(&chat).await, Err(TokenError::Refused(reason)) if reason.contains("twitch.token")));
}

/// Two channels: a refresh token is good for one use, and an EventSub that comes back may find its token expired.
#[tokio::test]
async fn connections_that_begin_together_refresh_once() {
    let uses = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&uses);
    let auth_url = testing::http(move |path, headers, body| match path {
        "/validate" if headers["authorization"] == "OAuth new" => (200, json!({"client_id": "c", "login": "bar"})),
        "/validate" => (401, json!({"status": 401})),
        "/token"
            if body.contains("refresh_token=one&")
                && counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 =>
        {
            (200, json!({"access_token": "new", "refresh_token": "two"}))
        }
        _ => (400, json!({"status": 400, "message": "Invalid refresh token"})),
    })
    .await;
    let directory = tempfile::tempdir().expect("a directory");
    let old = json!({"client_id": "c", "access_token": "old", "refresh_token": "one"});
    std::fs::write(directory.path().join(token::FILE), old.to_string()).expect("written");
    let chat = config::Chat { directory: directory.path().to_owned(), ..config::Chat::default() };
    let settings = config::Twitch { auth_url, ..config::Twitch::default() };
    let context = Context::new(&chat).expect("good settings");
    let (one, other) = tokio::join!(token::current(&settings, &context), token::current(&settings, &context));
    for token in [one, other] {
        assert_eq!(token.expect("signed in").expect("a token").access.reveal(), "new");
    }
    assert_eq!(uses.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn channel_points_are_heard_again_after_their_token_expired() {
    let (points, points_address) = server().await;
    let auth_url = accounts().await;
    let api_url = testing::http(|_, headers, _| match headers["authorization"].to_str() {
        Ok("Bearer new") => (202, json!({"data": []})),
        _ => (401, json!({"status": 401, "message": "Invalid OAuth token"})),
    })
    .await;
    let directory = tempfile::tempdir().expect("a directory");
    let fresh = json!({"client_id": "c", "access_token": "new", "refresh_token": "refresh"});
    std::fs::write(directory.path().join(token::FILE), fresh.to_string()).expect("written");
    let chat = config::Chat { directory: directory.path().to_owned(), ..config::Chat::default() };
    let eventsub_url = format!("ws://{points_address}");
    let settings = config::Twitch { auth_url, api_url, eventsub_url, ..config::Twitch::default() };
    let old = Token {
        access: "old".into(),
        client_id: "c".into(),
        login: Some("bar".into()),
        user_id: Some("1337".into()),
        scopes: vec![eventsub::SCOPE.into()],
    };
    let context = Context::new(&chat).expect("good settings");
    let (tell, mut told) = mpsc::channel(1);
    let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(1));
    let task = tokio::spawn(EventSub::new(context, settings, old, backoff).run(tell));
    let lines: Vec<&str> = include_str!("fixtures/eventsub.jsonl").lines().collect();
    let mut refused = accept(&points).await;
    say(&mut refused, lines[0]).await;
    let mut taken = accept(&points).await;
    say(&mut taken, lines[0]).await;
    say(&mut taken, lines[2]).await;
    assert!(matches!(told.recv().await, Some(eventsub::Told::Redeemed(_))));
    task.abort();
}

#[tokio::test]
async fn a_token_that_twitch_does_not_know_is_told() {
    let auth_url = accounts().await;
    let mut listening = testing::listen(Platform::Twitch, |chat| {
        chat.twitch.channel = "bar".into();
        chat.twitch.token = "oauth:stale".into();
        chat.twitch.auth_url = auth_url;
    });
    let State::Failed { reason } = listening.until(State::is_over).await else { panic!("not failed") };
    assert!(reason.contains("chat.twitch.token") && !reason.contains("stale"), "{reason}");
}
