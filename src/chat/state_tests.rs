use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;
use serde_json::Value;
use tokio::sync::mpsc;

use super::*;
use crate::chat::{Amount, Platform, item::Item, overlays::Told, queue::Limits, rules::Priority};
use crate::{config::ChatVoices, voices::Library};

const LIMITS: Limits =
    Limits { max_waiting: 6, max_paid: 100, max_held: 3, max_age_ms: None, approval_timeout_ms: 60_000 };

fn item(sequence: Sequence, user: u8, paid: bool) -> Arc<Numbered> {
    let user = format!("u{user}");
    let item = Item {
        message: MessageKey { platform: Platform::Api, id: sequence.to_string() },
        channel: String::new(),
        user: UserKey { platform: Platform::Api, id: user.clone() },
        user_name: user,
        user_login: String::new(),
        shown_name: String::new(),
        masked: false,
        text: "Hi".to_owned(),
        speech: "Hi".to_owned(),
        language: None,
        engine: None,
        voice: None,
        priority: if paid { Priority::Paid } else { Priority::Everyone },
        paid: paid.then(|| Amount { micros: 1, currency: "EUR".to_owned() }),
        rule: String::new(),
        reason: String::new(),
        arrived_ms: now_ms(),
    };
    Arc::new(Numbered { sequence, item })
}

#[derive(Debug, Clone)]
enum Step {
    Admit { user: u8, paid: bool, hold: bool },
    Connect(u8),
    Plain,
    Leave(usize),
    Started(u64),
    Finished(u64),
    Failed(u64),
    Skip(u64),
    GiveUp,
    Withdraw(u8),
    Pause(bool),
    Approve(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let sequence = || 1..40_u64;
    let step = prop_oneof![
        8 => (0..4_u8, any::<bool>(), prop::bool::weighted(0.1))
            .prop_map(|(user, paid, hold)| Step::Admit { user, paid, hold }),
        2 => (0..3_u8).prop_map(Step::Connect),
        1 => Just(Step::Plain),
        2 => (0..4_usize).prop_map(Step::Leave),
        2 => sequence().prop_map(Step::Started),
        5 => sequence().prop_map(Step::Finished),
        1 => sequence().prop_map(Step::Failed),
        1 => sequence().prop_map(Step::Skip),
        2 => Just(Step::GiveUp),
        1 => (0..4_u8).prop_map(Step::Withdraw),
        1 => any::<bool>().prop_map(Step::Pause),
        1 => sequence().prop_map(Step::Approve),
    ];
    prop::collection::vec(step, 0..80)
}

/// What one listener was told.
#[derive(Default)]
struct Seen {
    speaking: bool,
    stopped: BTreeSet<u64>,
}

fn state(store: &Arc<Store>) -> State {
    let names = Names { epoch: "e".to_owned(), token: "t".to_owned() };
    let mut state = State::new(Beginning {
        desk: Weak::new(),
        names: Arc::new(names),
        store: Arc::clone(store),
        queue: Queue::new(LIMITS),
        window: 2,
        grace: Duration::ZERO,
        ack_grace: None,
        enabled: true,
        paused: false,
        volume: 1.0,
        muted: HashMap::new(),
        voices: Voices::new(&ChatVoices::default(), &Library::default(), Vec::new()),
        nicknames: HashMap::new(),
        ended: Vec::new(),
    });
    state.ready = true;
    state
}

fn read(
    listeners: &mut BTreeMap<Connection, (mpsc::Receiver<Told>, Seen)>,
    ended: &BTreeSet<u64>,
) -> Result<(), TestCaseError> {
    for (told, seen) in listeners.values_mut() {
        while let Ok(event) = told.try_recv() {
            let event: Value = serde_json::from_str(&event).expect("JSON");
            let sequence = || event["id"].as_str().and_then(|id| id.strip_prefix("e-")?.parse().ok()).expect("an id");
            match event["type"].as_str().expect("a type") {
                "hello" | "role" => seen.speaking = event["speaking"] == true,
                "stop" => drop(seen.stopped.insert(sequence())),
                "item" => {
                    prop_assert!(!seen.stopped.contains(&sequence()), "{event} after its stop");
                    prop_assert!(!ended.contains(&sequence()), "{event} after its end");
                }
                _ => {}
            }
        }
    }
    let speaking = listeners.values().filter(|(_, seen)| seen.speaking).count();
    prop_assert!(speaking <= 1, "{speaking} speak");
    Ok(())
}

async fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _) = Store::open(&directory.path().join("chat"), 100).expect("a database");
    let mut state = state(&Arc::new(store));
    let mut listeners: BTreeMap<Connection, (mpsc::Receiver<Told>, Seen)> = BTreeMap::new();
    let mut admitted = 0;
    for step in steps {
        // Those that were ended before the step must not be told of any more.
        let ended: BTreeSet<u64> = state.ended.iter().map(|ended| ended.item.sequence).collect();
        match step {
            Step::Admit { user, paid, hold } => {
                admitted += 1;
                state.admit(&item(admitted, user, paid), hold);
            }
            Step::Connect(_) | Step::Plain => {
                let kind = match step {
                    Step::Connect(name) => Kind::Overlay(format!("o{name}").into()),
                    _ => Kind::Plain,
                };
                let (connection, told) = state.overlays.join(kind.clone(), Instant::now());
                state.greet(connection, &kind, "x");
                listeners.insert(connection, (told, Seen::default()));
            }
            Step::Leave(index) => {
                if let Some(connection) = listeners.keys().nth(index).copied() {
                    state.overlays.leave(connection, Instant::now());
                    listeners.remove(&connection);
                    state.pump();
                }
            }
            Step::Started(sequence) => drop(state.started(sequence)),
            Step::Finished(sequence) => {
                if let Some(item) = state.finished(sequence, true) {
                    state.show_ended(Gone { item, outcome: Outcome::Finished, reason: String::new() });
                }
                state.pump();
            }
            Step::Failed(sequence) => drop(state.failed(sequence, "it failed")),
            Step::Skip(sequence) => drop(state.end_item(sequence, Outcome::Skipped, "skipped")),
            Step::GiveUp => {
                let playing = state.current().map(|lease| lease.item.sequence);
                playing.into_iter().for_each(|sequence| state.give_up(sequence, Duration::ZERO));
            }
            Step::Withdraw(user) => {
                let name = format!("u{user}");
                state.withdraw(None, |item| item.item.user.id == name, "muted");
            }
            Step::Pause(paused) => {
                state.paused = paused;
                state.pump();
            }
            Step::Approve(sequence) => {
                if let Some(item) = state.queue.approve(sequence) {
                    let gone = state.queue.push(item);
                    gone.into_iter().for_each(|gone| state.end_soon(gone));
                    state.pump();
                }
            }
        }
        read(&mut listeners, &ended)?;
        let mut once = BTreeSet::new();
        for ended in &state.ended {
            prop_assert!(once.insert(ended.item.sequence), "{} ended twice", ended.item.sequence);
            prop_assert!(ended.outcome != Outcome::Dropped || !ended.item.is_paid(), "a paid one was dropped");
        }
        let inside = state.queue.len() + state.queue.held_len() + state.leased.len();
        prop_assert_eq!(inside + once.len(), admitted as usize, "none is lost");
        prop_assert!(state.under_way() <= 2);
        prop_assert!(state.leased.iter().all(|lease| !lease.overdue || lease.item.is_paid()));
        let idle = !state.paused && state.overlays.speaking().is_some();
        prop_assert!(!idle || state.under_way() == 2 || state.queue.len() == 0, "somebody waits for nothing");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever happens, every item is somewhere or has ended, once; what was stopped or has ended is not told again;
    /// one overlay speaks at most, and none waits while there is something to say.
    #[test]
    fn the_books_are_right(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(run(steps))?;
    }
}

/// The items that are named to an overlay that comes.
fn named_to_who_comes(state: &mut State) -> Value {
    let kind = Kind::Overlay("obs".into());
    let (connection, mut told) = state.overlays.join(kind.clone(), Instant::now());
    state.greet(connection, &kind, "x");
    let hello: Value = serde_json::from_str(&told.try_recv().expect("a hello")).expect("JSON");
    hello["items"].clone()
}

/// One that comes back in time may still play what it had, also if the server was gone meanwhile.
#[tokio::test]
async fn who_comes_is_told_what_may_still_play() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _) = Store::open(&directory.path().join("chat"), 100).expect("a database");
    let mut state = state(&Arc::new(store));
    state.queue.put_back(item(7, 0, false));
    state.admit(&item(8, 0, false), false);
    assert_eq!(named_to_who_comes(&mut state), serde_json::json!(["e-7"]), "put back when the server started");
    assert_eq!(named_to_who_comes(&mut state), serde_json::json!(["e-7", "e-8"]), "handed out since");
    state.end_item(7, Outcome::Skipped, "skipped");
    assert_eq!(named_to_who_comes(&mut state), serde_json::json!(["e-8"]));
}

/// Programs that just want to be told get one object for each item, whoever speaks, and nothing else but its stop.
#[tokio::test]
async fn a_plain_listener_is_told_each_item_once_and_nothing_of_the_overlays() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _) = Store::open(&directory.path().join("chat"), 100).expect("a database");
    let mut state = state(&Arc::new(store));
    let (overlay, _told) = state.overlays.join(Kind::Overlay("obs".into()), Instant::now());
    state.greet(overlay, &Kind::Overlay("obs".into()), "x");
    state.admit(&item(1, 0, false), false);
    let (plain, mut told) = state.overlays.join(Kind::Plain, Instant::now());
    state.greet(plain, &Kind::Plain, "x");
    state.admit(&item(2, 1, false), false);
    state.started(1);
    state.inform_all(&ChatEvent::Volume { volume: 0.5 });
    state.inform_all(&ChatEvent::Pause);
    state.end_item(1, Outcome::Skipped, "skipped");
    state.overlays.leave(overlay, Instant::now());
    state.pump();
    assert!(state.overlays.is_plain() && state.leased.is_empty(), "what it was told counts as said");
    state.admit(&item(3, 0, false), false);
    let mut all = Vec::new();
    while let Ok(event) = told.try_recv() {
        let event: Value = serde_json::from_str(&event).expect("JSON");
        all.push(format!(
            "{} {}",
            event["type"].as_str().unwrap_or_default(),
            event["id"].as_str().unwrap_or_default()
        ));
    }
    assert_eq!(all, ["item e-1", "item e-2", "stop e-1", "item e-3"]);
}
