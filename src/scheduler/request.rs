//! One accepted request: how far it is, and when its listener's buffer runs dry.

use std::collections::VecDeque;

use super::{Class, Owner, Request, Work, micros};

/// A segment that was admitted and whose sound cannot leave yet, or is not whole.
#[derive(Debug, Clone, Copy)]
struct Ahead {
    made_us: u64,
    estimate_us: u64,
    done: bool,
}

impl Ahead {
    fn missing_us(self) -> u64 {
        if self.done { 0 } else { self.estimate_us.saturating_sub(self.made_us) }
    }
}

/// Where a request stands in the scheduler's queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Queued {
    pub(super) lane: usize,
    pub(super) dry_us: Option<u64>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) class: Class,
    pub(super) owner: Owner,
    pub(super) deadline_us: Option<u64>,
    pub(super) held: bool,
    pub(super) queued: Option<Queued>,
    streamed: bool,
    /// Goes on with a stream that another engine started: its first segment is not a first sound.
    continues: bool,
    segments: Vec<Work>,
    /// More segments may come.
    open: bool,
    /// To be admitted next.
    next: usize,
    /// The first that is not done.
    frontier: usize,
    /// `frontier..next`
    ahead: VecDeque<Ahead>,
    delivered: usize,
    /// When what was made, without a gap, has been played.
    dry_us: Option<u64>,
}

impl State {
    pub(super) fn new(request: Request) -> Self {
        let dry_us = request.dry_at.filter(|_| request.streamed).map(micros);
        Self {
            class: request.class,
            owner: request.owner,
            deadline_us: request.deadline.map(micros),
            held: false,
            queued: None,
            streamed: request.streamed,
            continues: dry_us.is_some(),
            segments: request.segments,
            open: false,
            next: 0,
            frontier: 0,
            ahead: VecDeque::new(),
            delivered: 0,
            dry_us,
        }
    }

    /// The segment to admit next, unless held, all admitted, or too far ahead of the listener.
    ///
    /// Until a stream sounds, its first segment goes alone: its own next ones would share the step and delay it.
    pub(super) fn candidate(&self, window: usize) -> Option<Work> {
        let unheard = self.streamed && self.next > 0 && self.dry_us.is_none();
        let open = !self.held && !unheard && self.next.saturating_sub(self.delivered) < window;
        self.segments.get(self.next).filter(|_| open).copied()
    }

    /// Speech of this segment is the first that its listener hears.
    pub(super) fn is_first(&self, segment: usize) -> bool {
        segment == 0 && !self.continues
    }

    pub(super) fn next(&self) -> usize {
        self.next
    }

    pub(super) fn is_over(&self) -> bool {
        self.frontier == self.segments.len() && !self.open
    }

    pub(super) fn set_open(&mut self, open: bool) {
        self.open = open;
    }

    /// None: it is closed.
    pub(super) fn extend(&mut self, now_us: u64, segments: &[Work]) -> Option<()> {
        if !self.open {
            return None;
        }
        // Nobody kept a listener waiting that had heard all there was: its time begins now.
        if self.frontier == self.segments.len() {
            self.dry_us = self.dry_us.map(|dry_us| dry_us.max(now_us));
        }
        self.segments.extend_from_slice(segments);
        Some(())
    }

    pub(super) fn work(&self, segment: usize) -> Option<Work> {
        self.segments.get(segment).copied()
    }

    pub(super) fn segments(&self) -> &[Work] {
        &self.segments
    }

    /// Segments that are not done.
    pub(super) fn unmade(&self) -> impl Iterator<Item = Work> + '_ {
        let waiting = self.segments.get(self.next..).unwrap_or_default();
        let started = self.segments.get(self.frontier..self.next).unwrap_or_default();
        let started = started.iter().zip(&self.ahead).filter(|(_, ahead)| !ahead.done).map(|(work, _)| *work);
        started.chain(waiting.iter().copied())
    }

    /// When the listener's buffer runs dry unless `segment` has been made by then; known once it plays.
    pub(super) fn dry_us(&self, segment: usize) -> Option<u64> {
        let before = segment.saturating_sub(self.frontier);
        let later = self.ahead.iter().skip(1).take(before.saturating_sub(1));
        let first = self.ahead.front().filter(|_| before > 0);
        // What the frontier has made is in `dry_us` already; what lies behind it counts whole.
        let between = first.map_or(0, |ahead| ahead.missing_us())
            + later.map(|ahead| ahead.made_us + ahead.missing_us()).sum::<u64>();
        self.dry_us.map(|dry_us| dry_us.saturating_add(between))
    }

    pub(super) fn admit(&mut self, estimate_us: u64) {
        self.ahead.push_back(Ahead { made_us: 0, estimate_us, done: false });
        self.next += 1;
    }

    pub(super) fn delivered(&mut self, segments: usize) {
        self.delivered = self.delivered.max(segments.min(self.next));
    }

    /// Sound of `segment` was made.
    pub(super) fn made(&mut self, now_us: u64, segment: usize, audio_us: u64) {
        let Some(index) = segment.checked_sub(self.frontier) else { return };
        let Some(ahead) = self.ahead.get_mut(index) else { return };
        ahead.made_us += audio_us;
        if index == 0 {
            self.play(now_us, audio_us);
        }
    }

    /// Nothing more comes of `segment`.
    pub(super) fn finish(&mut self, now_us: u64, segment: usize) {
        let Some(index) = segment.checked_sub(self.frontier) else { return };
        let Some(ahead) = self.ahead.get_mut(index) else { return };
        ahead.done = true;
        while self.ahead.front().is_some_and(|ahead| ahead.done) {
            self.ahead.pop_front();
            self.frontier += 1;
            // Also without sound: the listener waits from now on if its first segment came to nothing.
            let audio_us = self.ahead.front().map_or(0, |ahead| ahead.made_us);
            self.play(now_us, audio_us);
        }
    }

    /// Playback starts with the first sound, and starts again with the next when it had run dry.
    fn play(&mut self, now_us: u64, audio_us: u64) {
        if !self.streamed {
            return;
        }
        let dry_us = match self.dry_us {
            Some(dry_us) if audio_us == 0 => dry_us,
            Some(dry_us) => dry_us.max(now_us),
            None => now_us,
        };
        self.dry_us = Some(dry_us.saturating_add(audio_us));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn stream(segments: usize) -> State {
        State::new(Request {
            class: Class::Chat,
            owner: Owner(1),
            streamed: true,
            deadline: None,
            dry_at: None,
            segments: vec![Work { chars: 10, speed: 1.0 }; segments],
        })
    }

    #[test]
    fn the_first_segment_of_a_stream_goes_alone_until_it_sounds() {
        let mut state = stream(3);
        state.admit(SECOND);
        assert!(state.candidate(3).is_none());
        state.made(SECOND, 0, SECOND / 2);
        assert!(state.candidate(3).is_some());

        let mut failed = stream(3);
        failed.admit(SECOND);
        failed.finish(SECOND, 0);
        assert!(failed.candidate(3).is_some(), "its listener waits all the more");
    }

    #[test]
    fn a_buffer_holds_what_was_made_without_a_gap() {
        let mut state = stream(4);
        (0..3).for_each(|_| state.admit(2 * SECOND));
        state.made(5 * SECOND, 1, 3 * SECOND);
        state.finish(5 * SECOND, 1);
        assert_eq!(state.dry_us(0), None, "nothing plays before the first segment");
        state.made(7 * SECOND, 0, SECOND);
        assert_eq!(state.dry_us(0), Some(8 * SECOND));
        assert_eq!(state.dry_us(3), Some((8 + 1 + 3 + 2) * SECOND), "half of 0, 1 as made, 2 as estimated");
        state.finish(7 * SECOND, 0);
        assert_eq!(state.dry_us(2), Some(11 * SECOND));
        assert!(!state.is_over());
    }

    #[test]
    fn more_is_not_read_than_was_admitted() {
        let mut state = stream(4);
        state.delivered(usize::MAX);
        state.admit(1);
        state.admit(1);
        assert!(state.candidate(2).is_none());
    }

    #[test]
    fn an_open_request_waits_for_more_and_is_not_blamed_for_what_did_not_come() {
        let mut state = stream(1);
        state.set_open(true);
        state.admit(SECOND);
        state.made(SECOND, 0, SECOND);
        state.finish(SECOND, 0);
        assert!(!state.is_over() && state.candidate(3).is_none());
        let more = [Work { chars: 10, speed: 1.0 }; 2];
        assert!(state.extend(9 * SECOND, &more[..1]).is_some());
        assert_eq!(state.dry_us(1), Some(9 * SECOND));
        assert!(state.extend(11 * SECOND, &more[..1]).is_some());
        assert_eq!(state.dry_us(1), Some(9 * SECOND), "what is late stays late");
        assert!(!state.is_first(1) && state.candidate(3).is_some());
        state.set_open(false);
        assert!(state.extend(12 * SECOND, &more).is_none());
        (1..3).for_each(|segment| {
            state.admit(SECOND);
            state.finish(12 * SECOND, segment);
        });
        assert!(state.is_over());
    }

    #[test]
    fn a_buffer_that_ran_dry_starts_again() {
        let mut state = stream(2);
        state.admit(SECOND);
        state.made(SECOND, 0, SECOND);
        state.finish(SECOND, 0);
        state.admit(SECOND);
        assert_eq!(state.dry_us(1), Some(2 * SECOND));
        state.made(9 * SECOND, 1, SECOND);
        state.finish(9 * SECOND, 1);
        assert_eq!(state.dry_us(2), Some(10 * SECOND));
        assert!(state.is_over());
    }

    #[test]
    fn a_window_counts_from_what_was_read() {
        let mut state = stream(4);
        state.admit(1);
        state.made(1, 0, SECOND);
        state.admit(1);
        assert!(state.candidate(2).is_none());
        state.delivered(9);
        assert!(state.candidate(2).is_some());
        state.admit(1);
        state.admit(1);
        assert!(state.candidate(9).is_none(), "all are admitted");
        assert_eq!(state.unmade().count(), 4);
    }
}
