//! Speech as events: OpenAI's, and our own with captions, as server-sent events or a line each. Pure.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{call::Wrap, error::ApiError};
use crate::{
    audio::Format,
    error::Error,
    speech::{Caption, Speaking},
};

/// What OpenAI counts a second of its own speech as.
const OUTPUT_TOKENS_PER_S: u64 = 20;

pub struct Events {
    wrap: Wrap,
    chars: usize,
}

impl Events {
    /// None for plain sound. `chars`: code points of the text.
    #[must_use]
    pub fn new(wrap: Wrap, chars: usize) -> Option<Self> {
        (wrap != Wrap::Plain).then_some(Self { wrap, chars })
    }

    /// What a client needs to know before the first sound; OpenAI has no such event.
    #[must_use]
    pub fn start(&self, format: Format, speaking: &Speaking) -> Bytes {
        if self.wrap == Wrap::OpenAiSse {
            return Bytes::new();
        }
        self.event(
            "start",
            json!({
                "format": format.name(),
                "sample_rate_hz": speaking.sample_rate_hz,
                "engine": speaking.engine,
                "voice": speaking.voice,
                "seed": speaking.seed,
                "cached": speaking.cached,
                "segments": speaking.segments,
            }),
        )
    }

    #[must_use]
    pub fn sound(&self, encoded: &[u8]) -> Bytes {
        if encoded.is_empty() {
            return Bytes::new();
        }
        let name = if self.wrap == Wrap::OpenAiSse { "speech.audio.delta" } else { "audio" };
        self.event(name, json!({ "audio": BASE64_STANDARD.encode(encoded) }))
    }

    #[must_use]
    pub fn caption(&self, caption: &Caption) -> Option<Bytes> {
        let told = serde_json::to_value(caption).ok()?;
        (self.wrap != Wrap::OpenAiSse).then(|| self.event("caption", told))
    }

    #[must_use]
    pub fn done(&self, samples: u64, sample_rate_hz: u32) -> Bytes {
        let rate = u64::from(sample_rate_hz.max(1));
        if self.wrap == Wrap::OpenAiSse {
            let (input, output) = (self.chars as u64, (samples * OUTPUT_TOKENS_PER_S).div_ceil(rate));
            let usage = json!({"input_tokens": input, "output_tokens": output, "total_tokens": input + output});
            return self.event("speech.audio.done", json!({ "usage": usage }));
        }
        self.event("done", json!({ "audio_ms": samples as f64 * 1e3 / rate as f64, "chars": self.chars }))
    }

    /// Takes the place of `done`.
    #[must_use]
    pub fn error(&self, error: Error) -> Bytes {
        self.event("error", ApiError::from(error).to_json())
    }

    fn event(&self, name: &str, mut fields: Value) -> Bytes {
        fields["type"] = Value::from(name);
        match self.wrap {
            Wrap::JsonLines => format!("{fields}\n").into(),
            // OpenAI's own events come without a name; its clients look for that of an error.
            Wrap::OpenAiSse if name != "error" => format!("data: {fields}\n\n").into(),
            _ => format!("event: {name}\ndata: {fields}\n\n").into(),
        }
    }
}
