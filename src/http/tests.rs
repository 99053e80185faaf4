//! The router and the server against the fake engine.

mod chat;
mod chat_requests;
mod chat_safety;
mod lists;
mod native;
mod server;
mod speaking;
mod websocket;

use std::{path::Path, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode, header},
};
use bytes::Bytes;
use tower::ServiceExt;

use super::{App, router};
use crate::{
    chat::StoreError,
    config::Config,
    engine::{FakeHost, FakeOptions},
    speech::{Loudness, Speech},
    voices::Store,
};

/// Only reached when something is broken: machines may be slow, and stall.
const SOON: Duration = Duration::from_secs(60);
const THREE: &str = "One is the first sentence of all. Two is the second sentence here. Three is the last sentence.";

/// Voices as loud as they are: nothing is said to measure them.
fn unmeasured(mut config: Config) -> Config {
    config.loudness.mode = Loudness::Off;
    config
}

async fn service(config: &Arc<Config>, engines: Vec<FakeOptions>) -> Arc<Speech> {
    let (voices, _) = Store::open(Path::new(""), &config.voices.default, &config.voices.aliases);
    let engines = engines.into_iter().map(|options| (options.info.name.clone(), FakeHost::start(options))).collect();
    let config = &Arc::new(unmeasured(Config::clone(config)));
    let speech = Speech::start(Arc::clone(config), Arc::new(voices), engines);
    speech.wait_ready().await.ok();
    speech
}

async fn app_with(config: Config, engine: FakeOptions) -> Router {
    let config = Arc::new(config);
    let chat = Err(StoreError("no directory".to_owned()));
    router(App::new(service(&config, vec![engine]).await, chat, config).expect("an app"))
}

async fn app() -> Router {
    app_with(Config::default(), FakeOptions::default()).await
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// Checks that the answer has the one error shape, and gives its status and code.
    fn error(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/json"), "{:?}", self.body);
        let body = self.json();
        let error = body["error"].as_object().expect("an error");
        let mut fields: Vec<_> = error.keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["code", "message", "param", "type"]);
        assert!(!error["message"].as_str().expect("a message").is_empty());
        (self.status.as_u16(), error["code"].as_str().expect("a code").to_owned())
    }
}

async fn send(app: &Router, request: Request<Body>) -> Answer {
    let response = app.clone().oneshot(request).await.expect("infallible");
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("a whole body");
    assert!(parts.headers.contains_key("x-request-id"), "{parts:?}");
    Answer { status: parts.status, headers: parts.headers, body }
}

fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header(header::HOST, "localhost:8880")
}

async fn get(app: &Router, path: &str) -> Answer {
    send(app, request("GET", path).body(Body::empty()).expect("a request")).await
}

async fn post(app: &Router, body: impl Into<Body>) -> Answer {
    post_to(app, "/v1/audio/speech", body).await
}

async fn post_to(app: &Router, path: &str, body: impl Into<Body>) -> Answer {
    send(app, request("POST", path).body(body.into()).expect("a request")).await
}
