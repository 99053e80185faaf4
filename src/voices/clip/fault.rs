//! What can be wrong with a clip, in words that a person can act on. Pure.

use super::{Options, Source, level::Cut};
use crate::audio::decode::DecodeError;

/// Below, a clone hisses as its model does; measured with the estimate of `Levels::snr_db`.
const GOOD_SNR_DB: f64 = 20.0;
/// Speech clipped in so many of its samples is heard to be.
const MAX_CLIPPED_SHARE: f64 = 0.0005;
/// Quieter sources lie near their microphone's noise.
const QUIET_LUFS: f64 = -40.0;
/// How far from the target a clip may end before it is worth saying.
const LOUDNESS_TOLERANCE_LU: f64 = 3.0;
/// Less speech than this leaves much of a voice unheard.
const GOOD_DURATION_S: f64 = 3.0;
/// Half of it is the highest frequency in the clip: telephones stop here.
const NARROW_RATE_HZ: u32 = 16_000;

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ClipError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("the clip has {sample_rate_hz} samples a second; it must have from 8000 to 192000: export it again")]
    Rate { sample_rate_hz: u32 },
    #[error(
        "the clip is silent: its loudest moment is at {} dBFS; was the right microphone recorded?",
        shown_dbfs(*.loudest_dbfs)
    )]
    Silent { loudest_dbfs: f64 },
    #[error(
        "the clip holds {duration_s:.1} s of sound between its silences; at least {least_s} s of speech are needed, \
         and 5 to 12 s are best"
    )]
    TooShort { duration_s: f64, least_s: f64 },
}

impl ClipError {
    /// Stable, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Decode(DecodeError::Empty) => "empty_clip",
            Self::Decode(DecodeError::Unknown { .. } | DecodeError::Unsupported { .. }) => "unknown_clip_format",
            Self::Decode(DecodeError::Broken { .. }) => "broken_clip",
            Self::Decode(DecodeError::TooLong { .. } | DecodeError::TooSlow { .. }) => "clip_too_long",
            Self::Rate { .. } => "unsupported_sample_rate",
            Self::Silent { .. } => "silent_clip",
            Self::TooShort { .. } => "clip_too_short",
        }
    }
}

fn shown_dbfs(dbfs: f64) -> String {
    if dbfs.is_finite() { format!("{dbfs:.0}") } else { "−∞".to_owned() }
}

/// The clip can be used, but a better one would make a better voice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Stable, for programs.
    pub code: &'static str,
    pub message: String,
}

pub(super) struct Found<'a> {
    pub source: &'a Source,
    pub snr_db: f64,
    pub clipped_share: f64,
    /// Between the silences at both ends, before it was cut.
    pub speech_s: f64,
    pub duration_s: f64,
    pub cut: Option<Cut>,
    pub loudness_lufs: f64,
    pub options: &'a Options,
}

pub(super) fn warnings(found: &Found<'_>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |code, message| warnings.push(Warning { code, message });
    if let Some(cut) = found.cut {
        let place = match cut {
            Cut::Pause => "at a pause",
            Cut::Speech => "in the middle of speech, as there is no pause",
        };
        let Found { speech_s, duration_s, .. } = found;
        let text = format!(
            "the clip has {speech_s:.1} s of speech and is cut to {duration_s:.1} s, {place}: its text must end where \
             the kept part ends, so listen to it or upload a shorter clip"
        );
        warn("shortened", text);
    }
    if found.speech_s < GOOD_DURATION_S {
        let text = format!("the clip has {:.1} s of speech only; 5 to 12 s make a better likeness", found.speech_s);
        warn("short", text);
    }
    if found.snr_db < GOOD_SNR_DB {
        let text = format!(
            "the speech is only {:.0} dB above what is heard in its pauses; record in a quiet room without music, \
             nearer to the microphone",
            found.snr_db
        );
        warn("noisy", text);
    }
    if found.clipped_share > MAX_CLIPPED_SHARE {
        let text = format!(
            "{:.2} % of the samples are clipped, which is heard as distortion; record again with a lower input level",
            found.clipped_share * 100.0
        );
        warn("clipped", text);
    }
    if found.source.loudness_lufs < QUIET_LUFS {
        let text = format!(
            "the speech was very quiet ({:.0} LUFS) and its noise is raised with it; record with a higher input level",
            found.source.loudness_lufs
        );
        warn("quiet", text);
    }
    let target_lufs = found.options.target_lufs;
    if found.loudness_lufs < target_lufs - LOUDNESS_TOLERANCE_LU {
        let text = format!(
            "its loudness reaches {:.0} of {target_lufs:.0} LUFS: a peak, such as a pop or a knock, or a very low level \
             keeps it from being raised; cut the peak out or record again",
            found.loudness_lufs
        );
        warn("uneven", text);
    }
    if found.source.sample_rate_hz < NARROW_RATE_HZ {
        let text = format!(
            "the clip has {} samples a second, as telephones do: its clone will sound muffled; record at 24000 or more",
            found.source.sample_rate_hz
        );
        warn("narrow_band", text);
    }
    warnings
}
