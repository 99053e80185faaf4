//! What is said over `/v1/ws`, in JSON: checked on its way in, field by field, as one wrong name would go unnoticed.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{error::ApiError, fields};
use crate::{
    audio::{Format, Spec},
    error::Error,
    speech::{Caption, Level, Loudness},
};

const MAX_JSON_ERROR_CHARS: usize = 200;
const CONTEXT: &str = "default";

#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Incoming {
    Start(Box<Start>),
    Text(Text),
    Flush(Named),
    End(Named),
    Cancel(Named),
    Ping(Empty),
}

/// Null means absent.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    pub context: Option<String>,
    pub model: Option<String>,
    pub voice: Option<String>,
    pub language: Option<String>,
    pub speed: Option<f64>,
    pub seed: Option<i64>,
    pub params: Option<Map<String, Value>>,
    pub cache: Option<bool>,
    pub format: Option<String>,
    pub sample_rate: Option<u32>,
    pub bitrate: Option<u32>,
    pub loudness: Option<String>,
    pub volume: Option<f64>,
    pub captions: Option<bool>,
    pub hurry: Option<bool>,
    pub text: Option<String>,
    pub flush: Option<bool>,
    pub end: Option<bool>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    pub context: Option<String>,
    pub text: String,
    pub flush: Option<bool>,
    pub end: Option<bool>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    pub context: Option<String>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// # Errors
/// `invalid_message`.
pub fn parse(text: &str) -> Result<Incoming, Error> {
    serde_json::from_str(text).map_err(|error| {
        let reason: String = error.to_string().chars().take(MAX_JSON_ERROR_CHARS).collect();
        Error::invalid("invalid_message", None, format!("this is not a message that is known here: {reason}"))
    })
}

/// The name of a context; without one there is one for all.
///
/// # Errors
/// `invalid_value`.
pub fn context(name: Option<String>) -> Result<String, Error> {
    fields::name("context", name.into()).map(|name| name.unwrap_or_else(|| CONTEXT.to_owned()))
}

/// # Errors
/// What the format does not have.
pub fn spec(start: &Start) -> Result<Spec, Error> {
    let format = fields::format("format", start.format.clone().into())?.unwrap_or(Format::Pcm);
    fields::spec(format, &start.sample_rate.into(), &start.bitrate.into())
}

/// # Errors
/// `invalid_value`.
pub fn level(start: &Start) -> Result<Level, Error> {
    let level = fields::level(start.loudness.clone().into(), &start.volume.into())?;
    if level.loudness == Some(Loudness::File) {
        let message = "\"loudness\" \"file\" measures the whole speech, which a WebSocket does not wait for";
        return Err(Error::invalid("invalid_value", Some("loudness"), message));
    }
    Ok(level)
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Outgoing<'a> {
    Started {
        context: &'a str,
        engine: &'a str,
        voice: &'a str,
        seed: u64,
        cached: bool,
        format: &'a str,
        sample_rate_hz: u32,
    },
    /// The binary message that comes next.
    Audio {
        context: &'a str,
        start_ms: f64,
        bytes: usize,
    },
    Caption {
        context: &'a str,
        #[serde(flatten)]
        caption: &'a Caption,
    },
    Flushed {
        context: &'a str,
    },
    Done {
        context: &'a str,
        audio_ms: f64,
    },
    Cancelled {
        context: &'a str,
    },
    Pong,
    /// `context` has ended by it; none: only the message that it answers was not taken.
    Error {
        context: Option<&'a str>,
        error: Value,
    },
}

impl<'a> Outgoing<'a> {
    #[must_use]
    pub fn error(context: Option<&'a str>, error: &ApiError) -> Self {
        let mut told = error.to_json();
        if let Some(seconds) = error.retry_after_s() {
            told["retry_after_s"] = seconds.into();
        }
        Self::Error { context, error: told }
    }

    #[must_use]
    pub fn json(&self) -> String {
        // Nothing here can fail: keys are strings, and numbers are finite.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_known_by_their_type() {
        let start = parse(r#"{"type":"start","voice":"wren","speed":1.5,"seed":null,"text":"Hi","end":true}"#);
        let expected = Start {
            voice: Some("wren".into()),
            speed: Some(1.5),
            text: Some("Hi".into()),
            end: Some(true),
            ..Start::default()
        };
        assert_eq!(start, Ok(Incoming::Start(Box::new(expected))));
        let text = parse(r#"{"context":"a","text":"Hi ","type":"text"}"#);
        assert_eq!(text, Ok(Incoming::Text(Text { context: Some("a".into()), text: "Hi ".into(), ..Text::default() })));
        assert_eq!(parse(r#"{"type":"ping"}"#), Ok(Incoming::Ping(Empty {})));
        for kind in ["flush", "end", "cancel"] {
            assert!(parse(&format!(r#"{{"type":"{kind}"}}"#)).is_ok(), "{kind}");
        }
    }

    #[test]
    fn what_is_unknown_is_told() {
        for (message, told) in [
            ("", "EOF"),
            ("{}", "type"),
            ("[]", "type"),
            (r#"{"type":"sing"}"#, "sing"),
            (r#"{"type":"start","pitch":1}"#, "pitch"),
            (r#"{"type":"start","speed":"fast"}"#, "fast"),
            (r#"{"type":"text"}"#, "text"),
            (r#"{"type":"text","text":7}"#, "7"),
            (r#"{"type":"end","text":"x"}"#, "text"),
            (r#"{"type":"ping","x":1}"#, "x"),
        ] {
            let error = parse(message).expect_err(message);
            assert_eq!(error.code(), "invalid_message");
            assert!(error.to_string().contains(told), "{message}: {error}");
        }
        let deep = format!(r#"{{"type":"start","text":{}"#, "[".repeat(100_000));
        assert!(parse(&deep).expect_err("too deep").to_string().len() < 400);
    }

    #[test]
    fn names_and_formats_are_checked() {
        assert_eq!(context(None).as_deref(), Ok("default"));
        for bad in ["", "a\nb", &"x".repeat(129)] {
            assert!(context(Some(bad.to_owned())).is_err(), "{bad:?}");
        }
        let format = |name: Option<&str>| spec(&Start { format: name.map(str::to_owned), ..Start::default() });
        assert_eq!(format(None), Ok(Format::Pcm.into()));
        assert_eq!(format(Some("wav")), Ok(Format::Wav.into()));
        assert_eq!(format(Some("midi")).expect_err("no such format").code(), "unsupported_format");
        let odd = Start { format: Some("opus".into()), sample_rate: Some(44_100), ..Start::default() };
        assert_eq!(spec(&odd).expect_err("no such rate").code(), "unsupported_sample_rate");
        assert!(level(&Start { loudness: Some("file".into()), ..Start::default() }).is_err());
    }
}
