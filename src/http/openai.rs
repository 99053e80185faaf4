//! OpenAI's `POST /v1/audio/speech`.

use std::sync::Arc;

use axum::{
    extract::{Extension, Request, State},
    response::Response,
};

use super::{
    App, body,
    call::{self, Caller},
    door::Arrival,
    error::ApiError,
    metrics::Route,
    openai_request,
};

/// Answers once there is sound, so that whatever fails before has its true status.
pub async fn speech(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = body::read(&parts.headers, body, app.config.http.max_body_bytes).await?;
    let call = openai_request::parse(&body)?;
    drop(body);
    call::answer(&app, Caller { parts: &parts, arrival, route: Route::Speech }, call).await
}
