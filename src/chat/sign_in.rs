//! Signing in with Twitch: begun by a request, waited for by a task of its own, so that nobody need hold a connection
//! open while a person types a code elsewhere. One sign-in at a time.

use std::{
    sync::{Arc, Weak},
    time::UNIX_EPOCH,
};

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Platform,
    desk::Desk,
    twitch::{self, SignIn, TokenError},
};

/// How far a sign-in is.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum SignInState {
    /// Nobody has signed in.
    None,
    /// Somebody is to open `address` and to type `user_code` there.
    Pending {
        #[schema(examples("https://www.twitch.tv/activate"))]
        address: String,
        #[schema(examples("ABCDEFGH"))]
        user_code: String,
        /// s since 1970.
        expires_unix_s: f64,
    },
    /// The tokens are kept, and refreshed by themselves.
    Done {
        /// Null: Twitch has not told.
        #[schema(required, examples("ann"))]
        login: Option<String>,
    },
    /// For people: why. It may be begun again.
    Failed { reason: String },
}

pub(super) struct SignIns {
    state: parking_lot::Mutex<SignInState>,
    /// Of those who begin.
    turn: tokio::sync::Mutex<()>,
}

impl SignIns {
    pub fn new(before: Option<Option<String>>) -> Self {
        let state = before.map_or(SignInState::None, |login| SignInState::Done { login });
        Self { state: parking_lot::Mutex::new(state), turn: tokio::sync::Mutex::new(()) }
    }
}

impl Desk {
    /// Begins to sign in with Twitch; while somebody is expected, that sign-in again. Connections to Twitch are made anew
    /// once it is done.
    ///
    /// # Errors
    /// No application is configured, or a token that goes before; Twitch does not answer.
    pub async fn sign_in_with_twitch(self: &Arc<Self>) -> Result<SignInState, TokenError> {
        let _turn = self.sign_ins.turn.lock().await;
        let now = self.twitch_sign_in();
        if matches!(now, SignInState::Pending { .. }) {
            return Ok(now);
        }
        let sign_in = twitch::sign_in(&self.config.chat).await?;
        let expires = sign_in.expires_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let begun = SignInState::Pending {
            address: sign_in.address.clone(),
            user_code: sign_in.user_code.clone(),
            expires_unix_s: expires.as_secs_f64(),
        };
        *self.sign_ins.state.lock() = begun.clone();
        tokio::spawn(wait(Arc::downgrade(self), sign_in));
        Ok(begun)
    }

    #[must_use]
    pub fn twitch_sign_in(&self) -> SignInState {
        self.sign_ins.state.lock().clone()
    }
}

async fn wait(desk: Weak<Desk>, sign_in: SignIn) {
    let outcome = sign_in.wait().await;
    let Some(desk) = desk.upgrade() else { return };
    let state = match outcome {
        Ok(login) => {
            tracing::info!(login, "signed in with Twitch");
            desk.connect_anew(Platform::Twitch);
            SignInState::Done { login }
        }
        Err(error) => {
            tracing::warn!(%error, "nobody signed in with Twitch");
            SignInState::Failed { reason: error.to_string() }
        }
    };
    *desk.sign_ins.state.lock() = state;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn states_as_they_are_told() {
        let pending = SignInState::Pending { address: "a".into(), user_code: "u".into(), expires_unix_s: 1.5 };
        for (state, told) in [
            (SignIns::new(None).state.into_inner(), json!({"state": "none"})),
            (SignIns::new(Some(None)).state.into_inner(), json!({"state": "done", "login": null})),
            (pending, json!({"state": "pending", "address": "a", "user_code": "u", "expires_unix_s": 1.5})),
            (SignInState::Failed { reason: "r".into() }, json!({"state": "failed", "reason": "r"})),
        ] {
            assert_eq!(serde_json::to_value(state).expect("JSON"), told);
        }
    }
}
