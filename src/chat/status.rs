//! `GET /v1/chat/state`: how the chat is. Plain data.

use std::time::Instant;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Platform, overlays::OverlayState, sources::ConnectionView, state::State, told::Names};
use crate::config::Config;

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ChatState {
    /// False: nothing new is taken.
    pub enabled: bool,
    pub paused: bool,
    pub volume: f32,
    pub playing: usize,
    pub waiting: usize,
    pub held: usize,
    /// Chats that are listened to.
    pub connections: Vec<ConnectionView>,
    pub overlays: Vec<OverlayState>,
    pub muted: Vec<Muted>,
    pub settings: ChatSettings,
    /// What the browser source is given as its address, below that of the server.
    #[schema(examples("/overlay?token=0123456789abcdef0123456789abcdef"))]
    pub overlay_url: String,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Muted {
    #[schema(value_type = String)]
    pub platform: Platform,
    pub user_id: String,
    pub user: String,
}

/// What the configuration says.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ChatSettings {
    pub max_waiting: usize,
    pub max_paid: usize,
    pub max_held: usize,
    pub approval_timeout_s: f64,
    pub max_age_s: f64,
    pub ahead: usize,
    /// Among which viewers' voices are chosen.
    pub voices: Vec<String>,
}

pub(super) fn of(state: &State, config: &Config, names: &Names) -> ChatState {
    let queue = &config.chat.queue;
    let mut muted: Vec<_> = state
        .muted
        .iter()
        .map(|(user, name)| Muted { platform: user.platform, user_id: user.id.clone(), user: name.clone() })
        .collect();
    muted.sort_by(|one, other| one.user.cmp(&other.user));
    ChatState {
        enabled: state.enabled,
        paused: state.paused,
        volume: state.volume,
        playing: state.leased.len(),
        waiting: state.queue.len(),
        held: state.queue.held_len(),
        connections: state.sources.views(),
        overlays: state.overlays.states(Instant::now()),
        muted,
        settings: ChatSettings {
            max_waiting: queue.max_waiting,
            max_paid: queue.max_paid,
            max_held: queue.max_held,
            approval_timeout_s: queue.approval_timeout_s,
            max_age_s: queue.max_age_s,
            ahead: queue.ahead,
            voices: state.voices.pool().to_vec(),
        },
        overlay_url: format!("/overlay?token={}", names.token),
    }
}
