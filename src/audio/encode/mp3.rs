//! MP3 by LAME, at a constant bitrate: what a stream has lost or skipped does not change when anything sounds.

mod info;

use std::num::NonZeroU32;

use bytes::BytesMut;
use mp3lame_encoder::{Bitrate, Builder, Encoder, FlushGap, Mode, MonoPcm, Quality, ffi, max_required_buffer_size};

use super::{Codec, EncodeError, pcm};
use info::{Frames, Info};

/// What LAME keeps back, and its last frames.
const FLUSH_BYTES: usize = 7_200;
/// Samples at a time, so that the buffer stays small.
const PIECE: usize = 1 << 14;
/// From here on files are MPEG-1, from the lower one on MPEG-2, and below that 2.5.
const MPEG_1_HZ: u32 = 32_000;
const MPEG_2_HZ: u32 = 16_000;

/// Silence that LAME puts first, and what is left of it here: its first frame holds, of the sound, only what overlaps with
/// this beginning of the second one (LAME's encoder.h: with less delay than 96 samples, that many are attenuated).
const LAME_DELAY_SAMPLES: usize = 576;
const DELAY_SAMPLES: u64 = 95;
/// What every decoder adds to it, and decoders that cut want to have for it at the end.
const DECODER_DELAY_SAMPLES: u64 = 529;
/// LAME ends with at least so much silence, more than that.
const LEAST_PADDING_SAMPLES: u64 = 576;

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
    frames: Frames,
    samples: u64,
    /// A file begins with a frame that tells its length, which is known at its end. LAME's own has no room in frames of
    /// low bitrates. None: a stream.
    info: Option<Info>,
    started: bool,
    /// What is left of LAME's first frame. None: nothing of it has come yet.
    left_out: Option<usize>,
}

fn failed(error: impl std::fmt::Display) -> EncodeError {
    EncodeError::Failed { format: "mp3", message: error.to_string() }
}

/// The nearest of what there is at this rate.
fn bitrate(sample_rate_hz: u32, wanted_bps: u32) -> (u32, Bitrate) {
    let kbps = match sample_rate_hz {
        MPEG_1_HZ.. => 32..=320,
        MPEG_2_HZ.. => 8..=160,
        _ => 8..=64,
    };
    let possible = ALL_BITRATES.iter().filter(|(possible, _)| kbps.contains(possible));
    let nearest = possible.min_by_key(|(possible, _)| (possible * 1_000).abs_diff(wanted_bps));
    nearest.copied().unwrap_or((64, Bitrate::Kbps64))
}

impl Mp3 {
    pub fn new(sample_rate_hz: u32, bitrate_bps: u32, whole: bool) -> Result<Self, EncodeError> {
        let (kbps, bitrate) = bitrate(sample_rate_hz, bitrate_bps);
        let builder = Builder::new().ok_or_else(|| failed("LAME has no memory"))?;
        let mut builder = builder
            .with_num_channels(1)
            .and_then(|builder| builder.with_sample_rate(sample_rate_hz))
            // Without it LAME takes a lower rate at low bitrates.
            .and_then(|builder| builder.with_output_sample_rate(NonZeroU32::new(sample_rate_hz)))
            .and_then(|builder| builder.with_mode(Mode::Mono))
            .and_then(|builder| builder.with_brate(bitrate))
            .and_then(|builder| builder.with_quality(Quality::Good))
            .and_then(|builder| builder.with_to_write_vbr_tag(false))
            .map_err(failed)?;
        // No frame may need bytes of the first one. For mono speech a reservoir is worth at most 0.4 dB.
        // SAFETY: the pointer is the builder's own and valid; it goes to a setter of LAME's, which keeps nothing of it.
        if unsafe { ffi::lame_set_disable_reservoir(builder.as_ptr(), 1) } != 0 {
            return Err(failed("LAME keeps its reservoir"));
        }
        let encoder = builder.build().map_err(failed)?;
        let frames = Frames { sample_rate_hz, kbps };
        let info = whole.then(|| Info::new(frames)).flatten();
        Ok(Self { encoder, room: Vec::new(), frames, samples: 0, info, started: false, left_out: None })
    }

    fn start(&mut self, bytes: &mut BytesMut) -> Result<(), EncodeError> {
        if self.started {
            return Ok(());
        }
        self.started = true;
        if let Some(info) = &self.info {
            bytes.resize(bytes.len() + info.size(), 0);
        }
        // Fills LAME's first frame, which is left out, but for the delay.
        let lead = self.frames.samples() as usize + DELAY_SAMPLES as usize - LAME_DELAY_SAMPLES;
        self.push(&[0.0; 1_152][..lead], bytes)
    }

    fn push(&mut self, sound: &[f32], bytes: &mut BytesMut) -> Result<(), EncodeError> {
        let mut scaled = Vec::with_capacity(sound.len().min(PIECE));
        for piece in sound.chunks(PIECE) {
            scaled.clear();
            scaled.extend(piece.iter().map(|sample| pcm::clipped(*sample)));
            self.room.clear();
            self.room.reserve(max_required_buffer_size(piece.len()));
            self.encoder.encode_to_vec(MonoPcm(&scaled[..]), &mut self.room).map_err(failed)?;
            self.take(bytes);
        }
        Ok(())
    }

    /// All that LAME gave but its first frame.
    fn take(&mut self, bytes: &mut BytesMut) {
        if self.left_out.is_none() && !self.room.is_empty() {
            self.left_out = Some(self.frames.size(&self.room));
        }
        let skipped = self.left_out.map_or(0, |left| left.min(self.room.len()));
        self.left_out = self.left_out.map(|left| left - skipped);
        bytes.extend_from_slice(&self.room[skipped..]);
    }

    /// Samples after the sound's, as LAME fills the last frames.
    fn padding(&self) -> u64 {
        let frame = u64::from(self.frames.samples());
        let padding = frame - (self.samples + DELAY_SAMPLES) % frame;
        if padding < LEAST_PADDING_SAMPLES { padding + frame } else { padding }
    }

    /// Whether the last frame of LAME's has nothing of the sound, nor anything that its end needs.
    fn ends_needlessly(&self) -> bool {
        self.padding() >= u64::from(self.frames.samples()) + DECODER_DELAY_SAMPLES
    }
}

impl Codec for Mp3 {
    fn encode(&mut self, sound: &[f32], bytes: &mut BytesMut) -> Result<(), EncodeError> {
        self.start(bytes)?;
        self.samples += sound.len() as u64;
        self.push(sound, bytes)
    }

    fn finish(&mut self, bytes: &mut BytesMut) -> Result<(), EncodeError> {
        self.start(bytes)?;
        self.room.clear();
        self.room.reserve(FLUSH_BYTES);
        self.encoder.flush_to_vec::<FlushGap>(&mut self.room).map_err(failed)?;
        if self.ends_needlessly() {
            self.frames.drop_last(&mut self.room);
        }
        self.take(bytes);
        Ok(())
    }

    /// With its frames counted, and what is to be cut off at either end.
    fn amend(&mut self, file: &mut BytesMut) -> Result<(), EncodeError> {
        if let Some(info) = &self.info {
            let frame = u64::from(self.frames.samples());
            let padding = self.padding() - if self.ends_needlessly() { frame } else { 0 };
            let frames = (self.samples + DELAY_SAMPLES + padding) / frame;
            info.write(file, frames, DELAY_SAMPLES, padding);
        }
        Ok(())
    }
}
