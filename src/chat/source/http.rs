//! Requests to the platforms' HTTP interfaces: JSON in and out, bounded in time and size. Secrets go into headers and
//! bodies, never into addresses, which others log.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(15);
const MAX_ANSWER_BYTES: usize = 8 << 20;
/// Bilibili refuses programs that do not look like a browser.
const USER_AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// No answer at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{host}: {reason}")]
pub struct HttpError {
    host: String,
    reason: String,
}

pub(in crate::chat) struct Answer {
    pub status: u16,
    /// Null where it was not JSON.
    pub json: Value,
}

impl Answer {
    pub(in crate::chat) const fn is_success(&self) -> bool {
        self.status >= 200 && self.status < 300
    }
}

#[derive(Clone)]
pub(in crate::chat) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Http {
    pub(super) fn new(tls: &Arc<rustls::ClientConfig>) -> Self {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(rustls::ClientConfig::clone(tls))
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Self { client }
    }

    pub(in crate::chat) async fn get(&self, url: &str, headers: &[(&str, &str)]) -> Result<Answer, HttpError> {
        self.send(Method::GET, url, headers, Bytes::new()).await
    }

    pub(in crate::chat) async fn post_json(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Answer, HttpError> {
        let headers = [headers, &[("content-type", "application/json")]].concat();
        self.send(Method::POST, url, &headers, body.to_string().into()).await
    }

    pub(in crate::chat) async fn post_form(&self, url: &str, form: &[(&str, &str)]) -> Result<Answer, HttpError> {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        self.send(Method::POST, url, &headers, encode(form).into()).await
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, HttpError> {
        let failed = |reason: String| {
            let host = url::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
            HttpError { host: host.unwrap_or_default(), reason }
        };
        let mut request = Request::builder().method(method).uri(url).header(header::USER_AGENT, USER_AGENT);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).map_err(|error| failed(error.to_string()))?;
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|error| failed(causes(&error)))?;
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| failed(error.to_string()))?.to_bytes();
            Ok(Answer { status, json: serde_json::from_slice(&body).unwrap_or_default() })
        };
        let late = |_elapsed| failed(format!("no answer within {} s", TIMEOUT.as_secs()));
        tokio::time::timeout(TIMEOUT, exchange).await.unwrap_or_else(|elapsed| Err(late(elapsed)))
    }
}

/// As a query or a form.
pub(in crate::chat) fn encode(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// An error and what is behind it: "client error" alone tells nobody that a certificate is not trusted.
fn causes(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
        source = error.source();
    }
    told
}
