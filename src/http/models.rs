//! OpenAI's `GET /v1/models` and `GET /v1/models/{id}`: our engines, and the names under which clients know them.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    App,
    error::ApiError,
    openapi::{EveryError, ModelErrors},
};
use crate::{
    error::Error,
    speech::{EngineState, EngineStatus},
};

/// Models that stand for the configured route.
const ROUTE_NAMES: [&str; 4] = ["ishowtts", "tts-1", "tts-1-hd", "gpt-4o-mini-tts"];

/// An engine, or a name that stands for the configured route.
#[derive(Debug, Serialize, ToSchema)]
pub struct Model<'a> {
    id: &'a str,
    /// "model"
    object: &'static str,
    /// When the server started, Unix time.
    created: u64,
    owned_by: &'static str,
    /// The engine that speaks first under this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    alias_of: Option<&'a str>,
    /// "loading", "ready" or "broken".
    state: &'static str,
    /// Why it is broken.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    details: Option<Details<'a>>,
}

/// What is known once an engine is loaded.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ModelDetails)]
pub struct Details<'a> {
    licence: &'a str,
    /// Tags; none: any language.
    languages: &'a [String],
    clones_voices: bool,
    sample_rate_hz: u32,
    device: &'a str,
    revision: &'a str,
    /// What `params` of a request may hold: a JSON Schema.
    params: &'a serde_json::Value,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ModelList)]
pub struct List<'a> {
    /// "list"
    object: &'static str,
    data: Vec<Model<'a>>,
}

/// The engine that a request's `model` asks for; none: the configured route.
///
/// # Errors
/// `UnknownModel`.
pub fn engine_of(engines: &[EngineStatus], model: Option<&str>) -> Result<Option<String>, Error> {
    match model {
        None => Ok(None),
        Some(name) if engines.iter().any(|engine| engine.name == name) => Ok(Some(name.to_owned())),
        Some(name) if ROUTE_NAMES.contains(&name) => Ok(None),
        Some(name) => Err(Error::UnknownModel { name: name.to_owned() }),
    }
}

/// Lists engines, and the names under which OpenAI's clients know them.
#[utoipa::path(get, path = "/v1/models", tag = "openai", operation_id = "listModels",
    responses((status = 200, body = List, description = "All of them"), EveryError))]
pub async fn list(State(app): State<Arc<App>>) -> Response {
    let engines = app.speech.engines();
    Json(List { object: "list", data: models(&engines, app.started_unix_s) }).into_response()
}

/// Tells about one engine.
#[utoipa::path(get, path = "/v1/models/{id}", tag = "openai", operation_id = "retrieveModel",
    params(("id" = String, Path, description = "As in the list", example = "tts-1")),
    responses((status = 200, body = Model, description = "This one"), ModelErrors))]
pub async fn one(State(app): State<Arc<App>>, id: Result<Path<String>, PathRejection>) -> Result<Response, ApiError> {
    let Path(id) = id.map_err(|_| Error::invalid("invalid_value", Some("model"), "the model's name is not UTF-8"))?;
    let engines = app.speech.engines();
    let model = models(&engines, app.started_unix_s).into_iter().find(|model| model.id == id);
    Ok(Json(model.ok_or(Error::UnknownModel { name: id })?).into_response())
}

fn models(engines: &[EngineStatus], created: u64) -> Vec<Model<'_>> {
    let aliases = engines.first().into_iter().flat_map(|first| {
        ROUTE_NAMES
            .into_iter()
            .filter(|name| engines.iter().all(|engine| engine.name != *name))
            .map(|name| model(name, Some(&first.name), first, created))
    });
    engines.iter().map(|engine| model(&engine.name, None, engine, created)).chain(aliases).collect()
}

fn model<'a>(id: &'a str, alias_of: Option<&'a str>, engine: &'a EngineStatus, created: u64) -> Model<'a> {
    let (problem, details) = match &engine.state {
        EngineState::Loading => (None, None),
        EngineState::Broken(problem) => (Some(problem.as_str()), None),
        EngineState::Ready(info) => {
            let details = Details {
                licence: &info.licence,
                languages: &info.languages,
                clones_voices: info.clones_voices,
                sample_rate_hz: info.sample_rate_hz,
                device: &info.device,
                revision: &info.revision,
                params: &info.params,
            };
            (None, Some(details))
        }
    };
    Model {
        id,
        object: "model",
        created,
        owned_by: "ishowtts",
        alias_of,
        state: state_name(&engine.state),
        problem,
        details,
    }
}

#[must_use]
pub const fn state_name(state: &EngineState) -> &'static str {
    match state {
        EngineState::Loading => "loading",
        EngineState::Ready(_) => "ready",
        EngineState::Broken(_) => "broken",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engines() -> Vec<EngineStatus> {
        vec![
            EngineStatus { name: "hibari".into(), state: EngineState::Loading, warm: Default::default() },
            EngineStatus {
                name: "f5".into(),
                state: EngineState::Broken("no weights".into()),
                warm: Default::default(),
            },
        ]
    }

    #[test]
    fn a_model_is_an_engine_or_stands_for_the_route() {
        let engines = engines();
        assert_eq!(engine_of(&engines, None), Ok(None));
        for name in ROUTE_NAMES {
            assert_eq!(engine_of(&engines, Some(name)), Ok(None));
        }
        assert_eq!(engine_of(&engines, Some("f5")), Ok(Some("f5".into())));
        for name in ["gpt-4", "", "../f5", "F5"] {
            assert!(matches!(engine_of(&engines, Some(name)), Err(Error::UnknownModel { .. })), "{name}");
        }
    }

    #[test]
    fn the_list_has_engines_and_aliases_in_openais_shape() {
        let engines = engines();
        let list = serde_json::to_value(models(&engines, 7)).expect("JSON");
        let ids: Vec<_> = list.as_array().expect("a list").iter().map(|model| model["id"].as_str()).collect();
        assert_eq!(ids, ["hibari", "f5", "ishowtts", "tts-1", "tts-1-hd", "gpt-4o-mini-tts"].map(Some));
        assert_eq!(
            list[1],
            serde_json::json!({"id": "f5", "object": "model", "created": 7, "owned_by": "ishowtts",
                "state": "broken", "problem": "no weights"})
        );
        assert_eq!(list[3]["alias_of"], "hibari");
        assert!(models(&[], 7).is_empty());
    }
}
