//! Bilibili's live chat: the room's key by its web interface, then a WebSocket with packets. Names are masked unless the
//! configuration names a signed-in user's cookie. The chat goes on while nobody streams, so there is no end to it.

mod packet;
mod read;
mod wbi;

use std::time::{Duration, SystemTime};

use packet::{AUTH, HEARTBEAT, Packet};
use read::Room;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::source::{self, Answer, Context, End, Frame, Outlet, Silence, Socket, encode, invalid};
use crate::{config, error::Error};

const HEARTBEAT_EVERY: Duration = Duration::from_secs(30);
/// Two heartbeats without an answer.
const SILENCE: Duration = Duration::from_secs(75);
const AUTH_ANSWER: Duration = Duration::from_secs(15);
/// Beyond the usual waits: who is told so often to go away is shut out for longer.
const REFUSED: Duration = Duration::from_secs(30);

/// The web interface's own words for "bad signature" and "too often".
const BAD_SIGNATURE: i64 = -352;
const TOO_OFTEN: [i64; 2] = [-412, -509];
const BAD_TOKEN: i64 = -101;

pub(super) struct Source {
    settings: config::Bilibili,
    number: u64,
    context: Context,
    /// Names this browser; asked for once.
    buvid: Option<String>,
    wbi_key: Option<String>,
}

/// What the socket wants to be told.
struct Entry {
    room: u64,
    owner: u64,
    key: String,
    url: String,
}

impl Source {
    pub(super) fn new(settings: &config::Bilibili, channel: Option<&str>, context: Context) -> Result<Self, Error> {
        let number = match channel.map(str::trim) {
            None => settings.room,
            Some(text) => {
                // A number or an address such as https://live.bilibili.com/6?from=x.
                let bare = text.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
                let number = bare.rsplit('/').next().unwrap_or_default().parse();
                number.map_err(|_error| invalid("channel", format!("{text:?} is no room's number")))?
            }
        };
        if number == 0 {
            return Err(invalid("channel", "say which room: set chat.bilibili.room or send \"channel\""));
        }
        Ok(Self { settings: settings.clone(), number, context, buvid: None, wbi_key: None })
    }

    pub(super) fn channel(&self) -> String {
        self.number.to_string()
    }

    fn cookie(&self) -> String {
        let mut cookie = format!("buvid3={}", self.buvid.as_deref().unwrap_or_default());
        if !self.settings.sessdata.is_empty() {
            cookie = format!("{cookie}; SESSDATA={}", self.settings.sessdata.reveal());
        }
        cookie
    }

    async fn get(&self, url: &str) -> Result<Answer, End> {
        let cookie = self.cookie();
        let headers = [("cookie", cookie.as_str()), ("referer", "https://live.bilibili.com/")];
        self.context.http.get(url, &headers).await.map_err(|error| End::Lost(error.to_string()))
    }

    /// `data` of an answer, if its code says that all is well.
    async fn data(&self, url: &str) -> Result<Value, Refused> {
        let answer = self.get(url).await.map_err(Refused::Ended)?;
        let code = answer.json.get("code").and_then(Value::as_i64);
        match code {
            Some(0) => Ok(answer.json.get("data").cloned().unwrap_or_default()),
            Some(code) => {
                let told = answer.json.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
                Err(Refused::Code(code, told))
            }
            None => Err(Refused::Ended(End::Lost(format!("Bilibili answers {}", answer.status)))),
        }
    }

    /// Which room it is, and how to enter it.
    async fn entry(&mut self) -> Result<Entry, End> {
        if self.buvid.is_none() {
            let found = self.data(&format!("{}/x/frontend/finger/spi", self.settings.api_url)).await?;
            self.buvid = found.get("b_3").and_then(Value::as_str).map(str::to_owned);
        }
        let number = self.number.to_string();
        let live = &self.settings.live_api_url;
        let room = match self.data(&format!("{live}/room/v1/Room/get_info?{}", encode(&[("room_id", &number)]))).await {
            Ok(room) => room,
            Err(Refused::Code(1, _)) => return Err(End::Failed(format!("Bilibili has no room {number}"))),
            Err(refused) => return Err(refused.into()),
        };
        let id = room.get("room_id").and_then(Value::as_u64).unwrap_or(self.number);
        let owner = room.get("uid").and_then(Value::as_u64).unwrap_or_default();
        let info = match self.danmu_info(id).await {
            // The keys change every day.
            Err(Refused::Code(BAD_SIGNATURE, _)) => {
                self.wbi_key = None;
                self.danmu_info(id).await?
            }
            info => info?,
        };
        let key = info.get("token").and_then(Value::as_str).unwrap_or_default().to_owned();
        let hosts = info.get("host_list").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let urls: Vec<String> = hosts.iter().filter_map(socket_url).collect();
        let url = match self.settings.socket_url.as_str() {
            // Another one each time: one of them may be down.
            "" => urls.get(fastrand::usize(..urls.len().max(1))).cloned(),
            url => Some(url.to_owned()),
        };
        let url = url.ok_or_else(|| End::Lost("Bilibili names no server".into()))?;
        Ok(Entry { room: id, owner, key, url })
    }

    async fn danmu_info(&mut self, room: u64) -> Result<Value, Refused> {
        let key = match &self.wbi_key {
            Some(key) => key.clone(),
            None => self.new_wbi_key().await.map_err(Refused::Ended)?,
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let query = wbi::sign(&[("id", &room.to_string()), ("type", "0")], &key, now);
        self.wbi_key = Some(key);
        self.data(&format!("{}/xlive/web-room/v1/index/getDanmuInfo?{query}", self.settings.live_api_url)).await
    }

    async fn new_wbi_key(&self) -> Result<String, End> {
        // Without a login its code is an error, and the names are there all the same.
        let answer = self.get(&format!("{}/x/web-interface/nav", self.settings.api_url)).await?;
        let url = |name: &str| answer.json.pointer(&format!("/data/wbi_img/{name}")).and_then(Value::as_str);
        let key = url("img_url").zip(url("sub_url")).and_then(|(image, sub)| wbi::key(image, sub));
        key.ok_or_else(|| End::Lost(format!("Bilibili answers {} without keys", answer.status)))
    }

    async fn life(&mut self, outlet: &mut Outlet) -> Result<std::convert::Infallible, End> {
        let entry = self.entry().await?;
        let room = Room { channel: outlet.channel.clone(), owner: entry.owner };
        let headers = [("origin", "https://live.bilibili.com")];
        let mut socket = Socket::connect(&entry.url, &headers, &self.context.tls).await.map_err(End::Lost)?;
        let auth = json!({
            "uid": if self.settings.sessdata.is_empty() { 0 } else { self.settings.uid },
            "roomid": entry.room, "protover": 3, "platform": "web", "type": 2,
            "buvid": self.buvid.as_deref().unwrap_or_default(), "key": entry.key,
        });
        send(&mut socket, AUTH, auth.to_string().as_bytes()).await?;
        let mut heartbeats = interval_at(Instant::now(), HEARTBEAT_EVERY);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_in = false;
        // The socket's own patience begins anew with each heartbeat.
        let mut heard = Instant::now();
        loop {
            let patience = if is_in { SILENCE } else { AUTH_ANSWER };
            let frame = tokio::select! {
                _ = heartbeats.tick(), if is_in => {
                    if heard.elapsed() > SILENCE {
                        return Err(End::Lost("the server is silent".into()));
                    }
                    send(&mut socket, HEARTBEAT, b"[object Object]").await?;
                    continue;
                }
                frame = socket.next(patience) => frame,
            };
            let bytes = match frame {
                Ok(Frame::Binary(bytes)) => bytes,
                Ok(Frame::Text(_)) => continue,
                Err(Silence::Quiet) => return Err(End::Lost("the server is silent".into())),
                Err(Silence::Closed(reason)) => return Err(End::Lost(reason)),
            };
            heard = Instant::now();
            for packet in packet::decode(&bytes).map_err(|broken| End::Lost(broken.to_string()))? {
                match packet {
                    Packet::HeartbeatReply => {}
                    Packet::AuthReply(body) => {
                        let told: Value = serde_json::from_slice(&body).unwrap_or_default();
                        match told.get("code").and_then(Value::as_i64) {
                            Some(0) => {
                                is_in = true;
                                outlet.connected(None);
                            }
                            // A new key comes with the next attempt.
                            Some(BAD_TOKEN) => return Err(End::Lost("Bilibili does not take the room's key".into())),
                            code => return Err(End::Lost(format!("Bilibili does not let us in: {code:?}"))),
                        }
                    }
                    Packet::Message(body) => {
                        for event in read::read(&body, &room) {
                            outlet.send(event).await?;
                        }
                    }
                }
            }
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

/// Why there is no `data`.
enum Refused {
    Code(i64, String),
    Ended(End),
}

impl From<Refused> for End {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Ended(end) => end,
            Refused::Code(code, told) if code == BAD_SIGNATURE || TOO_OFTEN.contains(&code) => {
                Self::Wait(REFUSED, format!("Bilibili refuses: {code} {told}"))
            }
            Refused::Code(code, told) => Self::Lost(format!("Bilibili answers {code}: {told}")),
        }
    }
}

async fn send(socket: &mut Socket, operation: u32, body: &[u8]) -> Result<(), End> {
    socket.send(Frame::Binary(packet::encode(operation, body).into())).await.map_err(End::Lost)
}

/// Only names of Bilibili's own servers: the answer decides where the room's key is sent to.
fn socket_url(host: &Value) -> Option<String> {
    let name = host.get("host").and_then(Value::as_str)?;
    let letter = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-');
    let port = host.get("wss_port").and_then(Value::as_u64).unwrap_or(443);
    (!name.is_empty() && name.chars().all(letter)).then(|| format!("wss://{name}:{port}/sub"))
}

#[cfg(test)]
#[path = "bilibili/tests.rs"]
mod tests;
