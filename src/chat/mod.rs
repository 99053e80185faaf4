//! Livestream chat: from what a platform sends to what the overlay plays.
//!
//! One way: source (socket) → parser → [`Event`] → rules → queue (stored) → speech → overlay.

mod bilibili;
mod control;
mod desk;
mod gauges;
mod intake;
mod item;
mod judge;
mod message;
mod migration;
mod overdue;
mod overlays;
mod platform;
mod prefetch;
mod progress;
mod queue;
mod rules;
mod schema;
mod sign_in;
pub mod source;
mod sources;
mod state;
mod status;
mod store;
mod token;
mod told;
pub mod twitch;
mod voices;
pub mod webhook;
mod youtube;

pub use desk::{Ack, Acked, DATABASE, Desk, Listening, Taken};
pub use item::{Item, MessageKey, Numbered, Outcome, UserKey};
pub use message::{Amount, Emote, Event, Kind, Message, Roles, User};
pub use overlays::{Kind as ListenerKind, OverlayState, Told};
pub use platform::Platform;
pub use rules::{Priority, Verdict};
pub use sign_in::SignInState;
pub use sources::{Connection, ConnectionStatus, ConnectionView, Connector};
pub use status::{ChatSettings, ChatState, Muted};
pub use store::StoreError;
pub use token::is_same;
pub use told::{ChatEvent, HeldView, ItemView, Money, Playback, QueueView, RefusedView};

/// Looks at those settings that only the rules understand: templates, banned words, amounts.
///
/// # Errors
/// Which one cannot be used, and why.
pub fn check(settings: &crate::config::ChatRules) -> Result<(), String> {
    rules::Rules::new(settings).map(drop)
}
