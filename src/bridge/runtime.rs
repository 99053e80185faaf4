//! `ishowtts._native.Runtime`: the whole program behind one object. Its methods wait detached.
//!
//! The engines start with the first call that needs them, so that a port that is taken is known before anything loads.

use std::{
    collections::BTreeSet,
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{
        Arc, OnceLock, Weak,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

use parking_lot::Mutex;
use pyo3::{
    prelude::*,
    types::{PyDict, PyList, PyString},
};
use tokio::{
    runtime::{Builder, Handle},
    sync::watch,
};

use super::{
    auto,
    config::Config,
    convert::{json_to_python, python_to_json},
    errors, host,
    numbers::{Real, Whole},
    stream::Stream,
    transcribe::Whisper,
    voices,
    wait::{SIGNAL_PERIOD, aside, wait},
};
use crate::{
    engine::StartHost,
    error::Error,
    http,
    scheduler::{Class, Owner},
    speech::{EngineState, Level, Loudness, Speech, SpeechRequest},
    voices::{Store, Voice, watch},
};

/// As over HTTP.
const MAX_VOLUME: f64 = 4.0;
const TOKIO_THREADS: usize = 2;
/// What a program ends with when it must be started anew (EX_SOFTWARE of sysexits.h).
const EXIT_BROKEN: i32 = 70;
/// What a program ends with that nothing mends but another configuration: `ishowtts` ends with it for wrong arguments.
const EXIT_SETTING: i32 = 2;
/// An engine that hangs may hold the interpreter: if Python cannot take the exit code by then, the process ends itself.
const EXIT_LIMIT: Duration = Duration::from_secs(5);

/// For the threads of engines that broke in good order.
const THREADS_LIMIT: Duration = Duration::from_secs(1);

/// Runtimes that were not closed: an interpreter that ends must not meet their threads.
static OPEN: Mutex<Vec<Weak<Inner>>> = Mutex::new(Vec::new());

pub(super) struct Inner {
    config: Arc<crate::config::Config>,
    store: Arc<Store>,
    speech: OnceLock<Arc<Speech>>,
    /// None once dropped.
    tokio: Option<tokio::runtime::Runtime>,
    handle: Handle,
    stop: watch::Sender<bool>,
    /// Open, and not yet served.
    listener: Mutex<Option<TcpListener>>,
    /// Held while it closes, so that whoever closes it too returns when all has ended.
    closed: Mutex<bool>,
}

impl Inner {
    fn new(config: Arc<crate::config::Config>) -> io::Result<Arc<Self>> {
        super::log::start(&config.log.level);
        http::install_metrics();
        let (store, problems) = Store::open(config.voices_directory(), &config.voices.default, &config.voices.aliases);
        for problem in problems {
            tracing::warn!("{problem}");
        }
        let tokio =
            Builder::new_multi_thread().worker_threads(TOKIO_THREADS).thread_name("tokio").enable_all().build()?;
        let handle = tokio.handle().clone();
        let inner = Arc::new(Self {
            config,
            store: Arc::new(store),
            speech: OnceLock::new(),
            tokio: Some(tokio),
            handle,
            stop: watch::Sender::new(false),
            listener: Mutex::default(),
            closed: Mutex::new(false),
        });
        let mut open = OPEN.lock();
        open.retain(|other| other.strong_count() > 0);
        open.push(Arc::downgrade(&inner));
        Ok(inner)
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    fn speech(&self) -> &Arc<Speech> {
        self.speech.get_or_init(|| {
            let _inside = self.handle.enter();
            if let Err(error) = watch(&self.store) {
                tracing::warn!(%error, "changes in the folder of voices are not seen before the next start");
            }
            let speech = Speech::start(Arc::clone(&self.config), Arc::clone(&self.store), self.hosts());
            speech.set_transcriber(Whisper::new(self.config.voices.transcribe_model.clone(), self.config.threads()));
            speech
        })
    }

    fn hosts(&self) -> Vec<(String, StartHost)> {
        let mut seen = BTreeSet::new();
        let config = &self.config;
        let first = match config.engine.as_str() {
            auto::AUTO => {
                let clones = self.store.library().default_voice().is_ok_and(|voice| voice.reference.is_some());
                auto::choose(&config.engines, clones)
            }
            named => named.to_owned(),
        };
        let fallbacks = fallbacks(&first, &config.fallback);
        let route = std::iter::once(first).chain(fallbacks);
        route
            .filter(|name| seen.insert(name.clone()))
            .map(|name| {
                let options = config.engines.get(&name).map(serde_json::to_string);
                let options = options.and_then(Result::ok).unwrap_or_else(|| "{}".to_owned());
                (name.clone(), host::start(name, options, config.threads()))
            })
            .collect()
    }

    /// Detached. Ends the engines' threads; waits for nobody who listens.
    fn close(&self) {
        self.stop.send_replace(true);
        let mut closed = self.closed.lock();
        if std::mem::replace(&mut *closed, true) {
            return;
        }
        if let Some(speech) = self.speech.get() {
            self.handle.block_on(speech.shut_down(Duration::ZERO));
        }
    }

    /// On tokio: until it was asked to stop and all is sent, or until an engine is lost.
    async fn serve(&self, listener: TcpListener, watchdog: &Watchdog) -> Result<i32, String> {
        let speech = Arc::clone(self.speech());
        let serving = http::serve(listener, Arc::clone(&speech), Arc::clone(&self.config), self.stop.subscribe());
        tokio::select! {
            outcome = serving => outcome.map(|()| 0).map_err(|error| format!("the socket failed: {error}")),
            lost = speech.failed() => {
                tracing::error!("an engine is lost, the program ends: {}", lost.message);
                let code = if lost.by_setting { EXIT_SETTING } else { EXIT_BROKEN };
                watchdog.arm(code);
                Ok(code)
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !*self.closed.get_mut() && self.speech.get().is_some() {
            // The engines' threads need the interpreter to end: waiting for them attached would be a deadlock.
            Python::try_attach(|py| py.detach(|| self.close()));
        }
        if let Some(tokio) = self.tokio.take() {
            tokio.shutdown_background();
        }
    }
}

/// Detached. Python knows what is installed.
fn fallbacks(engine: &str, named: &[String]) -> Vec<String> {
    let resolved: PyResult<(Vec<String>, Vec<String>)> =
        aside(|py| py.import("ishowtts.registry")?.call_method1("fallbacks", (engine, named.to_vec()))?.extract());
    match resolved {
        Ok((names, notes)) => {
            for note in notes {
                tracing::info!("{note}");
            }
            names
        }
        Err(error) => {
            tracing::warn!("no fallbacks: {error}");
            Vec::new()
        }
    }
}

/// For `atexit`.
#[pyfunction]
pub fn _close_all(py: Python<'_>) -> PyResult<()> {
    let open: Vec<_> = std::mem::take(&mut *OPEN.lock());
    let ended = py.detach(|| {
        open.iter().filter_map(Weak::upgrade).for_each(|inner| inner.close());
        host::wait_for_threads(THREADS_LIMIT)
    });
    if !ended {
        // An interpreter that ends kills the threads that want it, and with ours in between that is an abort.
        tracing::error!("an engine hangs: the process ends without it");
        for stream in ["stdout", "stderr"] {
            let _ = py.import("sys")?.getattr(stream).and_then(|stream| stream.call_method0("flush"));
        }
        py.import("os")?.call_method1("_exit", (EXIT_BROKEN,))?;
    }
    Ok(())
}

/// Speech in this process, with or without a server.
#[pyclass(frozen, module = "ishowtts._native")]
pub struct Runtime {
    inner: Arc<Inner>,
}

#[pymethods]
impl Runtime {
    #[new]
    fn new(py: Python<'_>, config: &Config) -> PyResult<Self> {
        let config = config.shared();
        // Here, as this changes the environment, which threads that are started from now on read.
        py.import("ishowtts.registry")?.call_method1("share_threads", (config.threads(),))?;
        let inner = py.detach(|| Inner::new(config))?;
        Ok(Self { inner })
    }

    /// Starts the engines if they are not started, and waits until they can speak.
    #[pyo3(signature = (timeout_s=None))]
    fn wait_ready(&self, py: Python<'_>, timeout_s: Option<Real>) -> PyResult<()> {
        let limit = timeout_s.map(|Real(seconds)| wait_limit(seconds)).transpose()?.flatten();
        let speech = py.detach(|| self.inner.speech());
        let ready = async {
            match limit {
                Some(limit) => tokio::time::timeout(limit, speech.wait_ready()).await.ok(),
                None => Some(speech.wait_ready().await),
            }
        };
        match wait(py, &self.inner.handle, ready)? {
            Some(ready) => ready.map_err(|error| match speech.wrong_setting() {
                Some(message) => errors::speech(py, &Error::invalid("invalid_setting", None, message)),
                None => errors::speech(py, &error),
            }),
            None => {
                let message = format!("not ready within {} s", limit.unwrap_or_default().as_secs_f64());
                Err(pyo3::exceptions::PyTimeoutError::new_err(message))
            }
        }
    }

    /// Waits for the engines if they load still, then queues the text. Returns before the first sound.
    #[pyo3(signature = (text, *, voice=None, engine=None, language=None, speed=Real(1.0), seed=None, cache=true, params=None,
                       reference=None, whole=false, loudness=None, volume=Real(1.0)))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of a Python method")]
    fn speak(
        &self,
        py: Python<'_>,
        text: &Bound<'_, PyString>,
        voice: Option<String>,
        engine: Option<String>,
        language: Option<String>,
        speed: Real,
        seed: Option<Whole>,
        cache: bool,
        params: Option<&Bound<'_, PyDict>>,
        reference: Option<(PathBuf, String)>,
        whole: bool,
        loudness: Option<&str>,
        volume: Real,
    ) -> PyResult<Stream> {
        let level = level(loudness, volume.0, whole).map_err(|error| errors::speech(py, &error))?;
        let params = params.map(|params| python_to_json(params)).transpose()?;
        let params = params.and_then(|params| params.as_object().cloned()).unwrap_or_default();
        let own_voice =
            py.detach(|| reference.map(own_voice).transpose()).map_err(|error| errors::speech(py, &error))?;
        self.wait_ready(py, None)?;
        let mut request = SpeechRequest {
            text: text.to_string_lossy().into_owned(),
            voice,
            own_voice,
            whole,
            engine,
            language,
            speed: speed.0,
            seed: seed.map(|Whole(seed)| seed),
            cache,
            streamed: true,
            class: Class::Interactive,
            owner: Owner(0),
            params: params.into_iter().collect(),
            level,
        };
        let speech = self.inner.speech();
        if speech.loudness(&request.level) == Loudness::File {
            // A stream waits for no end: `ishowtts.audio` measures what is complete.
            request.level.loudness = Some(Loudness::Voice);
        }
        match wait(py, &self.inner.handle, speech.speak(request))? {
            Ok(speaking) => Ok(Stream::new(speaking, Arc::clone(&self.inner))),
            Err(error) => Err(errors::speech(py, &error)),
        }
    }

    /// The library, sorted by id.
    fn voices<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        voices::list(py, &self.inner.store.library())
    }

    /// The engines of the route, in its order.
    fn engines<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let statuses = py.detach(|| self.inner.speech().engines());
        let engines = PyList::empty(py);
        for status in statuses {
            let dict = PyDict::new(py);
            dict.set_item("name", status.name)?;
            match status.state {
                EngineState::Loading => dict.set_item("state", "loading")?,
                EngineState::Broken(reason) => {
                    dict.set_item("state", "broken")?;
                    dict.set_item("reason", reason)?;
                }
                EngineState::Ready(info) => {
                    dict.set_item("state", "ready")?;
                    let info = serde_json::to_value(&*info).unwrap_or_default();
                    for (field, value) in info.as_object().into_iter().flatten().filter(|(field, _)| *field != "name") {
                        dict.set_item(field, json_to_python(py, value)?)?;
                    }
                }
            }
            engines.append(dict)?;
        }
        Ok(engines)
    }

    /// Opens the port, so that it is known before `serve`. Returns the address and the port.
    fn listen(&self, py: Python<'_>) -> PyResult<(String, u16)> {
        let http = &self.inner.config.http;
        let held = self.inner.listener.lock().take();
        let listener = match held {
            Some(listener) => listener,
            // Not under the lock: whoever waits for that is attached.
            None => py
                .detach(|| TcpListener::bind((http.host.as_str(), http.port)))
                .map_err(|error| errors::plain(py, cannot_listen(&http.host, http.port, &error)))?,
        };
        let address = listener.local_addr()?;
        self.inner.listener.lock().replace(listener);
        Ok((address.ip().to_string(), address.port()))
    }

    /// Serves HTTP until `shutdown`. Returns the exit code: 0, 70 if an engine is lost, 2 if it does not accept its
    /// settings.
    fn serve(&self, py: Python<'_>) -> PyResult<i32> {
        self.listen(py)?;
        let listener = self.inner.listener.lock().take();
        let listener = listener.ok_or_else(|| errors::plain(py, "it serves already".to_owned()))?;
        announce(listener.local_addr()?);
        let (finished, mut outcome) = mpsc::channel();
        let watchdog = Arc::new(Watchdog::default());
        py.detach(|| {
            let (inner, watchdog) = (Arc::clone(&self.inner), Arc::clone(&watchdog));
            self.inner.handle.spawn(async move { finished.send(inner.serve(listener, &watchdog).await) });
        });
        let mut interrupted = None;
        let outcome = loop {
            let outcome = &mut outcome;
            let waited = py.detach(move || outcome.recv_timeout(SIGNAL_PERIOD));
            match waited {
                Ok(outcome) => break outcome,
                Err(RecvTimeoutError::Disconnected) => break Err("the server ended by itself".to_owned()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Err(error) = py.check_signals() {
                self.shutdown();
                if interrupted.replace(error).is_some() {
                    break Ok(0);
                }
            }
        };
        if !matches!(outcome, Ok(EXIT_BROKEN | EXIT_SETTING)) {
            py.detach(|| self.inner.close());
        }
        watchdog.disarm();
        match interrupted {
            Some(error) => Err(error),
            None => outcome.map_err(|message| errors::plain(py, message)),
        }
    }

    /// Lets `serve` end once what is in flight has been sent. From any thread, also from a signal handler.
    fn shutdown(&self) {
        self.inner.stop.send_replace(true);
    }

    /// Ends the engines and whoever still listens.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.inner.close());
    }

    fn __enter__(runtime: Py<Self>) -> Py<Self> {
        runtime
    }

    fn __exit__(&self, py: Python<'_>, _kind: &Bound<'_, PyAny>, _error: &Bound<'_, PyAny>, _trace: &Bound<'_, PyAny>) {
        self.close(py);
    }
}

/// None: more than a clock can tell is no limit.
fn wait_limit(seconds: f64) -> PyResult<Option<Duration>> {
    if seconds.is_nan() {
        return Err(pyo3::exceptions::PyValueError::new_err("timeout_s must be a number"));
    }
    Ok(Duration::try_from_secs_f64(seconds.max(0.0)).ok())
}

/// What is said in one go is left as the engine makes it, unless something else is asked for.
fn level(loudness: Option<&str>, volume: f64, whole: bool) -> Result<Level, Error> {
    let loudness = match loudness {
        None => whole.then_some(Loudness::Off),
        Some("voice") => Some(Loudness::Voice),
        Some("off") => Some(Loudness::Off),
        Some(other) => {
            let message = format!("loudness must be \"voice\" or \"off\", not {other:?}");
            return Err(Error::invalid("invalid_value", Some("loudness"), message));
        }
    };
    if !(volume > 0.0 && volume <= MAX_VOLUME) {
        let message = format!("volume must be above 0, {MAX_VOLUME} at most, not {volume}");
        return Err(Error::invalid("invalid_value", Some("volume"), message));
    }
    Ok(Level { loudness, volume: volume as f32 })
}

fn own_voice((path, text): (PathBuf, String)) -> Result<Arc<Voice>, Error> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let refused = |code, message| Error::invalid(code, Some("reference_audio"), message);
    if text.trim().is_empty() {
        return Err(refused(
            "invalid_reference",
            "reference_text must tell what is said in reference_audio".to_owned(),
        ));
    }
    let voice = Voice::of_clip(&path, &text);
    voice.map(Arc::new).map_err(|fault| refused("invalid_reference", format!("reference_audio: {name} {fault}")))
}

/// Where scripts and supervisors look for the port, whatever the log level.
fn announce(address: SocketAddr) {
    eprintln!("ishowtts listens on http://{address}");
}

fn cannot_listen(host: &str, port: u16, error: &io::Error) -> String {
    let mend = match error.kind() {
        io::ErrorKind::AddrInUse => "another program has it; stop that one or choose another port",
        io::ErrorKind::PermissionDenied => "choose a port above 1023",
        _ => "is http.host an address of this machine?",
    };
    format!("cannot listen on {host}:{port} ({}); {mend}", error.kind())
}

/// Ends the process unless it is disarmed in time.
#[derive(Default)]
struct Watchdog {
    disarm: Mutex<Option<Sender<()>>>,
}

impl Watchdog {
    fn arm(&self, code: i32) {
        let (disarm, disarmed) = mpsc::channel::<()>();
        *self.disarm.lock() = Some(disarm);
        let started = thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
            if disarmed.recv_timeout(EXIT_LIMIT) == Err(RecvTimeoutError::Timeout) {
                std::process::exit(code);
            }
        });
        if started.is_err() {
            std::process::exit(code);
        }
    }

    fn disarm(&self) {
        self.disarm.lock().take();
    }
}
