//! The connection against servers of the tests' own.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::SinkExt;
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, tungstenite::Message as Frame};

use super::*;
use crate::chat::{
    Platform,
    source::{
        State,
        testing::{self, Listening, accept, next_message, server},
    },
};

fn danmu(id: &str, text: &str) -> Vec<u8> {
    let extra = json!({"id_str": id}).to_string();
    let body = json!({"cmd": "DANMU_MSG", "info": [[0, 1, 25, 0, 1_700_000_000_123_u64, 1, 0, "", 0, 0, 0, "", 0, "{}", "{}",
        {"extra": extra}], text, [0, "观***", 0], [], [0], [], 0, 0]});
    packet::encode(5, body.to_string().as_bytes())
}

fn zlib(packets: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(packets).expect("compressed");
    let mut packet = packet::encode(5, &encoder.finish().expect("compressed"));
    packet[7] = 2;
    packet
}

/// As the server: reads who comes and lets them in. Returns what they said.
async fn admit(socket: &mut WebSocketStream<TcpStream>) -> Value {
    let auth = next_message(socket).await.into_data();
    assert_eq!(auth[8..12], 7_u32.to_be_bytes());
    socket.send(Frame::binary(packet::encode(8, br#"{"code":0}"#))).await.expect("sent");
    serde_json::from_slice(&auth[16..]).expect("JSON")
}

/// Refuses the first signature, as when keys have changed.
async fn bilibili(refused: Arc<AtomicUsize>) -> String {
    testing::http(move |path, headers, _body| {
        let cookie = headers.get("cookie").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        match path.split('?').next().unwrap_or_default() {
            "/x/frontend/finger/spi" => (200, json!({"code": 0, "data": {"b_3": "BUVID", "b_4": "x"}})),
            "/room/v1/Room/get_info" => (200, json!({"code": 0, "data": {"room_id": 7_734_200, "uid": 42}})),
            "/x/web-interface/nav" => {
                let name = |name: &str| format!("https://i0.hdslb.com/bfs/wbi/{name}.png");
                let images = json!({"img_url": name("7cd084941338484aae1ad9425b84077c"),
                    "sub_url": name("4932caff0ff746eab6f01bf08b70ac45")});
                (200, json!({"code": -101, "message": "no login", "data": {"wbi_img": images}}))
            }
            "/xlive/web-room/v1/index/getDanmuInfo" => {
                assert!(cookie.starts_with("buvid3=BUVID"), "{cookie}");
                assert!(path.contains("?id=7734200&type=0&wts=") && path.contains("&w_rid="), "{path}");
                if refused.fetch_add(1, Ordering::Relaxed) == 0 {
                    return (200, json!({"code": -352, "message": "-352"}));
                }
                (200, json!({"code": 0, "data": {"token": "KEY", "host_list": [{"host": "unused.example", "wss_port": 443}]}}))
            }
            other => panic!("{other}"),
        }
    })
    .await
}

async fn listen(address: &str) -> Listening {
    let api = bilibili(Arc::default()).await;
    let url = format!("ws://{address}/sub");
    testing::listen(Platform::Bilibili, |chat| {
        chat.bilibili.room = 6;
        chat.bilibili.api_url = api.clone();
        chat.bilibili.live_api_url = api;
        chat.bilibili.socket_url = url;
    })
}

#[tokio::test]
async fn both_compressions_and_a_lost_connection() {
    let (listener, address) = server().await;
    let mut listening = listen(&address).await;
    let mut socket = accept(&listener).await;
    let auth = admit(&mut socket).await;
    assert_eq!(auth["key"], "KEY");
    assert_eq!((auth["roomid"].as_u64(), auth["buvid"].as_str()), (Some(7_734_200), Some("BUVID")));
    listening.until(|state| *state == State::Connected { warning: None }).await;
    // It begins with a heartbeat.
    assert_eq!(next_message(&mut socket).await.into_data()[8..12], 2_u32.to_be_bytes());

    socket.send(Frame::binary(danmu("1", "one"))).await.expect("sent");
    socket.send(Frame::binary(zlib(&[danmu("2", "two"), danmu("1", "one")].concat()))).await.expect("sent");
    let mut brotli = packet::encode(5, include_bytes!("fixtures/danmu.br"));
    brotli[7] = 3;
    socket.send(Frame::binary(brotli)).await.expect("sent");
    let first = listening.message().await;
    assert_eq!((first.text.as_str(), first.channel.as_str(), first.user.masked), ("one", "6", true));
    assert_eq!(listening.texts(2).await, ["two", "你好"]);

    // What cannot be read ends the connection; the next one goes on without what came already.
    socket.send(Frame::binary(vec![0; 64])).await.expect("sent");
    let mut again = accept(&listener).await;
    admit(&mut again).await;
    again.send(Frame::binary(zlib(&[danmu("2", "two"), danmu("3", "three")].concat()))).await.expect("sent");
    assert_eq!(listening.message().await.text, "three");
}

#[tokio::test]
async fn a_key_that_is_not_taken_is_asked_for_again() {
    let (listener, address) = server().await;
    let mut listening = listen(&address).await;
    let mut socket = accept(&listener).await;
    next_message(&mut socket).await;
    socket.send(Frame::binary(packet::encode(8, br#"{"code":-101}"#))).await.expect("sent");
    let mut again = accept(&listener).await;
    admit(&mut again).await;
    listening.until(|state| matches!(state, State::Connected { .. })).await;
}

#[test]
fn only_host_names_become_addresses() {
    assert_eq!(
        socket_url(&json!({"host": "a.example", "wss_port": 2245})).as_deref(),
        Some("wss://a.example:2245/sub")
    );
    for host in ["", "a/b", "u@a", "a:1", "a?b"] {
        assert_eq!(socket_url(&json!({"host": host})), None, "{host}");
    }
}
