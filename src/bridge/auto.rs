//! `engine = "auto"`: Python knows what is installed and on which device it would run, and chooses.

use std::collections::BTreeMap;

use pyo3::prelude::*;

use super::wait::aside;

/// The name that stands for a choice.
pub(super) const AUTO: &str = "auto";
/// Needs nothing but its own package.
const LAST_RESORT: &str = "hibari";

/// Detached; called once, before the engines start. `clones`: whether the default voice has a clip to clone.
pub(super) fn choose(tables: &BTreeMap<String, toml::Table>, clones: bool) -> String {
    let tables = serde_json::to_string(tables).unwrap_or_else(|_| "{}".to_owned());
    let chosen: PyResult<(String, String)> = aside(|py| {
        let tables = py.import("json")?.call_method1("loads", (tables,))?;
        py.import("ishowtts.engines.auto")?.call_method1("choose", (tables, clones))?.extract()
    });
    match chosen {
        Ok((name, reason)) => {
            tracing::info!("engine = \"auto\": {name} speaks, because {reason}");
            name
        }
        Err(error) => {
            tracing::warn!("engine = \"auto\": {LAST_RESORT} speaks, because the choice failed: {error}");
            LAST_RESORT.to_owned()
        }
    }
}
