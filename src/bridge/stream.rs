//! `ishowtts._native.Stream`: speech as an iterator of NumPy arrays.

use std::sync::Arc;

use numpy::PyArray1;
use parking_lot::Mutex;
use pyo3::prelude::*;

use super::{errors, runtime::Inner, wait::SIGNAL_PERIOD};
use crate::speech::Speaking;

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

    fn __iter__(stream: Py<Self>) -> Py<Self> {
        stream
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArray1<f32>>>> {
        loop {
            let waited = py.detach(|| {
                let mut speaking = self.speaking.lock();
                self.inner.handle().block_on(async { tokio::time::timeout(SIGNAL_PERIOD, speaking.next_sound()).await })
            });
            py.check_signals()?;
            match waited {
                Ok(Ok(pcm)) => return Ok(pcm.map(|pcm| PyArray1::from_slice(py, &pcm))),
                Ok(Err(error)) => return Err(errors::speech(py, &error)),
                Err(_) => {}
            }
        }
    }
}
