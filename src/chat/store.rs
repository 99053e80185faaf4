//! What must not be lost: items until they ended, who is muted, who has which voice. An SQLite database on a thread of
//! its own. Whoever waits for an answer knows that it is on the disk; requests that come together share one commit.
//!
//! An item is `waiting`, `held` (for approval) or `leased` (an overlay has it), and then once, and for good, one of the
//! outcomes. The database is locked while it is open: two servers would say everything twice.

use std::{
    path::Path,
    pin::Pin,
    sync::{Arc, mpsc},
    task::{Context, Poll},
    thread::JoinHandle,
};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use tokio::sync::oneshot;

use super::{
    item::{EndedItem, Item, MessageKey, Numbered, Outcome, Sequence, UserKey},
    schema,
    state::SHOWN_ENDED,
};

/// Requests that share a commit.
const BATCH: usize = 512;
/// Between looks at how many ended items there are.
const TRIM_EVERY: u64 = 1_000;

/// Where an accepted item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Waiting,
    Held,
    Leased,
}

impl Stage {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Leased => "leased",
        }
    }
}

/// What became of an item that was to be stored.
#[derive(Debug, Clone)]
pub enum Stored {
    New(Arc<Numbered>),
    /// The same message is there already.
    Known(Arc<Numbered>),
}

/// What the end of an item found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Now,
    Before(Outcome),
    Unknown,
}

/// What a database held when it was opened.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Part of every id that overlays see, so that those of another database are other ids.
    pub epoch: String,
    pub waiting: Vec<Arc<Numbered>>,
    pub held: Vec<Arc<Numbered>>,
    pub leased: Vec<Arc<Numbered>>,
    pub muted: Vec<(UserKey, String)>,
    pub voices: Vec<(UserKey, String)>,
    pub nicknames: Vec<(String, String)>,
    pub settings: Vec<(String, String)>,
    /// Something of theirs was accepted, or approved.
    pub heard: Vec<UserKey>,
    /// The newest last, as many as are shown.
    pub ended: Vec<EndedItem>,
}

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

enum Request {
    Insert { item: Box<Item>, stage: Stage, answer: Answer<Stored> },
    Stage { sequence: Sequence, stage: Stage },
    End { sequence: Sequence, outcome: Outcome, reason: String, now_ms: u64, answer: Option<Answer<Ended>> },
    Look { sequence: Sequence, answer: Answer<Option<Outcome>> },
    Mute { user: UserKey, name: Option<String>, answer: Answer<()> },
    Voice { user: UserKey, voice: Option<String>, answer: Answer<()> },
    Nickname { user: String, nickname: Option<String>, answer: Answer<()> },
    Setting { name: &'static str, value: String },
    Settle { answer: Answer<()> },
    Close,
}

/// Fit to be shown: no paths but the database's own.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}

/// Something that is being written, whoever waits for it.
#[derive(Debug)]
pub struct Writing<T>(oneshot::Receiver<Result<T, StoreError>>);

impl<T> Future for Writing<T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let closed = |_| Err(StoreError("the chat database is closed".to_owned()));
        Pin::new(&mut self.0).poll(context).map(|answered| answered.unwrap_or_else(closed))
    }
}

#[derive(Debug)]
pub struct Store {
    requests: mpsc::Sender<Request>,
    thread: Option<JoinHandle<()>>,
}

impl Store {
    /// Opens the database, or makes it. Blocks.
    ///
    /// # Errors
    /// What is wrong with it, and what mends it, on one line.
    pub fn open(path: &Path, keep: usize) -> Result<(Self, Recovered), StoreError> {
        let mut connection = schema::open(path)?;
        let recovered = schema::recover(&mut connection, SHOWN_ENDED)?;
        let (requests, inbox) = mpsc::channel();
        let path = path.to_path_buf();
        let thread = std::thread::Builder::new()
            .name("chat-store".to_owned())
            .spawn(move || run(connection, &inbox, keep, &path))
            .map_err(|error| StoreError(format!("no thread for the chat database: {error}")))?;
        Ok((Self { requests, thread: Some(thread) }, recovered))
    }

    /// Begun at once; answered once it is on the disk.
    ///
    /// # Errors
    /// It could not be written.
    pub fn insert(&self, item: Item, stage: Stage) -> Writing<Stored> {
        self.ask(move |answer| Request::Insert { item: Box::new(item), stage, answer })
    }

    /// Written soon, in order; nobody waits for it.
    pub fn set_stage(&self, sequence: Sequence, stage: Stage) {
        self.tell(Request::Stage { sequence, stage });
    }

    /// Ends an item, unless it has ended.
    ///
    /// # Errors
    /// It could not be written.
    pub fn end(&self, sequence: Sequence, outcome: Outcome, reason: String, now_ms: u64) -> Writing<Ended> {
        self.ask(move |answer| Request::End { sequence, outcome, reason, now_ms, answer: Some(answer) })
    }

    /// As `end`; nobody waits for it.
    pub fn end_soon(&self, sequence: Sequence, outcome: Outcome, reason: String, now_ms: u64) {
        self.tell(Request::End { sequence, outcome, reason, now_ms, answer: None });
    }

    /// How an item ended; none: it has not, or that is not kept any more.
    ///
    /// # Errors
    /// It could not be read.
    pub fn outcome(&self, sequence: Sequence) -> Writing<Option<Outcome>> {
        self.ask(move |answer| Request::Look { sequence, answer })
    }

    /// Without a name: not muted any more.
    ///
    /// # Errors
    /// It could not be written.
    pub fn mute(&self, user: UserKey, name: Option<String>) -> Writing<()> {
        self.ask(move |answer| Request::Mute { user, name, answer })
    }

    /// # Errors
    /// It could not be written.
    pub fn set_voice(&self, user: UserKey, voice: Option<String>) -> Writing<()> {
        self.ask(move |answer| Request::Voice { user, voice, answer })
    }

    /// # Errors
    /// It could not be written.
    pub fn set_nickname(&self, user: String, nickname: Option<String>) -> Writing<()> {
        self.ask(move |answer| Request::Nickname { user, nickname, answer })
    }

    pub fn set(&self, name: &'static str, value: String) {
        self.tell(Request::Setting { name, value });
    }

    /// Answered once all that was asked for before is on the disk.
    ///
    /// # Errors
    /// What was asked for last could not be written.
    pub fn settle(&self) -> Writing<()> {
        self.ask(|answer| Request::Settle { answer })
    }

    fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Writing<T> {
        let (answer, answered) = oneshot::channel();
        self.tell(request(answer));
        Writing(answered)
    }

    fn tell(&self, request: Request) {
        // Fails once the thread has ended, which whoever waits for an answer is told.
        let _ = self.requests.send(request);
    }
}

impl Drop for Store {
    /// Waits until all is written.
    fn drop(&mut self) {
        self.tell(Request::Close);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An answer that is due once the commit has gone well.
type Due = Box<dyn FnOnce(Option<&StoreError>) + Send>;

fn run(mut connection: Connection, inbox: &mpsc::Receiver<Request>, keep: usize, path: &Path) {
    let mut ended: u64 = TRIM_EVERY;
    let mut closing = false;
    while !closing && let Ok(first) = inbox.recv() {
        let more = std::iter::from_fn(|| inbox.try_recv().ok()).take(BATCH - 1);
        let mut batch: Vec<_> = std::iter::once(first).chain(more).collect();
        if let Some(end) = batch.iter().position(|request| matches!(request, Request::Close)) {
            closing = true;
            batch.truncate(end);
        }
        let mut due = Vec::with_capacity(batch.len());
        let written = write(&mut connection, batch, &mut due, &mut ended, keep);
        if let Err(error) = &written {
            tracing::error!(path = %path.display(), %error, "the chat database cannot be written");
        }
        for answer in due {
            answer(written.as_ref().err());
        }
    }
}

fn write(
    connection: &mut Connection,
    batch: Vec<Request>,
    due: &mut Vec<Due>,
    ended: &mut u64,
    keep: usize,
) -> Result<(), StoreError> {
    let transaction = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(transaction) => transaction,
        Err(error) => {
            // Whoever waits must be told as well.
            for request in batch {
                refuse(request, due);
            }
            return Err(error.into());
        }
    };
    for request in batch {
        take(&transaction, request, due, ended);
    }
    if *ended >= TRIM_EVERY {
        *ended = 0;
        schema::trim(&transaction, keep)?;
    }
    Ok(transaction.commit()?)
}

/// The answer, if all goes well with the commit.
fn promise<T: Send + 'static>(due: &mut Vec<Due>, answer: Answer<T>, outcome: rusqlite::Result<T>) {
    due.push(Box::new(move |fault| {
        let told = match (fault, outcome) {
            (Some(fault), _) => Err(fault.clone()),
            (None, outcome) => outcome.map_err(StoreError::from),
        };
        // Whoever asked may have left.
        let _ = answer.send(told);
    }));
}

fn refuse(request: Request, due: &mut Vec<Due>) {
    match request {
        Request::Insert { answer, .. } => promise(due, answer, Err(rusqlite::Error::InvalidQuery)),
        Request::End { answer: Some(answer), .. } => promise(due, answer, Err(rusqlite::Error::InvalidQuery)),
        Request::Look { answer, .. } => promise(due, answer, Err(rusqlite::Error::InvalidQuery)),
        Request::Mute { answer, .. }
        | Request::Voice { answer, .. }
        | Request::Nickname { answer, .. }
        | Request::Settle { answer } => {
            promise(due, answer, Err(rusqlite::Error::InvalidQuery));
        }
        Request::End { answer: None, .. } | Request::Stage { .. } | Request::Setting { .. } | Request::Close => {}
    }
}

fn take(transaction: &Transaction<'_>, request: Request, due: &mut Vec<Due>, ended: &mut u64) {
    let silent = |outcome: rusqlite::Result<usize>| {
        if let Err(error) = outcome {
            tracing::error!(%error, "the chat database refused a change");
        }
    };
    match request {
        Request::Insert { item, stage, answer } => promise(due, answer, insert(transaction, *item, stage)),
        Request::Stage { sequence, stage } => silent(
            transaction
                .prepare_cached("UPDATE items SET state = ?2 WHERE sequence = ?1 AND ended_ms IS NULL")
                .and_then(|mut update| update.execute(params![sequence as i64, stage.name()])),
        ),
        Request::End { sequence, outcome, reason, now_ms, answer } => {
            *ended += 1;
            let end = end(transaction, sequence, outcome, &reason, now_ms);
            match answer {
                Some(answer) => promise(due, answer, end),
                None => silent(end.map(|_| 0)),
            }
        }
        Request::Look { sequence, answer } => promise(due, answer, outcome_of(transaction, sequence)),
        Request::Mute { user, name, answer } => {
            let done = match name {
                Some(name) => transaction.execute(
                    "INSERT OR REPLACE INTO muted (platform, user, name) VALUES (?1, ?2, ?3)",
                    params![user.platform.to_string(), user.id, name],
                ),
                None => transaction.execute(
                    "DELETE FROM muted WHERE platform = ?1 AND user = ?2",
                    params![user.platform.to_string(), user.id],
                ),
            };
            promise(due, answer, done.map(drop));
        }
        Request::Voice { user, voice, answer } => {
            let done = match voice {
                Some(voice) => transaction.execute(
                    "INSERT OR REPLACE INTO voices (platform, user, voice) VALUES (?1, ?2, ?3)",
                    params![user.platform.to_string(), user.id, voice],
                ),
                None => transaction.execute(
                    "DELETE FROM voices WHERE platform = ?1 AND user = ?2",
                    params![user.platform.to_string(), user.id],
                ),
            };
            promise(due, answer, done.map(drop));
        }
        Request::Nickname { user, nickname, answer } => {
            let done = match nickname {
                Some(nickname) => transaction.execute(
                    "INSERT OR REPLACE INTO nicknames (user, nickname) VALUES (?1, ?2)",
                    params![user, nickname],
                ),
                None => transaction.execute("DELETE FROM nicknames WHERE user = ?1", params![user]),
            };
            promise(due, answer, done.map(drop));
        }
        Request::Setting { name, value } => silent(
            transaction.execute("INSERT OR REPLACE INTO settings (name, value) VALUES (?1, ?2)", params![name, value]),
        ),
        Request::Settle { answer } => promise(due, answer, Ok(())),
        Request::Close => {}
    }
}

fn insert(transaction: &Transaction<'_>, item: Item, stage: Stage) -> rusqlite::Result<Stored> {
    let content = serde_json::to_string(&item).unwrap_or_default();
    let MessageKey { platform, id } = &item.message;
    let inserted = transaction
        .prepare_cached(
            "INSERT INTO items (platform, message, state, item) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (platform, message) DO NOTHING",
        )?
        .execute(params![platform.to_string(), id, stage.name(), content])?;
    if inserted == 1 {
        let sequence = transaction.last_insert_rowid() as Sequence;
        return Ok(Stored::New(Arc::new(Numbered { sequence, item })));
    }
    transaction
        .prepare_cached("SELECT sequence, item FROM items WHERE platform = ?1 AND message = ?2")?
        .query_row(params![platform.to_string(), id], |row| Ok(Stored::Known(schema::item(row)?)))
}

fn end(
    transaction: &Transaction<'_>,
    sequence: Sequence,
    outcome: Outcome,
    reason: &str,
    now_ms: u64,
) -> rusqlite::Result<Ended> {
    let changed = transaction
        .prepare_cached(
            "UPDATE items SET state = ?2, reason = ?3, ended_ms = ?4 WHERE sequence = ?1 AND ended_ms IS NULL",
        )?
        .execute(params![sequence as i64, outcome.name(), reason, now_ms as i64])?;
    if changed == 1 {
        return Ok(Ended::Now);
    }
    Ok(outcome_of(transaction, sequence)?.map_or(Ended::Unknown, Ended::Before))
}

fn outcome_of(transaction: &Transaction<'_>, sequence: Sequence) -> rusqlite::Result<Option<Outcome>> {
    let state: Option<String> = transaction
        .query_row("SELECT state FROM items WHERE sequence = ?1", params![sequence as i64], |row| row.get(0))
        .optional()?;
    Ok(state.and_then(|state| Outcome::parse(&state)))
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
