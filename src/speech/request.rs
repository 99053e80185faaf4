//! What a request comes down to: checked values, the key under which its result is found, and its seed.

use std::sync::Arc;

use super::{
    SpeechRequest,
    cache::Key,
    dispatch::Order,
    job::{Line, Script},
    route::Stop,
    seed, verify,
};
use crate::{
    audio::join::{Joining, Pause},
    config::{self, Config},
    engine::{Params, Segment},
    error::Error,
    text::Piece,
    voices::Voice,
};

/// Factors of the voice's own pace.
const SPEED: std::ops::RangeInclusive<f64> = 0.25..=4.0;

pub(super) struct Resolved {
    /// None: not to be shared or kept.
    pub key: Option<Key>,
    pub seed: u64,
    pub speed: f64,
    pub language: Option<String>,
    pub params: Arc<Params>,
    /// As of `Segment`.
    pub timed: bool,
}

pub(super) fn resolve(
    config: &Config,
    request: &SpeechRequest,
    voice: &Voice,
    route: &[Stop],
) -> Result<Resolved, Error> {
    if !SPEED.contains(&request.speed) {
        return Err(Error::invalid("invalid_speed", Some("speed"), "speed must be a number from 0.25 to 4"));
    }
    let limit = config.text.max_chars;
    // Bytes bound characters from above: most texts need not be counted.
    if request.text.len() > limit {
        let chars = request.text.chars().count();
        if chars > limit {
            return Err(Error::TextTooLong { chars, limit });
        }
    }
    let speed = (request.speed * voice.speed).clamp(*SPEED.start(), *SPEED.end());
    let identity = identity(config, request, voice, route, speed);
    let seed = match request.seed {
        None => seed::derived(&identity),
        Some(-1) => seed::fresh(),
        Some(given) => u64::try_from(given).ok().filter(|given| *given < seed::SEED_LIMIT).ok_or_else(|| {
            Error::invalid("invalid_seed", Some("seed"), "seed must be -1 (another each time) or from 0 to 2^53 - 1")
        })?,
    };
    let shared = request.cache && request.seed != Some(-1);
    let key = shared
        .then(|| *blake3::Hasher::new().update(identity.as_bytes()).update(&seed.to_le_bytes()).finalize().as_bytes());
    Ok(Resolved {
        key,
        seed,
        speed,
        language: request.language.clone(),
        params: Arc::new(request.params.clone()),
        timed: request.seed.is_none_or(|seed| seed < 0),
    })
}

/// Everything that the samples depend on, but the seed.
fn identity(config: &Config, request: &SpeechRequest, voice: &Voice, route: &[Stop], speed: f64) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    // Every part is closed by its length, so that no two lists of parts run together.
    let mut part = |bytes: &[u8]| {
        hasher.update(bytes).update(&(bytes.len() as u64).to_le_bytes());
    };
    for stop in route {
        part(stop.info.name.as_bytes());
        part(stop.info.revision.as_bytes());
    }
    part(voice.id.as_bytes());
    part(voice.version.as_bytes());
    part(request.text.as_bytes());
    part(request.language.as_deref().unwrap_or_default().as_bytes());
    part(&speed.to_le_bytes());
    part(&[u8::from(request.whole)]);
    part(&(config.text.first_segment_chars as u64).to_le_bytes());
    for (name, value) in &request.params {
        part(name.as_bytes());
        part(value.to_string().as_bytes());
    }
    hasher.finalize()
}

pub(super) fn script(
    config: &Config,
    request: &SpeechRequest,
    resolved: &Resolved,
    voice: &Arc<Voice>,
    first: &Stop,
) -> Script {
    Script {
        key: resolved.key,
        sample_rate_hz: first.info.sample_rate_hz,
        engine: first.info.name.clone(),
        voice: Arc::clone(voice),
        seed: resolved.seed,
        may_fall_back: request.engine.is_none(),
        // There is nothing to join: just as the engine makes it.
        joining: (config.join.enabled && !request.whole).then(|| joining(&config.join)),
        order: Order { class: request.class, owner: request.owner, streamed: request.streamed, continues: false },
    }
}

fn joining(config: &config::Join) -> Joining {
    let pause = |min_ms, max_ms| Pause { min_ms, max_ms };
    Joining {
        sentence: pause(config.sentence_min_ms, config.sentence_max_ms),
        clause: pause(config.clause_min_ms, config.clause_max_ms),
        none: pause(0.0, config.none_max_ms),
        crossfade_ms: config.crossfade_ms,
    }
}

/// The lines for `pieces`, each with its language, of which the first is the `from`-th segment of the speech.
pub(super) fn lines(
    resolved: &Resolved,
    pieces: impl Iterator<Item = (Piece, Option<String>)>,
    from: usize,
) -> Vec<Line> {
    let line = |(index, (piece, language)): (usize, (Piece, Option<String>))| Line {
        place: piece.place,
        chars: piece.chars,
        speakable: verify::said_of(&piece.text, piece.speakable),
        flushed: false,
        segment: Arc::new(Segment {
            text: piece.text,
            language,
            seed: seed::mix(resolved.seed, from + index),
            speed: resolved.speed,
            params: Arc::clone(&resolved.params),
            timed: resolved.timed,
        }),
    };
    pieces.enumerate().map(line).collect()
}
