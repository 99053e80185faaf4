//! Waiting for the server's own threads from Python: detached, and awake often enough for Ctrl-C.

use std::{future::Future, pin::pin, time::Duration};

use pyo3::{exceptions::PyRuntimeError, prelude::*};
use tokio::runtime::Handle;

/// The longest that a signal goes unnoticed.
pub(super) const SIGNAL_PERIOD: Duration = Duration::from_millis(50);

/// Runs `future` to its end on this thread.
///
/// # Errors
/// What a Python signal handler raised meanwhile; the future is dropped then.
pub(super) fn wait<F>(py: Python<'_>, runtime: &Handle, future: F) -> PyResult<F::Output>
where
    F: Future + Send,
    F::Output: Send,
{
    let mut future = pin!(future);
    loop {
        let done = py.detach(|| runtime.block_on(async { tokio::time::timeout(SIGNAL_PERIOD, &mut future).await }));
        py.check_signals()?;
        if let Ok(output) = done {
            return Ok(output);
        }
    }
}

/// Runs what asks Python something by the way, while detached, on a thread of its own: on the main thread a signal's
/// handler could raise in the middle of it, and the interrupt would be taken for its failure.
///
/// # Errors
/// What `ask` raises.
pub(super) fn aside<T: Send>(ask: impl FnOnce(Python<'_>) -> PyResult<T> + Send) -> PyResult<T> {
    let answer = std::thread::scope(|scope| scope.spawn(|| Python::attach(ask)).join());
    answer.unwrap_or_else(|_| Err(PyRuntimeError::new_err("a question to Python panicked")))
}
