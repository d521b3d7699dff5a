//! Waiting for the end of a command, whichever process hears of it.

use std::time::Duration;

use aivms_contract::id::EdgeId;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout};

use super::super::Services;
use super::super::failure::Failure;
use crate::store::{News, StoreError, StoredCommand, TenantKey};

/// How often the command is read in case some news was lost.
const REREAD: Duration = Duration::from_secs(10);

/// The command once it has ended, or as it is after `wait`, or when the cloud stops.
pub(super) async fn ended_or_after(
    services: &Services,
    tenant: TenantKey,
    edge_id: &EdgeId,
    stored: StoredCommand,
    wait: Duration,
) -> Result<StoredCommand, Failure> {
    if wait.is_zero() || stored.state.is_final() {
        return Ok(stored);
    }
    let end = Instant::now() + wait;
    // Heard from before the command is read, so that no end falls between the two.
    let mut news = services.store.news();
    let (row, id) = (stored.row, stored.command.id);
    loop {
        let newest = services.store.command(tenant, edge_id, &id).await?.ok_or(StoreError::NotFound)?;
        let left = end.saturating_duration_since(Instant::now());
        if newest.state.is_final() || left.is_zero() || services.stop.is_cancelled() {
            return Ok(newest);
        }
        tokio::select! {
            () = services.stop.cancelled() => {}
            _ = timeout(left.min(REREAD), heard_of(&mut news, row)) => {}
        }
    }
}

/// Returns when something may have happened to the command.
async fn heard_of(news: &mut Receiver<News>, row: i64) {
    loop {
        match news.recv().await {
            Ok(News::Command(changed)) if changed == row => return,
            Ok(News::Missed) | Err(RecvError::Lagged(_)) => return,
            Ok(_) => {}
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}
