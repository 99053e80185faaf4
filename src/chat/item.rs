//! What is queued: a message that the rules let through, with what is to be said. Plain data; no thread of its own.

use serde::{Deserialize, Serialize};

use super::{Amount, Platform, User, rules::Priority};

/// The order of arrival, for good: no two items ever have the same one.
pub type Sequence = u64;

/// By its name in lower case.
#[must_use]
pub fn platform(name: &str) -> Option<Platform> {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).ok()
}

/// What names a message for good: the platform and its id there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MessageKey {
    pub platform: Platform,
    pub id: String,
}

/// Between whom the queue is fair, and who keeps a voice: the platform's id of the user, else the name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UserKey {
    pub platform: Platform,
    pub id: String,
}

impl UserKey {
    #[must_use]
    pub fn of(platform: Platform, user: &User) -> Self {
        if user.id.is_empty() { Self::named(platform, &user.name) } else { Self { platform, id: user.id.clone() } }
    }

    /// By the shown name, whatever its case.
    #[must_use]
    pub fn named(platform: Platform, name: &str) -> Self {
        Self { platform, id: format!("name:{}", name.trim().trim_start_matches('@').to_lowercase()) }
    }
}

/// Something to be said on the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub message: MessageKey,
    pub channel: String,
    pub user: UserKey,
    /// As the platform has it: by it somebody is found.
    pub user_name: String,
    /// As it may be shown; empty in what older versions stored: the name.
    #[serde(default)]
    pub shown_name: String,
    /// The platform hid parts of the name.
    #[serde(default)]
    pub masked: bool,
    /// As it is shown.
    pub text: String,
    /// As it is said.
    pub speech: String,
    pub language: Option<String>,
    pub engine: Option<String>,
    pub voice: Option<String>,
    pub priority: Priority,
    pub paid: Option<Amount>,
    /// Which rule let it through, and why.
    pub rule: String,
    pub reason: String,
    /// Milliseconds since 1970.
    pub arrived_ms: u64,
}

impl Item {
    /// Fit for the stream.
    #[must_use]
    pub fn shown_name(&self) -> &str {
        if self.shown_name.is_empty() { &self.user_name } else { &self.shown_name }
    }
}

/// An item with its place in the order of arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    pub sequence: Sequence,
    pub item: Item,
}

impl Numbered {
    #[must_use]
    pub fn is_paid(&self) -> bool {
        self.item.priority == Priority::Paid
    }
}

/// How an item ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// An overlay played it to its end.
    Finished,
    /// It could not be said or played.
    Failed,
    /// Somebody went on to the next.
    Skipped,
    /// The queue was emptied.
    Cleared,
    /// The message was deleted, or its author removed.
    Withdrawn,
    /// Pushed out of a full queue, or too old.
    Dropped,
    /// Nobody approved it, or somebody said no.
    Rejected,
}

impl Outcome {
    const ALL: [Self; 7] =
        [Self::Finished, Self::Failed, Self::Skipped, Self::Cleared, Self::Withdrawn, Self::Dropped, Self::Rejected];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cleared => "cleared",
            Self::Withdrawn => "withdrawn",
            Self::Dropped => "dropped",
            Self::Rejected => "rejected",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}
