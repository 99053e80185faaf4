//! A redemption with a text is told twice: as a chat message (which moderators can delete) and by EventSub (which knows
//! the reward). Whichever comes first is handed on, the other is passed over. Pure; time is handed in.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::chat::{Event, Kind, Message};

/// The two come within a second or so of each other.
const MAX_APART: Duration = Duration::from_secs(30);
const MAX_WAITING: usize = 512;
const MAX_ALIASES: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Chat,
    EventSub,
}

/// The first of two.
#[derive(Debug)]
struct First {
    by: Told,
    user_id: String,
    reward_id: String,
    text: String,
    id: String,
    at: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Redemptions {
    waiting: VecDeque<First>,
    /// Title and price of each reward, as EventSub told them last.
    rewards: HashMap<String, (String, u64)>,
    /// The chat message's id and the one that was handed on in its place.
    aliases: VecDeque<(String, String)>,
}

impl Redemptions {
    /// Of the chat. None: EventSub told it already.
    pub(super) fn of_chat(&mut self, reward_id: String, mut message: Message, now: Instant) -> Option<Message> {
        if let Some(first) = self.take(Told::EventSub, &message, &reward_id, now) {
            self.aliases.push_back((message.id, first.id));
            if self.aliases.len() > MAX_ALIASES {
                self.aliases.pop_front();
            }
            return None;
        }
        self.wait(Told::Chat, &message, &reward_id, now);
        let (title, points) = self.rewards.get(&reward_id).cloned().unwrap_or_default();
        message.kind = Kind::Redemption { reward_id, title, points };
        Some(message)
    }

    /// Of EventSub. None: the chat told it already.
    pub(super) fn of_eventsub(&mut self, message: Message, now: Instant) -> Option<Message> {
        let Kind::Redemption { reward_id, title, points } = &message.kind else { return Some(message) };
        if self.rewards.len() < MAX_WAITING || self.rewards.contains_key(reward_id) {
            self.rewards.insert(reward_id.clone(), (title.clone(), *points));
        }
        // Without a text there is no chat message.
        if message.text.is_empty() {
            return Some(message);
        }
        if self.take(Told::Chat, &message, reward_id, now).is_some() {
            return None;
        }
        self.wait(Told::EventSub, &message, reward_id, now);
        Some(message)
    }

    /// What a deletion means, when the message was handed on under its other id.
    pub(super) fn translate(&self, event: Event) -> Event {
        match event {
            Event::Deleted { platform, channel, id } => {
                let alias = self.aliases.iter().find(|(chat, _)| *chat == id);
                Event::Deleted { platform, channel, id: alias.map_or(id, |(_, other)| other.clone()) }
            }
            other => other,
        }
    }

    fn take(&mut self, by: Told, message: &Message, reward_id: &str, now: Instant) -> Option<First> {
        while self.waiting.front().is_some_and(|first| now.saturating_duration_since(first.at) > MAX_APART) {
            self.waiting.pop_front();
        }
        let found = self.waiting.iter().position(|first| {
            first.by == by
                && first.user_id == message.user.id
                && first.reward_id == reward_id
                && first.text.trim() == message.text.trim()
        })?;
        self.waiting.remove(found)
    }

    fn wait(&mut self, by: Told, message: &Message, reward_id: &str, at: Instant) {
        if self.waiting.len() == MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(First {
            by,
            user_id: message.user.id.clone(),
            reward_id: reward_id.to_owned(),
            text: message.text.clone(),
            id: message.id.clone(),
            at,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Platform, Roles, User};

    fn message(id: &str, text: &str, kind: Kind) -> Message {
        let user = User {
            id: "7".into(),
            name: "Viewer".into(),
            login: "viewer".into(),
            masked: false,
            roles: Roles::default(),
        };
        Message {
            platform: Platform::Twitch,
            channel: "bar".into(),
            id: id.into(),
            user,
            text: text.into(),
            emotes: Vec::new(),
            kind,
            sent_at: None,
        }
    }

    fn redemption(title: &str) -> Kind {
        Kind::Redemption { reward_id: "r".into(), title: title.into(), points: 50 }
    }

    #[test]
    fn whichever_comes_first_is_heard_once() {
        let now = Instant::now();
        let mut redemptions = Redemptions::default();
        assert!(redemptions.of_eventsub(message("e1", "hi ", redemption("Say")), now).is_some());
        assert_eq!(redemptions.of_chat("r".into(), message("c1", "hi", Kind::Chat), now), None);
        let first = redemptions.of_chat("r".into(), message("c2", "hi", Kind::Chat), now).expect("another one");
        assert_eq!(first.kind, redemption("Say"));
        assert_eq!(redemptions.of_eventsub(message("e2", "hi", redemption("Say")), now), None);
        assert!(redemptions.of_eventsub(message("e3", "hi", redemption("Say")), now).is_some());
        assert!(redemptions.of_eventsub(message("e4", "", redemption("Hydrate")), now).is_some());
        assert!(redemptions.of_eventsub(message("e5", "", redemption("Hydrate")), now).is_some());
    }

    #[test]
    fn much_later_it_is_another_one() {
        let now = Instant::now();
        let mut redemptions = Redemptions::default();
        assert!(redemptions.of_chat("r".into(), message("c1", "hi", Kind::Chat), now).is_some());
        let later = now + MAX_APART + Duration::from_secs(1);
        assert!(redemptions.of_eventsub(message("e1", "hi", redemption("Say")), later).is_some());
    }

    #[test]
    fn a_deletion_of_the_chat_message_takes_the_redemption_back() {
        let now = Instant::now();
        let mut redemptions = Redemptions::default();
        redemptions.of_eventsub(message("e1", "hi", redemption("Say")), now);
        redemptions.of_chat("r".into(), message("c1", "hi", Kind::Chat), now);
        let deleted = |id: &str| Event::Deleted { platform: Platform::Twitch, channel: "bar".into(), id: id.into() };
        assert_eq!(redemptions.translate(deleted("c1")), deleted("e1"));
        assert_eq!(redemptions.translate(deleted("c9")), deleted("c9"));
    }
}
