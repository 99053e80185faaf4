//! Connections to chats: one handle for every platform. Each source is one task on the runtime that it was started on.
//! It sends [`Event`]s to whoever started it, and waits when they are not taken.

mod http;
mod money;
mod outlet;
mod platforms;
mod seen;
mod socket;
mod supervise;
#[cfg(test)]
pub(in crate::chat) mod testing;
mod tls;

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{Event, Platform, bilibili, twitch, youtube};
use crate::{config, error::Error};

pub use http::HttpError;
pub(in crate::chat) use http::{Answer, Http, encode};
pub(in crate::chat) use money::decimal_micros;
pub(in crate::chat) use outlet::{Gone, Outlet};
pub use platforms::Platforms;
pub(in crate::chat) use seen::Seen;
pub(in crate::chat) use socket::{Frame, Silence, Socket};
pub(in crate::chat) use supervise::{Backoff, End};

/// How a connection is doing.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    Connecting,
    Connected {
        /// What does not work beside the chat itself, such as channel points without a token for them.
        #[serde(skip_serializing_if = "Option::is_none")]
        warning: Option<String>,
    },
    /// Tried again then.
    Waiting {
        #[serde(serialize_with = "unix_seconds")]
        until: SystemTime,
        reason: String,
    },
    /// Trying again would not help.
    Failed {
        reason: String,
    },
    /// The platform says that there is nothing more to come, or it was stopped.
    Ended,
}

impl State {
    /// Nothing more comes from this source.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::Ended)
    }
}

fn unix_seconds<S: serde::Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    serializer.serialize_f64((seconds * 1e3).round() / 1e3)
}

/// What to listen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    pub platform: Platform,
    /// A login, an address, a room's number; none: the configured one.
    pub channel: Option<&'a str>,
}

/// A source at work. Dropping it stops it.
#[derive(Debug)]
pub struct Handle {
    pub platform: Platform,
    /// As it was asked for.
    pub channel: String,
    state: watch::Receiver<State>,
    /// Dropped: stop.
    stop: Option<watch::Sender<()>>,
    task: JoinHandle<()>,
}

impl Handle {
    /// How it is now, and whenever that changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Comes back once the connection is closed: no event is sent after that.
    pub async fn stop(mut self) {
        self.stop = None;
        // It cannot have panicked in a way that matters here: it is over.
        let _ = (&mut self.task).await;
    }
}

/// Begins to listen. Must be called inside a tokio runtime.
///
/// # Errors
/// What the settings lack: a channel, an API key, a readable file of certificates.
pub fn spawn(chat: &config::Chat, request: Request<'_>, events: mpsc::Sender<Event>) -> Result<Handle, Error> {
    let context = Context::new(chat)?;
    let (platform, channel) = (request.platform, request.channel);
    let backoff = Backoff::new(seconds(chat.connect.reconnect_s), seconds(chat.connect.reconnect_max_s));
    let start = |channel: String| Start { platform, channel, events, backoff };
    match platform {
        Platform::Twitch => {
            let source = twitch::Source::new(&chat.twitch, channel, context)?;
            Ok(start(source.channel().to_owned()).launch(source))
        }
        Platform::Youtube => {
            let source = youtube::Source::new(&chat.youtube, channel, context)?;
            Ok(start(source.channel().to_owned()).launch(source))
        }
        Platform::Bilibili => {
            let source = bilibili::Source::new(&chat.bilibili, channel, context)?;
            Ok(start(source.channel()).launch(source))
        }
        Platform::Webhook | Platform::Api | Platform::Other(_) => {
            Err(invalid("platform", format!("{platform} is not listened to: messages are sent to this server")))
        }
    }
}

/// What every source is given beside its own settings.
#[derive(Clone)]
pub(in crate::chat) struct Context {
    pub http: Http,
    pub tls: std::sync::Arc<rustls::ClientConfig>,
    /// For what must outlive the program: sign-ins, used quota.
    pub directory: PathBuf,
}

impl Context {
    pub(in crate::chat) fn new(chat: &config::Chat) -> Result<Self, Error> {
        let tls = tls::client(&chat.connect.ca_file).map_err(|reason| invalid("chat.connect.ca_file", reason))?;
        Ok(Self { http: Http::new(&tls), tls, directory: chat.directory.clone() })
    }
}

struct Start {
    platform: Platform,
    channel: String,
    events: mpsc::Sender<Event>,
    backoff: Backoff,
}

impl Start {
    fn launch(self, source: impl supervise::Source) -> Handle {
        let (tell, state) = watch::channel(State::Connecting);
        let (stop, stopped) = watch::channel(());
        let outlet = Outlet::new(self.platform, self.channel.clone(), self.events, tell);
        let task = tokio::spawn(supervise::run(source, outlet, self.backoff, stopped));
        Handle { platform: self.platform, channel: self.channel, state, stop: Some(stop), task }
    }
}

pub(in crate::chat) use supervise::Source;

pub(in crate::chat) fn invalid(param: &'static str, message: impl Into<String>) -> Error {
    Error::invalid("invalid_chat_source", Some(param), message)
}

/// The settings are checked, so none is negative or far too long.
pub(in crate::chat) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
