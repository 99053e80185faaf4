//! The whole room against the fake engine: real threads, steps let go one by one where order matters.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::json;

use super::{Caption, EngineState, Level, Loudness, Said, Speaking, Speech, SpeechRequest};
use crate::{
    config::Config,
    engine::{FakeHost, FakeOptions, Gate},
    error::Error,
    scheduler::{Class, Owner},
    voices::{Store, Voice},
};

pub(super) const THREE: &str =
    "One is the first sentence of all. Two is the second sentence here. Three is the last sentence.";

pub(super) fn request(text: &str) -> SpeechRequest {
    SpeechRequest {
        text: text.to_owned(),
        voice: None,
        own_voice: None,
        whole: false,
        engine: None,
        language: None,
        speed: 1.0,
        seed: None,
        cache: true,
        streamed: true,
        class: Class::Interactive,
        owner: Owner(1),
        params: BTreeMap::new(),
        level: Level::default(),
    }
}

pub(super) fn fake(change: impl FnOnce(&mut FakeOptions)) -> FakeOptions {
    let mut options = FakeOptions::default();
    change(&mut options);
    options
}

/// Voices as loud as they are: nothing is said to measure them.
pub(super) fn unmeasured(mut config: Config) -> Config {
    config.loudness.mode = Loudness::Off;
    config
}

pub(super) async fn service(config: Config, engines: Vec<FakeOptions>) -> Arc<Speech> {
    levelled(unmeasured(config), engines).await
}

pub(super) async fn levelled(config: Config, engines: Vec<FakeOptions>) -> Arc<Speech> {
    let (voices, problems) =
        Store::open(std::path::Path::new("/nonexistent"), &config.voices.default, &config.voices.aliases);
    assert!(problems.is_empty(), "{problems:?}");
    let engines = engines.into_iter().map(|options| (options.info.name.clone(), FakeHost::start(options))).collect();
    let speech = Speech::start(Arc::new(config), voices.into(), engines);
    speech.wait_ready().await.ok();
    speech
}

pub(super) async fn simple(change: impl FnOnce(&mut FakeOptions)) -> Arc<Speech> {
    service(Config::default(), vec![fake(change)]).await
}

pub(super) async fn all(mut speaking: Speaking) -> Result<Vec<f32>, Error> {
    let mut samples = Vec::new();
    while let Some(chunk) = speaking.next_sound().await? {
        samples.extend_from_slice(&chunk);
    }
    Ok(samples)
}

pub(super) async fn say(speech: &Speech, request: SpeechRequest) -> Result<Vec<f32>, Error> {
    all(speech.speak(request).await?).await
}

#[tokio::test]
async fn a_text_is_spoken_in_order_and_the_same_each_time() {
    let speech = simple(|_| {}).await;
    let mut speaking = speech.speak(request(THREE)).await.unwrap();
    assert_eq!((speaking.segments, speaking.cached), (3, false));
    let first = speaking.next_sound().await.unwrap().unwrap();
    assert_eq!(speaking.segments_read(), 1);
    let mut whole = first.to_vec();
    whole.extend(all(speaking).await.unwrap());

    let again = speech.speak(request(THREE)).await.unwrap();
    assert!(again.cached);
    assert_eq!(all(again).await.unwrap(), whole);
    let past_the_cache = say(&speech, SpeechRequest { cache: false, ..request(THREE) }).await.unwrap();
    assert_eq!(past_the_cache, whole);
}

#[tokio::test]
async fn a_whole_text_is_one_segment_just_as_it_stands() {
    let speech = simple(|_| {}).await;
    let text = format!("  {THREE}\n\n ");
    let whole = SpeechRequest { whole: true, ..request(&text) };
    let mut speaking = speech.speak(whole.clone()).await.unwrap();
    assert_eq!(speaking.segments, 1);
    let Said::Caption(caption) = speaking.next().await.unwrap().unwrap() else { panic!("the caption comes first") };
    assert_eq!(caption.text, text);
    assert!(!speech.speak(SpeechRequest { whole: false, ..whole.clone() }).await.unwrap().cached);
    let nothing = SpeechRequest { text: " … ".to_owned(), ..whole };
    assert!(matches!(say(&speech, nothing).await, Err(Error::Invalid { code: "nothing_to_say", .. })));
}

#[tokio::test]
async fn a_voice_outside_of_the_library_speaks_and_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let clip = |name: &str, sound: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, [b"RIFF\0\0\0\0WAVE", sound].concat()).unwrap();
        Arc::new(Voice::of_clip(&path, "What is said.").unwrap())
    };
    let (one, same, other) = (clip("one.wav", b"1"), clip("same.wav", b"1"), clip("other.wav", b"2"));
    let speech = simple(|_| {}).await;
    let with = |voice: &Arc<Voice>| SpeechRequest { own_voice: Some(Arc::clone(voice)), ..request(THREE) };
    let mut speaking = speech.speak(with(&one)).await.unwrap();
    assert_eq!((speaking.voice.as_str(), speaking.cached), ("reference", false));
    while speaking.next_sound().await.unwrap().is_some() {}
    assert!(speech.speak(with(&same)).await.unwrap().cached, "the same sound and text are the same voice");
    assert!(!speech.speak(with(&other)).await.unwrap().cached);
}

#[tokio::test]
async fn a_variant_is_shaped_where_the_engine_does_not_and_is_told_apart() {
    let text = "One sentence that is quite long enough for its pitch to be heard.";
    let named = |voice: &str| SpeechRequest { voice: Some(voice.to_owned()), seed: Some(7), ..request(text) };
    let crossings = |sound: &[f32]| sound.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count() as f64;
    let speech = simple(|_| {}).await;
    let plain = say(&speech, named("heart")).await.unwrap();
    let mut speaking = speech.speak(named("alloy+pitch=7")).await.unwrap();
    assert_eq!((speaking.voice.as_str(), speaking.cached), ("heart+pitch=7", false));
    let mut higher = Vec::new();
    while let Some(chunk) = speaking.next_sound().await.unwrap() {
        higher.extend_from_slice(&chunk);
    }
    assert_eq!(higher.len(), plain.len());
    let ratio = crossings(&higher) / crossings(&plain);
    assert!((1.4..1.6).contains(&ratio), "{ratio}");
    assert!(speech.speak(named("heart+pitch=7.0")).await.unwrap().cached, "another way to write it");
    let faster = say(&speech, named("heart+speed=2")).await.unwrap();
    assert!(faster.len() * 2 <= plain.len() + 2);

    let itself = simple(|options| options.info.shapes_voices = true).await;
    assert_eq!(crossings(&say(&itself, named("heart+pitch=7")).await.unwrap()), crossings(&plain));
    let error = say(&speech, named("heart+pitch=70")).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { code: "invalid_voice", param: Some("voice"), .. }), "{error:?}");
}

pub(super) async fn captions(mut speaking: Speaking) -> Vec<(Arc<Caption>, usize)> {
    let (mut captions, mut samples) = (Vec::new(), 0);
    while let Some(said) = speaking.next().await.unwrap() {
        match said {
            Said::Sound(pcm) => samples += pcm.len(),
            Said::Caption(caption) => captions.push((caption, samples)),
        }
    }
    captions
}

#[tokio::test]
async fn captions_come_before_the_end_of_their_segment_and_fit_the_sound() {
    let text = format!("  \u{200b}{THREE}  ");
    let chars: Vec<char> = text.chars().collect();
    let of = |start: usize, end: usize| chars[start..end].iter().collect::<String>();
    let speech = simple(|options| options.info.cost.steps = 3).await;
    let told = captions(speech.speak(request(&text)).await.unwrap()).await;
    assert_eq!(told.len(), 3);
    let mut end_ms = 0.0;
    for (index, (caption, read)) in told.iter().enumerate() {
        let pause_ms = if index == 0 { 0.0 } else { 120.0 };
        assert_eq!(caption.segment, index);
        assert!((caption.start_ms - end_ms - pause_ms).abs() < 0.1, "{end_ms}: {caption:?}");
        end_ms = caption.end_ms;
        let read_ms = *read as f64 / 24.0;
        assert!(caption.start_ms < read_ms && read_ms < end_ms, "{read_ms} in {caption:?}");
        assert_eq!(caption.text, of(caption.start_char, caption.end_char));
        for word in &caption.words {
            assert_eq!(word.text, of(word.start_char, word.end_char));
            assert!(caption.start_ms <= word.start_ms && word.start_ms < word.end_ms && word.end_ms <= end_ms);
        }
        assert_eq!(caption.words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" "), caption.text);
    }
    let whole = say(&speech, request(&text)).await.unwrap();
    assert!((end_ms - whole.len() as f64 / 24.0).abs() < 1e-3);

    let kept = speech.speak(request(&text)).await.unwrap();
    assert!(kept.cached);
    assert_eq!(captions(kept).await, told);
}

#[tokio::test]
async fn segments_are_joined_as_configured_whatever_order_they_come_in() {
    let with = async |change: fn(&mut Config), slots: usize| {
        let mut config = Config::default();
        change(&mut config);
        let engine = fake(|options| {
            options.info.max_slots = slots;
            options.info.max_shared = slots;
            options.info.cost.steps = 3;
        });
        let speech = service(config, vec![engine]).await;
        say(&speech, request(THREE)).await.unwrap()
    };
    let plain = with(|config| config.join.enabled = false, 1).await;
    let usual = with(|_| {}, 1).await;
    assert_eq!(with(|_| {}, 3).await, usual);
    let pauses = |sound: &[f32]| {
        let runs = sound.split(|sample| sample.abs() > 1e-4).map(<[f32]>::len);
        runs.filter(|run| *run > 480).map(|run| run / 24).collect::<Vec<_>>()
    };
    // The fake engine's segments begin and end with a zero, which is no pause.
    assert!(pauses(&plain).is_empty());
    assert_eq!(pauses(&usual), [120; 2]);
    let longer = with(|config| config.join.sentence_min_ms = 200.0, 1).await;
    assert_eq!(pauses(&longer), [200; 2]);
    assert_eq!(longer.len(), usual.len() + 2 * 1_920);
}

#[tokio::test]
async fn seeds_are_kept_told_and_varied() {
    let speech = simple(|_| {}).await;
    let seed_of = async |seed| speech.speak(SpeechRequest { seed, ..request(THREE) }).await.unwrap().seed;
    assert_eq!(seed_of(Some(5)).await, 5);
    assert_eq!(seed_of(None).await, seed_of(None).await);
    assert_ne!(seed_of(Some(-1)).await, seed_of(Some(-1)).await);
    let five = say(&speech, SpeechRequest { seed: Some(5), ..request(THREE) }).await.unwrap();
    let six = say(&speech, SpeechRequest { seed: Some(6), ..request(THREE) }).await.unwrap();
    assert_ne!(five, six);
    assert!(matches!(say(&speech, SpeechRequest { seed: Some(-2), ..request("a") }).await, Err(Error::Invalid { .. })));
}

#[tokio::test]
async fn the_same_request_in_flight_is_spoken_once() {
    let gate = Arc::new(Gate::default());
    let speech = simple(|options| options.gate = Some(Arc::clone(&gate))).await;
    let first = speech.speak(request(THREE)).await.unwrap();
    let second = speech.speak(request(THREE)).await.unwrap();
    // Three segments are three steps; a fourth would wait at the gate for ever.
    gate.open(3);
    let (first, second) = tokio::join!(all(first), all(second));
    assert_eq!(first.unwrap(), second.unwrap());
}

#[tokio::test]
async fn the_last_listener_out_gives_the_slots_back() {
    let gate = Arc::new(Gate::default());
    let speech = simple(|options| options.gate = Some(Arc::clone(&gate))).await;
    drop(speech.speak(request(THREE)).await.unwrap());
    let other = speech.speak(request("Another text.")).await.unwrap();
    // One step was running for the one who left; the second is for the other, not for the rest of the first.
    gate.open(2);
    assert!(!all(other).await.unwrap().is_empty());
}

#[tokio::test]
async fn one_who_stays_still_hears_all_when_another_leaves() {
    let gate = Arc::new(Gate::default());
    let speech = simple(|options| options.gate = Some(Arc::clone(&gate))).await;
    let leaving = speech.speak(request(THREE)).await.unwrap();
    let staying = speech.speak(request(THREE)).await.unwrap();
    drop(leaving);
    gate.open(3);
    let stayed = all(staying).await.unwrap();
    assert_eq!(stayed, say(&speech, request(THREE)).await.unwrap());
}

#[tokio::test]
async fn a_listener_that_does_not_read_holds_its_own_request_only() {
    let gate = Arc::new(Gate::default());
    let mut config = Config::default();
    config.speech.window_segments = 1;
    let speech = service(config, vec![fake(|options| options.gate = Some(Arc::clone(&gate)))]).await;
    let mut unread = speech.speak(request(THREE)).await.unwrap();
    gate.open(1);
    // Nobody has read the first segment: the engine is free for others, however many steps they take.
    let other = SpeechRequest { owner: Owner(2), ..request("Another text that is spoken meanwhile.") };
    gate.open(1);
    assert!(!say(&speech, other).await.unwrap().is_empty());
    assert_eq!(unread.segments_read(), 0);
    assert!(unread.next_sound().await.unwrap().is_some());
    gate.open(2);
    assert!(unread.next_sound().await.unwrap().is_some());
    assert!(unread.next_sound().await.unwrap().is_some());
    assert!(unread.next_sound().await.unwrap().is_none());
}

#[tokio::test]
async fn every_fault_is_an_error_and_the_next_request_is_spoken() {
    let speech = simple(|_| {}).await;
    for marker in ["[raise]", "[nan]", "[empty]", "[silent]"] {
        let outcome = say(&speech, request(&format!("Some words {marker} here."))).await;
        assert!(matches!(outcome, Err(Error::EngineFailed { .. })), "{marker}: {outcome:?}");
        assert!(say(&speech, request("Some words.")).await.is_ok(), "after {marker}");
    }
    assert!(matches!(say(&speech, request("Be [invalid] now.")).await, Err(Error::Invalid { .. })));
    assert!(matches!(say(&speech, request("Some [refuse] words.")).await, Err(Error::Refused { .. })));
}

#[tokio::test]
async fn a_failure_after_the_first_segment_is_no_clean_end() {
    let speech = simple(|_| {}).await;
    let text = "One is the first sentence of all. Two is the [raise] sentence here. Three is the last sentence.";
    let mut speaking = speech.speak(request(text)).await.unwrap();
    assert!(speaking.next_sound().await.unwrap().is_some());
    assert!(matches!(speaking.next_sound().await, Err(Error::EngineFailed { .. })));
}

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

#[tokio::test]
async fn several_slots_finish_out_of_order_and_leave_in_order() {
    let speech = simple(|options| {
        options.info.max_slots = 4;
        options.info.max_shared = 4;
        options.info.cost.steps = 5;
    })
    .await;
    let together = say(&speech, request(THREE)).await.unwrap();
    let alone = simple(|options| options.info.cost.steps = 5).await;
    assert_eq!(together, say(&alone, request(THREE)).await.unwrap());
}

#[tokio::test]
async fn a_full_queue_is_told_at_once() {
    let gate = Arc::new(Gate::default());
    let mut config = Config::default();
    config.queue.max_requests = 2;
    let speech = service(config, vec![fake(|options| options.gate = Some(Arc::clone(&gate)))]).await;
    let first = speech.speak(request("Number one.")).await.unwrap();
    let second = speech.speak(request("Number two.")).await.unwrap();
    let third = speech.speak(request("Number three.")).await;
    assert!(matches!(third, Err(Error::Busy { retry_after }) if retry_after > Duration::ZERO));
    gate.open(3);
    all(first).await.unwrap();
    all(second).await.unwrap();
    assert!(say(&speech, request("Number three.")).await.is_ok());
}

#[tokio::test]
async fn speech_that_cannot_start_in_time_is_given_up() {
    let gate = Arc::new(Gate::default());
    let mut config = Config::default();
    config.queue.max_wait_s = 0.05;
    let speech = service(config, vec![fake(|options| options.gate = Some(Arc::clone(&gate)))]).await;
    let first = speech.speak(request("Number one.")).await.unwrap();
    let second = speech.speak(request("Number two.")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    gate.open(1);
    assert!(all(first).await.is_ok());
    assert!(matches!(all(second).await, Err(Error::Deadline { .. })));
}

#[tokio::test]
async fn speech_that_finds_the_engine_free_has_not_waited_however_slow_the_machine() {
    let mut config = Config::default();
    config.queue.max_wait_s = 1e-6;
    // Another engine each time: a step has its end a moment after its sound.
    for _ in 0..5 {
        let speech = service(config.clone(), vec![fake(|_| {})]).await;
        say(&speech, request("Number one.")).await.expect("it goes to the engine at once");
    }
}

/// Reading asks for plans; one of them gives up the very job that is read, whose other engine came to it too late.
#[test]
fn a_reader_whose_own_job_is_given_up_meanwhile_is_told() {
    const CHINESE: &str = "你好，世界，今天的天气真不错。";
    const MAX_WAIT: Duration = Duration::from_millis(200);
    let scenario = async {
        let gate = Arc::new(Gate::default());
        let latin = fake(|options| options.info.scripts = vec!["Latn".to_owned()]);
        let any = fake(|options| {
            options.info.name = "other".to_owned();
            options.gate = Some(Arc::clone(&gate));
        });
        let mut config = Config::default();
        config.queue.max_wait_s = MAX_WAIT.as_secs_f64();
        config.speech.max_unread_s = 0.01;
        let speech = service(config, vec![latin, any]).await;
        let occupant = speech.speak(request(CHINESE)).await.unwrap();
        let text = format!("One is the first sentence of all. {CHINESE}{CHINESE}");
        let mut mixed = speech.speak(request(&text)).await.unwrap();
        // The first engine's sound is there; once this one has left, nobody has read it: the other's part is held.
        let mut ahead = speech.speak(request(&text)).await.unwrap();
        assert!(ahead.next_sound().await?.is_some());
        drop(ahead);
        gate.open(1);
        all(occupant).await.unwrap();
        // Blocks the runtime, so that only the reader asks for the plan.
        std::thread::sleep(MAX_WAIT);
        gate.open(usize::from(u16::MAX));
        while mixed.next_sound().await?.is_some() {}
        Ok(())
    };
    let (done, outcome) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        done.send(runtime.block_on(scenario))
    });
    let outcome: Result<(), Error> = outcome.recv_timeout(Duration::from_secs(60)).expect("nobody waits for himself");
    assert!(matches!(outcome, Err(Error::Deadline { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_broken_engine_fails_its_requests_and_is_told() {
    let speech = simple(|_| {}).await;
    assert!(speech.ready());
    let outcome = say(&speech, request("Please [break] now.")).await;
    assert!(matches!(outcome, Err(Error::EngineFailed { .. })), "{outcome:?}");
    assert!(speech.failed().await.message.contains("broke"));
    assert!(!speech.ready());
    assert!(matches!(speech.engines()[0].state, EngineState::Broken(_)));
}

#[tokio::test]
async fn an_engine_that_does_not_load_is_told() {
    let speech = simple(|options| options.fail_load = true).await;
    let lost = speech.failed().await;
    assert!(lost.message.contains("not to load") && !lost.by_setting, "{lost:?}");
    assert!(matches!(speech.speak(request("a")).await, Err(Error::EngineFailed { .. })));
}

#[tokio::test]
async fn a_step_that_hangs_is_told() {
    let gate = Arc::new(Gate::default());
    let mut config = Config::default();
    config.speech.max_step_s = 0.05;
    let speech = service(config, vec![fake(|options| options.gate = Some(Arc::clone(&gate)))]).await;
    let outcome = say(&speech, request("Hang on.")).await;
    assert!(matches!(outcome, Err(Error::EngineFailed { .. })), "{outcome:?}");
    assert!(speech.failed().await.message.contains("one step"));
    gate.open(1);
}

#[tokio::test]
async fn shutting_down_waits_for_listeners_and_refuses_others() {
    let gate = Arc::new(Gate::default());
    let speech = simple(|options| options.gate = Some(Arc::clone(&gate))).await;
    let speaking = speech.speak(request(THREE)).await.unwrap();
    let closing = tokio::spawn({
        let speech = Arc::clone(&speech);
        async move { speech.shut_down(Duration::from_secs(30)).await }
    });
    while speech.ready() {
        tokio::task::yield_now().await;
    }
    assert!(matches!(speech.speak(request("More.")).await, Err(Error::ShuttingDown)));
    gate.open(3);
    assert!(all(speaking).await.is_ok());
    closing.await.unwrap();
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told() {
    let speech = simple(|_| {}).await;
    let error = async |change: fn(&mut SpeechRequest)| {
        let mut request = request("Some words.");
        change(&mut request);
        say(&speech, request).await.unwrap_err().code()
    };
    assert_eq!(error(|request| request.speed = f64::NAN).await, "invalid_speed");
    assert_eq!(error(|request| request.speed = 5.0).await, "invalid_speed");
    assert_eq!(error(|request| request.text = "?! 😀".to_owned()).await, "nothing_to_say");
    assert_eq!(error(|request| request.text = "a".repeat(60_000)).await, "text_too_long");
    assert_eq!(error(|request| request.voice = Some("../x".to_owned())).await, "voice_not_found");
    assert_eq!(error(|request| request.engine = Some("gpt".to_owned())).await, "model_not_found");
}

#[tokio::test]
async fn what_an_engine_chose_is_told_and_kept_unless_time_was_short() {
    let speech = simple(|options| options.info.cost.steps = 3).await;
    let told = |speaking: &Speaking| speaking.params().get("steps").cloned();
    for (text, cached) in [("Please [choose] now.", true), ("Please [hurry] now.", false)] {
        for again in [false, true] {
            let mut speaking = speech.speak(request(text)).await.unwrap();
            assert_eq!(speaking.cached, cached && again, "{text}");
            assert!(speaking.next_sound().await.unwrap().is_some());
            assert_eq!(told(&speaking), Some(3.into()), "{text}");
            all(speaking).await.unwrap();
        }
        let caption = captions(speech.speak(request(text)).await.unwrap()).await.remove(0).0;
        assert_eq!(caption.params["steps"], 3);
    }
    // With a seed of its own the engine is not told of its time.
    let seeded = speech.speak(SpeechRequest { seed: Some(7), ..request("Please [hurry] now.") }).await.unwrap();
    let caption = captions(seeded).await.remove(0).0;
    assert!(caption.params.is_empty());
    let mut plain = speech.speak(request("Please say it.")).await.unwrap();
    plain.next_sound().await.unwrap();
    assert_eq!(told(&plain), None);
}

/// A voice that is far softer than the target.
#[tokio::test]
async fn a_voice_is_measured_once_and_speaks_at_the_target() {
    // One that clones is measured by its clip instead.
    let speech = levelled(Config::default(), vec![fake(|options| options.info.clones_voices = false)]).await;
    assert!(speech.ready());
    let loudness = |samples: &[f32]| crate::audio::loudness::measure(samples, 24_000).unwrap().integrated_lufs;
    let off = SpeechRequest { level: Level { loudness: Some(Loudness::Off), volume: 1.0 }, ..request(THREE) };
    let (levelled, plain) = (say(&speech, request(THREE)).await.unwrap(), say(&speech, off).await.unwrap());
    assert_eq!(levelled.len(), plain.len());
    assert!((loudness(&levelled) + 18.0).abs() < 1.0, "{}", loudness(&levelled));
    assert!((loudness(&plain) + 18.0).abs() > 1.0, "{}", loudness(&plain));
    // From the cache, and in other pieces: the same samples.
    let mut again = speech.speak(request(THREE)).await.unwrap();
    assert!(again.cached);
    let first = again.next_sound().await.unwrap().unwrap();
    assert_eq!([first.to_vec(), all(again).await.unwrap()].concat(), levelled);
}
