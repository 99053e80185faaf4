//! `ishowtts._native.Voices`: the library of voices, without engines and without a server. Its methods wait for the disk,
//! detached.

use std::{fs::File, io::Read, path::PathBuf, sync::Arc};

use pyo3::{
    prelude::*,
    types::{PyBytes, PyDict, PyList},
};

use super::{
    config::Config,
    convert::{json_to_python, python_to_json},
    errors,
};
use crate::{
    error::Error,
    text,
    voices::{
        Draft, Library, Listed, Origin, Store,
        clip::{self, Prepared},
        preview,
    },
};

/// The voices that a configuration leads to. A server that runs meanwhile sees what is changed here.
#[pyclass(frozen, module = "ishowtts._native")]
pub struct Voices {
    store: Store,
    config: Arc<crate::config::Config>,
}

#[pymethods]
impl Voices {
    #[new]
    fn new(py: Python<'_>, config: &Config) -> Self {
        let config = config.shared();
        let store = py.detach(|| {
            super::log::start(&config.log.level);
            let voices = &config.voices;
            let (store, problems) = Store::open(config.voices_directory(), &voices.default, &voices.aliases);
            for problem in problems {
                tracing::warn!("{problem}");
            }
            store
        });
        Self { store, config }
    }

    /// Sorted by id.
    #[pyo3(name = "all")]
    fn list<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        list(py, &self.store.library())
    }

    /// By id or alias, with its clip.
    fn get<'py>(&self, py: Python<'py>, id: &str) -> PyResult<Bound<'py, PyDict>> {
        let library = self.store.library();
        let listed = library.listed(id).map_err(|error| errors::speech(py, &error))?;
        let dict = voice(py, &library, listed)?;
        let reference = listed.voice.reference.as_ref();
        dict.set_item("reference_text", reference.map(|reference| &reference.text))?;
        dict.set_item("reference_audio", reference.map(|reference| PyBytes::new(py, &reference.clip)))?;
        Ok(dict)
    }

    /// What it says of itself, in its language.
    fn preview_text(&self, py: Python<'_>, id: &str) -> PyResult<&'static str> {
        let voice = self.store.library().get(id).map_err(|error| errors::speech(py, &error))?;
        Ok(preview::sentence(voice.languages.first().map_or("", String::as_str)))
    }

    /// `clip`: a file of any common format. What is not given stays as it was, or is a default.
    #[pyo3(signature = (id, clip=None, *, text=None, name=None, description=None, languages=None, licence=None, speed=None,
                       engine=None, replace=false))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of a Python method")]
    fn add<'py>(
        &self,
        py: Python<'py>,
        id: &str,
        clip: Option<PathBuf>,
        text: Option<String>,
        name: Option<String>,
        description: Option<String>,
        languages: Option<Vec<String>>,
        licence: Option<String>,
        speed: Option<f64>,
        engine: Option<&Bound<'py, PyDict>>,
        replace: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let hints = engine.map(|engine| python_to_json(engine)).transpose()?;
        let hints = hints.map(serde_json::from_value).transpose();
        let hints = hints.map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))?;
        let draft = Draft { name, description, languages, licence, speed, hints, clip: None, text };
        let added = py.detach(|| self.put(id, draft, clip, replace));
        let (listed, prepared) = added.map_err(|error| errors::speech(py, &error))?;
        let dict = voice(py, &self.store.library(), &listed)?;
        dict.set_item("duration_s", prepared.as_ref().map(|prepared| prepared.duration_s))?;
        let warnings = prepared.iter().flat_map(|prepared| &prepared.warnings);
        dict.set_item("warnings", warnings.map(|warning| &warning.message).collect::<Vec<_>>())?;
        Ok(dict)
    }

    /// A voice's folder, as it is.
    #[pyo3(signature = (folder, *, replace=false))]
    fn import_folder<'py>(&self, py: Python<'py>, folder: PathBuf, replace: bool) -> PyResult<Bound<'py, PyDict>> {
        let listed = py.detach(|| self.store.import(&folder, replace)).map_err(|error| errors::speech(py, &error))?;
        voice(py, &self.store.library(), &listed)
    }

    /// Of the user's own; a shipped voice comes back.
    fn remove(&self, py: Python<'_>, id: &str) -> PyResult<()> {
        py.detach(|| self.store.remove(id)).map_err(|error| errors::speech(py, &error))
    }
}

impl Voices {
    fn put(
        &self,
        id: &str,
        mut draft: Draft,
        path: Option<PathBuf>,
        replace: bool,
    ) -> Result<(Listed, Option<Prepared>), Error> {
        let prepared = path.map(|path| self.prepare(&path)).transpose()?;
        if let Some(prepared) = &prepared {
            draft.clip = Some(prepared.wav().into());
            let found = || draft.text.as_deref().and_then(text::language).map(|language| vec![language.to_owned()]);
            draft.languages = draft.languages.or_else(found);
        }
        Ok((self.store.put(id, draft, replace)?, prepared))
    }

    fn prepare(&self, path: &std::path::Path) -> Result<Prepared, Error> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let refused = |code, message: String| Error::invalid(code, Some("audio"), format!("{name}: {message}"));
        let limit = self.config.voices.max_upload_bytes;
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes));
        read.map_err(|error| refused("invalid_audio", format!("cannot be read: {error}")))?;
        if bytes.len() > limit {
            return Err(refused("invalid_audio", format!("is larger than {limit} bytes (voices.max_upload_bytes)")));
        }
        clip::prepare(&bytes, &clip::Options::default()).map_err(|fault| refused(fault.code(), fault.to_string()))
    }
}

pub(super) fn list<'py>(py: Python<'py>, library: &Library) -> PyResult<Bound<'py, PyList>> {
    let voices = PyList::empty(py);
    for listed in library.all() {
        voices.append(voice(py, library, listed)?)?;
    }
    Ok(voices)
}

fn voice<'py>(py: Python<'py>, library: &Library, listed: &Listed) -> PyResult<Bound<'py, PyDict>> {
    let voice = &listed.voice;
    let dict = PyDict::new(py);
    dict.set_item("id", &voice.id)?;
    dict.set_item("name", &voice.name)?;
    dict.set_item("description", &voice.description)?;
    dict.set_item("languages", &voice.languages)?;
    dict.set_item("licence", &voice.licence)?;
    dict.set_item("version", &voice.version)?;
    dict.set_item("speed", voice.speed)?;
    dict.set_item(
        "origin",
        match listed.origin {
            Origin::Shipped => "shipped",
            Origin::User => "user",
        },
    )?;
    dict.set_item("overridden", listed.replaced.is_some())?;
    dict.set_item("cloned", voice.reference.is_some())?;
    dict.set_item("default", library.default_voice().is_ok_and(|default| default.id == voice.id))?;
    let aliases = library.aliases().filter(|(_, id)| *id == voice.id).map(|(alias, _)| alias);
    dict.set_item("aliases", aliases.collect::<Vec<_>>())?;
    let hints = PyDict::new(py);
    for (engine, table) in &voice.hints {
        hints.set_item(engine, json_to_python(py, table)?)?;
    }
    dict.set_item("engine", hints)?;
    Ok(dict)
}
