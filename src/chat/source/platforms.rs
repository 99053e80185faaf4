//! The platforms behind the desk's interface for connections. No thread of its own.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Handle, Request, State, invalid, spawn};
use crate::{
    chat::{Connection, ConnectionStatus, Connector, Event, Platform},
    config::Config,
    error::Error,
};

/// Connects to what the configuration describes.
pub struct Platforms(Arc<Config>);

impl Platforms {
    #[must_use]
    pub const fn new(config: Arc<Config>) -> Self {
        Self(config)
    }
}

impl Connector for Platforms {
    fn configured(&self) -> Vec<(Platform, String)> {
        let chat = &self.0.chat;
        let room = if chat.bilibili.room == 0 { String::new() } else { chat.bilibili.room.to_string() };
        let all = [
            // As the platform has it: this is how it is known after a restart.
            (Platform::Twitch, chat.twitch.channel.to_lowercase()),
            (Platform::Youtube, chat.youtube.address.trim().to_owned()),
            (Platform::Bilibili, room),
        ];
        all.into_iter().filter(|(_, channel)| !channel.is_empty()).collect()
    }

    fn connect(
        &self,
        platform: Platform,
        channel: &str,
        events: mpsc::Sender<Event>,
    ) -> Result<(String, Box<dyn Connection>), Error> {
        if channel.is_empty() {
            return Err(invalid("channel", "say which channel"));
        }
        let handle = spawn(&self.0.chat, Request { platform, channel: Some(channel) }, events)?;
        Ok((handle.channel.clone(), Box::new(handle)))
    }
}

impl Connection for Handle {
    fn status(&self) -> ConnectionStatus {
        let (state, detail) = match &*self.state().borrow() {
            State::Connecting => ("connecting", None),
            State::Connected { warning } => ("connected", warning.clone()),
            State::Waiting { reason, .. } => ("waiting", Some(reason.clone())),
            State::Failed { reason } => ("failed", Some(reason.clone())),
            State::Ended => ("ended", None),
        };
        ConnectionStatus { state: state.to_owned(), detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_configured() {
        let mut config = Config::default();
        assert_eq!(Platforms::new(Arc::new(config.clone())).configured(), []);
        config.chat.twitch.channel = "Ann".into();
        config.chat.bilibili.room = 6;
        let configured = Platforms::new(Arc::new(config)).configured();
        assert_eq!(configured, [(Platform::Twitch, "ann".to_owned()), (Platform::Bilibili, "6".to_owned())]);
    }

    #[tokio::test]
    async fn channels_are_known_by_the_platforms_name_of_them() {
        let mut config = Config::default();
        // Nobody listens there.
        config.chat.twitch.irc_url = "ws://127.0.0.1:9".into();
        config.chat.youtube.api_url = "http://127.0.0.1:9".into();
        config.chat.youtube.api_key = "key".into();
        let platforms = Platforms::new(Arc::new(config));
        let (events, _kept) = mpsc::channel(1);
        for (platform, given, known) in [
            (Platform::Twitch, "https://www.twitch.tv/Ann", Some("ann")),
            (Platform::Twitch, "#ann", Some("ann")),
            (Platform::Twitch, "a b", None),
            (Platform::Youtube, " @name ", Some("@name")),
            (Platform::Youtube, "nothing", None),
            (Platform::Bilibili, "https://live.bilibili.com/6?x=1", Some("6")),
            (Platform::Bilibili, "room", None),
            (Platform::Twitch, "", None),
            (Platform::Api, "x", None),
        ] {
            let connected = platforms.connect(platform, given, events.clone()).ok();
            assert_eq!(connected.map(|(channel, _)| channel).as_deref(), known, "{given}");
        }
    }
}
