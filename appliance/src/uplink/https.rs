//! The backup way: batches of the outbox by HTTPS, while MQTT can't connect.

use std::sync::Arc;
use std::time::Duration;

use aivms_appliance_core::backoff::Backoff;
use aivms_contract::edge_api::EventBatch;
use aivms_contract::limits::MAX_BATCH_EVENTS;
use anyhow::{Context as _, bail, ensure};
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::line::Line;
use crate::cloud::Cloud;
use crate::identity::Identity;
use crate::outbox::{Entry, Outbox};

/// Most bytes of one batch: seconds over a slow line, and small beside the memory of either side.
const MAX_BATCH_BYTES: usize = 512 * 1024;

pub(super) struct Backup {
    pub(super) outbox: Outbox,
    pub(super) identity: watch::Receiver<Option<Arc<Identity>>>,
    pub(super) cloud: Arc<Cloud>,
    pub(super) backup_after: Duration,
    pub(super) line: Arc<Line>,
}

impl Backup {
    /// Delivers while MQTT does not, until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let work = self.deliver_when_needed();
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    }

    async fn deliver_when_needed(&mut self) {
        let mut backoff = Backoff::for_uplink();
        loop {
            let identity = self.turn().await;
            match self.deliver(&identity).await {
                Ok(()) => {
                    backoff.reset();
                    self.line.backup_works();
                }
                Err(error) => {
                    let cause = format!("{error:#}");
                    tracing::warn!(cause, "the HTTPS backup did not deliver");
                    self.line.backup_failed(&cause);
                    sleep(backoff.next_delay(fastrand::f64())).await;
                }
            }
        }
    }

    /// Waits until MQTT has been down long enough and there is something to deliver and someone to deliver it.
    async fn turn(&mut self) -> Arc<Identity> {
        let (mut down, mut kept) = (self.line.mqtt_down_since(), self.outbox.kept());
        loop {
            let since = *down.borrow_and_update();
            let waiting = *kept.borrow_and_update() > self.outbox.acknowledged();
            let identity = self.identity.borrow_and_update().clone();
            let due = match (since, waiting, identity) {
                (Some(since), true, Some(identity)) => {
                    let due = since + self.backup_after;
                    if due <= Instant::now() {
                        return identity;
                    }
                    due
                }
                // Something below changes first.
                _ => Instant::now() + Duration::from_secs(3600),
            };
            tokio::select! {
                () = sleep_until(due) => {}
                _ = down.changed() => {}
                _ = kept.changed() => {}
                changed = self.identity.changed() => if changed.is_err() { std::future::pending::<()>().await },
            }
        }
    }

    async fn deliver(&self, identity: &Identity) -> anyhow::Result<()> {
        let entries = self.outbox.read_after(self.outbox.acknowledged(), MAX_BATCH_EVENTS, MAX_BATCH_BYTES).await?;
        let Some(last) = entries.last().map(|entry| entry.seq) else { return Ok(()) };
        let events = entries.into_iter().map(raw).collect::<Result<_, _>>()?;
        let token = identity.bearer_token(self.cloud.time())?;
        let ack = self.cloud.deliver(&token, &EventBatch { events }).await?;
        ensure!(ack.outbox == *self.outbox.id(), "the cloud acknowledged another outbox, {}", ack.outbox);
        let through = ack.through.min(last);
        if through <= self.outbox.acknowledged() {
            bail!("the cloud acknowledged nothing new");
        }
        tracing::debug!(outbox.through = through, "delivered over HTTPS");
        Ok(self.outbox.acknowledge(through).await?)
    }
}

fn raw(entry: Entry) -> anyhow::Result<Box<RawValue>> {
    let text = String::from_utf8(entry.json.into()).with_context(|| format!("entry {} is not text", entry.seq))?;
    RawValue::from_string(text).with_context(|| format!("entry {} is not JSON", entry.seq))
}
