//! `/v1/chat/twitch/sign-in`: who the server is to Twitch, by the device flow.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
};

use super::{
    App,
    error::ApiError,
    openapi::{ChatErrors, SignInErrors},
};
use crate::chat::SignInState;

/// Begins to sign in with Twitch.
///
/// Somebody opens `address` in any browser and types `user_code` there. Once they agreed, the tokens are kept and refreshed
/// by themselves, and chats on Twitch are listened to with them. While somebody is expected, the answer is the same.
#[utoipa::path(post, path = "/v1/chat/twitch/sign-in", tag = "chat", operation_id = "signInWithTwitch",
    responses((status = 200, body = SignInState, description = "`pending`: where to sign in"), SignInErrors))]
pub async fn begin(State(app): State<Arc<App>>) -> Result<Json<SignInState>, ApiError> {
    let begun = app.desk()?.sign_in_with_twitch().await;
    begun.map(Json).map_err(|error| ApiError::sign_in(&error))
}

/// Tells how far the sign-in with Twitch is.
#[utoipa::path(get, path = "/v1/chat/twitch/sign-in", tag = "chat", operation_id = "twitchSignIn",
    responses((status = 200, body = SignInState, description = "`none`, `pending`, `done` or `failed`"), ChatErrors))]
pub async fn state(State(app): State<Arc<App>>, request: Request) -> Result<Json<SignInState>, ApiError> {
    app.guard.refuse_other_pages(request.headers())?;
    Ok(Json(app.desk()?.twitch_sign_in()))
}
