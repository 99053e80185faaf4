//! The desk: messages come in, are judged, stored and queued; overlays take items and tell how far they are; whoever is
//! in control skips, pauses, approves. Its books are under one lock that is never held over a wait.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{
    Event, Message, Platform,
    intake::{self, MAX_NAME_CHARS, bounded},
    item::{Item, Numbered, Outcome, Sequence, UserKey},
    judge::Judge,
    overlays::{Connection, Kind, Told},
    queue::{Gone, Limits, Queue},
    rules::{Priority, Verdict},
    sign_in::SignIns,
    sources::{Connector, Started},
    state::{Beginning, Lease, State, now_ms},
    store::{Ended, Recovered, Store, StoreError},
    token,
    told::{HeldView, ItemView, Names, QueueView},
    twitch,
    voices::Voices,
};
use crate::{
    config::{ChatRules, Config},
    error::Error,
    scheduler::{Class, Owner},
    speech::{Level, Speech, SpeechRequest},
    voices::Library,
};

/// A setting of the database: what was started.
pub(super) const SOURCES: &str = "sources";

pub const DATABASE: &str = "chat.sqlite3";
/// How often what is overdue is looked for.
const TICK: Duration = Duration::from_millis(200);
/// Events that wait for the desk. Sources wait when it is full.
pub(super) const EVENTS: usize = 1024;

/// What became of a message.
#[derive(Debug, Clone)]
pub enum Taken {
    Item(Arc<Numbered>),
    Refused {
        rule: String,
        reason: String,
    },
    /// It was a command.
    Acted {
        rule: String,
        reason: String,
    },
}

/// What an overlay tells of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ack {
    Started,
    Finished,
    Failed,
}

/// What an acknowledgement found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acked {
    /// How far the item is now.
    pub state: &'static str,
    /// False: this was known before.
    pub counted: bool,
}

pub struct Desk {
    pub(super) speech: Arc<Speech>,
    pub(super) config: Arc<Config>,
    pub(super) names: Arc<Names>,
    control_token: String,
    pub(super) store: Arc<Store>,
    pub(super) judge: Mutex<Judge>,
    pub(super) state: Mutex<State>,
    pub(super) connector: Arc<dyn Connector>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) sign_ins: SignIns,
}

/// One listener's end. Dropping it leaves.
pub struct Listening {
    told: mpsc::Receiver<Told>,
    peeked: Option<Told>,
    connection: Connection,
    desk: Arc<Desk>,
}

impl Listening {
    /// What it is told next; none: it was cut off. Safe to drop while it waits.
    pub async fn next(&mut self) -> Option<Told> {
        match self.peeked.take() {
            Some(told) => Some(told),
            None => self.told.recv().await,
        }
    }

    /// As `next`, and it is next again until it is forgotten.
    pub async fn peek(&mut self) -> Option<&str> {
        if self.peeked.is_none() {
            self.peeked = Some(self.told.recv().await?);
        }
        self.peeked.as_deref()
    }

    pub fn forget_peeked(&mut self) {
        self.peeked = None;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut state = self.desk.state.lock();
        state.overlays.leave(self.connection, Instant::now());
        state.pump();
    }
}

impl Desk {
    /// Opens the database in the configured directory; what was not said yet waits again. Must be called inside a tokio
    /// runtime, on a thread that may block.
    ///
    /// # Errors
    /// What is wrong with the directory or the database.
    pub fn open(
        config: Arc<Config>,
        speech: Arc<Speech>,
        connector: Arc<dyn Connector>,
    ) -> Result<Arc<Self>, StoreError> {
        let directory = &config.chat.directory;
        if directory.as_os_str().is_empty() {
            return Err(StoreError("there is no directory for its database; set chat.directory".to_owned()));
        }
        let mut judge = Judge::new(&config.chat.rules).map_err(StoreError)?;
        make_directory(directory)?;
        let (store, recovered) = Store::open(&directory.join(DATABASE), config.chat.queue.keep)?;
        let token = token::read_or_make(directory, token::OVERLAY_FILE)?;
        let control_token = token::read_or_make(directory, token::CONTROL_FILE)?;
        let sign_ins = SignIns::new(twitch::signed_in(&config.chat));
        let started = sources(&connector.configured(), &recovered);
        recovered.heard.iter().for_each(|user| judge.welcome(user));
        warn_of_missing(&config.chat.rules, &speech);
        let (events, told) = mpsc::channel(EVENTS);
        let desk = Arc::new_cyclic(|desk: &Weak<Self>| {
            let store = Arc::new(store);
            let names = Arc::new(Names { epoch: recovered.epoch.clone(), token });
            let state = begin(&config, desk.clone(), &names, &store, &speech.voices(), recovered);
            Self {
                speech,
                names,
                control_token,
                store,
                judge: Mutex::new(judge),
                state: Mutex::new(state),
                connector,
                events,
                sign_ins,
                config,
            }
        });
        tokio::spawn(hand_over_once_loaded(Arc::downgrade(&desk), Arc::clone(&desk.speech)));
        tokio::spawn(tick(Arc::downgrade(&desk)));
        tokio::spawn(intake::take_events(Arc::downgrade(&desk), told));
        for started in started {
            let (platform, channel) = (started.platform, started.channel.clone());
            if let Err(error) = desk.listen_to(started) {
                tracing::warn!(%platform, channel, %error, "a chat is not listened to");
            }
        }
        Ok(desk)
    }

    /// The overlay's.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.names.token
    }

    /// Of whoever is in control.
    #[must_use]
    pub fn control_token(&self) -> &str {
        &self.control_token
    }

    /// Where sources put what they hear.
    #[must_use]
    pub fn events(&self) -> mpsc::Sender<Event> {
        self.events.clone()
    }

    /// A new listener, which is told how things are at once.
    #[must_use]
    pub fn listen(self: &Arc<Self>, kind: &Kind) -> Listening {
        let mut state = self.state.lock();
        let (connection, told) = state.overlays.join(kind.clone(), Instant::now());
        state.greet(connection, kind, &format!("listener-{connection}"));
        drop(state);
        Listening { told, peeked: None, connection, desk: Arc::clone(self) }
    }

    /// What an overlay tells. Answered once it is on the disk: after a crash, `hello` names what may still play.
    ///
    /// # Errors
    /// `UnknownItem`; the database cannot be written.
    pub async fn ack(&self, overlay: &str, id: &str, ack: Ack) -> Result<Acked, Error> {
        let unknown = || Error::UnknownItem { id: id.to_owned() };
        let sequence = self.sequence(id)?;
        let told = {
            let mut state = self.state.lock();
            state.overlays.heard(overlay);
            match ack {
                Ack::Started => {
                    let counted = state.started(sequence);
                    let (_, state, _) = state.find(sequence).ok_or_else(unknown)?;
                    Ok(Acked { state, counted })
                }
                Ack::Failed => {
                    // One that has been replaced says nothing of how its successor fares.
                    let counted = state.overlays.speaks(overlay)
                        && state.leased.iter().any(|lease| lease.item.sequence == sequence);
                    if counted {
                        state.failed(sequence, "the overlay could not play it");
                    }
                    let (_, state, _) = state.find(sequence).ok_or_else(unknown)?;
                    Ok(Acked { state, counted })
                }
                Ack::Finished => {
                    let speaks = state.overlays.speaks(overlay);
                    let item = state.finished(sequence, speaks);
                    let reason = format!("{} played it", bounded(overlay, MAX_NAME_CHARS));
                    let finished = self.store.end(sequence, Outcome::Finished, reason.clone(), now_ms());
                    if let Some(item) = item {
                        state.show_ended(Gone { item, outcome: Outcome::Finished, reason });
                    }
                    state.pump();
                    Err(finished)
                }
            }
        };
        let finished = match told {
            Ok(acked) => {
                self.settled().await;
                return Ok(acked);
            }
            Err(finished) => finished,
        };
        match finished.await {
            Ok(Ended::Now) => Ok(Acked { state: "finished", counted: true }),
            Ok(Ended::Before(outcome)) => Ok(Acked { state: outcome.name(), counted: false }),
            Ok(Ended::Unknown) => Err(unknown()),
            Err(error) => Err(Error::ChatUnavailable { message: error.to_string() }),
        }
    }

    /// Waits until all that was changed before is on the disk. What cannot be written is told in the log, and holds until
    /// the program ends.
    pub async fn settled(&self) {
        drop(self.store.settle().await);
    }

    /// What the rules would say of a message, and why. Changes nothing.
    pub fn test(&self, message: &Message) -> Verdict {
        let users = UserKey::all(message.platform, &message.user);
        let (early, called) = {
            let state = self.state.lock();
            (state.refuses(&users), state.called(&message.user))
        };
        match early {
            Some((rule, reason)) => Verdict::refused(rule, reason),
            None => self.judge.lock().explain(message, called.as_deref()),
        }
    }

    /// What is to be spoken for an item that overlays may ask for.
    ///
    /// # Errors
    /// `UnknownItem` or `ItemElsewhere`: it must not be heard.
    pub fn sound_of(&self, id: &str) -> Result<SpeechRequest, Error> {
        let sequence = self.sequence(id)?;
        let state = self.state.lock();
        match state.find(sequence) {
            Some((item, "playing" | "waiting" | "finished", _)) => Ok(self.request(&item.item)),
            _ => Err(state.elsewhere(id, sequence)),
        }
    }

    /// Where an item was written.
    #[must_use]
    pub fn channel_of(&self, id: &str) -> Option<String> {
        let sequence = self.names.sequence(id)?;
        let state = self.state.lock();
        state.find(sequence).map(|(item, ..)| item.item.channel.clone())
    }

    fn request(&self, item: &Item) -> SpeechRequest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(item.user.platform.to_string().as_bytes()).update(item.user.id.as_bytes());
        let mut owner = [0; 8];
        hasher.finalize_xof().fill(&mut owner);
        // One that was stored may be gone since.
        let voice = item.voice.clone().filter(|voice| self.speech.voices().resolve(voice).is_ok());
        let engines = self.speech.engines();
        let engine = item.engine.clone().filter(|name| engines.iter().any(|engine| engine.name == *name));
        SpeechRequest {
            text: item.speech.clone(),
            voice,
            own_voice: None,
            whole: false,
            engine,
            language: item.language.clone(),
            speed: 1.0,
            seed: None,
            cache: true,
            streamed: true,
            class: if item.priority == Priority::Paid { Class::ChatPaid } else { Class::Chat },
            owner: Owner(u64::from_le_bytes(owner)),
            params: BTreeMap::new(),
            level: Level::default(),
        }
    }

    /// Speaks an item, so that it is there when it is asked for.
    pub(super) async fn make(&self, item: &Numbered) -> Result<(), Error> {
        let mut speaking = self.speech.speak(self.request(&item.item)).await?;
        let mut samples = 0;
        while let Some(sound) = speaking.next_sound().await? {
            samples += sound.len();
        }
        let duration = Duration::from_secs_f64(samples as f64 / f64::from(speaking.sample_rate_hz.max(1)));
        self.state.lock().made(item.sequence, duration);
        Ok(())
    }

    /// The sound of an item was sent to its end.
    pub fn delivered(&self, id: &str) {
        if let Some(sequence) = self.names.sequence(id) {
            self.state.lock().delivered(sequence);
        }
    }

    pub(super) fn cannot_say(&self, item: &Numbered, error: &Error) {
        tracing::warn!(platform = %item.item.message.platform, %error, "a chat item cannot be said");
        self.state.lock().end_item(item.sequence, Outcome::Failed, &error.to_string());
    }

    #[must_use]
    pub fn queue(&self) -> QueueView {
        let state = self.state.lock();
        let view = |item: &Numbered, name| self.names.view(item, name, None);
        let (overdue, under_way): (Vec<_>, Vec<_>) = state.leased.iter().partition(|lease| lease.overdue);
        let leased = |lease: &Lease| self.names.view(&lease.item, "playing", lease.reason.as_deref());
        QueueView {
            playing: under_way.into_iter().chain(overdue).map(leased).collect(),
            waiting: state.queue.upcoming().map(|item| view(item, "waiting")).collect(),
            held: state
                .queue
                .held()
                .map(|(item, until_ms)| HeldView {
                    item: view(item, "held"),
                    until_unix_s: until_ms.map(|until_ms| until_ms as f64 / 1e3),
                })
                .collect(),
            ended: state
                .ended
                .iter()
                .rev()
                .map(|ended| self.names.view(&ended.item, ended.outcome.name(), Some(&ended.reason)))
                .collect(),
            refused: state.refused.iter().rev().cloned().collect(),
        }
    }

    /// An item as it is now. One that ended so long ago that it is not shown any more is looked up.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn show(&self, item: &Numbered) -> Result<ItemView, Error> {
        let outcome = {
            let state = self.state.lock();
            if let Some(view) = self.view(&state, item.sequence) {
                return Ok(view);
            }
            self.store.outcome(item.sequence)
        };
        let outcome = outcome.await.map_err(|error| Error::ChatUnavailable { message: error.to_string() })?;
        Ok(self.names.view(item, outcome.map_or("ended", Outcome::name), None))
    }

    pub(super) fn view(&self, state: &State, sequence: Sequence) -> Option<ItemView> {
        let (item, name, reason) = state.find(sequence)?;
        Some(self.names.view(item, name, reason))
    }

    pub(super) fn sequence(&self, id: &str) -> Result<Sequence, Error> {
        self.names.sequence(id).ok_or_else(|| Error::UnknownItem { id: id.to_owned() })
    }

    #[must_use]
    pub fn state(&self) -> super::status::ChatState {
        let state = self.state.lock();
        super::status::of(&state, &self.config, &self.names)
    }
}

/// What the configuration names, and what was started before, with its voice and engine.
fn sources(configured: &[(Platform, String)], recovered: &Recovered) -> Vec<Started> {
    let stored = recovered.settings.iter().find(|(name, _)| name == SOURCES);
    let mut all: Vec<Started> = stored.and_then(|(_, value)| serde_json::from_str(value).ok()).unwrap_or_default();
    for (platform, channel) in configured {
        if !all.iter().any(|started| started.platform == *platform && started.channel == *channel) {
            all.push(Started { platform: *platform, channel: channel.clone(), voice: None, engine: None });
        }
    }
    all
}

fn begin(
    config: &Config,
    desk: Weak<Desk>,
    names: &Arc<Names>,
    store: &Arc<Store>,
    library: &Library,
    recovered: Recovered,
) -> State {
    let milliseconds = |seconds: f64| (seconds * 1e3) as u64;
    let bounds = &config.chat.queue;
    let limits = Limits {
        max_waiting: bounds.max_waiting,
        max_paid: bounds.max_paid,
        max_held: bounds.max_held,
        max_age_ms: (bounds.max_age_s > 0.0).then(|| milliseconds(bounds.max_age_s)),
        approval_timeout_ms: milliseconds(bounds.approval_timeout_s),
    };
    let setting = |name: &str| recovered.settings.iter().find(|(other, _)| other == name).map(|(_, value)| &**value);
    let mut state = State::new(Beginning {
        desk,
        names: Arc::clone(names),
        store: Arc::clone(store),
        queue: Queue::new(limits),
        window: 1 + bounds.ahead,
        grace: Duration::try_from_secs_f64(bounds.grace_s).unwrap_or_default(),
        ack_grace: (bounds.ack_grace_s > 0.0).then(|| Duration::from_millis(milliseconds(bounds.ack_grace_s))),
        enabled: config.chat.enabled && setting("enabled") != Some("false"),
        paused: setting("paused") == Some("true"),
        volume: setting("volume").and_then(|value| value.parse().ok()).unwrap_or(1.0),
        muted: recovered.muted.into_iter().collect::<HashMap<_, _>>(),
        voices: Voices::new(&config.chat.voices, library, recovered.voices),
        nicknames: recovered.nicknames.into_iter().collect::<HashMap<_, _>>(),
        ended: recovered.ended,
    });
    for item in recovered.leased {
        state.queue.put_back(item);
    }
    let mut gone: Vec<_> = recovered.held.into_iter().filter_map(|item| state.queue.hold(item, now_ms())).collect();
    gone.extend(recovered.waiting.into_iter().flat_map(|item| state.queue.push(item)));
    for gone in gone {
        state.end_soon(gone);
    }
    state
}

/// An engine that does not load is told to whoever asks for the sound.
async fn hand_over_once_loaded(desk: Weak<Desk>, speech: Arc<Speech>) {
    if speech.wait_ready().await.is_err() {
        tracing::warn!("an engine is missing: the chat goes on without it");
    }
    if let Some(desk) = desk.upgrade() {
        let mut state = desk.state.lock();
        state.ready = true;
        state.pump();
    }
}

async fn tick(desk: Weak<Desk>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let Some(desk) = desk.upgrade() else { return };
        desk.state.lock().expire();
    }
}

/// What is in their languages is spoken by the engine that the server chooses, and in the viewer's voice.
fn warn_of_missing(rules: &ChatRules, speech: &Speech) {
    let engines = speech.engines();
    for (language, name) in &rules.engines {
        if !engines.iter().any(|engine| engine.name == *name) {
            tracing::warn!("chat.rules.engines.{language}: there is no engine {name:?}; the server chooses one");
        }
    }
    let library = speech.voices();
    for (language, name) in &rules.voices {
        if let Err(error) = library.resolve(name) {
            tracing::warn!("chat.rules.voices.{language}: {error}; viewers keep their voices");
        }
    }
}

fn make_directory(directory: &Path) -> Result<(), StoreError> {
    std::fs::create_dir_all(directory).map_err(|error| {
        StoreError(format!("{}: cannot be made: {error}; choose another chat.directory", directory.display()))
    })
}
