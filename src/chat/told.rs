//! What overlays are told, and what lists show of items: the shapes that docs/chat.md describes. Plain data.

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Amount, Platform,
    item::{Numbered, Sequence},
    overlays::Told,
    rules::Priority,
};

/// One event of `GET /v1/chat/stream`.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ChatEvent<'a> {
    /// The first.
    Hello {
        /// Its own name; made up for one that gave none.
        overlay: &'a str,
        speaking: bool,
        paused: bool,
        volume: f32,
        /// Who is without a connection for longer falls silent: another one may speak then.
        grace_ms: u64,
        /// What may still be playing. Any other is to be dropped: it was taken back while there was no connection.
        items: &'a [String],
    },
    /// It changed.
    Role {
        speaking: bool,
    },
    /// Play this, after what came before.
    Item(Playback<'a>),
    /// Drop it, at once if it is playing.
    Stop {
        id: &'a str,
        reason: &'a str,
    },
    /// How far the speaking overlay is: `started`, `finished` or `failed`.
    Progress {
        id: &'a str,
        state: &'a str,
    },
    Pause,
    Resume,
    Volume {
        volume: f32,
    },
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Playback<'a> {
    pub id: &'a str,
    /// Grows in the order of arrival.
    pub sequence: Sequence,
    #[schema(value_type = String, examples("twitch"))]
    pub platform: Platform,
    /// The name as it may be shown.
    pub user: &'a str,
    /// The platform hid parts of the name.
    pub masked: bool,
    /// As it is shown.
    pub text: &'a str,
    /// Null: the server's default voice.
    #[schema(required)]
    pub voice: Option<&'a str>,
    #[schema(value_type = String, examples("paid", "moderator", "subscriber", "everyone"))]
    pub priority: Priority,
    #[schema(required)]
    pub paid: Option<Money>,
    /// The whole sound, streamed while it is made; `&format=` chooses how it is encoded.
    pub audio_url: String,
    /// The same as events with captions.
    pub speech_url: String,
    pub volume: f32,
}

/// What was paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Money {
    /// A decimal number.
    #[schema(examples("5", "0.99"))]
    pub amount: String,
    #[schema(examples("EUR"))]
    pub currency: String,
}

impl From<&Amount> for Money {
    fn from(amount: &Amount) -> Self {
        const MICROS: u64 = 1_000_000;
        let (units, micros) = (amount.micros / MICROS, amount.micros % MICROS);
        let digits = format!("{micros:06}");
        // Cents are written in pairs.
        let digits = match digits.trim_end_matches('0') {
            "" => "",
            one if one.len() < 2 => &digits[..2],
            more => more,
        };
        let point = if digits.is_empty() { "" } else { "." };
        Self { amount: format!("{units}{point}{digits}"), currency: amount.currency.clone() }
    }
}

/// An item, for those who look at the queue.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ItemView {
    pub id: String,
    pub sequence: Sequence,
    /// `waiting`, `held`, `playing` (an overlay has it), or how it ended; `ended` where that is not kept any more.
    pub state: &'static str,
    #[schema(value_type = String, examples("twitch"))]
    pub platform: Platform,
    pub channel: String,
    /// The platform's own.
    pub message_id: String,
    pub user: String,
    /// As overlays show the name: someone, where it must not be read.
    pub shown_user: String,
    /// The platform hid parts of the name.
    pub masked: bool,
    /// The platform's own; without one, `name:` and the name.
    pub user_id: String,
    /// As it is shown.
    pub text: String,
    /// As it is said.
    pub speech: String,
    /// Null: the server's default voice.
    #[schema(required)]
    pub voice: Option<String>,
    #[schema(required)]
    pub engine: Option<String>,
    #[schema(required)]
    pub language: Option<String>,
    #[schema(value_type = String, examples("paid", "moderator", "subscriber", "everyone"))]
    pub priority: Priority,
    #[schema(required)]
    pub paid: Option<Money>,
    /// Which rule decided: of one that ended, that let it through.
    pub rule: String,
    /// Why it is in its state.
    pub reason: String,
    /// When the message came, s since 1970.
    pub arrived_unix_s: f64,
}

/// A message that is not an item.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RefusedView {
    #[schema(value_type = String, examples("twitch"))]
    pub platform: Platform,
    pub channel: String,
    pub message_id: String,
    pub user: String,
    pub text: String,
    pub rule: String,
    pub reason: String,
    /// s since 1970.
    pub at_unix_s: f64,
}

/// `GET /v1/chat/queue`
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct QueueView {
    /// What overlays have: the first is playing, or will be next. `reason` tells of one whose end was not told in time.
    pub playing: Vec<ItemView>,
    /// In the order in which they will be heard if nothing else comes.
    pub waiting: Vec<ItemView>,
    /// Waiting for approval.
    pub held: Vec<HeldView>,
    /// The newest first.
    pub ended: Vec<ItemView>,
    /// The newest first.
    pub refused: Vec<RefusedView>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct HeldView {
    #[serde(flatten)]
    pub item: ItemView,
    /// When it is given up, s since 1970. Null: it was paid for, and waits for ever.
    #[schema(required)]
    pub until_unix_s: Option<f64>,
}

/// How items are named and found from outside.
#[derive(Debug)]
pub(super) struct Names {
    pub epoch: String,
    pub token: String,
}

impl Names {
    pub fn id(&self, sequence: Sequence) -> String {
        format!("{}-{sequence}", self.epoch)
    }

    pub fn sequence(&self, id: &str) -> Option<Sequence> {
        id.strip_prefix(&self.epoch)?.strip_prefix('-')?.parse().ok()
    }

    pub fn item(&self, item: &Numbered, volume: f32) -> Told {
        let id = self.id(item.sequence);
        let url = |what: &str| format!("/v1/chat/items/{id}/{what}?token={}", self.token);
        let playback = Playback {
            id: &id,
            sequence: item.sequence,
            platform: item.item.message.platform,
            user: item.item.shown_name(),
            masked: item.item.masked,
            text: &item.item.text,
            voice: item.item.voice.as_deref(),
            priority: item.item.priority,
            paid: item.item.paid.as_ref().map(Money::from),
            audio_url: url("audio"),
            speech_url: url("speech"),
            volume,
        };
        told(&ChatEvent::Item(playback))
    }

    pub fn stop(&self, sequence: Sequence, reason: &str) -> Told {
        told(&ChatEvent::Stop { id: &self.id(sequence), reason })
    }

    pub fn progress(&self, sequence: Sequence, state: &str) -> Told {
        told(&ChatEvent::Progress { id: &self.id(sequence), state })
    }

    pub fn view(&self, numbered: &Numbered, state: &'static str, reason: Option<&str>) -> ItemView {
        let item = &numbered.item;
        ItemView {
            id: self.id(numbered.sequence),
            sequence: numbered.sequence,
            state,
            platform: item.message.platform,
            channel: item.channel.clone(),
            message_id: item.message.id.clone(),
            user: item.user_name.clone(),
            shown_user: item.shown_name().to_owned(),
            masked: item.masked,
            user_id: item.user.id.clone(),
            text: item.text.clone(),
            speech: item.speech.clone(),
            voice: item.voice.clone(),
            engine: item.engine.clone(),
            language: item.language.clone(),
            priority: item.priority,
            paid: item.paid.as_ref().map(Money::from),
            rule: item.rule.clone(),
            reason: reason.unwrap_or(&item.reason).to_owned(),
            arrived_unix_s: item.arrived_ms as f64 / 1e3,
        }
    }
}

/// Only maps with keys that are no strings and floats that are no numbers cannot be written; there are none here.
pub(super) fn told(event: &ChatEvent<'_>) -> Told {
    serde_json::to_string(event).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_written_as_people_write_it() {
        for (micros, expected) in [
            (5_000_000, "5"),
            (990_000, "0.99"),
            (1_500_000, "1.50"),
            (1, "0.000001"),
            (0, "0"),
            (12_345_000, "12.345"),
        ] {
            let amount = Amount { micros, currency: "EUR".to_owned() };
            assert_eq!(Money::from(&amount), Money { amount: expected.to_owned(), currency: "EUR".to_owned() });
        }
    }

    #[test]
    fn ids_of_another_database_are_unknown() {
        let names = Names { epoch: "a1b2".to_owned(), token: "t".to_owned() };
        assert_eq!(names.sequence(&names.id(17)), Some(17));
        for other in ["17", "ffff-17", "a1b2-", "a1b2-x", "a1b217", ""] {
            assert_eq!(names.sequence(other), None, "{other}");
        }
    }
}
