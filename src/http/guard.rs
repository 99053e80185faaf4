//! Who may talk to the server: a Host allow-list on every request, an Origin check on all that changes state, CORS for
//! the configured origins, and a token for the chat where others can reach it. Pure: looks at headers, answers yes or no.
//!
//! A server on loopback is reached by every web page that its user opens. A page may post to it across origins (the
//! answer is hidden from the page, the effect is not), hence the Origin check. And a page may have its own name
//! resolve to 127.0.0.1 after it was loaded (DNS rebinding), which makes the server same-origin for it: but then the
//! Host header still carries the page's name, hence the allow-list. Addresses are safe there: they need no resolving.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use crate::config;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, DELETE, OPTIONS");
/// What a page's script may read beside the basic headers.
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static(
    "x-request-id, retry-after, x-ishowtts-sample-rate-hz, x-ishowtts-seed, x-ishowtts-engine, x-ishowtts-voice, \
     x-ishowtts-cache, x-ishowtts-params, x-ishowtts-ignored",
);
const PREFLIGHT_MAX_AGE_S: u64 = 600;

#[derive(Debug)]
pub struct Guard {
    hosts: Vec<String>,
    origins: Vec<String>,
    asks_for_token: bool,
}

/// Whom a path is for. What is new below the chat's paths is closed until it is named here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Everybody, or the path sees to it itself.
    Anybody,
    /// Overlays, with their own token.
    Overlays,
    /// Whoever is in control of the chat.
    Control,
}

impl Audience {
    #[must_use]
    pub fn of(path: &str, opens_websocket: bool) -> Self {
        match path {
            // What comes there is signed.
            "/v1/chat/webhook" => Self::Anybody,
            "/v1/chat/stream" | "/v1/chat/ack" => Self::Overlays,
            "/speaker.bot" => Self::Control,
            "/" if opens_websocket => Self::Control,
            _ if path.starts_with("/v1/chat/items/") => Self::Overlays,
            _ if path.starts_with("/v1/chat/") || path.starts_with("/api/danmaku/") => Self::Control,
            _ => Self::Anybody,
        }
    }
}

/// What a request that may pass gets.
#[derive(Debug, PartialEq)]
pub enum Pass {
    /// To the router; the answer carries CORS headers for this origin, if there is one.
    On { cross_origin: Option<HeaderValue> },
    /// A browser asks for a page of this origin what it may send.
    Preflight { origin: HeaderValue },
}

impl Guard {
    #[must_use]
    pub fn new(config: &config::Http, auth: config::Auth) -> Self {
        let hosts = config.allowed_hosts.iter().chain([&config.host]);
        Self {
            hosts: hosts.map(|host| host.trim_end_matches('.').to_ascii_lowercase()).collect(),
            origins: config
                .allowed_origins
                .iter()
                .map(|origin| origin.trim_end_matches('/').to_ascii_lowercase())
                .collect(),
            asks_for_token: match auth {
                config::Auth::Auto => !is_loopback(&config.host),
                config::Auth::Always => true,
                config::Auth::Never => false,
            },
        }
    }

    /// Whether the chat is only for those who show a token.
    #[must_use]
    pub fn asks_for_token(&self) -> bool {
        self.asks_for_token
    }

    /// # Errors
    /// `host_not_allowed` or `origin_not_allowed`.
    pub fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Pass, ApiError> {
        let host = self.allowed_authority(uri, headers).ok_or_else(ApiError::host_not_allowed)?;
        let origin = single(headers, header::ORIGIN);
        let allowed = match origin {
            One::Value(origin) if self.lists_origin(origin) => Some(origin.clone()),
            _ => None,
        };
        // A WebSocket is opened by a GET, across origins and without a preflight, and then does what a POST does.
        let reads = (*method == Method::GET || *method == Method::HEAD) && !headers.contains_key(header::UPGRADE);
        if reads {
            return Ok(Pass::On { cross_origin: allowed });
        }
        let is_preflight = *method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if *method == Method::OPTIONS && !is_preflight {
            return Ok(Pass::On { cross_origin: allowed });
        }
        let Some(allowed) = allowed else {
            return match origin {
                One::Missing if !from_other_page(headers) => Ok(Pass::On { cross_origin: None }),
                One::Value(origin) if is_own(origin, host) && !from_other_page(headers) => {
                    Ok(Pass::On { cross_origin: None })
                }
                _ => Err(ApiError::origin_not_allowed()),
            };
        };
        Ok(if is_preflight { Pass::Preflight { origin: allowed } } else { Pass::On { cross_origin: Some(allowed) } })
    }

    /// For a GET that makes the server work: of the pages that a browser shows, only our own and the allowed ones.
    ///
    /// # Errors
    /// `origin_not_allowed`.
    pub fn refuse_other_pages(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let listed = matches!(single(headers, header::ORIGIN), One::Value(origin) if self.lists_origin(origin));
        if from_other_page(headers) && !listed { Err(ApiError::origin_not_allowed()) } else { Ok(()) }
    }

    /// The one authority that the request names, if it is allowed.
    fn allowed_authority<'a>(&self, uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
        let One::Value(host) = single(headers, header::HOST) else { return None };
        let host = host.to_str().ok()?;
        // A request in absolute form names its host twice: neither may smuggle the other in.
        if let Some(authority) = uri.authority() {
            self.allows_host(authority.as_str()).then_some(())?;
        }
        self.allows_host(host).then_some(host)
    }

    fn allows_host(&self, authority: &str) -> bool {
        if let Some(bracketed) = authority.strip_prefix('[') {
            return bracketed
                .split_once(']')
                .is_some_and(|(address, port)| address.parse::<Ipv6Addr>().is_ok() && is_port(port));
        }
        let (name, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
        let name = name.strip_suffix('.').unwrap_or(name);
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        };
        is_port(port)
            && is_name(name)
            && (name.eq_ignore_ascii_case("localhost")
                || name.parse::<Ipv4Addr>().is_ok()
                || is_under_localhost(name)
                || self.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name)))
    }

    fn lists_origin(&self, origin: &HeaderValue) -> bool {
        origin.to_str().is_ok_and(|origin| self.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)))
    }
}

/// The answer to a preflight of an allowed origin: whatever headers it asks for.
#[must_use]
pub fn preflight(origin: HeaderValue, asked: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE_S.into());
    if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    if asked.contains_key(REQUEST_PRIVATE_NETWORK) {
        headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
    }
    allow_origin(headers, origin);
    response
}

/// Lets the page of this origin read the answer.
pub fn allow_origin(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
    headers.append(header::VARY, HeaderValue::from_static("origin"));
}

enum One<'a> {
    Missing,
    Value(&'a HeaderValue),
    Several,
}

fn single(headers: &HeaderMap, name: HeaderName) -> One<'_> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => One::Missing,
        (Some(value), None) => One::Value(value),
        (Some(_), Some(_)) => One::Several,
    }
}

/// The token in the query, for whoever can only be given an address, or of `Authorization: Bearer …`, which may be a proxy's.
/// An empty one is none.
#[must_use]
pub fn shown_token(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    const SCHEME: &str = "bearer ";
    let in_query = uri.query().and_then(|query| {
        let mut fields = url::form_urlencoded::parse(query.as_bytes());
        fields.find(|(name, token)| name == "token" && !token.is_empty()).map(|(_, token)| token.into_owned())
    });
    in_query.or_else(|| {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let scheme = value.get(..SCHEME.len())?;
        let token = value[SCHEME.len()..].trim();
        (scheme.eq_ignore_ascii_case(SCHEME) && !token.is_empty()).then(|| token.to_owned())
    })
}

/// Names other than localhost may resolve to anything.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// ":", ":8880" or nothing.
fn is_port(port: &str) -> bool {
    port.is_empty()
        || port.strip_prefix(':').is_some_and(|digits| digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// RFC 6761: names under localhost are loopback, whoever is asked.
fn is_under_localhost(name: &str) -> bool {
    const SUFFIX: &str = ".localhost";
    name.len() > SUFFIX.len()
        && name.get(name.len() - SUFFIX.len()..).is_some_and(|end| end.eq_ignore_ascii_case(SUFFIX))
}

/// The page is ours if it was loaded from the host and port that it asks now; behind a proxy that ends TLS its scheme
/// is not the one that arrives here.
fn is_own(origin: &HeaderValue, host: &str) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    let (authority, default_port) = if let Some(authority) = origin.strip_prefix("http://") {
        (authority, ":80")
    } else if let Some(authority) = origin.strip_prefix("https://") {
        (authority, ":443")
    } else {
        return false;
    };
    let bare = |authority: &str| authority.strip_suffix(default_port).unwrap_or(authority).to_ascii_lowercase();
    bare(authority) == bare(host)
}

/// What browsers say of a request that another page makes, also where they leave out the Origin.
fn from_other_page(headers: &HeaderMap) -> bool {
    headers.get(SEC_FETCH_SITE).is_some_and(|site| site != "same-origin" && site != "none")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        let http = config::Http {
            host: "tts.lan".into(),
            allowed_hosts: vec!["Speech.Example.org".into()],
            allowed_origins: vec!["https://studio.example.org/".into()],
            ..config::Http::default()
        };
        Guard::new(&http, config::Auth::Auto)
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header value")))
            .collect()
    }

    fn check(method: &Method, pairs: &[(&'static str, &str)]) -> Result<Pass, &'static str> {
        guard().check(method, &Uri::from_static("/x"), &headers(pairs)).map_err(|error| error.code())
    }

    const ON: Result<Pass, &str> = Ok(Pass::On { cross_origin: None });

    #[test]
    fn the_chat_asks_for_a_token_where_others_reach_it() {
        let asks = |host: &str, auth| {
            Guard::new(&config::Http { host: host.into(), ..config::Http::default() }, auth).asks_for_token()
        };
        for host in ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LocalHost"] {
            assert!(!asks(host, config::Auth::Auto), "{host}");
            assert!(asks(host, config::Auth::Always), "{host}");
        }
        for host in ["0.0.0.0", "::", "192.168.1.20", "tts.lan", "localhost.lan", "127.0.0.1.lan"] {
            assert!(asks(host, config::Auth::Auto), "{host}");
            assert!(!asks(host, config::Auth::Never), "{host}");
        }
    }

    #[test]
    fn every_path_of_the_chat_has_its_audience() {
        let all = include_str!("mod.rs").split(".route(").skip(1).map(|route| route.split('"').nth(1).expect("a path"));
        let chat = ["/v1/chat/", "/api/danmaku/", "/speaker.bot"];
        for path in all {
            let overlays =
                ["/v1/chat/stream", "/v1/chat/ack", "/v1/chat/items/{id}/audio", "/v1/chat/items/{id}/speech"];
            let expected = match path {
                _ if overlays.contains(&path) => Audience::Overlays,
                _ if path != "/v1/chat/webhook" && chat.iter().any(|one| path.starts_with(one)) => Audience::Control,
                _ => Audience::Anybody,
            };
            assert_eq!(Audience::of(path, false), expected, "{path}");
        }
        assert_eq!(Audience::of("/v1/chat/soon", false), Audience::Control);
        assert_eq!(Audience::of("/", true), Audience::Control);
    }

    #[test]
    fn a_token_is_shown_in_a_header_or_the_query() {
        let shown =
            |uri: &'static str, pairs: &[(&'static str, &str)]| shown_token(&Uri::from_static(uri), &headers(pairs));
        assert_eq!(shown("/x", &[]), None);
        assert_eq!(shown("/x?token=a%62c&y", &[]).as_deref(), Some("abc"));
        assert_eq!(shown("/x", &[("authorization", "bearer  abc ")]).as_deref(), Some("abc"));
        for of_a_proxy in ["Bearer other", "Basic YTpi"] {
            assert_eq!(shown("/x?token=abc", &[("authorization", of_a_proxy)]).as_deref(), Some("abc"));
        }
        assert_eq!(shown("/x?token=", &[("authorization", "Bearer abc")]).as_deref(), Some("abc"));
        for none in ["bear", "Bearer ", "Bearer  "] {
            assert_eq!(shown("/x?token=&y", &[("authorization", none)]), None, "{none:?}");
        }
    }

    #[test]
    fn addresses_localhost_and_listed_names_are_hosts() {
        for host in [
            "localhost",
            "LOCALHOST:8880",
            "localhost.:8880",
            "obs.localhost:1",
            "127.0.0.1:8880",
            "192.168.1.20",
            "[::1]",
            "[::1]:8880",
            "[2001:db8::7]:80",
            "tts.lan:8880",
            "speech.example.org",
            "speech.example.org.:443",
        ] {
            assert_eq!(check(&Method::GET, &[("host", host)]), ON, "{host}");
        }
    }

    #[test]
    fn other_names_are_refused_for_every_method() {
        for host in [
            "",
            ":8880",
            "evil.example",
            "localhost.evil.example",
            "evillocalhost",
            ".localhost",
            "127.0.0.1.evil.example",
            "localhost:8880.evil.example",
            "localhost:999999",
            "user@localhost",
            "localhost/evil",
            "localhost,evil.example",
            "[::1",
            "[::1]evil.example",
            "[localhost]",
            "::1",
            "0x7f.1",
        ] {
            for method in [Method::GET, Method::POST, Method::OPTIONS] {
                assert_eq!(check(&method, &[("host", host)]), Err("host_not_allowed"), "{host:?}");
            }
        }
        assert_eq!(check(&Method::GET, &[]), Err("host_not_allowed"));
    }

    #[test]
    fn other_pages_may_not_open_a_websocket() {
        let with = |more: &[(&'static str, &'static str)]| {
            let pairs = [&[("host", "localhost:8880"), ("upgrade", "WebSocket")], more].concat();
            check(&Method::GET, &pairs)
        };
        assert_eq!(with(&[]), ON);
        assert_eq!(with(&[("origin", "http://localhost:8880"), ("sec-fetch-site", "same-origin")]), ON);
        assert!(matches!(with(&[("origin", "https://studio.example.org")]), Ok(Pass::On { cross_origin: Some(_) })));
        for foreign in
            [&[("origin", "https://evil.example")][..], &[("origin", "null")], &[("sec-fetch-site", "cross-site")]]
        {
            assert_eq!(with(foreign), Err("origin_not_allowed"), "{foreign:?}");
        }
    }

    #[test]
    fn two_hosts_are_refused() {
        let mut two = headers(&[("host", "localhost")]);
        two.append(header::HOST, HeaderValue::from_static("evil.example"));
        assert!(guard().check(&Method::GET, &Uri::from_static("/x"), &two).is_err());
        let absolute = Uri::from_static("http://evil.example/x");
        assert!(guard().check(&Method::GET, &absolute, &headers(&[("host", "localhost")])).is_err());
    }

    #[test]
    fn programs_and_own_pages_may_change_state() {
        for pairs in [
            &[("host", "localhost:8880")][..],
            &[("host", "localhost:8880"), ("origin", "http://localhost:8880")],
            &[("host", "localhost:8880"), ("origin", "http://LocalHost:8880"), ("sec-fetch-site", "same-origin")],
            &[("host", "speech.example.org"), ("origin", "https://speech.example.org")],
            &[("host", "speech.example.org:443"), ("origin", "https://speech.example.org")],
            &[("host", "[::1]:8880"), ("origin", "http://[::1]:8880")],
            &[("host", "localhost:8880"), ("sec-fetch-site", "none")],
        ] {
            assert_eq!(check(&Method::POST, pairs), ON, "{pairs:?}");
        }
    }

    #[test]
    fn other_pages_may_not_change_state() {
        for pairs in [
            &[("host", "localhost:8880"), ("origin", "https://evil.example")][..],
            &[("host", "localhost:8880"), ("origin", "null")],
            &[("host", "localhost:8880"), ("origin", "")],
            &[("host", "localhost:8880"), ("origin", "http://localhost:3000"), ("sec-fetch-site", "same-site")],
            &[("host", "localhost:8880"), ("origin", "http://localhost:8880.evil.example")],
            &[("host", "localhost:8880"), ("origin", "file://localhost:8880")],
            &[("host", "localhost:8880"), ("sec-fetch-site", "cross-site")],
            &[("host", "localhost:8880"), ("sec-fetch-site", "same-site")],
            &[("host", "localhost"), ("origin", "http://localhost"), ("sec-fetch-site", "cross-site")],
            &[("host", "localhost"), ("origin", "http://studio.example.org")],
        ] {
            for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
                assert_eq!(check(&method, pairs), Err("origin_not_allowed"), "{pairs:?}");
            }
        }
        let mut two = headers(&[("host", "localhost"), ("origin", "http://localhost")]);
        two.append(header::ORIGIN, HeaderValue::from_static("https://studio.example.org"));
        assert!(guard().check(&Method::POST, &Uri::from_static("/x"), &two).is_err());
    }

    #[test]
    fn reading_needs_no_origin_but_only_listed_ones_get_the_answer() {
        let foreign = [("host", "localhost"), ("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")];
        assert_eq!(check(&Method::GET, &foreign), ON);
        let listed = [("host", "localhost"), ("origin", "https://studio.example.org")];
        let cross_origin = Some(HeaderValue::from_static("https://studio.example.org"));
        assert_eq!(check(&Method::GET, &listed), Ok(Pass::On { cross_origin }));
    }

    #[test]
    fn listed_origins_may_change_state_and_preflight() {
        let origin = HeaderValue::from_static("https://studio.example.org");
        let listed =
            [("host", "localhost"), ("origin", "https://studio.example.org"), ("sec-fetch-site", "cross-site")];
        assert_eq!(check(&Method::POST, &listed), Ok(Pass::On { cross_origin: Some(origin.clone()) }));

        let asked = [
            ("host", "localhost"),
            ("origin", "https://studio.example.org"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization, content-type"),
            ("access-control-request-private-network", "true"),
        ];
        assert_eq!(check(&Method::OPTIONS, &asked), Ok(Pass::Preflight { origin: origin.clone() }));
        let response = preflight(origin.clone(), &headers(&asked));
        assert_eq!(response.status(), 204);
        assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], origin);
        assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_HEADERS], "authorization, content-type");
        assert_eq!(response.headers()[ALLOW_PRIVATE_NETWORK], "true");
        assert_eq!(response.headers()[header::VARY], "origin");

        let evil =
            [("host", "localhost"), ("origin", "https://evil.example"), ("access-control-request-method", "POST")];
        assert_eq!(check(&Method::OPTIONS, &evil), Err("origin_not_allowed"));
    }
}
