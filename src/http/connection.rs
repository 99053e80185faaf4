//! TCP connections: sent without delay, cut off when their client takes nothing for too long, closable from outside.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, Sleep, sleep_until},
};

/// Where a request comes from, for handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer(pub SocketAddr);

/// Accepts connections.
pub struct Door {
    listener: TcpListener,
    max_stall: Duration,
    closed: watch::Receiver<bool>,
}

impl Door {
    /// All connections are closed once `closed` says so; its sender can wait until they are gone.
    #[must_use]
    pub fn new(listener: TcpListener, max_stall: Duration, closed: watch::Receiver<bool>) -> Self {
        Self { listener, max_stall, closed }
    }
}

impl Listener for Door {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // The trait's method: it waits and tries again when the process has no file descriptors left.
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        // With Nagle's algorithm the last chunk of a stream waits 40 ms for an acknowledgement.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        (Connection::new(stream, self.max_stall, self.closed.clone()), peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

pub struct Connection<S = TcpStream> {
    stream: S,
    max_stall: Duration,
    /// Runs while the client takes nothing of what is to be sent.
    stalled: Option<Pin<Box<Sleep>>>,
    closed: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl<S> Connection<S> {
    fn new(stream: S, max_stall: Duration, mut closed: watch::Receiver<bool>) -> Self {
        let closed = Box::pin(async move {
            let gone = closed.wait_for(|closed| *closed).await.is_err();
            if gone {
                std::future::pending::<()>().await;
            }
        });
        Self { stream, max_stall, stalled: None, closed }
    }

    fn check_open(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.closed.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }

    /// Watches over the outcome of a write.
    fn written(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let max_stall = self.max_stall;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + max_stall)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client reads nothing")))
    }
}

// `closed` is polled to its end once at most: an error from here ends the connection, which is not polled again.
impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_open(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check_open(context)?;
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_open(context)?;
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    async fn pair(closed: watch::Receiver<bool>) -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let mut door = Door::new(listener, Duration::from_secs(30), closed);
        let (accepted, client) = tokio::join!(Listener::accept(&mut door), TcpStream::connect(address));
        (accepted.0, client.expect("a connection"))
    }

    /// In memory: the kernel's sockets have clocks of their own, which nobody can pause.
    fn in_memory(closed: watch::Receiver<bool>) -> (Connection<DuplexStream>, DuplexStream) {
        let (ours, client) = duplex(1 << 20);
        (Connection::new(ours, Duration::from_secs(30), closed), client)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_cut_off_in_time() {
        let (_close, closed) = watch::channel(false);
        let (mut connection, client) = in_memory(closed);
        let started = Instant::now();
        let outcome = connection.write_all(&vec![0; 2 << 20]).await;
        assert_eq!(outcome.expect_err("nobody reads").kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed().as_secs(), 30);
        drop(client);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_slowly_is_served_to_the_end() {
        const MIB: usize = 1 << 20;
        let (_close, closed) = watch::channel(false);
        let (mut connection, mut client) = in_memory(closed);
        let started = Instant::now();
        let writing = tokio::spawn(async move { connection.write_all(&vec![0; 32 * MIB]).await });
        let mut piece = vec![0; 4 * MIB];
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_secs(20)).await;
            client.read_exact(&mut piece).await.expect("not cut off");
        }
        writing.await.expect("no panic").expect("written");
        assert!(started.elapsed().as_secs() >= 160);
    }

    #[tokio::test]
    async fn what_is_sent_goes_out_without_delay() {
        let (_close, closed) = watch::channel(false);
        let (mut connection, mut client) = pair(closed).await;
        assert!(connection.stream.nodelay().expect("an option"));
        connection.write_all(b"sound").await.expect("written");
        let mut heard = [0; 5];
        client.read_exact(&mut heard).await.expect("read");
        assert_eq!(&heard, b"sound");
    }

    #[tokio::test]
    async fn connections_close_when_told_and_are_waited_for() {
        let (close, closed) = watch::channel(false);
        let (mut connection, _client) = pair(closed).await;
        let reading = tokio::spawn(async move { connection.read_u8().await });
        close.send_replace(true);
        close.closed().await;
        let outcome = reading.await.expect("no panic");
        assert_eq!(outcome.expect_err("closed").kind(), io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn a_closer_that_is_gone_closes_nothing() {
        let (close, closed) = watch::channel(false);
        let (mut connection, mut client) = pair(closed).await;
        drop(close);
        client.write_all(b"x").await.expect("written");
        assert_eq!(connection.read_u8().await.expect("read"), b'x');
    }
}
