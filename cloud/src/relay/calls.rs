//! Calling edges: the command `open_relay` over MQTT.

use std::time::Duration;

use aivms_contract::command::Command;
use aivms_contract::id::CommandId;
use aivms_contract::topic::DownKind;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Place;
use crate::clock;
use crate::mqtt::DownLink;

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
    /// Passes calls on until `stop`.
    pub async fn run(mut self, front: DownLink, stop: CancellationToken) {
        loop {
            let place = tokio::select! {
                () = stop.cancelled() => return,
                place = self.0.recv() => match place {
                    Some(place) => place,
                    None => return,
                },
            };
            let payload = command();
            if let Err(error) = front.publish(&place.tenant, &place.edge, DownKind::Commands, payload).await {
                tracing::warn!(%error, edge.id = %place.edge, "an edge can't be called");
            }
        }
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
