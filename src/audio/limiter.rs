//! A look-ahead true-peak limiter with a gain before it. Streamed and whole sound come out as the same samples, in time
//! with the input. Runs on the caller's thread.
//!
//! Peaks between samples are found by interpolating fourfold (as ITU-R BS.1770-4, annex 2, does). A peak is foreseen by
//! the look-ahead; within it the gain glides down to what the peak needs, and after it back up. The gain is a mean of
//! lowest needs, each of a stretch that holds the sample, so it never exceeds what the sample needs.

use std::collections::VecDeque;

use super::loudness::{self, LoudnessError};

const LOOK_AHEAD_MS: f64 = 2.0;
const RELEASE_MS: f64 = 80.0;
/// With less reduction than this the gain has come back.
const RELEASED: f32 = 1e-5;

/// Interpolated points between two samples.
const POINTS: usize = 3;
const TAPS: usize = 12;
/// Samples on either side of a point that are interpolated from.
const REACH: usize = TAPS / 2;
/// Samples that are looked at together to see whether a peak can be near.
const BLOCK: usize = 64;
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
    /// Where no sample is above this, no point between samples is above the ceiling.
    harmless: f32,
    taps: [[f32; TAPS]; POINTS],
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
    /// `gain` comes before the limit; `ceiling` is the highest amplitude that leaves.
    #[must_use]
    pub fn new(sample_rate_hz: u32, gain: f32, ceiling: f32) -> Self {
        let rate = f64::from(sample_rate_hz.max(1));
        let window = ((LOOK_AHEAD_MS * 1e-3 * rate).round() as usize).max(1);
        let silence = window.max(REACH);
        let taps = taps();
        let swing = taps.iter().map(|taps| taps.iter().map(|tap| tap.abs()).sum()).fold(1.0, f32::max);
        Self {
            gain,
            ceiling,
            harmless: ceiling / swing * 0.999,
            taps,
            window,
            release: (1.0 - (-1.0 / (RELEASE_MS * 1e-3 * rate)).exp()) as f32,
            sound: vec![0.0; silence],
            next: silence,
            silence: window,
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
            let quiet = near.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs())) <= self.harmless;
            if quiet && self.is_idle() {
                // What the steps below come to when no gain is below 1.
                self.between = 0.0;
                self.position += (end - self.next) as u64;
                self.send_block(end, out);
            } else {
                for at in self.next..end {
                    let need = self.need(at, quiet);
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

    /// The gain that the sample at `at` in `sound`, and the points beside it, need.
    fn need(&mut self, at: usize, quiet: bool) -> f32 {
        let before = self.between;
        let mut peak = before;
        self.between = 0.0;
        if !quiet {
            let near = &self.sound[at + 1 - REACH..=at + REACH];
            for taps in &self.taps {
                let point: f32 = near.iter().zip(taps).map(|(sample, tap)| sample * tap).sum();
                self.between = self.between.max(point.abs());
            }
            peak = before.max(self.between).max(self.sound[at].abs());
        }
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
    let limited = |gain: f32| {
        let mut limiter = Limiter::new(sample_rate_hz, gain * volume, ceiling);
        let mut out = Vec::with_capacity(pcm.len());
        limiter.push(pcm, &mut out);
        limiter.finish(&mut out);
        out
    };
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

/// Windowed sinc filters for the points a quarter, a half and three quarters of the way to the next sample.
fn taps() -> [[f32; TAPS]; POINTS] {
    let mut all = [[0.0; TAPS]; POINTS];
    for (point, taps) in all.iter_mut().enumerate() {
        let fraction = (point + 1) as f64 / (POINTS + 1) as f64;
        let raw: [f64; TAPS] = std::array::from_fn(|tap| {
            let distance = tap as f64 - (REACH - 1) as f64 - fraction;
            let (angle, window) = (distance * std::f64::consts::PI, distance * std::f64::consts::PI / TAPS as f64);
            angle.sin() / angle * window.cos()
        });
        let sum: f64 = raw.iter().sum();
        *taps = raw.map(|tap| (tap / sum) as f32);
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audio::loudness;

    const RATE_HZ: u32 = 24_000;

    fn limit(sound: &[f32], gain: f32, ceiling: f32, cuts: &[usize]) -> Vec<f32> {
        let mut limiter = Limiter::new(RATE_HZ, gain, ceiling);
        let (mut out, mut rest, mut cuts) = (Vec::new(), sound, cuts.iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at(cuts.next().map_or(rest.len(), |cut| *cut.min(&rest.len())));
            limiter.push(now, &mut out);
            rest = later;
        }
        limiter.finish(&mut out);
        out
    }

    /// Bursts of a voice-like tone, with harmonics, that get louder and softer.
    fn voice(seconds: f32) -> Vec<f32> {
        let samples = (seconds * RATE_HZ as f32) as usize;
        let sample = |index: usize| {
            let time = index as f32 / RATE_HZ as f32;
            let phase = std::f32::consts::TAU * 130.0 * time;
            let tone: f32 = (1..20).map(|harmonic| (phase * harmonic as f32).sin() / harmonic as f32).sum();
            tone * 0.2 * (std::f32::consts::TAU * 1.5 * time).sin().max(0.0)
        };
        (0..samples).map(sample).collect()
    }

    #[test]
    fn soft_sound_passes_unchanged() {
        let sound: Vec<f32> = voice(1.0).iter().map(|sample| sample * 0.5).collect();
        assert_eq!(limit(&sound, 1.0, 0.89, &[]), sound);
        let doubled: Vec<f32> = sound.iter().map(|sample| sample * 1.5).collect();
        assert_eq!(limit(&sound, 1.5, 0.89, &[]), doubled);
    }

    #[test]
    fn no_peak_is_above_the_ceiling_not_even_between_samples() {
        let ceiling = loudness::amplitude(-1.0);
        for gain in [1.0, 2.0, 4.0, 40.0] {
            let out = limit(&voice(3.0), gain, ceiling, &[]);
            let peak = loudness::measure(&out, RATE_HZ).expect("measured").true_peak_dbtp;
            assert!(peak < -0.95, "{gain}: {peak}");
            assert!(gain <= 2.0 || peak > -1.3, "{gain}: {peak}");
        }
        // Every sample at 0.707 of the peak.
        let sound: Vec<f32> =
            (0..24_000).map(|index| ((index as f32).mul_add(0.5, 0.25) * std::f32::consts::PI).sin() * 1.2).collect();
        let out = limit(&sound, 1.0, ceiling, &[]);
        let peak = loudness::measure(&out[2_000..22_000], RATE_HZ).expect("measured").true_peak_dbtp;
        assert!(peak < -0.8, "{peak}");
    }

    #[test]
    fn the_gain_comes_back_after_a_peak_and_glides() {
        let mut sound = vec![0.25f32; 24_000];
        sound[6_000] = 3.0;
        let out = limit(&sound, 1.0, 0.5, &[]);
        assert!(out[6_000] <= 0.5);
        assert_eq!(out[..5_000], sound[..5_000]);
        assert!((out[23_000] - 0.25).abs() < 1e-3, "{}", out[23_000]);
        let steps = out[5_900..5_999].windows(2).chain(out[6_010..].windows(2));
        let steepest = steps.map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        assert!(steepest < 0.25 / 40.0, "{steepest}");
    }

    #[test]
    fn whole_sound_reaches_its_target_though_it_is_limited() {
        let sound: Vec<f32> = voice(4.0).iter().map(|sample| sample * 0.25).collect();
        for target_lufs in [-30.0, -23.0, -16.0, -14.0] {
            let out = level_whole(&sound, RATE_HZ, target_lufs, 0.89, 1.0).expect("levelled");
            let found = loudness::measure(&out, RATE_HZ).expect("measured");
            assert!((found.integrated_lufs - target_lufs).abs() < 0.3, "{target_lufs}: {found:?}");
            assert!(found.true_peak_dbtp < -0.9, "{found:?}");
        }
        let half = level_whole(&sound, RATE_HZ, -23.0, 0.89, 0.5).expect("levelled");
        let found = loudness::measure(&half, RATE_HZ).expect("measured").integrated_lufs;
        assert!((found + 29.02).abs() < 0.3, "{found}");
        assert_eq!(level_whole(&[0.0; 24_000], RATE_HZ, -23.0, 0.89, 1.0), Ok(vec![0.0; 24_000]));
    }

    #[test]
    fn a_known_sine_is_interpolated_closely() {
        let taps = taps();
        for frequency in [0.01, 0.1, 0.25, 0.4] {
            let sample = |at: f64| (at * std::f64::consts::PI * frequency).sin();
            for (point, taps) in taps.iter().enumerate() {
                let at = |tap: usize| sample(tap as f64 - (REACH - 1) as f64);
                let found: f64 = taps.iter().enumerate().map(|(tap, weight)| f64::from(*weight) * at(tap)).sum();
                let expected = sample((point + 1) as f64 / 4.0);
                assert!((found - expected).abs() < 0.01, "{frequency} {point}: {found} {expected}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_samples(
            seed in any::<u64>(), cuts in proptest::collection::vec(1usize..3_000, 1..20), gain in 0.1f32..20.0)
        {
            let mut state = seed | 1;
            let noise = |sample: f32| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                sample + ((state >> 40) as f32 / (1u64 << 24) as f32 - 0.5) * 0.05
            };
            let sound: Vec<f32> = voice(0.7).into_iter().map(noise).collect();
            let whole = limit(&sound, gain, 0.89, &[]);
            prop_assert_eq!(whole.len(), sound.len());
            prop_assert_eq!(limit(&sound, gain, 0.89, &cuts), whole);
        }

        #[test]
        fn what_leaves_is_finite_and_below_the_ceiling(
            sound in proptest::collection::vec(prop_oneof![-2f32..2.0, -f32::MAX..f32::MAX], 0..3_000),
            gain in 0f32..100.0)
        {
            let out = limit(&sound, gain, 0.5, &[]);
            prop_assert_eq!(out.len(), sound.len());
            prop_assert!(out.iter().all(|sample| sample.abs() <= 0.500_01), "{:?}", out);
        }
    }
}
