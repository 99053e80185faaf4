//! Speech as the body of an answer: encoded piece by piece while it is made, or in whole.

use std::{
    collections::VecDeque,
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use axum::http::Method;
use bytes::{Bytes, BytesMut};
use futures_core::Stream;

use super::{
    App,
    call::{Call, sounds},
    door::Arrival,
    encoding::Encoding,
    error::{ApiError, Names},
    events::Events,
    metrics::{InFlight, Route},
};
use crate::{
    audio::{limiter, loudness},
    error::Error,
    speech::{Level, Loudness, Pcm, Said, Speaking},
};

/// Counts what a client was sent, and writes its request's log line when it is dropped.
pub struct Sent {
    pub arrival: Arrival,
    pub method: Method,
    pub route: Route,
    pub ttfa_ms: f64,
    pub sample_rate_hz: u32,
    pub engine: String,
    pub voice: String,
    pub cached: bool,
    pub in_flight: InFlight,
}

/// Speech that goes out while it is made. An error ends plain sound with an error of the body, which breaks the
/// connection off, and events with an event that tells it: a client can tell either from a clean end.
pub struct SoundStream {
    /// What is there already.
    ready: VecDeque<Bytes>,
    /// What was read up to the first sound, and is yet to be encoded.
    said: VecDeque<Said>,
    encoding: Encoding,
    next: Next,
    events: Option<Events>,
    names: Names,
    sent: Sent,
    samples: u64,
    bytes: u64,
    outcome: &'static str,
}

type Reading = Pin<Box<dyn Future<Output = (Speaking, Result<Option<Said>, Error>)> + Send>>;

enum Next {
    Reading(Reading),
    /// All is read, and its end is being encoded.
    Ending,
    Failed(Error),
    Over,
}

impl SoundStream {
    #[must_use]
    pub fn new(call: &Call, encoding: Encoding, first: Vec<Said>, speaking: Speaking, sent: Sent) -> Self {
        let mut stream = Self {
            ready: VecDeque::with_capacity(4),
            said: first.into(),
            encoding,
            next: Next::Over,
            events: Events::new(call.wrap, call.text.chars().count()),
            names: call.names,
            sent,
            samples: 0,
            bytes: 0,
            outcome: "client_left",
        };
        if let Some(events) = &stream.events {
            let start = events.start(&call.spec, &speaking);
            stream.send(start);
        }
        stream.next = Next::Reading(read(speaking));
        stream
    }

    fn take(&mut self, said: Said) {
        match said {
            Said::Sound(pcm) => {
                self.samples += pcm.len() as u64;
                self.encoding.push(Some(pcm));
            }
            Said::Caption(caption) => {
                if let Some(events) = &self.events {
                    let told = events.caption(&caption);
                    self.send(told);
                }
            }
        }
    }

    fn send_sound(&mut self, sound: Bytes) {
        let sound = match &self.events {
            Some(events) => events.sound(&sound),
            None => sound,
        };
        self.send(sound);
    }

    /// An empty chunk would be taken for the end of a chunked body by a careless client.
    fn send(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.bytes += bytes.len() as u64;
            self.ready.push_back(bytes);
        }
    }

    fn end(&mut self) {
        self.outcome = "complete";
        if let Some(events) = &self.events {
            let done = events.done(self.samples, self.sent.sample_rate_hz);
            self.send(done);
        }
    }

    fn fail(&mut self, error: Error) {
        self.outcome = error.code();
        tracing::warn!(id = self.sent.arrival.id(), %error, "speech broken off");
        match &self.events {
            Some(events) => {
                let told = events.error(&ApiError::about(error, self.names));
                self.send(told);
            }
            None => self.next = Next::Failed(error),
        }
    }
}

fn read(mut speaking: Speaking) -> Reading {
    Box::pin(async move {
        let outcome = speaking.next().await;
        (speaking, outcome)
    })
}

impl Stream for SoundStream {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(bytes)));
            }
            if let Next::Reading(_) | Next::Ending = self.next {
                match self.encoding.poll_next(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(Some(sound))) => {
                        self.send_sound(sound);
                        continue;
                    }
                    Poll::Ready(Ok(None)) => {}
                    Poll::Ready(Err(error)) => {
                        self.next = Next::Over;
                        self.fail(error);
                        continue;
                    }
                }
                if let Some(said) = self.said.pop_front() {
                    self.take(said);
                    continue;
                }
            }
            match std::mem::replace(&mut self.next, Next::Over) {
                Next::Reading(mut reading) => {
                    let Poll::Ready((speaking, outcome)) = reading.as_mut().poll(context) else {
                        self.next = Next::Reading(reading);
                        return Poll::Pending;
                    };
                    match outcome {
                        Ok(Some(said)) => {
                            self.next = Next::Reading(read(speaking));
                            self.take(said);
                        }
                        Ok(None) => {
                            self.next = Next::Ending;
                            self.encoding.push(None);
                        }
                        Err(error) => self.fail(error),
                    }
                }
                Next::Ending => self.end(),
                Next::Failed(error) => return Poll::Ready(Some(Err(io::Error::other(error)))),
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
            method = sent.method.as_str(),
            path = sent.route.label(),
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
    pub fn count(&self, samples: u64, bytes: u64) -> u64 {
        let audio_ms = samples * 1000 / u64::from(self.sample_rate_hz.max(1));
        self.in_flight.metrics().audio_ms.increment(audio_ms);
        self.in_flight.metrics().audio_bytes.increment(bytes);
        audio_ms
    }
}

/// Waits for all of the speech and encodes it with its true length; also how many samples it is.
///
/// # Errors
/// Whatever ended the speech before its end.
pub async fn whole(
    app: &App,
    call: &Call,
    first: Vec<Said>,
    mut speaking: Speaking,
    sent: &Sent,
) -> Result<(Bytes, u64), Error> {
    let mut chunks: Vec<_> = sounds(&first).cloned().collect();
    while let Some(chunk) = speaking.next_sound().await? {
        chunks.push(chunk);
    }
    if app.speech.loudness(&call.level) == Loudness::File {
        chunks = vec![levelled(app, call.level, chunks, speaking.sample_rate_hz).await?];
    }
    let samples = chunks.iter().map(|chunk| chunk.len() as u64).sum();
    let mut encoding = Encoding::whole(&app.workers, &call.spec, speaking.sample_rate_hz, speaking.ceiling, samples)?;
    let mut bytes = BytesMut::with_capacity(call.spec.expected_bytes(samples, speaking.sample_rate_hz));
    for chunk in chunks.into_iter().map(Some).chain([None]) {
        encoding.push(chunk);
        while let Some(encoded) = encoding.next().await? {
            bytes.extend_from_slice(&encoded);
        }
    }
    encoding.amend(&mut bytes)?;
    sent.count(samples, bytes.len() as u64);
    Ok((bytes.freeze(), samples))
}

/// Waits for all of the speech and makes it as loud as a file is to be: its captions, then its sound.
///
/// # Errors
/// Whatever ended the speech before its end.
pub async fn gathered(
    app: &App,
    call: &Call,
    first: Vec<Said>,
    mut speaking: Speaking,
) -> Result<(Vec<Said>, Speaking), Error> {
    let mut said = first;
    while let Some(next) = speaking.next().await? {
        said.push(next);
    }
    let chunks = sounds(&said).cloned().collect();
    let sound = levelled(app, call.level, chunks, speaking.sample_rate_hz).await?;
    said.retain(|said| matches!(said, Said::Caption(_)));
    said.push(Said::Sound(sound));
    Ok((said, speaking))
}

/// It takes a hundredth of a second for each minute: too long for a thread of the network's.
async fn levelled(app: &App, level: Level, chunks: Vec<Pcm>, sample_rate_hz: u32) -> Result<Pcm, Error> {
    let config = &app.config.loudness;
    let (target_lufs, ceiling) = (config.target_lufs, loudness::amplitude(config.true_peak_dbtp));
    let levelled = tokio::task::spawn_blocking(move || {
        let sound: Vec<f32> = chunks.iter().flat_map(|chunk| chunk.iter().copied()).collect();
        limiter::level_whole(&sound, sample_rate_hz, target_lufs, ceiling, level.volume)
    });
    match levelled.await {
        Ok(Ok(sound)) => Ok(Pcm::new(sound)),
        Ok(Err(error)) => Err(Error::EncodeFailed { message: error.to_string() }),
        Err(error) => Err(Error::EncodeFailed { message: error.to_string() }),
    }
}
