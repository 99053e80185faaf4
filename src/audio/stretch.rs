//! Speech faster or slower, higher or lower, with the timbre it had. Whole sound, on the caller's thread.
//!
//! Voiced speech is taken apart into its periods and put together again at other distances, which keeps the resonances of
//! the mouth where they are: Moulines and Charpentier, "Pitch-synchronous waveform processing techniques" (1990). What has
//! no period (noise, silence) keeps its pitch and is overlapped where it fits best: Verhelst and Roelands, "An overlap-add
//! technique based on waveform similarity" (1993).

mod pitch;

use std::{f64::consts::PI, ops::RangeInclusive};

use pitch::Mark;

pub const SPEEDS: RangeInclusive<f64> = 0.25..=4.0;
pub const SEMITONES: RangeInclusive<f64> = -12.0..=12.0;

/// How much is taken at a time where there is no period, and how far to look for where it fits.
const GRAIN_S: f64 = 0.010;
const SEARCH_S: f64 = 0.006;
/// How many places to either side are looked at first.
const STEPS: isize = 48;

/// Beyond this, correlations could overflow: such sound is worked on smaller and scaled back.
const LARGE: f32 = 1e6;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    /// 2 is twice as fast: half the duration.
    pub speed: f64,
    pub pitch_semitones: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum StretchError {
    #[error("speed must be from 0.25 to 4, not {0}")]
    Speed(f64),
    #[error("pitch_semitones must be from -12 to 12, not {0}")]
    Pitch(f64),
    #[error("a sample rate must be from 8000 to 192000 Hz, not {0}")]
    Rate(u32),
}

/// Mono float32 of round(samples / `speed`) samples. Finite samples stay finite.
///
/// # Errors
/// A speed, a pitch or a rate that is out of range.
pub fn stretch(pcm: &[f32], sample_rate_hz: u32, how: Stretch) -> Result<Vec<f32>, StretchError> {
    if !SPEEDS.contains(&how.speed) {
        return Err(StretchError::Speed(how.speed));
    }
    if !SEMITONES.contains(&how.pitch_semitones) {
        return Err(StretchError::Pitch(how.pitch_semitones));
    }
    if !super::resample::RATES_HZ.contains(&sample_rate_hz) {
        return Err(StretchError::Rate(sample_rate_hz));
    }
    if (how.speed == 1.0 && how.pitch_semitones == 0.0) || pcm.is_empty() {
        return Ok(pcm.to_vec());
    }
    let peak = super::resample::peak(pcm);
    if peak > LARGE {
        let smaller: Vec<f32> = pcm.iter().map(|sample| sample / peak).collect();
        let mut sound = synthesise(&smaller, sample_rate_hz, how);
        sound.iter_mut().for_each(|sample| *sample = (*sample * peak).clamp(f32::MIN, f32::MAX));
        return Ok(sound);
    }
    Ok(synthesise(pcm, sample_rate_hz, how))
}

fn synthesise(pcm: &[f32], sample_rate_hz: u32, how: Stretch) -> Vec<f32> {
    let marks = pitch::marks(pcm, sample_rate_hz);
    let factor = (how.pitch_semitones / 12.0).exp2();
    let grain = (f64::from(sample_rate_hz) * GRAIN_S).round();
    let search = (f64::from(sample_rate_hz) * SEARCH_S).round() as isize;
    let mut output = Output::new((pcm.len() as f64 / how.speed).round() as usize, grain as usize);

    let (mut at, mut last, mut last_step) = (0.0, 0.0, grain);
    let mut next_mark = 0;
    while at < (output.samples.len() as f64) + grain {
        let wanted = at * how.speed;
        while next_mark + 1 < marks.len() && nearer(&marks, next_mark, wanted) {
            next_mark += 1;
        }
        let voiced =
            marks.get(next_mark).filter(|mark| wanted >= mark.at - mark.before && wanted <= mark.at + mark.after);
        let step;
        if let Some(mark) = voiced {
            step = mark.after / factor;
            // The same power in fewer or more harmonics.
            let gain = if factor < 1.0 { factor.sqrt().recip() } else { factor.sqrt() };
            output.add(pcm, at, mark.at, (mark.before, mark.after), gain as f32);
            last = mark.at;
        } else {
            step = grain;
            let natural = (last + last_step).round() as isize;
            let place = best_place(pcm, natural, wanted.round() as isize, search, grain as isize);
            // A whole number of samples apart: what is only moved stays as it was.
            at = at.round();
            output.add(pcm, at, place as f64, (last_step.max(grain / 2.0), grain), 1.0);
            last = place as f64;
        }
        at += step;
        last_step = step;
    }
    output.finish(factor)
}

fn nearer(marks: &[Mark], index: usize, wanted: f64) -> bool {
    (marks[index + 1].at - wanted).abs() <= (marks[index].at - wanted).abs()
}

/// Near `wanted`, where the sound resembles most what would naturally come next: first at every few samples, then at each
/// around the best of those.
fn best_place(pcm: &[f32], natural: isize, wanted: isize, search: isize, half: isize) -> isize {
    if (natural - wanted).abs() <= search / 2 {
        return natural;
    }
    let whole = |centre: isize| {
        let (from, to) = (centre - half, centre + half);
        (from >= 0 && to <= pcm.len() as isize).then(|| &pcm[from as usize..to as usize])
    };
    let Some(template) = whole(natural) else { return wanted };
    let best = |centre: isize, reach: isize, stride: isize| {
        let places = (-reach / stride..=reach / stride).map(|step| centre + step * stride);
        let liked = places.filter_map(|place| Some((place, likeness(template, whole(place)?))));
        liked.max_by(|(_, a), (_, b)| a.total_cmp(b)).map_or(centre, |(place, _)| place)
    };
    let stride = (search / STEPS).max(1);
    best(best(wanted, search, stride), stride - 1, 1)
}

/// The correlation of two pieces of equal length, normalised by the energy of the second. In lanes, as a plain sum of
/// floats does not become vector code.
fn likeness(template: &[f32], other: &[f32]) -> f32 {
    const LANES: usize = 8;
    let (mut product, mut energy) = ([0.0f32; LANES], [0.0f32; LANES]);
    let (a, a_rest) = template.as_chunks::<LANES>();
    let (b, b_rest) = other.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            product[lane] += a[lane] * b[lane];
            energy[lane] += b[lane] * b[lane];
        }
    }
    let rest = |sum: f32, (a, b): (&f32, &f32)| sum + a * b;
    let product = a_rest.iter().zip(b_rest).fold(product.iter().sum(), rest);
    let energy: f32 = b_rest.iter().zip(b_rest).fold(energy.iter().sum(), rest);
    product / energy.sqrt().max(f32::MIN_POSITIVE)
}

/// Sound that grains are added to, and how much of their windows lies over each sample.
struct Output {
    samples: Vec<f32>,
    weights: Vec<f32>,
    length: usize,
    shift: Shift,
}

impl Output {
    fn new(length: usize, grain: usize) -> Self {
        Self { samples: vec![0.0; length + grain], weights: vec![0.0; length + grain], length, shift: Shift::new() }
    }

    /// The sound around `centre`, faded over `sides` samples before and after it, with its middle at `at`.
    fn add(&mut self, pcm: &[f32], at: f64, centre: f64, sides: (f64, f64), gain: f32) {
        let first = (at - sides.0).ceil().max(0.0) as usize;
        let end = ((at + sides.1).floor() as usize + 1).min(self.samples.len());
        // Output sample n holds input sample n + whole, moved by a part of a sample.
        let offset = centre - at;
        let whole = offset.floor();
        let taps = self.shift.taps(offset - whole);
        for place in first..end {
            let distance = place as f64 - at;
            let side = if distance < 0.0 { sides.0 } else { sides.1 };
            let weight = (0.5 + 0.5 * (PI * distance / side).cos()) as f32;
            let sample = Shift::apply(taps, pcm, place as isize + whole as isize);
            self.samples[place] += weight * gain * sample;
            self.weights[place] += weight;
        }
    }

    fn finish(mut self, factor: f64) -> Vec<f32> {
        // Higher: more windows lie over each other, and their sum is taken out. Lower: there are gaps between them, which
        // are the resonances dying away and must stay.
        let least = if factor < 1.0 { 1.0 } else { 0.3 };
        for (sample, weight) in self.samples.iter_mut().zip(&self.weights) {
            *sample /= weight.max(least);
        }
        self.samples.truncate(self.length);
        self.samples
    }
}

const TAPS: usize = 16;
const PHASES: usize = 256;

/// Moves sound by parts of a sample: windowed sincs.
struct Shift {
    phases: Vec<[f32; TAPS]>,
}

impl Shift {
    fn new() -> Self {
        let phase = |phase: usize| {
            let part = phase as f64 / PHASES as f64;
            let mut taps: [f64; TAPS] = std::array::from_fn(|tap| {
                let distance = tap as f64 - (TAPS / 2 - 1) as f64 - part;
                let window = (PI * distance / TAPS as f64).cos().powi(2);
                if distance == 0.0 { 1.0 } else { (PI * distance).sin() / (PI * distance) * window }
            });
            let sum: f64 = taps.iter().sum();
            taps.iter_mut().for_each(|tap| *tap /= sum);
            taps.map(|tap| tap as f32)
        };
        Self { phases: (0..=PHASES).map(phase).collect() }
    }

    fn taps(&self, part: f64) -> &[f32; TAPS] {
        &self.phases[(part * PHASES as f64).round() as usize]
    }

    fn apply(taps: &[f32; TAPS], pcm: &[f32], place: isize) -> f32 {
        let first = place - (TAPS as isize / 2 - 1);
        if first >= 0
            && let Some(sound) = pcm.get(first as usize..first as usize + TAPS)
        {
            return taps.iter().zip(sound).map(|(tap, sample)| tap * sample).sum();
        }
        let at = |tap: usize| usize::try_from(first + tap as isize).ok().and_then(|place| pcm.get(place)).copied();
        taps.iter().enumerate().map(|(tap, gain)| gain * at(tap).unwrap_or(0.0)).sum()
    }
}

#[cfg(test)]
mod tests;
