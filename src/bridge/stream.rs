//! `ishowtts._native.Stream`: speech as an iterator of NumPy arrays.

use std::sync::Arc;

use numpy::PyArray1;
use parking_lot::Mutex;
use pyo3::{exceptions::PyValueError, prelude::*, types::PyList};

use super::{
    convert::{json_to_python, python_to_json},
    errors,
    runtime::Inner,
    wait::SIGNAL_PERIOD,
};
use crate::speech::{self, Caption, Said, Speaking};

/// Each array is mono float32 at `sample_rate_hz`. Dropping the stream gives the speech up.
#[pyclass(frozen, module = "ishowtts._native")]
pub struct Stream {
    #[pyo3(get)]
    sample_rate_hz: u32,
    #[pyo3(get)]
    engine: String,
    #[pyo3(get)]
    voice: String,
    #[pyo3(get)]
    seed: u64,
    /// Nothing had to be spoken.
    #[pyo3(get)]
    cached: bool,
    #[pyo3(get)]
    segments: usize,
    /// Locked only while detached: another thread may hold it for a signal period.
    speaking: Mutex<Speaking>,
    /// Of the segments whose last sound was read or is next.
    captions: Mutex<Vec<Arc<Caption>>>,
    inner: Arc<Inner>,
}

impl Stream {
    pub(super) fn new(speaking: Speaking, inner: Arc<Inner>) -> Self {
        Self {
            sample_rate_hz: speaking.sample_rate_hz,
            engine: speaking.engine.clone(),
            voice: speaking.voice.clone(),
            seed: speaking.seed,
            cached: speaking.cached,
            segments: speaking.segments,
            speaking: Mutex::new(speaking),
            captions: Mutex::default(),
            inner,
        }
    }
}

#[pymethods]
impl Stream {
    /// Segments that were read to the end.
    #[getter]
    fn segments_read(&self, py: Python<'_>) -> usize {
        py.detach(|| self.speaking.lock().segments_read())
    }

    /// Dictionaries with the fields of `Caption`; more of them as it is read.
    #[getter]
    fn captions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let captions = self.captions.lock().clone();
        let captions = captions.iter().map(|caption| {
            let fields = serde_json::to_value(&**caption).unwrap_or_default();
            json_to_python(py, &fields)
        });
        PyList::new(py, captions.collect::<PyResult<Vec<_>>>()?)
    }

    fn __iter__(stream: Py<Self>) -> Py<Self> {
        stream
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArray1<f32>>>> {
        loop {
            let waited = py.detach(|| {
                let mut speaking = self.speaking.lock();
                self.inner.handle().block_on(async { tokio::time::timeout(SIGNAL_PERIOD, speaking.next()).await })
            });
            py.check_signals()?;
            match waited {
                Ok(Ok(None)) => return Ok(None),
                Ok(Ok(Some(Said::Sound(pcm)))) => return Ok(Some(PyArray1::from_slice(py, &pcm))),
                Ok(Ok(Some(Said::Caption(caption)))) => self.captions.lock().push(caption),
                Ok(Err(error)) => return Err(errors::speech(py, &error)),
                Err(_) => {}
            }
        }
    }
}

/// Captions as a file: "srt" or "vtt". They show `text` as it was written.
#[pyfunction]
pub fn subtitles(format: &str, text: &str, captions: &Bound<'_, PyAny>) -> PyResult<String> {
    let captions: Vec<Caption> = serde_json::from_value(python_to_json(captions)?)
        .map_err(|error| PyValueError::new_err(format!("captions: {error}")))?;
    match format {
        "srt" => Ok(speech::subtitles::srt(text, &captions)),
        "vtt" => Ok(speech::subtitles::vtt(text, &captions)),
        _ => Err(PyValueError::new_err(format!("{format:?}: captions are written as srt or vtt"))),
    }
}
