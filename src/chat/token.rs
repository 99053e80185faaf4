//! Two tokens, each made once and kept in the data directory where only its owner reads it. A browser source can only be
//! given an address, so the overlay's stands there; it opens what an overlay needs and nothing else. The control token
//! opens all of the chat.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    path::Path,
};

use super::store::StoreError;

pub(super) const OVERLAY_FILE: &str = "overlay-token";
pub(super) const CONTROL_FILE: &str = "control-token";
const BYTES: usize = 16;

/// # Errors
/// The file cannot be read or written, or holds no token.
pub(super) fn read_or_make(directory: &Path, file: &str) -> Result<String, StoreError> {
    let path = directory.join(file);
    let fault = |error: &dyn std::fmt::Display| StoreError(format!("{}: {error}", path.display()));
    match fs::read_to_string(&path) {
        Ok(text) if is_token(text.trim()) => return Ok(text.trim().to_owned()),
        Ok(_) => return Err(fault(&"holds no token; remove it, and another one is made")),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(fault(&error)),
    }
    let mut random = [0; BYTES];
    getrandom::fill(&mut random).map_err(|error| fault(&error))?;
    let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&path).and_then(|mut file| {
        writeln!(file, "{token}")?;
        file.sync_all()
    });
    written.map(|()| token).map_err(|error| fault(&error))
}

fn is_token(text: &str) -> bool {
    text.len() >= BYTES && text.len() <= 128 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// In a time that tells nothing of where they differ.
#[must_use]
pub fn is_same(one: &str, other: &str) -> bool {
    blake3::hash(one.as_bytes()) == blake3::hash(other.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_only_its_owner_reads_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let token = read_or_make(directory.path(), OVERLAY_FILE).expect("made");
        assert!(is_token(&token) && token.len() == 2 * BYTES);
        assert_eq!(read_or_make(directory.path(), OVERLAY_FILE), Ok(token.clone()));
        assert!(is_same(&token, &token) && !is_same(&token, "x"));
        assert_ne!(read_or_make(directory.path(), CONTROL_FILE).expect("made"), token);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(directory.path().join(OVERLAY_FILE)).expect("a file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        fs::write(directory.path().join(OVERLAY_FILE), "../x").expect("written");
        assert!(read_or_make(directory.path(), OVERLAY_FILE).is_err());
    }
}
