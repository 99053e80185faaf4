//! Whole files, which tell their length.

use bytes::{Bytes, BytesMut};

use super::{Codec, EncodeError, Encoder, Spec, pcm::SampleKind, wav::Wav};

/// A file of all the sound: mono float32 at `sample_rate_hz`, in pieces as they come.
///
/// # Errors
/// What `Encoder::whole` and `Encoder::encode` say.
pub fn encode_file<'a>(
    pieces: impl IntoIterator<Item = &'a [f32]> + Clone,
    sample_rate_hz: u32,
    spec: &Spec,
) -> Result<Bytes, EncodeError> {
    let samples: u64 = pieces.clone().into_iter().map(|piece| piece.len() as u64).sum();
    let mut encoder = Encoder::whole(spec, sample_rate_hz, samples)?;
    let mut bytes = BytesMut::with_capacity(spec.expected_bytes(samples, sample_rate_hz));
    for piece in pieces {
        encoder.encode_into(piece, &mut bytes)?;
    }
    encoder.finish(&mut bytes)?;
    encoder.amend(&mut bytes)?;
    Ok(bytes.freeze())
}

/// A WAV file of mono sound, 16 bits, at any rate.
#[must_use]
pub fn wav_file(sound: &[f32], sample_rate_hz: u32) -> Bytes {
    let mut bytes = BytesMut::new();
    let encoded = Wav::new(SampleKind::S16, sample_rate_hz, Some(sound.len() as u64)).encode(sound, &mut bytes);
    debug_assert!(encoded.is_ok(), "samples are only copied");
    bytes.freeze()
}
