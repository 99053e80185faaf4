//! The policy, case by case.

use super::{
    simulation::{ROOMY, STEPPED_ALONE, STEPPED_SHARED, Simulation, WHOLE_SEGMENTS, ms, request, stream},
    *,
};

const LONG: usize = 200;
const SHORT: usize = 20;

fn whole() -> Simulation {
    Simulation::new(WHOLE_SEGMENTS, ROOMY)
}

impl Simulation {
    fn take(&mut self, request: Request) -> RequestId {
        self.submit(request).expect("it should fit")
    }

    /// Does steps until nothing is left and tells in what order segments were admitted.
    fn order(&mut self) -> Vec<(RequestId, usize)> {
        let before = self.admitted.len();
        while self.step() {}
        self.admitted[before..].to_vec()
    }
}

#[test]
fn a_higher_class_is_heard_first() {
    let mut simulation = whole();
    let [batch, chat, paid, interactive] = [Class::Batch, Class::Chat, Class::ChatPaid, Class::Interactive]
        .map(|class| simulation.take(request(class, 1, &[SHORT])));
    let order = simulation.order();
    assert_eq!(order, [(interactive, 0), (paid, 0), (chat, 0), (batch, 0)]);
}

#[test]
fn everybody_hears_something_before_anybody_hears_all() {
    let mut simulation = whole();
    let one = simulation.take(request(Class::Chat, 1, &[SHORT; 3]));
    let two = simulation.take(request(Class::Chat, 2, &[SHORT; 3]));
    let batch = simulation.take(request(Class::Batch, 3, &[SHORT; 2]));
    let order = simulation.order();
    assert_eq!(order[..2], [(one, 0), (two, 0)]);
    assert_eq!(order[6..], [(batch, 0), (batch, 1)], "nobody waits to hear a batch");
}

#[test]
fn one_message_is_not_behind_a_flood() {
    let mut simulation = whole();
    for _ in 0..100 {
        simulation.take(request(Class::Chat, 1, &[SHORT]));
    }
    (0..10).for_each(|_| assert!(simulation.step()));
    let single = simulation.take(request(Class::Chat, 2, &[SHORT]));
    assert_eq!(simulation.order()[0], (single, 0));
}

#[test]
fn a_stream_goes_first_only_when_it_would_run_dry() {
    let mut simulation = whole();
    simulation.slowness = 10.0;
    // 1.2 s of sound; a further segment takes 130 ms.
    let playing = simulation.take(stream(Class::Chat, 1, &[SHORT; 3]));
    assert!(simulation.step());
    for owner in 10..40 {
        simulation.take(request(Class::Chat, owner, &[SHORT]));
    }
    let order = simulation.order();
    let place = order.iter().position(|segment| *segment == (playing, 1)).unwrap();
    assert!((3..9).contains(&place), "{place}: neither at once nor too late");
    assert_eq!(simulation.worst_gap, Duration::ZERO);
}

#[test]
fn streams_that_run_dry_together_start_early_enough() {
    let mut simulation = Simulation::new(STEPPED_SHARED, ROOMY);
    for owner in 0..8 {
        simulation.take(stream(Class::Chat, owner, &[60; 4]));
    }
    let mut owner = 100;
    while simulation.known.keys().any(|id| id.0 < 8) {
        owner += 1;
        simulation.take(request(Class::Interactive, owner, &[LONG]));
        assert!(simulation.step());
    }
    assert_eq!(simulation.worst_gap, Duration::ZERO);
}

/// Nothing is put out of a slot, so a stream must be let in before its last chance.
#[test]
fn a_stream_finds_a_slot_in_time() {
    for max_slots in 1..=3 {
        let mut simulation = Simulation::new(Shape { max_slots, ..STEPPED_ALONE }, ROOMY);
        let playing = simulation.take(stream(Class::Chat, 1, &[SHORT; 4]));
        let mut owner = 1;
        while simulation.known.contains_key(&playing) {
            // Ever shorter ones, which go before what is in the slots.
            owner += 1;
            simulation.take(request(Class::Interactive, owner, &[LONG - (owner % 8) as usize * 20]));
            assert!(simulation.step());
        }
        assert_eq!(simulation.worst_gap, Duration::ZERO, "{max_slots} slots");
    }
}

#[test]
fn a_stream_without_a_slot_hurries_whoever_is_out_soonest() {
    let mut simulation = Simulation::new(Shape { max_slots: 2, ..STEPPED_ALONE }, ROOMY);
    let batch = simulation.take(request(Class::Batch, 1, &[LONG]));
    (0..6).for_each(|_| assert!(simulation.step()));
    let interactive = simulation.take(request(Class::Interactive, 2, &[LONG]));
    assert!(simulation.step());
    // 44 ms until the batch is out, 32 ms to make it, and what is kept in reserve.
    let dry_at = Some(simulation.now + ms(150.0));
    let goes_on = simulation.take(Request { dry_at, ..stream(Class::Chat, 3, &[SHORT]) });
    (0..2).for_each(|_| assert!(simulation.step()));
    assert!(simulation.finished.contains_key(&batch));
    (0..8).for_each(|_| assert!(simulation.step()));
    assert!(simulation.finished.contains_key(&goes_on) && simulation.known.contains_key(&interactive));
}

#[test]
fn what_another_engine_refused_goes_on_before_first_segments_when_it_must() {
    let mut simulation = whole();
    let first = simulation.take(request(Class::Interactive, 1, &[SHORT]));
    let goes_on = Request { dry_at: Some(ms(20.0)), ..stream(Class::Chat, 2, &[SHORT]) };
    let goes_on = simulation.take(goes_on);
    assert_eq!(simulation.order(), [(goes_on, 0), (first, 0)]);
}

#[test]
fn shortest_remaining_goes_first_between_steps() {
    let mut simulation = Simulation::new(STEPPED_ALONE, ROOMY);
    let long = simulation.take(request(Class::Chat, 1, &[LONG]));
    assert!(simulation.step());
    let short = simulation.take(request(Class::Chat, 2, &[SHORT]));
    (0..8).for_each(|_| assert!(simulation.step()));
    assert!(simulation.finished.contains_key(&short) && simulation.known.contains_key(&long));
    (0..4).for_each(|_| assert!(simulation.step()));
    let longer_than_what_is_left = simulation.take(request(Class::Chat, 3, &[LONG / 2]));
    (0..3).for_each(|_| assert!(simulation.step()));
    assert!(simulation.finished.contains_key(&long), "what is under way is left only for what is shorter");
    simulation.order();
    assert!(simulation.finished.contains_key(&longer_than_what_is_left));
}

#[test]
fn a_request_takes_several_slots_when_they_are_free() {
    let mut scheduler = Scheduler::new(ROOMY, STEPPED_SHARED);
    let id = scheduler.submit(Duration::ZERO, request(Class::Chat, 1, &[SHORT; 9])).unwrap();
    let plan = scheduler.plan(Duration::ZERO);
    let segments: Vec<_> = plan.admit.iter().map(|admission| (admission.request, admission.segment)).collect();
    assert_eq!(segments, [(id, 0), (id, 1), (id, 2)], "as many as the window allows");
    assert_eq!(plan.advance, [0, 1, 2]);
}

#[test]
fn a_window_opens_as_the_listener_reads() {
    let mut simulation = whole();
    simulation.eager = false;
    let id = simulation.take(request(Class::Chat, 1, &[SHORT; 5]));
    assert_eq!(simulation.order().len(), 3);
    simulation.deliver(id);
    assert_eq!(simulation.order(), [(id, 3), (id, 4)]);
}

#[test]
fn held_requests_let_others_by() {
    let mut simulation = whole();
    let held = simulation.take(request(Class::Interactive, 1, &[SHORT]));
    simulation.hold(held, true);
    let other = simulation.take(request(Class::Batch, 2, &[SHORT]));
    assert_eq!(simulation.order(), [(other, 0)]);
    simulation.hold(held, false);
    assert_eq!(simulation.order(), [(held, 0)]);
}

#[test]
fn a_promoted_request_moves_up() {
    let mut simulation = whole();
    let one = simulation.take(request(Class::Chat, 1, &[SHORT]));
    let two = simulation.take(request(Class::Batch, 2, &[SHORT]));
    simulation.promote(two, Class::Interactive);
    assert_eq!(simulation.order(), [(two, 0), (one, 0)]);
}

#[test]
fn a_listener_of_a_lower_class_does_not_move_a_request_down() {
    let mut simulation = whole();
    let chat = simulation.take(request(Class::Chat, 1, &[SHORT]));
    let interactive = simulation.take(request(Class::Interactive, 2, &[SHORT]));
    simulation.promote(interactive, Class::Batch);
    assert_eq!(simulation.order(), [(interactive, 0), (chat, 0)]);
}

#[test]
fn a_cancelled_slot_is_used_again_in_the_same_plan_with_another_ticket() {
    let shape = Shape { max_slots: 1, ..STEPPED_ALONE };
    let mut scheduler = Scheduler::new(ROOMY, shape);
    let one = scheduler.submit(Duration::ZERO, request(Class::Chat, 1, &[LONG, LONG])).unwrap();
    let first = scheduler.plan(Duration::ZERO).admit[0].clone();
    scheduler.admitted(first.ticket, 8);
    scheduler.cancel(one);
    scheduler.step_done(30.0);
    let two = scheduler.submit(ms(30.0), request(Class::Chat, 1, &[SHORT])).unwrap();
    let plan = scheduler.plan(ms(30.0));
    assert_eq!(plan.cancel, [(0, first.ticket)]);
    assert_eq!((plan.admit[0].slot, plan.admit[0].request), (0, two));
    assert_ne!(plan.admit[0].ticket, first.ticket);
    scheduler.chunk(ms(40.0), first.ticket, 9e9, true);
    assert_eq!(scheduler.slots_in_use(), 1, "a late event is not the successor's");
}

#[test]
fn a_slot_that_ended_before_its_cancellation_needs_none() {
    let mut scheduler = Scheduler::new(ROOMY, WHOLE_SEGMENTS);
    let id = scheduler.submit(Duration::ZERO, request(Class::Chat, 1, &[LONG])).unwrap();
    let ticket = scheduler.plan(Duration::ZERO).admit[0].ticket;
    scheduler.cancel(id);
    assert!(!scheduler.is_idle());
    scheduler.chunk(ms(85.0), ticket, 12_000.0, true);
    assert!(scheduler.is_idle());
    assert_eq!(scheduler.plan(ms(85.0)), Plan::default());
}

#[test]
fn what_did_not_start_by_its_deadline_is_given_up() {
    let mut simulation = whole();
    for _ in 0..9 {
        simulation.take(request(Class::Interactive, 1, &[LONG]));
    }
    let id = simulation.take(Request { deadline: Some(ms(300.0)), ..request(Class::Batch, 2, &[SHORT]) });
    let started = simulation.take(Request { deadline: Some(ms(300.0)), ..request(Class::Interactive, 3, &[LONG; 5]) });
    assert_eq!(simulation.scheduler.wake_at(), Some(ms(300.0)));
    let order = simulation.order();
    assert!(order.iter().all(|(request, _)| *request != id));
    assert!(order.contains(&(started, 4)), "one that started goes on");
}

#[test]
fn patience_ends() {
    let mut simulation = whole();
    let batch = simulation.take(request(Class::Batch, 1, &[LONG]));
    let mut owner = 1;
    while simulation.known.contains_key(&batch) {
        owner += 1;
        simulation.take(request(Class::Interactive, owner, &[LONG]));
        assert!(simulation.step());
    }
    let waited = simulation.now.as_secs_f64();
    assert!((60.0..60.5).contains(&waited), "{waited} s");
}

/// A stream that the engine cannot sustain is urgent for ever.
#[test]
fn streams_that_always_run_dry_do_not_keep_others_out() {
    let mut simulation = whole();
    simulation.slowness = 200.0;
    simulation.take(stream(Class::Interactive, 1, &[SHORT; 100]));
    (0..10).for_each(|_| assert!(simulation.step()));
    let other = simulation.take(request(Class::Chat, 2, &[SHORT]));
    let order = simulation.order();
    let place = order.iter().position(|segment| *segment == (other, 0)).unwrap();
    assert!((3..=8).contains(&place), "{place}: 8 s of patience are 3 segments, then 3 may go before");
}

#[test]
fn a_full_queue_refuses_at_once_and_says_when() {
    let limits = Limits { max_requests: 3, ..ROOMY };
    let mut simulation = Simulation::new(WHOLE_SEGMENTS, limits);
    for owner in 0..3 {
        simulation.take(request(Class::Chat, owner, &[100]));
    }
    let full = simulation.submit(request(Class::Interactive, 9, &[SHORT])).unwrap_err();
    assert_eq!(full.retry_after, ms(48.0), "one segment of 45 ms and some caution");
    assert!(simulation.step());
    assert!(simulation.submit(request(Class::Interactive, 9, &[SHORT])).is_ok());
}

#[test]
fn speech_is_bounded_but_one_request_always_fits() {
    let limits = Limits { max_speech_ms: 10_000.0, ..ROOMY };
    let mut simulation = Simulation::new(WHOLE_SEGMENTS, limits);
    let huge = simulation.take(request(Class::Chat, 1, &[LONG; 20]));
    let full = simulation.submit(request(Class::Chat, 2, &[SHORT])).unwrap_err();
    assert!((1_500..2_000).contains(&full.retry_after.as_millis()), "20 segments of 85 ms, less what may stay");
    simulation.cancel(huge);
    assert!(simulation.submit(request(Class::Chat, 2, &[SHORT])).is_ok());
}

#[test]
fn retry_after_follows_the_measured_speed() {
    let limits = Limits { max_requests: 3, ..ROOMY };
    let mut simulation = Simulation::new(WHOLE_SEGMENTS, limits);
    simulation.slowness = 4.0;
    simulation.take(request(Class::Chat, 1, &[100]));
    simulation.order();
    for owner in 0..3 {
        simulation.take(request(Class::Chat, owner, &[100]));
    }
    let full = simulation.submit(request(Class::Chat, 9, &[SHORT])).unwrap_err();
    assert_eq!(full.retry_after, ms(189.0));
}

#[test]
fn odd_requests_do_no_harm() {
    let mut scheduler = Scheduler::new(
        Limits { max_requests: 0, max_speech_ms: f64::NAN, window_segments: 0 },
        Shape { max_slots: 0, max_shared: 0, cost: Cost { steps: 0, ..WHOLE_SEGMENTS.cost } },
    );
    scheduler.submit(Duration::ZERO, request(Class::Chat, 1, &[])).unwrap();
    assert!(scheduler.is_idle(), "nothing to say is said at once");
    let mut odd = request(Class::Chat, 1, &[usize::MAX]);
    odd.segments[0].speed = f64::NAN;
    odd.dry_at = Some(Duration::MAX);
    odd.deadline = Some(Duration::MAX);
    let id = scheduler.submit(Duration::ZERO, odd).unwrap();
    assert!(scheduler.submit(Duration::ZERO, request(Class::Chat, 1, &[SHORT])).is_err());
    scheduler.delivered(id, usize::MAX);
    let ticket = scheduler.plan(ms(1.0)).admit[0].ticket;
    scheduler.admitted(ticket, 0);
    scheduler.chunk(Duration::MAX, ticket, f64::INFINITY, false);
    scheduler.step_done(f64::NAN);
    assert_eq!(scheduler.plan(Duration::ZERO).advance, [0], "time does not run backwards");
    scheduler.ended(ticket);
    scheduler.cancel(RequestId(77));
    assert!(scheduler.is_clean());
}

#[test]
fn the_step_under_way_is_estimated() {
    let mut scheduler = Scheduler::new(ROOMY, STEPPED_SHARED);
    for owner in 0..3 {
        let _ = scheduler.submit(Duration::ZERO, request(Class::Chat, owner, &[100]));
    }
    assert_eq!(scheduler.plan(Duration::ZERO).advance.len(), 3);
    assert_eq!(scheduler.step_estimate_ms(), 12.0, "6 ms for the step and 2 for each of three");
    scheduler.step_done(24.0);
    assert_eq!(scheduler.step_estimate_ms(), 0.0, "none is under way");
    scheduler.plan(ms(24.0));
    assert_eq!(scheduler.step_estimate_ms(), 24.0);
    scheduler.ended(Ticket(0));
    assert_eq!(scheduler.step_estimate_ms(), 20.0, "what was refused takes no part");
}

#[test]
fn a_segment_may_take_its_share_of_the_time_until_it_is_due() {
    let budgets = |waiting: u64| {
        let mut scheduler = Scheduler::new(ROOMY, WHOLE_SEGMENTS);
        for owner in 0..=waiting {
            scheduler.submit(ms(0.0), request(Class::Interactive, owner, &[SHORT])).expect("it should fit");
        }
        scheduler.plan(ms(500.0)).admit[0].budget_ms
    };
    // Patience of two seconds, of which half of one has gone.
    assert_eq!((budgets(0), budgets(2)), (1500.0, 500.0));

    let mut scheduler = Scheduler::new(ROOMY, WHOLE_SEGMENTS);
    let id = scheduler.submit(ms(0.0), stream(Class::Interactive, 1, &[SHORT, SHORT])).expect("it should fit");
    let first = scheduler.plan(ms(0.0)).admit.remove(0);
    scheduler.chunk(ms(100.0), first.ticket, 1200.0, true);
    // Twice what the cost model says: half of the budget, as the model counts.
    scheduler.step_done(2.0 * WHOLE_SEGMENTS.cost.steps_ms(1, SHORT));
    let next = scheduler.plan(ms(300.0)).admit.remove(0);
    assert_eq!((next.request, next.segment), (id, 1));
    assert_eq!(next.budget_ms, 500.0, "it plays until 1300 ms");
}
