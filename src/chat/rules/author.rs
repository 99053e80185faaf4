//! The rules on whose message it is: who is heard, for what, how often, and what waits for approval.

use std::time::Duration;

use super::{
    Decision, Memory, Now, Outcome, Speech, allowed,
    commands::{Typed, typed},
    decimal,
    judge::{Case, Decided},
    user_name,
};
use crate::{chat::message::Kind, config::Approval};

/// Others who said the same before it is a copy.
const COPIES: usize = 3;

pub(super) fn users(case: &mut Case<'_>) -> Decided {
    let user = &case.message.user;
    let names: Vec<String> = user.names().map(user_name).collect();
    if let Some(name) = names.iter().find(|name| case.rules.ignored_users.contains(*name)) {
        return case.refuse("ignored_users", format!("{name} is ignored"));
    }
    case.pass("ignored_users")?;
    let bot = names.iter().find(|name| case.rules.bots.contains(*name)).or(names.first().filter(|_| user.roles.bot));
    if let Some(name) = bot.filter(|_| !case.paid) {
        return case.refuse("bots", format!("{name} is a bot"));
    }
    case.pass("bots")
}

/// Where the words begin after `!tts`, or nothing where it was not typed.
pub(super) fn command(case: &mut Case<'_>) -> Decided<Option<usize>> {
    let settings = &case.rules.settings;
    match typed(&case.message.text, &settings.prefix, &settings.commands, case.message.user.roles) {
        Typed::Words => case.pass("command").map(|()| None),
        Typed::Tts { rest } => case.changed("command", "it asks to be spoken").map(|()| Some(rest)),
        // What was paid for is spoken whatever it begins with.
        _ if case.paid => case.pass("command").map(|()| None),
        Typed::Command { name, command } => {
            let prefix = &settings.prefix;
            case.told("command", Outcome::Acted, format!("{prefix}{name}"));
            Err(Box::new(Decision::Act(command)))
        }
        Typed::Refused(why) => case.refuse("command", why).map(|()| None),
        Typed::Foreign => case.refuse("command", "it is a command for another bot").map(|()| None),
    }
}

/// Less than what is asked for is an ordinary message, where there are words at all.
pub(super) fn threshold(case: &mut Case<'_>) -> Decided {
    let settings = &case.rules.settings;
    let below = match &case.message.kind {
        Kind::Cheer { bits } if *bits < settings.min_bits => Some(format!("fewer than {} bits", settings.min_bits)),
        Kind::SuperChat { amount }
        | Kind::Gift { amount: Some(amount), .. }
        | Kind::Subscription { amount: Some(amount), .. } => {
            let least = case.rules.min_micros.get(&amount.currency).copied().unwrap_or(0);
            (amount.micros < least).then(|| format!("less than {} {}", decimal(least), amount.currency))
        }
        // What is asked for in any currency, a free gift is less than.
        Kind::Gift { amount: None, .. } if case.rules.min_micros.values().any(|least| *least > 0) => {
            Some("a free gift".to_owned())
        }
        Kind::Raid { viewers } if *viewers < settings.min_raid_viewers => {
            Some(format!("fewer than {} viewers", settings.min_raid_viewers))
        }
        Kind::Redemption { reward_id, title, .. } if !settings.rewards.is_empty() => {
            let spoken =
                settings.rewards.iter().any(|one| one == reward_id || one.to_lowercase() == title.to_lowercase());
            (!spoken).then(|| format!("the reward {title:?} is not spoken"))
        }
        _ => None,
    };
    let Some(reason) = below else { return case.pass("threshold") };
    if case.message.text.trim().is_empty() || matches!(case.message.kind, Kind::Redemption { .. }) {
        return case.refuse("threshold", reason);
    }
    (case.paid, case.plain) = (false, true);
    case.changed("threshold", format!("{reason}: an ordinary message"))
}

pub(super) fn who(case: &mut Case<'_>, start: Option<usize>) -> Decided {
    let settings = &case.rules.settings;
    if !case.plain {
        return case.pass("who");
    }
    if settings.only_command && start.is_none() {
        return case.refuse("who", format!("only what begins with {}tts is spoken", settings.prefix));
    }
    if !allowed(settings.who, case.message.user.roles) {
        return case.refuse("who", format!("only {} are spoken", format!("{:?}", settings.who).to_lowercase()));
    }
    case.pass("who")
}

pub(super) fn age(case: &mut Case<'_>, now: Now) -> Decided {
    let most = case.rules.settings.max_age_s;
    let age = case.message.sent_at.and_then(|sent| now.wall.duration_since(sent).ok()).unwrap_or_default();
    if most > 0.0 && !case.paid && age.as_secs_f64() > most {
        return case.refuse("age", format!("{} s old; older than {most} s is not spoken", age.as_secs()));
    }
    case.pass("age")
}

pub(super) fn rate(case: &mut Case<'_>, memory: &Memory, now: Duration) -> Decided {
    let settings = &case.rules.settings;
    if case.paid || is_trusted(case) {
        return case.pass("rate");
    }
    let (cooldown_s, most) = (settings.user_cooldown_s, settings.user_max_per_minute);
    let since_s = memory.since_last(case.message, now).map(|since| since.as_secs_f64());
    if let Some(since_s) = since_s.filter(|since_s| *since_s < cooldown_s) {
        return case.refuse(
            "rate",
            format!("{since_s:.0} s after this viewer's last message; {cooldown_s} s must be between them"),
        );
    }
    if most > 0 && memory.in_last_minute(case.message, now) >= most {
        return case.refuse("rate", format!("this viewer had {most} messages in a minute"));
    }
    case.pass("rate")
}

pub(super) fn duplicate(case: &mut Case<'_>, memory: &Memory, folded: &str, now: Duration) -> Decided {
    let window_s = case.rules.settings.duplicate_window_s;
    if window_s > 0.0 && case.plain && !is_trusted(case) && !folded.is_empty() {
        let window = Duration::from_secs_f64(window_s);
        let (own, others) = memory.repeated(case.message, folded, now, window);
        if own > 0 {
            return case.refuse("duplicate", format!("this viewer said it less than {window_s} s ago"));
        }
        if others >= COPIES {
            return case.refuse("duplicate", format!("{others} others said it in the last {window_s} s"));
        }
    }
    case.pass("duplicate")
}

/// The streamer and those who help them.
fn is_trusted(case: &Case<'_>) -> bool {
    let roles = case.message.user.roles;
    roles.broadcaster || roles.moderator
}

pub(super) fn approval(case: &mut Case<'_>, memory: &Memory, held: bool, speech: Speech) -> Decided<Speech> {
    let wanted = match case.rules.settings.approval {
        Approval::Nothing => None,
        Approval::First => memory.is_new(case.message).then_some("this viewer's first message"),
        Approval::Unpaid => (!case.paid).then_some("what is not paid for"),
        Approval::All => Some("every message"),
    };
    let wanted = wanted.or(held.then_some("a message with a banned word"));
    match wanted {
        Some(what) if !is_trusted(case) || held => {
            case.told("approval", Outcome::Held, format!("{what} waits for approval"));
            Err(Box::new(Decision::Hold(speech)))
        }
        _ => case.pass("approval").map(|()| speech),
    }
}
