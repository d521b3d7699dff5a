//! One connection after CONNECT: reads packets, answers them, passes messages on, and ends.
//!
//! One task does all of it, and waits in one place. Whatever it can't take now, it does not read: TCP and the
//! client's own window carry the pressure back.

mod inbound;
mod outbound;
mod said;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use aivms_cloud_core::access::Access;
use aivms_contract::desired::Desired;
use aivms_contract::identity::{Identity, Role};
use aivms_contract::limits::MAX_PACKET_BYTES;
use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{Packet, UnsubAck};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::Instant;

use super::codec::{CodecError, read_packet, write_packet};
use super::listeners::{Listening, Order};
use super::router::Link;
use super::sessions::{EndReason, Seat};
use super::{Shared, now};
use crate::store::{EdgeKey, Fingerprint, TenantKey};
use inbound::Inbound;
use outbound::Outbound;

/// Room made for one read, and all that an idle session keeps. A larger packet makes more.
const LEAST_ROOM: usize = 2 * 1024;
/// Room made for one read of a client that says much.
const MOST_ROOM: usize = 16 * 1024;
/// Bytes waiting for a slow client above which nothing more is taken from the router for it.
const OUT_BYTES: usize = 256 * 1024;
/// How long a client may take nothing of what waits for it.
const WRITE_TIME: Duration = Duration::from_secs(30);
/// How long looking whether the certificate still counts may keep a session from its work.
const RECHECK_TIME: Duration = Duration::from_secs(5);

/// Who is connected.
pub(super) struct Guest {
    pub(super) identity: Identity,
    pub(super) fingerprint: Fingerprint,
    pub(super) tenant: TenantKey,
    pub(super) edge: Option<EdgeKey>,
    pub(super) keep_alive: Duration,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("the client said good-bye")]
    Goodbye,
    #[error("closed by the client: {0}")]
    Closed(String),
    #[error("nothing heard for one and a half keep-alives")]
    Silent,
    #[error("the client does not take what is sent to it")]
    Deaf,
    #[error("{0}")]
    Packet(#[from] CodecError),
    #[error("not allowed: {0}")]
    Denied(String),
    #[error("{0}")]
    Malformed(String),
    #[error("a newer connection of the same identity took over")]
    TakenOver,
    #[error("the certificate no longer counts")]
    Revoked,
    #[error("the cloud is shutting down")]
    Shutdown,
}

impl Ended {
    /// Whether the client did what it must not do.
    pub(super) fn is_offence(&self) -> bool {
        matches!(self, Self::Packet(_) | Self::Denied(_) | Self::Malformed(_) | Self::Revoked)
    }
}

impl From<EndReason> for Ended {
    fn from(reason: EndReason) -> Self {
        match reason {
            EndReason::TakenOver => Self::TakenOver,
            EndReason::Revoked => Self::Revoked,
            EndReason::Shutdown => Self::Shutdown,
        }
    }
}

/// The span over which sessions spread that are told to look whether they still count.
const CHECK_SOON: Duration = Duration::from_secs(5);

/// Runs a session to its end. `buffer` holds what came after CONNECT already; `link` is an operator's way to live
/// messages.
pub(super) async fn run<S>(
    stream: &mut S,
    buffer: BytesMut,
    guest: Guest,
    link: Option<Link>,
    seat: Seat,
    shared: &Arc<Shared>,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (reader, writer) = tokio::io::split(stream);
    let began = Instant::now();
    let mut session = Session {
        inbound: Inbound::new(&guest, Arc::clone(&seat.watchers), shared),
        outbound: Outbound::new(&guest.identity, link, Arc::clone(&seat.watchers)),
        access: Access::new(guest.identity.clone()),
        listening: None,
        guest,
        again: seat.again(),
        seat,
        shared,
        buffer,
        room: LEAST_ROOM,
        out: BytesMut::new(),
        unflushed: false,
        stalled_since: None,
        heard_at: began,
        throttled_until: None,
        recheck_at: began + jittered(shared.recheck),
    };
    match session.serve(reader, writer).await {
        Ok(never) => match never {},
        Err(ended) => ended,
    }
}

struct Session<'a> {
    guest: Guest,
    access: Access,
    inbound: Inbound,
    outbound: Outbound,
    /// The place of an edge that wants to hear what it shall do and be.
    listening: Option<Listening>,
    seat: Seat,
    /// Changes when somebody wants the certificate looked up again.
    again: watch::Receiver<()>,
    shared: &'a Arc<Shared>,
    /// Received and not yet read as packets.
    buffer: BytesMut,
    /// Room made for the next read: more for who says much.
    room: usize,
    /// To be sent.
    out: BytesMut,
    /// Sent to TLS, which may still hold it.
    unflushed: bool,
    /// Since when the client has taken nothing of what waits for it.
    stalled_since: Option<Instant>,
    /// When something came last; while nothing is read, silence is not the client's.
    heard_at: Instant,
    /// Until when nothing is read, because the identity has used its budget up.
    throttled_until: Option<Instant>,
    recheck_at: Instant,
}

enum Never {}

impl Session<'_> {
    async fn serve<S>(&mut self, mut reader: ReadHalf<&mut S>, mut writer: WriteHalf<&mut S>) -> Result<Never, Ended>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.on_received(0).await?;
        let mut timer = pin!(tokio::time::sleep_until(self.next_deadline()));
        loop {
            let reading = self.prepare();
            if self.next_deadline() < timer.deadline() {
                timer.as_mut().reset(self.next_deadline());
            }
            tokio::select! {
                reason = self.seat.told_to_end() => return Err(reason.into()),
                Ok(()) = self.again.changed() => self.check_soon(),
                settled = self.inbound.next_settled(), if self.inbound.in_flight() > 0 => {
                    self.inbound.answer(settled?, self.outbound.wants_acks(), &mut self.out)?;
                }
                place = self.shared.ingest.place(), if self.inbound.is_staged() => {
                    self.inbound.submit(place.map_err(|_| Ended::Shutdown)?);
                }
                sent = send(&mut writer, &mut self.out), if self.has_to_send() => self.on_sent(&sent?),
                notification = self.outbound.next(), if self.out.len() < OUT_BYTES && self.outbound.has_room() => {
                    self.outbound.on_notifications(notification?, &mut self.out).await?;
                }
                order = Listening::next(&mut self.listening), if self.out.len() < OUT_BYTES && self.outbound.has_room() => match order {
                    Order::Command(command) => self.outbound.send_command(command, &mut self.out)?,
                    Order::Desired(document) => self.tell_desired(&document)?,
                },
                read = reader.read_buf(&mut self.buffer), if reading => match read {
                    Ok(0) => return Err(Ended::Closed("end of stream".to_owned())),
                    Ok(bytes) => self.on_received(bytes).await?,
                    Err(error) => return Err(Ended::Closed(error.to_string())),
                },
                () = &mut timer => {
                    self.on_timer().await?;
                    timer.as_mut().reset(self.next_deadline());
                }
            }
        }
    }

    /// Gets ready to wait; says whether to read.
    fn prepare(&mut self) -> bool {
        if self.has_to_send() {
            self.stalled_since.get_or_insert_with(Instant::now);
        }
        if self.buffer.capacity() - self.buffer.len() < self.room / 2 {
            self.buffer.reserve(self.room);
        }
        let reading = self.throttled_until.is_none() && self.inbound.has_room() && self.out.len() < OUT_BYTES;
        if !reading {
            self.heard_at = Instant::now();
        }
        reading
    }

    fn has_to_send(&self) -> bool {
        self.unflushed || !self.out.is_empty()
    }

    fn on_sent(&mut self, sent: &Sent) {
        self.unflushed = matches!(sent, Sent::Written);
        self.stalled_since = None;
    }

    /// Acts on every whole packet in the buffer, `bytes` of which are new.
    async fn on_received(&mut self, bytes: usize) -> Result<(), Ended> {
        let now = Instant::now();
        self.heard_at = now;
        let mut counted = 0;
        while let Some(packet) = read_packet(&mut self.buffer, MAX_PACKET_BYTES)? {
            counted += u32::from(!matches!(packet, Packet::PubAck(_)));
            self.on_packet(packet).await?;
        }
        if self.inbound.is_staged()
            && let Some(place) = self.shared.ingest.try_place()
        {
            self.inbound.submit(place);
        }
        self.fit_room(bytes);
        let wait = self.seat.budget.spend(counted, bytes, now);
        self.throttled_until = (!wait.is_zero()).then(|| now + wait);
        Ok(())
    }

    /// Makes more room after a read that filled it, and gives it back when the client has said its say.
    fn fit_room(&mut self, bytes: usize) {
        if bytes >= self.room / 2 {
            self.room = (self.room * 4).min(MOST_ROOM);
        } else if bytes < LEAST_ROOM / 2 && self.buffer.is_empty() {
            self.room = LEAST_ROOM;
            if self.buffer.capacity() > 2 * LEAST_ROOM {
                self.buffer = BytesMut::with_capacity(self.room);
            }
        }
    }

    async fn on_packet(&mut self, packet: Packet) -> Result<(), Ended> {
        match packet {
            Packet::Publish(publish) => {
                let kind = inbound::check(&publish, &self.access)?;
                self.inbound.on_publish(publish, kind, &mut self.out)?;
            }
            Packet::PubAck(ack) => self.outbound.on_puback(ack.pkid),
            Packet::Subscribe(subscribe) => {
                let answer = self.outbound.subscribe(subscribe, &self.access).await?;
                self.write(&Packet::SubAck(answer))?;
                self.inbound.repeat_ack(self.outbound.wants_acks(), &mut self.out)?;
                self.listen();
            }
            Packet::Unsubscribe(unsubscribe) => {
                if unsubscribe.topics.is_empty() || unsubscribe.pkid == 0 {
                    return Err(Ended::Malformed("UNSUBSCRIBE without a topic or packet id".to_owned()));
                }
                self.outbound.unsubscribe(&unsubscribe.topics);
                self.write(&Packet::UnsubAck(UnsubAck::new(unsubscribe.pkid)))?;
            }
            Packet::PingReq => self.write(&Packet::PingResp)?,
            Packet::Disconnect => return Err(Ended::Goodbye),
            Packet::PubRec(_) | Packet::PubRel(_) | Packet::PubComp(_) => {
                return Err(Ended::Denied("QoS 2 is not spoken here".to_owned()));
            }
            Packet::Connect(_) | Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                return Err(Ended::Malformed("a packet that only a server sends, or a second CONNECT".to_owned()));
            }
        }
        Ok(())
    }

    /// Has an edge told what it shall do and be, once it has subscribed to that.
    fn listen(&mut self) {
        if let (Some(key), Role::Edge(edge), None) = (self.guest.edge, &self.guest.identity.role, &self.listening)
            && self.outbound.wants_orders()
        {
            self.listening = Some(self.shared.listeners.enter(key, &self.guest.identity.tenant, edge));
        }
    }

    /// Sends the edge its document, and a copy without what opens cameras to those who watch.
    fn tell_desired(&mut self, document: &Desired) -> Result<(), Ended> {
        let Some(topic) = self.outbound.send_desired(document, &mut self.out)? else { return Ok(()) };
        if self.inbound.is_watched() {
            let shown = Desired { cameras: aivms_cloud_core::desired::hide(&document.cameras), ..document.clone() };
            let json = serde_json::to_vec(&shown).expect("contract types always serialise");
            self.shared.router.publish_live(topic, json.into());
        }
        Ok(())
    }

    fn write(&mut self, packet: &Packet) -> Result<(), Ended> {
        Ok(write_packet(packet, &mut self.out, MAX_PACKET_BYTES)?)
    }

    fn next_deadline(&self) -> Instant {
        let deaf = self.stalled_since.map(|since| since + WRITE_TIME);
        let deadlines = [Some(self.silent_at()), Some(self.recheck_at), deaf, self.throttled_until];
        deadlines.into_iter().flatten().min().unwrap_or(self.recheck_at)
    }

    /// MQTT 3.1.1 §3.1.2.10: one and a half times the keep-alive.
    fn silent_at(&self) -> Instant {
        self.heard_at + self.guest.keep_alive.mul_f32(1.5)
    }

    async fn on_timer(&mut self) -> Result<(), Ended> {
        let now = Instant::now();
        if self.stalled_since.is_some_and(|since| since + WRITE_TIME <= now) {
            return Err(Ended::Deaf);
        }
        if self.silent_at() <= now {
            return Err(Ended::Silent);
        }
        if self.throttled_until.is_some_and(|until| until <= now) {
            self.throttled_until = None;
        }
        if self.recheck_at <= now {
            self.recheck_at = now + jittered(self.shared.recheck);
            // Boxed: what looking it up needs is not kept in between.
            return Box::pin(self.recheck()).await;
        }
        Ok(())
    }

    /// Has the certificate looked up within moments; not at once, as every session does so now.
    fn check_soon(&mut self) {
        self.recheck_at = self.recheck_at.min(Instant::now() + CHECK_SOON.mul_f64(fastrand::f64()));
    }

    /// Ends the session when its certificate has been withdrawn or has ended, or when the edge has made a newer
    /// connection elsewhere and the news of it was lost. A database that can't answer now ends
    /// nothing.
    async fn recheck(&self) -> Result<(), Ended> {
        let asked = self.shared.store.active_certificate(&self.guest.fingerprint, now());
        match tokio::time::timeout(RECHECK_TIME, asked).await {
            Ok(Ok(None)) => Err(Ended::Revoked),
            Ok(Ok(Some(row))) if self.guest.edge.is_some() && row.newest_connection > self.seat.generation => {
                Err(Ended::TakenOver)
            }
            Ok(Ok(Some(_))) => Ok(()),
            Ok(Err(error)) => {
                tracing::warn!(identity = %self.guest.identity, %error, "a certificate could not be checked again");
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }
}

enum Sent {
    /// Handed to TLS.
    Written,
    /// On its way.
    Flushed,
}

/// Sends some of `out`, or what TLS still holds when that is empty. Cancelling loses nothing.
async fn send<W: AsyncWrite + Unpin>(writer: &mut W, out: &mut BytesMut) -> Result<Sent, Ended> {
    let closed = |error: std::io::Error| Ended::Closed(error.to_string());
    if out.is_empty() {
        writer.flush().await.map_err(closed)?;
        return Ok(Sent::Flushed);
    }
    match writer.write_buf(out).await.map_err(closed)? {
        0 => Err(Ended::Closed("nothing can be sent".to_owned())),
        _ => Ok(Sent::Written),
    }
}

/// Up to a fifth more or less, so that sessions begun together do not all ask the database together.
fn jittered(span: Duration) -> Duration {
    span.mul_f64(0.8 + 0.4 * fastrand::f64())
}
