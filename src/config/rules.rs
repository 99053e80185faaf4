//! What each setting must be. The same words serve a wrong type and a value out of range.

use std::net::IpAddr;

use serde::Deserialize;
use toml::{Table, Value};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use super::{Config, chat_source_rules, keys::dotted, secret::HIDDEN};

/// The longest time that may be set: a year. Far more would overflow a deadline.
const MAX_SECONDS: f64 = 31_536_000.0;
const MAX_CACHE_MIB: usize = 1 << 20;
const MAX_THREADS: usize = 1024;
const MAX_NAME_CHARS: usize = 64;
/// Of a voice that is described.
const MAX_VOICE_CHARS: usize = 128;
/// Errors are one line each; a longer value is cut.
const MAX_SHOWN_CHARS: usize = 80;

pub(super) struct Rule {
    pub(super) key: &'static str,
    pub(super) must_be: &'static str,
    /// What is wrong, as it is shown, or nothing.
    pub(super) fault: fn(&Config) -> Option<String>,
}

const RULES: &[Rule] = &[
    Rule {
        key: "engine",
        must_be: "an engine's name such as \"hibari\", or \"auto\"",
        fault: |config| unless(is_engine_name(&config.engine), &config.engine),
    },
    Rule {
        key: "fallback",
        must_be: "a list of engines' names such as [\"hibari\"]",
        fault: |config| first_that_is_not(&config.fallback, is_engine_name),
    },
    Rule {
        key: "http.host",
        must_be: "an IP address or a host name without scheme and port, such as \"127.0.0.1\"",
        fault: |config| unless(is_host(&config.http.host), &config.http.host),
    },
    Rule { key: "http.port", must_be: "a whole number from 0 to 65535 (0: any free port)", fault: |_| None },
    Rule {
        key: "http.allowed_hosts",
        must_be: "a list of host names without scheme and port, such as [\"tts.example.org\"]",
        fault: |config| first_that_is_not(&config.http.allowed_hosts, is_host),
    },
    Rule {
        key: "http.allowed_origins",
        must_be: "a list of origins in lower case such as [\"https://example.org\"]: scheme, host and port, no path",
        fault: |config| first_that_is_not(&config.http.allowed_origins, is_origin),
    },
    Rule {
        key: "http.max_body_bytes",
        must_be: "a whole number, 1 or more",
        fault: |config| at_least(1, config.http.max_body_bytes),
    },
    Rule {
        key: "http.shutdown_grace_s",
        must_be: SPAN_OR_ZERO,
        fault: |config| span_or_zero(config.http.shutdown_grace_s),
    },
    Rule {
        key: "cpu.threads",
        must_be: "a whole number from 0 to 1024 (0: as many as the machine has cores)",
        fault: |config| unless(config.cpu.threads <= MAX_THREADS, &config.cpu.threads),
    },
    Rule {
        key: "text.max_chars",
        must_be: "a whole number, 1 or more",
        fault: |config| at_least(1, config.text.max_chars),
    },
    Rule {
        key: "text.first_segment_chars",
        must_be: "a whole number, 20 or more",
        fault: |config| at_least(20, config.text.first_segment_chars),
    },
    Rule {
        key: "queue.max_requests",
        must_be: "a whole number, 1 or more",
        fault: |config| at_least(1, config.queue.max_requests),
    },
    Rule { key: "queue.max_speech_s", must_be: SPAN, fault: |config| span(config.queue.max_speech_s) },
    Rule { key: "queue.max_wait_s", must_be: SPAN, fault: |config| span(config.queue.max_wait_s) },
    Rule {
        key: "speech.window_segments",
        must_be: "a whole number, 1 or more",
        fault: |config| at_least(1, config.speech.window_segments),
    },
    Rule { key: "speech.max_unread_s", must_be: SPAN, fault: |config| span(config.speech.max_unread_s) },
    Rule { key: "speech.max_stall_s", must_be: SPAN, fault: |config| span(config.speech.max_stall_s) },
    Rule {
        key: "speech.cache_mib",
        must_be: "a whole number from 0 to 1048576 (0: no cache)",
        fault: |config| unless(config.speech.cache_mib <= MAX_CACHE_MIB, &config.speech.cache_mib),
    },
    Rule { key: "speech.max_step_s", must_be: SPAN, fault: |config| span(config.speech.max_step_s) },
    Rule { key: "join.enabled", must_be: "true or false", fault: |_| None },
    Rule {
        key: "join.sentence_min_ms",
        must_be: "a number of milliseconds from 0 to join.sentence_max_ms",
        fault: |config| {
            unless(
                (0.0..=config.join.sentence_max_ms).contains(&config.join.sentence_min_ms),
                &config.join.sentence_min_ms,
            )
        },
    },
    Rule { key: "join.sentence_max_ms", must_be: PAUSE, fault: |config| pause(config.join.sentence_max_ms) },
    Rule {
        key: "join.clause_min_ms",
        must_be: "a number of milliseconds from 0 to join.clause_max_ms",
        fault: |config| {
            unless((0.0..=config.join.clause_max_ms).contains(&config.join.clause_min_ms), &config.join.clause_min_ms)
        },
    },
    Rule { key: "join.clause_max_ms", must_be: PAUSE, fault: |config| pause(config.join.clause_max_ms) },
    Rule { key: "join.none_max_ms", must_be: PAUSE, fault: |config| pause(config.join.none_max_ms) },
    Rule {
        key: "join.crossfade_ms",
        must_be: "a number of milliseconds from 0 to 500",
        fault: |config| unless((0.0..=500.0).contains(&config.join.crossfade_ms), &config.join.crossfade_ms),
    },
    Rule { key: "loudness.mode", must_be: "\"voice\", \"file\" or \"off\"", fault: |_| None },
    Rule {
        key: "loudness.target_lufs",
        must_be: "a number of LUFS from -40 to -5",
        fault: |config| unless((-40.0..=-5.0).contains(&config.loudness.target_lufs), &config.loudness.target_lufs),
    },
    Rule {
        key: "loudness.true_peak_dbtp",
        must_be: "a number of dBTP from -20 to 0",
        fault: |config| {
            unless((-20.0..=0.0).contains(&config.loudness.true_peak_dbtp), &config.loudness.true_peak_dbtp)
        },
    },
    Rule {
        key: "voices.default",
        must_be: "a voice's id or alias such as \"heart\"",
        fault: |config| unless(is_name(&config.voices.default), &config.voices.default),
    },
    Rule {
        key: "voices.directory",
        must_be: "a path",
        fault: |config| {
            let directory = config.voices.directory.to_string_lossy();
            unless(!directory.contains('\0'), &directory)
        },
    },
    Rule {
        key: "voices.max_upload_bytes",
        must_be: "a whole number, 1 or more",
        fault: |config| at_least(1, config.voices.max_upload_bytes),
    },
    Rule {
        key: "voices.aliases",
        must_be: "a table from other names to voices' ids such as { narrator = \"heart\" }, of 64 characters at most",
        fault: |config| {
            let names = config.voices.aliases.iter().flat_map(|(alias, voice)| [alias, voice]);
            names.into_iter().find(|name| !is_name(name)).map(|name| format!("{name:?}"))
        },
    },
    Rule {
        key: "voices.preload",
        must_be: "a list of voices' ids, aliases or descriptions such as [\"heart\", \"wren+pitch=1\"]",
        fault: |config| first_that_is_not(&config.voices.preload, is_name),
    },
    Rule {
        key: "voices.cache_mib",
        must_be: "a whole number from 0 to 1048576 (0: only those in use and those of voices.preload)",
        fault: |config| unless(config.voices.cache_mib <= MAX_CACHE_MIB, &config.voices.cache_mib),
    },
    Rule {
        key: "voices.transcribe_model",
        must_be: "the name of a Whisper model such as \"base\", or the path of a folder that holds one",
        fault: |config| {
            let model = &config.voices.transcribe_model;
            unless(!model.trim().is_empty() && !model.contains(char::is_control), model)
        },
    },
    Rule {
        key: "websocket.max_contexts",
        must_be: "a whole number, 1 or more",
        fault: |config| at_least(1, config.websocket.max_contexts),
    },
    Rule { key: "websocket.idle_s", must_be: SPAN, fault: |config| span(config.websocket.idle_s) },
    Rule { key: "websocket.ping_s", must_be: SPAN, fault: |config| span(config.websocket.ping_s) },
    Rule { key: "chat.enabled", must_be: "true or false", fault: |_| None },
    Rule { key: "chat.auth", must_be: "\"auto\", \"always\" or \"never\"", fault: |_| None },
    Rule {
        key: "chat.directory",
        must_be: "a path",
        fault: |config| {
            let directory = config.chat.directory.to_string_lossy();
            unless(!directory.contains('\0'), &directory)
        },
    },
    Rule { key: "chat.queue.max_waiting", must_be: COUNT, fault: |config| count(config.chat.queue.max_waiting) },
    Rule { key: "chat.queue.max_paid", must_be: COUNT, fault: |config| count(config.chat.queue.max_paid) },
    Rule { key: "chat.queue.max_held", must_be: COUNT, fault: |config| count(config.chat.queue.max_held) },
    Rule {
        key: "chat.queue.approval_timeout_s",
        must_be: SPAN,
        fault: |config| span(config.chat.queue.approval_timeout_s),
    },
    Rule {
        key: "chat.queue.max_age_s",
        must_be: SPAN_OR_ZERO,
        fault: |config| span_or_zero(config.chat.queue.max_age_s),
    },
    Rule {
        key: "chat.queue.ahead",
        must_be: "a whole number from 1 to 16",
        fault: |config| unless((1..=16).contains(&config.chat.queue.ahead), &config.chat.queue.ahead),
    },
    Rule { key: "chat.queue.grace_s", must_be: SPAN_OR_ZERO, fault: |config| span_or_zero(config.chat.queue.grace_s) },
    Rule {
        key: "chat.queue.ack_grace_s",
        must_be: SPAN_OR_ZERO,
        fault: |config| span_or_zero(config.chat.queue.ack_grace_s),
    },
    Rule { key: "chat.queue.keep", must_be: COUNT, fault: |config| count(config.chat.queue.keep) },
    Rule {
        key: "chat.voices.pool",
        must_be: "a list of voices' ids or aliases such as [\"heart\", \"rowan\"]",
        fault: |config| first_that_is_not(&config.chat.voices.pool, is_name),
    },
    Rule { key: "chat.voices.choice", must_be: "true or false", fault: |_| None },
    Rule { key: "chat.rules.who", must_be: WHO, fault: |_| None },
    Rule { key: "chat.rules.only_command", must_be: SWITCH, fault: |_| None },
    Rule {
        key: "chat.rules.prefix",
        must_be: "a mark such as \"!\", 8 characters at most, without spaces",
        fault: |config| {
            let prefix = &config.chat.rules.prefix;
            let is_mark = !prefix.is_empty() && prefix.chars().count() <= 8 && !prefix.contains(char::is_whitespace);
            unless(is_mark, prefix)
        },
    },
    Rule { key: "chat.rules.commands.tts", must_be: WHO, fault: |_| None },
    Rule { key: "chat.rules.commands.voice", must_be: WHO, fault: |_| None },
    Rule { key: "chat.rules.commands.skip", must_be: WHO, fault: |_| None },
    Rule { key: "chat.rules.commands.pause", must_be: WHO, fault: |_| None },
    Rule { key: "chat.rules.commands.resume", must_be: WHO, fault: |_| None },
    Rule { key: "chat.rules.commands.clear", must_be: WHO, fault: |_| None },
    Rule { key: "chat.rules.commands.volume", must_be: WHO, fault: |_| None },
    Rule { key: "chat.rules.commands.mute", must_be: WHO, fault: |_| None },
    Rule { key: "chat.rules.commands.unmute", must_be: WHO, fault: |_| None },
    Rule { key: "chat.rules.commands.approve", must_be: WHO, fault: |_| None },
    Rule { key: "chat.rules.commands.reject", must_be: WHO, fault: |_| None },
    Rule { key: "chat.rules.templates.chat", must_be: TEMPLATE, fault: |_| None },
    Rule { key: "chat.rules.templates.cheer", must_be: TEMPLATE, fault: |_| None },
    Rule { key: "chat.rules.templates.super_chat", must_be: TEMPLATE, fault: |_| None },
    Rule { key: "chat.rules.templates.gift", must_be: TEMPLATE, fault: |_| None },
    Rule { key: "chat.rules.templates.subscription", must_be: TEMPLATE, fault: |_| None },
    Rule { key: "chat.rules.templates.subscription_gift", must_be: TEMPLATE, fault: |_| None },
    Rule { key: "chat.rules.templates.raid", must_be: TEMPLATE, fault: |_| None },
    Rule { key: "chat.rules.templates.redemption", must_be: TEMPLATE, fault: |_| None },
    Rule { key: "chat.rules.min_bits", must_be: NUMBER, fault: |_| None },
    Rule { key: "chat.rules.min_amounts", must_be: "a table such as { USD = \"5.00\" }", fault: |_| None },
    Rule { key: "chat.rules.min_raid_viewers", must_be: NUMBER, fault: |_| None },
    Rule { key: "chat.rules.rewards", must_be: "a list of rewards' titles or ids", fault: |_| None },
    Rule { key: "chat.rules.banned_lists", must_be: "a list of \"en\", \"zh\" and \"vi\"", fault: |_| None },
    Rule { key: "chat.rules.banned_words", must_be: "a list of words such as [\"darn\", \"darn*\"]", fault: |_| None },
    Rule { key: "chat.rules.banned_patterns", must_be: "a list of regular expressions", fault: |_| None },
    Rule { key: "chat.rules.banned", must_be: "\"refuse\", \"replace\" or \"hold\"", fault: |_| None },
    Rule { key: "chat.rules.replacement", must_be: "a word", fault: |_| None },
    Rule { key: "chat.rules.links", must_be: "\"say\", \"drop\" or \"refuse\"", fault: |_| None },
    Rule { key: "chat.rules.link_word", must_be: "a word", fault: |_| None },
    Rule { key: "chat.rules.emotes", must_be: PART, fault: |_| None },
    Rule { key: "chat.rules.emoji", must_be: PART, fault: |_| None },
    Rule { key: "chat.rules.max_emotes", must_be: "a whole number, 0 or more", fault: |_| None },
    Rule {
        key: "chat.rules.max_repeats",
        must_be: "a whole number from 1 to 1000000",
        fault: |config| count(config.chat.rules.max_repeats),
    },
    Rule {
        key: "chat.rules.max_chars",
        must_be: "a whole number from 1 to 1000000",
        fault: |config| count(config.chat.rules.max_chars),
    },
    Rule {
        key: "chat.rules.max_paid_chars",
        must_be: "a whole number from 1 to 1000000",
        fault: |config| count(config.chat.rules.max_paid_chars),
    },
    Rule { key: "chat.rules.caps", must_be: "\"keep\", \"lower\" or \"refuse\"", fault: |_| None },
    Rule { key: "chat.rules.too_long", must_be: "\"cut\" or \"refuse\"", fault: |_| None },
    Rule {
        key: "chat.rules.user_cooldown_s",
        must_be: SPAN_OR_ZERO,
        fault: |config| span_or_zero(config.chat.rules.user_cooldown_s),
    },
    Rule {
        key: "chat.rules.duplicate_window_s",
        must_be: SPAN_OR_ZERO,
        fault: |config| span_or_zero(config.chat.rules.duplicate_window_s),
    },
    Rule {
        key: "chat.rules.max_age_s",
        must_be: SPAN_OR_ZERO,
        fault: |config| span_or_zero(config.chat.rules.max_age_s),
    },
    Rule {
        key: "chat.rules.user_max_per_minute",
        must_be: "a whole number from 0 to 200 (0: any number)",
        fault: |config| unless(config.chat.rules.user_max_per_minute <= 200, &config.chat.rules.user_max_per_minute),
    },
    Rule { key: "chat.rules.bots", must_be: "a list of names", fault: |_| None },
    Rule { key: "chat.rules.ignored_users", must_be: "a list of names", fault: |_| None },
    Rule { key: "chat.rules.languages", must_be: "a list of languages such as [\"en\", \"zh\"]", fault: |_| None },
    Rule {
        key: "chat.rules.engines",
        must_be: "a table from languages to engines such as { zh = \"f5\" }",
        fault: |config| {
            config.chat.rules.engines.values().find(|name| !is_engine_name(name)).map(|name| format!("{name:?}"))
        },
    },
    Rule {
        key: "chat.rules.voices",
        must_be: "a table from languages to voices such as { zh = \"quynh\" }",
        fault: |config| {
            let is_voice = |name: &str| is_text(name, MAX_VOICE_CHARS);
            config.chat.rules.voices.values().find(|name| !is_voice(name)).map(|name| format!("{name:?}"))
        },
    },
    Rule { key: "chat.rules.approval", must_be: "\"nothing\", \"first\", \"unpaid\" or \"all\"", fault: |_| None },
    Rule {
        key: "log.level",
        must_be: "error, warn, info, debug, trace, off, or a filter like \"info,ishowtts::speech=debug\"",
        fault: |config| unless(is_log_filter(&config.log.level), &config.log.level),
    },
    Rule {
        key: "engines",
        must_be: "one table an engine, such as [engines.hibari]",
        fault: |config| config.engines.keys().find(|name| !is_engine_name(name)).map(|name| format!("{name:?}")),
    },
];

const MAX_PAUSE_MS: f64 = 5_000.0;
const PAUSE: &str = "a number of milliseconds from 0 to 5000";
const SWITCH: &str = "true or false";
const WHO: &str = "\"everyone\", \"subscribers\", \"vips\", \"moderators\", \"broadcaster\" or \"nobody\"";
const PART: &str = "\"say\", \"limit\" or \"drop\"";
const TEMPLATE: &str = "a text such as \"{name} says {text}\"; empty: not spoken";
const NUMBER: &str = "a whole number, 0 or more";
pub(super) const SPAN: &str = "a number of seconds above 0, 31536000 at most";
pub(super) const SPAN_OR_ZERO: &str = "a number of seconds from 0 to 31536000";
const COUNT: &str = "a whole number from 1 to 1000000";

/// Checks one value by itself, so that a bad one is found even where another source overrides it.
pub(super) fn check(path: &[String], value: &Value) -> Result<(), String> {
    let key = path.join(".");
    let alone = path.iter().rev().fold(value.clone(), |below, part| {
        let mut table = Table::new();
        table.insert(part.clone(), below);
        Value::Table(table)
    });
    let rule = rule_of(&key);
    let fault = match (Config::deserialize(alone), rule) {
        (Ok(config), Some(rule)) => (rule.fault)(&config),
        (Ok(_), None) => None,
        (Err(_), _) if is_secret(path) => Some(HIDDEN.into()),
        (Err(_), _) => Some(shown(value)),
    };
    match fault {
        None => Ok(()),
        Some(fault) => Err(must_be(path, &fault)),
    }
}

fn rules() -> impl Iterator<Item = &'static Rule> {
    RULES.iter().chain(chat_source_rules::RULES)
}

/// The rule for a key, or for the table that it is in.
fn rule_of(key: &str) -> Option<&'static Rule> {
    rules().find(|rule| key == rule.key || key.strip_prefix(rule.key).is_some_and(|below| below.starts_with('.')))
}

/// Not to be shown to anybody.
pub(super) fn is_secret(path: &[String]) -> bool {
    chat_source_rules::SECRETS.iter().any(|secret| secret.split('.').eq(path.iter().map(String::as_str)))
}

/// "http.port must be …, not …".
pub(super) fn must_be(path: &[String], fault: &str) -> String {
    let key = path.join(".");
    let (key, must_be) = match rule_of(&key) {
        Some(rule) if rule.key == key => (dotted(path), rule.must_be),
        // One entry of a table: the rule speaks of the table.
        Some(rule) => (rule.key.to_owned(), rule.must_be),
        None => (dotted(path), "a table of settings"),
    };
    format!("{key} must be {must_be}, not {}", cut(fault))
}

/// A value on one line.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        other => other.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

fn cut(shown: &str) -> String {
    match shown.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown.to_owned(),
    }
}

pub(super) fn unless(holds: bool, value: &(impl std::fmt::Debug + ?Sized)) -> Option<String> {
    (!holds).then(|| format!("{value:?}"))
}

fn at_least(least: usize, value: usize) -> Option<String> {
    unless(value >= least, &value)
}

fn first_that_is_not(values: &[String], holds: fn(&str) -> bool) -> Option<String> {
    values.iter().find(|value| !holds(value)).map(|value| format!("{value:?}"))
}

fn is_span(seconds: f64) -> bool {
    seconds > 0.0 && seconds <= MAX_SECONDS
}

pub(super) fn span(seconds: f64) -> Option<String> {
    unless(is_span(seconds), &seconds)
}

fn pause(ms: f64) -> Option<String> {
    unless((0.0..=MAX_PAUSE_MS).contains(&ms), &ms)
}

pub(super) fn span_or_zero(seconds: f64) -> Option<String> {
    unless(seconds == 0.0 || is_span(seconds), &seconds)
}

fn count(value: usize) -> Option<String> {
    unless((1..=1_000_000).contains(&value), &value)
}

fn is_engine_name(name: &str) -> bool {
    let letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    name.starts_with(letter)
        && name.len() <= MAX_NAME_CHARS
        && name.chars().all(|other| letter(other) || matches!(other, '-' | '_'))
}

fn is_name(name: &str) -> bool {
    is_text(name, MAX_NAME_CHARS)
}

/// Not blank, on one line, of so many characters at most.
pub(super) fn is_text(text: &str, max_chars: usize) -> bool {
    !text.trim().is_empty() && text.chars().count() <= max_chars && !text.chars().any(char::is_control)
}

fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty() && label.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_'))
    };
    host.parse::<IpAddr>().is_ok() || (host.len() <= 253 && host.split('.').all(label))
}

/// As a browser sends it (RFC 6454, 6.2): scheme://host[:port], in lower case.
fn is_origin(origin: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let scheme_letter = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '-' | '.');
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => (address, None),
        Some((address, rest)) => (address, Some(rest.strip_prefix(':').unwrap_or_default())),
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let bracketed = authority.starts_with('[');
    scheme.starts_with(|letter: char| letter.is_ascii_lowercase())
        && scheme.chars().all(scheme_letter)
        && !origin.chars().any(|letter| letter.is_ascii_uppercase())
        && is_host(host)
        && bracketed == host.contains(':')
        && port.is_none_or(|port| {
            port.chars().all(|digit| digit.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
        })
}

/// Stricter than the filter's own parser, which takes a mistyped level for a module's name and then logs everything.
fn is_log_filter(filter: &str) -> bool {
    let directive = |directive: &str| {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
        level.trim().parse::<LevelFilter>().is_ok_and(|_| !level.trim().is_empty())
    };
    filter.split(',').all(directive) && EnvFilter::try_new(filter).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{super::keys::Keys, *};

    #[test]
    fn every_setting_has_a_rule_and_every_rule_a_setting() {
        let keys = Keys::new();
        let settings = keys.settings(&Config::default());
        for (path, value) in &settings {
            let key = path.join(".");
            assert!(rule_of(&key).is_some(), "{key}");
            assert_eq!(check(path, value), Ok(()));
        }
        for rule in rules() {
            assert!(keys.parse(rule.key).is_some(), "{}", rule.key);
            assert_eq!((rule.fault)(&Config::default()), None, "{}", rule.key);
        }
    }

    #[test]
    fn origins() {
        for good in ["https://example.org", "http://localhost:3000", "http://[::1]:80", "tauri://localhost"] {
            assert!(is_origin(good), "{good}");
        }
        let bad = [
            "",
            "*",
            "null",
            "example.org",
            "https://",
            "https://example.org/",
            "https://a b",
            "https://x:0",
            "https://x:99999",
            "https://x:",
            "https://x:+1",
            "https://u@x",
            "https://Example.org",
            "https://::1",
            "http://[::1]x",
            "http://[a]",
            "1x://y",
            "http://[::1",
        ];
        for bad in bad {
            assert!(!is_origin(bad), "{bad}");
        }
    }

    #[test]
    fn hosts() {
        for good in ["127.0.0.1", "::1", "0.0.0.0", "localhost", "tts.example.org"] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", " ", "127.0.0.1:80", "http://x", "x/y", "[::1]", "a..b", "a b"] {
            assert!(!is_host(bad), "{bad}");
        }
    }

    #[test]
    fn log_filters() {
        for good in ["info", "off", "WARN", "info,ishowtts::speech=debug", "hyper=warn"] {
            assert!(is_log_filter(good), "{good}");
        }
        for bad in ["", "inof", "info,", "ishowtts=loud", "ishowtts", "info;debug", "=info=x"] {
            assert!(!is_log_filter(bad), "{bad}");
        }
    }
}
