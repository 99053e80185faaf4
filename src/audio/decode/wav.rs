//! WAV: integers of 8 to 32 bits, floats of 32 and 64, mu-law and A-law, with sizes that may be unknown or wrong. Pure.
//!
//! Our own reader, as it is what clips mostly are and what we send: straight from the bytes into mono it is several times
//! faster than through packets. What it does not know (ADPCM) is left to the general one.
//! Microsoft, RIFF specification 1994 and WAVEFORMATEXTENSIBLE; ITU-T G.711.

use super::{Clip, Deadline, DecodeError, Limits};
use crate::audio::resample::peak;

const PCM: u16 = 1;
const FLOAT: u16 = 3;
const A_LAW: u16 = 6;
const MU_LAW: u16 = 7;
const EXTENSIBLE: u16 = 0xFFFE;

const MAX_CHANNELS: u16 = 64;

/// So many frames are checked for infinities while they are in the nearest cache.
const BLOCK_FRAMES: usize = 2048;

/// So many blocks, some tens of microseconds, lie between two looks at the clock.
const BLOCKS_PER_LOOK: usize = 32;

struct Layout {
    tag: u16,
    channels: u16,
    sample_rate_hz: u32,
    bits: u16,
}

/// None: not WAV, or a kind of it that is not known here.
pub(super) fn decode(bytes: &[u8], limits: &Limits, deadline: Deadline) -> Result<Option<Clip>, DecodeError> {
    if bytes.get(..4) != Some(b"RIFF") || bytes.get(8..12) != Some(b"WAVE") {
        return Ok(None);
    }
    let mut layout = None;
    let mut rest = &bytes[12..];
    while let Some((head, body)) = rest.split_at_checked(8) {
        let size = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        // A stream has no true size, and a file that was cut has less than it says: both end with the bytes.
        let chunk = &body[..size.min(body.len())];
        match &head[..4] {
            b"fmt " => layout = Some(read_layout(chunk)?),
            b"data" => {
                let layout = layout.ok_or_else(|| broken("its sound comes before its format"))?;
                return sound(chunk, &layout, limits, deadline);
            }
            _ => {}
        }
        // Chunks stand at even places.
        rest = body.get(size.saturating_add(size % 2)..).unwrap_or_default();
    }
    Err(broken(if layout.is_some() { "it has no data chunk" } else { "it has no format chunk" }))
}

fn read_layout(chunk: &[u8]) -> Result<Layout, DecodeError> {
    let (fields, extension) = chunk.split_at_checked(16).ok_or_else(|| broken("its format chunk is too short"))?;
    let field = |at: usize| u16::from_le_bytes([fields[at], fields[at + 1]]);
    let mut tag = field(0);
    if tag == EXTENSIBLE {
        // The first two bytes of the sub-format's GUID are the tag.
        let guid = extension.get(8..10).ok_or_else(|| broken("its extended format chunk is too short"))?;
        tag = u16::from_le_bytes([guid[0], guid[1]]);
    }
    let layout = Layout {
        tag,
        channels: field(2),
        sample_rate_hz: u32::from_le_bytes([fields[4], fields[5], fields[6], fields[7]]),
        bits: field(14),
    };
    if layout.channels == 0 || layout.channels > MAX_CHANNELS {
        return Err(broken(format!("it says that it has {} channels", layout.channels)));
    }
    if layout.sample_rate_hz == 0 {
        return Err(broken("it says that its sample rate is 0 Hz"));
    }
    Ok(layout)
}

fn sound(chunk: &[u8], layout: &Layout, limits: &Limits, deadline: Deadline) -> Result<Option<Clip>, DecodeError> {
    let samples = match (layout.tag, layout.bits) {
        (PCM, 8) => mono(chunk, layout, limits, deadline, |[byte]| (f32::from(byte) - 128.0) / 128.0),
        (PCM, 16) => mono(chunk, layout, limits, deadline, |bytes| f32::from(i16::from_le_bytes(bytes)) / 32_768.0),
        (PCM, 24) => mono(chunk, layout, limits, deadline, |[low, middle, high]| {
            (i32::from_le_bytes([0, low, middle, high]) >> 8) as f32 / 8_388_608.0
        }),
        (PCM, 32) => mono(chunk, layout, limits, deadline, |bytes| i32::from_le_bytes(bytes) as f32 / 2_147_483_648.0),
        (FLOAT, 32) => mono(chunk, layout, limits, deadline, f32::from_le_bytes),
        (FLOAT, 64) => mono(chunk, layout, limits, deadline, |bytes| f64::from_le_bytes(bytes) as f32),
        (MU_LAW, 8) => {
            let table = table(mu_law);
            mono(chunk, layout, limits, deadline, |[byte]| table[usize::from(byte)])
        }
        (A_LAW, 8) => {
            let table = table(a_law);
            mono(chunk, layout, limits, deadline, |[byte]| table[usize::from(byte)])
        }
        _ => return Ok(None),
    }?;
    let Layout { sample_rate_hz, channels, .. } = *layout;
    Ok(Some(Clip { samples, sample_rate_hz, channels, container: "WAV" }))
}

fn mono<const BYTES: usize>(
    chunk: &[u8],
    layout: &Layout,
    limits: &Limits,
    deadline: Deadline,
    sample: impl Fn([u8; BYTES]) -> f32,
) -> Result<Vec<f32>, DecodeError> {
    let channels = usize::from(layout.channels);
    let (places, _) = chunk.as_chunks::<BYTES>();
    if places.len() / channels > limits.max_samples(layout.sample_rate_hz) {
        return Err(limits.exceeded(layout.sample_rate_hz));
    }
    let scale = 1.0 / channels as f32;
    let mut samples = Vec::with_capacity(places.len() / channels);
    let mut finite = true;
    for (index, block) in places.chunks(BLOCK_FRAMES * channels).enumerate() {
        if index % BLOCKS_PER_LOOK == 0 && deadline.passed() {
            return Err(deadline.error());
        }
        let start = samples.len();
        match channels {
            1 => samples.extend(block.iter().map(|bytes| sample(*bytes))),
            2 => {
                let frames = block.as_chunks::<2>().0.iter();
                samples.extend(frames.map(|[left, right]| (sample(*left) + sample(*right)) * scale));
            }
            _ => {
                let frames = block.chunks_exact(channels);
                samples.extend(frames.map(|frame| frame.iter().map(|bytes| sample(*bytes)).sum::<f32>() * scale));
            }
        }
        finite &= peak(&samples[start..]).is_finite();
    }
    if finite { Ok(samples) } else { Err(super::not_finite("WAV", &samples)) }
}

fn table(law: impl Fn(u8) -> i16) -> [f32; 256] {
    std::array::from_fn(|byte| f32::from(law(byte as u8)) / 32_768.0)
}

/// G.711, table 2b: the byte is sent inverted; 14 bits, here at the top of 16.
fn mu_law(byte: u8) -> i16 {
    const BIAS: i16 = 0x84;
    let bits = !byte;
    let magnitude = ((i16::from(bits & 0x0F) << 3) + BIAS) << ((bits & 0x70) >> 4);
    if bits & 0x80 == 0 { magnitude - BIAS } else { BIAS - magnitude }
}

/// G.711, table 1b: every other bit is sent inverted; 13 bits, here at the top of 16.
fn a_law(byte: u8) -> i16 {
    let bits = byte ^ 0x55;
    let step = i16::from(bits & 0x0F) << 4;
    let magnitude = match (bits & 0x70) >> 4 {
        0 => step + 8,
        segment => (step + 0x108) << (segment - 1),
    };
    if bits & 0x80 == 0 { -magnitude } else { magnitude }
}

fn broken(reason: impl Into<String>) -> DecodeError {
    DecodeError::Broken { container: "WAV", reason: reason.into() }
}
