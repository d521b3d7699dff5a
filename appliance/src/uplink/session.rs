//! One MQTT connection: what it has sent, and what the cloud said on it.

use std::collections::VecDeque;
use std::time::Duration;

use aivms_appliance_core::uplink::{SendError, UplinkLimits, UplinkWindow};
use aivms_contract::ack::Ack;
use aivms_contract::topic::{DownKind, Leaf, Topic, UpKind};
use bytes::Bytes;
use rumqttc::{AsyncClient, ClientError, Event, Packet, Publish, QoS, SubAck, SubscribeReasonCode};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::line::{Line, LinkState};
use super::mqtt::{Address, down_filter};
use super::{Say, Told};
use crate::outbox::{Entry, Outbox, OutboxError};

/// Longest wait for the connection and the answer to its subscription, beside the time-out of acknowledgements.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// One connection.
pub(super) struct Session<'a> {
    client: &'a AsyncClient,
    address: Address<'a>,
    outbox: Outbox,
    window: UplinkWindow,
    /// Entries read and not yet handed to the client.
    ready: VecDeque<Entry>,
    is_up: bool,
    began: Instant,
    ack_timeout: Duration,
}

/// Why a connection was given up.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("no acknowledgement came for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("the cloud refused the subscription of {0}")]
    Subscription(String),
    #[error("outbox: {0}")]
    Outbox(#[from] OutboxError),
    #[error(transparent)]
    Window(#[from] SendError),
    #[error("the MQTT client has ended")]
    Client,
}

impl<'a> Session<'a> {
    pub(super) fn new(client: &'a AsyncClient, address: Address<'a>, outbox: Outbox, ack_timeout: Duration) -> Self {
        let limits = UplinkLimits { ack_within: ack_timeout, ..UplinkLimits::default() };
        let window = UplinkWindow::new(outbox.id().clone(), limits);
        let began = Instant::now();
        Self { client, address, outbox, window, ready: VecDeque::new(), is_up: false, began, ack_timeout }
    }

    /// Whether what the cloud says arrives.
    pub(super) fn is_up(&self) -> bool {
        self.is_up
    }

    /// When to give up, unless something arrives before.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let deadline = if self.is_up { self.window.next_deadline() } else { Some(CONNECT_TIMEOUT + self.ack_timeout) };
        deadline.map(|deadline| self.began + deadline)
    }

    /// Hands the client as much as window and client take.
    pub(super) async fn pump(&mut self, unsaid: &mut VecDeque<Say>) -> Result<(), Ended> {
        if !self.is_up {
            return Ok(());
        }
        while let Some(say) = unsaid.front() {
            let (kind, json) = said(say);
            if !self.publish(kind, json)? {
                return Ok(());
            }
            unsaid.pop_front();
        }
        while let Some(entry) = self.next_entry().await? {
            if !self.publish(entry.kind, entry.json.to_vec())? {
                self.ready.push_front(entry);
                return Ok(());
            }
            self.window.on_send(entry.seq, entry.json.len(), self.began.elapsed())?;
        }
        Ok(())
    }

    /// Takes in what the client reports.
    pub(super) async fn on_event(&mut self, event: Event, told: &mpsc::Sender<Told>, line: &Line) -> Result<(), Ended> {
        match event {
            Event::Incoming(Packet::ConnAck(_)) => {
                let filter = down_filter(self.address);
                self.client.try_subscribe(filter, QoS::AtLeastOnce).map_err(|_| Ended::Client)
            }
            Event::Incoming(Packet::SubAck(answer)) => self.on_subscribed(&answer, told, line),
            Event::Incoming(Packet::Publish(message)) => self.on_message(message, told, line).await,
            _ => Ok(()),
        }
    }

    fn on_subscribed(&mut self, answer: &SubAck, told: &mpsc::Sender<Told>, line: &Line) -> Result<(), Ended> {
        if answer.return_codes.iter().any(|code| matches!(code, SubscribeReasonCode::Failure)) {
            return Err(Ended::Subscription(down_filter(self.address)));
        }
        tracing::info!(edge.id = self.address.edge.as_str(), "MQTT is connected");
        self.is_up = true;
        self.window.on_connect(self.began.elapsed());
        if self.outbox.acknowledged() >= *self.outbox.kept().borrow() {
            line.mqtt_works();
        } else {
            // Whether acknowledgements arrive is still to be seen.
            line.show(LinkState::Connected, None);
        }
        tell(told, Told::Connected);
        Ok(())
    }

    async fn on_message(&mut self, message: Publish, told: &mpsc::Sender<Told>, line: &Line) -> Result<(), Ended> {
        match message.topic.parse::<Topic>().map(|topic| topic.leaf) {
            Ok(Leaf::Down(DownKind::Acks)) => self.on_ack(&message.payload, line).await,
            Ok(Leaf::Down(DownKind::Commands)) => {
                match serde_json::from_slice(&message.payload) {
                    Ok(command) => tell(told, Told::Command(command)),
                    Err(error) => tracing::warn!(%error, "a command of the cloud is not understood"),
                }
                Ok(())
            }
            Ok(Leaf::Down(DownKind::Desired)) => {
                tell(told, Told::Desired(message.payload));
                Ok(())
            }
            Ok(Leaf::Up(_)) | Err(_) => {
                tracing::warn!(topic = message.topic, "a message on a topic that was not subscribed");
                Ok(())
            }
        }
    }

    async fn on_ack(&mut self, payload: &Bytes, line: &Line) -> Result<(), Ended> {
        let ack: Ack = match serde_json::from_slice(payload) {
            Ok(ack) => ack,
            Err(error) => {
                tracing::warn!(%error, "an acknowledgement of the cloud is not understood");
                return Ok(());
            }
        };
        if let Some(through) = self.window.on_ack(&ack, self.began.elapsed()) {
            self.outbox.acknowledge(through).await?;
            line.mqtt_works();
        } else {
            tracing::debug!(outbox.id = ack.outbox.as_str(), ack.through, "an acknowledgement says nothing new");
        }
        Ok(())
    }

    /// The next entry to send, if the window has room and the outbox has one.
    async fn next_entry(&mut self) -> Result<Option<Entry>, Ended> {
        let Some(read) = self.window.next_read() else { return Ok(None) };
        // What earlier connections or HTTPS settled may still lie in a file that is not finished.
        let after = read.after.max(self.outbox.acknowledged());
        if self.ready.is_empty() && *self.outbox.kept().borrow() > after {
            self.ready = self.outbox.read_after(after, read.entries, read.bytes).await?.into();
        }
        Ok(self.ready.pop_front())
    }

    /// Queues a message; false when the client has no room.
    fn publish(&self, kind: UpKind, json: Vec<u8>) -> Result<bool, Ended> {
        let topic = Topic::up(self.address.tenant.clone(), self.address.edge.clone(), kind).to_string();
        match self.client.try_publish(topic, QoS::AtLeastOnce, false, json) {
            Ok(()) => Ok(true),
            // Full, or at its end, which the other future of this connection reports with its cause.
            Err(ClientError::TryRequest(_) | ClientError::Request(_)) => Ok(false),
        }
    }
}

fn said(say: &Say) -> (UpKind, Vec<u8>) {
    let (kind, json) = match say {
        Say::Status(status) => (UpKind::Status, serde_json::to_vec(status)),
        Say::Result(result) => (UpKind::Results, serde_json::to_vec(result)),
        Say::Reported(reported) => (UpKind::Reported, serde_json::to_vec(reported)),
    };
    (kind, json.expect("contract types always serialise"))
}

fn tell(told: &mpsc::Sender<Told>, message: Told) {
    if told.try_send(message).is_err() {
        tracing::error!("a message of the cloud was dropped because earlier ones are still being carried out");
    }
}
