//! Mu-law, as telephony has it: 8 bits a sample (ITU-T G.711).

use bytes::BytesMut;

use super::{Codec, EncodeError, pcm};

/// Added to a magnitude, so that its highest bit tells the segment.
const BIAS: i32 = 33;
/// Of the 14 bits that the law is defined on.
const LARGEST: i32 = 8_158;

pub(super) struct MuLaw;

impl Codec for MuLaw {
    fn encode(&mut self, sound: &[f32], bytes: &mut BytesMut) -> Result<(), EncodeError> {
        bytes.extend(sound.iter().map(|sample| encoded(pcm::s16(*sample))));
        Ok(())
    }

    fn finish(&mut self, _: &mut BytesMut) -> Result<(), EncodeError> {
        Ok(())
    }
}

fn encoded(sample: i16) -> u8 {
    let magnitude = (i32::from(sample).abs() >> 2).min(LARGEST) + BIAS;
    let segment = 26 - magnitude.leading_zeros();
    let step = (magnitude >> (segment + 1)) & 0xF;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (segment as u8) << 4 | step as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// G.711's decoder, in 16 bits.
    fn decoded(code: u8) -> i32 {
        let code = !code;
        let magnitude = ((i32::from(code & 0xF) << 1 | 33) << (code >> 4 & 7)) - 33;
        if code & 0x80 == 0 { magnitude << 2 } else { -(magnitude << 2) }
    }

    #[test]
    fn known_codes() {
        for (sample, code) in [(0, 0xFF), (-1, 0x7F), (32_767, 0x80), (-32_768, 0x00), (8, 0xFE), (1_000, 0xCE)] {
            assert_eq!(encoded(sample), code, "{sample}");
        }
    }

    #[test]
    fn every_sample_goes_to_a_nearest_code() {
        for sample in i16::MIN..=i16::MAX {
            let error = (decoded(encoded(sample)) - i32::from(sample)).abs();
            // Half a step of its segment, and what 14 bits leave out.
            let step = 8 << ((i32::from(sample).abs() / 4 + BIAS).ilog2().saturating_sub(5));
            assert!(error <= step / 2 + 4 || i32::from(sample).abs() > 4 * LARGEST, "{sample}: {error}");
        }
    }

    #[test]
    fn every_code_means_itself() {
        for code in 0..=u8::MAX {
            let sample = decoded(code);
            // There are two codes for zero.
            assert!(encoded(sample as i16) == code || sample == 0, "{code:#x}");
        }
    }
}
