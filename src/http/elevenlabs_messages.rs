//! What ElevenLabs' clients say and expect on `stream-input`, in JSON. Fields that change nothing here are passed over, as
//! there are many and clients send them all.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use crate::{error::Error, speech::Caption};

/// Sample rates that may be asked for, as `pcm_16000`.
const RATES_HZ: [u32; 7] = [8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];

/// Query parameters.
#[derive(Debug, Default, PartialEq, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct Params {
    /// A model of `GET /v1/models`; those of ElevenLabs stand for the configured route.
    pub model_id: Option<String>,
    /// `pcm_` and the sample rate in Hz; without it the voice's own.
    #[param(example = "pcm_24000")]
    pub output_format: Option<String>,
    /// Of the text; without it that of the voice.
    pub language_code: Option<String>,
    /// Seconds without a message after which it is closed; above 0, 180 at most.
    pub inactivity_timeout: Option<f64>,
    /// The same seed, the same sound; -1: another each time.
    pub seed: Option<i64>,
}

impl Params {
    /// The sample rate of 16-bit PCM; none: the voice's own.
    ///
    /// # Errors
    /// `unsupported_format`.
    pub fn sample_rate_hz(&self) -> Result<Option<u32>, Error> {
        let Some(format) = self.output_format.as_deref() else { return Ok(None) };
        let rate = format.strip_prefix("pcm_").and_then(|rate| rate.parse().ok());
        rate.filter(|rate| RATES_HZ.contains(rate)).map(Some).ok_or_else(|| {
            let existing = RATES_HZ.map(|rate| format!("pcm_{rate}")).join(", ");
            let message = format!("\"output_format\" {format:?} does not exist here; there are: {existing}");
            Error::invalid("unsupported_format", Some("output_format"), message)
        })
    }
}

/// Text, and on the first message how to say it.
#[derive(Debug, PartialEq, Deserialize)]
pub struct Piece {
    /// Empty: no more will come.
    pub text: String,
    pub flush: Option<bool>,
    pub voice_settings: Option<VoiceSettings>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
pub struct VoiceSettings {
    pub speed: Option<f64>,
}

/// # Errors
/// `invalid_message`.
pub fn parse(text: &str) -> Result<Piece, Error> {
    serde_json::from_str(text).map_err(|error| {
        let reason: String = error.to_string().chars().take(200).collect();
        Error::invalid("invalid_message", None, format!("this is not a message that is known here: {reason}"))
    })
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Sound {
    audio: Option<String>,
    is_final: Option<bool>,
    alignment: Option<Alignment>,
    normalized_alignment: Option<Alignment>,
}

/// When each character sounds, from the beginning of its message's audio.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Alignment {
    chars: Vec<char>,
    char_start_times_ms: Vec<u64>,
    char_durations_ms: Vec<u64>,
}

#[must_use]
pub fn sound(bytes: &[u8], caption: &Caption) -> String {
    let message = Sound {
        audio: Some(STANDARD.encode(bytes)),
        is_final: None,
        alignment: Some(as_written(caption)),
        normalized_alignment: Some(as_said(caption)),
    };
    serde_json::to_string(&message).unwrap_or_default()
}

#[must_use]
pub fn last() -> String {
    let message = Sound { audio: None, is_final: Some(true), alignment: None, normalized_alignment: None };
    serde_json::to_string(&message).unwrap_or_default()
}

#[must_use]
pub fn failure(error: &Error, close_code: u16) -> String {
    serde_json::json!({ "message": error.to_string(), "error": error.code(), "code": close_code }).to_string()
}

fn as_written(caption: &Caption) -> Alignment {
    let chars: Vec<char> = caption.text.chars().collect();
    // Where the text was cleaned, its characters do not stand at the offsets that words have in the original.
    let same = caption.end_char - caption.start_char == chars.len();
    let words = caption.words.iter().filter(|_| same).map(|word| {
        let at = |index: usize| index.saturating_sub(caption.start_char).min(chars.len());
        (at(word.start_char)..at(word.end_char), word.start_ms, word.end_ms)
    });
    aligned(&chars, words, caption)
}

fn as_said(caption: &Caption) -> Alignment {
    let chars: Vec<char> = caption.spoken.chars().collect();
    let mut from = 0;
    let words = caption.words.iter().filter_map(|word| {
        let said: Vec<char> = word.text.chars().collect();
        let at = chars[from..].windows(said.len().max(1)).position(|window| window == said)? + from;
        from = at + said.len();
        Some((at..from, word.start_ms, word.end_ms))
    });
    aligned(&chars, words.collect::<Vec<_>>(), caption)
}

/// Between the words' times, characters are taken to be equally long.
fn aligned(
    chars: &[char],
    words: impl IntoIterator<Item = (std::ops::Range<usize>, f64, f64)>,
    caption: &Caption,
) -> Alignment {
    let mut anchors = vec![(0, 0.0)];
    for (span, start_ms, end_ms) in words {
        anchors.push((span.start, start_ms - caption.start_ms));
        anchors.push((span.end, end_ms - caption.start_ms));
    }
    anchors.push((chars.len(), caption.end_ms - caption.start_ms));
    let mut times_ms = Vec::with_capacity(chars.len() + 1);
    for pair in anchors.windows(2) {
        let ((from, from_ms), (to, to_ms)) = (pair[0], pair[1]);
        for index in times_ms.len().max(from)..to {
            let share = (index - from) as f64 / (to - from) as f64;
            times_ms.push((from_ms + share * (to_ms - from_ms)).max(0.0).round() as u64);
        }
    }
    let end_ms = (caption.end_ms - caption.start_ms).max(0.0).round() as u64;
    times_ms.push(end_ms);
    let char_durations_ms = times_ms.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
    times_ms.pop();
    Alignment { chars: chars.to_vec(), char_start_times_ms: times_ms, char_durations_ms }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::CaptionWord;

    fn caption(text: &str, spoken: &str, words: &[(usize, usize, &str)]) -> Caption {
        let word = |(start, end, said): &(usize, usize, &str)| CaptionWord {
            start_ms: 1000.0 + 100.0 * *start as f64,
            end_ms: 1000.0 + 100.0 * *end as f64,
            start_char: 7 + start,
            end_char: 7 + end,
            text: (*said).to_owned(),
        };
        Caption {
            segment: 1,
            start_ms: 1000.0,
            end_ms: 1000.0 + 100.0 * text.chars().count() as f64,
            start_char: 7,
            end_char: 7 + text.chars().count(),
            text: text.to_owned(),
            spoken: spoken.to_owned(),
            words: words.iter().map(word).collect(),
            params: crate::engine::Params::new(),
        }
    }

    #[test]
    fn every_character_has_its_time() {
        let caption =
            caption("Pay $5 now.", "Pay five dollars now.", &[(0, 3, "Pay"), (4, 6, "five dollars"), (7, 10, "now")]);
        let written = as_written(&caption);
        assert_eq!(written.chars.iter().collect::<String>(), "Pay $5 now.");
        assert_eq!(written.char_start_times_ms, (0..11).map(|index| index * 100).collect::<Vec<_>>());
        assert_eq!(written.char_durations_ms, [100; 11]);
        let said = as_said(&caption);
        assert_eq!(said.chars.iter().collect::<String>(), "Pay five dollars now.");
        assert_eq!((said.char_start_times_ms[4], said.char_start_times_ms[17]), (400, 700));
        assert_eq!(said.char_durations_ms.iter().sum::<u64>(), 1100);
    }

    #[test]
    fn without_words_characters_are_equally_long() {
        let aligned = as_written(&caption("Hallo", "Hallo", &[]));
        assert_eq!(aligned.char_start_times_ms, [0, 100, 200, 300, 400]);
        let odd = caption("Hi", "", &[(5, 9, "x"), (0, 1, "y")]);
        assert_eq!(as_written(&odd).chars.len(), as_written(&odd).char_start_times_ms.len());
        assert_eq!(as_said(&odd).chars.len(), 0);
    }

    #[test]
    fn formats_and_messages() {
        let rate = |format: &str| Params { output_format: Some(format.into()), ..Params::default() }.sample_rate_hz();
        assert_eq!(rate("pcm_16000"), Ok(Some(16_000)));
        assert_eq!(Params::default().sample_rate_hz(), Ok(None));
        for bad in ["mp3_44100_128", "pcm_0", "pcm_", "pcm_12345", "wav"] {
            assert_eq!(rate(bad).expect_err(bad).code(), "unsupported_format");
        }
        let first = parse(r#"{"text":" ","voice_settings":{"stability":0.5,"speed":1.2},"xi_api_key":"k"}"#);
        assert_eq!(first.expect("good").voice_settings, Some(VoiceSettings { speed: Some(1.2) }));
        assert_eq!(parse(r#"{"flush":true}"#).expect_err("no text").code(), "invalid_message");
        assert_eq!(last(), r#"{"audio":null,"isFinal":true,"alignment":null,"normalizedAlignment":null}"#);
    }
}
