//! The server from outside, over TCP.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

use super::{SOON, THREE, service};
use crate::{
    config::Config,
    engine::{FakeOptions, Gate},
    http::serve,
};

pub(super) struct Server {
    pub address: SocketAddr,
    pub stop: watch::Sender<bool>,
    pub serving: JoinHandle<io::Result<()>>,
}

impl Server {
    pub async fn start(config: Config, engine: FakeOptions) -> Self {
        let config = Arc::new(config);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = watch::channel(false);
        let speech = service(&config, vec![engine]).await;
        let serving = tokio::spawn(serve(listener, speech, config, stopped));
        Self { address, stop, serving }
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    /// Sends one request and reads until the server closes.
    pub async fn ask(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = Vec::new();
        timeout(SOON, stream.read_to_end(&mut answer)).await.expect("in time").expect("read");
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub async fn stopped(self) {
        self.stop.send_replace(true);
        timeout(SOON, self.serving).await.expect("in time").expect("no panic").expect("served");
    }
}

async fn read_until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        bytes.push(timeout(SOON, stream.read_u8()).await.expect("in time").expect("read"));
    }
    bytes
}

fn speech_request(text: &str) -> String {
    let body = serde_json::json!({ "input": text }).to_string();
    format!("POST /v1/audio/speech HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Until a step stands at the gate.
async fn reached(gate: &Gate) {
    while !gate.is_reached() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn it_stops_without_waiting_for_connections_that_are_idle() {
    let server = Server::start(Config::default(), FakeOptions::default()).await;
    let _silent = server.connect().await;
    let mut half_a_head = server.connect().await;
    half_a_head.write_all(b"POST /v1/audio/speech HTTP/1.1\r\nhost: loc").await.expect("written");
    let mut kept_alive = server.connect().await;
    kept_alive.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("written");
    read_until(&mut kept_alive, b"\r\n\r\nok").await;
    let address = server.address;
    server.stopped().await;
    assert!(TcpStream::connect(address).await.is_err(), "it still listens");
}

/// Once paused, the clock runs when nothing else does.
#[tokio::test]
async fn who_never_ends_a_head_is_cut_off_and_who_listens_is_not() {
    let gate = Arc::new(Gate::default());
    let options = FakeOptions { gate: Some(Arc::clone(&gate)), ..FakeOptions::default() };
    let server = Server::start(Config::default(), options).await;
    let mut listening = server.connect().await;
    listening.write_all(speech_request(THREE).as_bytes()).await.expect("written");
    gate.open(1);
    read_until(&mut listening, b"\r\n\r\n").await;
    let mut half_a_head = server.connect().await;
    half_a_head.write_all(b"GET /healthz HTTP/1.1\r\nhost: loc").await.expect("written");
    let mut kept_alive = server.connect().await;
    kept_alive.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("written");
    read_until(&mut kept_alive, b"\r\n\r\nok").await;

    tokio::time::pause();
    for stream in [&mut half_a_head, &mut kept_alive] {
        let mut rest = Vec::new();
        // Longer than the limit, as the network does not wait for a clock that runs ahead.
        let closed = timeout(Duration::from_secs(600), stream.read_to_end(&mut rest)).await.expect("cut off in time");
        assert!(closed.is_err() || !rest.starts_with(b"HTTP/1.1 200"), "{rest:?}");
    }
    tokio::time::resume();
    gate.open(2);
    read_until(&mut listening, b"\r\n0\r\n\r\n").await;
    server.stopped().await;
}

#[tokio::test]
async fn it_finishes_what_is_in_flight() {
    let gate = Arc::new(Gate::default());
    let options = FakeOptions { gate: Some(Arc::clone(&gate)), ..FakeOptions::default() };
    let server = Server::start(Config::default(), options).await;
    let mut stream = server.connect().await;
    stream.write_all(speech_request(THREE).as_bytes()).await.expect("written");
    gate.open(1);
    read_until(&mut stream, b"\r\n\r\n").await;
    server.stop.send_replace(true);
    gate.open(2);
    let mut rest = Vec::new();
    timeout(SOON, stream.read_to_end(&mut rest)).await.expect("in time").expect("read");
    assert!(rest.ends_with(b"\r\n0\r\n\r\n"), "a clean end");
    server.stopped().await;
}

#[tokio::test]
async fn it_breaks_off_what_takes_longer_than_the_grace_period() {
    let gate = Arc::new(Gate::default());
    let options = FakeOptions { gate: Some(Arc::clone(&gate)), ..FakeOptions::default() };
    let mut config = Config::default();
    config.http.shutdown_grace_s = 0.05;
    let server = Server::start(config, options).await;
    let mut stream = server.connect().await;
    stream.write_all(speech_request(THREE).as_bytes()).await.expect("written");
    gate.open(1);
    read_until(&mut stream, b"\r\n\r\n").await;
    server.stopped().await;
    let mut rest = Vec::new();
    let outcome = timeout(SOON, stream.read_to_end(&mut rest)).await.expect("in time");
    assert!(outcome.is_err() || !rest.ends_with(b"\r\n0\r\n\r\n"), "no clean end");
    gate.open(2);
}

#[tokio::test]
async fn a_client_that_hangs_up_before_the_first_sound_gives_its_place_back() {
    let gate = Arc::new(Gate::default());
    let options = FakeOptions { gate: Some(Arc::clone(&gate)), ..FakeOptions::default() };
    let mut config = Config::default();
    config.queue.max_requests = 1;
    let server = Server::start(config, options).await;
    let mut leaving = server.connect().await;
    leaving.write_all(speech_request(THREE).as_bytes()).await.expect("written");
    let status = async |expected: &str| {
        let mut stream = server.connect().await;
        stream.write_all(speech_request("Number two.").as_bytes()).await.expect("written");
        let answer = read_until(&mut stream, b"\r\n\r\n").await;
        answer.starts_with(format!("HTTP/1.1 {expected}").as_bytes())
    };
    timeout(SOON, reached(&gate)).await.expect("its first segment goes to the engine");
    assert!(status("429").await, "nothing has come out of the engine yet");
    drop(leaving);
    gate.open(100);
    while !status("200").await {}
    server.stopped().await;
}

#[tokio::test]
async fn hostile_requests_leave_it_answering() {
    let server = Server::start(Config::default(), FakeOptions::default()).await;
    let close = "connection: close\r\n";
    let huge = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "x".repeat(1 << 20));
    let many: String = (0..1000).map(|index| format!("x{index}: 0\r\n")).collect();
    let body = "x".repeat(20 << 20);
    for (request, expected) in [
        (huge, "HTTP/1.1 431"),
        (format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{many}\r\n"), "HTTP/1.1 431"),
        ("NONSENSE\r\n\r\n".to_owned(), "HTTP/1.1 400"),
        (format!("GET /healthz HTTP/1.1\r\n{close}\r\n"), "HTTP/1.1 403"),
        (format!("GET /healthz HTTP/1.1\r\nhost: a\r\nhost: localhost\r\n{close}\r\n"), "HTTP/1.1 403"),
        (format!("GET http://evil.example/healthz HTTP/1.1\r\nhost: localhost\r\n{close}\r\n"), "HTTP/1.1 403"),
        (
            format!(
                "POST /v1/audio/speech HTTP/1.1\r\nhost: localhost\r\n{close}content-length: {}\r\n\r\n{body}",
                body.len()
            ),
            "HTTP/1.1 413",
        ),
        (
            format!(
                "POST /v1/audio/speech HTTP/1.1\r\nhost: localhost\r\n{close}expect: 100-continue\r\n\
                 content-length: 99999999999\r\n\r\n"
            ),
            "HTTP/1.1 413",
        ),
    ] {
        let shown = request.chars().take(60).collect::<String>();
        let answer = server.ask(&request).await;
        assert!(answer.starts_with(expected), "{shown:?}: {:?}", answer.chars().take(300).collect::<String>());
        let healthy = server.ask("GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
        assert!(healthy.ends_with("ok"), "after {shown:?}");
    }
    server.stopped().await;
}
