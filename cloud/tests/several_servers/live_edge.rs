//! An edge with a camera: it opens its relay when it is called, as an appliance does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aivms_contract::command::Command;
use aivms_contract::relay::{FrameHeader, FrameKind, ToEdge, View};
use aivms_contract::time::UtcMillis;
use futures_util::{SinkExt, StreamExt};
use rumqttc::{Event, Incoming};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::edge::Edge;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The edge; it is gone when this is dropped.
pub(crate) struct LiveEdge {
    pub id: String,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    edge: Edge,
    /// Where its WebSockets go.
    base: Mutex<String>,
    /// WebSockets opened, and live streams asked for on them.
    sockets: AtomicU32,
    streams: AtomicU32,
}

impl Drop for LiveEdge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl LiveEdge {
    /// Connects by MQTT to `mqtt`, or where that is gone through the balancer; its relay goes to `base`.
    pub(crate) fn start(edge: Edge, mqtt: SocketAddr, base: String) -> Self {
        let id = edge.id.to_string();
        let (base, sockets, streams) = (Mutex::new(base), AtomicU32::new(0), AtomicU32::new(0));
        let state = Arc::new(State { edge, base, sockets, streams });
        Self { id, task: tokio::spawn(Arc::clone(&state).run(mqtt)), state }
    }

    /// Takes its relay elsewhere the next time.
    pub(crate) fn come_to(&self, base: String) {
        *self.state.base.lock().unwrap() = base;
    }

    /// WebSockets opened, and live streams asked for on them, so far.
    pub(crate) fn counts(&self) -> (u32, u32) {
        (self.state.sockets.load(Ordering::Relaxed), self.state.streams.load(Ordering::Relaxed))
    }
}

impl State {
    async fn run(self: Arc<Self>, mqtt: SocketAddr) {
        let mut relay: Option<JoinHandle<()>> = None;
        let mut address = mqtt;
        loop {
            let Ok(mut session) = self.edge.connect(address).await else {
                address = self.edge.balanced();
                sleep(Duration::from_millis(200)).await;
                continue;
            };
            while let Ok(event) = session.events.poll().await {
                if let Event::Incoming(Incoming::Publish(told)) = event
                    && told.topic.ends_with("/down/commands")
                    && serde_json::from_slice::<Command>(&told.payload).unwrap().command == "open_relay"
                    && relay.as_ref().is_none_or(JoinHandle::is_finished)
                {
                    relay = Some(tokio::spawn(Arc::clone(&self).relay()));
                }
            }
        }
    }

    async fn relay(self: Arc<Self>) {
        let base = self.base.lock().unwrap().clone();
        let mut request = format!("{}/api/edge/relay", base.replacen("http", "ws", 1)).into_client_request().unwrap();
        let bearer = format!("Bearer {}", self.edge.token());
        request.headers_mut().insert("authorization", bearer.parse().unwrap());
        let Ok((mut socket, _)) = connect_async(request).await else { return };
        self.sockets.fetch_add(1, Ordering::Relaxed);
        let (mut live, mut owed, mut tick) = (BTreeSet::new(), BTreeMap::new(), interval(Duration::from_millis(50)));
        loop {
            let sent = tokio::select! {
                _ = tick.tick() => film(&mut socket, &live, &mut owed).await,
                heard = socket.next() => match heard {
                    Some(Ok(Message::Text(text))) => {
                        self.take(&ToEdge::read(&text).unwrap(), &mut socket, &mut live, &mut owed).await
                    }
                    Some(Ok(_)) => Some(()),
                    _ => None,
                },
            };
            if sent.is_none() {
                return;
            }
        }
    }

    async fn take(
        &self,
        asked: &ToEdge,
        socket: &mut Socket,
        live: &mut BTreeSet<u32>,
        owed: &mut BTreeMap<u32, u32>,
    ) -> Option<()> {
        match asked {
            ToEdge::Open { stream, view, .. } => {
                let mut opened = json!({ "type": "opened", "stream": stream, "mime": "video/mp4", "width": 64,
                    "height": 48, "role": "main" });
                match view {
                    View::Live => {
                        self.streams.fetch_add(1, Ordering::Relaxed);
                        live.insert(*stream);
                    }
                    View::Playback { from, .. } => {
                        opened["from"] = json!(from);
                        owed.insert(*stream, 0);
                    }
                }
                say(socket, Message::text(opened.to_string())).await?;
                say(socket, frame(*stream, FrameKind::Init, b"init")).await
            }
            ToEdge::Credit { stream, fragments } => {
                *owed.entry(*stream).or_default() += fragments;
                Some(())
            }
            ToEdge::Close { stream } => {
                live.remove(stream);
                owed.remove(stream);
                Some(())
            }
            ToEdge::Cameras { request } => {
                let cameras = [json!({ "camera_id": "gate", "live": true, "recorded": true })];
                let answer = json!({ "type": "cameras", "request": request, "cameras": cameras });
                say(socket, Message::text(answer.to_string())).await
            }
            ToEdge::Sprite { request, .. } => say(socket, frame(*request, FrameKind::Jpeg, b"picture")).await,
            other => panic!("{other:?}"),
        }
    }
}

/// A fragment of each live stream, and of each that plays back as far as it is paid for.
async fn film(socket: &mut Socket, live: &BTreeSet<u32>, owed: &mut BTreeMap<u32, u32>) -> Option<()> {
    for stream in live {
        say(socket, frame(*stream, FrameKind::Fragment, &[7; 2_000])).await?;
    }
    for (stream, credit) in owed.iter_mut().filter(|(_, credit)| **credit > 0) {
        *credit -= 1;
        say(socket, frame(*stream, FrameKind::Fragment, &[7; 2_000])).await?;
    }
    Some(())
}

async fn say(socket: &mut Socket, message: Message) -> Option<()> {
    socket.send(message).await.ok()
}

fn frame(stream: u32, kind: FrameKind, body: &[u8]) -> Message {
    let now = UtcMillis::from_millis(jiff::Timestamp::now().as_millisecond());
    let head = FrameHeader { kind, key: true, stream, wall: now, sent_at: now, duration_ms: 50, media_ms: 0 };
    Message::binary(head.frame(body))
}
