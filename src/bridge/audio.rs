//! `ishowtts.audio`: the audio core on NumPy arrays. Everything runs detached from the interpreter, on the caller's thread.

use std::{path::PathBuf, time::Duration};

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::{
    exceptions::{PyOverflowError, PyValueError},
    prelude::*,
    pybacked::PyBackedBytes,
    types::PyBytes,
};

use super::{errors, numbers::Real};
use crate::audio::{
    EncodeError, Format, Spec,
    decode::{self, Limits},
    encode::encode_file,
    loudness,
    resample::{self, Quality},
    stretch::{self, Stretch},
};

type Sound<'py> = Bound<'py, PyArray1<f32>>;

/// Where a clip's bytes are.
#[derive(FromPyObject)]
pub enum Clip {
    Bytes(PyBackedBytes),
    Path(PathBuf),
}

/// A sample rate or a bitrate. One that no u32 holds is out of its range as any other, so it is the same error.
pub struct Rate(u32);

impl<'py> FromPyObject<'_, 'py> for Rate {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let overflowed = |error: PyErr| match error.is_instance_of::<PyOverflowError>(given.py()) {
            true => invalid(format!("a rate must be from 0 to {}, not {}", u32::MAX, *given)),
            false => error,
        };
        given.extract().map(Self).map_err(overflowed)
    }
}

#[pyfunction]
#[pyo3(signature = (clip, max_duration_s, max_time_s))]
pub fn audio_decode<'py>(
    py: Python<'py>,
    clip: Clip,
    max_duration_s: Real,
    max_time_s: Real,
) -> PyResult<(Sound<'py>, u32)> {
    let (Real(max_duration_s), Real(max_time_s)) = (max_duration_s, max_time_s);
    for (name, given_s) in [("max_duration_s", max_duration_s), ("max_time_s", max_time_s)] {
        if given_s.is_nan() || given_s < 0.0 {
            return Err(invalid(format!("{name} must be 0 or more, not {given_s}")));
        }
    }
    // More than it can hold is no limit.
    let max_time = Duration::try_from_secs_f64(max_time_s).unwrap_or(Duration::MAX);
    let limits = Limits { max_duration_s, max_time, ..Limits::default() };
    let decoded = match clip {
        Clip::Bytes(bytes) => py.detach(|| decode::decode(&bytes, &limits)),
        Clip::Path(path) => {
            let bytes = py.detach(|| std::fs::read(path))?;
            py.detach(|| decode::decode(&bytes, &limits))
        }
    };
    let clip = decoded.map_err(|error| errors::audio(py, error.to_string()))?;
    Ok((clip.samples.into_pyarray(py), clip.sample_rate_hz))
}

#[pyfunction]
pub fn audio_resample<'py>(
    py: Python<'py>,
    samples: PyReadonlyArray1<'py, f32>,
    rate_in_hz: Rate,
    rate_out_hz: Rate,
    quality: &str,
) -> PyResult<Sound<'py>> {
    let quality = Quality::parse(quality)
        .ok_or_else(|| invalid(format!("quality must be \"fast\" or \"high\", not {quality:?}")))?;
    let sound = samples.as_slice()?;
    let resampled = py.detach(|| resample::resample_with(sound, rate_in_hz.0, rate_out_hz.0, quality));
    Ok(resampled.map_err(|error| invalid(error.to_string()))?.into_pyarray(py))
}

#[pyfunction]
pub fn audio_stretch<'py>(
    py: Python<'py>,
    samples: PyReadonlyArray1<'py, f32>,
    sample_rate_hz: Rate,
    speed: Real,
    pitch_semitones: Real,
) -> PyResult<Sound<'py>> {
    let sound = samples.as_slice()?;
    let how = Stretch { speed: speed.0, pitch_semitones: pitch_semitones.0 };
    let stretched = py.detach(|| stretch::stretch(sound, sample_rate_hz.0, how));
    Ok(stretched.map_err(|error| invalid(error.to_string()))?.into_pyarray(py))
}

/// Whole files.
#[pyfunction]
#[pyo3(signature = (samples, sample_rate_hz, format, rate_out_hz, bitrate_bps))]
pub fn audio_encode<'py>(
    py: Python<'py>,
    samples: PyReadonlyArray1<'py, f32>,
    sample_rate_hz: Rate,
    format: &str,
    rate_out_hz: Option<Rate>,
    bitrate_bps: Option<Rate>,
) -> PyResult<Bound<'py, PyBytes>> {
    let format = Format::parse(format).ok_or_else(|| {
        let formats: Vec<_> = Format::ALL.iter().map(|format| format.name()).collect();
        invalid(format!("format must be one of {}, not {format:?}", formats.join(", ")))
    })?;
    let given = |rate: Rate| rate.0;
    let spec = Spec { format, sample_rate_hz: rate_out_hz.map(given), bitrate_bps: bitrate_bps.map(given) };
    let sound = samples.as_slice()?;
    let file = py.detach(|| encode_file([sound], sample_rate_hz.0, &spec));
    match file {
        Ok(file) => Ok(PyBytes::new(py, &file)),
        Err(error @ EncodeError::Failed { .. }) => Err(errors::audio(py, error.to_string())),
        Err(error) => Err(invalid(error.to_string())),
    }
}

/// Integrated loudness in LUFS and true peak in dBTP.
#[pyfunction]
pub fn audio_loudness(
    py: Python<'_>,
    samples: PyReadonlyArray1<'_, f32>,
    sample_rate_hz: Rate,
) -> PyResult<(f64, f64)> {
    let sound = samples.as_slice()?;
    let measured = py.detach(|| loudness::measure(sound, sample_rate_hz.0));
    let measured = measured.map_err(|error| invalid(error.to_string()))?;
    Ok((measured.integrated_lufs, measured.true_peak_dbtp))
}

fn invalid(message: String) -> PyErr {
    PyValueError::new_err(message)
}
