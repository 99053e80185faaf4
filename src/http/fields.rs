//! The fields of a JSON body, or of a query, checked one by one so that an error names its field.

use std::fmt;

use axum::http::HeaderValue;
use serde::{
    Deserializer,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::{
    audio::{Format, Spec},
    error::Error,
    speech::{Level, Loudness, SEED_LIMIT},
};

pub const MIN_SPEED: f64 = 0.25;
pub const MAX_SPEED: f64 = 4.0;
pub const MIN_VOLUME: f64 = 0.01;
pub const MAX_VOLUME: f64 = 4.0;
pub const LOUDNESSES: [(&str, Loudness); 3] =
    [("voice", Loudness::Voice), ("file", Loudness::File), ("off", Loudness::Off)];
pub const MAX_NAME_CHARS: usize = 128;
/// BCP 47 advises room for that many (RFC 5646, 4.4.1).
pub const MAX_LANGUAGE_BYTES: usize = 35;
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

/// The fields that a surface knows as they came; null where there is none, for to OpenAI's clients null means absent.
pub struct Fields {
    known: &'static [&'static str],
    values: Map<String, Value>,
    ignored: Vec<String>,
}

impl Fields {
    /// # Errors
    /// `Error::Invalid` with the position of what is not a JSON object.
    pub fn parse(body: &[u8], known: &'static [&'static str]) -> Result<Self, Error> {
        let text = std::str::from_utf8(body).map_err(|error| {
            Error::invalid(
                "invalid_utf8",
                None,
                format!("the body is not UTF-8: bad byte at offset {}", error.valid_up_to()),
            )
        })?;
        let mut reader = serde_json::Deserializer::from_str(text);
        let read = Self::new(known).deserialize(&mut reader).and_then(|fields| reader.end().map(|()| fields));
        read.map_err(|error| {
            let reason: String = error.to_string().chars().take(MAX_JSON_ERROR_CHARS).collect();
            Error::invalid("invalid_json", None, format!("the body is not the JSON object that is expected: {reason}"))
        })
    }

    /// A query's pairs, in which everything is text: what reads as a number, `true` or `false` is taken for that, but
    /// for the fields of `texts`.
    ///
    /// # Errors
    /// `Error::Invalid` for a field that is given twice.
    pub fn of_query(
        pairs: Vec<(String, String)>,
        known: &'static [&'static str],
        texts: &[&str],
    ) -> Result<Self, Error> {
        let mut fields = Self::new(known);
        for (name, text) in pairs {
            let Some(known) = known.iter().find(|known| **known == name) else {
                fields.ignore(name);
                continue;
            };
            let plain = if texts.contains(known) { None } else { serde_json::from_str(&text).ok() };
            let value = plain.filter(|value| matches!(value, Value::Number(_) | Value::Bool(_)));
            if fields.values.insert(name, value.unwrap_or(Value::String(text))).is_some() {
                return Err(Error::invalid("invalid_value", Some(known), format!("{known:?} is given twice")));
            }
        }
        Ok(fields)
    }

    /// As `of_query`, of a form: a field of a page that nobody filled in is absent. But `text`, for which that says
    /// something.
    ///
    /// # Errors
    /// As `of_query`.
    pub fn of_form(
        mut pairs: Vec<(String, String)>,
        known: &'static [&'static str],
        texts: &[&str],
    ) -> Result<Self, Error> {
        pairs.retain(|(name, text)| !text.is_empty() || name == "text" || !known.contains(&name.as_str()));
        Self::of_query(pairs, known, texts)
    }

    fn new(known: &'static [&'static str]) -> Self {
        Self { known, values: Map::new(), ignored: Vec::new() }
    }

    pub fn take(&mut self, name: &'static str) -> Value {
        self.values.remove(name).unwrap_or(Value::Null)
    }

    pub fn peek(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// In the place of what was given.
    pub fn put(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), value);
    }

    /// Names of fields that change nothing, as far as a header can hold them.
    pub fn ignored_header(&self) -> Option<HeaderValue> {
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

impl<'de> DeserializeSeed<'de> for Fields {
    type Value = Self;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if self.known.contains(&name.as_str()) {
                // Which of two would count is a matter of taste, and tastes of proxies differ.
                if self.values.contains_key(&name) {
                    return Err(de::Error::custom(format_args!("{name:?} is given twice")));
                }
                let value = map.next_value()?;
                self.values.insert(name, value);
            } else {
                map.next_value::<IgnoredAny>()?;
                self.ignore(name);
            }
        }
        Ok(self)
    }
}

pub fn wrong(param: &'static str, expected: &str, found: &Value) -> Error {
    let found = match found {
        Value::Number(number) => &number.to_string(),
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    Error::invalid("invalid_value", Some(param), format!("{param:?} must be {expected}, not {found}"))
}

/// The text to say.
pub fn text(param: &'static str, value: Value) -> Result<String, Error> {
    let missing = |what| {
        Error::invalid("input_missing", Some(param), format!("{param:?} is {what}: it must hold the text to say"))
    };
    match value {
        Value::String(text) if text.is_empty() => Err(missing("empty")),
        Value::String(text) => Ok(text),
        Value::Null => Err(missing("missing")),
        other => Err(wrong(param, "a string", &other)),
    }
}

/// Names are looked up, never opened: what looks like a path is just unknown.
pub fn name(param: &'static str, value: Value) -> Result<Option<String>, Error> {
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
pub fn voice(value: Value) -> Result<Option<String>, Error> {
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

/// One of a fixed set of names. None: absent.
pub fn choice<T: Copy>(param: &'static str, value: Value, choices: &[(&str, T)]) -> Result<Option<T>, Error> {
    match value {
        Value::Null => Ok(None),
        Value::String(name) => match choices.iter().find(|(known, _)| *known == name) {
            Some((_, choice)) => Ok(Some(*choice)),
            None => {
                let existing: Vec<_> = choices.iter().map(|(known, _)| *known).collect();
                let message = format!("{param:?} {name:?} does not exist here; there are: {}", existing.join(", "));
                let code = if param.ends_with("format") { "unsupported_format" } else { "invalid_value" };
                Err(Error::invalid(code, Some(param), message))
            }
        },
        other => Err(wrong(param, "a string", &other)),
    }
}

pub fn format(param: &'static str, value: Value) -> Result<Option<Format>, Error> {
    let formats: Vec<_> = Format::ALL.iter().map(|format| (format.name(), *format)).collect();
    choice(param, value, &formats)
}

/// How the sound is to be encoded, in `format` unless the rest of the request is wrong.
pub fn spec(format: Format, sample_rate: &Value, bitrate: &Value) -> Result<Spec, Error> {
    let spec = Spec {
        format,
        sample_rate_hz: whole("sample_rate", "Hz", sample_rate)?,
        bitrate_bps: whole("bitrate", "bit/s", bitrate)?,
    };
    spec.check()?;
    Ok(spec)
}

fn whole(param: &'static str, unit: &str, value: &Value) -> Result<Option<u32>, Error> {
    if value.is_null() {
        return Ok(None);
    }
    // To JSON, 24000.0 is the whole number 24000.
    let float = |number: f64| (number.fract() == 0.0 && number >= 0.0).then_some(number as u64);
    let number = value.as_u64().or_else(|| value.as_f64().and_then(float));
    number
        .and_then(|number| u32::try_from(number).ok())
        .map(Some)
        .ok_or_else(|| wrong(param, &format!("a whole number of {unit}"), value))
}

/// How loud it is to be.
pub fn level(loudness: Value, volume: &Value) -> Result<Level, Error> {
    let loudness = choice("loudness", loudness, &LOUDNESSES)?;
    if volume.is_null() {
        return Ok(Level { loudness, ..Level::default() });
    }
    let volume = volume
        .as_f64()
        .filter(|volume| (MIN_VOLUME..=MAX_VOLUME).contains(volume))
        .ok_or_else(|| wrong("volume", &format!("a number from {MIN_VOLUME} to {MAX_VOLUME}"), volume))?;
    Ok(Level { loudness, volume: volume as f32 })
}

/// Parameters of the engine, which checks them.
pub fn object(param: &'static str, value: Value) -> Result<Map<String, Value>, Error> {
    match value {
        Value::Null => Ok(Map::new()),
        Value::Object(object) => Ok(object),
        other => Err(wrong(param, "an object", &other)),
    }
}

pub fn speed(value: &Value) -> Result<f64, Error> {
    if value.is_null() {
        return Ok(1.0);
    }
    value
        .as_f64()
        .filter(|speed| (MIN_SPEED..=MAX_SPEED).contains(speed))
        .ok_or_else(|| wrong("speed", &format!("a number from {MIN_SPEED} to {MAX_SPEED}"), value))
}

pub fn seed(value: &Value) -> Result<Option<i64>, Error> {
    if value.is_null() {
        return Ok(None);
    }
    let expected = || format!("a whole number from 0 to {}, or -1 for another each time", SEED_LIMIT - 1);
    // To JSON, 7.0 is the whole number 7; in this range floats hold all of them.
    let whole = |float: f64| (float.fract() == 0.0 && float.abs() < SEED_LIMIT as f64).then_some(float as i64);
    let seed = value.as_i64().or_else(|| value.as_f64().and_then(whole));
    let range = -1..SEED_LIMIT as i64;
    seed.filter(|seed| range.contains(seed)).map(Some).ok_or_else(|| wrong("seed", &expected(), value))
}

/// Absent means yes.
pub fn flag(param: &'static str, value: &Value) -> Result<bool, Error> {
    match value {
        Value::Null => Ok(true),
        Value::Bool(flag) => Ok(*flag),
        other => Err(wrong(param, "true or false", other)),
    }
}

/// `lang_code` is Kokoro's name for it.
pub fn language(language: Value, lang_code: Value) -> Result<Option<String>, Error> {
    let (param, value) = if language.is_null() { ("lang_code", lang_code) } else { ("language", language) };
    let letter = value.as_str().and_then(|code| KOKORO_LANGUAGES.iter().find(|(letter, _)| *letter == code));
    match letter {
        Some((_, tag)) if param == "lang_code" => Ok(Some((*tag).to_owned())),
        _ => language_tag(param, value),
    }
}

pub fn language_tag(param: &'static str, value: Value) -> Result<Option<String>, Error> {
    match value {
        Value::Null => Ok(None),
        Value::String(tag) if is_language_tag(&tag) => Ok(Some(tag)),
        Value::String(_) => {
            let message = format!("{param:?} must be a language tag like \"en\" or \"zh-Hans\"");
            Err(Error::invalid("invalid_value", Some(param), message))
        }
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
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_that_is_wrong_is_told() {
        let message = |result: Result<(), Error>| result.expect_err("wrong").to_string();
        let volume = |value: Value| message(level(Value::Null, &value).map(drop));
        assert_eq!(volume(json!(4.01)), "\"volume\" must be a number from 0.01 to 4, not 4.01");
        assert_eq!(volume(json!(0)), "\"volume\" must be a number from 0.01 to 4, not 0");
        assert!(volume(json!("4")).ends_with(", not a string"));
        assert!(message(speed(&json!(9)).map(drop)).ends_with(", not 9"));
        assert!(message(seed(&json!(0.5)).map(drop)).ends_with(", not 0.5"));
        let of = |sample_rate: Value, bitrate: Value| message(spec(Format::Wav, &sample_rate, &bitrate).map(drop));
        assert!(of(json!(-1), Value::Null).ends_with("a whole number of Hz, not -1"));
        assert!(of(Value::Null, json!(-1)).ends_with("a whole number of bit/s, not -1"));
    }

    #[test]
    fn what_nobody_filled_in_is_absent_from_a_form() {
        let pairs = ["text", "speed", "language", "other"].map(|name| (name.to_owned(), String::new()));
        let mut given = Fields::of_form(pairs.into(), &["text", "speed", "language"], &["text"]).expect("fields");
        assert_eq!((given.take("speed"), given.take("language")), (Value::Null, Value::Null));
        assert_eq!(given.take("text"), json!(""));
        assert_eq!(given.ignored_header().expect("another"), "other");
    }
}
