//! Where jobs are found: those in flight, to be joined, and complete results, to be had again.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    cache::{Cache, Key, Spoken},
    job::{Job, Script},
};

pub(super) struct Shelf {
    pub cache: Cache,
    /// Held while a job is started, so that the same request is started once.
    pub flights: Mutex<HashMap<Key, Arc<Job>>>,
    /// Listeners of jobs in flight.
    pub listening: watch::Sender<usize>,
}

impl Shelf {
    pub fn new(cache_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            cache: Cache::new(cache_bytes),
            flights: Mutex::new(HashMap::new()),
            listening: watch::Sender::new(0),
        })
    }

    /// Keeps a complete result, if its request allows it.
    pub fn keep(&self, script: &Script, spoken: impl FnOnce() -> Spoken) {
        if let Some(key) = script.key {
            self.cache.insert(key, Arc::new(spoken()));
        }
    }

    /// The job has ended: nobody may join it any more. Its state must not be locked: `flights` comes first.
    pub fn landed(&self, job: &Job) {
        let Some(key) = job.script.key else { return };
        let mut flights = self.flights.lock();
        if flights.get(&key).is_some_and(|held| std::ptr::eq(Arc::as_ptr(held), job)) {
            flights.remove(&key);
        }
    }
}
