//! Calling edges: the command `open_relay` over MQTT.

use std::time::Duration;

use aivms_contract::command::Command;
use aivms_contract::id::CommandId;
use aivms_contract::topic::DownKind;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Place, Relay};
use crate::clock;
use crate::mqtt::DownLink;
use crate::store::{EdgeKey, News, SharedStore};

/// Calls on their way to the front. One that finds no room is dropped; the next comes a few seconds later.
const CALLS: usize = 256;
/// How long a call counts: an edge that hears it later was called again meanwhile.
const VALIDITY: Duration = Duration::from_secs(15);

/// The hubs' end.
#[derive(Debug, Clone)]
pub(super) struct Caller(mpsc::Sender<Place>);

/// Edges that are to be called.
#[derive(Debug)]
pub struct Calls(mpsc::Receiver<Place>);

pub(super) fn channel() -> (Caller, Calls) {
    let (sender, receiver) = mpsc::channel(CALLS);
    (Caller(sender), Calls(receiver))
}

impl Caller {
    pub(super) fn call(&self, place: &Place) {
        if self.0.try_send(place.clone()).is_err() {
            tracing::debug!(edge.id = %place.edge, "too many edges are called at once; this one is called again soon");
        }
    }
}

impl Calls {
    /// Passes calls on, and hears what other processes say of relays, until `stop`.
    pub(crate) async fn run(mut self, relay: Relay, store: SharedStore, front: DownLink, stop: CancellationToken) {
        let mut news = store.news();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                place = self.0.recv() => match place {
                    Some(place) => call(&place, &store, &front).await,
                    None => return,
                },
                heard = news.recv() => match heard {
                    Ok(News::RelayWanted(edge)) => tell(edge, &front).await,
                    Ok(News::RelayTaken(edge)) => relay.leave_what_was_taken(|place| place.key == edge).await,
                    Ok(News::Withdrawn(certificates)) => relay.end(&certificates),
                    Ok(News::Missed) | Err(RecvError::Lagged(_)) => relay.leave_what_was_taken(|_| true).await,
                    Ok(_) => {}
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }
}

/// Calls an edge, on whichever process it is.
async fn call(place: &Place, store: &SharedStore, front: &DownLink) {
    if front.listens(place.key) {
        return tell(place.key, front).await;
    }
    if let Err(error) = store.call_edge(place.key).await {
        tracing::warn!(%error, edge.id = %place.edge, "an edge can't be called");
    }
}

/// Tells an edge that is on this process.
async fn tell(edge: EdgeKey, front: &DownLink) {
    let Some((tenant, edge)) = front.identity(edge) else { return };
    if let Err(error) = front.publish(&tenant, &edge, DownKind::Commands, command()).await {
        tracing::warn!(%error, edge.id = %edge, "an edge can't be called");
    }
}

fn command() -> Vec<u8> {
    let now = clock::now();
    let command = Command {
        id: CommandId::from_parts(now, fastrand::u128(..)),
        issued_at: now,
        expires_at: now + VALIDITY,
        command: "open_relay".to_owned(),
        payload: serde_json::Map::new(),
    };
    serde_json::to_vec(&command).expect("contract types always serialise")
}

#[cfg(test)]
mod tests {
    use super::*;
    use aivms_contract::command::Action;

    #[test]
    fn a_call_is_a_command_that_edges_know() {
        let command: Command = serde_json::from_slice(&command()).unwrap();
        assert_eq!(command.action(), Ok(Action::OpenRelay));
        assert!(command.expires_at > command.issued_at);
    }
}
