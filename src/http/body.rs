//! Reading what a client sends, within bounds of size and time.

use std::{future::poll_fn, pin::Pin, time::Duration};

use axum::{
    body::{Body, BodyDataStream},
    http::{HeaderMap, header},
};
use bytes::{Bytes, BytesMut};
use futures_core::Stream;

use super::error::ApiError;
use crate::error::Error;

/// For all of a body: a client that dribbles must not hold a connection for ever.
const READ_LIMIT: Duration = Duration::from_secs(60);

/// Clients that write all of their body before they read would see a reset connection instead of the 413, so a body
/// that is too large is read to its end, up to these bounds, and forgotten.
const DRAIN_MAX_BYTES: u64 = 64 << 20;
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// # Errors
/// `body_too_large`, `body_too_slow`, or that it ended early.
pub async fn read(headers: &HeaderMap, body: Body, max_bytes: usize) -> Result<Bytes, ApiError> {
    let mut stream = body.into_data_stream();
    let declared_bytes: Option<u64> =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let too_large = match declared_bytes {
        Some(bytes) if bytes > max_bytes as u64 => true,
        _ => match tokio::time::timeout(READ_LIMIT, collect(&mut stream, max_bytes)).await {
            Ok(Ok(Some(bytes))) => return Ok(bytes),
            Ok(Ok(None)) => true,
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(ApiError::body_too_slow(READ_LIMIT)),
        },
    };
    // Who sent `Expect: 100-continue` has not sent the body yet, and need not.
    if too_large && !headers.contains_key(header::EXPECT) {
        let _ = tokio::time::timeout(DRAIN_LIMIT, drain(&mut stream)).await;
    }
    Err(ApiError::body_too_large(max_bytes))
}

/// None: it is over `max_bytes`.
async fn collect(stream: &mut BodyDataStream, max_bytes: usize) -> Result<Option<Bytes>, ApiError> {
    let Some(first) = next(stream).await? else { return Ok(Some(Bytes::new())) };
    if first.len() > max_bytes {
        return Ok(None);
    }
    let Some(second) = next(stream).await? else { return Ok(Some(first)) };
    let mut all = BytesMut::from(first);
    let mut piece = Some(second);
    while let Some(bytes) = piece {
        if all.len() + bytes.len() > max_bytes {
            return Ok(None);
        }
        all.extend_from_slice(&bytes);
        piece = next(stream).await?;
    }
    Ok(Some(all.freeze()))
}

async fn drain(stream: &mut BodyDataStream) {
    let mut drained_bytes = 0;
    while drained_bytes < DRAIN_MAX_BYTES {
        match next(stream).await {
            Ok(Some(bytes)) => drained_bytes += bytes.len() as u64,
            Ok(None) | Err(_) => break,
        }
    }
}

async fn next(stream: &mut BodyDataStream) -> Result<Option<Bytes>, ApiError> {
    match poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await {
        None => Ok(None),
        Some(Ok(bytes)) => Ok(Some(bytes)),
        Some(Err(_)) => Err(Error::invalid("body_incomplete", None, "the body ended before its end").into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        io,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::{Context, Poll},
    };

    use super::*;

    /// Sends its pieces, then ends, fails or stalls.
    struct Pieces {
        pieces: VecDeque<&'static [u8]>,
        end: Poll<Option<()>>,
        taken: Arc<AtomicUsize>,
    }

    impl Stream for Pieces {
        type Item = io::Result<&'static [u8]>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            match (self.pieces.pop_front(), self.end) {
                (Some(piece), _) => {
                    self.taken.fetch_add(1, Ordering::Relaxed);
                    Poll::Ready(Some(Ok(piece)))
                }
                (None, Poll::Pending) => Poll::Pending,
                (None, Poll::Ready(None)) => Poll::Ready(None),
                (None, Poll::Ready(Some(()))) => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
            }
        }
    }

    fn pieces(pieces: &[&'static [u8]], end: Poll<Option<()>>) -> (Body, Arc<AtomicUsize>) {
        let taken = Arc::new(AtomicUsize::new(0));
        let stream = Pieces { pieces: pieces.iter().copied().collect(), end, taken: Arc::clone(&taken) };
        (Body::from_stream(stream), taken)
    }

    async fn code(body: Body, headers: &HeaderMap) -> &'static str {
        read(headers, body, 8).await.expect_err("must be refused").code()
    }

    #[tokio::test]
    async fn pieces_are_joined_up_to_the_limit() {
        let none = HeaderMap::new();
        let (body, _) = pieces(&[b"ab", b"cd", b"efgh"], Poll::Ready(None));
        assert_eq!(read(&none, body, 8).await, Ok(Bytes::from_static(b"abcdefgh")));
        assert_eq!(read(&none, Body::empty(), 8).await, Ok(Bytes::new()));
        assert_eq!(read(&none, Body::from("12345678"), 8).await, Ok(Bytes::from_static(b"12345678")));
    }

    #[tokio::test]
    async fn what_is_too_large_is_refused_after_it_was_read() {
        let (body, taken) = pieces(&[b"abcdefgh", b"i", b"j", b"k"], Poll::Ready(None));
        assert_eq!(code(body, &HeaderMap::new()).await, "body_too_large");
        assert_eq!(taken.load(Ordering::Relaxed), 4);
        assert_eq!(code(Body::from("123456789"), &HeaderMap::new()).await, "body_too_large");
    }

    #[tokio::test]
    async fn a_declared_length_is_refused_before_the_body_is_sent() {
        let headers = HeaderMap::from_iter([
            (header::CONTENT_LENGTH, "9".parse().expect("a header value")),
            (header::EXPECT, "100-continue".parse().expect("a header value")),
        ]);
        let (body, taken) = pieces(&[b"a"], Poll::Pending);
        assert_eq!(code(body, &headers).await, "body_too_large");
        assert_eq!(taken.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_broken_body_is_a_client_error() {
        let (body, _) = pieces(&[b"{"], Poll::Ready(Some(())));
        assert_eq!(code(body, &HeaderMap::new()).await, "body_incomplete");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let (body, _) = pieces(&[b"{"], Poll::Pending);
        assert_eq!(code(body, &HeaderMap::new()).await, "body_too_slow");
    }
}
