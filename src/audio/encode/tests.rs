use bytes::BytesMut;
use md5::Digest;
use proptest::prelude::*;

use super::*;
use crate::audio::{
    decode::{self, Limits},
    limiter::{self, tests::true_peak_dbtp},
    loudness,
};

const RATE_HZ: u32 = 24_000;

/// A voice-like tone with noise, different at every sample.
fn sound(samples: usize) -> Vec<f32> {
    let mut state = 1u32;
    let mut sample = |index: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let phase = index as f32 / RATE_HZ as f32 * std::f32::consts::TAU * 140.0;
        let tone: f32 = (1..12).map(|harmonic| (phase * harmonic as f32).sin() / harmonic as f32).sum();
        tone * 0.3 + (state as f32 / u32::MAX as f32 - 0.5) * 0.01
    };
    (0..samples).map(&mut sample).collect()
}

fn streamed(spec: &Spec, sound: &[f32], cuts: &[usize]) -> Vec<u8> {
    streamed_by(Encoder::streamed(spec, RATE_HZ).expect("an encoder"), sound, cuts)
}

fn streamed_by(mut encoder: Encoder, sound: &[f32], cuts: &[usize]) -> Vec<u8> {
    let (mut bytes, mut rest, mut cuts) = (BytesMut::new(), sound, cuts.iter().cycle());
    while !rest.is_empty() {
        let (now, later) = rest.split_at(cuts.next().map_or(rest.len(), |cut| (*cut).min(rest.len())));
        bytes.extend_from_slice(&encoder.encode(now).expect("encoded"));
        rest = later;
    }
    encoder.finish(&mut bytes).expect("finished");
    bytes.to_vec()
}

fn file(spec: &Spec, sound: &[f32]) -> Vec<u8> {
    encode_file([sound], RATE_HZ, spec).expect("a file").to_vec()
}

fn decoded(bytes: &[u8]) -> (Vec<f32>, u32) {
    let clip = decode::decode(bytes, &Limits::default()).expect("decoded");
    (clip.samples, clip.sample_rate_hz)
}

fn snr_db(sound: &[f32], other: &[f32]) -> f64 {
    let energy = |samples: &mut dyn Iterator<Item = f32>| samples.map(|sample| f64::from(sample).powi(2)).sum::<f64>();
    let error = energy(&mut sound.iter().zip(other).map(|(one, two)| one - two));
    10.0 * (energy(&mut sound.iter().copied()) / error.max(1e-12)).log10()
}

/// What goes out in whole files and not, or otherwise, in streams.
fn header_bytes(format: Format) -> usize {
    match format {
        Format::Wav => 44,
        Format::WavF32 => 58,
        Format::Flac => 42,
        _ => 0,
    }
}

#[test]
fn peaks_stay_below_the_ceiling_at_another_rate() {
    let ceiling = loudness::amplitude(-1.0);
    // A band-limited square wave: its overtones keep its peaks down, and are not there at 8 kHz.
    let square = |index: usize| {
        let phase = index as f32 * std::f32::consts::TAU * 1_500.0 / RATE_HZ as f32;
        [1.0, 3.0, 5.0, 7.0].iter().map(|harmonic| (phase * harmonic + 0.01).sin() * 2.0 / harmonic).sum::<f32>()
    };
    let loud: Vec<f32> = (0..12_000).map(square).collect();
    let loud = limiter::limited(&loud, RATE_HZ, 1.0, ceiling);
    let peak = |encoder: Encoder, cuts: &[usize]| {
        let bytes = streamed_by(encoder, &loud, cuts);
        let samples: Vec<f32> =
            bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect();
        (true_peak_dbtp(&samples), samples)
    };
    for rate_hz in [8_000, 16_000, 48_000] {
        let spec = Spec { sample_rate_hz: Some(rate_hz), ..Format::PcmF32.into() };
        let encoder = || Encoder::streamed(&spec, RATE_HZ).expect("an encoder");
        let (free, plain) = peak(encoder(), &[]);
        assert!(rate_hz > 8_000 || free > -0.6, "{rate_hz}: {free} needs no limit");
        let (limited, whole) = peak(encoder().limited(ceiling), &[]);
        assert!(limited <= -0.9, "{rate_hz}: {limited}");
        assert_eq!(whole.len(), plain.len());
        assert_eq!(peak(encoder().limited(ceiling), &[1, 480, 3_001]).1, whole);
        // Nothing changes where nothing is above it.
        assert_eq!(peak(encoder().limited(4.0), &[]).1, plain);
    }
}

#[test]
fn a_header_goes_out_once_with_the_first_sound() {
    for (format, header) in [(Format::Wav, 44), (Format::WavF32, 58), (Format::Pcm, 0)] {
        let mut encoder = Encoder::streamed(&format.into(), RATE_HZ).expect("an encoder");
        let bytes = format.sample_bytes().expect("plain samples");
        assert_eq!(encoder.encode(&[0.0; 3]).expect("encoded").len(), header + 3 * bytes);
        assert_eq!(encoder.encode(&[0.0; 3]).expect("encoded").len(), 3 * bytes);
        let mut rest = BytesMut::new();
        encoder.finish(&mut rest).expect("finished");
        assert!(rest.is_empty());
    }
}

#[test]
fn plain_samples_are_as_long_as_the_sound() {
    for format in Format::ALL {
        if let (Some(bytes), sound) = (format.sample_bytes(), sound(1_000)) {
            let spec = Spec { sample_rate_hz: (*format != Format::MuLaw).then_some(16_000), ..(*format).into() };
            let samples = (1_000.0 * f64::from(spec.rate_hz(RATE_HZ)) / f64::from(RATE_HZ)).round() as usize;
            for file in [file(&spec, &sound), streamed(&spec, &sound, &[7])] {
                assert_eq!(file.len(), header_bytes(*format) + samples * bytes, "{format:?}");
            }
        }
    }
}

#[test]
fn flac_is_lossless_and_tells_its_length_and_hash() {
    for samples in [0, 1, 2, 15, 16, 31, 33, 2_303, 2_304, 2_305, 30_000] {
        let sound = sound(samples);
        let whole = file(&Format::Flac.into(), &sound);
        // RFC 9639, 8.2: 36 bits of samples, then 128 of MD5.
        assert_eq!(usize::from(whole[24]) << 8 | usize::from(whole[25]), samples, "{samples}");
        let mut integers = BytesMut::new();
        pcm::s16le_into(&sound, &mut integers);
        assert_eq!(whole[26..42], md5::Md5::digest(&integers)[..], "{samples}");
        if samples > 0 {
            let (back, rate_hz) = decoded(&whole);
            let expected: Vec<f32> = sound.iter().map(|sample| f32::from(pcm::s16(*sample)) / 32_768.0).collect();
            assert_eq!((back, rate_hz), (expected, RATE_HZ), "{samples}");
        }
    }
}

#[test]
fn flac_keeps_every_kind_of_sound_at_every_rate() {
    let mut state = 1u32;
    let mut noise = |level: f32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        level * (state as f32 / u32::MAX as f32 * 2.0 - 1.0)
    };
    let loud: Vec<f32> = (0..5_000).map(|_| noise(1.0)).collect();
    let sounds = [
        vec![0.0; 5_000],
        vec![-1.0; 2_304],
        // The largest residuals that there are, and samples that no code is shorter for.
        (0..5_000).map(|at| if at % 2 == 0 { 1.0 } else { -1.0 }).collect(),
        loud.clone(),
        // One partition is loud, the others are silent.
        loud.iter().enumerate().map(|(at, sample)| if at % 1_000 < 70 { *sample } else { 0.0 }).collect(),
        // More frames than the shorter forms of a frame's number have.
        (0..2_304 * 2_100).map(|at| ((at / 100) % 7) as f32 * 0.01).collect(),
    ];
    for sound in sounds {
        let (back, _) = decoded(&file(&Format::Flac.into(), &sound));
        assert!(back.iter().zip(&sound).all(|(back, sample)| *back == f32::from(pcm::s16(*sample)) / 32_768.0));
        assert_eq!(back.len(), sound.len());
    }
    let noise = file(&Format::Flac.into(), &loud);
    assert!(noise.len() < 2 * loud.len() + 100, "{} bytes", noise.len());
    for rate_hz in [8_000, 11_025, 16_000, 44_100, 65_535, 88_200, 96_000, 96_001, 123_450, 176_400, 192_000] {
        let file = encode_file([&loud[..]], rate_hz, &Format::Flac.into()).expect("a file");
        let (back, back_hz) = decoded(&file);
        assert_eq!((back.len(), back_hz), (loud.len(), rate_hz));
    }
}

#[test]
fn lossy_files_sound_like_what_went_in_and_are_as_long() {
    let sound = sound(70_001);
    #[cfg(feature = "mp3")]
    {
        let (back, rate_hz) = decoded(&file(&Format::Mp3.into(), &sound));
        assert_eq!((back.len(), rate_hz), (sound.len(), RATE_HZ));
        assert!(snr_db(&sound, &back) > 18.0, "{}", snr_db(&sound, &back));
        // It begins as it goes on, with a step from silence.
        let step: Vec<f32> = sound.iter().map(|sample| sample + 0.3).collect();
        let (back, _) = decoded(&file(&Format::Mp3.into(), &step));
        let furthest = |range: std::ops::Range<usize>| {
            step[range.clone()].iter().zip(&back[range]).fold(0.0f32, |far, (one, two)| far.max((one - two).abs()))
        };
        let (first, later) = (furthest(0..100), furthest(600..6_000));
        assert!(first < 1.5 * later, "{first}, {later}");
    }
    // Its decoder gives 48 kHz.
    let spec = Spec { bitrate_bps: Some(128_000), ..Format::Opus.into() };
    let (back, rate_hz) = decoded(&file(&spec, &sound));
    assert_eq!((back.len(), rate_hz), (2 * sound.len(), 48_000));
    let halved: Vec<f32> = back.iter().step_by(2).copied().collect();
    assert!(snr_db(&sound, &halved) > 15.0, "{}", snr_db(&sound, &halved));
}

#[test]
fn the_first_bytes_come_early() {
    for format in Format::ALL {
        let mut encoder = Encoder::streamed(&(*format).into(), RATE_HZ).expect("an encoder");
        let bytes = encoder.encode(&sound(RATE_HZ as usize / 4)).expect("encoded");
        assert!(!bytes.is_empty(), "{format:?}: nothing after a quarter of a second");
    }
}

#[test]
fn bitrates_are_kept() {
    let sound = sound(5 * RATE_HZ as usize);
    let lossy: &[Format] = &[
        #[cfg(feature = "mp3")]
        Format::Mp3,
        Format::Opus,
    ];
    for format in lossy {
        for bitrate_bps in [32_000, 64_000, 128_000] {
            let spec = Spec { bitrate_bps: Some(bitrate_bps), ..(*format).into() };
            let found = file(&spec, &sound).len() as f64 * 8.0 / 5.0;
            assert!((0.75..1.25).contains(&(found / f64::from(bitrate_bps))), "{format:?} {bitrate_bps}: {found}");
        }
    }
}

#[test]
fn every_rate_of_every_format_is_encoded() {
    let sound = sound(6_000);
    for format in Format::ALL {
        for rate_hz in [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000] {
            let spec = Spec { sample_rate_hz: Some(rate_hz), ..(*format).into() };
            match Encoder::streamed(&spec, RATE_HZ) {
                Ok(_) => assert!(!file(&spec, &sound).is_empty()),
                Err(error) => assert!(matches!(error, EncodeError::Rate { .. }), "{error}"),
            }
        }
    }
}

/// Size and samples of a frame by its header.
#[cfg(feature = "mp3")]
fn mp3_frame(header: &[u8]) -> (usize, usize, usize) {
    assert!(header[0] == 0xFF && header[1] & 0xE6 == 0xE2, "{header:?}");
    let (bitrate, rate) = (usize::from(header[2] >> 4), usize::from(header[2] >> 2 & 3));
    let (rate_hz, mpeg_1) = match header[1] >> 3 & 3 {
        3 => ([44_100, 48_000, 32_000][rate], true),
        2 => ([22_050, 24_000, 16_000][rate], false),
        _ => ([11_025, 12_000, 8_000][rate], false),
    };
    let kbps = match mpeg_1 {
        true => [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320][bitrate - 1],
        false => [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160][bitrate - 1],
    };
    let samples = if mpeg_1 { 1_152 } else { 576 };
    (samples / 8 * 1_000 * kbps / rate_hz + usize::from(header[2] >> 1 & 1), samples, rate_hz)
}

#[cfg(feature = "mp3")]
fn mp3_frames(mut bytes: &[u8], rate_hz: u32) -> usize {
    let mut frames = 0;
    while !bytes.is_empty() {
        let (size, _, found_hz) = mp3_frame(bytes);
        assert_eq!(found_hz, rate_hz as usize);
        // No frame needs bytes of those before it, as the first one of LAME's is not there: main_data_begin is 0.
        assert!(bytes[4] == 0 && (rate_hz < 32_000 || bytes[5] & 0x80 == 0));
        (frames, bytes) = (frames + 1, &bytes[size..]);
    }
    frames
}

#[test]
#[cfg(feature = "mp3")]
fn mp3_has_the_rate_that_was_asked_for_and_tells_its_length_at_every_bitrate() {
    let sound = sound(6_000);
    for rate_hz in mp3::RATES_HZ {
        let mut sizes = std::collections::BTreeSet::new();
        for kbps in [8, 16, 24, 32, 40, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320] {
            let spec = Spec { bitrate_bps: Some(kbps * 1_000), ..Format::Mp3.into() };
            let file = encode_file([&sound[..]], rate_hz, &spec).expect("a file");
            let clip = decode::decode(&file, &Limits::default()).expect("decoded");
            assert_eq!((clip.samples.len(), clip.sample_rate_hz), (6_000, rate_hz), "{kbps} kbit/s");
            let (info, samples, _) = mp3_frame(&file);
            let frames = mp3_frames(&file[info..], rate_hz);
            // What the encoder delays (95) and every decoder adds (529), and no frame more than is needed.
            assert_eq!(frames, (6_000 + 624usize).div_ceil(samples), "{rate_hz} Hz, {kbps} kbit/s");
            sizes.insert(file.len());
        }
        assert!(sizes.len() >= 7, "{rate_hz} Hz: {sizes:?}");
    }
}

#[test]
#[cfg(feature = "mp3")]
fn mp3_of_any_length_has_no_needless_frame() {
    for (rate_hz, bitrate_bps) in [(24_000, 64_000), (44_100, 128_000)] {
        let spec = Spec { bitrate_bps: Some(bitrate_bps), ..Format::Mp3.into() };
        for samples in (0..1_160).step_by(40).chain([46, 47, 48, 94, 95, 96, 575, 576, 577]) {
            let sound = sound(samples);
            let file = encode_file([&sound[..]], rate_hz, &spec).expect("a file");
            let (info, frame, _) = mp3_frame(&file);
            assert_eq!(mp3_frames(&file[info..], rate_hz), (samples + 624).div_ceil(frame), "{samples}");
            if samples > 0 {
                assert_eq!(decoded(&file).0.len(), samples);
            }
        }
    }
}

#[test]
fn sound_at_a_rate_that_does_not_exist_is_an_error() {
    for format in Format::ALL {
        for rate_hz in [0, 7_999, 192_001, u32::MAX] {
            let error = Encoder::streamed(&(*format).into(), rate_hz).expect_err("no such rate");
            assert!(error.to_string().contains("from 8000 to 192000 Hz"), "{format:?}: {error}");
        }
    }
}

async fn next(pieces: &mut Pieces) -> Result<Encoded, EncodeError> {
    std::future::poll_fn(|context| pieces.poll_next(context)).await
}

#[tokio::test]
async fn workers_encode_as_the_caller_would() {
    let workers = Workers::start(1).expect("threads");
    let sound = sound(60_000);
    for format in Format::ALL {
        let spec = Spec::from(*format);
        let mut encoder = Encoder::streamed(&spec, RATE_HZ).expect("an encoder");
        let mut bytes = Vec::new();
        let chunks = sound.chunks(25_000).map(|chunk| Some(chunk.to_vec().into()));
        for chunk in chunks.chain([None]) {
            let mut pieces = workers.encode(encoder, chunk);
            encoder = loop {
                match next(&mut pieces).await.expect("encoded") {
                    Encoded::Bytes(piece) => bytes.extend_from_slice(&piece),
                    Encoded::Done(encoder) => break *encoder,
                }
            };
        }
        assert_eq!(bytes, streamed(&spec, &sound, &[]), "{format:?}");
    }
}

#[tokio::test]
async fn streams_take_turns() {
    let workers = Workers::start(1).expect("threads");
    let encoder = || Encoder::streamed(&Format::Flac.into(), RATE_HZ).expect("an encoder");
    let long: std::sync::Arc<Vec<f32>> = std::sync::Arc::new(vec![0.1; 100 * RATE_HZ as usize]);
    let mut slow = workers.encode(encoder(), Some(long));
    let mut quick = workers.encode(encoder(), Some(std::sync::Arc::new(sound(4_800))));
    while let Encoded::Bytes(_) = next(&mut quick).await.expect("encoded") {}
    let mut rest = 0;
    while let Encoded::Bytes(_) = next(&mut slow).await.expect("encoded") {
        rest += 1;
    }
    assert!(rest > 100, "{rest}");
    let abandoned = workers.encode(encoder(), Some(std::sync::Arc::new(sound(4_800))));
    drop(workers);
    let mut abandoned = abandoned;
    // Either done before, or told: never left waiting.
    while let Ok(Encoded::Bytes(_)) = next(&mut abandoned).await {}
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_cut_gives_the_same_bytes(cuts in proptest::collection::vec(1usize..9_000, 1..8), samples in 1usize..30_000) {
        let sound = sound(samples);
        for format in Format::ALL {
            for sample_rate_hz in [None, Some(48_000)] {
                if *format == Format::MuLaw && sample_rate_hz.is_some() {
                    continue;
                }
                let spec = Spec { sample_rate_hz, ..(*format).into() };
                let whole = streamed(&spec, &sound, &[]);
                prop_assert_eq!(&streamed(&spec, &sound, &cuts), &whole, "{:?}", spec);
                let file = file(&spec, &sound);
                let header = header_bytes(*format);
                // A file of MP3 has one frame more, the first; its others are those of a stream.
                prop_assert!(file.ends_with(&whole[header..]), "{:?}", spec);
            }
        }
    }

    #[test]
    fn what_is_not_usual_sound_is_encoded_too(sound in proptest::collection::vec(
        prop_oneof![-3f32..3.0, -f32::MAX..f32::MAX, Just(f32::NAN), Just(f32::NEG_INFINITY)], 0..6_000))
    {
        for format in Format::ALL {
            let spec = Spec::from(*format);
            let file = file(&spec, &sound);
            // At a lower rate, less than half a sample is none.
            let samples = (sound.len() as f64 * f64::from(spec.rate_hz(RATE_HZ)) / f64::from(RATE_HZ)).round();
            prop_assert!(!file.is_empty() || samples == 0.0, "{:?}", format);
            if *format != Format::WavF32 && header_bytes(*format) > 0 && !sound.is_empty() {
                prop_assert!(decoded(&file).0.iter().all(|sample| sample.abs() <= 1.0), "{:?}", format);
            }
        }
    }
}
