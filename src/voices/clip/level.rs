//! How loud a clip is from moment to moment, and what that tells: where its speech is, its pauses, its noise. Pure.

use std::ops::Range;

use super::{ClipError, MARGIN_AFTER_S, MARGIN_BEFORE_S, Options};

const HOP_S: f64 = 0.01;
/// Two hops: each moment is looked at twice.
const WINDOW_HOPS: usize = 2;
/// What digital silence counts as: below the last bit of 16.
const FLOOR_DBFS: f64 = -100.0;
/// A recording of nothing but its own noise is below this.
const SILENT_DBFS: f64 = -60.0;
/// Quieter frames are a noise gate's or an editor's, and say nothing about the room.
const GATED_DBFS: f64 = -85.0;
/// Speech, below its loudest moments; the quiet end of consonants.
const SPEECH_RANGE_DB: f64 = 40.0;
/// Speech, above the noise.
const ABOVE_NOISE_DB: f64 = 6.0;
/// However noisy a clip is, its loudest moments count as speech.
const LOUD_RANGE_DB: f64 = 10.0;
/// Shorter sounds are clicks.
const LEAST_SPEECH_HOPS: usize = 3;
/// From here on a pause is one between words.
const PAUSE_HOPS: usize = 8;
/// And from here on one between sentences, where a clip is better cut.
const LONG_PAUSE_HOPS: usize = 30;
/// A cut keeps at least this share of what is allowed.
const LEAST_KEPT: f64 = 0.4;
/// What cannot be measured better: 16 bits hold about as much.
const MAX_SNR_DB: f64 = 90.0;
/// Samples in a row at the ceiling: two may be a peak of a clean wave.
const CLIPPED_RUN: usize = 3;
/// The same ceiling, whatever a codec or a gain has made of it in its last bits.
const CEILING_TOLERANCE: f32 = 1e-4;

/// Where a clip was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    Pause,
    Speech,
}

pub(super) struct Levels {
    sample_rate_hz: u32,
    samples: usize,
    hop: usize,
    /// dBFS of each moment.
    dbfs: Vec<f64>,
    noise_dbfs: f64,
    loud_dbfs: f64,
    /// Louder is speech.
    threshold_dbfs: f64,
}

impl Levels {
    pub fn of(pcm: &[f32], sample_rate_hz: u32) -> Self {
        let hop = ((HOP_S * f64::from(sample_rate_hz)).round() as usize).max(1);
        let power = |piece: &[f32]| piece.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>();
        let hops: Vec<(f64, usize)> = pcm.chunks(hop).map(|piece| (power(piece), piece.len())).collect();
        let dbfs: Vec<f64> = (0..hops.len())
            .map(|at| {
                let window = &hops[at..(at + WINDOW_HOPS).min(hops.len())];
                let (power, samples) = window.iter().fold((0.0, 0), |sum, hop| (sum.0 + hop.0, sum.1 + hop.1));
                (10.0 * (power / samples as f64).log10()).max(FLOOR_DBFS)
            })
            .collect();
        let mut sorted = dbfs.clone();
        sorted.sort_by(f64::total_cmp);
        let loud_dbfs = quantile(&sorted, 0.95);
        // A short word in a long silence is loud in less than a twentieth of it.
        let loud_dbfs = loud_dbfs.max(sorted.last().copied().unwrap_or(FLOOR_DBFS) - LOUD_RANGE_DB);
        let audible = &sorted[sorted.partition_point(|level| *level < GATED_DBFS)..];
        let noise_dbfs = quantile(audible, 0.1);
        let threshold_dbfs =
            (loud_dbfs - SPEECH_RANGE_DB).max(noise_dbfs + ABOVE_NOISE_DB).min(loud_dbfs - LOUD_RANGE_DB);
        Self { sample_rate_hz, samples: pcm.len(), hop, dbfs, noise_dbfs, loud_dbfs, threshold_dbfs }
    }

    /// From the first sound to the last, with a margin.
    pub fn speech(&self, pcm: &[f32], options: &Options) -> Result<Range<usize>, ClipError> {
        let loudest_dbfs = self.dbfs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if loudest_dbfs < SILENT_DBFS {
            let peak = f64::from(crate::audio::resample::peak(pcm));
            return Err(ClipError::Silent { loudest_dbfs: 20.0 * peak.log10() });
        }
        let mut spoken = self.runs(|level| level >= self.threshold_dbfs);
        spoken.retain(|run| run.len() >= LEAST_SPEECH_HOPS);
        let sounding = match (spoken.first(), spoken.last()) {
            (Some(first), Some(last)) => first.start * self.hop..(last.end * self.hop).min(self.samples),
            _ => 0..0,
        };
        let duration_s = super::span_s(&sounding, self.sample_rate_hz);
        if duration_s < options.min_duration_s {
            return Err(ClipError::TooShort { duration_s, least_s: options.min_duration_s });
        }
        Ok(self.with_margins(sounding))
    }

    fn with_margins(&self, sounding: Range<usize>) -> Range<usize> {
        let samples = |seconds: f64| (seconds * f64::from(self.sample_rate_hz)) as usize;
        sounding.start.saturating_sub(samples(MARGIN_BEFORE_S))
            ..(sounding.end + samples(MARGIN_AFTER_S)).min(self.samples)
    }

    /// What of `speech` is kept, and where it was cut: at the last long pause that leaves enough, else at the last short
    /// one, else at the quietest moment.
    pub fn within(&self, speech: Range<usize>, max_duration_s: f64) -> (Range<usize>, Option<Cut>) {
        let most = ((max_duration_s * f64::from(self.sample_rate_hz)) as usize).max(self.hop);
        if speech.len() <= most {
            return (speech, None);
        }
        let least = (speech.start + (most as f64 * LEAST_KEPT) as usize).div_ceil(self.hop);
        let end = (speech.start + most) / self.hop;
        let mut pauses = self.runs(|level| level < self.threshold_dbfs);
        pauses.retain(|pause| pause.start >= least && pause.start + PAUSE_HOPS <= end);
        let pause = pauses.iter().rfind(|pause| pause.len() >= LONG_PAUSE_HOPS);
        let pause = pause.or_else(|| pauses.iter().rfind(|pause| pause.len() >= PAUSE_HOPS));
        if let Some(pause) = pause {
            let pause_end = (pause.end * self.hop).min(speech.start + most);
            let kept = self.with_margins(speech.start..pause.start * self.hop).end.min(pause_end);
            return (speech.start..kept, Some(Cut::Pause));
        }
        let last_quarter = end - (end - least.min(end)) / 4..end.max(1);
        let quietest = last_quarter.min_by(|a, b| self.level(*a).total_cmp(&self.level(*b)));
        let place = quietest.map_or(speech.start + most, |hop| hop * self.hop);
        (speech.start..place.clamp(speech.start + 1, speech.start + most), Some(Cut::Speech))
    }

    fn level(&self, hop: usize) -> f64 {
        self.dbfs.get(hop).copied().unwrap_or(FLOOR_DBFS)
    }

    /// Speech against what is heard between the words.
    pub fn snr_db(&self) -> f64 {
        let power = |dbfs: f64| 10f64.powf(dbfs / 10.0);
        let (sum, count) = self
            .dbfs
            .iter()
            .filter(|level| **level >= self.threshold_dbfs)
            .fold((0.0, 0usize), |(sum, count), level| (sum + power(*level), count + 1));
        if count == 0 {
            return 0.0;
        }
        let noise = power(self.noise_dbfs.min(self.loud_dbfs));
        let speech = (sum / count as f64 - noise).max(noise * 0.01);
        (10.0 * (speech / noise).log10()).clamp(-20.0, MAX_SNR_DB)
    }

    /// Runs of moments for which `holds`.
    fn runs(&self, holds: impl Fn(f64) -> bool) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for (at, _) in self.dbfs.iter().enumerate().filter(|(_, level)| holds(**level)) {
            match runs.last_mut() {
                Some(run) if run.end == at => run.end = at + 1,
                _ => runs.push(at..at + 1),
            }
        }
        runs
    }
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or(FLOOR_DBFS)
}

/// The share of samples that stand at the sound's ceiling, several in a row.
pub(super) fn clipped_share(pcm: &[f32]) -> f64 {
    let peak = crate::audio::resample::peak(pcm);
    if peak == 0.0 || pcm.is_empty() {
        return 0.0;
    }
    // Lossy codecs overshoot what was clipped before they saw it.
    let ceiling = peak.min(1.0) * (1.0 - CEILING_TOLERANCE);
    let (mut clipped, mut run) = (0, 0);
    for sample in pcm {
        if sample.abs() >= ceiling {
            run += 1;
            continue;
        }
        clipped += if run >= CLIPPED_RUN { run } else { 0 };
        run = 0;
    }
    clipped += if run >= CLIPPED_RUN { run } else { 0 };
    clipped as f64 / pcm.len() as f64
}

/// Without what a cheap sound card adds to every sample, which would count as noise.
pub(super) fn without_offset(mut samples: Vec<f32>) -> Vec<f32> {
    let sum: f64 = samples.iter().map(|sample| f64::from(*sample)).sum();
    let mean = (sum / samples.len().max(1) as f64) as f32;
    samples.iter_mut().for_each(|sample| *sample = (*sample - mean).clamp(f32::MIN, f32::MAX));
    samples
}
