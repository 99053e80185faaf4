//! How far overlays are with what they have: its sound is made and sent, it began, it ended, it failed, or nothing is
//! told of it. Under the desk's lock, as all of `State`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    item::{Numbered, Outcome, Sequence},
    overdue::Playing,
    state::{State, now_ms},
};

/// A paid item is tried so often.
pub(super) const TRIES: u32 = 3;

impl State {
    /// Gives up what is playing, if it is overdue.
    pub fn look_for_overdue(&mut self) {
        let speaking = self.overlays.speaking().filter(|_| !self.paused && !self.overlays.is_plain());
        let playing = speaking.zip(self.current()).map(|(connection, lease)| Playing {
            sequence: lease.item.sequence,
            connection,
            duration: lease.duration,
            delivered: lease.delivered,
            started: lease.started,
        });
        if let (Some(silent), Some(playing)) = (self.overdue.look(playing, Instant::now()), playing) {
            self.give_up(playing.sequence, silent);
        }
    }

    /// The overlay that speaks has not told what became of an item: another one is asked to play it. Where there is none, a
    /// paid one waits for an overlay to come, and any other is over.
    pub fn give_up(&mut self, sequence: Sequence, silent: Duration) {
        let Some(overlay) = self.overlays.distrust() else { return };
        let reason =
            format!("the overlay {overlay:?} did not tell within {:.1} s that it played it", silent.as_secs_f64());
        tracing::warn!(reason, "a chat item is overdue");
        self.gauges.overdue.increment(1);
        let another = self.overlays.has_another();
        let Some(lease) = self.leased.iter_mut().find(|lease| lease.item.sequence == sequence) else { return };
        if another {
            lease.reason = Some(format!("{reason}; another one is asked"));
        } else if lease.item.is_paid() {
            lease.overdue = true;
            lease.reason = Some(format!("{reason}; it is said again once an overlay comes"));
        } else {
            self.end_item(sequence, Outcome::Failed, &reason);
        }
        self.pump();
    }

    /// The sound of an item is made, and so long.
    pub fn made(&mut self, sequence: Sequence, duration: Duration) {
        if let Some(lease) = self.leased.iter_mut().find(|lease| lease.item.sequence == sequence) {
            lease.duration = Some(duration);
        }
    }

    /// The sound of an item was sent to its end.
    pub fn delivered(&mut self, sequence: Sequence) {
        if let Some(lease) = self.leased.iter_mut().find(|lease| lease.item.sequence == sequence) {
            lease.delivered = true;
        }
    }

    /// False: it has ended, or nobody has it.
    pub fn started(&mut self, sequence: Sequence) -> bool {
        let Some(lease) = self.leased.iter_mut().find(|lease| lease.item.sequence == sequence) else { return false };
        if !std::mem::replace(&mut lease.started, true) {
            self.gauges.started_ms.record(now_ms().saturating_sub(lease.item.item.arrived_ms) as f64);
            let told = self.names.progress(sequence, "started");
            self.overlays.inform_all(&told);
        }
        true
    }

    /// An overlay heard it to its end, whether or not it still has it. Some: it had not ended before, as far as is known
    /// here.
    pub fn finished(&mut self, sequence: Sequence, speaks: bool) -> Option<Arc<Numbered>> {
        let told = self.names.progress(sequence, "finished");
        let item = match self.leased.iter().position(|lease| lease.item.sequence == sequence) {
            Some(index) => {
                let lease = self.leased.remove(index)?;
                if !speaks && let Some(speaking) = self.overlays.speaking() {
                    // It was said elsewhere, by an overlay that was thought to be gone.
                    let stop = self.names.stop(sequence, "finished");
                    self.overlays.tell(speaking, &stop);
                }
                lease.item
            }
            None => self.queue.remove(sequence)?,
        };
        self.overlays.inform_all(&told);
        Some(item)
    }

    /// It could not be played. A paid one is tried again; true: it is.
    pub fn failed(&mut self, sequence: Sequence, reason: &str) -> bool {
        let Some(lease) = self.leased.iter_mut().find(|lease| lease.item.sequence == sequence) else { return false };
        if lease.item.is_paid() && lease.tries < TRIES {
            lease.tries += 1;
            lease.started = false;
            let told = self.names.item(&lease.item, self.volume);
            if let Some(speaking) = self.overlays.speaking() {
                self.overlays.tell(speaking, &told);
            }
            return true;
        }
        let told = self.names.progress(sequence, "failed");
        self.overlays.inform_all(&told);
        self.end_item(sequence, Outcome::Failed, reason);
        false
    }
}
