//! WebSockets and questions that another process deals with: passed on from here, and taken from there.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use aivms_cloud_core::relay::{Answer, Ask};
use aivms_contract::relay::{EndReason, FromEdge};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use poem::web::websocket::{CloseCode, Message, WebSocketStream};
use tokio::time::timeout;

use super::edge_relay::{EdgeSocket, SEND_LIMIT, SILENCE};
use super::failure::Failure;
use super::{Services, Tried, edge_relay, viewing};
use crate::clock;
use crate::relay::Place;
use crate::servers::{Errand, Link, refuse, welcome};

/// What a question may take longer through another process.
const ON_THE_WAY: Duration = Duration::from_secs(2);
/// What is said when the process that showed something has gone.
const GONE: &str = "the server that showed this has gone: look again";

/// What messages come from and go to: a WebSocket, or a link from a process that has it.
pub(super) trait Socket:
    Sink<Message, Error = io::Error> + Stream<Item = io::Result<Message>> + Send + Unpin
{
}

impl<T: Sink<Message, Error = io::Error> + Stream<Item = io::Result<Message>> + Send + Unpin> Socket for T {}

/// Whose WebSocket is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Edges,
    Viewers,
}

/// How one way ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// The last word was said and passed on.
    Closed,
    /// Nothing comes any more.
    From,
    /// Nothing gets through any more.
    To,
}

/// Passes on what either side says until one of them has gone.
pub(super) async fn pass_on(socket: WebSocketStream, link: Link, whose: Whose, services: &Services) {
    let (mut near, near_says) = socket.split();
    let (mut far, far_says) = link.split();
    let far_is_gone = tokio::select! {
        () = services.stop.cancelled() => false,
        over = forward(near_says, &mut far) => over == Over::To,
        over = forward(far_says, &mut near) => over == Over::From,
    };
    let last = if far_is_gone {
        Message::close_with(CloseCode::Restart, GONE)
    } else {
        Message::close_with(CloseCode::Away, "over")
    };
    if far_is_gone && whose == Whose::Viewers {
        let ended = FromEdge::Ended { stream: 0, reason: EndReason::EdgeAway, detail: GONE.to_owned() };
        let _ = timeout(SEND_LIMIT, near.send(viewing::text(&ended))).await;
    }
    let _ = timeout(SEND_LIMIT, near.send(last)).await;
}

/// Passes on one way. Both sides are pinged by the process that deals with them, so that silence means that somebody
/// has gone.
async fn forward(
    mut from: impl Stream<Item = io::Result<Message>> + Unpin,
    to: &mut (impl Sink<Message, Error = io::Error> + Unpin),
) -> Over {
    while let Ok(Some(Ok(message))) = timeout(SILENCE, from.next()).await {
        let is_last = matches!(message, Message::Close(_));
        if !matches!(timeout(SEND_LIMIT, to.send(message)).await, Ok(Ok(()))) {
            return Over::To;
        }
        if is_last {
            return Over::Closed;
        }
    }
    Over::From
}

/// Does what another process was asked to, until its link ends.
pub(super) async fn take(services: Arc<Services>, mut link: Link, errand: Errand) {
    if let Errand::View(ticket) = &errand
        && !services.relay.tickets().spend(ticket, clock::now())
    {
        let _ = refuse(&mut link, viewing::NO_TICKET).await;
        return;
    }
    if welcome(&mut link).await.is_err() {
        return;
    }
    if services.relay.has_moved(errand.place()).await {
        let moved = Message::close_with(CloseCode::Again, "another server shows this edge now");
        let _ = timeout(SEND_LIMIT, link.send(moved)).await;
        return;
    }
    match errand {
        Errand::Edge { place, fingerprint } => {
            edge_relay::serve(link, services, EdgeSocket { place, fingerprint }).await;
        }
        Errand::View(ticket) => viewing::serve(link, services, ticket).await,
        Errand::Ask { place, ask, limit } => answer(&services, link, &place, &ask, limit).await,
    }
}

async fn answer(services: &Services, mut link: Link, place: &Place, ask: &Ask, limit: Duration) {
    let answered = tokio::select! {
        answered = ask_here(services, place, ask, limit) => answered,
        // Who asked says nothing more: it has gone.
        _ = link.next() => return,
    };
    let message = match answered {
        Ok(Answer::Text(message)) => viewing::text(&message),
        Ok(Answer::Frame(frame)) => Message::Binary(frame.to_vec()),
        Ok(Answer::EdgeAway) => Message::close_with(CloseCode::Away, "the edge is away"),
        Err(full) => Message::close_with(CloseCode::Again, full.to_string()),
    };
    let _ = timeout(SEND_LIMIT, link.send(message)).await;
}

/// Asks an edge whose relay is in this process.
pub(super) async fn ask_here(
    services: &Services,
    place: &Place,
    ask: &Ask,
    limit: Duration,
) -> Result<Answer, aivms_cloud_core::relay::Full> {
    Ok(services.relay.hub(place).ask(ask)?.answer(limit).await)
}

/// The answer of the process that was asked; without one the edge is as good as away.
pub(super) async fn answer_of(mut link: Link, limit: Duration) -> Tried<Answer> {
    Ok(match timeout(limit + ON_THE_WAY, link.next()).await {
        Ok(Some(Ok(Message::Text(text)))) => {
            Answer::Text(FromEdge::read(&text).map_err(|_| super::footage::not_understood())?)
        }
        Ok(Some(Ok(Message::Binary(frame)))) => Answer::Frame(frame.into()),
        Ok(Some(Ok(Message::Close(Some((CloseCode::Again, reason)))))) => {
            return Err(Failure::too_many(reason, Duration::from_secs(1)));
        }
        _ => Answer::EdgeAway,
    })
}
