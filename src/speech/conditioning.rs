//! Rust's books of prepared voices: which engine-side conditioning stands for which version of a voice.
//!
//! Bounded in bytes: the least recently used go first. Those that are pinned, or that a request holds, stay. What is
//! prepared for one request goes with it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use metrics::{Counter, Gauge, counter, gauge};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    engine::{ConditioningId, Fault},
    voices::Voice,
};

/// What a version costs beside what its engine tells: our own books, and the engine's.
const OVERHEAD_BYTES: u64 = 2048;
/// More than any memory: an engine that tells more is taken for this, so that sums of many cannot overflow.
const MOST_BYTES: u64 = 1 << 50;

pub(super) type Outcome = Option<Result<(), Fault>>;

/// Of one engine. A voice version is prepared once, however many ask for it at the same time.
pub(super) struct Conditionings {
    books: Mutex<Books>,
    max_bytes: u64,
    figures: Figures,
}

#[derive(Default)]
struct Books {
    by_version: HashMap<String, Entry>,
    by_id: HashMap<ConditioningId, String>,
    /// Versions that may go, by when they were used last.
    idle: BTreeMap<u64, String>,
    pinned: HashSet<String>,
    /// Of the pinned ones, those that could not be prepared when they were asked for last.
    given_up: HashSet<String>,
    bytes: u64,
    /// Counts uses.
    clock: u64,
    next: u64,
    /// What the engine is still to be told to forget.
    dropped: Vec<ConditioningId>,
}

struct Entry {
    id: ConditioningId,
    voice: String,
    outcome: watch::Sender<Outcome>,
    /// 0 until it is prepared.
    bytes: u64,
    elapsed_ms: f64,
    used_at: u64,
    holders: usize,
    /// Goes with its last holder.
    transient: bool,
}

/// A prepared voice, or one that is being prepared, which stays as long as this is held.
pub(super) struct Held {
    pub id: ConditioningId,
    version: String,
    conditionings: Arc<Conditionings>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.conditionings.release(&self.version, self.id);
    }
}

/// A voice that was asked for.
pub(super) struct Asked {
    pub held: Held,
    /// Where the outcome will be seen.
    pub outcome: watch::Receiver<Outcome>,
    /// Nobody has asked the engine for it yet: the caller must.
    pub is_new: bool,
}

impl Conditionings {
    pub fn new(engine: &str, max_bytes: u64) -> Arc<Self> {
        Arc::new(Self { books: Mutex::default(), max_bytes, figures: Figures::new(engine) })
    }

    pub fn get(self: &Arc<Self>, voice: &Voice) -> Asked {
        let mut guard = self.books.lock();
        let books = &mut *guard;
        books.clock += 1;
        let now = books.clock;
        let held = |id| Held { id, version: voice.version.clone(), conditionings: Arc::clone(self) };
        if let Some(entry) = books.by_version.get_mut(&voice.version) {
            books.idle.remove(&entry.used_at);
            entry.used_at = now;
            entry.holders += 1;
            entry.transient &= voice.transient;
            self.figures.found(entry);
            return Asked { held: held(entry.id), outcome: entry.outcome.subscribe(), is_new: false };
        }
        self.figures.misses.increment(1);
        let id = ConditioningId(books.next);
        books.next += 1;
        let outcome = watch::Sender::new(None);
        let seen = outcome.subscribe();
        let voice_id = voice.id.clone();
        let transient = voice.transient;
        let entry =
            Entry { id, voice: voice_id, outcome, bytes: 0, elapsed_ms: 0.0, used_at: now, holders: 1, transient };
        books.by_id.insert(id, voice.version.clone());
        books.by_version.insert(voice.version.clone(), entry);
        Asked { held: held(id), outcome: seen, is_new: true }
    }

    /// Of how many bytes it is and how long it took; gives the voice's name. A fault is told to those who wait and then
    /// forgotten, so that the next request tries again.
    pub fn settle(&self, id: ConditioningId, outcome: Result<(u64, f64), Fault>) -> Option<String> {
        let mut guard = self.books.lock();
        let books = &mut *guard;
        let version = books.by_id.get(&id)?.clone();
        let entry = books.by_version.get_mut(&version)?;
        let voice = entry.voice.clone();
        match outcome {
            Ok((nbytes, elapsed_ms)) => {
                entry.bytes = nbytes.min(MOST_BYTES) + OVERHEAD_BYTES;
                entry.elapsed_ms = elapsed_ms;
                entry.outcome.send_replace(Some(Ok(())));
                books.bytes += entry.bytes;
                self.figures.prepare_ms.increment(elapsed_ms.round() as u64);
                books.given_up.remove(&version);
                books.rest(&version);
            }
            Err(fault) => {
                entry.outcome.send_replace(Some(Err(fault)));
                books.by_version.remove(&version);
                books.by_id.remove(&id);
                if books.pinned.contains(&version) {
                    books.given_up.insert(version);
                }
            }
        }
        self.shrink(books);
        Some(voice)
    }

    fn release(&self, version: &str, id: ConditioningId) {
        let mut books = self.books.lock();
        // A later one of the same version is not what was held.
        let Some(entry) = books.by_version.get_mut(version).filter(|entry| entry.id == id) else { return };
        entry.holders -= 1;
        books.rest(version);
        self.shrink(&mut books);
    }

    /// These stay, whatever their size; those that were pinned before may go.
    pub fn pin(&self, voices: &[Arc<Voice>]) {
        let mut guard = self.books.lock();
        let books = &mut *guard;
        let pinned: HashSet<_> = voices.iter().map(|voice| voice.version.clone()).collect();
        books.given_up.retain(|version| pinned.contains(version));
        let before = std::mem::replace(&mut books.pinned, pinned);
        for version in &books.pinned {
            if let Some(entry) = books.by_version.get(version) {
                books.idle.remove(&entry.used_at);
            }
        }
        for version in before {
            books.rest(&version);
        }
        self.shrink(books);
    }

    /// How many of the pinned `voices` are prepared, or given up.
    pub fn settled(&self, voices: &[Arc<Voice>]) -> usize {
        let books = self.books.lock();
        let is_prepared = |version: &str| books.by_version.get(version).is_some_and(|entry| entry.bytes > 0);
        // One that nobody has asked for yet is neither.
        let is_settled = |version: &str| is_prepared(version) || books.given_up.contains(version);
        voices.iter().filter(|voice| is_settled(&voice.version)).count()
    }

    /// Whether it is pinned and cannot be prepared.
    pub fn is_given_up(&self, voice: &Voice) -> bool {
        self.books.lock().given_up.contains(&voice.version)
    }

    /// What the engine is to be told to forget, each once.
    pub fn take_dropped(&self) -> Vec<ConditioningId> {
        std::mem::take(&mut self.books.lock().dropped)
    }

    /// Nobody need wait any more: the engine is gone.
    pub fn close(&self) {
        let mut books = self.books.lock();
        *books = Books { next: books.next, ..Books::default() };
        self.figures.shown(&books);
    }

    fn shrink(&self, books: &mut Books) {
        while books.bytes > self.max_bytes {
            let Some((_, version)) = books.idle.pop_first() else { break };
            books.forget(&version);
            self.figures.evicted.increment(1);
        }
        self.figures.shown(books);
    }
}

impl Books {
    /// May go, unless something keeps it.
    fn rest(&mut self, version: &str) {
        let Some(entry) = self.by_version.get(version) else { return };
        if entry.holders > 0 || entry.bytes == 0 || self.pinned.contains(version) {
            return;
        }
        if entry.transient {
            self.forget(version);
        } else {
            self.idle.insert(entry.used_at, version.to_owned());
        }
    }

    fn forget(&mut self, version: &str) {
        let Some(entry) = self.by_version.remove(version) else { return };
        self.by_id.remove(&entry.id);
        self.bytes -= entry.bytes;
        self.dropped.push(entry.id);
    }
}

/// Handles are made once: counting is an addition.
struct Figures {
    hits: Counter,
    joined: Counter,
    misses: Counter,
    evicted: Counter,
    prepare_ms: Counter,
    saved_ms: Counter,
    bytes: Gauge,
    voices: Gauge,
}

impl Figures {
    fn new(engine: &str) -> Self {
        let engine = || engine.to_owned();
        let lookups = |outcome: &'static str| counter!("ishowtts_voice_lookups_total", "engine" => engine(), "outcome" => outcome);
        Self {
            hits: lookups("hit"),
            joined: lookups("joined"),
            misses: lookups("miss"),
            evicted: counter!("ishowtts_voice_evictions_total", "engine" => engine()),
            prepare_ms: counter!("ishowtts_voice_prepare_ms_total", "engine" => engine()),
            saved_ms: counter!("ishowtts_voice_saved_ms_total", "engine" => engine()),
            bytes: gauge!("ishowtts_voice_cache_bytes", "engine" => engine()),
            voices: gauge!("ishowtts_voice_cache_voices", "engine" => engine()),
        }
    }

    fn found(&self, entry: &Entry) {
        if entry.bytes == 0 {
            self.joined.increment(1);
        } else {
            self.hits.increment(1);
            self.saved_ms.increment(entry.elapsed_ms.round() as u64);
        }
    }

    fn shown(&self, books: &Books) {
        self.bytes.set(books.bytes as f64);
        self.voices.set(books.by_version.len() as f64);
    }
}

#[cfg(test)]
#[path = "conditioning_tests.rs"]
mod tests;
