//! Writes down who is connected and when an edge was last heard, without ever making a session wait.
//!
//! What is not written yet is merged per edge, so that it stays small however long the database can't be written.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aivms_contract::time::UtcMillis;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::store::{EdgeKey, Presence, SharedStore, StoreError};

/// Pause after the database refused.
const RETRY: Duration = Duration::from_secs(2);

/// What is to be written about edges; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct PresenceBoard {
    pending: Arc<Mutex<HashMap<EdgeKey, Pending>>>,
    changed: Arc<Notify>,
}

#[derive(Debug, Clone, Default)]
struct Pending {
    presence: Option<Presence>,
    heard: Option<(UtcMillis, Option<String>)>,
}

impl PresenceBoard {
    /// Notes that a session of an edge came up or went down.
    pub(super) fn note(&self, presence: Presence) {
        self.merge(presence.edge, Pending { presence: Some(presence), heard: None });
    }

    /// Notes a sign of life, with the version when a heartbeat told it.
    pub(super) fn heard(&self, edge: EdgeKey, at: UtcMillis, version: Option<String>) {
        self.merge(edge, Pending { presence: None, heard: Some((at, version)) });
    }

    fn merge(&self, edge: EdgeKey, newer: Pending) {
        self.pending().entry(edge).or_default().add(newer);
        self.changed.notify_one();
    }

    /// Writes what is noted until `shutdown`, and then what is left, once.
    pub(super) async fn write(self, store: SharedStore, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = self.changed.notified() => {}
                () = shutdown.cancelled() => break,
            }
            if let Err(error) = self.write_pending(&store).await {
                tracing::warn!(%error, "presence can't be written; trying again");
                tokio::select! {
                    () = tokio::time::sleep(RETRY) => self.changed.notify_one(),
                    () = shutdown.cancelled() => break,
                }
            }
        }
        if let Err(error) = self.write_pending(&store).await {
            tracing::warn!(%error, "the last changes of presence are not written");
        }
    }

    async fn write_pending(&self, store: &SharedStore) -> Result<(), StoreError> {
        loop {
            let Some(edge) = self.pending().keys().next().copied() else { return Ok(()) };
            let taken = self.pending().remove(&edge).unwrap_or_default();
            if let Err(error) = record(store, edge, &taken).await {
                // What has been noted meanwhile is newer.
                let mut pending = self.pending();
                let newer = std::mem::replace(pending.entry(edge).or_default(), taken);
                pending.entry(edge).or_default().add(newer);
                return Err(error);
            }
        }
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, HashMap<EdgeKey, Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    fn add(&mut self, newer: Pending) {
        if let Some(presence) = newer.presence
            && self.presence.is_none_or(|known| known.generation <= presence.generation)
        {
            self.presence = Some(presence);
        }
        if let Some((at, version)) = newer.heard {
            let known = self.heard.take().and_then(|(_, version)| version);
            self.heard = Some((at, version.or(known)));
        }
    }
}

async fn record(store: &SharedStore, edge: EdgeKey, pending: &Pending) -> Result<(), StoreError> {
    if let Some(presence) = pending.presence {
        store.record_presence(presence).await?;
    }
    if let Some((at, version)) = &pending.heard {
        store.record_heartbeat(edge, *at, version.clone()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presence(generation: u64, up: bool) -> Pending {
        let at = UtcMillis::from_millis(0);
        Pending { presence: Some(Presence { edge: EdgeKey(1), generation, up, at }), heard: None }
    }

    fn merged(news: &[Pending]) -> Pending {
        let mut pending = Pending::default();
        news.iter().for_each(|newer| pending.add(newer.clone()));
        pending
    }

    #[test]
    fn the_newest_connection_decides_in_whatever_order_the_news_come() {
        let up = |news: &[Pending]| merged(news).presence.map(|p| (p.generation, p.up));
        assert_eq!(up(&[presence(1, true), presence(2, true), presence(1, false)]), Some((2, true)));
        assert_eq!(up(&[presence(2, true), presence(2, false)]), Some((2, false)));
    }

    #[test]
    fn a_version_once_told_is_kept_until_it_is_written() {
        let heard = |version: Option<&str>| Pending {
            presence: None,
            heard: Some((UtcMillis::from_millis(1), version.map(str::to_owned))),
        };
        assert_eq!(merged(&[heard(Some("1")), heard(None)]).heard.and_then(|h| h.1).as_deref(), Some("1"));
    }
}
