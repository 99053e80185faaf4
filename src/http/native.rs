//! Our own `/v1/tts` and `/v1/captions`.

use std::sync::Arc;

use axum::{
    extract::{Extension, Query, Request, State, rejection::QueryRejection},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    App, body,
    call::{self, Begun, Call, Caller, Wrap},
    door::{Arrival, Ttfa},
    error::{ApiError, Names},
    fields::{self, Fields},
    form::{self, Form},
    metrics::Route,
    openapi::{CaptionFiles, CaptionRequest, PlayQuery, Sound, SpeechErrors, SpeechForm, SpeechRequest},
};
use crate::{
    audio::Format,
    error::Error,
    speech::{Caption, Said, subtitles},
    voices::{Voice, transcript},
};

pub const NAMES: Names = Names { text: "text", voice: "voice", engine: "engine" };

/// `response_format` is OpenAI's name of `format`, for those who come from there.
pub const SPEECH_FIELDS: [&str; 16] = [
    "text",
    "voice",
    "engine",
    "language",
    "format",
    "response_format",
    "stream_format",
    "speed",
    "seed",
    "stream",
    "cache",
    "params",
    "sample_rate",
    "bitrate",
    "loudness",
    "volume",
];
pub const CAPTION_FIELDS: [&str; 9] =
    ["text", "voice", "engine", "language", "format", "speed", "seed", "cache", "params"];
/// Of a form: a clip to clone, what is said in it, and in which language.
pub const REFERENCE_AUDIO: &str = "reference_audio";
pub const REFERENCE_TEXT: &str = "reference_text";
pub const REFERENCE_LANGUAGE: &str = "reference_language";
const OF_REFERENCE: [&str; 2] = [REFERENCE_TEXT, REFERENCE_LANGUAGE];
/// All that a body may have, and what is told of the clip.
pub const FORM_FIELDS: [&str; SPEECH_FIELDS.len() + OF_REFERENCE.len()] = {
    let mut fields = [""; SPEECH_FIELDS.len() + OF_REFERENCE.len()];
    let mut at = 0;
    while at < fields.len() {
        fields[at] = if at < SPEECH_FIELDS.len() { SPEECH_FIELDS[at] } else { OF_REFERENCE[at - SPEECH_FIELDS.len()] };
        at += 1;
    }
    fields
};
const FORM_TEXTS: [&str; 8] =
    ["text", "voice", "engine", "language", "format", "params", REFERENCE_TEXT, REFERENCE_LANGUAGE];
/// Fields of a query that are text even if they look like a number.
const TEXTS: [&str; 5] = ["text", "voice", "engine", "language", "format"];

pub const WRAPS: [(&str, Wrap); 3] = [("audio", Wrap::Plain), ("sse", Wrap::Sse), ("jsonl", Wrap::JsonLines)];

#[derive(Clone, Copy)]
pub enum Subtitles {
    Json,
    Srt,
    Vtt,
}

pub const SUBTITLES: [(&str, Subtitles); 3] =
    [("json", Subtitles::Json), ("srt", Subtitles::Srt), ("vtt", Subtitles::Vtt)];

/// One for each segment, in the order in which they sound.
#[derive(Serialize, ToSchema)]
pub struct Captions {
    captions: Vec<Arc<Caption>>,
}

/// Speaks a text.
///
/// The sound comes while it is made. With `stream_format` `sse` or `jsonl` it comes as events, with captions between
/// them; every one of them is a `SpeechEvent`. Text that no engine can say is refused with 422, never left out. As a form,
/// with the same fields, it takes a clip to clone in the place of a voice: nothing of it is kept.
#[utoipa::path(post, path = "/v1/tts", tag = "speech", operation_id = "speak",
    request_body(content(
        (SpeechRequest = "application/json", examples(
            ("plain" = (summary = "A sound file", value = json!({"text": "Hello there. How are you today?"}))),
            ("events" = (summary = "Events with captions",
                value = json!({"text": "It costs $100.", "voice": "rowan", "format": "pcm", "stream_format": "jsonl"}))),
        )),
        (SpeechForm = "multipart/form-data")
    )),
    responses(Sound, SpeechErrors))]
pub async fn speak(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let call = if Form::is(&parts.headers) {
        form_call(&app, Form::read(&app, &parts, body, &[REFERENCE_AUDIO]).await?).await?
    } else {
        let body = body::read(&parts.headers, body, app.config.http.max_body_bytes).await?;
        audio_call(Fields::parse(&body, &SPEECH_FIELDS)?)?
    };
    call::answer(&app, Caller { parts: &parts, arrival, route: Route::Tts }, call).await
}

/// Speaks a text, for an `<audio>` element.
///
/// As `POST /v1/tts`, with its fields in the query. Web pages of other origins are refused, as this makes the server
/// work for whoever shows them.
#[utoipa::path(
    get,
    path = "/v1/tts",
    tag = "speech",
    operation_id = "play",
    params(PlayQuery),
    responses(Sound, SpeechErrors)
)]
pub async fn play(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    app.guard.refuse_other_pages(&parts.headers)?;
    let Query(pairs) =
        query.map_err(|rejection| Error::invalid("invalid_query", None, format!("the query: {rejection}")))?;
    let call = audio_call(Fields::of_query(pairs, &SPEECH_FIELDS, &TEXTS)?)?;
    call::answer(&app, Caller { parts: &parts, arrival, route: Route::Tts }, call).await
}

/// Tells when each part of a text sounds.
///
/// The captions of what `POST /v1/tts` says with the same fields; from the cache if it was spoken before. Times of words
/// are told where the engine tells durations. Subtitles show the text as it was written.
#[utoipa::path(post, path = "/v1/captions", tag = "speech", operation_id = "captions",
    request_body(content = CaptionRequest, examples(
        ("json" = (summary = "With the spoken form and words", value = json!({"text": "It costs $100."}))),
        ("srt" = (summary = "A SubRip file", value = json!({"text": "It costs $100.", "format": "srt"}))),
    )),
    responses(CaptionFiles, SpeechErrors))]
pub async fn captions(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = body::read(&parts.headers, body, app.config.http.max_body_bytes).await?;
    form::refuse(&parts.headers)?;
    let mut given = Fields::parse(&body, &CAPTION_FIELDS)?;
    drop(body);
    let kind = fields::choice("format", given.take("format"), &SUBTITLES)?.unwrap_or(Subtitles::Json);
    let call = Call { streamed: false, ..call_of(given, Format::Pcm)? };
    let caller = Caller { parts: &parts, arrival, route: Route::Captions };
    let Begun { mut speaking, first, mut headers, sent } =
        call::begin(&app, caller, &call, app.metrics.in_flight()).await?;
    let mut captions = Vec::new();
    let mut take = |said| {
        if let Said::Caption(caption) = said {
            captions.push(caption);
        }
    };
    first.into_iter().for_each(&mut take);
    while let Some(said) = speaking.next().await.map_err(|error| ApiError::about(error, NAMES))? {
        take(said);
    }
    let (content_type, text) = match kind {
        Subtitles::Json => ("application/json", serde_json::to_string(&Captions { captions }).unwrap_or_default()),
        Subtitles::Srt => ("application/x-subrip", subtitles::srt(&call.text, &captions)),
        Subtitles::Vtt => ("text/vtt; charset=utf-8", subtitles::vtt(&call.text, &captions)),
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok((Extension(Ttfa { ms: sent.ttfa_ms }), headers, text).into_response())
}

/// With a clip of the caller's own in the place of a voice; it is forgotten with the answer.
async fn form_call(app: &App, mut form: Form) -> Result<Call, ApiError> {
    let clip = form.file(REFERENCE_AUDIO);
    let mut given = Fields::of_form(std::mem::take(&mut form.texts), &FORM_FIELDS, &FORM_TEXTS)?;
    if let Some(Value::String(params)) = given.peek("params") {
        let wrong = |_| Error::invalid("invalid_value", Some("params"), "\"params\" must be a JSON object");
        let params: Map<String, Value> = serde_json::from_str(params).map_err(wrong)?;
        given.put("params", params.into());
    }
    let text = given.take(REFERENCE_TEXT);
    let language = fields::language_tag(REFERENCE_LANGUAGE, given.take(REFERENCE_LANGUAGE))?;
    let call = audio_call(given)?;
    let Some(clip) = clip else {
        return match (text, language) {
            (Value::Null, None) => Ok(call),
            (Value::Null, Some(_)) => {
                Err(reference("\"reference_language\" is that of \"reference_audio\": give both").into())
            }
            _ => Err(reference("\"reference_text\" is what is said in \"reference_audio\": give both").into()),
        };
    };
    if call.voice.is_some() {
        return Err(reference("\"reference_audio\" takes the place of \"voice\": give one of them").into());
    }
    let clip = form::prepare(app, REFERENCE_AUDIO, clip).await?;
    let text = match text.as_str().map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => transcript(text, REFERENCE_TEXT)?,
        None => {
            let language = language.as_deref().or(call.language.as_deref());
            app.speech.transcribe(&clip, language, REFERENCE_TEXT).await?.text
        }
    };
    let own_voice = Some(Arc::new(Voice::of_wav(clip.wav().into(), &text)));
    Ok(Call { own_voice, cache: false, ..call })
}

fn reference(message: &str) -> Error {
    Error::invalid("invalid_reference", Some(REFERENCE_AUDIO), message)
}

pub fn audio_call(mut given: Fields) -> Result<Call, Error> {
    let (format, openai) = (given.take("format"), given.take("response_format"));
    let (param, format) = if format.is_null() { ("response_format", openai) } else { ("format", format) };
    let format = fields::format(param, format)?.unwrap_or(Format::Wav);
    call_of(given, format)
}

fn call_of(mut given: Fields, format: Format) -> Result<Call, Error> {
    Ok(Call {
        names: NAMES,
        text: fields::text("text", given.take("text"))?,
        model: fields::name("engine", given.take("engine"))?,
        voice: fields::voice(given.take("voice"))?,
        own_voice: None,
        spec: fields::spec(format, &given.take("sample_rate"), &given.take("bitrate"))?,
        level: fields::level(given.take("loudness"), &given.take("volume"))?,
        wrap: fields::choice("stream_format", given.take("stream_format"), &WRAPS)?.unwrap_or(Wrap::Plain),
        speed: fields::speed(&given.take("speed"))?,
        seed: fields::seed(&given.take("seed"))?,
        streamed: fields::flag("stream", &given.take("stream"))?,
        cache: fields::flag("cache", &given.take("cache"))?,
        language: fields::language(given.take("language"), serde_json::Value::Null)?,
        params: fields::object("params", given.take("params"))?,
        ignored: given.ignored_header(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(pairs: &[(&str, &str)]) -> Result<Call, Error> {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        audio_call(Fields::of_query(pairs, &SPEECH_FIELDS, &TEXTS)?)
    }

    #[test]
    fn a_query_and_a_body_are_the_same_call() {
        let body = br#"{"text":"42","voice":"1","speed":1.5,"seed":-1,"stream":false,"format":"pcm"}"#;
        let posted = audio_call(Fields::parse(body, &SPEECH_FIELDS).expect("JSON")).expect("a call");
        let pairs =
            [("text", "42"), ("voice", "1"), ("speed", "1.5"), ("seed", "-1"), ("stream", "false"), ("format", "pcm")];
        assert_eq!(query(&pairs), Ok(posted));
    }

    #[test]
    fn a_wrong_pair_is_named() {
        for (pairs, param) in [
            (vec![("text", "a"), ("speed", "fast")], "speed"),
            (vec![("text", "a"), ("text", "b")], "text"),
            (vec![("voice", "a")], "text"),
            (vec![("text", "a"), ("params", "{}")], "params"),
            (vec![("text", "a"), ("format", "mp7")], "format"),
        ] {
            match query(&pairs) {
                Err(Error::Invalid { param: named, .. }) => assert_eq!(named, Some(param)),
                other => panic!("{other:?}"),
            }
        }
    }
}
