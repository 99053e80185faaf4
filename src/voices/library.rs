//! A snapshot of the library: looked up, never changed.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::PathBuf,
    sync::Arc,
};

use super::{Fault, MAX_NAME_CHARS, Override, Problem, Voice};
use crate::error::Error;

/// Below this likeness (0 to 1) a suggestion would confuse more than it helps.
const MIN_LIKENESS: f64 = 0.5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Inside the program.
    Shipped,
    /// In the data directory.
    User,
}

/// A voice, and what it is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// As it is spoken.
    pub voice: Arc<Voice>,
    /// Without the override.
    pub baseline: Arc<Voice>,
    pub replaced: Option<Arc<Override>>,
    pub origin: Origin,
}

/// All voices, by id and by alias.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Library {
    voices: BTreeMap<String, Listed>,
    /// Lower case, to the ids of voices that exist; no alias is the id of another voice.
    aliases: BTreeMap<String, String>,
    default: String,
}

/// Other names, as they are configured, and the voice of requests that name none.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub aliases: BTreeMap<String, String>,
    pub default: String,
}

impl Library {
    /// The later of two voices with one id wins. `overrides`: with the files that tell of them; one of a voice that does
    /// not exist is a problem.
    pub(super) fn new(
        voices: impl Iterator<Item = (Arc<Voice>, Origin)>,
        overrides: BTreeMap<String, (Arc<Override>, PathBuf)>,
        names: &Names,
    ) -> (Self, Vec<Problem>) {
        let mut library = Self { default: names.default.clone(), ..Self::default() };
        let mut problems = Vec::new();
        for (voice, origin) in voices {
            let listed = Listed { voice: Arc::clone(&voice), baseline: voice, replaced: None, origin };
            library.voices.insert(listed.voice.id.clone(), listed);
        }
        for (id, (replaced, path)) in overrides {
            match library.voices.get_mut(&id) {
                Some(listed) => {
                    listed.voice = Arc::new(listed.baseline.overridden(&replaced));
                    listed.replaced = Some(replaced);
                }
                None => {
                    let message =
                        format!("is an override of the voice {id:?}, which does not exist; remove its folder");
                    problems.push(Problem { path: Some(path), fault: Fault::new("override_of_nothing", message) });
                }
            }
        }
        library.add_aliases(&names.aliases, &mut problems);
        if library.default_voice().is_err() {
            let default = &library.default;
            let message = format!("voices.default: no voice is called {default:?}; `ishowtts voices` lists them");
            problems.push(Problem { path: None, fault: Fault::new("default_unknown", message) });
        }
        (library, problems)
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
            let fault = Fault::new("bad_alias", format!("voices.aliases.{alias}: {problem}"));
            problems.push(Problem { path: None, fault });
        }
    }

    /// By id, else by alias, whatever the case.
    ///
    /// # Errors
    /// `UnknownVoice`, with the nearest id or alias.
    pub fn get(&self, name: &str) -> Result<Arc<Voice>, Error> {
        self.listed(name).map(|listed| Arc::clone(&listed.voice))
    }

    /// As `get`, with all that is known of the voice.
    ///
    /// # Errors
    /// `UnknownVoice`, with the nearest id or alias.
    pub fn listed(&self, name: &str) -> Result<&Listed, Error> {
        if name.chars().nth(MAX_NAME_CHARS).is_some() {
            return Err(self.unknown(name));
        }
        let lower = name.to_lowercase();
        let id = self.aliases.get(&lower).unwrap_or(&lower);
        self.voices.get(id).ok_or_else(|| self.unknown(name))
    }

    /// For requests that name no voice.
    ///
    /// # Errors
    /// `UnknownVoice`; `Store::open` has reported it as well.
    pub fn default_voice(&self) -> Result<Arc<Voice>, Error> {
        self.get(&self.default)
    }

    /// In the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Voice>> {
        self.voices.values().map(|listed| &listed.voice)
    }

    /// In the order of their ids.
    pub fn all(&self) -> impl Iterator<Item = &Listed> {
        self.voices.values()
    }

    /// Other names, and the id that each stands for.
    pub fn aliases(&self) -> impl Iterator<Item = (&str, &str)> {
        self.aliases.iter().map(|(alias, id)| (alias.as_str(), id.as_str()))
    }

    pub(super) fn unknown(&self, name: &str) -> Error {
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
