//! ElevenLabs' `/v1/text-to-speech/{voice_id}/stream-input`: text in pieces over a WebSocket, and sound with the times of
//! its characters. One message a segment, as the times of a segment are known when it is whole.

use std::sync::Arc;

use axum::{
    extract::{
        Extension, Path, Query, Request, State,
        rejection::{PathRejection, QueryRejection},
        ws::Utf8Bytes,
    },
    response::{IntoResponse, Response},
};
use bytes::BytesMut;
use serde_json::Value;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    App, call,
    door::{Arrival, LoggedAtEnd},
    elevenlabs_messages::{self as messages, Params},
    error::ApiError,
    fields,
    metrics::InFlight,
    models,
    openapi::StreamInputErrors,
    seconds,
    ws_narration::{Input, Narration},
    ws_socket::{self, Close, Frame, Idle, Stopping},
};
use crate::{
    audio::{
        encode::pcm,
        limiter,
        resample::{ResampleError, resample},
    },
    error::Error,
    scheduler::Class,
    speech::{Caption, Level, Said, SpeechRequest},
};

/// Names of models there, which all stand for the configured route here.
const MODELS: &str = "eleven_";
/// What ElevenLabs gives clients that say nothing, in seconds, and the most that it lets them ask for.
const INACTIVITY_S: f64 = 20.0;
const MAX_INACTIVITY_S: f64 = 180.0;
const POLICY: u16 = 1008;
const INTERNAL: u16 = 1011;

/// Opens a WebSocket that takes ElevenLabs' messages.
///
/// Web pages of other origins are refused.
#[utoipa::path(get, path = "/v1/text-to-speech/{voice_id}/stream-input", tag = "websockets",
    operation_id = "streamInput",
    params(("voice_id" = String, Path, description = "A voice or an alias of one", example = "heart"), Params),
    responses((status = 101, description = "It is open"), StreamInputErrors))]
pub async fn stream_input(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    voice: Result<Path<String>, PathRejection>,
    params: Result<Query<Params>, QueryRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    let Path(voice) = voice.map_err(|_| Error::invalid("invalid_value", Some("voice"), "the voice is not UTF-8"))?;
    let invalid = |rejection: QueryRejection| Error::invalid("invalid_value", None, rejection.body_text());
    let Query(params) = params.map_err(invalid)?;
    let sample_rate_hz = params.sample_rate_hz()?;
    let inactivity_s = params.inactivity_timeout.unwrap_or(INACTIVITY_S);
    if !(inactivity_s > 0.0 && inactivity_s <= MAX_INACTIVITY_S) {
        let message = format!("\"inactivity_timeout\" must be a number of seconds above 0, {MAX_INACTIVITY_S} at most");
        return Err(Error::invalid("invalid_value", Some("inactivity_timeout"), message).into());
    }
    let model = params.model_id.filter(|model| !model.starts_with(MODELS));
    let request = SpeechRequest {
        text: String::new(),
        engine: models::engine_of(&app.speech.engines(), model.as_deref())?,
        voice: Some(voice),
        own_voice: None,
        whole: false,
        language: fields::language(params.language_code.into(), Value::Null)?,
        speed: 1.0,
        seed: params.seed,
        cache: false,
        streamed: true,
        class: Class::Interactive,
        owner: call::owner(&parts),
        params: Default::default(),
        level: Level::default(),
    };
    // All but the speed is checked while there can still be a status.
    drop(app.speech.dictate(request.clone())?);
    let (upgrade, seat) = ws_socket::upgrade(&app, &mut parts).await?;
    let response = upgrade.on_upgrade(move |socket| async move {
        let timeout = Close { last: None, ..Close::new(POLICY, "input_timeout_exceeded") };
        let idle = Idle { limit: seconds(inactivity_s), close: timeout };
        let in_flight = app.metrics.in_flight();
        let shared = Arc::clone(&app);
        let stopping = seat.stopping();
        let session = |texts, out| async move {
            let mut session =
                Session { app: shared, request, sample_rate_hz, out, in_flight, audio_ms: 0, samples: 0, began: None };
            let outcome = session.run(texts, stopping).await;
            session.log(&arrival, outcome.as_ref().err());
            match outcome {
                Ok(()) => Close { last: Some(messages::last()), ..Close::NORMAL },
                Err(error) => failure(&error),
            }
        };
        ws_socket::serve(socket, &app, idle, seat, session).await;
    });
    Ok((Extension(LoggedAtEnd), response).into_response())
}

fn failure(error: &Error) -> Close {
    let code = match error {
        Error::ShuttingDown => Close::GOING_AWAY.code,
        Error::EngineFailed { .. } => INTERNAL,
        _ => POLICY,
    };
    Close { last: Some(messages::failure(error, code)), ..Close::new(code, error.code()) }
}

struct Session {
    app: Arc<App>,
    request: SpeechRequest,
    sample_rate_hz: Option<u32>,
    out: mpsc::Sender<Frame>,
    in_flight: InFlight,
    audio_ms: u64,
    /// Samples that were sent, at the speech's own rate.
    samples: u64,
    began: Option<Instant>,
}

/// The segment that is being read.
#[derive(Default)]
struct Segment {
    pcm: Vec<f32>,
    caption: Option<Arc<Caption>>,
    sent: usize,
}

impl Session {
    async fn run(&mut self, mut texts: mpsc::Receiver<Utf8Bytes>, mut stopping: Stopping) -> Result<(), Error> {
        let first = tokio::select! {
            first = texts.recv() => first,
            () = stopping.stopped() => return Err(Error::ShuttingDown),
        };
        let Some(first) = first else { return Ok(()) };
        let first = messages::parse(&first)?;
        let speed = first.voice_settings.as_ref().and_then(|settings| settings.speed).unwrap_or(1.0);
        let request = SpeechRequest { speed, ..self.request.clone() };
        let mut narration = Narration::new(Arc::clone(&self.app.speech), request, true)?;
        let (mut segment, mut ready) = (Segment::default(), None);
        let mut ended = first.text.is_empty();
        self.take(&mut narration, first).await?;
        let out = self.out.clone();
        loop {
            let hurry_at = narration.hurry_at();
            tokio::select! {
                permit = out.reserve(), if ready.is_some() => {
                    if let (Ok(permit), Some(message)) = (permit, ready.take()) {
                        permit.send(Frame::text(message));
                    }
                }
                Some(text) = texts.recv() => {
                    let piece = messages::parse(&text)?;
                    // Clients go on while they have not seen that the end was taken.
                    if !ended {
                        ended = piece.text.is_empty();
                        self.take(&mut narration, piece).await?;
                    }
                }
                said = narration.next(), if ready.is_none() => match said? {
                    Some(said) => ready = self.read(&narration, &mut segment, said)?,
                    None => match self.rest(&narration, &mut segment)? {
                        Some(rest) => ready = Some(rest),
                        None => return Ok(()),
                    },
                },
                () = sleep_until(hurry_at.unwrap_or_else(Instant::now)), if hurry_at.is_some() => {
                    let at = Instant::now();
                    if narration.hurry().await? {
                        self.began = Some(at);
                    }
                }
            }
        }
    }

    async fn take(&mut self, narration: &mut Narration, piece: messages::Piece) -> Result<(), Error> {
        let at = Instant::now();
        let (end, flush) = (piece.text.is_empty(), piece.flush.unwrap_or_default());
        if narration.take(Input { text: piece.text, flush, end }).await? {
            self.began = Some(at);
        }
        Ok(())
    }

    /// The message for a segment, once it is whole.
    fn read(&mut self, narration: &Narration, segment: &mut Segment, said: Said) -> Result<Option<String>, Error> {
        match said {
            Said::Sound(pcm) => {
                if let Some(began) = self.began.take() {
                    self.in_flight.metrics().ttfa_ms.record(began.elapsed().as_secs_f64() * 1e3);
                }
                segment.pcm.extend_from_slice(&pcm);
            }
            Said::Caption(caption) => segment.caption = Some(caption),
        }
        let Some(speaking) = narration.speaking() else { return Ok(None) };
        if speaking.segments_read() <= segment.sent {
            return Ok(None);
        }
        let Some(caption) = segment.caption.take() else { return Ok(None) };
        segment.sent += 1;
        self.message(narration, segment, Some(&caption)).map(Some)
    }

    /// What the limiter held back until the speech had ended.
    fn rest(&mut self, narration: &Narration, segment: &mut Segment) -> Result<Option<String>, Error> {
        if segment.pcm.is_empty() { Ok(None) } else { self.message(narration, segment, None).map(Some) }
    }

    fn message(
        &mut self,
        narration: &Narration,
        segment: &mut Segment,
        caption: Option<&Caption>,
    ) -> Result<String, Error> {
        let sound = std::mem::take(&mut segment.pcm);
        let Some(speaking) = narration.speaking() else { return Ok(messages::sound(&[], caption, 0.0)) };
        let rate = self.sample_rate_hz.unwrap_or(speaking.sample_rate_hz);
        let failed =
            |error: ResampleError| Error::EngineFailed { engine: speaking.engine.clone(), message: error.to_string() };
        let from_ms = self.samples as f64 * 1e3 / f64::from(speaking.sample_rate_hz.max(1));
        self.samples += sound.len() as u64;
        let mut sound = resample(&sound, speaking.sample_rate_hz, rate).map_err(failed)?;
        if let Some(ceiling) = speaking.ceiling.filter(|_| rate != speaking.sample_rate_hz) {
            sound = limiter::limited(&sound, rate, 1.0, ceiling);
        }
        let mut bytes = BytesMut::new();
        pcm::s16le_into(&sound, &mut bytes);
        let audio_ms = sound.len() as u64 * 1000 / u64::from(rate.max(1));
        self.audio_ms += audio_ms;
        self.in_flight.metrics().audio_ms.increment(audio_ms);
        self.in_flight.metrics().audio_bytes.increment(bytes.len() as u64);
        Ok(messages::sound(&bytes, caption, from_ms))
    }

    fn log(&self, arrival: &Arrival, error: Option<&Error>) {
        let outcome = error.map_or("complete", Error::code);
        let path = "/v1/text-to-speech/stream-input";
        tracing::info!(id = arrival.id(), path, audio_ms = self.audio_ms, outcome, "speech");
    }
}
