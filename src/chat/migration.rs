//! From an older database to this version's. Blocks; called when it is opened, within a transaction.
//!
//! Version 1 had `api` for every platform that is none of ours, with what it is called before the ids: `kick:17`. Who had
//! no id there was one person on all of them.

use std::collections::BTreeSet;

use rusqlite::{Transaction, params};

use super::{Platform, item::Item};

const API: &str = "api";
/// Before the name of who has no id.
const NAME: &str = "name:";
/// More are no platforms: somebody's ids have a colon in them.
const MAX_PLATFORMS: usize = 64;

pub(super) fn from_version_1(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut platforms = BTreeSet::new();
    items(transaction, &mut platforms)?;
    let tables = ["muted", "voices"];
    for table in tables {
        users(transaction, table, &mut platforms)?;
    }
    // Where they were named nobody knows any more: it holds wherever it did, so that nobody who is muted is heard.
    for (table, value) in tables.into_iter().zip(["name", "voice"]) {
        for platform in platforms.iter().take(MAX_PLATFORMS) {
            let query = format!(
                "INSERT OR IGNORE INTO {table} (platform, user, {value})
                 SELECT ?1, user, {value} FROM {table} WHERE platform = ?2 AND user LIKE '{NAME}%'"
            );
            transaction.execute(&query, params![platform.name(), API])?;
        }
    }
    Ok(())
}

fn items(transaction: &Transaction<'_>, platforms: &mut BTreeSet<Platform>) -> rusqlite::Result<()> {
    let mut found = transaction.prepare("SELECT sequence, item FROM items WHERE platform = ?1")?;
    let rows: Vec<(i64, String)> =
        found.query_map([API], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    // One that exists already is left as it is.
    let mut update =
        transaction.prepare("UPDATE OR IGNORE items SET platform = ?2, message = ?3, item = ?4 WHERE sequence = ?1")?;
    for (sequence, content) in rows {
        let Ok(mut item) = serde_json::from_str::<Item>(&content) else { continue };
        let message = split(&item.message.id);
        let user = Some(&item.user.id).filter(|id| !id.starts_with(NAME)).and_then(|id| split(id));
        // Messages that came without an id have one without a platform.
        let Some(platform) = message.or(user).map(|(platform, _)| platform) else { continue };
        let (message, user) = (message.map(|(_, id)| id.to_owned()), user.map(|(_, id)| id.to_owned()));
        platforms.insert(platform);
        item.message.platform = platform;
        item.user.platform = platform;
        item.message.id = message.unwrap_or(item.message.id);
        item.user.id = user.unwrap_or(item.user.id);
        let content = serde_json::to_string(&item).unwrap_or(content);
        update.execute(params![sequence, platform.name(), item.message.id, content])?;
    }
    Ok(())
}

/// Those with an id.
fn users(transaction: &Transaction<'_>, table: &str, platforms: &mut BTreeSet<Platform>) -> rusqlite::Result<()> {
    let mut found = transaction.prepare(&format!("SELECT user FROM {table} WHERE platform = ?1"))?;
    let rows: Vec<String> = found.query_map([API], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut update = transaction
        .prepare(&format!("UPDATE OR IGNORE {table} SET platform = ?1, user = ?2 WHERE platform = ?3 AND user = ?4"))?;
    for user in rows.iter().filter(|user| !user.starts_with(NAME)) {
        if let Some((platform, id)) = split(user) {
            platforms.insert(platform);
            update.execute(params![platform.name(), id, API, user])?;
        }
    }
    Ok(())
}

fn split(id: &str) -> Option<(Platform, &str)> {
    let (platform, id) = id.split_once(':').filter(|(_, id)| !id.is_empty())?;
    let platform = platform.parse().ok().filter(|platform| matches!(platform, Platform::Other(_)))?;
    Some((platform, id))
}

#[cfg(test)]
#[path = "migration_tests.rs"]
mod tests;
