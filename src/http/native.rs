//! Our own `/v1/tts` and `/v1/captions`.

use std::sync::Arc;

use axum::{
    extract::{Extension, Query, Request, State, rejection::QueryRejection},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

use super::{
    App, body,
    call::{self, Begun, Call, Caller, Wrap},
    door::{Arrival, Ttfa},
    error::ApiError,
    fields::{self, Fields},
    metrics::Route,
};
use crate::{
    audio::Format,
    error::Error,
    speech::{Said, subtitles},
};

const KNOWN: [&str; 12] = [
    "text",
    "voice",
    "engine",
    "language",
    "format",
    "stream_format",
    "speed",
    "seed",
    "stream",
    "cache",
    "params",
    "response_format",
];
/// Fields of a query that are text even if they look like a number.
const TEXTS: [&str; 5] = ["text", "voice", "engine", "language", "format"];

const WRAPS: [(&str, Wrap); 3] = [("audio", Wrap::Plain), ("sse", Wrap::Sse), ("jsonl", Wrap::JsonLines)];

#[derive(Clone, Copy)]
enum Subtitles {
    Json,
    Srt,
    Vtt,
}

const SUBTITLES: [(&str, Subtitles); 3] = [("json", Subtitles::Json), ("srt", Subtitles::Srt), ("vtt", Subtitles::Vtt)];

/// `POST /v1/tts`.
pub async fn speak(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = body::read(&parts.headers, body, app.config.http.max_body_bytes).await?;
    let call = audio_call(Fields::parse(&body, &KNOWN)?)?;
    drop(body);
    call::answer(&app, Caller { parts: &parts, arrival, route: Route::Tts }, call).await
}

/// `GET /v1/tts?text=…`, for an `<audio>` element of our own pages. It makes the server work, so no other page may.
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
    let call = audio_call(Fields::of_query(pairs, &KNOWN, &TEXTS)?)?;
    call::answer(&app, Caller { parts: &parts, arrival, route: Route::Tts }, call).await
}

/// `POST /v1/captions`: when each part of the same speech sounds; from the cache if it was spoken before.
pub async fn captions(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = body::read(&parts.headers, body, app.config.http.max_body_bytes).await?;
    let mut given = Fields::parse(&body, &KNOWN)?;
    drop(body);
    let kind = fields::choice("format", given.take("format"), &SUBTITLES)?.unwrap_or(Subtitles::Json);
    let call = Call { streamed: false, wrap: Wrap::Plain, ..call_of(given, Format::Pcm)? };
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
    while let Some(said) = speaking.next().await? {
        take(said);
    }
    let (content_type, text) = match kind {
        Subtitles::Json => ("application/json", serde_json::json!({ "captions": captions }).to_string()),
        Subtitles::Srt => ("application/x-subrip", subtitles::srt(&call.text, &captions)),
        Subtitles::Vtt => ("text/vtt; charset=utf-8", subtitles::vtt(&call.text, &captions)),
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok((Extension(Ttfa { ms: sent.ttfa_ms }), headers, text).into_response())
}

fn audio_call(mut given: Fields) -> Result<Call, Error> {
    let (format, openai) = (given.take("format"), given.take("response_format"));
    let (param, format) = if format.is_null() { ("response_format", openai) } else { ("format", format) };
    let format = fields::format(param, format)?.unwrap_or(Format::Wav);
    call_of(given, format)
}

fn call_of(mut given: Fields, format: Format) -> Result<Call, Error> {
    Ok(Call {
        text_field: "text",
        text: fields::text("text", given.take("text"))?,
        model: fields::name("engine", given.take("engine"))?,
        voice: fields::voice(given.take("voice"))?,
        format,
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
        audio_call(Fields::of_query(pairs, &KNOWN, &TEXTS)?)
    }

    #[test]
    fn a_query_and_a_body_are_the_same_call() {
        let body = br#"{"text":"42","voice":"1","speed":1.5,"seed":-1,"stream":false,"format":"pcm"}"#;
        let posted = audio_call(Fields::parse(body, &KNOWN).expect("JSON")).expect("a call");
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
