//! Choosing: what has gone too long, what is urgent, and which slots advance.

use super::{Admission, Plan, RequestId, Scheduler, Slot, Step, lane_of, request::State};
use crate::engine::Ticket;

/// Added to what making a segment should take, as the estimate may be wrong.
const SAFETY: f64 = 1.25;
/// For what lies between the engine and the listener's ear.
const TRANSPORT_US: u64 = 50_000;
/// Streams that are looked at to tell whether the earliest are urgent.
const LOOK_AHEAD: usize = 64;
/// Plans in a row in which urgent streams may go before heads whose patience is over.
const STREAMS_AHEAD: u32 = 3;

/// The lower, the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    tier: usize,
    /// Due: when, in µs. Else the time left to make it, in µs.
    key: u64,
    queued: bool,
}

/// A segment that a playing listener needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Demand {
    dry_us: u64,
    left: Left,
    waits: bool,
}

/// What is left to do for a segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Left {
    cost_us: u64,
    steps: u32,
}

/// What holds for a whole plan.
#[derive(Debug, Clone, Copy)]
struct Urgency {
    /// Streams that run dry by then are urgent.
    until_us: Option<u64>,
    stream_tier: usize,
    aged_tier: usize,
}

const FIRST_LANE_TIER: usize = 2;

impl Scheduler {
    pub(super) fn expire(&mut self, plan: &mut Plan) {
        while let Some(&(deadline_us, request)) = self.deadlines.first() {
            if deadline_us > self.now_us {
                break;
            }
            self.forget(request);
            plan.expired.push(request);
        }
    }

    pub(super) fn release(&mut self, plan: &mut Plan) {
        for index in 0..self.slots.len() {
            if let Some(slot) = self.slots[index].filter(|slot| slot.cancelled) {
                plan.cancel.push((index, slot.ticket));
                self.free(index);
            }
        }
    }

    /// Fills the step with the best of what is in slots and what waits for one.
    pub(super) fn fill(&mut self, plan: &mut Plan) {
        let max_shared = self.prices.shape.max_shared;
        let urgency = self.urgency();
        let mut ranked = std::mem::take(&mut self.ranked);
        ranked.clear();
        ranked.extend(self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let slot = slot.as_ref()?;
            Some((self.rank_of(slot, &urgency), index))
        }));
        self.hurry(&mut ranked, &urgency);
        ranked.sort_unstable();

        self.step = Step::default();
        let (mut under_way, mut streams, mut aged) = (ranked.iter().peekable(), false, false);
        while plan.advance.len() < max_shared {
            let waiting = if self.in_use < self.slots.len() { self.best_waiting(&urgency) } else { None };
            let rank = match (under_way.peek(), waiting) {
                (Some(&&(rank, index)), waiting) if waiting.is_none_or(|(waiting, _)| rank <= waiting) => {
                    under_way.next();
                    self.advance(plan, index);
                    rank
                }
                (_, Some((rank, request))) if self.admit(plan, request).is_some() => rank,
                _ => break,
            };
            streams |= rank.tier == urgency.stream_tier;
            aged |= rank.tier == urgency.aged_tier;
        }
        let left_behind = under_way.any(|(rank, _)| rank.tier == urgency.aged_tier) || self.oldest_aged().is_some();
        self.passed_over = if streams && !aged && left_behind { self.passed_over + 1 } else { 0 };
        self.ranked = ranked;
        plan.advance.sort_unstable();
    }

    fn urgency(&mut self) -> Urgency {
        let aged_first = self.passed_over >= STREAMS_AHEAD;
        Urgency {
            until_us: self.urgent_until_us(),
            stream_tier: usize::from(aged_first),
            aged_tier: usize::from(!aged_first),
        }
    }

    /// An urgent stream that finds no slot hands its urgency to the segment that will be out of one soonest.
    fn hurry(&self, ranked: &mut [(Rank, usize)], urgency: &Urgency) {
        let stream = self.dry.first_key_value().map(|(&(dry_us, _), _)| dry_us);
        let Some(key) = stream.filter(|dry_us| Some(*dry_us) <= urgency.until_us) else { return };
        if self.in_use < self.slots.len() {
            return;
        }
        let left = |index: usize| self.slots[index].as_ref().map(|slot| self.left_of(slot));
        if let Some((rank, _)) = ranked.iter_mut().min_by_key(|(_, index)| left(*index)) {
            *rank = (*rank).min(Rank { tier: urgency.stream_tier, key, queued: false });
        }
    }

    /// Making the streams' next segments earliest first, until which one would another step put a listener off?
    fn urgent_until_us(&mut self) -> Option<u64> {
        let (mut demands, mut others) = (std::mem::take(&mut self.demands), std::mem::take(&mut self.others));
        demands.clear();
        others.clear();
        for slot in self.slots.iter().flatten() {
            let left = self.left_of(slot);
            match self.requests.get(&slot.request).and_then(|state| state.dry_us(slot.segment)) {
                Some(dry_us) => demands.push(Demand { dry_us, left, waits: false }),
                None => others.push(left),
            }
        }
        let (steps, under_way) = (self.prices.shape.cost.steps, demands.len());
        others.sort_unstable();
        let mut free = self.slots.len() - self.in_use;
        let step_us = micros_up(self.pace.longest_step_ms() * 1e3);
        // What goes into the last slot keeps it until somebody is out.
        let longest = Left { cost_us: self.books.longest_us(), steps };
        let slot_us = if free > 1 { 0 } else { self.making_us(0, others.first().copied().unwrap_or(longest)) };
        let start_us = self.now_us.saturating_add(step_us.max(slot_us) + TRANSPORT_US);
        // Whoever runs dry after everything could be made is not urgent.
        let all_us = self.dry_cost_us
            + demands.iter().map(|demand| demand.left.cost_us).sum::<u64>()
            + others.iter().map(|left| left.cost_us).sum::<u64>();
        let horizon = Left { cost_us: all_us, steps: steps.saturating_mul(2) };
        let horizon_us = start_us.saturating_add(self.making_us(under_way + self.dry.len(), horizon));
        let waiting = self.dry.range(..=(horizon_us, RequestId(u64::MAX))).take(LOOK_AHEAD);
        demands.extend(waiting.map(|(&(dry_us, _), &cost_us)| Demand {
            dry_us,
            left: Left { cost_us, steps },
            waits: true,
        }));
        demands.sort_unstable();

        let (mut sum_us, mut until_us) = (0, None);
        let (mut leaving, mut steps_to_slot) = (others.iter(), 0);
        for (index, demand) in demands.iter().enumerate() {
            sum_us += demand.left.cost_us;
            let mut steps = demand.left.steps;
            if demand.waits && free > 0 {
                free -= 1;
            } else if demand.waits {
                // Nothing is put out of a slot: first another segment has to come to its end.
                let next = leaving.next().copied().unwrap_or_default();
                (sum_us, steps_to_slot) = (sum_us + next.cost_us, next.steps.max(steps_to_slot));
                steps = steps.saturating_add(steps_to_slot);
            }
            let making_us = self.making_us(index, Left { cost_us: sum_us, steps });
            if start_us.saturating_add(making_us) >= demand.dry_us {
                until_us = Some(demand.dry_us);
            }
        }
        (self.demands, self.others) = (demands, others);
        until_us
    }

    /// Time until the `index`-th of segments is made, if they alone are made, in order. `left`: the cost of all until
    /// then, the steps of this one.
    fn making_us(&self, index: usize, left: Left) -> u64 {
        let shape = &self.prices.shape;
        let making_us = match self.pace.step_ms().filter(|_| shape.max_shared > 1) {
            // Steps are shared, also with what is not urgent: as many as it needs, each as long as they are.
            Some(step_ms) => {
                let rounds = (index / shape.max_shared) as f64;
                (rounds * f64::from(shape.cost.steps) + f64::from(left.steps)) * step_ms * 1e3
            }
            None => left.cost_us as f64 * self.pace.slowness(),
        };
        micros_up(making_us * SAFETY)
    }

    fn left_of(&self, slot: &Slot) -> Left {
        Left { cost_us: self.prices.steps_us(slot.steps_left, slot.chars), steps: slot.steps_left }
    }

    fn rank_of(&self, slot: &Slot, urgency: &Urgency) -> Rank {
        let state = self.requests.get(&slot.request);
        let dry_us = state.and_then(|state| state.dry_us(slot.segment));
        if let Some(dry_us) = dry_us.filter(|dry_us| Some(*dry_us) <= urgency.until_us) {
            return Rank { tier: urgency.stream_tier, key: dry_us, queued: false };
        }
        if slot.aged_us <= self.now_us {
            return Rank { tier: urgency.aged_tier, key: slot.aged_us, queued: false };
        }
        let lane = state.map_or(0, |state| lane_of(state.class, state.is_first(slot.segment)));
        Rank { tier: FIRST_LANE_TIER + lane, key: self.left_of(slot).cost_us, queued: false }
    }

    fn best_waiting(&self, urgency: &Urgency) -> Option<(Rank, RequestId)> {
        let stream = self.dry.first_key_value().filter(|((dry_us, _), _)| Some(*dry_us) <= urgency.until_us);
        let stream =
            stream.map(|(&(key, request), _)| (Rank { tier: urgency.stream_tier, key, queued: true }, request));
        let aged = self.oldest_aged();
        let aged = aged.map(|(key, request)| (Rank { tier: urgency.aged_tier, key, queued: true }, request));
        stream.into_iter().chain(aged).min().or_else(|| {
            let heads = self.lanes.iter().enumerate();
            let (lane, request) = heads.filter_map(|(lane, queue)| Some((lane, queue.head()?))).next()?;
            let work = self.requests.get(&request)?.candidate(self.window)?;
            Some((Rank { tier: FIRST_LANE_TIER + lane, key: self.prices.cost_us(work), queued: true }, request))
        })
    }

    /// Of all heads whose patience is over, the one for which it ended first.
    fn oldest_aged(&self) -> Option<(u64, RequestId)> {
        let aged = self.lanes.iter().filter_map(|lane| lane.oldest());
        aged.filter(|(aged_us, _)| *aged_us <= self.now_us).min()
    }

    fn advance(&mut self, plan: &mut Plan, index: usize) {
        let Some(slot) = self.slots[index].as_mut() else { return };
        slot.stepping = true;
        let chars = slot.chars;
        let Step { slots, predicted_ms, lone_ms } = self.lone_step(chars);
        // The fixed part of a step is paid once.
        let shared_ms = if self.step.slots == 0 { 0.0 } else { self.prices.shape.cost.fixed_ms };
        self.step.slots += slots;
        self.step.predicted_ms += predicted_ms - shared_ms;
        self.step.lone_ms += lone_ms;
        plan.advance.push(index);
    }

    fn admit(&mut self, plan: &mut Plan, request: RequestId) -> Option<()> {
        let slot = self.slots.iter().position(Option::is_none)?;
        let (segment, chars, aged_us, dry_us) = self.take(request)?;
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.in_use += 1;
        let steps_left = self.prices.shape.cost.steps;
        let (cancelled, stepping) = (false, false);
        self.slots[slot] = Some(Slot { ticket, request, segment, chars, steps_left, aged_us, cancelled, stepping });
        let budget_ms = self.budget_ms(dry_us.unwrap_or(aged_us));
        plan.admit.push(Admission { slot, ticket, request, segment, budget_ms });
        self.advance(plan, slot);
        Some(())
    }

    /// Of a segment that is in its slot and due then. What others cost is taken to be what it costs itself.
    fn budget_ms(&self, due_us: u64) -> f64 {
        let left_ms = due_us.saturating_sub(self.now_us) as f64 / 1e3;
        let rivals = (self.in_use + self.waiting).max(1);
        left_ms / rivals as f64 / self.pace.slowness_shared()
    }

    /// Takes the next segment of `request` out of the queues: its index, characters, when its patience ends, and when
    /// its listener's buffer runs dry.
    fn take(&mut self, request: RequestId) -> Option<(usize, usize, u64, Option<u64>)> {
        let state: &mut State = self.requests.get_mut(&request)?;
        let work = state.candidate(self.window)?;
        let queued = state.queued.take()?;
        let segment = state.next();
        let dry_us = state.dry_us(segment);
        state.admit(self.prices.audio_us(work));
        if segment == 0 {
            self.waiting -= 1;
            if let Some(deadline_us) = state.deadline_us {
                self.deadlines.remove(&(deadline_us, request));
            }
        }
        let cost_us = self.prices.cost_us(work);
        let aged_us = self.lanes[queued.lane].take(self.now_us, state.owner, request, cost_us);
        self.remove_dry(request, Some(queued));
        self.requeue(request);
        Some((segment, work.chars, aged_us, dry_us))
    }
}

fn micros_up(duration_us: f64) -> u64 {
    duration_us.clamp(0.0, 1e15).ceil() as u64
}
