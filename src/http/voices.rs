//! The voices there are: `GET /v1/audio/voices`, as servers with OpenAI's paths have it, and `GET /v1/voices`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    App,
    error::ApiError,
    openapi::{EveryError, VoiceClip, VoiceClipErrors, VoiceErrors},
};
use crate::{
    error::Error,
    voices::{Library, Listed, Origin, Voice},
};

pub const NO_STORE: (HeaderName, HeaderValue) = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));

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

/// A voice, with all that is known of it.
#[derive(Serialize, ToSchema)]
#[schema(as = VoiceDetails)]
pub struct Details<'a> {
    id: &'a str,
    name: &'a str,
    description: &'a str,
    /// BCP 47, the main one first.
    languages: &'a [String],
    /// SPDX expression.
    licence: &'a str,
    /// Another one whenever it would sound otherwise.
    version: &'a str,
    /// Multiplies the speed of requests.
    speed: f64,
    /// "shipped": part of the program; "user": yours, and can be removed.
    origin: &'static str,
    /// Another clip or text stands in the place of its own reference.
    overridden: bool,
    is_default: bool,
    /// Other names under which it is found.
    aliases: Vec<&'a str>,
    /// Made from a clip; only engines that clone can speak with it.
    cloned: bool,
    /// What is said in the clip.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference_text: Option<&'a str>,
    /// Where the clip is from, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference_source: Option<&'a str>,
    /// What engines are told of it, by their names.
    engine: &'a BTreeMap<String, serde_json::Value>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = VoiceDetailsList)]
pub struct DetailsList<'a> {
    voices: Vec<Details<'a>>,
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

/// Lists the voices, with all that is known of them.
#[utoipa::path(get, path = "/v1/voices", tag = "voices", operation_id = "voices",
    responses((status = 200, body = DetailsList, description = "All of them, without aliases"), EveryError))]
pub async fn all(State(app): State<Arc<App>>) -> Response {
    let library = app.speech.voices();
    Json(DetailsList { voices: library.all().map(|listed| details(&library, listed)).collect() }).into_response()
}

/// Tells about one voice.
#[utoipa::path(get, path = "/v1/voices/{id}", tag = "voices", operation_id = "voice",
    params(("id" = String, Path, description = "An id or an alias", example = "heart")),
    responses((status = 200, body = Details, description = "This one"), VoiceErrors))]
pub async fn one(State(app): State<Arc<App>>, id: Result<Path<String>, PathRejection>) -> Result<Response, ApiError> {
    let library = app.speech.voices();
    let id = id_of(id)?;
    Ok(Json(details(&library, library.listed(&id)?)).into_response())
}

/// Gives the clip that a voice is cloned from.
#[utoipa::path(get, path = "/v1/voices/{id}/audio", tag = "voices", operation_id = "voiceAudio",
    params(("id" = String, Path, description = "An id or an alias", example = "heart")),
    responses(VoiceClip, VoiceClipErrors))]
pub async fn audio(State(app): State<Arc<App>>, id: Result<Path<String>, PathRejection>) -> Result<Response, ApiError> {
    let voice = app.speech.voices().get(&id_of(id)?)?;
    let reference = voice.reference.as_ref().ok_or_else(|| ApiError::no_clip(&voice.id))?;
    Ok(clip(reference.clip.clone()))
}

pub fn clip(clip: Bytes) -> Response {
    ([NO_STORE, (header::CONTENT_TYPE, HeaderValue::from_static("audio/wav"))], clip).into_response()
}

/// Names are looked up in memory: what looks like a path is just unknown.
pub fn id_of(id: Result<Path<String>, PathRejection>) -> Result<String, Error> {
    let Path(id) = id.map_err(|_| Error::invalid("invalid_value", Some("voice"), "the voice's name is not UTF-8"))?;
    Ok(id)
}

fn entry<'a>(voice: &'a Voice, id: &'a str, alias_of: Option<&'a str>, is_default: bool) -> Entry<'a> {
    Entry {
        id,
        name: if alias_of.is_some() { id } else { &voice.name },
        alias_of,
        description: &voice.description,
        languages: &voice.languages,
        licence: &voice.licence,
        cloned: voice.only_cloned(),
        is_default,
    }
}

pub fn details<'a>(library: &'a Library, listed: &'a Listed) -> Details<'a> {
    let voice = &listed.voice;
    Details {
        id: &voice.id,
        name: &voice.name,
        description: &voice.description,
        languages: &voice.languages,
        licence: &voice.licence,
        version: &voice.version,
        speed: voice.speed,
        origin: match listed.origin {
            Origin::Shipped => "shipped",
            Origin::User => "user",
        },
        overridden: listed.replaced.is_some(),
        is_default: library.default_voice().is_ok_and(|default| default.id == voice.id),
        aliases: library.aliases().filter(|(_, id)| *id == voice.id).map(|(alias, _)| alias).collect(),
        cloned: voice.only_cloned(),
        reference_text: voice.reference.as_ref().map(|reference| reference.text.as_str()),
        reference_source: voice.reference.as_ref().and_then(|reference| reference.source.as_deref()),
        engine: &voice.hints,
    }
}
