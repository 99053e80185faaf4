//! Captions: when each segment sounds, what of the original text it is, and its words where the engine tells them.

use std::{ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Pcm;
use crate::{
    engine::{Params, Transcript},
    text::Place,
};

/// About what one of `Caption::params` takes.
const PARAM_BYTES: usize = 128;

/// What a listener is given.
#[derive(Debug, Clone)]
pub enum Said {
    /// Mono float32.
    Sound(Pcm),
    /// Comes once for each segment, when it is known whole and before its last sound.
    Caption(Arc<Caption>),
}

/// One segment. Times are from the beginning of the speech; characters are code points of the request's text, the end
/// exclusive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Caption {
    pub segment: usize,
    pub start_ms: f64,
    pub end_ms: f64,
    pub start_char: usize,
    pub end_char: usize,
    /// As written, whitespace folded.
    pub text: String,
    /// As said, where the engine tells; else as written.
    pub spoken: String,
    /// Empty where the engine tells no durations.
    pub words: Vec<CaptionWord>,
    /// What the engine chose for this segment where the request's `params` left the choice to it.
    #[serde(default, skip_serializing_if = "Params::is_empty")]
    #[schema(value_type = std::collections::BTreeMap<String, serde_json::Value>)]
    pub params: Params,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CaptionWord {
    pub start_ms: f64,
    pub end_ms: f64,
    pub start_char: usize,
    pub end_char: usize,
    /// As said.
    pub text: String,
}

impl Caption {
    /// `samples`: where it lies in the speech.
    pub(super) fn new(
        segment: usize,
        text: &str,
        place: &Place,
        transcript: Transcript,
        params: Params,
        samples: Range<u64>,
        sample_rate_hz: u32,
    ) -> Self {
        let ms = |samples: u64| milliseconds(samples as f64 * 1e3 / f64::from(sample_rate_hz));
        let (start_ms, end_ms) = (ms(samples.start), ms(samples.end));
        let span = place.span();
        let words = transcript.words.into_iter().map(|word| {
            let span = place.original(word.span);
            CaptionWord {
                start_ms: milliseconds(start_ms + word.start_ms).min(end_ms),
                end_ms: milliseconds(start_ms + word.end_ms).min(end_ms),
                start_char: span.start,
                end_char: span.end,
                text: word.text,
            }
        });
        let spoken = if transcript.spoken.is_empty() { text.to_owned() } else { transcript.spoken };
        Self {
            segment,
            start_ms,
            end_ms,
            start_char: span.start,
            end_char: span.end,
            text: text.to_owned(),
            spoken,
            words: words.collect(),
            params,
        }
    }

    pub(super) fn nbytes(&self) -> usize {
        let words: usize = self.words.iter().map(|word| size_of::<CaptionWord>() + word.text.len()).sum();
        size_of::<Self>() + self.text.len() + self.spoken.len() + words + self.params.len() * PARAM_BYTES
    }
}

/// Finer than a microsecond is noise that makes the JSON long.
fn milliseconds(ms: f64) -> f64 {
    (ms * 1e3).round() / 1e3
}
