//! What is queued: a message that the rules let through, with what is to be said. Plain data; no thread of its own.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Amount, Platform, User, rules::Priority};

/// The order of arrival, for good: no two items ever have the same one.
pub type Sequence = u64;

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

    /// All by which somebody may be meant: the first is `of`.
    #[must_use]
    pub fn all(platform: Platform, user: &User) -> Vec<Self> {
        std::iter::once(Self::of(platform, user)).chain(user.names().map(|name| Self::named(platform, name))).collect()
    }

    /// By the shown name, or the login, whatever its case.
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
    /// As in `User`.
    #[serde(default)]
    pub user_login: String,
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

    /// All by which its author may be meant.
    #[must_use]
    pub fn users(&self) -> Vec<UserKey> {
        let names = [&self.user_name, &self.user_login].into_iter().filter(|name| !name.is_empty());
        let named = names.map(|name| UserKey::named(self.user.platform, name));
        std::iter::once(self.user.clone()).chain(named).collect()
    }

    /// Whether somebody whom the platform names by id, name or both wrote it. The name tells only where the item has no id.
    #[must_use]
    pub fn is_by(&self, user: &UserKey, name: Option<&str>) -> bool {
        let named = |name: &str| {
            let is = |name: &str| self.user == UserKey::named(user.platform, name);
            // What Bilibili leaves of a name.
            let left = name.chars().next().map(|first| format!("{first}***"));
            is(name) || self.masked && left.is_some_and(|left| is(&left))
        };
        // Others are left with the same: what one of them paid for is still said.
        let may_be_anybody = self.masked && self.priority == Priority::Paid;
        self.user == *user || !may_be_anybody && name.is_some_and(named)
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

/// An item that ended a while ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedItem {
    pub item: Arc<Numbered>,
    pub outcome: Outcome,
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_whom_it_is() {
        let platform = Platform::Bilibili;
        let by = |user: UserKey, masked, priority: Priority| Item {
            message: MessageKey { platform, id: "1".into() },
            channel: String::new(),
            user,
            user_name: String::new(),
            user_login: String::new(),
            shown_name: String::new(),
            masked,
            text: String::new(),
            speech: String::new(),
            language: None,
            engine: None,
            voice: None,
            priority,
            paid: None,
            rule: String::new(),
            reason: String::new(),
            arrived_ms: 0,
        };
        let id = |id: &str| UserKey { platform, id: id.into() };
        let named = |name| UserKey::named(platform, name);
        let everyone = Priority::Everyone;
        let removed = |item: &Item| item.is_by(&id("12345"), Some("Xu观众"));
        for (item, expected) in [
            (by(id("12345"), false, everyone), true),
            (by(id("12345"), false, Priority::Paid), true),
            (by(id("9"), false, everyone), false),
            (by(named("Xu观众"), false, everyone), true),
            (by(named("xu观众"), false, Priority::Paid), true),
            (by(UserKey::named(Platform::Twitch, "Xu观众"), false, everyone), false),
            (by(named("X***"), true, everyone), true),
            (by(named("观***"), true, everyone), false),
            (by(named("X***"), true, Priority::Paid), false),
            // Nobody hid it: somebody is called so.
            (by(named("X***"), false, everyone), false),
        ] {
            assert_eq!(removed(&item), expected, "{item:?}");
        }
        assert!(!by(named("X***"), true, everyone).is_by(&id("12345"), None));
        assert!(by(named("ann"), false, everyone).is_by(&id(""), Some("@Ann")));
    }
}
