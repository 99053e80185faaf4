//! The encoding of one answer: at once where that takes microseconds, else by the program's encoding threads.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};

use crate::{
    audio::{
        EncodeError, Encoder, Spec,
        encode::{Encoded, Pieces, Workers},
    },
    error::Error,
    speech::Pcm,
};

/// Of sound that is pushed chunk by chunk, with nothing at its end; what came of one is read before the next.
pub struct Encoding {
    workers: Arc<Workers>,
    state: State,
}

enum State {
    Idle(Box<Encoder>),
    /// Of a light format.
    Made(Box<Encoder>, Bytes),
    Working(Pieces),
    /// An error has been told.
    Broken,
}

impl Encoding {
    /// Of a stream, at the sound's rate. `ceiling`: what no peak of it exceeds, and none is to exceed.
    ///
    /// # Errors
    /// A rate that the format cannot be brought to.
    pub fn streamed(
        workers: &Arc<Workers>,
        spec: &Spec,
        sample_rate_hz: u32,
        ceiling: Option<f32>,
    ) -> Result<Self, Error> {
        Ok(Self::of(workers, Encoder::streamed(spec, sample_rate_hz)?, ceiling))
    }

    /// Of a file of exactly `samples` samples.
    ///
    /// # Errors
    /// As `streamed`.
    pub fn whole(
        workers: &Arc<Workers>,
        spec: &Spec,
        sample_rate_hz: u32,
        ceiling: Option<f32>,
        samples: u64,
    ) -> Result<Self, Error> {
        Ok(Self::of(workers, Encoder::whole(spec, sample_rate_hz, samples)?, ceiling))
    }

    fn of(workers: &Arc<Workers>, encoder: Encoder, ceiling: Option<f32>) -> Self {
        let encoder = match ceiling {
            Some(ceiling) => encoder.limited(ceiling),
            None => encoder,
        };
        Self { workers: Arc::clone(workers), state: State::Idle(Box::new(encoder)) }
    }

    /// The next sound, or with nothing the end of it.
    pub fn push(&mut self, sound: Option<Pcm>) {
        let State::Idle(mut encoder) = std::mem::replace(&mut self.state, State::Broken) else { return };
        if !encoder.is_light() {
            self.state = State::Working(self.workers.encode(*encoder, sound));
            return;
        }
        let mut bytes = BytesMut::new();
        let outcome = match sound {
            Some(sound) => encoder.encode_into(&sound, &mut bytes),
            None => encoder.finish(&mut bytes),
        };
        if outcome.is_ok() {
            self.state = State::Made(encoder, bytes.freeze());
        }
    }

    /// The next bytes of what was pushed; none once they were all read.
    ///
    /// # Errors
    /// `EncodeFailed`.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        match std::mem::replace(&mut self.state, State::Broken) {
            State::Idle(encoder) => {
                self.state = State::Idle(encoder);
                Poll::Ready(Ok(None))
            }
            State::Made(encoder, bytes) => {
                self.state = State::Idle(encoder);
                Poll::Ready(Ok((!bytes.is_empty()).then_some(bytes)))
            }
            State::Working(mut pieces) => {
                let polled = pieces.poll_next(context);
                match polled {
                    Poll::Pending => {
                        self.state = State::Working(pieces);
                        Poll::Pending
                    }
                    Poll::Ready(Ok(Encoded::Bytes(bytes))) => {
                        self.state = State::Working(pieces);
                        Poll::Ready(Ok(Some(bytes)))
                    }
                    Poll::Ready(Ok(Encoded::Done(encoder))) => {
                        self.state = State::Idle(encoder);
                        Poll::Ready(Ok(None))
                    }
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
                }
            }
            State::Broken => Poll::Ready(Err(Error::EncodeFailed { message: "it has failed before".to_owned() })),
        }
    }

    /// As `poll_next`. Safe to drop while it waits.
    ///
    /// # Errors
    /// As `poll_next`.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// Puts right what stands at the beginning of a whole file, when all of it has been read.
    ///
    /// # Errors
    /// As `poll_next`.
    pub fn amend(&mut self, file: &mut BytesMut) -> Result<(), Error> {
        match &mut self.state {
            State::Idle(encoder) => Ok(encoder.amend(file)?),
            _ => Err(Error::EncodeFailed { message: "it is not complete".to_owned() }),
        }
    }
}

impl From<EncodeError> for Error {
    fn from(error: EncodeError) -> Self {
        let (code, param) = match &error {
            EncodeError::Rate { .. } | EncodeError::Resample(_) => ("unsupported_sample_rate", "sample_rate"),
            EncodeError::Bitrate { .. } => ("unsupported_bitrate", "bitrate"),
            EncodeError::Failed { .. } => return Self::EncodeFailed { message: error.to_string() },
        };
        Self::invalid(code, Some(param), error.to_string())
    }
}
