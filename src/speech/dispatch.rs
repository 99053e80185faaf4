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
    EngineState,
    conditioning::Conditionings,
    gauges::Gauges,
    job::{Job, Pushed},
};
use crate::{
    audio::resample::resample,
    engine::{
        Command, ConditioningId, EngineInfo, Event, EventSink, Fault, FaultKind, Host, StartHost, Ticket, Transcript,
    },
    error::Error,
    scheduler::{self, Class, Owner, RequestId, Scheduler, Shape},
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
    pub conditioning: ConditioningId,
    /// Further segments may come (`Link::extend`), until `Link::finish`.
    pub open: bool,
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

pub(super) struct Link {
    pub name: String,
    epoch: Instant,
    host: OnceLock<Box<dyn Host>>,
    core: Mutex<Core>,
    state: watch::Sender<EngineState>,
    conditionings: Conditionings,
    /// Prepared before the engine counts as ready.
    pinned: Vec<Arc<Voice>>,
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
    /// Told what ends the program.
    pub fatal: watch::Sender<Option<String>>,
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
        let link = Arc::new(Self {
            name,
            epoch: Instant::now(),
            host: OnceLock::new(),
            core: Mutex::default(),
            state: watch::Sender::new(EngineState::Loading),
            conditionings: Conditionings::default(),
            pinned,
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
    pub async fn conditioning(&self, voice: &Arc<Voice>) -> Result<ConditioningId, Error> {
        let mut outcome = self.ask_for(voice);
        let settled = outcome.wait_for(Option::is_some).await;
        match settled.as_deref() {
            Ok(Some(Ok(id))) => Ok(*id),
            Ok(Some(Err(fault))) => Err(self.error_of(fault.clone())),
            _ => Err(self.failed("it ended while it prepared the voice".to_owned())),
        }
    }

    fn ask_for(&self, voice: &Arc<Voice>) -> watch::Receiver<Option<Result<ConditioningId, Fault>>> {
        let (outcome, to_ask) = self.conditionings.get(voice);
        if let Some(conditioning) = to_ask {
            self.host().send(Command::Prepare { conditioning, voice: Arc::clone(voice) });
        }
        outcome
    }

    /// Queues the segments of `task`; the caller tells the job of it (`Job::add_part`).
    ///
    /// # Errors
    /// `Busy`, or what `info` says.
    pub fn submit(&self, task: Task, order: Order) -> Result<RequestId, Error> {
        self.info()?;
        let id = {
            let mut core = self.core.lock();
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
            id
        };
        self.pump();
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
            self.break_down(format!("one step has taken more than {} s", self.bounds.max_step.as_secs_f64()));
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
        let mut expired = Vec::new();
        {
            let mut guard = self.core.lock();
            let core = &mut *guard;
            if core.stepping_since.is_some() || core.closing {
                return;
            }
            let Some(scheduler) = core.scheduler.as_mut() else { return };
            let plan = scheduler.plan(self.now());
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
                    conditioning: task.conditioning,
                });
            }
            if !plan.advance.is_empty() {
                core.stepping_since = Some(Instant::now());
                self.host().send(Command::Advance(plan.advance));
            }
            self.gauges.planned(scheduler);
            expired.extend(plan.expired.iter().filter_map(|request| core.tasks.remove(request)));
        }
        for (task, _) in expired {
            task.job.fail(Error::Deadline { waited: self.bounds.max_wait });
        }
    }

    /// Whom an event belongs to; none if it was cancelled meanwhile. `done`: the segment's last event.
    fn owner(&self, ticket: Ticket, done: bool) -> Option<(Arc<Job>, usize, u32)> {
        let mut core = self.core.lock();
        let (request, index) = *core.tickets.get(&ticket)?;
        let rate = core.info.as_ref().map_or(0, |info| info.sample_rate_hz);
        let (task, left) = core.tasks.get_mut(&request)?;
        let job = Arc::clone(&task.job);
        if done {
            *left -= 1;
            if *left == 0 && !task.open {
                core.tasks.remove(&request);
            }
            core.tickets.remove(&ticket);
        }
        Some((job, index, rate))
    }

    fn with_scheduler(&self, tell: impl FnOnce(&mut Scheduler, Duration)) {
        let now = self.now();
        if let Some(scheduler) = self.core.lock().scheduler.as_mut() {
            tell(scheduler, now);
        }
    }

    fn chunk(&self, ticket: Ticket, pcm: Vec<f32>, last: bool, transcript: Option<Transcript>) {
        let owner = self.owner(ticket, last);
        let Some((job, segment, rate)) = owner else {
            self.with_scheduler(|scheduler, now| scheduler.chunk(now, ticket, 0.0, last));
            return;
        };
        let audio_ms = pcm.len() as f64 * 1e3 / f64::from(rate);
        self.gauges.made(audio_ms);
        // First the books: whoever has heard the end finds its place in the queue free.
        self.with_scheduler(|scheduler, now| scheduler.chunk(now, ticket, audio_ms, last));
        if let Some(transcript) = transcript {
            job.transcribe(segment, transcript);
        }
        let pushed = if rate == job.script.sample_rate_hz {
            job.push(segment, pcm, last)
        } else {
            self.resampled(&job, segment, pcm, last, rate)
        };
        if last {
            self.gauges.spoken.increment(1);
        }
        if let Pushed::NoSpeech(reason) = pushed {
            tracing::error!(engine = self.name, %reason, text = job.line(segment).segment.text, "no speech");
            self.unsaid(job, segment, self.failed(reason));
        }
    }

    /// Of a segment whose engine has another rate than its job; whole segments only, so that no seam is heard.
    fn resampled(&self, job: &Arc<Job>, segment: usize, pcm: Vec<f32>, last: bool, rate: u32) -> Pushed {
        let Some(whole) = job.gather(segment, pcm, last) else { return Pushed::Taken };
        match resample(&whole, rate, job.script.sample_rate_hz) {
            Ok(pcm) => job.push(segment, pcm, true),
            Err(error) => Pushed::NoSpeech(error.to_string()),
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
        let shape = Shape { max_slots: info.max_slots, max_shared: info.max_shared, cost: info.cost };
        {
            let mut core = self.core.lock();
            core.info = Some(Arc::clone(&info));
            core.scheduler = Some(Scheduler::new(self.bounds.queue.clone(), shape));
        }
        tracing::info!(engine = self.name, revision = info.revision, device = info.device, "engine loaded");
        for voice in &self.pinned {
            drop(self.ask_for(voice));
        }
        self.warmed();
    }

    /// Ready once the pinned voices are prepared.
    fn warmed(&self) {
        if !self.conditionings.settled(&self.pinned) {
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

    /// Every request of this engine fails; the program ends with 70.
    fn break_down(&self, message: String) {
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
        let name = &self.name;
        self.bounds.fatal.send_replace(Some(format!("the engine {name:?} is broken: {message}")));
    }
}

impl EventSink for Link {
    fn event(&self, event: Event) {
        match event {
            Event::Loaded(info) => self.loaded(*info),
            Event::Prepared { conditioning, nbytes, elapsed_ms } => {
                tracing::debug!(engine = self.name, nbytes, elapsed_ms, "voice prepared");
                self.conditionings.settle(conditioning, Ok(()));
                self.warmed();
            }
            Event::PrepareFailed { conditioning, fault } => {
                tracing::warn!(engine = self.name, %fault, "voice not prepared");
                self.conditionings.settle(conditioning, Err(fault));
                self.warmed();
            }
            Event::Admitted { ticket, steps_left, chosen } => {
                if let Some((job, segment, _)) = self.owner(ticket, false).filter(|_| !chosen.params.is_empty()) {
                    job.chosen(segment, chosen);
                }
                self.with_scheduler(|scheduler, _| scheduler.admitted(ticket, steps_left));
            }
            Event::Chunk { ticket, pcm, last, transcript } => self.chunk(ticket, pcm, last, transcript),
            Event::Refused { ticket, reason } => {
                self.gauges.refused.increment(1);
                let owner = self.owner(ticket, true);
                self.with_scheduler(|scheduler, _| scheduler.ended(ticket));
                if let Some((job, segment, _)) = owner {
                    self.unsaid(job, segment, Error::Refused { message: reason });
                }
            }
            Event::Failed { ticket, fault } => {
                self.gauges.failed.increment(1);
                let owner = self.owner(ticket, true);
                self.with_scheduler(|scheduler, _| scheduler.ended(ticket));
                if let Some((job, segment, _)) = owner {
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
            Event::Broken(fault) => self.break_down(fault.message),
        }
    }
}
