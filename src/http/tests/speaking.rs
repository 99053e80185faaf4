//! `POST /v1/audio/speech` when there is an engine.

use std::sync::Arc;

use axum::body::Body;
use http_body_util::BodyExt;
use serde_json::json;
use tower::ServiceExt;

use super::{Answer, SOON, THREE, app, app_with, post, request};
use crate::{
    config::Config,
    engine::{FakeOptions, Gate},
};

fn gated() -> (Arc<Gate>, FakeOptions) {
    let gate = Arc::new(Gate::default());
    (Arc::clone(&gate), FakeOptions { gate: Some(gate), ..FakeOptions::default() })
}

async fn say(app: &axum::Router, body: serde_json::Value) -> Answer {
    post(app, body.to_string()).await
}

fn le32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("four bytes"))
}

#[tokio::test]
async fn a_stream_a_whole_file_and_raw_samples_are_the_same_sound() {
    let app = app().await;
    let streamed = say(&app, json!({"input": THREE, "cache": false, "response_format": "wav"})).await;
    let whole = say(&app, json!({"input": THREE, "cache": false, "response_format": "wav", "stream": false})).await;
    let raw = say(&app, json!({"input": THREE, "cache": false, "response_format": "pcm"})).await;
    for answer in [&streamed, &whole, &raw] {
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        assert_eq!(answer.header("x-ishowtts-sample-rate-hz"), Some("24000"));
        assert_eq!(answer.header("x-ishowtts-engine"), Some("fake"));
        assert_eq!(answer.header("x-ishowtts-voice"), Some("heart"));
        assert_eq!(answer.header("x-ishowtts-cache"), Some("miss"));
        assert_eq!(answer.header("x-ishowtts-ignored"), None);
    }
    assert_eq!(streamed.header("content-type"), Some("audio/wav"));
    assert_eq!(raw.header("content-type"), Some("audio/pcm;rate=24000"));
    assert_eq!(streamed.header("content-length"), None);
    assert_eq!(whole.header("content-length"), Some(whole.body.len().to_string().as_str()));

    assert_eq!(le32(&streamed.body[40..44]), u32::MAX);
    assert_eq!(le32(&whole.body[40..44]) as usize, whole.body.len() - 44);
    assert_eq!(le32(&whole.body[4..8]) as usize, whole.body.len() - 8);
    assert_eq!(le32(&whole.body[24..28]), 24_000);
    assert!(whole.body.len() > 24_000);
    assert_eq!(streamed.body[44..], whole.body[44..]);
    assert_eq!(raw.body[..], whole.body[44..]);
}

#[tokio::test]
async fn every_format_is_sent_streamed_and_whole() {
    let app = app().await;
    for (format, kind, beginning) in [
        #[cfg(feature = "mp3")]
        ("mp3", "audio/mpeg", &b"\xff\xf3"[..]),
        ("opus", "audio/ogg; codecs=opus", b"OggS"),
        ("flac", "audio/flac", b"fLaC"),
        ("wav", "audio/wav", b"RIFF"),
        ("wav_f32", "audio/wav", b"RIFF"),
        ("pcm", "audio/pcm;rate=24000", b""),
        ("pcm_f32", "audio/pcm;rate=24000;encoding=float;bits=32", b""),
        ("mulaw", "audio/basic", b""),
    ] {
        let rate_hz = if format == "mulaw" { "8000" } else { "24000" };
        let streamed = say(&app, json!({"input": THREE, "response_format": format})).await;
        let whole = say(&app, json!({"input": THREE, "response_format": format, "stream": false})).await;
        for answer in [&streamed, &whole] {
            assert_eq!(answer.status, 200, "{format}: {:?}", answer.body);
            assert_eq!(answer.header("content-type"), Some(kind));
            assert_eq!(answer.header("x-ishowtts-sample-rate-hz"), Some(rate_hz));
            assert!(answer.body.starts_with(beginning), "{format}: {:?}", &answer.body[..8]);
        }
        assert!(whole.body.ends_with(&streamed.body[60.min(streamed.body.len() / 2)..]), "{format}");
    }
    let openais = say(&app, json!({"input": THREE})).await;
    assert_eq!(openais.header("content-type"), Some(crate::audio::Format::DEFAULT.content_type(24_000).as_ref()));
}

#[tokio::test]
async fn rates_and_levels_are_what_was_asked_for() {
    let app = app().await;
    let say = async |fields: serde_json::Value| {
        let mut body = json!({"input": THREE, "response_format": "pcm_f32"});
        body.as_object_mut().expect("fields").extend(fields.as_object().expect("fields").clone());
        let answer = say(&app, body).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        let samples = answer.body.chunks_exact(4).map(|sample| f32::from_le_bytes(sample.try_into().expect("four")));
        (samples.collect::<Vec<_>>(), answer)
    };
    let (plain, _) = say(json!({})).await;
    let (halved, answer) = say(json!({"sample_rate": 12_000})).await;
    assert_eq!(halved.len(), plain.len().div_ceil(2));
    assert_eq!(answer.header("content-type"), Some("audio/pcm;rate=12000;encoding=float;bits=32"));
    let (soft, _) = say(json!({"volume": 0.25})).await;
    assert_eq!(soft, plain.iter().map(|sample| sample * 0.25).collect::<Vec<_>>());
    let (loud, _) = say(json!({"volume": 4.0})).await;
    let peak = |samples: &[f32]| samples.iter().fold(0f32, |peak, sample| peak.max(sample.abs()));
    assert_eq!(loud.len(), plain.len());
    assert!(peak(&loud) < 0.9 && peak(&loud) > peak(&plain), "{}", peak(&loud));
    for stream in [true, false] {
        let (levelled, answer) = say(json!({"loudness": "file", "stream": stream})).await;
        assert!(answer.header("content-length").is_some(), "it is sent when it is complete");
        let found = crate::audio::loudness::measure(&levelled, 24_000).expect("measured").integrated_lufs;
        assert!((found + 18.0).abs() < 0.3, "{found}");
    }
    let told = super::send(
        &app,
        request("POST", "/v1/tts")
            .body(Body::from(
                json!({"text": THREE, "format": "opus", "stream_format": "jsonl", "loudness": "file"}).to_string(),
            ))
            .expect("a request"),
    )
    .await;
    let lines: Vec<serde_json::Value> = told
        .body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("JSON"))
        .collect();
    let kinds: Vec<_> = lines.iter().map(|line| line["type"].as_str().expect("a type")).collect();
    assert_eq!((kinds[0], kinds[1], kinds[kinds.len() - 1]), ("start", "caption", "done"));
    assert!(kinds.contains(&"audio"));
}

#[tokio::test]
async fn seeds_are_told_and_the_cache_answers_again() {
    let app = app().await;
    let first = say(&app, json!({"input": "Once more.", "seed": 5})).await;
    assert_eq!((first.header("x-ishowtts-seed"), first.header("x-ishowtts-cache")), (Some("5"), Some("miss")));
    let again = say(&app, json!({"input": "Once more.", "seed": 5})).await;
    assert_eq!(again.header("x-ishowtts-cache"), Some("hit"));
    assert_eq!(first.body, again.body);
    let past = say(&app, json!({"input": "Once more.", "seed": 5, "cache": false})).await;
    assert_eq!(past.header("x-ishowtts-cache"), Some("miss"));
    assert_eq!(first.body, past.body);
    let one = say(&app, json!({"input": "Once more.", "seed": -1})).await;
    let two = say(&app, json!({"input": "Once more.", "seed": -1})).await;
    assert_ne!(one.header("x-ishowtts-seed"), two.header("x-ishowtts-seed"));
}

#[tokio::test]
async fn what_the_engine_chose_is_told_in_a_header_also_from_the_cache() {
    let app = app().await;
    for cache in ["miss", "hit"] {
        let answer = say(&app, json!({"input": "Please [choose] now."})).await;
        assert_eq!(answer.header("x-ishowtts-cache"), Some(cache));
        assert_eq!(answer.header("x-ishowtts-params"), Some(r#"{"steps":1}"#));
    }
    assert_eq!(say(&app, json!({"input": "Some words."})).await.header("x-ishowtts-params"), None);
}

#[tokio::test]
async fn openais_names_and_unknown_fields_are_taken() {
    let app = app().await;
    let answer = say(
        &app,
        json!({"input": "Hello there.", "model": "gpt-4o-mini-tts", "voice": "alloy", "instructions": "softly",
               "stream_format": "audio", "user": "me"}),
    )
    .await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    assert_eq!(answer.header("x-ishowtts-voice"), Some("heart"));
    assert_eq!(answer.header("x-ishowtts-ignored"), Some("instructions, user"));
    let by_engine = say(&app, json!({"input": "Hello there.", "model": "fake", "voice": {"id": "heart"}})).await;
    assert_eq!(by_engine.status, 200, "{:?}", by_engine.body);
}

#[tokio::test]
async fn what_fails_before_the_first_sound_has_its_true_status() {
    let app = app().await;
    for (text, status, code) in [
        ("Please [raise] now.", 500, "engine_failed"),
        ("Please [empty] now.", 500, "engine_failed"),
        ("Please [silent] now.", 500, "engine_failed"),
        ("Please [nan] now.", 500, "engine_failed"),
        ("Please [refuse] now.", 422, "text_refused"),
    ] {
        for stream in [true, false] {
            let answer = say(&app, json!({"input": text, "stream": stream})).await;
            assert_eq!(answer.error(), (status, code.to_owned()), "{text}");
            assert_eq!(say(&app, json!({"input": "Some words."})).await.status, 200, "after {text}");
        }
    }
    let long = say(&app, json!({"input": "Many words. ".repeat(10_000)})).await;
    assert_eq!(long.error(), (413, "text_too_long".to_owned()));
}

#[tokio::test]
async fn what_fails_later_breaks_the_stream_off() {
    let app = app().await;
    let text = "One is the first sentence of all. Two is the [raise] sentence here.";
    let body = json!({"input": text, "response_format": "wav"}).to_string();
    let request = request("POST", "/v1/audio/speech").body(Body::from(body)).expect("a request");
    let response = app.clone().oneshot(request).await.expect("infallible");
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let first = body.frame().await.expect("a frame").expect("sound");
    assert!(first.into_data().expect("data").len() > 44);
    assert!(body.frame().await.expect("a frame").is_err(), "a clean end would pass for all of the speech");

    let whole = say(&app, json!({"input": text, "stream": false})).await;
    assert_eq!(whole.error(), (500, "engine_failed".to_owned()));
}

#[tokio::test]
async fn sound_goes_out_as_soon_as_there_is_some() {
    let (gate, engine) = gated();
    let app = app_with(Config::default(), engine).await;
    let body = json!({"input": THREE, "response_format": "pcm"}).to_string();
    let request = request("POST", "/v1/audio/speech").body(Body::from(body)).expect("a request");
    let answering = tokio::spawn(app.clone().oneshot(request));
    gate.open(1);
    let mut body = answering.await.expect("no panic").expect("infallible").into_body();
    let first = body.frame().await.expect("a frame").expect("sound").into_data().expect("data");
    assert!(!first.is_empty());
    gate.open(2);
    let rest = body.collect().await.expect("a clean end").to_bytes();
    assert!(!rest.is_empty());
}

#[tokio::test]
async fn a_full_queue_is_a_429_that_tells_when_to_come_back() {
    let (gate, engine) = gated();
    let mut config = Config::default();
    config.queue.max_requests = 1;
    let app = app_with(config, engine).await;
    let first = request("POST", "/v1/audio/speech").body(Body::from(json!({"input": THREE}).to_string()));
    let first = tokio::spawn(app.clone().oneshot(first.expect("a request")));
    gate.open(1);
    let first = first.await.expect("no panic").expect("infallible");
    let refused = say(&app, json!({"input": "Number two."})).await;
    assert_eq!(refused.error(), (429, "queue_full".to_owned()));
    let retry_after: u64 = refused.header("retry-after").expect("a time").parse().expect("seconds");
    assert!(retry_after >= 1);
    gate.open(3);
    first.into_body().collect().await.expect("a clean end");
    // The last sound is delivered a moment before its place in the queue is free.
    while say(&app, json!({"input": "Number two."})).await.status == 429 {}
    assert_eq!(say(&app, json!({"input": "Number two."})).await.status, 200);
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_place_back() {
    let (gate, engine) = gated();
    let mut config = Config::default();
    config.queue.max_requests = 1;
    let app = app_with(config, engine).await;
    let body = json!({"input": THREE}).to_string();
    let request = request("POST", "/v1/audio/speech").body(Body::from(body)).expect("a request");
    let response = tokio::spawn(app.clone().oneshot(request));
    gate.open(1);
    drop(response.await.expect("no panic"));
    // One step for what was running when the client left, the other for the one that comes next.
    gate.open(2);
    let next = tokio::time::timeout(SOON, say(&app, json!({"input": "Number two."}))).await;
    assert_eq!(next.expect("in time").status, 200);
}
