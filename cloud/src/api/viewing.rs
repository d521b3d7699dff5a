//! `GET /api/live/stream?ticket=…`: the WebSocket of one viewer.

use std::sync::Arc;
use std::time::Duration;

use aivms_cloud_core::relay::ForViewer;
use aivms_contract::relay::{EndReason, FromEdge};
use aivms_contract::time::UtcMillis;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use poem::http::header::{HOST, ORIGIN};
use poem::web::Data;
use poem::web::websocket::{CloseCode, Message, WebSocket};
use poem::{IntoResponse, Request, Response, handler};
use serde::Deserialize;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::Services;
use super::edge_relay::{PING, RETRY, SEND_LIMIT, SILENCE, limits, send};
use super::failure::Failure;
use super::passing::{Socket, Whose, pass_on};
use super::user_changes::changed;
use crate::clock;
use crate::relay::{Reached, Ticket, Viewing};
use crate::servers::Errand;

/// Largest message of a viewer in bytes.
const MAX_MESSAGE_BYTES: usize = 4 * 1024;
/// Most messages of a viewer between two pings: a person who drags a slider sends fewer.
const MAX_MESSAGES: u32 = 400;
/// How often it is looked at whether the person may still see this.
const RECHECK: Duration = Duration::from_secs(15);

/// Why nothing is shown.
pub(super) const NO_TICKET: &str = "ticket: is not good, or was used; buy one with POST /api/live/tickets";

/// What a viewer says.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum FromViewer {
    /// Go on at another time.
    Seek {
        from: UtcMillis,
        #[serde(default)]
        key_frames_only: bool,
    },
    /// Send so many fragments more.
    Credit { fragments: u32 },
    /// A type this version does not know; ignored.
    #[serde(other)]
    Unknown,
}

#[derive(Deserialize)]
struct Query {
    ticket: String,
}

#[handler]
pub(super) async fn stream(
    request: &Request,
    socket: WebSocket,
    services: Data<&Arc<Services>>,
) -> poem::Result<Response> {
    if !is_same_host(request) {
        return Err(Failure::forbidden("Origin: this page is of another host").into());
    }
    let (tickets, refused) = (services.relay.tickets(), || Failure::unauthorized(NO_TICKET, "Bearer"));
    let query = request.params::<Query>().ok();
    let ticket = query.and_then(|query| tickets.read(&query.ticket, clock::now())).ok_or_else(refused)?;
    let reached = services.relay.reach(&Errand::View(ticket.clone())).await.map_err(Failure::from)?;
    let (services, socket) = (Arc::clone(&services), socket.config(limits(MAX_MESSAGE_BYTES)));
    Ok(match reached {
        Reached::Here if !services.relay.tickets().spend(&ticket, clock::now()) => return Err(refused().into()),
        Reached::Here => socket.on_upgrade(move |socket| serve(socket, services, ticket)).into_response(),
        Reached::There(link) => {
            let passing = async move |socket| pass_on(socket, *link, Whose::Viewers, &services).await;
            socket.on_upgrade(passing).into_response()
        }
        Reached::Refused(reason) if reason == NO_TICKET => return Err(refused().into()),
        Reached::Refused(reason) => return Err(Failure::unavailable(reason, RETRY).into()),
    })
}

/// Whether a browser, which always says so, asks from a page of this host. Programs say nothing.
fn is_same_host(request: &Request) -> bool {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    match header(ORIGIN) {
        None => true,
        Some(origin) => origin.split_once("://").map(|(_, host)| host) == header(HOST),
    }
}

/// Shows what the ticket is for until one side has had enough.
pub(super) async fn serve(socket: impl Socket, services: Arc<Services>, ticket: Ticket) {
    let (mut sink, source) = socket.split();
    match services.relay.hub(&ticket.place).join(&ticket.wanted) {
        Ok(viewing) => talk(&mut sink, source, &viewing, &services, &ticket).await,
        Err(full) => {
            let ended = FromEdge::Ended { stream: 0, reason: EndReason::TooMany, detail: full.to_string() };
            send(&mut sink, text(&ended)).await
        }
    };
    let _ = timeout(SEND_LIMIT, sink.send(Message::close_with(CloseCode::Normal, "over"))).await;
}

/// Passes on until one side has had enough; `None` when the connection is of no use any more.
async fn talk<S: Socket>(
    sink: &mut SplitSink<S, Message>,
    mut source: SplitStream<S>,
    viewing: &Viewing,
    services: &Services,
    ticket: &Ticket,
) -> Option<()> {
    let mut ping = interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut silent_at, mut recheck_at) = (Instant::now() + SILENCE, Instant::now());
    // Rights may have changed since the ticket was bought, so the first look is at once.
    let (mut heard, mut changes) = (0, services.changes.subscribe());
    loop {
        tokio::select! {
            () = services.stop.cancelled() => return None,
            () = sleep_until(silent_at) => return None,
            () = changed(&mut changes, ticket.user) => recheck_at = Instant::now(),
            () = sleep_until(recheck_at) => {
                if !may_still_look(services, ticket).await {
                    viewing.send_away(EndReason::Revoked, "you may no longer look at this: sign in again");
                }
                recheck_at = Instant::now() + RECHECK;
            }
            _ = ping.tick() => {
                heard = 0;
                send(sink, Message::ping(Vec::new())).await?;
            }
            message = viewing.next() => {
                let is_last = matches!(message, ForViewer::Text(FromEdge::Ended { .. }));
                send(sink, frame(&message)).await?;
                if is_last {
                    return None;
                }
            }
            message = source.next() => {
                silent_at = Instant::now() + SILENCE;
                heard += 1;
                if heard > MAX_MESSAGES {
                    viewing.send_away(EndReason::TooMany, "too many messages came from this viewer");
                }
                if let Some(problem) = take(&message?.ok()?, viewing)? {
                    send(sink, text(&FromEdge::Error { problem })).await?;
                }
            }
        }
    }
}

/// Does as the viewer says; `None` when it closes, a problem when it is not understood.
fn take(message: &Message, viewing: &Viewing) -> Option<Option<String>> {
    let message = match message {
        Message::Text(text) => serde_json::from_str(text),
        Message::Close(_) => return None,
        _ => return Some(None),
    };
    match message {
        Ok(FromViewer::Seek { from, key_frames_only }) => viewing.seek(from, key_frames_only),
        Ok(FromViewer::Credit { fragments }) => viewing.credit(fragments),
        Ok(FromViewer::Unknown) => {}
        Err(error) => return Some(Some(error.to_string())),
    }
    Some(None)
}

fn frame(message: &ForViewer) -> Message {
    match message {
        ForViewer::Text(message) => text(message),
        ForViewer::Frame(frame) => Message::binary(frame.to_vec()),
    }
}

/// A text frame.
pub(super) fn text(message: &FromEdge) -> Message {
    Message::text(serde_json::to_string(message).expect("contract types always serialise"))
}

/// Whether the person and the edge are still what they were when the ticket was bought.
async fn may_still_look(services: &Services, ticket: &Ticket) -> bool {
    if ticket.ends_at <= clock::now() {
        return false;
    }
    let (edge, camera) = (&ticket.place.edge, &ticket.wanted.camera);
    match services.store.bearer(ticket.credential.clone(), clock::now()).await {
        Ok(bearer) => bearer.is_some_and(|bearer| bearer.user.cameras.sees(edge, camera)),
        // The database did not answer; the person is not to blame.
        Err(_) => true,
    }
}
