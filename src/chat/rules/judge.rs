//! The rules in their order. Each one passes a message on, changes what is said of it, or decides.

use std::{ops::Range, time::Duration};

use super::{
    Decision, Memory, Now, Outcome, Priority, Rules, Speech, Step, Verdict, allowed,
    commands::{Typed, typed},
    decimal,
    fold::readings,
    shape,
    template::Template,
    user_name,
};
use crate::{
    chat::message::{Kind, Message},
    config::{Approval, Banned, Caps, Links, Part, TooLong},
};

/// More is not looked at: no platform sends it.
const MAX_TEXT_BYTES: usize = 16 << 10;
const MAX_NAME_CHARS: usize = 30;
/// Others who said the same before it is a copy.
const COPIES: usize = 3;
/// Said for a name that cannot be said.
const SOMEONE: &str = "someone";

struct Case<'a> {
    rules: &'a Rules,
    message: &'a Message,
    /// Somebody paid enough for it.
    paid: bool,
    /// It is an ordinary message, or is treated as one.
    plain: bool,
    said: String,
    shown: String,
    trace: Vec<Step>,
}

/// What a rule that ends the list answers.
type Decided<T = ()> = Result<T, Box<Decision>>;

impl Case<'_> {
    fn told(&mut self, rule: &'static str, outcome: Outcome, reason: impl Into<String>) {
        self.trace.push(Step { rule, outcome, reason: reason.into() });
    }

    fn pass(&mut self, rule: &'static str) -> Decided {
        self.told(rule, Outcome::Passed, "");
        Ok(())
    }

    fn refuse(&mut self, rule: &'static str, reason: impl Into<String>) -> Decided {
        self.told(rule, Outcome::Refused, reason);
        Err(Box::new(Decision::Refuse))
    }

    fn changed(&mut self, rule: &'static str, reason: impl Into<String>) -> Decided {
        self.told(rule, Outcome::Changed, reason);
        Ok(())
    }

    /// Puts what a rule made of the words in their place.
    fn say(&mut self, rule: &'static str, said: String, reason: &str) -> Decided {
        if said == self.said {
            return self.pass(rule);
        }
        self.said = said;
        self.changed(rule, reason)
    }
}

/// The verdict, and the words by which a repetition is found.
pub(super) fn judge(rules: &Rules, message: &Message, memory: &Memory, now: Now) -> (Verdict, String) {
    let mut case = Case {
        rules,
        message,
        paid: message.kind.is_paid(),
        plain: matches!(message.kind, Kind::Chat),
        said: String::new(),
        shown: String::new(),
        trace: Vec::new(),
    };
    let mut folded = String::new();
    let decision = match decide(&mut case, memory, now, &mut folded) {
        Ok(speech) => Decision::Speak(speech),
        Err(decision) => *decision,
    };
    let (rule, reason) = match (&decision, case.trace.last()) {
        (Decision::Speak(_), _) | (_, None) => ("accepted", "no rule was against it".to_owned()),
        (_, Some(step)) => (step.rule, step.reason.clone()),
    };
    (Verdict { decision, rule, reason, trace: case.trace }, folded)
}

fn decide(case: &mut Case<'_>, memory: &Memory, now: Now, folded: &mut String) -> Decided<Speech> {
    users(case)?;
    let start = command(case)?;
    threshold(case)?;
    who(case, start)?;
    age(case, now)?;
    rate(case, memory, now.monotonic)?;
    let end = case.message.text.char_indices().map(|(at, _)| at).find(|at| *at > MAX_TEXT_BYTES);
    let held = parts(case, start.unwrap_or(0)..end.unwrap_or(case.message.text.len()))?;
    emoji(case)?;
    repeats(case)?;
    caps(case)?;
    words(case)?;
    let language = language(case)?;
    length(case)?;
    banned_again(case, held)?;
    *folded = readings(&case.said, 'i').words.text;
    duplicate(case, memory, folded, now.monotonic)?;
    let speech = speech(case, language)?;
    approval(case, memory, held, speech)
}

fn users(case: &mut Case<'_>) -> Decided {
    let name = user_name(&case.message.user.name);
    if case.rules.ignored_users.contains(&name) {
        return case.refuse("ignored_users", format!("{name} is ignored"));
    }
    case.pass("ignored_users")?;
    if (case.message.user.roles.bot || case.rules.bots.contains(&name)) && !case.paid {
        return case.refuse("bots", format!("{name} is a bot"));
    }
    case.pass("bots")
}

/// Where the words begin after `!tts`, or nothing where it was not typed.
fn command(case: &mut Case<'_>) -> Decided<Option<usize>> {
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
fn threshold(case: &mut Case<'_>) -> Decided {
    let settings = &case.rules.settings;
    let below = match &case.message.kind {
        Kind::Cheer { bits } if *bits < settings.min_bits => Some(format!("fewer than {} bits", settings.min_bits)),
        Kind::SuperChat { amount }
        | Kind::Gift { amount: Some(amount), .. }
        | Kind::Subscription { amount: Some(amount), .. } => {
            let least = case.rules.min_micros.get(&amount.currency).copied().unwrap_or(0);
            (amount.micros < least).then(|| format!("less than {} {}", decimal(least), amount.currency))
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

fn who(case: &mut Case<'_>, start: Option<usize>) -> Decided {
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

fn age(case: &mut Case<'_>, now: Now) -> Decided {
    let most = case.rules.settings.max_age_s;
    let age = case.message.sent_at.and_then(|sent| now.wall.duration_since(sent).ok()).unwrap_or_default();
    if most > 0.0 && !case.paid && age.as_secs_f64() > most {
        return case.refuse("age", format!("{} s old; older than {most} s is not spoken", age.as_secs()));
    }
    case.pass("age")
}

fn rate(case: &mut Case<'_>, memory: &Memory, now: Duration) -> Decided {
    let settings = &case.rules.settings;
    if case.paid {
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

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Banned,
    Link,
    Emote,
}

/// Banned words, links and emotes, all looked for in the words as they were written. Whether it must be approved.
fn parts(case: &mut Case<'_>, range: Range<usize>) -> Decided<bool> {
    let settings = &case.rules.settings;
    let (text, offset) = (&case.message.text[range.clone()], range.start);
    let mut marks: Vec<(Range<usize>, Mark)> = Vec::new();
    let banned = merged(case.rules.banned.find(text));
    let mut held = false;
    match (banned.first(), settings.banned) {
        (None, _) => case.pass("banned")?,
        (Some(_), Banned::Refuse) => case.refuse("banned", "it holds a banned word")?,
        (Some(_), Banned::Replace) => {
            marks.extend(banned.into_iter().map(|range| (range, Mark::Banned)));
            case.changed("banned", "a banned word was replaced")?;
        }
        (Some(_), Banned::Hold) => {
            held = true;
            case.changed("banned", "it holds a banned word: somebody must approve it")?;
        }
    }
    let links = shape::links(text);
    match (links.first(), settings.links) {
        (None, _) => case.pass("links")?,
        (Some(_), Links::Refuse) => case.refuse("links", "it holds a link")?,
        (Some(_), Links::Drop) => case.changed("links", "a link is not said")?,
        (Some(_), Links::Say) => case.changed("links", format!("a link is said as {:?}", settings.link_word))?,
    }
    marks.extend(links.into_iter().map(|range| (range, Mark::Link)));
    let emotes = case
        .message
        .emotes
        .iter()
        .filter(|emote| emote.bytes.start >= offset && emote.bytes.end <= offset + text.len());
    marks.extend(emotes.map(|emote| (emote.bytes.start - offset..emote.bytes.end - offset, Mark::Emote)));
    let (keep, seen) = build(case, text, marks);
    match seen {
        0 => case.pass("emotes")?,
        seen if seen > keep => case.changed("emotes", format!("{} of {seen} emotes are said", keep))?,
        _ => case.pass("emotes")?,
    }
    Ok(held)
}

/// Fills in what is said and what is shown. How many emotes are said at most, and how many there are.
fn build(case: &mut Case<'_>, text: &str, mut marks: Vec<(Range<usize>, Mark)>) -> (usize, usize) {
    let settings = &case.rules.settings;
    marks.retain(|(range, _)| text.get(range.clone()).is_some_and(|part| !part.is_empty()));
    marks.sort_by_key(|(range, mark)| (*mark, range.start));
    let mut taken: Vec<(Range<usize>, Mark)> = Vec::new();
    for (range, mark) in marks {
        // Of two that overlap, the one whose rule comes first.
        if taken.iter().all(|(other, _)| range.end <= other.start || range.start >= other.end) {
            taken.push((range, mark));
        }
    }
    taken.sort_by_key(|(range, _)| range.start);
    let keep = match settings.emotes {
        Part::Say => usize::MAX,
        Part::Limit => settings.max_emotes,
        Part::Drop => 0,
    };
    let (mut said, mut shown) = (String::with_capacity(text.len()), String::with_capacity(text.len()));
    let (mut at, mut seen) = (0, 0);
    for (range, mark) in taken {
        said.push_str(&text[at..range.start]);
        shown.push_str(&text[at..range.start]);
        at = range.end;
        let part = &text[range];
        let word = match (mark, settings.links) {
            (Mark::Banned, _) => settings.replacement.as_str(),
            (Mark::Link, Links::Drop) => "",
            (Mark::Link, _) => settings.link_word.as_str(),
            (Mark::Emote, _) => {
                seen += 1;
                if seen <= keep { part } else { "" }
            }
        };
        said.push(' ');
        said.push_str(word);
        said.push(' ');
        shown.push_str(if mark == Mark::Emote { part } else { word });
    }
    said.push_str(&text[at..]);
    shown.push_str(&text[at..]);
    (case.said, case.shown) = (shape::tidy(&said), shape::tidy(&shown));
    (keep, seen)
}

fn merged(mut found: Vec<Range<usize>>) -> Vec<Range<usize>> {
    found.sort_by_key(|range| range.start);
    let mut all: Vec<Range<usize>> = Vec::new();
    for range in found {
        match all.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => all.push(range),
        }
    }
    all
}

/// What was taken out or cut may have parted a banned word, or be all that hid it.
fn banned_again(case: &mut Case<'_>, held: bool) -> Decided {
    if !held && !case.rules.banned.find(&case.said).is_empty() {
        return case.refuse("banned", "it holds a banned word once other parts are taken out");
    }
    Ok(())
}

fn emoji(case: &mut Case<'_>) -> Decided {
    let settings = &case.rules.settings;
    let most = match settings.emoji {
        Part::Say => return case.pass("emoji"),
        Part::Limit => settings.max_emotes,
        Part::Drop => 0,
    };
    let said = shape::limit_emoji(&case.said, most);
    case.say("emoji", said, "not all of the emoji are said")
}

fn repeats(case: &mut Case<'_>) -> Decided {
    let said = shape::limit_repeats(&case.said, case.rules.settings.max_repeats);
    case.say("repeats", said, "repetitions are cut")
}

fn caps(case: &mut Case<'_>) -> Decided {
    match case.rules.settings.caps {
        Caps::Refuse if shape::shouts(&case.said) => case.refuse("caps", "it is all capitals"),
        Caps::Lower if shape::shouts(&case.said) => {
            let said = case.said.to_lowercase();
            case.say("caps", said, "capitals are said as small letters")
        }
        _ => case.pass("caps"),
    }
}

fn words(case: &mut Case<'_>) -> Decided {
    if case.plain && !shape::is_speakable(&case.said) {
        return case.refuse("words", "there are no words in it");
    }
    case.pass("words")
}

fn language(case: &mut Case<'_>) -> Decided<Option<String>> {
    let settings = &case.rules.settings;
    let Some(found) = crate::text::language(&case.said) else { return case.pass("language").map(|()| None) };
    let base = |tag: &str| tag.split('-').next().unwrap_or_default().to_lowercase();
    if !settings.languages.is_empty() && !settings.languages.iter().any(|tag| base(tag) == base(found)) {
        return case.refuse("language", format!("it is in {found:?}, which is not spoken")).map(|()| None);
    }
    let reason = format!("it is in {found:?}");
    case.told("language", Outcome::Passed, reason);
    Ok(Some(found.to_owned()))
}

fn length(case: &mut Case<'_>) -> Decided {
    let settings = &case.rules.settings;
    let most = if case.paid { settings.max_paid_chars } else { settings.max_chars };
    let Some(said) = shape::cut(&case.said, most) else {
        case.shown = shape::cut(&case.shown, most).unwrap_or_else(|| std::mem::take(&mut case.shown));
        return case.pass("length");
    };
    if settings.too_long == TooLong::Refuse && !case.paid {
        return case.refuse("length", format!("it is longer than {most} characters"));
    }
    case.shown = shape::cut(&case.shown, most).unwrap_or_else(|| std::mem::take(&mut case.shown));
    case.say("length", said, &format!("cut to {most} characters"))
}

fn duplicate(case: &mut Case<'_>, memory: &Memory, folded: &str, now: Duration) -> Decided {
    let window_s = case.rules.settings.duplicate_window_s;
    if window_s > 0.0 && case.plain && !folded.is_empty() {
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

fn speech(case: &mut Case<'_>, language: Option<String>) -> Decided<Speech> {
    let templates = &case.rules.templates;
    let template = match &case.message.kind {
        _ if case.plain => &templates.chat,
        Kind::Chat => &templates.chat,
        Kind::Cheer { .. } => &templates.cheer,
        Kind::SuperChat { .. } => &templates.super_chat,
        Kind::Gift { .. } => &templates.gift,
        Kind::Subscription { .. } => &templates.subscription,
        Kind::SubscriptionGift { .. } => &templates.subscription_gift,
        Kind::Raid { .. } => &templates.raid,
        Kind::Redemption { .. } => &templates.redemption,
    };
    if template.is_empty() {
        case.refuse("words", "its kind is not spoken (its template is empty)")?;
    }
    let (text, display_text) = (fill(case, template, &case.said), fill(case, template, &case.shown));
    if !shape::is_speakable(&text) {
        case.refuse("words", "there is nothing to say")?;
    }
    let settings = &case.rules.settings;
    let routed = |routes: &std::collections::BTreeMap<String, String>| {
        let language = language.as_deref()?;
        let base = language.split('-').next().unwrap_or_default();
        routes.get(language).or_else(|| routes.get(base)).cloned()
    };
    Ok(Speech {
        engine: routed(&settings.engines),
        voice: routed(&settings.voices),
        text,
        display_text,
        priority: priority(case),
        language,
    })
}

fn fill(case: &Case<'_>, template: &Template, words: &str) -> String {
    let kind = &case.message.kind;
    let amount = match kind {
        Kind::SuperChat { amount } => Some(amount),
        Kind::Gift { amount, .. } | Kind::Subscription { amount, .. } => amount.as_ref(),
        _ => None,
    };
    template.fill(|field| match (field, kind) {
        ("name", _) => spoken_name(case),
        ("text", _) => words.to_owned(),
        ("platform", _) => case.message.platform.to_string(),
        ("bits", Kind::Cheer { bits }) => bits.to_string(),
        ("amount", _) => {
            amount.map_or_else(String::new, |amount| format!("{} {}", decimal(amount.micros), amount.currency))
        }
        ("currency", _) => amount.map_or_else(String::new, |amount| amount.currency.clone()),
        ("gift", Kind::Gift { name, .. }) => name.clone(),
        ("count", Kind::Gift { count, .. } | Kind::SubscriptionGift { count, .. }) => count.to_string(),
        ("tier", Kind::Subscription { tier, .. } | Kind::SubscriptionGift { tier, .. }) => tier.clone(),
        ("months", Kind::Subscription { months, .. }) => months.to_string(),
        ("viewers", Kind::Raid { viewers }) => viewers.to_string(),
        ("reward", Kind::Redemption { title, .. }) => title.clone(),
        ("points", Kind::Redemption { points, .. }) => points.to_string(),
        _ => String::new(),
    })
}

/// Without what nobody would read out of a name; a name that is a banned word is not said.
fn spoken_name(case: &Case<'_>) -> String {
    let name = &case.message.user.name;
    let spaced: String = name.chars().map(|c| if matches!(c, '_' | '*' | '-') { ' ' } else { c }).collect();
    let name = shape::limit_repeats(&shape::tidy(&spaced), case.rules.settings.max_repeats);
    let name = shape::cut(&name, MAX_NAME_CHARS).unwrap_or(name);
    if !shape::is_speakable(&name) || !case.rules.banned.find(&case.message.user.name).is_empty() {
        return SOMEONE.to_owned();
    }
    name
}

fn priority(case: &Case<'_>) -> Priority {
    let roles = case.message.user.roles;
    if case.paid {
        Priority::Paid
    } else if roles.broadcaster || roles.moderator {
        Priority::Moderator
    } else if roles.subscriber || roles.vip {
        Priority::Subscriber
    } else {
        Priority::Everyone
    }
}

fn approval(case: &mut Case<'_>, memory: &Memory, held: bool, speech: Speech) -> Decided<Speech> {
    let wanted = match case.rules.settings.approval {
        Approval::Nothing => None,
        Approval::First => memory.is_new(case.message).then_some("this viewer's first message"),
        Approval::Unpaid => (!case.paid).then_some("what is not paid for"),
        Approval::All => Some("every message"),
    };
    let wanted = wanted.or(held.then_some("a message with a banned word"));
    let trusted = case.message.user.roles.broadcaster || case.message.user.roles.moderator;
    match wanted {
        Some(what) if !trusted || held => {
            case.told("approval", Outcome::Held, format!("{what} waits for approval"));
            Err(Box::new(Decision::Hold(speech)))
        }
        _ => case.pass("approval").map(|()| speech),
    }
}
