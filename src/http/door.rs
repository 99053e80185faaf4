//! What every request passes, whatever it asks for: its name, the guard, the panic net, the count, the log line.

use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Instant,
};

use axum::{
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    App,
    error::{ApiError, ErrorCode},
    guard::{self, Pass},
    metrics::{CLIENT_LEFT, Metrics, Route},
    request_id,
};

/// Paths in log lines are cut there.
const MAX_LOGGED_PATH_BYTES: usize = 128;

/// For handlers: which request this is, and since when.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub id: HeaderValue,
    pub at: Instant,
}

impl Arrival {
    #[must_use]
    pub fn elapsed_ms(&self) -> f64 {
        self.at.elapsed().as_secs_f64() * 1e3
    }

    /// Fit for a log line: request ids are printable ASCII.
    #[must_use]
    pub fn id(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }
}

/// Left on an answer whose log line is written when its stream ends.
#[derive(Debug, Clone, Copy)]
pub struct LoggedAtEnd;

/// Left on an answer that was spoken in whole.
#[derive(Debug, Clone, Copy)]
pub struct Ttfa {
    pub ms: f64,
}

pub async fn pass(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let arrival = Arrival { id: request_id::of(request.headers()), at: Instant::now() };
    let route = Route::of(request.uri().path());
    let path = match route {
        Route::Other => shortened(request.uri().path()),
        _ => String::new(),
    };
    let mut visit = Visit {
        metrics: Arc::clone(&app.metrics),
        arrival: arrival.clone(),
        route,
        method: request.method().clone(),
        path,
        answered: false,
    };

    let checked = app.guard.check(request.method(), request.uri(), request.headers());
    let mut response = match checked {
        Err(refused) => refused.into_response(),
        Ok(Pass::Preflight { origin }) => guard::preflight(origin, request.headers()),
        Ok(Pass::On { cross_origin }) => {
            let admitted = app.admit(&request);
            request.extensions_mut().insert(arrival.clone());
            let mut response = match admitted {
                Err(refused) => refused.into_response(),
                Ok(()) => caught(next.run(request)).await.unwrap_or_else(|panic| {
                    tracing::error!(id = arrival.id(), panic = panic_message(&*panic), "a handler panicked");
                    ApiError::panicked().into_response()
                }),
            };
            if let Some(origin) = cross_origin {
                guard::allow_origin(response.headers_mut(), origin);
            }
            response
        }
    };
    response.headers_mut().insert(request_id::HEADER, arrival.id);
    visit.answer(&response);
    response
}

/// One request on its way through. Dropped without an answer, its client has left.
struct Visit {
    metrics: Arc<Metrics>,
    arrival: Arrival,
    route: Route,
    method: Method,
    /// Only of routes that are not ours.
    path: String,
    answered: bool,
}

impl Visit {
    fn answer(&mut self, response: &Response) {
        self.answered = true;
        self.metrics.answered(self.route, response.status());
        if response.extensions().get::<LoggedAtEnd>().is_none() {
            self.log(
                response.status(),
                response.extensions().get::<ErrorCode>().map(|code| code.0),
                response.extensions().get::<Ttfa>().map(|ttfa| ttfa.ms),
            );
        }
    }

    fn log(&self, status: StatusCode, code: Option<&str>, ttfa_ms: Option<f64>) {
        let (id, method, ms) = (self.arrival.id(), self.method.as_str(), self.arrival.elapsed_ms());
        let (status, path) = (status.as_u16(), if self.path.is_empty() { self.route.label() } else { &self.path });
        if self.route.speaks() {
            tracing::info!(id, method, path, status, ms, ttfa_ms, code, "request");
        } else {
            tracing::debug!(id, method, path, status, ms, code, "request");
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if !self.answered {
            self.metrics.left(self.route);
            if let Ok(status) = StatusCode::from_u16(CLIENT_LEFT) {
                self.log(status, Some("client_left"), None);
            }
        }
    }
}

/// Runs the future and hands a panic back, so that it ends in an answer and not in a closed connection.
async fn caught<F: Future>(future: F) -> Result<F::Output, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)")
}

/// The http crate takes any byte from 0x80 up in a path, so it may end inside a character.
fn shortened(path: &str) -> String {
    path.char_indices().take_while(|(at, _)| *at < MAX_LOGGED_PATH_BYTES).map(|(_, character)| character).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_handed_back_with_its_message() {
        assert_eq!(caught(async { 7 }).await.ok(), Some(7));
        let panicking = caught(async {
            tokio::task::yield_now().await;
            panic!("no {}", "luck");
        });
        let panic: Box<dyn Any + Send> = panicking.await.map(|()| 0).expect_err("it panics");
        assert_eq!(panic_message(&*panic), "no luck");
    }

    #[test]
    fn long_paths_are_cut_on_a_character() {
        assert_eq!(shortened("/x"), "/x");
        assert_eq!(shortened(&format!("/{}", "я".repeat(500))).len(), 129);
    }
}
