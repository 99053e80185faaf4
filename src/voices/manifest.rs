//! `voice.toml`: what a voice is called, who may use it, and what each engine makes of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;

use super::{MAX_NAME_CHARS, Reference, Voice};

/// The same as for requests, whose speed it multiplies.
const SPEEDS: std::ops::RangeInclusive<f64> = 0.25..=4.0;
const VERSION_HEX_DIGITS: usize = 32;
/// What a voice outside of the library is called.
const OWN_CLIP: &str = "reference";

#[derive(Deserialize)]
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
    #[serde(default)]
    engine: BTreeMap<String, toml::Table>,
    reference: Option<ReferenceTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReferenceTable {
    text: String,
}

fn own_pace() -> f64 {
    1.0
}

/// Lower-case ASCII, so that ids are the same on every file system and never a path.
pub(super) fn is_id(name: &str) -> bool {
    let letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    name.len() <= MAX_NAME_CHARS
        && name.starts_with(letter)
        && name.chars().all(|other| letter(other) || matches!(other, '-' | '_'))
}

/// The voice that `manifest` describes, in the folder `folder_name`.
///
/// # Errors
/// What is wrong, on one line, beginning with the line of the file where it has one.
pub(super) fn parse(folder_name: &str, manifest: &[u8], clip: Option<Bytes>) -> Result<Voice, String> {
    let text = std::str::from_utf8(manifest).map_err(|_| "is not valid UTF-8; save it as UTF-8".to_owned())?;
    let version = version(manifest, clip.as_ref());
    let parsed: Manifest = toml::from_str(text).map_err(|error| located(text, &error))?;
    if parsed.id != folder_name {
        return Err(format!("id is {:?}, but the folder is {folder_name:?}; make them the same", parsed.id));
    }
    if !SPEEDS.contains(&parsed.speed) {
        return Err(format!("speed must be a number from 0.25 to 4, not {:?}", parsed.speed));
    }
    for (key, value) in [("name", &parsed.name), ("licence", &parsed.licence)] {
        if value.trim().is_empty() {
            return Err(format!("{key} must not be empty"));
        }
    }
    if let Some(language) = parsed.languages.iter().find(|language| !is_language(language)) {
        return Err(format!("languages must be BCP 47 tags such as \"en-US\", not {language:?}"));
    }
    if parsed.languages.is_empty() {
        return Err("languages must name at least one, such as [\"en-US\"]".to_owned());
    }
    let reference = match (parsed.reference, clip) {
        (Some(table), Some(_)) if table.text.trim().is_empty() => {
            return Err("reference.text must hold the words of reference.wav".to_owned());
        }
        (Some(table), Some(clip)) => Some(Reference { clip, text: table.text }),
        (Some(_), None) => return Err("has [reference], but there is no reference.wav beside it".to_owned()),
        (None, Some(_)) => return Err("has no [reference] with the text of the reference.wav beside it".to_owned()),
        (None, None) => None,
    };
    let hint = |(engine, table): (String, toml::Table)| match json(toml::Value::Table(table)) {
        Ok(hints) => Ok((engine, hints)),
        Err(fault) => Err(format!("engine.{engine}: {fault}")),
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
    })
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
        reference: Some(Reference { clip, text: text.to_owned() }),
        shape: Default::default(),
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
    hasher.finalize().to_hex()[..VERSION_HEX_DIGITS].to_owned()
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
        parse("a", manifest.as_bytes(), None).expect_err(manifest)
    }

    #[test]
    fn a_whole_manifest() {
        let text = format!(
            "{HEAD}speed = 2\n[engine.x]\nn = -3\nwhen = 2024-01-02\nlist = [1.5, true]\n[reference]\ntext = \"Hi.\"\n"
        );
        let voice = parse("a", text.as_bytes(), clip(b"clip")).expect("valid");
        assert_eq!((voice.speed, voice.languages.as_slice()), (2.0, ["en".to_owned()].as_slice()));
        assert_eq!(voice.hints["x"], serde_json::json!({"n": -3, "when": "2024-01-02", "list": [1.5, true]}));
        assert_eq!(voice.reference, Some(Reference { clip: Bytes::from_static(b"clip"), text: "Hi.".into() }));
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
    fn ids_are_never_paths() {
        for good in ["a", "0", "a-b_c", &"a".repeat(64)] {
            assert!(is_id(good), "{good}");
        }
        for bad in ["", "-a", "_a", "A", "a.b", "..", "a/b", "a b", "é", "a\0", &"a".repeat(65)] {
            assert!(!is_id(bad), "{bad}");
        }
    }
}
