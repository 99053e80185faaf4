//! The interpreter inside of this program: finds the virtual environment, then does what `ishowtts serve` does.
//!
//! Called once, on the process's main thread, which is Python's main thread too: signals reach its handlers there.

use std::{
    ffi::CString,
    path::{Path, PathBuf},
    process::ExitCode,
};

use pyo3::{ffi, prelude::*};

use crate::config;

const EXIT_FAILURE: u8 = 1;
const EXIT_USAGE: u8 = 2;
const FLAG: &str = "--venv";

/// Runs `ishowtts serve` with these arguments; `--venv DIR`, first, names the environment that holds the engines.
#[must_use]
pub fn main(arguments: Vec<String>) -> ExitCode {
    let (given, arguments) = match split_flag(arguments) {
        Ok(split) => split,
        Err(message) => return tell(&message, EXIT_USAGE),
    };
    let venv = match find(given, config::virtual_environment(), std::env::current_exe().ok()) {
        Ok(venv) => venv,
        Err(message) => return tell(&message, EXIT_USAGE),
    };
    if let Some(venv) = &venv
        && let Err(message) = set_program_name(&venv.join("bin/python3"))
    {
        return tell(&message, EXIT_USAGE);
    }
    Python::initialize();
    Python::attach(|py| {
        let code = serve(py, arguments, venv.as_deref()).unwrap_or_else(|error| {
            error.print(py);
            i32::from(EXIT_FAILURE)
        });
        // SAFETY: the interpreter is initialised and this thread is attached to it. Nothing runs after it but the exit,
        // so that no guard meets an interpreter that has ended.
        let flushed = unsafe { ffi::Py_FinalizeEx() } == 0;
        std::process::exit(if code == 0 && !flushed { i32::from(EXIT_FAILURE) } else { code })
    })
}

fn tell(message: &str, code: u8) -> ExitCode {
    eprintln!("ishowtts-server: {message}");
    code.into()
}

fn split_flag(mut arguments: Vec<String>) -> Result<(Option<PathBuf>, Vec<String>), String> {
    let Some(first) = arguments.first() else { return Ok((None, arguments)) };
    if let Some(path) = first.strip_prefix("--venv=") {
        let path = PathBuf::from(path);
        arguments.remove(0);
        return Ok((Some(path), arguments));
    }
    if first != FLAG {
        return Ok((None, arguments));
    }
    if arguments.len() < 2 {
        return Err(format!("{FLAG} needs a folder"));
    }
    let rest = arguments.split_off(2);
    Ok((arguments.pop().map(PathBuf::from), rest))
}

/// The flag, then `VIRTUAL_ENV`, then a `.venv` beside or above the program. None: the interpreter's own packages.
fn find(given: Option<PathBuf>, active: Option<PathBuf>, program: Option<PathBuf>) -> Result<Option<PathBuf>, String> {
    for (named, from) in [(given, FLAG), (active, "VIRTUAL_ENV")] {
        let Some(venv) = named else { continue };
        return if is_venv(&venv) {
            Ok(Some(venv))
        } else {
            Err(format!("{from} {}: no virtual environment is there (it would hold bin/python3)", venv.display()))
        };
    }
    let program = program.and_then(|program| program.canonicalize().ok());
    let folders = program.iter().flat_map(|program| program.ancestors().skip(1));
    Ok(folders.map(|folder| folder.join(".venv")).find(|venv| is_venv(venv)))
}

fn is_venv(folder: &Path) -> bool {
    folder.join("pyvenv.cfg").is_file() && folder.join("bin/python3").exists()
}

/// From it Python finds the environment that it belongs to, as if it had been started by that name.
fn set_program_name(python: &Path) -> Result<(), String> {
    let name = std::path::absolute(python).map_err(|error| error.to_string())?;
    let name = CString::new(name.into_os_string().into_encoded_bytes()).map_err(|error| error.to_string())?;
    // SAFETY: called before the interpreter is initialised, by the only thread. What is decoded is never freed, as
    // Python keeps the pointer.
    unsafe {
        let decoded = ffi::Py_DecodeLocale(name.as_ptr(), std::ptr::null_mut());
        if decoded.is_null() {
            return Err("the virtual environment's path cannot be decoded in this locale".to_owned());
        }
        ffi::Py_SetProgramName(decoded);
    }
    Ok(())
}

fn serve(py: Python<'_>, arguments: Vec<String>, venv: Option<&Path>) -> PyResult<i32> {
    let sys = py.import("sys")?;
    let arguments: Vec<_> = std::iter::once("serve".to_owned()).chain(arguments).collect();
    let name = "ishowtts-server".to_owned();
    sys.setattr("argv", std::iter::once(&name).chain(&arguments).collect::<Vec<_>>())?;
    // The one that this program was linked with: the package's own would be a second copy of everything.
    let native = pyo3::wrap_pymodule!(crate::_native)(py);
    sys.getattr("modules")?.set_item("ishowtts._native", native)?;
    if let Some(message) = mismatch(py, venv) {
        tell(&message, EXIT_USAGE);
        return Ok(i32::from(EXIT_USAGE));
    }
    py.import("ishowtts.cli")?.call_method1("main", (arguments,))?.extract()
}

/// Why the environment's package cannot be used with this program.
fn mismatch(py: Python<'_>, venv: Option<&Path>) -> Option<String> {
    let place = venv.map_or_else(|| "this Python".to_owned(), |venv| venv.display().to_string());
    let version =
        || -> PyResult<String> { py.import("importlib.metadata")?.call_method1("version", ("ishowtts",))?.extract() };
    match version() {
        Ok(version) if version == env!("CARGO_PKG_VERSION") => None,
        Ok(version) => Some(format!(
            "{place} has ishowtts {version}, this program is {}; install the same version",
            env!("CARGO_PKG_VERSION")
        )),
        Err(_) => Some(format!(
            "{place} has no package ishowtts; install it there (pip install ishowtts), or name the environment that has \
             it with {FLAG} or VIRTUAL_ENV"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(arguments: &[&str]) -> Vec<String> {
        arguments.iter().map(|argument| (*argument).to_owned()).collect()
    }

    #[test]
    fn the_flag_comes_first_or_is_left_to_the_command() {
        let split = |arguments: &[&str]| split_flag(strings(arguments));
        assert_eq!(split(&["--venv", "a", "--port", "1"]), Ok((Some("a".into()), strings(&["--port", "1"]))));
        assert_eq!(split(&["--venv=a"]), Ok((Some("a".into()), Vec::new())));
        assert_eq!(split(&["--port", "1"]), Ok((None, strings(&["--port", "1"]))));
        assert!(split(&["--venv"]).is_err());
    }

    #[test]
    fn an_environment_is_found_by_flag_then_variable_then_above_the_program() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path().canonicalize().expect("a path");
        let make = |name: &str| {
            let venv = root.join(name);
            std::fs::create_dir_all(venv.join("bin")).expect("folders");
            std::fs::write(venv.join("pyvenv.cfg"), "").expect("a file");
            std::fs::write(venv.join("bin/python3"), "").expect("a file");
            Some(venv)
        };
        let (given, active, beside) = (make("given"), make("active"), make(".venv"));
        let program = root.join("target/release/ishowtts-server");
        std::fs::create_dir_all(program.parent().expect("a folder")).expect("folders");
        std::fs::write(&program, "").expect("a file");
        assert_eq!(find(given.clone(), active.clone(), Some(program.clone())), Ok(given));
        assert_eq!(find(None, active.clone(), Some(program.clone())), Ok(active));
        assert_eq!(find(None, None, Some(program)), Ok(beside));
        assert!(find(Some(root.join("none")), None, None).is_err_and(|message| message.contains("none")));
    }
}
