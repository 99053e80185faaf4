use include_dir::{Dir, include_dir};
use proptest::prelude::*;

use super::*;
use crate::audio::decode::DecodeError;

static SOUNDS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/tests/sounds");
const RATE_HZ: u32 = 24_000;

/// Numbers from −1 to 1, the same each time.
fn noise(seed: u64) -> impl Iterator<Item = f32> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    })
}

/// Something with the rhythm of speech: syllables, between them the noise of the room.
fn talk(seconds: f64, peak: f32, room: f32) -> Vec<f32> {
    let samples = (seconds * f64::from(RATE_HZ)) as usize;
    noise(7)
        .take(samples)
        .enumerate()
        .map(|(index, noise)| {
            let at_s = index as f64 / f64::from(RATE_HZ);
            let syllable = (at_s % 0.25 / 0.25 * std::f64::consts::PI).sin();
            let voice: f64 = (1..6).map(|n| (at_s * 170.0 * f64::from(n) * std::f64::consts::TAU).sin() / 2.5).sum();
            (voice * syllable * syllable) as f32 * peak * 0.8 + noise * room
        })
        .collect()
}

fn quiet(seconds: f64, room: f32) -> Vec<f32> {
    noise(11).take((seconds * f64::from(RATE_HZ)) as usize).map(|noise| noise * room).collect()
}

fn wav(samples: &[f32], sample_rate_hz: u32) -> Vec<u8> {
    wav_file(samples, sample_rate_hz).to_vec()
}

fn prepared(samples: &[f32]) -> Prepared {
    prepare(&wav(samples, RATE_HZ), &Options::default()).expect("prepared")
}

fn codes(prepared: &Prepared) -> Vec<&'static str> {
    prepared.warnings.iter().map(|warning| warning.code).collect()
}

#[test]
fn a_good_clip_is_trimmed_and_brought_to_the_loudness() {
    let mut sound = quiet(1.0, 0.0003);
    sound.extend(talk(6.0, 0.1, 0.0003));
    sound.extend(quiet(2.0, 0.0003));
    let clip = prepared(&sound);
    assert_eq!(clip.warnings, []);
    assert!((6.0..6.4).contains(&clip.duration_s), "{}", clip.duration_s);
    assert_eq!((clip.source.format, clip.source.channels, clip.source.duration_s), ("WAV", 1, 9.0));
    assert!((clip.loudness_lufs - TARGET_LUFS).abs() < 0.1, "{}", clip.loudness_lufs);
    assert!((35.0..60.0).contains(&clip.snr_db), "{}", clip.snr_db);
    assert_eq!(clip.clipped_share, 0.0);
    let measured = loudness::measure(&clip.samples, clip.sample_rate_hz).expect("measured");
    assert!((measured.integrated_lufs - clip.loudness_lufs).abs() < 0.1);
    assert!(measured.true_peak_dbtp <= TRUE_PEAK_DBTP + 0.01);
}

#[test]
fn the_wav_is_read_back() {
    let clip = prepared(&talk(3.5, 0.3, 0.0003));
    let again = decode::decode(&clip.wav(), &Limits::default()).expect("a WAV file");
    assert_eq!((again.sample_rate_hz, again.samples.len()), (RATE_HZ, clip.samples.len()));
    assert!(again.samples.iter().zip(&clip.samples).all(|(a, b)| (a - b).abs() < 1.0 / 16_384.0));
    let twice = prepare(&clip.wav(), &Options::default()).expect("again");
    assert!((twice.duration_s - clip.duration_s).abs() < 0.05, "it is not cut again");
    assert!((twice.loudness_lufs - clip.loudness_lufs).abs() < 0.1);
}

#[test]
fn a_long_clip_is_cut_at_its_last_good_pause() {
    let mut sound = talk(7.0, 0.3, 0.0003);
    sound.extend(quiet(0.5, 0.0003));
    sound.extend(talk(2.0, 0.3, 0.0003));
    sound.extend(quiet(0.5, 0.0003));
    sound.extend(talk(9.0, 0.3, 0.0003));
    let clip = prepared(&sound);
    assert!((9.5..10.0).contains(&clip.duration_s), "{}", clip.duration_s);
    assert_eq!(codes(&clip), ["shortened"]);
    assert!(clip.warnings[0].message.contains("19.0 s of speech and is cut to 9."), "{:?}", clip.warnings);
    assert!(clip.warnings[0].message.contains("at a pause"));
    assert!(clip.samples[clip.samples.len() - 1].abs() < 0.01);
}

#[test]
fn a_long_clip_without_a_pause_is_cut_where_it_is_quietest() {
    let hum: Vec<f32> = (0..20 * RATE_HZ).map(|index| (index as f32 * 0.05).sin() * 0.3).collect();
    let clip = prepared(&hum);
    assert!((8.0..=12.0).contains(&clip.duration_s), "{}", clip.duration_s);
    assert!(clip.warnings[0].message.contains("in the middle of speech"), "{:?}", clip.warnings);
}

#[test]
fn bad_clips_are_told_what_is_bad() {
    let clipped: Vec<f32> = talk(5.0, 0.9, 0.0003).iter().map(|sample| (sample * 2.0).clamp(-0.9, 0.9)).collect();
    let clip = prepared(&clipped);
    assert!(codes(&clip).contains(&"clipped"), "{:?} {}", clip.warnings, clip.clipped_share);
    assert!((0.001..0.3).contains(&clip.clipped_share), "{}", clip.clipped_share);

    let noisy = prepared(&talk(5.0, 0.3, 0.05));
    assert!(codes(&noisy).contains(&"noisy"), "{:?} {}", noisy.warnings, noisy.snr_db);
    assert!(noisy.snr_db < prepared(&talk(5.0, 0.3, 0.005)).snr_db);

    let short = prepared(&talk(2.0, 0.3, 0.0003));
    assert_eq!(codes(&short), ["short"]);

    let faint = prepared(&talk(5.0, 0.008, 0.0));
    assert!(codes(&faint).contains(&"quiet"), "{:?}", faint.warnings);

    let mut knocked = talk(5.0, 0.02, 0.0);
    knocked[60_000..60_200].fill(0.95);
    let knocked = prepared(&knocked);
    assert!(codes(&knocked).contains(&"uneven"), "{:?}", knocked.warnings);

    let phone = resample::resample(&talk(5.0, 0.3, 0.0003), RATE_HZ, 8_000).expect("resampled");
    let phone = prepare(&wav(&phone, 8_000), &Options::default()).expect("prepared");
    assert_eq!((codes(&phone), phone.sample_rate_hz), (vec!["narrow_band"], 8_000));
    for warning in [clip, noisy, short, faint, knocked, phone].iter().flat_map(|clip| &clip.warnings) {
        assert!(!warning.message.contains('\n') && !warning.message.contains("NaN"), "{warning:?}");
    }
}

#[test]
fn what_cannot_be_used_is_named() {
    let fault = |bytes: &[u8]| prepare(bytes, &Options::default()).expect_err("refused");
    let cases: [(Vec<u8>, &str, &str); 9] = [
        (Vec::new(), "empty_clip", "0 bytes"),
        (b"Dear all, this is no sound at all.".to_vec(), "unknown_clip_format", "this is text"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(), "unknown_clip_format", "a PNG picture"),
        (b"RIFF\x24\0\0\0WAVEfmt ".to_vec(), "broken_clip", "WAV"),
        (wav(&[0.0; 48_000], RATE_HZ), "silent_clip", "−∞ dBFS"),
        (wav(&quiet(5.0, 0.0005), RATE_HZ), "silent_clip", "microphone"),
        (wav(&talk(0.6, 0.3, 0.0), RATE_HZ), "clip_too_short", "5 to 12 s"),
        (wav(&talk(3.0, 0.3, 0.0), 4_000), "unsupported_sample_rate", "4000"),
        (wav(&vec![0.1; 601 * 8_000], 8_000), "clip_too_long", "600 s"),
    ];
    for (bytes, code, words) in cases {
        let error = fault(&bytes);
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    assert!(matches!(fault(b""), ClipError::Decode(DecodeError::Empty)));
}

#[test]
fn a_click_is_no_speech() {
    let mut sound = quiet(4.0, 0.0001);
    sound[40_000..40_100].fill(0.9);
    let error = prepare(&wav(&sound, RATE_HZ), &Options::default()).expect_err("refused");
    assert_eq!(error.code(), "clip_too_short");
}

#[test]
fn an_offset_is_no_noise() {
    let shifted: Vec<f32> = talk(5.0, 0.3, 0.0003).iter().map(|sample| sample + 0.2).collect();
    let clip = prepared(&shifted);
    assert_eq!(clip.warnings, []);
    let mean: f64 = clip.samples.iter().map(|sample| f64::from(*sample)).sum::<f64>() / clip.samples.len() as f64;
    assert!(mean.abs() < 1e-3, "{mean}");
}

#[test]
fn every_kind_of_file_is_taken() {
    let options = Options { min_duration_s: 0.2, ..Options::default() };
    let mut formats = std::collections::BTreeSet::new();
    for file in SOUNDS.files().filter(|file| file.path().extension().is_some_and(|kind| kind != "md")) {
        let clip = prepare(file.contents(), &options);
        let clip = clip.unwrap_or_else(|error| panic!("{}: {error}", file.path().display()));
        let expected = match file.path().to_str().expect("ASCII") {
            "surround-opus.ogg" => 6,
            name if name.contains("stereo") => 2,
            // The encoder's own choice.
            "aac.mkv" => clip.source.channels,
            _ => 1,
        };
        assert_eq!(clip.source.channels, expected, "{}", file.path().display());
        assert!(clip.sample_rate_hz <= MAX_RATE_HZ);
        formats.insert(clip.source.format);
    }
    assert_eq!(Vec::from_iter(formats), ["AAC", "AIFF", "FLAC", "M4A", "MP3", "Ogg", "WAV", "WebM"]);
}

#[test]
fn what_engines_cannot_use_of_a_rate_is_left_out() {
    let high = resample::resample(&talk(3.5, 0.3, 0.0003), RATE_HZ, 96_000).expect("resampled");
    let clip = prepare(&wav(&high, 96_000), &Options::default()).expect("prepared");
    assert_eq!((clip.sample_rate_hz, clip.source.sample_rate_hz), (48_000, 96_000));
    assert!((3.3..3.7).contains(&clip.duration_s), "{}", clip.duration_s);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_sound_ends_in_bounds(
        levels in proptest::collection::vec(prop_oneof![Just(0.0f32), 0.0f32..1.0, Just(1e30f32)], 1..40),
        sample_rate_hz in 1_000u32..200_000,
        max_duration_s in 0.5f64..3.0,
    ) {
        let samples: Vec<f32> =
            levels.iter().flat_map(|level| noise(3).take(1_500).map(move |noise| noise * level)).collect();
        let options = Options { max_duration_s, min_duration_s: 0.05, ..Options::default() };
        // Floats, which may go beyond full scale.
        let mut bytes = wav(&samples, sample_rate_hz)[..44].to_vec();
        bytes[20] = 3;
        bytes[34] = 32;
        bytes[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
        bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        match prepare(&bytes, &options) {
            Ok(clip) => {
                prop_assert!(clip.samples.iter().all(|sample| sample.abs() <= 1.0));
                prop_assert!(!clip.samples.is_empty() && clip.duration_s <= max_duration_s + 1e-9);
                prop_assert!((0.0..=1.0).contains(&clip.clipped_share) && clip.snr_db.is_finite());
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn any_bytes_end_in_an_answer(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), name in 0usize..28) {
        let _ = prepare(&bytes, &Options::default());
        let files: Vec<_> = SOUNDS.files().collect();
        let mut file = files[name % files.len()].contents().to_vec();
        for byte in bytes.drain(..).take(8) {
            let place = usize::from(byte) * file.len() / 256;
            file[place] ^= byte;
        }
        let _ = prepare(&file, &Options { min_duration_s: 0.1, ..Options::default() });
    }
}
