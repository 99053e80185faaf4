//! Whether a clip that lies in a voice's folder can be cloned: what an upload is prepared for is demanded of it.

use std::time::Duration;

use bytes::Bytes;

use super::{Fault, clip::ClipError};
use crate::audio::{
    decode::{DecodeError, Limits, decode},
    encode::wav_file,
    resample::RATES_HZ,
};

/// Longer ones help no engine, and keeping them costs memory.
const MAX_CLIP_S: f64 = 30.0;
/// −60 dB of full scale: below it a clip is silent.
const MIN_PEAK: f32 = 1e-3;
/// Of a file of the caller's own: an engine cuts it to what it uses.
const MAX_OWN_S: f64 = 600.0;
const MAX_TIME: Duration = Duration::from_secs(10);

pub(super) fn check(clip: &[u8]) -> Result<(), Fault> {
    if !is_wav(clip) {
        return Err(Fault::new(
            "unknown_clip_format",
            "is not a WAV file; `ishowtts voices add` takes clips of any format, or convert it with ffmpeg",
        ));
    }
    let limits = Limits { max_duration_s: MAX_CLIP_S, max_time: MAX_TIME, ..Limits::default() };
    let decoded = decode(clip, &limits).map_err(|error| match error {
        DecodeError::TooLong { .. } => Fault::new(
            "clip_too_long",
            format!("is longer than {MAX_CLIP_S} s; cut it to 5 to 12 s of speech, or let `ishowtts voices add` do it"),
        ),
        other => fault(&other.into()),
    })?;
    if !RATES_HZ.contains(&decoded.sample_rate_hz) {
        return Err(fault(&ClipError::Rate { sample_rate_hz: decoded.sample_rate_hz }));
    }
    if decoded.samples.iter().all(|sample| sample.abs() < MIN_PEAK) {
        return Err(Fault::new("silent_clip", "is silent; record somebody who speaks"));
    }
    Ok(())
}

/// A clip that engines read: WAV of integers or floats as it is, to the bit; any other kind decoded, into 16 bits of one
/// channel.
pub(super) fn readable(clip: Vec<u8>) -> Result<Bytes, Fault> {
    if is_plain_wav(&clip) {
        return Ok(clip.into());
    }
    let limits = Limits { max_duration_s: MAX_OWN_S, max_time: MAX_TIME, ..Limits::default() };
    let decoded = decode(&clip, &limits).map_err(|error| {
        let error = ClipError::from(error);
        Fault::new(error.code(), format!("cannot be used: {error}"))
    })?;
    if !RATES_HZ.contains(&decoded.sample_rate_hz) {
        return Err(fault(&ClipError::Rate { sample_rate_hz: decoded.sample_rate_hz }));
    }
    Ok(wav_file(&decoded.samples, decoded.sample_rate_hz))
}

/// By its format chunk, which comes first in nearly all. Whether the rest is in order, whoever reads it tells.
fn is_plain_wav(bytes: &[u8]) -> bool {
    const PCM: u16 = 1;
    const FLOAT: u16 = 3;
    const EXTENSIBLE: u16 = 0xFFFE;
    if !is_wav(bytes) {
        return false;
    }
    let mut rest = &bytes[12..];
    while let Some((head, body)) = rest.split_at_checked(8) {
        let size = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if &head[..4] == b"fmt " {
            let tag = |at: usize| body.get(at..at + 2).map(|tag| u16::from_le_bytes([tag[0], tag[1]]));
            let tag = tag(0).and_then(|found| if found == EXTENSIBLE { tag(24) } else { Some(found) });
            return matches!(tag, Some(PCM | FLOAT));
        }
        rest = body.get(size.saturating_add(size % 2)..).unwrap_or_default();
    }
    true
}

fn fault(error: &ClipError) -> Fault {
    Fault::new(error.code(), error.to_string())
}

pub(super) fn is_wav(bytes: &[u8]) -> bool {
    bytes.len() >= 12 && matches!(&bytes[..4], b"RIFF" | b"RF64") && &bytes[8..12] == b"WAVE"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::encode::wav_file;

    fn wav(seconds: f64, level: f32) -> Vec<u8> {
        wav_at(8_000, seconds, level)
    }

    fn wav_at(sample_rate_hz: u32, seconds: f64, level: f32) -> Vec<u8> {
        let samples = (seconds * f64::from(sample_rate_hz)) as usize;
        let samples: Vec<f32> = (0..samples).map(|n| level * (n as f32 * 0.2).sin()).collect();
        wav_file(&samples, sample_rate_hz).to_vec()
    }

    #[test]
    fn what_cannot_be_cloned_has_a_name() {
        let fault = |clip: &[u8]| check(clip).expect_err("a fault").code;
        assert_eq!(check(&wav(1.0, 0.5)), Ok(()));
        assert_eq!(check(&wav(29.9, 0.5)), Ok(()));
        assert_eq!(fault(&wav(30.5, 0.5)), "clip_too_long");
        assert_eq!(fault(&wav(1.0, 0.0005)), "silent_clip");
        assert_eq!(fault(&wav(0.0, 0.5)), "broken_clip");
        assert_eq!(check(&wav_at(192_000, 1.0, 0.5)), Ok(()));
        assert_eq!(fault(&wav_at(4_000, 1.0, 0.5)), "unsupported_sample_rate");
        assert_eq!(fault(&wav_at(200_000, 1.0, 0.5)), "unsupported_sample_rate");
        assert_eq!(fault(b"ID3 and so on, no WAV"), "unknown_clip_format");
        assert_eq!(fault(b""), "unknown_clip_format");
    }
}
