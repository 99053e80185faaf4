//! `/healthz` (the process answers), `/readyz` (it can speak) and `/metrics`.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{App, models::state_name, openapi::EveryError};
use crate::speech::{EngineState, EngineStatus};

/// Prometheus' text exposition format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether the process answers.
#[utoipa::path(get, path = "/healthz", tag = "server", operation_id = "healthz",
    responses((status = 200, body = String, content_type = "text/plain", description = "It does", example = "ok"),
        EveryError))]
pub async fn healthz() -> &'static str {
    "ok"
}

/// Metrics, in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "server", operation_id = "metrics",
    responses((status = 200, body = String, content_type = "text/plain", description = "Samples"), EveryError))]
pub async fn metrics(State(app): State<Arc<App>>) -> Response {
    ([(header::CONTENT_TYPE, METRICS_TYPE)], app.metrics.render()).into_response()
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness<'a> {
    ready: bool,
    /// Of loading engines and preparing the voices that are to be warm.
    percent: u8,
    engines: Vec<Engine<'a>>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EngineState)]
pub struct Engine<'a> {
    name: &'a str,
    /// "loading", "ready" or "broken".
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
    voices: Voices,
}

/// The default voice and those of `voices.preload`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WarmVoices)]
pub struct Voices {
    /// Or given up; the log says why.
    prepared: usize,
    of: usize,
}

/// Whether it can speak: all engines are loaded and warm, and none is broken.
#[utoipa::path(get, path = "/readyz", tag = "server", operation_id = "readyz",
    responses((status = 200, body = Readiness, description = "It can"),
        (status = 503, body = Readiness, description = "It cannot, or not yet"), EveryError))]
pub async fn readyz(State(app): State<Arc<App>>) -> Response {
    let ready = app.speech.ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness(ready, &app.speech.engines()))).into_response()
}

fn readiness(ready: bool, engines: &[EngineStatus]) -> Readiness<'_> {
    Readiness {
        ready,
        percent: if ready { 100 } else { percent(engines) },
        engines: engines
            .iter()
            .map(|engine| Engine {
                name: &engine.name,
                state: state_name(&engine.state),
                problem: match &engine.state {
                    EngineState::Broken(problem) => Some(problem),
                    EngineState::Loading | EngineState::Ready(_) => None,
                },
                voices: Voices { prepared: engine.warm.prepared, of: engine.warm.of },
            })
            .collect(),
    }
}

/// An engine that has loaded counts as much as a voice that is prepared; 99 at most, as it is not ready.
fn percent(engines: &[EngineStatus]) -> u8 {
    let of: usize = engines.iter().map(|engine| 1 + engine.warm.of).sum();
    let is_loaded = |engine: &EngineStatus| engine.warm.prepared > 0 || matches!(engine.state, EngineState::Ready(_));
    let done: usize = engines.iter().map(|engine| usize::from(is_loaded(engine)) + engine.warm.prepared).sum();
    (done * 100 / of.max(1)).min(99) as u8
}
