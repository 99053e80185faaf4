//! Accepts connections and serves each on a task of its own: within bounds of time, until told to stop.

use std::{
    future::Future,
    net::SocketAddr,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo, serve::Listener};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;
use tower::ServiceExt;

use super::connection::{Connection, Door, Peer};

/// For all of a request's head, and from one request of a connection to the next: clients that say nothing must not
/// hold their places for ever, or a thousand of them would shut all others out.
const HEAD_LIMIT: Duration = Duration::from_secs(60);

/// Until `stop` is over and every connection has had its answer; then the port is closed.
pub async fn serve(mut door: Door, router: Router, stop: impl Future<Output = ()>) {
    let (end, ended) = watch::channel(());
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            (connection, peer) = door.accept() => {
                tokio::spawn(converse(connection, peer, router.clone(), ended.clone()));
            }
            () = &mut stop => break,
        }
    }
    drop(door);
    drop(ended);
    end.send_replace(());
    end.closed().await;
}

async fn converse(connection: Connection, peer: SocketAddr, router: Router, mut ended: watch::Receiver<()>) {
    let asked = AtomicBool::new(false);
    let service = service_fn(|mut request: Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(ConnectInfo(Peer(peer)));
        router.clone().oneshot(request.map(Body::new))
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT);
    let mut talking = pin!(builder.serve_connection(TokioIo::new(connection), service).with_upgrades());
    let outcome = tokio::select! {
        outcome = talking.as_mut() => outcome,
        _ = ended.changed() => {
            if !asked.load(Ordering::Relaxed) {
                // There is no answer to wait for, and the rest of a head may never come.
                return;
            }
            talking.as_mut().graceful_shutdown();
            talking.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended early");
    }
}
