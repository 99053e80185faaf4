//! The rules with what they remember and the clock.

use std::time::{Instant, SystemTime};

use super::{
    Message, UserKey,
    rules::{Memory, Now, Rules, Verdict},
};
use crate::config::ChatRules;

pub(super) struct Judge {
    rules: Rules,
    memory: Memory,
    start: Instant,
}

impl Judge {
    /// # Errors
    /// Which setting cannot be used, and why.
    pub fn new(settings: &ChatRules) -> Result<Self, String> {
        Ok(Self { rules: Rules::new(settings)?, memory: Memory::default(), start: Instant::now() })
    }

    pub fn judge(&mut self, message: &Message, called: Option<&str>) -> Verdict {
        let now = self.now();
        self.rules.judge(message, called, &mut self.memory, now)
    }

    pub fn explain(&self, message: &Message, called: Option<&str>) -> Verdict {
        self.rules.explain(message, called, &self.memory, self.now())
    }

    /// They were spoken, or approved.
    pub fn welcome(&mut self, user: &UserKey) {
        self.memory.welcome(user.platform, &user.id);
    }

    fn now(&self) -> Now {
        Now { monotonic: self.start.elapsed(), wall: SystemTime::now() }
    }
}
