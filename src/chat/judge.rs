//! The rules with what they remember and the clock.

use super::{
    Message,
    rules::{Decision, Priority, Speech, Verdict},
};
use crate::config::Config;

pub(super) struct Judge;

impl Judge {
    pub fn new(_config: &Config) -> Self {
        Self
    }

    pub fn judge(&mut self, message: &Message) -> Verdict {
        self.explain(message)
    }

    pub fn explain(&self, message: &Message) -> Verdict {
        let priority = match (&message.kind, message.user.roles) {
            (kind, _) if kind.is_paid() => Priority::Paid,
            (_, roles) if roles.broadcaster || roles.moderator => Priority::Moderator,
            (_, roles) if roles.subscriber || roles.vip => Priority::Subscriber,
            _ => Priority::Everyone,
        };
        let speech = Speech {
            text: message.text.clone(),
            display_text: message.text.clone(),
            language: None,
            engine: None,
            voice: None,
            priority,
        };
        let decision = if message.text.trim().is_empty() { Decision::Refuse } else { Decision::Speak(speech) };
        Verdict { decision, rule: "accepted", reason: "nothing was against it".to_owned(), trace: Vec::new() }
    }
}
