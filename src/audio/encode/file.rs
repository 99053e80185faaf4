//! Whole files, which tell their length.

use bytes::{Bytes, BytesMut};

use super::{EncodeError, Encoder, Spec};

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
