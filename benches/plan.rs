//! What the scheduler costs, by how many requests are queued, and what its order brings, against first in, first out.

use std::{collections::VecDeque, hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ishowtts::{
    engine::Cost,
    scheduler::{Admission, Class, Limits, Owner, Request, RequestId, Scheduler, Shape, Work},
};

const ONE_CORE: Shape = Shape {
    max_slots: 4,
    max_shared: 1,
    cost: Cost { steps: 1, fixed_ms: 5.0, ms_per_char: 0.4, audio_ms_per_char: 60.0 },
};
const GPU: Shape = Shape {
    max_slots: 32,
    max_shared: 32,
    cost: Cost { steps: 16, fixed_ms: 6.0, ms_per_char: 0.02, audio_ms_per_char: 60.0 },
};
const CLASSES: [Class; 4] = [Class::Interactive, Class::ChatPaid, Class::Chat, Class::Batch];

fn request(number: u64, owners: u64) -> Request {
    let segments = (0..3).map(|index| Work { chars: 20 + (number * 31 + index * 17) as usize % 120, speed: 1.0 });
    Request {
        class: CLASSES[(number % 4) as usize],
        owner: Owner(number % owners),
        streamed: number.is_multiple_of(2),
        deadline: number.is_multiple_of(3).then(|| Duration::from_secs(1_000_000 + number)),
        dry_at: None,
        segments: segments.collect(),
    }
}

/// A queue of constant length before an engine that costs nothing to simulate.
struct Queue {
    scheduler: Scheduler,
    now: Duration,
    running: Vec<(Admission, u32)>,
    submitted: u64,
    owners: u64,
    steps: u32,
}

impl Queue {
    fn new(shape: Shape, queued: u64) -> Self {
        let limits = Limits { max_requests: usize::MAX, max_speech_ms: 1e13, window_segments: 3 };
        let scheduler = Scheduler::new(limits, shape);
        let (now, owners) = (Duration::ZERO, (queued / 10).max(1));
        let mut queue = Self { scheduler, now, running: Vec::new(), submitted: 0, owners, steps: shape.cost.steps };
        for _ in 0..queued {
            queue.submit();
        }
        // Streams that play, and owners that were served.
        for _ in 0..500 {
            queue.step();
        }
        queue
    }

    fn submit(&mut self) {
        self.submitted += 1;
        self.scheduler.submit(self.now, request(self.submitted, self.owners)).expect("there is room");
    }

    /// One plan, carried out: what it admits, the sound, what was read; and a new request for each that is over.
    fn step(&mut self) {
        let plan = self.scheduler.plan(self.now);
        self.now += Duration::from_millis(30);
        self.running.extend(plan.admit.into_iter().map(|admission| (admission, self.steps)));
        let before = self.scheduler.requests();
        let (scheduler, now) = (&mut self.scheduler, self.now);
        self.running.retain_mut(|(admission, steps_left)| {
            if plan.advance.contains(&admission.slot) {
                *steps_left -= 1;
            }
            if *steps_left == 0 {
                scheduler.chunk(now, admission.ticket, 4_000.0, true);
                scheduler.delivered(admission.request, admission.segment + 1);
            }
            *steps_left > 0
        });
        scheduler.step_done(30.0);
        for _ in self.scheduler.requests()..before {
            self.submit();
        }
    }
}

fn plans(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    group.throughput(Throughput::Elements(1)).sample_size(20).measurement_time(Duration::from_secs(2));
    for queued in [1, 100, 10_000, 100_000, 1_000_000] {
        let mut queue = Queue::new(ONE_CORE, queued);
        group.bench_function(BenchmarkId::new("one core, submit to end", queued), |bencher| {
            bencher.iter(|| queue.step());
        });
        group.bench_function(BenchmarkId::new("one core, plan alone", queued), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| plan_alone(&mut queue)).sum());
        });
        group.bench_function(BenchmarkId::new("submit and cancel", queued), |bencher| {
            let mut number = 0;
            bencher.iter(|| {
                number += 1;
                let id = queue.scheduler.submit(queue.now, request(number, queue.owners));
                queue.scheduler.cancel(id.unwrap_or(RequestId(u64::MAX)));
            });
        });
    }
    for queued in [100, 10_000] {
        let mut queue = Queue::new(GPU, queued);
        group.bench_function(BenchmarkId::new("gpu of 32 slots, plan alone", queued), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| plan_alone(&mut queue)).sum());
        });
    }
    group.finish();
}

/// The time of a plan that admits and advances; the rest of the step is not counted.
fn plan_alone(queue: &mut Queue) -> Duration {
    let start = std::time::Instant::now();
    let plan = black_box(queue.scheduler.plan(queue.now));
    let elapsed = start.elapsed();
    queue.running.extend(plan.admit.into_iter().map(|admission| (admission, queue.steps)));
    // Asked again it admits nothing and advances the same, so this only ends the step.
    queue.step();
    elapsed
}

/// Deterministic, so that runs compare.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    fn exponential(&mut self) -> f64 {
        -self.uniform().ln()
    }

    fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        let normal = (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos();
        median * (sigma * normal).exp()
    }
}

/// Poisson arrivals, in ms, of streamed texts of one to many sentences, lengths lognormal.
fn arrivals(load: f64, count: usize) -> Vec<(f64, Vec<usize>)> {
    let (mut random, mut now_ms) = (Random(0x5EED), 0.0);
    let texts: Vec<Vec<usize>> = (0..count)
        .map(|_| {
            let sentences = random.lognormal(2.0, 0.8).ceil().min(30.0) as usize;
            (0..sentences).map(|_| random.lognormal(60.0, 0.5).clamp(5.0, 250.0) as usize).collect()
        })
        .collect();
    let cost_ms = |text: &Vec<usize>| text.iter().map(|chars| ONE_CORE.cost.steps_ms(1, *chars)).sum::<f64>();
    let mean_ms = texts.iter().map(cost_ms).sum::<f64>() / count as f64;
    let at = |text: Vec<usize>| {
        now_ms += random.exponential() * mean_ms / load;
        (now_ms, text)
    };
    texts.into_iter().map(at).collect()
}

struct Heard {
    first_ms: Vec<f64>,
    worst_gap_ms: f64,
}

impl Heard {
    fn mean_ms(&self) -> f64 {
        self.first_ms.iter().sum::<f64>() / self.first_ms.len() as f64
    }

    fn p95_ms(&self) -> f64 {
        let mut sorted = self.first_ms.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() * 95 / 100]
    }
}

fn first_in_first_out(arrivals: &[(f64, Vec<usize>)]) -> Heard {
    let (mut free_ms, mut first_ms) = (0.0_f64, Vec::new());
    for (at_ms, text) in arrivals {
        free_ms = free_ms.max(*at_ms);
        first_ms.push(free_ms + ONE_CORE.cost.steps_ms(1, text[0]) - at_ms);
        free_ms += text.iter().map(|chars| ONE_CORE.cost.steps_ms(1, *chars)).sum::<f64>();
    }
    Heard { first_ms, worst_gap_ms: 0.0 }
}

fn scheduled(arrivals: &[(f64, Vec<usize>)]) -> Heard {
    let limits = Limits { max_requests: usize::MAX, max_speech_ms: 1e13, window_segments: 3 };
    let mut scheduler = Scheduler::new(limits, ONE_CORE);
    let (mut now_ms, mut heard) = (0.0_f64, Heard { first_ms: Vec::new(), worst_gap_ms: 0.0 });
    let mut coming: VecDeque<_> = arrivals.iter().enumerate().collect();
    // By request: when it runs dry.
    let mut dry_ms = vec![None; arrivals.len()];
    loop {
        if scheduler.is_idle() {
            let Some((_, (at_ms, _))) = coming.front() else { return heard };
            now_ms = now_ms.max(*at_ms);
        }
        while let Some((owner, (_, text))) = coming.front().filter(|(_, (at_ms, _))| *at_ms <= now_ms) {
            let segments = text.iter().map(|chars| Work { chars: *chars, speed: 1.0 }).collect();
            let (class, owner) = (Class::Chat, Owner(*owner as u64));
            let request = Request { class, owner, streamed: true, deadline: None, dry_at: None, segments };
            scheduler.submit(Duration::from_secs_f64(now_ms / 1e3), request).ok();
            coming.pop_front();
        }
        let plan = scheduler.plan(Duration::from_secs_f64(now_ms / 1e3));
        for admission in plan.admit {
            let index = admission.request.0 as usize;
            let chars = arrivals[index].1[admission.segment];
            let elapsed_ms = ONE_CORE.cost.steps_ms(1, chars);
            now_ms += elapsed_ms;
            if admission.segment == 0 {
                heard.first_ms.push(now_ms - arrivals[index].0);
            }
            let dry: &mut Option<f64> = &mut dry_ms[index];
            let before_ms = dry.unwrap_or(now_ms);
            heard.worst_gap_ms = heard.worst_gap_ms.max(now_ms - before_ms);
            let audio_ms = ONE_CORE.cost.audio_ms(chars, 1.0);
            *dry = Some(before_ms.max(now_ms) + audio_ms);
            scheduler.chunk(Duration::from_secs_f64(now_ms / 1e3), admission.ticket, audio_ms, true);
            scheduler.delivered(admission.request, admission.segment + 1);
            scheduler.step_done(elapsed_ms);
        }
    }
}

fn policy(_: &mut Criterion) {
    println!("first sound of 20,000 streamed texts on one core, against first in, first out");
    println!("load   FIFO mean, p95 ms   scheduled mean, p95 ms   times shorter   worst gap ms");
    for load in [0.5, 0.8, 0.95] {
        let arrivals = arrivals(load, 20_000);
        let (fifo, ours) = (first_in_first_out(&arrivals), scheduled(&arrivals));
        let (mean, p95) = (fifo.mean_ms() / ours.mean_ms(), fifo.p95_ms() / ours.p95_ms());
        let [fifo_mean, fifo_p95] = [fifo.mean_ms(), fifo.p95_ms()];
        let [our_mean, our_p95] = [ours.mean_ms(), ours.p95_ms()];
        let gap = ours.worst_gap_ms;
        println!(
            "{load:<6} {fifo_mean:9.1} {fifo_p95:9.1} {our_mean:14.1} {our_p95:9.1} {mean:9.2} {p95:5.2} {gap:13.1}"
        );
    }
}

criterion_group!(benches, policy, plans);
criterion_main!(benches);
