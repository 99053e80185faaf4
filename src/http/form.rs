//! Forms with files in them (multipart/form-data), within the bounds of an upload. What a client calls its files is not
//! looked at.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, header, request::Parts},
};
use bytes::Bytes;
use futures_util::stream;
use multer::Multipart;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{App, body, error::ApiError};
use crate::{
    error::Error,
    voices::clip::{self, Prepared},
};

/// Uploads that are held in memory at the same time.
const MAX_UPLOADS: usize = 8;
/// Clips that are decoded and prepared at the same time: that takes a core, and speech goes first.
const MAX_PREPARATIONS: usize = 1;
/// For a place among them.
const WAIT_LIMIT: Duration = Duration::from_secs(10);
/// More parts than any form here has.
const MAX_PARTS: usize = 64;

/// Places for uploads.
#[derive(Debug)]
pub struct Uploads {
    held: Arc<Semaphore>,
    prepared: Arc<Semaphore>,
}

impl Uploads {
    pub fn new() -> Self {
        Self { held: Arc::new(Semaphore::new(MAX_UPLOADS)), prepared: Arc::new(Semaphore::new(MAX_PREPARATIONS)) }
    }

    /// A client that leaves does not end what runs: until that has ended, it counts, and so does its file.
    async fn prepare<T: Send + 'static>(
        &self,
        file: File,
        work: impl FnOnce(&[u8]) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let place = Arc::clone(&self.prepared).acquire_owned().await;
        aside(move || {
            let (_place, file) = (place, file);
            work(&file.bytes)
        })
        .await
    }
}

/// A file of a form; its bytes count as an upload for as long as it is held.
#[derive(Debug)]
pub struct File {
    bytes: Bytes,
    _place: Option<Arc<OwnedSemaphorePermit>>,
}

impl File {
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// The parts of a form, in their order.
#[derive(Debug)]
pub struct Form {
    pub texts: Vec<(String, String)>,
    files: Vec<(&'static str, Bytes)>,
    /// Until it and its files are dropped it counts as an upload.
    place: Option<Arc<OwnedSemaphorePermit>>,
}

impl Form {
    /// Whether a request holds a form.
    pub fn is(headers: &HeaderMap) -> bool {
        let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.as_bytes());
        kind.is_some_and(|kind| kind.len() >= KIND.len() && kind[..KIND.len()].eq_ignore_ascii_case(KIND))
    }

    /// `files`: the names of parts that are files.
    ///
    /// # Errors
    /// What `body::read` says, and that it is no form.
    pub async fn read(app: &App, parts: &Parts, body: Body, files: &[&'static str]) -> Result<Self, ApiError> {
        let boundary = boundary(&parts.headers)?;
        let place = tokio::time::timeout(WAIT_LIMIT, Arc::clone(&app.uploads.held).acquire_owned()).await;
        let place = place.map_err(|_| ApiError::too_many_uploads())?.ok().map(Arc::new);
        let body = body::read(&parts.headers, body, app.config.voices.max_upload_bytes).await?;
        let mut form = Self { texts: Vec::new(), files: Vec::new(), place };
        form.parse(body, boundary, files).await?;
        Ok(form)
    }

    async fn parse(&mut self, body: Bytes, boundary: String, files: &[&'static str]) -> Result<(), ApiError> {
        let mut parts = Multipart::new(stream::iter([Ok::<_, Infallible>(body)]), boundary);
        for _ in 0..MAX_PARTS {
            let Some(part) = parts.next_field().await.map_err(broken)? else { return Ok(()) };
            let name = part.name().unwrap_or_default().to_owned();
            let Some(file) = files.iter().find(|file| **file == name) else {
                let bytes = part.bytes().await.map_err(broken)?;
                let text = String::from_utf8(bytes.into()).map_err(|_| {
                    Error::invalid("invalid_utf8", None, format!("the form's part {name:?} is not UTF-8"))
                })?;
                self.texts.push((name, text));
                continue;
            };
            let nameless = part.file_name().is_none_or(str::is_empty);
            let bytes = part.bytes().await.map_err(broken)?;
            if nameless && bytes.is_empty() {
                // As a browser sends a file that nobody chose.
                continue;
            }
            if self.files.iter().any(|(known, _)| known == file) {
                return Err(Error::invalid("invalid_value", Some(file), format!("{file:?} is given twice")).into());
            }
            self.files.push((*file, bytes));
        }
        Err(invalid("it has more than 64 parts").into())
    }

    pub fn file(&mut self, name: &str) -> Option<File> {
        let at = self.files.iter().position(|(known, _)| *known == name)?;
        Some(File { bytes: self.files.swap_remove(at).1, _place: self.place.clone() })
    }
}

const KIND: &[u8] = b"multipart/form-data";

fn boundary(headers: &HeaderMap) -> Result<String, Error> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    multer::parse_boundary(kind.unwrap_or_default())
        .map_err(|_| invalid("the Content-Type must be multipart/form-data with a boundary"))
}

/// For paths that take JSON alone.
///
/// # Errors
/// That the body is a form.
pub fn refuse(headers: &HeaderMap) -> Result<(), Error> {
    if !Form::is(headers) {
        return Ok(());
    }
    let message = "the body is a form (Content-Type: multipart/form-data), but must be a JSON object: send it as \
                   application/json, or the form to POST /v1/tts";
    Err(Error::invalid("invalid_json", None, message))
}

fn invalid(reason: &str) -> Error {
    Error::invalid("invalid_form", None, format!("the body is not the form that is expected: {reason}"))
}

fn broken(error: multer::Error) -> ApiError {
    let reason: String = error.to_string().chars().take(200).collect();
    invalid(&reason).into()
}

/// A file of a form as a clip that engines can clone.
///
/// # Errors
/// What is wrong with it.
pub async fn prepare(app: &App, name: &'static str, file: File) -> Result<Prepared, ApiError> {
    let prepared = app.uploads.prepare(file, |bytes| clip::prepare(bytes, &clip::Options::default())).await?;
    Ok(prepared.map_err(|fault| Error::invalid(fault.code(), Some(name), format!("{name:?}: {fault}")))?)
}

/// On a thread that may wait for the disk, or calculate.
///
/// # Errors
/// A panic there, which is in the log.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "work for a request ended");
        ApiError::panicked()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn parsed(body: &'static str) -> Result<(Vec<(String, String)>, Option<Bytes>), ApiError> {
        let mut form = Form { texts: Vec::new(), files: Vec::new(), place: None };
        form.parse(Bytes::from_static(body.as_bytes()), "x".to_owned(), &["audio"]).await?;
        let audio = form.file("audio").map(|file| file.bytes);
        Ok((form.texts, audio))
    }

    #[tokio::test]
    async fn a_client_that_leaves_frees_no_place_while_its_clip_is_prepared() {
        let uploads = Uploads::new();
        let place = Arc::clone(&uploads.held).acquire_owned().await.ok().map(Arc::new);
        let mut form = Form { texts: Vec::new(), files: vec![("audio", Bytes::from_static(b"RIFF"))], place };
        let file = form.file("audio").expect("a file");
        let (begun, wait_begun) = tokio::sync::oneshot::channel();
        let (let_go, wait) = std::sync::mpsc::channel::<()>();
        let preparing = uploads.prepare(file, move |bytes| {
            begun.send(bytes.to_vec()).expect("somebody waits");
            wait.recv().expect("let go");
        });
        tokio::select! {
            _ = preparing => panic!("it waits to be let go"),
            bytes = wait_begun => assert_eq!(bytes.expect("begun"), b"RIFF"),
        }
        drop(form);
        let free = || (uploads.held.available_permits(), uploads.prepared.available_permits());
        assert_eq!(free(), (MAX_UPLOADS - 1, MAX_PREPARATIONS - 1));
        let_go.send(()).expect("it still runs");
        drop(Arc::clone(&uploads.prepared).acquire_owned().await);
        drop(uploads.held.acquire_many(MAX_UPLOADS as u32).await);
    }

    #[tokio::test]
    async fn files_are_told_from_texts_by_their_part_alone() {
        let body = "--x\r\nContent-Disposition: form-data; name=\"text\"; filename=\"../../a.wav\"\r\n\r\nHi\r\n\
                    --x\r\nContent-Disposition: form-data; name=\"audio\"\r\n\r\nRIFF\r\n--x--\r\n";
        let (texts, audio) = parsed(body).await.expect("a form");
        assert_eq!(texts, [("text".to_owned(), "Hi".to_owned())]);
        assert_eq!(audio, Some(Bytes::from_static(b"RIFF")));
    }

    #[tokio::test]
    async fn a_file_that_nobody_chose_is_none() {
        for (disposition, is_file) in [
            ("name=\"audio\"; filename=\"\"", false),
            ("name=\"audio\"", false),
            ("name=\"audio\"; filename=\"a.wav\"", true),
        ] {
            let body = format!("--x\r\nContent-Disposition: form-data; {disposition}\r\n\r\n\r\n--x--\r\n");
            let (_, audio) = parsed(body.leak()).await.expect("a form");
            assert_eq!(audio, is_file.then(Bytes::new), "{disposition}");
        }
    }

    #[tokio::test]
    async fn what_is_no_form_is_told() {
        for body in ["", "nothing", "--x\r\nContent-Disposition: form-data; name=\"audio\"\r\n\r\nRIFF"] {
            assert_eq!(parsed(body).await.expect_err(body).code(), "invalid_form", "{body}");
        }
        let twice = "--x\r\nContent-Disposition: form-data; name=\"audio\"\r\n\r\n1\r\n\
                     --x\r\nContent-Disposition: form-data; name=\"audio\"\r\n\r\n2\r\n--x--\r\n";
        assert_eq!(parsed(twice).await.expect_err("twice").code(), "invalid_value");
    }

    #[test]
    fn a_form_is_told_by_its_type() {
        let of = |kind: &'static str| HeaderMap::from_iter([(header::CONTENT_TYPE, kind.parse().expect("a value"))]);
        assert!(Form::is(&of("Multipart/Form-Data; boundary=x")));
        assert!(!Form::is(&of("application/json")));
        assert!(!Form::is(&HeaderMap::new()));
        assert!(refuse(&of("application/json")).is_ok() && refuse(&HeaderMap::new()).is_ok());
        let told = refuse(&of("multipart/form-data; boundary=x")).expect_err("a form").to_string();
        assert!(told.contains("application/json") && told.contains("/v1/tts"), "{told}");
        assert!(boundary(&of("multipart/form-data")).is_err());
    }
}
