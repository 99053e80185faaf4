//! The original's `/api/voices/{id}/reference`: another clip, or another text, in the place of a voice's own.

use std::sync::Arc;

use axum::{
    Json,
    extract::{
        Path, Query, Request, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    App,
    compat::label,
    error::ApiError,
    fields::Fields,
    form::{self, Form},
    openapi::{OriginalReferenceErrors, OriginalReferenceUpload, VoiceClip, VoiceClipErrors, VoiceErrors},
    voices::{self, id_of},
};
use crate::{error::Error, voices::Listed};

pub const FIELDS: [&str; 1] = ["text"];
pub const AUDIO: &str = "audio";
const SOURCE: HeaderName = HeaderName::from_static("x-voice-reference-source");

#[derive(Serialize, ToSchema)]
#[schema(as = OriginalReference)]
pub struct Reference<'a> {
    voice_id: &'a str,
    engine: &'a str,
    engine_label: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    active_reference_text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline_reference_text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    override_reference_text: Option<&'a str>,
    baseline_audio_available: bool,
    override_audio_available: bool,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    override_updated_at: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Source {
    /// `baseline`: the voice's own clip; `override`: the one in its place.
    #[param(required = true, pattern = "^([Bb]aseline|[Oo]verride)$")]
    source: Option<String>,
}

/// Tells which clip and which text a voice is cloned from.
#[utoipa::path(get, path = "/api/voices/{id}/reference", tag = "original", operation_id = "originalReference",
    params(("id" = String, Path, description = "An id or an alias", example = "heart")),
    responses((status = 200, body = Reference, description = "Its own, and what stands in its place"), VoiceErrors))]
pub async fn reference(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let library = app.speech.voices();
    Ok(told(&app, library.listed(&id_of(id)?)?))
}

/// Puts a clip, a text or both in the place of a voice's own.
///
/// What is not given stays as it was; an empty text takes the override's text away. One of them must be there.
#[utoipa::path(post, path = "/api/voices/{id}/reference", tag = "original", operation_id = "originalOverride",
    params(("id" = String, Path, description = "An id or an alias", example = "heart")),
    request_body(content = OriginalReferenceUpload, content_type = "multipart/form-data"),
    responses((status = 200, body = Reference, description = "As it is now"), OriginalReferenceErrors))]
pub async fn replace(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    // First of all the form: a connection on which some of a body is left cannot be used again.
    let (parts, body) = request.into_parts();
    let mut form = Form::read(&app, &parts, body, &[AUDIO]).await?;
    let id = id_of(id)?;
    app.speech.voices().listed(&id)?;
    // Its front end sends the part without a file.
    let audio = form.file(AUDIO).filter(|audio| !audio.is_empty());
    let mut given = Fields::of_form(std::mem::take(&mut form.texts), &FIELDS, &FIELDS)?;
    let mut text = given.take("text").as_str().map(str::to_owned);
    let clip = match audio {
        Some(audio) => {
            let clip = form::prepare(&app, AUDIO, audio).await?;
            let Listed { voice, baseline, .. } = app.speech.voices().listed(&id)?.clone();
            // Empty: the voice's own again.
            let lacking = match &text {
                Some(text) if text.trim().is_empty() => &baseline,
                Some(_) | None => &voice,
            };
            if text.as_ref().is_none_or(|text| text.trim().is_empty()) && lacking.reference.is_none() {
                text = Some(app.speech.transcribe(&clip, voice.language(), "text").await?.text);
            }
            Some(clip.wav().into())
        }
        None => None,
    };
    let store = Arc::clone(app.speech.store());
    let listed = form::aside(move || store.set_override(&id, clip, text.as_deref())).await??;
    tracing::info!(id = listed.voice.id, version = listed.voice.version, "a voice was overridden");
    Ok(told(&app, &listed))
}

/// Restores a voice's own clip and text.
#[utoipa::path(delete, path = "/api/voices/{id}/reference", tag = "original", operation_id = "originalRestore",
    params(("id" = String, Path, description = "An id or an alias", example = "heart")),
    responses((status = 200, body = Reference, description = "As it is now"), OriginalReferenceErrors))]
pub async fn restore(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let id = id_of(id)?;
    let store = Arc::clone(app.speech.store());
    let listed = form::aside(move || store.clear_override(&id)).await??;
    Ok(told(&app, &listed))
}

/// Gives a voice's own clip, or the one in its place.
#[utoipa::path(get, path = "/api/voices/{id}/reference/audio", tag = "original", operation_id = "originalReferenceAudio",
    params(("id" = String, Path, description = "An id or an alias", example = "heart"), Source),
    responses(VoiceClip, VoiceClipErrors))]
pub async fn audio(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    query: Result<Query<Source>, QueryRejection>,
) -> Result<Response, ApiError> {
    let library = app.speech.voices();
    let listed = library.listed(&id_of(id)?)?;
    let asked = query.ok().and_then(|Query(query)| query.source).map(|source| source.to_ascii_lowercase());
    let (source, clip) = match asked.as_deref() {
        Some("baseline") => ("baseline", listed.baseline.reference.as_ref().map(|reference| &reference.clip)),
        Some("override") => ("override", listed.replaced.as_ref().and_then(|over| over.clip.as_ref())),
        _ => {
            let message = "\"source\" must be \"baseline\" or \"override\"";
            return Err(Error::invalid("invalid_value", Some("source"), message).into());
        }
    };
    let clip = clip.ok_or_else(|| ApiError::no_clip(&listed.voice.id))?;
    let headers = [
        (SOURCE, HeaderValue::from_static(source)),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("inline; filename=\"reference.wav\"")),
    ];
    Ok((headers, voices::clip(clip.clone())).into_response())
}

fn told(app: &App, listed: &Listed) -> Response {
    let text = |voice: &'_ crate::voices::Voice| voice.reference.as_ref().map(|reference| reference.text.clone());
    let over = listed.replaced.as_deref();
    let (active, baseline) = (text(&listed.voice), text(&listed.baseline));
    Json(Reference {
        voice_id: &listed.voice.id,
        engine: &app.config.engine,
        engine_label: label(&app.config.engine),
        language: listed.voice.languages.first().map(String::as_str),
        active_reference_text: active.as_deref(),
        baseline_reference_text: baseline.as_deref(),
        override_reference_text: over.and_then(|over| over.text.as_deref()),
        baseline_audio_available: listed.baseline.reference.is_some(),
        override_audio_available: over.is_some_and(|over| over.clip.is_some()),
        override_updated_at: over.map(|over| humantime::format_rfc3339_millis(over.updated_at).to_string()),
    })
    .into_response()
}
