//! OpenAI's `POST /v1/audio/speech`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    body::Body,
    extract::{ConnectInfo, Extension, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts},
    response::{IntoResponse, Response},
};

use super::{
    App, body,
    connection::Peer,
    door::{Arrival, LoggedAtEnd, Ttfa},
    error::ApiError,
    models,
    openai_request::{self, SpeechCall},
    sound::{self, Sent, SoundStream},
};
use crate::{
    error::Error,
    scheduler::{Class, Owner},
    speech::{Pcm, Speaking, SpeechRequest},
};

const SAMPLE_RATE_HZ: HeaderName = HeaderName::from_static("x-ishowtts-sample-rate-hz");
const SEED: HeaderName = HeaderName::from_static("x-ishowtts-seed");
const ENGINE: HeaderName = HeaderName::from_static("x-ishowtts-engine");
const VOICE: HeaderName = HeaderName::from_static("x-ishowtts-voice");
const CACHE: HeaderName = HeaderName::from_static("x-ishowtts-cache");
const IGNORED: HeaderName = HeaderName::from_static("x-ishowtts-ignored");

/// Answers once there is sound, so that whatever fails before has its true status.
pub async fn speech(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response, ApiError> {
    let in_flight = app.metrics.in_flight();
    let (parts, body) = request.into_parts();
    let body = body::read(&parts.headers, body, app.config.http.max_body_bytes).await?;
    let call = openai_request::parse(&body)?;
    drop(body);
    let (format, streamed, ignored) = (call.format, call.streamed, call.ignored.clone());

    let mut speaking = app.speech.speak(speech_request(&app, &parts, call)?).await?;
    let first = first_sound(&mut speaking).await?;
    let ttfa_ms = arrival.elapsed_ms();
    app.metrics.ttfa_ms.record(ttfa_ms);

    let mut headers = describe(&speaking);
    if let Some(names) = ignored {
        headers.insert(IGNORED, names);
    }
    let content_type = format.content_type(speaking.sample_rate_hz);
    if let Ok(content_type) = HeaderValue::from_str(&content_type) {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    let sent = Sent {
        arrival,
        ttfa_ms,
        sample_rate_hz: speaking.sample_rate_hz,
        engine: speaking.engine.clone(),
        voice: speaking.voice.clone(),
        cached: speaking.cached,
        in_flight,
    };
    Ok(if streamed {
        let body = Body::from_stream(SoundStream::new(format, first, speaking, sent));
        (Extension(LoggedAtEnd), headers, body).into_response()
    } else {
        let bytes = sound::whole(format, first, speaking, &sent).await?;
        (Extension(Ttfa { ms: ttfa_ms }), headers, Body::from(bytes)).into_response()
    })
}

fn speech_request(app: &App, parts: &Parts, call: SpeechCall) -> Result<SpeechRequest, Error> {
    Ok(SpeechRequest {
        engine: models::engine_of(&app.speech.engines(), call.model.as_deref())?,
        text: call.input,
        voice: call.voice,
        language: call.language,
        speed: call.speed,
        seed: call.seed,
        cache: call.cache,
        streamed: call.streamed,
        class: Class::Interactive,
        owner: owner(parts),
        params: BTreeMap::new(),
    })
}

/// Never a success without sound.
async fn first_sound(speaking: &mut Speaking) -> Result<Pcm, Error> {
    while let Some(chunk) = speaking.next_sound().await? {
        if !chunk.is_empty() {
            return Ok(chunk);
        }
    }
    Err(Error::EngineFailed { engine: speaking.engine.clone(), message: "it made no sound".to_owned() })
}

fn describe(speaking: &Speaking) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(SAMPLE_RATE_HZ, speaking.sample_rate_hz.into());
    headers.insert(SEED, speaking.seed.into());
    headers.insert(CACHE, HeaderValue::from_static(if speaking.cached { "hit" } else { "miss" }));
    for (name, value) in [(ENGINE, &speaking.engine), (VOICE, &speaking.voice)] {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            headers.insert(name, value);
        }
    }
    headers
}

/// Who asks: the API key, else the connection.
fn owner(parts: &Parts) -> Owner {
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
