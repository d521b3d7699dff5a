//! Which process has the relay of an edge, and the way to it.

use crate::servers::{Errand, Link, LinkError};
use crate::store::{RelayHome, StoreError};

use super::Relay;

/// How many processes are tried one after the other that turn out to be gone.
const TRIES: u32 = 4;

/// Where an errand is done.
pub(crate) enum Reached {
    /// In this process.
    Here,
    /// In another one, which has taken it.
    There(Box<Link>),
    /// In another one, which does not take it.
    Refused(String),
}

impl Relay {
    /// Finds the process that has the relay of the errand's edge, and hands the errand to it when it is another one.
    /// When that one does not answer, this one takes the relay over.
    ///
    /// # Errors
    /// The database's own.
    pub(crate) async fn reach(&self, errand: &Errand) -> Result<Reached, StoreError> {
        let Some(links) = &self.inner.links else { return Ok(Reached::Here) };
        let place = errand.place();
        let mut home = self.inner.store.relay_home(place.key).await?;
        for _ in 0..TRIES {
            let RelayHome::There(peer) = &home else { break };
            match links.open(peer, errand).await {
                Ok(link) => return Ok(Reached::There(Box::new(link))),
                Err(LinkError::Refused(reason)) => return Ok(Reached::Refused(reason)),
                Err(LinkError::Unreachable(error)) => {
                    let (edge, address) = (&place.edge, &peer.address);
                    tracing::warn!(%error, edge.id = %edge, address, "the server that shows an edge is gone; showing it here");
                    home = self.inner.store.take_relay(place.key, Some(&peer.process)).await?;
                }
            }
        }
        match home {
            RelayHome::Here => Ok(Reached::Here),
            RelayHome::There(_) => Ok(Reached::Refused("the servers can't reach each other".to_owned())),
        }
    }

    /// Whether another process shows an edge by now; then whoever watches it here is sent there.
    pub(crate) async fn has_moved(&self, place: &super::Place) -> bool {
        if !self.inner.store.relay_is_elsewhere(place.key).await.unwrap_or(false) {
            return false;
        }
        let hub = self.hubs().get(place).cloned();
        if let Some(hub) = hub {
            hub.give_up();
        }
        true
    }

    /// Ends what is seen of edges whose relay another process has taken; this one was too slow to answer it.
    pub(super) async fn leave_what_was_taken(&self, is_meant: impl Fn(&super::Place) -> bool) {
        if self.inner.links.is_none() {
            return;
        }
        let hubs: Vec<_> = self.hubs().values().filter(|hub| is_meant(hub.place())).cloned().collect();
        for hub in hubs {
            // Asked without taking it: who takes a relay tells everybody, this process included.
            match self.inner.store.relay_is_elsewhere(hub.place().key).await {
                Ok(false) => {}
                Ok(true) => hub.give_up(),
                Err(error) => tracing::warn!(%error, "which server shows an edge can't be read"),
            }
        }
    }
}
