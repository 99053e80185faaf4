//! Where speech is voiced, and where each of its periods stands: what stretching is done by. Pure.
//!
//! Normalised cross-correlation for candidates and dynamic programming between them, after Talkin, "A Robust Algorithm for
//! Pitch Tracking" (1995), and Boersma, "Accurate short-term analysis of the fundamental frequency" (1993).

use realfft::{RealFftPlanner, num_complex::Complex};

const LOWEST_HZ: f64 = 60.0;
const HIGHEST_HZ: f64 = 500.0;

/// Pitch is looked at so often.
const FRAME_S: f64 = 0.005;

const CANDIDATES: usize = 6;
/// What a correlation must exceed for voice to be likelier than noise.
const VOICING: f64 = 0.5;
/// A period counts in its multiples too: what a doubling of it costs, and a jump of an octave, and a change of voicing.
const LONGER_COST: f64 = 0.03;
const JUMP_COST: f64 = 0.35;
const CHANGE_COST: f64 = 0.12;
/// Frames so much quieter than the loudest are silence.
const SILENCE: f64 = 1e-3;
/// How far a period may differ from the last, as a part of it.
const NEXT_PERIOD: f64 = 0.15;

/// One period of voiced speech: its middle, and the distances to those of its neighbours, in samples.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub at: f64,
    pub before: f64,
    pub after: f64,
}

/// All periods, in order.
pub(super) fn marks(pcm: &[f32], sample_rate_hz: u32) -> Vec<Mark> {
    let hop = (f64::from(sample_rate_hz) * FRAME_S).round().max(1.0) as usize;
    let periods = periods(pcm, sample_rate_hz, hop);
    let mut marks = Vec::new();
    let mut frame = 0;
    while frame < periods.len() {
        let voiced = periods[frame..].iter().take_while(|period| period.is_some()).count();
        if voiced > 1 {
            mark_run(pcm, hop, &periods[frame..frame + voiced], frame * hop, &mut marks);
        }
        frame += voiced.max(1);
    }
    marks
}

#[derive(Clone, Copy)]
struct Candidate {
    /// None: unvoiced.
    period: Option<f64>,
    strength: f64,
    total: f64,
    from: usize,
}

/// The period in samples for each frame, None where it is not voiced.
fn periods(pcm: &[f32], sample_rate_hz: u32, hop: usize) -> Vec<Option<f64>> {
    let mut correlation = Correlation::new(pcm, sample_rate_hz);
    let frames = pcm.len().div_ceil(hop);
    let energies: Vec<f64> = (0..frames).map(|frame| correlation.energy(frame * hop)).collect();
    let silence = energies.iter().fold(0.0f64, |most, energy| most.max(*energy)) * SILENCE * SILENCE;

    let mut lattice: Vec<Vec<Candidate>> = Vec::with_capacity(frames);
    for (frame, energy) in energies.iter().enumerate() {
        let mut candidates = vec![Candidate { period: None, strength: VOICING, total: 0.0, from: 0 }];
        if *energy > silence {
            correlation.candidates(frame * hop, &mut candidates);
        }
        if let Some(before) = lattice.last() {
            for candidate in &mut candidates {
                connect(candidate, before);
            }
        } else {
            candidates.iter_mut().for_each(|candidate| candidate.total = candidate.strength);
        }
        lattice.push(candidates);
    }
    best_path(&lattice)
}

fn connect(candidate: &mut Candidate, before: &[Candidate]) {
    candidate.total = f64::NEG_INFINITY;
    for (index, earlier) in before.iter().enumerate() {
        let cost = match (earlier.period, candidate.period) {
            (Some(earlier), Some(period)) => JUMP_COST * (period / earlier).log2().abs(),
            (None, None) => 0.0,
            _ => CHANGE_COST,
        };
        let total = earlier.total + candidate.strength - cost;
        if total > candidate.total {
            (candidate.total, candidate.from) = (total, index);
        }
    }
}

fn best_path(lattice: &[Vec<Candidate>]) -> Vec<Option<f64>> {
    let mut periods = vec![None; lattice.len()];
    let last = lattice.last().and_then(|candidates| {
        let totals = candidates.iter().enumerate();
        totals.max_by(|(_, a), (_, b)| a.total.total_cmp(&b.total)).map(|(index, _)| index)
    });
    let mut index = last.unwrap_or(0);
    for (period, candidates) in periods.iter_mut().zip(lattice).rev() {
        *period = candidates[index].period;
        index = candidates[index].from;
    }
    periods
}

/// The normalised cross-correlation of a window with what comes after it.
struct Correlation<'a> {
    pcm: &'a [f32],
    shortest: usize,
    longest: usize,
    /// Sums of squares up to each sample.
    squares: Vec<f64>,
    forward: std::sync::Arc<dyn realfft::RealToComplex<f32>>,
    inverse: std::sync::Arc<dyn realfft::ComplexToReal<f32>>,
    window: Vec<f32>,
    spectra: [Vec<Complex<f32>>; 2],
    lags: Vec<f32>,
    strengths: Vec<f64>,
}

impl<'a> Correlation<'a> {
    fn new(pcm: &'a [f32], sample_rate_hz: u32) -> Self {
        let shortest = (f64::from(sample_rate_hz) / HIGHEST_HZ).floor().max(2.0) as usize;
        let longest = (f64::from(sample_rate_hz) / LOWEST_HZ).ceil() as usize;
        let length = (2 * longest + 2).next_power_of_two();
        let mut planner = RealFftPlanner::new();
        let forward = planner.plan_fft_forward(length);
        let inverse = planner.plan_fft_inverse(length);
        let squares = std::iter::once(0.0).chain(pcm.iter().scan(0.0, |sum, sample| {
            *sum += f64::from(*sample) * f64::from(*sample);
            Some(*sum)
        }));
        Self {
            pcm,
            shortest,
            longest,
            squares: squares.collect(),
            window: vec![0.0; length],
            spectra: [forward.make_output_vec(), forward.make_output_vec()],
            lags: vec![0.0; length],
            strengths: vec![0.0; longest + 2],
            forward,
            inverse,
        }
    }

    /// The first sample of the window whose frame is at `place`: window and longest lag lie evenly around it.
    fn start(&self, place: usize) -> isize {
        place as isize - self.longest as isize
    }

    fn square_sum(&self, from: isize, samples: usize) -> f64 {
        let clamp = |place: isize| place.clamp(0, self.pcm.len() as isize) as usize;
        self.squares[clamp(from + samples as isize)] - self.squares[clamp(from)]
    }

    fn energy(&self, place: usize) -> f64 {
        self.square_sum(self.start(place), 2 * self.longest)
    }

    fn fill(&mut self, from: isize, samples: usize) {
        self.window.fill(0.0);
        let first = from.max(0);
        let end = (from + samples as isize).min(self.pcm.len() as isize);
        if first < end {
            let piece = &self.pcm[first as usize..end as usize];
            self.window[(first - from) as usize..][..piece.len()].copy_from_slice(piece);
        }
    }

    fn candidates(&mut self, place: usize, found: &mut Vec<Candidate>) {
        let start = self.start(place);
        for (index, samples) in [self.longest, 2 * self.longest + 2].into_iter().enumerate() {
            self.fill(start, samples);
            // Buffers made for these transforms are never refused.
            let done = self.forward.process(&mut self.window, &mut self.spectra[index]);
            debug_assert!(done.is_ok());
        }
        let [window, following] = &mut self.spectra;
        for (bin, other) in following.iter_mut().zip(window.iter()) {
            *bin *= other.conj();
        }
        if let (Some(first), Some(last)) = (following.first().copied(), following.last().copied()) {
            following[0].im = 0.0 * first.im;
            let end = following.len() - 1;
            following[end].im = 0.0 * last.im;
        }
        let done = self.inverse.process(following, &mut self.lags);
        debug_assert!(done.is_ok());

        let scale = 1.0 / self.lags.len() as f64;
        let energy = self.square_sum(start, self.longest);
        for lag in self.shortest - 1..=self.longest + 1 {
            let other = self.square_sum(start + lag as isize, self.longest);
            self.strengths[lag] = f64::from(self.lags[lag]) * scale / (energy * other).sqrt().max(f64::MIN_POSITIVE);
        }
        for lag in self.shortest..=self.longest {
            let (before, here, after) = (self.strengths[lag - 1], self.strengths[lag], self.strengths[lag + 1]);
            if here > 0.3 && here >= before && here > after {
                let period = lag as f64 + summit(before, here, after);
                let strength = here - LONGER_COST * (period / self.shortest as f64).log2();
                found.push(Candidate { period: Some(period), strength, total: 0.0, from: 0 });
            }
        }
        found[1..].sort_by(|a, b| b.strength.total_cmp(&a.strength));
        found.truncate(1 + CANDIDATES);
    }
}

/// Where the parabola through three values has its summit, from the middle one, −0.5 to 0.5.
fn summit(before: f64, here: f64, after: f64) -> f64 {
    let curvature = before - 2.0 * here + after;
    if curvature < 0.0 { (0.5 * (before - after) / curvature).clamp(-0.5, 0.5) } else { 0.0 }
}

/// The periods of one voiced run: from its loudest peak near the start, each next one where it resembles the last most.
fn mark_run(pcm: &[f32], hop: usize, periods: &[Option<f64>], start: usize, marks: &mut Vec<Mark>) {
    let period_at = |place: f64| {
        let frame = ((place - start as f64) / hop as f64).round().max(0.0) as usize;
        periods[frame.min(periods.len() - 1)].unwrap_or(hop as f64)
    };
    let first_period = period_at(start as f64);
    let end = (start + periods.len() * hop).min(pcm.len()) as f64;
    let search = start..(start + first_period as usize).min(pcm.len());
    let Some(first) = search.max_by(|a, b| pcm[*a].abs().total_cmp(&pcm[*b].abs())) else { return };

    let run = marks.len();
    let mut at = first as f64;
    let mut before = first_period;
    while at < end {
        let after = next_period(pcm, at, period_at(at));
        marks.push(Mark { at, before, after });
        before = after;
        at += after;
    }
    // The first one has no neighbour before it: take it for as long as it is on its other side.
    if let Some(mark) = marks.get_mut(run) {
        mark.before = mark.after;
    }
}

fn next_period(pcm: &[f32], at: f64, period: f64) -> f64 {
    let centre = at.round() as isize;
    let reach = (period * NEXT_PERIOD).max(2.0) as isize;
    let expected = period.round() as isize;
    let half = (expected / 2).max(1);
    let (from, to) = (centre - half, centre + half);
    if from < 0 || to + expected + reach + 1 >= pcm.len() as isize {
        return period;
    }
    let template = &pcm[from as usize..to as usize];
    let likeness = |lag: isize| {
        let other = &pcm[(from + lag) as usize..(to + lag) as usize];
        f64::from(super::likeness(template, other))
    };
    let lags = (expected - reach).max(1)..=expected + reach;
    let best = lags.map(|lag| (lag, likeness(lag))).max_by(|(_, a), (_, b)| a.total_cmp(b));
    best.map_or(
        period,
        |(lag, here)| {
            if lag <= 1 { period } else { lag as f64 + summit(likeness(lag - 1), here, likeness(lag + 1)) }
        },
    )
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    /// A voice: harmonics of a fundamental frequency that glides.
    fn voice(sample_rate_hz: u32, seconds: f64, hz: impl Fn(f64) -> f64) -> Vec<f32> {
        let mut phase = 0.0;
        let samples = (f64::from(sample_rate_hz) * seconds) as usize;
        let sample = |index: usize| {
            phase += hz(index as f64 / f64::from(sample_rate_hz)) / f64::from(sample_rate_hz);
            (1..12).map(|harmonic| (TAU * phase * f64::from(harmonic)).cos() / f64::from(harmonic)).sum::<f64>() * 0.2
        };
        (0..samples).map(sample).map(|sample| sample as f32).collect()
    }

    #[test]
    fn marks_follow_a_glide_period_by_period() {
        for rate_hz in [8_000, 24_000, 48_000] {
            let hz = |seconds: f64| 110.0 + 90.0 * seconds;
            let marks = marks(&voice(rate_hz, 1.0, hz), rate_hz);
            assert!((145..=160).contains(&marks.len()), "{rate_hz}: {}", marks.len());
            for mark in &marks[5..marks.len() - 5] {
                let measured_hz = f64::from(rate_hz) / mark.after;
                let expected_hz = hz((mark.at + mark.after / 2.0) / f64::from(rate_hz));
                assert!((measured_hz / expected_hz - 1.0).abs() < 0.02, "{rate_hz}: {measured_hz} {expected_hz}");
            }
        }
    }

    #[test]
    fn noise_and_silence_have_no_periods() {
        let mut state = 1u32;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        });
        let noise: Vec<f32> = noise.take(24_000).collect();
        assert!(marks(&noise, 24_000).len() < 8);
        assert!(marks(&[0.0; 24_000], 24_000).is_empty());
        assert!(marks(&[], 24_000).is_empty());
    }
}
