//! WebSockets to the platforms: connect, read and write, bounded in time and size.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
    tungstenite::{Message, client::IntoClientRequest, protocol::WebSocketConfig},
};

const TIMEOUT: Duration = Duration::from_secs(15);
/// Twitch's and Bilibili's largest messages are some KiB.
const MAX_MESSAGE_BYTES: usize = 4 << 20;

pub(in crate::chat) enum Frame {
    Text(String),
    Binary(Bytes),
}

pub(in crate::chat) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Socket {
    /// # Errors
    /// Why there is no connection, for people.
    pub(in crate::chat) async fn connect(
        url: &str,
        headers: &[(&'static str, &str)],
        tls: &Arc<rustls::ClientConfig>,
    ) -> Result<Self, String> {
        let mut request = url.into_client_request().map_err(|error| error.to_string())?;
        for (name, value) in headers {
            let value = value.parse().map_err(|_unprintable| format!("the header {name} cannot be sent"))?;
            request.headers_mut().insert(*name, value);
        }
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES));
        let connector = Connector::Rustls(Arc::clone(tls));
        let connecting = connect_async_tls_with_config(request, Some(config), true, Some(connector));
        match tokio::time::timeout(TIMEOUT, connecting).await {
            Ok(Ok((stream, _answer))) => Ok(Self { stream }),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_elapsed) => Err(format!("no connection within {} s", TIMEOUT.as_secs())),
        }
    }

    /// # Errors
    /// Why nothing more comes, or that nothing came for so long.
    pub(in crate::chat) async fn next(&mut self, patience: Duration) -> Result<Frame, Silence> {
        let reading = async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Text(text))) => return Ok(Frame::Text(text.to_string())),
                    Some(Ok(Message::Binary(bytes))) => return Ok(Frame::Binary(bytes)),
                    // Reading answers pings.
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                    Some(Ok(Message::Close(close))) => {
                        let reason = close.map(|close| format!(": {} {}", u16::from(close.code), close.reason));
                        return Err(Silence::Closed(format!("the server closed it{}", reason.unwrap_or_default())));
                    }
                    Some(Err(error)) => return Err(Silence::Closed(error.to_string())),
                    None => return Err(Silence::Closed("the server closed it".into())),
                }
            }
        };
        tokio::time::timeout(patience, reading).await.unwrap_or(Err(Silence::Quiet))
    }

    /// # Errors
    /// Why it cannot be sent.
    pub(in crate::chat) async fn send(&mut self, frame: Frame) -> Result<(), String> {
        let message = match frame {
            Frame::Text(text) => Message::text(text),
            Frame::Binary(bytes) => Message::binary(bytes),
        };
        let sending = self.stream.send(message);
        match tokio::time::timeout(TIMEOUT, sending).await {
            Ok(sent) => sent.map_err(|error| error.to_string()),
            Err(_elapsed) => Err("the server reads nothing".into()),
        }
    }
}

pub(in crate::chat) enum Silence {
    Quiet,
    Closed(String),
}
