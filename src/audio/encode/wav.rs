//! WAV: the RIFF header of mono samples (Microsoft's RIFF specification of 1994, and its revision of 2000 for floats).

use bytes::BytesMut;

use super::{Codec, EncodeError, pcm::SampleKind};

/// What size fields hold when the length is not known: ffmpeg, libsndfile, Python's wave and SciPy then read to the end.
const UNKNOWN: u32 = u32::MAX;
/// In `fact` it would be taken for a length: there it is this.
const UNKNOWN_SAMPLES: u32 = 0;
/// The first 8 bytes of a file, which its RIFF size does not count.
const UNCOUNTED_BYTES: usize = 8;

pub(super) struct Wav {
    kind: SampleKind,
    /// Goes out together with the first sound, so that the first byte means that speech has started.
    header: Option<Vec<u8>>,
}

impl Wav {
    /// `samples`: of the whole file, if that is known.
    pub fn new(kind: SampleKind, sample_rate_hz: u32, samples: Option<u64>) -> Self {
        Self { kind, header: Some(header(kind, sample_rate_hz, samples)) }
    }
}

impl Codec for Wav {
    fn encode(&mut self, pcm: &[f32], bytes: &mut BytesMut) -> Result<(), EncodeError> {
        if let Some(header) = self.header.take() {
            bytes.reserve(header.len() + pcm.len() * self.kind.bytes());
            bytes.extend_from_slice(&header);
        }
        self.kind.append(pcm, bytes);
        Ok(())
    }

    fn finish(&mut self, bytes: &mut BytesMut) -> Result<(), EncodeError> {
        self.encode(&[], bytes)
    }
}

/// The header for `samples` samples, or for a stream whose length is not known yet. Sound that is too long for the
/// format's 32-bit sizes gets a stream's header: players read it to the end.
fn header(kind: SampleKind, sample_rate_hz: u32, samples: Option<u64>) -> Vec<u8> {
    const CHANNELS: u16 = 1;
    const INTEGER: u16 = 1;
    const FLOAT: u16 = 3;
    let frame_bytes = CHANNELS * kind.bytes() as u16;
    let format = match kind {
        SampleKind::S16 => INTEGER,
        SampleKind::F32 => FLOAT,
    };

    let mut header = Vec::with_capacity(58);
    header.extend_from_slice(b"RIFF\0\0\0\0WAVEfmt ");
    // What is not integers has the size of an extension at its end, here none, and tells its samples in `fact`.
    let extended = kind != SampleKind::S16;
    header.extend_from_slice(&if extended { 18u32 } else { 16 }.to_le_bytes());
    header.extend_from_slice(&format.to_le_bytes());
    header.extend_from_slice(&CHANNELS.to_le_bytes());
    header.extend_from_slice(&sample_rate_hz.to_le_bytes());
    header.extend_from_slice(&sample_rate_hz.saturating_mul(u32::from(frame_bytes)).to_le_bytes());
    header.extend_from_slice(&frame_bytes.to_le_bytes());
    header.extend_from_slice(&(frame_bytes * 8 / CHANNELS).to_le_bytes());
    let fact_at = header.len() + 10;
    if extended {
        header.extend_from_slice(&[0; 2]);
        header.extend_from_slice(b"fact\x04\0\0\0");
        header.extend_from_slice(&UNKNOWN_SAMPLES.to_le_bytes());
    }
    header.extend_from_slice(b"data");
    header.extend_from_slice(&UNKNOWN.to_le_bytes());

    let overhead_bytes = (header.len() - UNCOUNTED_BYTES) as u32;
    let known = samples
        .and_then(|samples| samples.checked_mul(u64::from(frame_bytes)))
        .and_then(|sound_bytes| u32::try_from(sound_bytes).ok())
        .and_then(|sound_bytes| Some((sound_bytes.checked_add(overhead_bytes)?, sound_bytes)))
        .filter(|(riff_bytes, _)| *riff_bytes != UNKNOWN);
    let (riff_bytes, sound_bytes) = known.unwrap_or((UNKNOWN, UNKNOWN));
    header[4..8].copy_from_slice(&riff_bytes.to_le_bytes());
    if extended && known.is_some() {
        header[fact_at..fact_at + 4].copy_from_slice(&(sound_bytes / u32::from(frame_bytes)).to_le_bytes());
    }
    let data_at = header.len() - 4;
    header[data_at..].copy_from_slice(&sound_bytes.to_le_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(header: &[u8], at: usize) -> u32 {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    }

    #[test]
    fn a_whole_file_tells_its_true_sizes() {
        let header = header(SampleKind::S16, 24_000, Some(100));
        assert_eq!(&header[..4], b"RIFF");
        assert_eq!(field(&header, 4), 236);
        assert_eq!(&header[8..16], b"WAVEfmt ");
        assert_eq!(header[16..24], [16, 0, 0, 0, 1, 0, 1, 0]);
        assert_eq!(field(&header, 24), 24_000);
        assert_eq!(field(&header, 28), 48_000);
        assert_eq!(header[32..36], [2, 0, 16, 0]);
        assert_eq!(&header[36..40], b"data");
        assert_eq!(field(&header, 40), 200);
        assert_eq!(header.len(), 44);
    }

    #[test]
    fn floats_tell_their_samples_twice() {
        let header = header(SampleKind::F32, 24_000, Some(100));
        assert_eq!(header.len(), 58);
        assert_eq!(field(&header, 4), 450);
        assert_eq!(header[16..24], [18, 0, 0, 0, 3, 0, 1, 0]);
        assert_eq!(field(&header, 28), 96_000);
        assert_eq!(header[32..38], [4, 0, 32, 0, 0, 0]);
        assert_eq!(&header[38..42], b"fact");
        assert_eq!((field(&header, 42), field(&header, 46)), (4, 100));
        assert_eq!((&header[50..54], field(&header, 54)), (&b"data"[..], 400));
    }

    #[test]
    fn a_stream_has_unknown_sizes() {
        let integers = header(SampleKind::S16, 24_000, None);
        assert_eq!((field(&integers, 4), field(&integers, 40)), (u32::MAX, u32::MAX));
        let floats = header(SampleKind::F32, 24_000, None);
        assert_eq!((field(&floats, 4), field(&floats, 46), field(&floats, 54)), (u32::MAX, 0, u32::MAX));
    }

    #[test]
    fn sizes_that_do_not_fit_are_unknown_and_never_wrap() {
        let most = u64::from((u32::MAX - 36) / 2);
        let fits = header(SampleKind::S16, 24_000, Some(most));
        assert_eq!(u64::from(field(&fits, 40)), most * 2);
        assert_eq!(field(&fits, 4), field(&fits, 40) + 36);
        for samples in [most + 1, 1 << 31, u64::MAX] {
            let over = header(SampleKind::S16, 24_000, Some(samples));
            assert_eq!((field(&over, 4), field(&over, 40)), (u32::MAX, u32::MAX), "{samples}");
        }
    }
}
