pub mod audio;
pub mod bridge;
pub mod chat;
pub mod config;
pub mod engine;
pub mod error;
pub mod http;
pub mod scheduler;
pub mod speech;
pub mod text;
pub mod voices;

#[pyo3::pymodule]
pub mod _native {
    #[pymodule_export]
    use crate::bridge::{
        Config, Runtime, Stream, Voices, audio_decode, audio_encode, audio_loudness, audio_resample, audio_stretch,
        subtitles,
    };

    #[pymodule_init]
    fn initialise(module: &pyo3::Bound<'_, pyo3::types::PyModule>) -> pyo3::PyResult<()> {
        crate::bridge::initialise(module)
    }
}
