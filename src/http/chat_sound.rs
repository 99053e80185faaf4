//! `GET /v1/chat/items/{id}/audio` and `…/speech`: the sound of an item, as every other speech is sent.

use std::{sync::Arc, task::Poll};

use axum::{
    body::Body,
    extract::{Extension, Path, Query, Request, State, rejection::PathRejection, rejection::QueryRejection},
    response::Response,
};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    App,
    call::{self, Call, Caller, OnBehalf, Wrap},
    chat_stream::checked,
    door::Arrival,
    error::ApiError,
    fields,
    metrics::Route,
    native,
    openapi::{ChatItemErrors, Sound},
};
use crate::{audio::Format, chat::Desk, error::Error, speech::Level};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SoundQuery {
    /// The overlay's token.
    #[serde(rename = "token")]
    _token: Option<String>,
    /// How it is encoded; without it, WAV.
    format: Option<String>,
}

type ItemId = Result<Path<String>, PathRejection>;

/// Speaks an item of the chat.
///
/// The sound comes while it is made. What is withdrawn, skipped or rejected is not there any more.
#[utoipa::path(get, path = "/v1/chat/items/{id}/audio", tag = "chat", operation_id = "chatAudio",
    params(("id" = String, Path, description = "Of the item"), SoundQuery), responses(Sound, ChatItemErrors))]
pub async fn audio(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    id: ItemId,
    query: Result<Query<SoundQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    speak(&app, arrival, id, query, request, Wrap::Plain).await
}

/// Speaks an item of the chat, as events with captions.
///
/// As `POST /v1/tts` with `"stream_format": "sse"`.
#[utoipa::path(get, path = "/v1/chat/items/{id}/speech", tag = "chat", operation_id = "chatSpeech",
    params(("id" = String, Path, description = "Of the item"), SoundQuery), responses(Sound, ChatItemErrors))]
pub async fn speech(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    id: ItemId,
    query: Result<Query<SoundQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    speak(&app, arrival, id, query, request, Wrap::Sse).await
}

async fn speak(
    app: &Arc<App>,
    arrival: Arrival,
    id: ItemId,
    query: Result<Query<SoundQuery>, QueryRejection>,
    request: Request,
    wrap: Wrap,
) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    let desk = app.desk_for_overlay(&parts)?;
    let query = checked(query)?;
    let Path(id) = id.map_err(|_| Error::invalid("invalid_value", Some("id"), "the item's id is not UTF-8"))?;
    let speech = desk.sound_of(&id)?;
    let format = fields::format("format", query.format.map_or(serde_json::Value::Null, Into::into))?;
    parts.extensions.insert(OnBehalf { class: speech.class, owner: speech.owner });
    let call = Call {
        names: native::NAMES,
        text: speech.text,
        model: speech.engine,
        voice: speech.voice,
        own_voice: None,
        spec: format.unwrap_or(Format::Wav).into(),
        level: Level::default(),
        wrap,
        speed: speech.speed,
        seed: speech.seed,
        streamed: true,
        cache: speech.cache,
        language: speech.language,
        params: serde_json::Map::new(),
        ignored: None,
    };
    let response = call::answer(app, Caller { parts: &parts, arrival, route: Route::Chat }, call).await?;
    Ok(watched(response, Arc::clone(desk), id))
}

/// The desk is told once the sound was sent to its end: then an overlay has no reason to be late.
fn watched(response: Response, desk: Arc<Desk>, id: String) -> Response {
    if !response.status().is_success() {
        return response;
    }
    response.map(|body| {
        let sent = stream::poll_fn(move |_| {
            desk.delivered(&id);
            Poll::Ready(None)
        });
        Body::from_stream(body.into_data_stream().chain(sent))
    })
}
