//! What the chat looks like from outside. Handles are made once: setting one is a store.

use metrics::{Counter, Gauge, Histogram, Unit, counter, gauge, histogram};

use super::item::Outcome;

pub(super) struct Gauges {
    pub accepted: Counter,
    pub refused: Counter,
    waiting: Gauge,
    held: Gauge,
    playing: Gauge,
    overlays: Gauge,
    pub overdue: Counter,
    /// From a message's arrival to its item's way to an overlay.
    pub wait_ms: Histogram,
    /// From a message's arrival to its sound.
    pub started_ms: Histogram,
}

impl Gauges {
    pub fn new() -> Self {
        let messages = |outcome: &'static str| counter!("ishowtts_chat_messages_total", "outcome" => outcome);
        let items = |state: &'static str| gauge!("ishowtts_chat_items", "state" => state);
        metrics::describe_counter!("ishowtts_chat_messages_total", "Chat messages, by what the rules said");
        metrics::describe_counter!("ishowtts_chat_ended_total", "Items that ended, by outcome");
        metrics::describe_counter!(
            "ishowtts_chat_overdue_total",
            "Items that an overlay did not tell the end of in time"
        );
        metrics::describe_gauge!("ishowtts_chat_items", "Items that wait, are held for approval, or are playing");
        metrics::describe_gauge!("ishowtts_chat_listeners", "Connections to the chat's stream");
        metrics::describe_histogram!(
            "ishowtts_chat_wait_ms",
            Unit::Milliseconds,
            "From a message's arrival to the overlay being told to play it"
        );
        metrics::describe_histogram!(
            "ishowtts_chat_started_ms",
            Unit::Milliseconds,
            "From a message's arrival to its first sound at the overlay"
        );
        Self {
            accepted: messages("accepted"),
            refused: messages("refused"),
            waiting: items("waiting"),
            held: items("held"),
            playing: items("playing"),
            overdue: counter!("ishowtts_chat_overdue_total"),
            overlays: gauge!("ishowtts_chat_listeners"),
            wait_ms: histogram!("ishowtts_chat_wait_ms"),
            started_ms: histogram!("ishowtts_chat_started_ms"),
        }
    }

    pub fn ended(&self, outcome: Outcome) {
        counter!("ishowtts_chat_ended_total", "outcome" => outcome.name()).increment(1);
    }

    pub fn show(&self, waiting: usize, held: usize, playing: usize, overlays: usize) {
        self.waiting.set(waiting as f64);
        self.held.set(held as f64);
        self.playing.set(playing as f64);
        self.overlays.set(overlays as f64);
    }
}
