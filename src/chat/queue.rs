//! Who is heard next. Pure: the caller hands in the time, and does what is asked of it.
//!
//! Paid goes before moderators, those before subscribers, those before everyone. Within one of these, users take turns:
//! an item's turn is one after its user's last, or the one that is being served, whichever is later. So whoever comes
//! with a single message waits for at most one of each other user's, however many those have.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    item::{Numbered, Outcome, Sequence, UserKey},
    rules::Priority,
};

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Unpaid.
    pub max_waiting: usize,
    pub max_paid: usize,
    pub max_held: usize,
    /// None: for ever.
    pub max_age_ms: Option<u64>,
    pub approval_timeout_ms: u64,
}

/// An item that will not be heard, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Gone {
    pub item: Arc<Numbered>,
    pub outcome: Outcome,
    pub reason: String,
}

/// Paid items are never dropped, so no more are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// Level, turn, arrival: the smallest is next.
type Place = (Priority, u64, Sequence);

#[derive(Debug)]
pub struct Queue {
    limits: Limits,
    /// Were under way when something interrupted them: before all others, in the order in which they were.
    interrupted: BTreeMap<Sequence, Arc<Numbered>>,
    waiting: BTreeMap<Place, Arc<Numbered>>,
    /// Of the waiting ones.
    paid: usize,
    places: HashMap<Sequence, Place>,
    turns: HashMap<(Priority, UserKey), Turn>,
    /// The turn that was served last, by level.
    serving: BTreeMap<Priority, u64>,
    held: BTreeMap<Sequence, Held>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Turn {
    /// Given to the user's newest item; 0: none yet.
    last: u64,
    /// The last that was heard.
    served: u64,
    waiting: usize,
}

#[derive(Debug)]
struct Held {
    item: Arc<Numbered>,
    /// None: for ever.
    until_ms: Option<u64>,
}

impl Queue {
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            interrupted: BTreeMap::new(),
            waiting: BTreeMap::new(),
            paid: 0,
            places: HashMap::new(),
            turns: HashMap::new(),
            serving: BTreeMap::new(),
            held: BTreeMap::new(),
        }
    }

    /// Whether another paid item fits. To be asked before it is accepted.
    ///
    /// # Errors
    /// `Full`.
    pub fn check_paid(&self) -> Result<(), Full> {
        let held = self.held.values().filter(|held| held.item.is_paid()).count();
        if self.paid + held < self.limits.max_paid { Ok(()) } else { Err(Full) }
    }

    /// Puts an item in its turn. What does not fit any more comes back: never a paid one.
    pub fn push(&mut self, item: Arc<Numbered>) -> Vec<Gone> {
        let level = item.item.priority;
        let serving = self.serving.get(&level).copied().unwrap_or_default();
        let turn = self.turns.entry((level, item.item.user.clone())).or_default();
        turn.last = if turn.last == 0 { serving.max(1) } else { (turn.last + 1).max(serving) };
        turn.waiting += 1;
        let place = (level, turn.last, item.sequence);
        self.places.insert(item.sequence, place);
        self.paid += usize::from(level == Priority::Paid);
        self.waiting.insert(place, item);
        let mut gone = Vec::new();
        while self.waiting.len() - self.paid > self.limits.max_waiting {
            let Some(victim) = self.victim().and_then(|sequence| self.remove(sequence)) else { break };
            let reason = format!("the queue is full ({} unpaid items)", self.limits.max_waiting);
            gone.push(Gone { item: victim, outcome: Outcome::Dropped, reason });
        }
        gone
    }

    /// Before all others: it was under way already.
    pub fn put_back(&mut self, item: Arc<Numbered>) {
        self.interrupted.insert(item.sequence, item);
    }

    /// Those that were put back.
    pub fn interrupted(&self) -> impl Iterator<Item = Sequence> {
        self.interrupted.keys().copied()
    }

    /// Holds an item for approval. What does not fit any more comes back: never a paid one.
    pub fn hold(&mut self, item: Arc<Numbered>, now_ms: u64) -> Option<Gone> {
        let until_ms = (!item.is_paid()).then(|| now_ms.saturating_add(self.limits.approval_timeout_ms));
        self.held.insert(item.sequence, Held { item, until_ms });
        let mut unpaid = self.held.iter().filter(|(_, held)| !held.item.is_paid()).map(|(sequence, _)| *sequence);
        let oldest = unpaid.next()?;
        if unpaid.count() < self.limits.max_held {
            return None;
        }
        let item = self.held.remove(&oldest)?.item;
        let reason = format!("too many items wait for approval ({})", self.limits.max_held);
        Some(Gone { item, outcome: Outcome::Dropped, reason })
    }

    /// Of the held ones.
    pub fn approve(&mut self, sequence: Sequence) -> Option<Arc<Numbered>> {
        self.held.remove(&sequence).map(|held| held.item)
    }

    /// The next to be heard.
    pub fn pop(&mut self) -> Option<Arc<Numbered>> {
        if let Some((_, item)) = self.interrupted.pop_first() {
            return Some(item);
        }
        let ((level, turn, _), item) = self.waiting.pop_first()?;
        self.places.remove(&item.sequence);
        self.paid -= usize::from(level == Priority::Paid);
        self.serving.insert(level, turn);
        if let Some(of) = self.turns.get_mut(&(level, item.item.user.clone())) {
            of.waiting -= 1;
            of.served = turn;
        }
        // Whoever has nothing waiting and whose turn is over is as good as new.
        if self.turns.len() > 2 * self.waiting.len() + 64 {
            let serving = &self.serving;
            self.turns.retain(|(level, _), turn| {
                turn.waiting > 0 || turn.last >= serving.get(level).copied().unwrap_or_default()
            });
        }
        Some(item)
    }

    /// Wherever it waits, held ones included.
    pub fn remove(&mut self, sequence: Sequence) -> Option<Arc<Numbered>> {
        if let Some(item) = self.interrupted.remove(&sequence) {
            return Some(item);
        }
        if let Some(held) = self.held.remove(&sequence) {
            return Some(held.item);
        }
        let place = self.places.remove(&sequence)?;
        let item = self.waiting.remove(&place)?;
        self.paid -= usize::from(place.0 == Priority::Paid);
        self.leave(place.0, &item.item.user);
        Some(item)
    }

    /// All that `wanted` says, held ones included.
    pub fn withdraw(&mut self, wanted: impl Fn(&Numbered) -> bool) -> Vec<Arc<Numbered>> {
        let found: Vec<_> = self.all().filter(|item| wanted(item)).map(|item| item.sequence).collect();
        found.into_iter().filter_map(|sequence| self.remove(sequence)).collect()
    }

    /// What has waited too long for approval, or for its turn.
    pub fn expire(&mut self, now_ms: u64) -> Vec<Gone> {
        let is_over = |held: &Held| held.until_ms.is_some_and(|until_ms| until_ms <= now_ms);
        let unapproved: Vec<_> =
            self.held.iter().filter(|(_, held)| is_over(held)).map(|(sequence, _)| *sequence).collect();
        let mut gone: Vec<_> = unapproved
            .into_iter()
            .filter_map(|sequence| self.remove(sequence))
            .map(|item| Gone { item, outcome: Outcome::Rejected, reason: "nobody approved it in time".to_owned() })
            .collect();
        let Some(max_age_ms) = self.limits.max_age_ms else { return gone };
        let is_old = |item: &Numbered| !item.is_paid() && item.item.arrived_ms.saturating_add(max_age_ms) <= now_ms;
        let old: Vec<_> = self.waiting.values().filter(|item| is_old(item)).map(|item| item.sequence).collect();
        gone.extend(old.into_iter().filter_map(|sequence| self.remove(sequence)).map(|item| {
            let reason = format!("it waited for more than {} s", max_age_ms / 1000);
            Gone { item, outcome: Outcome::Dropped, reason }
        }));
        gone
    }

    /// In the order in which they will be heard, if nothing else comes.
    pub fn upcoming(&self) -> impl Iterator<Item = &Arc<Numbered>> {
        self.interrupted.values().chain(self.waiting.values())
    }

    /// Waiting for approval, with the time at which they are given up; none: never.
    pub fn held(&self) -> impl Iterator<Item = (&Arc<Numbered>, Option<u64>)> {
        self.held.values().map(|held| (&held.item, held.until_ms))
    }

    #[must_use]
    pub fn find(&self, sequence: Sequence) -> Option<&Arc<Numbered>> {
        let waiting = || self.waiting.get(self.places.get(&sequence)?);
        let held = || self.held.get(&sequence).map(|held| &held.item);
        self.interrupted.get(&sequence).or_else(waiting).or_else(held)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.interrupted.len() + self.waiting.len()
    }

    #[must_use]
    pub fn held_len(&self) -> usize {
        self.held.len()
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Numbered>> {
        self.upcoming().chain(self.held.values().map(|held| &held.item))
    }

    fn leave(&mut self, level: Priority, user: &UserKey) {
        if let Some(turn) = self.turns.get_mut(&(level, user.clone())) {
            turn.waiting -= 1;
            if turn.waiting == 0 {
                // Turns that were never served are not counted against anybody.
                turn.last = turn.served;
            }
        }
    }

    /// Of the lowest level that waits: the oldest of whoever has most there.
    fn victim(&self) -> Option<Sequence> {
        let ((level, ..), _) = self.waiting.last_key_value().filter(|((level, ..), _)| *level != Priority::Paid)?;
        let mut most = (0, Sequence::MAX);
        let mut seen: HashMap<&UserKey, (usize, Sequence)> = HashMap::new();
        for item in self.waiting.range((*level, 0, 0)..).map(|(_, item)| item) {
            let (count, oldest) = seen.entry(&item.item.user).or_insert((0, Sequence::MAX));
            *count += 1;
            *oldest = item.sequence.min(*oldest);
        }
        for (count, oldest) in seen.into_values() {
            if count > most.0 || (count == most.0 && oldest < most.1) {
                most = (count, oldest);
            }
        }
        (most.0 > 0).then_some(most.1)
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
