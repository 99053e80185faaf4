//! Speech as the body of an answer: encoded piece by piece while it is made, or in whole.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;

use super::{door::Arrival, metrics::InFlight};
use crate::{
    audio::{Encoder, Format},
    error::Error,
    speech::{Pcm, Speaking},
};

/// Counts what a client was sent, and writes its request's log line when it is dropped.
pub struct Sent {
    pub arrival: Arrival,
    pub ttfa_ms: f64,
    pub sample_rate_hz: u32,
    pub engine: String,
    pub voice: String,
    pub cached: bool,
    pub in_flight: InFlight,
}

/// Speech that goes out while it is made. An error ends the body with an error, which breaks the connection off: a
/// client can tell it from a clean end.
pub struct SoundStream {
    next: Next,
    encoder: Encoder,
    sent: Sent,
    samples: u64,
    bytes: u64,
    outcome: &'static str,
}

type Reading = Pin<Box<dyn Future<Output = (Speaking, Result<Option<Pcm>, Error>)> + Send>>;

enum Next {
    First(Pcm, Speaking),
    Reading(Reading),
    Over,
}

impl SoundStream {
    #[must_use]
    pub fn new(format: Format, first: Pcm, speaking: Speaking, sent: Sent) -> Self {
        let encoder = Encoder::streamed(format, sent.sample_rate_hz);
        Self { next: Next::First(first, speaking), encoder, sent, samples: 0, bytes: 0, outcome: "client_left" }
    }

    fn encode(&mut self, pcm: &[f32]) -> Bytes {
        let bytes = self.encoder.encode(pcm);
        self.samples += pcm.len() as u64;
        self.bytes += bytes.len() as u64;
        bytes
    }
}

fn read(mut speaking: Speaking) -> Reading {
    Box::pin(async move {
        let outcome = speaking.next_sound().await;
        (speaking, outcome)
    })
}

impl Stream for SoundStream {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            match std::mem::replace(&mut self.next, Next::Over) {
                Next::First(pcm, speaking) => {
                    self.next = Next::Reading(read(speaking));
                    return Poll::Ready(Some(Ok(self.encode(&pcm))));
                }
                Next::Reading(mut reading) => {
                    let Poll::Ready((speaking, outcome)) = reading.as_mut().poll(context) else {
                        self.next = Next::Reading(reading);
                        return Poll::Pending;
                    };
                    match outcome {
                        Ok(Some(pcm)) => {
                            self.next = Next::Reading(read(speaking));
                            // An empty chunk would be taken for the end of a chunked body by a careless client.
                            if !pcm.is_empty() {
                                return Poll::Ready(Some(Ok(self.encode(&pcm))));
                            }
                        }
                        Ok(None) => self.outcome = "complete",
                        Err(error) => {
                            self.outcome = error.code();
                            tracing::warn!(id = self.sent.arrival.id(), %error, "speech broken off");
                            return Poll::Ready(Some(Err(io::Error::other(error))));
                        }
                    }
                }
                Next::Over => return Poll::Ready(None),
            }
        }
    }
}

impl Drop for SoundStream {
    fn drop(&mut self) {
        let audio_ms = self.sent.count(self.samples, self.bytes);
        let sent = &self.sent;
        tracing::info!(
            id = sent.arrival.id(),
            method = "POST",
            path = "/v1/audio/speech",
            status = 200,
            ms = sent.arrival.elapsed_ms(),
            ttfa_ms = sent.ttfa_ms,
            audio_ms,
            engine = sent.engine,
            voice = sent.voice,
            cached = sent.cached,
            outcome = self.outcome,
            "request"
        );
    }
}

impl Sent {
    fn count(&self, samples: u64, bytes: u64) -> u64 {
        let audio_ms = samples * 1000 / u64::from(self.sample_rate_hz.max(1));
        self.in_flight.metrics().audio_ms.increment(audio_ms);
        self.in_flight.metrics().audio_bytes.increment(bytes);
        audio_ms
    }
}

/// Waits for all of the speech and encodes it with its true length.
///
/// # Errors
/// Whatever ended the speech before its end.
pub async fn whole(format: Format, first: Pcm, mut speaking: Speaking, sent: &Sent) -> Result<Bytes, Error> {
    let mut chunks = vec![first];
    while let Some(chunk) = speaking.next_sound().await? {
        chunks.push(chunk);
    }
    let samples = chunks.iter().map(|chunk| chunk.len() as u64).sum();
    let mut encoder = Encoder::whole(format, sent.sample_rate_hz, samples);
    let mut bytes = BytesMut::with_capacity(samples as usize * 2 + 64);
    for chunk in &chunks {
        encoder.encode_into(chunk, &mut bytes);
    }
    sent.count(samples, bytes.len() as u64);
    Ok(bytes.freeze())
}
