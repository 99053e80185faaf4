//! The library as it stands now, and the one way to change it. Blocks on the disk, but for `library`: called on threads
//! that may, never on those that serve.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use include_dir::{Dir, include_dir};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    Draft, Fault, Library, Listed, Origin, Problem, Voice, check_id, clip_check,
    disk::{self, Made},
    folder::{self, Content},
    is_id,
    library::Names,
    manifest,
    places::{Places, When},
    transcript::transcript,
};
use crate::error::Error;

static SHIPPED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/voices");

/// See the module's header.
pub struct Store {
    /// Empty: none, nothing can be added.
    directory: PathBuf,
    names: Names,
    shipped: Vec<Arc<Voice>>,
    library: watch::Sender<Arc<Library>>,
    /// Held by whoever reads or writes the directory.
    disk: Mutex<Disk>,
}

#[derive(Default)]
struct Disk {
    places: Places,
    of_library: Vec<Problem>,
    /// In the log already.
    told: Vec<Problem>,
}

impl Store {
    /// The shipped voices, then those in `directory` (empty path: none; it need not exist), then the aliases.
    #[must_use]
    pub fn open(directory: &Path, default: &str, aliases: &BTreeMap<String, String>) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut shipped = Vec::new();
        for folder in SHIPPED.dirs() {
            match folder::shipped(folder) {
                Ok(voice) => shipped.push(Arc::new(voice)),
                Err(problem) => problems.push(problem),
            }
        }
        let store = Self {
            directory: directory.to_path_buf(),
            names: Names { aliases: aliases.clone(), default: default.to_owned() },
            shipped,
            library: watch::Sender::default(),
            disk: Mutex::default(),
        };
        problems.extend(store.update(&mut store.disk.lock(), When::Opening));
        (store, problems)
    }

    /// As it stands now. It stays as it is, whatever changes.
    #[must_use]
    pub fn library(&self) -> Arc<Library> {
        Arc::clone(&self.library.borrow())
    }

    /// Tells of every other library that takes its place.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Library>> {
        self.library.subscribe()
    }

    /// The user's own voice of that id, without its override.
    #[must_use]
    pub fn own(&self, id: &str) -> Option<Arc<Voice>> {
        let library = self.library();
        let listed = library.listed(id).ok()?;
        (listed.origin == Origin::User && listed.voice.id == id).then(|| Arc::clone(&listed.baseline))
    }

    /// Looks for changes on disk. What changed is read when it is seen unchanged for the second time.
    pub fn refresh(&self) {
        let mut disk = self.disk.lock();
        for problem in self.update(&mut disk, When::Watching) {
            tracing::warn!("{problem}");
        }
    }

    /// A new voice of the user's own. `replace`: or what `draft` says changes the one that is there.
    ///
    /// # Errors
    /// What is wrong with the voice, `Conflict` if there is one already, `Storage`.
    pub fn put(&self, id: &str, draft: Draft, replace: bool) -> Result<Listed, Error> {
        check_id(id)?;
        let mut disk = self.disk.lock();
        let (voice, manifest) = drafted(&disk, id, draft, replace)?;
        let clip = voice.reference.as_ref().map(|reference| &reference.clip);
        self.write(&mut disk, id, manifest.as_bytes(), clip, replace)
    }

    /// The voice that `put` would make, if nothing changes meanwhile. Nothing is written.
    ///
    /// # Errors
    /// As `put`, but for `Storage`.
    pub fn draft(&self, id: &str, draft: Draft, replace: bool) -> Result<Voice, Error> {
        check_id(id)?;
        drafted(&self.disk.lock(), id, draft, replace).map(|(voice, _)| voice)
    }

    /// A voice's folder from elsewhere, just as it is.
    ///
    /// # Errors
    /// As `put`.
    pub fn import(&self, from: &Path, replace: bool) -> Result<Listed, Error> {
        let problem = |problem: Problem| Error::invalid("invalid_voice", None, problem.to_string());
        let real = fs::canonicalize(from).map_err(|error| problem(folder::unreadable(from, &error)))?;
        let id = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
        check_id(&id)?;
        let Content::Voice(voice) = folder::read(&real, &id, &real).map_err(problem)? else {
            return Err(Error::invalid("invalid_id", Some("id"), "an override cannot be imported"));
        };
        let unread = |error: io::Error| problem(folder::unreadable(from, &error));
        let manifest = fs::read(real.join(folder::MANIFEST)).map_err(unread)?;
        let clip = voice.reference.as_ref().map(|reference| &reference.clip);
        let mut disk = self.disk.lock();
        self.write(&mut disk, &id, &manifest, clip, replace)
    }

    fn write(
        &self,
        disk: &mut Disk,
        id: &str,
        manifest: &[u8],
        clip: Option<&Bytes>,
        replace: bool,
    ) -> Result<Listed, Error> {
        let mut files = vec![(folder::MANIFEST, manifest)];
        files.extend(clip.map(|clip| (folder::CLIP, &clip[..])));
        let written = disk::put(self.writable()?, id, &files, !replace);
        if matches!(&written, Err(error) if error.kind() == io::ErrorKind::AlreadyExists) {
            return Err(exists(id));
        }
        self.made(disk, written, &[id])?;
        self.library().listed(id).cloned()
    }

    /// All of the user's own under that id: a voice, an override. A shipped voice is there again afterwards.
    ///
    /// # Errors
    /// `UnknownVoice`, `Conflict` for a shipped voice, `Storage`.
    pub fn remove(&self, id: &str) -> Result<(), Error> {
        let mut disk = self.disk.lock();
        let library = self.library();
        if !is_id(id) {
            return Err(library.unknown(id));
        }
        let names = [id.to_owned(), folder::override_name(id)];
        let there = names.iter().filter(|name| disk.places.has(name)).collect::<Vec<_>>();
        if there.is_empty() {
            let listed = library.listed(id).ok().filter(|listed| listed.voice.id == id);
            return Err(match listed {
                Some(_) => {
                    let message = format!("the voice {id:?} is part of the program and cannot be removed");
                    Error::Conflict { code: "voice_shipped", message }
                }
                None => library.unknown(id),
            });
        }
        // The override first: without it the voice is whole, without the voice it would be a fault.
        let root = self.writable()?;
        let removed = there.into_iter().rev().try_fold(Made::Durable, |made, name| Ok(made.and(removed(root, name)?)));
        self.made(&mut disk, removed, &[])
    }

    /// Puts a clip, a text or both in the place of a voice's own; what is not given stays as it was. An empty text takes
    /// an override's text away, and with it an override that has no clip.
    ///
    /// # Errors
    /// `UnknownVoice`, what is wrong with the clip, `Storage`.
    pub fn set_override(&self, id: &str, clip: Option<Bytes>, text: Option<&str>) -> Result<Listed, Error> {
        let mut disk = self.disk.lock();
        let library = self.library();
        let listed = library.listed(id)?;
        let id = listed.voice.id.clone();
        let missing = || {
            let message = "\"audio\" and \"text\" are missing: one of them must be there";
            Error::invalid("audio_missing", Some("audio"), message)
        };
        if clip.is_none() && text.is_none() {
            return Err(missing());
        }
        if let Some(clip) = &clip {
            clip_check::check(clip).map_err(clip_refused)?;
        }
        let before = listed.replaced.as_deref();
        let clip = clip.or_else(|| before.and_then(|before| before.clip.clone()));
        let text = match text.map(|text| transcript(text, "text")).transpose()? {
            Some(text) if text.is_empty() => None,
            Some(text) => Some(text),
            None => before.and_then(|before| before.text.clone()),
        };
        let name = folder::override_name(&id);
        if clip.is_none() && text.is_none() {
            // Its text was all that it was.
            before.ok_or_else(missing)?;
            let removed = removed(self.writable()?, &name);
            self.made(&mut disk, removed, &[])?;
            return self.library().listed(&id).cloned();
        }
        if clip.is_some() && text.is_none() && listed.baseline.reference.is_none() {
            let message =
                "\"text\" is missing: it must hold what is said in the clip, as the voice has no text of its own";
            return Err(Error::invalid("transcript_missing", Some("text"), message));
        }
        let manifest = manifest::write_override(text.as_deref());
        if manifest.len() as u64 > folder::MAX_MANIFEST_BYTES {
            let message = format!("\"text\" is longer than {} KiB", folder::MAX_MANIFEST_BYTES >> 10);
            return Err(Error::invalid("invalid_voice", Some("text"), message));
        }
        let mut files = vec![(folder::OVERRIDE_MANIFEST, manifest.as_bytes())];
        files.extend(clip.as_ref().map(|clip| (folder::CLIP, &clip[..])));
        let written = disk::put(self.writable()?, &name, &files, false);
        self.made(&mut disk, written, &[&name])?;
        self.library().listed(&id).cloned()
    }

    /// Restores the voice's own clip and text; fine if they are in their places.
    ///
    /// # Errors
    /// `UnknownVoice`, `Storage`.
    pub fn clear_override(&self, id: &str) -> Result<Listed, Error> {
        let mut disk = self.disk.lock();
        let id = self.library().listed(id)?.voice.id.clone();
        let name = folder::override_name(&id);
        if disk.places.has(&name) {
            let removed = removed(self.writable()?, &name);
            self.made(&mut disk, removed, &[])?;
        }
        self.library().listed(&id).cloned()
    }

    fn writable(&self) -> Result<&Path, Error> {
        if self.directory.as_os_str().is_empty() {
            let message = "the server has no folder for voices; set voices.directory".to_owned();
            return Err(Error::Storage { code: "storage_read_only", message });
        }
        Ok(&self.directory)
    }

    /// The library is what the disk shows, even where a change is not known to last.
    fn made(&self, disk: &mut Disk, made: io::Result<Made>, names: &[&str]) -> Result<(), Error> {
        self.changed(disk, if made.is_ok() { names } else { &[] });
        let directory = self.directory.display();
        match made {
            Ok(Made::Durable) => Ok(()),
            Ok(Made::Unconfirmed(error)) => {
                tracing::error!(%directory, %error, "a change of the voices was made, but the disk does not confirm it");
                let message = "the change was made and counts, but the server's disk does not confirm that it is \
                               stored: a power cut may undo it; look after the disk";
                Err(Error::Storage { code: "storage_unconfirmed", message: message.to_owned() })
            }
            Err(error) => {
                tracing::warn!(%directory, %error, "a voice was not written");
                Err(storage(&error))
            }
        }
    }

    fn changed(&self, disk: &mut Disk, names: &[&str]) {
        for problem in self.update(disk, When::Written(names)) {
            tracing::warn!("{problem}");
        }
    }

    /// Reads what has changed on disk, and swaps the library if that is another one now. Gives what is newly wrong.
    fn update(&self, disk: &mut Disk, when: When<'_>) -> Vec<Problem> {
        let mut changed = matches!(when, When::Opening);
        let mut unreadable = None;
        if !self.directory.as_os_str().is_empty() {
            changed |= disk.places.look(&self.directory, when).unwrap_or_else(|error| {
                unreadable = Some(folder::unreadable(&self.directory, &error));
                false
            });
        }
        if changed {
            let own = disk.places.voices().map(|voice| (voice, Origin::User));
            let shipped = self.shipped.iter().map(|voice| (Arc::clone(voice), Origin::Shipped));
            let (library, problems) = Library::new(shipped.chain(own), disk.places.overrides(), &self.names);
            disk.of_library = problems;
            self.library.send_replace(Arc::new(library));
        }
        let problems = unreadable.into_iter().chain(disk.places.problems());
        let now: Vec<Problem> = problems.chain(disk.of_library.clone()).collect();
        let new = now.iter().filter(|problem| !disk.told.contains(problem)).cloned().collect();
        disk.told = now;
        new
    }
}

/// The voice, and its manifest.
fn drafted(disk: &Disk, id: &str, draft: Draft, replace: bool) -> Result<(Voice, String), Error> {
    let own = disk.places.voice(id);
    if !replace && disk.places.has(id) {
        return Err(exists(id));
    }
    if let Some(clip) = &draft.clip {
        clip_check::check(clip).map_err(clip_refused)?;
    }
    let voice = draft.onto(id, own.as_deref())?;
    let manifest = manifest::write(&voice).map_err(refused)?;
    let clip = voice.reference.as_ref().map(|reference| reference.clip.clone());
    let voice = manifest::parse(id, manifest.as_bytes(), clip).map_err(refused)?;
    if manifest.len() as u64 > folder::MAX_MANIFEST_BYTES {
        let message = format!("what is told of the voice is longer than {} KiB", folder::MAX_MANIFEST_BYTES >> 10);
        return Err(Error::invalid("invalid_voice", Some("text"), message));
    }
    Ok((voice, manifest))
}

/// What another program has removed meanwhile is removed.
fn removed(root: &Path, name: &str) -> io::Result<Made> {
    disk::remove(root, name).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(Made::Durable),
        _ => Err(error),
    })
}

fn exists(id: &str) -> Error {
    let message = format!("there is a voice {id:?} of yours already; remove it first, or replace it");
    Error::Conflict { code: "voice_exists", message }
}

fn clip_refused(fault: Fault) -> Error {
    Error::invalid("invalid_audio", Some("audio"), format!("the clip {}", fault.message))
}

fn refused(fault: Fault) -> Error {
    let param = match fault.code {
        "bad_language" => Some("language"),
        "bad_speed" => Some("speed"),
        "text_empty" => Some("text"),
        "bad_hint" => Some("engine"),
        _ => None,
    };
    Error::invalid("invalid_voice", param, fault.message)
}

/// Clients are told what kind of fault it is and how to mend it; paths are for the log.
fn storage(error: &io::Error) -> Error {
    use io::ErrorKind::{
        DirectoryNotEmpty, FileTooLarge, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull, TimedOut,
    };
    let (code, message) = match error.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => {
            ("storage_full", "the server's disk has no room for the voice; nothing was changed".to_owned())
        }
        PermissionDenied | ReadOnlyFilesystem => {
            let message = "the server may not write to its folder of voices; make it writable, or set voices.directory";
            ("storage_read_only", message.to_owned())
        }
        TimedOut | DirectoryNotEmpty => ("storage_failed", error.to_string()),
        kind => ("storage_failed", format!("the server cannot write to its folder of voices: {kind}")),
    };
    Error::Storage { code, message }
}
