//! `POST /v1/chat/webhook`: messages of a service that signs what it sends.

use std::{sync::Arc, time::SystemTime};

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};

use super::{
    App, body,
    chat::{Enqueued, enqueued},
    error::ApiError,
    openapi::WebhookErrors,
};
use crate::chat::webhook;

/// Takes a signed message.
///
/// `X-Ishowtts-Timestamp` is the time of the signature, s since 1970; `X-Ishowtts-Signature` is `sha256=` and the
/// HMAC-SHA256, in hexadecimal, of that time, a dot and the body, with `chat.webhook.secret` as its key. A request is taken
/// once, and within `chat.webhook.tolerance_s` of its time. `docs/chat.md` tells the body.
#[utoipa::path(post, path = "/v1/chat/webhook", tags = ["chat", "signed"], operation_id = "webhook",
    request_body(content = Object, content_type = "application/json"),
    params(("x-ishowtts-timestamp" = String, Header, description = "When it was signed, s since 1970"),
        ("x-ishowtts-signature" = String, Header, description = "`sha256=` and 64 hexadecimal digits")),
    responses((status = 202, body = Enqueued, description = "The item, or the rule that refused the message"),
        WebhookErrors))]
pub async fn take(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let desk = app.desk()?;
    let (parts, body) = request.into_parts();
    let body = body::read(&parts.headers, body, app.config.http.max_body_bytes).await?;
    let signed = webhook::Request {
        timestamp: header(&parts.headers, webhook::TIMESTAMP_HEADER),
        signature: header(&parts.headers, webhook::SIGNATURE_HEADER),
        body: &body,
    };
    let verified = webhook::verify(&app.config.chat.webhook, signed, SystemTime::now(), &app.replays);
    let message = verified.map_err(|refusal| ApiError::webhook(&refusal))?;
    let taken = desk.take(message).await?;
    Ok((StatusCode::ACCEPTED, Json(enqueued(desk, taken).await?)).into_response())
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
