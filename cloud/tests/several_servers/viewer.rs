//! A browser that looks at a camera.

use std::time::Duration;

use aivms_contract::relay::{FrameHeader, FrameKind};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::servers::Owner;

/// Longest wait for anything, with three clouds on two cores.
const LIMIT: Duration = Duration::from_secs(40);

pub(crate) struct Viewer {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// Buys a ticket; live video without `from`.
pub(crate) async fn ticket(owner: &Owner, base: &str, edge: &str, from: Option<Value>) -> String {
    let mut wanted = json!({ "edge_id": edge, "camera_id": "gate" });
    if let Some(from) = from {
        wanted["from"] = from;
    }
    let request = owner.http.post(format!("{base}/api/live/tickets")).bearer_auth(&owner.token);
    let answer = request.json(&wanted).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
    answer.json::<Value>().await.unwrap()["ticket"].as_str().unwrap().to_owned()
}

impl Viewer {
    /// Looks with a ticket; the status of the answer when that is refused.
    pub(crate) async fn open(base: &str, ticket: &str) -> Result<Self, u16> {
        let url = format!("{}/api/live/stream?ticket={ticket}", base.replacen("http", "ws", 1));
        match timeout(LIMIT, connect_async(url)).await.unwrap() {
            Ok((socket, _)) => Ok(Self { socket }),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(other) => panic!("{other}"),
        }
    }

    /// Buys and looks on one server.
    pub(crate) async fn look(owner: &Owner, base: &str, edge: &str) -> Self {
        let ticket = ticket(owner, base, edge, None).await;
        Self::open(base, &ticket).await.unwrap()
    }

    pub(crate) async fn say(&mut self, message: &Value) {
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    /// The next text message of this type.
    pub(crate) async fn text(&mut self, wanted: &str) -> Value {
        loop {
            if let Message::Text(text) = self.next().await {
                let message: Value = serde_json::from_str(&text).unwrap();
                if message["type"] == wanted {
                    return message;
                }
            }
        }
    }

    /// Reads so many fragments.
    pub(crate) async fn fragments(&mut self, count: usize) {
        let mut seen = 0;
        while seen < count {
            match self.next().await {
                Message::Binary(frame) => {
                    let (header, _) = FrameHeader::read(&frame).unwrap();
                    seen += usize::from(header.kind == FrameKind::Fragment);
                }
                Message::Text(text) => assert!(!text.contains("\"ended\""), "the stream is over: {text}"),
                other => assert!(!other.is_close(), "{other}"),
            }
        }
    }

    /// Reads what is there already.
    pub(crate) async fn drained(&mut self) {
        let until = Instant::now() + Duration::from_millis(500);
        while let Ok(message) = tokio::time::timeout_at(until, self.socket.next()).await {
            let message = message.expect("the stream goes on").unwrap();
            assert!(!message.to_string().contains("\"ended\""), "{message}");
        }
    }

    async fn next(&mut self) -> Message {
        match timeout(LIMIT, self.socket.next()).await.expect("something comes") {
            Some(Ok(message)) => message,
            over => panic!("{over:?}"),
        }
    }
}
