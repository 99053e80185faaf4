//! `POST /v1/voices/{id}/preview`: what a voice sounds like, in a sentence of its language.

use std::sync::Arc;

use axum::{
    extract::{Extension, Path, Request, State, rejection::PathRejection},
    response::Response,
};
use serde_json::Value;

use super::{
    App, body,
    call::{self, Call, Caller},
    door::Arrival,
    error::ApiError,
    fields::Fields,
    form,
    metrics::Route,
    native,
    openapi::{PreviewRequest, Sound, SpeechErrors},
    voices::id_of,
};
use crate::voices::preview;

/// Those of speech but its voice, which the path names.
pub const FIELDS: [&str; native::SPEECH_FIELDS.len() - 1] = {
    let mut fields = [""; native::SPEECH_FIELDS.len() - 1];
    let (mut from, mut to) = (0, 0);
    while from < native::SPEECH_FIELDS.len() {
        if !matches!(native::SPEECH_FIELDS[from].as_bytes(), b"voice") {
            fields[to] = native::SPEECH_FIELDS[from];
            to += 1;
        }
        from += 1;
    }
    fields
};

/// Speaks a short text with a voice.
///
/// Without `text`, a sentence in the language of the voice.
#[utoipa::path(post, path = "/v1/voices/{id}/preview", tag = "voices", operation_id = "previewVoice",
    params(("id" = String, Path, description = "An id, an alias, or a voice that is described", example = "heart")),
    request_body(content = Option<PreviewRequest>),
    responses(Sound, SpeechErrors))]
pub async fn preview(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let id = id_of(id)?;
    let (parts, body) = request.into_parts();
    let body = body::read(&parts.headers, body, app.config.http.max_body_bytes).await?;
    form::refuse(&parts.headers)?;
    let told: &[u8] = if matches!(body.trim_ascii(), b"" | b"null") { b"{}" } else { &body };
    let mut given = Fields::parse(told, &FIELDS)?;
    let voice = app.speech.voices().resolve(&id)?;
    let text = match given.take("text") {
        Value::Null => {
            let language = given.peek("language").and_then(Value::as_str);
            let language = language.or(voice.languages.first().map(String::as_str));
            Value::from(preview::sentence(language.unwrap_or_default()))
        }
        text => text,
    };
    given.put("text", text);
    let call = Call { voice: Some(id), ..native::audio_call(given)? };
    call::answer(&app, Caller { parts: &parts, arrival, route: Route::Preview }, call).await
}
