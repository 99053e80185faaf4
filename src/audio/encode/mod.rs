//! Mono float32 to the bytes that a client asked for, piece by piece: a file for each codec. Runs on the caller's thread;
//! `Workers` are threads for those codecs that take long.

mod file;
mod flac;
mod format;
#[cfg(feature = "mp3")]
mod mp3;
mod mulaw;
mod opus;
pub mod pcm;
#[cfg(test)]
mod tests;
mod wav;
mod workers;

use bytes::{Bytes, BytesMut};

use pcm::SampleKind;

pub use file::{encode_file, wav_file};
pub use format::{Format, Spec};
pub use workers::{Encoded, Pieces, Workers};

use super::{
    limiter::Limiter,
    resample::{Quality, ResampleError, Resampler},
};

#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum EncodeError {
    #[error("sample_rate: {format} has {allowed}, not {found} Hz")]
    Rate { format: &'static str, allowed: String, found: u32 },
    #[error("bitrate: {format} {allowed}, not {found} bit/s")]
    Bitrate { format: &'static str, allowed: String, found: u32 },
    #[error(transparent)]
    Resample(#[from] ResampleError),
    /// The library that encodes it says no.
    #[error("{format} could not be encoded: {message}")]
    Failed { format: &'static str, message: String },
}

/// One sound on its way into one format, at the format's rate.
trait Codec: Send {
    /// Puts what is finished behind what `bytes` holds.
    fn encode(&mut self, pcm: &[f32], bytes: &mut BytesMut) -> Result<(), EncodeError>;
    /// Puts the rest behind what `bytes` holds.
    fn finish(&mut self, bytes: &mut BytesMut) -> Result<(), EncodeError>;
    /// After `finish`: puts right what stands at the beginning of a whole file and is known at its end.
    fn amend(&mut self, _file: &mut BytesMut) -> Result<(), EncodeError> {
        Ok(())
    }
}

/// Turns the sound of one answer into bytes, piece by piece. However it is cut, the bytes are the same. A header goes out
/// together with the first sound, so that the first byte means that speech has started.
pub struct Encoder {
    codec: Box<dyn Codec>,
    /// None: the sound has the format's rate already.
    resampler: Option<Resampler>,
    resampled: Vec<f32>,
    /// Behind the resampler. None: it goes out as it is.
    limiter: Option<Limiter>,
    limited: Vec<f32>,
    rate_hz: u32,
    light: bool,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Encoder").field("light", &self.light).finish_non_exhaustive()
    }
}

impl Encoder {
    /// For sound at `sample_rate_hz` whose length is not known yet.
    ///
    /// # Errors
    /// What `Spec::check` says, and rates that cannot be resampled.
    pub fn streamed(spec: &Spec, sample_rate_hz: u32) -> Result<Self, EncodeError> {
        Self::new(spec, sample_rate_hz, None)
    }

    /// For exactly `samples` samples at `sample_rate_hz`. Some formats tell their length right only after `amend`.
    ///
    /// # Errors
    /// As `streamed`.
    pub fn whole(spec: &Spec, sample_rate_hz: u32, samples: u64) -> Result<Self, EncodeError> {
        Self::new(spec, sample_rate_hz, Some(samples))
    }

    fn new(spec: &Spec, sample_rate_hz: u32, samples: Option<u64>) -> Result<Self, EncodeError> {
        spec.check()?;
        let rate_hz = spec.rate_hz(sample_rate_hz);
        let resampler = Resampler::new(sample_rate_hz, rate_hz, Quality::High)?;
        let resampler = (rate_hz != sample_rate_hz).then_some(resampler);
        let samples =
            samples.map(|samples| resampler.as_ref().map_or(samples, |resampler| resampler.output_samples(samples)));
        let codec: Box<dyn Codec> = match spec.format {
            Format::Wav => Box::new(wav::Wav::new(SampleKind::S16, rate_hz, samples)),
            Format::WavF32 => Box::new(wav::Wav::new(SampleKind::F32, rate_hz, samples)),
            Format::Pcm => Box::new(pcm::Raw(SampleKind::S16)),
            Format::PcmF32 => Box::new(pcm::Raw(SampleKind::F32)),
            Format::MuLaw => Box::new(mulaw::MuLaw),
            Format::Flac => Box::new(flac::Flac::new(rate_hz, samples)),
            Format::Opus => Box::new(opus::Opus::new(rate_hz, spec.bitrate_bps(rate_hz))?),
            #[cfg(feature = "mp3")]
            Format::Mp3 => Box::new(mp3::Mp3::new(rate_hz, spec.bitrate_bps(rate_hz), samples.is_some())?),
        };
        let light = spec.format.is_light() && resampler.is_none();
        Ok(Self { codec, resampler, resampled: Vec::new(), limiter: None, limited: Vec::new(), rate_hz, light })
    }

    /// For sound that has no peak above `ceiling`, so that it has none at the format's rate either: what is left out on the
    /// way to another rate may have kept a peak down.
    #[must_use]
    pub fn limited(mut self, ceiling: f32) -> Self {
        self.limiter = self.resampler.as_ref().map(|_| Limiter::new(self.rate_hz, 1.0, ceiling));
        self
    }

    /// It takes microseconds, so that it is not worth another thread.
    #[must_use]
    pub fn is_light(&self) -> bool {
        self.light
    }

    /// The bytes of the next sound: mono float32, −1 to 1 (beyond is clipped and
    /// what is not a number silent, but for float formats). May be none yet.
    ///
    /// # Errors
    /// What the codec's library says.
    pub fn encode(&mut self, pcm: &[f32]) -> Result<Bytes, EncodeError> {
        let mut bytes = BytesMut::new();
        self.encode_into(pcm, &mut bytes)?;
        Ok(bytes.freeze())
    }

    /// As `encode`, behind what `bytes` holds.
    ///
    /// # Errors
    /// As `encode`.
    pub fn encode_into(&mut self, pcm: &[f32], bytes: &mut BytesMut) -> Result<(), EncodeError> {
        let Some(resampler) = &mut self.resampler else { return self.codec.encode(pcm, bytes) };
        self.resampled.clear();
        resampler.push(pcm, &mut self.resampled);
        let sound = match &mut self.limiter {
            Some(limiter) => {
                self.limited.clear();
                limiter.push(&self.resampled, &mut self.limited);
                &self.limited
            }
            None => &self.resampled,
        };
        // Before there is sound there is no header.
        if sound.is_empty() { Ok(()) } else { self.codec.encode(sound, bytes) }
    }

    /// Puts the rest behind what `bytes` holds. Nothing may be encoded after it.
    ///
    /// # Errors
    /// As `encode`.
    pub fn finish(&mut self, bytes: &mut BytesMut) -> Result<(), EncodeError> {
        if let Some(mut resampler) = self.resampler.take() {
            self.resampled.clear();
            resampler.finish(&mut self.resampled);
            if let Some(mut limiter) = self.limiter.take() {
                self.limited.clear();
                limiter.push(&self.resampled, &mut self.limited);
                limiter.finish(&mut self.limited);
                self.codec.encode(&self.limited, bytes)?;
            } else {
                self.codec.encode(&self.resampled, bytes)?;
            }
        }
        self.codec.finish(bytes)
    }

    /// After `finish`: makes a whole file of all the bytes, which tells its true length.
    ///
    /// # Errors
    /// As `encode`.
    pub fn amend(&mut self, file: &mut BytesMut) -> Result<(), EncodeError> {
        self.codec.amend(file)
    }
}
