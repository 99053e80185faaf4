use std::fs;

use super::*;
use crate::chat::{Amount, Platform, rules::Priority};

const KEEP: usize = 1000;

fn item(id: &str) -> Item {
    Item {
        message: MessageKey { platform: Platform::Twitch, id: id.to_owned() },
        channel: "c".to_owned(),
        user: UserKey { platform: Platform::Twitch, id: "7".to_owned() },
        user_name: "Ann".to_owned(),
        user_login: String::new(),
        shown_name: String::new(),
        masked: false,
        text: "Hello 你好".to_owned(),
        speech: "Hello".to_owned(),
        language: Some("en".to_owned()),
        engine: None,
        voice: Some("heart".to_owned()),
        priority: Priority::Paid,
        paid: Some(Amount { micros: 5, currency: "EUR".to_owned() }),
        rule: "accepted".to_owned(),
        reason: "as every other".to_owned(),
        arrived_ms: 17,
    }
}

fn open(path: &Path) -> (Store, Recovered) {
    Store::open(path, KEEP).expect("a database")
}

fn sequence(stored: &Stored) -> Sequence {
    match stored {
        Stored::New(item) | Stored::Known(item) => item.sequence,
    }
}

#[tokio::test]
async fn what_was_accepted_is_there_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("chat.sqlite3");
    let (store, empty) = open(&path);
    assert!(empty.waiting.is_empty() && empty.epoch.len() == 8);
    let mut all = Vec::new();
    for id in ["a", "b", "c", "d"] {
        all.push(sequence(&store.insert(item(id), Stage::Waiting).await.expect("stored")));
    }
    let held = sequence(&store.insert(item("e"), Stage::Held).await.expect("stored"));
    store.set_stage(all[1], Stage::Leased);
    assert_eq!(store.end(all[2], Outcome::Finished, String::new(), 1).await, Ok(Ended::Now));
    store.mute(UserKey { platform: Platform::Twitch, id: "9".to_owned() }, Some("Bo".to_owned())).await.expect("muted");
    store.set("volume", "0.5".to_owned());
    drop(store);

    let (store, again) = open(&path);
    let sequences = |items: &[Arc<Numbered>]| items.iter().map(|item| item.sequence).collect::<Vec<_>>();
    assert_eq!(sequences(&again.waiting), [all[0], all[3]]);
    assert_eq!(sequences(&again.leased), [all[1]]);
    assert_eq!(sequences(&again.held), [held]);
    assert_eq!(again.waiting[0].item, item("a"));
    assert_eq!(again.ended.iter().map(|ended| ended.item.sequence).collect::<Vec<_>>(), [all[2]]);
    assert_eq!(again.epoch, empty.epoch);
    assert_eq!(again.muted, [(UserKey { platform: Platform::Twitch, id: "9".to_owned() }, "Bo".to_owned())]);
    assert!(again.settings.contains(&("volume".to_owned(), "0.5".to_owned())));
    drop(store);
}

#[tokio::test]
async fn the_newest_of_what_ended_are_shown_again_in_the_order_in_which_they_ended() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("chat.sqlite3");
    let (store, _) = open(&path);
    let count = SHOWN_ENDED as u64 + 3;
    let mut all = Vec::new();
    for index in 0..count {
        all.push(sequence(&store.insert(item(&index.to_string()), Stage::Waiting).await.expect("stored")));
    }
    // The last one came first, the others as they were taken; two at the same time.
    store.end_soon(all[count as usize - 1], Outcome::Skipped, "skipped".to_owned(), 1);
    for (index, sequence) in all[..count as usize - 1].iter().enumerate() {
        let (outcome, reason) = if index == 7 { (Outcome::Finished, "") } else { (Outcome::Failed, "too long") };
        store.end_soon(*sequence, outcome, reason.to_owned(), 10 + index as u64 / 2);
    }
    drop(store);

    let (store, again) = open(&path);
    assert_eq!(again.ended.iter().map(|ended| ended.item.sequence).collect::<Vec<_>>(), all[2..count as usize - 1]);
    let told: Vec<_> = again.ended[4..6].iter().map(|ended| (ended.outcome, ended.reason.as_str())).collect();
    assert_eq!(told, [(Outcome::Failed, "too long"), (Outcome::Finished, "as every other")]);
    drop(store);
}

#[tokio::test]
async fn a_message_is_one_item_and_ends_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("chat.sqlite3");
    let (store, _) = open(&path);
    let first = store.insert(item("a"), Stage::Waiting);
    let second = store.insert(item("a"), Stage::Waiting);
    let (first, second) = (first.await.expect("stored"), second.await.expect("known"));
    assert!(matches!(&first, Stored::New(_)));
    assert!(matches!(&second, Stored::Known(item) if item.sequence == sequence(&first)), "{second:?}");
    let sequence = sequence(&first);
    let ends = [(); 3].map(|()| store.end(sequence, Outcome::Finished, String::new(), 1));
    let mut told = Vec::new();
    for end in ends {
        told.push(end.await.expect("written"));
    }
    assert_eq!(told, [Ended::Now, Ended::Before(Outcome::Finished), Ended::Before(Outcome::Finished)]);
    assert_eq!(store.end(999, Outcome::Finished, String::new(), 1).await, Ok(Ended::Unknown));
    // A lease that comes late does not bring it back.
    store.set_stage(sequence, Stage::Leased);
    drop(store);
    let (store, again) = open(&path);
    assert!(again.leased.is_empty() && again.waiting.is_empty());
    let known = store.insert(item("a"), Stage::Waiting).await.expect("known");
    assert!(matches!(known, Stored::Known(item) if item.sequence == sequence));
    assert_eq!(store.outcome(sequence).await, Ok(Some(Outcome::Finished)));
    drop(store);
}

#[tokio::test]
async fn what_is_settled_outlives_the_power() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("chat.sqlite3");
    let (store, _) = open(&path);
    let sequence = sequence(&store.insert(item("a"), Stage::Waiting).await.expect("stored"));
    for volume in 0..2 * BATCH {
        store.set("volume", volume.to_string());
    }
    store.set_stage(sequence, Stage::Leased);
    assert_eq!(store.settle().await, Ok(()));
    // As the disk is at this instant: the program has no say in it any more.
    let copy = tempfile::tempdir().expect("a directory");
    for file in fs::read_dir(directory.path()).expect("a directory").map(|file| file.expect("a file")) {
        fs::copy(file.path(), copy.path().join(file.file_name())).expect("copied");
    }
    drop(store);
    let (store, again) = open(&copy.path().join("chat.sqlite3"));
    assert_eq!(again.leased.len(), 1);
    assert!(again.settings.contains(&("volume".to_owned(), (2 * BATCH - 1).to_string())));
    drop(store);
}

#[tokio::test]
async fn ended_items_are_forgotten_in_the_end_and_open_ones_never() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("chat.sqlite3");
    let (store, _) = Store::open(&path, 10).expect("a database");
    let open_one = sequence(&store.insert(item("open"), Stage::Waiting).await.expect("stored"));
    let mut last = 0;
    for index in 0..TRIM_EVERY + 50 {
        last = sequence(&store.insert(item(&index.to_string()), Stage::Waiting).await.expect("stored"));
        store.end_soon(last, Outcome::Finished, String::new(), 1);
    }
    drop(store);
    let connection = schema::open(&path).expect("a database");
    let count: i64 = connection.query_row("SELECT count(*) FROM items", [], |row| row.get(0)).expect("a number");
    assert!((11..=10 + TRIM_EVERY as i64).contains(&count), "{count}");
    drop(connection);
    let (store, again) = open(&path);
    assert_eq!(again.waiting[0].sequence, open_one);
    let next = sequence(&store.insert(item("next"), Stage::Waiting).await.expect("stored"));
    assert!(next > last, "a number is never used twice");
    drop(store);
}

#[test]
fn what_is_no_database_of_ours_is_told_apart() {
    let directory = tempfile::tempdir().expect("a directory");
    let fault = |name: &str| {
        let path = directory.path().join(name);
        Store::open(&path, KEEP).map(|_| ()).expect_err(name).to_string()
    };
    fs::write(directory.path().join("text"), "not a database, not at all. ".repeat(200)).expect("written");
    assert!(fault("text").contains("is damaged, or no database"), "{}", fault("text"));

    let other = Connection::open(directory.path().join("other")).expect("a database");
    other.execute_batch("CREATE TABLE x (y)").expect("a table");
    drop(other);
    assert!(fault("other").contains("another program's"), "{}", fault("other"));

    drop(open(&directory.path().join("newer")));
    let newer = Connection::open(directory.path().join("newer")).expect("a database");
    newer.pragma_update(None, "user_version", 99).expect("written");
    drop(newer);
    assert!(fault("newer").contains("newer version"), "{}", fault("newer"));

    let (held, _) = open(&directory.path().join("held"));
    assert!(fault("held").contains("another server has it open"), "{}", fault("held"));
    drop(held);
    drop(open(&directory.path().join("held")));

    fs::create_dir(directory.path().join("folder")).expect("a folder");
    assert!(fault("folder").contains("cannot be written"), "{}", fault("folder"));
}

#[tokio::test]
async fn a_damaged_database_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("chat.sqlite3");
    let (store, _) = open(&path);
    for id in 0..500 {
        drop(store.insert(item(&id.to_string()), Stage::Waiting));
    }
    drop(store);
    let mut bytes = fs::read(&path).expect("a file");
    let half = bytes.len() / 2;
    bytes[half..half + 8192].fill(0xA5);
    fs::write(&path, &bytes).expect("written");
    let fault = Store::open(&path, KEEP).map(|_| ()).expect_err("damaged").to_string();
    assert!(fault.contains("is damaged"), "{fault}");
}
