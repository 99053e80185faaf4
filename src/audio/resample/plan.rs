//! What converting between two rates needs: block lengths, filter and transforms. Worked out once for each pair of rates and
//! kept, as it costs as much as a second of sound. Any thread.

use std::{f64::consts::PI, sync::Arc};

use parking_lot::Mutex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use super::Quality;

/// More pairs of rates than a server sees at a time. The least recently used goes first.
const KEPT_PLANS: usize = 16;

static PLANS: Mutex<Vec<(Key, Arc<Plan>)>> = Mutex::new(Vec::new());

type Key = (u32, u32, Quality);

/// What a quality means. Bands are fractions of the lower of the two Nyquist frequencies.
struct Design {
    /// Below this everything passes unchanged.
    passband: f64,
    /// From the Nyquist frequency on everything is this far down.
    rejection_db: f64,
    /// A block is at least this long, and at least this much of it comes out as sound; longer blocks cost less for each
    /// sample and more delay.
    window_samples: usize,
    yield_percent: usize,
}

impl Quality {
    const fn design(self) -> Design {
        match self {
            Self::Fast => Design { passband: 0.85, rejection_db: 105.0, window_samples: 2048, yield_percent: 80 },
            Self::High => Design { passband: 0.92, rejection_db: 150.0, window_samples: 4096, yield_percent: 85 },
        }
    }
}

/// Blocks overlap: a window of `margin` + `hop` + `margin` samples goes in, `hop` samples in its middle come out. All
/// lengths are whole steps of the ratio in lowest terms, so that they are whole numbers at both rates.
pub(super) struct Plan {
    pub window_in: usize,
    pub window_out: usize,
    pub margin_in: usize,
    pub margin_out: usize,
    pub hop_out: usize,
    /// The filter's spectrum, real because its taps are symmetric about zero: it delays nothing. Only the bins that both
    /// rates have; already divided by the window's length, which the transforms leave to us.
    pub response: Vec<f32>,
    pub forward: Arc<dyn RealToComplex<f32>>,
    pub inverse: Arc<dyn ComplexToReal<f32>>,
}

impl Plan {
    pub fn shared(from_hz: u32, to_hz: u32, quality: Quality) -> Arc<Self> {
        let key = (from_hz, to_hz, quality);
        let mut plans = PLANS.lock();
        if let Some(place) = plans.iter().position(|(kept, _)| *kept == key) {
            plans[..=place].rotate_right(1);
            return plans[0].1.clone();
        }
        drop(plans);
        let plan = Arc::new(Self::new(from_hz, to_hz, quality));
        plans = PLANS.lock();
        plans.insert(0, (key, plan.clone()));
        plans.truncate(KEPT_PLANS);
        plan
    }

    fn new(from_hz: u32, to_hz: u32, quality: Quality) -> Self {
        let design = quality.design();
        let divisor = gcd(from_hz, to_hz);
        let (step_in, step_out) = ((from_hz / divisor) as usize, (to_hz / divisor) as usize);
        let nyquist = f64::from(from_hz.min(to_hz)) / f64::from(from_hz);
        let side_taps = side_taps(design.rejection_db, (1.0 - design.passband) * nyquist);

        let margin = side_taps.div_ceil(step_in);
        let steps = window_steps(&design, margin, step_in.max(step_out));
        let window_in = steps * step_in;
        let window_out = steps * step_out;
        let bins = window_in.min(window_out) / 2;
        let mut planner = RealFftPlanner::new();
        Self {
            window_in,
            window_out,
            margin_in: margin * step_in,
            margin_out: margin * step_out,
            hop_out: (steps - 2 * margin) * step_out,
            response: response(&design, side_taps, nyquist, window_in, bins),
            forward: planner.plan_fft_forward(window_in),
            inverse: planner.plan_fft_inverse(window_out),
        }
    }
}

/// The first even product of small primes that is long enough: what the transforms are fast at.
fn window_steps(design: &Design, margin: usize, longer_step: usize) -> usize {
    let long_enough = |steps: &usize| {
        let hop = steps.saturating_sub(2 * margin);
        steps * longer_step >= design.window_samples && 100 * hop >= design.yield_percent * steps
    };
    (1u32..)
        .flat_map(|doublings| [1usize << doublings, 3usize << (doublings - 1), 5usize << (doublings.max(2) - 2)])
        .filter(|steps| steps.is_multiple_of(2))
        .find(long_enough)
        .unwrap_or(4 * margin)
}

/// Taps on each side of the middle one for a transition band of `width` (a fraction of the input's Nyquist frequency).
/// Kaiser's estimate: Oppenheim and Schafer, Discrete-Time Signal Processing, 3rd edition, equation 7.76.
fn side_taps(rejection_db: f64, width: f64) -> usize {
    let taps = (rejection_db - 8.0) / (2.285 * PI * width);
    (taps / 2.0).ceil() as usize
}

fn response(design: &Design, side_taps: usize, nyquist: f64, window_in: usize, bins: usize) -> Vec<f32> {
    let cutoff = (1.0 + design.passband) / 2.0 * nyquist;
    let beta = 0.1102 * (design.rejection_db - 8.7);
    let mut taps = vec![0.0f64; window_in];
    taps[0] = cutoff;
    for tap in 1..=side_taps {
        let angle = PI * tap as f64;
        let place = tap as f64 / (side_taps + 1) as f64;
        let window = bessel_i0(beta * (1.0 - place * place).sqrt()) / bessel_i0(beta);
        let value = (angle * cutoff).sin() / angle * window;
        taps[tap] = value;
        taps[window_in - tap] = value;
    }
    let scale = 1.0 / (taps.iter().sum::<f64>() * window_in as f64);
    let transform = RealFftPlanner::new().plan_fft_forward(window_in);
    let mut spectrum = transform.make_output_vec();
    // Both buffers were made for this transform, so it cannot refuse them.
    let done = transform.process(&mut taps, &mut spectrum);
    debug_assert!(done.is_ok());
    spectrum.truncate(bins);
    spectrum.iter().map(|bin| (bin.re * scale) as f32).collect()
}

/// The modified Bessel function of order zero, by its power series.
fn bessel_i0(argument: f64) -> f64 {
    let quarter = argument * argument / 4.0;
    let (mut sum, mut term, mut index) = (1.0, 1.0, 1.0);
    while term > sum * f64::EPSILON {
        term *= quarter / (index * index);
        sum += term;
        index += 1.0;
    }
    sum
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_whole_at_both_rates_and_hold_the_filter() {
        for (from_hz, to_hz) in
            [(44_100, 24_000), (48_000, 24_000), (24_000, 192_000), (192_000, 8_000), (11_025, 16_000)]
        {
            for quality in [Quality::Fast, Quality::High] {
                let plan = Plan::new(from_hz, to_hz, quality);
                let (from, to) = (from_hz as usize, to_hz as usize);
                assert_eq!(plan.window_in * to, plan.window_out * from);
                assert_eq!(plan.margin_in * to, plan.margin_out * from);
                assert_eq!(plan.hop_out + 2 * plan.margin_out, plan.window_out);
                assert!(plan.window_in.is_multiple_of(2) && plan.window_out.is_multiple_of(2));
                assert!(plan.window_in.max(plan.window_out) < 1 << 17, "{from_hz} to {to_hz}: {}", plan.window_in);
            }
        }
    }

    #[test]
    fn plans_are_shared_and_the_oldest_goes() {
        let first = Plan::shared(44_100, 24_000, Quality::Fast);
        assert!(Arc::ptr_eq(&first, &Plan::shared(44_100, 24_000, Quality::Fast)));
        for extra in 0..KEPT_PLANS as u32 {
            Plan::shared(32_000 + 1_000 * extra, 8_000, Quality::Fast);
        }
        assert!(PLANS.lock().len() <= KEPT_PLANS);
        assert!(!Arc::ptr_eq(&first, &Plan::shared(44_100, 24_000, Quality::Fast)));
    }
}
