//! What a voice of the user's own is made of. Pure.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    NO_LANGUAGE, Reference, Voice,
    clip::Warning,
    transcript::{label, transcript},
};
use crate::{audio::shape::Shape, error::Error};

/// For a user's voice about whose rights nothing was said (SPDX).
const NO_LICENCE: &str = "NOASSERTION";
/// Of a text that is told again.
const SHOWN_CHARS: usize = 80;

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
    /// Whether it has a clip of which nobody told what is said in it. `own`: the voice that is there.
    #[must_use]
    pub fn lacks_text(&self, own: Option<&Voice>) -> bool {
        self.clip.is_some() && self.text.is_none() && own.is_none_or(|own| own.reference.is_none())
    }

    /// The main language that the voice will have, where one is known.
    #[must_use]
    pub fn language<'a>(&'a self, own: Option<&'a Voice>) -> Option<&'a str> {
        let told = self.languages.as_ref().and_then(|languages| languages.first()).map(String::as_str);
        told.filter(|language| *language != NO_LANGUAGE).or_else(|| own?.language())
    }

    /// For a clip that takes another's place while the text stays.
    #[must_use]
    pub fn text_kept(&self, own: Option<&Voice>) -> Option<Warning> {
        let before = own?.reference.as_ref()?;
        if self.text.is_some() || self.clip.as_ref().is_none_or(|clip| *clip == before.clip) {
            return None;
        }
        let more = if before.text.chars().nth(SHOWN_CHARS).is_some() { "…" } else { "" };
        let shown: String = before.text.chars().take(SHOWN_CHARS).collect();
        let message = format!(
            "the clip is another one and its text is still \"{shown}{more}\": give its text too, unless just that is \
             said in it"
        );
        Some(Warning { code: "text_kept", message })
    }

    /// The voice, of which `own` is the one that is there.
    ///
    /// # Errors
    /// What is missing.
    pub(super) fn onto(self, id: &str, own: Option<&Voice>) -> Result<Voice, Error> {
        let before = own.and_then(|own| own.reference.as_ref());
        let clip = self.clip.or_else(|| before.map(|before| before.clip.clone()));
        let text = self.text.map(|text| transcript(&text, "text")).transpose()?;
        let text = text.or_else(|| before.map(|before| before.text.clone()));
        let reference = match (clip, text) {
            (Some(clip), Some(text)) => {
                let source = before.and_then(|before| before.source_of(&clip));
                Some(Reference { clip, text, source })
            }
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
        let told = |given: Option<String>, param, lines| given.map(|given| label(given, param, lines)).transpose();
        let (name, licence) = (told(self.name, "name", false)?, told(self.licence, "licence", false)?);
        let description = told(self.description, "description", true)?;
        let kept = |given: Option<String>, kept: fn(&Voice) -> &String| given.or_else(|| own.map(kept).cloned());
        Ok(Voice {
            id: id.to_owned(),
            version: String::new(),
            name: kept(name, |own| &own.name).unwrap_or_else(|| id.to_owned()),
            description: kept(description, |own| &own.description).unwrap_or_default(),
            languages: self
                .languages
                .filter(|languages| !languages.is_empty())
                .or_else(|| own.map(|own| own.languages.clone()))
                .unwrap_or_else(|| vec![NO_LANGUAGE.to_owned()]),
            licence: kept(licence, |own| &own.licence).unwrap_or_else(|| NO_LICENCE.to_owned()),
            speed: self.speed.or_else(|| own.map(|own| own.speed)).unwrap_or(1.0),
            hints,
            reference,
            shape: Shape::default(),
            transient: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(language: &str, text: &str) -> Voice {
        let draft = Draft {
            languages: Some(vec![language.to_owned()]),
            clip: Some(Bytes::from_static(b"RIFF")),
            text: Some(text.to_owned()),
            ..Draft::default()
        };
        draft.onto("own", None).expect("a voice")
    }

    #[test]
    fn a_text_is_lacking_where_no_clip_before_had_one() {
        let own = own("vi", "Xin chào.");
        let hints = Voice { reference: None, ..own.clone() };
        let clip = Draft { clip: Some(Bytes::from_static(b"RIFF")), ..Draft::default() };
        assert!(clip.lacks_text(None) && clip.lacks_text(Some(&hints)) && !clip.lacks_text(Some(&own)));
        assert!(!Draft { text: Some("Hi.".to_owned()), ..clip }.lacks_text(None));
        assert!(!Draft::default().lacks_text(None));
    }

    #[test]
    fn what_is_told_of_the_language_goes_before_what_was() {
        let told = Draft { languages: Some(vec!["en".to_owned(), "vi".to_owned()]), ..Draft::default() };
        assert_eq!(told.language(Some(&own("vi", "a"))), Some("en"));
        assert_eq!(Draft::default().language(Some(&own("vi", "a"))), Some("vi"));
        assert_eq!(Draft::default().language(Some(&own(NO_LANGUAGE, "a"))), None);
        assert_eq!(Draft::default().language(None), None);
    }

    #[test]
    fn a_text_that_stays_is_shown_as_far_as_it_helps() {
        let clip = Draft { clip: Some(Bytes::from_static(b"RIFF another")), ..Draft::default() };
        let kept = |text: &str| clip.text_kept(Some(&own("vi", text))).map(|warning| warning.message);
        assert!(kept("Xin chào.").is_some_and(|message| message.contains("\"Xin chào.\"")));
        assert!(
            kept(&"ữ".repeat(500)).is_some_and(|message| message.contains("ữ…\"") && message.chars().count() < 250)
        );
        assert_eq!(clip.text_kept(None), None);
        let same = Draft { clip: Some(Bytes::from_static(b"RIFF")), ..Draft::default() };
        assert_eq!(same.text_kept(Some(&own("vi", "a"))), None);
        assert_eq!(Draft::default().text_kept(Some(&own("vi", "a"))), None);
        assert_eq!(Draft { text: Some("b".to_owned()), ..clip.clone() }.text_kept(Some(&own("vi", "a"))), None);
    }
}
