//! What tells that a voice's folder has changed, without opening anything.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

const RECENT_NS: i128 = 1_000_000_000;

/// Of one file. The time of change cannot be set by programs, so that a copy with its old times is seen as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct File {
    device: u64,
    inode: u64,
    bytes: u64,
    modified_ns: i128,
    changed_ns: i128,
}

/// Of a folder itself and of the files in it that count. None: not there, or not to be seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stamp(Vec<Option<File>>);

impl Stamp {
    pub(super) fn of(folder: &Path, files: &[&str]) -> Self {
        let paths = std::iter::once(PathBuf::from(folder)).chain(files.iter().map(|file| folder.join(file)));
        Self(paths.map(|path| file(&path)).collect())
    }
}

impl Stamp {
    /// Changed so lately that a further change might have the same time: file systems count in steps.
    pub(super) fn is_recent(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i128);
        self.0.iter().flatten().any(|file| now - file.changed_ns.max(file.modified_ns) < RECENT_NS)
    }
}

fn file(path: &Path) -> Option<File> {
    const NS: i128 = 1_000_000_000;
    let found = fs::metadata(path).ok()?;
    Some(File {
        device: found.dev(),
        inode: found.ino(),
        bytes: found.len(),
        modified_ns: i128::from(found.mtime()) * NS + i128::from(found.mtime_nsec()),
        changed_ns: i128::from(found.ctime()) * NS + i128::from(found.ctime_nsec()),
    })
}
