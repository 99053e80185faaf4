//! The signed generic webhook: whoever knows the secret may have something said. Verification and parsing only; pure, time
//! is handed in.
//!
//! A request carries the time at which it was signed, in seconds since 1970, and
//! `sha256=` + hex(HMAC-SHA256(secret, time + "." + body)).

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use serde::Deserialize;
use sha2::Sha256;

use super::{Amount, Kind, Message, Platform, Roles, User, source::seconds};
use crate::config;

pub const TIMESTAMP_HEADER: &str = "x-ishowtts-timestamp";
pub const SIGNATURE_HEADER: &str = "x-ishowtts-signature";

/// Remembered so that none counts twice. What comes beyond it within the tolerance is refused, so that a flood cannot push
/// out what must be remembered.
const MAX_REMEMBERED: usize = 100_000;
const MAX_ID_CHARS: usize = 256;
const MAX_NAME_CHARS: usize = 256;

/// Why a request is not taken. What an attacker could learn from is not told apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no webhook: chat.webhook.secret is not set")]
    Disabled,
    #[error("the signature is missing or wrong")]
    Signature,
    #[error("it was signed too long ago, or in the future; are both clocks right?")]
    Time,
    #[error("this very request came before; sign it again to repeat it")]
    Replayed,
    #[error("too many requests came within the tolerance of their time")]
    Flood,
    #[error("{0}")]
    Body(String),
}

impl Refusal {
    /// Stable, for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Disabled => "webhook_disabled",
            Self::Signature => "webhook_signature",
            Self::Time => "webhook_time",
            Self::Replayed => "webhook_replayed",
            Self::Flood => "webhook_flood",
            Self::Body(_) => "webhook_body",
        }
    }
}

/// A request as it came.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub timestamp: &'a str,
    pub signature: &'a str,
    pub body: &'a [u8],
}

/// Signatures that were taken, until their time is over.
#[derive(Debug, Default)]
pub struct Replays(Mutex<VecDeque<(SystemTime, [u8; 32])>>);

impl Replays {
    fn remember(&self, signature: [u8; 32], until: SystemTime, now: SystemTime) -> Result<(), Refusal> {
        let mut taken = self.0.lock();
        // Not in the order of their times, as clocks differ; but each goes soon enough.
        while taken.front().is_some_and(|(until, _)| *until < now) {
            taken.pop_front();
        }
        if taken.iter().any(|(_, other)| *other == signature) {
            return Err(Refusal::Replayed);
        }
        if taken.len() >= MAX_REMEMBERED {
            return Err(Refusal::Flood);
        }
        taken.push_back((until, signature));
        Ok(())
    }
}

/// # Errors
/// Why the request is not taken. Nothing of the body is looked at before the signature is right.
pub fn verify(
    settings: &config::Webhook,
    request: Request<'_>,
    now: SystemTime,
    replays: &Replays,
) -> Result<Message, Refusal> {
    if settings.secret.is_empty() {
        return Err(Refusal::Disabled);
    }
    let claimed = request.signature.strip_prefix("sha256=").and_then(unhex).ok_or(Refusal::Signature)?;
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(settings.secret.reveal().as_bytes())
        .map_err(|_any_length_will_do| Refusal::Signature)?;
    mac.update(request.timestamp.as_bytes());
    mac.update(b".");
    mac.update(request.body);
    // In a time that does not tell how much of it is right.
    mac.verify_slice(&claimed).map_err(|_wrong| Refusal::Signature)?;

    let signed_at = request.timestamp.parse().ok().map(Duration::from_secs);
    let signed_at = signed_at.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since)).ok_or(Refusal::Time)?;
    let tolerance = seconds(settings.tolerance_s);
    let apart = now.duration_since(signed_at).unwrap_or_else(|ahead| ahead.duration());
    if apart > tolerance {
        return Err(Refusal::Time);
    }
    let message = parse(request.body, now)?;
    let until = signed_at.checked_add(tolerance).ok_or(Refusal::Time)?;
    replays.remember(claimed, until, now)?;
    Ok(message)
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let digits = text.as_bytes();
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |letter: u8| char::from(letter).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    /// The sender's; a repetition with the same id is the same message.
    id: String,
    user: String,
    #[serde(default)]
    user_id: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    channel: String,
    #[serde(default)]
    badges: Vec<Badge>,
    paid: Option<Paid>,
}

#[derive(Deserialize)]
struct Paid {
    /// A number, or a text such as "4.99".
    amount: serde_json::Value,
    currency: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Badge {
    Broadcaster,
    Moderator,
    Vip,
    Subscriber,
    Bot,
}

/// The body by itself.
///
/// # Errors
/// What is wrong with it.
fn parse(body: &[u8], now: SystemTime) -> Result<Message, Refusal> {
    let wrong = |what: &str| Refusal::Body(what.to_owned());
    let body: Body =
        serde_json::from_slice(body).map_err(|error| Refusal::Body(format!("the body is not understood: {error}")))?;
    if body.id.is_empty() || body.id.chars().count() > MAX_ID_CHARS {
        return Err(wrong("id: 1 to 256 characters"));
    }
    if body.user.trim().is_empty() || body.user.chars().count() > MAX_NAME_CHARS {
        return Err(wrong("user: 1 to 256 characters"));
    }
    let kind = match body.paid {
        None => Kind::Chat,
        Some(Paid { amount, currency }) => {
            let micros = micros(&amount).ok_or_else(|| wrong("paid.amount: a decimal number such as \"4.99\""))?;
            let currency = currency.to_uppercase();
            if currency.len() != 3 || !currency.bytes().all(|letter| letter.is_ascii_uppercase()) {
                return Err(wrong("paid.currency: three letters such as \"EUR\""));
            }
            Kind::SuperChat { amount: Amount { micros, currency } }
        }
    };
    let mut roles = Roles::default();
    for badge in body.badges {
        match badge {
            Badge::Broadcaster => roles.broadcaster = true,
            Badge::Moderator => roles.moderator = true,
            Badge::Vip => roles.vip = true,
            Badge::Subscriber => roles.subscriber = true,
            Badge::Bot => roles.bot = true,
        }
    }
    Ok(Message {
        platform: Platform::Webhook,
        channel: body.channel,
        id: body.id,
        user: User { id: body.user_id, name: body.user, login: String::new(), masked: false, roles },
        text: body.text,
        emotes: Vec::new(),
        kind,
        sent_at: Some(now),
    })
}

/// Without going through a float's rounding: 4.99 is 4,990,000 millionths.
fn micros(amount: &serde_json::Value) -> Option<u64> {
    let text = match amount {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Number(number) => number.to_string(),
        _ => return None,
    };
    super::source::decimal_micros(&text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn settings() -> config::Webhook {
        config::Webhook { secret: "0123456789abcdef".into(), tolerance_s: 300.0 }
    }

    fn at(unix_s: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(unix_s)
    }

    fn sign(timestamp: &str, body: &[u8]) -> String {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(b"0123456789abcdef").expect("a key");
        mac.update(&[timestamp.as_bytes(), b".", body].concat());
        let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256={hex}")
    }

    fn send(body: &serde_json::Value, signed: u64, replays: &Replays) -> Result<Message, Refusal> {
        let (timestamp, body) = (signed.to_string(), body.to_string());
        let signature = sign(&timestamp, body.as_bytes());
        let request = Request { timestamp: &timestamp, signature: &signature, body: body.as_bytes() };
        verify(&settings(), request, at(NOW), replays)
    }

    fn body() -> serde_json::Value {
        json!({"id": "d1", "user": "Ann", "text": "hi", "badges": ["vip"], "paid": {"amount": 4.99, "currency": "eur"}})
    }

    #[test]
    fn a_signed_message() {
        let message = send(&body(), NOW, &Replays::default()).expect("taken");
        assert_eq!(
            (message.platform, message.id.as_str(), message.user.name.as_str()),
            (Platform::Webhook, "d1", "Ann")
        );
        assert_eq!(message.kind, Kind::SuperChat { amount: Amount { micros: 4_990_000, currency: "EUR".into() } });
        assert!(message.user.roles.vip && !message.user.roles.moderator);
    }

    /// RFC 4231 has no such message; this one is from `printf 1700000000.{} | openssl dgst -sha256 -hmac …`.
    #[test]
    fn the_signature_is_what_other_programs_make() {
        assert_eq!(sign("1700000000", b"{}"), include_str!("fixtures/webhook-signature.txt").trim());
    }

    #[test]
    fn what_is_not_signed_right_is_refused() {
        let replays = Replays::default();
        let text = body().to_string();
        let good = sign("1700000000", text.as_bytes());
        let verify = |timestamp: &str, signature: &str, body: &str| {
            verify(&settings(), Request { timestamp, signature, body: body.as_bytes() }, at(NOW), &replays)
        };
        let changed = text.replace("hi", "ho");
        for (timestamp, signature, body) in [
            ("1700000000", "", text.as_str()),
            ("1700000000", "sha256=", &text),
            ("1700000000", &good[7..], &text),
            ("1700000000", &good.replace("sha256", "sha1"), &text),
            ("1700000000", &good[..good.len() - 2], &text),
            ("1700000001", &good, &text),
            ("1700000000", &good, &changed),
        ] {
            assert_eq!(verify(timestamp, signature, body), Err(Refusal::Signature), "{timestamp} {signature} {body}");
        }
        assert!(verify("1700000000", &good, &text).is_ok());
        let none = config::Webhook::default();
        let request = Request { timestamp: "1700000000", signature: &good, body: text.as_bytes() };
        assert_eq!(super::verify(&none, request, at(NOW), &replays), Err(Refusal::Disabled));
    }

    #[test]
    fn old_and_future_and_repeated_ones_are_refused() {
        let replays = Replays::default();
        assert_eq!(send(&body(), NOW - 301, &replays), Err(Refusal::Time));
        assert_eq!(send(&body(), NOW + 301, &replays), Err(Refusal::Time));
        assert!(send(&body(), NOW - 300, &replays).is_ok());
        assert!(send(&body(), NOW + 300, &replays).is_ok());
        assert_eq!(send(&body(), NOW - 300, &replays), Err(Refusal::Replayed));
        // Signed again it is taken, and known by its id to whoever keeps them.
        assert!(send(&body(), NOW - 299, &replays).is_ok());
        let text = body().to_string();
        let request = Request { timestamp: "soon", signature: &sign("soon", text.as_bytes()), body: text.as_bytes() };
        assert_eq!(verify(&settings(), request, at(NOW), &replays), Err(Refusal::Time));
    }

    #[test]
    fn bodies_that_are_refused_do_not_count_as_taken() {
        let replays = Replays::default();
        for wrong in [
            json!([]),
            json!({"id": "", "user": "a"}),
            json!({"id": "1", "user": " "}),
            json!({"id": "1", "user": "a", "txt": "typo"}),
            json!({"id": "1", "user": "a", "paid": {"amount": "-1", "currency": "EUR"}}),
            json!({"id": "1", "user": "a", "paid": {"amount": "1", "currency": "EURO"}}),
            json!({"id": "1", "user": "a", "badges": ["king"]}),
        ] {
            for _ in 0..2 {
                assert!(matches!(send(&wrong, NOW, &replays), Err(Refusal::Body(_))), "{wrong}");
            }
        }
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let replays = Replays::default();
        replays.remember([1; 32], at(NOW), at(NOW)).expect("new");
        replays.remember([2; 32], at(NOW + 10), at(NOW + 5)).expect("new");
        assert_eq!(replays.0.lock().len(), 1);
    }

    proptest! {
        #[test]
        fn any_request_is_refused_without_a_panic(
            timestamp in "\\PC{0,20}", signature in "(sha256=)?[0-9a-f]{0,70}|\\PC{0,80}", body in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let request = Request { timestamp: &timestamp, signature: &signature, body: &body };
            prop_assert_eq!(verify(&settings(), request, at(NOW), &Replays::default()), Err(Refusal::Signature));
            let _ = parse(&body, at(NOW));
        }
    }
}
