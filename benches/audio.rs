//! Samples in a second through the resampler, beside rubato's FFT and sinc resamplers at about the same quality.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ishowtts::audio::resample::{Quality, resample_with};
use rubato::{
    Async, Fft, FixedAsync, FixedSync, Resampler, SincInterpolationParameters, SincInterpolationType, WindowFunction,
    audioadapter_buffers::direct::SequentialSlice,
};

const SECONDS: u32 = 10;
const PAIRS_HZ: [(u32, u32); 4] = [(44_100, 24_000), (48_000, 24_000), (24_000, 48_000), (24_000, 16_000)];

/// Noise, the same in every run: what a resampler must work hardest for.
fn noise(samples: u32) -> Vec<f32> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..samples).map(|_| next()).collect()
}

fn resampling(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resample");
    group.sample_size(20);
    for (from_hz, to_hz) in PAIRS_HZ {
        let sound = noise(SECONDS * from_hz);
        let pair = format!("{from_hz}-{to_hz}");
        group.throughput(Throughput::Elements(sound.len() as u64));
        for (name, quality) in [("high", Quality::High), ("fast", Quality::Fast)] {
            group.bench_with_input(BenchmarkId::new(name, &pair), &sound, |bencher, sound| {
                bencher.iter(|| resample_with(black_box(sound), from_hz, to_hz, quality));
            });
        }
        for chunk_frames in [1024, 4096] {
            let resampler = Fft::<f32>::new_custom(
                from_hz as usize,
                to_hz as usize,
                chunk_frames,
                1,
                1,
                WindowFunction::BlackmanHarris2,
                FixedSync::Both,
            );
            let mut resampler = resampler.expect("rates are good");
            let name = format!("rubato-fft-{chunk_frames}");
            group.bench_with_input(BenchmarkId::new(name, &pair), &sound, |bencher, sound| {
                bencher.iter(|| rubato(&mut resampler, sound));
            });
        }
        let parameters = SincInterpolationParameters::new(256, WindowFunction::BlackmanHarris2)
            .interpolation(SincInterpolationType::Linear)
            .oversampling_factor(256);
        let ratio = f64::from(to_hz) / f64::from(from_hz);
        let resampler = Async::<f32>::new_sinc(ratio, 1.1, &parameters, 1024, 1, FixedAsync::Input);
        let mut resampler = resampler.expect("rates are good");
        group.bench_with_input(BenchmarkId::new("rubato-sinc-256", &pair), &sound, |bencher, sound| {
            bencher.iter(|| rubato(&mut resampler, sound));
        });
    }
    group.finish();
}

fn rubato(resampler: &mut impl Resampler<f32>, sound: &[f32]) -> Vec<f32> {
    resampler.reset();
    let input = SequentialSlice::new(black_box(sound), 1, sound.len()).expect("the length is right");
    resampler.process_all(&input, sound.len(), None).expect("the buffers are right").take_data()
}

criterion_group!(benches, resampling);
criterion_main!(benches);
