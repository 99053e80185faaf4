//! Messages as clients send them, and what they are to the chat.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{
    ToSchema,
    openapi::{ObjectBuilder, OneOfBuilder, Schema, Type, schema::SchemaType},
};

use crate::{
    chat::{Amount, Kind, Message, Platform, Roles, User},
    error::Error,
};

const MAX_ID_CHARS: usize = 256;
const MICROS_DIGITS: usize = 6;
const MAX_AMOUNT: u64 = 1_000_000_000;
const MAX_MICROS: u64 = MAX_AMOUNT * 1_000_000;

/// A message, from wherever.
#[derive(Deserialize, ToSchema)]
#[schema(as = ChatMessage)]
pub struct Incoming {
    /// `twitch`, `youtube`, `bilibili`, or a name of your own, whatever its case.
    #[schema(min_length = 1, max_length = 32, pattern = "^[A-Za-z0-9._-]+$", examples("twitch"))]
    pub platform: String,
    /// As it is shown.
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$", examples("Ann"))]
    pub user: String,
    /// The platform's own id of the user, which a change of name does not change.
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    pub user_id: Option<String>,
    /// What the user wrote.
    #[schema(examples("Hello there!"))]
    pub text: String,
    /// Goes before everybody who did not pay.
    pub paid: Option<Paid>,
    /// The platform's own id of the message: with the same one it is the same item. Without it each is another.
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    pub id: Option<String>,
    /// Of `broadcaster`, `moderator`, `vip`, `subscriber`, `bot`.
    pub badges: Option<Vec<String>>,
    /// Where it was written, if there are several.
    #[schema(max_length = 256, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    pub channel: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = ChatPayment)]
pub struct Paid {
    /// A decimal number, as a number or a string.
    #[schema(schema_with = amount_schema)]
    pub amount: Value,
    /// ISO 4217.
    #[schema(pattern = "^[A-Za-z]{3}$", examples("EUR"))]
    pub currency: String,
}

impl Incoming {
    /// # Errors
    /// Which field is wrong.
    pub fn message(self) -> Result<Message, Error> {
        let platform = platform(&self.platform)?;
        let id = self.id.map_or_else(random_id, |id| checked("id", id))?;
        let name = checked("user", self.user)?;
        let paid = self.paid.map(Paid::amount).transpose()?.filter(|amount| amount.micros > 0);
        Ok(Message {
            platform,
            channel: self
                .channel
                .filter(|channel| !channel.is_empty())
                .map_or(Ok(String::new()), |channel| checked("channel", channel))?,
            id,
            user: User {
                id: self.user_id.map(|id| checked("user_id", id)).transpose()?.unwrap_or_default(),
                name,
                login: String::new(),
                masked: false,
                roles: roles(&self.badges.unwrap_or_default()),
            },
            text: self.text,
            emotes: Vec::new(),
            kind: paid.map_or(Kind::Chat, |amount| Kind::SuperChat { amount }),
            sent_at: None,
        })
    }
}

impl Paid {
    /// # Errors
    /// It is no amount, or no currency.
    pub fn amount(self) -> Result<Amount, Error> {
        let wrong = |message: &str| Error::invalid("invalid_value", Some("paid"), message);
        let text = match &self.amount {
            Value::String(text) => text.clone(),
            // Rounded to what is kept, which no decimal that people write is changed by.
            Value::Number(number) if number.is_f64() => format!("{:.6}", number.as_f64().unwrap_or(f64::NAN)),
            Value::Number(number) => number.to_string(),
            _ => return Err(wrong("\"paid.amount\" must be a number")),
        };
        let micros = micros(&text).filter(|micros| *micros <= MAX_MICROS);
        let micros = micros.ok_or_else(|| wrong("\"paid.amount\" must be a decimal number from 0 to 1000000000"))?;
        let currency = self.currency.to_ascii_uppercase();
        if currency.len() != 3 || !currency.bytes().all(|letter| letter.is_ascii_uppercase()) {
            return Err(wrong("\"paid.currency\" must be three letters such as \"EUR\""));
        }
        Ok(Amount { micros, currency })
    }
}

fn amount_schema() -> Schema {
    let number = ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::Number))
        .minimum(Some(0.0))
        .maximum(Some(MAX_AMOUNT as f64))
        .examples([json!(5)]);
    let text =
        ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).pattern(Some(r"^[0-9]{1,9}(\.[0-9]{1,6})?$"));
    OneOfBuilder::new().item(number).item(text).into()
}

/// Digits beyond a millionth are cut off. Never through a float.
fn micros(text: &str) -> Option<u64> {
    let (units, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if units.is_empty() && fraction.is_empty() || !digits(units) || !digits(fraction) {
        return None;
    }
    let fraction: String = fraction.chars().chain("000000".chars()).take(MICROS_DIGITS).collect();
    let units: u64 = if units.is_empty() { 0 } else { units.parse().ok()? };
    units.checked_mul(1_000_000)?.checked_add(fraction.parse().ok()?)
}

fn platform(name: &str) -> Result<Platform, Error> {
    name.parse().map_err(|wrong| Error::invalid("invalid_value", Some("platform"), format!("\"platform\" {wrong}")))
}

/// A platform whose chats can be listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChatPlatform {
    #[serde(alias = "Twitch")]
    Twitch,
    #[serde(alias = "YouTube", alias = "Youtube")]
    Youtube,
    #[serde(alias = "Bilibili")]
    Bilibili,
}

impl ChatPlatform {
    /// # Errors
    /// There is no such platform.
    pub fn named(name: &str) -> Result<Self, Error> {
        serde_json::from_value(name.into()).map_err(|_| {
            let message = "\"platform\" must be \"twitch\", \"youtube\" or \"bilibili\"";
            Error::invalid("invalid_value", Some("platform"), message)
        })
    }
}

impl From<ChatPlatform> for Platform {
    fn from(platform: ChatPlatform) -> Self {
        match platform {
            ChatPlatform::Twitch => Self::Twitch,
            ChatPlatform::Youtube => Self::Youtube,
            ChatPlatform::Bilibili => Self::Bilibili,
        }
    }
}

/// Whom somebody in control means: the platform, and the id if that is known.
///
/// # Errors
/// What is given is no name.
pub fn user(name: &str, user: &str, user_id: Option<String>) -> Result<(Platform, Option<String>), Error> {
    let platform = platform(name)?;
    checked("user", user.to_owned())?;
    Ok((platform, user_id.map(|id| checked("user_id", id)).transpose()?))
}

/// As in Twitch's tags, a badge may have a version behind a slash.
fn roles(badges: &[String]) -> Roles {
    let mut roles = Roles::default();
    for badge in badges {
        let name = badge.split('/').next().unwrap_or_default().trim().to_ascii_lowercase();
        match name.as_str() {
            "broadcaster" | "owner" | "streamer" => roles.broadcaster = true,
            "moderator" | "mod" => roles.moderator = true,
            "vip" => roles.vip = true,
            "subscriber" | "sub" | "member" | "sponsor" | "founder" | "guard" => roles.subscriber = true,
            "bot" => roles.bot = true,
            _ => {}
        }
    }
    roles
}

/// An id or a name as people and platforms have them.
///
/// # Errors
/// It is empty, too long, or has control characters.
pub fn checked(param: &'static str, text: String) -> Result<String, Error> {
    let fits = !text.is_empty()
        && text.chars().take(MAX_ID_CHARS + 1).count() <= MAX_ID_CHARS
        && !text.contains(char::is_control);
    if fits {
        return Ok(text);
    }
    let message = format!("{param:?} must have 1 to {MAX_ID_CHARS} characters, without control characters");
    Err(Error::invalid("invalid_value", Some(param), message))
}

/// # Errors
/// The system gives no random bytes.
pub fn random_id() -> Result<String, Error> {
    let mut random = [0; 12];
    getrandom::fill(&mut random).map_err(|error| Error::ChatUnavailable { message: error.to_string() })?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(value: Value) -> Result<Message, Error> {
        serde_json::from_value::<Incoming>(value).expect("the shape").message()
    }

    #[test]
    fn amounts_are_exact() {
        for (amount, expected) in [
            (json!(5), 5_000_000),
            (json!(0.1), 100_000),
            (json!("19.99"), 19_990_000),
            (json!(".5"), 500_000),
            (json!("1.23456789"), 1_234_567),
        ] {
            let paid = json!({"amount": amount, "currency": "eur"});
            let message =
                message(json!({"platform": "twitch", "user": "a", "text": "b", "paid": paid})).expect("valid");
            let amount = Amount { micros: expected, currency: "EUR".to_owned() };
            assert_eq!(message.kind, Kind::SuperChat { amount });
        }
        for amount in [json!(-1), json!("1e3"), json!("five"), json!(null), json!(""), json!("99999999999999999999")] {
            let paid = json!({"amount": amount, "currency": "EUR"});
            let wrong = message(json!({"platform": "twitch", "user": "a", "text": "b", "paid": paid}));
            assert!(matches!(wrong, Err(Error::Invalid { param: Some("paid"), .. })), "{amount}");
        }
    }

    #[test]
    fn other_platforms_are_told_apart() {
        let of = |platform: &str| {
            message(json!({"platform": platform, "user": "Ann", "user_id": "7", "text": "b", "id": "1"}))
                .expect("valid")
        };
        assert_eq!((of("Twitch").platform, of("Twitch").id.as_str()), (Platform::Twitch, "1"));
        let (kick, trovo) = (of("Kick"), of("trovo"));
        assert_eq!(kick.platform.to_string(), "kick");
        assert_eq!((kick.id.as_str(), kick.user.id.as_str()), ("1", "7"));
        assert_ne!(kick.platform, trovo.platform);
        assert_eq!(user("KICK", "Ann", Some("7".to_owned())).expect("valid"), (kick.platform, Some("7".to_owned())));
        let unnamed = || message(json!({"platform": "kick", "user": "Ann", "text": "b"})).expect("valid").id;
        assert_ne!(unnamed(), unnamed());
    }

    #[test]
    fn badges_are_roles() {
        let badges = json!(["moderator/1", "Subscriber", "sparkles"]);
        let message =
            message(json!({"platform": "kick", "user": "Ann", "text": "b", "badges": badges})).expect("valid");
        let roles = Roles { moderator: true, subscriber: true, ..Roles::default() };
        assert_eq!(message.user.roles, roles);
    }
}
