//! EventSub over a WebSocket: what its messages mean, and the connection that channel-point redemptions come by. Runs
//! as a task of its own, so that neither waits for the other.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::token::{self, Token};
use crate::{
    chat::{
        Kind, Message, Platform, Roles, User,
        source::{Backoff, Context, Frame, Seen, Silence, Socket},
    },
    config,
};

pub(super) const SCOPE: &str = "channel:read:redemptions";
const REDEEMED: &str = "channel.channel_points_custom_reward_redemption.add";
/// Added to what the server promises.
const SLACK: Duration = Duration::from_secs(10);
const WELCOME: Duration = Duration::from_secs(15);

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Notice {
    Welcome {
        session: String,
        keepalive: Duration,
    },
    Keepalive,
    Reconnect {
        url: String,
    },
    /// Its id is EventSub's, which is the same when it is delivered again.
    Redeemed {
        id: String,
        message: Box<Message>,
    },
    Revoked {
        reason: String,
    },
    Nothing,
}

/// Pure. Whatever is not understood is nothing.
pub(super) fn read(text: &str) -> Notice {
    let Ok(told) = serde_json::from_str::<Value>(text) else { return Notice::Nothing };
    let word = |pointer: &str| told.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    match word("/metadata/message_type").as_deref() {
        Some("session_welcome") => {
            let keepalive = told.pointer("/payload/session/keepalive_timeout_seconds").and_then(Value::as_u64);
            let keepalive = Duration::from_secs(keepalive.unwrap_or(10).min(600));
            word("/payload/session/id").map_or(Notice::Nothing, |session| Notice::Welcome { session, keepalive })
        }
        Some("session_keepalive") => Notice::Keepalive,
        Some("session_reconnect") => {
            word("/payload/session/reconnect_url").map_or(Notice::Nothing, |url| Notice::Reconnect { url })
        }
        Some("revocation") => Notice::Revoked { reason: word("/payload/subscription/status").unwrap_or_default() },
        Some("notification") if word("/metadata/subscription_type").as_deref() == Some(REDEEMED) => {
            let message = told.pointer("/payload/event").and_then(redemption);
            match (word("/metadata/message_id"), message) {
                (Some(id), Some(message)) => Notice::Redeemed { id, message: Box::new(message) },
                _ => Notice::Nothing,
            }
        }
        _ => Notice::Nothing,
    }
}

fn redemption(event: &Value) -> Option<Message> {
    let word = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let id = Some(word("/id")).filter(|id| !id.is_empty())?;
    let name = Some(word("/user_name")).filter(|name| !name.is_empty()).unwrap_or_else(|| word("/user_login"));
    Some(Message {
        platform: Platform::Twitch,
        channel: word("/broadcaster_user_login"),
        id,
        user: User { id: word("/user_id"), name, login: word("/user_login"), masked: false, roles: Roles::default() },
        text: word("/user_input"),
        emotes: Vec::new(),
        kind: Kind::Redemption {
            reward_id: word("/reward/id"),
            title: word("/reward/title"),
            points: event.pointer("/reward/cost").and_then(Value::as_u64).unwrap_or_default(),
        },
        sent_at: time::OffsetDateTime::parse(&word("/redeemed_at"), &time::format_description::well_known::Rfc3339)
            .ok()
            .map(Into::into),
    })
}

/// What the source is told.
pub(super) enum Told {
    Redeemed(Box<Message>),
    /// It will not work as things are.
    Warning(String),
}

pub(super) struct EventSub {
    context: Context,
    settings: config::Twitch,
    token: Token,
    socket: Option<(Socket, Duration)>,
    seen: Seen,
    backoff: Backoff,
}

impl EventSub {
    pub(super) fn new(context: Context, settings: config::Twitch, token: Token, backoff: Backoff) -> Self {
        Self { context, settings, token, socket: None, seen: Seen::default(), backoff }
    }

    /// Until nothing can mend it, or nobody listens.
    pub(super) async fn run(mut self, tell: mpsc::Sender<Told>) {
        loop {
            let told = self.next().await;
            let over = matches!(told, Told::Warning(_));
            if tell.send(told).await.is_err() || over {
                return;
            }
        }
    }

    async fn next(&mut self) -> Told {
        let warning = |reason: &str| Told::Warning(format!("channel points are not heard: {reason}"));
        loop {
            let Some((socket, keepalive)) = &mut self.socket else {
                match self.connect().await {
                    Ok(connected) => {
                        self.backoff.reset();
                        self.socket = Some(connected);
                    }
                    Err(Refused { reason, for_good: true }) => return warning(&reason),
                    Err(Refused { reason, for_good: false }) => {
                        tracing::info!(reason, "twitch: no EventSub; it is tried again");
                        tokio::time::sleep(self.backoff.next(fastrand::f64())).await;
                    }
                }
                continue;
            };
            match socket.next(*keepalive + SLACK).await {
                Ok(Frame::Text(text)) => match read(&text) {
                    Notice::Redeemed { id, message } if self.seen.insert(&id) => return Told::Redeemed(message),
                    // The old connection stays open until the new one has said welcome.
                    Notice::Reconnect { url } => match welcome(&url, &self.context).await {
                        Ok((socket, _session, keepalive)) => self.socket = Some((socket, keepalive)),
                        Err(_reason) => self.socket = None,
                    },
                    Notice::Revoked { reason } => return warning(&format!("Twitch revoked it ({reason})")),
                    _ => {}
                },
                Ok(Frame::Binary(_)) => {}
                Err(Silence::Quiet | Silence::Closed(_)) => self.socket = None,
            }
        }
    }

    async fn connect(&mut self) -> Result<(Socket, Duration), Refused> {
        let Some(user_id) = self.token.user_id.as_deref() else {
            return Err(Refused { reason: "the token belongs to no user".into(), for_good: true });
        };
        let again = |reason: String| Refused { reason, for_good: false };
        let (socket, session, keepalive) = welcome(&self.settings.eventsub_url, &self.context).await.map_err(again)?;
        let url = format!("{}/eventsub/subscriptions", self.settings.api_url);
        let wanted = json!({
            "type": REDEEMED, "version": "1",
            "condition": {"broadcaster_user_id": user_id},
            "transport": {"method": "websocket", "session_id": session},
        });
        let bearer = format!("Bearer {}", self.token.access.reveal());
        let headers = [("authorization", bearer.as_str()), ("client-id", self.token.client_id.as_str())];
        let answer = self.context.http.post_json(&url, &headers, &wanted).await;
        let answer = answer.map_err(|error| again(error.to_string()))?;
        let told = answer.json.get("message").and_then(Value::as_str).unwrap_or_default();
        match answer.status {
            // 409: this session has it already.
            200..=299 | 409 => Ok((socket, keepalive)),
            401 if self.renew().await => Err(again("the token had expired; there is a new one".to_owned())),
            400 | 401 | 403 => Err(Refused { reason: format!("Twitch says: {told}"), for_good: true }),
            status => Err(again(format!("answer {status}: {told}"))),
        }
    }

    /// Tokens last for hours, connections for longer. True: there is another one.
    async fn renew(&mut self) -> bool {
        match token::current(&self.settings, &self.context).await {
            Ok(Some(token)) if token.access != self.token.access => {
                self.token = token;
                true
            }
            _ => false,
        }
    }
}

struct Refused {
    reason: String,
    for_good: bool,
}

async fn welcome(url: &str, context: &Context) -> Result<(Socket, String, Duration), String> {
    let mut socket = Socket::connect(url, &[], &context.tls).await?;
    match socket.next(WELCOME).await {
        Ok(Frame::Text(text)) => match read(&text) {
            Notice::Welcome { session, keepalive } => Ok((socket, session, keepalive)),
            _ => Err("no welcome".into()),
        },
        Ok(Frame::Binary(_)) => Err("no welcome".into()),
        Err(Silence::Quiet) => Err("no welcome in time".into()),
        Err(Silence::Closed(reason)) => Err(reason),
    }
}

/// For the state's words: which scopes a token lacks.
pub(super) fn lacks(token: &Token, channel: &str) -> Option<String> {
    if !token.scopes.iter().any(|scope| scope == SCOPE) {
        return Some(format!("channel points are not heard: the token lacks the scope {SCOPE}"));
    }
    let login = token.login.as_deref().unwrap_or_default();
    (!login.eq_ignore_ascii_case(channel))
        .then(|| format!("channel points are not heard: the token is {login}'s, and only the broadcaster's hears them"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MESSAGES: &str = include_str!("fixtures/eventsub.jsonl");

    #[test]
    fn messages_as_twitch_documents_them() {
        let all: Vec<Notice> = MESSAGES.lines().map(read).collect();
        let session = "AQoQILE98gtqShGmLD7AM6yJThAB".to_owned();
        assert_eq!(all[0], Notice::Welcome { session, keepalive: Duration::from_secs(10) });
        assert_eq!(all[1], Notice::Keepalive);
        let Notice::Redeemed { id, message } = &all[2] else { panic!("{:?}", all[2]) };
        assert_eq!(
            (id.as_str(), message.id.as_str()),
            ("befa7b53-d79d-478f-86b9-120f112b044e", "17fa2df1-ad76-4804-bfa5-a40ef63efe63")
        );
        assert_eq!((message.user.name.as_str(), message.text.as_str()), ("Cool_User", "pogchamp"));
        assert_eq!(
            message.kind,
            Kind::Redemption {
                reward_id: "92af127c-7326-4483-a52b-b0da0be61c01".into(),
                title: "title".into(),
                points: 100
            }
        );
        assert!(message.sent_at.is_some());
        assert!(matches!(&all[3], Notice::Reconnect { url } if url.starts_with("wss://")));
        assert_eq!(all[4], Notice::Revoked { reason: "authorization_revoked".into() });
        assert_eq!(all[5], Notice::Nothing);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC{0,200}") {
            let _ = read(&text);
        }

        /// A true message, cut or with a letter changed.
        #[test]
        fn broken_messages_are_read_without_a_panic(line in 0_usize..6, at in 0_usize..2000, letter in any::<char>()) {
            let text: Vec<char> = MESSAGES.lines().nth(line).unwrap_or_default().chars().collect();
            let at = at.min(text.len());
            let _ = read(&text[..at].iter().collect::<String>());
            let changed: String = text[..at].iter().chain([&letter]).chain(text.get(at + 1..).unwrap_or_default()).collect();
            let _ = read(&changed);
        }
    }
}
