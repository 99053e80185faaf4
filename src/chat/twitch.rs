//! Twitch: its IRC over a WebSocket, and EventSub for channel-point redemptions. One task for both.

mod emotes;
mod eventsub;
mod irc;
mod read;
mod redemptions;
mod token;

use std::{
    collections::VecDeque,
    future::{Future, pending},
    pin::Pin,
    time::{Duration, Instant},
};

use tokio::{sync::mpsc, task::JoinSet};

use eventsub::EventSub;
use irc::Line;
use read::{Incoming, Reader};
use redemptions::Redemptions;
use token::Token;
pub use token::{SignIn, TokenError};

use super::{
    Event,
    source::{self, Backoff, Context, End, Frame, Outlet, Seen, Silence, Socket, invalid},
};
use crate::{config, error::Error};

/// A quiet chat is asked whether it is still there.
const QUIET: Duration = Duration::from_secs(60);
const ANSWER: Duration = Duration::from_secs(15);
/// A server that sends us on sooner than this after we came is one of many: do not rush round in circles.
const HASTE: Duration = Duration::from_secs(5);
/// What an old connection has not told yet when its successor is there, it is heard out for so long. Two connections are
/// not told the same at the same time: what was said before the new one came may still be on its way to the old one.
const LINGER: Duration = Duration::from_secs(5);
const CAPABILITIES: &str = "CAP REQ :twitch.tv/tags twitch.tv/commands";

/// Signs in with the device flow.
///
/// # Errors
/// No application is configured, or a token that goes before; Twitch does not answer.
pub async fn sign_in(chat: &config::Chat) -> Result<SignIn, TokenError> {
    if !chat.twitch.token.is_empty() {
        return Err(TokenError::Refused("chat.twitch.token is set and goes before a sign-in; remove it first".into()));
    }
    let context = Context::new(chat).map_err(|error| TokenError::Refused(error.to_string()))?;
    SignIn::begin(&chat.twitch, context).await
}

/// Whether somebody has signed in, now or before; if it was told, who.
#[must_use]
pub fn signed_in(chat: &config::Chat) -> Option<Option<String>> {
    token::kept_login(&chat.directory)
}

pub(super) struct Source {
    settings: config::Twitch,
    channel: String,
    context: Context,
    reader: Reader,
    redemptions: Redemptions,
    /// Chat messages of redemptions: after RECONNECT two connections may tell the same one.
    redeemed: Seen,
}

impl Source {
    pub(super) fn new(settings: &config::Twitch, channel: Option<&str>, context: Context) -> Result<Self, Error> {
        let given = channel.unwrap_or(&settings.channel).trim();
        let bare = given.rsplit('/').next().unwrap_or_default().trim_start_matches(['#', '@']).to_lowercase();
        let letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        if bare.is_empty() {
            return Err(invalid("channel", "say which Twitch channel: set chat.twitch.channel or send \"channel\""));
        }
        if bare.len() > 25 || !bare.chars().all(letter) {
            return Err(invalid("channel", format!("{given:?} is no Twitch channel's login name")));
        }
        Ok(Self {
            settings: settings.clone(),
            channel: bare,
            context,
            reader: Reader::new(settings.shared_chat),
            redemptions: Redemptions::default(),
            redeemed: Seen::default(),
        })
    }

    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    async fn hand_on(&mut self, incoming: Incoming, outlet: &mut Outlet) -> Result<(), End> {
        let event = match incoming {
            Incoming::Event(event) => Some(self.redemptions.translate(event)),
            Incoming::Redeemed { reward_id, message } if self.redeemed.insert(&message.id) => {
                self.redemptions.of_chat(reward_id, message, Instant::now()).map(Event::Message)
            }
            _ => None,
        };
        match event {
            Some(event) => Ok(outlet.send(event).await?),
            None => Ok(()),
        }
    }
}

impl source::Source for Source {
    async fn listen(&mut self, outlet: &mut Outlet) -> End {
        match self.life(outlet).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }
}

impl Source {
    async fn life(&mut self, outlet: &mut Outlet) -> Result<std::convert::Infallible, End> {
        let token = token::current(&self.settings, &self.context).await.map_err(|error| match error {
            TokenError::Refused(reason) => End::Failed(reason),
            TokenError::Unreachable(reason) => End::Lost(reason),
        })?;
        let way = Way {
            url: self.settings.irc_url.clone(),
            channel: self.channel.clone(),
            context: self.context.clone(),
            token: token.clone(),
        };
        let mut chat = join(way.clone()).await?;
        let mut warning = None;
        // Ends with this connection.
        let mut tasks = JoinSet::new();
        let (tell, mut eventsub) = mpsc::channel(64);
        if let Some(token) = token.filter(|_| self.settings.redemptions) {
            warning = eventsub::lacks(&token, &self.channel);
            if warning.is_none() {
                let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
                let (context, settings) = (self.context.clone(), self.settings.clone());
                tasks.spawn(EventSub::new(context, settings, token, backoff).run(tell));
            }
        }
        outlet.connected(warning);
        let mut joined_at = Instant::now();
        // After RECONNECT: the old connection is read until the new one is in the channel, and then for what it still brings,
        // so that nothing is missed.
        let mut successor: Option<Joining> = None;
        let mut old: Option<(Irc, tokio::time::Instant)> = None;
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        loop {
            tokio::select! {
                // What the old connection has sent is read before the new one takes its place.
                biased;
                line = last_words(&mut old) => {
                    let incoming = line.as_deref().and_then(Line::parse).map(|line| self.reader.read(&line));
                    if let Some(incoming @ (Incoming::Event(_) | Incoming::Redeemed { .. })) = incoming {
                        self.hand_on(incoming, outlet).await?;
                    }
                }
                line = chat.next_line(), if !chat.closed => match line {
                    Ok(line) => {
                        let Some(line) = Line::parse(&line) else { continue };
                        match self.reader.read(&line) {
                            Incoming::Ping(token) => chat.send(format!("PONG :{token}")).await?,
                            Incoming::Reconnect if successor.is_none() => {
                                let wait = if joined_at.elapsed() < HASTE { HASTE.mul_f64(fastrand::f64()) } else { Duration::ZERO };
                                successor = Some(Box::pin(join_after(wait, way.clone())));
                            }
                            Incoming::Notice { id, text } => tracing::info!(id, text, "twitch says"),
                            other => {
                                if takes_back_all(&other) {
                                    // What the old one still brings may be of what is taken back.
                                    old = None;
                                }
                                self.hand_on(other, outlet).await?;
                            }
                        }
                    }
                    Err(_) if successor.is_some() => chat.closed = true,
                    Err(end) => return Err(end),
                },
                joined = wait_for(&mut successor) => match joined {
                    Ok(joined) => {
                        let before = std::mem::replace(&mut chat, joined);
                        old = (!before.closed).then(|| (before, tokio::time::Instant::now() + LINGER));
                        joined_at = Instant::now();
                        successor = None;
                        backoff.reset();
                    }
                    Err(end) if chat.closed => return Err(end),
                    // The old one still works.
                    Err(end) => {
                        tracing::info!(?end, "the connection that Twitch sends us on to is not there");
                        successor = Some(Box::pin(join_after(backoff.next(fastrand::f64()), way.clone())));
                    }
                },
                Some(told) = eventsub.recv() => match told {
                    eventsub::Told::Redeemed(message) => {
                        if let Some(message) = self.redemptions.of_eventsub(*message, Instant::now()) {
                            outlet.send(Event::Message(message)).await?;
                        }
                    }
                    eventsub::Told::Warning(warning) => outlet.connected(Some(warning)),
                },
            }
        }
    }
}

type Joining = Pin<Box<dyn Future<Output = Result<Irc, End>> + Send>>;

async fn wait_for(future: &mut Option<Joining>) -> Result<Irc, End> {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

/// Whether it ends more than one message that is named.
const fn takes_back_all(incoming: &Incoming) -> bool {
    matches!(incoming, Incoming::Event(Event::UserRemoved { .. } | Event::Cleared { .. }))
}

/// The next line of an old connection. None: it has ended, or its time is over, and it is gone.
async fn last_words(old: &mut Option<(Irc, tokio::time::Instant)>) -> Option<String> {
    let Some((irc, until)) = old else { return pending().await };
    match tokio::time::timeout_at(*until, irc.next_line()).await {
        Ok(Ok(line)) => Some(line),
        Ok(Err(_)) | Err(_) => {
            *old = None;
            None
        }
    }
}

/// What is needed to join the channel.
#[derive(Clone)]
struct Way {
    url: String,
    channel: String,
    context: Context,
    token: Option<Token>,
}

struct Irc {
    socket: Socket,
    /// A frame may hold several lines.
    lines: VecDeque<String>,
    asked: bool,
    closed: bool,
}

async fn join_after(wait: Duration, way: Way) -> Result<Irc, End> {
    tokio::time::sleep(wait).await;
    join(way).await
}

/// Connects, says who we are and joins the channel.
async fn join(way: Way) -> Result<Irc, End> {
    let socket = Socket::connect(&way.url, &[], &way.context.tls).await.map_err(End::Lost)?;
    let mut irc = Irc { socket, lines: VecDeque::new(), asked: false, closed: false };
    let nick = match &way.token {
        Some(token) => {
            irc.send(format!("{CAPABILITIES}\r\nPASS oauth:{}", token.access.reveal())).await?;
            token.login.clone().unwrap_or_else(anonymous)
        }
        None => {
            irc.send(CAPABILITIES.into()).await?;
            anonymous()
        }
    };
    irc.send(format!("NICK {nick}")).await?;
    let mut reader = Reader::new(false);
    let joining = async {
        loop {
            let line = irc.next_line().await?;
            let Some(line) = Line::parse(&line) else { continue };
            match reader.read(&line) {
                Incoming::Welcome => irc.send(format!("JOIN #{}", way.channel)).await?,
                Incoming::Joined => return Ok(()),
                Incoming::Ping(token) => irc.send(format!("PONG :{token}")).await?,
                Incoming::Notice { id, text } => {
                    if let Some(end) = refusal(id.as_deref(), &text) {
                        return Err(end);
                    }
                }
                _ => {}
            }
        }
    };
    match tokio::time::timeout(ANSWER, joining).await {
        Ok(joined) => joined.map(|()| irc),
        Err(_elapsed) => Err(End::Lost("the server does not let us into the channel".into())),
    }
}

fn anonymous() -> String {
    format!("justinfan{}", fastrand::u32(10_000..100_000))
}

/// Whether a notice while joining ends it.
fn refusal(id: Option<&str>, text: &str) -> Option<End> {
    match (id, text) {
        // The next attempt asks for the token anew, and refreshes it.
        (_, "Login authentication failed" | "Improperly formatted auth") => Some(End::Lost(format!("Twitch: {text}"))),
        (Some("msg_channel_suspended" | "msg_banned" | "msg_room_not_found"), _) => {
            Some(End::Failed(format!("Twitch: {text}")))
        }
        _ => None,
    }
}

impl Irc {
    async fn send(&mut self, line: String) -> Result<(), End> {
        self.socket.send(Frame::Text(format!("{line}\r\n"))).await.map_err(End::Lost)
    }

    /// May be dropped while it waits: no line is lost.
    async fn next_line(&mut self) -> Result<String, End> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Ok(line);
            }
            let patience = if self.asked { ANSWER } else { QUIET };
            match self.socket.next(patience).await {
                Ok(Frame::Text(text)) => {
                    self.asked = false;
                    self.lines.extend(text.split(['\r', '\n']).filter(|line| !line.is_empty()).map(str::to_owned));
                }
                Ok(Frame::Binary(bytes)) => {
                    self.asked = false;
                    let text = String::from_utf8_lossy(&bytes);
                    self.lines.extend(text.split(['\r', '\n']).filter(|line| !line.is_empty()).map(str::to_owned));
                }
                Err(Silence::Quiet) if self.asked => return Err(End::Lost("the server is silent".into())),
                Err(Silence::Quiet) => {
                    self.asked = true;
                    self.send("PING :ishowtts".into()).await?;
                }
                Err(Silence::Closed(reason)) => return Err(End::Lost(reason)),
            }
        }
    }
}

#[cfg(test)]
#[path = "twitch/tests.rs"]
mod tests;
