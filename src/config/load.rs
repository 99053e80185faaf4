//! Loads the configuration once, at start: defaults < file < environment < flags. Runs on the caller's thread.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::{Table, Value};

use super::{
    Config,
    keys::{ENVIRONMENT_PREFIX, Keys, dotted},
    layers::{Assignment, Layers},
    rules::is_secret,
    secret::HIDDEN,
};

/// Beside the settings: where the user's files are (XDG Base Directory Specification 0.8).
const PATH_VARIABLES: [&str; 3] = ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"];

/// What a configuration is made of.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// None: the one that ISHOWTTS_CONFIG names, else the one in the user's configuration directory if it exists.
    pub file: Option<PathBuf>,
    /// Variables; those that do not concern this program are passed over.
    pub environment: Vec<(String, OsString)>,
    /// Dotted key ("http.port"), value, and the flag as it was typed ("--port"); the last one wins.
    pub flags: Vec<(String, String, String)>,
}

/// The virtual environment that is active in the shell that started this program.
#[must_use]
pub fn virtual_environment() -> Option<PathBuf> {
    std::env::var_os("VIRTUAL_ENV").filter(|value| !value.is_empty()).map(PathBuf::from)
}

impl Sources {
    /// What of the process's environment concerns this program.
    #[must_use]
    pub fn environment() -> Vec<(String, OsString)> {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX) || PATH_VARIABLES.contains(&name.as_str()))
            .collect()
    }

    /// Unset and empty are the same, as in the XDG specification.
    fn variable(&self, name: &str) -> Option<&OsString> {
        self.environment
            .iter()
            .rev()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value)
            .filter(|value| !value.is_empty())
    }

    /// `variable`, or `below_home` in the home directory. Relative ones do not count, says the XDG specification.
    fn directory(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        let absolute = |name: &str| self.variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        absolute(variable).or_else(|| Some(absolute("HOME")?.join(below_home)))
    }

    fn configuration_file(&self) -> Option<PathBuf> {
        let named = self.file.clone().or_else(|| self.variable("ISHOWTTS_CONFIG").map(PathBuf::from));
        named.or_else(|| {
            let path = self.directory("XDG_CONFIG_HOME", ".config")?.join("ishowtts").join("config.toml");
            // One that is there but cannot be read must be reported, not passed over.
            let missing = matches!(path.try_exists(), Ok(false));
            (!missing).then_some(path)
        })
    }
}

/// Who set a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    File { path: PathBuf, line: usize },
    Environment { variable: String },
    Flag { flag: String },
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File { path, line } => write!(formatter, "{}:{line}", path.display()),
            Self::Environment { variable } => formatter.write_str(variable),
            Self::Flag { flag } => formatter.write_str(flag),
        }
    }
}

/// One effective value, for people.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Dotted, as TOML writes it.
    pub key: String,
    /// As TOML writes it.
    pub value: String,
    pub origin: Origin,
}

/// A configuration that was checked, and where each value is from.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    settings: Vec<Setting>,
}

impl Loaded {
    /// Every setting in the order of the keys.
    #[must_use]
    pub fn explain(&self) -> Vec<Setting> {
        self.settings.clone()
    }
}

/// All that is wrong, one line each, with cause and mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .lines.join("\n"))]
pub struct ConfigError {
    pub lines: Vec<String>,
}

/// Reads, checks and merges the sources.
///
/// # Errors
/// Everything that is wrong in any of them, also where another one overrides it.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let keys = Keys::new();
    let mut layers = Layers::new(&keys);
    let file = sources.configuration_file();
    if let Some(path) = &file {
        layers.read_file(path);
    }
    let mut variables: Vec<_> = sources.environment.iter().collect();
    variables.sort();
    for (variable, value) in variables {
        layers.read_variable(variable, value.to_str());
    }
    for (key, value, flag) in &sources.flags {
        layers.read_flag(key, value, flag);
    }
    let Layers { mut assignments, mut problems, .. } = layers;
    for assignment in assignments.iter_mut().filter(|assignment| is_path(assignment, sources)) {
        if let Err(problem) = resolve_path(assignment, sources) {
            problems.push(problem);
        }
    }
    if !problems.is_empty() {
        return Err(ConfigError { lines: problems });
    }

    let mut origins = BTreeMap::new();
    let defaults = keys.settings(&Config::default()).into_iter();
    let mut table = Table::new();
    for (path, value) in defaults {
        insert(&mut table, &path, value);
    }
    for Assignment { path, value, origin } in assignments {
        insert(&mut table, &path, value);
        origins.insert(path, origin);
    }
    let rejected = |line: String| ConfigError { lines: vec![line] };
    let mut config = Config::deserialize(Value::Table(table)).map_err(|error| rejected(error.message().to_owned()))?;
    if config.voices.directory.as_os_str().is_empty() {
        config.voices.directory =
            default_directory(sources, "voices.directory", "ishowtts/voices").map_err(rejected)?;
    }
    if config.chat.directory.as_os_str().is_empty() {
        config.chat.directory = default_directory(sources, "chat.directory", "ishowtts/chat").map_err(rejected)?;
    }
    let explained = |(path, value): (Vec<String>, Value)| Setting {
        key: dotted(&path),
        value: match value.as_str() {
            Some(secret) if is_secret(&path) && !secret.is_empty() => HIDDEN.to_owned(),
            _ => value.to_string(),
        },
        origin: origins.get(&path).cloned().unwrap_or(Origin::Default),
    };
    let settings = keys.settings(&config).into_iter().map(explained).collect();
    Ok(Loaded { config, file, settings })
}

/// Settings that are paths.
const PATHS: [&[&str]; 3] = [&["voices", "directory"], &["chat", "directory"], &["chat", "connect", "ca_file"]];

/// What in an engine's options may be a path, a name or an address (`hf://…`).
const ENGINE_FILES: [&str; 4] = ["checkpoint", "model", "vocab", "vocoder"];

fn is_path(assignment: &Assignment, sources: &Sources) -> bool {
    match assignment.path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["engines", _, key] if ENGINE_FILES.contains(&key) => names_file(assignment, sources),
        ref path => PATHS.contains(&path),
    }
}

/// Whether it is written as a path, or there is such a file. A name that is neither is left to the engine.
fn names_file(assignment: &Assignment, sources: &Sources) -> bool {
    let Some(text) = assignment.value.as_str() else { return false };
    let written = ["./", "../", "~/"].iter().any(|start| text.starts_with(start));
    written || (!text.is_empty() && place(text, &assignment.origin, sources).exists())
}

fn insert(table: &mut Table, path: &[String], value: Value) {
    let Some((last, sections)) = path.split_last() else { return };
    let mut below = table;
    for section in sections {
        let entry = below.entry(section).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(next) = entry else { return };
        below = next;
    }
    // An empty table says that an engine is there; it does not undo what another source set for it.
    if value != Value::Table(Table::new()) || !below.contains_key(last) {
        below.insert(last.clone(), value);
    }
}

/// Makes a path absolute: in a file it is relative to the file, elsewhere to the working directory.
fn resolve_path(assignment: &mut Assignment, sources: &Sources) -> Result<(), String> {
    let Some(text) = assignment.value.as_str().filter(|text| !text.is_empty()) else { return Ok(()) };
    let origin = &assignment.origin;
    let path = std::path::absolute(place(text, origin, sources))
        .map_err(|error| format!("{origin}: {text:?} cannot be made absolute: {error}"))?;
    assignment.value =
        Value::String(utf8(path, &assignment.path.join(".")).map_err(|problem| format!("{origin}: {problem}"))?);
    Ok(())
}

fn place(text: &str, origin: &Origin, sources: &Sources) -> PathBuf {
    let home = sources.variable("HOME").map(Path::new);
    match (text.strip_prefix("~/"), home, origin) {
        (Some(below), Some(home), _) => home.join(below),
        (_, _, Origin::File { path, .. }) => path.parent().unwrap_or(Path::new("")).join(text),
        _ => PathBuf::from(text),
    }
}

fn default_directory(sources: &Sources, key: &str, below_home: &str) -> Result<PathBuf, String> {
    let Some(home) = sources.directory("XDG_DATA_HOME", ".local/share") else { return Ok(PathBuf::new()) };
    utf8(home.join(below_home), key).map(PathBuf::from)
}

fn utf8(path: PathBuf, key: &str) -> Result<String, String> {
    let not_utf8 = |path: OsString| format!("{key}: {} is not valid UTF-8; choose another directory", path.display());
    path.into_os_string().into_string().map_err(not_utf8)
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
