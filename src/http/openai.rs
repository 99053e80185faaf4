//! OpenAI's `POST /v1/audio/speech`.

use std::sync::Arc;

use axum::{
    extract::{Extension, Request, State},
    response::Response,
};

use super::{
    App, body,
    call::{self, Caller},
    door::Arrival,
    error::ApiError,
    form,
    metrics::Route,
    openai_request,
    openapi::{OpenAiSound, OpenAiSpeechErrors, OpenAiSpeechRequest},
};

/// Speaks a text, as OpenAI does.
///
/// The sound comes while it is made. With `stream_format` `sse` it comes as events, each of them an
/// `OpenAiSpeechEvent`. Fields that change nothing are named in `X-Ishowtts-Ignored`. Text that no engine can say is
/// refused with 422, never left out.
#[utoipa::path(post, path = "/v1/audio/speech", tag = "openai", operation_id = "createSpeech",
    request_body(content = OpenAiSpeechRequest, examples(
        ("plain" = (summary = "A sound file",
            value = json!({"model": "tts-1", "voice": "nova", "input": "Hello there. How are you today?"}))),
        ("events" = (summary = "Events", value = json!({"model": "gpt-4o-mini-tts", "voice": "nova",
            "input": "Hello there.", "response_format": "pcm", "stream_format": "sse"}))),
    )),
    responses(OpenAiSound, OpenAiSpeechErrors))]
// It answers once there is sound, so that whatever fails before has its true status.
pub async fn speech(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = body::read(&parts.headers, body, app.config.http.max_body_bytes).await?;
    form::refuse(&parts.headers)?;
    let call = openai_request::parse(&body)?;
    drop(body);
    call::answer(&app, Caller { parts: &parts, arrival, route: Route::Speech }, call).await
}
