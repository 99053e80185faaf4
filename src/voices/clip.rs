//! What a user has recorded, made ready to be cloned: checked, cut to what an engine can use, brought to one loudness.
//! Pure; runs on the caller's thread, a blocking one (seconds for a long file).

mod fault;
mod level;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::audio::{
    decode::{self, Limits},
    encode::wav_file,
    loudness::{self, TARGET_LUFS, TRUE_PEAK_DBTP},
    resample::{self, RATES_HZ},
};

pub use fault::{ClipError, Warning};
use level::Levels;

/// Higher rates hold nothing of a voice that an engine uses.
const MAX_RATE_HZ: u32 = 48_000;
/// Kept of the silence before and after what is said, so that no breath and no last consonant is cut.
const MARGIN_BEFORE_S: f64 = 0.1;
const MARGIN_AFTER_S: f64 = 0.15;
/// Samples cut anywhere but at zero would click.
const FADE_S: f64 = 0.005;

#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// What an engine uses of a clip at most. F5-TTS was trained on, and cuts to, about 12 s.
    pub max_duration_s: f64,
    /// Speech that must be left, or there is nothing to clone.
    pub min_duration_s: f64,
    pub target_lufs: f64,
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        let limits = Limits {
            max_duration_s: 600.0,
            max_decoded_bytes: 256 << 20,
            max_time: std::time::Duration::from_secs(20),
        };
        Self { max_duration_s: 12.0, min_duration_s: 1.0, target_lufs: TARGET_LUFS, limits }
    }
}

/// The file as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// "WAV", "MP3" …
    pub format: &'static str,
    pub duration_s: f64,
    pub channels: u16,
    pub sample_rate_hz: u32,
    /// EBU R 128; −∞ where there is too little to measure.
    pub loudness_lufs: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// Mono, −1 to 1.
    pub samples: Vec<f32>,
    pub sample_rate_hz: u32,
    pub source: Source,
    pub duration_s: f64,
    /// Of `samples`.
    pub loudness_lufs: f64,
    /// Speech over what is heard between the words; estimated, and no more than 90.
    pub snr_db: f64,
    /// Samples of the source that stand at its ceiling, 0 to 1.
    pub clipped_share: f64,
    pub warnings: Vec<Warning>,
}

impl Prepared {
    /// A WAV file, 16 bits, mono.
    #[must_use]
    pub fn wav(&self) -> Vec<u8> {
        wav_file(&self.samples, self.sample_rate_hz).to_vec()
    }
}

/// Makes a reference clip of a file of any kind that is known.
///
/// # Errors
/// What was found in the place of a usable clip.
pub fn prepare(bytes: &[u8], options: &Options) -> Result<Prepared, ClipError> {
    let clip = decode::decode(bytes, &options.limits)?;
    if !RATES_HZ.contains(&clip.sample_rate_hz) {
        return Err(ClipError::Rate { sample_rate_hz: clip.sample_rate_hz });
    }
    let source_duration_s = clip.samples.len() as f64 / f64::from(clip.sample_rate_hz);
    let clipped_share = level::clipped_share(&clip.samples);
    let (samples, rate_hz) = within_rate(clip.samples, clip.sample_rate_hz);
    let samples = level::without_offset(samples);

    let levels = Levels::of(&samples, rate_hz);
    let speech = levels.speech(&samples, options)?;
    let (kept, cut) = levels.within(speech.clone(), options.max_duration_s);
    let mut samples = samples[kept].to_vec();
    fade(&mut samples, rate_hz);

    let before = loudness::measure(&samples, rate_hz).map_err(|_| ClipError::Rate { sample_rate_hz: rate_hz })?;
    let ceiling = f64::from(loudness::amplitude(TRUE_PEAK_DBTP - before.true_peak_dbtp));
    // No limiter: a cloned voice would learn its sound.
    let gain = f64::from(loudness::gain(before.integrated_lufs, options.target_lufs)).min(ceiling) as f32;
    samples.iter_mut().for_each(|sample| *sample = (*sample * gain).clamp(-1.0, 1.0));

    let duration_s = samples.len() as f64 / f64::from(rate_hz);
    let source = Source {
        format: clip.container,
        duration_s: source_duration_s,
        channels: clip.channels,
        sample_rate_hz: clip.sample_rate_hz,
        loudness_lufs: before.integrated_lufs,
    };
    let found = fault::Found {
        source: &source,
        snr_db: levels.snr_db(),
        clipped_share,
        speech_s: span_s(&speech, rate_hz),
        duration_s,
        cut,
        loudness_lufs: before.integrated_lufs + 20.0 * f64::from(gain).log10(),
        options,
    };
    let warnings = fault::warnings(&found);
    let (snr_db, loudness_lufs) = (found.snr_db, found.loudness_lufs);
    Ok(Prepared {
        samples,
        sample_rate_hz: rate_hz,
        source,
        duration_s,
        loudness_lufs,
        snr_db,
        clipped_share,
        warnings,
    })
}

fn within_rate(samples: Vec<f32>, sample_rate_hz: u32) -> (Vec<f32>, u32) {
    if sample_rate_hz <= MAX_RATE_HZ {
        return (samples, sample_rate_hz);
    }
    match resample::resample(&samples, sample_rate_hz, MAX_RATE_HZ) {
        Ok(resampled) => (resampled, MAX_RATE_HZ),
        // Rates were checked; as it is, it is still the clip.
        Err(_) => (samples, sample_rate_hz),
    }
}

fn fade(samples: &mut [f32], sample_rate_hz: u32) {
    let length = ((FADE_S * f64::from(sample_rate_hz)) as usize).min(samples.len() / 2);
    for index in 0..length {
        let gain = (index as f32 + 0.5) / length as f32;
        samples[index] *= gain;
        let last = samples.len() - 1 - index;
        samples[last] *= gain;
    }
}

fn span_s(span: &Range<usize>, sample_rate_hz: u32) -> f64 {
    span.len() as f64 / f64::from(sample_rate_hz)
}
