//! A deterministic tone behind the same commands and events: for tests and simulations without Python.
//!
//! One thread steps, a second one prepares, as in the real hosts. Markers in a segment's text trigger faults:
//! `[raise]`, `[nan]`, `[empty]`, `[silent]`, `[refuse]`, `[invalid]`, `[break]`; `[stumble]` the first time only. With `[choose]` it tells that it chose
//! its steps, with `[hurry]` that it took fewer for want of time, if it was told of its time.

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use super::{
    Chosen, Command, ConditioningId, Cost, EngineInfo, Event, EventSink, Fault, FaultKind, Host, Segment, StartHost,
    Ticket, Transcript, Word,
};

/// Holds every step back until a test lets it go.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<Permits>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Permits {
    left: usize,
    /// Steps that stand before the gate.
    waiting: usize,
}

impl Gate {
    /// Lets this many further steps run.
    pub fn open(&self, steps: usize) {
        self.state.lock().left += steps;
        self.changed.notify_all();
    }

    /// Whether a step waits to be let go: whatever is asked for now comes after it.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        self.state.lock().waiting > 0
    }

    fn pass(&self) {
        let mut state = self.state.lock();
        state.waiting += 1;
        self.changed.wait_while(&mut state, |state| state.left == 0);
        state.waiting -= 1;
        state.left -= 1;
    }
}

#[derive(Debug, Clone)]
pub struct FakeOptions {
    pub info: EngineInfo,
    /// Of every step, slept through on the engine's thread.
    pub step: Duration,
    /// None: steps run freely.
    pub gate: Option<Arc<Gate>>,
    /// Loading ends with `Broken`.
    pub fail_load: bool,
}

impl Default for FakeOptions {
    fn default() -> Self {
        Self { info: info("fake"), step: Duration::ZERO, gate: None, fail_load: false }
    }
}

fn info(name: &str) -> EngineInfo {
    EngineInfo {
        name: name.to_owned(),
        revision: "tone-1".to_owned(),
        sample_rate_hz: 24_000,
        languages: Vec::new(),
        scripts: Vec::new(),
        clones_voices: true,
        shapes_voices: false,
        reads_links: false,
        licence: "Apache-2.0".to_owned(),
        device: "cpu".to_owned(),
        params: serde_json::json!({"type": "object", "additionalProperties": false}),
        max_slots: 1,
        max_shared: 1,
        max_segment_chars: 200,
        cost: Cost { steps: 1, fixed_ms: 1.0, ms_per_char: 0.1, audio_ms_per_char: 60.0 },
    }
}

/// See the module's header.
pub struct FakeHost {
    commands: mpsc::Sender<Command>,
    prepare: mpsc::Sender<Option<ConditioningId>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl FakeHost {
    #[must_use]
    pub fn start(options: FakeOptions) -> StartHost {
        Box::new(move |sink: Arc<dyn EventSink>| {
            let (commands, inbox) = mpsc::channel();
            let (prepare, preparations) = mpsc::channel::<Option<ConditioningId>>();
            let prepared = Arc::clone(&sink);
            let preparing = std::thread::spawn(move || {
                while let Ok(Some(conditioning)) = preparations.recv() {
                    prepared.event(Event::Prepared { conditioning, nbytes: 0, elapsed_ms: 0.0 });
                }
            });
            let stepping = std::thread::spawn(move || run(&options, &inbox, sink.as_ref()));
            Box::new(Self { commands, prepare, threads: Mutex::new(vec![stepping, preparing]) })
        })
    }
}

impl Host for FakeHost {
    fn send(&self, command: Command) {
        // A host that has ended takes nothing more: the receiver is gone, which is no error.
        let _ = match command {
            Command::Prepare { conditioning, .. } => self.prepare.send(Some(conditioning)).is_ok(),
            Command::Close => self.prepare.send(None).is_ok() & self.commands.send(Command::Close).is_ok(),
            other => self.commands.send(other).is_ok(),
        };
    }

    fn join(&self) {
        for thread in std::mem::take(&mut *self.threads.lock()) {
            let _ = thread.join();
        }
    }
}

struct Voicing {
    ticket: Ticket,
    segment: Arc<Segment>,
    steps_left: u32,
}

fn run(options: &FakeOptions, inbox: &mpsc::Receiver<Command>, sink: &dyn EventSink) {
    if options.fail_load {
        sink.event(Event::Broken(Fault::failed("the fake engine was told not to load")));
        return;
    }
    sink.event(Event::Loaded(Box::new(options.info.clone())));
    let mut slots: BTreeMap<usize, Voicing> = BTreeMap::new();
    let mut stumbled = false;
    while let Ok(command) = inbox.recv() {
        match command {
            Command::Admit { slot, ticket, segment, budget_ms, .. } => {
                if segment.text.contains("[refuse]") {
                    sink.event(Event::Refused { ticket, reason: "the fake engine refuses [refuse]".to_owned() });
                } else if segment.text.contains("[invalid]") {
                    let fault = Fault { kind: FaultKind::Invalid, message: "[invalid] is not valid".to_owned() };
                    sink.event(Event::Failed { ticket, fault });
                } else if segment.text.contains("[stumble]") && !std::mem::replace(&mut stumbled, true) {
                    sink.event(Event::Failed { ticket, fault: Fault::failed("RuntimeError") });
                } else {
                    let steps_left = options.info.cost.steps;
                    let chosen = chosen(&segment.text, steps_left, budget_ms);
                    sink.event(Event::Admitted { ticket, steps_left, chosen });
                    slots.insert(slot, Voicing { ticket, segment, steps_left });
                }
            }
            Command::Advance(advancing) => {
                let started = Instant::now();
                if let Some(gate) = &options.gate {
                    gate.pass();
                }
                if !options.step.is_zero() {
                    std::thread::sleep(options.step);
                }
                for slot in advancing {
                    advance(options, slot, &mut slots, sink);
                }
                sink.event(Event::StepDone { elapsed_ms: started.elapsed().as_secs_f64() * 1e3 });
            }
            Command::Cancel { slot, .. } => {
                slots.remove(&slot);
            }
            Command::Close => break,
            Command::Prepare { .. } | Command::Forget(_) => {}
        }
    }
}

fn chosen(text: &str, steps: u32, budget_ms: Option<f64>) -> Chosen {
    let hurried = text.contains("[hurry]") && budget_ms.is_some();
    let told = hurried || text.contains("[choose]");
    let params = told.then(|| ("steps".to_owned(), serde_json::json!(steps))).into_iter().collect();
    Chosen { params, hurried }
}

fn advance(options: &FakeOptions, slot: usize, slots: &mut BTreeMap<usize, Voicing>, sink: &dyn EventSink) {
    let Some(voicing) = slots.get_mut(&slot) else { return };
    let first = voicing.steps_left + 1 == options.info.cost.steps;
    voicing.steps_left -= 1;
    let last = voicing.steps_left == 0;
    let (ticket, segment) = (voicing.ticket, Arc::clone(&voicing.segment));
    if segment.text.contains("[break]") {
        sink.event(Event::Broken(Fault::failed("the fake engine broke")));
        return;
    }
    let failed = segment.text.contains("[raise]");
    if last || failed {
        slots.remove(&slot);
    }
    if failed {
        sink.event(Event::Failed { ticket, fault: Fault::failed("RuntimeError") });
        return;
    }
    let mut pcm = tone(&segment, &options.info, options.info.cost.steps);
    if segment.text.contains("[nan]") {
        let fault = Fault { kind: FaultKind::NoSpeech, message: "returned NaN".to_owned() };
        slots.remove(&slot);
        sink.event(Event::Failed { ticket, fault });
        return;
    } else if segment.text.contains("[empty]") {
        pcm.clear();
    } else if segment.text.contains("[silent]") {
        pcm.fill(0.0);
    }
    let transcript = first.then(|| transcript(&segment, &options.info.cost));
    sink.event(Event::Chunk { ticket, pcm, last, transcript });
}

/// Words between single spaces, each as long as its share of the characters.
fn transcript(segment: &Segment, cost: &Cost) -> Transcript {
    let char_ms = cost.audio_ms(1, segment.speed);
    let mut start = 0;
    let words = segment.text.split(' ').map(|word| {
        let span = start..start + word.chars().count();
        start = span.end + 1;
        let (start_ms, end_ms) = (span.start as f64 * char_ms, span.end as f64 * char_ms);
        Word { text: word.to_owned(), span, start_ms, end_ms }
    });
    Transcript { words: words.collect(), spoken: segment.text.clone() }
}

/// The share of one step; the same for the same text, seed and speed.
fn tone(segment: &Segment, info: &EngineInfo, steps: u32) -> Vec<f32> {
    let text_hash =
        segment.text.bytes().fold(segment.seed, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let frequency_hz = 200.0 + (text_hash % 400) as f64;
    let chars = segment.text.chars().count();
    let samples = info.cost.audio_ms(chars, segment.speed) * f64::from(info.sample_rate_hz) / 1e3 / f64::from(steps);
    let step = std::f64::consts::TAU * frequency_hz / f64::from(info.sample_rate_hz);
    (0..samples as usize).map(|n| (0.3 * (step * n as f64).sin()) as f32).collect()
}
