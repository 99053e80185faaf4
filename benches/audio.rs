//! Samples in a second through the resampler, beside rubato's FFT and sinc resamplers at about the same quality; into
//! each format, and back.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ishowtts::audio::{
    decode::{Limits, decode},
    encode::{Format, encode_file},
    resample::{Quality, resample_with},
};
use rubato::{
    Async, Fft, FixedAsync, FixedSync, Resampler, SincInterpolationParameters, SincInterpolationType, WindowFunction,
    audioadapter_buffers::direct::SequentialSlice,
};

const SECONDS: u32 = 10;
/// Of the files.
const RATE_HZ: u32 = 24_000;
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

/// Harmonics of a gliding voice with noise and pauses: what codecs meet here.
fn voice() -> Vec<f32> {
    let mut phase = 0.0f32;
    let sample = |(index, noise): (usize, f32)| {
        let time_s = index as f32 / RATE_HZ as f32;
        phase = (phase + (120.0 + 30.0 * (4.4 * time_s).sin()) / RATE_HZ as f32).fract();
        let harmonics = (1..24).map(|k| (std::f32::consts::TAU * phase * k as f32).sin() / k as f32);
        let speaks = (8.2 * time_s).sin() > -0.3;
        if speaks { 0.2 * (harmonics.sum::<f32>() + 0.2 * noise) } else { 0.0 }
    };
    noise(SECONDS * RATE_HZ).into_iter().enumerate().map(sample).collect()
}

fn files(criterion: &mut Criterion) {
    let sound = voice();
    let mut group = criterion.benchmark_group("files");
    group.sample_size(20).throughput(Throughput::Elements(sound.len() as u64));
    for format in Format::ALL {
        let spec = (*format).into();
        let file = encode_file([&sound[..]], RATE_HZ, &spec).expect("it has the rate");
        group.bench_with_input(BenchmarkId::new("encode", format.name()), &sound, |bencher, sound| {
            bencher.iter(|| encode_file([black_box(&sound[..])], RATE_HZ, &spec));
        });
        // Without a header there is nothing to decode.
        if decode(&file, &Limits::default()).is_ok() {
            group.bench_with_input(BenchmarkId::new("decode", format.name()), &file, |bencher, file| {
                bencher.iter(|| decode(black_box(file), &Limits::default()));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, resampling, files);
criterion_main!(benches);
