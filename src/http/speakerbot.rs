//! The verbs of Speaker.bot over a WebSocket, at `/speaker.bot` and, as there, at `/`: what streamers have bound to
//! hotkeys works. Verbs are taken as its WebSocket server has them (`request`) and as its UDP server has (`command`).

use std::sync::Arc;

use axum::{
    extract::{Extension, Request, State, ws::Utf8Bytes},
    http::header,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    App, chat, chat_message,
    door::LoggedAtEnd,
    error::ApiError,
    openapi::HotkeyErrors,
    web,
    ws_socket::{self, Close, Frame, Idle, NEVER, Stopping},
};
use crate::{
    chat::{Desk, Kind, Message, Platform, Roles, Taken, User},
    error::Error,
};

/// Whose messages those of hotkeys are.
const NAME: &str = "Speaker.bot";

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    id: Value,
    request: Option<String>,
    command: Option<String>,
    voice: Option<String>,
    message: Option<String>,
    method: Option<String>,
    username: Option<String>,
    nickname: Option<String>,
}

/// Opens a WebSocket for hotkeys.
///
/// It takes Speaker.bot's requests: `Speak`, `Stop`, `Pause`, `Resume`, `Clear`, `Enable`, `Disable` and `Set` of a
/// nickname. `docs/chat.md` describes them. Web pages of other origins are refused.
#[utoipa::path(get, path = "/speaker.bot", tags = ["chat", "websockets"], operation_id = "speakerBot",
    responses((status = 101, description = "It is open"), HotkeyErrors))]
pub async fn connect(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    let (upgrade, seat) = ws_socket::upgrade(&app, &mut parts).await?;
    let response = upgrade.on_upgrade(move |socket| async move {
        let stopping = seat.stopping();
        let idle = Idle { limit: NEVER, close: Close::NORMAL };
        let shared = Arc::clone(&app);
        let session = |texts, out| session(shared, stopping, texts, out);
        ws_socket::serve(socket, &app, idle, seat, session).await;
    });
    Ok((Extension(LoggedAtEnd), response).into_response())
}

/// `GET /`: the page, unless it is Speaker.bot's own endpoint that is asked for.
pub async fn root(state: State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    if request.headers().contains_key(header::UPGRADE) {
        return connect(state, request).await;
    }
    Ok(web::page(request.headers().clone()).await)
}

async fn session(
    app: Arc<App>,
    mut stopping: Stopping,
    mut texts: mpsc::Receiver<Utf8Bytes>,
    out: mpsc::Sender<Frame>,
) -> Close {
    loop {
        let text = tokio::select! {
            text = texts.recv() => text,
            () = stopping.stopped() => return Close::GOING_AWAY,
        };
        let Some(text) = text else { return Close::NORMAL };
        let answer = answer(&app, &text).await;
        if out.send(Frame::text(answer.to_string())).await.is_err() {
            return Close::NORMAL;
        }
    }
}

async fn answer(app: &App, text: &str) -> Value {
    let asked: Asked = match chat::parse(text.as_bytes()) {
        Ok(asked) => asked,
        Err(error) => return json!({"id": null, "status": "error", "error": error.to_string()}),
    };
    let id = asked.id.clone();
    let outcome = match app.desk() {
        Ok(desk) => act(desk, asked).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_json()["message"].as_str().unwrap_or_default().to_owned()),
    };
    match outcome {
        Ok(()) => json!({"id": id, "status": "ok"}),
        Err(error) => json!({"id": id, "status": "error", "error": error}),
    }
}

async fn act(desk: &Arc<Desk>, asked: Asked) -> Result<(), Error> {
    let refused = |message: String| Err(Error::invalid("unsupported_request", Some("request"), message));
    let verb = asked.request.or(asked.command).unwrap_or_default().to_ascii_lowercase();
    match verb.as_str() {
        "speak" => return speak(desk, asked.message.unwrap_or_default(), asked.voice).await,
        "stop" => drop(desk.skip(None)?),
        "pause" => desk.pause(true),
        "resume" => desk.pause(false),
        "clear" => drop(desk.clear()),
        "enable" | "on" => desk.enable(true),
        "disable" | "off" => desk.enable(false),
        "set" => match (asked.method.as_deref(), asked.username, asked.nickname) {
            (Some("nickname"), Some(user), nickname) => return desk.set_nickname(&user, nickname.as_deref()).await,
            _ => return refused("\"set\" takes \"method\": \"nickname\", \"username\" and \"nickname\"".to_owned()),
        },
        other => return refused(format!("{other:?} is not known here")),
    }
    desk.settled().await;
    Ok(())
}

/// Ids of hotkeys are the same each time they are pressed, so each message is another.
async fn speak(desk: &Arc<Desk>, text: String, voice: Option<String>) -> Result<(), Error> {
    let message = Message {
        platform: Platform::Api,
        channel: String::new(),
        id: chat_message::random_id()?,
        user: User {
            id: String::new(),
            name: NAME.to_owned(),
            login: String::new(),
            masked: false,
            roles: Roles { broadcaster: true, ..Roles::default() },
        },
        text,
        emotes: Vec::new(),
        kind: Kind::Chat,
        sent_at: None,
    };
    let voice = voice.filter(|name| !name.trim().is_empty());
    match desk.take_in_voice(message, voice).await? {
        Taken::Item(_) | Taken::Acted { .. } => Ok(()),
        Taken::Refused { rule, reason } => {
            Err(Error::invalid("message_refused", Some("message"), format!("{rule}: {reason}")))
        }
    }
}
