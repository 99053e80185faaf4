//! How loud sound is, after EBU R 128 / ITU-R BS.1770-4, and what makes it as loud as it should be. Runs on the caller's
//! thread.

use ebur128::{EbuR128, Mode};

/// What speech is brought to unless a request wants otherwise: AES77-2023 recommends it for speech that is streamed.
pub const TARGET_LUFS: f64 = -18.0;
/// The ceiling that goes with it: room for what lossy codecs and resampling add.
pub const TRUE_PEAK_DBTP: f64 = -1.0;
/// A measured gain moves sound no further than this, up or down: what is that far off is not speech at its usual level.
pub const MAX_GAIN_DB: f64 = 20.0;

/// Beyond this float sound is not measured but clipped, so that no sum overflows: 200 dB over full scale.
const LARGEST: f32 = 1e10;
const BLOCK: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loudness {
    /// Gated programme loudness; −∞ for silence, and for sound shorter than one block of 0.4 s.
    pub integrated_lufs: f64,
    /// The highest peak between and on the samples, over full scale; −∞ for silence.
    pub true_peak_dbtp: f64,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("loudness cannot be measured at {sample_rate_hz} Hz: a sample rate must be from 8000 to 192000 Hz")]
pub struct LoudnessError {
    sample_rate_hz: u32,
}

/// Of mono float32, as one channel: a full-scale sine of 997 Hz has −3.01 LUFS.
///
/// # Errors
/// A rate outside of `resample::RATES_HZ`.
pub fn measure(pcm: &[f32], sample_rate_hz: u32) -> Result<Loudness, LoudnessError> {
    let error = |_| LoudnessError { sample_rate_hz };
    if !super::resample::RATES_HZ.contains(&sample_rate_hz) {
        return Err(LoudnessError { sample_rate_hz });
    }
    let mut meter = EbuR128::new(1, sample_rate_hz, Mode::I | Mode::TRUE_PEAK).map_err(error)?;
    let mut clipped = [0.0; BLOCK];
    for block in pcm.chunks(BLOCK) {
        let clipped = &mut clipped[..block.len()];
        for (to, from) in clipped.iter_mut().zip(block) {
            *to = from.clamp(-LARGEST, LARGEST);
        }
        meter.add_frames_f32(clipped).map_err(error)?;
    }
    let true_peak = meter.true_peak(0).map_err(error)?;
    Ok(Loudness { integrated_lufs: meter.loudness_global().map_err(error)?, true_peak_dbtp: 20.0 * true_peak.log10() })
}

/// The factor that brings sound of `measured_lufs` to `target_lufs`; 1 for what has no loudness.
#[must_use]
pub fn gain(measured_lufs: f64, target_lufs: f64) -> f32 {
    if !measured_lufs.is_finite() {
        return 1.0;
    }
    amplitude((target_lufs - measured_lufs).clamp(-MAX_GAIN_DB, MAX_GAIN_DB))
}

/// The factor that `decibels` are.
#[must_use]
pub fn amplitude(decibels: f64) -> f32 {
    10f64.powf(decibels / 20.0) as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sine(frequency_hz: f64, amplitude: f64, sample_rate_hz: u32, seconds: f64) -> Vec<f32> {
        let step = std::f64::consts::TAU * frequency_hz / f64::from(sample_rate_hz);
        let samples = (seconds * f64::from(sample_rate_hz)) as usize;
        (0..samples).map(|index| ((index as f64 * step).sin() * amplitude) as f32).collect()
    }

    /// EBU Tech 3341, test signals 1 and 2: a sine of 1 kHz at −23 and −33 dBFS has that loudness in two channels, so
    /// 3.01 LU less in one.
    #[test]
    fn reference_signals_have_their_loudness() {
        for sample_rate_hz in [8_000, 22_050, 24_000, 48_000, 96_000] {
            for level_db in [-23.0, -33.0] {
                let sound = sine(1000.0, 10f64.powf(level_db / 20.0), sample_rate_hz, 5.0);
                let loudness = measure(&sound, sample_rate_hz).expect("measured");
                let expected = level_db - 3.01;
                assert!((loudness.integrated_lufs - expected).abs() < 0.1, "{sample_rate_hz}: {loudness:?}");
                assert!((loudness.true_peak_dbtp - level_db).abs() < 0.2, "{sample_rate_hz}: {loudness:?}");
            }
        }
    }

    #[test]
    fn a_peak_between_samples_is_seen() {
        // A quarter of the sample rate, 45 degrees off: every sample is at 0.707 of the peak.
        let sound: Vec<f32> =
            (0..24_000).map(|index| (index as f32).mul_add(0.5, 0.25) * std::f32::consts::PI).map(f32::sin).collect();
        let loudness = measure(&sound, 24_000).expect("measured");
        assert!(loudness.true_peak_dbtp > -0.5, "{loudness:?}");
    }

    #[test]
    fn the_gain_reaches_the_target_and_is_bounded() {
        let sound = sine(1000.0, 0.02, 24_000, 3.0);
        let before = measure(&sound, 24_000).expect("measured").integrated_lufs;
        let factor = gain(before, TARGET_LUFS);
        let louder: Vec<f32> = sound.iter().map(|sample| sample * factor).collect();
        let after = measure(&louder, 24_000).expect("measured").integrated_lufs;
        assert!((after - TARGET_LUFS).abs() < 0.05, "{before} {after}");
        assert_eq!(gain(f64::NEG_INFINITY, TARGET_LUFS), 1.0);
        assert_eq!(gain(-90.0, TARGET_LUFS), amplitude(MAX_GAIN_DB));
        assert_eq!(gain(20.0, TARGET_LUFS), amplitude(-MAX_GAIN_DB));
    }

    #[test]
    fn silence_short_sound_and_wrong_rates() {
        for sound in [vec![], vec![0.0; 24_000], sine(1000.0, 0.5, 24_000, 0.3)] {
            assert_eq!(measure(&sound, 24_000).expect("measured").integrated_lufs, f64::NEG_INFINITY);
        }
        for rate in [0, 7_999, 192_001] {
            assert_eq!(measure(&[0.0], rate), Err(LoudnessError { sample_rate_hz: rate }));
        }
    }

    proptest! {
        #[test]
        fn no_finite_sound_has_no_number(sound in proptest::collection::vec(
            prop_oneof![-2f32..2.0, -f32::MAX..f32::MAX], 0..30_000), rate in 8_000u32..50_000)
        {
            let loudness = measure(&sound, rate).expect("measured");
            prop_assert!(!loudness.integrated_lufs.is_nan() && loudness.integrated_lufs < f64::INFINITY);
            prop_assert!(!loudness.true_peak_dbtp.is_nan() && loudness.true_peak_dbtp < f64::INFINITY);
        }
    }
}
