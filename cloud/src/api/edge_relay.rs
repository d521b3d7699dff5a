//! `GET /api/edge/relay`: the WebSocket an edge opens when somebody wants to look.

use std::sync::Arc;
use std::time::Duration;

use aivms_contract::relay::{FromEdge, MAX_FRAME_BYTES};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use poem::web::Data;
use poem::web::headers::authorization::Bearer;
use poem::web::headers::{Authorization, HeaderMapExt};
use poem::web::websocket::{CloseCode, Message, WebSocket, WebSocketConfig};
use poem::{IntoResponse, Request, Response, handler};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::Services;
use super::edge_token::caller;
use super::failure::Failure;
use super::passing::{Socket, Whose, pass_on};
use crate::clock;
use crate::relay::{Place, Reached, Seat};
use crate::servers::Errand;
use crate::store::Fingerprint;

/// Interval of pings either way. It also keeps the connection from counting as idle or unanswered, see `crate::http`.
pub(super) const PING: Duration = Duration::from_secs(10);
/// Silence after which the other side counts as gone; it answers every ping.
pub(super) const SILENCE: Duration = Duration::from_secs(30);
/// Longest time one frame may take to be sent.
pub(super) const SEND_LIMIT: Duration = Duration::from_secs(10);
/// How often the certificate is looked at again, besides being told.
const RECHECK: Duration = Duration::from_secs(45);

/// When to try again after the process that has the relay did not take the WebSocket.
pub(super) const RETRY: Duration = Duration::from_secs(5);

/// The WebSocket of an edge, whichever process it came to.
pub(super) struct EdgeSocket {
    pub(super) place: Place,
    /// The certificate that was shown.
    pub(super) fingerprint: Fingerprint,
}

/// Why a WebSocket is closed from here.
type Reason = (CloseCode, String);

#[handler]
pub(super) async fn relay(
    request: &Request,
    socket: WebSocket,
    services: Data<&Arc<Services>>,
) -> poem::Result<Response> {
    let bearer = request.headers().typed_get::<Authorization<Bearer>>();
    let bearer = bearer.ok_or_else(|| Failure::unauthorized("the edge's token is needed", "Bearer"))?;
    let edge = caller(&services, bearer.token(), clock::now()).await?;
    let place = Place { tenant: edge.certificate.identity.tenant.clone(), edge: edge.edge_id, key: edge.edge };
    let errand = Errand::Edge { place: place.clone(), fingerprint: edge.fingerprint };
    let edge = EdgeSocket { place, fingerprint: edge.fingerprint };
    let services = Arc::clone(&services);
    let socket = socket.config(limits(MAX_FRAME_BYTES));
    Ok(match services.relay.reach(&errand).await.map_err(Failure::from)? {
        Reached::Here => socket.on_upgrade(move |socket| serve(socket, services, edge)).into_response(),
        Reached::There(link) => {
            let passing = async move |socket| pass_on(socket, *link, Whose::Edges, &services).await;
            socket.on_upgrade(passing).into_response()
        }
        Reached::Refused(reason) => return Err(Failure::unavailable(reason, RETRY).into()),
    })
}

/// Limits of a WebSocket whose other side sends frames of at most `bytes`.
pub(super) fn limits(bytes: usize) -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(bytes)).max_frame_size(Some(bytes))
}

/// Seats the edge until it goes or is sent away.
pub(super) async fn serve(socket: impl Socket, services: Arc<Services>, edge: EdgeSocket) {
    let place = &edge.place;
    let seat = services.relay.hub(place).connect(edge.fingerprint);
    tracing::debug!(edge.id = %place.edge, "the relay of an edge is connected");
    let (mut sink, stream) = socket.split();
    // Withdrawn between the look at the token and the seat: nobody would have told us.
    let reason = match still_counts(&services, &edge).await {
        true => talk(&mut sink, stream, &seat, &services, &edge).await,
        false => Some(withdrawn()),
    };
    drop(seat);
    tracing::debug!(edge.id = %place.edge, ?reason, "the relay of an edge has ended");
    if let Some((code, reason)) = reason {
        let _ = timeout(SEND_LIMIT, sink.send(Message::close_with(code, reason))).await;
    }
}

async fn talk<S: Socket>(
    sink: &mut SplitSink<S, Message>,
    mut stream: SplitStream<S>,
    seat: &Seat,
    services: &Services,
    edge: &EdgeSocket,
) -> Option<Reason> {
    let mut ping = interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut silent_at, mut recheck_at) = (Instant::now() + SILENCE, Instant::now() + RECHECK);
    loop {
        tokio::select! {
            () = services.stop.cancelled() => return Some((CloseCode::Restart, "the cloud stops".to_owned())),
            () = seat.end.cancelled() => return Some(withdrawn()),
            () = sleep_until(silent_at) => return Some((CloseCode::Away, "nothing was heard".to_owned())),
            () = sleep_until(recheck_at) => {
                if !still_counts(services, edge).await {
                    return Some(withdrawn());
                }
                recheck_at = Instant::now() + RECHECK;
            }
            _ = ping.tick() => send(sink, Message::ping(Vec::new())).await?,
            message = seat.next() => {
                let text = serde_json::to_string(&message).expect("contract types always serialise");
                send(sink, Message::text(text)).await?;
            }
            heard = stream.next() => {
                silent_at = Instant::now() + SILENCE;
                if let Err(problem) = take(heard?.ok()?, seat)? {
                    return Some((CloseCode::Protocol, problem));
                }
            }
        }
    }
}

/// Sends within the time limit; `None` when the connection is of no use any more.
pub(super) async fn send<S: Socket>(sink: &mut SplitSink<S, Message>, message: Message) -> Option<()> {
    timeout(SEND_LIMIT, sink.send(message)).await.ok()?.ok()
}

/// Takes what the edge sent; `None` when it closes, an error when it is not understood.
fn take(message: Message, seat: &Seat) -> Option<Result<(), String>> {
    Some(match message {
        Message::Text(text) => FromEdge::read(&text).map(|message| seat.text(&message)).map_err(|e| e.to_string()),
        Message::Binary(frame) => seat.frame(frame).map_err(|error| error.to_string()),
        Message::Ping(_) | Message::Pong(_) => Ok(()),
        Message::Close(_) => return None,
    })
}

async fn still_counts(services: &Services, edge: &EdgeSocket) -> bool {
    // A database that does not answer is no reason to cut anybody.
    services.store.active_certificate(&edge.fingerprint, clock::now()).await.map_or(true, |found| found.is_some())
}

fn withdrawn() -> Reason {
    (CloseCode::Policy, "replaced by a newer connection, or the certificate no longer counts".to_owned())
}
