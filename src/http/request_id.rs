//! Names for requests, by which a client's report is found in the log.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

const MAX_BYTES: usize = 64;

/// The client's own name for the request if it is fit for a log line, else a new one.
#[must_use]
pub fn of(headers: &HeaderMap) -> HeaderValue {
    headers.get(HEADER).filter(|id| is_fit(id.as_bytes())).cloned().unwrap_or_else(new)
}

fn is_fit(id: &[u8]) -> bool {
    (1..=MAX_BYTES).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

fn new() -> HeaderValue {
    /// Differs between runs, so that ids of two of them are not taken for each other.
    static START: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let id = mix(START.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed)));
    HeaderValue::from_str(&format!("{id:016x}")).unwrap_or(HeaderValue::from_static("none"))
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection, so different counts stay different.
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_fit_id_is_kept() {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_static("chat-42"));
        assert_eq!(of(&headers), "chat-42");
    }

    #[test]
    fn an_unfit_id_is_replaced() {
        for id in [&b""[..], b"two words", b"tab\tbed", "\u{e9}".as_bytes(), &[b'x'; 65]] {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, HeaderValue::from_bytes(id).expect("a header value"));
            assert_eq!(of(&headers).len(), 16, "{id:?}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_bytes(&[b'x'; 64]).expect("a header value"));
        assert_eq!(of(&headers).len(), 64);
    }

    #[test]
    fn new_ids_differ() {
        let ids: HashSet<_> = (0..10_000).map(|_| new()).collect();
        assert_eq!(ids.len(), 10_000);
    }
}
