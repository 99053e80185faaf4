//! What an engine's queue and slots look like from outside. Handles are made once: setting one is a store.

use metrics::{Counter, Gauge, counter, gauge};

use crate::scheduler::Scheduler;

pub(super) struct Gauges {
    requests: Gauge,
    speech_s: Gauge,
    slots: Gauge,
    steps: Counter,
    step_ms: Counter,
    audio_ms: Counter,
    pub spoken: Counter,
    pub refused: Counter,
    pub failed: Counter,
}

impl Gauges {
    pub fn new(engine: &str) -> Self {
        let segments = |outcome: &'static str| counter!("ishowtts_segments_total", "engine" => engine.to_owned(), "outcome" => outcome);
        Self {
            requests: gauge!("ishowtts_queue_requests", "engine" => engine.to_owned()),
            speech_s: gauge!("ishowtts_queue_speech_seconds", "engine" => engine.to_owned()),
            slots: gauge!("ishowtts_slots_in_use", "engine" => engine.to_owned()),
            steps: counter!("ishowtts_steps_total", "engine" => engine.to_owned()),
            step_ms: counter!("ishowtts_step_ms_total", "engine" => engine.to_owned()),
            audio_ms: counter!("ishowtts_step_audio_ms_total", "engine" => engine.to_owned()),
            spoken: segments("spoken"),
            refused: segments("refused"),
            failed: segments("failed"),
        }
    }

    pub fn planned(&self, scheduler: &Scheduler) {
        self.requests.set(scheduler.requests() as f64);
        self.speech_s.set(scheduler.queued_speech_ms() / 1e3);
        self.slots.set(scheduler.slots_in_use() as f64);
    }

    pub fn stepped(&self, elapsed_ms: f64) {
        self.steps.increment(1);
        self.step_ms.increment(elapsed_ms.round() as u64);
    }

    /// Sound that steps made: `step_ms` over it is the real-time factor.
    pub fn made(&self, audio_ms: f64) {
        self.audio_ms.increment(audio_ms.round() as u64);
    }
}
