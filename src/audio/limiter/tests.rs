use std::f64::consts::PI;

use proptest::prelude::*;
use realfft::RealFftPlanner;

use super::*;
use crate::audio::{encode::pcm::s16le_into, loudness};

const TAU: f32 = std::f32::consts::TAU;

const RATE_HZ: u32 = 24_000;

fn limit(sound: &[f32], gain: f32, ceiling: f32, cuts: &[usize]) -> Vec<f32> {
    limit_at(RATE_HZ, sound, gain, ceiling, cuts)
}

fn limit_at(sample_rate_hz: u32, sound: &[f32], gain: f32, ceiling: f32, cuts: &[usize]) -> Vec<f32> {
    let mut limiter = Limiter::new(sample_rate_hz, gain, ceiling);
    let (mut out, mut rest, mut cuts) = (Vec::new(), sound, cuts.iter().cycle());
    while !rest.is_empty() {
        let (now, later) = rest.split_at(cuts.next().map_or(rest.len(), |cut| *cut.min(&rest.len())));
        limiter.push(now, &mut out);
        rest = later;
    }
    limiter.finish(&mut out);
    out
}

/// Bursts of a voice-like tone, with harmonics, that get louder and softer.
fn voice(seconds: f32) -> Vec<f32> {
    let samples = (seconds * RATE_HZ as f32) as usize;
    let sample = |index: usize| {
        let time = index as f32 / RATE_HZ as f32;
        let phase = std::f32::consts::TAU * 130.0 * time;
        let tone: f32 = (1..20).map(|harmonic| (phase * harmonic as f32).sin() / harmonic as f32).sum();
        tone * 0.2 * (std::f32::consts::TAU * 1.5 * time).sin().max(0.0)
    };
    (0..samples).map(sample).collect()
}

#[test]
fn soft_sound_passes_unchanged() {
    let sound: Vec<f32> = voice(1.0).iter().map(|sample| sample * 0.5).collect();
    assert_eq!(limit(&sound, 1.0, 0.89, &[]), sound);
    let doubled: Vec<f32> = sound.iter().map(|sample| sample * 1.5).collect();
    assert_eq!(limit(&sound, 1.5, 0.89, &[]), doubled);
}

/// Of the whole sound, silence around it, in dBTP: interpolated eightfold by its spectrum, up to the Nyquist frequency.
pub(in crate::audio) fn true_peak_dbtp(sound: &[f32]) -> f64 {
    const AROUND: usize = 4_096;
    let size = (sound.len() + 2 * AROUND).next_power_of_two();
    let mut planner = RealFftPlanner::<f64>::new();
    let (forward, inverse) = (planner.plan_fft_forward(size), planner.plan_fft_inverse(8 * size));
    let mut samples = forward.make_input_vec();
    for (to, from) in samples[AROUND..].iter_mut().zip(sound) {
        *to = f64::from(*from);
    }
    let (mut spectrum, mut wide) = (forward.make_output_vec(), inverse.make_input_vec());
    forward.process(&mut samples, &mut spectrum).expect("made for it");
    // Half of what is at the Nyquist frequency is its mirror image.
    spectrum[size / 2] *= 0.5;
    wide[..spectrum.len()].copy_from_slice(&spectrum);
    let mut points = inverse.make_output_vec();
    inverse.process(&mut wide, &mut points).expect("made for it");
    20.0 * (points.iter().fold(0.0f64, |peak, point| peak.max(point.abs())) / size as f64).log10()
}

/// Numbers from −1 to 1, the same in every run.
fn noise() -> impl FnMut() -> f32 {
    let mut state = 1u64;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// What is hard to limit, an eighth of a second each.
fn hostile(sample_rate_hz: u32) -> Vec<(String, Vec<f32>)> {
    let samples = sample_rate_hz as usize / 8;
    let tone = |frequency: f64, index: usize| (index as f64 * PI * frequency + 0.3).sin() as f32;
    let mut sounds = Vec::new();
    let mut random = noise();
    sounds.push(("noise".to_owned(), (0..samples).map(|_| random()).collect::<Vec<_>>()));
    sounds.push(("signs".to_owned(), (0..samples).map(|_| random().signum()).collect()));
    // As an s or an f in speech that has no more bandwidth than its rate: bursts of noise.
    let burst = |index: usize| ((index as f32 / samples as f32) * TAU * 2.0).sin().max(0.0).powi(2);
    sounds.push(("fricatives".to_owned(), (0..samples).map(|index| burst(index) * 2.0 * random()).collect()));
    let click = |index: usize| match index % 997 {
        0 => 1.0,
        1 => -1.0,
        400..403 => 0.9,
        _ => 0.05 * tone(0.7, index),
    };
    sounds.push(("clicks".to_owned(), (0..samples).map(click).collect()));
    for frequency in [0.5, 0.7, 0.8, 0.9, 0.95, 0.98] {
        sounds.push((format!("tone {frequency}"), (0..samples).map(|index| tone(frequency, index)).collect()));
        let bursts = |index: usize| if (index / 200).is_multiple_of(2) { tone(frequency, index) } else { 0.0 };
        sounds.push((format!("bursts {frequency}"), (0..samples).map(bursts).collect()));
    }
    let chirp = |index: usize| (index as f64 * PI * 0.485 * index as f64 / samples as f64).sin() as f32;
    sounds.push(("chirp".to_owned(), (0..samples).map(chirp).collect()));
    sounds
}

#[test]
fn no_peak_is_above_the_ceiling_not_even_between_samples() {
    let ceiling = loudness::amplitude(-1.0);
    for sample_rate_hz in [8_000, 48_000] {
        for (name, sound) in hostile(sample_rate_hz) {
            for gain in [1.0, 6.0] {
                let out = limit_at(sample_rate_hz, &sound, gain, ceiling, &[]);
                let peak = true_peak_dbtp(&out);
                assert!(peak <= -0.9, "{name} at {sample_rate_hz} Hz, times {gain}: {peak}");
            }
        }
    }
    for gain in [2.0, 4.0] {
        let out = limit(&voice(1.0), gain, ceiling, &[]);
        let peak = true_peak_dbtp(&out);
        assert!(peak <= -0.95, "{gain}: {peak}");
        assert!(gain <= 2.0 || peak > -1.3, "{gain}: {peak}");
    }
    // Every sample at 0.707 of the peak.
    let sound: Vec<f32> =
        (0..24_000).map(|index| ((index as f64).mul_add(0.5, 0.25) * PI).sin() as f32 * 1.2).collect();
    let peak = true_peak_dbtp(&limit(&sound, 1.0, ceiling, &[]));
    assert!((-1.05..-0.95).contains(&peak), "{peak}");
}

#[test]
fn rounded_to_16_bits_no_sample_is_above_the_ceiling() {
    for decibels in [-20.0, -3.0, -1.0, 0.0] {
        let ceiling = loudness::amplitude(decibels);
        for (name, sound) in hostile(24_000) {
            let mut bytes = bytes::BytesMut::new();
            s16le_into(&limit(&sound, 2.0, ceiling, &[]), &mut bytes);
            let samples = bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
            let largest = samples.map(|sample| f32::from(sample.unsigned_abs()) / 32_767.0).fold(0.0, f32::max);
            assert!(largest <= ceiling, "{name} below {decibels} dB: {largest} over {ceiling}");
        }
    }
}

#[test]
fn the_gain_comes_back_after_a_peak_and_glides() {
    let mut sound = vec![0.25f32; 24_000];
    sound[6_000] = 3.0;
    let out = limit(&sound, 1.0, 0.5, &[]);
    assert!(out[6_000] <= 0.5);
    assert_eq!(out[..5_000], sound[..5_000]);
    assert!((out[23_000] - 0.25).abs() < 1e-3, "{}", out[23_000]);
    let steps = out[5_900..5_999].windows(2).chain(out[6_010..].windows(2));
    let steepest = steps.map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
    assert!(steepest < 0.25 / 40.0, "{steepest}");
}

#[test]
fn whole_sound_reaches_its_target_though_it_is_limited() {
    let sound: Vec<f32> = voice(4.0).iter().map(|sample| sample * 0.25).collect();
    for target_lufs in [-30.0, -23.0, -16.0, -14.0] {
        let out = level_whole(&sound, RATE_HZ, target_lufs, 0.89, 1.0).expect("levelled");
        let found = loudness::measure(&out, RATE_HZ).expect("measured");
        assert!((found.integrated_lufs - target_lufs).abs() < 0.3, "{target_lufs}: {found:?}");
        assert!(found.true_peak_dbtp < -0.9, "{found:?}");
    }
    let half = level_whole(&sound, RATE_HZ, -23.0, 0.89, 0.5).expect("levelled");
    let found = loudness::measure(&half, RATE_HZ).expect("measured").integrated_lufs;
    assert!((found + 29.02).abs() < 0.3, "{found}");
    assert_eq!(level_whole(&[0.0; 24_000], RATE_HZ, -23.0, 0.89, 1.0), Ok(vec![0.0; 24_000]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_chunking_gives_the_same_samples(
        seed in any::<u64>(), cuts in proptest::collection::vec(1usize..3_000, 1..20), gain in 0.1f32..20.0)
    {
        let mut state = seed | 1;
        let noise = |sample: f32| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            sample + ((state >> 40) as f32 / (1u64 << 24) as f32 - 0.5) * 0.05
        };
        let sound: Vec<f32> = voice(0.4).into_iter().map(noise).collect();
        let whole = limit(&sound, gain, 0.89, &[]);
        prop_assert_eq!(whole.len(), sound.len());
        prop_assert_eq!(limit(&sound, gain, 0.89, &cuts), whole);
    }

    #[test]
    fn what_leaves_is_finite_and_below_the_ceiling(
        sound in proptest::collection::vec(prop_oneof![-2f32..2.0, -f32::MAX..f32::MAX], 0..3_000),
        gain in 0f32..100.0)
    {
        let out = limit(&sound, gain, 0.5, &[]);
        prop_assert_eq!(out.len(), sound.len());
        prop_assert!(out.iter().all(|sample| sample.abs() <= 0.500_01), "{:?}", out);
    }
}
