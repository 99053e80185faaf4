//! `GET /v1/audio/voices`: the voices there are, and the other names under which they are found.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{App, openapi::EveryError};
use crate::voices::Voice;

#[derive(Serialize, ToSchema)]
#[schema(as = Voice)]
pub struct Entry<'a> {
    id: &'a str,
    name: &'a str,
    /// The voice that this name stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    alias_of: Option<&'a str>,
    description: &'a str,
    languages: &'a [String],
    licence: &'a str,
    /// Made from a clip; only engines that clone can speak with it.
    cloned: bool,
    is_default: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = VoiceList)]
pub struct List<'a> {
    voices: Vec<Entry<'a>>,
}

/// Lists the voices, and the other names under which they are found.
#[utoipa::path(get, path = "/v1/audio/voices", tag = "openai", operation_id = "listVoices",
    responses((status = 200, body = List, description = "All of them"), EveryError))]
pub async fn list(State(app): State<Arc<App>>) -> Response {
    let library = app.speech.voices();
    let default = library.default_voice().ok();
    let is_default = |voice: &Voice| default.as_ref().is_some_and(|default| default.id == voice.id);
    let aliases: Vec<_> = library.aliases().filter_map(|(alias, id)| Some((alias, library.get(id).ok()?))).collect();
    let voices = (library.iter().map(|voice| entry(voice, &voice.id, None, is_default(voice))))
        .chain(aliases.iter().map(|(alias, voice)| entry(voice, alias, Some(&voice.id), false)))
        .collect();
    Json(List { voices }).into_response()
}

fn entry<'a>(voice: &'a Voice, id: &'a str, alias_of: Option<&'a str>, is_default: bool) -> Entry<'a> {
    Entry {
        id,
        name: if alias_of.is_some() { id } else { &voice.name },
        alias_of,
        description: &voice.description,
        languages: &voice.languages,
        licence: &voice.licence,
        cloned: voice.reference.is_some(),
        is_default,
    }
}
