use include_dir::{Dir, include_dir};
use proptest::prelude::*;

use super::*;

/// A tone of 440 Hz, 0.3 s, peak 0.5, in every kind that is known; made by ffmpeg (tests/sounds/README.md).
static SOUNDS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/tests/sounds");

fn sound(name: &str) -> &'static [u8] {
    SOUNDS.get_file(name).expect("it is there").contents()
}

fn sounds() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    let named = SOUNDS.files().map(|file| (file.path().to_str().expect("names are ASCII"), file.contents()));
    named.filter(|(name, _)| !name.ends_with(".md"))
}

fn decoded(bytes: &[u8]) -> Clip {
    decode(bytes, &Limits::default()).expect("it decodes")
}

/// The strength of a frequency in the first 0.3 s, as the peak of its sine.
fn strength(clip: &Clip, frequency_hz: f64) -> f64 {
    let samples = clip.samples.len().min((0.3 * f64::from(clip.sample_rate_hz)) as usize);
    let (mut sine, mut cosine) = (0.0, 0.0);
    for (index, sample) in clip.samples[..samples].iter().enumerate() {
        let angle = std::f64::consts::TAU * frequency_hz * index as f64 / f64::from(clip.sample_rate_hz);
        sine += angle.sin() * f64::from(*sample);
        cosine += angle.cos() * f64::from(*sample);
    }
    2.0 * f64::hypot(sine, cosine) / samples as f64
}

#[test]
fn every_kind_is_the_same_tone() {
    let mut kinds = 0;
    for (name, bytes) in sounds() {
        let clip = decode(bytes, &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let duration_s = clip.samples.len() as f64 / f64::from(clip.sample_rate_hz);
        // MP3 without a Xing header, and AAC, keep the encoder's delay and fill their last frame.
        // ADPCM fills its last block.
        let longest_s = if name == "adpcm.wav" { 0.55 } else { 0.40 };
        assert!((0.299..longest_s).contains(&duration_s), "{name}: {duration_s} s");
        let tone = strength(&clip, 440.0);
        let expected = if name == "surround-opus.ogg" { 0.5 / 6.0 } else { 0.5 };
        assert!((0.76..1.06).contains(&(tone / expected)), "{name}: {tone}");
        assert!(strength(&clip, 660.0) < 0.05, "{name}");
        kinds += 1;
    }
    assert!(kinds >= 28, "{kinds}");
}

#[test]
fn lossless_kinds_are_equal_to_the_last_sample() {
    let original = decoded(sound("s16.wav"));
    assert_eq!(original.samples.len(), 2_400);
    for name in ["stereo.wav", "s16.aiff"] {
        assert!(decoded(sound(name)).samples == original.samples, "{name}");
    }
    for name in ["s24.wav", "s32.wav", "f32.wav", "f64.wav", "s24.aiff", "f32.aiff"] {
        let clip = decoded(sound(name));
        assert_eq!(clip.samples.len(), original.samples.len(), "{name}");
        let furthest = clip.samples.iter().zip(&original.samples).fold(0.0f32, |far, (a, b)| far.max((a - b).abs()));
        assert!(furthest < 2.0 / 32_768.0, "{name}: {furthest}");
    }
    for name in ["flac.oga", "alac.m4a"] {
        assert!(decoded(sound(name)).samples == decoded(sound("s16.flac")).samples, "{name}");
    }
}

#[test]
fn encoders_tell_their_delay_and_it_is_cut() {
    for name in ["cbr.mp3", "opus.ogg", "stereo-opus.ogg", "vorbis.ogg"] {
        let clip = decoded(sound(name));
        let duration_s = clip.samples.len() as f64 / f64::from(clip.sample_rate_hz);
        assert!((duration_s - 0.3).abs() < 0.001, "{name}: {duration_s} s");
    }
    // 16 packets of 20 ms: where the last one ends, the file does not tell.
    assert_eq!(decoded(sound("opus.mp4")).samples.len(), 16 * 960 - 312);
}

fn wav(tag: u16, channels: u16, bits: u16, samples: &[u8], stated_bytes: u32) -> Vec<u8> {
    let mut bytes = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0".to_vec();
    bytes.extend(tag.to_le_bytes());
    bytes.extend(channels.to_le_bytes());
    bytes.extend(8_000u32.to_le_bytes());
    bytes.extend([0; 6]);
    bytes.extend(bits.to_le_bytes());
    bytes.extend(b"LIST\x03\0\0\0abc\0data");
    bytes.extend(stated_bytes.to_le_bytes());
    bytes.extend(samples);
    bytes
}

#[test]
fn a_stream_of_unknown_size_is_read_to_its_end() {
    let sound: Vec<u8> = [0i16, 16_384, -32_768].iter().flat_map(|sample| sample.to_le_bytes()).collect();
    for stated_bytes in [u32::MAX, 0x7FFF_F000, 6] {
        assert_eq!(decoded(&wav(1, 1, 16, &sound, stated_bytes)).samples, [0.0, 0.5, -1.0], "{stated_bytes}");
    }
    assert_eq!(decoded(&wav(1, 1, 16, &sound[..5], 6)).samples, [0.0, 0.5], "half a sample is none");
}

#[test]
fn g711_is_as_its_tables_say() {
    // The ends of ITU-T G.711's tables, as 16 bits.
    let mu_law = decoded(&wav(7, 1, 8, &[0x00, 0x80, 0x7F, 0xFF, 0xEF], 5)).samples;
    assert_eq!(mu_law.map_to_integers(), [-32_124, 32_124, 0, 0, 132]);
    let a_law = decoded(&wav(6, 1, 8, &[0x2A, 0xAA, 0x55, 0xD5], 4)).samples;
    assert_eq!(a_law.map_to_integers(), [-32_256, 32_256, -8, 8]);
}

trait Integers {
    fn map_to_integers(&self) -> Vec<i32>;
}

impl Integers for Vec<f32> {
    fn map_to_integers(&self) -> Vec<i32> {
        self.iter().map(|sample| (sample * 32_768.0) as i32).collect()
    }
}

#[test]
fn channels_are_averaged() {
    let frames: Vec<u8> =
        [[8_192i16, 16_384, -24_576], [0, 0, 3]].concat().iter().flat_map(|s| s.to_le_bytes()).collect();
    assert_eq!(decoded(&wav(1, 3, 16, &frames, 12)).samples, [0.0, 1.0 / 32_768.0]);
    assert_eq!(decoded(&wav(1, 2, 16, &frames, 12)).samples, [0.375, -0.375, 1.5 / 32_768.0]);
}

fn utf_16(text: impl AsRef<str>, bytes: impl Fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.as_ref().encode_utf16().flat_map(bytes).collect()
}

#[test]
fn what_is_no_sound_is_told_by_name() {
    let limits = Limits::default();
    assert_eq!(decode(b"", &limits), Err(DecodeError::Empty));
    for (bytes, found) in [
        (&b"\x89PNG\r\n\x1a\n0000"[..], "a PNG picture"),
        (b"hello, this is not a sound", "text"),
        (b"How sounds begin: OggS, fLaC, ID3, \xC3\xBF", "text"),
        (&*utf_16("\u{FEFF}hello, this is not a sound ".repeat(9), u16::to_le_bytes), "text"),
        (&*utf_16("\u{FEFF}hello, this is not a sound ".repeat(9), u16::to_be_bytes), "text"),
        (&*utf_16("这不是声音。".repeat(9), u16::to_le_bytes), "text"),
        (&[0; 3_000], "an unknown kind of file"),
    ] {
        assert_eq!(decode(bytes, &limits), Err(DecodeError::Unknown { found }));
    }
    // Frames of 384 bytes: 128 kbit/s at 48 kHz.
    let layer_2 = [&b"\xFF\xFD\x84\xC0"[..], &[0; 380]].concat().repeat(20);
    let told = decode(&layer_2, &limits).expect_err("no decoder").to_string();
    assert!(told.starts_with("the sound file holds MPEG layer 2"), "{told}");
    let told = decode(b"%PDF-1.7", &limits).expect_err("a document").to_string();
    assert!(told.contains("a PDF document") && told.contains("WAV") && told.contains("Opus"), "{told}");
}

#[test]
fn broken_files_say_what_is_wrong() {
    let not_a_number = f32::NAN.to_le_bytes();
    let mut no_rate = wav(1, 1, 16, &[0, 0], 2);
    no_rate[24..28].fill(0);
    for (bytes, reason) in [
        (wav(3, 1, 32, &not_a_number, 4), "sample 0 is not a finite number"),
        (wav(1, 1, 16, &[], 0), "it holds no sound"),
        (wav(1, 0, 16, &[0, 0], 2), "0 channels"),
        (no_rate, "0 Hz"),
        (b"RIFF\0\0\0\0WAVEdata\x02\0\0\0\0\0".to_vec(), "before its format"),
        (b"RIFF\0\0\0\0WAVE".to_vec(), "no format chunk"),
        (sound("opus.ogg")[..200].to_vec(), "the Ogg file is broken"),
        (sound("s16.flac")[..30].to_vec(), "the FLAC file is broken"),
        (sound("s16.aiff")[..3_000].to_vec(), "the AIFF file is broken"),
        (sound("aac.m4a")[..2_000].to_vec(), "the M4A file is broken"),
    ] {
        let error = decode(&bytes, &Limits::default()).expect_err(reason);
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn a_cut_file_is_what_there_is_of_it() {
    for name in ["s16.wav", "cbr.mp3", "bare.mp3", "aac.aac", "opus.webm"] {
        let bytes = sound(name);
        let half = decoded(&bytes[..bytes.len() / 2 + 40]).samples.len();
        assert!((0.2..0.8).contains(&(half as f64 / decoded(bytes).samples.len() as f64)), "{name}: {half}");
    }
}

#[test]
fn a_webm_without_its_cues_is_what_is_before_them() {
    for name in ["opus.webm", "vorbis.webm"] {
        let (bytes, whole) = (sound(name), decoded(sound(name)).samples);
        for lost in [1, 20, 200] {
            let cut = decoded(&bytes[..bytes.len() - lost]).samples;
            assert!(whole.starts_with(&cut) && cut.len() * 10 > whole.len() * 6, "{name}, {lost}: {}", cut.len());
        }
    }
}

#[test]
fn limits_hold_while_decoding() {
    for (name, bytes) in sounds() {
        let short = Limits { max_duration_s: 0.1, ..Limits::default() };
        assert_eq!(decode(bytes, &short), Err(DecodeError::TooLong { limit_s: 0.1 }), "{name}");
        let small = Limits { max_decoded_bytes: 4_000, ..Limits::default() };
        assert!(matches!(decode(bytes, &small), Err(DecodeError::TooLong { .. })), "{name}");
        let slow = Limits { max_time: Duration::ZERO, ..Limits::default() };
        assert_eq!(decode(bytes, &slow), Err(DecodeError::TooSlow { limit_s: 0.0 }), "{name}");
        let endless = Limits { max_duration_s: f64::INFINITY, max_time: Duration::MAX, ..Limits::default() };
        assert!(decode(bytes, &endless).is_ok(), "{name}");
    }
}

#[test]
fn a_decoder_that_panics_is_an_error() {
    let mut gave_up = 0;
    for (_, bytes) in sounds() {
        for place in 0..bytes.len().min(300) {
            let mut damaged = bytes.to_vec();
            damaged[place] = 0x7F;
            let ended = decode(&damaged, &Limits::default());
            gave_up += usize::from(ended.is_err_and(|error| error.to_string().contains("gave up")));
        }
    }
    // Sums that overflow, seen where they are checked.
    assert!(gave_up > 0 || !cfg!(debug_assertions));
}

/// What strangers send: the corpus with bytes changed, cut out, doubled and put together.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let corpus: Vec<&'static [u8]> = sounds().map(|(_, bytes)| bytes).collect();
    let file = prop::sample::select(corpus);
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..24);
    let cut = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>());
    // Most that matters stands in the first bytes, so half of the changes go there.
    (file.clone(), file, changes, cut, any::<bool>(), any::<bool>()).prop_map(
        |(bytes, other, changes, cut, join, early)| {
            let mut bytes = bytes.to_vec();
            for (place, value) in changes {
                let within = if early { bytes.len().min(256) } else { bytes.len() };
                let place = place.index(within);
                bytes[place] = value;
            }
            let (from, to) = (cut.0.index(bytes.len()), cut.1.index(bytes.len()));
            let piece = from.min(to)..from.max(to);
            if cut.2 {
                bytes.drain(piece);
            } else {
                bytes.extend_from_within(piece);
            }
            if join {
                bytes.extend_from_slice(&other[other.len() / 2..]);
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn damaged_files_end_in_sound_or_an_error(bytes in damaged()) {
        let limits = Limits { max_duration_s: 10.0, max_time: Duration::from_secs(60), ..Limits::default() };
        match decode(&bytes, &limits) {
            Ok(clip) => {
                prop_assert!(!clip.samples.is_empty() && clip.samples.iter().all(|sample| sample.is_finite()));
                prop_assert!(clip.samples.len() as f64 <= 10.0 * f64::from(clip.sample_rate_hz) + 1.0);
            }
            Err(error) => prop_assert!(!matches!(error, DecodeError::TooSlow { .. }), "it hangs"),
        }
    }

    #[test]
    fn noise_ends_in_an_error(bytes in prop::collection::vec(any::<u8>(), 0..4_000)) {
        let limits = Limits { max_time: Duration::from_secs(60), ..Limits::default() };
        prop_assert!(!matches!(decode(&bytes, &limits), Err(DecodeError::TooSlow { .. })), "it hangs");
    }
}
