//! The whole room against the fake engine: real threads, steps let go one by one where order matters.

use std::{collections::BTreeMap, sync::Arc};

use super::{Caption, Level, Loudness, Said, Speaking, Speech, SpeechRequest};
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
