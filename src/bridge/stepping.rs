//! One `Engine.step` call: what comes out for each slot. Called attached, on the engine thread.

use pyo3::{
    prelude::*,
    types::{PyIterator, PyList},
};

use super::{
    convert,
    faults::{Exceptions, Raised},
};
use crate::engine::{Fault, Transcript};

/// What one chunk of a step was.
#[derive(Debug)]
pub(super) enum Made {
    Pcm {
        pcm: Vec<f32>,
        last: bool,
        transcript: Option<Transcript>,
    },
    Raised(Raised),
    /// Not what the protocol says; the engine holds the slot still unless the chunk was its last.
    Malformed {
        fault: Fault,
        last: bool,
    },
}

/// What is to be delivered before the step goes on.
#[derive(Default)]
pub(super) struct Taken {
    pub made: Vec<(usize, Made)>,
    /// The call as a whole failed: true of every slot that has not ended, nothing of them can be relied on.
    pub whole: Option<Raised>,
}

/// A step under way.
pub(super) struct Stepping<'s> {
    slots: &'s [usize],
    state: State,
}

enum State {
    Before,
    /// A generator: it makes what it gives while it is asked.
    Giving(Py<PyIterator>),
    Over,
}

impl<'s> Stepping<'s> {
    pub(super) fn new(slots: &'s [usize]) -> Self {
        Self { slots, state: if slots.is_empty() { State::Over } else { State::Before } }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// All of a list, or the next chunk of a generator; none at its end.
    pub(super) fn take(
        &mut self,
        py: Python<'_>,
        engine: &Bound<'_, PyAny>,
        exceptions: &Exceptions,
        name: &str,
    ) -> Option<Taken> {
        let mut taken = Taken::default();
        let state = std::mem::replace(&mut self.state, State::Over);
        let run = || -> PyResult<Result<State, String>> {
            let giving = match state {
                State::Before => {
                    let chunks = engine.call_method1("step", (PyList::new(py, self.slots)?,))?;
                    if let Ok(chunks) = chunks.cast::<PyList>() {
                        for chunk in chunks.iter() {
                            match slot_of(&chunk) {
                                Ok(slot) => taken.made.push((slot, read(py, &chunk, exceptions, name))),
                                Err(message) => return Ok(Err(message)),
                            }
                        }
                        return Ok(Ok(State::Over));
                    }
                    match chunks.try_iter() {
                        Ok(giving) => giving,
                        Err(_) => {
                            return Ok(Err(format!("step returned {} instead of chunks", convert::class(&chunks))));
                        }
                    }
                }
                State::Giving(giving) => giving.into_bound(py),
                State::Over => return Ok(Ok(State::Over)),
            };
            let mut giving = giving;
            let Some(chunk) = giving.next() else { return Ok(Ok(State::Over)) };
            let chunk = chunk?;
            Ok(slot_of(&chunk).map(|slot| {
                taken.made.push((slot, read(py, &chunk, exceptions, name)));
                State::Giving(giving.unbind())
            }))
        };
        match run() {
            Ok(Ok(state)) => self.state = state,
            Ok(Err(message)) => {
                tracing::error!(engine = name, "{message}");
                taken.whole = Some(Raised::Fault(Fault::failed(message)));
            }
            Err(error) => taken.whole = Some(exceptions.sort(py, name, "speaking", &error)),
        }
        (!self.is_over() || !taken.made.is_empty() || taken.whole.is_some()).then_some(taken)
    }
}

fn slot_of(chunk: &Bound<'_, PyAny>) -> Result<usize, String> {
    let slot = chunk.getattr("slot").and_then(|slot| slot.extract::<usize>());
    slot.map_err(|_| format!("step returned {} without a slot", convert::class(chunk)))
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
    let Ok(pcm) = chunk.getattr("pcm") else {
        return malformed("step returned a chunk without pcm".to_owned());
    };
    let transcript = match chunk.getattr("transcript") {
        Ok(transcript) if !transcript.is_none() => convert::transcript(&transcript).map(Some),
        _ => Ok(None),
    };
    match convert::pcm(&pcm).and_then(|pcm| Ok((pcm, transcript?))) {
        Ok((pcm, transcript)) => Made::Pcm { pcm, last, transcript },
        Err(message) => malformed(message),
    }
}
