//! Another voice out of the sound of one: higher or lower, from a smaller or a larger mouth, as long as it was. Whole
//! sound, on the caller's thread.

use std::ops::RangeInclusive;

use super::{
    resample::{self, ResampleError},
    stretch::{self, Stretch, StretchError},
};

pub const PITCH_SEMITONES: RangeInclusive<f64> = stretch::SEMITONES;
/// Mouths of a child and of a tall man are about this far apart.
pub const FORMANT_SEMITONES: RangeInclusive<f64> = -6.0..=6.0;

/// Resampling looks at the ratio of two rates only: these are far from what it refuses, whatever the sound's own is, and
/// moved by hundredths, so that its filters stay short.
const PART_HZ: f64 = 240.0;
const PARTS: f64 = 100.0;

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Shape {
    pub pitch_semitones: f64,
    /// How far the resonances of the mouth are moved.
    pub formant_semitones: f64,
}

impl Shape {
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ShapeError {
    #[error(transparent)]
    Stretch(#[from] StretchError),
    #[error("formant_semitones must be from -6 to 6, not {0}")]
    Formant(f64),
    #[error("{0}")]
    Resample(String),
}

impl From<ResampleError> for ShapeError {
    fn from(error: ResampleError) -> Self {
        Self::Resample(error.to_string())
    }
}

/// As many samples as `pcm` has; finite ones stay finite.
///
/// # Errors
/// A shape or a rate that is out of range.
pub fn shape(pcm: &[f32], sample_rate_hz: u32, shape: Shape) -> Result<Vec<f32>, ShapeError> {
    if !FORMANT_SEMITONES.contains(&shape.formant_semitones) {
        return Err(ShapeError::Formant(shape.formant_semitones));
    }
    let parts = (PARTS * (shape.formant_semitones / 12.0).exp2()).round();
    if parts == PARTS {
        return Ok(stretch::stretch(pcm, sample_rate_hz, plain(shape.pitch_semitones))?);
    }
    // Played faster, everything is higher; then pitch and tempo are taken back, which leaves the resonances.
    let factor = parts / PARTS;
    let played = resample::resample(pcm, (PART_HZ * parts) as u32, (PART_HZ * PARTS) as u32)?;
    let pitch_semitones = shape.pitch_semitones - 12.0 * factor.log2();
    let tempo = Stretch { speed: factor.recip(), pitch_semitones: 0.0 };
    let mut sound = if stretch::SEMITONES.contains(&pitch_semitones) {
        stretch::stretch(&played, sample_rate_hz, Stretch { pitch_semitones, ..tempo })?
    } else {
        // Further than one step goes: both ends of the range together.
        let half = pitch_semitones / 2.0;
        let halfway = stretch::stretch(&played, sample_rate_hz, plain(half))?;
        stretch::stretch(&halfway, sample_rate_hz, Stretch { pitch_semitones: half, ..tempo })?
    };
    sound.resize(pcm.len(), 0.0);
    Ok(sound)
}

fn plain(pitch_semitones: f64) -> Stretch {
    Stretch { speed: 1.0, pitch_semitones }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use proptest::prelude::*;

    use super::*;

    const RATE_HZ: u32 = 24_000;

    /// A buzz of 120 Hz through one resonance.
    fn vowel(resonance_hz: f64) -> Vec<f32> {
        let (mut one, mut two) = (0.0, 0.0);
        let radius = (-std::f64::consts::PI * 80.0 / f64::from(RATE_HZ)).exp();
        let turn = 2.0 * radius * (TAU * resonance_hz / f64::from(RATE_HZ)).cos();
        (0..RATE_HZ)
            .map(|index| {
                let pulse = if index % 200 == 0 { 0.2 } else { 0.0 };
                let sample = pulse + turn * one - radius * radius * two;
                (two, one) = (one, sample);
                sample as f32
            })
            .collect()
    }

    fn strength(sound: &[f32], frequency_hz: f64) -> f64 {
        let (mut sine, mut cosine) = (0.0, 0.0);
        for (index, sample) in sound.iter().enumerate() {
            let angle = TAU * frequency_hz * index as f64 / f64::from(RATE_HZ);
            sine += angle.sin() * f64::from(*sample);
            cosine += angle.cos() * f64::from(*sample);
        }
        f64::hypot(sine, cosine)
    }

    /// The harmonic of `pitch_hz` that is strongest.
    fn resonance(sound: &[f32], pitch_hz: f64) -> f64 {
        let middle = &sound[4_800..19_200];
        let harmonics = (2..30).map(|n| f64::from(n) * pitch_hz);
        harmonics.max_by(|a, b| strength(middle, *a).total_cmp(&strength(middle, *b))).expect("some")
    }

    #[test]
    fn the_resonance_moves_and_the_pitch_stays() {
        let sound = vowel(1_200.0);
        assert_eq!(resonance(&sound, 120.0), 1_200.0);
        for (semitones, expected_hz) in [(4.0, 1_511.0), (-4.0, 952.0)] {
            let shape = Shape { pitch_semitones: 0.0, formant_semitones: semitones };
            let shaped = super::shape(&sound, RATE_HZ, shape).expect("shaped");
            assert_eq!(shaped.len(), sound.len());
            let found_hz = resonance(&shaped, 120.0);
            assert!((found_hz - expected_hz).abs() <= 120.0, "{semitones}: {found_hz} Hz");
            // Between the harmonics there is little: the pitch is what it was.
            let middle = &shaped[4_800..19_200];
            assert!(strength(middle, found_hz) > 5.0 * strength(middle, found_hz + 60.0), "{semitones}");
        }
    }

    #[test]
    fn pitch_alone_is_what_stretching_does() {
        let sound = vowel(900.0);
        let shaped = shape(&sound, RATE_HZ, Shape { pitch_semitones: 3.0, formant_semitones: 0.0 }).expect("shaped");
        assert_eq!(shaped, stretch::stretch(&sound, RATE_HZ, plain(3.0)).expect("stretched"));
        assert_eq!(shape(&sound, RATE_HZ, Shape::default()).expect("as it is"), sound);
    }

    #[test]
    fn out_of_range_is_refused() {
        let refused = |pitch_semitones, formant_semitones| {
            shape(&[0.1; 100], RATE_HZ, Shape { pitch_semitones, formant_semitones }).expect_err("refused").to_string()
        };
        assert!(refused(12.5, 0.0).contains("pitch"));
        assert!(refused(0.0, 6.5).contains("formant"));
        assert!(refused(f64::NAN, 0.0).contains("pitch"));
        assert!(refused(0.0, f64::NAN).contains("formant"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn lengths_are_kept(
            samples in 0usize..6_000,
            pitch_semitones in -12.0f64..=12.0,
            formant_semitones in -6.0f64..=6.0,
            rate_hz in prop_oneof![Just(24_000u32), Just(22_050), Just(8_000), Just(192_000), 8_000u32..48_000],
        ) {
            let sound: Vec<f32> = (0..samples).map(|index| (index as f32 * 0.05).sin()).collect();
            let shaped = shape(&sound, rate_hz, Shape { pitch_semitones, formant_semitones }).expect("shaped");
            prop_assert_eq!(shaped.len(), samples);
            prop_assert!(shaped.iter().all(|sample| sample.is_finite()));
        }
    }
}
