//! A simulated engine on a virtual clock, which checks every plan against what it knows by itself.

use std::{collections::BTreeMap, time::Duration};

use super::{Class, Full, Limits, Owner, Plan, Request, RequestId, Scheduler, Shape, Work};
use crate::engine::{Cost, Ticket};

pub(super) fn ms(duration_ms: f64) -> Duration {
    Duration::from_secs_f64(duration_ms / 1e3)
}

/// 150 times real time, as the default engine on one core.
pub(super) const WHOLE_SEGMENTS: Shape = Shape {
    max_slots: 4,
    max_shared: 1,
    cost: Cost { steps: 1, fixed_ms: 5.0, ms_per_char: 0.4, audio_ms_per_char: 60.0 },
};

/// Sixteen diffusion steps each, eight slots together.
pub(super) const STEPPED_SHARED: Shape = Shape {
    max_slots: 10,
    max_shared: 8,
    cost: Cost { steps: 16, fixed_ms: 6.0, ms_per_char: 0.02, audio_ms_per_char: 60.0 },
};

/// The same model where slots gain nothing from one another.
pub(super) const STEPPED_ALONE: Shape = Shape {
    max_slots: 3,
    max_shared: 1,
    cost: Cost { steps: 8, fixed_ms: 2.0, ms_per_char: 0.1, audio_ms_per_char: 60.0 },
};

pub(super) const ROOMY: Limits = Limits { max_requests: 10_000, max_speech_ms: 1e9, window_segments: 3 };

pub(super) fn request(class: Class, owner: u64, chars: &[usize]) -> Request {
    let segments = chars.iter().map(|chars| Work { chars: *chars, speed: 1.0 }).collect();
    Request { class, owner: Owner(owner), streamed: false, deadline: None, dry_at: None, segments }
}

pub(super) fn stream(class: Class, owner: u64, chars: &[usize]) -> Request {
    Request { streamed: true, ..request(class, owner, chars) }
}

#[derive(Debug, Clone, Copy)]
struct Held {
    ticket: Ticket,
    request: RequestId,
    segment: usize,
    steps_left: u32,
}

/// What is known of a request from outside.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) request: Request,
    pub(super) submitted: Duration,
    pub(super) next: usize,
    pub(super) delivered: usize,
    pub(super) held: bool,
    open: bool,
    made_ms: Vec<Option<f64>>,
    contiguous: usize,
    dry: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Over {
    pub(super) owner: Owner,
    pub(super) submitted: Duration,
    pub(super) finished: Duration,
}

pub(super) struct Simulation {
    pub(super) scheduler: Scheduler,
    pub(super) now: Duration,
    pub(super) known: BTreeMap<RequestId, Known>,
    pub(super) finished: BTreeMap<RequestId, Over>,
    /// In order.
    pub(super) admitted: Vec<(RequestId, usize)>,
    /// Longest silence that a listener had between segments.
    pub(super) worst_gap: Duration,
    /// Every listener reads at once what is made.
    pub(super) eager: bool,
    /// Real time for predicted time.
    pub(super) slowness: f64,
    /// Segments of so many characters are refused, or fail.
    pub(super) faults: bool,
    shape: Shape,
    limits: Limits,
    engine: BTreeMap<usize, Held>,
    next_ticket: Ticket,
}

const REFUSED_CHARS: usize = 13;
const FAILED_CHARS: usize = 17;

impl Simulation {
    pub(super) fn new(shape: Shape, limits: Limits) -> Self {
        Self {
            scheduler: Scheduler::new(limits.clone(), shape),
            now: Duration::ZERO,
            known: BTreeMap::new(),
            finished: BTreeMap::new(),
            admitted: Vec::new(),
            worst_gap: Duration::ZERO,
            eager: true,
            slowness: 1.0,
            faults: false,
            shape,
            limits,
            engine: BTreeMap::new(),
            next_ticket: Ticket(0),
        }
    }

    pub(super) fn submit(&mut self, request: Request) -> Result<RequestId, Full> {
        let id = self.scheduler.submit(self.now, request.clone())?;
        let segments = request.segments.len();
        let (next, delivered, contiguous) = (0, 0, 0);
        let (submitted, made_ms) = (self.now, vec![None; segments]);
        if segments > 0 {
            let dry = request.dry_at.filter(|_| request.streamed);
            let known =
                Known { request, submitted, next, delivered, held: false, open: false, made_ms, contiguous, dry };
            assert!(self.known.insert(id, known).is_none(), "{id:?} was used twice");
        }
        self.check_bounds();
        Ok(id)
    }

    pub(super) fn open(&mut self, id: RequestId) {
        self.scheduler.open(id);
        self.known.get_mut(&id).unwrap().open = true;
    }

    pub(super) fn extend(&mut self, id: RequestId, segments: &[Work]) -> Result<(), Full> {
        self.scheduler.extend(self.now, id, segments)?;
        let known = self.known.get_mut(&id).unwrap();
        if known.open {
            known.request.segments.extend_from_slice(segments);
            known.made_ms.resize(known.request.segments.len(), None);
        }
        self.check_bounds();
        Ok(())
    }

    pub(super) fn close(&mut self, id: RequestId) {
        self.scheduler.close(id);
        self.known.get_mut(&id).unwrap().open = false;
        self.finish(id);
        self.check_bounds();
    }

    /// Takes it out if it is over.
    fn finish(&mut self, id: RequestId) -> bool {
        let known = &self.known[&id];
        let over = known.contiguous == known.made_ms.len() && !known.open;
        if over {
            let (owner, submitted) = (known.request.owner, known.submitted);
            self.finished.insert(id, Over { owner, submitted, finished: self.now });
            self.known.remove(&id);
        }
        over
    }

    pub(super) fn cancel(&mut self, id: RequestId) {
        self.scheduler.cancel(id);
        self.known.remove(&id);
    }

    pub(super) fn hold(&mut self, id: RequestId, held: bool) {
        self.scheduler.hold(id, held);
        self.known.get_mut(&id).unwrap().held = held;
    }

    pub(super) fn promote(&mut self, id: RequestId, class: Class) {
        self.scheduler.promote(id, class);
        let known = &mut self.known.get_mut(&id).unwrap().request;
        known.class = known.class.min(class);
    }

    /// Its listener has read all that it could.
    pub(super) fn deliver(&mut self, id: RequestId) {
        let known = self.known.get_mut(&id).unwrap();
        known.delivered = known.contiguous;
        self.scheduler.delivered(id, known.delivered);
    }

    pub(super) fn steps_left(&self) -> usize {
        let waiting: usize = self.known.values().map(|known| known.request.segments.len() - known.next).sum();
        let held: usize = self.engine.values().map(|held| held.steps_left as usize).sum();
        waiting * self.shape.cost.steps as usize + held
    }

    /// Plans and does one step; false when there is nothing to do.
    pub(super) fn step(&mut self) -> bool {
        let expected_advance = self.expected_advance();
        let plan = self.scheduler.plan(self.now);
        self.check_expired(&plan);
        for (slot, ticket) in &plan.cancel {
            let held = self.engine.remove(slot).expect("a free slot was cancelled");
            assert_eq!(held.ticket, *ticket);
            assert!(!self.known.contains_key(&held.request), "a slot of a living request was cancelled");
        }
        self.take_admissions(&plan);
        self.check_advance(&plan, expected_advance);
        self.check_bounds();
        if !plan.advance.is_empty() {
            self.run(&plan.advance);
        }
        !plan.advance.is_empty()
    }

    pub(super) fn run_until(&mut self, end: Duration) {
        while self.now < end && self.step() {}
    }

    /// Lets everything go on and finish, within the steps that it takes.
    pub(super) fn drain(&mut self) {
        let ids: Vec<RequestId> = self.known.keys().copied().collect();
        for id in ids {
            self.hold(id, false);
            self.close(id);
        }
        self.eager = true;
        let bound = self.steps_left() + 1;
        for _ in 0..=bound {
            let ids: Vec<RequestId> = self.known.keys().copied().collect();
            ids.into_iter().for_each(|id| self.deliver(id));
            if !self.step() {
                break;
            }
        }
        assert!(self.known.is_empty(), "left over: {:?}", self.known);
        assert!(self.engine.is_empty() && self.scheduler.is_clean(), "{:?}", self.scheduler);
    }

    /// Each request's segments that could go into a slot, and all slots, as many as a step can take.
    fn expected_advance(&self) -> usize {
        let alive = |id: &RequestId| self.known.get(id).is_some_and(|known| !self.is_late(known));
        let occupied = self.engine.values().filter(|held| alive(&held.request)).count();
        let window = self.limits.window_segments.max(1);
        let eligible = self.known.values().filter(|known| !known.held && !self.is_late(known)).map(|known| {
            let unheard = known.request.streamed && known.request.dry_at.is_none() && known.contiguous == 0;
            let open = window.saturating_sub(known.next - known.delivered);
            let open = if unheard { open.min(1 - known.next.min(1)) } else { open };
            open.min(known.request.segments.len() - known.next)
        });
        let eligible: usize = eligible.sum();
        (occupied + eligible.min(self.shape.max_slots - occupied)).min(self.shape.max_shared)
    }

    fn is_late(&self, known: &Known) -> bool {
        known.next == 0 && known.request.deadline.is_some_and(|deadline| deadline <= self.now)
    }

    fn check_expired(&mut self, plan: &Plan) {
        let late = self.known.iter().filter(|(_, known)| self.is_late(known)).map(|(id, _)| *id);
        let mut late: Vec<RequestId> = late.collect();
        let mut expired = plan.expired.clone();
        late.sort_unstable();
        expired.sort_unstable();
        assert_eq!(expired, late);
        self.known.retain(|id, _| !late.contains(id));
    }

    fn take_admissions(&mut self, plan: &Plan) {
        for admission in &plan.admit {
            assert!(admission.slot < self.shape.max_slots);
            assert!(admission.ticket >= self.next_ticket, "a ticket was used twice");
            assert!(plan.advance.contains(&admission.slot), "admitted without need");
            self.next_ticket = Ticket(admission.ticket.0 + 1);
            let elder = self.elder_of(admission.request);
            let known = self.known.get_mut(&admission.request).expect("admitted one that is gone");
            assert!(!known.held, "admitted one that is held");
            assert_eq!(admission.segment, known.next, "segments go in order");
            assert!(known.next - known.delivered < self.limits.window_segments.max(1), "beyond the window");
            assert!(known.next > 0 || elder.is_none(), "{:?} went before {elder:?}", admission.request);
            known.next += 1;
            let held = Held {
                ticket: admission.ticket,
                request: admission.request,
                segment: admission.segment,
                steps_left: self.shape.cost.steps,
            };
            assert!(self.engine.insert(admission.slot, held).is_none(), "the slot is taken");
            self.admitted.push((admission.request, admission.segment));
        }
    }

    /// An older request of the same owner and class that waits for its first sound too.
    fn elder_of(&self, id: RequestId) -> Option<RequestId> {
        let this = &self.known.get(&id)?.request;
        let goes_on = |request: &Request| request.streamed && request.dry_at.is_some();
        let elder = |known: &Known| {
            let first = known.next == 0 && !known.held && !goes_on(&known.request) && !goes_on(this);
            first && known.request.owner == this.owner && known.request.class == this.class
        };
        self.known.range(..id).find(|(_, known)| elder(known)).map(|(id, _)| *id)
    }

    fn check_advance(&self, plan: &Plan, expected: usize) {
        assert!(plan.advance.is_sorted_by(|one, two| one < two), "each slot once: {plan:?}");
        assert!(plan.advance.iter().all(|slot| self.engine.contains_key(slot)), "empty slot: {plan:?}");
        assert_eq!(plan.advance.len(), expected, "work that could be done was not, or too much was: {plan:?}");
    }

    fn check_bounds(&self) {
        let scheduler = &self.scheduler;
        assert_eq!(scheduler.requests(), self.known.len());
        assert_eq!(scheduler.queued_requests(), self.known.values().filter(|known| known.next == 0).count());
        assert_eq!(scheduler.slots_in_use(), self.engine.len(), "a slot leaked");
        assert!(scheduler.requests() <= self.limits.max_requests.max(1));
        assert!(scheduler.queued_speech_ms() <= self.limits.max_speech_ms.max(self.most_of_one_ms()) + 1.0);
        let speech_ms: f64 = self.known.values().map(|known| self.unmade_ms(known)).sum();
        assert!((scheduler.queued_speech_ms() - speech_ms).abs() < 1.0, "{speech_ms} ms are left");
        let deadlines = self.known.values().filter(|known| known.next == 0).filter_map(|known| known.request.deadline);
        assert_eq!(scheduler.wake_at(), deadlines.min());
    }

    fn unmade_ms(&self, known: &Known) -> f64 {
        let segments = known.request.segments.iter().zip(&known.made_ms);
        let unmade = segments.filter(|(_, made)| made.is_none());
        unmade.map(|(work, _)| self.shape.cost.audio_ms(work.chars, work.speed)).sum()
    }

    fn most_of_one_ms(&self) -> f64 {
        self.known.values().map(|known| self.unmade_ms(known)).fold(0.0, f64::max)
    }

    /// One step of the engine for `slots`, and all that it answers.
    fn run(&mut self, slots: &[usize]) {
        let cost = self.shape.cost;
        let chars =
            |held: &Held, known: &BTreeMap<RequestId, Known>| known[&held.request].request.segments[held.segment];
        let (mut elapsed_ms, mut over) = (cost.fixed_ms, Vec::new());
        for slot in slots {
            let held = self.engine.get_mut(slot).unwrap();
            let work = chars(held, &self.known);
            if held.steps_left == cost.steps {
                if self.faults && work.chars == REFUSED_CHARS {
                    over.push((*held, None));
                    continue;
                }
                self.scheduler.admitted(held.ticket, held.steps_left);
            }
            elapsed_ms += cost.ms_per_char * work.chars as f64;
            held.steps_left -= 1;
            if held.steps_left == 0 {
                let fails = self.faults && work.chars == FAILED_CHARS;
                over.push((*held, (!fails).then(|| cost.audio_ms(work.chars, work.speed))));
            }
        }
        elapsed_ms *= self.slowness;
        self.now += ms(elapsed_ms);
        for (held, audio_ms) in over {
            self.engine.retain(|_, other| other.ticket != held.ticket);
            match audio_ms {
                Some(audio_ms) => self.scheduler.chunk(self.now, held.ticket, audio_ms, true),
                None => self.scheduler.ended(held.ticket),
            }
            // Again: late, for a ticket that is no more.
            self.scheduler.ended(held.ticket);
            self.hear(held, audio_ms.unwrap_or(0.0));
        }
        self.scheduler.step_done(elapsed_ms);
    }

    fn hear(&mut self, held: Held, audio_ms: f64) {
        let known = self.known.get_mut(&held.request).unwrap();
        known.made_ms[held.segment] = Some(audio_ms);
        while let Some(Some(audio_ms)) = known.made_ms.get(known.contiguous) {
            let dry = known.dry.unwrap_or(self.now);
            if known.request.streamed {
                self.worst_gap = self.worst_gap.max(self.now.saturating_sub(dry));
                known.dry = Some(dry.max(self.now) + ms(*audio_ms));
            }
            known.contiguous += 1;
        }
        if !self.finish(held.request) && self.eager {
            self.deliver(held.request);
        }
    }
}
