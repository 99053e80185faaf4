//! The server's errors as the exceptions of `ishowtts.errors`.

use pyo3::{prelude::*, types::PyType};

use crate::{config::ConfigError, error::Error};

fn exception(py: Python<'_>, name: &str, arguments: impl FnOnce(Bound<'_, PyType>) -> PyResult<PyErr>) -> PyErr {
    let class = py.import("ishowtts.errors").and_then(|errors| Ok(errors.getattr(name)?.cast_into::<PyType>()?));
    class.and_then(arguments).unwrap_or_else(|error| error)
}

pub(super) fn speech(py: Python<'_>, error: &Error) -> PyErr {
    let arguments = (error.code(), error.to_string());
    exception(py, "SpeechError", |class| Ok(PyErr::from_value(class.call1(arguments)?)))
}

pub(super) fn config(py: Python<'_>, error: &ConfigError) -> PyErr {
    let message = error.to_string();
    exception(py, "ConfigError", |class| Ok(PyErr::from_value(class.call1((message,))?)))
}

pub(super) fn audio(py: Python<'_>, message: String) -> PyErr {
    exception(py, "AudioError", |class| Ok(PyErr::from_value(class.call1((message,))?)))
}

pub(super) fn plain(py: Python<'_>, message: String) -> PyErr {
    exception(py, "IshowttsError", |class| Ok(PyErr::from_value(class.call1((message,))?)))
}
