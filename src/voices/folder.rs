//! Voices in folders: those inside the program, and the user's on disk, which is not trusted to be in order.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use include_dir::Dir;

use super::{Fault, Override, Problem, Voice, clip_check, disk::ASIDE, is_id, manifest, stamp::Stamp};

pub(super) const MANIFEST: &str = "voice.toml";
pub(super) const OVERRIDE_MANIFEST: &str = "override.toml";
pub(super) const CLIP: &str = "reference.wav";
/// What this program writes into a folder.
pub(super) const OWN_FILES: [&str; 3] = [MANIFEST, OVERRIDE_MANIFEST, CLIP];
/// Ids hold no dots: the folder of an override is never taken for that of a voice.
const OVERRIDE: &str = ".override";

pub(super) const MAX_MANIFEST_BYTES: u64 = 64 << 10;
const MAX_CLIP_BYTES: u64 = 32 << 20;

pub(super) fn shipped(folder: &'static Dir<'static>) -> Result<Voice, Problem> {
    let path = folder.path().join(MANIFEST);
    let problem = |fault: Fault| Problem { path: Some(Path::new("shipped").join(&path)), fault };
    let manifest =
        folder.get_file(&path).ok_or_else(|| problem(Fault::new("manifest_missing", "is missing".to_owned())))?;
    let name = folder.path().file_name().and_then(OsStr::to_str).unwrap_or_default();
    let clip = folder.get_file(folder.path().join(CLIP)).map(|file| Bytes::from_static(file.contents()));
    manifest::parse(name, manifest.contents(), clip).map_err(problem)
}

/// A folder's name on the place where it belongs.
pub(super) fn override_name(id: &str) -> String {
    format!("{id}{OVERRIDE}")
}

/// What a folder holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    Voice(Arc<Voice>),
    Override { id: String, over: Arc<Override> },
}

/// All that look like voices or overrides in `root`, by the name of their place: hidden folders and plain files are not,
/// but for what was moved aside while its place is empty.
pub(super) fn list(root: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut aside = Vec::new();
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(name) = name.strip_prefix(ASIDE) {
            aside.push((name.to_owned(), path));
        } else if !name.starts_with('.') && fs::metadata(&path).map_or(true, |found| found.is_dir()) {
            found.insert(name, path);
        }
    }
    for (name, path) in aside {
        found.entry(name).or_insert(path);
    }
    Ok(found)
}

pub(super) fn unreadable(root: &Path, error: &io::Error) -> Problem {
    let message = format!("the voices in it cannot be read: {error}; make it a directory that can be read");
    Problem { path: Some(root.to_path_buf()), fault: Fault::new("unreadable", message) }
}

pub(super) fn stamp(folder: &Path) -> Stamp {
    Stamp::of(folder, &OWN_FILES)
}

/// `name`: of the folder's place, where it may not be.
pub(super) fn read(real_root: &Path, name: &str, folder: &Path) -> Result<Content, Problem> {
    let in_folder = |fault: Fault| Problem { path: Some(folder.to_path_buf()), fault };
    let id = name.strip_suffix(OVERRIDE).unwrap_or(name);
    if !is_id(id) {
        let message = "a voice's folder is named with a-z, 0-9, - and _, 64 characters at most; rename it";
        return Err(in_folder(Fault::new("bad_folder_name", message)));
    }
    // Before its files, so that a link leads to one clear answer.
    inside(real_root, folder).map_err(in_folder)?;
    let is_override = id != name;
    let path = folder.join(if is_override { OVERRIDE_MANIFEST } else { MANIFEST });
    let in_manifest = |fault: Fault| Problem { path: Some(path.clone()), fault };
    let manifest = read_file(real_root, &path, MAX_MANIFEST_BYTES).map_err(in_manifest)?;
    let manifest = manifest.ok_or_else(|| {
        in_manifest(Fault::new("manifest_missing", "is missing; write one or remove the folder".to_owned()))
    })?;
    let clip_path = folder.join(CLIP);
    let in_clip = |fault: Fault| Problem { path: Some(clip_path.clone()), fault };
    let clip = read_file(real_root, &clip_path, MAX_CLIP_BYTES).map_err(in_clip)?.map(Bytes::from);
    if let Some(clip) = &clip {
        clip_check::check(clip).map_err(in_clip)?;
    }
    if !is_override {
        return manifest::parse(id, &manifest, clip).map(|voice| Content::Voice(voice.into())).map_err(in_manifest);
    }
    let text = manifest::parse_override(&manifest).map_err(in_manifest)?;
    let updated_at = fs::metadata(&path).and_then(|found| found.modified()).unwrap_or(std::time::UNIX_EPOCH);
    let over = Arc::new(Override { clip, text, updated_at });
    Ok(Content::Override { id: id.to_owned(), over })
}

/// Outside of the library: wherever the caller says, links and all.
pub(super) fn clip(path: &Path, text: &str) -> Result<Voice, String> {
    let cannot = |error: io::Error| format!("cannot be read: {error}");
    let path = path.canonicalize().map_err(cannot)?;
    let bytes = contents(&path, MAX_CLIP_BYTES).map_err(|fault| fault.message)?;
    let clip = clip_check::readable(bytes).map_err(|fault| fault.message)?;
    Ok(manifest::of_clip(clip, text))
}

/// None if there is no such file.
fn read_file(real_root: &Path, path: &Path, max_bytes: u64) -> Result<Option<Vec<u8>>, Fault> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| cannot_read(&error))?,
    };
    inside(real_root, path)?;
    contents(path, max_bytes).map(Some)
}

fn contents(path: &Path, max_bytes: u64) -> Result<Vec<u8>, Fault> {
    // Opening a pipe would wait for its writer.
    if !fs::metadata(path).map_err(|error| cannot_read(&error))?.is_file() {
        return Err(Fault::new("unreadable", "is not a file"));
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(max_bytes + 1).read_to_end(&mut bytes));
    read.map_err(|error| cannot_read(&error))?;
    if bytes.len() as u64 > max_bytes {
        return Err(Fault::new("too_large", format!("is larger than {} KiB; make it smaller", max_bytes >> 10)));
    }
    Ok(bytes)
}

fn inside(real_root: &Path, path: &Path) -> Result<(), Fault> {
    let real = path.canonicalize().map_err(|error| cannot_read(&error))?;
    if real.starts_with(real_root) {
        return Ok(());
    }
    Err(Fault::new("link_outside", "is a link out of the folder of voices; copy what it leads to"))
}

fn cannot_read(error: &io::Error) -> Fault {
    Fault::new("unreadable", format!("cannot be read: {error}"))
}
