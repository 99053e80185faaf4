use std::path::Path;

use rusqlite::{Connection, params};

use super::*;
use crate::chat::{
    item::{MessageKey, UserKey},
    rules::Priority,
    store::{Recovered, Stage, Store, Stored},
};

fn platform(name: &str) -> Platform {
    name.parse().expect(name)
}

fn user(of: &str, id: &str) -> UserKey {
    UserKey { platform: platform(of), id: id.to_owned() }
}

fn item(of: &str, id: &str, user_id: &str) -> Item {
    Item {
        message: MessageKey { platform: platform(of), id: id.to_owned() },
        channel: String::new(),
        user: user(of, user_id),
        user_name: "Bob".to_owned(),
        user_login: String::new(),
        shown_name: String::new(),
        masked: false,
        text: "Hello.".to_owned(),
        speech: "Hello.".to_owned(),
        language: None,
        engine: None,
        voice: None,
        priority: Priority::Everyone,
        paid: None,
        rule: "accepted".to_owned(),
        reason: String::new(),
        arrived_ms: 17,
    }
}

fn open(path: &Path) -> (Store, Recovered) {
    Store::open(path, 1000).expect("a database")
}

/// What version 1 wrote; its tables were the same.
fn write_version_1(path: &Path, items: &[Item]) {
    drop(open(path));
    let connection = Connection::open(path).expect("a database");
    for item in items {
        let content = serde_json::to_string(item).expect("JSON");
        let insert = "INSERT INTO items (platform, message, state, item) VALUES (?1, ?2, 'waiting', ?3)";
        connection.execute(insert, params![item.message.platform.name(), item.message.id, content]).expect("written");
    }
    connection
        .execute_batch(
            "INSERT INTO items (platform, message, state, item, ended_ms)
                 VALUES ('api', 'kick:broken', 'finished', '{\"user\": {\"id\": \"x\"}}', 1);
             INSERT INTO muted (platform, user, name) VALUES
                 ('api', 'tiktok:9', 'Troll'), ('api', 'name:bob', 'Bob'), ('twitch', 'name:ann', 'Ann');
             INSERT INTO voices (platform, user, voice) VALUES ('api', 'name:cy', 'rowan'), ('api', 'kick:7', 'wren');
             PRAGMA user_version = 1;",
        )
        .expect("written");
}

#[tokio::test]
async fn what_version_1_wrote_is_known_by_its_platform() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("chat.sqlite3");
    let written = [
        item("api", "kick:1", "kick:7"),
        item("api", "tiktok:1:2", "name:bob"),
        item("api", "5f0c12ab", "kick:8"),
        item("api", "17", "name:bob"),
        item("twitch", "kick:1", "kick:7"),
    ];
    write_version_1(&path, &written);
    let expected = [
        item("kick", "1", "7"),
        item("tiktok", "1:2", "name:bob"),
        item("kick", "5f0c12ab", "8"),
        item("api", "17", "name:bob"),
        item("twitch", "kick:1", "kick:7"),
    ];
    for _ in 0..2 {
        let (store, recovered) = open(&path);
        let found: Vec<_> = recovered.waiting.iter().map(|item| item.item.clone()).collect();
        assert_eq!(found, expected);
        for item in &expected {
            let stored = store.insert(item.clone(), Stage::Waiting).await.expect("stored");
            assert!(matches!(stored, Stored::Known { .. }), "it would be said twice: {item:?}");
        }
        let mut muted: Vec<_> = recovered.muted.into_iter().map(|(user, _)| user).collect();
        muted.sort_unstable();
        let mut all = vec![user("twitch", "name:ann"), user("tiktok", "9")];
        all.extend(["api", "kick", "tiktok"].map(|of| user(of, "name:bob")));
        all.sort_unstable();
        assert_eq!(muted, all);
        let voice = |of: &str, id: &str, voice: &str| (user(of, id), voice.to_owned());
        let mut voices = recovered.voices;
        voices.sort_unstable();
        let mut all = vec![voice("kick", "7", "wren")];
        all.extend(["api", "kick", "tiktok"].map(|of| voice(of, "name:cy", "rowan")));
        all.sort_unstable();
        assert_eq!(voices, all);
    }
}
