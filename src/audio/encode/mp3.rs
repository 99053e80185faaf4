//! MP3 by LAME, at a constant bitrate: what a stream has lost or skipped does not change when anything sounds.

use bytes::BytesMut;
use mp3lame_encoder::{Bitrate, Builder, Encoder, FlushGap, Mode, MonoPcm, Quality, max_required_buffer_size};

use super::{Codec, EncodeError, pcm};

/// What LAME keeps back, and its last frames.
const FLUSH_BYTES: usize = 7_200;
/// Samples at a time, so that the buffer stays small.
const PIECE: usize = 1 << 14;
/// From here on files are MPEG-1, below MPEG-2 and 2.5, whose bitrates end lower.
const MPEG_1_HZ: u32 = 32_000;
const MPEG_2_5_HZ: u32 = 12_000;

pub(super) const RATES_HZ: [u32; 9] = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];
pub(super) const BITRATES: std::ops::RangeInclusive<u32> = 8_000..=320_000;

const ALL_BITRATES: [(u32, Bitrate); 16] = [
    (8, Bitrate::Kbps8),
    (16, Bitrate::Kbps16),
    (24, Bitrate::Kbps24),
    (32, Bitrate::Kbps32),
    (40, Bitrate::Kbps40),
    (48, Bitrate::Kbps48),
    (64, Bitrate::Kbps64),
    (80, Bitrate::Kbps80),
    (96, Bitrate::Kbps96),
    (112, Bitrate::Kbps112),
    (128, Bitrate::Kbps128),
    (160, Bitrate::Kbps160),
    (192, Bitrate::Kbps192),
    (224, Bitrate::Kbps224),
    (256, Bitrate::Kbps256),
    (320, Bitrate::Kbps320),
];

pub(super) struct Mp3 {
    encoder: Encoder,
    room: Vec<u8>,
    /// A file begins with a frame that tells its length, which is known at its end.
    tagged: bool,
}

fn failed(error: impl std::fmt::Display) -> EncodeError {
    EncodeError::Failed { format: "mp3", message: error.to_string() }
}

/// The nearest of what there is at this rate.
fn bitrate(sample_rate_hz: u32, wanted_bps: u32) -> Bitrate {
    let kbps = match sample_rate_hz {
        MPEG_1_HZ.. => 32..=320,
        MPEG_2_5_HZ.. => 8..=160,
        _ => 8..=64,
    };
    let possible = ALL_BITRATES.iter().filter(|(possible, _)| kbps.contains(possible));
    let nearest = possible.min_by_key(|(possible, _)| (possible * 1_000).abs_diff(wanted_bps));
    nearest.map_or(Bitrate::Kbps64, |(_, bitrate)| *bitrate)
}

impl Mp3 {
    pub fn new(sample_rate_hz: u32, bitrate_bps: u32, whole: bool) -> Result<Self, EncodeError> {
        let builder = Builder::new().ok_or_else(|| failed("LAME has no memory"))?;
        let encoder = builder
            .with_num_channels(1)
            .and_then(|builder| builder.with_sample_rate(sample_rate_hz))
            .and_then(|builder| builder.with_mode(Mode::Mono))
            .and_then(|builder| builder.with_brate(bitrate(sample_rate_hz, bitrate_bps)))
            .and_then(|builder| builder.with_quality(Quality::Good))
            .and_then(|builder| builder.with_to_write_vbr_tag(whole))
            .and_then(Builder::build)
            .map_err(failed)?;
        Ok(Self { encoder, room: Vec::new(), tagged: whole })
    }
}

impl Codec for Mp3 {
    fn encode(&mut self, sound: &[f32], bytes: &mut BytesMut) -> Result<(), EncodeError> {
        let mut scaled = Vec::with_capacity(sound.len().min(PIECE));
        for piece in sound.chunks(PIECE) {
            scaled.clear();
            scaled.extend(piece.iter().map(|sample| pcm::clipped(*sample)));
            self.room.clear();
            self.room.reserve(max_required_buffer_size(piece.len()));
            self.encoder.encode_to_vec(MonoPcm(&scaled[..]), &mut self.room).map_err(failed)?;
            bytes.extend_from_slice(&self.room);
        }
        Ok(())
    }

    fn finish(&mut self, bytes: &mut BytesMut) -> Result<(), EncodeError> {
        self.room.clear();
        self.room.reserve(FLUSH_BYTES);
        self.encoder.flush_to_vec::<FlushGap>(&mut self.room).map_err(failed)?;
        bytes.extend_from_slice(&self.room);
        Ok(())
    }

    /// With its frames counted, and what is to be cut off at either end.
    fn amend(&mut self, file: &mut BytesMut) -> Result<(), EncodeError> {
        if !self.tagged {
            return Ok(());
        }
        self.room.clear();
        self.room.reserve(self.encoder.lame_tag_size());
        if self.encoder.lame_tag_encode_to_vec(&mut self.room).is_some() && self.room.len() <= file.len() {
            file[..self.room.len()].copy_from_slice(&self.room);
        }
        Ok(())
    }
}
