//! What is accepted and not yet made, whether more fits, and when it will.

use std::time::Duration;

use super::{Limits, Shape, Work, micros_of_ms};

/// How fast the outliers that Retry-After allows for are forgotten, for each request accepted.
const FADE: f64 = 0.999;
/// What is reported to clients is late rather than early.
const CAUTION: f64 = 1.05;

/// What segments cost and bring, by the engine's cost model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prices {
    pub(super) shape: Shape,
}

impl Prices {
    pub(super) fn new(mut shape: Shape) -> Self {
        shape.max_slots = shape.max_slots.max(1);
        shape.max_shared = shape.max_shared.clamp(1, shape.max_slots);
        shape.cost.steps = shape.cost.steps.max(1);
        Self { shape }
    }

    /// Time to make it alone.
    pub(super) fn cost_us(&self, work: Work) -> u64 {
        self.steps_us(self.shape.cost.steps, work.chars)
    }

    pub(super) fn steps_us(&self, steps: u32, chars: usize) -> u64 {
        micros_of_ms(self.shape.cost.steps_ms(steps, chars)).max(1)
    }

    pub(super) fn audio_us(&self, work: Work) -> u64 {
        micros_of_ms(self.shape.cost.audio_ms(work.chars, work.speed))
    }
}

/// A request, as far as admission goes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bill {
    speech_us: u64,
    cost_us: u64,
    last_us: u64,
    longest_us: u64,
    /// Most speech for the time it costs.
    density: f64,
}

impl Bill {
    pub(super) fn new(prices: &Prices, segments: impl Iterator<Item = Work>) -> Self {
        segments.fold(Self::default(), |bill, work| {
            let (cost_us, audio_us) = (prices.cost_us(work), prices.audio_us(work));
            Self {
                speech_us: bill.speech_us.saturating_add(audio_us),
                cost_us: bill.cost_us.saturating_add(cost_us),
                last_us: cost_us,
                longest_us: bill.longest_us.max(cost_us),
                density: bill.density.max(audio_us as f64 / cost_us as f64),
            }
        })
    }
}

/// Sums over all requests that are accepted and not over.
#[derive(Debug)]
pub(super) struct Books {
    max_requests: usize,
    max_speech_us: u64,
    requests: usize,
    speech_us: u64,
    cost_us: u64,
    /// Of each request's last segment.
    last_us: u64,
    longest_us: f64,
    density: f64,
}

impl Books {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            max_requests: limits.max_requests,
            max_speech_us: micros_of_ms(limits.max_speech_ms),
            requests: 0,
            speech_us: 0,
            cost_us: 0,
            last_us: 0,
            longest_us: 0.0,
            density: 0.0,
        }
    }

    pub(super) fn fits(&self, bill: &Bill) -> bool {
        let speech_us = self.speech_us.saturating_add(bill.speech_us);
        self.requests == 0 || (self.requests < self.max_requests && speech_us <= self.max_speech_us)
    }

    pub(super) fn accept(&mut self, bill: &Bill) {
        if self.requests == 0 {
            (self.longest_us, self.density) = (0.0, 0.0);
        }
        self.requests += 1;
        self.speech_us = self.speech_us.saturating_add(bill.speech_us);
        self.cost_us = self.cost_us.saturating_add(bill.cost_us);
        self.last_us = self.last_us.saturating_add(bill.last_us);
        self.longest_us = (self.longest_us * FADE).max(bill.longest_us as f64);
        self.density = (self.density * FADE).max(bill.density);
    }

    /// Whether a request that was accepted may grow by so much. One alone always may, as it may always come.
    pub(super) fn fits_more(&self, bill: &Bill) -> bool {
        self.requests <= 1 || self.speech_us.saturating_add(bill.speech_us) <= self.max_speech_us
    }

    /// An accepted request whose last segment was `last` has grown.
    pub(super) fn grow(&mut self, prices: &Prices, last: Option<Work>, bill: &Bill) {
        self.speech_us = self.speech_us.saturating_add(bill.speech_us);
        self.cost_us = self.cost_us.saturating_add(bill.cost_us);
        let last_us = last.map_or(0, |work| prices.cost_us(work));
        self.last_us = self.last_us.saturating_sub(last_us).saturating_add(bill.last_us);
        self.longest_us = self.longest_us.max(bill.longest_us as f64);
        self.density = self.density.max(bill.density);
    }

    /// One segment is done.
    pub(super) fn made(&mut self, prices: &Prices, work: Work) {
        self.speech_us = self.speech_us.saturating_sub(prices.audio_us(work));
        self.cost_us = self.cost_us.saturating_sub(prices.cost_us(work));
    }

    /// A request is over or given up; `unmade` are its segments that are not done.
    pub(super) fn leave(&mut self, prices: &Prices, segments: &[Work], unmade: impl Iterator<Item = Work>) {
        unmade.for_each(|work| self.made(prices, work));
        let last_us = segments.last().map_or(0, |work| prices.cost_us(*work));
        self.last_us = self.last_us.saturating_sub(last_us);
        self.requests = self.requests.saturating_sub(1);
    }

    /// When `bill`, refused now, will fit if nothing else comes and nobody leaves. An upper bound that holds in
    /// whatever order the segments are made, and is tight because first sounds are made before the rest:
    /// - A request must be over. As long as none is, every one has its last segment to make, so at the latest one is
    ///   when less work is left than all last segments together.
    /// - Speech must be made. What is left when it fits is at least what costs least time for the speech.
    ///
    /// `slowness`: real time for predicted time.
    pub(super) fn retry_after(&self, prices: &Prices, bill: &Bill, slowness: f64) -> Duration {
        let Shape { max_slots, max_shared, cost } = prices.shape;
        let partly_made = if cost.steps == 1 { max_shared } else { max_slots };
        let slack_us = partly_made as f64 * self.longest_us;
        let all_us = self.cost_us as f64;
        let mut work_us = 0.0_f64;
        if self.requests >= self.max_requests {
            work_us = all_us - self.last_us as f64 + slack_us;
        }
        if self.speech_us.saturating_add(bill.speech_us) > self.max_speech_us {
            let room_us = self.max_speech_us.saturating_sub(bill.speech_us) as f64;
            let kept_us = if self.density > 0.0 { room_us / self.density } else { 0.0 };
            work_us = work_us.max(all_us - kept_us + slack_us);
        }
        let wait_us = work_us.clamp(0.0, all_us) * slowness * CAUTION;
        Duration::from_millis((wait_us / 1e3).ceil().max(1.0) as u64)
    }

    pub(super) fn requests(&self) -> usize {
        self.requests
    }

    pub(super) fn speech_us(&self) -> u64 {
        self.speech_us
    }

    /// What the longest segment of late costs.
    pub(super) fn longest_us(&self) -> u64 {
        self.longest_us as u64
    }

    #[cfg(test)]
    pub(super) fn is_clean(&self) -> bool {
        (self.requests, self.speech_us, self.cost_us, self.last_us) == (0, 0, 0, 0)
    }
}
