//! Queues that are full, speech that comes too late, engines that break, and the end, against the fake engine.

use std::{sync::Arc, time::Duration};

use super::{
    EngineState,
    tests::{THREE, all, fake, request, say, service, simple},
};
use crate::{config::Config, engine::Gate, error::Error};

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
