//! Peaks between samples, a block at a time: interpolated eightfold, and beside that a bound for what lies so near the
//! Nyquist frequency that no filter of this length can follow it. Pure, on the caller's thread.
//!
//! The points are right to a tenth of a decibel up to 0.95 of the Nyquist frequency. Above that they fall short, by what
//! is in the highest few hundredths of the band: so what a highpass finds there, nearby, is added to them. Speech has
//! little there. The loops run along the samples and not along the taps: then they become vector code.

use std::f64::consts::PI;

/// Samples on either side that a peak is found from.
pub(super) const REACH: usize = 32;
/// Samples that are looked at together.
pub(super) const BLOCK: usize = 64;

/// Interpolated points between two samples.
const POINTS: usize = 7;
const TAPS: usize = 2 * REACH;
/// How much a window takes away from its filter's ends, twice.
const POINT_WINDOW: f64 = 0.42;
const EDGE_WINDOW: f64 = 0.35;
/// The edge of the band is from 1 − this on, as a fraction of the Nyquist frequency.
const EDGE: f64 = 0.06;
const EDGE_SIDE: usize = 16;
const EDGE_TAPS: usize = 2 * EDGE_SIDE + 1;
/// What was found at the edge counts for so many samples on either side: it beats against the samples, and is seen only
/// where both coincide.
const EDGE_HELD: usize = REACH - EDGE_SIDE;
/// How much of that is added. More than 1, as the filters are not steep: with this noise of the full band stays below.
const EDGE_SHARE: f32 = 1.5;
const EDGE_BLOCK: usize = BLOCK + 2 * EDGE_HELD;

/// The filters, and what is harmless by their sums.
#[derive(Debug)]
pub(super) struct Peaks {
    ceiling: f32,
    points: [[f32; TAPS]; POINTS],
    edge: [f32; EDGE_TAPS],
    /// No point is further out than this times the largest sample within reach.
    swing: f32,
    /// The same with what is added for the edge.
    whole_swing: f32,
}

impl Peaks {
    pub fn new(ceiling: f32) -> Self {
        let (points, edge) = (points(), edge());
        let sum = |taps: &[f32]| taps.iter().map(|tap| tap.abs()).sum::<f32>() * 1.001;
        let swing = points.iter().map(|taps| sum(taps)).fold(1.0, f32::max);
        Self { ceiling, points, edge, swing, whole_swing: swing + EDGE_SHARE * sum(&edge) }
    }

    /// Nothing of `near` can come near the ceiling.
    pub fn are_harmless(&self, near: &[f32]) -> bool {
        largest(near) * self.whole_swing <= self.ceiling
    }

    /// The highest point between each sample and the next, of at most `BLOCK` samples, which `near` holds with `REACH` more
    /// on either side; 0 where none is above the ceiling.
    pub fn between(&self, near: &[f32]) -> [f32; BLOCK] {
        let samples = (near.len() - 2 * REACH).min(BLOCK);
        let added = self.edge_near(near, samples);
        let mut peaks = [0.0f32; BLOCK];
        if largest(near) * self.swing + largest(&added[..samples]) <= self.ceiling {
            return peaks;
        }
        for taps in &self.points {
            let mut points = [0.0f32; BLOCK];
            convolve(&mut points[..samples], taps, &near[1..]);
            for (peak, point) in peaks.iter_mut().zip(&points) {
                *peak = larger(*peak, point.abs());
            }
        }
        for (peak, added) in peaks.iter_mut().zip(&added) {
            *peak += added;
        }
        peaks
    }

    /// The largest thing at the edge of the band within `EDGE_HELD` of each sample, as far as it counts.
    fn edge_near(&self, near: &[f32], samples: usize) -> [f32; BLOCK] {
        let mut edge = [0.0f32; EDGE_BLOCK];
        convolve(&mut edge[..samples + 2 * EDGE_HELD], &self.edge, near);
        edge.iter_mut().for_each(|sample| *sample = sample.abs());
        // The largest of 2, of 4, … of 2 × EDGE_HELD from each sample on.
        let mut span = 1;
        while span <= EDGE_HELD {
            for at in 0..EDGE_BLOCK - span {
                edge[at] = larger(edge[at], edge[at + span]);
            }
            span *= 2;
        }
        std::array::from_fn(|at| EDGE_SHARE * larger(edge[at], edge[at + 1]))
    }
}

/// Some sums at a time, which stay in registers.
fn convolve(out: &mut [f32], taps: &[f32], near: &[f32]) {
    const LANES: usize = 16;
    for (part, some) in out.chunks_mut(LANES).enumerate() {
        let near = &near[part * LANES..];
        if some.len() == LANES {
            let mut sums = [0.0f32; LANES];
            for (tap, window) in taps.iter().zip(near.windows(LANES)) {
                for (sum, sample) in sums.iter_mut().zip(window) {
                    *sum += tap * sample;
                }
            }
            some.copy_from_slice(&sums);
        } else {
            for (at, sum) in some.iter_mut().enumerate() {
                *sum = taps.iter().zip(&near[at..]).fold(0.0, |sum, (tap, sample)| sum + tap * sample);
            }
        }
    }
}

/// Unlike `f32::max` one instruction, as there is nothing here that is not a number.
fn larger(one: f32, other: f32) -> f32 {
    if one > other { one } else { other }
}

fn largest(sound: &[f32]) -> f32 {
    crate::audio::resample::peak(sound)
}

/// Windowed sinc filters for the points an eighth, two eighths … of the way to the next sample.
fn points() -> [[f32; TAPS]; POINTS] {
    std::array::from_fn(|point| {
        let fraction = (point + 1) as f64 / (POINTS + 1) as f64;
        let raw: [f64; TAPS] = std::array::from_fn(|tap| {
            let distance = tap as f64 - (REACH - 1) as f64 - fraction;
            (distance * PI).sin() / (distance * PI) * window(distance / REACH as f64, POINT_WINDOW)
        });
        let sum: f64 = raw.iter().sum();
        raw.map(|tap| (tap / sum) as f32)
    })
}

/// A highpass: a windowed lowpass of the width of the edge, moved up to the Nyquist frequency.
fn edge() -> [f32; EDGE_TAPS] {
    std::array::from_fn(|tap| {
        let distance = tap as f64 - EDGE_SIDE as f64;
        let sinc = if distance == 0.0 { EDGE } else { (distance * PI * EDGE).sin() / (distance * PI) };
        let sign = if (tap + EDGE_SIDE).is_multiple_of(2) { 1.0 } else { -1.0 };
        (sign * sinc * window(distance / (EDGE_SIDE + 1) as f64, EDGE_WINDOW)) as f32
    })
}

/// A cosine on a pedestal; `place` is from −1 to 1.
fn window(place: f64, depth: f64) -> f64 {
    1.0 - depth + depth * (place * PI).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_tone_is_interpolated_closely() {
        let points = points();
        for frequency in [0.01, 0.25, 0.5, 0.8, 0.9, 0.93, 0.95] {
            for phase in [0.0, 0.7, 1.9] {
                let tone = |at: f64| (at * PI * frequency + phase).sin();
                for (point, taps) in points.iter().enumerate() {
                    let at = |tap: usize| tone(tap as f64 - (REACH - 1) as f64);
                    let found: f64 = taps.iter().enumerate().map(|(tap, weight)| f64::from(*weight) * at(tap)).sum();
                    let expected = tone((point + 1) as f64 / (POINTS + 1) as f64);
                    assert!((found - expected).abs() < 0.01, "{frequency} {point}: {found} {expected}");
                }
            }
        }
    }

    #[test]
    fn what_is_left_out_is_harmless() {
        let loud = Peaks::new(0.0);
        let mut state = 1u32;
        let mut noise = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        for _ in 0..200 {
            let near: [f32; BLOCK + TAPS] = std::array::from_fn(&mut noise);
            let all = loud.between(&near);
            let highest = all.iter().copied().fold(0.0, f32::max);
            assert!(highest > 0.0);
            let peaks = Peaks::new(highest * 0.999);
            assert!(!peaks.are_harmless(&near));
            assert_eq!(peaks.between(&near), all);
            // However a block is cut, a sample's peak is the same.
            assert_eq!(peaks.between(&near[..20 + TAPS])[..20], all[..20]);
            assert_eq!(peaks.between(&near[40..])[..BLOCK - 40], all[40..]);
            for taps in &loud.points {
                // What swings a point furthest.
                let worst: Vec<f32> = taps.iter().map(|tap| tap.signum()).collect();
                let sum: f32 = taps.iter().map(|tap| tap.abs()).sum();
                assert!(sum <= loud.swing * largest(&worst));
            }
        }
    }
}
