//! One typed configuration: defaults < file (TOML) < environment < flags; checked once, at start.
//!
//! Only this room reads environment variables.

mod chat;
mod chat_rules;
mod chat_source_rules;
mod chat_sources;
mod keys;
mod layers;
mod load;
mod rules;
mod secret;

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

pub use chat::{Auth, Chat, ChatQueue, ChatVoices};
pub use chat_rules::{Approval, Banned, Caps, ChatCommands, ChatRules, ChatTemplates, Links, Part, TooLong, Who};
pub use chat_sources::{Bilibili, Connect, Twitch, Webhook, Youtube};
pub use load::{ConfigError, Loaded, Origin, Setting, Sources, load, virtual_environment};
pub use secret::Secret;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The engine that speaks unless a request names another; "auto": chosen by what this machine has.
    pub engine: String,
    /// Engines that are asked in turn for what `engine` cannot say. "auto": espeak, where its program is installed.
    pub fallback: Vec<String>,
    pub http: Http,
    pub cpu: Cpu,
    pub text: Text,
    pub queue: Queue,
    pub speech: Speech,
    pub join: Join,
    pub loudness: Levels,
    pub voices: Voices,
    pub websocket: Websocket,
    pub chat: Chat,
    pub log: Log,
    /// One table an engine, handed to it as it is; the engine rejects what it does not know.
    pub engines: BTreeMap<String, toml::Table>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    pub host: String,
    /// 0: any free one.
    pub port: u16,
    /// Host names beside localhost and IP addresses under which the server is reached.
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages, beside its own, that may use it ("https://example.org").
    pub allowed_origins: Vec<String>,
    pub max_body_bytes: usize,
    /// After SIGTERM, for what is in flight.
    pub shutdown_grace_s: f64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cpu {
    /// One budget for all of the program; 0: the machine's cores.
    pub threads: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Text {
    /// Unicode code points taken in one request: counted before anything else looks at the text.
    pub max_chars: usize,
    /// Grapheme clusters of the first segment, kept small so that sound starts early.
    pub first_segment_chars: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    pub max_requests: usize,
    pub max_speech_s: f64,
    /// Speech must have started by then.
    pub max_wait_s: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Speech {
    /// Segments of one request in flight or unread.
    pub window_segments: usize,
    /// Unread speech that makes a request wait for its listener.
    pub max_unread_s: f64,
    /// A listener that has speech to read and takes none for so long is cut off.
    pub max_stall_s: f64,
    /// Memory for complete results; 0: no cache.
    pub cache_mib: usize,
    /// A step that takes longer counts as a hang: the program exits with 70.
    pub max_step_s: f64,
}

/// How segments are put together. Bounds on the true silence between two of them, by how the first one ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Join {
    /// False: they follow each other as the engine makes them.
    pub enabled: bool,
    /// After a full stop and the like.
    pub sentence_min_ms: f64,
    pub sentence_max_ms: f64,
    /// After a comma and the like.
    pub clause_min_ms: f64,
    pub clause_max_ms: f64,
    /// Within a clause that was too long.
    pub none_max_ms: f64,
    /// Of speech that meets speech.
    pub crossfade_ms: f64,
}

/// `[loudness]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Levels {
    /// For requests that say nothing about it.
    pub mode: Loudness,
    /// EBU R 128, of one channel.
    pub target_lufs: f64,
    /// No peak is higher, not even between samples.
    pub true_peak_dbtp: f64,
}

/// What speech is made as loud as the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Loudness {
    /// Each voice, by a gain that was measured once: streamed and whole speech are the same samples.
    Voice,
    /// Each speech, measured when it is complete: nothing goes out before.
    File,
    /// Nothing.
    Off,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Voices {
    /// For requests that name none.
    pub default: String,
    /// The user's own; empty: `voices` in the data directory. Loading makes it absolute.
    pub directory: PathBuf,
    /// Of a form with a clip in it.
    pub max_upload_bytes: usize,
    /// Other names of voices, OpenAI's among them.
    pub aliases: BTreeMap<String, String>,
    /// Voices that are prepared before the server is ready, and stay so.
    pub preload: Vec<String>,
    /// Memory of each engine for prepared voices; the least recently used go first.
    pub cache_mib: usize,
    /// Whisper's, that hears what is said in a clip: a published name, or a folder in CTranslate2's format.
    pub transcribe_model: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Websocket {
    /// Texts that one connection may have spoken at the same time.
    pub max_contexts: usize,
    /// A connection on which nothing is said for so long, by either side, is closed.
    pub idle_s: f64,
    /// Between pings, which keep proxies from closing what is quiet.
    pub ping_s: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// error, warn, info, debug, trace, or a filter like "info,ishowtts::speech=debug".
    pub level: String,
}

impl Config {
    /// Where the user's own voices are; empty where neither a setting nor the environment says.
    #[must_use]
    pub fn voices_directory(&self) -> &Path {
        &self.voices.directory
    }

    /// The thread budget of the whole program, at least 1.
    #[must_use]
    pub fn threads(&self) -> usize {
        match self.cpu.threads {
            0 => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            threads => threads,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            engine: "hibari".into(),
            fallback: vec!["auto".into()],
            http: Http::default(),
            cpu: Cpu::default(),
            text: Text::default(),
            queue: Queue::default(),
            speech: Speech::default(),
            join: Join::default(),
            loudness: Levels::default(),
            voices: Voices::default(),
            websocket: Websocket::default(),
            chat: Chat::default(),
            log: Log::default(),
            engines: BTreeMap::new(),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 8880,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            max_body_bytes: 1 << 20,
            shutdown_grace_s: 30.0,
        }
    }
}

impl Default for Text {
    fn default() -> Self {
        Self { max_chars: 50_000, first_segment_chars: 80 }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self { max_requests: 1024, max_speech_s: 3600.0, max_wait_s: 60.0 }
    }
}

impl Default for Speech {
    fn default() -> Self {
        Self { window_segments: 3, max_unread_s: 30.0, max_stall_s: 30.0, cache_mib: 256, max_step_s: 120.0 }
    }
}

impl Default for Join {
    fn default() -> Self {
        Self {
            enabled: true,
            sentence_min_ms: 120.0,
            sentence_max_ms: 800.0,
            clause_min_ms: 40.0,
            clause_max_ms: 400.0,
            none_max_ms: 150.0,
            crossfade_ms: 150.0,
        }
    }
}

impl Default for Levels {
    fn default() -> Self {
        Self { mode: Loudness::Voice, target_lufs: -18.0, true_peak_dbtp: -1.0 }
    }
}

impl Default for Voices {
    fn default() -> Self {
        // The nearest shipped voices to what OpenAI's sound like: rowan and hazel are low, wren is high.
        let openai = [
            ("alloy", "heart"),
            ("ash", "rowan"),
            ("ballad", "hazel"),
            ("cedar", "rowan"),
            ("coral", "heart"),
            ("echo", "rowan"),
            ("fable", "hazel"),
            ("marin", "heart"),
            ("nova", "wren"),
            ("onyx", "rowan"),
            ("sage", "heart"),
            ("shimmer", "wren"),
            ("verse", "hazel"),
        ];
        Self {
            default: "heart".into(),
            directory: PathBuf::new(),
            max_upload_bytes: 32 << 20,
            aliases: openai.iter().map(|(alias, voice)| ((*alias).to_owned(), (*voice).to_owned())).collect(),
            preload: Vec::new(),
            cache_mib: 256,
            transcribe_model: "base".into(),
        }
    }
}

impl Default for Websocket {
    fn default() -> Self {
        Self { max_contexts: 8, idle_s: 180.0, ping_s: 20.0 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into() }
    }
}
