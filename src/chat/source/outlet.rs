//! Where a source puts what it hears and how it is doing. Owned by the source's task.

use tokio::sync::{mpsc, watch};

use super::{Event, Platform, Seen, State};

/// Nobody takes events any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chat) struct Gone;

pub(in crate::chat) struct Outlet {
    pub platform: Platform,
    pub channel: String,
    events: mpsc::Sender<Event>,
    state: watch::Sender<State>,
    seen: Seen,
    /// Since the last attempt to connect.
    was_connected: bool,
}

impl Outlet {
    pub(super) fn new(
        platform: Platform,
        channel: String,
        events: mpsc::Sender<Event>,
        state: watch::Sender<State>,
    ) -> Self {
        Self { platform, channel, events, state, seen: Seen::default(), was_connected: false }
    }

    /// Waits while nobody takes events; a message that was sent before is passed over.
    pub(in crate::chat) async fn send(&mut self, event: Event) -> Result<(), Gone> {
        if let Event::Message(message) = &event
            && !self.seen.insert(&message.id)
        {
            return Ok(());
        }
        self.events.send(event).await.map_err(|_closed| Gone)
    }

    pub(in crate::chat) fn connected(&mut self, warning: Option<String>) {
        self.was_connected = true;
        if let Some(warning) = &warning {
            tracing::warn!(platform = %self.platform, channel = self.channel, "chat: {warning}");
        }
        self.tell(State::Connected { warning });
    }

    pub(super) fn take_was_connected(&mut self) -> bool {
        std::mem::take(&mut self.was_connected)
    }

    pub(in crate::chat) fn tell(&self, state: State) {
        self.state.send_if_modified(|now| {
            let changed = *now != state;
            if changed {
                tracing::info!(platform = %self.platform, channel = self.channel, ?state, "chat");
                *now = state;
            }
            changed
        });
    }
}
