//! The Opus decoder that symphonia lacks: libopus, one packet at a time. RFC 6716 (the codec) and RFC 7845 (its header).

use opus::MSDecoder;

/// Opus always decodes at its own rate, whatever the sound was made from.
pub(super) const SAMPLE_RATE_HZ: u32 = 48_000;

/// 120 ms, the longest packet there is.
const MAX_PACKET_FRAMES: usize = 5_760;

pub(super) struct Opus {
    decoder: MSDecoder,
    channels: usize,
    /// Frames still to be dropped: the encoder's start.
    pre_skip: usize,
    gain: f32,
    interleaved: Vec<f32>,
}

/// What the header says (RFC 7845, section 5.1).
struct Head {
    channels: u8,
    pre_skip: u16,
    gain_q8_db: i16,
    streams: u8,
    coupled: u8,
    mapping: Vec<u8>,
}

impl Head {
    fn read(head: &[u8]) -> Result<Self, String> {
        if head.len() < 19 || &head[..8] != b"OpusHead" {
            return Err("its Opus header is cut".into());
        }
        let channels = head[9];
        let (streams, coupled, mapping) = match (head[18], channels) {
            (0, 1) => (1, 0, vec![0]),
            (0, 2) => (1, 1, vec![0, 1]),
            (1, 1..=8) => {
                let mapping = head.get(21..21 + usize::from(channels)).ok_or("its Opus header is cut")?;
                (head[19], head[20], mapping.to_vec())
            }
            (family, _) => return Err(format!("Opus with {channels} channels in mapping family {family}")),
        };
        // That of an MP4 file has the version 0, and its numbers are big-endian (Opus in ISOBMFF, 4.3.2).
        let number = |at: usize| match head[8] {
            0 => u16::from_be_bytes([head[at], head[at + 1]]),
            _ => u16::from_le_bytes([head[at], head[at + 1]]),
        };
        Ok(Self { channels, pre_skip: number(10), gain_q8_db: number(16).cast_signed(), streams, coupled, mapping })
    }

    /// For containers that keep no header.
    fn plain(channels: usize) -> Result<Self, String> {
        let mut head = *b"OpusHead\x01\0\0\0\0\0\0\0\0\0\0";
        head[9] = u8::try_from(channels).unwrap_or(u8::MAX);
        Self::read(&head)
    }
}

impl Opus {
    pub fn new(head: Option<&[u8]>, channels: usize) -> Result<Self, String> {
        let head = head.map_or_else(|| Head::plain(channels), Head::read)?;
        let decoder = MSDecoder::new(SAMPLE_RATE_HZ, head.streams, head.coupled, &head.mapping);
        let channels = usize::from(head.channels);
        Ok(Self {
            decoder: decoder.map_err(|error| error.to_string())?,
            channels,
            pre_skip: usize::from(head.pre_skip),
            gain: 10f32.powf(f32::from(head.gain_q8_db) / (256.0 * 20.0)),
            interleaved: vec![0.0; MAX_PACKET_FRAMES * channels],
        })
    }

    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Puts a packet's sound behind what `samples` holds, without the encoder's start and the last `trim_end` frames.
    pub fn decode(&mut self, packet: &[u8], trim_end: usize, samples: &mut Vec<f32>) -> Result<(), String> {
        if packet.is_empty() {
            // libopus would make up the sound of a lost packet.
            return Ok(());
        }
        let frames = self.decoder.decode_float(packet, &mut self.interleaved, false).map_err(|e| e.to_string())?;
        let start = self.pre_skip.min(frames);
        self.pre_skip -= start;
        let end = frames.saturating_sub(trim_end).max(start);
        let before = samples.len();
        super::downmix(&self.interleaved[start * self.channels..end * self.channels], self.channels, samples);
        if self.gain != 1.0 {
            samples[before..].iter_mut().for_each(|sample| *sample *= self.gain);
        }
        Ok(())
    }
}
