//! One WebSocket to the cloud, from the call to the silence after the last viewer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aivms_contract::id::CameraId;
use aivms_contract::relay::{EndReason, FrameHeader, FrameKind, FromEdge, ToEdge, View};
use aivms_contract::time::UtcMillis;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::connect::{Socket, connect};
use super::live::{Ended, LiveStream};
use super::outlet::{Gone, OutMessage, Outgoing, Outlet, Waiting, channel};
use super::permit::Permit;
use super::playback::{Order, PlaybackStream};
use super::sprite::Sprites;
use super::{Relay, timeline};
use crate::clock;
use crate::cloud::Cloud;
use crate::config;
use crate::identity::Identity;
use crate::masks::Gate;
use crate::recorder::Footage;
use crate::retention::board::Board;

/// How long the WebSocket stays without a stream and without a question.
const IDLE: Duration = Duration::from_secs(30);
/// Silence after which the cloud counts as gone; it pings every ten seconds.
const SILENCE: Duration = Duration::from_secs(30);
/// Longest time one message may take to be written.
const WRITE_LIMIT: Duration = Duration::from_secs(20);
/// Most streams at once.
const MAX_STREAMS: usize = 32;
/// Questions answered at once; further ones wait.
const AT_ONCE: usize = 4;
/// Most questions that are not answered; further ones are refused.
const MAX_QUESTIONS: usize = 64;
/// Seeks and credits a playing stream has not looked at; one with more has hung and is ended.
const ORDERS: usize = 64;

/// The task behind [`Relay`].
pub struct RelayTask {
    /// What it serves.
    pub relay: Relay,
    /// Recorded video.
    pub footage: Footage,
    /// What may leave the edge.
    pub gate: Gate,
    /// Where gaps and their causes are remembered.
    pub board: Board,
    /// Where the cloud is.
    pub settings: config::Cloud,
    /// The cloud, whose clock tokens are made by.
    pub cloud: Arc<Cloud>,
    /// Who we are.
    pub identity: watch::Receiver<Option<Arc<Identity>>>,
}

impl RelayTask {
    /// Connects whenever it is called, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let sprites = Sprites::default();
        tokio::select! {
            () = self.answer_calls(&sprites, &stop) => {}
            () = sprites.forget_hidden(self.gate.clone()) => {}
        }
    }

    async fn answer_calls(&self, sprites: &Sprites, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.relay.inner.called.notified() => {}
            }
            let Some(identity) = self.identity.borrow().clone() else { continue };
            let socket = tokio::select! {
                () = stop.cancelled() => return,
                socket = connect(&self.settings, &self.cloud, &identity) => socket,
            };
            match socket {
                Ok(socket) => {
                    tracing::info!("somebody looks: the relay is connected");
                    let cause = self.serve(socket, sprites, stop).await;
                    tracing::info!(cause, "the relay is closed");
                }
                // The cloud calls again while somebody waits.
                Err(cause) => tracing::warn!(cause, "the relay can't be connected"),
            }
        }
    }

    async fn serve(&self, socket: Socket, sprites: &Sprites, stop: &CancellationToken) -> &'static str {
        let (sink, source) = socket.split();
        let (outlet, messages) = channel();
        let mut session = Session {
            task: self,
            sprites,
            outlet,
            orders: HashMap::new(),
            streams: JoinSet::new(),
            questions: JoinSet::new(),
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
        };
        let closing = CancellationToken::new();
        let writer = tokio::spawn(write(sink, messages, closing.clone()));
        let cause = tokio::select! {
            () = stop.cancelled() => "the appliance stops",
            cause = session.talk(source) => cause,
            () = closing.cancelled() => "the line takes nothing",
        };
        drop(session);
        // It ends with the last sender.
        let _ = timeout(Duration::from_secs(2), writer).await;
        cause
    }
}

/// Writes what the streams have to send; `closing` says that the line takes nothing any more.
async fn write(
    mut sink: SplitSink<Socket, Message>,
    mut messages: mpsc::Receiver<Outgoing>,
    closing: CancellationToken,
) {
    while let Some(outgoing) = messages.recv().await {
        let may_leave = outgoing.may_leave();
        let Outgoing { message, waiting, .. } = outgoing;
        if !may_leave {
            // A mask was set while it waited.
            waiting.iter().for_each(Waiting::written);
            continue;
        }
        let message = match message {
            OutMessage::Text(text) => {
                Message::text(serde_json::to_string(&text).expect("contract types always serialise"))
            }
            OutMessage::Frame(frame) => Message::binary(frame),
        };
        let written = timeout(WRITE_LIMIT, sink.send(message)).await;
        if let Some(waiting) = waiting {
            waiting.written();
        }
        if !matches!(written, Ok(Ok(()))) {
            closing.cancel();
            return;
        }
    }
    let _ = timeout(Duration::from_secs(1), sink.close()).await;
}

struct Session<'a> {
    task: &'a RelayTask,
    sprites: &'a Sprites,
    outlet: Outlet,
    /// Of streams that run: the way to one that plays back, and the end of each.
    orders: HashMap<u32, (Option<mpsc::Sender<Order>>, AbortHandle)>,
    streams: JoinSet<(u32, Result<Ended, Gone>)>,
    questions: JoinSet<Result<(), Gone>>,
    at_once: Arc<Semaphore>,
}

impl Session<'_> {
    /// Does as the cloud says until one of the two has had enough; says why.
    async fn talk(&mut self, mut source: SplitStream<Socket>) -> &'static str {
        let (mut silent_at, mut idle_at) = (Instant::now() + SILENCE, Instant::now() + IDLE);
        loop {
            if !self.streams.is_empty() || !self.questions.is_empty() {
                idle_at = Instant::now() + IDLE;
            }
            tokio::select! {
                () = sleep_until(idle_at) => return "nobody looks any more",
                () = sleep_until(silent_at) => return "nothing is heard of the cloud",
                Some(ended) = self.streams.join_next() => {
                    // One that was told to end has said nothing and needs not to.
                    let Ok((stream, ended)) = ended else { continue };
                    self.orders.remove(&stream);
                    if let Ok((reason, detail)) = ended {
                        tracing::debug!(stream, detail, "a stream has ended");
                        if self.outlet.say(FromEdge::Ended { stream, reason, detail }).await.is_err() {
                            return "the line takes nothing";
                        }
                    }
                }
                Some(_) = self.questions.join_next() => {}
                message = source.next() => {
                    silent_at = Instant::now() + SILENCE;
                    match message {
                        Some(Ok(Message::Text(text))) => {
                            if self.take(&text).await.is_err() {
                                return "the line takes nothing";
                            }
                        }
                        Some(Ok(Message::Close(_))) | None => return "the cloud has closed it",
                        Some(Ok(_)) => {}
                        Some(Err(_)) => return "the connection broke",
                    }
                }
            }
        }
    }

    async fn take(&mut self, text: &str) -> Result<(), Gone> {
        let message = match ToEdge::read(text) {
            Ok(message) => message,
            Err(error) => return self.outlet.say(FromEdge::Error { problem: error.to_string() }).await,
        };
        match message {
            ToEdge::Open { stream, camera_id, view, h265 } => self.open(stream, camera_id, &view, h265).await,
            ToEdge::Seek { stream, from, key_frames_only } => {
                self.order(stream, Order::Seek { from, key_frames_only });
                Ok(())
            }
            ToEdge::Credit { stream, fragments } => {
                self.order(stream, Order::Credit(fragments));
                Ok(())
            }
            ToEdge::Close { stream } => {
                if let Some((_, end)) = self.orders.remove(&stream) {
                    end.abort();
                }
                Ok(())
            }
            ToEdge::Cameras { request } => {
                let footage = &self.task.footage;
                let is_masked = |camera: &CameraId| Permit::new(&self.task.gate, camera).refusal().is_some();
                let cameras = self.task.relay.viewable(|camera| footage.newest(camera).is_some(), is_masked);
                self.outlet.say(FromEdge::Cameras { request, cameras }).await
            }
            ToEdge::Timeline { request, camera_id, from, to } => {
                let spans = timeline::spans(&self.task.footage, &camera_id, from, to);
                let gaps = timeline::gaps(self.task.board.gaps(&camera_id), from, to);
                self.outlet.say(FromEdge::Timeline { request, spans, gaps }).await
            }
            ToEdge::Boxes { request, camera_id, from, to } => self.boxes(request, &camera_id, from, to).await,
            ToEdge::Sprite { request, camera_id, hour } => self.sprite(request, camera_id, hour).await,
            ToEdge::Unknown => Ok(()),
        }
    }

    async fn open(&mut self, stream: u32, camera: CameraId, view: &View, h265: bool) -> Result<(), Gone> {
        if self.orders.len() >= MAX_STREAMS {
            let detail = format!("{MAX_STREAMS} streams of this edge are looked at already");
            return self.outlet.say(FromEdge::Ended { stream, reason: EndReason::TooMany, detail }).await;
        }
        tracing::debug!(stream, camera.id = %camera, ?view, "a stream is asked for");
        let (relay, outlet) = (self.task.relay.clone(), self.outlet.clone());
        let permit = Permit::new(&self.task.gate, &camera);
        let (orders, end) = match *view {
            View::Live => {
                let live = LiveStream { stream, camera, h265 };
                (None, self.streams.spawn(async move { (stream, live.run(relay, permit, outlet).await) }))
            }
            View::Playback { from, key_frames_only } => {
                let (orders, ordered) = mpsc::channel(ORDERS);
                let footage = self.task.footage.clone();
                let playback = PlaybackStream { stream, camera, from, key_frames_only, h265 };
                let run = async move { (stream, playback.run(permit, footage, ordered, outlet).await) };
                (Some(orders), self.streams.spawn(run))
            }
        };
        if let Some((_, previous)) = self.orders.insert(stream, (orders, end)) {
            previous.abort();
        }
        Ok(())
    }

    fn order(&mut self, stream: u32, order: Order) {
        let Some((Some(orders), end)) = self.orders.get(&stream) else { return };
        if orders.try_send(order).is_err() {
            tracing::warn!(stream, "a stream takes no orders any more and is ended");
            end.abort();
        }
    }

    async fn boxes(&self, request: u32, camera: &CameraId, from: UtcMillis, to: UtcMillis) -> Result<(), Gone> {
        let boxes = self.task.relay.seen().between(camera, from, to);
        let json = serde_json::to_vec(&boxes).unwrap_or_default();
        self.outlet.frame(&answer(FrameKind::Boxes, request, from), &json).await
    }

    async fn sprite(&mut self, request: u32, camera: CameraId, hour: UtcMillis) -> Result<(), Gone> {
        let permit = Permit::new(&self.task.gate, &camera);
        let refusal = match permit.refusal() {
            _ if self.questions.len() >= MAX_QUESTIONS => Some("the edge is busy; try again later".to_owned()),
            refusal => refusal.map(|(_, detail)| detail),
        };
        if let Some(reason) = refusal {
            return self.outlet.say(FromEdge::Failed { request, reason }).await;
        }
        let (outlet, at_once) = (self.outlet.clone(), Arc::clone(&self.at_once));
        let (sprites, footage) = (self.sprites.clone(), self.task.footage.clone());
        self.questions.spawn(async move {
            let _turn = at_once.acquire_owned().await.map_err(|_| Gone)?;
            match sprites.of_hour(footage, permit.clone(), hour).await {
                Ok(jpeg) => outlet.pictures(&answer(FrameKind::Jpeg, request, hour), &jpeg, &permit).await,
                Err(reason) => outlet.say(FromEdge::Failed { request, reason }).await,
            }
        });
        Ok(())
    }
}

fn answer(kind: FrameKind, request: u32, wall: UtcMillis) -> FrameHeader {
    FrameHeader { kind, key: false, stream: request, wall, sent_at: clock::now(), duration_ms: 0, media_ms: 0 }
}
