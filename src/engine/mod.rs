//! The engine as Rust sees it: commands go in, events come out.
//!
//! Nothing here knows Python, sockets or listeners. A host (in process, worker, remote or the fake one below) takes
//! commands in order and answers each on its sink, in order. Only the scheduler decides what is sent.

mod fake;

use std::{collections::BTreeMap, fmt, ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};

pub use fake::{FakeHost, FakeOptions, Gate};

use crate::voices::Voice;

/// The most slots of one engine: a plan looks at each of them.
pub const MAX_SLOTS: usize = 1024;
/// The longest that a segment may be, in grapheme clusters.
pub const MAX_SEGMENT_CHARS: usize = 1_000_000;

/// What an engine tells about itself once it is loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineInfo {
    pub name: String,
    /// Changes whenever the same request would give other samples: weights, numeric path, text normalisation.
    pub revision: String,
    pub sample_rate_hz: u32,
    /// BCP 47, most preferred first; empty: any.
    pub languages: Vec<String>,
    /// ISO 15924 codes of the scripts whose letters it can say ("Latn"); empty: any.
    pub scripts: Vec<String>,
    pub clones_voices: bool,
    /// It heeds a voice's shape itself; else its sound is changed afterwards.
    pub shapes_voices: bool,
    /// Of a link it says the host alone.
    pub reads_links: bool,
    /// SPDX expression of the weights.
    pub licence: String,
    pub device: String,
    /// JSON Schema of the per-request parameters beside `speed` and `seed`.
    pub params: serde_json::Value,
    /// States that fit memory at once, `MAX_SLOTS` at most.
    pub max_slots: usize,
    /// Slots that gain from sharing one step: 1 on a CPU, many on a GPU.
    pub max_shared: usize,
    /// The longest segment worth giving, in grapheme clusters: `MAX_SEGMENT_CHARS` at most.
    pub max_segment_chars: usize,
    pub cost: Cost,
}

/// What a segment costs, fitted by the engine at warm-up. Lengths are in grapheme clusters of its text.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Steps that one segment takes.
    pub steps: u32,
    /// Of one step, whatever it carries.
    pub fixed_ms: f64,
    /// Of one step, for every character of every slot that it advances.
    pub ms_per_char: f64,
    /// Speech that comes out, at speed 1.
    pub audio_ms_per_char: f64,
}

impl Cost {
    /// Time for `steps` steps of a lone segment of `chars` characters.
    #[must_use]
    pub fn steps_ms(&self, steps: u32, chars: usize) -> f64 {
        f64::from(steps) * (self.fixed_ms + self.ms_per_char * chars as f64)
    }

    /// Speech that `chars` characters make at `speed`.
    #[must_use]
    pub fn audio_ms(&self, chars: usize, speed: f64) -> f64 {
        self.audio_ms_per_char * chars as f64 / speed
    }
}

/// One admission of one segment. Never used twice, so a reused slot cannot receive its predecessor's audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// One voice prepared by one engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConditioningId(pub u64);

/// What an engine is asked to say.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    pub text: String,
    /// BCP 47, where the request or the voice says it.
    pub language: Option<String>,
    pub seed: u64,
    /// 0.25 to 4, 1 is the voice's own pace.
    pub speed: f64,
    /// Engine parameters, checked against `EngineInfo::params` by the engine.
    pub params: Arc<Params>,
    /// Whether its sound may depend on how busy the engine is: never with a seed of the request's own.
    pub timed: bool,
}

/// Engine parameters by name.
pub type Params = BTreeMap<String, serde_json::Value>;

/// What an engine chose where a request left the choice to it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chosen {
    pub params: Params,
    /// With more time it would have chosen otherwise: this sound is not for those who ask later.
    pub hurried: bool,
}

#[derive(Debug, Clone)]
pub enum Command {
    /// Answered by `Prepared` or `PrepareFailed`, on the preparation thread: never delays a step.
    Prepare {
        conditioning: ConditioningId,
        voice: Arc<Voice>,
    },
    Forget(ConditioningId),
    /// Answered by `Admitted`, `Refused` or `Failed`.
    Admit {
        slot: usize,
        ticket: Ticket,
        segment: Arc<Segment>,
        conditioning: ConditioningId,
        /// Time on the engine, by its own cost model, that it may take and everybody who waits is still served in time.
        /// None: its sound may not depend on that.
        budget_ms: Option<f64>,
    },
    /// One step for exactly these slots; those that hold nothing (refused, failed) are passed over.
    /// Answered by any number of `Chunk` and `Failed`, then one `StepDone`.
    Advance(Vec<usize>),
    /// The slot is free when this is taken; no answer.
    Cancel {
        slot: usize,
        ticket: Ticket,
    },
    /// Finish what was sent before, release everything, end the threads.
    Close,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// First event of all, or `Broken`.
    Loaded(Box<EngineInfo>),
    Prepared {
        conditioning: ConditioningId,
        nbytes: u64,
        elapsed_ms: f64,
    },
    PrepareFailed {
        conditioning: ConditioningId,
        fault: Fault,
    },
    Admitted {
        ticket: Ticket,
        steps_left: u32,
        chosen: Chosen,
    },
    /// An answer, not a fault: this engine cannot say this segment. The slot is free.
    Refused {
        ticket: Ticket,
        reason: String,
    },
    /// Mono float32. After `last` the slot is free.
    Chunk {
        ticket: Ticket,
        pcm: Vec<f32>,
        last: bool,
        transcript: Option<Transcript>,
    },
    /// Ends this segment only. The slot is free.
    Failed {
        ticket: Ticket,
        fault: Fault,
    },
    StepDone {
        elapsed_ms: f64,
    },
    /// The engine as a whole cannot go on: it did not load, or died.
    Broken(Fault),
}

/// What a chunk says. Those of all chunks of a segment are put together, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transcript {
    pub spoken: String,
    /// Empty where the model tells no durations.
    pub words: Vec<Word>,
}

/// When a word sounds and where it stands in the segment's text.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    /// As it is said.
    pub text: String,
    /// Code points.
    pub span: Range<usize>,
    /// From the segment's beginning.
    pub start_ms: f64,
    pub end_ms: f64,
}

/// What went wrong in an engine. `message` is safe to show to a client; the traceback is in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The engine raised.
    Failed,
    /// A parameter, a voice or a setting that the engine does not accept: the caller can mend it.
    Invalid,
    /// NaN, infinite, empty or inaudible sound for text that has words.
    NoSpeech,
}

impl Fault {
    #[must_use]
    pub fn failed(message: impl Into<String>) -> Self {
        Self { kind: FaultKind::Failed, message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

/// Where a host delivers. Called on the host's threads: must not block and must not call Python.
pub trait EventSink: Send + Sync + 'static {
    fn event(&self, event: Event);
}

/// A running engine. `send` never blocks; commands are taken in the order sent.
pub trait Host: Send + Sync + 'static {
    fn send(&self, command: Command);
    /// Waits until the threads have ended; `Close` must have been sent. Never call it from a host's own thread.
    fn join(&self);
}

/// Starts a host that delivers to `sink`. Loading goes on in the background.
pub type StartHost = Box<dyn FnOnce(Arc<dyn EventSink>) -> Box<dyn Host> + Send>;
