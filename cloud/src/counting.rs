//! Counts closed quarters of an hour, round by round.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::store::{SharedStore, StoreError};

/// Time between two rounds.
const ROUND: Duration = Duration::from_secs(20);

/// Counts until `stop`. Several processes may do so at once: a count that two of them make is kept once.
pub async fn run(store: SharedStore, stop: CancellationToken) {
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = rounds.tick() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            done = round(&store) => if let Err(error) = done {
                tracing::warn!(%error, "events can't be counted ahead; charts take longer");
            }
        }
    }
}

/// One round: counts that began in an earlier one are ended, further ones begun.
async fn round(store: &SharedStore) -> Result<(), StoreError> {
    while store.mark_backlog().await? {
        // Leaves the database to others between two steps.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for count in store.counts_to_end(clock::now()).await? {
        store.end_count(count).await?;
    }
    store.begin_counts(clock::now()).await?;
    Ok(())
}
