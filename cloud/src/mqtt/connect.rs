//! CONNECT: the last checks before a session, and its end written down.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aivms_contract::identity::Role;
use aivms_contract::limits::MAX_KEEP_ALIVE_S;
use bytes::BytesMut;
use rumqttc::mqttbytes::Protocol;
use rumqttc::mqttbytes::v4::{ConnAck, Connect, ConnectReturnCode, Packet};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::codec::{read_packet, write_packet};
use super::identity::Claim;
use super::listener::Ticket;
use super::session::{self, Ended, Guest};
use super::sessions::{Connection, Seat};
use super::{Shared, now};
use crate::store::{ActiveCertificate, EdgeKey, Presence};

/// How long a client may take between the TLS handshake and its whole CONNECT packet.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Longest CONNECT packet: without a will there is only a client id and a login nobody looks at.
const MAX_CONNECT_BYTES: usize = 4 * 1024;
/// Longest client id kept.
const MAX_CLIENT_ID_BYTES: usize = 256;
/// How long saying good-bye may take.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// Why a client is sent away at CONNECT.
#[derive(Debug)]
struct Refusal {
    code: ConnectReturnCode,
    reason: String,
}

/// Takes a connection from the end of its TLS handshake to its end.
pub(super) async fn connect<S>(mut stream: S, peer: SocketAddr, claim: Claim, shared: &Arc<Shared>, ticket: Ticket)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = BytesMut::new();
    // What happens once is boxed, see `listener.rs`.
    let asked = Box::pin(tokio::time::timeout(CONNECT_TIME, read_connect(&mut stream, &mut buffer)));
    let asked = match asked.await {
        Ok(Ok(connect)) => connect,
        Ok(Err(reason)) => return tracing::warn!(%peer, identity = %claim.identity, %reason, "MQTT: no CONNECT"),
        Err(_) => return tracing::warn!(%peer, identity = %claim.identity, "MQTT: no CONNECT in time"),
    };
    match Box::pin(enter(&asked, &claim, shared)).await {
        Ok((seat, row)) => {
            begin(stream, peer, buffer, &asked, seat, claim, &row, shared, ticket).await;
        }
        Err(Refusal { code, reason }) => {
            tracing::warn!(%peer, identity = %claim.identity, %reason, "MQTT: connection refused");
            let goodbye = async { (answer(&mut stream, code).await, stream.shutdown().await) };
            let _ = tokio::time::timeout(CLOSE_TIME, Box::pin(goodbye)).await;
        }
    }
}

/// Reads up to the end of the first packet, which must be CONNECT.
async fn read_connect<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut BytesMut) -> Result<Connect, String> {
    loop {
        match read_packet(buffer, MAX_CONNECT_BYTES).map_err(|error| error.to_string())? {
            Some(Packet::Connect(connect)) => return Ok(connect),
            Some(_) => return Err("the first packet is not CONNECT".to_owned()),
            None => {}
        }
        match stream.read_buf(buffer).await {
            Ok(0) => return Err("closed by the client".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Checks what was asked for and who asks, and enters the session.
async fn enter(asked: &Connect, claim: &Claim, shared: &Shared) -> Result<(Seat, ActiveCertificate), Refusal> {
    check(asked, &claim.identity.role)?;
    let edge = active(claim, shared).await?.edge;
    // A client that lets the server choose gets an id nobody else has.
    let client_id = match asked.client_id.as_str() {
        "" => format!("{:032x}", fastrand::u128(..)),
        id => id.to_owned(),
    };
    let unavailable = |reason: String| Refusal { code: ConnectReturnCode::ServiceUnavailable, reason };
    let generation = shared.store.next_connection().await.map_err(|error| unavailable(error.to_string()))?;
    let connection = Connection { edge, generation };
    let entered = shared.sessions.enter(&claim.identity, &client_id, claim.fingerprint, connection);
    let seat = entered.map_err(|reason| unavailable(reason.to_string()))?;
    // Whoever withdrew the certificate before the session was in the list could not end it; whoever does it now can.
    let row = active(claim, shared).await?;
    Ok((seat, row))
}

fn check(asked: &Connect, role: &Role) -> Result<(), Refusal> {
    let refuse = |code, reason: &str| Err(Refusal { code, reason: reason.to_owned() });
    if asked.protocol != Protocol::V4 {
        return refuse(ConnectReturnCode::RefusedProtocolVersion, "only MQTT 3.1.1 is spoken here");
    }
    if asked.last_will.is_some() {
        return refuse(ConnectReturnCode::NotAuthorized, "wills are not allowed");
    }
    if !(1..=MAX_KEEP_ALIVE_S).contains(&asked.keep_alive) {
        return refuse(ConnectReturnCode::NotAuthorized, "the keep-alive must be 1 to 300 seconds");
    }
    let named = matches!(role, Role::Edge(_)) || !asked.client_id.is_empty() || asked.clean_session;
    if !named || asked.client_id.len() > MAX_CLIENT_ID_BYTES {
        return refuse(ConnectReturnCode::BadClientId, "the client id is missing or too long");
    }
    Ok(())
}

async fn active(claim: &Claim, shared: &Shared) -> Result<ActiveCertificate, Refusal> {
    match shared.store.active_certificate(&claim.fingerprint, now()).await {
        Ok(Some(row)) if row.identity == claim.identity => Ok(row),
        Ok(_) => Err(Refusal {
            code: ConnectReturnCode::NotAuthorized,
            reason: "the certificate is not an active one".to_owned(),
        }),
        Err(error) => Err(Refusal { code: ConnectReturnCode::ServiceUnavailable, reason: error.to_string() }),
    }
}

/// Answers CONNECT and runs the session to its end.
#[expect(clippy::too_many_arguments, reason = "everything that was found out about one connection, once")]
async fn begin<S>(
    mut stream: S,
    peer: SocketAddr,
    buffer: BytesMut,
    asked: &Connect,
    mut seat: Seat,
    claim: Claim,
    row: &ActiveCertificate,
    shared: &Arc<Shared>,
    ticket: Ticket,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Claim { identity, fingerprint } = claim;
    let prepared = async {
        seat.wait_for_previous().await;
        if seat.is_told_to_end() {
            return None;
        }
        let link = match seat.router_id() {
            Some(id) => Some(shared.router.attach(id).await.ok()?),
            None => None,
        };
        answer(&mut stream, ConnectReturnCode::Success).await.ok()?;
        Some(link)
    };
    let Ok(Some(link)) = tokio::time::timeout(CONNECT_TIME, Box::pin(prepared)).await else {
        return tracing::warn!(%peer, %identity, "MQTT: the session could not begin");
    };
    drop(ticket);
    tracing::info!(%peer, %identity, generation = seat.generation, "MQTT: connected");
    let online = row.edge.map(|edge| Online::new(edge, seat.generation, shared));
    let keep_alive = Duration::from_secs(asked.keep_alive.into());
    let guest = Guest { identity: identity.clone(), fingerprint, tenant: row.tenant, edge: row.edge, keep_alive };
    // The link and the seat end with the session; a newer connection waits for that, not for the good-bye.
    let ended = session::run(&mut stream, buffer, guest, link, seat, shared).await;
    drop(online);
    if let (Ended::TakenOver, Some(edge)) = (&ended, row.edge) {
        Box::pin(note_take_over(edge, &identity, shared)).await;
    }
    log_end(peer, &identity, &ended);
    let _ = tokio::time::timeout(CLOSE_TIME, stream.shutdown()).await;
}

/// Has a take-over counted, by this process or another; too many mean two boxes with one identity.
async fn note_take_over(edge: EdgeKey, identity: &aivms_contract::identity::Identity, shared: &Shared) {
    match shared.store.count_take_over(edge, now()).await {
        Ok(false) => {}
        Ok(true) => tracing::warn!(%identity, "this edge keeps replacing its own connection"),
        Err(error) => tracing::warn!(%identity, %error, "a take-over could not be counted"),
    }
}

fn log_end(peer: SocketAddr, identity: &aivms_contract::identity::Identity, ended: &Ended) {
    if ended.is_offence() {
        tracing::warn!(%peer, %identity, reason = %ended, "MQTT: connection closed");
    } else {
        tracing::info!(%peer, %identity, reason = %ended, "MQTT: disconnected");
    }
}

async fn answer<S: AsyncWrite + Unpin>(stream: &mut S, code: ConnectReturnCode) -> std::io::Result<()> {
    let mut buffer = BytesMut::new();
    // Sessions are never kept, so there is never one to come back to.
    let packet = Packet::ConnAck(ConnAck::new(code, false));
    write_packet(&packet, &mut buffer, MAX_CONNECT_BYTES).map_err(std::io::Error::other)?;
    stream.write_all(&buffer).await?;
    stream.flush().await
}

/// Notes that an edge is here, and when dropped, also by a panic, that it is not.
struct Online<'a> {
    edge: EdgeKey,
    generation: u64,
    shared: &'a Shared,
}

impl<'a> Online<'a> {
    fn new(edge: EdgeKey, generation: u64, shared: &'a Shared) -> Self {
        let online = Self { edge, generation, shared };
        online.note(true);
        online
    }

    fn note(&self, up: bool) {
        self.shared.presence.note(Presence { edge: self.edge, generation: self.generation, up, at: now() });
    }
}

impl Drop for Online<'_> {
    fn drop(&mut self) {
        self.note(false);
    }
}
