//! Which keys exist. They are read off the default configuration, so that no key is listed twice.

use toml::{Table, Value};

use super::Config;

/// Tables whose keys the user chooses, and how many levels of such keys they have.
const FREE_TABLES: [(&str, usize); 5] = [
    ("engines", 2),
    ("voices.aliases", 1),
    ("chat.rules.min_amounts", 1),
    ("chat.rules.engines", 1),
    ("chat.rules.voices", 1),
];

pub(super) const ENVIRONMENT_PREFIX: &str = "ISHOWTTS_";
/// Variables that are not settings: the configuration file's name, and the promise to download nothing.
pub(super) const RESERVED_VARIABLES: [&str; 2] = ["ISHOWTTS_CONFIG", "ISHOWTTS_OFFLINE"];

/// Below this likeness (0 to 1) a suggestion would confuse more than it helps.
const MIN_LIKENESS: f64 = 0.6;

/// What stands at a key.
#[derive(Debug, PartialEq)]
pub(super) enum Kind<'a> {
    /// Holds settings, all of them known.
    Section,
    /// Holds keys of the user's choice.
    FreeTable,
    /// With its default, which tells its type.
    Setting(&'a Value),
    /// In a free table: any value as far as this room knows.
    FreeValue,
}

pub(super) struct Keys {
    defaults: Table,
    /// All settings and free tables, dotted, in order.
    dotted: Vec<String>,
}

impl Keys {
    pub(super) fn new() -> Self {
        let defaults = table(&Config::default());
        let mut keys = Self { defaults, dotted: Vec::new() };
        let mut dotted = Vec::new();
        keys.collect(&mut Vec::new(), &keys.defaults, &mut dotted);
        keys.dotted = dotted;
        keys
    }

    fn collect(&self, path: &mut Vec<String>, table: &Table, dotted: &mut Vec<String>) {
        for (key, value) in table {
            path.push(key.clone());
            match (self.kind(path), value) {
                (Some(Kind::Section), Value::Table(section)) => self.collect(path, section, dotted),
                _ => dotted.push(path.join(".")),
            }
            path.pop();
        }
    }

    pub(super) fn kind(&self, path: &[String]) -> Option<Kind<'_>> {
        for (root, levels) in FREE_TABLES {
            let depth = root.split('.').count();
            if path.len() >= depth && root.split('.').eq(path[..depth].iter().map(String::as_str)) {
                return match path.len() - depth {
                    below if below < levels => Some(Kind::FreeTable),
                    below if below == levels => Some(Kind::FreeValue),
                    _ => None,
                };
            }
        }
        let (last, sections) = path.split_last()?;
        let mut table = &self.defaults;
        for section in sections {
            table = table.get(section)?.as_table()?;
        }
        match table.get(last)? {
            Value::Table(_) => Some(Kind::Section),
            value => Some(Kind::Setting(value)),
        }
    }

    /// Takes "http.port" apart. In a free table the last level may hold dots: "voices.aliases.tts.1".
    pub(super) fn parse(&self, dotted: &str) -> Option<Vec<String>> {
        let mut path: Vec<String> = dotted.split('.').map(str::to_owned).collect();
        for (root, levels) in FREE_TABLES {
            let deepest = root.split('.').count() + levels;
            if path.len() > deepest && dotted.starts_with(root) && dotted[root.len()..].starts_with('.') {
                let tail = path.split_off(deepest - 1).join(".");
                path.push(tail);
            }
        }
        match self.kind(&path)? {
            Kind::Section => None,
            _ => path.iter().all(|part| !part.is_empty()).then_some(path),
        }
    }

    /// Takes "ISHOWTTS_HTTP_PORT" apart. An engine's name ends at the first underscore.
    pub(super) fn parse_variable(&self, variable: &str) -> Option<Vec<String>> {
        if let Some(dotted) = self.dotted.iter().find(|dotted| variable_of(dotted) == variable) {
            return Some(dotted.split('.').map(str::to_owned).collect());
        }
        let (engine, key) = variable.strip_prefix("ISHOWTTS_ENGINES_")?.split_once('_')?;
        let known = !engine.is_empty() && !key.is_empty();
        known.then(|| vec!["engines".to_owned(), engine.to_lowercase(), key.to_lowercase()])
    }

    /// The key that was probably meant; "port" finds "http.port" as well.
    pub(super) fn nearest(&self, unknown: &str) -> Option<&str> {
        let last = |dotted: &str| dotted.rsplit('.').next().unwrap_or_default().to_owned();
        // A whole key that is alike goes before one whose last part alone is.
        let likeness = |dotted: &str| {
            let whole = strsim::normalized_damerau_levenshtein(unknown, dotted);
            whole.max(0.95 * strsim::normalized_damerau_levenshtein(&last(unknown), &last(dotted)))
        };
        let sections = self.defaults.iter().filter(|(_, value)| value.is_table()).map(|(section, _)| section.as_str());
        most_like(self.dotted.iter().map(String::as_str).chain(sections), likeness)
    }

    pub(super) fn nearest_variable(&self, unknown: &str) -> Option<String> {
        let bare = |variable: &str| variable.trim_start_matches(ENVIRONMENT_PREFIX).to_owned();
        let variables: Vec<String> = self.dotted.iter().map(|dotted| variable_of(dotted)).collect();
        let known = variables.iter().map(String::as_str).chain(RESERVED_VARIABLES);
        let likeness = |variable: &str| strsim::normalized_damerau_levenshtein(&bare(unknown), &bare(variable));
        most_like(known, likeness).map(str::to_owned)
    }

    /// Every setting in `config` with its value; of free tables what they hold.
    pub(super) fn settings(&self, config: &Config) -> Vec<(Vec<String>, Value)> {
        let mut settings = Vec::new();
        self.flatten(&mut Vec::new(), table(config), &mut settings);
        settings
    }

    fn flatten(&self, path: &mut Vec<String>, table: Table, settings: &mut Vec<(Vec<String>, Value)>) {
        for (key, value) in table {
            path.push(key);
            match (self.kind(path), value) {
                (Some(Kind::Section | Kind::FreeTable), Value::Table(below)) => self.flatten(path, below, settings),
                (_, value) => settings.push((path.clone(), value)),
            }
            path.pop();
        }
    }
}

/// "http.port", with quotes where TOML wants them.
pub(super) fn dotted(path: &[String]) -> String {
    let bare = |part: &str| {
        !part.is_empty() && part.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_'))
    };
    let parts: Vec<String> =
        path.iter().map(|part| if bare(part) { part.clone() } else { format!("{part:?}") }).collect();
    parts.join(".")
}

fn variable_of(dotted: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}{}", dotted.replace('.', "_").to_uppercase())
}

fn most_like<'a>(candidates: impl Iterator<Item = &'a str>, likeness: impl Fn(&str) -> f64) -> Option<&'a str> {
    candidates
        .map(|candidate| (likeness(candidate), candidate))
        .filter(|(likeness, _)| *likeness >= MIN_LIKENESS)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate)
}

fn table(config: &Config) -> Table {
    // Fails only for paths that are not UTF-8, which loading rejects.
    Table::try_from(config).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_variable_names_one_key() {
        let keys = Keys::new();
        assert!(keys.dotted.len() > 15, "{:?}", keys.dotted);
        let variables: BTreeSet<String> = keys.dotted.iter().map(|dotted| variable_of(dotted)).collect();
        assert_eq!(variables.len(), keys.dotted.len());
        assert!(RESERVED_VARIABLES.iter().all(|reserved| !variables.contains(*reserved)));
        for dotted in &keys.dotted {
            let path = keys.parse_variable(&variable_of(dotted)).expect("known");
            assert_eq!(path.join("."), *dotted);
            assert_eq!(keys.parse(dotted).as_ref(), Some(&path));
        }
    }

    #[test]
    fn free_tables_are_tables_in_the_defaults() {
        let keys = Keys::new();
        for (root, _) in FREE_TABLES {
            assert!(keys.dotted.iter().any(|dotted| dotted == root), "{root}");
        }
    }

    #[test]
    fn dots_belong_to_the_last_free_level() {
        let keys = Keys::new();
        assert_eq!(keys.parse("voices.aliases.tts.1").expect("known"), ["voices", "aliases", "tts.1"]);
        assert_eq!(keys.parse("engines.f5.a.b").expect("known"), ["engines", "f5", "a.b"]);
        for unknown in ["http", "http.port.x", "voices.aliases.", "", ".", "enginesx.y.z"] {
            assert_eq!(keys.parse(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn suggestions_are_near() {
        let keys = Keys::new();
        assert_eq!(keys.nearest("http.prot"), Some("http.port"));
        assert_eq!(keys.nearest("port"), Some("http.port"));
        assert_eq!(keys.nearest("http.threads"), Some("cpu.threads"));
        assert_eq!(keys.nearest("htp"), Some("http"));
        assert_eq!(keys.nearest("quantum"), None);
        assert_eq!(keys.nearest_variable("ISHOWTTS_HTTP_PROT").as_deref(), Some("ISHOWTTS_HTTP_PORT"));
        assert_eq!(keys.nearest_variable("ISHOWTTS_CONFG").as_deref(), Some("ISHOWTTS_CONFIG"));
    }
}
