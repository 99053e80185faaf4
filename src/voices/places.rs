//! What is known of the directory of voices, place by place, and when each was read. Owned by the store, under its lock.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Override, Problem, Voice,
    folder::{self, Content},
    stamp::Stamp,
};

/// A folder that changes while it is read is read again, so often.
const MAX_READS: usize = 3;

#[derive(Default)]
pub(super) struct Places {
    /// When the directory was listed; none while entries may come and go unseen.
    root: Option<Stamp>,
    by_name: BTreeMap<String, Place>,
}

#[derive(Default)]
struct Place {
    path: PathBuf,
    /// When `content` was read.
    read: Option<Stamp>,
    /// Seen since; read when it stays so, as a copy may be under way.
    seen: Stamp,
    /// The last that was in order.
    content: Option<Content>,
    problem: Option<Problem>,
}

/// What is read at once; the rest when it is seen unchanged for the second time.
#[derive(Clone, Copy)]
pub(super) enum When<'a> {
    /// All.
    Opening,
    /// What this program has written itself.
    Written(&'a [&'a str]),
    /// Nothing.
    Watching,
}

impl Places {
    /// Whether anything is another now.
    pub fn look(&mut self, directory: &Path, when: When<'_>) -> io::Result<bool> {
        let mut changed = false;
        // Listing opens the directory: only when an entry has come or gone.
        let root = Stamp::of(directory, &[]);
        if !matches!(when, When::Watching) || self.root.as_ref() != Some(&root) {
            let listed = folder::list(directory)?;
            let before = self.by_name.len();
            self.by_name.retain(|name, _| listed.contains_key(name));
            changed |= self.by_name.len() != before;
            for (name, path) in listed {
                let place = self.by_name.entry(name).or_default();
                place.path = path;
            }
            self.root = (!root.is_recent()).then_some(root);
        }
        for (name, place) in &mut self.by_name {
            let at_once = match when {
                When::Opening => true,
                When::Written(names) => names.contains(&name.as_str()),
                When::Watching => false,
            };
            changed |= place.look(directory, name, at_once);
        }
        Ok(changed)
    }

    pub fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// The user's own of that id, if it is in order.
    pub fn voice(&self, id: &str) -> Option<Arc<Voice>> {
        self.by_name.get(id).and_then(Place::voice)
    }

    pub fn voices(&self) -> impl Iterator<Item = Arc<Voice>> {
        self.by_name.values().filter_map(Place::voice)
    }

    /// By the ids of their voices, with the files that tell of them.
    pub fn overrides(&self) -> BTreeMap<String, (Arc<Override>, PathBuf)> {
        let overrides = self.by_name.values().filter_map(|place| match &place.content {
            Some(Content::Override { id, over }) => {
                Some((id.clone(), (Arc::clone(over), place.path.join(folder::OVERRIDE_MANIFEST))))
            }
            _ => None,
        });
        overrides.collect()
    }

    pub fn problems(&self) -> impl Iterator<Item = Problem> {
        self.by_name.values().filter_map(|place| place.problem.clone())
    }
}

impl Place {
    fn voice(&self) -> Option<Arc<Voice>> {
        match &self.content {
            Some(Content::Voice(voice)) => Some(Arc::clone(voice)),
            _ => None,
        }
    }

    /// Whether it is another now.
    fn look(&mut self, directory: &Path, name: &str, at_once: bool) -> bool {
        let now = folder::stamp(&self.path);
        if self.read.as_ref() == Some(&now) {
            return false;
        }
        if !at_once && self.seen != now {
            self.seen = now;
            return false;
        }
        let mut before = now;
        for _ in 0..MAX_READS {
            let found = fs::canonicalize(directory)
                .map_err(|error| folder::unreadable(directory, &error))
                .and_then(|real_root| folder::read(&real_root, name, &self.path));
            let after = folder::stamp(&self.path);
            if after == before {
                self.read = Some(after);
                return self.take(found);
            }
            before = after;
        }
        // Somebody writes into it all the time: later, when it is quiet.
        self.seen = before;
        false
    }

    /// A version that is in order is kept until the next one is: a slip of the pen must not silence a voice.
    fn take(&mut self, found: Result<Content, Problem>) -> bool {
        match found {
            Ok(content) => {
                self.problem = None;
                let changed = self.content.as_ref() != Some(&content);
                self.content = Some(content);
                changed
            }
            Err(mut problem) => {
                if self.content.is_some() {
                    problem.fault.message += "; until it is mended, the version before is spoken";
                }
                self.problem = Some(problem);
                false
            }
        }
    }
}
