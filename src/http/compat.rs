//! The paths of the original iShowTTS, so that its front end works as it is. Its answers hold whole files.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Extension, Request, State},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    App, body,
    call::{self, Begun, Call, Caller, Wrap},
    door::{Arrival, Ttfa},
    error::{ApiError, Names},
    fields::{self, Fields},
    form,
    metrics::Route,
    openapi::{EveryError, OriginalSpeechErrors, OriginalSpeechRequest},
    sound,
};
use crate::{
    audio::Format,
    error::Error,
    speech::{EngineState, Level, SEED_LIMIT},
};

/// Fields of the original that are parameters of its engine, and what they are called here.
pub const PARAMS: [(&str, &str); 7] = [
    ("target_rms", "target_rms"),
    ("cross_fade_duration", "cross_fade_duration"),
    ("sway_sampling_coef", "sway_sampling_coef"),
    ("cfg_strength", "cfg_strength"),
    ("nfe_step", "nfe_steps"),
    ("fix_duration", "fix_duration"),
    ("remove_silence", "remove_silence"),
];
pub const NAMES: Names = Names { text: "text", voice: "voice_id", engine: "engine" };

pub const FIELDS: [&str; 12] = [
    "text",
    "voice_id",
    "engine",
    "speed",
    "seed",
    "target_rms",
    "cross_fade_duration",
    "sway_sampling_coef",
    "cfg_strength",
    "nfe_step",
    "fix_duration",
    "remove_silence",
];

#[derive(Serialize, ToSchema)]
#[schema(as = OriginalHealth)]
pub struct Health<'a> {
    status: &'a str,
    voices: usize,
    default_voice: &'a str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OriginalVoice)]
pub struct VoiceSummary<'a> {
    id: &'a str,
    engine: &'a str,
    engine_label: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference_text: Option<&'a str>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OriginalSpeech)]
pub struct Spoken {
    request_id: String,
    voice_id: String,
    engine: String,
    engine_label: String,
    sample_rate: u32,
    audio_base64: String,
    waveform_len: u64,
    /// "audio/wav": its front end puts this into a data URL.
    format: &'static str,
}

/// Whether it can speak.
#[utoipa::path(get, path = "/api/health", tag = "original", operation_id = "originalHealth",
    responses((status = 200, body = Health, description = "`status` is `ok` or `loading`"), EveryError))]
pub async fn health(State(app): State<Arc<App>>) -> Response {
    let voices = app.speech.voices();
    let default_voice = voices.default_voice().map(|voice| voice.id.clone()).unwrap_or_default();
    let status = if app.speech.ready() { "ok" } else { "loading" };
    Json(Health { status, voices: voices.iter().count(), default_voice: &default_voice }).into_response()
}

/// Lists the voices.
#[utoipa::path(get, path = "/api/voices", tag = "original", operation_id = "originalVoices",
    responses((status = 200, body = Vec<VoiceSummary>, description = "All of them, without aliases"), EveryError))]
pub async fn voices(State(app): State<Arc<App>>) -> Response {
    let engine = &app.config.engine;
    let library = app.speech.voices();
    let summaries: Vec<_> = library
        .iter()
        .map(|voice| VoiceSummary {
            id: &voice.id,
            engine,
            engine_label: label(engine),
            language: voice.languages.first().map(String::as_str),
            reference_text: voice.reference.as_ref().map(|reference| reference.text.as_str()),
        })
        .collect();
    Json(summaries).into_response()
}

/// Speaks a text.
///
/// Parameters that the engine does not have are passed over.
#[utoipa::path(post, path = "/api/tts", tag = "original", operation_id = "originalSpeak",
    request_body(content = OriginalSpeechRequest, examples(
        ("plain" = (summary = "A WAV file in JSON", value = json!({"text": "Hello there.", "voice_id": "heart"}))),
    )),
    responses((status = 200, body = Spoken, description = "The whole speech"), OriginalSpeechErrors))]
pub async fn speak(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = body::read(&parts.headers, body, app.config.http.max_body_bytes).await?;
    form::refuse(&parts.headers)?;
    let call = parse(&body, |engine, param| takes(&app, engine, param))?;
    drop(body);
    let request_id = arrival.id().to_owned();
    let caller = Caller { parts: &parts, arrival, route: Route::CompatTts };
    let Begun { speaking, first, headers, sent } = call::begin(&app, caller, &call, app.metrics.in_flight()).await?;
    let (engine, voice_id) = (speaking.engine.clone(), speaking.voice.clone());
    let sample_rate = speaking.sample_rate_hz;
    let (wav, samples) = sound::whole(&app, &call, first, speaking, &sent).await?;
    let spoken = Spoken {
        request_id,
        voice_id,
        engine_label: label(&engine),
        engine,
        sample_rate,
        audio_base64: BASE64_STANDARD.encode(&wav),
        waveform_len: samples,
        format: "audio/wav",
    };
    Ok((Extension(Ttfa { ms: sent.ttfa_ms }), headers, Json(spoken)).into_response())
}

/// `takes`: whether an engine (none: the configured one) has a parameter. What it does not have is passed over, as the
/// front end sends all of them to any engine.
fn parse(body: &[u8], takes: impl Fn(Option<&str>, &str) -> bool) -> Result<Call, Error> {
    let mut given = Fields::parse(body, &FIELDS)?;
    let model = fields::name("engine", given.take("engine"))?;
    let mut params = Map::new();
    for (theirs, ours) in PARAMS {
        let value = given.take(theirs);
        if !value.is_null() && takes(model.as_deref(), ours) {
            params.insert(ours.to_owned(), value);
        }
    }
    Ok(Call {
        names: NAMES,
        text: fields::text("text", given.take("text"))?,
        voice: fields::name("voice_id", given.take("voice_id"))?,
        model,
        own_voice: None,
        spec: Format::Wav.into(),
        level: Level::default(),
        wrap: Wrap::Plain,
        speed: fields::speed(&given.take("speed"))?,
        seed: seed(&given.take("seed"))?,
        streamed: false,
        cache: true,
        language: None,
        params,
        ignored: given.ignored_header(),
    })
}

/// Its seeds are any 64 bits, ours any that JSON can hold exactly.
fn seed(value: &Value) -> Result<Option<i64>, Error> {
    match value.as_u64() {
        // Its seeds are any 64 bits.
        Some(seed) => Ok(i64::try_from(seed % SEED_LIMIT).ok()),
        None => fields::seed(value),
    }
}

fn takes(app: &App, engine: Option<&str>, param: &str) -> bool {
    let engine = engine.unwrap_or(&app.config.engine);
    app.speech.engines().iter().filter(|status| status.name == engine).any(|status| match &status.state {
        EngineState::Ready(info) => info.params["properties"].get(param).is_some(),
        EngineState::Loading | EngineState::Broken(_) => false,
    })
}

/// For people.
pub fn label(engine: &str) -> String {
    let mut letters = engine.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_original_is_taken() {
        let body = br#"{"text":"Hi","voice_id":"heart","engine":"f5","speed":1.25,"target_rms":0.1,
            "cross_fade_duration":0.15,"sway_sampling_coef":-1,"cfg_strength":2,"nfe_step":7,"fix_duration":null,
            "remove_silence":true,"seed":18446744073709551615}"#;
        let call = parse(body, |engine, param| engine == Some("f5") && param != "remove_silence").expect("a call");
        assert_eq!((call.voice.as_deref(), call.model.as_deref(), call.speed), (Some("heart"), Some("f5"), 1.25));
        assert_eq!(call.seed, Some((1 << 53) - 1));
        let params: Vec<_> = call.params.iter().map(|(name, value)| (name.as_str(), value.to_string())).collect();
        let expected = [
            ("cfg_strength", "2"),
            ("cross_fade_duration", "0.15"),
            ("nfe_steps", "7"),
            ("sway_sampling_coef", "-1"),
            ("target_rms", "0.1"),
        ];
        assert_eq!(params, expected.map(|(name, value)| (name, value.to_owned())));
        assert_eq!(call.ignored, None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, param) in
            [("{}", "text"), (r#"{"text":"a","seed":-7}"#, "seed"), (r#"{"text":"a","speed":9}"#, "speed")]
        {
            match parse(body.as_bytes(), |_, _| true) {
                Err(Error::Invalid { param: named, .. }) => assert_eq!(named, Some(param)),
                other => panic!("{other:?}"),
            }
        }
    }
}
