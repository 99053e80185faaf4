//! `POST` and `DELETE` of `/v1/voices`: the user's own voices come and go while the server speaks.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{Path, Request, State, rejection::PathRejection},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    App,
    error::ApiError,
    fields::{self, Fields},
    form::{self, Form},
    openapi::{VoiceRemoveErrors, VoiceUpload, VoiceUploadErrors},
    voices::{self, Details, id_of},
};
use crate::{
    error::Error,
    speech::{self, EngineState},
    voices::{
        Draft, Voice, check_id,
        clip::{Prepared, Warning},
        id_of_name,
    },
};

/// Parts of the form that are text.
pub const FIELDS: [&str; 8] = ["id", "name", "description", "language", "licence", "speed", "engine", "text"];
/// Those that are text even if they look like a number.
const TEXTS: [&str; 7] = ["id", "name", "description", "language", "licence", "engine", "text"];
pub const AUDIO: &str = "audio";

/// A voice that was added or changed, and what became of the clip.
#[derive(Serialize, ToSchema)]
#[schema(as = VoiceAdded)]
pub struct Added<'a> {
    voice: Details<'a>,
    /// None: the clip is the one that was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    clip: Option<Clip>,
    /// What keeps the clip from being a good one, and what to do about it.
    warnings: Vec<Told>,
}

/// A clip as it was prepared: mono, trimmed, cut to what engines use, at an even loudness.
#[derive(Serialize, ToSchema)]
#[schema(as = VoiceClip)]
pub struct Clip {
    duration_s: f64,
    sample_rate_hz: u32,
    /// EBU R 128.
    loudness_lufs: f64,
    /// Speech over noise, estimated.
    snr_db: f64,
    /// Of the samples that were sent: how many stand at their ceiling, 0 to 1.
    clipped_share: f64,
    source: Source,
}

/// The file as it was sent.
#[derive(Serialize, ToSchema)]
#[schema(as = VoiceClipSource)]
pub struct Source {
    format: &'static str,
    duration_s: f64,
    channels: u16,
}

#[derive(Serialize, ToSchema)]
#[schema(as = VoiceWarning)]
pub struct Told {
    /// For programs; it stays the same from version to version.
    code: &'static str,
    /// For people.
    message: String,
}

/// Adds a voice of your own.
///
/// `audio` is a clip of somebody who speaks, in any common format; 5 to 12 seconds without music and echo are best.
/// `text` is what is said in it. The voice can be spoken with as soon as the answer is there.
#[utoipa::path(post, path = "/v1/voices", tag = "voices", operation_id = "addVoice",
    request_body(content = VoiceUpload, content_type = "multipart/form-data"),
    responses((status = 201, body = Added, description = "It was added"), VoiceUploadErrors))]
pub async fn add(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let upload = Upload::read(&app, &parts, body).await?;
    let id = upload.id.clone().or_else(|| upload.draft.name.as_deref().and_then(id_of_name)).ok_or_else(|| {
        let message = match &upload.draft.name {
            Some(name) => format!("\"id\" is missing: there is no letter in the name {name:?} to make one of"),
            None => "\"id\" is missing: it must hold the voice's id, or \"name\" its name".to_owned(),
        };
        Error::invalid("id_missing", Some("id"), message)
    })?;
    put(app, id, upload, false).await
}

/// Adds a voice of your own, or changes it.
///
/// What is not given stays as it was. A voice of your own goes before a shipped one with the same id.
#[utoipa::path(post, path = "/v1/voices/{id}", tag = "voices", operation_id = "changeVoice",
    params(("id" = String, Path, description = "An id", example = "mine", pattern = "^[a-z0-9][a-z0-9_-]{0,63}$")),
    request_body(content = VoiceUpload, content_type = "multipart/form-data"),
    responses(
        (status = 200, body = Added, description = "It was changed"),
        (status = 201, body = Added, description = "It was added"),
        VoiceUploadErrors
    ))]
pub async fn change(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let upload = Upload::read(&app, &parts, body).await?;
    let id = id_of(id)?;
    if upload.id.as_ref().is_some_and(|given| *given != id) {
        return Err(Error::invalid("invalid_value", Some("id"), "\"id\" is another than that of the path").into());
    }
    put(app, id, upload, true).await
}

/// Removes a voice of your own, and its override.
///
/// Speech with it that has begun goes on. A shipped voice cannot be removed; what you put in its place can.
#[utoipa::path(delete, path = "/v1/voices/{id}", tag = "voices", operation_id = "removeVoice",
    params(("id" = String, Path, description = "An id", example = "mine")),
    responses((status = 204, description = "It is gone"), VoiceRemoveErrors))]
pub async fn remove(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let id = id_of(id)?;
    let store = Arc::clone(app.speech.store());
    form::aside(move || store.remove(&id)).await??;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn put(app: Arc<App>, id: String, upload: Upload, replace: bool) -> Result<Response, ApiError> {
    check_id(&id)?;
    let Upload { mut draft, prepared, .. } = upload;
    let store = Arc::clone(app.speech.store());
    // A shipped voice of that id lends a new one nothing.
    let own = store.own(&id);
    let own = own.as_deref();
    let text_kept = draft.text_kept(own);
    let mut heard = None;
    if let Some(clip) = prepared.as_ref().filter(|_| draft.lacks_text(own)) {
        let words = app.speech.transcribe(clip, draft.language(own), "text").await?;
        tracing::info!(id, text = words.text, "the text of a clip was heard");
        heard = Some(words);
    }
    speech::complete(&mut draft, own, heard);
    if draft.hints.is_some() {
        let (store, id, draft) = (Arc::clone(&store), id.clone(), draft.clone());
        let voice = form::aside(move || store.draft(&id, draft, replace)).await??;
        app.speech.check_hints(&voice.into()).await?;
    }
    let existed = own.is_some();
    let listed = form::aside(move || store.put(&id, draft, replace)).await??;
    let Voice { id, version, .. } = &*listed.voice;
    tracing::info!(id, version, "a voice was {}", if existed { "changed" } else { "added" });
    let (clip, warnings) = prepared.map_or((None, Vec::new()), |prepared| (Some(told(&prepared)), prepared.warnings));
    let library = app.speech.voices();
    let warnings = warnings.into_iter().chain(text_kept).chain(not_spoken(&app, &listed.voice));
    let warnings = warnings.map(|Warning { code, message }| Told { code, message }).collect();
    let added = Added { voice: voices::details(&library, &listed), clip, warnings };
    let status = if existed { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(added)).into_response())
}

/// For a voice with which nothing that runs here can speak: better told now than with the first text.
fn not_spoken(app: &App, voice: &Voice) -> Option<Warning> {
    let engines = app.speech.engines();
    let may_clone = |state: &EngineState| match state {
        EngineState::Ready(info) => info.clones_voices,
        EngineState::Loading => true,
        EngineState::Broken(_) => false,
    };
    if !voice.only_cloned() || engines.iter().any(|engine| may_clone(&engine.state)) {
        return None;
    }
    let names: Vec<_> = engines.iter().map(|engine| engine.name.as_str()).collect();
    let message = format!(
        "no engine that runs here ({}) clones voices: the voice is kept, and speaks once the server is started with one \
         that does, such as f5",
        names.join(", ")
    );
    Some(Warning { code: "not_cloned_here", message })
}

fn told(prepared: &Prepared) -> Clip {
    let source = &prepared.source;
    Clip {
        duration_s: prepared.duration_s,
        sample_rate_hz: prepared.sample_rate_hz,
        loudness_lufs: prepared.loudness_lufs,
        snr_db: prepared.snr_db,
        clipped_share: prepared.clipped_share,
        source: Source { format: source.format, duration_s: source.duration_s, channels: source.channels },
    }
}

/// What a form says of a voice.
struct Upload {
    id: Option<String>,
    draft: Draft,
    prepared: Option<Prepared>,
}

impl Upload {
    async fn read(app: &App, parts: &Parts, body: Body) -> Result<Self, ApiError> {
        let mut form = Form::read(app, parts, body, &[AUDIO]).await?;
        let audio = form.file(AUDIO);
        let given = Fields::of_form(std::mem::take(&mut form.texts), &FIELDS, &TEXTS)?;
        let (id, mut draft) = draft(given)?;
        // Before the clip, which takes longest.
        if let Some(id) = &id {
            check_id(id)?;
        }
        let prepared = match audio {
            Some(audio) => Some(form::prepare(app, AUDIO, audio).await?),
            None => None,
        };
        draft.clip = prepared.as_ref().map(|prepared| prepared.wav().into());
        if draft.clip.is_some() {
            // A field of a page that nobody filled in.
            draft.text = draft.text.filter(|text| !text.trim().is_empty());
        }
        Ok(Self { id, draft, prepared })
    }
}

fn draft(mut given: Fields) -> Result<(Option<String>, Draft), Error> {
    let id = fields::name("id", given.take("id"))?;
    let speed = given.take("speed");
    let languages = match given.take("language") {
        Value::String(tags) => {
            let tags = tags.split(',').map(|tag| fields::language(Value::from(tag.trim()), Value::Null));
            Some(tags.map(|tag| tag.map(Option::unwrap_or_default)).collect::<Result<Vec<_>, _>>()?)
        }
        _ => None,
    };
    let hints = match given.take("engine") {
        Value::String(table) => {
            let wrong = |_| {
                let message = "\"engine\" must be a JSON object from engines' names to what they are told of the voice";
                Error::invalid("invalid_value", Some("engine"), message)
            };
            Some(serde_json::from_str(&table).map_err(wrong)?)
        }
        _ => None,
    };
    let draft = Draft {
        name: fields::name("name", given.take("name"))?,
        description: plain(given.take("description")),
        languages,
        licence: fields::name("licence", given.take("licence"))?,
        speed: if speed.is_null() { None } else { Some(fields::speed(&speed)?) },
        hints,
        clip: None,
        text: plain(given.take("text")),
    };
    Ok((id, draft))
}

fn plain(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_checked() {
        let of = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            draft(Fields::of_form(pairs, &FIELDS, &TEXTS).expect("fields"))
        };
        let (id, voice) =
            of(&[("id", "7"), ("language", "vi, en-US"), ("speed", "1.5"), ("engine", "{\"x\": {}}")]).unwrap();
        assert_eq!((id.as_deref(), voice.speed), (Some("7"), Some(1.5)));
        assert_eq!(voice.languages.unwrap(), ["vi", "en-US"]);
        assert!(voice.hints.unwrap().contains_key("x"));
        // As a page sends those that nobody filled in.
        let (id, voice) = of(&[("id", ""), ("name", ""), ("language", ""), ("speed", ""), ("engine", "")]).unwrap();
        assert_eq!((id, voice.name, voice.languages, voice.speed, voice.hints), (None, None, None, None, None));
        for (name, value) in
            [("language", "not a tag"), ("speed", "fast"), ("engine", "[]"), ("name", "\n"), ("id", "a\0")]
        {
            match of(&[(name, value)]) {
                Err(Error::Invalid { param, .. }) => assert_eq!(param, Some(name)),
                other => panic!("{other:?}"),
            }
        }
    }
}
