//! From one sample rate to another: whole sound, or piece by piece with the same result. Runs on the caller's thread.
//!
//! A symmetric FIR filter applied by overlap-save, with transforms of different length for the two rates: what is cut off
//! the longer spectrum, or added to the shorter one, lies where the filter lets nothing through.

mod plan;

use std::sync::Arc;

use realfft::num_complex::Complex;

use plan::Plan;

/// The rates that are converted, in Hz.
pub const RATES_HZ: std::ops::RangeInclusive<u32> = 8_000..=192_000;

/// Sound so large that sums over a window overflow is converted smaller and scaled back.
const LARGE_SCALE: f32 = 1.0 / (1u64 << 40) as f32;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Quality {
    /// Flat to 0.85 of the lower Nyquist frequency, aliases 105 dB down; streamed, sound comes out within 0.1 s.
    Fast,
    /// Flat to 0.92 of the lower Nyquist frequency, aliases below what float32 holds; within 0.2 s.
    #[default]
    High,
}

impl Quality {
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "fast" => Some(Self::Fast),
            "high" => Some(Self::High),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error(
    "sound cannot go from {from_hz} Hz to {to_hz} Hz: a sample rate must be from {} to {} Hz",
    RATES_HZ.start(),
    RATES_HZ.end()
)]
pub struct ResampleError {
    from_hz: u32,
    to_hz: u32,
}

/// Mono float32 at `to_hz`, in time with `pcm`, in high quality; round(samples × `to_hz` / `from_hz`) samples.
///
/// # Errors
/// A rate outside of `RATES_HZ`.
pub fn resample(pcm: &[f32], from_hz: u32, to_hz: u32) -> Result<Vec<f32>, ResampleError> {
    resample_with(pcm, from_hz, to_hz, Quality::High)
}

/// As `resample`, in the given quality. Finite samples stay finite.
///
/// # Errors
/// A rate outside of `RATES_HZ`.
pub fn resample_with(pcm: &[f32], from_hz: u32, to_hz: u32, quality: Quality) -> Result<Vec<f32>, ResampleError> {
    let mut resampler = Resampler::new(from_hz, to_hz, quality)?;
    let mut sound = Vec::with_capacity(resampler.output_samples(pcm.len() as u64) as usize);
    resampler.push(pcm, &mut sound);
    resampler.finish(&mut sound);
    Ok(sound)
}

/// One sound, piece by piece. However it is cut, the samples are those of `resample_with`.
pub struct Resampler {
    from_hz: u32,
    to_hz: u32,
    /// None: the rates are equal.
    blocks: Option<Blocks>,
    samples_in: u64,
    samples_out: u64,
}

impl Resampler {
    /// # Errors
    /// A rate outside of `RATES_HZ`.
    pub fn new(from_hz: u32, to_hz: u32, quality: Quality) -> Result<Self, ResampleError> {
        if !RATES_HZ.contains(&from_hz) || !RATES_HZ.contains(&to_hz) {
            return Err(ResampleError { from_hz, to_hz });
        }
        let blocks = (from_hz != to_hz).then(|| Blocks::new(Plan::shared(from_hz, to_hz, quality)));
        Ok(Self { from_hz, to_hz, blocks, samples_in: 0, samples_out: 0 })
    }

    /// Takes the next samples and puts what is finished behind what `sound` holds.
    pub fn push(&mut self, pcm: &[f32], sound: &mut Vec<f32>) {
        self.samples_in += pcm.len() as u64;
        let before = sound.len();
        match &mut self.blocks {
            Some(blocks) => blocks.push(pcm, sound),
            None => sound.extend_from_slice(pcm),
        }
        self.samples_out += (sound.len() - before) as u64;
    }

    /// Puts the rest behind what `sound` holds: altogether round(samples × `to_hz` / `from_hz`). The next `push` starts
    /// another sound.
    pub fn finish(&mut self, sound: &mut Vec<f32>) {
        let missing = self.output_samples(self.samples_in).saturating_sub(self.samples_out) as usize;
        if let Some(blocks) = &mut self.blocks {
            let end = sound.len() + missing;
            while sound.len() < end {
                blocks.pad(sound);
            }
            sound.truncate(end);
            blocks.reset();
        }
        (self.samples_in, self.samples_out) = (0, 0);
    }

    /// How many samples come out for `samples` altogether.
    #[must_use]
    pub fn output_samples(&self, samples: u64) -> u64 {
        let (samples, from_hz, to_hz) = (u128::from(samples), u128::from(self.from_hz), u128::from(self.to_hz));
        ((2 * samples * to_hz + from_hz) / (2 * from_hz)) as u64
    }
}

/// The window that moves over the input, and what its transforms need.
struct Blocks {
    plan: Arc<Plan>,
    window: Vec<f32>,
    filled: usize,
    /// Either side of the transforms. They use their input as scratch, so the window itself is never given to them.
    time: Vec<f32>,
    spectrum: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
}

impl Blocks {
    fn new(plan: Arc<Plan>) -> Self {
        let longer = plan.window_in.max(plan.window_out);
        let scratch = plan.forward.get_scratch_len().max(plan.inverse.get_scratch_len());
        Self {
            window: vec![0.0; plan.window_in],
            filled: plan.margin_in,
            time: vec![0.0; longer],
            spectrum: vec![Complex::default(); longer / 2 + 1],
            scratch: vec![Complex::default(); scratch],
            plan,
        }
    }

    fn push(&mut self, mut pcm: &[f32], sound: &mut Vec<f32>) {
        while !pcm.is_empty() {
            let (now, later) = pcm.split_at(pcm.len().min(self.window.len() - self.filled));
            self.window[self.filled..][..now.len()].copy_from_slice(now);
            self.filled += now.len();
            pcm = later;
            if self.filled == self.window.len() {
                self.convert(sound);
            }
        }
    }

    fn pad(&mut self, sound: &mut Vec<f32>) {
        self.window[self.filled..].fill(0.0);
        self.convert(sound);
    }

    fn reset(&mut self) {
        self.window.fill(0.0);
        self.filled = self.plan.margin_in;
    }

    /// One full window; then it moves on by a hop.
    fn convert(&mut self, sound: &mut Vec<f32>) {
        let start = sound.len();
        self.transform(1.0, sound);
        if !peak(&sound[start..]).is_finite() {
            // A sum of very large samples overflowed.
            sound.truncate(start);
            self.transform(LARGE_SCALE, sound);
            let back = |sample: &mut f32| *sample = (*sample / LARGE_SCALE).clamp(f32::MIN, f32::MAX);
            sound[start..].iter_mut().for_each(back);
        }
        let overlap = 2 * self.plan.margin_in;
        self.window.copy_within(self.plan.window_in - overlap.., 0);
        self.filled = overlap;
    }

    fn transform(&mut self, scale: f32, sound: &mut Vec<f32>) {
        let plan = &*self.plan;
        let input = &mut self.time[..plan.window_in];
        input.copy_from_slice(&self.window);
        if scale != 1.0 {
            input.iter_mut().for_each(|sample| *sample *= scale);
        }
        let spectrum = &mut self.spectrum[..=plan.window_in / 2];
        let forward = plan.forward.process_with_scratch(input, spectrum, &mut self.scratch);

        let bins = plan.response.len();
        let spectrum = &mut self.spectrum[..=plan.window_out / 2];
        for (bin, gain) in spectrum.iter_mut().zip(&plan.response) {
            *bin *= *gain;
        }
        spectrum[bins..].fill(Complex::default());
        spectrum[0].im = 0.0;
        let output = &mut self.time[..plan.window_out];
        let inverse = plan.inverse.process_with_scratch(spectrum, output, &mut self.scratch);
        // They only refuse buffers of the wrong length, or a spectrum that no real signal has.
        debug_assert!(forward.is_ok() && inverse.is_ok());
        sound.extend_from_slice(&output[plan.margin_out..][..plan.hop_out]);
    }
}

/// The largest magnitude, infinity or NaN if there is one. By their bits, whose order is that of the magnitudes: unlike a
/// maximum of floats it becomes vector code.
pub fn peak(sound: &[f32]) -> f32 {
    f32::from_bits(sound.iter().fold(0i32, |peak, sample| peak.max(sample.abs().to_bits() as i32)) as u32)
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use proptest::prelude::*;

    use super::*;

    fn tone(frequency_hz: f64, sample_rate_hz: u32, samples: usize) -> Vec<f32> {
        (0..samples)
            .map(|index| (0.5 * (TAU * frequency_hz * index as f64 / f64::from(sample_rate_hz)).sin()) as f32)
            .collect()
    }

    /// Energy of `expected` over that of the difference, away from the ends, where the filter meets silence.
    fn signal_to_noise_db(actual: &[f32], expected: &[f32]) -> f64 {
        let inner = 2048..actual.len() - 2048;
        let (mut signal, mut noise) = (0.0, 0.0);
        for (actual, expected) in actual[inner.clone()].iter().zip(&expected[inner]) {
            signal += f64::from(*expected).powi(2);
            noise += f64::from(actual - expected).powi(2);
        }
        10.0 * (signal / noise).log10()
    }

    #[test]
    fn a_tone_keeps_its_pitch_level_and_place_in_time() {
        for (from_hz, to_hz) in [
            (22_050, 24_000),
            (24_000, 22_050),
            (44_100, 24_000),
            (16_000, 24_000),
            (24_000, 48_000),
            (48_000, 44_100),
            (8_000, 192_000),
            (192_000, 8_000),
            (44_100, 44_101),
        ] {
            let input = tone(1_000.0, from_hz, 4 * from_hz as usize);
            for (quality, expected_db) in [(Quality::High, 125.0), (Quality::Fast, 100.0)] {
                let output = resample_with(&input, from_hz, to_hz, quality).expect("rates are good");
                let noise_db = signal_to_noise_db(&output, &tone(1_000.0, to_hz, output.len()));
                assert!(noise_db > expected_db, "{from_hz} to {to_hz}, {quality:?}: {noise_db:.1} dB");
            }
        }
    }

    #[test]
    fn the_passband_is_flat_to_nine_tenths() {
        for (from_hz, to_hz) in [(44_100, 24_000), (24_000, 48_000), (24_000, 16_000)] {
            let frequency_hz = 0.9 * f64::from(from_hz.min(to_hz)) / 2.0;
            let output =
                resample(&tone(frequency_hz, from_hz, from_hz as usize), from_hz, to_hz).expect("rates are good");
            let noise_db = signal_to_noise_db(&output, &tone(frequency_hz, to_hz, output.len()));
            assert!(noise_db > 120.0, "{from_hz} to {to_hz}: {noise_db:.1} dB");
        }
    }

    #[test]
    fn lengths_are_rounded_to_nearest() {
        for (samples, from_hz, to_hz, expected) in [
            (1, 24_000, 48_000, 2),
            (1, 48_000, 24_000, 1),
            (10, 22_050, 24_000, 11),
            (1_023, 22_050, 24_000, 1_113),
            (5_000, 44_100, 24_000, 2_721),
            (24_000, 24_000, 24_000, 24_000),
            (0, 22_050, 24_000, 0),
        ] {
            let output = resample(&vec![0.25; samples], from_hz, to_hz).expect("rates are good");
            assert_eq!(output.len(), expected, "{samples} from {from_hz} to {to_hz}");
        }
    }

    #[test]
    fn what_is_above_the_new_band_does_not_fold_back() {
        for (quality, limit) in [(Quality::High, 2.5e-7), (Quality::Fast, 5e-6)] {
            for frequency_hz in [12_010.0, 12_500.0, 15_000.0, 21_000.0] {
                let input = tone(frequency_hz, 44_100, 44_100);
                let output = resample_with(&input, 44_100, 24_000, quality).expect("rates are good");
                let peak = peak(&output[2048..output.len() - 2048]);
                assert!(peak < limit, "{frequency_hz} Hz, {quality:?}: {peak}");
            }
        }
    }

    #[test]
    fn a_rate_out_of_range_is_an_error() {
        for (from_hz, to_hz) in [(0, 24_000), (24_000, 0), (7_999, 24_000), (24_000, 192_001)] {
            let error = resample(&[0.0], from_hz, to_hz).expect_err("out of range");
            assert!(error.to_string().contains("8000 to 192000 Hz"), "{error}");
        }
    }

    #[test]
    fn the_largest_samples_stay_finite() {
        let input: Vec<f32> = (0..30_000).map(|index| if index / 7 % 2 == 0 { f32::MAX } else { f32::MIN }).collect();
        for to_hz in [8_000, 16_000, 48_000] {
            let output = resample(&input, 24_000, to_hz).expect("rates are good");
            assert!(output.iter().all(|sample| sample.is_finite()));
            assert!(peak(&output) > f32::MAX / 4.0);
        }
    }

    #[test]
    fn after_the_end_another_sound_starts_afresh() {
        let mut resampler = Resampler::new(24_000, 16_000, Quality::High).expect("rates are good");
        let mut sounds = [Vec::new(), Vec::new()];
        for sound in &mut sounds {
            resampler.push(&tone(440.0, 24_000, 5_000), sound);
            resampler.finish(sound);
        }
        assert_eq!(sounds[0], sounds[1]);
    }

    const RATES: [u32; 12] =
        [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000, 192_000];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_stream_is_the_whole_however_it_is_cut(
            input in prop::collection::vec(-1.0f32..1.0, 0..9_000),
            cuts in prop::collection::vec(0usize..4_000, 0..12),
            rates in (prop::sample::select(&RATES[..]), prop::sample::select(&RATES[..])),
            fast: bool,
        ) {
            let quality = if fast { Quality::Fast } else { Quality::High };
            let whole = resample_with(&input, rates.0, rates.1, quality).expect("rates are good");
            let mut resampler = Resampler::new(rates.0, rates.1, quality).expect("rates are good");
            let mut streamed = Vec::new();
            let mut rest = &input[..];
            for cut in cuts {
                let (piece, later) = rest.split_at(cut.min(rest.len()));
                resampler.push(piece, &mut streamed);
                rest = later;
            }
            resampler.push(rest, &mut streamed);
            resampler.finish(&mut streamed);
            let samples = (input.len() as f64 * f64::from(rates.1) / f64::from(rates.0)).round() as usize;
            prop_assert_eq!(whole.len(), samples);
            prop_assert!(streamed == whole);
        }

        #[test]
        fn finite_samples_stay_finite(
            input in prop::collection::vec(prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::ZERO, 1..3_000),
            rates in (prop::sample::select(&RATES[..]), prop::sample::select(&RATES[..])),
        ) {
            let output = resample(&input, rates.0, rates.1).expect("rates are good");
            prop_assert!(output.iter().all(|sample| sample.is_finite()));
        }
    }
}
