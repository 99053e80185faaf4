//! One engine at work: its scheduler, its host, and the jobs that its events belong to.
//!
//! There is no thread here. Whoever changes something (a request, a listener, the end of a step on the host's thread)
//! asks for the next plan and sends it; sending never blocks. Job locks are never taken while `core` is held.

mod growing;

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use super::{
    EngineState, Lost, Warm,
    conditioning::{Asked, Conditionings, Held},
    gauges::Gauges,
    job::{Job, Pushed},
};
use crate::{
    audio::{
        resample::resample,
        shape::{self, Shape},
    },
    engine::{Command, EngineInfo, Event, EventSink, Fault, FaultKind, Host, StartHost, Ticket, Transcript},
    error::Error,
    scheduler::{self, Class, Owner, RequestId, Scheduler},
    voices::Voice,
};

/// A segment that its engine could not say.
pub(super) struct Unsaid {
    pub job: Arc<Job>,
    pub segment: usize,
    pub engine: String,
    pub error: Error,
}

/// What of a job an engine is asked to say.
pub(super) struct Task {
    pub job: Arc<Job>,
    /// Which of the job's segments, ascending; the scheduler's request lists the same ones.
    pub segments: Vec<usize>,
    pub prepared: Prepared,
    /// Further segments may come (`Link::extend`), until `Link::finish`.
    pub open: bool,
}

/// A voice as an engine is to speak in it.
pub(super) struct Prepared {
    pub conditioning: Held,
    /// That makes it as loud as the engine that its job began with.
    pub gain: f32,
}

/// How urgent a task is, and for whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    pub class: Class,
    pub owner: Owner,
    pub streamed: bool,
    /// Its listeners have heard what comes before and wait now.
    pub continues: bool,
}

/// Whom an event belongs to.
struct Owned {
    job: Arc<Job>,
    segment: usize,
    info: Arc<EngineInfo>,
    gain: f32,
}

pub(super) struct Link {
    pub name: String,
    epoch: Instant,
    host: OnceLock<Box<dyn Host>>,
    core: Mutex<Core>,
    state: watch::Sender<EngineState>,
    lost: OnceLock<Lost>,
    conditionings: Arc<Conditionings>,
    /// Prepared before the engine counts as ready, and kept.
    pinned: Mutex<Vec<Arc<Voice>>>,
    bounds: Bounds,
    unsaid: mpsc::UnboundedSender<Unsaid>,
    gauges: Gauges,
}

/// What the configuration allows an engine.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    pub queue: scheduler::Limits,
    /// A step that takes longer counts as a hang.
    pub max_step: Duration,
    /// Speech must have started by then.
    pub max_wait: Duration,
    /// Of prepared voices.
    pub max_voice_bytes: u64,
    /// Told what ends the program.
    pub fatal: watch::Sender<Option<Lost>>,
}

#[derive(Default)]
struct Core {
    info: Option<Arc<EngineInfo>>,
    scheduler: Option<Scheduler>,
    stepping_since: Option<Instant>,
    tasks: HashMap<RequestId, (Task, usize)>,
    tickets: HashMap<Ticket, (RequestId, usize)>,
    closing: bool,
}

impl Link {
    pub fn start(
        name: String,
        start: StartHost,
        pinned: Vec<Arc<Voice>>,
        bounds: Bounds,
        unsaid: mpsc::UnboundedSender<Unsaid>,
    ) -> Arc<Self> {
        let gauges = Gauges::new(&name);
        let conditionings = Conditionings::new(&name, bounds.max_voice_bytes);
        conditionings.pin(&pinned);
        let link = Arc::new(Self {
            name,
            epoch: Instant::now(),
            host: OnceLock::new(),
            core: Mutex::default(),
            state: watch::Sender::new(EngineState::Loading),
            lost: OnceLock::new(),
            conditionings,
            pinned: Mutex::new(pinned),
            bounds,
            unsaid,
            gauges,
        });
        let host = start(Arc::clone(&link) as Arc<dyn EventSink>);
        // Set once, here; events that come earlier wait for it.
        let _ = link.host.set(host);
        link
    }

    fn host(&self) -> &dyn Host {
        self.host.wait().as_ref()
    }

    pub fn state(&self) -> EngineState {
        self.state.borrow().clone()
    }

    /// Why it is broken, if it is.
    pub fn lost(&self) -> Option<&Lost> {
        self.lost.get()
    }

    pub fn watch_state(&self) -> watch::Receiver<EngineState> {
        self.state.subscribe()
    }

    /// # Errors
    /// `Loading`, or `EngineFailed` once it is broken.
    pub fn info(&self) -> Result<Arc<EngineInfo>, Error> {
        match &*self.state.borrow() {
            EngineState::Ready(info) => Ok(Arc::clone(info)),
            EngineState::Loading => Err(Error::Loading { engine: self.name.clone() }),
            EngineState::Broken(message) => Err(self.failed(message.clone())),
        }
    }

    fn failed(&self, message: String) -> Error {
        Error::EngineFailed { engine: self.name.clone(), message }
    }

    /// # Errors
    /// What the engine has against the voice.
    pub async fn conditioning(&self, voice: &Arc<Voice>) -> Result<Held, Error> {
        let mut asked = self.ask_for(voice);
        let settled = asked.outcome.wait_for(Option::is_some).await;
        match settled.as_deref() {
            Ok(Some(Ok(()))) => Ok(asked.held),
            Ok(Some(Err(fault))) => Err(self.error_of(fault.clone())),
            _ => Err(self.failed("it ended while it prepared the voice".to_owned())),
        }
    }

    fn ask_for(&self, voice: &Arc<Voice>) -> Asked {
        let asked = self.conditionings.get(voice);
        if asked.is_new {
            self.host().send(Command::Prepare { conditioning: asked.held.id, voice: Arc::clone(voice) });
        }
        asked
    }

    /// These are prepared now, if the engine is loaded, and kept; others that were pinned may go.
    pub fn pin(&self, voices: Vec<Arc<Voice>>) {
        self.conditionings.pin(&voices);
        self.pinned.lock().clone_from(&voices);
        if self.core.lock().info.is_some() {
            for voice in &voices {
                drop(self.ask_for(voice));
            }
        }
        // None of them may be left to prepare.
        self.warmed();
    }

    /// The pinned voices that it can speak with, as far as is known.
    pub fn pinned(&self) -> Vec<Arc<Voice>> {
        let pinned = self.pinned.lock();
        pinned.iter().filter(|voice| !self.conditionings.is_given_up(voice)).cloned().collect()
    }

    /// Of the pinned voices: how many are prepared or given up, and how many there are.
    pub fn warm(&self) -> Warm {
        let loaded = self.core.lock().info.is_some();
        let pinned = self.pinned.lock();
        Warm { prepared: if loaded { self.conditionings.settled(&pinned) } else { 0 }, of: pinned.len() }
    }

    /// Queues the segments of `task`; the caller tells the job of it (`Job::add_part`). Where the engine is free they go to
    /// it in the moment in which they came, so that none of these is told that it waited too long.
    ///
    /// # Errors
    /// `Busy`, or what `info` says.
    pub fn submit(&self, task: Task, order: Order) -> Result<RequestId, Error> {
        self.info()?;
        let (id, expired) = {
            let mut guard = self.core.lock();
            let core = &mut *guard;
            let closing = core.closing;
            let Some(scheduler) = core.scheduler.as_mut().filter(|_| !closing) else {
                return Err(Error::ShuttingDown);
            };
            let now = self.now();
            let segments = task.segments.iter().map(|index| task.job.line(*index).work()).collect();
            let request = scheduler::Request {
                class: order.class,
                owner: order.owner,
                streamed: order.streamed,
                deadline: Some(now + self.bounds.max_wait),
                dry_at: order.continues.then_some(now),
                segments,
            };
            let id = scheduler.submit(now, request).map_err(|full| Error::Busy { retry_after: full.retry_after })?;
            if task.open {
                scheduler.open(id);
            }
            let left = task.segments.len();
            core.tasks.insert(id, (task, left));
            (id, self.plan(core, now))
        };
        self.give_up(expired);
        Ok(id)
    }

    pub fn cancel(&self, request: RequestId) {
        {
            let mut core = self.core.lock();
            if core.tasks.remove(&request).is_none() {
                return;
            }
            core.tickets.retain(|_, (of, _)| *of != request);
            if let Some(scheduler) = core.scheduler.as_mut() {
                scheduler.cancel(request);
            }
        }
        self.pump();
    }

    /// The fastest listener has read `delivered` segments of the request; `held`: it is too far behind. The caller asks
    /// for the next plan (`pump`) once it holds no lock of a job.
    pub fn listener(&self, request: RequestId, delivered: usize, held: bool) {
        if let Some(scheduler) = self.core.lock().scheduler.as_mut() {
            scheduler.delivered(request, delivered);
            scheduler.hold(request, held);
        }
    }

    pub fn promote(&self, request: RequestId, class: Class) {
        if let Some(scheduler) = self.core.lock().scheduler.as_mut() {
            scheduler.promote(request, class);
        }
    }

    /// Called now and then: gives up what waited too long, and tells of a hang.
    pub fn tick(&self) {
        let hung = self.core.lock().stepping_since.filter(|since| since.elapsed() > self.bounds.max_step);
        if hung.is_some() {
            let limit_s = self.bounds.max_step.as_secs_f64();
            self.break_down(Fault::failed(format!("one step has taken more than {limit_s} s")));
        } else {
            self.pump();
        }
    }

    /// No new work, an end to what is left; the host ends when it has finished its step.
    pub fn close(&self) {
        let left: Vec<_> = {
            let mut core = self.core.lock();
            core.closing = true;
            core.tasks.drain().collect()
        };
        for (_, (task, _)) in left {
            task.job.fail(Error::ShuttingDown);
        }
        self.host().send(Command::Close);
    }

    /// Waits for the host's threads.
    pub fn join(&self) {
        self.host().join();
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Sends the next plan, unless a step is running. May end jobs: no lock of one may be held.
    pub fn pump(&self) {
        let expired = {
            let mut core = self.core.lock();
            let now = self.now();
            self.plan(&mut core, now)
        };
        self.give_up(expired);
    }

    /// As `pump`, but for the tasks that waited too long: they are to be given up once `core` is let go.
    fn plan(&self, core: &mut Core, now: Duration) -> Vec<Task> {
        if core.stepping_since.is_some() || core.closing {
            return Vec::new();
        }
        let Some(scheduler) = core.scheduler.as_mut() else { return Vec::new() };
        let plan = scheduler.plan(now);
        for (slot, ticket) in plan.cancel {
            core.tickets.remove(&ticket);
            self.host().send(Command::Cancel { slot, ticket });
        }
        for admission in plan.admit {
            let Some((task, _)) = core.tasks.get(&admission.request) else { continue };
            let index = task.segments[admission.segment];
            let segment = Arc::clone(&task.job.line(index).segment);
            core.tickets.insert(admission.ticket, (admission.request, index));
            self.host().send(Command::Admit {
                slot: admission.slot,
                ticket: admission.ticket,
                budget_ms: segment.timed.then_some(admission.budget_ms),
                segment,
                conditioning: task.prepared.conditioning.id,
            });
        }
        if !plan.advance.is_empty() {
            core.stepping_since = Some(Instant::now());
            self.host().send(Command::Advance(plan.advance));
        }
        // After the segments that spoke with them were cancelled.
        for conditioning in self.conditionings.take_dropped() {
            self.host().send(Command::Forget(conditioning));
        }
        self.gauges.planned(scheduler);
        plan.expired.iter().filter_map(|request| core.tasks.remove(request)).map(|(task, _)| task).collect()
    }

    fn give_up(&self, expired: Vec<Task>) {
        for task in expired {
            task.job.fail(Error::Deadline { waited: self.bounds.max_wait });
        }
    }

    /// Whom an event belongs to; none if it was cancelled meanwhile. `done`: the segment's last event.
    fn owner(&self, ticket: Ticket, done: bool) -> Option<Owned> {
        let mut core = self.core.lock();
        let (request, index) = *core.tickets.get(&ticket)?;
        let info = core.info.clone()?;
        let (task, left) = core.tasks.get_mut(&request)?;
        let owned = Owned { job: Arc::clone(&task.job), segment: index, info, gain: task.prepared.gain };
        if done {
            *left -= 1;
            if *left == 0 && !task.open {
                core.tasks.remove(&request);
            }
            core.tickets.remove(&ticket);
        }
        Some(owned)
    }

    fn with_scheduler(&self, tell: impl FnOnce(&mut Scheduler, Duration)) {
        let now = self.now();
        if let Some(scheduler) = self.core.lock().scheduler.as_mut() {
            tell(scheduler, now);
        }
    }

    fn chunk(&self, ticket: Ticket, mut pcm: Vec<f32>, last: bool, transcript: Option<Transcript>) {
        let owner = self.owner(ticket, last);
        let Some(Owned { job, segment, info, gain }) = owner else {
            self.with_scheduler(|scheduler, now| scheduler.chunk(now, ticket, 0.0, last));
            return;
        };
        let audio_ms = pcm.len() as f64 * 1e3 / f64::from(info.sample_rate_hz);
        self.gauges.made(audio_ms);
        // First the books: whoever has heard the end finds its place in the queue free.
        self.with_scheduler(|scheduler, now| scheduler.chunk(now, ticket, audio_ms, last));
        if let Some(transcript) = transcript {
            job.transcribe(segment, transcript);
        }
        if gain != 1.0 {
            pcm.iter_mut().for_each(|sample| *sample *= gain);
        }
        let shape = if info.shapes_voices { Shape::default() } else { job.script.voice.shape };
        let pushed = if info.sample_rate_hz == job.script.sample_rate_hz && shape.is_plain() {
            job.push(segment, pcm, last)
        } else {
            changed(&job, segment, pcm, last, info.sample_rate_hz, shape)
        };
        if last {
            self.gauges.spoken.increment(1);
        }
        if let Pushed::NoSpeech(reason) = pushed {
            tracing::error!(engine = self.name, %reason, text = job.line(segment).segment.text, "no speech");
            self.unsaid(job, segment, self.failed(reason));
        }
    }

    /// Another engine may be able to say it, unless some of it has left already.
    fn unsaid(&self, job: Arc<Job>, segment: usize, error: Error) {
        if job.take_back(segment) {
            // The receiver lives as long as the service does.
            let _ = self.unsaid.send(Unsaid { job, segment, engine: self.name.clone(), error });
        } else {
            job.fail(error);
        }
    }

    fn error_of(&self, fault: Fault) -> Error {
        match fault.kind {
            FaultKind::Invalid => Error::invalid("invalid_parameter", None, fault.message),
            FaultKind::Failed | FaultKind::NoSpeech => self.failed(fault.message),
        }
    }

    fn loaded(&self, info: EngineInfo) {
        let info = Arc::new(info);
        let shape = scheduler::Shape { max_slots: info.max_slots, max_shared: info.max_shared, cost: info.cost };
        {
            let mut core = self.core.lock();
            core.info = Some(Arc::clone(&info));
            core.scheduler = Some(Scheduler::new(self.bounds.queue.clone(), shape));
        }
        tracing::info!(engine = self.name, revision = info.revision, device = info.device, "engine loaded");
        let pinned = self.pinned.lock().clone();
        for voice in &pinned {
            drop(self.ask_for(voice));
        }
        self.warmed();
    }

    fn prepared(&self, voice: &str, nbytes: u64, elapsed_ms: f64) {
        let elapsed_ms = elapsed_ms.round();
        if self.info().is_ok() {
            tracing::debug!(engine = self.name, voice, nbytes, elapsed_ms, "voice prepared");
        } else {
            let Warm { prepared, of } = self.warm();
            tracing::info!(engine = self.name, voice, elapsed_ms, "voice warmed up: {prepared} of {of}");
        }
    }

    /// Ready once the pinned voices are prepared.
    fn warmed(&self) {
        let Warm { prepared, of } = self.warm();
        if prepared < of {
            return;
        }
        let info = self.core.lock().info.clone();
        self.state.send_if_modified(|state| match (&*state, info) {
            (EngineState::Loading, Some(info)) => {
                *state = EngineState::Ready(info);
                true
            }
            _ => false,
        });
    }

    /// Every request of this engine fails; the program ends.
    fn break_down(&self, Fault { kind, message }: Fault) {
        let by_setting = kind == FaultKind::Invalid;
        let what = if by_setting { "does not load" } else { "is broken" };
        let lost = Lost { message: format!("the engine {:?} {what}: {message}", self.name), by_setting };
        // Before its state, so that whoever finds it broken can ask why.
        let lost = self.lost.get_or_init(|| lost).clone();
        let changed = self.state.send_if_modified(|state| {
            let first = !matches!(state, EngineState::Broken(_));
            if first {
                *state = EngineState::Broken(message.clone());
            }
            first
        });
        if !changed {
            return;
        }
        tracing::error!(engine = self.name, %message, "engine broken");
        self.conditionings.close();
        let tasks: Vec<_> = {
            let mut core = self.core.lock();
            core.closing = true;
            core.tickets.clear();
            core.tasks.drain().collect()
        };
        for (_, (task, _)) in tasks {
            task.job.fail(self.failed(message.clone()));
        }
        // Last: the program ends with it, and its listeners have been told by then.
        self.bounds.fatal.send_replace(Some(lost));
    }
}

/// Of an engine that has another rate than its job, or does not shape voices itself; whole segments only, so that no seam
/// is heard.
fn changed(job: &Arc<Job>, segment: usize, pcm: Vec<f32>, last: bool, rate_hz: u32, shape: Shape) -> Pushed {
    let Some(mut whole) = job.gather(segment, pcm, last) else { return Pushed::Taken };
    if !shape.is_plain() {
        whole = match shape::shape(&whole, rate_hz, shape) {
            Ok(shaped) => shaped,
            Err(error) => return Pushed::NoSpeech(error.to_string()),
        };
    }
    match resample(&whole, rate_hz, job.script.sample_rate_hz) {
        Ok(pcm) => job.push(segment, pcm, true),
        Err(error) => Pushed::NoSpeech(error.to_string()),
    }
}

impl EventSink for Link {
    fn event(&self, event: Event) {
        match event {
            Event::Loaded(info) => self.loaded(*info),
            Event::Prepared { conditioning, nbytes, elapsed_ms } => {
                let voice = self.conditionings.settle(conditioning, Ok((nbytes, elapsed_ms)));
                self.prepared(&voice.unwrap_or_default(), nbytes, elapsed_ms);
                self.warmed();
            }
            Event::PrepareFailed { conditioning, fault } => {
                let message = fault.message.clone();
                let voice = self.conditionings.settle(conditioning, Err(fault)).unwrap_or_default();
                tracing::warn!(engine = self.name, voice, fault = message, "voice not prepared");
                self.warmed();
            }
            Event::Admitted { ticket, steps_left, chosen } => {
                if let Some(owned) = self.owner(ticket, false).filter(|_| !chosen.params.is_empty()) {
                    owned.job.chosen(owned.segment, chosen);
                }
                self.with_scheduler(|scheduler, _| scheduler.admitted(ticket, steps_left));
            }
            Event::Chunk { ticket, pcm, last, transcript } => self.chunk(ticket, pcm, last, transcript),
            Event::Refused { ticket, reason } => {
                self.gauges.refused.increment(1);
                let owner = self.owner(ticket, true);
                self.with_scheduler(|scheduler, _| scheduler.ended(ticket));
                if let Some(Owned { job, segment, .. }) = owner {
                    self.unsaid(job, segment, Error::Refused { message: reason });
                }
            }
            Event::Failed { ticket, fault } => {
                // What the caller can mend is no failure of the engine's.
                let refused = fault.kind == FaultKind::Invalid;
                if refused { &self.gauges.refused } else { &self.gauges.failed }.increment(1);
                let owner = self.owner(ticket, true);
                self.with_scheduler(|scheduler, _| scheduler.ended(ticket));
                if let Some(Owned { job, segment, .. }) = owner {
                    let retry = fault.kind == FaultKind::NoSpeech;
                    let error = self.error_of(fault);
                    if retry { self.unsaid(job, segment, error) } else { job.fail(error) }
                }
            }
            Event::StepDone { elapsed_ms } => {
                {
                    let mut core = self.core.lock();
                    core.stepping_since = None;
                    if let Some(scheduler) = core.scheduler.as_mut() {
                        scheduler.step_done(elapsed_ms);
                        self.gauges.stepped(elapsed_ms);
                    }
                }
                self.pump();
            }
            Event::Broken(fault) => self.break_down(fault),
        }
    }
}
