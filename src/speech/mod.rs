//! Speech for listeners: jobs, ordering, back-pressure, single flight, result cache, routing between engines.

mod cache;
mod caption;
mod conditioning;
mod dictation;
#[cfg(test)]
mod dictation_tests;
mod dispatch;
mod gauges;
mod hints;
mod job;
mod level;
mod listener;
mod request;
mod route;
#[cfg(test)]
mod route_tests;
mod seed;
mod service;
mod shelf;
pub mod subtitles;
#[cfg(test)]
mod tests;
mod transcribe;
#[cfg(test)]
mod trouble_tests;
mod verify;
#[cfg(test)]
mod warm_tests;

use std::sync::Arc;

pub use caption::{Caption, CaptionWord, Said};
pub use dictation::Dictation;
pub use listener::Speaking;
pub use seed::SEED_LIMIT;
pub use service::Speech;
pub use transcribe::{Answer, Heard, Transcriber, Unheard, complete, heard, sound};

pub use crate::config::Loudness;
use crate::{
    engine::{EngineInfo, Params},
    scheduler::{Class, Owner},
    voices::Voice,
};

/// Mono float32, shared between a job, its listeners and the cache.
pub type Pcm = Arc<Vec<f32>>;

/// What the program ends for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// For the log.
    pub message: String,
    /// An engine did not accept its settings: to be started again mends nothing.
    pub by_setting: bool,
}

/// What a surface asks for.
#[derive(Debug, Clone)]
pub struct SpeechRequest {
    pub text: String,
    /// Id or alias; none: the default voice.
    pub voice: Option<String>,
    /// A voice outside of the library, in the place of `voice`.
    pub own_voice: Option<Arc<Voice>>,
    /// Said in one go: the engine gets all of the text, just as it stands.
    pub whole: bool,
    /// An engine by name; none: the configured route.
    pub engine: Option<String>,
    /// BCP 47.
    pub language: Option<String>,
    /// 0.25 to 4.
    pub speed: f64,
    /// None: derived from text, voice and parameters. Some(-1): another each time.
    pub seed: Option<i64>,
    /// May be answered from, and kept in, the result cache.
    pub cache: bool,
    /// Played while it is made.
    pub streamed: bool,
    pub class: Class,
    pub owner: Owner,
    pub params: Params,
    pub level: Level,
}

/// How loud speech is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// None: as it is configured.
    pub loudness: Option<Loudness>,
    /// A factor on top of it, above 0.
    pub volume: f32,
}

impl Default for Level {
    fn default() -> Self {
        Self { loudness: None, volume: 1.0 }
    }
}

/// One engine, for lists and readiness.
#[derive(Debug, Clone)]
pub struct EngineStatus {
    pub name: String,
    pub state: EngineState,
    pub warm: Warm,
}

/// How far the voices are that are to be prepared before the engine is ready.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Warm {
    /// Or given up; the log says why.
    pub prepared: usize,
    pub of: usize,
}

#[derive(Debug, Clone)]
pub enum EngineState {
    Loading,
    Ready(Arc<EngineInfo>),
    /// With what to tell a person.
    Broken(String),
}
