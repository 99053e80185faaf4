//! Which chats are listened to: what the configuration names, and what somebody started since. How a platform is
//! connected to is the connector's business.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use utoipa::ToSchema;

use super::{Event, Platform};
use crate::error::Error;

/// Makes connections.
pub trait Connector: Send + Sync {
    /// What the configuration names.
    fn configured(&self) -> Vec<(Platform, String)>;

    /// Begins to connect, and goes on until what it gives is dropped. `channel`: as a person writes it; the answer has
    /// the one as the platform does. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// There is no such channel, or no way to it.
    fn connect(
        &self,
        platform: Platform,
        channel: &str,
        events: mpsc::Sender<Event>,
    ) -> Result<(String, Box<dyn Connection>), Error>;
}

/// One chat that is listened to. Dropping it ends that.
pub trait Connection: Send + Sync {
    fn status(&self) -> ConnectionStatus;
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ConnectionStatus {
    /// `connecting`, `connected`, `waiting` (before the next try), `ended` (the stream is over) or `failed` (it will
    /// not be tried again).
    pub state: String,
    /// For people: what went wrong, or what it waits for.
    #[schema(required)]
    pub detail: Option<String>,
}

/// For `GET /v1/chat/state`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ConnectionView {
    #[schema(value_type = String)]
    pub platform: Platform,
    pub channel: String,
    #[serde(flatten)]
    pub status: ConnectionStatus,
    /// Of all that is said there; null: each viewer's own.
    #[schema(required)]
    pub voice: Option<String>,
    #[schema(required)]
    pub engine: Option<String>,
}

/// What was started, to be started again with the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Started {
    pub platform: Platform,
    pub channel: String,
    pub voice: Option<String>,
    pub engine: Option<String>,
}

struct Listened {
    started: Started,
    connection: Box<dyn Connection>,
}

#[derive(Default)]
pub(super) struct Sources {
    listened: BTreeMap<(Platform, String), Listened>,
}

impl Sources {
    /// Connects; the answer is the channel as the platform has it. One that is listened to already gets the new voice
    /// and engine.
    ///
    /// # Errors
    /// What `Connector::connect` says.
    pub fn start(
        &mut self,
        connector: &dyn Connector,
        mut started: Started,
        events: mpsc::Sender<Event>,
    ) -> Result<String, Error> {
        let known = self.listened.get_mut(&(started.platform, started.channel.clone()));
        if let Some(listened) = known
            && !matches!(listened.connection.status().state.as_str(), "ended" | "failed")
        {
            let channel = started.channel.clone();
            listened.started = started;
            return Ok(channel);
        }
        let (channel, connection) = connector.connect(started.platform, &started.channel, events)?;
        started.channel.clone_from(&channel);
        self.listened.insert((started.platform, channel.clone()), Listened { started, connection });
        Ok(channel)
    }

    /// Those of a platform begin again. What went wrong, and is as it was.
    pub fn connect_anew(
        &mut self,
        platform: Platform,
        connector: &dyn Connector,
        events: &mpsc::Sender<Event>,
    ) -> Vec<Error> {
        let of_platform = self.listened.iter_mut().filter(|((of, _), _)| *of == platform);
        of_platform
            .filter_map(|((_, channel), listened)| match connector.connect(platform, channel, events.clone()) {
                Ok((_, connection)) => {
                    listened.connection = connection;
                    None
                }
                Err(error) => Some(error),
            })
            .collect()
    }

    /// False: there is none.
    pub fn stop(&mut self, platform: Option<Platform>, channel: Option<&str>) -> bool {
        let before = self.listened.len();
        self.listened.retain(|(of, name), _| {
            platform.is_some_and(|platform| platform != *of) || channel.is_some_and(|channel| channel != name)
        });
        self.listened.len() < before
    }

    /// The voice and the engine of all that is said in a channel.
    pub fn voice_of(&self, platform: Platform, channel: &str) -> (Option<String>, Option<String>) {
        let listened = self.listened.get(&(platform, channel.to_owned()));
        listened.map_or((None, None), |listened| (listened.started.voice.clone(), listened.started.engine.clone()))
    }

    pub fn started(&self) -> Vec<Started> {
        self.listened.values().map(|listened| listened.started.clone()).collect()
    }

    pub fn views(&self) -> Vec<ConnectionView> {
        self.listened
            .values()
            .map(|Listened { started, connection }| ConnectionView {
                platform: started.platform,
                channel: started.channel.clone(),
                status: connection.status(),
                voice: started.voice.clone(),
                engine: started.engine.clone(),
            })
            .collect()
    }
}
