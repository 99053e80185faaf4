//! Which formats there are, and what can be asked of them.

use std::borrow::Cow;

#[cfg(feature = "mp3")]
use super::mp3;
use super::{EncodeError, opus};
use crate::audio::resample::RATES_HZ;

const MULAW_RATE_HZ: u32 = 8_000;
/// A header, and what a codec adds at the end.
const EXTRA_BYTES: usize = 4 << 10;

/// What speech can be sent as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// By LAME, under the LGPL: only in builds with the feature `mp3`, which is on by default.
    #[cfg(feature = "mp3")]
    Mp3,
    /// In Ogg.
    Opus,
    /// 16 bits.
    Flac,
    /// 16 bits, little endian, with a header.
    Wav,
    /// The same samples without a header.
    Pcm,
    /// Float32, little endian, with a header.
    WavF32,
    /// The same samples without a header.
    PcmF32,
    /// 8 bits at 8 kHz, as telephony has it, without a header.
    MuLaw,
}

impl Format {
    /// What exists, for error messages and lists.
    pub const ALL: &'static [Self] = &[
        #[cfg(feature = "mp3")]
        Self::Mp3,
        Self::Opus,
        Self::Flac,
        Self::Wav,
        Self::Pcm,
        Self::WavF32,
        Self::PcmF32,
        Self::MuLaw,
    ];

    /// What a request gets that names none: what OpenAI gives, where this build has it.
    #[cfg(feature = "mp3")]
    pub const DEFAULT: Self = Self::Mp3;
    #[cfg(not(feature = "mp3"))]
    pub const DEFAULT: Self = Self::Wav;

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "mp3")]
            Self::Mp3 => "mp3",
            Self::Opus => "opus",
            Self::Flac => "flac",
            Self::Wav => "wav",
            Self::Pcm => "pcm",
            Self::WavF32 => "wav_f32",
            Self::PcmF32 => "pcm_f32",
            Self::MuLaw => "mulaw",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|format| format.name() == name)
    }

    /// Raw samples tell their rate nowhere else, so it goes into the type.
    #[must_use]
    pub fn content_type(self, sample_rate_hz: u32) -> Cow<'static, str> {
        match self {
            #[cfg(feature = "mp3")]
            Self::Mp3 => "audio/mpeg".into(),
            Self::Opus => "audio/ogg; codecs=opus".into(),
            Self::Flac => "audio/flac".into(),
            Self::Wav | Self::WavF32 => "audio/wav".into(),
            Self::Pcm => format!("audio/pcm;rate={sample_rate_hz}").into(),
            Self::PcmF32 => format!("audio/pcm;rate={sample_rate_hz};encoding=float;bits=32").into(),
            // RFC 2046, 4.3: 8 bits of mu-law at 8 kHz.
            Self::MuLaw => "audio/basic".into(),
        }
    }

    /// How many bytes a sample takes, where they all take the same.
    #[must_use]
    pub const fn sample_bytes(self) -> Option<usize> {
        match self {
            Self::Wav | Self::Pcm => Some(2),
            Self::WavF32 | Self::PcmF32 => Some(4),
            Self::MuLaw => Some(1),
            _ => None,
        }
    }

    pub(super) const fn is_light(self) -> bool {
        self.sample_bytes().is_some()
    }

    /// Empty: all that can be resampled.
    const fn rates_hz(self) -> &'static [u32] {
        match self {
            #[cfg(feature = "mp3")]
            Self::Mp3 => &mp3::RATES_HZ,
            Self::Opus => &opus::RATES_HZ,
            Self::MuLaw => &[MULAW_RATE_HZ],
            _ => &[],
        }
    }

    /// None: it keeps every sample.
    #[must_use]
    pub fn bitrates(self) -> Option<std::ops::RangeInclusive<u32>> {
        match self {
            #[cfg(feature = "mp3")]
            Self::Mp3 => Some(mp3::BITRATES),
            Self::Opus => Some(opus::BITRATES),
            _ => None,
        }
    }
}

/// A format, and what a request may choose in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    pub format: Format,
    /// None: the sound's own, or the next that the format has.
    pub sample_rate_hz: Option<u32>,
    /// None: the format's default.
    pub bitrate_bps: Option<u32>,
}

impl From<Format> for Spec {
    fn from(format: Format) -> Self {
        Self { format, sample_rate_hz: None, bitrate_bps: None }
    }
}

impl Spec {
    /// # Errors
    /// A rate or a bitrate that the format does not have.
    pub fn check(&self) -> Result<(), EncodeError> {
        let format = self.format.name();
        let rates_hz = self.format.rates_hz();
        if let Some(found) = self.sample_rate_hz {
            let known = if rates_hz.is_empty() { RATES_HZ.contains(&found) } else { rates_hz.contains(&found) };
            if !known {
                let allowed = if rates_hz.is_empty() {
                    format!("{} to {} Hz", RATES_HZ.start(), RATES_HZ.end())
                } else {
                    let rates: Vec<_> = rates_hz.iter().map(u32::to_string).collect();
                    format!("{} Hz", rates.join(", "))
                };
                return Err(EncodeError::Rate { format, allowed, found });
            }
        }
        match (self.bitrate_bps, self.format.bitrates()) {
            (Some(found), None) => {
                Err(EncodeError::Bitrate { format, allowed: "keeps every sample: it has no bitrate".to_owned(), found })
            }
            (Some(found), Some(range)) if !range.contains(&found) => {
                let allowed = format!("has bitrates from {} to {} bit/s", range.start(), range.end());
                Err(EncodeError::Bitrate { format, allowed, found })
            }
            _ => Ok(()),
        }
    }

    /// The rate that comes out of sound at `source_hz`: what was asked for, else the sound's own, else the lowest that
    /// loses nothing.
    #[must_use]
    pub fn rate_hz(&self, source_hz: u32) -> u32 {
        let rates_hz = self.format.rates_hz();
        let kept = |rate: &&u32| **rate >= source_hz;
        self.sample_rate_hz.unwrap_or_else(|| match rates_hz.iter().find(kept).or(rates_hz.last()) {
            Some(rate_hz) => *rate_hz,
            None => source_hz.min(*RATES_HZ.end()),
        })
    }

    /// What was asked for, else what is hard to tell from the original in one channel of speech.
    #[must_use]
    pub fn bitrate_bps(&self, rate_hz: u32) -> u32 {
        self.bitrate_bps.unwrap_or(match (self.format, rate_hz) {
            #[cfg(feature = "mp3")]
            (Format::Mp3, 24_001..) => 128_000,
            #[cfg(feature = "mp3")]
            (Format::Mp3, 16_000..) => 96_000,
            _ => 48_000,
        })
    }

    /// About the size of `samples` samples at `source_hz`, for a buffer.
    #[must_use]
    pub fn expected_bytes(&self, samples: u64, source_hz: u32) -> usize {
        let rate_hz = self.rate_hz(source_hz);
        let seconds = samples as f64 / f64::from(source_hz.max(1));
        let bytes_per_s = match (self.format.sample_bytes(), self.format) {
            (Some(bytes), _) => f64::from(rate_hz) * bytes as f64,
            (None, Format::Flac) => f64::from(rate_hz) * 1.2,
            (None, _) => f64::from(self.bitrate_bps(rate_hz)) / 7.5,
        };
        (seconds * bytes_per_s) as usize + EXTRA_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_found_by_their_exact_names_only() {
        for format in Format::ALL {
            assert_eq!(Format::parse(format.name()), Some(*format));
        }
        for name in ["", "WAV", "aac", "wav ", "wav\0"] {
            assert_eq!(Format::parse(name), None, "{name:?}");
        }
        assert_eq!(Format::Wav.content_type(24_000), "audio/wav");
        assert_eq!(Format::Pcm.content_type(22_050), "audio/pcm;rate=22050");
    }

    #[test]
    fn a_format_without_the_sounds_rate_takes_the_next_one() {
        let rate = |format, source_hz| Spec::from(format).rate_hz(source_hz);
        assert_eq!(rate(Format::Wav, 22_050), 22_050);
        assert_eq!(rate(Format::Opus, 22_050), 24_000);
        assert_eq!(rate(Format::Opus, 44_100), 48_000);
        assert_eq!(rate(Format::Opus, 96_000), 48_000);
        assert_eq!(rate(Format::MuLaw, 24_000), 8_000);
        assert_eq!(Spec { sample_rate_hz: Some(16_000), ..Format::Opus.into() }.rate_hz(24_000), 16_000);
        #[cfg(feature = "mp3")]
        assert_eq!(rate(Format::Mp3, 22_050), 22_050);
    }

    #[test]
    fn what_a_format_does_not_have_is_told_with_what_it_has() {
        let fault = |format: Format, sample_rate_hz, bitrate_bps| {
            Spec { format, sample_rate_hz, bitrate_bps }.check().map_err(|error| error.to_string())
        };
        assert_eq!(fault(Format::Opus, Some(48_000), Some(64_000)), Ok(()));
        let rates = fault(Format::Opus, Some(44_100), None).expect_err("no such rate");
        let flac = fault(Format::Flac, Some(192_001), None).expect_err("no such rate");
        assert_eq!(flac, "sample_rate: flac has 8000 to 192000 Hz, not 192001 Hz");
        assert_eq!(Spec::from(Format::Flac).rate_hz(192_000), 192_000);
        assert_eq!(rates, "sample_rate: opus has 8000, 12000, 16000, 24000, 48000 Hz, not 44100 Hz");
        assert!(fault(Format::Wav, Some(7_999), None).expect_err("too low").contains("8000 to 192000"));
        assert!(fault(Format::Opus, None, Some(5_999)).expect_err("too low").contains("6000 to 256000"));
        assert!(fault(Format::Flac, None, Some(64_000)).expect_err("none").contains("keeps every sample"));
    }
}
