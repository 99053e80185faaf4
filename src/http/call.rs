//! What every surface that speaks makes of a request, and what it does with it: one way from a call to an answer.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{ConnectInfo, Extension},
    http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use super::{
    App,
    connection::Peer,
    door::{Arrival, LoggedAtEnd, Ttfa},
    encoding::Encoding,
    error::{ApiError, Names},
    metrics::{InFlight, Route},
    models,
    sound::{self, Sent, SoundStream},
};
use crate::{
    audio::Spec,
    error::Error,
    scheduler::{Class, Owner},
    speech::{Level, Loudness, Pcm, Said, Speaking, SpeechRequest},
    voices::Voice,
};

pub const SAMPLE_RATE_HZ: HeaderName = HeaderName::from_static("x-ishowtts-sample-rate-hz");
pub const SEED: HeaderName = HeaderName::from_static("x-ishowtts-seed");
pub const ENGINE: HeaderName = HeaderName::from_static("x-ishowtts-engine");
pub const VOICE: HeaderName = HeaderName::from_static("x-ishowtts-voice");
pub const CACHE: HeaderName = HeaderName::from_static("x-ishowtts-cache");
pub const PARAMS: HeaderName = HeaderName::from_static("x-ishowtts-params");
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
pub const IGNORED: HeaderName = HeaderName::from_static("x-ishowtts-ignored");

/// How sound is put into the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrap {
    /// As it is.
    Plain,
    /// OpenAI's server-sent events.
    OpenAiSse,
    /// Our own events, with captions.
    Sse,
    /// The same, a line each.
    JsonLines,
}

impl Wrap {
    fn content_type(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::OpenAiSse | Self::Sse => Some("text/event-stream"),
            Self::JsonLines => Some("application/jsonl"),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub names: Names,
    pub text: String,
    pub model: Option<String>,
    pub voice: Option<String>,
    /// A voice outside of the library, in the place of `voice`.
    pub own_voice: Option<Arc<Voice>>,
    pub spec: Spec,
    pub level: Level,
    pub wrap: Wrap,
    pub speed: f64,
    pub seed: Option<i64>,
    pub streamed: bool,
    pub cache: bool,
    pub language: Option<String>,
    pub params: Map<String, Value>,
    /// Names of fields that change nothing, as far as a header can hold them.
    pub ignored: Option<HeaderValue>,
}

/// Left on a request that asks for speech on somebody else's account.
#[derive(Debug, Clone, Copy)]
pub struct OnBehalf {
    pub class: Class,
    pub owner: Owner,
}

/// Speech that has begun: what fails before the first sound has its true status.
pub struct Begun {
    pub speaking: Speaking,
    /// What came up to the first sound, that one included.
    pub first: Vec<Said>,
    pub headers: HeaderMap,
    pub sent: Sent,
}

/// Who asks, and where.
pub struct Caller<'a> {
    pub parts: &'a Parts,
    pub arrival: Arrival,
    pub route: Route,
}

/// # Errors
/// Whatever keeps the speech from beginning.
pub async fn begin(app: &App, caller: Caller<'_>, call: &Call, in_flight: InFlight) -> Result<Begun, ApiError> {
    let request = speech_request(app, caller.parts, call).map_err(|error| about(error, call))?;
    let mut speaking = app.speech.speak(request).await.map_err(|error| about(error, call))?;
    let first = first_sound(&mut speaking).await.map_err(|error| about(error, call))?;
    let ttfa_ms = caller.arrival.elapsed_ms();
    app.metrics.ttfa_ms.record(ttfa_ms);
    let mut headers = describe(&speaking, call.spec.rate_hz(speaking.sample_rate_hz));
    if let Some(names) = &call.ignored {
        headers.insert(IGNORED, names.clone());
    }
    let sent = Sent {
        route: caller.route,
        method: caller.parts.method.clone(),
        arrival: caller.arrival,
        ttfa_ms,
        sample_rate_hz: speaking.sample_rate_hz,
        engine: speaking.engine.clone(),
        voice: speaking.voice.clone(),
        cached: speaking.cached,
        in_flight,
    };
    Ok(Begun { speaking, first, headers, sent })
}

/// Speaks, and answers once there is sound.
///
/// # Errors
/// Whatever fails before.
pub async fn answer(app: &Arc<App>, caller: Caller<'_>, call: Call) -> Result<Response, ApiError> {
    let Begun { speaking, first, mut headers, sent } = begin(app, caller, &call, app.metrics.in_flight()).await?;
    let content_type = match call.wrap.content_type() {
        Some(content_type) => Ok(HeaderValue::from_static(content_type)),
        None => {
            let rate_hz = call.spec.rate_hz(speaking.sample_rate_hz);
            HeaderValue::from_str(&call.spec.format.content_type(rate_hz))
        }
    };
    if let Ok(content_type) = content_type {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    if call.wrap != Wrap::Plain {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // nginx would keep events back until it has a bufferful.
        headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    }
    // What is measured as a whole can only be sent as a whole, in events too.
    let is_file = app.speech.loudness(&call.level) == Loudness::File;
    Ok(if call.wrap != Wrap::Plain || (call.streamed && !is_file) {
        let (first, speaking) =
            if is_file { sound::gathered(app, &call, first, speaking).await? } else { (first, speaking) };
        let encoding = Encoding::streamed(&app.workers, &call.spec, speaking.sample_rate_hz, speaking.ceiling)?;
        let body = Body::from_stream(SoundStream::new(&call, encoding, first, speaking, sent));
        (Extension(LoggedAtEnd), headers, body).into_response()
    } else {
        let ttfa_ms = sent.ttfa_ms;
        let (bytes, _) = sound::whole(app, &call, first, speaking, &sent).await?;
        (Extension(Ttfa { ms: ttfa_ms }), headers, Body::from(bytes)).into_response()
    })
}

fn speech_request(app: &App, parts: &Parts, call: &Call) -> Result<SpeechRequest, Error> {
    let OnBehalf { class, owner } = match parts.extensions.get::<OnBehalf>() {
        Some(other) => *other,
        None => OnBehalf { class: Class::Interactive, owner: owner(parts) },
    };
    Ok(SpeechRequest {
        engine: models::engine_of(&app.speech.engines(), call.model.as_deref())?,
        text: call.text.clone(),
        voice: call.voice.clone(),
        own_voice: call.own_voice.clone(),
        whole: false,
        language: call.language.clone(),
        speed: call.speed,
        seed: call.seed,
        cache: call.cache,
        streamed: call.streamed,
        class,
        owner,
        params: call.params.clone().into_iter().collect(),
        level: call.level,
    })
}

fn about(error: Error, call: &Call) -> ApiError {
    ApiError::about(error, call.names)
}

/// Never a success without sound.
async fn first_sound(speaking: &mut Speaking) -> Result<Vec<Said>, Error> {
    let mut first = Vec::with_capacity(2);
    while let Some(said) = speaking.next().await? {
        let sounds = matches!(&said, Said::Sound(pcm) if !pcm.is_empty());
        first.push(said);
        if sounds {
            return Ok(first);
        }
    }
    Err(Error::EngineFailed { engine: speaking.engine.clone(), message: "it made no sound".to_owned() })
}

/// The sound among what was said.
pub fn sounds(said: &[Said]) -> impl Iterator<Item = &Pcm> {
    said.iter().filter_map(|said| match said {
        Said::Sound(pcm) => Some(pcm),
        Said::Caption(_) => None,
    })
}

fn describe(speaking: &Speaking, sample_rate_hz: u32) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(SAMPLE_RATE_HZ, sample_rate_hz.into());
    headers.insert(SEED, speaking.seed.into());
    headers.insert(CACHE, HeaderValue::from_static(if speaking.cached { "hit" } else { "miss" }));
    for (name, value) in [(ENGINE, &speaking.engine), (VOICE, &speaking.voice)] {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            headers.insert(name, value);
        }
    }
    let chosen = speaking.params();
    if !chosen.is_empty()
        && let Ok(value) = HeaderValue::from_bytes(json!(chosen).to_string().as_bytes())
    {
        headers.insert(PARAMS, value);
    }
    headers
}

/// Who asks: the API key, else the connection.
pub fn owner(parts: &Parts) -> Owner {
    let mut hasher = blake3::Hasher::new();
    match (bearer_token(&parts.headers), parts.extensions.get::<ConnectInfo<Peer>>()) {
        (Some(token), _) => hasher.update(b"key").update(token),
        (None, Some(ConnectInfo(Peer(address)))) => hasher.update(b"peer").update(address.to_string().as_bytes()),
        (None, None) => &mut hasher,
    };
    let mut id = [0; 8];
    hasher.finalize_xof().fill(&mut id);
    Owner(u64::from_le_bytes(id))
}

fn bearer_token(headers: &HeaderMap) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer ";
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    (scheme.eq_ignore_ascii_case(SCHEME) && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::extract::Request;

    use super::*;

    fn parts(authorization: Option<&'static str>, peer: Option<&str>) -> Parts {
        let mut request = Request::new(Body::empty());
        if let Some(value) = authorization {
            request.headers_mut().insert(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        if let Some(address) = peer {
            let address: SocketAddr = address.parse().expect("an address");
            request.extensions_mut().insert(ConnectInfo(Peer(address)));
        }
        request.into_parts().0
    }

    #[test]
    fn an_owner_is_a_key_or_else_a_connection() {
        let by_key = owner(&parts(Some("Bearer abc"), Some("127.0.0.1:1")));
        assert_eq!(by_key, owner(&parts(Some("bearer abc"), Some("127.0.0.1:2"))));
        assert_ne!(by_key, owner(&parts(Some("Bearer abd"), Some("127.0.0.1:1"))));
        let by_peer = owner(&parts(None, Some("127.0.0.1:1")));
        assert_eq!(by_peer, owner(&parts(Some("Basic abc"), Some("127.0.0.1:1"))));
        assert_eq!(by_peer, owner(&parts(Some("Bearer "), Some("127.0.0.1:1"))));
        assert_ne!(by_peer, owner(&parts(None, Some("127.0.0.1:2"))));
        assert_eq!(owner(&parts(None, None)), owner(&parts(None, None)));
    }
}
