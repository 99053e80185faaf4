//! Speech as events: OpenAI's, and our own with captions, as server-sent events or a line each. Pure.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{call::Wrap, error::ApiError};
use crate::{
    audio::Format,
    engine::Params,
    speech::{Caption, Speaking},
};

/// What OpenAI counts a second of its own speech as.
const OUTPUT_TOKENS_PER_S: u64 = 20;

/// An event of `stream_format` `sse` or `jsonl`. First `start`, last `done` or `error`.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum SpeechEvent<'a> {
    Start {
        /// Of what the `audio` of all events is when it is put together.
        format: &'static str,
        sample_rate_hz: u32,
        engine: &'a str,
        voice: &'a str,
        /// Given again, it gives the same sound.
        seed: u64,
        /// Nothing had to be spoken.
        cached: bool,
        segments: usize,
        /// What the engine chose for the first segment where `params` left the choice to it.
        #[serde(skip_serializing_if = "Params::is_empty")]
        #[schema(value_type = std::collections::BTreeMap<String, Value>)]
        params: Params,
    },
    Audio {
        /// Base64 of the next bytes.
        #[schema(content_encoding = "base64")]
        audio: String,
    },
    /// Comes before the last sound of its segment.
    Caption(&'a Caption),
    Done {
        audio_ms: f64,
        /// Code points of the text.
        chars: usize,
    },
    /// In place of `done`: not all was spoken.
    Error {
        #[schema(value_type = super::error::Body)]
        error: Value,
    },
}

/// An event of `stream_format` `sse` as OpenAI has it. Last `speech.audio.done`, or an event named `error`.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type")]
pub enum OpenAiSpeechEvent {
    #[serde(rename = "speech.audio.delta")]
    Delta {
        /// Base64 of the next bytes.
        #[schema(content_encoding = "base64")]
        audio: String,
    },
    #[serde(rename = "speech.audio.done")]
    Done { usage: Usage },
    #[serde(rename = "error")]
    Error {
        #[schema(value_type = super::error::Body)]
        error: Value,
    },
}

#[derive(Serialize, ToSchema)]
pub struct Usage {
    /// Code points of the text.
    input_tokens: u64,
    /// Twenty for a second of speech.
    output_tokens: u64,
    total_tokens: u64,
}

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
        self.ours(
            "start",
            &SpeechEvent::Start {
                format: format.name(),
                sample_rate_hz: speaking.sample_rate_hz,
                engine: &speaking.engine,
                voice: &speaking.voice,
                seed: speaking.seed,
                cached: speaking.cached,
                segments: speaking.segments,
                params: speaking.params(),
            },
        )
    }

    #[must_use]
    pub fn sound(&self, encoded: &[u8]) -> Bytes {
        if encoded.is_empty() {
            return Bytes::new();
        }
        let audio = BASE64_STANDARD.encode(encoded);
        match self.wrap {
            Wrap::OpenAiSse => openai(&OpenAiSpeechEvent::Delta { audio }),
            _ => self.ours("audio", &SpeechEvent::Audio { audio }),
        }
    }

    /// Nothing for OpenAI's clients.
    #[must_use]
    pub fn caption(&self, caption: &Caption) -> Bytes {
        match self.wrap {
            Wrap::OpenAiSse => Bytes::new(),
            _ => self.ours("caption", &SpeechEvent::Caption(caption)),
        }
    }

    #[must_use]
    pub fn done(&self, samples: u64, sample_rate_hz: u32) -> Bytes {
        let rate = u64::from(sample_rate_hz.max(1));
        if self.wrap == Wrap::OpenAiSse {
            let (input, output) = (self.chars as u64, (samples * OUTPUT_TOKENS_PER_S).div_ceil(rate));
            let usage = Usage { input_tokens: input, output_tokens: output, total_tokens: input + output };
            return openai(&OpenAiSpeechEvent::Done { usage });
        }
        self.ours("done", &SpeechEvent::Done { audio_ms: samples as f64 * 1e3 / rate as f64, chars: self.chars })
    }

    /// Takes the place of `done`.
    #[must_use]
    pub fn error(&self, error: &ApiError) -> Bytes {
        let error = error.to_json();
        match self.wrap {
            // OpenAI's own events come without a name; its clients look for that of an error.
            Wrap::OpenAiSse => sse("error", &OpenAiSpeechEvent::Error { error }),
            _ => self.ours("error", &SpeechEvent::Error { error }),
        }
    }

    fn ours(&self, name: &str, event: &SpeechEvent<'_>) -> Bytes {
        match self.wrap {
            Wrap::JsonLines => format!("{}\n", json(event)).into(),
            _ => sse(name, event),
        }
    }
}

fn openai(event: &OpenAiSpeechEvent) -> Bytes {
    format!("data: {}\n\n", json(event)).into()
}

fn sse(name: &str, event: &impl Serialize) -> Bytes {
    format!("event: {name}\ndata: {}\n\n", json(event)).into()
}

/// Only maps with keys that are no strings and floats that are no numbers cannot be written; there are none here.
fn json(event: &impl Serialize) -> String {
    serde_json::to_string(event).unwrap_or_default()
}
