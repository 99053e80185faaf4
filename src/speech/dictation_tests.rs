//! Speech whose text is still being written, against the fake engine.

use std::{sync::Arc, time::Duration};

use super::{
    Dictation, Said, Speaking, Speech, SpeechRequest,
    tests::{THREE, all, captions, fake, request, say, service, simple},
};
use crate::{config::Config, engine::Gate, error::Error, scheduler::Owner};

/// Writes `text` in pieces of so many characters, then ends it.
async fn dictated(speech: &Arc<Speech>, request: SpeechRequest, chars: usize) -> Result<Speaking, Error> {
    let text = request.text.clone();
    let mut dictation = speech.dictate(request)?;
    let (mut speaking, letters) = (None, text.chars().collect::<Vec<_>>());
    for piece in letters.chunks(chars) {
        let begun = dictation.write(&piece.iter().collect::<String>()).await?;
        speaking = speaking.or(begun);
    }
    let begun = dictation.end().await?;
    Ok(speaking.or(begun).expect("there was something to say"))
}

async fn begun(dictation: &mut Dictation, text: &str) -> Speaking {
    dictation.write(text).await.unwrap().expect("enough to begin")
}

#[tokio::test]
async fn pieces_of_a_text_are_the_same_speech_as_the_whole() {
    let speech = simple(|_| {}).await;
    let with_seed = || SpeechRequest { seed: Some(5), ..request(THREE) };
    let whole = say(&speech, SpeechRequest { cache: false, ..with_seed() }).await.unwrap();
    for chars in [1, 7, 1000] {
        let speaking = dictated(&speech, with_seed(), chars).await.unwrap();
        assert_eq!((speaking.seed, speaking.cached), (5, false));
        assert_eq!(all(speaking).await.unwrap(), whole, "{chars}");
    }
    let told = captions(speech.speak(with_seed()).await.unwrap()).await;
    let dictated = captions(dictated(&speech, with_seed(), 3).await.unwrap()).await;
    assert_eq!(
        dictated.iter().map(|(caption, _)| caption).collect::<Vec<_>>(),
        told.iter().map(|(caption, _)| caption).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_text_without_a_seed_gets_the_same_one_each_time() {
    let speech = simple(|_| {}).await;
    let one = dictated(&speech, request(THREE), 1).await.unwrap();
    let two = dictated(&speech, request(THREE), 20).await.unwrap();
    assert_eq!(one.seed, two.seed);
    assert_eq!(all(one).await.unwrap(), all(two).await.unwrap());
    assert_ne!(two_seed(&speech, "Another text of some length.").await, two_seed(&speech, THREE).await);
}

async fn two_seed(speech: &Arc<Speech>, text: &str) -> u64 {
    dictated(speech, request(text), 5).await.unwrap().seed
}

#[tokio::test]
async fn what_is_flushed_is_heard_to_its_end() {
    let speech = simple(|_| {}).await;
    let said = say(&speech, request("One is the first")).await.unwrap();
    let mut dictation = speech.dictate(request("")).unwrap();
    assert!(dictation.write("One is the first").await.unwrap().is_none());
    let mut speaking = dictation.flush().await.unwrap().unwrap();
    let mut heard = Vec::new();
    while heard.len() < said.len() {
        heard.extend_from_slice(&speaking.next_sound().await.unwrap().unwrap());
    }
    assert_eq!(heard, said);
    dictation.write(" and this the last.").await.unwrap();
    dictation.end().await.unwrap();
    assert!(!all(speaking).await.unwrap().is_empty());
}

#[tokio::test]
async fn sound_comes_while_the_text_is_written() {
    let speech = simple(|_| {}).await;
    let mut dictation = speech.dictate(request("")).unwrap();
    assert!(dictation.write("One is the first").await.unwrap().is_none());
    let mut speaking = begun(&mut dictation, " sentence of all. Tw").await;
    assert!(speaking.next_sound().await.unwrap().is_some());
    assert_eq!((speaking.segments_read(), dictation.segments()), (1, 1));
    // Nothing more is there, and it is no end.
    let waiting = tokio::time::timeout(Duration::from_millis(20), speaking.next_sound()).await;
    assert!(waiting.is_err());
    assert!(dictation.write("o is the second sentence,").await.unwrap().is_none());
    assert!(!dictation.can_hurry(false));
    assert!(dictation.write(" a").await.unwrap().is_none());
    assert!(dictation.can_hurry(false));
    dictation.hurry(false).await.unwrap();
    assert!(speaking.next_sound().await.unwrap().is_some());
    dictation.flush().await.unwrap();
    assert!(speaking.next_sound().await.unwrap().is_some());
    dictation.end().await.unwrap();
    assert!(speaking.next_sound().await.unwrap().is_none());
}

#[tokio::test]
async fn captions_stand_in_the_whole_text() {
    let speech = simple(|_| {}).await;
    let text = format!("  {THREE}  \u{200b}");
    let chars: Vec<char> = text.chars().collect();
    let told = captions(dictated(&speech, request(&text), 4).await.unwrap()).await;
    assert_eq!(told.len(), 3);
    for (caption, _) in told {
        assert_eq!(caption.text, chars[caption.start_char..caption.end_char].iter().collect::<String>());
        for word in &caption.words {
            assert_eq!(word.text, chars[word.start_char..word.end_char].iter().collect::<String>());
        }
    }
}

#[tokio::test]
async fn one_who_leaves_gives_everything_back() {
    let gate = Arc::new(Gate::default());
    let mut config = Config::default();
    config.queue.max_requests = 1;
    let speech = service(config, vec![fake(|options| options.gate = Some(Arc::clone(&gate)))]).await;
    let mut dictation = speech.dictate(request("")).unwrap();
    let speaking = begun(&mut dictation, THREE).await;
    drop(speaking);
    // The text may still come: nobody hears it.
    assert!(dictation.write(" More of it comes here. And more.").await.is_err());
    drop(dictation);
    gate.open(2);
    let other = SpeechRequest { owner: Owner(2), ..request("Another text.") };
    assert!(!say(&speech, other).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_open_text_takes_no_slot_and_its_end_frees_its_place() {
    let mut config = Config::default();
    config.queue.max_requests = 1;
    let speech = service(config, vec![fake(|_| {})]).await;
    let mut dictation = speech.dictate(request("")).unwrap();
    let mut speaking = begun(&mut dictation, THREE).await;
    assert!(speaking.next_sound().await.unwrap().is_some());
    let other = || SpeechRequest { owner: Owner(2), ..request("Another text.") };
    assert!(matches!(say(&speech, other()).await, Err(Error::Busy { .. })));
    dictation.end().await.unwrap();
    while speaking.next_sound().await.unwrap().is_some() {}
    assert!(say(&speech, other()).await.is_ok());
}

#[tokio::test]
async fn a_listener_that_does_not_read_holds_the_rest_back() {
    let gate = Arc::new(Gate::default());
    let mut config = Config::default();
    config.speech.window_segments = 1;
    let speech = service(config, vec![fake(|options| options.gate = Some(Arc::clone(&gate)))]).await;
    let mut dictation = speech.dictate(request("")).unwrap();
    let mut speaking = begun(&mut dictation, THREE).await;
    dictation.end().await.unwrap();
    gate.open(2);
    let other = SpeechRequest { owner: Owner(2), ..request("Another text that is spoken meanwhile.") };
    assert!(!say(&speech, other).await.unwrap().is_empty());
    gate.open(2);
    let mut sounds = 0;
    while let Some(said) = speaking.next().await.unwrap() {
        sounds += usize::from(matches!(said, Said::Sound(_)));
    }
    assert_eq!(sounds, 3);
}

#[tokio::test]
async fn segments_go_to_the_engines_that_can_say_them() {
    let latin = fake(|options| options.info.scripts = vec!["Latn".to_owned()]);
    let any = fake(|options| options.info.name = "other".to_owned());
    let speech = service(Config::default(), vec![latin, any]).await;
    let mixed = "One is the first sentence of all.\n你好，世界，今天的天气真不错。\nTwo is a further sentence.\n你好，世界，今天的天气真不错。\n";
    let with_seed = || SpeechRequest { seed: Some(5), cache: false, ..request(mixed) };
    let whole = say(&speech, with_seed()).await.unwrap();
    let said = all(dictated(&speech, with_seed(), 3).await.unwrap()).await.unwrap();
    assert_eq!(said, whole);
    let refused = SpeechRequest { engine: Some("fake".to_owned()), ..with_seed() };
    assert!(matches!(dictated(&speech, refused, 3).await.map(drop), Err(Error::Refused { .. })));
}

#[tokio::test]
async fn what_is_wrong_is_told_at_once_or_when_it_comes() {
    let speech = simple(|_| {}).await;
    let dictate = |change: fn(&mut SpeechRequest)| {
        let mut request = request("");
        change(&mut request);
        speech.dictate(request).map(drop).unwrap_err().code()
    };
    assert_eq!(dictate(|request| request.speed = 9.0), "invalid_speed");
    assert_eq!(dictate(|request| request.seed = Some(-5)), "invalid_seed");
    assert_eq!(dictate(|request| request.voice = Some("none".to_owned())), "voice_not_found");

    let mut dictation = speech.dictate(request("")).unwrap();
    let long = "Some more words, ".repeat(2_000);
    let mut speaking = begun(&mut dictation, &long).await;
    assert!(matches!(dictation.write(&long).await, Err(Error::TextTooLong { chars: 68_000, limit: 50_000 })));
    let outcome = loop {
        match speaking.next_sound().await {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert!(matches!(outcome, Err(Error::TextTooLong { .. })), "no clean end");

    let mut speaking =
        dictated(&speech, request("One is the first sentence of all. Please [raise] now, dear."), 9).await.unwrap();
    assert!(speaking.next_sound().await.unwrap().is_some());
    assert!(matches!(speaking.next_sound().await, Err(Error::EngineFailed { .. })));
}
