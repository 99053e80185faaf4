//! Hears what is said in a clip, with `ishowtts.transcribe`. On a thread of its own, which starts with the
//! first clip: no voice waits for it to be prepared, and a model that nobody has used for a while is let go.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use numpy::IntoPyArray;
use parking_lot::Mutex;
use pyo3::{exceptions::PyException, prelude::*};
use tokio::sync::oneshot;

use super::{
    faults::{Exceptions, Raised},
    host::Counted,
};
use crate::{
    engine::FaultKind,
    speech::{Answer, Heard, Transcriber, Unheard},
};

/// The model is kept so long for the next clip.
const IDLE: Duration = Duration::from_secs(60);
const NAME: &str = "transcribe";

pub(super) type Told = Result<Heard, Unheard>;

struct Ask {
    sound: Vec<f32>,
    language: Option<String>,
    answer: oneshot::Sender<Told>,
}

/// See the module's header.
pub(super) struct Whisper {
    model: String,
    threads: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    thread: Option<(Sender<Ask>, JoinHandle<()>)>,
}

impl Whisper {
    pub fn new(model: String, threads: usize) -> Arc<Self> {
        Arc::new(Self { model, threads, state: Mutex::default() })
    }

    fn start(&self) -> std::io::Result<(Sender<Ask>, JoinHandle<()>)> {
        let (asks, inbox) = channel();
        let (model, threads) = (self.model.clone(), self.threads);
        let counted = Counted::new();
        let thread = thread::Builder::new().name(NAME.to_owned()).spawn(move || {
            // Until after the last use of the interpreter.
            let _counted = counted;
            Python::attach(move |py| py.detach(move || run(&model, threads, inbox)));
        })?;
        Ok((asks, thread))
    }
}

impl Transcriber for Whisper {
    fn ask(&self, sound: Vec<f32>, language: Option<String>) -> Answer {
        let (answer, told) = oneshot::channel();
        let mut state = self.state.lock();
        if state.closed {
            return told;
        }
        let ask = Ask { sound, language, answer };
        if state.thread.is_none() {
            match self.start() {
                Ok(started) => state.thread = Some(started),
                Err(error) => {
                    let _ = ask.answer.send(Err(Unheard::Failed(error.to_string())));
                    return told;
                }
            }
        }
        if let Some((asks, _)) = &state.thread {
            let _ = asks.send(ask);
        }
        told
    }

    fn close(&self) {
        let thread = {
            let mut state = self.state.lock();
            state.closed = true;
            state.thread.take()
        };
        if let Some((asks, thread)) = thread {
            drop(asks);
            if thread.join().is_err() {
                tracing::error!("the thread that transcribes panicked");
            }
        }
    }
}

/// Detached: until nobody can ask any more.
fn run(model: &str, threads: usize, inbox: Receiver<Ask>) {
    let mut transcriber: Option<Py<PyAny>> = None;
    loop {
        match inbox.recv_timeout(IDLE) {
            Ok(Ask { sound, language, answer }) => {
                // Whoever asked may have left.
                if !answer.is_closed() {
                    let told = Python::attach(|py| hear(py, &mut transcriber, (model, threads), sound, language));
                    let _ = answer.send(told.unwrap_or_else(|error| Err(Unheard::Failed(error.to_string()))));
                }
            }
            Err(RecvTimeoutError::Timeout) => Python::attach(|_| transcriber = None),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    Python::attach(|_| drop(transcriber));
}

/// Attached, on whichever thread. `transcriber`: kept for the next clip.
///
/// # Errors
/// What is no fault of the transcriber's, such as Ctrl-C.
pub(super) fn hear(
    py: Python<'_>,
    transcriber: &mut Option<Py<PyAny>>,
    (model, threads): (&str, usize),
    sound: Vec<f32>,
    language: Option<String>,
) -> PyResult<Told> {
    let exceptions = Exceptions::import(py)?;
    let run = || -> PyResult<Option<Heard>> {
        if transcriber.is_none() {
            let loaded = py.import("ishowtts.transcribe")?.call_method1("load", (model, threads))?;
            *transcriber = (!loaded.is_none()).then(|| loaded.unbind());
        }
        let Some(transcriber) = transcriber else { return Ok(None) };
        let heard = transcriber.bind(py).call_method1("hear", (sound.into_pyarray(py), language))?;
        let (text, language): (String, String) = heard.extract()?;
        Ok(Some(Heard { text, language }))
    };
    Ok(match run() {
        Ok(Some(heard)) => Ok(heard),
        Ok(None) => Err(Unheard::NotInstalled),
        Err(error) if !error.is_instance_of::<PyException>(py) => return Err(error),
        Err(error) => Err(match exceptions.sort(py, NAME, "hearing what is said in a clip", &error) {
            Raised::Refused(message) => Unheard::Invalid(message),
            Raised::Fault(fault) | Raised::Broken(fault) => match fault.kind {
                FaultKind::Invalid => Unheard::Invalid(fault.message),
                FaultKind::Failed | FaultKind::NoSpeech => Unheard::Failed(fault.message),
            },
        }),
    })
}
