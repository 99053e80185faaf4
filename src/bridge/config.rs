//! `ishowtts._native.Config`: the configuration, loaded and checked.

use std::{path::PathBuf, sync::Arc};

use pyo3::{prelude::*, types::PyDict};

use super::{convert::json_to_python, errors};
use crate::{
    chat,
    config::{ConfigError, Loaded, Sources, load},
};

/// Immutable; shared with the runtimes that were made from it.
#[pyclass(frozen, module = "ishowtts._native")]
pub struct Config {
    loaded: Loaded,
    shared: Arc<crate::config::Config>,
}

impl Config {
    pub(super) fn shared(&self) -> Arc<crate::config::Config> {
        Arc::clone(&self.shared)
    }
}

#[pymethods]
impl Config {
    /// Defaults < file < environment < flags. `flags`: dotted key, value, and the flag as it was typed.
    #[staticmethod]
    #[pyo3(signature = (path=None, flags=Vec::new()))]
    fn load(py: Python<'_>, path: Option<PathBuf>, flags: Vec<(String, String, String)>) -> PyResult<Self> {
        let sources = Sources { file: path, environment: Sources::environment(), flags };
        let checked = || {
            let loaded = load(&sources)?;
            chat::check(&loaded.config.chat.rules).map_err(|line| ConfigError { lines: vec![line] })?;
            Ok(loaded)
        };
        let loaded = py.detach(checked).map_err(|error: ConfigError| errors::config(py, &error))?;
        let shared = Arc::new(loaded.config.clone());
        Ok(Self { loaded, shared })
    }

    /// Key, value and origin of every setting, in the order of the keys.
    fn explain(&self) -> Vec<(String, String, String)> {
        let settings = self.loaded.explain().into_iter();
        settings.map(|setting| (setting.key, setting.value, setting.origin.to_string())).collect()
    }

    /// The file that was read, if any.
    #[getter]
    fn file(&self) -> Option<PathBuf> {
        self.loaded.file.clone()
    }

    #[getter]
    fn engine(&self) -> &str {
        &self.shared.engine
    }

    #[getter]
    fn fallback(&self) -> Vec<String> {
        self.shared.fallback.clone()
    }

    /// `[engines]`: each table by the name of its engine.
    #[getter]
    fn engines<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let engines = PyDict::new(py);
        for (name, options) in &self.shared.engines {
            engines.set_item(name, json_to_python(py, &serde_json::to_value(options).unwrap_or_default())?)?;
        }
        Ok(engines)
    }

    #[getter]
    fn host(&self) -> &str {
        &self.shared.http.host
    }

    #[getter]
    fn port(&self) -> u16 {
        self.shared.http.port
    }

    /// The thread budget of the whole program.
    #[getter]
    fn threads(&self) -> usize {
        self.shared.threads()
    }
}
