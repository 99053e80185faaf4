//! The RIFF header of 16-bit mono PCM (Microsoft's RIFF specification of 1994: the 16-byte `fmt ` chunk).

pub const HEADER_BYTES: usize = 44;

/// What both size fields hold when the length is not known: ffmpeg, libsndfile, Python's wave and SciPy then read to the end.
const UNKNOWN_BYTES: u32 = u32::MAX;

/// What the RIFF size counts beside the samples: the header without its first 8 bytes.
const RIFF_OVERHEAD_BYTES: u32 = HEADER_BYTES as u32 - 8;

/// The header for `samples` samples, or for a stream whose length is not known yet. Sound that is too long for the
/// format's 32-bit sizes gets a stream's header: players read it to the end.
#[must_use]
pub fn header(sample_rate_hz: u32, samples: Option<u64>) -> [u8; HEADER_BYTES] {
    const CHANNELS: u16 = 1;
    const BITS: u16 = 16;
    const PCM: u16 = 1;
    const FRAME_BYTES: u16 = CHANNELS * BITS / 8;
    let (riff_bytes, sound_bytes) = sizes(samples, FRAME_BYTES);

    let mut header = [0; HEADER_BYTES];
    header[0..4].copy_from_slice(b"RIFF");
    header[4..8].copy_from_slice(&riff_bytes.to_le_bytes());
    header[8..16].copy_from_slice(b"WAVEfmt ");
    header[16..20].copy_from_slice(&16u32.to_le_bytes());
    header[20..22].copy_from_slice(&PCM.to_le_bytes());
    header[22..24].copy_from_slice(&CHANNELS.to_le_bytes());
    header[24..28].copy_from_slice(&sample_rate_hz.to_le_bytes());
    header[28..32].copy_from_slice(&sample_rate_hz.saturating_mul(u32::from(FRAME_BYTES)).to_le_bytes());
    header[32..34].copy_from_slice(&FRAME_BYTES.to_le_bytes());
    header[34..36].copy_from_slice(&BITS.to_le_bytes());
    header[36..40].copy_from_slice(b"data");
    header[40..44].copy_from_slice(&sound_bytes.to_le_bytes());
    header
}

fn sizes(samples: Option<u64>, frame_bytes: u16) -> (u32, u32) {
    samples
        .and_then(|samples| samples.checked_mul(u64::from(frame_bytes)))
        .and_then(|bytes| u32::try_from(bytes).ok())
        .and_then(|bytes| Some((bytes.checked_add(RIFF_OVERHEAD_BYTES)?, bytes)))
        .filter(|(riff_bytes, _)| *riff_bytes != UNKNOWN_BYTES)
        .unwrap_or((UNKNOWN_BYTES, UNKNOWN_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    }

    #[test]
    fn a_whole_file_tells_its_true_sizes() {
        let header = header(24_000, Some(100));
        assert_eq!(&header[..4], b"RIFF");
        assert_eq!(field(&header, 4), 236);
        assert_eq!(&header[8..16], b"WAVEfmt ");
        assert_eq!(header[16..24], [16, 0, 0, 0, 1, 0, 1, 0]);
        assert_eq!(field(&header, 24), 24_000);
        assert_eq!(field(&header, 28), 48_000);
        assert_eq!(header[32..36], [2, 0, 16, 0]);
        assert_eq!(&header[36..40], b"data");
        assert_eq!(field(&header, 40), 200);
    }

    #[test]
    fn a_stream_has_unknown_sizes() {
        let header = header(24_000, None);
        assert_eq!((field(&header, 4), field(&header, 40)), (u32::MAX, u32::MAX));
    }

    #[test]
    fn sizes_that_do_not_fit_are_unknown_and_never_wrap() {
        let most = u64::from((u32::MAX - RIFF_OVERHEAD_BYTES) / 2);
        let fits = header(24_000, Some(most));
        assert_eq!(u64::from(field(&fits, 40)), most * 2);
        assert_eq!(field(&fits, 4), field(&fits, 40) + 36);
        for samples in [most + 1, 1 << 31, u64::MAX] {
            let over = header(24_000, Some(samples));
            assert_eq!((field(&over, 4), field(&over, 40)), (u32::MAX, u32::MAX), "{samples}");
        }
    }
}
