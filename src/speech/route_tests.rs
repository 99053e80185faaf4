//! Which engine says what, and how its text is cut, against the fake engine.

use serde_json::json;

use super::{
    SpeechRequest,
    tests::{THREE, fake, request, say, service, simple},
};
use crate::{config::Config, error::Error};

#[tokio::test]
async fn what_one_engine_cannot_say_goes_to_the_next() {
    let latin = fake(|options| options.info.scripts = vec!["Latn".to_owned()]);
    let any = fake(|options| {
        options.info.name = "other".to_owned();
        options.info.sample_rate_hz = 16_000;
    });
    let speech = service(Config::default(), vec![latin, any]).await;
    let reference = say(&speech, request("One is the first sentence of all.")).await.unwrap();
    for second in ["你好，世界，今天的天气真不错。", "Two is a [refuse] sentence here."] {
        let text = format!("One is the first sentence of all. {second}");
        let mut speaking = speech.speak(SpeechRequest { seed: Some(3), ..request(&text) }).await.unwrap();
        assert_eq!((speaking.sample_rate_hz, speaking.segments), (24_000, 2), "{second}");
        assert_eq!(speaking.next_sound().await.unwrap().unwrap().len(), reference.len());
        let elsewhere = speaking.next_sound().await;
        if second.contains("[refuse]") {
            // The other fake refuses it too.
            assert!(matches!(elsewhere, Err(Error::Refused { .. })));
        } else {
            let chars = second.chars().count() as f64;
            let pause_ms = 120.0;
            let expected = (chars * 60.0 + pause_ms) * 24.0;
            let got = elsewhere.unwrap().unwrap().len() as f64;
            assert!((got - expected).abs() < 48.0, "resampled to the job's rate: {got} {expected}");
            assert!(speaking.next_sound().await.unwrap().is_none());
        }
    }
    let named = SpeechRequest { engine: Some("fake".to_owned()), ..request("你好，世界。") };
    let refused = say(&speech, named).await.unwrap_err();
    assert!(refused.to_string().contains("Latn"), "{refused}");
}

#[tokio::test]
async fn what_only_the_first_engine_can_be_asked_for_stays_with_it() {
    let schema = |names: &[&str]| {
        let properties: serde_json::Map<_, _> = names.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
        json!({"type": "object", "additionalProperties": false, "properties": properties})
    };
    let latin = fake(|options| {
        options.info.scripts = vec!["Latn".to_owned()];
        options.info.params = schema(&["steps", "warmth"]);
    });
    let other = fake(|options| {
        options.info.name = "other".to_owned();
        options.info.params = schema(&["warmth"]);
    });
    let speech = service(Config::default(), vec![latin, other]).await;
    let asked = |text: &str, param: &str| {
        let params = [(param.to_owned(), json!(4))].into_iter().collect();
        SpeechRequest { params, ..request(text) }
    };
    let refused = say(&speech, asked("你好，世界。", "steps")).await.unwrap_err();
    assert!(refused.to_string().contains("Latn"), "{refused}");
    assert!(say(&speech, asked("你好，世界。", "warmth")).await.is_ok());
    // What fails at the first one is tried again by those alone that know the parameter.
    let first = say(&speech, asked("Some [nan] words.", "steps")).await.unwrap_err();
    assert!(matches!(&first, Error::EngineFailed { engine, .. } if engine == "fake"), "{first}");
    let next = say(&speech, asked("Some [nan] words.", "warmth")).await.unwrap_err();
    assert!(matches!(&next, Error::EngineFailed { engine, .. } if engine == "other"), "{next}");
}

#[tokio::test]
async fn a_parameter_about_the_whole_text_keeps_it_in_one_piece() {
    let speech = simple(|options| {
        let properties = json!({"length": {"x-whole-text": true}, "steps": {}});
        options.info.params = json!({"type": "object", "additionalProperties": false, "properties": properties});
    })
    .await;
    for (param, value, segments) in [("length", json!(9), 1), ("length", json!(null), 3), ("steps", json!(9), 3)] {
        let params = [(param.to_owned(), value)].into_iter().collect();
        let speaking = speech.speak(SpeechRequest { params, ..request(THREE) }).await.unwrap();
        assert_eq!(speaking.segments, segments, "{param}");
    }
}

#[tokio::test]
async fn links_come_whole_where_they_are_read() {
    let link = format!("https://example.com/{}", "a-path/".repeat(100));
    let text = format!("Look at {link} now.");
    let speech = |reads_links: bool| {
        simple(move |options| {
            let properties = json!({"normalize": {"x-reads-links": true}});
            options.info.params = json!({"type": "object", "additionalProperties": false, "properties": properties});
            options.info.reads_links = reads_links;
        })
    };
    for (reads_links, normalize, whole) in
        [(true, None, true), (true, Some(true), true), (true, Some(false), false), (false, None, false)]
    {
        let params = normalize.map(|on| ("normalize".to_owned(), json!(on))).into_iter().collect();
        let speaking = speech(reads_links).await.speak(SpeechRequest { params, ..request(&text) }).await.unwrap();
        assert_eq!(speaking.segments == 1, whole, "{reads_links} {normalize:?}: {}", speaking.segments);
    }
}
