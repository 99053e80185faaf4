//! Voices in folders: those inside the program, and the user's on disk, which is not trusted to be in order.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use include_dir::Dir;

use super::{
    Problem, Voice,
    manifest::{self, is_id},
};

const MANIFEST: &str = "voice.toml";
const CLIP: &str = "reference.wav";
const MAX_MANIFEST_BYTES: u64 = 64 << 10;
const MAX_CLIP_BYTES: u64 = 32 << 20;

pub(super) fn shipped(folder: &'static Dir<'static>) -> Result<Voice, Problem> {
    let path = folder.path().join(MANIFEST);
    let problem = |message: String| Problem { path: Some(Path::new("shipped").join(&path)), message };
    let manifest = folder.get_file(&path).ok_or_else(|| problem("is missing".to_owned()))?;
    let name = folder.path().file_name().and_then(OsStr::to_str).unwrap_or_default();
    let clip = folder.get_file(folder.path().join(CLIP)).map(|file| Bytes::from_static(file.contents()));
    manifest::parse(name, manifest.contents(), clip).map_err(problem)
}

/// All that look like voices in `root`: hidden folders and plain files are not.
pub(super) fn users(root: &Path) -> Vec<Result<Voice, Problem>> {
    let unreadable = |error: &io::Error| {
        let message = format!("the voices in it cannot be read: {error}; make it a directory that can be read");
        vec![Err(Problem { path: Some(root.to_path_buf()), message })]
    };
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => return unreadable(&error),
    };
    let real_root = match root.canonicalize() {
        Ok(real_root) => real_root,
        Err(error) => return unreadable(&error),
    };
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) => folders.push(entry.path()),
            Err(error) => found.extend(unreadable(&error)),
        }
    }
    folders.sort();
    folders.retain(|folder| !is_hidden(folder) && fs::metadata(folder).map_or(true, |found| found.is_dir()));
    found.extend(folders.iter().map(|folder| user(&real_root, folder)));
    found
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn user(real_root: &Path, folder: &Path) -> Result<Voice, Problem> {
    let in_folder = |message: String| Problem { path: Some(folder.to_path_buf()), message };
    let name = folder.file_name().and_then(OsStr::to_str).filter(|name| is_id(name)).ok_or_else(|| {
        in_folder("a voice's folder is named with a-z, 0-9, - and _, 64 characters at most; rename it".to_owned())
    })?;
    // Before its files, so that a link leads to one clear answer.
    inside(real_root, folder).map_err(in_folder)?;
    let path = folder.join(MANIFEST);
    let in_manifest = |message: String| Problem { path: Some(path.clone()), message };
    let manifest = read(real_root, &path, MAX_MANIFEST_BYTES).map_err(in_manifest)?;
    let manifest = manifest.ok_or_else(|| in_manifest("is missing; write one or remove the folder".to_owned()))?;
    let clip_path = folder.join(CLIP);
    let in_clip = |message: String| Problem { path: Some(clip_path.clone()), message };
    let bytes = read(real_root, &clip_path, MAX_CLIP_BYTES).map_err(in_clip)?;
    if bytes.as_ref().is_some_and(|bytes| !is_wav(bytes)) {
        return Err(in_clip("is not a WAV file; convert it, for instance with ffmpeg".to_owned()));
    }
    manifest::parse(name, &manifest, bytes.map(Bytes::from)).map_err(in_manifest)
}

/// Outside of the library: wherever the caller says, links and all.
pub(super) fn clip(path: &Path, text: &str) -> Result<Voice, String> {
    let cannot = |error: io::Error| format!("cannot be read: {error}");
    let path = path.canonicalize().map_err(cannot)?;
    let bytes = contents(&path, MAX_CLIP_BYTES)?;
    if !is_wav(&bytes) {
        return Err("is not a WAV file; convert it, for instance with ffmpeg".to_owned());
    }
    Ok(manifest::of_clip(bytes.into(), text))
}

/// None if there is no such file.
fn read(real_root: &Path, path: &Path, max_bytes: u64) -> Result<Option<Vec<u8>>, String> {
    let cannot = |error: io::Error| format!("cannot be read: {error}");
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(cannot)?,
    };
    inside(real_root, path)?;
    contents(path, max_bytes).map(Some)
}

fn contents(path: &Path, max_bytes: u64) -> Result<Vec<u8>, String> {
    let cannot = |error: io::Error| format!("cannot be read: {error}");
    // Opening a pipe would wait for its writer.
    if !fs::metadata(path).map_err(cannot)?.is_file() {
        return Err("is not a file".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(max_bytes + 1).read_to_end(&mut bytes)).map_err(cannot)?;
    if bytes.len() as u64 > max_bytes {
        return Err(format!("is larger than {} KiB; make it smaller", max_bytes >> 10));
    }
    Ok(bytes)
}

fn inside(real_root: &Path, path: &Path) -> Result<(), String> {
    let real = path.canonicalize().map_err(|error| format!("cannot be read: {error}"))?;
    if real.starts_with(real_root) {
        return Ok(());
    }
    Err("is a link out of the folder of voices; copy what it leads to".to_owned())
}

fn is_wav(bytes: &[u8]) -> bool {
    bytes.len() >= 12 && matches!(&bytes[..4], b"RIFF" | b"RF64") && &bytes[8..12] == b"WAVE"
}
