//! Which messages are spoken, and how: one ordered list of rules, each of which can say why. Pure logic on the caller's
//! thread, with the caller's clock.

mod author;
mod banned;
mod commands;
mod fold;
#[cfg(test)]
mod hostile_tests;
mod judge;
mod lists;
mod memory;
mod shape;
mod spoken;
mod template;
#[cfg(test)]
mod tests;
mod verdict;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use self::{banned::BannedWords, template::Template};
pub use self::{
    memory::Memory,
    verdict::{Command, Decision, Outcome, Priority, Speech, Step, Verdict},
};
use super::message::{Message, Roles};
use crate::{
    config::{ChatRules, Who},
    text::languages,
};

/// The clock, read once for a message.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Since any fixed moment; for what is remembered.
    pub monotonic: Duration,
    /// For the age of messages.
    pub wall: SystemTime,
}

pub struct Rules {
    settings: ChatRules,
    banned: BannedWords,
    templates: Templates,
    /// Millionths by currency.
    min_micros: BTreeMap<String, u64>,
    bots: BTreeSet<String>,
    ignored_users: BTreeSet<String>,
}

struct Templates {
    chat: Template,
    cheer: Template,
    super_chat: Template,
    gift: Template,
    subscription: Template,
    subscription_gift: Template,
    raid: Template,
    redemption: Template,
}

impl Rules {
    /// # Errors
    /// Which setting cannot be used, and why; on one line.
    pub fn new(settings: &ChatRules) -> Result<Self, String> {
        let told = |why: String| format!("chat.rules.{why}");
        let lower = |names: &[String]| names.iter().map(|name| user_name(name)).collect();
        let written = &settings.templates;
        let base = |tag: &str| tag.split('-').next().unwrap_or_default().to_lowercase();
        settings.languages.iter().try_for_each(|tag| known_language("languages", &base(tag), tag)).map_err(told)?;
        settings.engines.keys().try_for_each(|tag| known_language("engines", tag, tag)).map_err(told)?;
        settings.voices.keys().try_for_each(|tag| known_language("voices", tag, tag)).map_err(told)?;
        let words = [lists::entries(&settings.banned_lists).map_err(told)?, settings.banned_words.clone()].concat();
        let template = |key, text: &String| Template::new(key, text).map_err(told);
        let min_micros = settings.min_amounts.iter().map(|(currency, amount)| {
            let is_code = currency.len() == 3 && currency.chars().all(|c| c.is_ascii_alphabetic());
            if !is_code {
                return Err(told(format!("min_amounts: {currency:?} is no currency; write for instance USD")));
            }
            let micros = micros(amount).ok_or_else(|| {
                told(format!("min_amounts.{currency} must be an amount such as \"5.00\", not {amount:?}"))
            })?;
            Ok((currency.to_uppercase(), micros))
        });
        Ok(Self {
            banned: BannedWords::new(&words, &settings.banned_patterns).map_err(told)?,
            templates: Templates {
                chat: template("chat", &written.chat)?,
                cheer: template("cheer", &written.cheer)?,
                super_chat: template("super_chat", &written.super_chat)?,
                gift: template("gift", &written.gift)?,
                subscription: template("subscription", &written.subscription)?,
                subscription_gift: template("subscription_gift", &written.subscription_gift)?,
                raid: template("raid", &written.raid)?,
                redemption: template("redemption", &written.redemption)?,
            },
            min_micros: min_micros.collect::<Result<_, String>>()?,
            bots: lower(&settings.bots),
            ignored_users: lower(&settings.ignored_users),
            settings: settings.clone(),
        })
    }

    /// What becomes of a message, which is remembered if it is spoken. `called`: what its author's name is said as.
    pub fn judge(&self, message: &Message, called: Option<&str>, memory: &mut Memory, now: Now) -> Verdict {
        let (verdict, folded) = judge::judge(self, message, called, memory, now);
        if matches!(verdict.decision, Decision::Speak(_) | Decision::Hold(_)) {
            memory.record(message, &folded, now.monotonic);
        }
        if matches!(verdict.decision, Decision::Speak(_)) {
            let user = &message.user;
            memory.welcome(message.platform, &memory::user_id(user));
        }
        verdict
    }

    /// What would become of a message; nothing is remembered.
    #[must_use]
    pub fn explain(&self, message: &Message, called: Option<&str>, memory: &Memory, now: Now) -> Verdict {
        judge::judge(self, message, called, memory, now).0
    }
}

/// A language that nothing is ever found to be in would silence or speak nothing, and nobody would know why.
fn known_language(key: &str, tag: &str, written: &str) -> Result<(), String> {
    let known = languages();
    if known.contains(tag) {
        return Ok(());
    }
    let known: Vec<&str> = known.into_iter().collect();
    Err(format!("{key}: no text is found to be in {written:?}; there are {}", known.join(", ")))
}

/// As names are compared.
fn user_name(name: &str) -> String {
    name.trim().trim_start_matches('@').to_lowercase()
}

fn allowed(who: Who, roles: Roles) -> bool {
    match who {
        Who::Everyone => true,
        Who::Subscribers => roles.subscriber || roles.vip || roles.moderator || roles.broadcaster,
        Who::Vips => roles.vip || roles.moderator || roles.broadcaster,
        Who::Moderators => roles.moderator || roles.broadcaster,
        Who::Broadcaster => roles.broadcaster,
        Who::Nobody => false,
    }
}

/// "5", "4.99": exactly, without a float.
fn micros(amount: &str) -> Option<u64> {
    let (whole, fraction) = amount.trim().split_once('.').unwrap_or((amount.trim(), ""));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    if whole.is_empty() || fraction.len() > 6 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let fraction: u64 = format!("{fraction:0<6}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(fraction)
}

/// "4.99", without a fraction where there is none.
fn decimal(micros: u64) -> String {
    let (whole, fraction) = (micros / 1_000_000, micros % 1_000_000);
    match format!("{fraction:06}").trim_end_matches('0') {
        "" => whole.to_string(),
        // As money is written.
        one if one.len() == 1 => format!("{whole}.{one}0"),
        fraction => format!("{whole}.{fraction}"),
    }
}
