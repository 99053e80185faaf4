//! The in-process host: one Python engine behind the commands and events of `crate::engine`.
//!
//! Two threads. `engine-<name>` loads the engine and is the only one that admits, steps, cancels and forgets; it is
//! attached to the interpreter only while it calls the engine and waits detached. `prepare-<name>` prepares voices, so
//! that this never delays a step. Events are delivered detached.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    mem,
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use pyo3::prelude::*;

use super::{
    convert::{self, Protocol},
    faults::{self, Exceptions, Raised},
    stepping::{Made, Stepping, Taken},
};
use crate::{
    engine::{Chosen, Command, ConditioningId, Event, EventSink, Fault, FaultKind, Host, Segment, StartHost, Ticket},
    voices::Voice,
};

/// A host for the engine that the entry point `name` loads with these options (a JSON object) and so many threads.
#[must_use]
pub fn start(name: String, options_json: String, threads: usize) -> StartHost {
    Box::new(move |sink| Box::new(InProcess::start(Spec { name, options_json, threads }, sink)))
}

/// Engine threads of all hosts that have not ended.
static THREADS: Mutex<usize> = Mutex::new(0);
static THREAD_ENDED: Condvar = Condvar::new();

/// A thread that uses the interpreter.
pub(super) struct Counted;

impl Counted {
    pub(super) fn new() -> Self {
        *THREADS.lock() += 1;
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        *THREADS.lock() -= 1;
        THREAD_ENDED.notify_all();
    }
}

/// Detached. False if some engine's thread has not ended by then.
pub(super) fn wait_for_threads(limit: Duration) -> bool {
    let mut threads = THREADS.lock();
    !THREAD_ENDED.wait_while_for(&mut threads, |threads| *threads > 0, limit).timed_out()
}

struct Spec {
    name: String,
    options_json: String,
    threads: usize,
}

type Preparation = (ConditioningId, Arc<Voice>);

enum Message {
    Command(Command),
    /// From the preparation thread, before its `Prepared`: so it is known here before anyone can ask for it.
    /// None: it failed.
    Prepared(ConditioningId, Option<Py<PyAny>>),
}

struct InProcess {
    messages: Mutex<Option<Sender<Message>>>,
    preparations: Mutex<Option<Sender<Preparation>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl InProcess {
    fn start(spec: Spec, sink: Arc<dyn EventSink>) -> Self {
        let (messages, inbox) = mpsc::channel();
        let (preparations, to_prepare) = mpsc::channel();
        let prepared = messages.clone();
        let thread = thread::Builder::new().name(format!("engine-{}", spec.name)).spawn({
            let sink = Arc::clone(&sink);
            let counted = Counted::new();
            move || {
                // Until after the last use of the interpreter.
                let _counted = counted;
                // The thread keeps its Python thread state for life: making one for each call costs 0.9 ms a request.
                Python::attach(|py| py.detach(|| engine_thread(&spec, &sink, inbox, prepared, to_prepare)));
            }
        });
        let thread = thread.map_err(|error| sink.event(Event::Broken(Fault::failed(error.to_string())))).ok();
        Self {
            messages: Mutex::new(Some(messages)),
            preparations: Mutex::new(Some(preparations)),
            thread: Mutex::new(thread),
        }
    }
}

impl Host for InProcess {
    fn send(&self, command: Command) {
        match command {
            Command::Prepare { conditioning, voice } => {
                if let Some(preparations) = &*self.preparations.lock() {
                    let _ = preparations.send((conditioning, voice));
                }
            }
            Command::Close => {
                self.preparations.lock().take();
                if let Some(messages) = self.messages.lock().take() {
                    let _ = messages.send(Message::Command(Command::Close));
                }
            }
            command => {
                if let Some(messages) = &*self.messages.lock() {
                    let _ = messages.send(Message::Command(command));
                }
            }
        }
    }

    fn join(&self) {
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("an engine thread panicked");
        }
    }
}

/// Detached.
fn engine_thread(
    spec: &Spec,
    sink: &Arc<dyn EventSink>,
    inbox: Receiver<Message>,
    prepared: Sender<Message>,
    to_prepare: Receiver<Preparation>,
) {
    let loaded = Python::attach(|py| load(py, spec));
    let (engine, preparer) = match loaded {
        Ok((engine, info)) => {
            let preparer = Python::attach(|py| engine.clone_preparer(py));
            sink.event(Event::Loaded(Box::new(info)));
            (Ok(engine), Ok(preparer))
        }
        Err(fault) => {
            sink.event(Event::Broken(fault.clone()));
            (Err(fault.clone()), Err(fault))
        }
    };
    let preparing = thread::Builder::new().name(format!("prepare-{}", spec.name)).spawn({
        let sink = Arc::clone(sink);
        move || Python::attach(|py| py.detach(|| prepare_all(preparer, &sink, &prepared, to_prepare)))
    });
    if let Err(error) = &preparing {
        sink.event(Event::Broken(Fault::failed(error.to_string())));
    }
    let mut worker = Worker {
        sink: Arc::clone(sink),
        engine,
        slots: BTreeMap::new(),
        conditionings: HashMap::new(),
        forgotten: HashSet::new(),
    };
    worker.run(&inbox);
    if let Ok(Err(_)) = preparing.map(JoinHandle::join) {
        tracing::error!("a preparation thread panicked");
    }
    // After the preparation thread has ended, so that what it sent last is let go here and attached.
    worker.close(inbox);
}

struct Engine {
    name: String,
    object: Py<PyAny>,
    protocol: Protocol,
    exceptions: Exceptions,
}

impl Engine {
    fn clone_preparer(&self, py: Python<'_>) -> Result<Self, Fault> {
        Self::around(py, self.name.clone(), self.object.clone_ref(py)).map_err(|error| broken_install(py, &error))
    }

    fn around(py: Python<'_>, name: String, object: Py<PyAny>) -> PyResult<Self> {
        Ok(Self { name, object, protocol: Protocol::import(py)?, exceptions: Exceptions::import(py)? })
    }
}

fn broken_install(py: Python<'_>, error: &PyErr) -> Fault {
    tracing::error!("ishowtts is not importable\n{}", faults::traceback_of(py, error));
    Fault::failed(faults::unexpected(py, error, "importing ishowtts"))
}

fn load(py: Python<'_>, spec: &Spec) -> Result<(Engine, crate::engine::EngineInfo), Fault> {
    let exceptions = Exceptions::import(py).map_err(|error| broken_install(py, &error))?;
    let run = || -> PyResult<Engine> {
        let options = py.import("json")?.call_method1("loads", (spec.options_json.as_str(),))?;
        let registry = py.import("ishowtts.registry")?;
        let object = registry.call_method1("load", (spec.name.as_str(), options, spec.threads))?;
        Engine::around(py, spec.name.clone(), object.unbind())
    };
    let engine = run().map_err(|error| exceptions.sort(py, &spec.name, "loading", &error).fault())?;
    let info = engine.object.bind(py).getattr("info");
    let info = info.map_err(|error| exceptions.sort(py, &spec.name, "describing itself", &error).fault())?;
    convert::engine_info(&info).map(|info| (engine, info)).map_err(Fault::failed)
}

/// The preparation thread, detached: until nobody can send any more.
fn prepare_all(
    engine: Result<Result<Engine, Fault>, Fault>,
    sink: &Arc<dyn EventSink>,
    prepared: &Sender<Message>,
    inbox: Receiver<Preparation>,
) {
    let engine = engine.and_then(|engine| engine);
    for (conditioning, voice) in inbox {
        let started = Instant::now();
        let made = match &engine {
            Ok(engine) => Python::attach(|py| prepare(py, engine, &voice)),
            Err(fault) => Err(fault.clone()),
        };
        let elapsed_ms = started.elapsed().as_secs_f64() * 1e3;
        match made {
            Ok((object, nbytes)) => {
                let _ = prepared.send(Message::Prepared(conditioning, Some(object)));
                sink.event(Event::Prepared { conditioning, nbytes, elapsed_ms });
            }
            Err(fault) => {
                let _ = prepared.send(Message::Prepared(conditioning, None));
                sink.event(Event::PrepareFailed { conditioning, fault });
            }
        }
    }
    Python::attach(|_| drop(engine));
}

fn prepare(py: Python<'_>, engine: &Engine, voice: &Voice) -> Result<(Py<PyAny>, u64), Fault> {
    let run = || -> PyResult<(Py<PyAny>, Option<u64>)> {
        let voice = engine.protocol.voice(py, voice, &engine.name)?;
        let object = engine.object.bind(py).call_method1("prepare", (voice,))?;
        let nbytes = object.getattr("nbytes")?.extract().ok();
        Ok((object.unbind(), nbytes))
    };
    match run() {
        Ok((object, Some(nbytes))) => Ok((object, nbytes)),
        Ok((_, None)) => Err(Fault::failed("prepare returned a conditioning without a size in nbytes")),
        Err(error) => Err(engine.exceptions.sort(py, &engine.name, "preparing a voice", &error).fault()),
    }
}

/// What the engine thread holds.
struct Worker {
    sink: Arc<dyn EventSink>,
    /// Err: it did not load, or died since.
    engine: Result<Engine, Fault>,
    /// Held by a live ticket.
    slots: BTreeMap<usize, Ticket>,
    conditionings: HashMap<ConditioningId, Py<PyAny>>,
    /// Asked to be forgotten before they were prepared.
    forgotten: HashSet<ConditioningId>,
}

impl Worker {
    fn run(&mut self, inbox: &Receiver<Message>) {
        while let Ok(message) = inbox.recv() {
            match message {
                Message::Prepared(conditioning, object) => self.prepared(conditioning, object),
                Message::Command(Command::Close) => break,
                Message::Command(command) => self.take(command),
            }
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Forget(conditioning) => self.forget(conditioning),
            Command::Admit { slot, ticket, segment, conditioning, budget_ms } => {
                self.admit(slot, ticket, (&segment, budget_ms), conditioning);
            }
            Command::Advance(slots) => self.advance(&slots),
            Command::Cancel { slot, ticket } => {
                if self.slots.get(&slot) == Some(&ticket) {
                    self.slots.remove(&slot);
                    self.cancel(&[slot]);
                }
            }
            // Taken before they come here.
            Command::Prepare { .. } | Command::Close => {}
        }
    }

    fn prepared(&mut self, conditioning: ConditioningId, object: Option<Py<PyAny>>) {
        let forgotten = self.forgotten.remove(&conditioning);
        if let Some(object) = object {
            self.conditionings.insert(conditioning, object);
            if forgotten {
                self.forget(conditioning);
            }
        }
    }

    fn forget(&mut self, conditioning: ConditioningId) {
        let Some(object) = self.conditionings.remove(&conditioning) else {
            self.forgotten.insert(conditioning);
            return;
        };
        let raised = Python::attach(|py| {
            let engine = self.engine.as_ref().ok()?;
            let result = engine.object.bind(py).call_method1("forget", (&object,));
            drop(object);
            result.err().map(|error| engine.exceptions.sort(py, &engine.name, "forgetting a voice", &error))
        });
        self.note(raised);
    }

    fn admit(
        &mut self,
        slot: usize,
        ticket: Ticket,
        (segment, budget_ms): (&Segment, Option<f64>),
        conditioning: ConditioningId,
    ) {
        let engine = match (&self.engine, self.slots.get(&slot)) {
            (Err(fault), _) => {
                let fault = fault.clone();
                return self.sink.event(Event::Failed { ticket, fault });
            }
            (Ok(_), Some(holder)) => {
                tracing::error!(slot, ?ticket, ?holder, "a segment was sent to a slot that is not free");
                return self.sink.event(Event::Failed { ticket, fault: Fault::failed("the slot was not free") });
            }
            (Ok(engine), None) => engine,
        };
        let Some(object) = self.conditionings.get(&conditioning) else {
            let fault = Fault::failed("the voice was not prepared");
            return self.sink.event(Event::Failed { ticket, fault });
        };
        let admitted = Python::attach(|py| {
            let run = || -> PyResult<(u32, Chosen)> {
                let segment = engine.protocol.segment(py, segment, budget_ms)?;
                convert::admitted(&engine.object.bind(py).call_method1("admit", (slot, segment, object))?)
            };
            run().map_err(|error| engine.exceptions.sort(py, &engine.name, "taking a segment", &error))
        });
        match admitted {
            Ok((steps_left, chosen)) => {
                self.slots.insert(slot, ticket);
                // A segment that is still to be advanced has at least one step left.
                self.sink.event(Event::Admitted { ticket, steps_left: steps_left.max(1), chosen });
            }
            Err(raised) => {
                self.end(ticket, &raised);
                self.note(Some(raised));
            }
        }
    }

    fn advance(&mut self, slots: &[usize]) {
        let started = Instant::now();
        let live: Vec<usize> = slots.iter().copied().filter(|slot| self.slots.contains_key(slot)).collect();
        let mut broken = None;
        let mut held = Vec::new();
        let mut stepping = Stepping::new(&live);
        while let Some(taken) = self.take_chunks(&mut stepping) {
            for (slot, made) in taken.made {
                self.deliver(slot, made, &mut held, &mut broken);
            }
            if let Some(raised) = taken.whole {
                for slot in &live {
                    if let Some(ticket) = self.slots.remove(slot) {
                        self.end(ticket, &raised);
                        held.push(*slot);
                    }
                }
                broken = broken.or(Some(raised));
            }
        }
        let elapsed_ms = started.elapsed().as_secs_f64() * 1e3;
        self.cancel(&held);
        self.sink.event(Event::StepDone { elapsed_ms });
        self.note(broken);
    }

    /// None at the step's end.
    fn take_chunks(&self, stepping: &mut Stepping<'_>) -> Option<Taken> {
        let engine = self.engine.as_ref().ok()?;
        if stepping.is_over() {
            return None;
        }
        Python::attach(|py| stepping.take(py, engine.object.bind(py), &engine.exceptions, &engine.name))
    }

    /// `held`: slots whose segment ends here while the engine holds it still.
    fn deliver(&mut self, slot: usize, made: Made, held: &mut Vec<usize>, broken: &mut Option<Raised>) {
        let Some(&ticket) = self.slots.get(&slot) else {
            tracing::warn!(slot, "sound came for a slot that holds nothing");
            return;
        };
        let (ended, in_engine) = match made {
            Made::Pcm { pcm, last, transcript } if pcm.iter().all(|sample| sample.is_finite()) => {
                self.sink.event(Event::Chunk { ticket, pcm, last, transcript });
                (last, false)
            }
            Made::Pcm { pcm, last, .. } => {
                let what = if pcm.iter().any(|sample| sample.is_nan()) { "NaN" } else { "infinite" };
                let fault = Fault { kind: FaultKind::NoSpeech, message: format!("it returned {what} samples") };
                self.sink.event(Event::Failed { ticket, fault });
                (true, !last)
            }
            Made::Raised(raised) => {
                self.end(ticket, &raised);
                *broken = broken.take().or(Some(raised));
                (true, false)
            }
            Made::Malformed { fault, last } => {
                self.sink.event(Event::Failed { ticket, fault });
                (true, !last)
            }
        };
        if ended {
            self.slots.remove(&slot);
        }
        if in_engine {
            held.push(slot);
        }
    }

    fn end(&self, ticket: Ticket, raised: &Raised) {
        self.sink.event(match raised {
            Raised::Refused(reason) => Event::Refused { ticket, reason: reason.clone() },
            Raised::Fault(fault) | Raised::Broken(fault) => Event::Failed { ticket, fault: fault.clone() },
        });
    }

    fn cancel(&mut self, slots: &[usize]) {
        let Ok(engine) = &self.engine else { return };
        if slots.is_empty() {
            return;
        }
        let raised = Python::attach(|py| {
            let mut first = None;
            for slot in slots {
                if let Err(error) = engine.object.bind(py).call_method1("cancel", (slot,)) {
                    first = first.or(Some(engine.exceptions.sort(py, &engine.name, "cancelling", &error)));
                }
            }
            first
        });
        self.note(raised);
    }

    /// Whether the engine has died, which is the one thing that outlives a command.
    fn note(&mut self, raised: Option<Raised>) {
        let Some(Raised::Broken(fault)) = raised else { return };
        let Ok(engine) = mem::replace(&mut self.engine, Err(fault.clone())) else { return };
        for (_, ticket) in mem::take(&mut self.slots) {
            self.sink.event(Event::Failed { ticket, fault: fault.clone() });
        }
        self.sink.event(Event::Broken(fault));
        Python::attach(|py| {
            close(py, &engine);
            drop(engine);
        });
    }

    fn close(self, inbox: Receiver<Message>) {
        Python::attach(|py| {
            drop(inbox);
            drop(self.conditionings);
            if let Ok(engine) = &self.engine {
                close(py, engine);
            }
            drop(self.engine);
        });
    }
}

fn close(py: Python<'_>, engine: &Engine) {
    if let Err(error) = engine.object.bind(py).call_method0("close") {
        engine.exceptions.sort(py, &engine.name, "closing", &error);
    }
}
