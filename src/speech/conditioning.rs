//! Rust's books of prepared voices: which engine-side conditioning stands for which version of a voice.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    engine::{ConditioningId, Fault},
    voices::Voice,
};

type Outcome = Option<Result<ConditioningId, Fault>>;

/// Of one engine. A voice version is prepared once, however many ask for it at the same time.
#[derive(Default)]
pub(super) struct Conditionings {
    by_voice: Mutex<HashMap<String, Entry>>,
    next: AtomicU64,
}

struct Entry {
    id: ConditioningId,
    outcome: watch::Sender<Outcome>,
}

impl Conditionings {
    /// Where the outcome will be seen, and whether the caller must ask the engine for it under this id.
    pub fn get(&self, voice: &Voice) -> (watch::Receiver<Outcome>, Option<ConditioningId>) {
        let mut by_voice = self.by_voice.lock();
        if let Some(entry) = by_voice.get(&voice.version) {
            return (entry.outcome.subscribe(), None);
        }
        let id = ConditioningId(self.next.fetch_add(1, Ordering::Relaxed));
        let outcome = watch::Sender::new(None);
        let seen = outcome.subscribe();
        by_voice.insert(voice.version.clone(), Entry { id, outcome });
        (seen, Some(id))
    }

    /// A fault is told to those who wait and then forgotten, so that the next request tries again.
    pub fn settle(&self, id: ConditioningId, outcome: Result<(), Fault>) {
        let mut by_voice = self.by_voice.lock();
        let Some(version) = by_voice.iter().find(|(_, entry)| entry.id == id).map(|(version, _)| version.clone())
        else {
            return;
        };
        let failed = outcome.is_err();
        if let Some(entry) = by_voice.get(&version) {
            entry.outcome.send_replace(Some(outcome.map(|()| id)));
        }
        if failed {
            by_voice.remove(&version);
        }
    }

    /// Prepared, or given up.
    pub fn settled(&self, voices: &[std::sync::Arc<Voice>]) -> bool {
        let by_voice = self.by_voice.lock();
        voices.iter().all(|voice| by_voice.get(&voice.version).is_none_or(|entry| entry.outcome.borrow().is_some()))
    }

    /// Nobody need wait any more: the engine is gone.
    pub fn close(&self) {
        self.by_voice.lock().clear();
    }
}
