//! `voice.toml`: what a voice is called, who may use it, and what each engine makes of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Fault, Reference, Voice};

/// The same as for requests, whose speed it multiplies.
const SPEEDS: std::ops::RangeInclusive<f64> = 0.25..=4.0;
const VERSION_HEX_DIGITS: usize = 32;
/// What a voice outside of the library is called.
const OWN_CLIP: &str = "reference";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    id: String,
    name: String,
    #[serde(default)]
    description: String,
    languages: Vec<String>,
    licence: String,
    #[serde(default = "own_pace")]
    speed: f64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    engine: BTreeMap<String, toml::Table>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<ReferenceTable>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReferenceTable {
    text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

fn own_pace() -> f64 {
    1.0
}

/// The voice that `manifest` describes, in the folder of the voice `id`.
///
/// # Errors
/// What is wrong, beginning with the line of the file where it has one.
pub(super) fn parse(id: &str, manifest: &[u8], clip: Option<Bytes>) -> Result<Voice, Fault> {
    let version = version(manifest, clip.as_ref());
    let parsed: Manifest = read(manifest)?;
    if parsed.id != id {
        let message = format!("id is {:?}, but the folder is {id:?}; make them the same", parsed.id);
        return Err(Fault::new("id_mismatch", message));
    }
    if !SPEEDS.contains(&parsed.speed) {
        let message = format!("speed must be a number from 0.25 to 4, not {:?}", parsed.speed);
        return Err(Fault::new("bad_speed", message));
    }
    for (key, value) in [("name", &parsed.name), ("licence", &parsed.licence)] {
        if value.trim().is_empty() {
            return Err(Fault::new("empty_value", format!("{key} must not be empty")));
        }
    }
    if let Some(language) = parsed.languages.iter().find(|language| !is_language(language)) {
        let message = format!("languages must be BCP 47 tags such as \"en-US\", not {language:?}");
        return Err(Fault::new("bad_language", message));
    }
    if parsed.languages.is_empty() {
        return Err(Fault::new("bad_language", "languages must name at least one, such as [\"en-US\"]"));
    }
    let reference = match (parsed.reference, clip) {
        (Some(table), Some(_)) if table.text.trim().is_empty() => {
            return Err(Fault::new("text_empty", "reference.text must hold the words of reference.wav"));
        }
        (Some(table), Some(clip)) => Some(Reference { clip, text: table.text, source: table.source }),
        (Some(_), None) => {
            return Err(Fault::new("clip_missing", "has [reference], but there is no reference.wav beside it"));
        }
        (None, Some(_)) => {
            let message = "has no [reference] with the text of the reference.wav beside it";
            return Err(Fault::new("text_missing", message));
        }
        (None, None) => None,
    };
    let hint = |(engine, table): (String, toml::Table)| match json(toml::Value::Table(table)) {
        Ok(hints) => Ok((engine, hints)),
        Err(fault) => Err(Fault::new("bad_hint", format!("engine.{engine}: {fault}"))),
    };
    Ok(Voice {
        id: parsed.id,
        version,
        name: parsed.name,
        description: parsed.description,
        languages: parsed.languages,
        licence: parsed.licence,
        speed: parsed.speed,
        hints: parsed.engine.into_iter().map(hint).collect::<Result<_, _>>()?,
        reference,
        shape: Default::default(),
        transient: false,
    })
}

/// What `parse` makes the same voice of.
///
/// # Errors
/// Hints that TOML cannot hold.
pub(super) fn write(voice: &Voice) -> Result<String, Fault> {
    let manifest = Manifest {
        id: voice.id.clone(),
        name: voice.name.clone(),
        description: voice.description.clone(),
        languages: voice.languages.clone(),
        licence: voice.licence.clone(),
        speed: voice.speed,
        engine: voice
            .hints
            .iter()
            .map(|(engine, hints)| {
                toml::Table::try_from(hints)
                    .map(|hints| (engine.clone(), hints))
                    .map_err(|_| Fault::new("bad_hint", format!("engine.{engine} must be an object without null")))
            })
            .collect::<Result<_, _>>()?,
        reference: voice
            .reference
            .as_ref()
            .map(|reference| ReferenceTable { text: reference.text.clone(), source: reference.source.clone() }),
    };
    toml::to_string(&manifest).map_err(|error| Fault::new("manifest_invalid", error.to_string()))
}

/// `override.toml`: what is said in the clip that takes the place of another.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OverrideManifest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// # Errors
/// As `parse`.
pub(super) fn parse_override(manifest: &[u8]) -> Result<Option<String>, Fault> {
    let OverrideManifest { text } = read(manifest)?;
    match text {
        Some(text) if text.trim().is_empty() => Err(Fault::new("text_empty", "text must hold the words of the clip")),
        text => Ok(text),
    }
}

pub(super) fn write_override(text: Option<&str>) -> String {
    toml::to_string(&OverrideManifest { text: text.map(str::to_owned) }).unwrap_or_default()
}

/// The same clip and text are the same version, whatever the file is called.
pub(super) fn of_clip(clip: Bytes, text: &str) -> Voice {
    Voice {
        id: OWN_CLIP.to_owned(),
        version: version(text.as_bytes(), Some(&clip)),
        name: OWN_CLIP.to_owned(),
        description: String::new(),
        languages: Vec::new(),
        licence: String::new(),
        speed: own_pace(),
        hints: BTreeMap::new(),
        reference: Some(Reference { clip, text: text.to_owned(), source: None }),
        shape: Default::default(),
        transient: false,
    }
}

/// Of everything that is read, so that nothing that changes the sound is forgotten.
fn version(manifest: &[u8], clip: Option<&Bytes>) -> String {
    let mut hasher = blake3::Hasher::new();
    // The length keeps a byte from moving between the two unseen.
    hasher.update(&(manifest.len() as u64).to_le_bytes());
    hasher.update(manifest);
    if let Some(clip) = clip {
        hasher.update(clip);
    }
    shortened(&hasher)
}

pub(super) fn overridden_version(baseline: &str, text: &str, clip: &Bytes) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(baseline.as_bytes()).update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes()).update(clip);
    shortened(&hasher)
}

fn shortened(hasher: &blake3::Hasher) -> String {
    hasher.finalize().to_hex()[..VERSION_HEX_DIGITS].to_owned()
}

fn read<T: DeserializeOwned>(manifest: &[u8]) -> Result<T, Fault> {
    let text =
        std::str::from_utf8(manifest).map_err(|_| Fault::new("not_utf8", "is not valid UTF-8; save it as UTF-8"))?;
    toml::from_str(text).map_err(|error| {
        let code = match error.message() {
            message if message.starts_with("unknown field") => "unknown_key",
            message if message.starts_with("missing field") => "missing_key",
            _ => "manifest_invalid",
        };
        Fault::new(code, located(text, &error))
    })
}

fn located(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().lines().map(str::trim).collect::<Vec<_>>().join(", ");
    match error.span().and_then(|span| text.get(..span.start)) {
        // A missing key is reported for the whole file.
        Some(before) if !before.is_empty() => format!("line {}: {message}", 1 + before.matches('\n').count()),
        _ => message,
    }
}

fn is_language(tag: &str) -> bool {
    let subtag =
        |subtag: &str| (1..=8).contains(&subtag.len()) && subtag.chars().all(|letter| letter.is_ascii_alphanumeric());
    tag.starts_with(|letter: char| letter.is_ascii_alphabetic()) && tag.split('-').all(subtag)
}

/// JSON has neither dates nor infinities.
fn json(value: toml::Value) -> Result<serde_json::Value, String> {
    use serde_json::Value;
    Ok(match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Float(number) => serde_json::Number::from_f64(number)
            .map(Value::Number)
            .ok_or_else(|| format!("{number} is not a finite number"))?,
        toml::Value::Boolean(truth) => Value::Bool(truth),
        toml::Value::Datetime(date) => Value::String(date.to_string()),
        toml::Value::Array(values) => Value::Array(values.into_iter().map(json).collect::<Result<_, _>>()?),
        toml::Value::Table(table) => {
            let entries = table.into_iter().map(|(key, value)| json(value).map(|value| (key, value)));
            Value::Object(entries.collect::<Result<_, _>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "id = \"a\"\nname = \"A\"\nlanguages = [\"en\"]\nlicence = \"MIT\"\n";

    fn clip(bytes: &'static [u8]) -> Option<Bytes> {
        Some(Bytes::from_static(bytes))
    }

    fn fault(manifest: &str) -> String {
        parse("a", manifest.as_bytes(), None).expect_err(manifest).message
    }

    #[test]
    fn a_whole_manifest() {
        let text = format!(
            "{HEAD}speed = 2\n[engine.x]\nn = -3\nwhen = 2024-01-02\nlist = [1.5, true]\n[reference]\ntext = \"Hi.\"\n\
             source = \"A book\"\n"
        );
        let voice = parse("a", text.as_bytes(), clip(b"clip")).expect("valid");
        assert_eq!((voice.speed, voice.languages.as_slice()), (2.0, ["en".to_owned()].as_slice()));
        assert_eq!(voice.hints["x"], serde_json::json!({"n": -3, "when": "2024-01-02", "list": [1.5, true]}));
        let told = voice.reference.as_ref().map(|told| (&*told.clip, &*told.text, told.source.as_deref()));
        assert_eq!(told, Some((&b"clip"[..], "Hi.", Some("A book"))));
        let plain = parse("a", HEAD.as_bytes(), None).expect("valid");
        assert_eq!((plain.speed, plain.description.as_str(), plain.reference), (1.0, "", None));
    }

    #[test]
    fn every_byte_makes_a_version() {
        let text = format!("{HEAD}[reference]\ntext = \"Hi.\"\n");
        let version =
            |text: &str, bytes: &'static [u8]| parse("a", text.as_bytes(), clip(bytes)).expect("valid").version;
        let first = version(&text, b"clip");
        assert!(first.len() >= 16 && first.chars().all(|digit| digit.is_ascii_hexdigit()), "{first}");
        assert_eq!(version(&text, b"clip"), first);
        assert_ne!(version(&text, b"clop"), first);
        assert_ne!(version(&format!("{text}\n"), b"clip"), first);
        assert_ne!(version(&format!("{text}#"), b"clip"), version(&text, b"#clip"));
    }

    #[test]
    fn faults_name_the_line_and_the_mend() {
        assert!(fault(&format!("{HEAD}gain = 1\n")).starts_with("line 5: unknown field `gain`, expected"));
        assert!(fault("id = \"a\"\n").contains("missing field `name`"));
        assert!(fault(&format!("{HEAD}x = = 1\n")).starts_with("line 5: "));
        assert!(fault(&HEAD.replace("\"a\"", "\"b\"")).contains("the folder is \"a\""));
        assert!(fault(&HEAD.replace("\"en\"", "\"en US\"")).contains("BCP 47"));
        assert!(fault(&HEAD.replace("\"en\"", "")).contains("at least one"));
        assert!(fault(&HEAD.replace("\"MIT\"", "\" \"")).contains("licence must not be empty"));
        for speed in ["0.2", "4.1", "nan", "inf", "-1"] {
            assert!(fault(&format!("{HEAD}speed = {speed}\n")).contains("0.25 to 4"), "{speed}");
        }
        assert!(fault(&format!("{HEAD}engine.x.y = inf\n")).starts_with("engine.x: "));
        assert!(fault(&format!("{HEAD}[reference]\ntext = \"Hi.\"\n")).contains("no reference.wav"));
        let voiceless = format!("{HEAD}[reference]\ntext = \" \"\n");
        assert!(parse("a", voiceless.as_bytes(), clip(b"")).is_err());
        assert!(parse("a", HEAD.as_bytes(), clip(b"")).is_err());
        assert!(parse("a", b"\xff", None).is_err());
    }

    #[test]
    fn what_is_written_is_the_same_voice() {
        let text = format!(
            "{HEAD}speed = 2\n[engine.x]\nn = -3\nlist = [1.5, true]\n[engine.x.y]\nz = \"\"\n[reference]\ntext = \"Hi.\\n\"\n\
             source = \"A book\"\n"
        );
        for (text, clip) in [(text.as_str(), clip(b"clip")), (HEAD, None)] {
            let voice = parse("a", text.as_bytes(), clip.clone()).expect("valid");
            let again = parse("a", write(&voice).expect("written").as_bytes(), clip).expect("valid");
            assert_eq!(Voice { version: voice.version.clone(), ..again }, voice);
        }
        let mut voice = parse("a", HEAD.as_bytes(), None).expect("valid");
        voice.hints.insert("x".into(), serde_json::json!({"y": null}));
        assert_eq!(write(&voice).expect_err("no null in TOML").code, "bad_hint");
    }

    #[test]
    fn an_override_holds_a_text_or_nothing() {
        for text in [None, Some("Hi \"there\".\n")] {
            assert_eq!(parse_override(write_override(text).as_bytes()), Ok(text.map(str::to_owned)));
        }
        assert_eq!(parse_override(b"text = ' '").expect_err("empty").code, "text_empty");
        assert_eq!(parse_override(b"texts = 'a'").expect_err("unknown").code, "unknown_key");
    }

    #[test]
    fn faults_have_names() {
        let code = |manifest: &str, clip| parse("a", manifest.as_bytes(), clip).expect_err(manifest).code;
        assert_eq!(code(&format!("{HEAD}gain = 1\n"), None), "unknown_key");
        assert_eq!(code("id = \"a\"\n", None), "missing_key");
        assert_eq!(code("id = ", None), "manifest_invalid");
        assert_eq!(code(&format!("{HEAD}[reference]\ntext = \"Hi.\"\n"), None), "clip_missing");
        assert_eq!(code(&format!("{HEAD}[reference]\ntext = \" \"\n"), clip(b"")), "text_empty");
        assert_eq!(code(HEAD, clip(b"")), "text_missing");
        assert_eq!(code(&format!("{HEAD}[reference]\ntext = \"a\"\ntexts = 1\n"), clip(b"")), "unknown_key");
    }
}
