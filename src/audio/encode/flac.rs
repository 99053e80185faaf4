//! FLAC, 16 bits (RFC 9639), one frame after the other.

use bytes::BytesMut;
use flacenc::{
    bitsink::ByteSink,
    component::{BitRepr, StreamInfo},
    config,
    error::{Verified, Verify},
    source::{Context, Fill, FrameBuf},
};

use super::{Codec, EncodeError, pcm};

/// Samples of a frame: at 24 kHz a tenth of a second, which a stream may be late.
const BLOCK: usize = 2_304;
const BITS: usize = 16;
/// `fLaC`, and the header of the one metadata block.
const PREFIX: [u8; 8] = *b"fLaC\x80\0\0\x22";
const STREAM_INFO_BYTES: usize = 34;

pub(super) struct Flac {
    config: Verified<config::Encoder>,
    info: StreamInfo,
    /// Counts and hashes what was encoded.
    context: Context,
    frame: FrameBuf,
    /// Samples of the next frame.
    waiting: BytesMut,
    /// Of the frames in bytes.
    smallest: usize,
    largest: usize,
    begun: bool,
}

fn failed(error: impl std::fmt::Display) -> EncodeError {
    EncodeError::Failed { format: "flac", message: error.to_string() }
}

impl Flac {
    /// `samples`: of the whole file, if that is known.
    pub fn new(sample_rate_hz: u32, samples: Option<u64>) -> Result<Self, EncodeError> {
        let mut config = config::Encoder::default();
        config.block_size = BLOCK;
        let mut info = StreamInfo::new(sample_rate_hz as usize, 1, BITS).map_err(failed)?;
        info.set_block_sizes(BLOCK, BLOCK).map_err(failed)?;
        if let Some(samples) = samples {
            info.set_total_samples(samples as usize);
        }
        Ok(Self {
            config: config.into_verified().map_err(|(_, error)| failed(error))?,
            info,
            context: Context::new(BITS, 1),
            frame: FrameBuf::with_size(1, BLOCK).map_err(failed)?,
            waiting: BytesMut::with_capacity(BLOCK * pcm::BYTES_PER_SAMPLE),
            smallest: usize::MAX,
            largest: 0,
            begun: false,
        })
    }

    fn begin(&mut self, bytes: &mut BytesMut) -> Result<(), EncodeError> {
        if !std::mem::replace(&mut self.begun, true) {
            bytes.extend_from_slice(&PREFIX);
            bytes.extend_from_slice(&written(&self.info)?);
        }
        Ok(())
    }

    fn encode_frame(&mut self, bytes: &mut BytesMut) -> Result<(), EncodeError> {
        let samples = self.waiting.len() / pcm::BYTES_PER_SAMPLE;
        if samples != self.frame.size() {
            self.frame.resize(samples);
        }
        self.frame.fill_le_bytes(&self.waiting, pcm::BYTES_PER_SAMPLE).map_err(failed)?;
        self.context.fill_le_bytes(&self.waiting, pcm::BYTES_PER_SAMPLE).map_err(failed)?;
        self.waiting.clear();
        let number = self.context.current_frame_number().unwrap_or(0);
        let frame = flacenc::encode_fixed_size_frame(&self.config, &self.frame, number, &self.info).map_err(failed)?;
        let frame = written(&frame)?;
        (self.smallest, self.largest) = (self.smallest.min(frame.len()), self.largest.max(frame.len()));
        bytes.extend_from_slice(&frame);
        Ok(())
    }
}

fn written(component: &impl BitRepr) -> Result<Vec<u8>, EncodeError> {
    let mut sink = ByteSink::with_capacity(component.count_bits());
    component.write(&mut sink).map_err(failed)?;
    Ok(sink.into_inner())
}

impl Codec for Flac {
    fn encode(&mut self, sound: &[f32], bytes: &mut BytesMut) -> Result<(), EncodeError> {
        self.begin(bytes)?;
        let mut rest = sound;
        while !rest.is_empty() {
            let room = BLOCK - self.waiting.len() / pcm::BYTES_PER_SAMPLE;
            let (now, later) = rest.split_at(rest.len().min(room));
            pcm::s16le_into(now, &mut self.waiting);
            rest = later;
            if now.len() == room {
                self.encode_frame(bytes)?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, bytes: &mut BytesMut) -> Result<(), EncodeError> {
        self.begin(bytes)?;
        if !self.waiting.is_empty() {
            self.encode_frame(bytes)?;
        }
        Ok(())
    }

    /// The sizes, and the hash by which decoders check what they decoded, are known at the end.
    fn amend(&mut self, file: &mut BytesMut) -> Result<(), EncodeError> {
        self.info.set_total_samples(self.context.total_samples());
        if self.largest > 0 {
            self.info.set_frame_sizes(self.smallest, self.largest).map_err(failed)?;
        }
        self.info.set_md5_digest(&self.context.md5_digest());
        let info = written(&self.info)?;
        file[PREFIX.len()..PREFIX.len() + STREAM_INFO_BYTES].copy_from_slice(&info);
        Ok(())
    }
}
