//! What the rules remember of the last minutes, bounded whatever the chat does. Pure, with the caller's clock.

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use super::{
    super::{
        Platform,
        message::{Message, User as Author},
    },
    user_name,
};

/// Beyond that the one who was silent longest is forgotten.
const MAX_USERS: usize = 20_000;
/// Of one viewer; more than any limit a minute.
const MAX_TIMES: usize = 256;
const MAX_TEXTS: usize = 4_096;
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key(Platform, String);

#[derive(Debug, Default)]
struct User {
    /// When their last messages were accepted, the newest last.
    times: VecDeque<Duration>,
    /// Something of theirs was spoken: what is held proves nothing yet.
    welcome: bool,
}

#[derive(Debug)]
struct Said {
    at: Duration,
    text: u64,
    user: Key,
}

/// Times are since any fixed moment.
#[derive(Debug, Default)]
pub struct Memory {
    users: HashMap<Key, User>,
    said: VecDeque<Said>,
}

fn key(message: &Message) -> Key {
    Key(message.platform, user_id(&message.user))
}

/// As items name their users: the platform's id, else the name.
pub(super) fn user_id(user: &Author) -> String {
    if user.id.is_empty() { format!("name:{}", user_name(&user.name)) } else { user.id.clone() }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

impl Memory {
    pub(super) fn is_new(&self, message: &Message) -> bool {
        self.users.get(&key(message)).is_none_or(|user| !user.welcome)
    }

    /// Something of theirs was spoken, or approved.
    pub fn welcome(&mut self, platform: Platform, user_id: &str) {
        let key = Key(platform, user_id.to_owned());
        self.make_room(&key);
        self.users.entry(key).or_default().welcome = true;
    }

    pub(super) fn since_last(&self, message: &Message, now: Duration) -> Option<Duration> {
        Some(now.saturating_sub(*self.users.get(&key(message))?.times.back()?))
    }

    pub(super) fn in_last_minute(&self, message: &Message, now: Duration) -> usize {
        let Some(user) = self.users.get(&key(message)) else { return 0 };
        user.times.iter().rev().take_while(|at| now.saturating_sub(**at) < MINUTE).count()
    }

    /// How often this viewer said it within the window, and how many others did.
    pub(super) fn repeated(&self, message: &Message, folded: &str, now: Duration, window: Duration) -> (usize, usize) {
        let (text, key) = (hash(folded), key(message));
        let recent = self.said.iter().rev().take_while(|said| now.saturating_sub(said.at) < window);
        let (own, others): (Vec<&Said>, _) = recent.filter(|said| said.text == text).partition(|said| said.user == key);
        (own.len(), others.len())
    }

    pub(super) fn record(&mut self, message: &Message, folded: &str, now: Duration) {
        let key = key(message);
        self.make_room(&key);
        let user = self.users.entry(key.clone()).or_default();
        user.times.push_back(now);
        if user.times.len() > MAX_TIMES {
            user.times.pop_front();
        }
        self.said.push_back(Said { at: now, text: hash(folded), user: key });
        if self.said.len() > MAX_TEXTS {
            self.said.pop_front();
        }
    }

    fn make_room(&mut self, key: &Key) {
        if self.users.len() >= MAX_USERS && !self.users.contains_key(key) {
            let newest = |user: &User| user.times.back().copied().unwrap_or_default();
            // A half at once, so that a flood of names does not look for the oldest one each time.
            let mut times: Vec<Duration> = self.users.values().map(newest).collect();
            let middle = times.len() / 2;
            let (_, middle, _) = times.select_nth_unstable(middle);
            let middle = *middle;
            self.users.retain(|_, user| newest(user) > middle);
        }
    }
}
