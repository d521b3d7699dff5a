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

/// The task that watches presence. Every process runs one; what changes is told once.
#[derive(Debug)]
pub struct EdgeWatch {
    store: SharedStore,
    hold_off: HoldOff,
    listening_since: UtcMillis,
}

impl EdgeWatch {
    /// Makes the task. Silence counts from now on: while no process ran, nobody could be heard.
    #[must_use]
    pub fn new(store: SharedStore, hold_off: HoldOff) -> Self {
        Self { store, hold_off, listening_since: clock::now() }
    }

    /// Watches until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = looks.tick() => {}
            }
            match self.store.judge_presence(self.hold_off, self.listening_since, clock::now()).await {
                Ok(0) => {}
                Ok(changes) => tracing::info!(changes, "edges came or went"),
                Err(error) => tracing::warn!(%error, "presence can't be judged; trying again soon"),
            }
        }
    }
}
