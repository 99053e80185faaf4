//! `/v1/ws` over TCP, with an engine whose steps are let go one by one.

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, protocol::CloseFrame},
};

use super::{SOON, THREE, server::Server};
use crate::{
    config::Config,
    engine::{FakeOptions, Gate},
};

struct Client {
    socket: WebSocketStream<TcpStream>,
}

#[derive(Debug)]
enum Said {
    Event(Value),
    Sound(usize),
    Closed(Option<CloseFrame>),
}

impl Client {
    async fn connect(server: &Server) -> Self {
        let stream = server.connect().await;
        let (socket, _) = client_async("ws://localhost/v1/ws", stream).await.expect("an open socket");
        Self { socket }
    }

    async fn send(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.expect("sent");
    }

    async fn next(&mut self) -> Said {
        loop {
            match timeout(SOON, self.socket.next()).await.expect("in time") {
                Some(Ok(Message::Text(text))) => return Said::Event(serde_json::from_str(&text).expect("JSON")),
                Some(Ok(Message::Binary(bytes))) => return Said::Sound(bytes.len()),
                Some(Ok(Message::Close(frame))) => return Said::Closed(frame),
                Some(Ok(_)) => {}
                None | Some(Err(_)) => return Said::Closed(None),
            }
        }
    }

    /// The next event of this type; everything before it is passed over.
    async fn event(&mut self, kind: &str) -> Value {
        loop {
            match self.next().await {
                Said::Event(event) if event["type"] == kind => return event,
                Said::Closed(frame) => panic!("closed while waiting for {kind}: {frame:?}"),
                _ => {}
            }
        }
    }

    async fn closed(&mut self) -> (u16, String) {
        loop {
            if let Said::Closed(frame) = self.next().await {
                let frame = frame.expect("a close with a code");
                return (frame.code.into(), frame.reason.to_string());
            }
        }
    }
}

fn gated() -> (Arc<Gate>, FakeOptions) {
    let gate = Arc::new(Gate::default());
    (Arc::clone(&gate), FakeOptions { gate: Some(gate), ..FakeOptions::default() })
}

#[tokio::test]
async fn sound_comes_before_the_text_is_complete() {
    let (gate, engine) = gated();
    let server = Server::start(Config::default(), engine).await;
    let mut client = Client::connect(&server).await;
    client.send(json!({"type": "start", "hurry": false})).await;
    client.send(json!({"type": "text", "text": "One is the first sentence of all. Two is"})).await;
    gate.open(1);
    let started = client.event("started").await;
    assert_eq!((&started["sample_rate_hz"], &started["engine"]), (&json!(24_000), &json!("fake")));
    let audio = client.event("audio").await;
    assert_eq!(audio["start_ms"], 0.0);
    let Said::Sound(bytes) = client.next().await else { panic!("sound follows its event") };
    assert_eq!(audio["bytes"], bytes);
    gate.open(1);
    client.send(json!({"type": "text", "text": " the second sentence here.", "end": true})).await;
    let done = client.event("done").await;
    assert!(done["audio_ms"].as_f64() > Some(3000.0), "{done}");
    client.socket.close(None).await.expect("closed");
    server.stopped().await;
}

#[tokio::test]
async fn what_is_cancelled_is_silent_at_once_and_frees_the_engine() {
    let (gate, engine) = gated();
    let mut config = Config::default();
    config.queue.max_requests = 1;
    let server = Server::start(config, engine).await;
    let mut client = Client::connect(&server).await;
    client.send(json!({"type": "start", "context": "a", "text": THREE})).await;
    gate.open(1);
    client.event("audio").await;
    client.send(json!({"type": "cancel", "context": "a"})).await;
    client.send(json!({"type": "text", "context": "a", "text": "Too late, but no fault."})).await;
    client.event("cancelled").await;
    // One step was running; the second is for the other text, as the queue holds one request only.
    gate.open(2);
    client.send(json!({"type": "start", "context": "b", "text": "Another text.", "end": true})).await;
    loop {
        match client.next().await {
            Said::Event(event) if event["type"] == "error" => {
                // The step that runs keeps its place until the engine has taken the cancellation.
                assert_eq!(event["error"]["code"], "queue_full", "{event}");
                client.send(json!({"type": "start", "context": "b", "text": "Another text.", "end": true})).await;
            }
            Said::Event(event) => {
                assert_eq!(event["context"], "b", "{event}");
                if event["type"] == "done" {
                    break;
                }
            }
            Said::Sound(_) => {}
            Said::Closed(frame) => panic!("{frame:?}"),
        }
    }
    drop(client);
    server.stopped().await;
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_place_back() {
    let (gate, engine) = gated();
    let mut config = Config::default();
    config.queue.max_requests = 1;
    let server = Server::start(config, engine).await;
    let mut client = Client::connect(&server).await;
    client.send(json!({"type": "start", "text": THREE})).await;
    gate.open(1);
    client.event("audio").await;
    drop(client);
    gate.open(100);
    let mut other = Client::connect(&server).await;
    loop {
        other.send(json!({"type": "start", "text": "Another text.", "end": true})).await;
        let Said::Event(event) = other.next().await else { panic!("an event comes first") };
        if event["type"] == "started" {
            break;
        }
        assert_eq!(event["error"]["code"], "queue_full");
    }
    other.event("done").await;
    drop(other);
    server.stopped().await;
}

#[tokio::test]
async fn stopping_lets_what_is_spoken_end_and_says_goodbye() {
    let (gate, engine) = gated();
    let server = Server::start(Config::default(), engine).await;
    let mut quiet = Client::connect(&server).await;
    quiet.send(json!({"type": "ping"})).await;
    quiet.event("pong").await;
    let mut client = Client::connect(&server).await;
    client.send(json!({"type": "start", "text": THREE, "end": true})).await;
    gate.open(1);
    client.event("audio").await;
    server.stop.send_replace(true);
    assert_eq!(quiet.closed().await, (1001, "shutting_down".to_owned()));
    client.send(json!({"type": "start", "context": "late"})).await;
    let refused = client.event("error").await;
    assert_eq!((&refused["context"], &refused["error"]["code"]), (&Value::Null, &json!("shutting_down")));
    assert!(!server.serving.is_finished(), "it does not wait for what is spoken");
    gate.open(2);
    client.event("done").await;
    assert_eq!(client.closed().await.0, 1001);
    drop((quiet, client));
    server.stopped().await;
}

#[tokio::test]
async fn a_stop_that_takes_too_long_breaks_off() {
    let (gate, engine) = gated();
    let mut config = Config::default();
    config.http.shutdown_grace_s = 0.05;
    let server = Server::start(config, engine).await;
    let mut client = Client::connect(&server).await;
    client.send(json!({"type": "start", "text": THREE, "end": true})).await;
    gate.open(1);
    client.event("audio").await;
    server.stopped().await;
    gate.open(2);
    while !matches!(client.next().await, Said::Closed(_)) {}
}

#[tokio::test]
async fn nothing_said_for_too_long_is_a_close_of_its_own() {
    let mut config = Config::default();
    config.websocket.idle_s = 0.1;
    config.websocket.ping_s = 0.03;
    let server = Server::start(config, FakeOptions::default()).await;
    let mut client = Client::connect(&server).await;
    client.send(json!({"type": "start", "text": "Not ended"})).await;
    assert_eq!(client.closed().await, (4408, "idle_timeout".to_owned()));
    drop(client);
    server.stopped().await;
}

#[tokio::test]
async fn a_stalled_text_is_spoken_up_to_its_last_clause() {
    let server = Server::start(Config::default(), FakeOptions::default()).await;
    let mut client = Client::connect(&server).await;
    client
        .send(json!({"type": "start", "text": "One is the first sentence of all. Two is it too, and three is."}))
        .await;
    assert_eq!(client.event("caption").await["text"], "One is the first sentence of all.");
    assert_eq!(client.event("caption").await["text"], "Two is it too, and three is.");
    client.send(json!({"type": "text", "text": " Four", "flush": true})).await;
    assert_eq!(client.event("caption").await["text"], "Four");
    client.event("flushed").await;
    let soon = timeout(Duration::from_millis(20), client.socket.next()).await;
    assert!(soon.is_err(), "{soon:?}");
    drop(client);
    server.stopped().await;
}
