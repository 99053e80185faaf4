//! A look-ahead true-peak limiter with a gain before it. Streamed and whole sound come out as the same samples, in time
//! with the input. Runs on the caller's thread.
//!
//! Peaks between samples are found by interpolation (after ITU-R BS.1770-4, annex 2, but up to the Nyquist frequency). A
//! peak is foreseen by the look-ahead; within it the gain glides down to what the peak needs, and after it back up. The
//! gain is a mean of lowest needs, each of a stretch that holds the sample, so it never exceeds what the sample needs.

mod peaks;
#[cfg(test)]
pub(super) mod tests;

use std::collections::VecDeque;

use peaks::{BLOCK, Peaks, REACH};

use super::loudness::{self, LoudnessError};

const LOOK_AHEAD_MS: f64 = 2.0;
const RELEASE_MS: f64 = 80.0;
/// With less reduction than this the gain has come back.
const RELEASED: f32 = 1e-5;

/// Rounding to 16 bits moves a sample by as much.
const ROUNDING: f32 = 0.5 / 32_768.0;
/// What is beyond this is cut off first, so that nothing overflows.
const LARGEST: f32 = 1e6;

/// Whole sound is measured so often again after it was limited.
const CORRECTIONS: usize = 2;
/// A tenth of a decibel is not made up for, nor what would take the limiter far.
const CORRECTED: f32 = 1.012;
const MAX_CORRECTION: f32 = 2.0;
/// Speech that is louder would be all limiter.
const LOUDEST_LUFS: f64 = -5.0;

/// Of one sound.
#[derive(Debug)]
pub struct Limiter {
    gain: f32,
    ceiling: f32,
    peaks: Peaks,
    /// Samples of look-ahead.
    window: usize,
    release: f32,
    /// Gained samples as far as they are still needed, behind a stretch of silence at first.
    sound: Vec<f32>,
    /// In `sound`: the sample whose need is found next; the one that leaves then is `window` before it.
    next: usize,
    /// Of the silence at the beginning: samples that are yet to be passed over.
    silence: usize,
    position: u64,
    taken: u64,
    sent: u64,
    /// The highest point between the sample before `next` and that one.
    between: f32,
    /// Positions within the look-ahead, with the gains below 1 that they need: both ascending.
    needs: VecDeque<(u64, f32)>,
    envelope: f32,
    /// 1 − envelope, of the last `window` + 1 samples, as a ring.
    reductions: Vec<f32>,
    reduction_sum: f64,
    reduced: usize,
}

impl Limiter {
    /// `gain` comes before the limit; `ceiling` is the highest amplitude that leaves, also when it is rounded to 16 bits.
    #[must_use]
    pub fn new(sample_rate_hz: u32, gain: f32, ceiling: f32) -> Self {
        let rate = f64::from(sample_rate_hz.max(1));
        let window = ((LOOK_AHEAD_MS * 1e-3 * rate).round() as usize).max(1);
        let ceiling = ceiling - ROUNDING;
        let next = window.max(REACH);
        Self {
            gain,
            ceiling,
            peaks: Peaks::new(ceiling),
            window,
            release: (1.0 - (-1.0 / (RELEASE_MS * 1e-3 * rate)).exp()) as f32,
            // There are peaks before the first sample, too.
            sound: vec![0.0; next + REACH],
            next,
            silence: window + REACH,
            position: 0,
            taken: 0,
            sent: 0,
            between: 0.0,
            needs: VecDeque::new(),
            envelope: 1.0,
            reductions: vec![0.0; window + 1],
            reduction_sum: 0.0,
            reduced: 0,
        }
    }

    /// Takes the next samples and puts what is finished behind what `out` holds.
    pub fn push(&mut self, pcm: &[f32], out: &mut Vec<f32>) {
        let gain = self.gain;
        self.taken += pcm.len() as u64;
        self.sound.extend(pcm.iter().map(|sample| (sample * gain).clamp(-LARGEST, LARGEST)));
        self.advance(out);
    }

    /// Puts the rest behind what `out` holds, altogether as many samples as went in. Nothing may be pushed after it.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        self.sound.resize(self.sound.len() + self.window + REACH, 0.0);
        self.advance(out);
    }

    fn advance(&mut self, out: &mut Vec<f32>) {
        out.reserve(self.sound.len());
        while self.next + REACH < self.sound.len() {
            let end = self.next + (self.sound.len() - REACH - self.next).min(BLOCK);
            let near = &self.sound[self.next - REACH..end + REACH];
            let quiet = self.peaks.are_harmless(near);
            if quiet && self.is_idle() {
                // What the steps below come to when no gain is below 1.
                self.between = 0.0;
                self.position += (end - self.next) as u64;
                self.send_block(end, out);
            } else {
                let between = if quiet { [0.0; BLOCK] } else { self.peaks.between(near) };
                for (at, between) in (self.next..end).zip(between) {
                    let need = self.need(at, between);
                    let gain = self.gain_with(need);
                    self.send(at, gain, out);
                }
                self.next = end;
            }
        }
        let unneeded = self.next - self.window.max(REACH);
        self.sound.drain(..unneeded);
        self.next -= unneeded;
    }

    fn is_idle(&self) -> bool {
        self.reduced == 0 && self.envelope == 1.0 && self.needs.is_empty() && self.between <= self.ceiling
    }

    /// The gain that the sample at `at` in `sound`, and the points beside it, need. `between`: the highest point after it.
    fn need(&mut self, at: usize, between: f32) -> f32 {
        let before = std::mem::replace(&mut self.between, between);
        let peak = before.max(between).max(self.sound[at].abs());
        if peak > self.ceiling { self.ceiling / peak } else { 1.0 }
    }

    /// The gain of the sample `window` before the one that needs `need`.
    fn gain_with(&mut self, need: f32) -> f32 {
        let position = self.position;
        self.position += 1;
        if need < 1.0 {
            while self.needs.back().is_some_and(|(_, other)| *other >= need) {
                self.needs.pop_back();
            }
            self.needs.push_back((position, need));
        }
        if self.needs.front().is_some_and(|(first, _)| first + (self.window as u64) < position) {
            self.needs.pop_front();
        }
        let lowest = self.needs.front().map_or(1.0, |(_, need)| *need);
        let risen = self.envelope + (1.0 - self.envelope) * self.release;
        self.envelope = lowest.min(if 1.0 - risen < RELEASED { 1.0 } else { risen });

        let place = (position % self.reductions.len() as u64) as usize;
        let reduction = 1.0 - self.envelope;
        let left = std::mem::replace(&mut self.reductions[place], reduction);
        self.reduced = self.reduced + usize::from(reduction > 0.0) - usize::from(left > 0.0);
        self.reduction_sum += f64::from(reduction) - f64::from(left);
        if self.reduced == 0 {
            // Rounding must not add up.
            self.reduction_sum = 0.0;
        }
        (1.0 - self.reduction_sum / self.reductions.len() as f64).clamp(0.0, 1.0) as f32
    }

    fn send(&mut self, at: usize, gain: f32, out: &mut Vec<f32>) {
        if self.silence > 0 {
            self.silence -= 1;
        } else if self.sent < self.taken {
            // By rounding a product could be above it.
            out.push((self.sound[at - self.window] * gain).clamp(-self.ceiling, self.ceiling));
            self.sent += 1;
        }
    }

    /// As `send` with a gain of 1, up to `end`.
    fn send_block(&mut self, end: usize, out: &mut Vec<f32>) {
        let silent = self.silence.min(end - self.next);
        self.silence -= silent;
        let from = self.next + silent - self.window;
        let left = usize::try_from(self.taken - self.sent).unwrap_or(usize::MAX);
        let to = (end - self.window).min(from.saturating_add(left));
        out.extend_from_slice(&self.sound[from..to]);
        self.sent += (to - from) as u64;
        self.next = end;
    }
}

/// Whole sound through a limiter.
#[must_use]
pub fn limited(pcm: &[f32], sample_rate_hz: u32, gain: f32, ceiling: f32) -> Vec<f32> {
    let mut limiter = Limiter::new(sample_rate_hz, gain, ceiling);
    let mut out = Vec::with_capacity(pcm.len());
    limiter.push(pcm, &mut out);
    limiter.finish(&mut out);
    out
}

/// Whole sound at `target_lufs`, measured and limited as one, times `volume`; unchanged but for that where it has no
/// loudness. What the limiter takes away is made up for, as far as `ceiling` lets it.
///
/// # Errors
/// A rate that is not measured.
pub fn level_whole(
    pcm: &[f32],
    sample_rate_hz: u32,
    target_lufs: f64,
    ceiling: f32,
    volume: f32,
) -> Result<Vec<f32>, LoudnessError> {
    let limited = |gain: f32| limited(pcm, sample_rate_hz, gain * volume, ceiling);
    let target_lufs = target_lufs.min(LOUDEST_LUFS);
    let mut gain = loudness::gain(loudness::measure(pcm, sample_rate_hz)?.integrated_lufs, target_lufs);
    let mut out = limited(gain);
    for _ in 0..CORRECTIONS {
        let reached = loudness::measure(&out, sample_rate_hz)?.integrated_lufs;
        let missing = loudness::gain(reached, target_lufs + 20.0 * f64::from(volume).log10());
        if !(CORRECTED..MAX_CORRECTION).contains(&missing) {
            break;
        }
        gain *= missing;
        out = limited(gain);
    }
    Ok(out)
}
