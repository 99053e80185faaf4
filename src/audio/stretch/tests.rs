use std::f64::consts::TAU;

use proptest::prelude::*;

use super::*;

const RATE_HZ: u32 = 24_000;

fn how(speed: f64, pitch_semitones: f64) -> Stretch {
    Stretch { speed, pitch_semitones }
}

/// A vowel: pulses through resonances at 700 and 1,200 Hz.
fn vowel(fundamental_hz: f64, samples: usize) -> Vec<f32> {
    let mut sound = vec![0.0f64; samples];
    let mut phase = 0.0;
    for sample in &mut sound {
        phase += fundamental_hz / f64::from(RATE_HZ);
        if phase >= 1.0 {
            phase -= 1.0;
            *sample = 1.0;
        }
    }
    for (resonance_hz, width_hz) in [(700.0, 80.0), (1_200.0, 90.0)] {
        let radius = (-PI * width_hz / f64::from(RATE_HZ)).exp();
        let angle = TAU * resonance_hz / f64::from(RATE_HZ);
        let (mut last, mut before) = (0.0, 0.0);
        for sample in &mut sound {
            let next = *sample * (1.0 - radius) + 2.0 * radius * angle.cos() * last - radius * radius * before;
            (before, last) = (last, next);
            *sample = next;
        }
    }
    let peak = sound.iter().fold(0.0f64, |peak, sample| peak.max(sample.abs()));
    sound.iter().map(|sample| (0.5 * sample / peak) as f32).collect()
}

fn fundamental_hz(sound: &[f32]) -> f64 {
    let marks = pitch::marks(sound, RATE_HZ);
    let inner = &marks[marks.len() / 4..3 * marks.len() / 4];
    f64::from(RATE_HZ) * inner.len() as f64 / inner.iter().map(|mark| mark.after).sum::<f64>()
}

/// The power in a band that is wide enough to hold harmonics of any voice.
fn band_power(sound: &[f32], band_hz: std::ops::Range<u32>) -> f64 {
    let inner = &sound[sound.len() / 2 - 2_500..][..5_000];
    let power = |frequency_hz: u32| {
        let (mut sine, mut cosine) = (0.0, 0.0);
        for (index, sample) in inner.iter().enumerate() {
            let angle = TAU * f64::from(frequency_hz) * index as f64 / f64::from(RATE_HZ);
            let windowed = f64::from(*sample) * (PI * index as f64 / inner.len() as f64).sin().powi(2);
            sine += angle.sin() * windowed;
            cosine += angle.cos() * windowed;
        }
        (sine * sine + cosine * cosine) / (inner.len() as f64).powi(2)
    };
    band_hz.step_by(8).map(power).sum()
}

fn rms(sound: &[f32]) -> f64 {
    (sound.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / sound.len() as f64).sqrt()
}

#[test]
fn a_vowel_keeps_its_pitch_at_any_speed() {
    let sound = vowel(120.0, 24_000);
    for speed in [0.25, 0.5, 0.8, 1.25, 2.0, 4.0] {
        let output = stretch(&sound, RATE_HZ, how(speed, 0.0)).expect("in range");
        assert_eq!(output.len(), (24_000.0 / speed).round() as usize);
        let hz = fundamental_hz(&output);
        assert!((hz / 120.0 - 1.0).abs() < 0.01, "{speed}: {hz} Hz");
        assert!((rms(&output) / rms(&sound) - 1.0).abs() < 0.1, "{speed}: {}", rms(&output) / rms(&sound));
    }
}

#[test]
fn a_vowel_keeps_its_resonances_at_any_pitch() {
    let sound = vowel(120.0, 24_000);
    for semitones in [-12.0, -5.0, -1.0, 1.0, 5.0, 12.0] {
        let output = stretch(&sound, RATE_HZ, how(1.0, semitones)).expect("in range");
        assert_eq!(output.len(), sound.len());
        let expected_hz = 120.0 * (semitones / 12.0f64).exp2();
        let hz = fundamental_hz(&output);
        assert!((hz / expected_hz - 1.0).abs() < 0.01, "{semitones}: {hz} Hz");
        let level = rms(&output) / rms(&sound);
        assert!((0.7..1.4).contains(&level), "{semitones}: {level}");
        // A voice that was resampled by an octave would have 20 dB more or less beside its resonances.
        let beside = |sound: &[f32]| band_power(sound, 1_700..2_900) / band_power(sound, 500..1_400);
        let change_db = 10.0 * (beside(&output) / beside(&sound)).log10();
        assert!(change_db.abs() < 5.0, "{semitones}: {change_db:.1} dB");
    }
}

#[test]
fn nothing_asked_nothing_changed() {
    let sound = vowel(120.0, 5_000);
    assert!(stretch(&sound, RATE_HZ, how(1.0, 0.0)).expect("in range") == sound);
    assert!(stretch(&[], RATE_HZ, how(2.0, 3.0)).expect("in range").is_empty());
}

#[test]
fn noise_keeps_its_level() {
    let mut state = 1u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    });
    let noise: Vec<f32> = noise.take(24_000).collect();
    for speed in [0.5, 1.5] {
        let output = stretch(&noise, RATE_HZ, how(speed, 0.0)).expect("in range");
        let level = rms(&output) / rms(&noise);
        assert!((0.8..1.2).contains(&level), "{speed}: {level}");
    }
}

#[test]
fn what_is_out_of_range_is_an_error() {
    for wrong in [how(0.2, 0.0), how(4.1, 0.0), how(f64::NAN, 0.0), how(1.0, 13.0), how(1.0, f64::NAN)] {
        assert!(stretch(&[0.0], RATE_HZ, wrong).is_err(), "{wrong:?}");
    }
    assert!(stretch(&[0.0], 100, how(2.0, 0.0)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn finite_sound_stays_finite_and_lengths_are_exact(
        sound in prop::collection::vec(prop::num::f32::NORMAL | prop::num::f32::ZERO, 1..3_000),
        quiet: bool,
        speed in 0.25f64..4.0,
        semitones in -12.0f64..12.0,
        rate_hz in prop::sample::select(&[8_000u32, 24_000, 48_000][..]),
    ) {
        let sound: Vec<f32> = sound.iter().map(|sample| if quiet { sample.sin() } else { *sample }).collect();
        let output = stretch(&sound, rate_hz, how(speed, semitones)).expect("in range");
        prop_assert_eq!(output.len(), (sound.len() as f64 / speed).round() as usize);
        prop_assert!(output.iter().all(|sample| sample.is_finite()));
    }
}
