//! The voice library: the voices that ship, and the user's own and their overrides, which win.
//!
//! Requests look names up in memory only, in a snapshot that never changes (`Library`), so a name from a request never
//! reaches the file system. `Store` changes what is on disk and swaps the snapshot; `watch` follows what others change.

pub mod clip;
mod clip_check;
mod disk;
mod draft;
mod folder;
mod id;
mod library;
mod manifest;
mod places;
pub mod preview;
mod stamp;
mod store;
#[cfg(test)]
mod tests;
mod transcript;
mod variant;
mod watch;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use bytes::Bytes;

pub use draft::Draft;
pub use id::{check_id, id_of_name, is_id};
pub use library::{Library, Listed, Origin};
pub use store::Store;
pub use transcript::transcript;
pub use watch::watch;

use crate::audio::shape::Shape;

/// Ids and aliases are not longer, so that a huge name costs nothing.
const MAX_NAME_CHARS: usize = 64;
/// BCP 47: not known.
const NO_LANGUAGE: &str = "und";

/// One version of one voice. Never changes; a change on disk makes a new one.
#[derive(Debug, Clone, PartialEq)]
pub struct Voice {
    pub id: String,
    /// Hash of all that changes its sound.
    pub version: String,
    pub name: String,
    pub description: String,
    /// BCP 47, the main one first.
    pub languages: Vec<String>,
    /// Who may use it: an SPDX expression, where there is one for that.
    pub licence: String,
    /// Multiplies the request's speed.
    pub speed: f64,
    /// Engine name to the voice's own table for it.
    pub hints: BTreeMap<String, serde_json::Value>,
    pub reference: Option<Reference>,
    /// Beyond what its hints say: of a variant.
    pub shape: Shape,
    /// Of one request: nothing that is made of it outlives that.
    pub transient: bool,
}

/// A clip to clone and what is said in it. In memory: whatever becomes of the file, this version of the voice has it.
#[derive(Clone, PartialEq)]
pub struct Reference {
    /// A WAV file.
    pub clip: Bytes,
    pub text: String,
    /// Where the clip is from, for people.
    pub source: Option<String>,
}

impl Reference {
    /// Of `clip`, if it is this one.
    fn source_of(&self, clip: &Bytes) -> Option<String> {
        self.source.clone().filter(|_| self.clip == *clip)
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Reference({} bytes, {:?})", self.clip.len(), self.text)
    }
}

/// What takes the place of a voice's reference clip, of what is said in it, or of both; the rest stays as it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    pub clip: Option<Bytes>,
    pub text: Option<String>,
    pub updated_at: SystemTime,
}

impl Voice {
    /// Its main language, where it is known.
    #[must_use]
    pub fn language(&self) -> Option<&str> {
        self.languages.first().map(String::as_str).filter(|language| *language != NO_LANGUAGE)
    }

    /// A voice of the caller's own, outside of the library: a WAV file that is cloned, and what is said in it.
    ///
    /// # Errors
    /// What is wrong with the file, on one line.
    pub fn of_clip(path: &Path, text: &str) -> Result<Self, String> {
        folder::clip(path, text)
    }

    /// The same from memory, for one request.
    #[must_use]
    pub fn of_wav(clip: Bytes, text: &str) -> Self {
        Self { transient: true, ..manifest::of_clip(clip, text) }
    }

    /// As it sounds with `over` in the place of its own reference.
    #[must_use]
    fn overridden(&self, over: &Override) -> Self {
        let own = self.reference.as_ref();
        let clip = over.clip.as_ref().or(own.map(|own| &own.clip));
        let text = over.text.as_ref().or(own.map(|own| &own.text));
        let (Some(clip), Some(text)) = (clip, text) else { return self.clone() };
        let source = own.and_then(|own| own.source_of(clip));
        let reference = Some(Reference { clip: clip.clone(), text: text.clone(), source });
        if reference == self.reference {
            return self.clone();
        }
        let version = manifest::overridden_version(&self.version, text, clip);
        Self { version, reference, ..self.clone() }
    }
}

/// What is wrong with a voice: by a name for programs, and in words, on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub code: &'static str,
    pub message: String,
}

impl Fault {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Something in the library that cannot be used, for the log: cause and mend on one line. Nothing else suffers from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// None: it is in the configuration.
    pub path: Option<PathBuf>,
    pub fault: Fault,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { code, message } = &self.fault;
        match &self.path {
            Some(path) => write!(formatter, "{}: {message} ({code})", path.display()),
            None => formatter.write_str(message),
        }
    }
}
