//! Raw samples, little endian: 16-bit integers and float32.

use bytes::BytesMut;

use super::{Codec, EncodeError};

pub const BYTES_PER_SAMPLE: usize = 2;

const FULL_SCALE: f32 = 32_767.0;

/// Adding 1.5 × 2²³ moves a float32 into the range where its last place is one, which rounds it to nearest and leaves
/// the integer in the low bits of its mantissa. Unlike `round` and a saturating cast it needs no SSE4.1, so the loop
/// below becomes vector code on every CPU. A NaN would come out as silence.
const ROUNDING_BIAS: f32 = 12_582_912.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SampleKind {
    S16,
    F32,
}

impl SampleKind {
    pub const fn bytes(self) -> usize {
        match self {
            Self::S16 => BYTES_PER_SAMPLE,
            Self::F32 => size_of::<f32>(),
        }
    }

    pub fn append(self, pcm: &[f32], bytes: &mut BytesMut) {
        match self {
            Self::S16 => s16le_into(pcm, bytes),
            Self::F32 => f32le_into(pcm, bytes),
        }
    }
}

/// Samples and nothing else.
pub(super) struct Raw(pub SampleKind);

impl Codec for Raw {
    fn encode(&mut self, pcm: &[f32], bytes: &mut BytesMut) -> Result<(), EncodeError> {
        self.0.append(pcm, bytes);
        Ok(())
    }

    fn finish(&mut self, _: &mut BytesMut) -> Result<(), EncodeError> {
        Ok(())
    }
}

/// As they are, beyond full scale too.
fn f32le_into(pcm: &[f32], bytes: &mut BytesMut) {
    let start = bytes.len();
    bytes.resize(start + size_of_val(pcm), 0);
    for (place, sample) in bytes[start..].chunks_exact_mut(size_of::<f32>()).zip(pcm) {
        place.copy_from_slice(&sample.to_le_bytes());
    }
}

/// Puts the samples behind what `bytes` holds: clipped to −1 … 1, times 32,767, rounded to nearest (ties to even).
pub fn s16le_into(pcm: &[f32], bytes: &mut BytesMut) {
    let start = bytes.len();
    bytes.resize(start + pcm.len() * BYTES_PER_SAMPLE, 0);
    for (place, sample) in bytes[start..].chunks_exact_mut(BYTES_PER_SAMPLE).zip(pcm) {
        place.copy_from_slice(&s16(*sample).to_le_bytes());
    }
}

/// −1 … 1, and silence for what is not a number: codecs in C may end the program over it.
#[inline(always)]
pub(super) fn clipped(sample: f32) -> f32 {
    if sample.is_nan() { 0.0 } else { sample.clamp(-1.0, 1.0) }
}

/// As `s16le_into` rounds one.
#[inline(always)]
pub(super) fn s16(sample: f32) -> i16 {
    (sample.clamp(-1.0, 1.0) * FULL_SCALE + ROUNDING_BIAS).to_bits() as i16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_samples() {
        let cases = [
            (0.0, 0),
            (-0.0, 0),
            (1.0, 32_767),
            (-1.0, -32_767),
            (2.0, 32_767),
            (-7.5, -32_767),
            (f32::INFINITY, 32_767),
            (f32::NEG_INFINITY, -32_767),
            (0.5, 16_384),
            (-0.5, -16_384),
            (1.4 / 32_767.0, 1),
            (1.6 / 32_767.0, 2),
            (-1.6 / 32_767.0, -2),
            (f32::MIN_POSITIVE, 0),
            (f32::NAN, 0),
        ];
        for (sample, expected) in cases {
            assert_eq!(s16(sample), expected, "{sample}");
        }
    }

    #[test]
    fn bytes_are_appended_in_little_endian_order() {
        let mut bytes = BytesMut::from(&b"head"[..]);
        s16le_into(&[1.0, -1.0, 0.0], &mut bytes);
        assert_eq!(bytes[..], *b"head\xff\x7f\x01\x80\x00\x00");
    }

    proptest! {
        #[test]
        fn every_sample_is_rounded_to_nearest(sample in -1.5f32..1.5) {
            let expected = (sample.clamp(-1.0, 1.0) * FULL_SCALE).round_ties_even() as i16;
            prop_assert_eq!(s16(sample), expected);
        }
    }
}
