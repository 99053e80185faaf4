//! What the connections' tests share: settings that point at servers of the test's own, and what a source tells.

use std::time::Duration;

use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite};

use super::{Handle, Request, State, spawn};
use crate::{
    chat::{Event, Message, Platform},
    config,
};

/// Nothing here waits for so long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

pub(in crate::chat) struct Listening {
    pub handle: Handle,
    pub events: mpsc::Receiver<Event>,
    state: watch::Receiver<State>,
    pub directory: tempfile::TempDir,
}

/// Waits hardly at all between attempts.
pub(in crate::chat) fn listen(platform: Platform, set: impl FnOnce(&mut config::Chat)) -> Listening {
    let directory = tempfile::tempdir().expect("a directory");
    listen_in(directory, platform, set)
}

pub(in crate::chat) fn listen_in(
    directory: tempfile::TempDir,
    platform: Platform,
    set: impl FnOnce(&mut config::Chat),
) -> Listening {
    let mut chat = config::Chat { directory: directory.path().to_owned(), ..config::Chat::default() };
    chat.connect.reconnect_s = 0.01;
    set(&mut chat);
    let (tell, events) = mpsc::channel(64);
    let handle = spawn(&chat, Request { platform, channel: None }, tell).expect("good settings");
    let state = handle.state();
    Listening { handle, events, state, directory }
}

impl Listening {
    pub(in crate::chat) async fn event(&mut self) -> Event {
        let state = self.state.clone();
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        event.unwrap_or_else(|_| panic!("no event; {:?}", state.borrow())).expect("the source lives")
    }

    pub(in crate::chat) async fn message(&mut self) -> Message {
        match self.event().await {
            Event::Message(message) => message,
            other => panic!("{other:?}"),
        }
    }

    pub(in crate::chat) async fn texts(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        while texts.len() < count {
            texts.push(self.message().await.text);
        }
        texts
    }

    pub(in crate::chat) async fn until(&mut self, is: impl FnMut(&State) -> bool) -> State {
        let now = self.handle.state();
        let reached = tokio::time::timeout(PATIENCE, self.state.wait_for(is)).await;
        reached.unwrap_or_else(|_| panic!("still {:?}", now.borrow())).expect("the source lives").clone()
    }
}

/// A server of the test's own, on a free port.
pub(in crate::chat) async fn server() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    (listener, address)
}

pub(in crate::chat) async fn accept(listener: &TcpListener) -> WebSocketStream<TcpStream> {
    let (stream, _) =
        tokio::time::timeout(PATIENCE, listener.accept()).await.expect("somebody comes").expect("accepted");
    accept_async(stream).await.expect("a WebSocket")
}

pub(in crate::chat) async fn next_message(socket: &mut WebSocketStream<TcpStream>) -> tungstenite::Message {
    use futures_util::StreamExt;
    let message = tokio::time::timeout(PATIENCE, socket.next()).await;
    message.expect("it says something").expect("it is there").expect("a message")
}

/// Serves HTTP: `answer` gets the path with its query, the headers' names and values, and the body.
pub(in crate::chat) async fn http<F>(answer: F) -> String
where
    F: Fn(&str, &axum::http::HeaderMap, &str) -> (u16, Value) + Clone + Send + Sync + 'static,
{
    let (listener, address) = server().await;
    let handler = move |request: axum::extract::Request| {
        let answer = answer.clone();
        async move {
            let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
            let headers = request.headers().clone();
            let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap_or_default();
            let (status, json) = answer(&path, &headers, &String::from_utf8_lossy(&body));
            (axum::http::StatusCode::from_u16(status).expect("a status"), axum::Json(json))
        }
    };
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(handler)).await });
    format!("http://{address}")
}
