//! `[chat.rules]`: who is spoken, and how. Meant for streamers: docs/chat-rules.md explains each one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Who may do something; each one includes those after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Who {
    Everyone,
    Subscribers,
    Vips,
    Moderators,
    Broadcaster,
    Nobody,
}

/// What becomes of a part of a message that is not a plain word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    Say,
    Limit,
    Drop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Links {
    Say,
    Drop,
    Refuse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Banned {
    Refuse,
    Replace,
    Hold,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Caps {
    Keep,
    Lower,
    Refuse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TooLong {
    Cut,
    Refuse,
}

/// What waits for somebody's approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Approval {
    Nothing,
    /// The first message of each viewer, as far as the program remembers.
    First,
    Unpaid,
    All,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChatRules {
    /// Whose plain messages are spoken; what was paid for is spoken whoever paid.
    pub who: Who,
    /// Plain messages are spoken only when they begin with `!tts`.
    pub only_command: bool,
    pub prefix: String,
    pub commands: ChatCommands,
    pub templates: ChatTemplates,
    pub min_bits: u64,
    /// By currency, a decimal number; currencies that are not here have no least amount.
    pub min_amounts: BTreeMap<String, String>,
    pub min_raid_viewers: u64,
    /// Titles or ids of the channel-point rewards that are spoken; empty: all.
    pub rewards: Vec<String>,
    /// Lists of slurs that come with the program, by language.
    pub banned_lists: Vec<String>,
    pub banned_words: Vec<String>,
    /// Regular expressions.
    pub banned_patterns: Vec<String>,
    pub banned: Banned,
    pub replacement: String,
    pub links: Links,
    pub link_word: String,
    pub emotes: Part,
    pub emoji: Part,
    /// With "limit": how many of each.
    pub max_emotes: usize,
    /// A letter, a syllable or a word that is repeated more often is said so many times.
    pub max_repeats: usize,
    pub caps: Caps,
    /// Grapheme clusters.
    pub max_chars: usize,
    pub max_paid_chars: usize,
    pub too_long: TooLong,
    /// Between two spoken messages of one viewer; 0: none.
    pub user_cooldown_s: f64,
    /// In a minute; 0: any number.
    pub user_max_per_minute: usize,
    /// The same words of the same viewer, or of three others, within so long are spoken once; 0: always.
    pub duplicate_window_s: f64,
    /// An unpaid message that arrives later than this is not spoken; 0: any.
    pub max_age_s: f64,
    /// Names, whatever the case.
    pub bots: Vec<String>,
    pub ignored_users: Vec<String>,
    /// Those that are spoken (BCP 47); empty: all. What is too short to tell is spoken.
    pub languages: Vec<String>,
    /// Language to engine.
    pub engines: BTreeMap<String, String>,
    /// Language to voice.
    pub voices: BTreeMap<String, String>,
    pub approval: Approval,
}

/// Who may use each command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChatCommands {
    pub tts: Who,
    pub voice: Who,
    pub skip: Who,
    pub pause: Who,
    pub resume: Who,
    pub clear: Who,
    pub volume: Who,
    pub mute: Who,
    pub unmute: Who,
    pub approve: Who,
    pub reject: Who,
}

/// Empty: not spoken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChatTemplates {
    pub chat: String,
    pub cheer: String,
    pub super_chat: String,
    pub gift: String,
    pub subscription: String,
    pub subscription_gift: String,
    pub raid: String,
    pub redemption: String,
}

/// Of those that stand in most chats.
const BOTS: &[&str] = &[
    "botrixoficial",
    "cloudbot",
    "coebot",
    "commanderroot",
    "deepbot",
    "fossabot",
    "kofistreambot",
    "lumiastream",
    "mixitupapp",
    "moobot",
    "nightbot",
    "own3d",
    "phantombot",
    "pokemoncommunitygame",
    "restreambot",
    "sery_bot",
    "soundalerts",
    "streamelements",
    "streamholics",
    "streamlabs",
    "streamlootsbot",
    "tangiabot",
    "wizebot",
];

impl Default for ChatRules {
    fn default() -> Self {
        Self {
            who: Who::Everyone,
            only_command: false,
            prefix: "!".into(),
            commands: ChatCommands::default(),
            templates: ChatTemplates::default(),
            min_bits: 1,
            min_amounts: BTreeMap::new(),
            min_raid_viewers: 2,
            rewards: Vec::new(),
            banned_lists: ["en", "zh", "vi"].map(str::to_owned).to_vec(),
            banned_words: Vec::new(),
            banned_patterns: Vec::new(),
            banned: Banned::Refuse,
            replacement: "beep".into(),
            links: Links::Say,
            link_word: "link".into(),
            emotes: Part::Limit,
            emoji: Part::Limit,
            max_emotes: 2,
            max_repeats: 3,
            caps: Caps::Lower,
            max_chars: 200,
            max_paid_chars: 500,
            too_long: TooLong::Cut,
            user_cooldown_s: 0.0,
            user_max_per_minute: 10,
            duplicate_window_s: 30.0,
            max_age_s: 60.0,
            bots: BOTS.iter().map(|name| (*name).to_owned()).collect(),
            ignored_users: Vec::new(),
            languages: Vec::new(),
            engines: BTreeMap::new(),
            voices: BTreeMap::new(),
            approval: Approval::Nothing,
        }
    }
}

impl Default for ChatCommands {
    fn default() -> Self {
        Self {
            tts: Who::Everyone,
            voice: Who::Everyone,
            skip: Who::Moderators,
            pause: Who::Moderators,
            resume: Who::Moderators,
            clear: Who::Moderators,
            volume: Who::Moderators,
            mute: Who::Moderators,
            unmute: Who::Moderators,
            approve: Who::Moderators,
            reject: Who::Moderators,
        }
    }
}

impl Default for ChatTemplates {
    fn default() -> Self {
        Self {
            chat: "{text}".into(),
            cheer: "{name} cheered {bits}: {text}".into(),
            super_chat: "{name} sent {amount}: {text}".into(),
            gift: "{name} sent {count} {gift}".into(),
            subscription: "{name} subscribed: {text}".into(),
            subscription_gift: "{name} gave {count:subscription|subscriptions}".into(),
            raid: "{name} raids with {viewers:viewer|viewers}".into(),
            redemption: "{text}".into(),
        }
    }
}
