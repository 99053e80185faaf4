//! FLAC, 16 bits (RFC 9639), one frame after the other. No library is taken for it: those in Rust need 1.5 to 5 times
//! the time of libFLAC's default, and what there is for libFLAC itself cannot go from one thread to another.

mod bits;
mod frame;

use bytes::{BufMut, BytesMut};
use md5::{Digest, Md5};

use super::{Codec, EncodeError, pcm};
use frame::{BITS_PER_SAMPLE, BLOCK, Frames};

/// `fLaC`, and the header of the one metadata block.
const PREFIX: [u8; 8] = *b"fLaC\x80\0\0\x22";
/// Samples are counted in 36 bits, frame sizes in 24.
const MOST_SAMPLES: u64 = (1 << 36) - 1;
const LARGEST_FRAME: usize = (1 << 24) - 1;

pub(super) struct Flac {
    sample_rate_hz: u32,
    frames: Frames,
    /// Samples of the next frame, 16 bits each.
    waiting: BytesMut,
    begun: bool,
    /// Zero: not known.
    samples: u64,
    /// Of a whole file: what its header tells when it is complete.
    counted: Option<Counted>,
}

#[derive(Default)]
struct Counted {
    samples: u64,
    /// Of the frames in bytes; none is known yet.
    sizes: Option<(usize, usize)>,
    hash: Md5,
}

impl Flac {
    /// `samples`: of the whole file, if that is known.
    pub fn new(sample_rate_hz: u32, samples: Option<u64>) -> Self {
        Self {
            sample_rate_hz,
            frames: Frames::default(),
            waiting: BytesMut::with_capacity(BLOCK * pcm::BYTES_PER_SAMPLE),
            begun: false,
            samples: samples.unwrap_or(0),
            counted: samples.map(|_| Counted::default()),
        }
    }

    fn begin(&mut self, bytes: &mut BytesMut) {
        if !std::mem::replace(&mut self.begun, true) {
            bytes.extend_from_slice(&self.header(self.samples, None, &[0; 16]));
        }
    }

    /// All that is before the first frame (RFC 9639, 8.2). Zero means that something is not known.
    fn header(&self, samples: u64, sizes: Option<(usize, usize)>, hash: &[u8]) -> BytesMut {
        const MONO: u64 = 0;
        let mut header = BytesMut::from(&PREFIX[..]);
        header.put_u16(BLOCK as u16);
        header.put_u16(BLOCK as u16);
        let (smallest, largest) = sizes.filter(|(_, largest)| *largest <= LARGEST_FRAME).unwrap_or((0, 0));
        header.put_uint(smallest as u64, 3);
        header.put_uint(largest as u64, 3);
        let samples = if samples > MOST_SAMPLES { 0 } else { samples };
        let bits_per_sample = u64::from(BITS_PER_SAMPLE - 1);
        header.put_u64(u64::from(self.sample_rate_hz) << 44 | MONO << 41 | bits_per_sample << 36 | samples);
        header.put_slice(hash);
        header
    }

    /// `waiting`, which holds something.
    fn encode_frame(&mut self, bytes: &mut BytesMut) {
        let (samples, _) = self.waiting.as_chunks();
        let frame = self.frames.encode(samples, self.sample_rate_hz);
        if let Some(counted) = &mut self.counted {
            counted.samples += samples.len() as u64;
            counted.hash.update(&self.waiting);
            let (smallest, largest) = counted.sizes.unwrap_or((frame.len(), frame.len()));
            counted.sizes = Some((smallest.min(frame.len()), largest.max(frame.len())));
        }
        bytes.extend_from_slice(frame);
        self.waiting.clear();
    }
}

impl Codec for Flac {
    fn encode(&mut self, sound: &[f32], bytes: &mut BytesMut) -> Result<(), EncodeError> {
        self.begin(bytes);
        let mut rest = sound;
        while !rest.is_empty() {
            let room = BLOCK - self.waiting.len() / pcm::BYTES_PER_SAMPLE;
            let (now, later) = rest.split_at(rest.len().min(room));
            pcm::s16le_into(now, &mut self.waiting);
            rest = later;
            if now.len() == room {
                self.encode_frame(bytes);
            }
        }
        Ok(())
    }

    fn finish(&mut self, bytes: &mut BytesMut) -> Result<(), EncodeError> {
        self.begin(bytes);
        if !self.waiting.is_empty() {
            self.encode_frame(bytes);
        }
        Ok(())
    }

    /// The sizes, and the hash by which decoders check what they decoded, are known at the end.
    fn amend(&mut self, file: &mut BytesMut) -> Result<(), EncodeError> {
        if let Some(Counted { samples, sizes, hash }) = self.counted.take() {
            let header = self.header(samples, sizes, &hash.finalize());
            file[..header.len()].copy_from_slice(&header);
        }
        Ok(())
    }
}
