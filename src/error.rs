//! Every way in which a request can fail, with stable codes. Only `src/http/error.rs` knows statuses.

use std::time::Duration;

/// Shown to clients as they are: messages hold no paths, no tracebacks, nothing of other requests.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// `param` is the field at fault, if one is.
    #[error("{message}")]
    Invalid { code: &'static str, message: String, param: Option<&'static str> },
    #[error("no voice is called {name:?}; GET /v1/audio/voices lists them{}", hint(.nearest))]
    UnknownVoice { name: String, nearest: Option<String> },
    /// What is there stands against it.
    #[error("{message}")]
    Conflict { code: &'static str, message: String },
    /// The disk does not take it.
    #[error("{message}")]
    Storage { code: &'static str, message: String },
    #[error("no engine or model is called {name:?}; GET /v1/models lists them")]
    UnknownModel { name: String },
    #[error("the text has {chars} characters; at most {limit} are taken in one request")]
    TextTooLong { chars: usize, limit: usize },
    /// No engine of the route can say (a segment of) the text.
    #[error("{message}")]
    Refused { message: String },
    #[error("the server has as much to say as it can hold; try again in {} s", .retry_after.as_secs().max(1))]
    Busy { retry_after: Duration },
    #[error("the engine {engine:?} is still loading")]
    Loading { engine: String },
    #[error("the engine {engine:?} failed: {message}")]
    EngineFailed { engine: String, message: String },
    #[error("the sound could not be encoded: {message}")]
    EncodeFailed { message: String },
    #[error("speech did not start within {} s", .waited.as_secs())]
    Deadline { waited: Duration },
    /// This listener read too slowly and was cut off; others of the same speech go on.
    #[error("the listener did not read for too long")]
    TooSlow,
    #[error("the server is shutting down")]
    ShuttingDown,
    /// `message` tells what mends it.
    #[error("the chat cannot be used: {message}")]
    ChatUnavailable { message: String },
    #[error("no chat item is called {id:?}; GET /v1/chat/queue lists them")]
    UnknownItem { id: String },
    /// It is there, but not where it would have to be.
    #[error("the chat item {id:?} {found}")]
    ItemElsewhere { id: String, found: String },
}

impl Error {
    #[must_use]
    pub fn invalid(code: &'static str, param: Option<&'static str>, message: impl Into<String>) -> Self {
        Self::Invalid { code, message: message.into(), param }
    }

    /// Stable, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { code, .. } | Self::Conflict { code, .. } | Self::Storage { code, .. } => code,
            Self::UnknownVoice { .. } => "voice_not_found",
            Self::UnknownModel { .. } => "model_not_found",
            Self::TextTooLong { .. } => "text_too_long",
            Self::Refused { .. } => "text_refused",
            Self::Busy { .. } => "queue_full",
            Self::Loading { .. } => "engine_loading",
            Self::EngineFailed { .. } => "engine_failed",
            Self::EncodeFailed { .. } => "encode_failed",
            Self::Deadline { .. } => "deadline_exceeded",
            Self::TooSlow => "listener_too_slow",
            Self::ShuttingDown => "shutting_down",
            Self::ChatUnavailable { .. } => "chat_unavailable",
            Self::UnknownItem { .. } | Self::ItemElsewhere { .. } => "item_not_found",
        }
    }
}

fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!("; did you mean {name:?}?")).unwrap_or_default()
}
