//! Changes of the folders on disk, each of them whole or not at all, whenever the power goes.
//!
//! A folder is written beside its place under a hidden name, made durable, and moved into its place. What stood there is
//! moved aside first, as no file system that we must run on replaces a folder that is not empty: until the new one is
//! there, the one that was moved aside counts (`Name::in_place`). One process changes at a time.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::Path,
    time::{Duration, Instant},
};

/// Hidden, so that no listing takes them for voices.
const NEW: &str = ".new-";
pub(super) const ASIDE: &str = ".old-";
const GONE: &str = ".gone-";
const LOCK: &str = ".lock";

const LOCK_LIMIT: Duration = Duration::from_secs(10);
const LOCK_PERIOD: Duration = Duration::from_millis(20);

/// A change that was made.
#[must_use]
pub(super) enum Made {
    Durable,
    /// The disk does not say that it is: after a power cut, what was there before may be there again.
    Unconfirmed(io::Error),
}

impl Made {
    fn confirmed(root: &Path) -> Self {
        sync(root).map_or_else(Self::Unconfirmed, |()| Self::Durable)
    }

    /// Both of them.
    pub fn and(self, other: Self) -> Self {
        if matches!(self, Self::Durable) { other } else { self }
    }
}

/// Puts a folder with these files into its place. Plain files beside them that were in it before stay in it.
///
/// # Errors
/// What the disk says; the folder is as it was. `AlreadyExists`: it must not be there (`create`), but is.
pub(super) fn put(root: &Path, name: &str, files: &[(&str, &[u8])], create: bool) -> io::Result<Made> {
    let _lock = Lock::take(root)?;
    tidy(root)?;
    if create && fs::symlink_metadata(root.join(name)).is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let (place, new, aside) = (root.join(name), root.join(format!("{NEW}{name}")), root.join(format!("{ASIDE}{name}")));
    let written = write(&new, files).and_then(|()| carry(&place, &new, files)).and_then(|()| sync(&new));
    if let Err(error) = written {
        let _ = fs::remove_dir_all(&new);
        return Err(error);
    }
    let stood = fs::symlink_metadata(&place).is_ok();
    if stood {
        fs::rename(&place, &aside)?;
    }
    if let Err(error) = fs::rename(&new, &place) {
        if stood {
            fs::rename(&aside, &place)?;
        }
        return Err(error);
    }
    let made = Made::confirmed(root);
    // Until then it may be all that a power cut leaves. What remains of it is swept by the next change.
    if stood && matches!(made, Made::Durable) {
        let _ = discard(&aside);
    }
    Ok(made)
}

/// # Errors
/// What the disk says; the folder is still there. `NotFound`: there is no such folder.
pub(super) fn remove(root: &Path, name: &str) -> io::Result<Made> {
    let _lock = Lock::take(root)?;
    tidy(root)?;
    let gone = root.join(format!("{GONE}{name}"));
    fs::rename(root.join(name), &gone)?;
    let made = Made::confirmed(root);
    if matches!(made, Made::Durable) {
        let _ = discard(&gone);
    }
    Ok(made)
}

fn write(folder: &Path, files: &[(&str, &[u8])]) -> io::Result<()> {
    fs::create_dir(folder)?;
    for (name, content) in files {
        let mut file = File::create_new(folder.join(name))?;
        io::Write::write_all(&mut file, content)?;
        file.sync_all()?;
    }
    Ok(())
}

/// Notes, licences and the like that a person put there.
fn carry(from: &Path, to: &Path, files: &[(&str, &[u8])]) -> io::Result<()> {
    let entries = match fs::read_dir(from) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        // Those that this program writes are replaced, or left out on purpose.
        if super::folder::OWN_FILES.iter().any(|own| name == **own) || files.iter().any(|(file, _)| name == **file) {
            continue;
        }
        if !entry.file_type()?.is_file() {
            let message = "there are folders or links in the voice's folder, which only a person should move";
            return Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, message));
        }
        fs::hard_link(entry.path(), to.join(&name)).or_else(|_| fs::copy(entry.path(), to.join(&name)).map(drop))?;
    }
    Ok(())
}

/// Under the lock: ends what a crash has left. What stood in a place and was moved aside is put back, all else goes.
fn tidy(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let place = name.strip_prefix(ASIDE).map(|name| root.join(name));
        if let Some(place) = place.as_ref().filter(|place| fs::symlink_metadata(place).is_err()) {
            fs::rename(&path, place)?;
        } else if place.is_some() || name.starts_with(GONE) {
            // Whoever moved it may have ended before that was durable.
            sync(root)?;
            discard(&path)?;
        } else if name.starts_with(NEW) {
            discard(&path)?;
        }
    }
    Ok(())
}

/// A folder with all that is in it, or the link that stands for one.
fn discard(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Held by whoever changes folders in `root`, in this process or another one.
struct Lock(#[expect(dead_code, reason = "the lock ends with the file")] File);

impl Lock {
    fn take(root: &Path) -> io::Result<Self> {
        if !root.is_dir() {
            fs::create_dir_all(root).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => io::ErrorKind::NotADirectory.into(),
                _ => error,
            })?;
            if let Some(parent) = root.parent() {
                sync(parent)?;
            }
        }
        let file = File::options().create(true).truncate(false).write(true).open(root.join(LOCK))?;
        let deadline = Instant::now() + LOCK_LIMIT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                // Some network file systems have no locks; there nobody else may change the folder.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => return Ok(Self(file)),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_PERIOD),
                Err(TryLockError::WouldBlock) => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "another program changes the voices"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn assert_durable(made: io::Result<Made>) {
        assert!(matches!(made, Ok(Made::Durable)));
    }

    fn files(root: &TempDir) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for entry in fs::read_dir(root.path()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                let inside = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name());
                names.extend(inside.map(|inside| format!("{name}/{}", inside.to_str().unwrap())));
            } else if name != LOCK {
                names.push(name);
            }
        }
        names.sort();
        names
    }

    #[test]
    fn a_folder_is_replaced_as_a_whole_and_keeps_what_people_put_there() {
        let root = tempfile::tempdir().unwrap();
        assert_durable(put(root.path(), "a", &[("voice.toml", b"1"), ("reference.wav", b"2")], true));
        let again = put(root.path(), "a", &[("voice.toml", b"0")], true).err().unwrap();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        fs::write(root.path().join("a/NOTES"), "mine").unwrap();
        assert_durable(put(root.path(), "a", &[("voice.toml", b"3")], false));
        assert_eq!(files(&root), ["a/NOTES", "a/voice.toml"]);
        assert_eq!(fs::read(root.path().join("a/voice.toml")).unwrap(), b"3");
        fs::create_dir(root.path().join("a/takes")).unwrap();
        put(root.path(), "a", &[("voice.toml", b"4")], false).err().expect("a person's folder");
        assert_eq!(fs::read(root.path().join("a/voice.toml")).unwrap(), b"3");
        assert_durable(remove(root.path(), "a"));
        assert!(files(&root).is_empty());
        assert_eq!(remove(root.path(), "a").err().unwrap().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_a_crash_leaves_is_ended_by_the_next_change() {
        let root = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            fs::create_dir(root.path().join(name)).unwrap();
            fs::write(root.path().join(name).join("voice.toml"), name).unwrap();
        };
        [".new-a", ".old-b", "c", ".old-c", ".gone-d"].into_iter().for_each(folder);
        assert_durable(put(root.path(), "e", &[("voice.toml", b"e")], true));
        assert_eq!(files(&root), ["b/voice.toml", "c/voice.toml", "e/voice.toml"]);
        assert_eq!(fs::read(root.path().join("b/voice.toml")).unwrap(), b".old-b");
        assert_eq!(fs::read(root.path().join("c/voice.toml")).unwrap(), b"c");
    }

    #[test]
    fn one_changes_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let held = Lock::take(root.path()).unwrap();
        let other = File::options().write(true).open(root.path().join(LOCK)).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        drop(held);
        other.try_lock().expect("free again");
    }
}
