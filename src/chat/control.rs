//! Who is in control: people through HTTP and hotkeys, and those in the chat who may.

use super::{
    Message, Platform,
    desk::{Desk, SOURCES},
    item::{Outcome, UserKey},
    queue::Gone,
    rules::Command,
    sources::Started,
    state::State,
    store::{Stage, Writing},
    told::{ChatEvent, ItemView},
};
use crate::error::Error;

impl Desk {
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
        let voice = voice.map(|name| self.speech.voices().resolve(name)).transpose()?.map(|voice| voice.id.clone());
        self.listen_to(Started { platform, channel: channel.trim().to_owned(), voice, engine })
    }

    pub(super) fn listen_to(&self, started: Started) -> Result<String, Error> {
        let mut state = self.state.lock();
        let channel = state.sources.start(&*self.connector, started, self.events.clone())?;
        self.keep_sources(&state);
        Ok(channel)
    }

    /// Stops all that are of this platform and channel, whichever are named. False: there is none. What they had waiting
    /// is still heard.
    pub fn stop(&self, platform: Option<Platform>, channel: Option<&str>) -> bool {
        let mut state = self.state.lock();
        let stopped = state.sources.stop(platform, channel.map(str::trim));
        self.keep_sources(&state);
        stopped
    }

    /// Makes the connections to a platform again, as who we are there has changed. What they had waiting is still heard.
    pub(super) fn connect_anew(&self, platform: Platform) {
        for error in self.state.lock().sources.connect_anew(platform, &*self.connector, &self.events) {
            tracing::warn!(%platform, %error, "a chat is not listened to");
        }
    }

    fn keep_sources(&self, state: &State) {
        let started = serde_json::to_string(&state.sources.started()).unwrap_or_default();
        self.store.set(SOURCES, started);
    }

    /// What somebody in the chat who may do so asked for.
    pub(super) fn act(&self, command: Command, message: &Message, user: &UserKey) -> Result<(), Error> {
        match command {
            Command::Skip => drop(self.skip(None)),
            Command::Pause => self.pause(true),
            Command::Resume => self.pause(false),
            Command::Clear => drop(self.clear()),
            Command::Voice(name) => {
                let voice = self.state.lock().voices.check(&name, &self.speech.voices(), true)?;
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

    /// What is playing, or the named item wherever it is. None: there is nothing.
    ///
    /// # Errors
    /// `UnknownItem`
    pub fn skip(&self, id: Option<&str>) -> Result<Option<ItemView>, Error> {
        let named = id.map(|id| self.sequence(id)).transpose()?;
        let mut state = self.state.lock();
        let sequence = named.or_else(|| state.current().or(state.leased.front()).map(|lease| lease.item.sequence));
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
        state.inform_all(if paused { &ChatEvent::Pause } else { &ChatEvent::Resume });
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
        let current = state.current().map(|lease| lease.item.sequence);
        let leased = state.leased.iter().map(|lease| lease.item.sequence);
        let next: Vec<_> = leased.filter(|sequence| Some(*sequence) != current).collect();
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
        state.inform_all(&ChatEvent::Volume { volume });
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
        // The same person may be muted by other names and ids: as whom they were named then tells.
        let names: Vec<UserKey> = users
            .iter()
            .filter_map(|user| state.muted.get(user))
            .map(|name| UserKey::named(platform, name))
            .chain([UserKey::named(platform, shown)])
            .collect();
        for user in &users {
            drop(self.store.mute(user.clone(), muted.then(|| shown.to_owned())));
            if muted {
                state.muted.insert(user.clone(), shown.to_owned());
            } else {
                state.muted.remove(user);
            }
        }
        if !muted {
            let is_same = |name: &UserKey| names.contains(name) || users.contains(name);
            let same: Vec<_> = state
                .muted
                .iter()
                .filter(|(user, name)| user.platform == platform && is_same(&UserKey::named(platform, name)))
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
    /// `UnknownItem` or `ItemElsewhere`: it is not held.
    pub fn approve(&self, id: &str) -> Result<(), Error> {
        let sequence = self.sequence(id)?;
        let mut state = self.state.lock();
        let Some(item) = state.queue.approve(sequence) else { return Err(state.elsewhere(id, sequence)) };
        self.store.set_stage(sequence, Stage::Waiting);
        self.judge.lock().welcome(&item.item.user);
        for gone in state.queue.push(item) {
            state.end_soon(gone);
        }
        state.pump();
        Ok(())
    }

    /// # Errors
    /// `UnknownItem` or `ItemElsewhere`: it is not held.
    pub fn reject(&self, id: &str) -> Result<(), Error> {
        let sequence = self.sequence(id)?;
        let mut state = self.state.lock();
        let Some(item) = state.queue.approve(sequence) else { return Err(state.elsewhere(id, sequence)) };
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
            Some(name) => Some(self.state.lock().voices.check(name, &self.speech.voices(), false)?),
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
}
