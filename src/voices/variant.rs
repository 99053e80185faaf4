//! Voices that are described where they are named: `heart+pitch=3+speed=1.1`, `heart(2)+wren+formant=-1`. Pure.
//!
//! A name with several voices mixes them by weight, in the notation that Kokoro's servers have. Everything about a variant
//! follows from its name and the voices in it, so two requests for the same one share what is prepared and what is cached.

use std::{collections::BTreeMap, fmt::Write, ops::RangeInclusive, sync::Arc};

use serde_json::Value;

use super::{Library, Voice};
use crate::{
    audio::shape::{FORMANT_SEMITONES, PITCH_SEMITONES, Shape},
    error::Error,
};

/// Names that describe a voice are not longer.
pub const MAX_VARIANT_CHARS: usize = 128;
const MAX_VOICES: usize = 4;
const SPEEDS: RangeInclusive<f64> = 0.25..=4.0;
const WEIGHTS: RangeInclusive<f64> = 0.01..=100.0;
/// Such hints of an engine are offsets: a voice without one has 0.
const OFFSET: &str = "_semitones";
const VERSION_HEX_DIGITS: usize = 32;

/// What a name says.
#[derive(Debug, PartialEq)]
struct Spec<'a> {
    /// With their weights, as they are given.
    voices: Vec<(&'a str, f64)>,
    speed: Option<f64>,
    pitch: Option<f64>,
    formant: Option<f64>,
}

impl Library {
    /// The voice that a request names: by id, by alias, or described.
    ///
    /// # Errors
    /// `UnknownVoice`, and `Invalid` for a description that says nothing or too much.
    pub fn resolve(&self, name: &str) -> Result<Arc<Voice>, Error> {
        match self.get(name) {
            Err(Error::UnknownVoice { .. }) if is_described(name) => {}
            found => return found,
        }
        let spec = parse(name)?;
        let mut parts: Vec<(Arc<Voice>, f64)> = Vec::with_capacity(spec.voices.len());
        for (name, weight) in &spec.voices {
            let voice = self.get(name)?;
            match parts.iter_mut().find(|(held, _)| held.id == voice.id) {
                Some((_, sum)) => *sum += weight,
                None => parts.push((voice, *weight)),
            }
        }
        make(&parts, &spec)
    }
}

impl Voice {
    /// There is nothing of it but its clip: engines that do not clone have nothing to go by.
    #[must_use]
    pub fn only_cloned(&self) -> bool {
        self.reference.is_some() && self.hints.is_empty()
    }
}

/// No id has such letters, and an alias hardly ever.
fn is_described(name: &str) -> bool {
    name.contains(['+', '=', '('])
}

fn invalid(message: String) -> Error {
    Error::invalid("invalid_voice", Some("voice"), message)
}

fn too_long() -> Error {
    invalid(format!("a voice's description may have {MAX_VARIANT_CHARS} characters"))
}

fn parse(name: &str) -> Result<Spec<'_>, Error> {
    if name.chars().nth(MAX_VARIANT_CHARS).is_some() {
        return Err(too_long());
    }
    let mut spec = Spec { voices: Vec::new(), speed: None, pitch: None, formant: None };
    for part in name.split('+').map(str::trim) {
        if part.is_empty() {
            return Err(invalid(format!("the voice {name:?} has nothing between two \"+\", or at an end")));
        }
        match part.split_once('=') {
            Some((key, value)) => set(&mut spec, key.trim(), value.trim())?,
            None => spec.voices.push(weighted(part)?),
        }
    }
    match spec.voices.len() {
        0 => Err(invalid(format!("the voice {name:?} names no voice to change; write for instance heart+pitch=3"))),
        1..=MAX_VOICES => Ok(spec),
        count => Err(invalid(format!("{count} voices are to be mixed; at most {MAX_VOICES} can be"))),
    }
}

fn set(spec: &mut Spec<'_>, key: &str, value: &str) -> Result<(), Error> {
    let (place, range, unit) = match key {
        "pitch" => (&mut spec.pitch, PITCH_SEMITONES, " semitones"),
        "formant" => (&mut spec.formant, FORMANT_SEMITONES, " semitones"),
        "speed" => (&mut spec.speed, SPEEDS, ""),
        _ => return Err(invalid(format!("a voice has no {key:?} to change, only pitch, formant and speed"))),
    };
    let number = value.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        invalid(format!("{key} in a voice must be a number from {least} to {most}{unit}, not {value:?}"))
    })?;
    if place.replace(number).is_some() {
        return Err(invalid(format!("{key} is given twice in a voice")));
    }
    Ok(())
}

/// `heart`, `heart(0.6)`.
fn weighted(part: &str) -> Result<(&str, f64), Error> {
    let Some((name, weight)) = part.split_once('(') else { return Ok((part, 1.0)) };
    let number = weight.strip_suffix(')').and_then(|weight| weight.trim().parse().ok());
    let number = number.filter(|weight| WEIGHTS.contains(weight)).ok_or_else(|| {
        let (least, most) = (WEIGHTS.start(), WEIGHTS.end());
        invalid(format!("a voice's share must be a number from {least} to {most}, as in heart(0.6)+wren, not {part:?}"))
    })?;
    Ok((name.trim_end(), number))
}

fn make(parts: &[(Arc<Voice>, f64)], spec: &Spec<'_>) -> Result<Arc<Voice>, Error> {
    let mixed = parts.len() > 1;
    if let Some((cloned, _)) = parts.iter().find(|(voice, _)| mixed && voice.only_cloned()) {
        let message = format!("{:?} is cloned from a clip, and such a voice cannot be mixed with others", cloned.id);
        return Err(invalid(message));
    }
    // Ties go to the one that is named first.
    let Some(main) = parts.iter().rev().max_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(voice, _)| voice)
    else {
        return Err(invalid("a voice must be named".to_owned()));
    };
    let total: f64 = parts.iter().map(|(_, weight)| weight).sum();
    // As they are shown, so that one id is one sound.
    let share = |weight: f64| (weight / total * 1e4).round() / 1e4;
    let shares: Vec<(&Voice, f64)> = parts.iter().map(|(voice, weight)| (&**voice, share(*weight))).collect();
    let mean = |value: fn(&Voice) -> f64| shares.iter().map(|(voice, share)| value(voice) * share).sum::<f64>();
    let shape = Shape {
        pitch_semitones: mean(|voice| voice.shape.pitch_semitones) + spec.pitch.unwrap_or(0.0),
        formant_semitones: mean(|voice| voice.shape.formant_semitones) + spec.formant.unwrap_or(0.0),
    };
    let id = described(&shares, spec);
    if id == main.id {
        return Ok(Arc::clone(main));
    }
    // An id that is kept, as that of a chat's voice is, must be one to ask for again.
    if id.chars().nth(MAX_VARIANT_CHARS).is_some() {
        return Err(too_long());
    }
    let mut hasher = blake3::Hasher::new();
    for (voice, _) in &shares {
        hasher.update(voice.version.as_bytes());
    }
    let version = hasher.update(id.as_bytes()).finalize().to_hex()[..VERSION_HEX_DIGITS].to_owned();
    Ok(Arc::new(Voice {
        version,
        name: id.clone(),
        description: String::new(),
        languages: main.languages.clone(),
        licence: licences(&shares),
        speed: mean(|voice| voice.speed) * spec.speed.unwrap_or(1.0),
        hints: mixed_hints(main, &shares),
        // Of the mixture there is no clip.
        reference: main.reference.clone().filter(|_| !mixed),
        shape,
        transient: false,
        id,
    }))
}

/// The same for every way to write it.
fn described(shares: &[(&Voice, f64)], spec: &Spec<'_>) -> String {
    let mut id = String::new();
    for (voice, share) in shares {
        let plus = if id.is_empty() { "" } else { "+" };
        let _ = match shares.len() {
            1 => write!(id, "{}", voice.id),
            _ => write!(id, "{plus}{}({share})", voice.id),
        };
    }
    for (key, value, plain) in [("pitch", spec.pitch, 0.0), ("formant", spec.formant, 0.0), ("speed", spec.speed, 1.0)]
    {
        if let Some(value) = value.filter(|value| *value != plain) {
            let _ = write!(id, "+{key}={value}");
        }
    }
    id
}

fn licences(shares: &[(&Voice, f64)]) -> String {
    let mut different: Vec<&str> = Vec::new();
    for (voice, _) in shares {
        if !different.contains(&voice.licence.as_str()) {
            different.push(&voice.licence);
        }
    }
    different.join(" AND ")
}

/// Of each engine: a number that several have lies between theirs; all else is the main voice's.
fn mixed_hints(main: &Voice, shares: &[(&Voice, f64)]) -> BTreeMap<String, Value> {
    let mut hints = main.hints.clone();
    if shares.len() == 1 {
        return hints;
    }
    for (engine, table) in &mut hints {
        let Value::Object(table) = table else { continue };
        let tables: Vec<_> = shares.iter().map(|(voice, share)| (voice.hints.get(engine), *share)).collect();
        let keys: Vec<String> = tables
            .iter()
            .filter_map(|(table, _)| table.as_ref()?.as_object())
            .flat_map(|table| table.keys().cloned())
            .collect();
        for key in keys {
            let missing = key.ends_with(OFFSET).then_some(0.0);
            let value = |table: &Option<&Value>| match table.and_then(|table| table.get(&key)) {
                Some(value) => value.as_f64(),
                None => missing,
            };
            let mean: Option<f64> = tables.iter().map(|(table, share)| Some(value(table)? * share)).sum();
            if let Some(mean) = mean {
                // Without the last digits, in which the order of a sum shows.
                table.insert(key, Value::from((mean * 1e6).round() / 1e6));
            }
        }
    }
    hints
}

#[cfg(test)]
#[path = "variant_tests.rs"]
mod tests;
