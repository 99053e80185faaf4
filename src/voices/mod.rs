//! The voice library: the voices that ship, and the user's own, which win.
//!
//! Read once, on the caller's thread, before the server listens; afterwards names are looked up in memory only, so a
//! name from a request never reaches the file system.

pub mod clip;
mod folder;
mod manifest;
mod variant;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use include_dir::{Dir, include_dir};

use crate::{audio::shape::Shape, error::Error};

static SHIPPED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/voices");

/// Ids and aliases are not longer, so that a huge name costs nothing.
const MAX_NAME_CHARS: usize = 64;
/// Below this likeness (0 to 1) a suggestion would confuse more than it helps.
const MIN_LIKENESS: f64 = 0.5;

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
    /// SPDX expression.
    pub licence: String,
    /// Multiplies the request's speed.
    pub speed: f64,
    /// Engine name to the voice's own table for it.
    pub hints: BTreeMap<String, serde_json::Value>,
    pub reference: Option<Reference>,
    /// Beyond what its hints say: of a variant.
    pub shape: Shape,
}

/// A clip to clone and what is said in it. In memory: whatever becomes of the file, this version of the voice has it.
#[derive(Clone, PartialEq)]
pub struct Reference {
    /// A WAV file.
    pub clip: Bytes,
    pub text: String,
}

impl fmt::Debug for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Reference({} bytes, {:?})", self.clip.len(), self.text)
    }
}

impl Voice {
    /// A voice of the caller's own, outside of the library: a WAV file that is cloned, and what is said in it.
    ///
    /// # Errors
    /// What is wrong with the file, on one line.
    pub fn of_clip(path: &Path, text: &str) -> Result<Self, String> {
        folder::clip(path, text)
    }
}

/// Something in the library that cannot be used, for the log: cause and mend on one line. Nothing else suffers from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// None: it is in the configuration.
    pub path: Option<PathBuf>,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(formatter, "{}: {}", path.display(), self.message),
            None => formatter.write_str(&self.message),
        }
    }
}

/// All voices, by id and by alias.
#[derive(Debug, Clone, Default)]
pub struct Library {
    voices: BTreeMap<String, Arc<Voice>>,
    /// Lower case, to the ids of voices that exist; no alias is the id of another voice.
    aliases: BTreeMap<String, String>,
    default: String,
}

impl Library {
    /// The shipped voices, then those in `directory` (empty path: none; it need not exist), then the aliases.
    #[must_use]
    pub fn load(directory: &Path, default: &str, aliases: &BTreeMap<String, String>) -> (Self, Vec<Problem>) {
        let mut library = Self { default: default.to_owned(), ..Self::default() };
        let mut problems = Vec::new();
        for shipped in SHIPPED.dirs() {
            library.take(folder::shipped(shipped), &mut problems);
        }
        if !directory.as_os_str().is_empty() {
            for found in folder::users(directory) {
                library.take(found, &mut problems);
            }
        }
        library.add_aliases(aliases, &mut problems);
        if library.default_voice().is_err() {
            let message = format!("voices.default: no voice is called {default:?}; `ishowtts voices` lists them");
            problems.push(Problem { path: None, message });
        }
        (library, problems)
    }

    fn take(&mut self, found: Result<Voice, Problem>, problems: &mut Vec<Problem>) {
        match found {
            Ok(voice) => drop(self.voices.insert(voice.id.clone(), Arc::new(voice))),
            Err(problem) => problems.push(problem),
        }
    }

    fn add_aliases(&mut self, aliases: &BTreeMap<String, String>, problems: &mut Vec<Problem>) {
        for (alias, voice) in aliases {
            let lower = alias.to_lowercase();
            let id = voice.to_lowercase();
            let problem = if !self.voices.contains_key(&id) {
                // Nor may it be another alias: what that one leads to would depend on the order.
                let hint = match nearest(&id, self.voices.keys()) {
                    Some(nearest) => format!("did you mean {nearest:?}?"),
                    None => "`ishowtts voices` lists them".to_owned(),
                };
                format!("no voice has the id {voice:?}; {hint}")
            } else if self.voices.contains_key(&lower) {
                // A voice of that very name goes before its alias.
                continue;
            } else {
                match self.aliases.entry(lower) {
                    Entry::Occupied(_) => "another alias differs in case only; remove one".to_owned(),
                    Entry::Vacant(entry) => {
                        entry.insert(id);
                        continue;
                    }
                }
            };
            problems.push(Problem { path: None, message: format!("voices.aliases.{alias}: {problem}") });
        }
    }

    /// By id, else by alias, whatever the case.
    ///
    /// # Errors
    /// `UnknownVoice`, with the nearest id or alias.
    pub fn get(&self, name: &str) -> Result<Arc<Voice>, Error> {
        if name.chars().nth(MAX_NAME_CHARS).is_some() {
            return Err(self.unknown(name));
        }
        let lower = name.to_lowercase();
        let id = self.aliases.get(&lower).unwrap_or(&lower);
        self.voices.get(id).cloned().ok_or_else(|| self.unknown(name))
    }

    /// For requests that name no voice.
    ///
    /// # Errors
    /// `UnknownVoice`; `load` has reported it as well.
    pub fn default_voice(&self) -> Result<Arc<Voice>, Error> {
        self.get(&self.default)
    }

    /// In the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Voice>> {
        self.voices.values()
    }

    /// Other names, and the id that each stands for.
    pub fn aliases(&self) -> impl Iterator<Item = (&str, &str)> {
        self.aliases.iter().map(|(alias, id)| (alias.as_str(), id.as_str()))
    }

    fn unknown(&self, name: &str) -> Error {
        let nearest = match name.char_indices().nth(MAX_NAME_CHARS) {
            Some((end, _)) => return Error::UnknownVoice { name: format!("{}…", &name[..end]), nearest: None },
            None => nearest(&name.to_lowercase(), self.voices.keys().chain(self.aliases.keys())),
        };
        Error::UnknownVoice { name: name.to_owned(), nearest }
    }
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Option<String> {
    known
        .map(|known| (strsim::normalized_damerau_levenshtein(name, known), known))
        .filter(|(likeness, _)| *likeness >= MIN_LIKENESS)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, known)| known.clone())
}

#[cfg(test)]
#[path = "library_tests.rs"]
mod tests;
