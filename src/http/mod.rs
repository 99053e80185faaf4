//! HTTP: one file per surface. Runs on tokio's threads; never waits for Python; what touches a disk is done aside.

mod accept;
mod body;
mod call;
mod chat;
mod chat_message;
mod chat_sign_in;
mod chat_sound;
mod chat_stream;
mod chat_webhook;
mod compat;
mod compat_voices;
mod connection;
mod danmaku;
mod door;
mod elevenlabs;
mod elevenlabs_messages;
mod encoding;
mod error;
mod events;
mod fields;
mod form;
mod guard;
mod health;
mod metrics;
mod models;
mod native;
mod openai;
mod openai_request;
mod openapi;
mod request_id;
mod sound;
mod speakerbot;
#[cfg(test)]
mod tests;
mod voices;
mod voices_change;
mod voices_preview;
mod web;
mod ws;
mod ws_context;
mod ws_messages;
mod ws_narration;
mod ws_socket;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    http::{Method, Uri},
    middleware::from_fn_with_state,
    routing::{get, post},
};
use tokio::sync::watch;

use self::{
    connection::Door,
    error::ApiError,
    form::Uploads,
    guard::Guard,
    metrics::{Metrics, UPKEEP_PERIOD},
    ws_socket::Sockets,
};
use crate::{
    audio::encode::Workers,
    chat::{Desk, StoreError, source::Platforms, webhook::Replays},
    config::Config,
    speech::Speech,
};

/// For connections that are closed at the end of the grace period.
const CLOSING_LIMIT: Duration = Duration::from_secs(1);

/// Of the program's budget: one thread encodes for about a hundred listeners.
const THREADS_PER_ENCODER: usize = 8;

/// What handlers share.
pub struct App {
    speech: Arc<Speech>,
    config: Arc<Config>,
    /// Or why there is none.
    chat: Result<Arc<Desk>, StoreError>,
    /// Webhook requests that came.
    replays: Replays,
    guard: Guard,
    metrics: Arc<Metrics>,
    sockets: Sockets,
    workers: Arc<Workers>,
    uploads: Uploads,
    started_unix_s: u64,
}

impl App {
    /// # Errors
    /// There can be no thread for encoding.
    pub fn new(speech: Arc<Speech>, chat: Result<Arc<Desk>, StoreError>, config: Arc<Config>) -> io::Result<Arc<Self>> {
        let guard = Guard::new(&config.http, config.chat.auth);
        let started_unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let workers = Arc::new(Workers::start((config.threads() / THREADS_PER_ENCODER).max(1))?);
        Ok(Arc::new(Self {
            speech,
            config,
            chat,
            replays: Replays::default(),
            guard,
            metrics: Metrics::new(),
            sockets: Sockets::new(),
            workers,
            uploads: Uploads::new(),
            started_unix_s,
        }))
    }

    /// Where the studio is opened with its token, for whoever reads the log.
    fn tell_of_token(&self, mut address: SocketAddr) {
        let Ok(desk) = &self.chat else { return };
        if self.guard.asks_for_token() {
            match address.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
                IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
                _ => {}
            }
            let studio = format!("http://{address}/#token={}", desk.control_token());
            tracing::info!(studio, "the chat asks for a token");
        } else if !address.ip().is_loopback() {
            tracing::warn!("whoever reaches this server controls its chat: chat.auth is \"never\"");
        }
    }
}

/// Makes the counters of all rooms arrive at `/metrics`. To be called before the first of them counts.
pub fn install_metrics() {
    metrics::install();
}

pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(speakerbot::root))
        .route("/speaker.bot", get(speakerbot::connect))
        .route("/overlay", get(web::overlay))
        .route("/web/{*name}", get(web::asset))
        .route("/v1/audio/speech", post(openai::speech))
        .route("/v1/tts", get(native::play).post(native::speak))
        .route("/v1/captions", post(native::captions))
        .route("/api/health", get(compat::health))
        .route("/api/voices", get(compat::voices))
        .route("/api/tts", post(compat::speak))
        .route(
            "/api/voices/{id}/reference",
            get(compat_voices::reference).post(compat_voices::replace).delete(compat_voices::restore),
        )
        .route("/api/voices/{id}/reference/audio", get(compat_voices::audio))
        .route("/api/danmaku/start", post(danmaku::start))
        .route("/api/danmaku/stop", post(danmaku::stop))
        .route("/api/danmaku/enqueue", post(danmaku::enqueue))
        .route("/api/danmaku/stream", get(danmaku::stream))
        .route("/v1/audio/voices", get(voices::list))
        .route("/v1/voices", get(voices::all).post(voices_change::add))
        .route("/v1/voices/{id}", get(voices::one).post(voices_change::change).delete(voices_change::remove))
        .route("/v1/voices/{id}/audio", get(voices::audio))
        .route("/v1/voices/{id}/preview", post(voices_preview::preview))
        .route("/v1/ws", get(ws::connect))
        .route("/v1/text-to-speech/{voice_id}/stream-input", get(elevenlabs::stream_input))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{id}", get(models::one))
        .route("/v1/chat/stream", get(chat_stream::stream))
        .route("/v1/chat/ack", post(chat_stream::ack))
        .route("/v1/chat/items/{id}/audio", get(chat_sound::audio))
        .route("/v1/chat/items/{id}/speech", get(chat_sound::speech))
        .route("/v1/chat/webhook", post(chat_webhook::take))
        .route("/v1/chat/twitch/sign-in", get(chat_sign_in::state).post(chat_sign_in::begin))
        .route("/v1/chat/start", post(chat::start))
        .route("/v1/chat/stop", post(chat::stop))
        .route("/v1/chat/enqueue", post(chat::enqueue))
        .route("/v1/chat/test", post(chat::test))
        .route("/v1/chat/state", get(chat::state))
        .route("/v1/chat/queue", get(chat::queue))
        .route("/v1/chat/skip", post(chat::skip))
        .route("/v1/chat/pause", post(chat::pause))
        .route("/v1/chat/resume", post(chat::resume))
        .route("/v1/chat/clear", post(chat::clear))
        .route("/v1/chat/volume", post(chat::volume))
        .route("/v1/chat/mute-user", post(chat::mute_user))
        .route("/v1/chat/user-voice", post(chat::user_voice))
        .route("/v1/chat/approve", post(chat::approve))
        .route("/v1/chat/reject", post(chat::reject))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/openapi.json", get(openapi::document))
        .route("/docs", get(web::docs))
        .fallback(async |uri: Uri| ApiError::unknown_path(uri.path()))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            ApiError::wrong_method(method.as_str(), uri.path())
        })
        .layer(from_fn_with_state(Arc::clone(&app), door::pass))
        .with_state(app)
}

/// Serves until `stop` turns true (or its sender is gone), then accepts nothing more and returns when what is in
/// flight has been sent, or when the configured grace period is over: what is left then is broken off.
///
/// # Errors
/// The socket cannot be used.
pub async fn serve(
    listener: TcpListener,
    speech: Arc<Speech>,
    config: Arc<Config>,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    let grace = seconds(config.http.shutdown_grace_s);
    let (close, closed) = watch::channel(false);
    let door = Door::new(listener, seconds(config.speech.max_stall_s), closed);
    let chat = open_chat(&speech, &config).await;
    let app = App::new(speech, chat, config)?;
    app.tell_of_token(address);
    let (metrics, sockets) = (Arc::clone(&app.metrics), app.sockets.clone());

    let serving = accept::serve(door, router(app), stopped(stop.clone()));
    // WebSockets have left the server's books when they were opened.
    let serving = async {
        serving.await;
        sockets.gone().await;
    };
    let out_of_time = async {
        stopped(stop).await;
        sockets.stop();
        tokio::time::sleep(grace).await;
    };
    let upkeep = async {
        loop {
            tokio::time::sleep(UPKEEP_PERIOD).await;
            metrics.run_upkeep();
        }
    };
    tokio::select! {
        () = serving => return Ok(()),
        () = out_of_time => tracing::warn!("some requests were still in flight when the grace period ended"),
        () = upkeep => {}
    }
    close.send_replace(true);
    let _ = tokio::time::timeout(CLOSING_LIMIT, close.closed()).await;
    Ok(())
}

/// A chat that cannot be used keeps nothing else from working.
async fn open_chat(speech: &Arc<Speech>, config: &Arc<Config>) -> Result<Arc<Desk>, StoreError> {
    let (speech, config) = (Arc::clone(speech), Arc::clone(config));
    let platforms = Arc::new(Platforms::new(Arc::clone(&config)));
    let opened = tokio::task::spawn_blocking(move || Desk::open(config, speech, platforms)).await;
    let opened = opened.unwrap_or_else(|_| Err(StoreError("opening its database failed".to_owned())));
    if let Err(error) = &opened {
        tracing::warn!(%error, "there is no chat");
    }
    opened
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone: nobody could stop the server any more.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The configuration is checked at its start; what is out of range here means no limit.
fn seconds(value: f64) -> Duration {
    const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);
    Duration::try_from_secs_f64(value).unwrap_or(FOREVER).min(FOREVER)
}
