//! Escalates alerts that nobody acknowledges, in every process: a step is one transaction, so that no two of them
//! carry the same one out.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::store::SharedStore;

/// Time between two looks: steps are due in minutes.
const PERIOD: Duration = Duration::from_secs(5);
/// Looks between two times of tidying: about an hour.
const LOOKS_PER_TIDYING: u32 = 720;

/// Runs until `stop`. What is due while no process runs is done at the next start.
pub async fn run(store: SharedStore, stop: CancellationToken) {
    let mut looks: u32 = 0;
    loop {
        tokio::select! {
            // Spread, so that several processes do not look at the same moments.
            () = tokio::time::sleep(PERIOD.mul_f64(0.75 + fastrand::f64() / 2.0)) => {}
            () = stop.cancelled() => return,
        }
        match store.escalate_due(clock::now()).await {
            Ok(0) => {}
            Ok(escalated) => tracing::info!(alerts.escalated = escalated, "alerts were not acknowledged in time"),
            Err(error) => tracing::warn!(%error, "escalating alerts; trying again"),
        }
        looks = looks.wrapping_add(1);
        if looks % LOOKS_PER_TIDYING == 1
            && let Err(error) = store.tidy_alerts(clock::now()).await
        {
            tracing::warn!(%error, "tidying what belongs to alerts");
        }
    }
}
