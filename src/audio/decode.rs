//! Any clip that a user has, to mono float32. Bounded in time and memory, whatever the bytes are: they come from strangers.
//! Runs on the caller's thread.

mod container;
mod opus;
mod sniff;
mod wav;

use std::time::{Duration, Instant};

/// What can be decoded, for error messages.
pub const KNOWN: &str =
    "WAV, AIFF, FLAC, MP3, Ogg (Vorbis, Opus, FLAC), WebM (Opus, Vorbis), M4A (AAC, ALAC, Opus) and AAC";

/// Where decoding stops. Applied while decoding, so that a small file cannot grow beyond them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    pub max_duration_s: f64,
    /// Of the decoded mono float32.
    pub max_decoded_bytes: usize,
    pub max_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_duration_s: 3_600.0, max_decoded_bytes: 1 << 30, max_time: Duration::from_secs(60) }
    }
}

impl Limits {
    /// As samples at a rate. A broken header's rate cannot make it more than what the bytes allow.
    fn max_samples(&self, sample_rate_hz: u32) -> usize {
        let samples = (self.max_duration_s * f64::from(sample_rate_hz)).ceil() as usize;
        samples.min(self.max_decoded_bytes / size_of::<f32>())
    }

    fn exceeded(&self, sample_rate_hz: u32) -> DecodeError {
        let bytes_allow_s = (self.max_decoded_bytes / size_of::<f32>()) as f64 / f64::from(sample_rate_hz.max(1));
        DecodeError::TooLong { limit_s: self.max_duration_s.min(bytes_allow_s) }
    }
}

/// Mono float32, −1 to 1 (beyond where a lossy codec overshoots), every sample finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Clip {
    pub samples: Vec<f32>,
    pub sample_rate_hz: u32,
    /// In the file; they are averaged here.
    pub channels: u16,
    /// The file's kind, for people.
    pub container: &'static str,
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DecodeError {
    #[error("there is no file: 0 bytes")]
    Empty,
    #[error("this is {found}, not sound that can be decoded; what can: {KNOWN}")]
    Unknown { found: &'static str },
    #[error("the {container} file holds {found}, which cannot be decoded; what can: {KNOWN}")]
    Unsupported { container: &'static str, found: String },
    #[error("the {container} file is broken: {reason}")]
    Broken { container: &'static str, reason: String },
    #[error("the sound is longer than the limit of {limit_s} s")]
    TooLong { limit_s: f64 },
    #[error("decoding took longer than the limit of {limit_s} s")]
    TooSlow { limit_s: f64 },
}

/// Channels are averaged.
///
/// # Errors
/// Bytes that are no sound of a known kind, broken sound, and more of it than `limits` allow.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Clip, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let deadline = Deadline::after(limits.max_time);
    // Before the demuxers: what they search for may stand in a text, and its byte order mark looks like MPEG's.
    if sniff::name(bytes) == sniff::TEXT {
        return Err(DecodeError::Unknown { found: sniff::TEXT });
    }
    let clip = match wav::decode(bytes, limits, deadline)? {
        Some(clip) => clip,
        None => container::decode(bytes, limits, deadline)?,
    };
    if clip.samples.is_empty() {
        return Err(DecodeError::Broken { container: sniff::container(bytes), reason: "it holds no sound".into() });
    }
    Ok(clip)
}

fn not_finite(container: &'static str, samples: &[f32]) -> DecodeError {
    let place = samples.iter().position(|sample| !sample.is_finite()).unwrap_or_default();
    DecodeError::Broken { container, reason: format!("sample {place} is not a finite number") }
}

/// When decoding must have ended.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    /// None: later than any clock can tell.
    at: Option<Instant>,
    limit: Duration,
}

impl Deadline {
    fn after(limit: Duration) -> Self {
        Self { at: Instant::now().checked_add(limit), limit }
    }

    fn passed(&self) -> bool {
        self.at.is_some_and(|at| Instant::now() >= at)
    }

    fn error(&self) -> DecodeError {
        DecodeError::TooSlow { limit_s: self.limit.as_secs_f64() }
    }
}

/// Averages interleaved frames behind what `samples` holds.
fn downmix(interleaved: &[f32], channels: usize, samples: &mut Vec<f32>) {
    let scale = 1.0 / channels as f32;
    samples.extend(interleaved.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() * scale));
}

#[cfg(test)]
mod tests;
