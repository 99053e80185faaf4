//! Where settings come from: the file, the environment, the flags. Each gives assignments, or says what is wrong.

use std::{ops::Range, path::Path, sync::Arc};

use serde::Deserialize;
use toml::{
    Spanned, Value,
    de::{DeTable, DeValue, ValueDeserializer},
};

use super::{
    keys::{ENVIRONMENT_PREFIX, Keys, Kind, RESERVED_VARIABLES, dotted},
    load::Origin,
    rules,
};

/// One value for one key.
pub(super) struct Assignment {
    pub(super) path: Vec<String>,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// Collects from all layers; those read later win.
pub(super) struct Layers<'k> {
    keys: &'k Keys,
    pub(super) assignments: Vec<Assignment>,
    pub(super) problems: Vec<String>,
}

impl<'k> Layers<'k> {
    pub(super) fn new(keys: &'k Keys) -> Self {
        Self { keys, assignments: Vec::new(), problems: Vec::new() }
    }

    pub(super) fn read_file(&mut self, path: &Path) {
        let shown = path.display();
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return self.problems.push(format!("no configuration file at {shown}"));
            }
            Err(error) => return self.problems.push(format!("{shown}: cannot be read: {error}")),
        };
        let text = match std::str::from_utf8(&bytes) {
            Ok(text) => text,
            Err(error) => {
                let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
                return self.problems.push(format!("{shown}:{line}: is not valid UTF-8; save the file as UTF-8"));
            }
        };
        match DeTable::parse(text) {
            Ok(document) => {
                let path: Arc<Path> = path.into();
                let origin =
                    |span: Range<usize>| Origin::File { path: path.to_path_buf(), line: position(text, span.start).0 };
                self.read_table(&mut Vec::new(), document.get_ref(), &origin);
            }
            Err(error) => {
                let (line, column) = position(text, error.span().map_or(0, |span| span.start));
                self.problems
                    .push(format!("{shown}:{line}:{column}: is not valid TOML: {}", one_line(error.message())));
            }
        }
    }

    pub(super) fn read_variable(&mut self, variable: &str, value: Option<&str>) {
        if RESERVED_VARIABLES.contains(&variable) || !variable.starts_with(ENVIRONMENT_PREFIX) {
            return;
        }
        let Some(path) = self.keys.parse_variable(variable) else {
            let hint = match self.keys.nearest_variable(variable) {
                Some(nearest) => format!("did you mean {nearest}?"),
                None => "`ishowtts config show` lists the settings; unset it".to_owned(),
            };
            return self.problems.push(format!("{variable}: unknown setting; {hint}"));
        };
        match value {
            Some(value) => self.read_text(path, value, &Origin::Environment { variable: variable.to_owned() }),
            None => self.problems.push(format!("{variable}: is not valid UTF-8")),
        }
    }

    pub(super) fn read_flag(&mut self, key: &str, value: &str, flag: &str) {
        match self.keys.parse(key) {
            Some(path) => self.read_text(path, value, &Origin::Flag { flag: flag.to_owned() }),
            None => {
                let unknown = self.unknown(key, key);
                self.problems.push(format!("{flag}: {unknown}"));
            }
        }
    }

    fn read_table(&mut self, path: &mut Vec<String>, table: &DeTable<'_>, origin: &dyn Fn(Range<usize>) -> Origin) {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            path.push(key.get_ref().to_string());
            self.read_value(path, key.span(), value, origin);
            path.pop();
        }
    }

    fn read_value(
        &mut self,
        path: &mut Vec<String>,
        key: Range<usize>,
        value: &Spanned<DeValue<'_>>,
        origin: &dyn Fn(Range<usize>) -> Origin,
    ) {
        match (self.keys.kind(path), value.get_ref()) {
            (None, _) => {
                let unknown = self.unknown(&dotted(path), &path.join("."));
                self.problems.push(format!("{}: {unknown}", origin(key)));
            }
            // An empty table of an engine still says that the engine is configured.
            (Some(Kind::FreeTable), DeValue::Table(table)) if table.is_empty() && path.len() > 1 => {
                self.assign(path.clone(), Value::Table(toml::Table::new()), origin(key));
            }
            (Some(Kind::Section | Kind::FreeTable), DeValue::Table(below)) => self.read_table(path, below, origin),
            (Some(kind), _) => match Value::deserialize(ValueDeserializer::from(value.clone())) {
                Ok(value) if matches!(kind, Kind::Section | Kind::FreeTable) => {
                    let fault = rules::must_be(path, &rules::shown(&value));
                    self.problems.push(format!("{}: {fault}", origin(key)));
                }
                Ok(value) => self.assign(path.clone(), value, origin(key)),
                Err(error) => {
                    let fault = format!("{}: {}", dotted(path), one_line(error.message()));
                    self.problems.push(format!("{}: {fault}", origin(key)));
                }
            },
        }
    }

    /// Text takes the type of the setting; what does not fit stays text and is found by the check.
    fn read_text(&mut self, mut path: Vec<String>, text: &str, origin: &Origin) {
        let as_text = || Value::String(text.to_owned());
        let trimmed = text.trim();
        let value = match self.keys.kind(&path) {
            Some(Kind::Setting(Value::Integer(_))) => trimmed.parse().map_or_else(|_| as_text(), Value::Integer),
            Some(Kind::Setting(Value::Float(_))) => trimmed.parse().map_or_else(|_| as_text(), Value::Float),
            Some(Kind::Setting(Value::Boolean(_))) => trimmed.parse().map_or_else(|_| as_text(), Value::Boolean),
            Some(Kind::Setting(Value::Array(_))) if trimmed.starts_with('[') => match trimmed.parse() {
                Ok(list) => list,
                Err(_) => as_text(),
            },
            Some(Kind::Setting(Value::Array(_))) => {
                let parts = trimmed.split(',').map(str::trim).filter(|part| !part.is_empty());
                Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
            }
            Some(Kind::FreeTable) => match DeValue::parse(trimmed) {
                Ok(value) => return self.read_value(&mut path, 0..0, &value, &|_| origin.clone()),
                Err(_) => as_text(),
            },
            Some(Kind::FreeValue) => match trimmed.parse() {
                Ok(Value::Datetime(_)) | Err(_) => as_text(),
                Ok(value) => value,
            },
            _ => as_text(),
        };
        self.assign(path, value, origin.clone());
    }

    fn assign(&mut self, path: Vec<String>, value: Value, origin: Origin) {
        match rules::check(&path, &value) {
            Ok(()) => self.assignments.push(Assignment { path, value, origin }),
            Err(fault) => self.problems.push(format!("{origin}: {fault}")),
        }
    }

    fn unknown(&self, shown: &str, key: &str) -> String {
        match self.keys.nearest(key) {
            Some(nearest) => format!("unknown key {shown}; did you mean {nearest}?"),
            None => format!("unknown key {shown}; `ishowtts config show` lists the keys"),
        }
    }
}

/// Line and column, from 1; columns count characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (1 + before.matches('\n').count(), 1 + before[line_start..].chars().count())
}

fn one_line(message: &str) -> String {
    message.lines().map(str::trim).collect::<Vec<_>>().join(", ")
}
