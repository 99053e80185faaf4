//! Who we are to Twitch: nobody, whom the configuration says, or who signed in with the device flow. What the device flow
//! gave is kept in the data directory, readable by its owner alone, and refreshed by itself.

use std::{
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Mutex;

use super::eventsub::SCOPE;
use crate::{
    chat::source::{Answer, Context, HttpError},
    config::{self, Secret},
};

pub(super) const FILE: &str = "twitch.json";
const SCOPES: [&str; 2] = ["chat:read", SCOPE];
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// What a server that says `slow_down` adds to the wait (RFC 8628, 3.5).
const SLOWER: Duration = Duration::from_secs(5);
/// Held while the file is read and written: a refresh token is good for one use, and every channel has a connection.
static TURN: Mutex<()> = Mutex::const_new(());

#[derive(Debug, Clone)]
pub(super) struct Token {
    pub access: Secret,
    pub client_id: String,
    pub login: Option<String>,
    pub user_id: Option<String>,
    pub scopes: Vec<String>,
}

/// What is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    client_id: String,
    access_token: Secret,
    refresh_token: Secret,
    /// Whose they are, where Twitch has told.
    #[serde(default)]
    login: Option<String>,
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TokenError {
    /// The user must sign in again.
    #[error("{0}")]
    Refused(String),
    /// It may work later.
    #[error("{0}")]
    Unreachable(String),
}

impl From<HttpError> for TokenError {
    fn from(error: HttpError) -> Self {
        Self::Unreachable(error.to_string())
    }
}

/// The token to use now, checked with Twitch; none: anonymous.
pub(super) async fn current(settings: &config::Twitch, context: &Context) -> Result<Option<Token>, TokenError> {
    if !settings.token.is_empty() {
        let bare = settings.token.reveal().trim_start_matches("oauth:");
        return match validate(settings, context, &Secret::from(bare)).await? {
            Some(token) => Ok(Some(token)),
            None => Err(TokenError::Refused("Twitch does not accept chat.twitch.token; make a new one".into())),
        };
    }
    let path = context.directory.join(FILE);
    let _turn = TURN.lock().await;
    let Some(kept) = read(&path)? else { return Ok(None) };
    if let Some(token) = validate(settings, context, &kept.access_token).await? {
        return Ok(Some(token));
    }
    let fresh = refresh(settings, context, &kept).await?;
    validate(settings, context, &fresh.access_token).await
}

/// None: it is not valid (any more).
async fn validate(settings: &config::Twitch, context: &Context, access: &Secret) -> Result<Option<Token>, TokenError> {
    let url = format!("{}/validate", settings.auth_url);
    let answer = context.http.get(&url, &[("authorization", &format!("OAuth {}", access.reveal()))]).await?;
    if answer.status == 401 {
        return Ok(None);
    }
    let answer = expect_success(answer)?;
    let word = |key: &str| answer.json.get(key).and_then(Value::as_str).map(str::to_owned);
    let scopes = answer.json.get("scopes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    Ok(Some(Token {
        access: access.clone(),
        client_id: word("client_id").unwrap_or_else(|| settings.client_id.clone()),
        login: word("login"),
        user_id: word("user_id"),
        scopes: scopes.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
    }))
}

async fn refresh(settings: &config::Twitch, context: &Context, kept: &Kept) -> Result<Kept, TokenError> {
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", kept.refresh_token.reveal()),
        ("client_id", &kept.client_id),
    ];
    let answer = context.http.post_form(&format!("{}/token", settings.auth_url), &form).await?;
    if matches!(answer.status, 400 | 401) {
        return Err(TokenError::Refused("the sign-in with Twitch is over; sign in again".into()));
    }
    let mut fresh = granted(&expect_success(answer)?, &kept.client_id)?;
    fresh.login.clone_from(&kept.login);
    // A refresh token is good for one use: the new one must be on the disk before anything else.
    write(&context.directory.join(FILE), &fresh)?;
    Ok(fresh)
}

/// A sign-in that waits for its user (RFC 8628).
pub struct SignIn {
    /// Where the user goes,
    pub address: String,
    /// and what they type there.
    pub user_code: String,
    pub expires_at: SystemTime,
    interval: Duration,
    device_code: Secret,
    settings: config::Twitch,
    context: Context,
}

impl SignIn {
    pub(super) async fn begin(settings: &config::Twitch, context: Context) -> Result<Self, TokenError> {
        if settings.client_id.is_empty() {
            let reason = "set chat.twitch.client_id: the id of a public application from dev.twitch.tv/console";
            return Err(TokenError::Refused(reason.into()));
        }
        let scopes = SCOPES.join(" ");
        let form = [("client_id", settings.client_id.as_str()), ("scopes", &scopes)];
        let answer = context.http.post_form(&format!("{}/device", settings.auth_url), &form).await?;
        let answer = expect_success(answer)?;
        let word = |key: &str| answer.json.get(key).and_then(Value::as_str).map(str::to_owned);
        let expires = answer.json.get("expires_in").and_then(Value::as_u64);
        let seconds = answer.json.get("interval").and_then(Value::as_f64);
        let strange = || TokenError::Unreachable("Twitch's answer to the sign-in is not understood".into());
        let expires = Duration::from_secs(expires.unwrap_or(1800).min(86_400));
        Ok(Self {
            address: word("verification_uri").ok_or_else(strange)?,
            user_code: word("user_code").ok_or_else(strange)?,
            expires_at: SystemTime::now() + expires,
            interval: Duration::from_secs_f64(seconds.unwrap_or(5.0).clamp(0.1, 60.0)),
            device_code: Secret::from(word("device_code").ok_or_else(strange)?),
            settings: settings.clone(),
            context,
        })
    }

    /// Comes back once the user has agreed; then the tokens are kept. The answer is whose they are, if Twitch tells.
    ///
    /// # Errors
    /// The user refused, took too long, or the tokens cannot be kept.
    pub async fn wait(self) -> Result<Option<String>, TokenError> {
        let scopes = SCOPES.join(" ");
        let form = [
            ("client_id", self.settings.client_id.as_str()),
            ("scopes", &scopes),
            ("device_code", self.device_code.reveal()),
            ("grant_type", DEVICE_GRANT),
        ];
        let url = format!("{}/token", self.settings.auth_url);
        let mut interval = self.interval;
        while SystemTime::now() + interval < self.expires_at {
            tokio::time::sleep(interval).await;
            // A network that fails for a moment does not end the sign-in.
            let Ok(answer) = self.context.http.post_form(&url, &form).await else { continue };
            match Polled::of(&answer, &self.settings.client_id)? {
                Polled::Granted(kept) => return self.keep(kept).await,
                Polled::Pending => {}
                Polled::Slower => interval += SLOWER,
            }
        }
        Err(TokenError::Refused(TOO_LATE.into()))
    }

    async fn keep(&self, mut kept: Kept) -> Result<Option<String>, TokenError> {
        let path = self.context.directory.join(FILE);
        let _turn = TURN.lock().await;
        // First what cannot be had again.
        write(&path, &kept)?;
        if let Ok(Some(token)) = validate(&self.settings, &self.context, &kept.access_token).await {
            kept.login = token.login;
            write(&path, &kept)?;
        }
        Ok(kept.login)
    }
}

const TOO_LATE: &str = "nobody signed in in time";

/// What asking for the tokens of a sign-in is answered.
#[derive(Debug)]
enum Polled {
    Granted(Kept),
    Pending,
    Slower,
}

impl Polled {
    /// Twitch has the word in `message`, the standard in `error`.
    fn of(answer: &Answer, client_id: &str) -> Result<Self, TokenError> {
        if answer.is_success() {
            return granted(answer, client_id).map(Self::Granted);
        }
        let word = |key: &str| answer.json.get(key).and_then(Value::as_str);
        let refused = |reason: &str| Err(TokenError::Refused(reason.to_owned()));
        let told = [word("message"), word("error")];
        let says = |expected: &str| told.iter().flatten().any(|told| told.eq_ignore_ascii_case(expected));
        if says("authorization_pending") {
            Ok(Self::Pending)
        } else if says("slow_down") || answer.status == 429 {
            Ok(Self::Slower)
        } else if says("access_denied") {
            refused("somebody refused the sign-in")
        } else if says("expired_token") {
            refused(TOO_LATE)
        } else if (400..500).contains(&answer.status) {
            refused(&format!("Twitch says: {}", told[0].or(told[1]).unwrap_or_default()))
        } else {
            // A server that is ill for a moment does not end the sign-in either.
            Ok(Self::Pending)
        }
    }
}

/// Whether somebody has signed in before; if it was told, who.
pub(super) fn kept_login(directory: &Path) -> Option<Option<String>> {
    read(&directory.join(FILE)).ok().flatten().map(|kept| kept.login)
}

fn expect_success(answer: Answer) -> Result<Answer, TokenError> {
    if answer.is_success() {
        return Ok(answer);
    }
    let told = answer.json.get("message").and_then(Value::as_str).unwrap_or_default();
    let told = format!("Twitch answers {}: {told}", answer.status);
    Err(if matches!(answer.status, 400 | 403 | 404) {
        TokenError::Refused(told)
    } else {
        TokenError::Unreachable(told)
    })
}

fn granted(answer: &Answer, client_id: &str) -> Result<Kept, TokenError> {
    let word = |key: &str| answer.json.get(key).and_then(Value::as_str).map(Secret::from);
    match (word("access_token"), word("refresh_token")) {
        (Some(access_token), Some(refresh_token)) => {
            Ok(Kept { client_id: client_id.to_owned(), access_token, refresh_token, login: None })
        }
        _ => Err(TokenError::Unreachable("Twitch's answer holds no tokens".into())),
    }
}

fn read(path: &Path) -> Result<Option<Kept>, TokenError> {
    let shown = path.display();
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|_error| TokenError::Refused(format!("{shown}: is damaged; remove it and sign in again"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(TokenError::Refused(format!("{shown}: cannot be read: {error}"))),
    }
}

/// Either the old file or the whole new one is there, whatever happens in between, and nobody else may read it.
fn write(path: &Path, kept: &Kept) -> Result<(), TokenError> {
    let fresh: PathBuf = path.with_extension("json.new");
    let failed = |error: std::io::Error| TokenError::Refused(format!("{}: cannot be written: {error}", path.display()));
    let text = serde_json::to_string(kept).map_err(|error| failed(error.into()))?;
    let writing = || {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        match std::fs::remove_file(&fresh) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)
    };
    writing().map_err(failed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn polled(status: u16, json: Value) -> Result<Polled, TokenError> {
        Polled::of(&Answer { status, json }, "c")
    }

    #[test]
    fn answers_to_a_sign_in_that_waits() {
        let says = |word: &str| json!({"status": 400, "message": word});
        assert!(matches!(polled(400, says("authorization_pending")), Ok(Polled::Pending)));
        assert!(matches!(polled(400, json!({"error": "authorization_pending"})), Ok(Polled::Pending)));
        assert!(matches!(polled(503, Value::Null), Ok(Polled::Pending)));
        assert!(matches!(polled(400, json!({"error": "slow_down"})), Ok(Polled::Slower)));
        assert!(matches!(polled(429, Value::Null), Ok(Polled::Slower)));
        for (status, json, reason) in [
            (400, json!({"error": "access_denied"}), "somebody refused the sign-in"),
            (400, says("expired_token"), TOO_LATE),
            (400, says("invalid device code"), "Twitch says: invalid device code"),
            (403, says("invalid client"), "Twitch says: invalid client"),
        ] {
            assert_eq!(polled(status, json).expect_err("refused"), TokenError::Refused(reason.into()));
        }
        let tokens = json!({"access_token": "a", "refresh_token": "r"});
        assert!(matches!(polled(200, tokens), Ok(Polled::Granted(kept)) if kept.client_id == "c"));
        assert!(matches!(polled(200, json!({})), Err(TokenError::Unreachable(_))));
    }
}
