//! Writes down who is connected and when an edge was last heard, without ever making a session wait.
//!
//! What is not written yet is merged per edge, so that it stays small however long the database can't be written.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aivms_contract::time::UtcMillis;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::sessions::Sessions;
use crate::store::{EdgeKey, Presence, SharedStore, StoreError};

/// Time between two signs of life of this process.
const HEARTBEAT: Duration = Duration::from_secs(10);
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
    /// Number of a connection that has been here all the time.
    still: Option<u64>,
    heard: Option<(UtcMillis, Option<String>)>,
}

impl PresenceBoard {
    /// Notes that a session of an edge came up or went down.
    pub(super) fn note(&self, presence: Presence) {
        self.merge(presence.edge, Pending { presence: Some(presence), ..Pending::default() });
    }

    /// Notes that a session of an edge is still here, after the process had been taken for dead.
    fn note_still(&self, edge: EdgeKey, generation: u64) {
        self.merge(edge, Pending { still: Some(generation), ..Pending::default() });
    }

    /// Says that this process lives until `shutdown`, and then that it goes.
    pub(super) async fn stay_alive(self, store: SharedStore, sessions: Sessions, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(HEARTBEAT.mul_f64(0.8 + 0.4 * fastrand::f64())) => {}
                () = shutdown.cancelled() => break,
            }
            match store.stay_alive().await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::warn!("this process was taken for dead; telling again who is connected");
                    sessions.for_each_edge(|edge, generation| self.note_still(edge, generation));
                }
                Err(error) => tracing::warn!(%error, "this process can't say that it lives; trying again"),
            }
        }
        if let Err(error) = store.leave_processes().await {
            tracing::warn!(%error, "this process could not say that it goes; others find out by themselves");
        }
    }

    /// Notes a sign of life, with the version when a heartbeat told it.
    pub(super) fn heard(&self, edge: EdgeKey, at: UtcMillis, version: Option<String>) {
        self.merge(edge, Pending { heard: Some((at, version)), ..Pending::default() });
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
            // What is known now is newer than what was said before.
            self.still = None;
        }
        self.still = newer.still.or(self.still);
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
    if let Some(generation) = pending.still {
        store.still_connected(edge, generation).await?;
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
        Pending { presence: Some(Presence { edge: EdgeKey(1), generation, up, at }), ..Pending::default() }
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
    fn a_session_that_ends_after_it_was_said_to_be_still_here_is_gone() {
        let still = Pending { still: Some(2), ..Pending::default() };
        let told = merged(&[presence(2, true), still.clone()]);
        assert_eq!((told.presence.map(|p| p.up), told.still), (Some(true), Some(2)));
        assert_eq!(merged(&[still, presence(2, false)]).still, None);
    }

    #[test]
    fn a_version_once_told_is_kept_until_it_is_written() {
        let heard = |version: Option<&str>| Pending {
            heard: Some((UtcMillis::from_millis(1), version.map(str::to_owned))),
            ..Pending::default()
        };
        assert_eq!(merged(&[heard(Some("1")), heard(None)]).heard.and_then(|h| h.1).as_deref(), Some("1"));
    }
}
