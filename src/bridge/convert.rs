//! Between the engine protocol's Python classes and the Rust structs of `crate::engine`. Called attached.

use numpy::{PyReadonlyArray1, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::{
    IntoPyObjectExt,
    exceptions::PyOverflowError,
    prelude::*,
    types::{PyBytes, PyDict, PyList, PyTuple},
};
use serde_json::Value;

use crate::{
    audio::resample::RATES_HZ,
    engine::{Chosen, Cost, EngineInfo, MAX_SEGMENT_CHARS, MAX_SLOTS, Segment, Transcript, Word},
    voices::Voice,
};

/// The classes of `ishowtts.engine` that are handed to an engine.
pub(super) struct Protocol {
    segment: Py<PyAny>,
    voice: Py<PyAny>,
}

impl Protocol {
    pub(super) fn import(py: Python<'_>) -> PyResult<Self> {
        let engine = py.import("ishowtts.engine")?;
        Ok(Self { segment: engine.getattr("Segment")?.unbind(), voice: engine.getattr("Voice")?.unbind() })
    }

    pub(super) fn segment<'py>(
        &self,
        py: Python<'py>,
        segment: &Segment,
        budget_ms: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let params = PyDict::new(py);
        for (name, value) in segment.params.iter() {
            params.set_item(name, json_to_python(py, value)?)?;
        }
        let (text, language) = (segment.text.as_str(), segment.language.as_deref());
        self.segment.bind(py).call1((text, language, segment.seed, segment.speed, params, budget_ms))
    }

    pub(super) fn voice<'py>(&self, py: Python<'py>, voice: &Voice, engine: &str) -> PyResult<Bound<'py, PyAny>> {
        let hints = match voice.hints.get(engine) {
            Some(hints) => json_to_python(py, hints)?,
            None => PyDict::new(py).into_any(),
        };
        let (clip, text) = match &voice.reference {
            Some(reference) => (Some(PyBytes::new(py, &reference.clip)), Some(reference.text.as_str())),
            None => (None, None),
        };
        let languages = PyTuple::new(py, &voice.languages)?;
        let shape = (voice.shape.pitch_semitones, voice.shape.formant_semitones);
        let arguments = (voice.id.as_str(), voice.version.as_str(), languages, hints, clip, text, shape.0, shape.1);
        self.voice.bind(py).call1(arguments)
    }
}

pub(super) fn json_to_python<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    match value {
        Value::Null => Ok(py.None().into_bound(py)),
        Value::Bool(flag) => flag.into_bound_py_any(py),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => whole.into_bound_py_any(py),
            (_, Some(whole)) => whole.into_bound_py_any(py),
            _ => number.as_f64().into_bound_py_any(py),
        },
        Value::String(text) => text.into_bound_py_any(py),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| json_to_python(py, item)).collect::<PyResult<_>>()?;
            Ok(PyList::new(py, items)?.into_any())
        }
        Value::Object(fields) => {
            let dict = PyDict::new(py);
            for (name, field) in fields {
                dict.set_item(name, json_to_python(py, field)?)?;
            }
            Ok(dict.into_any())
        }
    }
}

/// What Python's own `json` makes of it.
pub(super) fn python_to_json(value: &Bound<'_, PyAny>) -> PyResult<Value> {
    let strict = PyDict::new(value.py());
    strict.set_item("allow_nan", false)?;
    let text: String = value.py().import("json")?.getattr("dumps")?.call((value,), Some(&strict))?.extract()?;
    serde_json::from_str(&text).map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))
}

/// # Errors
/// A sentence that names the field that is missing, of the wrong type or out of range.
pub(super) fn engine_info(info: &Bound<'_, PyAny>) -> Result<EngineInfo, String> {
    let cost = field::<Bound<'_, PyAny>>(info, "cost")?;
    let info = EngineInfo {
        name: field(info, "name")?,
        revision: field(info, "revision")?,
        sample_rate_hz: field(info, "sample_rate_hz")?,
        languages: field(info, "languages")?,
        scripts: field(info, "scripts")?,
        clones_voices: field(info, "clones_voices")?,
        shapes_voices: field(info, "shapes_voices")?,
        reads_links: field(info, "reads_links")?,
        licence: field(info, "licence")?,
        device: field(info, "device")?,
        params: schema(info)?,
        max_slots: field(info, "max_slots")?,
        max_shared: field(info, "max_shared")?,
        max_segment_chars: field(info, "max_segment_chars")?,
        cost: Cost {
            steps: field(&cost, "steps")?,
            fixed_ms: field(&cost, "fixed_ms")?,
            ms_per_char: field(&cost, "ms_per_char")?,
            audio_ms_per_char: field(&cost, "audio_ms_per_char")?,
        },
    };
    check(&info)?;
    Ok(info)
}

fn field<'py, T>(holder: &Bound<'py, PyAny>, name: &str) -> Result<T, String>
where
    T: for<'any> FromPyObject<'any, 'py, Error: Into<PyErr>>,
{
    let value = holder.getattr(name).map_err(|_| format!("{} has no {name}", class(holder)))?;
    value.extract().map_err(Into::<PyErr>::into).map_err(|error| {
        let out_of_range = error.is_instance_of::<PyOverflowError>(value.py());
        let what =
            if out_of_range { "out of range".to_owned() } else { format!("of the wrong type ({})", class(&value)) };
        format!("{}.{name} is {what}", class(holder))
    })
}

fn schema(info: &Bound<'_, PyAny>) -> Result<Value, String> {
    let read = || -> PyResult<String> {
        let py = info.py();
        let params = py.import("builtins")?.call_method1("dict", (info.getattr("params")?,))?;
        py.import("json")?.call_method1("dumps", (params,))?.extract()
    };
    let text = read().map_err(|_| "EngineInfo.params is not a JSON Schema".to_owned())?;
    serde_json::from_str(&text).map_err(|_| "EngineInfo.params is not a JSON Schema".to_owned())
}

fn check(info: &EngineInfo) -> Result<(), String> {
    let cost = &info.cost;
    let named = [("name", &info.name), ("revision", &info.revision), ("licence", &info.licence)];
    if let Some((name, _)) = named.iter().find(|(_, value)| value.is_empty()) {
        return Err(format!("EngineInfo.{name} is empty"));
    }
    if !RATES_HZ.contains(&info.sample_rate_hz) {
        return Err(format!(
            "EngineInfo.sample_rate_hz is {}, not from {} to {}",
            info.sample_rate_hz,
            RATES_HZ.start(),
            RATES_HZ.end()
        ));
    }
    let counts = [
        ("max_segment_chars", info.max_segment_chars),
        ("max_slots", info.max_slots),
        ("max_shared", info.max_shared),
        ("cost.steps", cost.steps as usize),
    ];
    if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
        return Err(format!("EngineInfo.{name} is 0"));
    }
    // Memory and time go with these, so no engine may choose them freely. Of `max_shared` no more than the slots count.
    let bounded =
        [("max_slots", info.max_slots, MAX_SLOTS), ("max_segment_chars", info.max_segment_chars, MAX_SEGMENT_CHARS)];
    if let Some((name, count, most)) = bounded.iter().find(|(_, count, most)| count > most) {
        return Err(format!("EngineInfo.{name} is {count}; {most} at most are possible"));
    }
    let times =
        [("fixed_ms", cost.fixed_ms), ("ms_per_char", cost.ms_per_char), ("audio_ms_per_char", cost.audio_ms_per_char)];
    if let Some((name, value)) = times.iter().find(|(_, value)| !value.is_finite() || *value < 0.0) {
        return Err(format!("EngineInfo.cost.{name} is {value}"));
    }
    if cost.audio_ms_per_char == 0.0 {
        return Err("EngineInfo.cost.audio_ms_per_char is 0".to_owned());
    }
    Ok(())
}

/// What `admit` gave: the steps left, or an `Admitted`.
pub(super) fn admitted(value: &Bound<'_, PyAny>) -> PyResult<(u32, Chosen)> {
    if let Ok(steps_left) = value.extract() {
        return Ok((steps_left, Chosen::default()));
    }
    let py = value.py();
    let params = py.import("builtins")?.call_method1("dict", (value.getattr("params")?,))?;
    let params = python_to_json(&params)?.as_object().cloned().unwrap_or_default();
    let chosen = Chosen { params: params.into_iter().collect(), hurried: value.getattr("hurried")?.extract()? };
    Ok((value.getattr("steps_left")?.extract()?, chosen))
}

/// Copies the samples out, once.
///
/// # Errors
/// A sentence that says what came instead of one-dimensional, contiguous float32.
pub(super) fn pcm(value: &Bound<'_, PyAny>) -> Result<Vec<f32>, String> {
    let wrong = |got: String| format!("the engine returned {got} instead of one-dimensional, contiguous float32");
    if let Ok(array) = value.extract::<PyReadonlyArray1<'_, f32>>() {
        return array.as_slice().map(<[f32]>::to_vec).map_err(|_| wrong("a strided array".to_owned()));
    }
    match value.cast::<PyUntypedArray>() {
        Ok(array) => Err(wrong(format!("{} of shape {:?}", array.dtype(), array.shape()))),
        Err(_) => Err(wrong(class(value))),
    }
}

/// # Errors
/// A sentence that names the field that is missing, of the wrong type or out of range.
pub(super) fn transcript(value: &Bound<'_, PyAny>) -> Result<Transcript, String> {
    let words: Vec<Bound<'_, PyAny>> = field(value, "words")?;
    let words: Vec<Word> = words.iter().map(word).collect::<Result<_, _>>()?;
    Ok(Transcript { spoken: field(value, "spoken")?, words })
}

fn word(value: &Bound<'_, PyAny>) -> Result<Word, String> {
    let word = Word {
        text: field(value, "text")?,
        span: field(value, "start")?..field(value, "end")?,
        start_ms: field(value, "start_ms")?,
        end_ms: field(value, "end_ms")?,
    };
    let ordered = word.span.start <= word.span.end && word.start_ms >= 0.0 && word.start_ms <= word.end_ms;
    if ordered && word.end_ms.is_finite() {
        Ok(word)
    } else {
        Err(format!("the word {:?} ends before it starts", word.text))
    }
}

pub(super) fn class(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "an object".to_owned(), |name| name.to_string_lossy().into_owned())
}
