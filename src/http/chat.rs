//! `/v1/chat`: messages in, and who is in control. What overlays do is in chat_stream.rs and chat_sound.rs.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{Ref, RefOr, Schema, schema::AnyOfBuilder},
};

use super::{
    App, body,
    chat_message::{self, ChatPlatform, Incoming},
    error::ApiError,
    guard::{self, Audience},
    models, native,
    openapi::{ChatErrors, ChatItemErrors},
};
use crate::{
    chat::{self, ChatState, Desk, ItemView, QueueView, Taken, UserKey, Verdict},
    error::Error,
};

/// What became of a message.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Enqueued {
    Item(Box<AcceptedItem>),
    Other(Decided),
}

#[derive(Serialize, ToSchema)]
pub struct AcceptedItem {
    /// True.
    accepted: bool,
    #[serde(flatten)]
    item: ItemView,
}

/// The message is no item.
#[derive(Serialize, ToSchema)]
pub struct Decided {
    /// False: it is refused. True: it was a command, and done.
    accepted: bool,
    /// Which rule decided.
    rule: String,
    /// For people.
    reason: String,
}

/// An item has all that the other one has, so this is no `oneOf`.
impl PartialSchema for Enqueued {
    fn schema() -> RefOr<Schema> {
        let any = AnyOfBuilder::new()
            .item(Ref::from_schema_name(AcceptedItem::name()))
            .item(Ref::from_schema_name(Decided::name()));
        any.into()
    }
}

impl ToSchema for Enqueued {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((AcceptedItem::name().into(), AcceptedItem::schema()));
        AcceptedItem::schemas(schemas);
        schemas.push((Decided::name().into(), Decided::schema()));
    }
}

/// One item, or what is playing.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct Which {
    /// Of an item.
    pub id: Option<String>,
}

#[derive(Deserialize, ToSchema)]
pub struct WhichItem {
    /// Of an item.
    pub id: String,
}

#[derive(Deserialize, ToSchema)]
pub struct Loudness {
    /// 0 to 1.
    #[schema(minimum = 0.0, maximum = 1.0)]
    pub volume: f32,
}

#[derive(Deserialize, ToSchema)]
pub struct MuteUser {
    /// As in `enqueue`.
    #[schema(min_length = 1, max_length = 32, pattern = "^[A-Za-z0-9._-]+$", examples("twitch"))]
    pub platform: String,
    /// By name, whatever its case.
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$", examples("Ann"))]
    pub user: String,
    /// The platform's own id, if it is known: then the name may change.
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    pub user_id: Option<String>,
    /// False: not muted any more. Absent means true.
    pub muted: Option<bool>,
}

#[derive(Deserialize, ToSchema)]
pub struct UserVoice {
    /// As in `enqueue`.
    #[schema(min_length = 1, max_length = 32, pattern = "^[A-Za-z0-9._-]+$", examples("twitch"))]
    pub platform: String,
    /// By name, whatever its case.
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$", examples("Ann"))]
    pub user: String,
    /// The platform's own id, if it is known: then the name may change.
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    pub user_id: Option<String>,
    /// Null: the one of the pool again.
    pub voice: Option<String>,
}

/// A chat; without one, all of them.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct StartChat {
    #[schema(value_type = Option<ChatPlatform>)]
    pub platform: Option<String>,
    /// A name, an address or a number, as people write it.
    #[schema(examples("https://www.twitch.tv/ann"))]
    pub channel: Option<String>,
    /// In which all that is said there is spoken; without it, each viewer has their own.
    pub voice: Option<String>,
    /// By which all that is said there is spoken.
    pub engine: Option<String>,
}

/// Chats; all of a platform, if only that is named.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct StopChat {
    #[schema(value_type = Option<ChatPlatform>)]
    pub platform: Option<String>,
    /// As `GET /v1/chat/state` lists it.
    #[schema(examples("ann"))]
    pub channel: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct Skipped {
    /// Null: nothing was playing.
    #[schema(required)]
    skipped: Option<ItemView>,
}

#[derive(Serialize, ToSchema)]
pub struct Cleared {
    cleared: usize,
}

#[derive(Serialize, ToSchema)]
pub struct MutedUser {
    muted: bool,
    /// Items that were taken back.
    withdrawn: usize,
}

#[derive(Serialize, ToSchema)]
pub struct AssignedVoice {
    #[schema(required)]
    voice: Option<String>,
}

/// Listens to a chat, and takes messages.
///
/// It is listened to again after a restart. Without a channel, messages are taken again that `stop` had shut out.
#[utoipa::path(post, path = "/v1/chat/start", tag = "chat", operation_id = "startChat",
    request_body(content = Option<StartChat>, examples(
        ("channel" = (summary = "A channel", value = json!({"platform": "twitch", "channel": "ann"}))),
        ("all" = (summary = "Take messages again", value = json!({}))))),
    responses((status = 200, body = ChatState, description = "How the chat is now"), ChatErrors))]
pub async fn start(State(app): State<Arc<App>>, request: Request) -> Result<Json<ChatState>, ApiError> {
    let desk = app.desk()?;
    let (chat, _) = read_optional::<StartChat>(&app, request).await?;
    match (chat.platform, chat.channel) {
        (Some(platform), Some(channel)) => {
            let platform = ChatPlatform::named(&platform)?;
            let engine = models::engine_of(&app.speech.engines(), chat.engine.as_deref())
                .map_err(|error| ApiError::about(error, native::NAMES))?;
            desk.start(platform.into(), &channel, chat.voice.as_deref(), engine)?;
        }
        (None, None) => {}
        _ => {
            let message = "\"platform\" and \"channel\" go together";
            return Err(Error::invalid("invalid_value", Some("channel"), message).into());
        }
    }
    desk.enable(true);
    Ok(now(desk).await)
}

/// Listens to a chat no more.
///
/// What it had waiting is still heard. Without a channel, no messages are taken, wherever they come from.
#[utoipa::path(post, path = "/v1/chat/stop", tag = "chat", operation_id = "stopChat",
    request_body(content = Option<StopChat>, examples(
        ("channel" = (summary = "A channel", value = json!({"platform": "twitch", "channel": "ann"}))),
        ("all" = (summary = "Take no messages", value = json!({}))))),
    responses((status = 200, body = ChatState, description = "How the chat is now"), ChatErrors))]
pub async fn stop(State(app): State<Arc<App>>, request: Request) -> Result<Json<ChatState>, ApiError> {
    let desk = app.desk()?;
    let (chat, _) = read_optional::<StopChat>(&app, request).await?;
    if chat.platform.is_none() && chat.channel.is_none() {
        desk.enable(false);
    } else {
        let platform = chat.platform.as_deref().map(ChatPlatform::named).transpose()?;
        desk.stop(platform.map(Into::into), chat.channel.as_deref());
    }
    Ok(now(desk).await)
}

/// Takes a message.
///
/// Answered once it is stored: what was accepted is heard, also after a crash. A message whose `platform` and `id` came
/// before is the same item. With `accepted` false, `rule` and `reason` tell who refused it and why.
#[utoipa::path(post, path = "/v1/chat/enqueue", tag = "chat", operation_id = "enqueue",
    request_body(content = Incoming, examples(
        ("plain" = (summary = "A message", value = json!({"platform": "twitch", "user": "Ann", "text": "Hello there!"}))),
        ("paid" = (summary = "A paid one, safe to send again", value = json!({"platform": "youtube", "user": "Bo",
            "text": "Great stream!", "paid": {"amount": 5, "currency": "EUR"}, "id": "tip-17", "badges": ["subscriber"]}))),
    )),
    responses((status = 202, body = Enqueued, description = "The item, or the rule that refused the message"),
        ChatErrors))]
pub async fn enqueue(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let desk = app.desk()?;
    let (message, _) = read::<Incoming>(&app, request).await?;
    let taken = desk.take(message.message()?).await?;
    Ok((StatusCode::ACCEPTED, Json(enqueued(desk, taken).await?)).into_response())
}

/// # Errors
/// The item ended long ago, and the database cannot be read.
pub async fn enqueued(desk: &Desk, taken: Taken) -> Result<Enqueued, Error> {
    Ok(match taken {
        Taken::Item(item) => Enqueued::Item(Box::new(AcceptedItem { accepted: true, item: desk.show(&item).await? })),
        Taken::Refused { rule, reason } => Enqueued::Other(Decided { accepted: false, rule, reason }),
        Taken::Acted { rule, reason } => Enqueued::Other(Decided { accepted: true, rule, reason }),
    })
}

/// Tells what the rules would say of a message.
///
/// Every rule that looked at it, in order; the last one decided. Nothing is queued, and nothing is remembered.
#[utoipa::path(post, path = "/v1/chat/test", tag = "chat", operation_id = "testRules",
    request_body(content = Incoming, examples(
        ("plain" = (summary = "A message", value = json!({"platform": "twitch", "user": "Ann", "text": "Hello there!"}))),
    )),
    responses((status = 200, body = Object, description = "`decision`, `rule`, `reason` and `trace`"), ChatErrors))]
pub async fn test(State(app): State<Arc<App>>, request: Request) -> Result<Json<Verdict>, ApiError> {
    let desk = app.desk()?;
    let (message, _) = read::<Incoming>(&app, request).await?;
    Ok(Json(desk.test(&message.message()?)))
}

/// Tells how the chat is.
#[utoipa::path(get, path = "/v1/chat/state", tag = "chat", operation_id = "chatState",
    responses((status = 200, body = ChatState, description = "Connections, overlays, settings"), ChatErrors))]
pub async fn state(State(app): State<Arc<App>>, request: Request) -> Result<Json<ChatState>, ApiError> {
    app.guard.refuse_other_pages(request.headers())?;
    Ok(Json(app.desk()?.state()))
}

/// Lists what waits, plays, and has ended.
#[utoipa::path(get, path = "/v1/chat/queue", tag = "chat", operation_id = "chatQueue",
    responses((status = 200, body = QueueView, description = "Each with the rule and the reason"), ChatErrors))]
pub async fn queue(State(app): State<Arc<App>>, request: Request) -> Result<Json<QueueView>, ApiError> {
    app.guard.refuse_other_pages(request.headers())?;
    Ok(Json(app.desk()?.queue()))
}

/// Stops what is playing, and goes on with the next.
///
/// Or takes the named item from wherever it waits.
#[utoipa::path(post, path = "/v1/chat/skip", tag = "chat", operation_id = "skip",
    request_body(content = Option<Which>, examples(("current" = (summary = "What is playing", value = json!({}))))),
    responses((status = 200, body = Skipped, description = "What was skipped"), ChatItemErrors))]
pub async fn skip(State(app): State<Arc<App>>, request: Request) -> Result<Json<Skipped>, ApiError> {
    let desk = app.desk()?;
    let (which, _) = read_optional::<Which>(&app, request).await?;
    let skipped = desk.skip(which.id.as_deref())?;
    desk.settled().await;
    Ok(Json(Skipped { skipped }))
}

/// Holds what is playing; nothing new is played.
#[utoipa::path(post, path = "/v1/chat/pause", tag = "chat", operation_id = "pause",
    responses((status = 200, body = ChatState, description = "How the chat is now"), ChatErrors))]
pub async fn pause(State(app): State<Arc<App>>) -> Result<Json<ChatState>, ApiError> {
    let desk = app.desk()?;
    desk.pause(true);
    Ok(now(desk).await)
}

/// Goes on.
#[utoipa::path(post, path = "/v1/chat/resume", tag = "chat", operation_id = "resume",
    responses((status = 200, body = ChatState, description = "How the chat is now"), ChatErrors))]
pub async fn resume(State(app): State<Arc<App>>) -> Result<Json<ChatState>, ApiError> {
    let desk = app.desk()?;
    desk.pause(false);
    Ok(now(desk).await)
}

/// Drops all that waits, paid items included; what is playing goes on.
#[utoipa::path(post, path = "/v1/chat/clear", tag = "chat", operation_id = "clear",
    responses((status = 200, body = Cleared, description = "How many items that were"), ChatErrors))]
pub async fn clear(State(app): State<Arc<App>>) -> Result<Json<Cleared>, ApiError> {
    let desk = app.desk()?;
    let cleared = desk.clear();
    desk.settled().await;
    Ok(Json(Cleared { cleared }))
}

/// Sets the volume of all overlays.
#[utoipa::path(post, path = "/v1/chat/volume", tag = "chat", operation_id = "volume",
    request_body(content = Loudness, examples(("half" = (summary = "Half", value = json!({"volume": 0.5}))))),
    responses((status = 200, body = ChatState, description = "How the chat is now"), ChatErrors))]
pub async fn volume(State(app): State<Arc<App>>, request: Request) -> Result<Json<ChatState>, ApiError> {
    let desk = app.desk()?;
    let (loudness, _) = read::<Loudness>(&app, request).await?;
    if !(0.0..=1.0).contains(&loudness.volume) {
        return Err(Error::invalid("invalid_value", Some("volume"), "\"volume\" must be a number from 0 to 1").into());
    }
    desk.set_volume(loudness.volume);
    Ok(now(desk).await)
}

/// Mutes a user, and takes back what of theirs was not said; or unmutes.
#[utoipa::path(post, path = "/v1/chat/mute-user", tag = "chat", operation_id = "muteUser",
    request_body(content = MuteUser, examples(
        ("name" = (summary = "By name", value = json!({"platform": "twitch", "user": "Ann"}))))),
    responses((status = 200, body = MutedUser, description = "What was taken back"), ChatErrors))]
pub async fn mute_user(State(app): State<Arc<App>>, request: Request) -> Result<Json<MutedUser>, ApiError> {
    let desk = app.desk()?;
    let (who, _) = read::<MuteUser>(&app, request).await?;
    let (platform, id) = chat_message::user(&who.platform, &who.user, who.user_id)?;
    let muted = who.muted.unwrap_or(true);
    let withdrawn = desk.mute(platform, id.as_deref(), &who.user, muted);
    desk.settled().await;
    Ok(Json(MutedUser { muted, withdrawn }))
}

/// Gives a user a voice for good.
#[utoipa::path(post, path = "/v1/chat/user-voice", tag = "chat", operation_id = "userVoice",
    request_body(content = UserVoice, examples(
        ("name" = (summary = "By name", value = json!({"platform": "twitch", "user": "Ann", "voice": "heart"}))))),
    responses((status = 200, body = AssignedVoice, description = "The voice's id"), ChatErrors))]
pub async fn user_voice(State(app): State<Arc<App>>, request: Request) -> Result<Json<AssignedVoice>, ApiError> {
    let desk = app.desk()?;
    let (who, _) = read::<UserVoice>(&app, request).await?;
    let (platform, id) = chat_message::user(&who.platform, &who.user, who.user_id)?;
    let user = match id {
        Some(id) => UserKey { platform, id },
        None => UserKey::named(platform, &who.user),
    };
    Ok(Json(AssignedVoice { voice: desk.assign_voice(user, who.voice.as_deref()).await? }))
}

/// Lets an item be heard that waits for approval.
#[utoipa::path(post, path = "/v1/chat/approve", tag = "chat", operation_id = "approve",
    request_body(content = WhichItem, examples(("one" = (summary = "An item", value = json!({"id": "5f0c12ab-17"}))))),
    responses((status = 200, body = ChatState, description = "How the chat is now"), ChatItemErrors))]
pub async fn approve(State(app): State<Arc<App>>, request: Request) -> Result<Json<ChatState>, ApiError> {
    let desk = app.desk()?;
    let (which, _) = read::<WhichItem>(&app, request).await?;
    desk.approve(&which.id)?;
    Ok(now(desk).await)
}

/// Refuses an item that waits for approval.
#[utoipa::path(post, path = "/v1/chat/reject", tag = "chat", operation_id = "reject",
    request_body(content = WhichItem, examples(("one" = (summary = "An item", value = json!({"id": "5f0c12ab-17"}))))),
    responses((status = 200, body = ChatState, description = "How the chat is now"), ChatItemErrors))]
pub async fn reject(State(app): State<Arc<App>>, request: Request) -> Result<Json<ChatState>, ApiError> {
    let desk = app.desk()?;
    let (which, _) = read::<WhichItem>(&app, request).await?;
    desk.reject(&which.id)?;
    Ok(now(desk).await)
}

/// How the chat is, once that is on the disk.
async fn now(desk: &Desk) -> Json<ChatState> {
    desk.settled().await;
    Json(desk.state())
}

impl App {
    /// # Errors
    /// Why there is no chat.
    pub fn desk(&self) -> Result<&Arc<Desk>, ApiError> {
        self.chat.as_ref().map_err(|error| Error::ChatUnavailable { message: error.to_string() }.into())
    }

    /// What the chat's control asks of a request, before anything looks at it.
    ///
    /// # Errors
    /// `token_missing` or `token_invalid`.
    pub fn admit(&self, request: &Request) -> Result<(), ApiError> {
        let opens_websocket = request.headers().contains_key(header::UPGRADE);
        let is_for_control = Audience::of(request.uri().path(), opens_websocket) == Audience::Control;
        let Ok(desk) = &self.chat else { return Ok(()) };
        if !is_for_control || !self.guard.asks_for_token() {
            return Ok(());
        }
        let token = guard::shown_token(request.uri(), request.headers()).ok_or_else(ApiError::no_token)?;
        if chat::is_same(&token, desk.control_token()) { Ok(()) } else { Err(ApiError::wrong_token()) }
    }

    /// Whoever shows one of the tokens; and where none is asked for, as for everything else, no page of another origin.
    ///
    /// # Errors
    /// `token_missing`, `token_invalid`, `origin_not_allowed`, or that there is no chat.
    pub fn desk_for_overlay(&self, parts: &Parts) -> Result<&Arc<Desk>, ApiError> {
        let desk = self.desk()?;
        match guard::shown_token(&parts.uri, &parts.headers) {
            Some(token) if chat::is_same(&token, desk.token()) || chat::is_same(&token, desk.control_token()) => {
                Ok(desk)
            }
            Some(_) => Err(ApiError::wrong_token()),
            None if self.guard.asks_for_token() => Err(ApiError::no_token()),
            None => self.guard.refuse_other_pages(&parts.headers).map(|()| desk),
        }
    }
}

pub async fn read<T: DeserializeOwned>(app: &App, request: Request) -> Result<(T, Parts), ApiError> {
    let (parts, body) = request.into_parts();
    let bytes = body::read(&parts.headers, body, app.config.http.max_body_bytes).await?;
    Ok((parse(&bytes)?, parts))
}

/// No body, or `null`, is an empty object.
pub async fn read_optional<T: DeserializeOwned>(app: &App, request: Request) -> Result<(T, Parts), ApiError> {
    let (parts, body) = request.into_parts();
    let bytes = body::read(&parts.headers, body, app.config.http.max_body_bytes).await?;
    Ok((parse(if bytes.is_empty() || *bytes == *b"null" { b"{}" } else { &bytes })?, parts))
}

/// # Errors
/// What is wrong with the JSON, or with a field.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    const MAX_REASON_CHARS: usize = 200;
    let value: Result<Value, _> = serde_json::from_slice(bytes);
    let wrong = |reason: String| {
        let reason: String = reason.chars().take(MAX_REASON_CHARS).collect();
        Error::invalid("invalid_json", None, format!("the body is not the JSON object that is expected: {reason}"))
    };
    let value = value.map_err(|error| wrong(error.to_string()))?;
    if !value.is_object() {
        return Err(wrong("it is no object".to_owned()));
    }
    serde_json::from_value(value).map_err(|error| wrong(error.to_string()))
}
