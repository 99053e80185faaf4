//! What Prometheus is told. Handles are made once and kept: counting a request looks nothing up and allocates nothing.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::http::StatusCode;
use metrics::{Counter, Gauge, Histogram, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

const REQUESTS: &str = "ishowtts_http_requests_total";
const TTFA_MS: &str = "ishowtts_speech_ttfa_ms";
const AUDIO_MS: &str = "ishowtts_speech_audio_ms_total";
const AUDIO_BYTES: &str = "ishowtts_speech_audio_bytes_total";
const IN_FLIGHT: &str = "ishowtts_speech_in_flight";

/// From a cache hit to a queue that is nearly full.
const TTFA_BUCKETS_MS: [f64; 14] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 10e3, 30e3];

/// Observations are kept one by one until they are put into their buckets.
pub const UPKEEP_PERIOD: Duration = Duration::from_secs(5);

/// Where a request went, as a label: few values, whatever paths clients invent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    Speech,
    Tts,
    Captions,
    CompatTts,
    Models,
    Voices,
    VoiceLibrary,
    Preview,
    OriginalVoices,
    WebSocket,
    ElevenLabs,
    Chat,
    Danmaku,
    Health,
    Ready,
    Metrics,
    Other,
}

impl Route {
    const COUNT: usize = Self::Other as usize + 1;

    #[must_use]
    pub fn of(path: &str) -> Self {
        match path {
            "/healthz" => Self::Health,
            "/v1/audio/speech" => Self::Speech,
            "/v1/tts" => Self::Tts,
            "/v1/captions" => Self::Captions,
            "/api/tts" => Self::CompatTts,
            "/readyz" => Self::Ready,
            "/metrics" => Self::Metrics,
            "/v1/models" => Self::Models,
            "/v1/audio/voices" => Self::Voices,
            "/v1/ws" => Self::WebSocket,
            "/v1/voices" => Self::VoiceLibrary,
            "/api/voices" => Self::OriginalVoices,
            _ if path.starts_with("/v1/voices/") && path.ends_with("/preview") => Self::Preview,
            _ if path.starts_with("/v1/voices/") => Self::VoiceLibrary,
            _ if path.starts_with("/api/voices/") => Self::OriginalVoices,
            _ if path.starts_with("/v1/models/") => Self::Models,
            _ if path.starts_with("/v1/chat/") => Self::Chat,
            _ if path.starts_with("/api/danmaku/") => Self::Danmaku,
            _ if path.starts_with("/v1/text-to-speech/") => Self::ElevenLabs,
            _ => Self::Other,
        }
    }

    /// Whether it speaks.
    #[must_use]
    pub const fn speaks(self) -> bool {
        matches!(self, Self::Speech | Self::Tts | Self::Captions | Self::CompatTts | Self::Preview)
    }

    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Speech => "/v1/audio/speech",
            Self::Tts => "/v1/tts",
            Self::Captions => "/v1/captions",
            Self::CompatTts => "/api/tts",
            Self::Models => "/v1/models",
            Self::Voices => "/v1/audio/voices",
            Self::VoiceLibrary => "/v1/voices",
            Self::Preview => "/v1/voices/preview",
            Self::OriginalVoices => "/api/voices",
            Self::WebSocket => "/v1/ws",
            Self::ElevenLabs => "/v1/text-to-speech",
            Self::Chat => "/v1/chat",
            Self::Danmaku => "/api/danmaku",
            Self::Health => "/healthz",
            Self::Ready => "/readyz",
            Self::Metrics => "/metrics",
            Self::Other => "other",
        }
    }
}

/// The statuses that the server gives, with their labels; others share the last.
const STATUSES: [(u16, &str); 22] = [
    (101, "101"),
    (200, "200"),
    (201, "201"),
    (202, "202"),
    (204, "204"),
    (304, "304"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (409, "409"),
    (413, "413"),
    (422, "422"),
    (429, "429"),
    (500, "500"),
    (503, "503"),
    (504, "504"),
    (507, "507"),
    (499, "499"),
    (0, "other"),
];

/// What nginx writes down for a client that left before its answer.
pub const CLIENT_LEFT: u16 = 499;

#[derive(Debug)]
pub struct Metrics {
    handle: PrometheusHandle,
    requests: [[OnceLock<Counter>; STATUSES.len()]; Route::COUNT],
    pub ttfa_ms: Histogram,
    pub audio_ms: Counter,
    pub audio_bytes: Counter,
    in_flight: Gauge,
    /// `process_resident_memory_bytes` and its like, under the names that all of Prometheus' clients use.
    process: Collector,
}

/// Counts a speech request as in flight until it is dropped.
pub struct InFlight(Arc<Metrics>);

impl Metrics {
    #[must_use]
    pub fn new() -> Arc<Self> {
        let handle = install();
        metrics::describe_counter!(REQUESTS, "Requests answered, by route and status");
        metrics::describe_histogram!(TTFA_MS, Unit::Milliseconds, "From a speech request's arrival to its first sound");
        metrics::describe_counter!(AUDIO_MS, Unit::Milliseconds, "Speech sent to clients");
        metrics::describe_counter!(AUDIO_BYTES, Unit::Bytes, "Sound sent to clients, as encoded");
        metrics::describe_gauge!(IN_FLIGHT, "Speech requests that wait, are made, or are being sent");
        let process = Collector::default();
        process.describe();
        Arc::new(Self {
            handle,
            requests: Default::default(),
            ttfa_ms: metrics::histogram!(TTFA_MS),
            audio_ms: metrics::counter!(AUDIO_MS),
            audio_bytes: metrics::counter!(AUDIO_BYTES),
            in_flight: metrics::gauge!(IN_FLIGHT),
            process,
        })
    }

    pub fn answered(&self, route: Route, status: StatusCode) {
        self.counted(route, status.as_u16());
    }

    pub fn left(&self, route: Route) {
        self.counted(route, CLIENT_LEFT);
    }

    fn counted(&self, route: Route, status: u16) {
        let index = STATUSES.iter().position(|(known, _)| *known == status).unwrap_or(STATUSES.len() - 1);
        self.requests[route as usize][index]
            .get_or_init(|| metrics::counter!(REQUESTS, "route" => route.label(), "status" => STATUSES[index].1))
            .increment(1);
    }

    #[must_use]
    pub fn in_flight(self: &Arc<Self>) -> InFlight {
        self.in_flight.increment(1);
        InFlight(Arc::clone(self))
    }

    /// In Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.process.collect();
        self.handle.render()
    }

    /// To be called every `UPKEEP_PERIOD`.
    pub fn run_upkeep(&self) {
        self.handle.run_upkeep();
    }
}

impl InFlight {
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.decrement(1);
    }
}

/// Makes all counters of the program arrive here; the first call counts. Handles that were made before it stay silent,
/// so a program that counts outside of HTTP calls it first.
pub fn install() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    let make = || {
        let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Full(TTFA_MS.into()), &TTFA_BUCKETS_MS);
        let recorder = builder
            .unwrap_or_else(|error| {
                tracing::warn!(%error, "histograms become summaries");
                PrometheusBuilder::new()
            })
            .build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another recorder takes this process' metrics: /metrics stays empty");
        }
        handle
    };
    HANDLE.get_or_init(make).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_route_and_status() {
        let metrics = Metrics::new();
        metrics.counted(Route::of("/nowhere"), 418);
        metrics.answered(Route::of("/v1/models/none"), StatusCode::GATEWAY_TIMEOUT);
        metrics.left(Route::Voices);
        metrics.ttfa_ms.record(7.0);
        let text = metrics.render();
        for line in [
            r#"ishowtts_http_requests_total{route="other",status="other"} 1"#,
            r#"ishowtts_http_requests_total{route="/v1/models",status="504"} 1"#,
            r#"ishowtts_http_requests_total{route="/v1/audio/voices",status="499"} 1"#,
            r#"ishowtts_speech_ttfa_ms_bucket{le="10"}"#,
            "\nprocess_resident_memory_bytes ",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn every_route_has_its_label() {
        for path in [
            "/healthz",
            "/readyz",
            "/metrics",
            "/v1/models",
            "/v1/audio/voices",
            "/v1/audio/speech",
            "/v1/tts",
            "/v1/ws",
        ] {
            assert_eq!(Route::of(path).label(), path);
        }
        assert_eq!(Route::of("/v1/models/hibari"), Route::Models);
        assert_eq!(Route::of("/healthz/"), Route::Other);
    }

    #[test]
    fn two_servers_in_one_process_share_the_recorder() {
        let (one, two) = (Metrics::new(), Metrics::new());
        one.counted(Route::Metrics, 599);
        two.counted(Route::Metrics, 599);
        assert!(two.render().contains(r#"route="/metrics",status="other"} 2"#));
    }
}
