//! The desk's books: what waits, what overlays have, what became of the rest. Every change is made under one lock and
//! ends with `pump`, which hands the next items over. Writes are begun in the order of the changes; nobody waits for
//! them here.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Weak},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::watch;

use super::{
    MessageKey, User, UserKey,
    desk::{Desk, Taken},
    gauges::Gauges,
    item::{EndedItem, Numbered, Outcome, Sequence},
    overdue::Overdue,
    overlays::{Connection, Kind, Overlays},
    prefetch::Prefetch,
    queue::{Gone, Queue},
    sources::Sources,
    store::{Stage, Store},
    told::{ChatEvent, Names, RefusedView, told},
    voices::Voices,
};
use crate::error::Error;

/// Ended items that are shown, and whose sound can still be asked for.
pub(super) const SHOWN_ENDED: usize = 512;
const SHOWN_REFUSED: usize = 200;
/// Messages that are known again when they come again.
const REMEMBERED: usize = 8192;
/// Messages that were taken back: one that is still being stored must not sound.
const REMEMBERED_WITHDRAWN: usize = 1024;

/// An item that overlays have.
pub(super) struct Lease {
    pub item: Arc<Numbered>,
    pub started: bool,
    /// Why it is where it is, if something went wrong.
    pub reason: Option<String>,
    /// A paid one that nobody told the end of. It stays until that is told, or an overlay comes that says it again; others
    /// go before it.
    pub overdue: bool,
    /// Of its sound, once that is made.
    pub duration: Option<Duration>,
    pub delivered: bool,
    pub tries: u32,
    /// Ends with the lease.
    _prefetch: Prefetch,
}

pub(super) struct State {
    pub desk: Weak<Desk>,
    pub names: Arc<Names>,
    pub store: Arc<Store>,
    pub gauges: Gauges,
    pub queue: Queue,
    pub overlays: Overlays,
    /// The first is playing, or will be next.
    pub leased: VecDeque<Lease>,
    /// How many may be leased.
    pub window: usize,
    /// Engines are loaded: what is handed over can be spoken.
    pub ready: bool,
    pub grace_ms: u64,
    pub enabled: bool,
    pub paused: bool,
    pub volume: f32,
    pub muted: HashMap<UserKey, String>,
    pub voices: Voices,
    /// By name in lower case.
    pub nicknames: HashMap<String, String>,
    pub sources: Sources,
    /// The newest last.
    pub ended: VecDeque<EndedItem>,
    /// The newest last.
    pub refused: VecDeque<RefusedView>,
    known: HashMap<MessageKey, watch::Receiver<Option<Taken>>>,
    known_order: VecDeque<MessageKey>,
    withdrawn: VecDeque<MessageKey>,
    pub overdue: Overdue,
}

/// What a `State` begins with.
pub(super) struct Beginning {
    pub desk: Weak<Desk>,
    pub names: Arc<Names>,
    pub store: Arc<Store>,
    pub queue: Queue,
    pub window: usize,
    pub grace: Duration,
    /// None: an overlay may take as long as it likes.
    pub ack_grace: Option<Duration>,
    pub enabled: bool,
    pub paused: bool,
    pub volume: f32,
    pub muted: HashMap<UserKey, String>,
    pub voices: Voices,
    pub nicknames: HashMap<String, String>,
    /// In earlier runs, the newest last.
    pub ended: Vec<EndedItem>,
}

impl State {
    pub fn new(beginning: Beginning) -> Self {
        let Beginning { desk, names, store, queue, window, grace, ack_grace, .. } = beginning;
        let Beginning { enabled, paused, volume, muted, voices, nicknames, ended, .. } = beginning;
        Self {
            desk,
            names,
            store,
            gauges: Gauges::new(),
            queue,
            overlays: Overlays::new(grace),
            leased: VecDeque::new(),
            window,
            ready: false,
            grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX),
            enabled,
            paused,
            volume,
            muted,
            voices,
            nicknames,
            sources: Sources::default(),
            ended: ended.into(),
            refused: VecDeque::new(),
            known: HashMap::new(),
            known_order: VecDeque::new(),
            withdrawn: VecDeque::new(),
            overdue: Overdue::new(ack_grace),
        }
    }

    /// What became of this message, if it has come before; else the place where that is to be told.
    pub fn know(&mut self, key: &MessageKey) -> Result<watch::Sender<Option<Taken>>, watch::Receiver<Option<Taken>>> {
        if let Some(known) = self.known.get(key) {
            return Err(known.clone());
        }
        let (tell, known) = watch::channel(None);
        self.known.insert(key.clone(), known);
        self.known_order.push_back(key.clone());
        if self.known_order.len() > REMEMBERED
            && let Some(oldest) = self.known_order.pop_front()
        {
            self.known.remove(&oldest);
        }
        Ok(tell)
    }

    /// It could not be taken: it may be tried again.
    pub fn forget(&mut self, key: &MessageKey) {
        self.known.remove(key);
        self.known_order.retain(|other| other != key);
    }

    pub fn refuse(&mut self, refused: RefusedView) {
        self.gauges.refused.increment(1);
        push_bounded(&mut self.refused, refused, SHOWN_REFUSED);
    }

    /// Takes a stored item in.
    pub fn admit(&mut self, item: &Arc<Numbered>, hold: bool) {
        self.gauges.accepted.increment(1);
        // While it was being stored.
        if self.withdrawn.contains(&item.item.message) || self.is_muted(&item.item.users()) {
            self.end_soon(Gone {
                item: Arc::clone(item),
                outcome: Outcome::Withdrawn,
                reason: "the message was taken back".to_owned(),
            });
        } else if hold {
            let gone = self.queue.hold(Arc::clone(item), now_ms());
            gone.into_iter().for_each(|gone| self.end_soon(gone));
        } else {
            let gone = self.queue.push(Arc::clone(item));
            gone.into_iter().for_each(|gone| self.end_soon(gone));
        }
        self.pump();
    }

    /// Hands over what can be handed over.
    pub fn pump(&mut self) {
        self.elect();
        while self.ready && !self.paused && self.overlays.speaking().is_some() && self.under_way() < self.window {
            // A plain listener is handed everything: no more than its connection takes.
            if self.overlays.is_plain() && self.overlays.room() < 2 {
                break;
            }
            let Some(item) = self.queue.pop() else { break };
            self.lease(item);
            // Telling may have cut off who speaks.
            self.elect();
        }
        self.gauges.show(self.queue.len(), self.queue.held_len(), self.leased.len(), self.overlays.len());
    }

    /// What overlays have and may still play.
    fn under_way(&self) -> usize {
        self.leased.iter().filter(|lease| !lease.overdue).count()
    }

    /// What is playing, or will be next.
    pub fn current(&self) -> Option<&Lease> {
        self.leased.iter().find(|lease| !lease.overdue)
    }

    fn lease(&mut self, item: Arc<Numbered>) {
        let told = self.names.item(&item, self.volume);
        self.overlays.tell_all(&told);
        self.gauges.wait_ms.record(now_ms().saturating_sub(item.item.arrived_ms) as f64);
        let prefetch = Prefetch::start(self.desk.clone(), Arc::clone(&item));
        if self.overlays.is_plain() {
            prefetch.detach();
            self.end_soon(Gone { item, outcome: Outcome::Finished, reason: "it was handed over".to_owned() });
        } else {
            self.store.set_stage(item.sequence, Stage::Leased);
            self.leased.push_back(Lease {
                item,
                started: false,
                reason: None,
                overdue: false,
                duration: None,
                delivered: false,
                tries: 1,
                _prefetch: prefetch,
            });
        }
    }

    /// Gives the role of speaking to whom it belongs, with all that was not finished.
    fn elect(&mut self) {
        let before = self.overlays.speaking();
        let Some(changed) = self.overlays.elect(Instant::now()) else { return };
        if let Some(before) = before {
            self.overlays.inform(before, &told(&ChatEvent::Role { speaking: false }));
        }
        if let Some(to) = changed.to {
            self.promote(to);
        }
    }

    /// One that listened before speaks from now on.
    fn promote(&mut self, to: Connection) {
        if self.overlays.is_plain() {
            // It has been told of all that overlays have.
            self.put_overdue_back();
            self.hand_over();
        } else {
            self.overlays.inform(to, &told(&ChatEvent::Role { speaking: true }));
            self.resend(to);
        }
    }

    fn put_overdue_back(&mut self) {
        // In their turn: there may be many.
        let (overdue, leased) = std::mem::take(&mut self.leased).into_iter().partition(|lease| lease.overdue);
        self.leased = leased;
        overdue.into_iter().for_each(|lease: Lease| self.queue.put_back(lease.item));
    }

    /// A plain listener has all that is leased: that counts as said.
    fn hand_over(&mut self) {
        for lease in std::mem::take(&mut self.leased) {
            let reason = "it was handed over".to_owned();
            self.end_soon(Gone { item: lease.item, outcome: Outcome::Finished, reason });
        }
    }

    fn resend(&mut self, to: Connection) {
        self.put_overdue_back();
        for lease in &mut self.leased {
            lease.started = false;
            lease.delivered = false;
            let told = self.names.item(&lease.item, self.volume);
            self.overlays.tell(to, &told);
        }
        if self.overlays.is_plain() {
            self.hand_over();
        }
    }

    /// A listener that has just joined is told how things are, then what is to be played.
    pub fn greet(&mut self, connection: Connection, kind: &Kind, made_up: &str) {
        let before = self.overlays.speaking();
        let changed = self.overlays.elect(Instant::now());
        let speaking = self.overlays.speaking() == Some(connection);
        if let (Some(_), Some(before)) = (changed, before) {
            self.overlays.inform(before, &told(&ChatEvent::Role { speaking: false }));
        }
        let overlay = match kind {
            Kind::Overlay(name) => name,
            Kind::Plain | Kind::Watcher => made_up,
        };
        // Its connection may have been lost while it played one of these, and the server with it.
        let leased = self.leased.iter().map(|lease| lease.item.sequence);
        let items: Vec<_> = leased.chain(self.queue.interrupted()).map(|sequence| self.names.id(sequence)).collect();
        let (paused, volume, grace_ms) = (self.paused, self.volume, self.grace_ms);
        let hello = ChatEvent::Hello { overlay, speaking, paused, volume, grace_ms, items: &items };
        self.overlays.inform(connection, &told(&hello));
        if speaking {
            self.resend(connection);
        } else {
            for lease in self.leased.iter().filter(|lease| !lease.overdue) {
                let told = self.names.item(&lease.item, self.volume);
                self.overlays.tell(connection, &told);
                if lease.started {
                    let started = self.names.progress(lease.item.sequence, "started");
                    self.overlays.inform(connection, &started);
                }
            }
            // Another one was due just now.
            if let Some(to) = changed.and_then(|changed| changed.to) {
                self.promote(to);
            }
        }
        self.pump();
    }

    /// Takes an item from wherever it is; overlays that have it are told to stop.
    pub fn take_out(&mut self, sequence: Sequence, reason: &str) -> Option<Arc<Numbered>> {
        if let Some(index) = self.leased.iter().position(|lease| lease.item.sequence == sequence) {
            let lease = self.leased.remove(index)?;
            let stop = self.names.stop(sequence, reason);
            self.overlays.tell_all(&stop);
            return Some(lease.item);
        }
        self.queue.remove(sequence)
    }

    /// Ends one item wherever it is. False: it is nowhere.
    pub fn end_item(&mut self, sequence: Sequence, outcome: Outcome, reason: &str) -> bool {
        let Some(item) = self.take_out(sequence, reason) else { return false };
        self.end_soon(Gone { item, outcome, reason: reason.to_owned() });
        self.pump();
        true
    }

    /// Ends all that `wanted` says, held ones and playing ones included; also what is still being stored, if it is
    /// `message`.
    pub fn withdraw(&mut self, message: Option<MessageKey>, wanted: impl Fn(&Numbered) -> bool, reason: &str) -> usize {
        if let Some(message) = message {
            push_bounded(&mut self.withdrawn, message, REMEMBERED_WITHDRAWN);
        }
        let leased: Vec<_> =
            self.leased.iter().filter(|lease| wanted(&lease.item)).map(|lease| lease.item.sequence).collect();
        let mut items: Vec<_> = leased.into_iter().filter_map(|sequence| self.take_out(sequence, reason)).collect();
        items.extend(self.queue.withdraw(wanted));
        let count = items.len();
        for item in items {
            self.end_soon(Gone { item, outcome: Outcome::Withdrawn, reason: reason.to_owned() });
        }
        self.pump();
        count
    }

    pub fn expire(&mut self) {
        for gone in self.queue.expire(now_ms()) {
            self.end_soon(gone);
        }
        self.pump();
        self.look_for_overdue();
    }

    pub fn end_soon(&mut self, gone: Gone) {
        self.store.end_soon(gone.item.sequence, gone.outcome, gone.reason.clone(), now_ms());
        self.show_ended(gone);
    }

    pub fn show_ended(&mut self, gone: Gone) {
        self.gauges.ended(gone.outcome);
        let Gone { item, outcome, reason } = gone;
        push_bounded(&mut self.ended, EndedItem { item, outcome, reason }, SHOWN_ENDED);
    }

    /// With what is shown of its state.
    pub fn find(&self, sequence: Sequence) -> Option<(&Arc<Numbered>, &'static str, Option<&str>)> {
        if let Some(lease) = self.leased.iter().find(|lease| lease.item.sequence == sequence) {
            return Some((&lease.item, "playing", lease.reason.as_deref()));
        }
        if let Some(item) = self.queue.find(sequence) {
            let held = self.queue.held().any(|(held, _)| held.sequence == sequence);
            return Some((item, if held { "held" } else { "waiting" }, None));
        }
        let ended = self.ended.iter().rev().find(|ended| ended.item.sequence == sequence)?;
        Some((&ended.item, ended.outcome.name(), Some(&ended.reason)))
    }

    /// Why an item is not where it would have to be for what is asked.
    pub fn elsewhere(&self, id: &str, sequence: Sequence) -> Error {
        let id = id.to_owned();
        let found = match self.find(sequence) {
            None => return Error::UnknownItem { id },
            Some((_, "playing", _)) => "is playing, or will be next".to_owned(),
            Some((_, "waiting", _)) => "waits, and needs no approval".to_owned(),
            Some((_, "held", _)) => "is held for approval".to_owned(),
            Some((_, outcome, _)) => format!("has ended ({outcome})"),
        };
        Error::ItemElsewhere { id, found }
    }

    /// Before any rule is asked: which one says no, and why.
    pub fn refuses(&self, users: &[UserKey]) -> Option<(&'static str, &'static str)> {
        if !self.enabled {
            return Some(("disabled", "the chat is disabled; POST /v1/chat/start enables it"));
        }
        self.is_muted(users).then_some(("muted", "this user is muted"))
    }

    /// The nickname that the streamer gave to whoever is named so.
    pub fn called(&self, user: &User) -> Option<String> {
        let plain = |name: &str| name.trim().trim_start_matches('@').to_lowercase();
        user.names().find_map(|name| self.nicknames.get(&plain(name))).cloned()
    }

    /// Whether nothing of theirs is spoken.
    pub fn is_muted(&self, users: &[UserKey]) -> bool {
        users.iter().any(|user| self.muted.contains_key(user))
    }

    pub fn inform_all(&mut self, event: &ChatEvent<'_>) {
        self.overlays.inform_all(&told(event));
    }

    /// All by which those of this name may be meant whose messages are still known: for commands that name somebody.
    pub fn names_of(&self, platform: super::Platform, name: &str) -> HashSet<UserKey> {
        let named = UserKey::named(platform, name);
        let all = self.queue.upcoming().chain(self.leased.iter().map(|lease| &lease.item));
        let all = all.chain(self.queue.held().map(|(item, _)| item));
        let known = all.chain(self.ended.iter().map(|ended| &ended.item));
        let same = known.map(|item| item.item.users()).filter(|users| users.contains(&named));
        same.flatten().chain([named.clone()]).collect()
    }
}

fn push_bounded<T>(list: &mut VecDeque<T>, value: T, limit: usize) {
    list.push_back(value);
    if list.len() > limit {
        list.pop_front();
    }
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
