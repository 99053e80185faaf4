//! One `Engine.step` call: what came out for each slot. Called attached, on the engine thread.

use pyo3::{prelude::*, types::PyList};

use super::{
    convert,
    faults::{Exceptions, Raised},
};
use crate::engine::Fault;

/// What one chunk of a step was.
#[derive(Debug)]
pub(super) enum Made {
    Pcm {
        pcm: Vec<f32>,
        last: bool,
    },
    Raised(Raised),
    /// Not what the protocol says; the engine holds the slot still unless the chunk was its last.
    Malformed {
        fault: Fault,
        last: bool,
    },
}

pub(super) struct Step {
    pub made: Vec<(usize, Made)>,
    /// The call as a whole failed: true of every slot of `made` that has not ended, none of it can be relied on.
    pub whole: Option<Raised>,
}

pub(super) fn step(
    py: Python<'_>,
    engine: &Bound<'_, PyAny>,
    slots: &[usize],
    exceptions: &Exceptions,
    name: &str,
) -> Step {
    let mut made = Vec::with_capacity(slots.len());
    let mut run = || -> PyResult<Result<(), String>> {
        let chunks = engine.call_method1("step", (PyList::new(py, slots)?,))?;
        let Ok(chunks) = chunks.cast::<PyList>() else {
            return Ok(Err(format!("step returned {} instead of a list", convert::class(&chunks))));
        };
        for chunk in chunks.iter() {
            let Ok(slot) = chunk.getattr("slot").and_then(|slot| slot.extract::<usize>()) else {
                return Ok(Err(format!("step returned {} without a slot", convert::class(&chunk))));
            };
            made.push((slot, read(py, &chunk, exceptions, name)));
        }
        Ok(Ok(()))
    };
    let whole = match run() {
        Ok(Ok(())) => None,
        Ok(Err(message)) => {
            tracing::error!(engine = name, "{message}");
            Some(Raised::Fault(Fault::failed(message)))
        }
        Err(error) => Some(exceptions.sort(py, name, "speaking", &error)),
    };
    Step { made, whole }
}

fn read(py: Python<'_>, chunk: &Bound<'_, PyAny>, exceptions: &Exceptions, name: &str) -> Made {
    let last = chunk.getattr("last").and_then(|last| last.extract::<bool>());
    let held_last = *last.as_ref().unwrap_or(&false);
    let malformed = |message: String| {
        tracing::error!(engine = name, "{message}");
        Made::Malformed { fault: Fault::failed(message), last: held_last }
    };
    match chunk.getattr("error") {
        Ok(error) if error.is_none() => {}
        Ok(error) => return Made::Raised(exceptions.sort(py, name, "speaking", &PyErr::from_value(error))),
        Err(_) => return malformed("step returned a chunk without an error field".to_owned()),
    }
    let Ok(last) = last else {
        return malformed("step returned a chunk whose last is not a bool".to_owned());
    };
    match chunk.getattr("pcm") {
        Ok(pcm) => convert::pcm(&pcm).map_or_else(malformed, |pcm| Made::Pcm { pcm, last }),
        Err(_) => malformed("step returned a chunk without pcm".to_owned()),
    }
}
