//! From a message to an item: judged, stored, taken in; and back out, if the platform takes it back.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::sync::{mpsc, watch};

use super::{
    Amount, Event, Kind as MessageKind, Message,
    desk::{Desk, EVENTS, Taken},
    item::{Item, MessageKey, Numbered, UserKey},
    rules::{Decision, Priority, Speech as Spoken, Verdict},
    state::now_ms,
    store::{Stage, StoreError, Stored, Writing},
    told::RefusedView,
};
use crate::error::Error;

/// What is shown of a message that was refused.
const MAX_REFUSED_CHARS: usize = 500;
pub(super) const MAX_NAME_CHARS: usize = 100;
/// When a paid message should be sent again that did not fit.
const FULL_RETRY: Duration = Duration::from_secs(5);

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

impl Desk {
    /// Answered once it is on the disk, or once it is refused. It goes on when the caller leaves.
    ///
    /// # Errors
    /// The database cannot be written, or the queue is full of paid items.
    pub async fn take(self: &Arc<Self>, message: Message) -> Result<Taken, Error> {
        self.take_in_voice(message, None).await
    }

    /// As `take`, in a voice of the caller's choice.
    ///
    /// # Errors
    /// As `take`; there is no such voice.
    pub async fn take_in_voice(self: &Arc<Self>, message: Message, voice: Option<String>) -> Result<Taken, Error> {
        if let Some(name) = &voice {
            self.speech.voices().resolve(name)?;
        }
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
        let users = UserKey::all(message.platform, &message.user);
        let (early, called) = {
            let state = self.state.lock();
            (state.refuses(&users), state.called(&message.user))
        };
        if let Some((rule, reason)) = early {
            return self.refuse(&message, rule.to_owned(), reason.to_owned(), tell);
        }
        let Verdict { decision, rule, reason, .. } = self.judge.lock().judge(&message, called.as_deref());
        let (mut spoken, hold) = match decision {
            Decision::Speak(spoken) => (spoken, false),
            Decision::Hold(spoken) => (spoken, true),
            Decision::Refuse => return self.refuse(&message, rule.to_owned(), reason, tell),
            Decision::Act(command) => {
                let taken = match self.act(command, &message, &users[0]) {
                    Ok(()) => Taken::Acted { rule: rule.to_owned(), reason },
                    Err(error) => {
                        return self.refuse(&message, rule.to_owned(), error.to_string(), tell);
                    }
                };
                tell.send_replace(Some(taken.clone()));
                return Begun::Decided(Ok(taken));
            }
        };
        spoken.voice = voice.or(spoken.voice);
        let item = self.item(message, spoken, &users, rule, reason);
        let stage = if hold { Stage::Held } else { Stage::Waiting };
        // Under the lock, so that what is taken in the order in which it is stored.
        let mut state = self.state.lock();
        if item.priority == Priority::Paid && state.queue.check_paid().is_err() {
            state.forget(&key);
            state.refuse(RefusedView {
                platform: item.message.platform,
                channel: item.channel,
                message_id: item.message.id,
                user: bounded(&item.user_name, MAX_NAME_CHARS),
                text: bounded(&item.text, MAX_REFUSED_CHARS),
                rule: "queue_full".to_owned(),
                reason: format!("{} paid items wait already", self.config.chat.queue.max_paid),
                at_unix_s: now_ms() as f64 / 1e3,
            });
            return Begun::Decided(Err(Error::Busy { retry_after: FULL_RETRY }));
        }
        Begun::Storing { stored: self.store.insert(item, stage), hold, key, tell }
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
                    Ok(Stored::Known(item)) => item,
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

    fn refuse(&self, message: &Message, rule: String, reason: String, tell: watch::Sender<Option<Taken>>) -> Begun {
        let taken = Taken::Refused { rule: rule.clone(), reason: reason.clone() };
        tell.send_replace(Some(taken.clone()));
        self.state.lock().refuse(RefusedView {
            platform: message.platform,
            channel: message.channel.clone(),
            message_id: message.id.clone(),
            user: bounded(&message.user.name, MAX_NAME_CHARS),
            text: bounded(&message.text, MAX_REFUSED_CHARS),
            rule,
            reason,
            at_unix_s: now_ms() as f64 / 1e3,
        });
        Begun::Decided(Ok(taken))
    }

    fn item(&self, message: Message, spoken: Spoken, users: &[UserKey], rule: &str, reason: String) -> Item {
        let library = self.speech.voices();
        let named = spoken.voice.and_then(|name| library.resolve(&name).ok()).map(|voice| voice.id.clone());
        let (of_channel, engine) = self.state.lock().sources.voice_of(message.platform, &message.channel);
        let named = named.or(of_channel);
        let engines = self.speech.engines();
        let chosen = spoken.engine.filter(|name| engines.iter().any(|engine| engine.name == *name));
        let voice = named.or_else(|| self.state.lock().voices.of(users).map(str::to_owned));
        Item {
            message: MessageKey { platform: message.platform, id: message.id },
            channel: message.channel,
            user: UserKey::of(message.platform, &message.user),
            user_name: message.user.name,
            user_login: message.user.login,
            shown_name: spoken.name,
            masked: message.user.masked,
            text: spoken.display_text,
            speech: spoken.text,
            language: spoken.language,
            engine: chosen.or(engine),
            voice,
            priority: spoken.priority,
            paid: paid(&message.kind),
            rule: rule.to_owned(),
            reason,
            arrived_ms: now_ms(),
        }
    }

    /// Whatever a source tells beside messages.
    fn withdraw(&self, event: &Event) {
        let mut state = self.state.lock();
        match event {
            Event::Deleted { platform, id, .. } => {
                let key = MessageKey { platform: *platform, id: id.clone() };
                state.withdraw(Some(key.clone()), |item| item.item.message == key, "the message was deleted");
            }
            Event::UserRemoved { platform, channel, user_id, user_name, .. } => {
                let user = UserKey { platform: *platform, id: user_id.clone() };
                let theirs = |item: &Numbered| item.item.is_by(&user, user_name.as_deref()) && is_of(item, channel);
                state.withdraw(None, theirs, "its author was removed from the chat");
            }
            Event::Cleared { platform, channel } => {
                let of_it = |item: &Numbered| item.item.message.platform == *platform && is_of(item, channel);
                state.withdraw(None, of_it, "the chat was cleared");
            }
            Event::Message(_) | Event::Ended { .. } => {}
        }
    }
}

/// Messages that come together share a commit; what takes one back comes after it, as it was sent.
pub(super) async fn take_events(desk: Weak<Desk>, mut told: mpsc::Receiver<Event>) {
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

/// It is kept a while, and sent to whoever looks at the queue.
pub(super) fn bounded(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Who sends messages by the API need not say where they were written.
fn is_of(item: &Numbered, channel: &str) -> bool {
    item.item.channel.is_empty() || item.item.channel == channel
}

fn paid(kind: &MessageKind) -> Option<Amount> {
    match kind {
        // Nothing where it is not known how much.
        MessageKind::SuperChat { amount } => Some(amount.clone()).filter(|amount| amount.micros > 0),
        MessageKind::Gift { amount, .. } | MessageKind::Subscription { amount, .. } => amount.clone(),
        // A bit is a cent to the streamer.
        MessageKind::Cheer { bits } => Some(Amount { micros: bits.saturating_mul(10_000), currency: "USD".to_owned() }),
        MessageKind::Chat | MessageKind::SubscriptionGift { .. } | MessageKind::Raid { .. } => None,
        MessageKind::Redemption { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_of_bits_is_too_large() {
        let micros = |bits| paid(&MessageKind::Cheer { bits }).map(|amount| amount.micros);
        assert_eq!((micros(100), micros(u64::MAX)), (Some(1_000_000), Some(u64::MAX)));
    }
}
