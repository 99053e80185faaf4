//! Livestream chat: from what a platform sends to what the overlay plays.
//!
//! One way: source (socket) → parser → [`Event`] → rules → queue (stored) → speech → overlay.

pub mod item;
mod message;
pub mod queue;
pub mod rules;

pub use message::{Amount, Emote, Event, Kind, Message, Platform, Roles, User};
