//! The pages at `/`, `/overlay` and `/docs` and their files, which are part of the program: no disk is read, nothing comes
//! from elsewhere.

use axum::{
    extract::Path,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use include_dir::{Dir, include_dir};

use super::{error::ApiError, openapi::EveryError};

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/python/ishowtts/web");

/// Only what this server gives; sound is made of what scripts were sent, or kept as a blob.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     media-src 'self' blob: data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
);
/// OBS adds its user's own CSS to the page as a `<style>` element. Scripts stay as they are, and nothing of chat is markup.
const OVERLAY: &str = "overlay.html";
const OVERLAY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; \
     font-src 'self' data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
);
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const REFERRER_POLICY: HeaderName = HeaderName::from_static("referrer-policy");

const TYPES: [(&str, &str); 5] = [
    ("html", "text/html; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("svg", "image/svg+xml"),
    ("json", "application/json"),
];

/// The page on which people type and listen.
#[utoipa::path(get, path = "/", tag = "server", operation_id = "page",
    responses((status = 200, body = String, content_type = "text/html", description = "The page"), EveryError))]
pub async fn page(headers: HeaderMap) -> Response {
    file("index.html", &headers).unwrap_or_else(|| ApiError::unknown_path("/").into_response())
}

/// What OBS shows and plays of the chat.
///
/// The token of the chat's stream goes into the query; docs/overlay.md lists what else may.
#[utoipa::path(get, path = "/overlay", tag = "server", operation_id = "overlay",
    responses((status = 200, body = String, content_type = "text/html", description = "The page"), EveryError))]
pub async fn overlay(headers: HeaderMap) -> Response {
    file(OVERLAY, &headers).unwrap_or_else(|| ApiError::unknown_path("/overlay").into_response())
}

/// This documentation, to read and to try.
#[utoipa::path(get, path = "/docs", tag = "server", operation_id = "docs",
    responses((status = 200, body = String, content_type = "text/html", description = "The page"), EveryError))]
pub async fn docs(headers: HeaderMap) -> Response {
    file("docs.html", &headers).unwrap_or_else(|| ApiError::unknown_path("/docs").into_response())
}

/// `GET /web/{*name}`.
pub async fn asset(uri: Uri, Path(name): Path<String>, headers: HeaderMap) -> Response {
    file(&name, &headers).unwrap_or_else(|| ApiError::unknown_path(uri.path()).into_response())
}

fn file(name: &str, asked: &HeaderMap) -> Option<Response> {
    // Paths are compared without a slash at their end.
    let file = FILES.get_file(name).filter(|file| file.path().as_os_str() == name)?;
    let extension = file.path().extension()?.to_str()?;
    let (_, kind) = TYPES.iter().find(|(known, _)| *known == extension)?;
    let tag = HeaderValue::from_str(&format!("\"{}\"", &blake3::hash(file.contents()).to_hex()[..16])).ok()?;
    let mut headers = HeaderMap::with_capacity(6);
    headers.insert(header::CONTENT_SECURITY_POLICY, if name == OVERLAY { OVERLAY_POLICY } else { POLICY });
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // Asked again each time, which costs nothing here: a new version is seen at once.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    let same = asked.get(header::IF_NONE_MATCH) == Some(&tag);
    headers.insert(header::ETAG, tag);
    if same {
        return Some((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    Some((headers, file.contents()).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_a_type_and_the_policy() {
        let folders = FILES.dirs().flat_map(Dir::files);
        for entry in FILES.files().chain(folders) {
            let name = entry.path().to_str().expect("a name");
            let answer = file(name, &HeaderMap::new()).unwrap_or_else(|| panic!("{name} has no type"));
            let policy = if name == OVERLAY { OVERLAY_POLICY } else { POLICY };
            assert_eq!(answer.headers()[header::CONTENT_SECURITY_POLICY], policy, "{name}");
        }
        assert!(FILES.dirs().all(|folder| folder.dirs().next().is_none()), "folders of folders are not looked at");
        for name in ["../engine.py", "/etc/passwd", "", "none.js", "studio", "studio/", "studio/../docs.js"] {
            assert!(file(name, &HeaderMap::new()).is_none(), "{name}");
        }
    }

    #[test]
    fn what_is_known_is_not_sent_again() {
        let first = file("docs.js", &HeaderMap::new()).expect("a file");
        let mut asked = HeaderMap::new();
        asked.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        assert_eq!(file("docs.js", &asked).expect("an answer").status(), StatusCode::NOT_MODIFIED);
    }
}
