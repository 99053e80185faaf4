use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::engine::FaultKind;

const KIB: u64 = 1024;

fn voice(name: &str) -> Arc<Voice> {
    Arc::new(of(name))
}

/// As it is in a request that brings it along.
fn brought(name: &str) -> Arc<Voice> {
    Arc::new(Voice { transient: true, ..of(name) })
}

fn of(name: &str) -> Voice {
    Voice {
        id: name.to_owned(),
        version: format!("version of {name}"),
        name: String::new(),
        description: String::new(),
        languages: Vec::new(),
        licence: String::new(),
        speed: 1.0,
        hints: BTreeMap::new(),
        reference: None,
        shape: Default::default(),
        transient: false,
    }
}

/// Holds three voices of `voice_bytes`.
const VOICE_BYTES: u64 = 10 * KIB;

fn small() -> Arc<Conditionings> {
    Conditionings::new("test", 3 * (VOICE_BYTES + OVERHEAD_BYTES))
}

/// Asks for it, prepares it if that is new, and lets go; gives whether it was.
fn use_once(books: &Arc<Conditionings>, name: &str) -> bool {
    let asked = books.get(&voice(name));
    if asked.is_new {
        assert_eq!(books.settle(asked.held.id, Ok((VOICE_BYTES, 5.0))).as_deref(), Some(name));
    }
    assert_eq!(*asked.outcome.borrow(), Some(Ok(())));
    asked.is_new
}

#[test]
fn the_least_recently_used_goes() {
    let books = small();
    for name in ["a", "b", "c"] {
        assert!(use_once(&books, name), "{name}");
    }
    assert!(!use_once(&books, "a"));
    assert!(use_once(&books, "d"), "takes the place of b");
    assert_eq!(books.take_dropped(), [ConditioningId(1)]);
    assert_eq!(books.take_dropped(), []);
    for (name, is_new) in [("a", false), ("c", false), ("d", false), ("b", true)] {
        assert_eq!(use_once(&books, name), is_new, "{name}");
    }
    assert_eq!(books.take_dropped(), [ConditioningId(0)]);
}

#[test]
fn what_is_held_stays_and_goes_later() {
    let books = small();
    let held: Vec<Held> = ["a", "b", "c", "d"]
        .map(|name| {
            let asked = books.get(&voice(name));
            books.settle(asked.held.id, Ok((VOICE_BYTES, 1.0)));
            asked.held
        })
        .into();
    assert_eq!(books.take_dropped(), [], "over the bound, as all are in use");
    drop(held);
    assert_eq!(books.take_dropped(), [ConditioningId(0)]);
    assert_eq!(books.books.lock().bytes, 3 * (VOICE_BYTES + OVERHEAD_BYTES));
}

#[test]
fn what_a_request_brings_along_goes_with_it() {
    let books = small();
    use_once(&books, "a");
    use_once(&books, "b");
    for number in 0..5 {
        let own = books.get(&brought(&number.to_string()));
        assert!(own.is_new);
        let meanwhile = books.get(&brought(&number.to_string()));
        assert!(!meanwhile.is_new);
        books.settle(own.held.id, Ok((VOICE_BYTES, 1.0)));
        let id = own.held.id;
        drop(own);
        assert!(!books.get(&brought(&number.to_string())).is_new, "it is still held");
        assert_eq!(books.take_dropped(), []);
        drop(meanwhile);
        assert_eq!(books.take_dropped(), [id]);
    }
    assert_eq!(books.books.lock().bytes, 2 * (VOICE_BYTES + OVERHEAD_BYTES));
    assert!(!use_once(&books, "a") && !use_once(&books, "b"));
}

#[test]
fn what_was_left_before_it_was_prepared_goes_then() {
    let books = small();
    let own = books.get(&brought("clip"));
    let id = own.held.id;
    drop(own);
    assert_eq!(books.take_dropped(), []);
    books.settle(id, Ok((VOICE_BYTES, 1.0)));
    assert_eq!(books.take_dropped(), [id]);
    assert!(books.get(&brought("clip")).is_new);
}

#[test]
fn a_clip_that_is_a_voice_of_the_library_as_well_is_kept() {
    let books = small();
    let own = books.get(&brought("a"));
    books.settle(own.held.id, Ok((VOICE_BYTES, 1.0)));
    assert!(!use_once(&books, "a"));
    drop(own);
    drop(books.get(&brought("a")));
    assert!(!use_once(&books, "a"));
}

#[test]
fn what_is_pinned_stays_until_it_is_not() {
    let books = small();
    books.pin(&[voice("a"), voice("b")]);
    for name in ["a", "b", "c", "d", "e", "f"] {
        use_once(&books, name);
    }
    assert!(!use_once(&books, "a") && !use_once(&books, "b") && !use_once(&books, "f"));
    books.pin(&[voice("b"), voice("f")]);
    for name in ["g", "h"] {
        use_once(&books, name);
    }
    assert!(!use_once(&books, "b") && !use_once(&books, "f"));
    assert!(use_once(&books, "a"));
}

#[test]
fn one_that_is_too_large_is_used_and_not_kept() {
    let books = Conditionings::new("test", 0);
    assert!(use_once(&books, "a"));
    assert!(use_once(&books, "a"));
    assert_eq!(books.take_dropped(), [ConditioningId(0), ConditioningId(1)]);
    assert_eq!(books.books.lock().bytes, 0);
}

#[test]
fn sizes_that_cannot_be_do_not_break_the_books() {
    let books = small();
    let held = ["a", "b", "c"].map(|name| {
        let asked = books.get(&voice(name));
        books.settle(asked.held.id, Ok((u64::MAX, 1.0)));
        asked.held
    });
    drop(held);
    assert_eq!(books.take_dropped().len(), 3);
    assert_eq!(books.books.lock().bytes, 0);
}

#[test]
fn those_who_ask_meanwhile_share_it_and_a_fault_is_forgotten() {
    let books = small();
    let (first, second) = (books.get(&voice("a")), books.get(&voice("a")));
    assert!(first.is_new && !second.is_new && second.held.id == first.held.id);
    books.pin(&[voice("a"), voice("b")]);
    assert_eq!(books.settled(&[voice("a"), voice("b")]), 0, "b was never asked for");
    let fault = Fault { kind: FaultKind::Invalid, message: "no".to_owned() };
    books.settle(first.held.id, Err(fault.clone()));
    assert_eq!(*second.outcome.borrow(), Some(Err(fault)));
    assert_eq!(books.settled(&[voice("a"), voice("b")]), 1, "a was given up");
    let again = books.get(&voice("a"));
    assert!(again.is_new);
    // What was held before is not what is held now.
    drop((first, second));
    books.settle(again.held.id, Ok((1, 1.0)));
    assert_eq!(books.books.lock().by_version["version of a"].holders, 1);
}

#[test]
fn those_who_wait_are_told_when_the_engine_is_gone() {
    let books = small();
    let asked = books.get(&voice("a"));
    books.close();
    assert!(asked.outcome.has_changed().is_err());
    drop(asked);
    assert_eq!(books.settle(ConditioningId(0), Ok((1, 1.0))), None);
    assert_eq!(books.get(&voice("b")).held.id, ConditioningId(1), "never an id twice");
}

proptest! {
    #[test]
    fn the_books_balance(steps in proptest::collection::vec((0usize..12, 0u8..5, 0u64..40 * KIB), 1..200)) {
        let books = Conditionings::new("test", 64 * KIB);
        let names: Vec<String> = (0..12).map(|name| name.to_string()).collect();
        let mut held: Vec<(usize, Asked)> = Vec::new();
        let mut known = std::collections::HashSet::new();
        for (name, what, nbytes) in steps {
            match what {
                0 | 1 | 4 => {
                    let voice = if what == 4 { brought } else { voice };
                    let asked = books.get(&voice(&names[name]));
                    if asked.is_new {
                        prop_assert!(known.insert(asked.held.id));
                        books.settle(asked.held.id, Ok((nbytes, 1.0)));
                    }
                    held.push((name, asked));
                }
                2 => {
                    if let Some(at) = held.iter().position(|(of, _)| *of == name) {
                        held.swap_remove(at);
                    }
                }
                _ => books.pin(&[voice(&names[name])]),
            }
            for id in books.take_dropped() {
                prop_assert!(known.remove(&id) && held.iter().all(|(_, asked)| asked.held.id != id));
            }
            let inside = books.books.lock();
            prop_assert_eq!(inside.bytes, inside.by_version.values().map(|entry| entry.bytes).sum::<u64>());
            prop_assert_eq!(known.len(), inside.by_version.len());
            let kept = |version: &String, entry: &Entry| entry.holders > 0 || inside.pinned.contains(version);
            let idle = inside.by_version.iter().filter(|(version, entry)| !kept(version, entry)).count();
            prop_assert_eq!(idle, inside.idle.len());
            prop_assert!(inside.by_version.iter().all(|(version, entry)| !entry.transient || kept(version, entry)));
            prop_assert!(inside.bytes <= 64 * KIB || idle == 0);
        }
    }
}
