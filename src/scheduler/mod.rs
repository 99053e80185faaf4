//! Plans which segments sit in the engine's slots and which slots advance.
//!
//! Pure: no clock, no I/O, no threads, no Python. Time is a `Duration` since any fixed start, handed in. The owner
//! (src/speech/dispatch.rs) asks for a plan when the engine is idle, sends it, and reports what the engine answers.
//!
//! The order, highest first (plan.rs):
//! 1. What is due. Streams that would run dry if anything else went first, earliest first; then heads of owners whose
//!    patience is over, earliest first. One plan in four, the heads go before the streams: more started streams than
//!    the engine can sustain must not keep everybody else out.
//! 2. First segments, by class; between owners fair, within an owner oldest first.
//! 3. Further segments, the same way. Nobody waits to hear a batch, so even its first segments come after these.
//!
//! Within one of these a segment that is under way goes before one that waits, unless the latter takes less time than
//! what is left of the former.

mod admission;
mod pace;
mod plan;
mod queue;
mod request;

#[cfg(test)]
mod proptests;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use self::{
    admission::{Bill, Books, Prices},
    pace::{Pace, Step},
    plan::{Demand, Left, Rank},
    queue::Lane,
    request::{Queued, State},
};
use crate::engine::{Cost, Ticket};

/// Highest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    Interactive,
    ChatPaid,
    Chat,
    Batch,
}

/// Who asks: an API key, a chat user, a connection. Between owners the plan is fair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests queued or being spoken.
    pub max_requests: usize,
    /// Speech accepted and not yet made.
    pub max_speech_ms: f64,
    /// Segments of one request that are in a slot, or made and not yet read by its fastest listener.
    pub window_segments: usize,
}

/// What the scheduler must know of the engine.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub max_slots: usize,
    pub max_shared: usize,
    pub cost: Cost,
}

#[derive(Debug, Clone)]
pub struct Request {
    pub class: Class,
    pub owner: Owner,
    /// Played while it is made: urgent when its listener's buffer would run dry.
    pub streamed: bool,
    /// When speech must have started, else it is given up (`Plan::expired`).
    pub deadline: Option<Duration>,
    /// Set for what goes on elsewhere (a segment another engine refused): when its listener's buffer runs dry.
    pub dry_at: Option<Duration>,
    pub segments: Vec<Work>,
}

/// One segment, as far as planning goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Work {
    pub chars: usize,
    pub speed: f64,
}

/// Not taken: the queue is full. `retry_after`: when it should fit, from the measured speed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Full {
    pub retry_after: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Admission {
    pub slot: usize,
    pub ticket: Ticket,
    pub request: RequestId,
    /// Index into the request's segments.
    pub segment: usize,
    /// Time on the engine, as its cost model counts it, that this segment may take: what is left until it is due,
    /// divided among all that are under way or wait for their first sound.
    pub budget_ms: f64,
}

/// What to send to the engine now, in this order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    pub expired: Vec<RequestId>,
    pub cancel: Vec<(usize, Ticket)>,
    pub admit: Vec<Admission>,
    /// Empty: nothing can be done now.
    pub advance: Vec<usize>,
}

/// One admitted segment in the engine.
#[derive(Debug, Clone, Copy)]
struct Slot {
    ticket: Ticket,
    request: RequestId,
    segment: usize,
    chars: usize,
    steps_left: u32,
    /// When its patience ends: that of the owner's head which it was, so that what was pre-empted goes on.
    aged_us: u64,
    cancelled: bool,
    /// In the step that was planned last.
    stepping: bool,
}

/// See the module's header.
#[derive(Debug)]
pub struct Scheduler {
    window: usize,
    prices: Prices,
    requests: HashMap<RequestId, State>,
    /// None of whose segments was ever admitted.
    waiting: usize,
    /// By rank: see `lane_of`.
    lanes: [Lane; LANES],
    /// Waiting segments of streams that play, by when they run dry, with the time to make them.
    dry: BTreeMap<(u64, RequestId), u64>,
    dry_cost_us: u64,
    /// Of requests none of whose segments was ever admitted.
    deadlines: BTreeSet<(u64, RequestId)>,
    books: Books,
    slots: Vec<Option<Slot>>,
    in_use: usize,
    step: Step,
    pace: Pace,
    /// Plans in a row in which streams went before heads whose patience was over.
    passed_over: u32,
    /// The latest time handed in.
    now_us: u64,
    next_request: u64,
    next_ticket: u64,
    // Kept for their memory only.
    ranked: Vec<(Rank, usize)>,
    demands: Vec<Demand>,
    others: Vec<Left>,
}

const LANES: usize = 8;

/// The lower, the earlier.
fn lane_of(class: Class, first: bool) -> usize {
    match (class, first) {
        (Class::Interactive, true) => 0,
        (Class::ChatPaid, true) => 1,
        (Class::Chat, true) => 2,
        (Class::Interactive, false) => 3,
        (Class::ChatPaid, false) => 4,
        (Class::Chat, false) => 5,
        (Class::Batch, true) => 6,
        (Class::Batch, false) => 7,
    }
}

/// How long an owner's head waits in each lane before it is due. Whoever has heard something waits longer: a stream
/// has a buffer, and its end makes it urgent by itself.
const PATIENCE_S: [u64; LANES] = [2, 4, 8, 8, 16, 32, 60, 60];

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Not a number, and what is negative, count as nothing; bounded, so that sums of many cannot overflow.
fn micros_of_ms(duration_ms: f64) -> u64 {
    (duration_ms * 1e3).clamp(0.0, 1e15) as u64
}

impl Scheduler {
    #[must_use]
    pub fn new(limits: Limits, shape: Shape) -> Self {
        let prices = Prices::new(shape);
        Self {
            window: limits.window_segments.max(1),
            requests: HashMap::new(),
            waiting: 0,
            lanes: PATIENCE_S.map(|patience_s| Lane::new(patience_s * 1_000_000)),
            dry: BTreeMap::new(),
            dry_cost_us: 0,
            deadlines: BTreeSet::new(),
            books: Books::new(&limits),
            slots: vec![None; prices.shape.max_slots],
            in_use: 0,
            step: Step::default(),
            pace: Pace::default(),
            passed_over: 0,
            now_us: 0,
            next_request: 0,
            next_ticket: 0,
            ranked: Vec::new(),
            demands: Vec::new(),
            others: Vec::new(),
            prices,
        }
    }

    /// Takes a request of at least one segment, or refuses it at once. One is always taken when nothing is queued.
    ///
    /// # Errors
    /// `Full` when it does not fit.
    pub fn submit(&mut self, now: Duration, request: Request) -> Result<RequestId, Full> {
        self.tick(now);
        let bill = Bill::new(&self.prices, request.segments.iter().copied());
        if !self.books.fits(&bill) {
            let slowness = self.pace.slowness_shared();
            return Err(Full { retry_after: self.books.retry_after(&self.prices, &bill, slowness) });
        }
        let id = RequestId(self.next_request);
        self.next_request += 1;
        let state = State::new(request);
        // A request without segments is over before it began.
        if !state.is_over() {
            self.books.accept(&bill);
            self.waiting += 1;
            self.deadlines.extend(state.deadline_us.map(|deadline_us| (deadline_us, id)));
            self.requests.insert(id, state);
            self.requeue(id);
        }
        Ok(id)
    }

    /// More segments may come (`extend`): the request stays until it is closed.
    pub fn open(&mut self, request: RequestId) {
        if let Some(state) = self.requests.get_mut(&request) {
            state.set_open(true);
        }
    }

    /// Adds segments to an open request. Unknown and closed ones are passed over.
    ///
    /// # Errors
    /// `Full` when they do not fit; one that has the queue for itself may always grow.
    pub fn extend(&mut self, now: Duration, request: RequestId, segments: &[Work]) -> Result<(), Full> {
        self.tick(now);
        let Some(state) = self.requests.get_mut(&request).filter(|_| !segments.is_empty()) else { return Ok(()) };
        let bill = Bill::new(&self.prices, segments.iter().copied());
        if !self.books.fits_more(&bill) {
            let slowness = self.pace.slowness_shared();
            return Err(Full { retry_after: self.books.retry_after(&self.prices, &bill, slowness) });
        }
        let last = state.segments().last().copied();
        if state.extend(self.now_us, segments).is_some() {
            self.books.grow(&self.prices, last, &bill);
            self.requeue(request);
        }
        Ok(())
    }

    /// No more segments will come.
    pub fn close(&mut self, request: RequestId) {
        let Some(state) = self.requests.get_mut(&request) else { return };
        state.set_open(false);
        if state.is_over() {
            self.forget(request);
        }
    }

    /// Nobody listens any more: queued segments go now, held slots with the next plan. Unknown ids are passed over.
    pub fn cancel(&mut self, request: RequestId) {
        self.forget(request);
        for slot in self.slots.iter_mut().flatten() {
            slot.cancelled |= slot.request == request;
        }
    }

    /// Another listener, of this class, waits for it: the highest of them counts.
    pub fn promote(&mut self, request: RequestId, class: Class) {
        if let Some(state) = self.requests.get_mut(&request) {
            state.class = state.class.min(class);
            self.requeue(request);
        }
    }

    /// `held`: its listeners are too far behind, no further segment is admitted until it is let go.
    pub fn hold(&mut self, request: RequestId, held: bool) {
        if let Some(state) = self.requests.get_mut(&request) {
            state.held = held;
            self.requeue(request);
        }
    }

    /// Its fastest listener has read this many whole segments from the start.
    pub fn delivered(&mut self, request: RequestId, segments: usize) {
        if let Some(state) = self.requests.get_mut(&request) {
            state.delivered(segments);
            self.requeue(request);
        }
    }

    /// What to do next. Asked only while no step is running; admitted segments count as in their slots at once.
    pub fn plan(&mut self, now: Duration) -> Plan {
        self.tick(now);
        let mut plan = Plan::default();
        self.expire(&mut plan);
        self.release(&mut plan);
        self.fill(&mut plan);
        plan
    }

    /// The engine took the segment and tells how many steps it needs.
    pub fn admitted(&mut self, ticket: Ticket, steps_left: u32) {
        if let Some(slot) = self.slots.iter_mut().flatten().find(|slot| slot.ticket == ticket) {
            slot.steps_left = steps_left.max(1);
        }
    }

    /// Sound came out of a slot; after `last` the slot is free and the segment is done.
    pub fn chunk(&mut self, now: Duration, ticket: Ticket, audio_ms: f64, last: bool) {
        self.tick(now);
        let Some(index) = self.slot_of(ticket) else { return };
        let Some(slot) = self.slots[index].filter(|slot| !slot.cancelled) else {
            if last {
                self.free(index);
            }
            return;
        };
        if let Some(state) = self.requests.get_mut(&slot.request) {
            state.made(self.now_us, slot.segment, micros_of_ms(audio_ms));
        }
        if last {
            self.free(index);
            self.finish(slot.request, slot.segment);
        } else {
            self.requeue(slot.request);
        }
    }

    /// The segment was refused or failed: the slot is free and the segment is done.
    pub fn ended(&mut self, ticket: Ticket) {
        let Some(slot) = self.slot_of(ticket).and_then(|index| self.free(index)) else { return };
        if slot.stepping {
            let alone = self.lone_step(slot.chars);
            self.step.slots = self.step.slots.saturating_sub(1);
            self.step.lone_ms -= alone.lone_ms;
            self.step.predicted_ms -= self.prices.shape.cost.ms_per_char * slot.chars as f64;
        }
        if !slot.cancelled {
            self.finish(slot.request, slot.segment);
        }
    }

    /// The step that was planned last is over and took this long.
    pub fn step_done(&mut self, elapsed_ms: f64) {
        self.pace.record(self.step, elapsed_ms);
        self.step = Step::default();
        for slot in self.slots.iter_mut().flatten().filter(|slot| slot.stepping) {
            slot.stepping = false;
            slot.steps_left = slot.steps_left.saturating_sub(1).max(1);
        }
    }

    /// When to ask for a plan even if nothing happens until then: the next deadline of a request that waits.
    #[must_use]
    pub fn wake_at(&self) -> Option<Duration> {
        self.deadlines.first().map(|&(deadline_us, _)| Duration::from_micros(deadline_us))
    }

    /// Accepted and not over.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.books.requests()
    }

    /// Those of `requests` that none of whose segments was admitted yet.
    #[must_use]
    pub fn queued_requests(&self) -> usize {
        self.waiting
    }

    /// Speech accepted and not yet made, as estimated.
    #[must_use]
    pub fn queued_speech_ms(&self) -> f64 {
        self.books.speech_us() as f64 / 1e3
    }

    /// Including those that the next plan cancels.
    #[must_use]
    pub fn slots_in_use(&self) -> usize {
        self.in_use
    }

    /// No request is left and every slot is free.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.requests.is_empty() && self.in_use == 0
    }

    /// What the step planned last should take, from the cost model and the measured speed; 0 when none is under way.
    #[must_use]
    pub fn step_estimate_ms(&self) -> f64 {
        self.step.predicted_ms * self.pace.slowness()
    }

    fn tick(&mut self, now: Duration) {
        self.now_us = self.now_us.max(micros(now));
    }

    fn slot_of(&self, ticket: Ticket) -> Option<usize> {
        self.slots.iter().position(|slot| slot.is_some_and(|slot| slot.ticket == ticket))
    }

    fn free(&mut self, index: usize) -> Option<Slot> {
        let slot = self.slots[index].take();
        self.in_use -= usize::from(slot.is_some());
        slot
    }

    fn lone_step(&self, chars: usize) -> Step {
        let lone_ms = self.prices.shape.cost.steps_ms(1, chars);
        Step { slots: 1, predicted_ms: lone_ms, lone_ms }
    }

    /// Nothing more comes of a segment.
    fn finish(&mut self, request: RequestId, segment: usize) {
        let Some(state) = self.requests.get_mut(&request) else { return };
        if let Some(work) = state.work(segment) {
            self.books.made(&self.prices, work);
        }
        state.finish(self.now_us, segment);
        if state.is_over() {
            self.forget(request);
        } else {
            self.requeue(request);
        }
    }

    /// Takes a request out of everything but its slots.
    fn forget(&mut self, request: RequestId) {
        self.unqueue(request);
        let Some(state) = self.requests.remove(&request) else { return };
        if state.next() == 0 {
            self.waiting -= 1;
            if let Some(deadline_us) = state.deadline_us {
                self.deadlines.remove(&(deadline_us, request));
            }
        }
        self.books.leave(&self.prices, state.segments(), state.unmade());
    }

    /// Puts a request where it now belongs. After every change of its state.
    fn requeue(&mut self, request: RequestId) {
        let Some(state) = self.requests.get(&request) else { return };
        let candidate = state.candidate(self.window);
        let wanted = candidate.map(|_| Queued {
            lane: lane_of(state.class, state.is_first(state.next())),
            dry_us: state.dry_us(state.next()),
        });
        if wanted == state.queued {
            return;
        }
        let (owner, queued) = (state.owner, state.queued);
        let lane = |queued: Option<Queued>| queued.map(|queued| queued.lane);
        if lane(wanted) != lane(queued) {
            if let Some(lane) = lane(queued) {
                self.lanes[lane].remove(owner, request);
            }
            if let Some(lane) = lane(wanted) {
                self.lanes[lane].push(self.now_us, owner, request);
            }
        }
        self.remove_dry(request, queued);
        if let (Some(work), Some(dry_us)) = (candidate, wanted.and_then(|wanted| wanted.dry_us)) {
            let cost_us = self.prices.cost_us(work);
            self.dry.insert((dry_us, request), cost_us);
            self.dry_cost_us += cost_us;
        }
        if let Some(state) = self.requests.get_mut(&request) {
            state.queued = wanted;
        }
    }

    fn unqueue(&mut self, request: RequestId) {
        let Some(state) = self.requests.get_mut(&request) else { return };
        let queued = state.queued.take();
        if let Some(queued) = queued {
            self.lanes[queued.lane].remove(state.owner, request);
        }
        self.remove_dry(request, queued);
    }

    fn remove_dry(&mut self, request: RequestId, queued: Option<Queued>) {
        let Some(dry_us) = queued.and_then(|queued| queued.dry_us) else { return };
        self.dry_cost_us -= self.dry.remove(&(dry_us, request)).unwrap_or(0);
    }

    /// Nothing is left behind in any book or queue.
    #[cfg(test)]
    fn is_clean(&self) -> bool {
        let queues = self.lanes.iter().all(Lane::is_clean) && self.dry.is_empty() && self.deadlines.is_empty();
        self.is_idle() && queues && self.books.is_clean() && self.waiting == 0 && self.dry_cost_us == 0
    }
}
