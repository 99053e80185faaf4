//! The database's shape: how it is opened, checked and read. Blocks; called on the store's thread and at start.

use std::{path::Path, sync::Arc};

use rusqlite::{Connection, ErrorCode, OpenFlags, Row, Transaction, params};

use super::{
    item::{EndedItem, Numbered, Outcome, Sequence, UserKey},
    migration,
    store::{Recovered, StoreError},
};

/// "ishw": what says that a database is ours.
const APPLICATION_ID: i32 = 0x6973_6877;
const VERSION: i32 = 2;

const TABLES: &str = "
    CREATE TABLE items (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        platform TEXT NOT NULL,
        message TEXT NOT NULL,
        state TEXT NOT NULL,
        item TEXT NOT NULL,
        reason TEXT,
        ended_ms INTEGER,
        UNIQUE (platform, message)
    ) STRICT;
    CREATE INDEX items_open ON items (sequence) WHERE ended_ms IS NULL;
    CREATE TABLE muted (
        platform TEXT NOT NULL, user TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (platform, user)
    ) STRICT;
    CREATE TABLE voices (
        platform TEXT NOT NULL, user TEXT NOT NULL, voice TEXT NOT NULL, PRIMARY KEY (platform, user)
    ) STRICT;
    CREATE TABLE nicknames (user TEXT PRIMARY KEY, nickname TEXT NOT NULL) STRICT;
    CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
";

/// Opens the database, makes it if it is not there, and checks that it is whole and ours.
///
/// # Errors
/// Cause and mend on one line.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let shown = path.display();
    let opened = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
        .and_then(|mut connection| prepare(&mut connection).map(|fault| (connection, fault)));
    match opened {
        Ok((connection, None)) => Ok(connection),
        Ok((_, Some(fault))) => Err(StoreError(format!("{shown}: {fault}; move it away to begin anew"))),
        Err(error) => Err(StoreError(match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                format!("{shown}: is damaged, or no database ({error}); move it away to begin anew")
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                format!("{shown}: another server has it open; stop that one, or give this one its own chat.directory")
            }
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                format!("{shown}: cannot be written ({error}); make the file and its folder writable")
            }
            Some(ErrorCode::DiskFull) => format!("{shown}: the disk is full"),
            _ => format!("{shown}: {error}"),
        })),
    }
}

/// Some: it is a database, but not one to be used.
fn prepare(connection: &mut Connection) -> rusqlite::Result<Option<String>> {
    connection.busy_timeout(std::time::Duration::from_millis(500))?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && (application != 0 || tables > 0) {
        return Ok(Some("is another program's database".to_owned()));
    }
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > VERSION {
        return Ok(Some(format!("was written by a newer version (its format is {version}, this one knows {VERSION})")));
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    if version == 0 {
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    let check: String = transaction.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    if check != "ok" {
        return Ok(Some(format!("is damaged ({})", check.lines().next().unwrap_or_default())));
    }
    if version == 1 {
        migration::from_version_1(&transaction)?;
    }
    if version < VERSION {
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    // Written each time: what cannot be written is known now.
    transaction
        .execute("INSERT OR IGNORE INTO settings (name, value) VALUES ('epoch', lower(hex(randomblob(4))))", [])?;
    transaction.execute("INSERT OR REPLACE INTO settings (name, value) VALUES ('opened', datetime())", [])?;
    transaction.commit()?;
    Ok(None)
}

/// With so many of those that have ended as are shown.
pub(super) fn recover(connection: &mut Connection, shown: usize) -> Result<Recovered, StoreError> {
    let mut recovered = Recovered::default();
    let mut items = connection.prepare("SELECT sequence, item, state FROM items WHERE ended_ms IS NULL ORDER BY 1")?;
    let mut rows = items.query([])?;
    while let Some(row) = rows.next()? {
        let item = item(row)?;
        match row.get_ref(2)?.as_str().unwrap_or_default() {
            "leased" => recovered.leased.push(item),
            "held" => recovered.held.push(item),
            _ => recovered.waiting.push(item),
        }
    }
    recovered.ended = ended(connection, shown)?;
    recovered.muted = pairs(connection, "SELECT platform, user, name FROM muted")?;
    recovered.voices = pairs(connection, "SELECT platform, user, voice FROM voices")?;
    recovered.nicknames = texts(connection, "SELECT user, nickname FROM nicknames")?;
    recovered.settings = texts(connection, "SELECT name, value FROM settings")?;
    let heard = "SELECT DISTINCT platform, json_extract(item, '$.user.id'), '' FROM items
                 WHERE state IN ('waiting', 'leased', 'finished')";
    recovered.heard = pairs(connection, heard)?.into_iter().map(|(user, _)| user).collect();
    let epoch = recovered.settings.iter().find(|(name, _)| name == "epoch");
    recovered.epoch = epoch.map(|(_, value)| value.clone()).unwrap_or_default();
    Ok(recovered)
}

fn ended(connection: &Connection, shown: usize) -> Result<Vec<EndedItem>, StoreError> {
    let mut found = connection.prepare(
        "SELECT sequence, item, state, reason FROM items WHERE ended_ms IS NOT NULL
         ORDER BY ended_ms DESC, sequence DESC LIMIT ?1",
    )?;
    let mut rows = found.query([i64::try_from(shown).unwrap_or(i64::MAX)])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let Some(outcome) = Outcome::parse(row.get_ref(2)?.as_str().unwrap_or_default()) else { continue };
        // What is only shown keeps nothing from starting.
        let item = match item(row) {
            Ok(item) => item,
            Err(error) => {
                tracing::warn!(%error, "an ended item of the chat cannot be read; it is not listed");
                continue;
            }
        };
        // Older versions stored none of what was played.
        let reason: Option<String> = row.get(3)?;
        let reason = reason.filter(|reason| !reason.is_empty()).unwrap_or_else(|| item.item.reason.clone());
        all.push(EndedItem { item, outcome, reason });
    }
    all.reverse();
    Ok(all)
}

fn texts(connection: &Connection, query: &str) -> Result<Vec<(String, String)>, StoreError> {
    let mut found = connection.prepare(query)?;
    let rows = found.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn pairs(connection: &Connection, query: &str) -> Result<Vec<(UserKey, String)>, StoreError> {
    let mut found = connection.prepare(query)?;
    let rows = found.query_map([], |row| {
        let (name, id): (String, String) = (row.get(0)?, row.get(1)?);
        Ok(name.parse().ok().map(|platform| (UserKey { platform, id }, row.get(2))))
    })?;
    let mut all = Vec::new();
    for row in rows {
        if let Some((user, value)) = row? {
            all.push((user, value?));
        }
    }
    Ok(all)
}

/// Of the columns `sequence, item`.
pub(super) fn item(row: &Row<'_>) -> rusqlite::Result<Arc<Numbered>> {
    let sequence: i64 = row.get(0)?;
    let content = row.get_ref(1)?;
    let text = content
        .as_str()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(error)))?;
    let item = serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(error)))?;
    Ok(Arc::new(Numbered { sequence: sequence as Sequence, item }))
}

/// Forgets ended items but the last `keep`. What they were is then taken for new if it comes again.
pub(super) fn trim(transaction: &Transaction<'_>, keep: usize) -> rusqlite::Result<()> {
    transaction.execute(
        "DELETE FROM items WHERE ended_ms IS NOT NULL AND sequence <= (
             SELECT sequence FROM items WHERE ended_ms IS NOT NULL ORDER BY sequence DESC LIMIT 1 OFFSET ?1)",
        params![i64::try_from(keep).unwrap_or(i64::MAX)],
    )?;
    Ok(())
}
