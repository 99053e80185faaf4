//! What is prepared and measured before anybody asks, and when the engine counts as ready.

use std::{
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use super::{
    EngineState, Speech, Warm,
    dispatch::{Bounds, Link},
    tests::unmeasured,
};
use crate::{
    audio::encode::wav_file,
    config::Config,
    engine::{Command, Event, EventSink, FakeOptions, Fault, Host},
    scheduler,
    voices::{Store, Voice},
};

/// Told when a voice is asked for: before the asking goes on, it is prepared, if the test is for that.
#[derive(Default)]
struct Seen {
    link: OnceLock<Weak<Link>>,
    at_once: bool,
    /// Versions, and whether the engine counted as ready.
    asked: Mutex<Vec<(String, bool)>>,
}

struct Eager(Arc<Seen>);

impl Host for Eager {
    fn send(&self, command: Command) {
        let Command::Prepare { conditioning, voice } = command else { return };
        let link = self.0.link.get().and_then(Weak::upgrade);
        let ready = link.as_ref().is_some_and(|link| link.info().is_ok());
        self.0.asked.lock().push((voice.version.clone(), ready));
        let Some(link) = link.filter(|_| self.0.at_once) else { return };
        link.event(if voice.id == "oak" {
            Event::PrepareFailed { conditioning, fault: Fault::failed("no oak") }
        } else {
            Event::Prepared { conditioning, nbytes: 1, elapsed_ms: 1.0 }
        });
    }

    fn join(&self) {}
}

fn link(at_once: bool, pinned: Vec<Arc<Voice>>) -> (Arc<Link>, Arc<Seen>) {
    let seen = Arc::new(Seen { at_once, ..Seen::default() });
    let bounds = Bounds {
        queue: scheduler::Limits { max_requests: 1, max_speech_ms: 1e3, window_segments: 1 },
        max_step: Duration::MAX,
        max_wait: Duration::MAX,
        max_voice_bytes: 1 << 20,
        fatal: watch::Sender::new(None),
    };
    let host = Eager(Arc::clone(&seen));
    let link = Link::start("eager".into(), Box::new(|_| Box::new(host)), pinned, bounds, mpsc::unbounded_channel().0);
    seen.link.set(Arc::downgrade(&link)).expect("once");
    (link, seen)
}

fn voices(ids: &[&str]) -> Vec<Arc<Voice>> {
    let (store, _) = Store::open(std::path::Path::new(""), "heart", &Config::default().voices.aliases);
    ids.iter().map(|id| store.library().get(id).expect("it ships")).collect()
}

fn loaded() -> Event {
    Event::Loaded(Box::new(FakeOptions::default().info))
}

#[test]
fn an_engine_is_ready_when_the_last_voice_is_however_fast_the_first_one_was() {
    let pinned = voices(&["heart", "oak", "wren", "rowan"]);
    let (link, seen) = link(true, pinned);
    link.event(loaded());
    let ready: Vec<bool> = seen.asked.lock().iter().map(|(_, ready)| *ready).collect();
    assert_eq!(ready, [false; 4]);
    assert!(matches!(link.state(), EngineState::Ready(_)));
    assert_eq!(link.warm(), Warm { prepared: 4, of: 4 }, "one was given up");
    assert_eq!(link.pinned().len(), 3);
}

#[test]
fn an_engine_is_ready_when_what_it_waited_for_is_wanted_no_more() {
    let (link, _) = link(false, voices(&["heart"]));
    link.event(loaded());
    assert!(matches!(link.state(), EngineState::Loading));
    link.pin(Vec::new());
    assert!(matches!(link.state(), EngineState::Ready(_)));
}

#[tokio::test]
async fn a_voice_that_changes_while_the_engines_are_started_is_prepared() {
    let folder = tempfile::tempdir().unwrap();
    let config = Arc::new(unmeasured(Config::default()));
    let store = Arc::new(Store::open(folder.path(), "heart", &config.voices.aliases).0);
    let seen = Arc::new(Seen::default());
    let (changing, host) = (Arc::clone(&store), Eager(Arc::clone(&seen)));
    let start = Box::new(move |sink: Arc<dyn EventSink>| {
        let clip: Vec<f32> = (0..8_000u16).map(|n| 0.3 * (0.2 * f32::from(n)).sin()).collect();
        changing.set_override("heart", Some(wav_file(&clip, 8_000)), None).expect("written");
        // As hosts do: events wait until the host is there.
        std::thread::spawn(move || sink.event(loaded()));
        Box::new(host) as Box<dyn Host>
    });
    let _speech = Speech::start(config, Arc::clone(&store), vec![("eager".to_owned(), start)]);
    let version = store.library().get("heart").expect("it ships").version.clone();
    let asked = async {
        while seen.asked.lock().iter().all(|(asked, _)| *asked != version) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asked).await.expect("the new version is asked for");
}
