//! All that is not speech.

use axum::body::Body;

use super::{app, app_with, get, post, request, send};
use crate::{config::Config, engine::FakeOptions};

#[tokio::test]
async fn the_process_answers() {
    let app = app().await;
    let answer = get(&app, "/healthz").await;
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"ok"[..]));
    let head = send(&app, request("HEAD", "/healthz").body(Body::empty()).expect("a request")).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
}

#[tokio::test]
async fn ready_tells_every_engine() {
    let ready = get(&app().await, "/readyz").await;
    assert_eq!(ready.status, 200);
    assert_eq!(
        ready.json(),
        serde_json::json!({
            "ready": true,
            "percent": 100,
            "engines": [{"name": "fake", "state": "ready", "voices": {"prepared": 1, "of": 1}}],
        })
    );

    let broken = app_with(Config::default(), FakeOptions { fail_load: true, ..FakeOptions::default() }).await;
    let answer = get(&broken, "/readyz").await;
    assert_eq!(answer.status, 503);
    let engine = &answer.json()["engines"][0];
    assert_eq!(engine["state"], "broken");
    assert!(engine["problem"].as_str().expect("a reason").contains("not to load"));
    assert_eq!(get(&broken, "/healthz").await.status, 200);
    let model = get(&broken, "/v1/models/fake").await.json();
    assert_eq!(model["state"], "broken");
}

#[tokio::test]
async fn models_are_listed_and_looked_up() {
    let app = app().await;
    let list = get(&app, "/v1/models").await.json();
    assert_eq!(list["object"], "list");
    let model = get(&app, "/v1/models/fake").await.json();
    assert_eq!(model, list["data"][0]);
    assert_eq!(
        (model["object"].as_str(), model["licence"].as_str(), model["sample_rate_hz"].as_u64()),
        (Some("model"), Some("Apache-2.0"), Some(24_000))
    );
    assert_eq!(get(&app, "/v1/models/tts-1").await.json()["alias_of"], "fake");
    assert_eq!(get(&app, "/v1/models/gpt-4").await.error(), (404, "model_not_found".into()));
    assert_eq!(get(&app, "/v1/models/%2e%2e%2fetc").await.error(), (404, "model_not_found".into()));
    assert_eq!(get(&app, "/v1/models/%ff").await.error(), (400, "invalid_value".into()));
}

#[tokio::test]
async fn voices_are_listed_with_their_aliases() {
    let list = get(&app().await, "/v1/audio/voices").await.json();
    let find = |id: &str| {
        let voices = list["voices"].as_array().expect("a list");
        voices.iter().find(|voice| voice["id"] == id).unwrap_or_else(|| panic!("{id} in {list}")).clone()
    };
    let (own, alias) = (find("heart"), find("alloy"));
    assert!(own.get("alias_of").is_none());
    assert_eq!(own["is_default"], true);
    assert_eq!((&alias["alias_of"], &alias["is_default"]), (&"heart".into(), &false.into()));
    assert_eq!(own["licence"], alias["licence"]);
    assert!(own["languages"].as_array().is_some_and(|languages| !languages.is_empty()));
}

#[tokio::test]
async fn there_is_one_error_shape_for_all_that_axum_answers() {
    let app = app().await;
    assert_eq!(get(&app, "/nothing").await.error(), (404, "path_not_found".into()));
    assert_eq!(get(&app, "/v1/models/").await.error(), (404, "path_not_found".into()));
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"] {
        let answer = send(&app, request(method, "/v1/audio/speech").body(Body::empty()).expect("a request")).await;
        assert_eq!(answer.error(), (405, "method_not_allowed".into()), "{method}");
        assert_eq!(answer.header("allow"), Some("POST"), "{method}");
    }
}

#[tokio::test]
async fn hostile_bodies_are_refused_and_the_next_request_is_answered() {
    let app = app().await;
    let too_large = vec![b' '; 20 << 20];
    for (body, expected) in [
        (too_large, (413, "body_too_large")),
        (b"".to_vec(), (400, "invalid_json")),
        (b"{\"input\":\"\xff\xfe\"}".to_vec(), (400, "invalid_utf8")),
        (b"{\"input\":\"a\0b\"}".to_vec(), (400, "invalid_json")),
        (b"[".repeat(100_000), (400, "invalid_json")),
        (b"{\"a\":".repeat(100_000), (400, "invalid_json")),
        (br#"{"input":"a","input":"b"}"#.to_vec(), (400, "invalid_json")),
        (br#"{"input":"a","speed":NaN}"#.to_vec(), (400, "invalid_json")),
        (br#"{"input":"a","speed":1e999}"#.to_vec(), (400, "invalid_json")),
        (br#"{"input":"a","speed":"1"}"#.to_vec(), (400, "invalid_value")),
        (br#"{"input":"a","response_format":"aac"}"#.to_vec(), (400, "unsupported_format")),
        (br#"{"input":"a","voice":"../../etc/passwd"}"#.to_vec(), (404, "voice_not_found")),
        (br#"{"input":"a","voice":"%00/heart"}"#.to_vec(), (404, "voice_not_found")),
        (br#"{"input":"a","model":"gpt-4"}"#.to_vec(), (404, "model_not_found")),
        (br#"{"input":""}"#.to_vec(), (400, "input_missing")),
        (br#"{"input":"?! \u200b"}"#.to_vec(), (400, "nothing_to_say")),
    ] {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let (status, code) = post(&app, body).await.error();
        assert_eq!((status, code.as_str()), expected, "{shown}");
        assert_eq!(get(&app, "/healthz").await.status, 200, "after {shown}");
    }
}

#[tokio::test]
async fn other_hosts_and_origins_are_refused() {
    let app = app().await;
    let builder = |method, path| axum::http::Request::builder().method(method).uri(path);
    for path in ["/healthz", "/v1/models", "/nothing"] {
        let rebound = builder("GET", path).header("host", "evil.example").body(Body::empty()).expect("a request");
        assert_eq!(send(&app, rebound).await.error(), (403, "host_not_allowed".into()), "{path}");
    }
    let foreign = request("POST", "/v1/audio/speech").header("origin", "https://evil.example");
    let foreign = foreign.body(Body::from(r#"{"input":"a"}"#)).expect("a request");
    let answer = send(&app, foreign).await;
    assert_eq!(answer.error(), (403, "origin_not_allowed".into()));
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn listed_origins_get_cors_on_successes_and_errors() {
    let mut config = Config::default();
    config.http.allowed_origins = vec!["https://studio.example.org".into()];
    let app = app_with(config, FakeOptions::default()).await;
    let from_studio = |method, path| request(method, path).header("origin", "https://studio.example.org");
    let preflight = from_studio("OPTIONS", "/v1/audio/speech").header("access-control-request-method", "POST");
    let answer = send(&app, preflight.body(Body::empty()).expect("a request")).await;
    assert_eq!(answer.status, 204);
    for (method, path) in [("GET", "/v1/models"), ("POST", "/v1/audio/speech"), ("GET", "/nothing")] {
        let answer = send(&app, from_studio(method, path).body(Body::empty()).expect("a request")).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://studio.example.org"), "{path}");
    }
}

#[tokio::test]
async fn request_ids_are_kept_or_made() {
    let app = app().await;
    let named = request("GET", "/nothing").header("x-request-id", "chat-7").body(Body::empty()).expect("a request");
    assert_eq!(send(&app, named).await.header("x-request-id"), Some("chat-7"));
    let one = get(&app, "/healthz").await;
    let two = get(&app, "/healthz").await;
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
}

#[tokio::test]
async fn requests_are_counted() {
    let app = app().await;
    get(&app, "/readyz").await;
    let metrics = get(&app, "/metrics").await;
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = String::from_utf8(metrics.body.to_vec()).expect("UTF-8");
    assert!(text.contains(r#"ishowtts_http_requests_total{route="/readyz",status="200"}"#), "{text}");
    assert!(text.contains("ishowtts_speech_in_flight"), "{text}");
}
