//! Where Rust meets Python: the only room that knows pyo3 and numpy.
//!
//! `host` runs a Python engine inside this process; `config`, `runtime` and `stream` are what Python sees of the server;
//! `audio` is the audio core on NumPy arrays.

mod audio;
mod auto;
mod config;
mod convert;
#[cfg(feature = "embed")]
pub mod embedded;
mod errors;
mod faults;
mod host;
mod log;
mod numbers;
mod runtime;
mod stepping;
mod stream;
mod transcribe;
mod voices;
mod wait;

use pyo3::prelude::*;

pub use self::{
    audio::{audio_decode, audio_encode, audio_loudness, audio_resample, audio_stretch},
    config::Config,
    host::start,
    runtime::Runtime,
    stream::{Stream, subtitles},
    voices::Voices,
};

/// What else importing `ishowtts._native` does.
///
/// # Errors
/// Whatever Python raises.
pub fn initialise(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // The thread that imports it first is Python's main thread, whose end the interpreter awaits before it runs `atexit`:
    // it must not be an engine's.
    module.py().import("threading")?;
    // Before the interpreter ends, while the engines' threads can still use it.
    let close_all = wrap_pyfunction!(runtime::_close_all, module)?;
    module.py().import("atexit")?.call_method1("register", (close_all,))?;
    Ok(())
}

#[cfg(test)]
mod tests;
