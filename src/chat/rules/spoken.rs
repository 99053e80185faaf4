//! What is said in the end: the template around the words, names made fit to be said and shown, the priority.

use super::{
    Priority, Speech, decimal,
    judge::{Case, Decided},
    shape,
    template::Template,
    words::longest,
};
use crate::chat::message::Kind;

const MAX_NAME_CHARS: usize = 30;
/// Said for a name that cannot be said.
const SOMEONE: &str = "someone";
const SOMETHING: &str = "something";
const MAX_NAME_CODE_POINTS: usize = 512;
const MAX_TITLE_CHARS: usize = 60;

pub(super) fn speech(case: &mut Case<'_>, language: Option<String>) -> Decided<Speech> {
    let templates = &case.rules.templates;
    let template = match &case.message.kind {
        _ if case.plain => &templates.chat,
        Kind::Chat => &templates.chat,
        Kind::Cheer { .. } => &templates.cheer,
        // "Sent 0 USD" is nothing to say: how much it was is not known.
        Kind::SuperChat { amount } if amount.micros == 0 => &templates.chat,
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
    let most = longest(case);
    let filled = |words: &str| {
        let filled = fill(case, template, words);
        shape::cut(&filled, most).unwrap_or(filled)
    };
    let (text, display_text) = (filled(&case.said), filled(&case.shown));
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
        name: shown_name(case),
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
        ("gift", Kind::Gift { name, .. }) => title(case, name),
        ("count", Kind::Gift { count, .. } | Kind::SubscriptionGift { count, .. }) => count.to_string(),
        ("tier", Kind::Subscription { tier, .. } | Kind::SubscriptionGift { tier, .. }) => title(case, tier),
        ("months", Kind::Subscription { months, .. }) => months.to_string(),
        ("viewers", Kind::Raid { viewers }) => viewers.to_string(),
        ("reward", Kind::Redemption { title: reward, .. }) => title(case, reward),
        ("points", Kind::Redemption { points, .. }) => points.to_string(),
        _ => String::new(),
    })
}

/// The name of a gift, a reward or a tier.
fn title(case: &Case<'_>, name: &str) -> String {
    let name = shape::tidy(name);
    let name = shape::cut(&name, MAX_TITLE_CHARS).unwrap_or(name);
    if case.rules.banned.find(&name).is_empty() { name } else { SOMETHING.to_owned() }
}

/// A name is looked at in full for banned words, but for no more than a platform would send. "@ann" is Ann's handle.
fn bounded_name(all: &str) -> &str {
    let name = all.char_indices().nth(MAX_NAME_CODE_POINTS).map_or(all, |(end, _)| &all[..end]);
    name.trim().trim_start_matches('@')
}

/// A name that would be said and shown to all is the cheapest place for an advertisement.
fn is_hidden(case: &Case<'_>, name: &str) -> bool {
    !case.rules.banned.find(name).is_empty() || !shape::links(name).is_empty()
}

/// As it stands on the stream: as it is written, but never a banned word or a link, nor what would spoil the overlay.
fn shown_name(case: &Case<'_>) -> String {
    let name = bounded_name(&case.message.user.name);
    let shown = shape::tidy(name);
    let shown = shape::cut(&shown, MAX_NAME_CHARS).unwrap_or(shown);
    if shown.is_empty() || is_hidden(case, name) { SOMEONE.to_owned() } else { shown }
}

/// Without what nobody would read out of a name; a name that holds a banned word or a link is not said.
fn spoken_name(case: &Case<'_>) -> String {
    let name = bounded_name(case.called.unwrap_or(&case.message.user.name));
    let spaced: String = name.chars().map(|c| if matches!(c, '_' | '*' | '-') { ' ' } else { c }).collect();
    let said = shape::limit_repeats(&shape::tidy(&spaced), case.rules.settings.max_repeats);
    let said = shape::cut(&said, MAX_NAME_CHARS).unwrap_or(said);
    if !shape::is_speakable(&said) || is_hidden(case, name) {
        return SOMEONE.to_owned();
    }
    said
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
