//! `/v1/tts`, `/v1/captions`, events of both kinds, and what describes them.

use axum::{Router, body::Body};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{Answer, THREE, app, get, post, post_to, request, send};

async fn speak(app: &Router, body: Value) -> Answer {
    post_to(app, "/v1/tts", body.to_string()).await
}

/// The events of an answer, each checked to be framed as its kind is.
fn events(answer: &Answer) -> Vec<Value> {
    let text = std::str::from_utf8(&answer.body).expect("UTF-8");
    let parse = |text: &str| -> Value { serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}")) };
    if answer.header("content-type") == Some("application/jsonl") {
        return text.strip_suffix('\n').expect("an end of line").split('\n').map(parse).collect();
    }
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let framed = text.strip_suffix("\n\n").expect("an empty line").split("\n\n");
    let event = |frame: &str| {
        let (name, data) = match frame.split_once('\n') {
            Some((name, data)) => (name.strip_prefix("event: "), data),
            None => (None, frame),
        };
        let event = parse(data.strip_prefix("data: ").expect("data"));
        assert!(name.is_none() || event["type"] == name.unwrap_or_default(), "{frame}");
        event
    };
    framed.map(event).collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().expect("a type")).collect();
    kinds.dedup();
    kinds
}

fn sound(events: &[Value]) -> Vec<u8> {
    let pieces = events.iter().filter_map(|event| event["audio"].as_str());
    pieces.flat_map(|piece| BASE64_STANDARD.decode(piece).expect("base64")).collect()
}

#[tokio::test]
async fn every_way_to_ask_gives_the_same_samples() {
    let app = app().await;
    let asked = json!({"input": THREE, "response_format": "pcm", "cache": false});
    let openai = post(&app, asked.to_string()).await.body;
    let asked = json!({"text": THREE, "format": "pcm", "cache": false});
    let posted = speak(&app, asked.clone()).await;
    assert_eq!((posted.status.as_u16(), posted.header("x-ishowtts-engine")), (200, Some("fake")));
    assert_eq!(posted.body, openai);
    let query = format!("/v1/tts?format=pcm&cache=false&text={}", THREE.replace(' ', "+"));
    assert_eq!(get(&app, &query).await.body, openai);
    for kind in ["sse", "jsonl"] {
        let mut asked = asked.clone();
        asked["stream_format"] = kind.into();
        assert_eq!(sound(&events(&speak(&app, asked).await)), openai, "{kind}");
    }
    let asked = json!({"input": THREE, "response_format": "pcm", "cache": false, "stream_format": "sse"});
    assert_eq!(sound(&events(&post(&app, asked.to_string()).await)), openai);
}

#[tokio::test]
async fn events_tell_what_sounds_when() {
    let app = app().await;
    for kind in ["sse", "jsonl"] {
        let answer = speak(&app, json!({"text": THREE, "format": "pcm", "stream_format": kind, "seed": 5})).await;
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let events = events(&answer);
        assert_eq!(events[0]["type"], "start");
        assert_eq!((&events[0]["sample_rate_hz"], &events[0]["seed"]), (&24_000.into(), &5.into()));
        let captions: Vec<_> = events.iter().filter(|event| event["type"] == "caption").collect();
        assert_eq!(events[0]["segments"], captions.len());
        let spoken: Vec<_> = captions.iter().map(|caption| caption["text"].as_str().expect("a text")).collect();
        assert_eq!(spoken.join(" "), THREE);
        let done = events.last().expect("an event");
        assert_eq!((&done["type"], &done["chars"]), (&"done".into(), &THREE.chars().count().into()));
        assert_eq!(done["audio_ms"], captions[captions.len() - 1]["end_ms"]);
        assert_eq!(done["audio_ms"].as_f64(), Some(sound(&events).len() as f64 / 48.0));
    }
}

#[tokio::test]
async fn openais_events_are_deltas_and_a_usage() {
    let answer =
        post(&app().await, json!({"input": THREE, "response_format": "wav", "stream_format": "sse"}).to_string()).await;
    let text = String::from_utf8(answer.body.to_vec()).expect("UTF-8");
    assert!(text.starts_with("data: {"), "no names: {text}");
    let events = events(&answer);
    assert_eq!(kinds(&events), ["speech.audio.delta", "speech.audio.done"]);
    let usage = &events[events.len() - 1]["usage"];
    let count = |name: &str| usage[name].as_u64().expect("a count");
    assert_eq!(count("input_tokens"), THREE.chars().count() as u64);
    assert!(count("output_tokens") > 0);
    assert_eq!(count("total_tokens"), count("input_tokens") + count("output_tokens"));
    assert_eq!(&sound(&events)[..4], b"RIFF");
}

#[tokio::test]
async fn what_fails_later_is_an_event_and_never_a_clean_end() {
    let app = app().await;
    let text = format!("{THREE} Now [raise] happens, and that is the end of it.");
    let ours = events(&speak(&app, json!({"text": text, "format": "pcm", "stream_format": "jsonl"})).await);
    assert_eq!(kinds(&ours).last(), Some(&"error"));
    let error = &ours[ours.len() - 1]["error"];
    assert_eq!((&error["code"], &error["type"]), (&"engine_failed".into(), &"server_error".into()));
    let answer = post(&app, json!({"input": text, "stream_format": "sse"}).to_string()).await;
    let openai = events(&answer);
    assert_eq!(kinds(&openai), ["speech.audio.delta", "error"]);
    assert_eq!(openai[openai.len() - 1]["error"]["code"], "engine_failed");
    assert!(String::from_utf8_lossy(&answer.body).contains("\n\nevent: error\ndata: {"));
    // Before the first sound there is a true status, whatever was asked for.
    let early = speak(&app, json!({"text": "Now [raise] happens.", "stream_format": "sse"})).await;
    assert_eq!(early.error(), (500, "engine_failed".into()));
}

#[tokio::test]
async fn errors_name_the_fields_of_their_surface() {
    let app = app().await;
    for (body, status, param) in [
        (json!({}), 400, "text"),
        (json!({"text": "…"}), 400, "text"),
        (json!({"text": "Now [refuse] it."}), 422, "text"),
        (json!({"text": "Hi", "engine": "gpt-4"}), 404, "engine"),
        (json!({"text": "Hi", "voice": "nobody"}), 404, "voice"),
        (json!({"text": "Hi", "format": "midi"}), 400, "format"),
        (json!({"text": "Hi", "response_format": "midi"}), 400, "response_format"),
        (json!({"text": "Hi", "stream_format": "ws"}), 400, "stream_format"),
        (json!({"text": "Hi", "params": []}), 400, "params"),
        (json!({"text": "a".repeat(200_000)}), 413, "text"),
    ] {
        let answer = speak(&app, body.clone()).await;
        assert_eq!(answer.error().0, status, "{body}");
        assert_eq!(answer.json()["error"]["param"], param, "{body}");
    }
    let refused = post(&app, json!({"input": "Hi", "model": "gpt-4"}).to_string()).await;
    assert_eq!(refused.json()["error"]["param"], "model");
}

#[tokio::test]
async fn captions_come_alone_in_three_formats() {
    let app = app().await;
    let ask = async |format: Value| {
        post_to(&app, "/v1/captions", json!({"text": "It costs 5 <b>€</b>.\nAll of it.", "format": format}).to_string())
            .await
    };
    let json = ask(Value::Null).await;
    assert_eq!(json.header("content-type"), Some("application/json"));
    let captions = json.json()["captions"].as_array().expect("captions").clone();
    assert!(!captions.is_empty());
    assert_eq!(captions[0]["start_ms"], 0.0);
    let srt = ask("srt".into()).await;
    assert_eq!(srt.header("content-type"), Some("application/x-subrip"));
    assert!(srt.body.starts_with("1\n00:00:00,000 --> ".as_bytes()));
    let vtt = ask("vtt".into()).await;
    assert_eq!(vtt.header("content-type"), Some("text/vtt; charset=utf-8"));
    assert!(vtt.body.starts_with(b"WEBVTT\n\n00:00:00.000 --> "));
    assert!(String::from_utf8_lossy(&vtt.body).contains("&lt;b&gt;€&lt;/b&gt;"));
    assert_eq!(ask("ass".into()).await.error(), (400, "unsupported_format".into()));
    assert_eq!(vtt.header("x-ishowtts-cache"), Some("hit"), "spoken once for all three");
}

#[tokio::test]
async fn pages_of_others_may_not_make_it_speak() {
    let app = app().await;
    let from = async |site: &str| {
        let asked = request("GET", "/v1/tts?text=Hello.").header("sec-fetch-site", site).body(Body::empty());
        send(&app, asked.expect("a request")).await
    };
    for site in ["cross-site", "same-site"] {
        assert_eq!(from(site).await.error(), (403, "origin_not_allowed".into()), "{site}");
    }
    for site in ["same-origin", "none"] {
        assert_eq!(from(site).await.status, 200, "{site}");
    }
    assert_eq!(get(&app, "/v1/tts?text=Hello.").await.status, 200);
    assert_eq!(get(&app, "/v1/tts").await.error(), (400, "input_missing".into()));
    assert_eq!(get(&app, "/v1/tts?text=%ff").await.error().0, 400);
}

#[tokio::test]
async fn what_describes_it_is_served() {
    let document = get(&app().await, "/openapi.json").await;
    assert_eq!(document.header("content-type"), Some("application/json"));
    assert!(document.json()["openapi"].as_str().expect("a version").starts_with("3.1"));
    assert!(document.json()["paths"]["/v1/tts"]["get"].is_object());

    let app = app().await;
    for (path, kind) in [("/docs", "text/html"), ("/web/docs.js", "text/javascript"), ("/web/docs.css", "text/css")] {
        let file = get(&app, path).await;
        assert!(file.header("content-type").is_some_and(|found| found.starts_with(kind)), "{path}");
        let policy = file.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        let text = String::from_utf8_lossy(&file.body);
        assert!(!text.contains("://"), "{path} loads from elsewhere");
        assert!(!text.contains("innerHTML"), "{path} takes text for markup");
    }
    assert_eq!(get(&app, "/web/docs.rs").await.error(), (404, "path_not_found".into()));
}
