//! One WebSocket, for whatever is said over it: it is read and written at the same time, kept alive, and closed with a
//! code that tells why. Nothing is queued without bound: who does not read is not read from, nor spoken for.

use std::{
    borrow::Cow,
    future::{Future, pending},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    extract::{
        FromRequestParts,
        ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade},
    },
    http::request::Parts,
};
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout},
};

use super::{App, error::ApiError, seconds};

/// For connections that may be quiet for as long as they like.
pub const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Frames that wait for the socket. Sound of seconds is cut into many.
const FRAMES: usize = 8;
/// Messages that wait to be looked at.
const TEXTS: usize = 32;
/// After a close, for the client to read what was sent and to answer.
const CLOSING_LIMIT: Duration = Duration::from_secs(5);
/// What a client may still send after a close: read, so that the close reaches it, and forgotten.
const CLOSING_MAX_BYTES: usize = 64 << 20;

/// Why a connection is closed. Codes up to 1015 are those of RFC 6455, the others ours.
#[derive(Debug, Clone, PartialEq)]
pub struct Close {
    pub code: u16,
    pub reason: Cow<'static, str>,
    /// Goes out before it.
    pub last: Option<String>,
}

impl Close {
    pub const NORMAL: Self = Self::new(1000, "");
    pub const GOING_AWAY: Self = Self::new(1001, "shutting_down");
    const PROTOCOL: Self = Self::new(1002, "protocol_error");
    const BINARY: Self = Self::new(1003, "text_expected");
    const NOT_UTF8: Self = Self::new(1007, "invalid_utf8");
    const TOO_LARGE: Self = Self::new(1009, "message_too_large");

    pub const fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason: Cow::Borrowed(reason), last: None }
    }
}

/// How long nothing may be said, by either side, and how the connection is closed then.
#[derive(Debug, Clone)]
pub struct Idle {
    pub limit: Duration,
    pub close: Close,
}

/// What goes out together, or not at all.
#[derive(Debug)]
pub struct Frame {
    pub messages: Vec<Message>,
    /// False: it is not wanted any more.
    pub live: Option<Arc<AtomicBool>>,
}

impl Frame {
    #[must_use]
    pub fn text(text: String) -> Self {
        Self { messages: vec![Message::Text(text.into())], live: None }
    }

    fn is_live(&self) -> bool {
        self.live.as_ref().is_none_or(|live| live.load(Ordering::Acquire))
    }
}

/// All that are open: told when the server stops, and waited for.
#[derive(Debug, Clone)]
pub struct Sockets {
    stopping: watch::Sender<bool>,
    open: watch::Sender<usize>,
}

/// One of them, until it is closed.
pub struct Seat {
    stopping: watch::Receiver<bool>,
    open: watch::Sender<usize>,
}

impl Sockets {
    #[must_use]
    pub fn new() -> Self {
        Self { stopping: watch::Sender::new(false), open: watch::Sender::new(0) }
    }

    pub fn enter(&self) -> Seat {
        self.open.send_modify(|open| *open += 1);
        Seat { stopping: self.stopping.subscribe(), open: self.open.clone() }
    }

    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Waits until none is left.
    pub async fn gone(&self) {
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }
}

impl Seat {
    #[must_use]
    pub fn stopping(&self) -> Stopping {
        Stopping(self.stopping.clone())
    }
}

/// Tells whether the server stops.
pub struct Stopping(watch::Receiver<bool>);

impl Stopping {
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the server stops.
    pub async fn stopped(&mut self) {
        if self.0.wait_for(|stopping| *stopping).await.is_err() {
            pending().await
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.open.send_modify(|open| *open -= 1);
    }
}

/// The upgrade of this request, within the configured bounds.
///
/// # Errors
/// `websocket_expected`.
pub async fn upgrade(app: &App, parts: &mut Parts) -> Result<(WebSocketUpgrade, Seat), ApiError> {
    let upgrade = WebSocketUpgrade::from_request_parts(parts, &());
    let upgrade = upgrade.await.map_err(|rejection| ApiError::websocket_expected(rejection.body_text()))?;
    let max_bytes = app.config.http.max_body_bytes;
    Ok((upgrade.max_message_size(max_bytes).max_frame_size(max_bytes), app.sockets.enter()))
}

/// Carries `session`'s messages until one of the two sides closes. The session is given what the client says and
/// where to put what it is to be told; it ends by itself with a close, or is dropped when the client has left.
pub async fn serve<F>(
    socket: WebSocket,
    app: &App,
    idle: Idle,
    _seat: Seat,
    session: impl FnOnce(mpsc::Receiver<Utf8Bytes>, mpsc::Sender<Frame>) -> F,
) where
    F: Future<Output = Close>,
{
    let (mut sink, mut stream) = socket.split();
    let (out, mut frames) = mpsc::channel(FRAMES);
    let (heard, texts) = mpsc::channel(TEXTS);
    let activity = Activity::default();
    let (close, orderly) = tokio::select! {
        close = session(texts, out) => (Some(close), true),
        close = read(&mut stream, &heard, &activity) => (close, false),
        () = write(&mut sink, &mut frames, &activity, seconds(app.config.websocket.ping_s)) => (None, false),
        () = activity.quiet_for(idle.limit) => (Some(idle.close), false),
    };
    let Some(close) = close else { return };
    frames.close();
    while let Some(frame) = frames.recv().await.filter(|_| orderly) {
        if send(&mut sink, frame).await.is_err() {
            return;
        }
    }
    if let Some(last) = close.last
        && sink.send(Message::Text(last.into())).await.is_err()
    {
        return;
    }
    let frame = CloseFrame { code: close.code, reason: close.reason.as_ref().into() };
    if sink.send(Message::Close(Some(frame))).await.is_ok() {
        let _ = timeout(CLOSING_LIMIT, drain(&mut stream)).await;
    }
}

/// None: the client has left.
async fn read(
    stream: &mut SplitStream<WebSocket>,
    heard: &mpsc::Sender<Utf8Bytes>,
    activity: &Activity,
) -> Option<Close> {
    loop {
        match stream.next().await {
            None | Some(Ok(Message::Close(_))) => return None,
            Some(Ok(Message::Text(text))) => {
                activity.touch();
                if heard.send(text).await.is_err() {
                    // The session is about to end.
                    pending().await
                }
            }
            Some(Ok(Message::Binary(_))) => return Some(Close::BINARY),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Err(error)) => return fault(error),
        }
    }
}

fn fault(error: axum::Error) -> Option<Close> {
    use tungstenite::Error;
    match error.into_inner().downcast_ref::<Error>() {
        Some(Error::Capacity(_)) => Some(Close::TOO_LARGE),
        Some(Error::Utf8(_)) => Some(Close::NOT_UTF8),
        Some(Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => None,
        Some(Error::Protocol(_)) => Some(Close::PROTOCOL),
        _ => None,
    }
}

/// Returns when nothing can be written any more.
async fn write(
    sink: &mut SplitSink<WebSocket, Message>,
    frames: &mut mpsc::Receiver<Frame>,
    activity: &Activity,
    ping_every: Duration,
) {
    let mut pings = interval_at(Instant::now() + ping_every, ping_every);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let sent = tokio::select! {
            frame = frames.recv() => match frame {
                Some(frame) => send(sink, frame).await,
                None => pending().await,
            },
            _ = pings.tick() => {
                if sink.send(Message::Ping(bytes::Bytes::new())).await.is_err() {
                    return;
                }
                continue;
            }
        };
        if sent.is_err() {
            return;
        }
        activity.touch();
    }
}

async fn send(sink: &mut SplitSink<WebSocket, Message>, frame: Frame) -> Result<(), axum::Error> {
    if frame.is_live() {
        for message in frame.messages {
            sink.feed(message).await?;
        }
    }
    sink.flush().await
}

async fn drain(stream: &mut SplitStream<WebSocket>) {
    let mut drained_bytes = 0;
    while let Some(Ok(message)) = stream.next().await {
        drained_bytes += message.into_data().len();
        if drained_bytes > CLOSING_MAX_BYTES {
            return;
        }
    }
}

/// When something was last said, by either side. Pings and pongs do not count.
struct Activity(Mutex<Instant>);

impl Default for Activity {
    fn default() -> Self {
        Self(Mutex::new(Instant::now()))
    }
}

impl Activity {
    fn touch(&self) {
        *self.0.lock() = Instant::now();
    }

    async fn quiet_for(&self, idle: Duration) {
        loop {
            let end = *self.0.lock() + idle;
            if end <= Instant::now() {
                return;
            }
            sleep_until(end).await;
        }
    }
}
