//! `ishowtts._native.Voices`: the library of voices, without engines and without a server. Its methods wait for the disk,
//! detached.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use pyo3::{
    prelude::*,
    types::{PyBytes, PyDict, PyList},
};

use super::{
    config::Config,
    convert::{json_to_python, python_to_json},
    errors,
    numbers::Real,
    transcribe::hear,
};
use crate::{
    error::Error,
    speech::{self, Heard},
    voices::{
        Draft, Library, Listed, Origin, Store, check_id,
        clip::{self, Prepared, Warning},
        id_of_name, preview,
    },
};

/// The voices that a configuration leads to. A server that runs meanwhile sees what is changed here.
#[pyclass(frozen, module = "ishowtts._native")]
pub struct Voices {
    store: Store,
    config: Arc<crate::config::Config>,
    /// Loaded for the first clip without a text.
    transcriber: Mutex<Option<Py<PyAny>>>,
}

/// A voice that was added or changed, and what became of its clip.
struct Added {
    listed: Listed,
    prepared: Option<Prepared>,
    heard: bool,
    text_kept: Option<Warning>,
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
        Self { store, config, transcriber: Mutex::default() }
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
        dict.set_item("reference_source", reference.and_then(|reference| reference.source.as_ref()))?;
        dict.set_item("reference_audio", reference.map(|reference| PyBytes::new(py, &reference.clip)))?;
        Ok(dict)
    }

    /// What it says of itself, in its language. `id`: or a description.
    fn preview_text(&self, py: Python<'_>, id: &str) -> PyResult<&'static str> {
        let voice = self.store.library().resolve(id).map_err(|error| errors::speech(py, &error))?;
        Ok(preview::sentence(voice.languages.first().map_or("", String::as_str)))
    }

    /// An id for a voice of that name, if there is a letter in it.
    #[staticmethod]
    fn id_of_name(name: &str) -> Option<String> {
        id_of_name(name)
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
        speed: Option<Real>,
        engine: Option<&Bound<'py, PyDict>>,
        replace: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let hints = engine.map(|engine| python_to_json(engine)).transpose()?;
        let hints = hints.map(serde_json::from_value).transpose();
        let hints = hints.map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))?;
        let speed = speed.map(|Real(speed)| speed);
        let draft = Draft { name, description, languages, licence, speed, hints, clip: None, text };
        let Added { listed, prepared, heard, text_kept } = self.put(py, id, draft, clip, replace)?;
        let dict = voice(py, &self.store.library(), &listed)?;
        dict.set_item("duration_s", prepared.as_ref().map(|prepared| prepared.duration_s))?;
        let text = listed.baseline.reference.as_ref().filter(|_| heard).map(|reference| &reference.text);
        dict.set_item("heard", text)?;
        let warnings = prepared.iter().flat_map(|prepared| &prepared.warnings).chain(&text_kept);
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
    fn put(&self, py: Python<'_>, id: &str, mut draft: Draft, path: Option<PathBuf>, replace: bool) -> PyResult<Added> {
        let raised = |error: Error| errors::speech(py, &error);
        check_id(id).map_err(raised)?;
        let prepared = py.detach(|| path.map(|path| self.prepare(&path)).transpose()).map_err(raised)?;
        draft.clip = prepared.as_ref().map(|prepared| prepared.wav().into());
        let own = self.store.own(id);
        let own = own.as_deref();
        let text_kept = draft.text_kept(own);
        let heard = match &prepared {
            Some(clip) if draft.lacks_text(own) => Some(self.hear(py, clip, draft.language(own))?),
            _ => None,
        };
        let was_heard = heard.is_some();
        speech::complete(&mut draft, own, heard);
        let listed = py.detach(|| self.store.put(id, draft, replace)).map_err(raised)?;
        Ok(Added { listed, prepared, heard: was_heard, text_kept })
    }

    fn hear(&self, py: Python<'_>, clip: &Prepared, language: Option<&str>) -> PyResult<Heard> {
        let raised = |error: Error| errors::speech(py, &error);
        let sound = py.detach(|| speech::sound(clip)).map_err(raised)?;
        // Out of its place, as nobody may wait for a lock with the interpreter's in hand.
        let mut transcriber = self.transcriber.lock().take();
        let model = (self.config.voices.transcribe_model.as_str(), self.config.threads());
        let told = hear(py, &mut transcriber, model, sound, language.map(str::to_owned))?;
        *self.transcriber.lock() = transcriber;
        speech::heard(told, "text").map_err(raised)
    }

    fn prepare(&self, path: &Path) -> Result<Prepared, Error> {
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
    dict.set_item("cloned", voice.only_cloned())?;
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
