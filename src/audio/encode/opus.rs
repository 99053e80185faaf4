//! Opus in Ogg (RFC 6716, RFC 7845): packets of 20 ms, a page each tenth of a second.

use bytes::BytesMut;
use ogg::writing::{PacketWriteEndInfo, PacketWriter};
use opus::{Application, Bitrate, Channels, Encoder, Signal};

use super::{Codec, EncodeError, pcm};

pub(super) const RATES_HZ: [u32; 5] = [8_000, 12_000, 16_000, 24_000, 48_000];
/// Of one channel.
pub(super) const BITRATES: std::ops::RangeInclusive<u32> = 6_000..=256_000;

/// In which times are told, whatever the sound's own rate is.
const CLOCK_HZ: u32 = 48_000;
const PACKETS_PER_S: u32 = 50;
const PACKETS_PER_PAGE: u32 = 5;
/// No packet is longer (RFC 6716, 3.4).
const MAX_PACKET_BYTES: usize = 1_275;

pub(super) struct Opus {
    encoder: Encoder,
    sample_rate_hz: u32,
    /// Samples of the next packet.
    waiting: Vec<f32>,
    /// Encoded, but not yet known not to be the last one.
    packet: Option<Vec<u8>>,
    writer: PacketWriter<'static, Vec<u8>>,
    serial: Option<u32>,
    /// Samples that the codec begins with, on its clock.
    lead: u32,
    packets: u64,
    samples: u64,
}

fn failed(error: impl std::fmt::Display) -> EncodeError {
    EncodeError::Failed { format: "opus", message: error.to_string() }
}

impl Opus {
    pub fn new(sample_rate_hz: u32, bitrate_bps: u32) -> Result<Self, EncodeError> {
        let mut encoder = Encoder::new(sample_rate_hz, Channels::Mono, Application::Audio).map_err(failed)?;
        encoder.set_bitrate(Bitrate::Bits(bitrate_bps as i32)).map_err(failed)?;
        encoder.set_signal(Signal::Voice).map_err(failed)?;
        let lead = encoder.get_lookahead().map_err(failed)?.unsigned_abs() * (CLOCK_HZ / sample_rate_hz);
        Ok(Self {
            encoder,
            sample_rate_hz,
            waiting: Vec::new(),
            packet: None,
            writer: PacketWriter::new(Vec::new()),
            serial: None,
            lead,
            packets: 0,
            samples: 0,
        })
    }

    fn packet_samples(&self) -> usize {
        (self.sample_rate_hz / PACKETS_PER_S) as usize
    }

    fn encode_packet(&mut self) -> Result<(), EncodeError> {
        if let Some(packet) = self.packet.take() {
            self.write(packet, false)?;
        }
        self.packet = Some(self.encoder.encode_vec_float(&self.waiting, MAX_PACKET_BYTES).map_err(failed)?);
        self.waiting.clear();
        Ok(())
    }

    /// The headers, in pages of their own.
    fn begin(&mut self, first: &[u8]) -> Result<u32, EncodeError> {
        if let Some(serial) = self.serial {
            return Ok(serial);
        }
        // Streams that are put together must differ in it; the same sound is the same bytes.
        let serial =
            blake3::hash(first).as_bytes().iter().take(4).fold(0, |serial, byte| serial << 8 | u32::from(*byte));
        self.serial = Some(serial);
        let mut head = b"OpusHead\x01\x01".to_vec();
        head.extend_from_slice(&(self.lead as u16).to_le_bytes());
        head.extend_from_slice(&self.sample_rate_hz.to_le_bytes());
        // No gain, and one channel.
        head.extend_from_slice(&[0; 3]);
        let vendor = opus::version().as_bytes();
        let mut tags = b"OpusTags".to_vec();
        tags.extend_from_slice(&(vendor.len() as u32).to_le_bytes());
        tags.extend_from_slice(vendor);
        tags.extend_from_slice(&0u32.to_le_bytes());
        for header in [head, tags] {
            self.writer.write_packet(header, serial, PacketWriteEndInfo::EndPage, 0).map_err(failed)?;
        }
        Ok(serial)
    }

    fn write(&mut self, packet: Vec<u8>, last: bool) -> Result<(), EncodeError> {
        let serial = self.begin(&packet)?;
        self.packets += 1;
        let clock = |samples: u64| samples * u64::from(CLOCK_HZ / self.sample_rate_hz);
        let end = if last {
            PacketWriteEndInfo::EndStream
        } else if self.packets == 1 || self.packets.is_multiple_of(u64::from(PACKETS_PER_PAGE)) {
            // The first page is short, so that sound starts early.
            PacketWriteEndInfo::EndPage
        } else {
            PacketWriteEndInfo::NormalPacket
        };
        // What the last packet has beyond the sound is cut off by its time.
        let decoded = self.packets * u64::from(CLOCK_HZ / PACKETS_PER_S);
        let at = if last { decoded.min(clock(self.samples) + u64::from(self.lead)) } else { decoded };
        self.writer.write_packet(packet, serial, end, at).map_err(failed)
    }

    fn hand_over(&mut self, bytes: &mut BytesMut) {
        let written = self.writer.inner_mut();
        bytes.extend_from_slice(written);
        written.clear();
    }
}

impl Codec for Opus {
    fn encode(&mut self, sound: &[f32], bytes: &mut BytesMut) -> Result<(), EncodeError> {
        self.samples += sound.len() as u64;
        let mut rest = sound;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(self.packet_samples() - self.waiting.len()));
            self.waiting.extend(now.iter().map(|sample| pcm::clipped(*sample)));
            rest = later;
            if self.waiting.len() == self.packet_samples() {
                self.encode_packet()?;
            }
        }
        self.hand_over(bytes);
        Ok(())
    }

    /// Silence follows until the last sample has left the codec.
    fn finish(&mut self, bytes: &mut BytesMut) -> Result<(), EncodeError> {
        let lead = u64::from(self.lead / (CLOCK_HZ / self.sample_rate_hz));
        let packets = (self.samples + lead).div_ceil(self.packet_samples() as u64).max(1);
        let encoded = self.packets + u64::from(self.packet.is_some());
        for _ in encoded..packets {
            self.waiting.resize(self.packet_samples(), 0.0);
            self.encode_packet()?;
        }
        if let Some(packet) = self.packet.take() {
            self.write(packet, true)?;
        }
        self.hand_over(bytes);
        Ok(())
    }
}
