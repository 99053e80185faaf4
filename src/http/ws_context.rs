//! One text of a connection on `/v1/ws`, from its first word to its last sound. Owned by a task of its own; what it
//! tells waits in its order until the connection takes it, and nothing more is read from the engine meanwhile.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::AtomicBool},
};

use axum::extract::ws::Message;
use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    encoding::Encoding,
    error::ApiError,
    metrics::InFlight,
    native,
    ws_messages::Outgoing,
    ws_narration::{Input, Narration},
    ws_socket::Frame,
};
use crate::{
    audio::{Spec, encode::Workers},
    error::Error,
    speech::{Said, Speaking},
};

/// Of one binary message: a third of a second, so that messages of several contexts alternate.
const SOUND_BYTES: usize = 16 << 10;

pub struct Context {
    pub name: Arc<str>,
    pub narration: Narration,
    pub spec: Spec,
    pub workers: Arc<Workers>,
    pub captions: bool,
    /// False: nothing more of it is to be sent.
    pub live: Arc<AtomicBool>,
    pub out: mpsc::Sender<Frame>,
    pub in_flight: InFlight,
    /// The connection's, for the log.
    pub id: String,
}

/// What waits to be sent, and what was.
struct Told {
    queue: VecDeque<Frame>,
    /// None: the speech has not begun.
    encoding: Option<Encoding>,
    /// What came of the sound that was read last is not told yet.
    encodes: bool,
    /// All is read.
    ended: bool,
    /// Where the sound that is being encoded begins.
    start_ms: f64,
    begun_at: Option<Instant>,
    ttfa_ms: Option<f64>,
    sample_rate_hz: u32,
    samples: u64,
    bytes: u64,
}

impl Context {
    pub async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        let mut told = Told {
            queue: VecDeque::new(),
            encoding: None,
            encodes: false,
            ended: false,
            start_ms: 0.0,
            begun_at: None,
            ttfa_ms: None,
            sample_rate_hz: 1,
            samples: 0,
            bytes: 0,
        };
        let outcome = self.speak(&mut inputs, &mut told).await;
        let audio_ms = told.audio_ms();
        self.in_flight.metrics().audio_ms.increment(audio_ms as u64);
        self.in_flight.metrics().audio_bytes.increment(told.bytes);
        let (engine, voice, cached) = self
            .narration
            .speaking()
            .map_or(("", "", false), |speaking| (speaking.engine.as_str(), speaking.voice.as_str(), speaking.cached));
        let code = outcome.as_ref().map_or_else(Error::code, |()| "complete");
        let (id, context, ttfa_ms) = (&self.id, &*self.name, told.ttfa_ms);
        tracing::info!(
            id,
            path = "/v1/ws",
            context,
            ttfa_ms,
            audio_ms,
            engine,
            voice,
            cached,
            outcome = code,
            "speech"
        );
        // The name is free for another from here on.
        drop(inputs);
        let last = match outcome {
            Ok(()) => Outgoing::Done { context: &self.name, audio_ms },
            Err(error) => Outgoing::error(Some(&self.name), &ApiError::about(error, native::NAMES)),
        };
        let frame = self.frame(vec![text(&last)]);
        // Fails if the connection is gone.
        let _ = self.out.send(frame).await;
    }

    async fn speak(&mut self, inputs: &mut mpsc::Receiver<Input>, told: &mut Told) -> Result<(), Error> {
        let out = self.out.clone();
        loop {
            let hurry_at = self.narration.hurry_at();
            tokio::select! {
                permit = out.reserve(), if !told.queue.is_empty() => {
                    if let (Ok(permit), Some(frame)) = (permit, told.queue.pop_front()) {
                        permit.send(frame);
                    }
                }
                // Text is taken also while nobody reads: a client may write all of it first.
                Some(input) = inputs.recv() => {
                    let at = Instant::now();
                    if self.narration.take(input).await? {
                        self.begun(at, told)?;
                    }
                    if !told.encodes {
                        self.tell_flushes(told);
                    }
                }
                encoded = encoded(&mut told.encoding), if told.queue.is_empty() && told.encodes => match encoded? {
                    Some(bytes) => self.tell_sound(bytes, told),
                    None if told.ended => return Ok(()),
                    None => {
                        told.encodes = false;
                        self.tell_flushes(told);
                    }
                },
                said = self.narration.next(), if told.queue.is_empty() && !told.encodes => match said? {
                    Some(said) => {
                        self.tell(said, told);
                        if !told.encodes {
                            self.tell_flushes(told);
                        }
                    }
                    None if told.samples == 0 => {
                        let message = "there is nothing to say: the text has no letters and no digits";
                        return Err(Error::invalid("nothing_to_say", Some("text"), message));
                    }
                    None => {
                        (told.ended, told.encodes) = (true, true);
                        if let Some(encoding) = &mut told.encoding {
                            encoding.push(None);
                        }
                    }
                },
                () = sleep_until(hurry_at.unwrap_or_else(Instant::now)), if hurry_at.is_some() => {
                    let at = Instant::now();
                    if self.narration.hurry().await? {
                        self.begun(at, told)?;
                    }
                }
            }
        }
    }

    fn begun(&self, at: Instant, told: &mut Told) -> Result<(), Error> {
        let Some(speaking) = self.narration.speaking() else { return Ok(()) };
        let Speaking { engine, voice, seed, cached, sample_rate_hz, ceiling, .. } = speaking;
        told.begun_at = Some(at);
        told.sample_rate_hz = *sample_rate_hz;
        told.encoding = Some(Encoding::streamed(&self.workers, &self.spec, *sample_rate_hz, *ceiling)?);
        let started = Outgoing::Started {
            context: &self.name,
            engine,
            voice,
            seed: *seed,
            cached: *cached,
            format: self.spec.format.name(),
            sample_rate_hz: self.spec.rate_hz(*sample_rate_hz),
        };
        told.queue.push_back(self.frame(vec![text(&started)]));
        Ok(())
    }

    fn tell(&self, said: Said, told: &mut Told) {
        let pcm = match said {
            Said::Caption(caption) if self.captions => {
                let caption = Outgoing::Caption { context: &self.name, caption: &caption };
                told.queue.push_back(self.frame(vec![text(&caption)]));
                return;
            }
            Said::Caption(_) => return,
            Said::Sound(pcm) if pcm.is_empty() => return,
            Said::Sound(pcm) => pcm,
        };
        if told.ttfa_ms.is_none() {
            let ttfa_ms = told.begun_at.map_or(0.0, |at| at.elapsed().as_secs_f64() * 1e3);
            told.ttfa_ms = Some(ttfa_ms);
            self.in_flight.metrics().ttfa_ms.record(ttfa_ms);
        }
        told.start_ms = told.audio_ms();
        told.samples += pcm.len() as u64;
        if let Some(encoding) = &mut told.encoding {
            encoding.push(Some(pcm));
            told.encodes = true;
        }
    }

    /// What was encoded of the sound that was read last.
    fn tell_sound(&self, mut bytes: Bytes, told: &mut Told) {
        told.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(SOUND_BYTES));
            let samples = self.spec.format.sample_bytes().map_or(0, |sample_bytes| piece.len() / sample_bytes);
            told.queue.push_back(self.sound(told.start_ms, piece));
            told.start_ms += samples as f64 * 1e3 / f64::from(self.spec.rate_hz(told.sample_rate_hz));
        }
    }

    fn sound(&self, start_ms: f64, bytes: Bytes) -> Frame {
        let start_ms = (start_ms * 1e3).round() / 1e3;
        let audio = Outgoing::Audio { context: &self.name, start_ms, bytes: bytes.len() };
        self.frame(vec![text(&audio), Message::Binary(bytes)])
    }

    fn tell_flushes(&mut self, told: &mut Told) {
        for _ in 0..self.narration.flushed() {
            told.queue.push_back(self.frame(vec![text(&Outgoing::Flushed { context: &self.name })]));
        }
    }

    fn frame(&self, messages: Vec<Message>) -> Frame {
        Frame { messages, live: Some(Arc::clone(&self.live)) }
    }
}

impl Told {
    fn audio_ms(&self) -> f64 {
        (self.samples as f64 * 1e6 / f64::from(self.sample_rate_hz)).round() / 1e3
    }
}

/// Waits forever for what has not begun.
async fn encoded(encoding: &mut Option<Encoding>) -> Result<Option<Bytes>, Error> {
    match encoding {
        Some(encoding) => encoding.next().await,
        None => std::future::pending().await,
    }
}

fn text(message: &Outgoing<'_>) -> Message {
    Message::Text(message.json().into())
}
