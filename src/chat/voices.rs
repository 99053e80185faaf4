//! Which voice a viewer has: their own choice or the streamer's, else always the same one of the pool. Pure.

use std::collections::HashMap;

use super::item::UserKey;
use crate::{config::ChatVoices, error::Error, voices::Library};

#[derive(Debug)]
pub struct Voices {
    /// Ids, sorted.
    pool: Vec<String>,
    choice: bool,
    chosen: HashMap<UserKey, String>,
}

impl Voices {
    /// Voices of the pool that do not exist are passed over, with a warning; without any other it is the default voice.
    #[must_use]
    pub fn new(config: &ChatVoices, library: &Library, chosen: Vec<(UserKey, String)>) -> Self {
        let mut pool: Vec<String> = if config.pool.is_empty() {
            same_language(library)
        } else {
            let found = |name: &String| match library.get(name) {
                Ok(voice) => Some(voice.id.clone()),
                Err(error) => {
                    tracing::warn!("chat.voices.pool: {error}");
                    None
                }
            };
            config.pool.iter().filter_map(found).collect()
        };
        if pool.is_empty() && !config.pool.is_empty() {
            pool.extend(library.default_voice().ok().map(|voice| voice.id.clone()));
            tracing::warn!("chat.voices.pool: there is none of its voices; all viewers have the default voice");
        }
        pool.sort_unstable();
        pool.dedup();
        Self { pool, choice: config.choice, chosen: chosen.into_iter().collect() }
    }

    /// `users`: all by which the streamer may mean the viewer. None: the server's default voice.
    #[must_use]
    pub fn of(&self, users: &[UserKey]) -> Option<&str> {
        let chosen = users.iter().find_map(|user| self.chosen.get(user));
        chosen.map(String::as_str).or_else(|| self.by_hash(users.first()?))
    }

    /// The highest of a hash for each voice: a voice that comes or goes changes no other viewer's.
    fn by_hash(&self, user: &UserKey) -> Option<&str> {
        let weight = |voice: &String| {
            let mut hasher = blake3::Hasher::new();
            let platform = user.platform.to_string();
            for part in [platform.as_bytes(), user.id.as_bytes(), voice.as_bytes()] {
                hasher.update(part).update(&(part.len() as u64).to_le_bytes());
            }
            *hasher.finalize().as_bytes()
        };
        self.pool.iter().max_by_key(|voice| weight(voice)).map(String::as_str)
    }

    /// What a viewer may be given: its id. Viewers themselves have no descriptions to choose.
    ///
    /// # Errors
    /// The voice does not exist; or viewers may not choose it, where `by_viewer`.
    pub fn check(&self, name: &str, library: &Library, by_viewer: bool) -> Result<String, Error> {
        let refused = |message: String| Err(Error::invalid("voice_not_allowed", Some("voice"), message));
        if by_viewer && !self.choice {
            return refused("viewers may not choose their voice (chat.voices.choice)".to_owned());
        }
        let voice = if by_viewer { library.get(name)? } else { library.resolve(name)? };
        let id = voice.id.clone();
        if by_viewer && !self.pool.contains(&id) {
            return refused(format!(
                "{id:?} is not among the voices that viewers may choose: {}",
                self.pool.join(", ")
            ));
        }
        Ok(id)
    }

    /// None: the one of the pool again.
    pub fn choose(&mut self, user: UserKey, voice: Option<String>) {
        match voice {
            Some(voice) => drop(self.chosen.insert(user, voice)),
            None => drop(self.chosen.remove(&user)),
        }
    }

    #[must_use]
    pub fn pool(&self) -> &[String] {
        &self.pool
    }
}

fn same_language(library: &Library) -> Vec<String> {
    let main = |languages: &[String]| {
        languages.first().map(|tag| tag.split('-').next().unwrap_or_default().to_ascii_lowercase())
    };
    let Ok(default) = library.default_voice() else { return Vec::new() };
    let language = main(&default.languages);
    library.iter().filter(|voice| main(&voice.languages) == language).map(|voice| voice.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::Path, slice::from_ref};

    use super::*;
    use crate::{chat::Platform, voices::Store};

    fn user(id: &str) -> UserKey {
        UserKey { platform: Platform::Twitch, id: id.to_owned() }
    }

    fn library() -> Library {
        let aliases = BTreeMap::from([("narrator".to_owned(), "rowan".to_owned())]);
        Library::clone(&Store::open(Path::new(""), "heart", &aliases).0.library())
    }

    fn voices(pool: &[&str]) -> Voices {
        let pool = pool.iter().map(|name| (*name).to_owned()).collect();
        Voices::new(&ChatVoices { pool, choice: true }, &library(), Vec::new())
    }

    #[test]
    fn the_same_viewer_has_the_same_voice_and_all_voices_are_used() {
        let (voices, again) = (voices(&["heart", "rowan", "hazel"]), voices(&["hazel", "narrator", "heart"]));
        let mut count: HashMap<String, usize> = HashMap::new();
        for index in 0..300 {
            let user = user(&index.to_string());
            assert_eq!(voices.of(from_ref(&user)), again.of(from_ref(&user)));
            *count.entry(voices.of(from_ref(&user)).expect("a voice").to_owned()).or_default() += 1;
        }
        assert_eq!(count.len(), 3);
        assert!(count.values().all(|count| (60..140).contains(count)), "{count:?}");
    }

    #[test]
    fn a_voice_that_goes_changes_only_its_own_viewers() {
        let (three, two) = (voices(&["heart", "rowan", "hazel"]), voices(&["heart", "rowan"]));
        for index in 0..200 {
            let user = user(&index.to_string());
            if three.of(from_ref(&user)) != Some("hazel") {
                assert_eq!(three.of(from_ref(&user)), two.of(from_ref(&user)));
            }
        }
    }

    #[test]
    fn a_choice_stays_until_it_is_taken_back() {
        let mut voices = voices(&["heart", "rowan"]);
        let before = voices.of(&[user("1")]).map(str::to_owned);
        voices.choose(user("1"), Some("wren".to_owned()));
        assert_eq!(voices.of(&[user("1")]), Some("wren"));
        let elsewhere = UserKey { platform: Platform::Youtube, id: "1".to_owned() };
        assert_ne!(voices.of(&[elsewhere]), Some("wren"));
        let renamed = user("name:ann");
        voices.choose(renamed.clone(), Some("wren".to_owned()));
        assert_eq!(voices.of(&[user("77"), renamed]), Some("wren"), "by name");
        voices.choose(user("1"), None);
        assert_eq!(voices.of(&[user("1")]).map(str::to_owned), before);
    }

    #[test]
    fn viewers_choose_from_the_pool_and_the_streamer_from_all() {
        let voices = voices(&["heart", "rowan"]);
        assert_eq!(voices.check("Narrator", &library(), true), Ok("rowan".to_owned()));
        let code = |outcome: Result<String, Error>| outcome.map_err(|error| error.code());
        assert_eq!(code(voices.check("wren", &library(), true)), Err("voice_not_allowed"));
        assert_eq!(voices.check("wren", &library(), false), Ok("wren".to_owned()));
        assert_eq!(voices.check("Narrator+pitch=3", &library(), false), Ok("rowan+pitch=3".to_owned()));
        assert_eq!(code(voices.check("rowan+pitch=3", &library(), true)), Err("voice_not_found"));
        assert_eq!(code(voices.check("nobody", &library(), false)), Err("voice_not_found"));
    }

    #[test]
    fn a_pool_of_voices_that_do_not_exist_is_the_default_voice() {
        let voices = voices(&["nobody"]);
        assert_eq!((voices.pool(), voices.of(&[user("1")])), (&["heart".to_owned()][..], Some("heart")));
        assert_eq!(super::tests::voices(&["nobody", "rowan"]).pool(), ["rowan"]);
    }

    #[test]
    fn without_a_pool_it_is_those_of_the_default_voices_language() {
        let voices = voices(&[]);
        assert!(voices.pool().len() > 1 && voices.pool().contains(&"heart".to_owned()), "{:?}", voices.pool());
    }
}
