use proptest::prelude::*;

use super::*;
use crate::chat::{Amount, Platform, item::Item, item::MessageKey};

const LIMITS: Limits =
    Limits { max_waiting: 1000, max_paid: 1000, max_held: 10, max_age_ms: Some(60_000), approval_timeout_ms: 5_000 };

fn item(sequence: Sequence, user: &str, priority: Priority) -> Arc<Numbered> {
    let item = Item {
        message: MessageKey { platform: Platform::Api, id: sequence.to_string() },
        channel: String::new(),
        user: UserKey { platform: Platform::Api, id: user.to_owned() },
        user_name: user.to_owned(),
        user_login: String::new(),
        shown_name: String::new(),
        masked: false,
        text: "Hi".to_owned(),
        speech: "Hi".to_owned(),
        language: None,
        engine: None,
        voice: None,
        priority,
        paid: (priority == Priority::Paid).then(|| Amount { micros: 1, currency: "EUR".to_owned() }),
        rule: String::new(),
        reason: String::new(),
        arrived_ms: sequence,
    };
    Arc::new(Numbered { sequence, item })
}

fn order(queue: &mut Queue) -> Vec<Sequence> {
    std::iter::from_fn(|| queue.pop()).map(|item| item.sequence).collect()
}

#[test]
fn who_paid_comes_first_then_moderators_then_subscribers() {
    let mut queue = Queue::new(LIMITS);
    let levels = [Priority::Everyone, Priority::Subscriber, Priority::Moderator, Priority::Paid, Priority::Everyone];
    for (sequence, level) in levels.into_iter().enumerate() {
        assert!(queue.push(item(sequence as u64, &format!("u{sequence}"), level)).is_empty());
    }
    assert_eq!(order(&mut queue), [3, 2, 1, 0, 4]);
}

#[test]
fn a_hundred_messages_delay_another_user_by_one() {
    let mut queue = Queue::new(LIMITS);
    (0..100).for_each(|sequence| drop(queue.push(item(sequence, "flood", Priority::Everyone))));
    (0..5).for_each(|_| drop(queue.pop()));
    queue.push(item(100, "guest", Priority::Everyone));
    let next: Vec<_> = order(&mut queue).into_iter().take(2).collect();
    assert!(next.contains(&100), "{next:?}");
}

#[test]
fn what_was_interrupted_starts_again_first() {
    let mut queue = Queue::new(LIMITS);
    queue.push(item(1, "a", Priority::Paid));
    queue.put_back(item(7, "b", Priority::Everyone));
    queue.put_back(item(5, "b", Priority::Everyone));
    assert_eq!(order(&mut queue), [5, 7, 1]);
}

#[test]
fn a_full_queue_drops_the_oldest_of_whoever_has_most_and_says_so() {
    let mut queue = Queue::new(Limits { max_waiting: 4, ..LIMITS });
    for (sequence, user) in ["a", "b", "b", "b"].into_iter().enumerate() {
        assert!(queue.push(item(sequence as u64, user, Priority::Everyone)).is_empty());
    }
    queue.push(item(10, "c", Priority::Paid));
    let gone = queue.push(item(11, "d", Priority::Everyone));
    assert_eq!(gone.len(), 1);
    assert_eq!((gone[0].item.sequence, gone[0].outcome), (1, Outcome::Dropped));
    assert!(gone[0].reason.contains("full"), "{}", gone[0].reason);
    let gone = queue.push(item(12, "e", Priority::Moderator));
    assert_eq!(gone[0].item.sequence, 2, "of the lowest level");
    let (_, gone): (Vec<_>, Vec<_>) =
        (13..16).map(|sequence| (sequence, queue.push(item(sequence, "m", Priority::Moderator)))).unzip();
    assert_eq!(gone.concat().iter().map(|gone| gone.item.sequence).collect::<Vec<_>>(), [0, 3, 11]);
    let gone = queue.push(item(20, "z", Priority::Everyone));
    assert_eq!(gone[0].item.sequence, 20, "who comes with less than all that waits is not taken");
}

#[test]
fn paid_items_are_refused_not_dropped() {
    let mut queue = Queue::new(Limits { max_paid: 1, max_waiting: 1, ..LIMITS });
    assert_eq!(queue.check_paid(), Ok(()));
    assert!(queue.push(item(1, "a", Priority::Paid)).is_empty());
    assert_eq!(queue.check_paid(), Err(Full));
    (2..5).for_each(|sequence| drop(queue.push(item(sequence, "b", Priority::Everyone))));
    assert!(queue.find(1).is_some());
    queue.pop();
    assert_eq!(queue.check_paid(), Ok(()));
}

#[test]
fn approval_has_a_time_limit() {
    let mut queue = Queue::new(LIMITS);
    assert!(queue.hold(item(1, "a", Priority::Everyone), 100).is_none());
    assert!(queue.hold(item(2, "a", Priority::Everyone), 2_000).is_none());
    assert_eq!(queue.len(), 0, "what is held is not heard");
    assert!(queue.expire(5_099).is_empty());
    let gone = queue.expire(5_100);
    assert_eq!((gone.len(), gone[0].item.sequence, gone[0].outcome), (1, 1, Outcome::Rejected));
    let approved = queue.approve(2).expect("held");
    queue.push(approved);
    assert_eq!(queue.approve(2), None, "once");
    assert_eq!(order(&mut queue), [2]);
}

#[test]
fn what_was_paid_for_waits_for_approval_for_ever() {
    let mut queue = Queue::new(Limits { max_paid: 2, max_held: 1, ..LIMITS });
    queue.push(item(1, "a", Priority::Paid));
    assert!(queue.hold(item(2, "a", Priority::Paid), 0).is_none());
    assert_eq!(queue.check_paid(), Err(Full), "held ones are counted");
    assert!(queue.hold(item(3, "a", Priority::Everyone), 0).is_none(), "paid ones take nobody's place");
    let gone: Vec<_> = queue.expire(u64::MAX).into_iter().map(|gone| gone.item.sequence).collect();
    assert_eq!(gone, [3]);
    assert_eq!(queue.held().map(|(item, until_ms)| (item.sequence, until_ms)).collect::<Vec<_>>(), [(2, None)]);
    let approved = queue.approve(2).expect("held");
    queue.push(approved);
    assert_eq!(queue.check_paid(), Err(Full));
}

#[test]
fn old_unpaid_items_go_and_paid_ones_stay() {
    let mut queue = Queue::new(LIMITS);
    queue.push(item(1, "a", Priority::Everyone));
    queue.push(item(2, "a", Priority::Paid));
    queue.push(item(50_000, "a", Priority::Everyone));
    let gone = queue.expire(60_001);
    assert_eq!(gone.iter().map(|gone| gone.item.sequence).collect::<Vec<_>>(), [1]);
    assert_eq!(order(&mut queue), [2, 50_000]);
}

#[test]
fn who_takes_a_message_back_does_not_lose_the_turn() {
    let mut queue = Queue::new(LIMITS);
    (1..50).for_each(|sequence| drop(queue.push(item(sequence, "a", Priority::Everyone))));
    assert_eq!(queue.withdraw(|item| item.item.user.id == "a").len(), 49);
    queue.push(item(60, "b", Priority::Everyone));
    queue.push(item(61, "b", Priority::Everyone));
    queue.push(item(62, "a", Priority::Everyone));
    assert_eq!(order(&mut queue), [60, 62, 61]);
}

#[derive(Debug, Clone)]
enum Step {
    Push { user: u8, level: u8 },
    Hold { user: u8, level: u8 },
    Pop,
    Remove(u64),
    WithdrawUser(u8),
    Approve(u64),
    Expire(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..4_u8, 0..4_u8).prop_map(|(user, level)| Step::Push { user, level }),
        1 => (0..4_u8, 0..4_u8).prop_map(|(user, level)| Step::Hold { user, level }),
        4 => Just(Step::Pop),
        1 => (0..60_u64).prop_map(Step::Remove),
        1 => (0..4_u8).prop_map(Step::WithdrawUser),
        1 => (0..60_u64).prop_map(Step::Approve),
        1 => (0..100_000_u64).prop_map(Step::Expire),
    ];
    prop::collection::vec(step, 0..120)
}

const LEVELS: [Priority; 4] = [Priority::Paid, Priority::Moderator, Priority::Subscriber, Priority::Everyone];

proptest! {
    /// Nothing is lost, nothing comes twice, nothing paid is dropped, and nothing waits beyond the bounds.
    #[test]
    fn every_item_leaves_exactly_once(steps in steps(), max_waiting in 1..12_usize) {
        let mut queue = Queue::new(Limits { max_waiting, max_held: 3, ..LIMITS });
        let mut inside = std::collections::BTreeMap::new();
        let mut next = 0;
        for step in steps {
            match step {
                Step::Push { user, level } => {
                    let item = item(next, &format!("u{user}"), LEVELS[usize::from(level)]);
                    inside.insert(next, Arc::clone(&item));
                    next += 1;
                    for gone in queue.push(item) {
                        prop_assert!(!gone.item.is_paid());
                        prop_assert!(inside.remove(&gone.item.sequence).is_some());
                    }
                }
                Step::Hold { user, level } => {
                    let item = item(next, &format!("u{user}"), LEVELS[usize::from(level)]);
                    inside.insert(next, Arc::clone(&item));
                    next += 1;
                    if let Some(gone) = queue.hold(item, 0) {
                        prop_assert!(!gone.item.is_paid());
                        prop_assert!(inside.remove(&gone.item.sequence).is_some());
                    }
                }
                Step::Pop => {
                    let first = queue.upcoming().next().map(|item| item.sequence);
                    let popped = queue.pop();
                    prop_assert_eq!(first, popped.as_ref().map(|item| item.sequence));
                    if let Some(item) = popped {
                        let best = queue.upcoming().map(|item| item.item.priority).min();
                        prop_assert!(best.is_none_or(|best| item.item.priority <= best));
                        prop_assert!(inside.remove(&item.sequence).is_some());
                    }
                }
                Step::Remove(sequence) => {
                    let found = queue.find(sequence).is_some();
                    prop_assert_eq!(queue.remove(sequence).is_some(), found);
                    prop_assert_eq!(inside.remove(&sequence).is_some(), found);
                }
                Step::WithdrawUser(user) => {
                    let name = format!("u{user}");
                    for item in queue.withdraw(|item| item.item.user.id == name) {
                        prop_assert!(inside.remove(&item.sequence).is_some());
                    }
                    prop_assert!(inside.values().all(|item| item.item.user.id != name));
                }
                Step::Approve(sequence) => {
                    if let Some(item) = queue.approve(sequence) {
                        for gone in queue.push(item) {
                            prop_assert!(inside.remove(&gone.item.sequence).is_some());
                        }
                    }
                }
                Step::Expire(now_ms) => {
                    for gone in queue.expire(now_ms) {
                        prop_assert!(!gone.item.is_paid());
                        prop_assert!(inside.remove(&gone.item.sequence).is_some());
                    }
                }
            }
            let unpaid = queue.upcoming().filter(|item| !item.is_paid()).count();
            prop_assert!(unpaid <= max_waiting);
            prop_assert_eq!(queue.len() + queue.held_len(), inside.len());
        }
        let left = order(&mut queue).len();
        prop_assert_eq!(left + queue.held_len(), inside.len());
    }

    /// However much others have, whoever comes new waits for at most one item of each of them.
    #[test]
    fn a_newcomer_waits_for_at_most_one_of_each(
        before in prop::collection::vec(prop::option::weighted(0.7, 0..5_u8), 0..150),
    ) {
        let mut queue = Queue::new(LIMITS);
        for (sequence, step) in before.into_iter().enumerate() {
            match step {
                Some(user) => drop(queue.push(item(sequence as u64, &format!("u{user}"), Priority::Everyone))),
                None => drop(queue.pop()),
            }
        }
        queue.push(item(1_000, "new", Priority::Everyone));
        let mut heard: HashMap<String, usize> = HashMap::new();
        while let Some(item) = queue.pop().filter(|item| item.sequence != 1_000) {
            *heard.entry(item.item.user.id.clone()).or_default() += 1;
        }
        prop_assert!(heard.values().all(|count| *count <= 1), "{:?}", heard);
    }

    /// One user's items are heard in the order in which they came.
    #[test]
    fn a_user_is_heard_in_order(before in prop::collection::vec(prop::option::weighted(0.7, 0..3_u8), 0..100)) {
        let mut queue = Queue::new(LIMITS);
        let mut last: HashMap<String, Sequence> = HashMap::new();
        let mut check = |item: Arc<Numbered>| {
            let earlier = last.insert(item.item.user.id.clone(), item.sequence);
            earlier.is_none_or(|earlier| earlier < item.sequence)
        };
        for (sequence, step) in before.into_iter().enumerate() {
            match step {
                Some(user) => drop(queue.push(item(sequence as u64, &format!("u{user}"), Priority::Everyone))),
                None => prop_assert!(queue.pop().is_none_or(&mut check)),
            }
        }
        while let Some(item) = queue.pop() {
            prop_assert!(check(item));
        }
    }
}
