//! `GET /v1/chat/stream` and `POST /v1/chat/ack`: what overlays are told, and what they tell.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::{Extension, Query, Request, State, rejection::QueryRejection},
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    App, chat,
    door::LoggedAtEnd,
    error::ApiError,
    openapi::{ChatItemErrors, ChatStream},
    ws_socket::{self, Close, Frame, Idle, NEVER, Seat, Stopping},
};
use crate::{
    chat::{Ack, Desk, ListenerKind, Listening},
    error::Error,
};

/// Between signs of life, which keep proxies from closing a quiet stream and tell us of clients that are gone.
pub const ALIVE: Duration = Duration::from_secs(10);
const MAX_NAME_CHARS: usize = 128;
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StreamQuery {
    /// The overlay's token.
    #[serde(rename = "token")]
    _token: Option<String>,
    /// Names this instance of an overlay, and stays the same when it reconnects. Without it only items and their stops are
    /// told and nothing is acknowledged: what was handed over counts as said.
    overlay: Option<String>,
    /// False: it only watches.
    speak: Option<bool>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TokenQuery {
    /// The overlay's token.
    #[serde(rename = "token")]
    _token: Option<String>,
}

/// What an overlay tells of an item.
#[derive(Deserialize, ToSchema)]
#[schema(as = ChatAck)]
pub struct Told {
    /// Which overlay.
    overlay: String,
    /// Of the item.
    id: String,
    state: AckState,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ChatAckState)]
enum AckState {
    Started,
    Finished,
    Failed,
}

impl From<AckState> for Ack {
    fn from(state: AckState) -> Self {
        match state {
            AckState::Started => Self::Started,
            AckState::Finished => Self::Finished,
            AckState::Failed => Self::Failed,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = ChatAcked)]
pub struct Acked<'a> {
    id: &'a str,
    /// How far the item is.
    state: &'a str,
    /// False: this was known before.
    counted: bool,
}

/// Tells an overlay what to play.
///
/// Server-sent events, each of them a `ChatEvent`; or a WebSocket with the same objects as messages, on which the
/// overlay acknowledges as well. A web page of another origin needs that in `http.allowed_origins`, whatever its token.
#[utoipa::path(
    get,
    path = "/v1/chat/stream",
    tag = "chat",
    operation_id = "chatStream",
    params(StreamQuery),
    responses(ChatStream)
)]
pub async fn stream(
    State(app): State<Arc<App>>,
    query: Result<Query<StreamQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    let desk = Arc::clone(app.desk_for_overlay(&parts)?);
    let kind = kind(checked(query)?)?;
    if !parts.headers.contains_key(header::UPGRADE) {
        return Ok(events(desk.listen(&kind), app.sockets.enter()));
    }
    let (upgrade, seat) = ws_socket::upgrade(&app, &mut parts).await?;
    let response = upgrade.on_upgrade(move |socket| async move {
        let stopping = seat.stopping();
        let idle = Idle { limit: NEVER, close: Close::NORMAL };
        let session = |texts, out| session(desk, kind, stopping, texts, out);
        ws_socket::serve(socket, &app, idle, seat, session).await;
    });
    Ok((Extension(LoggedAtEnd), response).into_response())
}

/// Takes what an overlay tells of an item.
///
/// `finished` is answered once it is stored. It counts once, however often it is told.
#[utoipa::path(post, path = "/v1/chat/ack", tag = "chat", operation_id = "chatAck", params(TokenQuery),
    request_body(content = Told, examples(
        ("finished" = (summary = "Played to its end",
            value = json!({"overlay": "obs-1", "id": "5f0c12ab-17", "state": "finished"}))))),
    responses((status = 200, body = Acked, description = "How far the item is now"), ChatItemErrors))]
pub async fn ack(
    State(app): State<Arc<App>>,
    query: Result<Query<TokenQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    // Whoever has no token is told nothing else, and nothing of theirs is read.
    let desk = app.desk_for_overlay(&parts)?;
    checked(query)?;
    let (told, _) = chat::read::<Told>(&app, Request::from_parts(parts, body)).await?;
    let acked = desk.ack(&told.overlay, &told.id, told.state.into()).await?;
    Ok(Json(Acked { id: &told.id, state: acked.state, counted: acked.counted }).into_response())
}

pub fn checked<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Error> {
    match query {
        Ok(Query(query)) => Ok(query),
        Err(rejection) => Err(Error::invalid("invalid_query", None, format!("the query: {rejection}"))),
    }
}

fn kind(query: StreamQuery) -> Result<ListenerKind, Error> {
    if query.speak == Some(false) {
        return Ok(ListenerKind::Watcher);
    }
    let Some(name) = query.overlay else { return Ok(ListenerKind::Plain) };
    let fits = !name.is_empty() && name.chars().count() <= MAX_NAME_CHARS && !name.contains(char::is_control);
    if fits {
        return Ok(ListenerKind::Overlay(name.into()));
    }
    let message = format!("\"overlay\" must have 1 to {MAX_NAME_CHARS} characters, without control characters");
    Err(Error::invalid("invalid_value", Some("overlay"), message))
}

fn events(listening: Listening, seat: Seat) -> Response {
    let stopping = seat.stopping();
    let state = (listening, seat, stopping);
    let body = stream::unfold(state, |(mut listening, seat, mut stopping)| async move {
        let event = tokio::select! {
            told = listening.next() => Bytes::from(format!("data: {}\n\n", told?)),
            () = tokio::time::sleep(ALIVE) => Bytes::from_static(b":\n\n"),
            () = stopping.stopped() => return None,
        };
        Some((Ok::<_, Infallible>(event), (listening, seat, stopping)))
    });
    sse(Body::from_stream(body))
}

/// Server-sent events that nobody keeps back.
pub fn sse(body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    (headers, body).into_response()
}

async fn session(
    desk: Arc<Desk>,
    kind: ListenerKind,
    mut stopping: Stopping,
    mut texts: tokio::sync::mpsc::Receiver<axum::extract::ws::Utf8Bytes>,
    out: tokio::sync::mpsc::Sender<Frame>,
) -> Close {
    let mut listening = desk.listen(&kind);
    loop {
        let answer = tokio::select! {
            told = listening.next() => match told {
                Some(told) => told.to_string(),
                None => return Close::new(1013, "too_slow"),
            },
            text = texts.recv() => match text {
                Some(text) => heard(&desk, &kind, &text).await,
                None => return Close::NORMAL,
            },
            () = stopping.stopped() => return Close::GOING_AWAY,
        };
        if out.send(Frame::text(answer)).await.is_err() {
            return Close::NORMAL;
        }
    }
}

/// The answer to a message of an overlay.
async fn heard(desk: &Desk, kind: &ListenerKind, text: &str) -> String {
    #[derive(Deserialize)]
    struct Heard {
        #[serde(rename = "type")]
        kind: String,
        overlay: Option<String>,
        id: Option<String>,
        state: Option<AckState>,
    }
    let outcome = async {
        let heard: Heard = chat::parse(text.as_bytes())?;
        let name = match (&heard.overlay, kind) {
            (Some(name), _) => name.clone(),
            (None, ListenerKind::Overlay(name)) => name.to_string(),
            (None, _) => String::new(),
        };
        match (heard.kind.as_str(), heard.id, heard.state) {
            ("ping", ..) => Ok(serde_json::json!({"type": "pong"})),
            ("ack", Some(id), Some(state)) => {
                let acked = desk.ack(&name, &id, state.into()).await?;
                Ok(serde_json::json!({"type": "acked", "id": id, "state": acked.state, "counted": acked.counted}))
            }
            _ => Err(Error::invalid("invalid_value", Some("type"), "an \"ack\" with \"id\" and \"state\" is expected")),
        }
    };
    let told = outcome
        .await
        .unwrap_or_else(|error| serde_json::json!({"type": "error", "error": ApiError::from(error).to_json()}));
    told.to_string()
}
