//! The body of `POST /v1/audio/speech`: OpenAI's fields and ours, checked one by one so that an error names its field.

use std::fmt;

use axum::http::HeaderValue;
use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, Visitor},
};
use serde_json::Value;

use crate::{audio::Format, error::Error};

const DEFAULT_FORMAT: Format = Format::Wav;
const MIN_SPEED: f64 = 0.25;
const MAX_SPEED: f64 = 4.0;
const MAX_NAME_CHARS: usize = 128;
/// BCP 47 advises room for that many (RFC 5646, 4.4.1).
const MAX_LANGUAGE_BYTES: usize = 35;
const MAX_IGNORED_NAMES: usize = 16;
const MAX_IGNORED_NAME_BYTES: usize = 64;
const MAX_JSON_ERROR_CHARS: usize = 200;

/// Kokoro's one-letter languages, which clients of its servers send as `lang_code`.
const KOKORO_LANGUAGES: [(&str, &str); 9] = [
    ("a", "en-US"),
    ("b", "en-GB"),
    ("e", "es"),
    ("f", "fr-FR"),
    ("h", "hi"),
    ("i", "it"),
    ("j", "ja"),
    ("p", "pt-BR"),
    ("z", "zh"),
];

#[derive(Debug, Clone, PartialEq)]
pub struct SpeechCall {
    pub input: String,
    pub model: Option<String>,
    pub voice: Option<String>,
    pub format: Format,
    pub speed: f64,
    pub seed: Option<i64>,
    pub streamed: bool,
    pub cache: bool,
    pub language: Option<String>,
    /// Names of fields that change nothing, as far as a header can hold them.
    pub ignored: Option<HeaderValue>,
}

/// # Errors
/// `Error::Invalid` that names the field, or the position for what is not JSON.
pub fn parse(body: &[u8]) -> Result<SpeechCall, Error> {
    let text = std::str::from_utf8(body).map_err(|error| {
        Error::invalid(
            "invalid_utf8",
            None,
            format!("the body is not UTF-8: bad byte at offset {}", error.valid_up_to()),
        )
    })?;
    let mut fields: Fields = serde_json::from_str(text).map_err(|error| {
        let reason: String = error.to_string().chars().take(MAX_JSON_ERROR_CHARS).collect();
        Error::invalid("invalid_json", None, format!("the body is not the JSON object that is expected: {reason}"))
    })?;
    stream_format(fields.take(Field::StreamFormat))?;
    Ok(SpeechCall {
        input: input(fields.take(Field::Input))?,
        model: name("model", fields.take(Field::Model))?,
        voice: voice(fields.take(Field::Voice))?,
        format: format(fields.take(Field::ResponseFormat))?,
        speed: speed(&fields.take(Field::Speed))?,
        seed: seed(&fields.take(Field::Seed))?,
        streamed: flag("stream", &fields.take(Field::Stream))?,
        cache: flag("cache", &fields.take(Field::Cache))?,
        language: language(fields.take(Field::Language), fields.take(Field::LangCode))?,
        ignored: fields.ignored_header(),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Input,
    Model,
    Voice,
    ResponseFormat,
    StreamFormat,
    Speed,
    Seed,
    Stream,
    Cache,
    Language,
    LangCode,
}

/// Names in the order of `Field`.
const FIELD_NAMES: [(&str, Field); 11] = [
    ("input", Field::Input),
    ("model", Field::Model),
    ("voice", Field::Voice),
    ("response_format", Field::ResponseFormat),
    ("stream_format", Field::StreamFormat),
    ("speed", Field::Speed),
    ("seed", Field::Seed),
    ("stream", Field::Stream),
    ("cache", Field::Cache),
    ("language", Field::Language),
    ("lang_code", Field::LangCode),
];

/// The fields that we know as they came; null where there is none, for to OpenAI's clients null means absent.
#[derive(Default)]
struct Fields {
    values: [Option<Value>; FIELD_NAMES.len()],
    ignored: Vec<String>,
}

impl Fields {
    fn take(&mut self, field: Field) -> Value {
        self.values[field as usize].take().unwrap_or(Value::Null)
    }

    fn ignored_header(&self) -> Option<HeaderValue> {
        if self.ignored.is_empty() { None } else { HeaderValue::from_str(&self.ignored.join(", ")).ok() }
    }

    fn ignore(&mut self, name: String) {
        let fit = !name.is_empty()
            && name.len() <= MAX_IGNORED_NAME_BYTES
            && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
        if self.ignored.len() < MAX_IGNORED_NAMES {
            self.ignored.push(if fit { name } else { "?".to_owned() });
        }
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::default();
                while let Some(name) = map.next_key::<String>()? {
                    match FIELD_NAMES.iter().find(|(known, _)| *known == name) {
                        Some((known, field)) => {
                            let place = &mut fields.values[*field as usize];
                            // Which of two would count is a matter of taste, and tastes of proxies differ.
                            if place.is_some() {
                                return Err(de::Error::custom(format_args!("{known:?} is given twice")));
                            }
                            *place = Some(map.next_value()?);
                        }
                        None => {
                            map.next_value::<IgnoredAny>()?;
                            fields.ignore(name);
                        }
                    }
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Object)
    }
}

fn wrong(param: &'static str, expected: &str, found: &Value) -> Error {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "another number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    Error::invalid("invalid_value", Some(param), format!("{param:?} must be {expected}, not {found}"))
}

fn input(value: Value) -> Result<String, Error> {
    let missing = |message| Error::invalid("input_missing", Some("input"), message);
    match value {
        Value::String(text) if text.is_empty() => Err(missing("\"input\" is empty: it must hold the text to say")),
        Value::String(text) => Ok(text),
        Value::Null => Err(missing("\"input\" is missing: it must hold the text to say")),
        other => Err(wrong("input", "a string", &other)),
    }
}

/// Names are looked up, never opened: what looks like a path is just unknown.
fn name(param: &'static str, value: Value) -> Result<Option<String>, Error> {
    match value {
        Value::Null => Ok(None),
        Value::String(name) if is_name(&name) => Ok(Some(name)),
        Value::String(_) => {
            let message =
                format!("{param:?} must be a name of 1 to {MAX_NAME_CHARS} characters, without control characters");
            Err(Error::invalid("invalid_value", Some(param), message))
        }
        other => Err(wrong(param, "a string", &other)),
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.chars().take(MAX_NAME_CHARS + 1).count() <= MAX_NAME_CHARS
        && !name.contains(char::is_control)
}

/// A string, or OpenAI's object form for custom voices.
fn voice(value: Value) -> Result<Option<String>, Error> {
    match value {
        Value::Object(mut object) => match object.remove("id") {
            Some(id @ Value::String(_)) => name("voice", id),
            _ => {
                Err(Error::invalid("invalid_value", Some("voice"), "\"voice\" as an object must hold a string \"id\""))
            }
        },
        other => name("voice", other),
    }
}

fn format(value: Value) -> Result<Format, Error> {
    match value {
        Value::Null => Ok(DEFAULT_FORMAT),
        Value::String(name) => Format::parse(&name).ok_or_else(|| {
            let existing = Format::ALL.map(Format::name).join(", ");
            let message = format!("\"response_format\" {name:?} does not exist here; there are: {existing}");
            Error::invalid("unsupported_format", Some("response_format"), message)
        }),
        other => Err(wrong("response_format", "a string", &other)),
    }
}

fn stream_format(value: Value) -> Result<(), Error> {
    match value {
        Value::Null => Ok(()),
        Value::String(name) if name == "audio" => Ok(()),
        Value::String(name) => {
            let message = format!("\"stream_format\" {name:?} does not exist here; there is: audio");
            Err(Error::invalid("unsupported_format", Some("stream_format"), message))
        }
        other => Err(wrong("stream_format", "a string", &other)),
    }
}

fn speed(value: &Value) -> Result<f64, Error> {
    if value.is_null() {
        return Ok(1.0);
    }
    value
        .as_f64()
        .filter(|speed| (MIN_SPEED..=MAX_SPEED).contains(speed))
        .ok_or_else(|| wrong("speed", &format!("a number from {MIN_SPEED} to {MAX_SPEED}"), value))
}

fn seed(value: &Value) -> Result<Option<i64>, Error> {
    if value.is_null() {
        return Ok(None);
    }
    let expected = "a whole number from 0 to 9223372036854775807, or -1 for another each time";
    value.as_i64().filter(|seed| *seed >= -1).map(Some).ok_or_else(|| wrong("seed", expected, value))
}

/// Absent means yes.
fn flag(param: &'static str, value: &Value) -> Result<bool, Error> {
    match value {
        Value::Null => Ok(true),
        Value::Bool(flag) => Ok(*flag),
        other => Err(wrong(param, "true or false", other)),
    }
}

fn language(language: Value, lang_code: Value) -> Result<Option<String>, Error> {
    let (param, value) = if language.is_null() { ("lang_code", lang_code) } else { ("language", language) };
    match value {
        Value::Null => Ok(None),
        Value::String(code) => match KOKORO_LANGUAGES.iter().find(|(letter, _)| *letter == code) {
            Some((_, tag)) if param == "lang_code" => Ok(Some((*tag).to_owned())),
            _ if is_language_tag(&code) => Ok(Some(code)),
            _ => {
                let message = format!("{param:?} must be a language tag like \"en\" or \"zh-Hans\"");
                Err(Error::invalid("invalid_value", Some(param), message))
            }
        },
        other => Err(wrong(param, "a string", &other)),
    }
}

/// The shape of BCP 47, not its registry.
fn is_language_tag(tag: &str) -> bool {
    let mut subtags = tag.split('-');
    tag.len() <= MAX_LANGUAGE_BYTES
        && subtags
            .next()
            .is_some_and(|main| (2..=8).contains(&main.len()) && main.bytes().all(|b| b.is_ascii_alphabetic()))
        && subtags.all(|subtag| (1..=8).contains(&subtag.len()) && subtag.bytes().all(|b| b.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn good(body: &str) -> SpeechCall {
        parse(body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"))
    }

    fn bad(body: &[u8]) -> (&'static str, Option<&'static str>, String) {
        match parse(body).expect_err("must be refused") {
            Error::Invalid { code, message, param } => (code, param, message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn input_is_all_that_is_needed() {
        let call = good(r#"{"input":"Hello"}"#);
        let expected = SpeechCall {
            input: "Hello".into(),
            model: None,
            voice: None,
            format: Format::Wav,
            speed: 1.0,
            seed: None,
            streamed: true,
            cache: true,
            language: None,
            ignored: None,
        };
        assert_eq!(call, expected);
        let nulls = r#"{"input":"Hello","model":null,"voice":null,"response_format":null,"speed":null,"seed":null,
            "stream":null,"cache":null,"language":null,"lang_code":null,"stream_format":null}"#;
        assert_eq!(good(nulls), expected);
    }

    #[test]
    fn every_field_is_taken() {
        let call = good(
            r#"{"input":"Hi","model":"tts-1","voice":"alloy","response_format":"pcm","speed":1.5,"seed":-1,
            "stream":false,"cache":false,"language":"en-GB","stream_format":"audio"}"#,
        );
        let expected = SpeechCall {
            input: "Hi".into(),
            model: Some("tts-1".into()),
            voice: Some("alloy".into()),
            format: Format::Pcm,
            speed: 1.5,
            seed: Some(-1),
            streamed: false,
            cache: false,
            language: Some("en-GB".into()),
            ignored: None,
        };
        assert_eq!(call, expected);
        assert_eq!(good(r#"{"input":"Hi","voice":{"id":"nova"}}"#).voice.as_deref(), Some("nova"));
        assert_eq!(good(r#"{"input":"Hi","speed":4}"#).speed, 4.0);
        assert_eq!(good(r#"{"input":"Hi","seed":9223372036854775807}"#).seed, Some(i64::MAX));
    }

    #[test]
    fn hostile_input_is_text_like_any_other() {
        assert_eq!(good(r#"{"input":"a\u0000b"}"#).input, "a\0b");
        assert_eq!(good(r#"{"input":"\u202Eabc\u200B"}"#).input, "\u{202E}abc\u{200B}");
    }

    #[test]
    fn unknown_fields_are_named() {
        let call = good(r#"{"input":"Hi","instructions":"softly","normalization_options":{"a":[1]},"ключ":1,"a,b":2}"#);
        assert_eq!(call.ignored, Some(HeaderValue::from_static("instructions, normalization_options, ?, ?")));
        let many: String = (0..1000).map(|index| format!(r#","field{index}":0"#)).collect();
        let ignored = good(&format!(r#"{{"input":"Hi"{many}}}"#)).ignored.expect("names");
        assert_eq!(ignored.to_str().expect("ASCII").split(", ").count(), MAX_IGNORED_NAMES);
    }

    #[test]
    fn a_wrong_field_is_named() {
        for (fields, param) in [
            (r#""speed":"1""#, "speed"),
            (r#""speed":0"#, "speed"),
            (r#""speed":0.2499"#, "speed"),
            (r#""speed":4.0001"#, "speed"),
            (r#""speed":-1"#, "speed"),
            (r#""speed":1e308"#, "speed"),
            (r#""speed":true"#, "speed"),
            (r#""seed":-2"#, "seed"),
            (r#""seed":1.5"#, "seed"),
            (r#""seed":"7""#, "seed"),
            (r#""seed":9223372036854775808"#, "seed"),
            (r#""stream":"yes""#, "stream"),
            (r#""cache":0"#, "cache"),
            (r#""model":7"#, "model"),
            (r#""model":"""#, "model"),
            (r#""voice":[]"#, "voice"),
            (r#""voice":"a\u0000b""#, "voice"),
            (r#""voice":{"name":"nova"}"#, "voice"),
            (r#""voice":{"id":7}"#, "voice"),
            (r#""response_format":"mp3""#, "response_format"),
            (r#""response_format":"WAV""#, "response_format"),
            (r#""response_format":1"#, "response_format"),
            (r#""stream_format":"sse""#, "stream_format"),
            (r#""language":"en US""#, "language"),
            (r#""language":"a""#, "language"),
            (r#""lang_code":"x""#, "lang_code"),
        ] {
            let (_, named, message) = bad(format!(r#"{{"input":"Hi",{fields}}}"#).as_bytes());
            assert_eq!(named, Some(param), "{fields}");
            assert!(message.contains(param), "{message}");
        }
        for body in ["{}", r#"{"input":""}"#, r#"{"input":null}"#, r#"{"input":7}"#, r#"{"text":"Hi"}"#] {
            assert_eq!(bad(body.as_bytes()).1, Some("input"), "{body}");
        }
    }

    #[test]
    fn formats_that_exist_are_listed() {
        let (code, _, message) = bad(br#"{"input":"Hi","response_format":"mp3"}"#);
        assert_eq!(code, "unsupported_format");
        assert!(message.ends_with("there are: wav, pcm"), "{message}");
    }

    #[test]
    fn what_is_not_json_is_told_where() {
        for (body, position) in [
            (r#"{"input":"Hi","speed":NaN}"#, "line 1 column 23"),
            (r#"{"input":"Hi","speed":1e999}"#, "line 1 column 27"),
            ("{\"input\":\n\"Hi\",}", "line 2 column 6"),
            ("", "line 1 column 0"),
            (r#"["input"]"#, "line 1 column 0"),
            (r#""input""#, "line 1 column 7"),
            (r#"{"input":"\ud800"}"#, "line 1 column"),
            (r#"{"input":"a","input":"b"}"#, "\"input\" is given twice at line 1"),
            (r#"{"input":"a"} x"#, "line 1 column 15"),
            ("{\"input\":\"a\0b\"}", "line 1 column"),
        ] {
            let (code, _, message) = bad(body.as_bytes());
            assert_eq!(code, "invalid_json", "{body}");
            assert!(message.contains(position), "{body}: {message}");
        }
        let (code, _, message) = bad(b"{\"input\":\"\xff\"}");
        assert_eq!(code, "invalid_utf8");
        assert!(message.contains("offset 10"), "{message}");
    }

    #[test]
    fn depth_and_size_end_in_an_error_and_not_in_a_crash() {
        let deep = format!(r#"{{"input":"Hi","voice":{}"#, "[".repeat(100_000));
        assert_eq!(bad(deep.as_bytes()).0, "invalid_json");
        let ignored_and_deep = format!(r#"{{"input":"Hi","x":{}"#, "[".repeat(100_000));
        assert_eq!(bad(ignored_and_deep.as_bytes()).0, "invalid_json");
        let long_name = format!(r#"{{"input":"Hi","voice":"{}"}}"#, "v".repeat(100_000));
        assert!(bad(long_name.as_bytes()).2.len() < 200);
        let long_string = format!(r#""{}""#, "v".repeat(100_000));
        assert!(bad(long_string.as_bytes()).2.len() < 300);
    }

    #[test]
    fn languages_come_as_tags_or_as_kokoro_letters() {
        assert_eq!(good(r#"{"input":"Hi","lang_code":"b"}"#).language.as_deref(), Some("en-GB"));
        assert_eq!(good(r#"{"input":"Hi","lang_code":"fr"}"#).language.as_deref(), Some("fr"));
        assert_eq!(good(r#"{"input":"Hi","language":"zh-Hans","lang_code":"a"}"#).language.as_deref(), Some("zh-Hans"));
    }

    #[test]
    fn a_field_stands_at_its_own_place() {
        for (index, (name, field)) in FIELD_NAMES.iter().enumerate() {
            assert_eq!(*field as usize, index, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_a_call_or_an_error(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&body);
        }

        #[test]
        fn any_text_arrives_as_it_was_sent(text in "\\PC{1,50}") {
            let body = serde_json::json!({ "input": text }).to_string();
            prop_assert_eq!(parse(body.as_bytes()).expect("good").input, text);
        }
    }
}
