//! What holds whatever comes. The simulation checks every plan: slots, tickets, order, windows, bounds and that all
//! work is done that could be.

use std::time::Duration;

use proptest::prelude::*;

use super::{
    simulation::{ROOMY, STEPPED_ALONE, STEPPED_SHARED, Simulation, WHOLE_SEGMENTS, ms, request, stream},
    *,
};

#[derive(Debug, Clone)]
enum Act {
    Submit(Request),
    Cancel(usize),
    Hold(usize, bool),
    Deliver(usize),
    Promote(usize, Class),
    Open(usize),
    Extend(usize, Vec<usize>),
    Close(usize),
    Idle(u64),
    Step,
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![Just(Class::Interactive), Just(Class::ChatPaid), Just(Class::Chat), Just(Class::Batch)]
}

fn any_request() -> impl Strategy<Value = Request> {
    let segments = prop::collection::vec((1usize..120, prop_oneof![Just(1.0), Just(0.25), Just(4.0)]), 0..6);
    let time = || prop::option::weighted(0.3, (0u64..20_000).prop_map(Duration::from_millis));
    (class(), 0u64..4, any::<bool>(), time(), time(), segments).prop_map(
        |(class, owner, streamed, deadline, dry_at, segments)| Request {
            class,
            owner: Owner(owner),
            streamed,
            deadline,
            dry_at,
            segments: segments.into_iter().map(|(chars, speed)| Work { chars, speed }).collect(),
        },
    )
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => any_request().prop_map(Act::Submit),
        1 => any::<usize>().prop_map(Act::Cancel),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(pick, held)| Act::Hold(pick, held)),
        3 => any::<usize>().prop_map(Act::Deliver),
        1 => (any::<usize>(), class()).prop_map(|(pick, class)| Act::Promote(pick, class)),
        2 => any::<usize>().prop_map(Act::Open),
        2 => (any::<usize>(), prop::collection::vec(1usize..120, 0..4))
            .prop_map(|(pick, chars)| Act::Extend(pick, chars)),
        1 => any::<usize>().prop_map(Act::Close),
        1 => (0u64..5_000).prop_map(Act::Idle),
        8 => Just(Act::Step),
    ]
}

fn any_shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        Just(WHOLE_SEGMENTS),
        Just(STEPPED_ALONE),
        Just(STEPPED_SHARED),
        Just(Shape { max_slots: 1, ..STEPPED_ALONE }),
        Just(Shape { max_slots: 3, max_shared: 2, ..STEPPED_SHARED }),
    ]
}

fn any_limits() -> impl Strategy<Value = Limits> {
    (0usize..12, 0.0f64..60_000.0, 0usize..5).prop_map(|(max_requests, max_speech_ms, window_segments)| Limits {
        max_requests,
        max_speech_ms,
        window_segments,
    })
}

fn perform(simulation: &mut Simulation, act: Act) {
    let ids: Vec<RequestId> = simulation.known.keys().copied().collect();
    let pick = |pick: usize| (!ids.is_empty()).then(|| ids[pick % ids.len()]);
    match act {
        Act::Submit(request) => match simulation.submit(request) {
            Ok(_) => {}
            Err(full) => assert!(full.retry_after > Duration::ZERO && full.retry_after < Duration::from_secs(3_600)),
        },
        Act::Cancel(index) => pick(index).into_iter().for_each(|id| simulation.cancel(id)),
        Act::Hold(index, held) => pick(index).into_iter().for_each(|id| simulation.hold(id, held)),
        Act::Deliver(index) => pick(index).into_iter().for_each(|id| simulation.deliver(id)),
        Act::Promote(index, class) => pick(index).into_iter().for_each(|id| simulation.promote(id, class)),
        Act::Open(index) => pick(index).into_iter().for_each(|id| simulation.open(id)),
        Act::Extend(index, chars) => {
            let segments: Vec<Work> = chars.into_iter().map(|chars| Work { chars, speed: 1.0 }).collect();
            if let Some(Err(full)) = pick(index).map(|id| simulation.extend(id, &segments)) {
                assert!(full.retry_after > Duration::ZERO && full.retry_after < Duration::from_secs(3_600));
            }
        }
        Act::Close(index) => pick(index).into_iter().for_each(|id| simulation.close(id)),
        Act::Idle(idle_ms) => simulation.now += Duration::from_millis(idle_ms),
        Act::Step => {
            simulation.step();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn anything_may_happen_and_everything_ends(
        shape in any_shape(),
        limits in any_limits(),
        slowness in 0.2f64..5.0,
        acts in prop::collection::vec(act(), 1..120),
    ) {
        let mut simulation = Simulation::new(shape, limits);
        (simulation.eager, simulation.faults, simulation.slowness) = (false, true, slowness);
        acts.into_iter().for_each(|act| perform(&mut simulation, act));
        simulation.drain();
    }

    #[test]
    fn a_flood_delays_another_owner_by_the_step_under_way(
        class in class(),
        flood in prop::collection::vec(prop::collection::vec(1usize..150, 1..5), 5..60),
        steps in 1usize..60,
    ) {
        let mut simulation = Simulation::new(WHOLE_SEGMENTS, ROOMY);
        for chars in &flood {
            simulation.submit(request(class, 1, chars)).unwrap();
        }
        for _ in 0..steps {
            simulation.step();
        }
        // Less than the patience of a further segment, so that nothing is due.
        prop_assert!(simulation.now < Duration::from_secs(8));
        let single = simulation.submit(request(class, 2, &[50])).unwrap();
        let before = simulation.admitted.len();
        simulation.step();
        prop_assert_eq!(&simulation.admitted[before..], [(single, 0)]);
    }

    /// Arrivals of streams and of whole texts at up to three quarters of what the engine can do.
    #[test]
    fn listeners_hear_no_gap_when_there_is_time(
        shape in any_shape(),
        slowness in 0.5f64..2.0,
        arrivals in prop::collection::vec((class(), any::<bool>(), prop::collection::vec(20usize..150, 1..5), 0.5f64..1.5), 1..80),
    ) {
        let mut simulation = Simulation::new(shape, ROOMY);
        simulation.slowness = slowness;
        // So that the engine's speed is known.
        simulation.submit(request(Class::Batch, 0, &[50; 10])).unwrap();
        while simulation.step() {}
        let (mut owner, mut at) = (0, simulation.now);
        for (class, streamed, chars, spread) in arrivals {
            simulation.run_until(at);
            simulation.now = simulation.now.max(at);
            owner += 1;
            simulation.submit(Request { streamed, ..request(class, owner, &chars) }).unwrap();
            let cost_ms: f64 = chars.iter().map(|chars| shape.cost.steps_ms(shape.cost.steps, *chars)).sum();
            at += ms(cost_ms * slowness * spread / 0.75);
        }
        simulation.drain();
        prop_assert_eq!(simulation.worst_gap, Duration::ZERO);
    }

    #[test]
    fn whoever_waits_as_told_is_taken(
        shape in prop_oneof![Just(WHOLE_SEGMENTS), Just(STEPPED_ALONE)],
        slowness in 0.3f64..3.0,
        max_requests in 1usize..30,
        max_speech_ms in 1_000.0f64..200_000.0,
        texts in prop::collection::vec((class(), 0u64..6, any::<bool>(), prop::collection::vec(1usize..150, 1..6)), 1..60),
        steps in 0usize..20,
        refused in prop::collection::vec(1usize..150, 1..6),
    ) {
        let mut simulation = Simulation::new(shape, Limits { max_requests, max_speech_ms, window_segments: 3 });
        simulation.slowness = slowness;
        simulation.submit(request(Class::Batch, 0, &[50; 3])).unwrap();
        while simulation.step() {}
        for (class, owner, streamed, chars) in texts {
            let _ = simulation.submit(Request { streamed, ..request(class, owner, &chars) });
        }
        for _ in 0..steps {
            simulation.step();
        }
        if let Err(full) = simulation.submit(request(Class::Interactive, 9, &refused)) {
            let at = simulation.now + full.retry_after;
            simulation.run_until(at);
            simulation.now = simulation.now.max(at);
            prop_assert!(simulation.submit(stream(Class::Interactive, 9, &refused)).is_ok(), "{full:?}");
        }
    }
}

proptest! {
    // Long runs.
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever waits is heard within its patience and one turn of everybody else whose patience ended before, however
    /// much comes later and however urgent.
    #[test]
    fn nothing_starves(
        shape in any_shape(),
        class in class(),
        flood in class(),
        streamed in any::<bool>(),
        owners in 1u64..20,
        chars in 10usize..200,
    ) {
        let mut simulation = Simulation::new(shape, Limits { max_requests: 60, ..ROOMY });
        // Slower than real time: streams are urgent always.
        simulation.slowness = if streamed { 200.0 } else { 20.0 };
        let flooding = |owner| Request { streamed, ..request(flood, owner, &[chars; 4]) };
        let mut owner = 0;
        let mut top_up = |simulation: &mut Simulation| {
            while simulation.known.len() < 40 {
                owner += 1;
                simulation.submit(flooding(100 + owner % owners)).unwrap();
            }
        };
        top_up(&mut simulation);
        for _ in 0..20 {
            simulation.step();
        }
        let id = simulation.submit(request(class, 1, &[chars; 2])).unwrap();
        let lone_s = shape.cost.steps_ms(shape.cost.steps, chars) * simulation.slowness / 1e3;
        let patience_s: u64 = [true, false].map(|first| PATIENCE_S[lane_of(class, first)]).iter().sum();
        // Twice 41 requests of which each may have one head or slot before it, at one turn in four.
        let bound = simulation.now + Duration::from_secs(patience_s) + Duration::from_secs_f64(2.0 * 4.0 * 60.0 * lone_s);
        while simulation.known.contains_key(&id) {
            prop_assert!(simulation.now < bound, "{:?} are over", bound);
            top_up(&mut simulation);
            simulation.step();
        }
    }
}
