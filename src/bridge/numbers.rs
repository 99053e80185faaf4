//! Numbers as Python gives them. One that no machine number holds is out of every range, so whoever checks the range
//! tells of it as of any other, and true and false are none. Called attached, on the caller's thread.

use pyo3::{
    exceptions::{PyOverflowError, PyTypeError},
    prelude::*,
    types::PyBool,
};

/// A whole number; `i64::MIN` stands for all that is beyond.
#[derive(Debug, Clone, Copy)]
pub struct Whole(pub i64);

/// A number; infinite where it is beyond.
#[derive(Debug, Clone, Copy)]
pub struct Real(pub f64);

impl<'py> FromPyObject<'_, 'py> for Whole {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        refuse_flags(given)?;
        given.extract().or_else(|error| beyond(given, error, i64::MIN)).map(Self)
    }
}

impl<'py> FromPyObject<'_, 'py> for Real {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        refuse_flags(given)?;
        given.extract().or_else(|error| Ok(beyond(given, error, f64::INFINITY)?.copysign(sign(given)))).map(Self)
    }
}

fn beyond<T>(given: Borrowed<'_, '_, PyAny>, error: PyErr, stands_for: T) -> PyResult<T> {
    if error.is_instance_of::<PyOverflowError>(given.py()) { Ok(stands_for) } else { Err(error) }
}

fn sign(given: Borrowed<'_, '_, PyAny>) -> f64 {
    if given.lt(0).unwrap_or(false) { -1.0 } else { 1.0 }
}

fn refuse_flags(given: Borrowed<'_, '_, PyAny>) -> PyResult<()> {
    // NumPy's are of a type of their own, which is called `bool_` before its version 2.
    let is_flag =
        given.is_instance_of::<PyBool>() || given.get_type().name().is_ok_and(|name| name == "bool" || name == "bool_");
    if is_flag { Err(PyTypeError::new_err("a number is wanted, not true or false")) } else { Ok(()) }
}
