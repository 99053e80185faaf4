//! The one place where a failure becomes an HTTP status. Every answer that is not a success has OpenAI's error shape.

use std::{borrow::Cow, time::Duration};

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    chat::{twitch::TokenError, webhook::Refusal},
    error::Error,
};

/// The classes of OpenAI's `error.type` that we use.
const INVALID_REQUEST: &str = "invalid_request_error";
const AUTHENTICATION: &str = "authentication_error";
const PERMISSION: &str = "permission_error";
const RATE_LIMIT: &str = "rate_limit_error";
const SERVER: &str = "server_error";

const TOKEN_INVALID: &str = "token_invalid";
const TOKEN_MISSING: &str = "token_missing";

/// A load takes about a second: there is nothing better to promise.
const LOADING_RETRY_AFTER_S: u64 = 1;

/// Most uploads take less.
const UPLOAD_RETRY_AFTER_S: u64 = 5;

/// Input that a message quotes is cut there.
const MAX_MESSAGE_CHARS: usize = 600;

#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    status: StatusCode,
    kind: &'static str,
    code: &'static str,
    param: Option<&'static str>,
    message: String,
    retry_after_s: Option<u64>,
}

/// What a surface calls text, voice and engine; the rooms before this one call them as OpenAI does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names {
    pub text: &'static str,
    pub voice: &'static str,
    pub engine: &'static str,
}

/// Left on an answer for the request's log line.
#[derive(Debug, Clone, Copy)]
pub struct ErrorCode(pub &'static str);

/// Every answer that is not a success.
#[derive(Serialize, ToSchema)]
#[schema(as = ErrorAnswer)]
pub struct Envelope<'a> {
    error: Body<'a>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub struct Body<'a> {
    /// For people.
    message: &'a str,
    /// The class, as OpenAI names it.
    #[serde(rename = "type")]
    kind: &'a str,
    /// The field at fault, if one is.
    #[schema(required)]
    param: Option<&'a str>,
    /// For programs; it stays the same from version to version.
    code: &'a str,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, code, param: None, message: message.into(), retry_after_s: None }
    }

    fn invalid(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self::new(status, INVALID_REQUEST, code, message)
    }

    #[must_use]
    pub fn unknown_path(path: &str) -> Self {
        Self::invalid(StatusCode::NOT_FOUND, "path_not_found", format!("there is nothing at {path:?}"))
    }

    #[must_use]
    pub fn wrong_method(method: &str, path: &str) -> Self {
        Self::invalid(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", format!("{path:?} does not take {method}"))
    }

    #[must_use]
    pub fn body_too_large(limit_bytes: usize) -> Self {
        let message = format!("the body is too large; at most {limit_bytes} bytes are taken");
        Self::invalid(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
    }

    #[must_use]
    pub fn body_too_slow(limit: Duration) -> Self {
        let message = format!("the body did not arrive within {} s", limit.as_secs());
        Self::invalid(StatusCode::REQUEST_TIMEOUT, "body_too_slow", message)
    }

    #[must_use]
    pub fn too_many_uploads() -> Self {
        let message = "the server takes no further upload now; try again in a few seconds";
        let told = Self::new(StatusCode::TOO_MANY_REQUESTS, RATE_LIMIT, "too_many_uploads", message);
        Self { retry_after_s: Some(UPLOAD_RETRY_AFTER_S), ..told }
    }

    #[must_use]
    pub fn no_clip(voice: &str) -> Self {
        let told =
            Self::invalid(StatusCode::NOT_FOUND, "clip_not_found", format!("the voice {voice:?} has no such clip"));
        Self { param: Some("voice"), ..told }
    }

    #[must_use]
    pub fn host_not_allowed() -> Self {
        let message = "the Host header names a host that this server does not answer for; add it to http.allowed_hosts";
        Self::new(StatusCode::FORBIDDEN, PERMISSION, "host_not_allowed", message)
    }

    #[must_use]
    pub fn origin_not_allowed() -> Self {
        let message = "web pages of this origin may not use this server; add it to http.allowed_origins";
        Self::new(StatusCode::FORBIDDEN, PERMISSION, "origin_not_allowed", message)
    }

    #[must_use]
    pub fn websocket_expected(reason: impl std::fmt::Display) -> Self {
        let message = format!("only a WebSocket can be opened here: {reason}");
        Self::invalid(StatusCode::BAD_REQUEST, "websocket_expected", message)
    }

    #[must_use]
    pub fn wrong_token() -> Self {
        let message = "the token is not the one of this path: `ishowtts chat token`, on the server's machine, shows the one \
                       that opens all of the chat, and with --url the overlay's address";
        Self::new(StatusCode::UNAUTHORIZED, AUTHENTICATION, TOKEN_INVALID, message)
    }

    #[must_use]
    pub fn no_token() -> Self {
        let message = "the chat asks for a token, as `Authorization: Bearer …` or `?token=…`; `ishowtts chat token`, on the \
                       server's machine, shows it";
        Self::new(StatusCode::UNAUTHORIZED, AUTHENTICATION, TOKEN_MISSING, message)
    }

    #[must_use]
    pub fn webhook(refusal: &Refusal) -> Self {
        let (status, kind) = match refusal {
            Refusal::Disabled => (StatusCode::NOT_FOUND, INVALID_REQUEST),
            Refusal::Signature | Refusal::Time => (StatusCode::UNAUTHORIZED, AUTHENTICATION),
            Refusal::Replayed => (StatusCode::CONFLICT, INVALID_REQUEST),
            Refusal::Flood => (StatusCode::TOO_MANY_REQUESTS, RATE_LIMIT),
            Refusal::Body(_) => (StatusCode::BAD_REQUEST, INVALID_REQUEST),
        };
        Self::new(status, kind, refusal.code(), refusal.to_string())
    }

    #[must_use]
    pub fn sign_in(error: &TokenError) -> Self {
        match error {
            TokenError::Refused(reason) => Self::invalid(StatusCode::CONFLICT, "sign_in_refused", reason),
            TokenError::Unreachable(reason) => {
                Self::new(StatusCode::BAD_GATEWAY, SERVER, "platform_unreachable", reason)
            }
        }
    }

    /// A bug of ours; what it was is in the log.
    #[must_use]
    pub fn panicked() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            SERVER,
            "internal_error",
            "the server failed to handle this request",
        )
    }

    /// As it stands in an answer: under `error` there, and in events.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self.body(&self.shown_message())).unwrap_or_default()
    }

    fn body<'a>(&'a self, message: &'a str) -> Body<'a> {
        Body { message, kind: self.kind, param: self.param, code: self.code }
    }

    fn shown_message(&self) -> Cow<'_, str> {
        match self.message.char_indices().nth(MAX_MESSAGE_CHARS) {
            Some((end, _)) => format!("{}…", &self.message[..end]).into(),
            None => self.message.as_str().into(),
        }
    }

    /// As `from`, where the fields at fault have names of a surface's own.
    #[must_use]
    pub fn about(error: Error, names: Names) -> Self {
        let told = Self::from(error);
        let param = match told.param {
            Some("input") => Some(names.text),
            Some("voice") => Some(names.voice),
            Some("model") => Some(names.engine),
            other => other,
        };
        Self { param, ..told }
    }

    pub const fn status(&self) -> StatusCode {
        self.status
    }

    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// When to try again, if waiting helps.
    pub const fn retry_after_s(&self) -> Option<u64> {
        self.retry_after_s
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let (status, kind, param, retry_after_s) = match &error {
            Error::Invalid { param, .. } => (StatusCode::BAD_REQUEST, INVALID_REQUEST, *param, None),
            Error::UnknownVoice { .. } => (StatusCode::NOT_FOUND, INVALID_REQUEST, Some("voice"), None),
            Error::Conflict { .. } => (StatusCode::CONFLICT, INVALID_REQUEST, Some("id"), None),
            Error::Storage { code: "storage_full", .. } => (StatusCode::INSUFFICIENT_STORAGE, SERVER, None, None),
            Error::Storage { .. } => (StatusCode::INTERNAL_SERVER_ERROR, SERVER, None, None),
            Error::UnknownModel { .. } => (StatusCode::NOT_FOUND, INVALID_REQUEST, Some("model"), None),
            Error::TextTooLong { .. } => (StatusCode::PAYLOAD_TOO_LARGE, INVALID_REQUEST, Some("input"), None),
            Error::Refused { .. } => (StatusCode::UNPROCESSABLE_ENTITY, INVALID_REQUEST, Some("input"), None),
            Error::Busy { retry_after } => {
                (StatusCode::TOO_MANY_REQUESTS, RATE_LIMIT, None, Some(whole_seconds(*retry_after)))
            }
            Error::Loading { .. } => (StatusCode::SERVICE_UNAVAILABLE, SERVER, None, Some(LOADING_RETRY_AFTER_S)),
            Error::EngineFailed { .. } | Error::EncodeFailed { .. } => {
                (StatusCode::INTERNAL_SERVER_ERROR, SERVER, None, None)
            }
            Error::Deadline { .. } => (StatusCode::GATEWAY_TIMEOUT, SERVER, None, None),
            Error::TooSlow => (StatusCode::REQUEST_TIMEOUT, INVALID_REQUEST, None, None),
            Error::ShuttingDown | Error::ChatUnavailable { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, SERVER, None, None)
            }
            Error::UnknownItem { .. } | Error::ItemElsewhere { .. } => {
                (StatusCode::NOT_FOUND, INVALID_REQUEST, Some("id"), None)
            }
        };
        Self { status, kind, code: error.code(), param, message: error.to_string(), retry_after_s }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let message = self.shown_message();
        let body = Envelope { error: self.body(&message) };
        let mut response = (self.status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if [TOKEN_INVALID, TOKEN_MISSING].contains(&self.code) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(ErrorCode(self.code));
        response
    }
}

fn whole_seconds(duration: Duration) -> u64 {
    (duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(error: ApiError) -> (StatusCode, Option<String>, serde_json::Value) {
        let response = error.into_response();
        let retry_after =
            response.headers().get(header::RETRY_AFTER).map(|value| value.to_str().expect("ASCII").to_owned());
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.expect("a whole body");
        (status, retry_after, serde_json::from_slice(&body).expect("JSON"))
    }

    #[tokio::test]
    async fn every_failure_has_its_status_type_and_code() {
        let text = || "…".to_owned();
        let cases = [
            (Error::invalid("bad", Some("speed"), "no"), 400, "invalid_request_error", "bad"),
            (Error::UnknownVoice { name: text(), nearest: None }, 404, "invalid_request_error", "voice_not_found"),
            (Error::Conflict { code: "voice_exists", message: text() }, 409, "invalid_request_error", "voice_exists"),
            (Error::Storage { code: "storage_full", message: text() }, 507, "server_error", "storage_full"),
            (Error::Storage { code: "storage_failed", message: text() }, 500, "server_error", "storage_failed"),
            (Error::UnknownModel { name: text() }, 404, "invalid_request_error", "model_not_found"),
            (Error::TextTooLong { chars: 2, limit: 1 }, 413, "invalid_request_error", "text_too_long"),
            (Error::Refused { message: text() }, 422, "invalid_request_error", "text_refused"),
            (Error::Busy { retry_after: Duration::ZERO }, 429, "rate_limit_error", "queue_full"),
            (Error::Loading { engine: text() }, 503, "server_error", "engine_loading"),
            (Error::EngineFailed { engine: text(), message: text() }, 500, "server_error", "engine_failed"),
            (Error::EncodeFailed { message: text() }, 500, "server_error", "encode_failed"),
            (Error::Deadline { waited: Duration::ZERO }, 504, "server_error", "deadline_exceeded"),
            (Error::TooSlow, 408, "invalid_request_error", "listener_too_slow"),
            (Error::ShuttingDown, 503, "server_error", "shutting_down"),
            (Error::ChatUnavailable { message: text() }, 503, "server_error", "chat_unavailable"),
            (Error::UnknownItem { id: text() }, 404, "invalid_request_error", "item_not_found"),
            (Error::ItemElsewhere { id: text(), found: text() }, 404, "invalid_request_error", "item_not_found"),
        ];
        for (error, status, kind, code) in cases {
            let message = error.to_string();
            let (actual, retry_after, body) = answer(error.clone().into()).await;
            assert_eq!(actual.as_u16(), status, "{error:?}");
            assert_eq!(body["error"]["type"], kind, "{error:?}");
            assert_eq!(body["error"]["code"], code, "{error:?}");
            assert_eq!(body["error"]["message"], message, "{error:?}");
            assert!(body["error"].as_object().expect("an object").contains_key("param"));
            let tells_when = matches!(error, Error::Busy { .. } | Error::Loading { .. });
            assert_eq!(retry_after.is_some(), tells_when, "{error:?}");
        }
    }

    #[tokio::test]
    async fn retry_after_is_whole_seconds_rounded_up() {
        for (milliseconds, expected) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (12_300, "13")] {
            let error = Error::Busy { retry_after: Duration::from_millis(milliseconds) };
            assert_eq!(answer(error.into()).await.1.as_deref(), Some(expected), "{milliseconds} ms");
        }
    }

    #[tokio::test]
    async fn long_messages_are_cut_on_a_character() {
        let (_, _, body) = answer(Error::Refused { message: "ж".repeat(5_000) }.into()).await;
        assert_eq!(body["error"]["message"].as_str().expect("text").chars().count(), MAX_MESSAGE_CHARS + 1);
    }
}
