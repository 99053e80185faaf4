//! What bytes seem to be, for error messages: a user who sent the wrong file should read which it was. Pure.

pub(super) const TEXT: &str = "text";

/// How far is looked to tell a text: further than a frame of MP3 goes, whose filling is letters.
const LOOKED_AT_BYTES: usize = 4096;

/// Where a signature stands, the signature, and its name.
const SIGNATURES: [(usize, &[u8], &str); 35] = [
    (0, b"RIFX", "a big-endian WAV file"),
    (0, b"RF64", "an RF64 file"),
    (8, b"AVI ", "an AVI video"),
    (8, b"WEBP", "a WebP picture"),
    (8, b"WAVE", "WAV"),
    (0, b"FORM", "AIFF"),
    (0, b"fLaC", "FLAC"),
    (28, b"Speex", "a Speex file"),
    (0, b"OggS", "Ogg"),
    (0, b"\x1A\x45\xDF\xA3", "WebM"),
    (4, b"ftyp", "M4A"),
    (0, b"ID3", "MP3"),
    (0, b"\xFF\xFB", "MP3"),
    (0, b"\xFF\xFA", "MP3"),
    (0, b"\xFF\xF3", "MP3"),
    (0, b"\xFF\xF2", "MP3"),
    (0, b"\xFF\xF1", "AAC"),
    (0, b"\xFF\xF9", "AAC"),
    (0, b"\x0B\x77", "an AC-3 file"),
    (0, b"\xFF\xFD", "an MPEG layer 2 file"),
    (0, b"caff", "a CAF file"),
    (0, b"#!AMR", "an AMR file"),
    (0, b"MThd", "a MIDI file"),
    (0, b"wvpk", "a WavPack file"),
    (0, b"MAC ", "a Monkey's Audio file"),
    (0, b"\x30\x26\xB2\x75", "a Windows Media file"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\xFF\xD8\xFF", "a JPEG picture"),
    (0, b"GIF8", "a GIF picture"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1F\x8B", "a gzip archive"),
    (0, b"\x7FELF", "a program"),
    (0, b"<!DOCTYPE", "a web page"),
    (0, b"<html", "a web page"),
];

/// Kinds that are decoded: a file that only claims to be one is broken.
const KNOWN: [&str; 8] = ["WAV", "AIFF", "FLAC", "Ogg", "WebM", "M4A", "MP3", "AAC"];

pub(super) fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
}

/// As what a file is spoken of whose insides are told.
pub(super) fn container(bytes: &[u8]) -> &'static str {
    let name = name(bytes);
    if is_known(name) { name } else { "sound" }
}

pub(super) fn name(bytes: &[u8]) -> &'static str {
    let named = SIGNATURES.iter().find(|(place, signature, _)| {
        bytes.get(*place..place + signature.len()).is_some_and(|found| found == *signature)
    });
    match named {
        Some((_, _, name)) => name,
        None if is_text(bytes) => TEXT,
        None => "an unknown kind of file",
    }
}

fn is_text(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(LOOKED_AT_BYTES)];
    match start {
        [0xFF, 0xFE, units @ ..] => is_utf_16(units, u16::from_le_bytes, |_| true),
        [0xFE, 0xFF, units @ ..] => is_utf_16(units, u16::from_be_bytes, |_| true),
        _ => {
            is_utf_8(start)
                || is_utf_16(start, u16::from_le_bytes, is_of_a_script)
                || is_utf_16(start, u16::from_be_bytes, is_of_a_script)
        }
    }
}

fn is_utf_8(start: &[u8]) -> bool {
    // A code point may be cut at the end of what is looked at.
    let valid = match std::str::from_utf8(start) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !valid.is_empty() && valid.chars().all(is_written)
}

/// Of `known` characters alone.
fn is_utf_16(start: &[u8], unit: impl Fn([u8; 2]) -> u16, known: impl Fn(char) -> bool) -> bool {
    let mut units: Vec<u16> = start.as_chunks::<2>().0.iter().map(|bytes| unit(*bytes)).collect();
    // A pair may be cut at the end of what is looked at.
    if units.last().is_some_and(|unit| (0xD800..0xDC00).contains(unit)) {
        units.pop();
    }
    let text = String::from_utf16(&units).unwrap_or_default();
    // A level that stays is no text either.
    let differ = text.chars().any(|c| !text.starts_with(c));
    differ && text.chars().all(|c| is_written(c) && known(c))
}

fn is_written(c: char) -> bool {
    !c.is_control() || c.is_whitespace()
}

/// Without a byte order mark two bytes are nearly always some character: these few blocks are what sound, which goes
/// through all values, does not stay in. Latin to Arabic, punctuation, Chinese, Japanese, Korean, full width.
fn is_of_a_script(c: char) -> bool {
    matches!(c, '\u{9}'..'\u{700}' | '\u{2000}'..'\u{2070}' | '\u{3000}'..'\u{3100}' | '\u{4E00}'..'\u{A000}'
        | '\u{AC00}'..'\u{D7A4}' | '\u{FF01}'..'\u{FFEF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_and_unknown_bytes() {
        for (bytes, expected) in [
            (&b"RIFF\0\0\0\0WAVEfmt "[..], "WAV"),
            (b"\x89PNG\r\n", "a PNG picture"),
            (b"{\"error\": \"no\"}", "text"),
            ("ein Gr\u{fc}\u{df}".as_bytes(), "text"),
            (&"ä".repeat(2_100).as_bytes()[1..], "an unknown kind of file"),
            (b"\0\0\0\0", "an unknown kind of file"),
            (b"", "an unknown kind of file"),
            (b"O", "text"),
            (b"\xEF\xBB\xBFhello", "text"),
            (&[b'U'; 1_441], "text"),
            (&[&[b'U'; 1_440][..], b"\xFF\xFB\xE0\x64"].concat(), "an unknown kind of file"),
            (b"\xFF\xFEh\0i\0", "text"),
            (b"\xFE\xFF\0h\0i", "text"),
            (b"h\0e\0l\0l\0o\0", "text"),
            (b"\0h\0e\0l\0l\0o", "text"),
            (b"\x60\x4F\x7D\x59\x0C\xFF\x16\x4E\x4C\x75", "text"),
            (b"\xFF\xFE\0\0h\0\0\0", "an unknown kind of file"),
            (b"\0\x01\0\xF0\x40\x12\x40\xF1\0\x02", "an unknown kind of file"),
            (b"OggS\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x50Speex   1.2", "a Speex file"),
            (b"OggS\0\x02\0\0", "Ogg"),
        ] {
            assert_eq!(name(bytes), expected, "{bytes:?}");
        }
    }
}
