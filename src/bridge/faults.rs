//! Python exceptions to faults. Called attached, on the engine's threads.

use pyo3::{prelude::*, types::PyType};

use crate::engine::{Fault, FaultKind};

/// What a client may be shown of an engine's own message.
const MAX_MESSAGE_CHARS: usize = 500;

/// What an exception means for the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Raised {
    /// This engine cannot say this segment: an answer.
    Refused(String),
    /// Ends what was asked, nothing else.
    Fault(Fault),
    /// The engine as a whole cannot go on.
    Broken(Fault),
}

impl Raised {
    pub(super) fn fault(self) -> Fault {
        match self {
            Self::Refused(reason) => Fault { kind: FaultKind::Invalid, message: reason },
            Self::Fault(fault) | Self::Broken(fault) => fault,
        }
    }
}

/// The classes of `ishowtts.errors`.
pub(super) struct Exceptions {
    base: Py<PyType>,
    refused: Py<PyType>,
    invalid: Py<PyType>,
    unavailable: Py<PyType>,
    broken: Py<PyType>,
}

impl Exceptions {
    pub(super) fn import(py: Python<'_>) -> PyResult<Self> {
        let errors = py.import("ishowtts.errors")?;
        let class = |name: &str| -> PyResult<Py<PyType>> { Ok(errors.getattr(name)?.cast_into::<PyType>()?.unbind()) };
        Ok(Self {
            base: class("IshowttsError")?,
            refused: class("SegmentRefused")?,
            invalid: class("InvalidSetting")?,
            unavailable: class("Unavailable")?,
            broken: class("EngineBroken")?,
        })
    }

    /// Sorts `error` and logs it: with its traceback unless its message is all that there is to know.
    pub(super) fn sort(&self, py: Python<'_>, engine: &str, doing: &str, error: &PyErr) -> Raised {
        let is = |class: &Py<PyType>| error.is_instance(py, class.bind(py));
        if is(&self.refused) {
            let reason = text_of(py, error);
            tracing::debug!(engine, doing, reason, "the engine refused");
            return Raised::Refused(reason);
        }
        if is(&self.invalid) {
            let message = text_of(py, error);
            tracing::debug!(engine, doing, message, "the engine did not accept a setting");
            return Raised::Fault(Fault { kind: FaultKind::Invalid, message });
        }
        let traceback = traceback_of(py, error);
        if is(&self.unavailable) {
            tracing::debug!(engine, doing, "what the engine needs is not to be had\n{traceback}");
            return Raised::Fault(Fault::failed(text_of(py, error)));
        }
        tracing::error!(engine, doing, "the engine raised\n{traceback}");
        let message = if is(&self.base) { text_of(py, error) } else { unexpected(py, error, doing) };
        let fault = Fault::failed(message);
        if is(&self.broken) { Raised::Broken(fault) } else { Raised::Fault(fault) }
    }
}

/// For exceptions whose own message may hold paths or what others said.
pub(super) fn unexpected(py: Python<'_>, error: &PyErr, doing: &str) -> String {
    format!("{doing} raised {}; the server's log has the details", class_of(py, error))
}

fn class_of(py: Python<'_>, error: &PyErr) -> String {
    error.get_type(py).name().map_or_else(|_| "an exception".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn text_of(py: Python<'_>, error: &PyErr) -> String {
    let text = error.value(py).str().map(|text| text.to_string_lossy().into_owned()).unwrap_or_default();
    if text.trim().is_empty() { class_of(py, error) } else { text.chars().take(MAX_MESSAGE_CHARS).collect() }
}

/// With causes and contexts, as Python prints it.
pub(super) fn traceback_of(py: Python<'_>, error: &PyErr) -> String {
    let format = || -> PyResult<String> {
        let lines = py
            .import("traceback")?
            .call_method1("format_exception", (error.get_type(py), error.value(py), error.traceback(py)))?;
        lines.try_iter()?.map(|line| Ok(line?.str()?.to_string_lossy().into_owned())).collect()
    };
    format().unwrap_or_else(|_| class_of(py, error)).trim_end().to_owned()
}
