//! What a voice of the user's own is made of. Pure.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Reference, Voice};
use crate::{audio::shape::Shape, error::Error};

/// For a user's voice about whose rights nothing was said (SPDX).
const NO_LICENCE: &str = "NOASSERTION";
/// BCP 47: not known.
const NO_LANGUAGE: &str = "und";

/// What a user's voice is to be; what is not given stays as it was.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    pub name: Option<String>,
    pub description: Option<String>,
    pub languages: Option<Vec<String>>,
    pub licence: Option<String>,
    pub speed: Option<f64>,
    pub hints: Option<BTreeMap<String, serde_json::Value>>,
    /// A WAV file.
    pub clip: Option<Bytes>,
    /// What is said in it.
    pub text: Option<String>,
}

impl Draft {
    /// The voice, of which `own` is the one that is there.
    ///
    /// # Errors
    /// What is missing.
    pub(super) fn onto(self, id: &str, own: Option<&Voice>) -> Result<Voice, Error> {
        let before = own.and_then(|own| own.reference.as_ref());
        let clip = self.clip.or_else(|| before.map(|before| before.clip.clone()));
        let text = self.text.or_else(|| before.map(|before| before.text.clone()));
        let reference = match (clip, text) {
            (Some(clip), Some(text)) => Some(Reference { clip, text: text.trim().to_owned() }),
            (Some(_), None) => {
                let message = "\"text\" is missing: it must hold what is said in the clip";
                return Err(Error::invalid("transcript_missing", Some("text"), message));
            }
            (None, Some(_)) => {
                return Err(Error::invalid(
                    "audio_missing",
                    Some("audio"),
                    "\"audio\" is missing: there is a text of no clip",
                ));
            }
            (None, None) => None,
        };
        let hints = self.hints.or_else(|| own.map(|own| own.hints.clone())).unwrap_or_default();
        if reference.is_none() && hints.is_empty() {
            let message = "\"audio\" is missing: it must hold a clip of the voice";
            return Err(Error::invalid("audio_missing", Some("audio"), message));
        }
        let kept = |given: Option<String>, kept: fn(&Voice) -> &String| given.or_else(|| own.map(kept).cloned());
        Ok(Voice {
            id: id.to_owned(),
            version: String::new(),
            name: kept(self.name, |own| &own.name).unwrap_or_else(|| id.to_owned()),
            description: kept(self.description, |own| &own.description).unwrap_or_default(),
            languages: self
                .languages
                .filter(|languages| !languages.is_empty())
                .or_else(|| own.map(|own| own.languages.clone()))
                .unwrap_or_else(|| vec![NO_LANGUAGE.to_owned()]),
            licence: kept(self.licence, |own| &own.licence).unwrap_or_else(|| NO_LICENCE.to_owned()),
            speed: self.speed.or_else(|| own.map(|own| own.speed)).unwrap_or(1.0),
            hints,
            reference,
            shape: Shape::default(),
            transient: false,
        })
    }
}
