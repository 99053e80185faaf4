//! The chat's paths of the original iShowTTS: messages as it has them, and its stream, in which every message of the
//! WebSocket is a header's length (32 bits, little endian), the header as JSON, and a whole WAV file.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::{Extension, Request, State, ws},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;
use utoipa::ToSchema;

use super::{
    App, chat,
    chat_message::{ChatPlatform, Paid, checked},
    chat_stream,
    door::LoggedAtEnd,
    error::{ApiError, Names},
    models,
    openapi::{ChatErrors, ChatItemErrors},
    ws_socket::{self, Close, Frame, Idle, NEVER, Stopping},
};
use crate::{
    audio::encode::wav_file,
    chat::{Amount, Desk, Kind, ListenerKind, Listening, Message, Platform, Roles, Taken, User},
    error::Error,
};

const NAMES: Names = Names { text: "text", voice: "voice_id", engine: "engine" };

/// A message as the original's own clients send it.
#[derive(Deserialize, ToSchema)]
#[schema(as = OriginalMessage)]
pub struct Normalized {
    /// With the same one it is the same message.
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    id: String,
    platform: OriginalPlatform,
    #[schema(max_length = 256, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    channel: String,
    #[schema(max_length = 256, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    user_id: Option<String>,
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    username: String,
    priority: OriginalPriority,
    content: Content,
    /// `amount` and `currency` of what was paid, if they are known.
    #[serde(default)]
    metadata: Value,
    /// RFC 3339.
    #[serde(default, rename = "timestamp")]
    _timestamp: Value,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
enum OriginalPlatform {
    Twitch,
    YouTube,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq, ToSchema)]
enum OriginalPriority {
    Gift,
    Paid,
    Moderator,
    Mention,
    Normal,
}

/// `{"Text": …}` or `{"System": …}`.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
enum Content {
    Text {
        #[serde(rename = "Text")]
        text: String,
    },
    System {
        #[serde(rename = "System")]
        text: String,
    },
}

/// What is said of an item's sound.
#[derive(Serialize)]
struct Header {
    platform: &'static str,
    channel: String,
    username: String,
    display_text: String,
    format: &'static str,
    /// The original's front end asks for it; nobody tells it here.
    color: Option<String>,
}

impl Normalized {
    fn message(self) -> Result<Message, Error> {
        let platform = match self.platform {
            OriginalPlatform::Twitch => Platform::Twitch,
            OriginalPlatform::YouTube => Platform::Youtube,
        };
        let (Content::Text { text } | Content::System { text }) = self.content;
        let paid = matches!(self.priority, OriginalPriority::Paid | OriginalPriority::Gift);
        Ok(Message {
            platform,
            channel: if self.channel.is_empty() { self.channel } else { checked("channel", self.channel)? },
            id: checked("id", self.id)?,
            user: User {
                id: self.user_id.filter(|id| !id.is_empty()).map_or(Ok(String::new()), |id| checked("user_id", id))?,
                name: checked("username", self.username)?,
                login: String::new(),
                masked: false,
                roles: Roles { moderator: self.priority == OriginalPriority::Moderator, ..Roles::default() },
            },
            text,
            emotes: Vec::new(),
            kind: if paid { Kind::SuperChat { amount: amount(&self.metadata) } } else { Kind::Chat },
            sent_at: None,
        })
    }
}

/// The original tells no amounts; whoever does is believed. Nothing: it is not known.
fn amount(metadata: &Value) -> Amount {
    let paid = Paid {
        amount: metadata["amount"].clone(),
        currency: metadata["currency"].as_str().unwrap_or("USD").to_owned(),
    };
    paid.amount().unwrap_or(Amount { micros: 0, currency: "USD".to_owned() })
}

/// A chat, as the original's front end names it.
#[derive(Deserialize, ToSchema)]
#[schema(as = OriginalChat)]
pub struct Start {
    #[schema(value_type = ChatPlatform)]
    platform: String,
    /// A name or an address.
    channel: String,
    voice_id: Option<String>,
    engine: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = OriginalChatToStop)]
pub struct Stop {
    #[schema(value_type = ChatPlatform)]
    platform: String,
    channel: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OriginalChatStatus)]
pub struct Status {
    /// `started`, `stopped` or `idle`.
    status: &'static str,
    #[schema(required)]
    channel: Option<String>,
}

/// Listens to a chat.
#[utoipa::path(post, path = "/api/danmaku/start", tag = "original", operation_id = "originalStart",
    request_body(content = Start, examples(
        ("plain" = (summary = "A channel", value = json!({"platform": "twitch", "channel": "ann"}))))),
    responses((status = 202, body = Status, description = "It is started"), ChatErrors))]
pub async fn start(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let desk = app.desk()?;
    let (start, _) = chat::read::<Start>(&app, request).await?;
    let platform = ChatPlatform::named(&start.platform)?;
    let told = |error| ApiError::about(error, NAMES);
    let engine = models::engine_of(&app.speech.engines(), start.engine.as_deref()).map_err(told)?;
    let channel = desk.start(platform.into(), &start.channel, start.voice_id.as_deref(), engine).map_err(told)?;
    desk.settled().await;
    Ok((StatusCode::ACCEPTED, Json(Status { status: "started", channel: Some(channel) })).into_response())
}

/// Listens to a chat no more.
#[utoipa::path(post, path = "/api/danmaku/stop", tag = "original", operation_id = "originalStop",
    request_body(content = Stop, examples(
        ("plain" = (summary = "A channel", value = json!({"platform": "twitch", "channel": "ann"}))))),
    responses((status = 202, body = Status, description = "It is stopped"),
        (status = 200, body = Status, description = "It was not listened to"), ChatErrors))]
pub async fn stop(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let desk = app.desk()?;
    let (stop, _) = chat::read::<Stop>(&app, request).await?;
    let stopped = desk.stop(Some(ChatPlatform::named(&stop.platform)?.into()), Some(&stop.channel));
    desk.settled().await;
    Ok(if stopped {
        (StatusCode::ACCEPTED, Json(Status { status: "stopped", channel: Some(stop.channel) })).into_response()
    } else {
        Json(Status { status: "idle", channel: None }).into_response()
    })
}

/// Takes a message.
#[utoipa::path(post, path = "/api/danmaku/enqueue", tag = "original", operation_id = "originalEnqueue",
    request_body(content = Normalized, examples(
        ("plain" = (summary = "A message", value = json!({"id": "7f3c2b7e-6f0e-4a57-9d53-2f2f4c1d9a11",
            "platform": "Twitch", "channel": "ann", "user_id": null, "username": "Bo", "priority": "Normal",
            "content": {"Text": "Hello!"}, "metadata": {}, "timestamp": "2026-01-01T00:00:00Z"}))),
    )),
    responses((status = 202, description = "It will be spoken"), (status = 204, description = "It was refused"),
        ChatErrors))]
pub async fn enqueue(State(app): State<Arc<App>>, request: Request) -> Result<StatusCode, ApiError> {
    let desk = app.desk()?;
    let (message, _) = chat::read::<Normalized>(&app, request).await?;
    Ok(match desk.take(message.message()?).await? {
        Taken::Item(_) => StatusCode::ACCEPTED,
        Taken::Refused { .. } | Taken::Acted { .. } => StatusCode::NO_CONTENT,
    })
}

/// Sends what is to be played, with its sound.
///
/// A WebSocket of binary messages: the header's length (32 bits, little endian), the header as JSON, a WAV file. Without
/// an upgrade, server-sent events: the header's fields, `sample_rate` and `audio_base64`. Nothing is acknowledged: what
/// was handed over counts as said. An overlay at `/v1/chat/stream` goes before it.
#[utoipa::path(get, path = "/api/danmaku/stream", tags = ["original", "websockets"],
    operation_id = "originalStream",
    responses((status = 101, description = "A WebSocket"),
        (status = 200, content_type = "text/event-stream", body = String, description = "Events"), ChatItemErrors))]
pub async fn stream(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    app.guard.refuse_other_pages(&parts.headers)?;
    let desk = Arc::clone(app.desk()?);
    if !parts.headers.contains_key(header::UPGRADE) {
        return Ok(events(Arc::clone(&app), desk));
    }
    let (upgrade, seat) = ws_socket::upgrade(&app, &mut parts).await?;
    let response = upgrade.on_upgrade(move |socket| async move {
        let stopping = seat.stopping();
        let idle = Idle { limit: NEVER, close: Close::NORMAL };
        let shared = Arc::clone(&app);
        let session = |texts, out| session(shared, desk, stopping, texts, out);
        ws_socket::serve(socket, &app, idle, seat, session).await;
    });
    Ok((Extension(LoggedAtEnd), response).into_response())
}

async fn session(
    app: Arc<App>,
    desk: Arc<Desk>,
    mut stopping: Stopping,
    mut texts: mpsc::Receiver<ws::Utf8Bytes>,
    out: mpsc::Sender<Frame>,
) -> Close {
    let mut listening = desk.listen(&ListenerKind::Plain);
    loop {
        let packet = tokio::select! {
            packet = next(&app, &desk, &mut listening) => packet,
            // What clients say is nobody's business; the original forgets it as well.
            text = texts.recv() => match text {
                Some(_) => continue,
                None => return Close::NORMAL,
            },
            () = stopping.stopped() => return Close::GOING_AWAY,
        };
        let Some((header, wav, _)) = packet else { return Close::new(1013, "too_slow") };
        let header = serde_json::to_vec(&header).unwrap_or_default();
        let length = u32::try_from(header.len()).unwrap_or_default();
        let bytes = [&length.to_le_bytes()[..], &header, &wav].concat();
        let frame = Frame { messages: vec![ws::Message::Binary(bytes.into())], live: None };
        if out.send(frame).await.is_err() {
            return Close::NORMAL;
        }
    }
}

fn events(app: Arc<App>, desk: Arc<Desk>) -> Response {
    let seat = app.sockets.enter();
    let stopping = seat.stopping();
    let listening = desk.listen(&ListenerKind::Plain);
    let state = (app, desk, listening, seat, stopping);
    let body = stream::unfold(state, |(app, desk, mut listening, seat, mut stopping)| async move {
        let event = tokio::select! {
            packet = next(&app, &desk, &mut listening) => {
                let (header, wav, sample_rate_hz) = packet?;
                let mut event = serde_json::to_value(&header).unwrap_or_default();
                event["sample_rate"] = sample_rate_hz.into();
                event["audio_base64"] = BASE64_STANDARD.encode(&wav).into();
                Bytes::from(format!("data: {event}\n\n"))
            }
            () = tokio::time::sleep(chat_stream::ALIVE) => Bytes::from_static(b":\n\n"),
            () = stopping.stopped() => return None,
        };
        Some((Ok::<_, Infallible>(event), (app, desk, listening, seat, stopping)))
    });
    chat_stream::sse(Body::from_stream(body))
}

/// The next item that could be spoken; none at the end. When this is dropped, the item that it was at is next again.
async fn next(app: &App, desk: &Desk, listening: &mut Listening) -> Option<(Header, Bytes, u32)> {
    loop {
        let told: Value = serde_json::from_str(listening.peek().await?).unwrap_or_default();
        let id = told["id"].as_str().filter(|_| told["type"] == "item");
        let packet = match id {
            Some(id) => packet(app, desk, id, &told).await,
            None => None,
        };
        listening.forget_peeked();
        if packet.is_some() {
            return packet;
        }
    }
}

async fn packet(app: &App, desk: &Desk, id: &str, told: &Value) -> Option<(Header, Bytes, u32)> {
    let spoken = async {
        let request = desk.sound_of(id)?;
        let mut speaking = app.speech.speak(request).await?;
        let mut chunks = Vec::new();
        while let Some(chunk) = speaking.next_sound().await? {
            chunks.push(chunk);
        }
        Ok::<_, Error>((chunks, speaking.sample_rate_hz))
    };
    let (chunks, sample_rate_hz) = match spoken.await {
        Ok(spoken) => spoken,
        Err(error) => {
            tracing::warn!(id, %error, "a chat item cannot be sent");
            return None;
        }
    };
    let sound: Vec<f32> = chunks.iter().flat_map(|chunk| chunk.iter().copied()).collect();
    let wav = wav_file(&sound, sample_rate_hz);
    let text = |field: &str| told[field].as_str().unwrap_or_default().to_owned();
    let platform = match told["platform"].as_str() {
        Some("twitch") => "Twitch",
        Some("youtube") => "YouTube",
        Some("bilibili") => "Bilibili",
        _ => "Other",
    };
    let header = Header {
        platform,
        channel: desk.channel_of(id).unwrap_or_default(),
        username: text("user"),
        display_text: text("text"),
        format: "audio/wav",
        color: None,
    };
    Some((header, wav, sample_rate_hz))
}
