//! What a session has subscribed to, and the messages that go to it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aivms_cloud_core::access::{Access, Filter, MAX_FILTERS};
use aivms_contract::desired::Desired;
use aivms_contract::identity::{Identity, Role};
use aivms_contract::limits::MAX_PACKET_BYTES;
use aivms_contract::topic::{DownKind, Topic};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Packet, Publish, SubAck, Subscribe, SubscribeReasonCode};
use rumqttd::Notification;

use super::super::codec::write_packet;
use super::super::router::{Link, RouterDead, tenant_filter};
use super::Ended;

/// QoS 1 messages a client may leave unacknowledged; then nothing more is sent to it.
const WINDOW: usize = 100;
/// Messages taken from the router in one go.
const BURST: usize = 100;

/// The way out of one session.
pub(super) struct Outbound {
    /// An operator's way to live messages; an edge hears nothing of them.
    link: Option<Link>,
    /// What to ask the router for with the first subscription; the subscriptions themselves are sorted out here.
    router_filter: Option<String>,
    filters: Vec<Subscribed>,
    unacknowledged: HashSet<u16>,
    last_packet_id: u16,
    watchers: Arc<AtomicUsize>,
    watching: Option<Watching>,
    own: Option<OwnTopics>,
}

/// What an edge is told.
struct OwnTopics {
    acks: Topic,
    commands: Topic,
    desired: Topic,
}

struct Subscribed {
    text: String,
    filter: Filter,
    qos: QoS,
}

/// Counts an operator among those who watch its tenant's live messages.
struct Watching(Arc<AtomicUsize>);

impl Watching {
    fn new(watchers: &Arc<AtomicUsize>) -> Self {
        watchers.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(watchers))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl From<RouterDead> for Ended {
    fn from(_: RouterDead) -> Self {
        Self::Shutdown
    }
}

impl Outbound {
    pub(super) fn new(identity: &Identity, link: Option<Link>, watchers: Arc<AtomicUsize>) -> Self {
        let tenant = &identity.tenant;
        let (router_filter, own) = match &identity.role {
            // What an edge is told comes from its session itself and not through the router.
            Role::Edge(edge) => {
                let topic = |kind| Topic::down(tenant.clone(), edge.clone(), kind);
                let [acks, commands, desired] = [DownKind::Acks, DownKind::Commands, DownKind::Desired].map(topic);
                (None, Some(OwnTopics { acks, commands, desired }))
            }
            Role::Operator(_) => (Some(tenant_filter(tenant)), None),
        };
        Self {
            link,
            router_filter,
            filters: Vec::new(),
            unacknowledged: HashSet::new(),
            last_packet_id: 0,
            watchers,
            watching: None,
            own,
        }
    }

    /// Whether another QoS 1 message may be sent.
    pub(super) fn has_room(&self) -> bool {
        self.unacknowledged.len() < WINDOW
    }

    /// Whether this is an edge that wants to hear how far its outbox is stored.
    pub(super) fn wants_acks(&self) -> bool {
        self.own.as_ref().is_some_and(|own| self.wanted_qos(&own.acks).is_some())
    }

    /// Whether this is an edge that wants to hear what it shall do or be.
    pub(super) fn wants_orders(&self) -> bool {
        let wants = |topic| self.wanted_qos(topic).is_some();
        self.own.as_ref().is_some_and(|own| wants(&own.commands) || wants(&own.desired))
    }

    /// Sends an edge a command, when it wants to hear of them.
    pub(super) fn send_command(&mut self, command: Bytes, out: &mut BytesMut) -> Result<(), Ended> {
        let Some(own) = &self.own else { return Ok(()) };
        let Some(qos) = self.wanted_qos(&own.commands) else { return Ok(()) };
        let topic = own.commands.to_string();
        self.send(Publish::from_bytes(topic, qos, command), out)
    }

    /// Sends an edge its document; the topic when it wants it and it fits.
    pub(super) fn send_desired(&mut self, document: &Desired, out: &mut BytesMut) -> Result<Option<String>, Ended> {
        let Some(own) = &self.own else { return Ok(None) };
        let Some(qos) = self.wanted_qos(&own.desired) else { return Ok(None) };
        let topic = own.desired.to_string();
        let json = serde_json::to_vec(document).expect("contract types always serialise");
        self.send(Publish::from_bytes(&topic, qos, json.into()), out)?;
        Ok(Some(topic))
    }

    pub(super) fn on_puback(&mut self, packet_id: u16) {
        // One that was never sent harms nobody.
        self.unacknowledged.remove(&packet_id);
    }

    /// Takes the allowed ones of the wanted filters. What is published after the answer reaches the client.
    pub(super) async fn subscribe(&mut self, wanted: Subscribe, access: &Access) -> Result<SubAck, Ended> {
        if wanted.pkid == 0 {
            return Err(Ended::Malformed("SUBSCRIBE without a packet id".to_owned()));
        }
        let mut codes = Vec::with_capacity(wanted.filters.len());
        for one in wanted.filters {
            // QoS 2 is granted as QoS 1.
            let qos = if one.qos == QoS::AtMostOnce { QoS::AtMostOnce } else { QoS::AtLeastOnce };
            let taken = match access.subscribe(&one.path) {
                Some(filter) => self.add(Subscribed { text: one.path, filter, qos }),
                None => {
                    let shown: String = one.path.chars().take(200).collect();
                    tracing::warn!(filter = ?shown, "MQTT: a subscription is not allowed");
                    false
                }
            };
            codes.push(if taken { SubscribeReasonCode::Success(qos) } else { SubscribeReasonCode::Failure });
        }
        if !self.filters.is_empty() {
            if let (Some(link), Some(filter)) = (&self.link, self.router_filter.take()) {
                link.subscribe(filter).await?;
            }
            if self.own.is_none() {
                self.watching.get_or_insert_with(|| Watching::new(&self.watchers));
            }
        }
        Ok(SubAck::new(wanted.pkid, codes))
    }

    pub(super) fn unsubscribe(&mut self, filters: &[String]) {
        self.filters.retain(|subscribed| !filters.contains(&subscribed.text));
        if self.filters.is_empty() {
            self.watching = None;
        }
    }

    /// Waits for the router; an edge does so for ever. Cancelling loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Notification>, Ended> {
        match &mut self.link {
            Some(link) => Ok(link.next().await?),
            None => std::future::pending().await,
        }
    }

    /// Takes `first` and what else is there. Must not be cancelled: the router would wait for an answer for ever.
    pub(super) async fn on_notifications(
        &mut self,
        first: Option<Notification>,
        out: &mut BytesMut,
    ) -> Result<(), Ended> {
        let (mut next, mut taken) = (Some(first), 0);
        while let Some(notification) = next {
            match notification {
                Some(Notification::Forward(forward)) => self.forward(forward.publish, out)?,
                Some(Notification::Unschedule) => self.wake().await?,
                _ => {}
            }
            taken += 1;
            if taken == BURST || !self.has_room() {
                break;
            }
            next = self.next().now_or_never().transpose()?;
        }
        Ok(())
    }

    async fn wake(&self) -> Result<(), RouterDead> {
        match &self.link {
            Some(link) => link.wake().await,
            None => Ok(()),
        }
    }

    fn add(&mut self, wanted: Subscribed) -> bool {
        if let Some(known) = self.filters.iter_mut().find(|known| known.text == wanted.text) {
            known.qos = wanted.qos;
            return true;
        }
        let has_room = self.filters.len() < MAX_FILTERS;
        if has_room {
            self.filters.push(wanted);
        }
        has_room
    }

    /// The best QoS of the subscriptions that want `topic`: each message is sent once, whatever overlaps.
    fn wanted_qos(&self, topic: &Topic) -> Option<QoS> {
        let wanted = self.filters.iter().filter(|subscribed| subscribed.filter.matches(topic));
        wanted.map(|subscribed| subscribed.qos).max_by_key(|qos| *qos as u8)
    }

    fn forward(&mut self, message: rumqttd::protocol::Publish, out: &mut BytesMut) -> Result<(), Ended> {
        let Ok(text) = std::str::from_utf8(&message.topic) else { return Ok(()) };
        let Some(qos) = text.parse().ok().and_then(|topic| self.wanted_qos(&topic)) else { return Ok(()) };
        self.send(Publish::from_bytes(text, qos, message.payload), out)
    }

    fn send(&mut self, mut publish: Publish, out: &mut BytesMut) -> Result<(), Ended> {
        if publish.size() > MAX_PACKET_BYTES {
            tracing::error!(
                topic = publish.topic,
                bytes = publish.size(),
                "a message is too long for a packet and is not sent"
            );
            return Ok(());
        }
        if publish.qos == QoS::AtLeastOnce {
            publish.pkid = self.next_packet_id();
            self.unacknowledged.insert(publish.pkid);
        }
        Ok(write_packet(&Packet::Publish(publish), out, MAX_PACKET_BYTES)?)
    }

    fn next_packet_id(&mut self) -> u16 {
        loop {
            self.last_packet_id = self.last_packet_id.checked_add(1).unwrap_or(1);
            if !self.unacknowledged.contains(&self.last_packet_id) {
                return self.last_packet_id;
            }
        }
    }
}
