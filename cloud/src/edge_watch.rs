//! Looks again and again which edges are there, and has it told when that changes.

use std::time::Duration;

use aivms_cloud_core::presence::HoldOff;
use aivms_contract::time::UtcMillis;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::store::SharedStore;

/// Time between two looks; far less than any time-out, so that no silence falls between two of them.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Time without a good look after which nobody is taken to have listened: a cloud without its database writes down no
/// sign of life, and a machine that sleeps hears none.
const DEAF_AFTER: Duration = Duration::from_secs(10);

/// The task that watches presence. Every process runs one; what changes is told once.
#[derive(Debug)]
pub struct EdgeWatch {
    store: SharedStore,
    hold_off: HoldOff,
    listening: Listening,
}

impl EdgeWatch {
    /// Makes the task. Silence counts from its first look on: while no process ran, nobody could be heard.
    #[must_use]
    pub fn new(store: SharedStore, hold_off: HoldOff) -> Self {
        Self { store, hold_off, listening: Listening::default() }
    }

    /// Watches until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = looks.tick() => {}
            }
            self.look(clock::now()).await;
        }
    }

    async fn look(&mut self, now: UtcMillis) {
        let listening_since = self.listening.since(now);
        match self.store.judge_presence(self.hold_off, listening_since, now).await {
            Ok(changes) => {
                self.listening.looked(listening_since, now);
                if changes > 0 {
                    tracing::info!(changes, "edges came or went");
                }
            }
            Err(error) => {
                self.listening = Listening::default();
                tracing::warn!(%error, "presence can't be judged; trying again soon");
            }
        }
    }
}

/// Since when edges could be heard: anew after a look that failed and after a while without any.
#[derive(Debug, Default)]
struct Listening {
    /// Since when, and the last good look.
    heard: Option<(UtcMillis, UtcMillis)>,
}

impl Listening {
    fn since(&self, now: UtcMillis) -> UtcMillis {
        match self.heard {
            Some((since, looked)) if now.since(looked) <= DEAF_AFTER => since,
            _ => now,
        }
    }

    fn looked(&mut self, since: UtcMillis, now: UtcMillis) {
        self.heard = Some((since, now));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::suite::{at, edge, tenant};
    use crate::store::{PageRequest, PresenceKind, Store};

    const HOLD_OFF: HoldOff = HoldOff {
        timeout: Duration::from_secs(120),
        offline: Duration::from_secs(60),
        stable: Duration::from_secs(60),
    };

    /// An edge that is heard for a minute, and looks every two seconds until `until`, but for those of `gap`.
    async fn told(until: i64, gap: std::ops::Range<i64>) -> Vec<PresenceKind> {
        let dir = tempfile::tempdir().unwrap();
        let store: SharedStore = Arc::new(Store::open_sqlite(&dir.path().join("cloud.db")).unwrap());
        let owner = tenant(&store, "acme").await;
        let edge = edge(&store, &owner, "edge_a").await;
        let mut watch = EdgeWatch::new(Arc::clone(&store), HOLD_OFF);
        for second in (0..until).step_by(2).filter(|second| !gap.contains(second)) {
            if second < 60 {
                store.record_heartbeat(edge.key, at(second * 1_000), None).await.unwrap();
            }
            watch.look(at(second * 1_000)).await;
        }
        let page = PageRequest { before: None, limit: 10 };
        let mut told: Vec<_> = store.presence_events(owner.tenant, &edge.edge_id, page).await.unwrap().items;
        told.reverse();
        told.into_iter().map(|event| event.kind).collect()
    }

    #[tokio::test]
    async fn after_an_outage_longer_than_the_time_out_no_edge_is_told_offline_before_it_could_be_heard() {
        let online = [PresenceKind::Online];
        assert_eq!(told(1_150, 60..1_000).await, online, "it had no time to be heard");
        assert_eq!(told(1_190, 60..1_000).await, [PresenceKind::Online, PresenceKind::Offline]);
        assert_eq!(told(250, 0..0).await, [PresenceKind::Online, PresenceKind::Offline]);
    }

    #[test]
    fn silence_counts_anew_after_a_look_that_failed_or_came_late() {
        let mut listening = Listening::default();
        assert_eq!(listening.since(at(0)), at(0));
        listening.looked(at(0), at(0));
        assert_eq!(listening.since(at(10_000)), at(0));
        assert_eq!(listening.since(at(10_001)), at(10_001));
        listening = Listening::default();
        assert_eq!(listening.since(at(2_000)), at(2_000), "the look before failed");
    }
}
