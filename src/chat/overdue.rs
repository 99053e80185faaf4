//! Whether an overlay keeps an item to itself: connected, but never telling what became of it. Pure: the caller hands in
//! the time.
//!
//! The clock is the server's, and begins anew with each sign of life, so that neither an overlay whose clock is slow nor
//! an engine that is takes too long.

use std::time::{Duration, Instant};

use super::{item::Sequence, overlays::Connection};

/// What is known of the item that an overlay is to play now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Playing {
    pub sequence: Sequence,
    /// Of the overlay.
    pub connection: Connection,
    /// Of its sound; none: it is still made.
    pub duration: Option<Duration>,
    /// Its sound was sent to its end.
    pub delivered: bool,
    /// The overlay told that it began.
    pub started: bool,
}

#[derive(Debug)]
pub(super) struct Overdue {
    grace: Option<Duration>,
    seen: Option<(Playing, Instant)>,
}

impl Overdue {
    /// None: an overlay may take as long as it likes.
    pub const fn new(grace: Option<Duration>) -> Self {
        Self { grace, seen: None }
    }

    /// To be asked every now and then. Some: it took that long since the last sign of life, which is too long. None is
    /// playing: nobody speaks, or it is held.
    pub fn look(&mut self, playing: Option<Playing>, now: Instant) -> Option<Duration> {
        let (Some(grace), Some(playing)) = (self.grace, playing) else {
            self.seen = None;
            return None;
        };
        let since = match self.seen {
            Some((before, since)) if before == playing => since,
            _ => now,
        };
        self.seen = Some((playing, since));
        let silent = now.duration_since(since);
        (silent > playing.duration?.saturating_add(grace)).then_some(silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);
    const LENGTH: Duration = Duration::from_secs(3);
    const TICK: Duration = Duration::from_millis(200);

    fn playing(sequence: Sequence) -> Playing {
        Playing { sequence, connection: 1, duration: Some(LENGTH), delivered: false, started: false }
    }

    /// How long it is until the item is overdue, if it stays as it is.
    fn patience(overdue: &mut Overdue, playing: Playing, from: Instant) -> Duration {
        let mut now = from;
        while overdue.look(Some(playing), now).is_none() {
            now += TICK;
            assert!(now < from + Duration::from_secs(60), "it waits for ever");
        }
        now - from
    }

    #[test]
    fn it_is_overdue_after_its_own_duration_and_the_grace() {
        let mut overdue = Overdue::new(Some(GRACE));
        let now = Instant::now();
        let took = patience(&mut overdue, playing(1), now);
        assert!(took > LENGTH + GRACE && took <= LENGTH + GRACE + TICK, "{took:?}");
        let took = patience(&mut overdue, playing(2), now + took);
        assert!(took > LENGTH + GRACE, "the next one has all of its time: {took:?}");
    }

    #[test]
    fn signs_of_life_begin_the_time_anew() {
        let now = Instant::now();
        let late = LENGTH + GRACE - TICK;
        let begun = playing(1);
        for sign in [
            Playing { delivered: true, ..begun },
            Playing { started: true, ..begun },
            Playing { connection: 2, ..begun },
            Playing { sequence: 2, ..begun },
        ] {
            let mut overdue = Overdue::new(Some(GRACE));
            assert_eq!(overdue.look(Some(begun), now), None);
            assert_eq!(overdue.look(Some(begun), now + late), None);
            let took = patience(&mut overdue, sign, now + late);
            assert!(took > LENGTH + GRACE, "{sign:?}: {took:?}");
        }
    }

    #[test]
    fn what_is_still_made_or_held_is_never_overdue() {
        let now = Instant::now();
        let mut overdue = Overdue::new(Some(GRACE));
        let unmade = Playing { duration: None, ..playing(1) };
        let hour = Duration::from_secs(3600);
        assert_eq!(overdue.look(Some(unmade), now), None);
        assert_eq!(overdue.look(Some(unmade), now + hour), None);
        assert_eq!(overdue.look(Some(playing(1)), now + hour), None, "it has just been made");
        assert_eq!(overdue.look(None, now + hour + LENGTH), None);
        let resumed = now + 2 * hour;
        assert!(patience(&mut overdue, playing(1), resumed) > LENGTH + GRACE, "a pause takes nothing of its time");
        let mut patient = Overdue::new(None);
        assert_eq!(patient.look(Some(playing(1)), now), None);
        assert_eq!(patient.look(Some(playing(1)), now + hour), None);
    }
}
