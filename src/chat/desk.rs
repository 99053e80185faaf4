//! The desk: messages come in, are judged, stored and queued; overlays take items and tell how far they are; whoever is
//! in control skips, pauses, approves. Its books are under one lock that is never held over a wait.

use std::{
    borrow::Cow,
    collections::HashMap,
    path::Path,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use super::{
    Amount, Event, Kind as MessageKind, Message, Platform,
    item::{Item, MessageKey, Numbered, Outcome, Sequence, UserKey},
    judge::Judge,
    overlays::{Connection, Kind, Told},
    queue::{Gone, Limits, Queue},
    rules::{Command, Decision, Priority, Speech as Spoken, Verdict},
    sources::{Connector, Started},
    state::{Beginning, State, now_ms},
    store::{Ended, Recovered, Stage, Store, StoreError, Stored, Writing},
    token,
    told::{ChatEvent, HeldView, ItemView, Names, QueueView, RefusedView},
    voices::Voices,
};
use crate::{
    config::Config,
    error::Error,
    scheduler::{Class, Owner},
    speech::{Speech, SpeechRequest},
    voices::Library,
};

/// A setting of the database: what was started.
const SOURCES: &str = "sources";

pub const DATABASE: &str = "chat.sqlite3";
/// How often what is overdue is looked for.
const TICK: Duration = Duration::from_millis(200);
/// Events that wait for the desk. Sources wait when it is full.
const EVENTS: usize = 1024;
/// When a paid message should be sent again that did not fit.
const FULL_RETRY: Duration = Duration::from_secs(5);

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
    config: Arc<Config>,
    names: Arc<Names>,
    store: Arc<Store>,
    judge: Mutex<Judge>,
    state: Mutex<State>,
    connector: Arc<dyn Connector>,
    events: mpsc::Sender<Event>,
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
        make_directory(directory)?;
        let (store, recovered) = Store::open(&directory.join(DATABASE), config.chat.queue.keep)?;
        let token = token::read_or_make(directory)?;
        let started = sources(&connector.configured(), &recovered);
        let (events, told) = mpsc::channel(EVENTS);
        let desk = Arc::new_cyclic(|desk: &Weak<Self>| {
            let store = Arc::new(store);
            let names = Arc::new(Names { epoch: recovered.epoch.clone(), token });
            let state = begin(&config, desk.clone(), &names, &store, speech.voices(), recovered);
            Self {
                speech,
                names,
                store,
                judge: Mutex::new(Judge::new(&config)),
                state: Mutex::new(state),
                connector,
                events,
                config,
            }
        });
        tokio::spawn(hand_over_once_loaded(Arc::downgrade(&desk), Arc::clone(&desk.speech)));
        tokio::spawn(tick(Arc::downgrade(&desk)));
        tokio::spawn(take_events(Arc::downgrade(&desk), told));
        for started in started {
            let (platform, channel) = (started.platform, started.channel.clone());
            if let Err(error) = desk.listen_to(started) {
                tracing::warn!(%platform, channel, %error, "a chat is not listened to");
            }
        }
        Ok(desk)
    }

    #[must_use]
    pub fn token(&self) -> &str {
        &self.names.token
    }

    /// Where sources put what they hear.
    #[must_use]
    pub fn events(&self) -> mpsc::Sender<Event> {
        self.events.clone()
    }

    /// Listens to a chat, also after a restart; in `voice` and by `engine`, if they are named. The answer is the channel as
    /// the platform has it.
    ///
    /// # Errors
    /// There is no such channel or voice, or no way to it.
    pub fn start(
        &self,
        platform: Platform,
        channel: &str,
        voice: Option<&str>,
        engine: Option<String>,
    ) -> Result<String, Error> {
        let voice = voice.map(|name| self.speech.voices().get(name)).transpose()?.map(|voice| voice.id.clone());
        self.listen_to(Started { platform, channel: channel.trim().to_owned(), voice, engine })
    }

    fn listen_to(&self, started: Started) -> Result<String, Error> {
        let mut state = self.state.lock();
        let channel = state.sources.start(&*self.connector, started, self.events.clone())?;
        self.keep_sources(&state);
        Ok(channel)
    }

    /// False: that chat was not listened to. What it had waiting is still heard.
    pub fn stop(&self, platform: Platform, channel: &str) -> bool {
        let mut state = self.state.lock();
        let stopped = state.sources.stop(platform, channel.trim());
        self.keep_sources(&state);
        stopped
    }

    fn keep_sources(&self, state: &State) {
        let started = serde_json::to_string(&state.sources.started()).unwrap_or_default();
        self.store.set(SOURCES, started);
    }

    /// Answered once it is on the disk, or once it is refused. It goes on when the caller leaves.
    ///
    /// # Errors
    /// The database cannot be written, or the queue is full of paid items.
    pub async fn take(self: &Arc<Self>, message: Message) -> Result<Taken, Error> {
        self.take_in_voice(message, None).await
    }

    /// As `take`, in a voice of the caller's choice, if there is one of that name.
    ///
    /// # Errors
    /// As `take`.
    pub async fn take_in_voice(self: &Arc<Self>, message: Message, voice: Option<String>) -> Result<Taken, Error> {
        let begun = self.begin(message, voice);
        let desk = Arc::clone(self);
        let taking = tokio::spawn(async move { desk.complete(begun).await });
        taking.await.unwrap_or(Err(Error::ShuttingDown))
    }

    /// Judges a message and begins to store it.
    fn begin(&self, message: Message, voice: Option<String>) -> Begun {
        let key = MessageKey { platform: message.platform, id: message.id.clone() };
        let tell = match self.state.lock().know(&key) {
            Ok(tell) => tell,
            Err(known) => return Begun::Known(known),
        };
        let users =
            [UserKey::of(message.platform, &message.user), UserKey::named(message.platform, &message.user.name)];
        let (enabled, muted) = {
            let state = self.state.lock();
            (state.enabled, state.is_muted([&users[0], &users[1]]))
        };
        let refused = |rule: &str, reason: &str| Some((rule.to_owned(), reason.to_owned()));
        let early = match (enabled, muted) {
            (false, _) => refused("disabled", "the chat is disabled; POST /v1/chat/start enables it"),
            (true, true) => refused("muted", "this user is muted"),
            (true, false) => None,
        };
        if let Some((rule, reason)) = early {
            return self.refuse(&message, rule, reason, tell);
        }
        let Verdict { decision, rule, reason, .. } = self.judge.lock().judge(&self.as_called(&message));
        let (mut spoken, hold) = match decision {
            Decision::Speak(spoken) => (spoken, false),
            Decision::Hold(spoken) => (spoken, true),
            Decision::Refuse => return self.refuse(&message, rule.to_owned(), reason, tell),
            Decision::Act(command) => {
                let taken = match self.act(command, &message, &users[0]) {
                    Ok(()) => Taken::Acted { reason },
                    Err(error) => {
                        return self.refuse(&message, rule.to_owned(), error.to_string(), tell);
                    }
                };
                tell.send_replace(Some(taken.clone()));
                return Begun::Decided(Ok(taken));
            }
        };
        spoken.voice = voice.or(spoken.voice);
        let item = self.item(message, spoken, users, rule, reason);
        let stage = if hold { Stage::Held } else { Stage::Waiting };
        // Under the lock, so that what is taken in the order in which it is stored.
        let mut state = self.state.lock();
        if item.priority == Priority::Paid && state.queue.check_paid().is_err() {
            state.forget(&key);
            state.refuse(RefusedView {
                platform: item.message.platform,
                channel: item.channel,
                message_id: item.message.id,
                user: item.user_name,
                text: item.text,
                rule: "queue_full".to_owned(),
                reason: format!("{} paid items wait already", self.config.chat.queue.max_paid),
                at_unix_s: now_ms() as f64 / 1e3,
            });
            return Begun::Decided(Err(Error::Busy { retry_after: FULL_RETRY }));
        }
        Begun::Storing { stored: self.store.insert(item, stage), hold, key, tell }
    }

    /// With the author's nickname, if the streamer has given one.
    fn as_called<'a>(&self, message: &'a Message) -> Cow<'a, Message> {
        let state = self.state.lock();
        match state.nicknames.get(&message.user.name.to_lowercase()) {
            Some(nickname) => {
                let mut message = message.clone();
                message.user.name.clone_from(nickname);
                Cow::Owned(message)
            }
            None => Cow::Borrowed(message),
        }
    }

    async fn complete(&self, begun: Begun) -> Result<Taken, Error> {
        let unavailable = |error: &StoreError| Error::ChatUnavailable { message: error.to_string() };
        match begun {
            Begun::Decided(taken) => taken,
            Begun::Known(mut known) => {
                let told = known.wait_for(Option::is_some).await.ok().and_then(|taken| taken.clone());
                told.ok_or_else(|| Error::ChatUnavailable { message: "it could not be stored".to_owned() })
            }
            Begun::Storing { stored, hold, key, tell } => {
                let item = match stored.await {
                    Ok(Stored::New(item)) => {
                        self.state.lock().admit(&item, hold);
                        item
                    }
                    Ok(Stored::Known { item, state }) => {
                        self.remember(&item, &state);
                        item
                    }
                    Err(error) => {
                        self.state.lock().forget(&key);
                        return Err(unavailable(&error));
                    }
                };
                let taken = Taken::Item(item);
                tell.send_replace(Some(taken.clone()));
                Ok(taken)
            }
        }
    }

    /// It ended before this server started: so that it can be shown.
    fn remember(&self, item: &Arc<Numbered>, state: &str) {
        let mut books = self.state.lock();
        if let Some(outcome) = Outcome::parse(state)
            && books.find(item.sequence).is_none()
        {
            let ended = super::told::EndedItem { item: Arc::clone(item), outcome, reason: item.item.reason.clone() };
            books.ended.push_front(ended);
        }
    }

    fn refuse(&self, message: &Message, rule: String, reason: String, tell: watch::Sender<Option<Taken>>) -> Begun {
        let taken = Taken::Refused { rule: rule.clone(), reason: reason.clone() };
        tell.send_replace(Some(taken.clone()));
        self.state.lock().refuse(RefusedView {
            platform: message.platform,
            channel: message.channel.clone(),
            message_id: message.id.clone(),
            user: message.user.name.clone(),
            text: message.text.clone(),
            rule,
            reason,
            at_unix_s: now_ms() as f64 / 1e3,
        });
        Begun::Decided(Ok(taken))
    }

    fn item(&self, message: Message, spoken: Spoken, users: [UserKey; 2], rule: &str, reason: String) -> Item {
        let library = self.speech.voices();
        let named = spoken.voice.and_then(|name| library.get(&name).ok()).map(|voice| voice.id.clone());
        let [user, name] = users;
        let (of_channel, engine) = self.state.lock().sources.voice_of(message.platform, &message.channel);
        let named = named.or(of_channel);
        let voice = named.or_else(|| self.state.lock().voices.of(&user, &name).map(str::to_owned));
        Item {
            message: MessageKey { platform: message.platform, id: message.id },
            channel: message.channel,
            user,
            user_name: message.user.name,
            text: spoken.display_text,
            speech: spoken.text,
            language: spoken.language,
            engine: spoken.engine.or(engine),
            voice,
            priority: spoken.priority,
            paid: paid(&message.kind),
            rule: rule.to_owned(),
            reason,
            arrived_ms: now_ms(),
        }
    }

    /// What somebody in the chat who may do so asked for.
    fn act(&self, command: Command, message: &Message, user: &UserKey) -> Result<(), Error> {
        match command {
            Command::Skip => drop(self.skip(None)),
            Command::Pause => self.pause(true),
            Command::Resume => self.pause(false),
            Command::Clear => drop(self.clear()),
            Command::Voice(name) => {
                let voice = self.state.lock().voices.check(&name, self.speech.voices(), true)?;
                drop(self.choose_voice(user.clone(), Some(voice)));
            }
            Command::ResetVoice => drop(self.choose_voice(user.clone(), None)),
            Command::Volume(volume) => self.set_volume(volume),
            Command::Mute(name) => drop(self.mute(message.platform, None, &name, true)),
            Command::Unmute(name) => drop(self.mute(message.platform, None, &name, false)),
            Command::Approve | Command::Reject => {
                let oldest = self.state.lock().queue.held().next().map(|(item, _)| item.sequence);
                if let Some(sequence) = oldest {
                    let id = self.names.id(sequence);
                    if command == Command::Approve { self.approve(&id)? } else { self.reject(&id)? }
                }
            }
        }
        Ok(())
    }

    /// Whatever a source tells beside messages.
    fn withdraw(&self, event: &Event) {
        let mut state = self.state.lock();
        match event {
            Event::Deleted { platform, id, .. } => {
                let key = MessageKey { platform: *platform, id: id.clone() };
                state.withdraw(Some(key.clone()), |item| item.item.message == key, "the message was deleted");
            }
            Event::UserRemoved { platform, channel, user_id, .. } => {
                let user = UserKey { platform: *platform, id: user_id.clone() };
                let theirs = |item: &Numbered| item.item.user == user && is_of(item, channel);
                state.withdraw(None, theirs, "its author was removed from the chat");
            }
            Event::Cleared { platform, channel } => {
                let of_it = |item: &Numbered| item.item.message.platform == *platform && is_of(item, channel);
                state.withdraw(None, of_it, "the chat was cleared");
            }
            Event::Message(_) | Event::Ended { .. } => {}
        }
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

    /// What an overlay tells. `finished` is answered once it is on the disk.
    ///
    /// # Errors
    /// `UnknownItem`; the database cannot be written.
    pub async fn ack(&self, overlay: &str, id: &str, ack: Ack) -> Result<Acked, Error> {
        let unknown = || Error::UnknownItem { id: id.to_owned() };
        let sequence = self.sequence(id)?;
        let finished = {
            let mut state = self.state.lock();
            match ack {
                Ack::Started => {
                    if state.started(sequence) {
                        return Ok(Acked { state: "playing", counted: true });
                    }
                    let (_, state, _) = state.find(sequence).ok_or_else(unknown)?;
                    return Ok(Acked { state, counted: false });
                }
                Ack::Failed => {
                    let known = state.leased.iter().any(|lease| lease.item.sequence == sequence);
                    state.failed(sequence, "the overlay could not play it");
                    let (_, state, _) = state.find(sequence).ok_or_else(unknown)?;
                    return Ok(Acked { state, counted: known });
                }
                Ack::Finished => {
                    let speaks = state.overlays.speaks(overlay);
                    let item = state.finished(sequence, speaks);
                    let finished = self.store.end(sequence, Outcome::Finished, String::new(), now_ms());
                    if let Some(item) = item {
                        let reason = format!("{overlay} played it");
                        state.show_ended(Gone { item, outcome: Outcome::Finished, reason });
                    }
                    state.pump();
                    finished
                }
            }
        };
        match finished.await {
            Ok(Ended::Now) => Ok(Acked { state: "finished", counted: true }),
            Ok(Ended::Before(outcome)) => Ok(Acked { state: outcome.name(), counted: false }),
            Ok(Ended::Unknown) => Err(unknown()),
            Err(error) => Err(Error::ChatUnavailable { message: error.to_string() }),
        }
    }

    /// What is playing, or the named item wherever it is. None: there is nothing.
    ///
    /// # Errors
    /// `UnknownItem`
    pub fn skip(&self, id: Option<&str>) -> Result<Option<ItemView>, Error> {
        let named = id.map(|id| self.sequence(id)).transpose()?;
        let mut state = self.state.lock();
        let sequence = named.or_else(|| state.leased.front().map(|lease| lease.item.sequence));
        let Some(sequence) = sequence else { return Ok(None) };
        if state.end_item(sequence, Outcome::Skipped, "skipped") {
            return Ok(self.view(&state, sequence));
        }
        match (id, self.view(&state, sequence)) {
            (Some(id), None) => Err(Error::UnknownItem { id: id.to_owned() }),
            (_, view) => Ok(view),
        }
    }

    pub fn pause(&self, paused: bool) {
        let mut state = self.state.lock();
        if state.paused == paused {
            return;
        }
        state.paused = paused;
        self.store.set("paused", paused.to_string());
        state.tell_all(if paused { &ChatEvent::Pause } else { &ChatEvent::Resume });
        state.pump();
    }

    /// Whether messages are taken at all.
    pub fn enable(&self, enabled: bool) {
        self.state.lock().enabled = enabled;
        self.store.set("enabled", enabled.to_string());
    }

    /// All that waits, but not what is playing. How many that was.
    pub fn clear(&self) -> usize {
        let mut state = self.state.lock();
        let next: Vec<_> = state.leased.iter().skip(1).map(|lease| lease.item.sequence).collect();
        let mut items: Vec<_> = next.into_iter().filter_map(|sequence| state.take_out(sequence, "cleared")).collect();
        items.extend(state.queue.withdraw(|_| true));
        let count = items.len();
        for item in items {
            state.end_soon(Gone { item, outcome: Outcome::Cleared, reason: "the queue was cleared".to_owned() });
        }
        state.pump();
        count
    }

    /// 0 to 1.
    pub fn set_volume(&self, volume: f32) {
        let volume = if volume.is_finite() { volume.clamp(0.0, 1.0) } else { 1.0 };
        let mut state = self.state.lock();
        state.volume = volume;
        self.store.set("volume", volume.to_string());
        state.tell_all(&ChatEvent::Volume { volume });
    }

    /// Mutes a user, by the platform's id or by name, and takes back what of theirs has not been said; or unmutes. How
    /// many items that were.
    pub fn mute(&self, platform: Platform, user_id: Option<&str>, name: &str, muted: bool) -> usize {
        let mut state = self.state.lock();
        let users = match user_id {
            Some(id) => [UserKey { platform, id: id.to_owned() }].into(),
            None => state.names_of(platform, name),
        };
        let shown = user_id.filter(|_| name.is_empty()).unwrap_or(name);
        for user in &users {
            drop(self.store.mute(user.clone(), muted.then(|| shown.to_owned())));
            if muted {
                state.muted.insert(user.clone(), shown.to_owned());
            } else {
                state.muted.remove(user);
            }
        }
        if !muted {
            // By whichever name or id the same person was muted.
            let same: Vec<_> = state
                .muted
                .iter()
                .filter(|(user, other)| user.platform == platform && other.eq_ignore_ascii_case(shown))
                .map(|(user, _)| user.clone())
                .collect();
            for user in same {
                drop(self.store.mute(user.clone(), None));
                state.muted.remove(&user);
            }
            return 0;
        }
        state.withdraw(None, |item| users.contains(&item.item.user), "its author was muted")
    }

    /// Lets a held item be heard.
    ///
    /// # Errors
    /// `UnknownItem`: it is not held.
    pub fn approve(&self, id: &str) -> Result<(), Error> {
        let sequence = self.sequence(id)?;
        let mut state = self.state.lock();
        let item = state.queue.approve(sequence).ok_or_else(|| Error::UnknownItem { id: id.to_owned() })?;
        self.store.set_stage(sequence, Stage::Waiting);
        for gone in state.queue.push(item) {
            state.end_soon(gone);
        }
        state.pump();
        Ok(())
    }

    /// # Errors
    /// `UnknownItem`: it is not held.
    pub fn reject(&self, id: &str) -> Result<(), Error> {
        let sequence = self.sequence(id)?;
        let mut state = self.state.lock();
        let item = state.queue.approve(sequence).ok_or_else(|| Error::UnknownItem { id: id.to_owned() })?;
        state.end_soon(Gone { item, outcome: Outcome::Rejected, reason: "somebody rejected it".to_owned() });
        state.pump();
        Ok(())
    }

    /// The voice in which a user is heard from now on; none: the one of the pool.
    pub fn choose_voice(&self, user: UserKey, voice: Option<String>) -> Writing<()> {
        self.state.lock().voices.choose(user.clone(), voice.clone());
        self.store.set_voice(user, voice)
    }

    /// As `choose_voice`, for a user that somebody in control names.
    ///
    /// # Errors
    /// The voice does not exist; the database cannot be written.
    pub async fn assign_voice(&self, user: UserKey, voice: Option<&str>) -> Result<Option<String>, Error> {
        let voice = match voice {
            Some(name) => Some(self.state.lock().voices.check(name, self.speech.voices(), false)?),
            None => None,
        };
        let written = self.choose_voice(user, voice.clone()).await;
        written.map_err(|error| Error::ChatUnavailable { message: error.to_string() })?;
        Ok(voice)
    }

    /// How a user is called when their name is said; none, or an empty one: by their name.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn set_nickname(&self, user: &str, nickname: Option<&str>) -> Result<(), Error> {
        let user = user.trim().trim_start_matches('@').to_lowercase();
        let nickname = nickname.map(str::trim).filter(|nickname| !nickname.is_empty()).map(str::to_owned);
        let written = {
            let mut state = self.state.lock();
            match &nickname {
                Some(nickname) => drop(state.nicknames.insert(user.clone(), nickname.clone())),
                None => drop(state.nicknames.remove(&user)),
            }
            self.store.set_nickname(user, nickname)
        };
        written.await.map_err(|error| Error::ChatUnavailable { message: error.to_string() })
    }

    /// What the rules would say of a message, and why. Changes nothing.
    pub fn test(&self, message: &Message) -> Verdict {
        self.judge.lock().explain(&self.as_called(message))
    }

    /// What is to be spoken for an item that overlays may ask for.
    ///
    /// # Errors
    /// `UnknownItem`: it does not exist, or must not be heard any more.
    pub fn sound_of(&self, id: &str) -> Result<SpeechRequest, Error> {
        let unknown = || Error::UnknownItem { id: id.to_owned() };
        let sequence = self.sequence(id)?;
        let state = self.state.lock();
        let (item, found, _) = state.find(sequence).ok_or_else(unknown)?;
        if matches!(found, "playing" | "waiting" | "finished") { Ok(self.request(&item.item)) } else { Err(unknown()) }
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
        let voice = item.voice.clone().filter(|voice| self.speech.voices().get(voice).is_ok());
        SpeechRequest {
            text: item.speech.clone(),
            voice,
            own_voice: None,
            whole: false,
            engine: item.engine.clone(),
            language: item.language.clone(),
            speed: 1.0,
            seed: None,
            cache: true,
            streamed: true,
            class: if item.priority == Priority::Paid { Class::ChatPaid } else { Class::Chat },
            owner: Owner(u64::from_le_bytes(owner)),
            params: std::collections::BTreeMap::new(),
        }
    }

    /// Speaks an item, so that it is there when it is asked for.
    pub(super) async fn make(&self, item: &Numbered) -> Result<(), Error> {
        let mut speaking = self.speech.speak(self.request(&item.item)).await?;
        while speaking.next_sound().await?.is_some() {}
        Ok(())
    }

    pub(super) fn cannot_say(&self, item: &Numbered, error: &Error) {
        tracing::warn!(platform = %item.item.message.platform, %error, "a chat item cannot be said");
        self.state.lock().end_item(item.sequence, Outcome::Failed, &error.to_string());
    }

    #[must_use]
    pub fn queue(&self) -> QueueView {
        let state = self.state.lock();
        let view = |item: &Numbered, name| self.names.view(item, name, None);
        QueueView {
            playing: state.leased.iter().map(|lease| view(&lease.item, "playing")).collect(),
            waiting: state.queue.upcoming().map(|item| view(item, "waiting")).collect(),
            held: state
                .queue
                .held()
                .map(|(item, until_ms)| HeldView { item: view(item, "held"), until_unix_s: until_ms as f64 / 1e3 })
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

    /// An item as it is now.
    #[must_use]
    pub fn show(&self, item: &Numbered) -> ItemView {
        let state = self.state.lock();
        self.view(&state, item.sequence).unwrap_or_else(|| self.names.view(item, "waiting", None))
    }

    fn view(&self, state: &State, sequence: Sequence) -> Option<ItemView> {
        let (item, name, reason) = state.find(sequence)?;
        Some(self.names.view(item, name, reason))
    }

    fn sequence(&self, id: &str) -> Result<Sequence, Error> {
        self.names.sequence(id).ok_or_else(|| Error::UnknownItem { id: id.to_owned() })
    }

    #[must_use]
    pub fn state(&self) -> super::status::ChatState {
        let state = self.state.lock();
        super::status::of(&state, &self.config, &self.names)
    }
}

enum Begun {
    Decided(Result<Taken, Error>),
    /// It came before.
    Known(watch::Receiver<Option<Taken>>),
    Storing {
        stored: Writing<Stored>,
        hold: bool,
        key: MessageKey,
        tell: watch::Sender<Option<Taken>>,
    },
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
        enabled: config.chat.enabled && setting("enabled") != Some("false"),
        paused: setting("paused") == Some("true"),
        volume: setting("volume").and_then(|value| value.parse().ok()).unwrap_or(1.0),
        muted: recovered.muted.into_iter().collect::<HashMap<_, _>>(),
        voices: Voices::new(&config.chat.voices, library, recovered.voices),
        nicknames: recovered.nicknames.into_iter().collect::<HashMap<_, _>>(),
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

/// Messages that come together share a commit; what takes one back comes after it, as it was sent.
async fn take_events(desk: Weak<Desk>, mut told: mpsc::Receiver<Event>) {
    let mut events = Vec::new();
    while told.recv_many(&mut events, EVENTS).await > 0 {
        let Some(desk) = desk.upgrade() else { return };
        let mut storing = Vec::new();
        for event in events.drain(..) {
            if let Event::Message(message) = event {
                storing.push(desk.begin(message, None));
                continue;
            }
            stored(&desk, &mut storing).await;
            desk.withdraw(&event);
        }
        stored(&desk, &mut storing).await;
    }
}

async fn stored(desk: &Desk, storing: &mut Vec<Begun>) {
    for begun in storing.drain(..) {
        if let Err(error) = desk.complete(begun).await {
            tracing::error!(%error, "a chat message is lost");
        }
    }
}

/// Who sends messages by the API need not say where they were written.
fn is_of(item: &Numbered, channel: &str) -> bool {
    item.item.channel.is_empty() || item.item.channel == channel
}

fn paid(kind: &MessageKind) -> Option<Amount> {
    match kind {
        MessageKind::SuperChat { amount } => Some(amount.clone()),
        MessageKind::Gift { amount, .. } | MessageKind::Subscription { amount, .. } => amount.clone(),
        // A bit is a cent to the streamer.
        MessageKind::Cheer { bits } => Some(Amount { micros: bits * 10_000, currency: "USD".to_owned() }),
        MessageKind::Chat | MessageKind::SubscriptionGift { .. } | MessageKind::Raid { .. } => None,
        MessageKind::Redemption { .. } => None,
    }
}

fn make_directory(directory: &Path) -> Result<(), StoreError> {
    std::fs::create_dir_all(directory).map_err(|error| {
        StoreError(format!("{}: cannot be made: {error}; choose another chat.directory", directory.display()))
    })
}
