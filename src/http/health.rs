//! `/healthz` (the process answers), `/readyz` (it can speak) and `/metrics`.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{App, models::state_name};
use crate::speech::{EngineState, EngineStatus};

/// Prometheus' text exposition format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub async fn healthz() -> &'static str {
    "ok"
}

pub async fn metrics(State(app): State<Arc<App>>) -> Response {
    ([(header::CONTENT_TYPE, METRICS_TYPE)], app.metrics.render()).into_response()
}

#[derive(Debug, Serialize)]
struct Readiness<'a> {
    ready: bool,
    engines: Vec<Engine<'a>>,
}

#[derive(Debug, Serialize)]
struct Engine<'a> {
    name: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
}

pub async fn readyz(State(app): State<Arc<App>>) -> Response {
    let ready = app.speech.ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness(ready, &app.speech.engines()))).into_response()
}

fn readiness(ready: bool, engines: &[EngineStatus]) -> Readiness<'_> {
    Readiness {
        ready,
        engines: engines
            .iter()
            .map(|engine| Engine {
                name: &engine.name,
                state: state_name(&engine.state),
                problem: match &engine.state {
                    EngineState::Broken(problem) => Some(problem),
                    EngineState::Loading | EngineState::Ready(_) => None,
                },
            })
            .collect(),
    }
}
