//! Sound on its way out: mono float32 to what a client asked for. One direction only, no I/O; runs on the caller's thread.

pub mod decode;
pub mod limiter;
pub mod loudness;
pub mod pcm;
pub mod resample;
pub mod stretch;
pub mod wav;

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

/// What speech can be sent as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// 16 bits, little endian, with a 44-byte header.
    Wav,
    /// The same samples without a header.
    Pcm,
}

impl Format {
    /// What exists, for error messages and lists.
    pub const ALL: [Self; 2] = [Self::Wav, Self::Pcm];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Pcm => "pcm",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Raw samples tell their rate nowhere else, so it goes into the type.
    #[must_use]
    pub fn content_type(self, sample_rate_hz: u32) -> Cow<'static, str> {
        match self {
            Self::Wav => "audio/wav".into(),
            Self::Pcm => format!("audio/pcm;rate={sample_rate_hz}").into(),
        }
    }
}

/// Turns the sound of one answer into bytes, piece by piece. A header goes out together with the first sound, so that
/// the first byte means that speech has started.
#[derive(Debug)]
pub struct Encoder {
    header: Option<[u8; wav::HEADER_BYTES]>,
}

impl Encoder {
    /// For sound whose length is not known yet.
    #[must_use]
    pub fn streamed(format: Format, sample_rate_hz: u32) -> Self {
        Self::with_length(format, sample_rate_hz, None)
    }

    /// For exactly `samples` samples.
    #[must_use]
    pub fn whole(format: Format, sample_rate_hz: u32, samples: u64) -> Self {
        Self::with_length(format, sample_rate_hz, Some(samples))
    }

    fn with_length(format: Format, sample_rate_hz: u32, samples: Option<u64>) -> Self {
        let header = match format {
            Format::Wav => Some(wav::header(sample_rate_hz, samples)),
            Format::Pcm => None,
        };
        Self { header }
    }

    /// The bytes of the next sound: mono float32, −1 to 1 (beyond is clipped).
    #[must_use]
    pub fn encode(&mut self, pcm: &[f32]) -> Bytes {
        let mut bytes = BytesMut::new();
        self.encode_into(pcm, &mut bytes);
        bytes.freeze()
    }

    /// As `encode`, behind what `bytes` holds.
    pub fn encode_into(&mut self, pcm: &[f32], bytes: &mut BytesMut) {
        let header = self.header.take();
        bytes.reserve(header.map_or(0, |header| header.len()) + pcm.len() * pcm::BYTES_PER_SAMPLE);
        if let Some(header) = header {
            bytes.extend_from_slice(&header);
        }
        pcm::s16le_into(pcm, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_found_by_their_exact_names_only() {
        assert_eq!(Format::parse("wav"), Some(Format::Wav));
        assert_eq!(Format::parse("pcm"), Some(Format::Pcm));
        for name in ["", "WAV", "mp3", "wav ", "wav\0"] {
            assert_eq!(Format::parse(name), None, "{name:?}");
        }
        assert_eq!(Format::Wav.content_type(24_000), "audio/wav");
        assert_eq!(Format::Pcm.content_type(22_050), "audio/pcm;rate=22050");
    }

    #[test]
    fn a_stream_and_a_whole_file_are_the_same_samples() {
        let sound: Vec<f32> = (0..1000).map(|index| (index as f32 * 0.05).sin()).collect();
        let mut streamed = Encoder::streamed(Format::Wav, 24_000);
        let pieces: Vec<u8> = sound.chunks(300).flat_map(|piece| streamed.encode(piece).to_vec()).collect();
        let whole = Encoder::whole(Format::Wav, 24_000, 1000).encode(&sound);
        let raw = Encoder::streamed(Format::Pcm, 24_000).encode(&sound);
        assert_eq!(pieces[44..], whole[44..]);
        assert_eq!(raw[..], whole[44..]);
        assert_eq!(whole.len(), 44 + 2000);
        assert_eq!(pieces[40..44], [0xFF; 4]);
        assert_eq!(whole[40..44], 2000u32.to_le_bytes());
    }

    #[test]
    fn the_header_goes_out_once_with_the_first_sound() {
        let mut encoder = Encoder::streamed(Format::Wav, 24_000);
        assert_eq!(encoder.encode(&[0.0; 3]).len(), 44 + 6);
        assert_eq!(encoder.encode(&[0.0; 3]).len(), 6);
    }
}
