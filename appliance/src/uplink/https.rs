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
            let mut kept = self.outbox.kept();
            match self.deliver(&identity).await {
                Ok(true) => {
                    backoff.reset();
                    self.line.backup_works();
                }
                // All that is owed is damaged. Only an entry behind it changes that.
                Ok(false) => drop(kept.changed().await),
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

    /// Sends one batch; false when there is nothing that can be read.
    async fn deliver(&self, identity: &Identity) -> anyhow::Result<bool> {
        let entries = self.outbox.read_after(self.outbox.acknowledged(), MAX_BATCH_EVENTS, MAX_BATCH_BYTES).await?;
        let Some(last) = entries.last().map(|entry| entry.seq) else { return Ok(false) };
        let events = entries.into_iter().map(raw).collect::<Result<_, _>>()?;
        let token = identity.bearer_token(self.cloud.time())?;
        let ack = self.cloud.deliver(&token, &EventBatch { events }).await?;
        ensure!(ack.outbox == *self.outbox.id(), "the cloud acknowledged another outbox, {}", ack.outbox);
        let through = ack.through.min(last);
        if through <= self.outbox.acknowledged() {
            bail!("the cloud acknowledged nothing new");
        }
        tracing::debug!(outbox.through = through, "delivered over HTTPS");
        self.outbox.acknowledge(through).await?;
        Ok(true)
    }
}

fn raw(entry: Entry) -> anyhow::Result<Box<RawValue>> {
    let text = String::from_utf8(entry.json.into()).with_context(|| format!("entry {} is not text", entry.seq))?;
    RawValue::from_string(text).with_context(|| format!("entry {} is not JSON", entry.seq))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::DeviceKey;
    use crate::outbox::OutboxSettings;
    use crate::state::State;
    use crate::testing::{Authority, cloud_at};
    use crate::uplink::{LinkHealth, LinkState};
    use aivms_contract::alert::{Alert, Severity};
    use aivms_contract::envelope::Body;

    fn processor_time() -> Duration {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    #[tokio::test]
    async fn a_damaged_entry_with_nothing_behind_it_does_not_keep_the_processor_busy() {
        let dir = tempfile::tempdir().unwrap();
        let (state, _) = State::open(dir.path().join("state")).unwrap();
        let spool = dir.path().join("outbox");
        let group_time = Duration::from_millis(20);
        let settings = OutboxSettings { dir: spool.clone(), max_bytes: 64 << 20, group_time };
        let (outbox, _) = Outbox::open(settings, "edge_1".parse().unwrap(), &state).unwrap();
        let alert = Alert {
            camera_id: "a".parse().unwrap(),
            timestamp: crate::clock::now(),
            alert_type: "test".to_owned(),
            severity: Severity::Info,
            title: "damaged".to_owned(),
            clip_id: None,
            event_id: None,
        };
        outbox.append(Body::Alerts(alert)).await.unwrap();
        for file in std::fs::read_dir(&spool).unwrap().map(|file| file.unwrap().path()) {
            if file.extension().is_some_and(|extension| extension == "spool") {
                let bytes = std::fs::metadata(&file).unwrap().len();
                std::fs::write(&file, vec![0; usize::try_from(bytes).unwrap()]).unwrap();
            }
        }
        let key = DeviceKey::generate().unwrap();
        let enrollment = Authority::new().enroll(&key.certificate_request().unwrap(), "acme", "edge_1", 8883);
        let identity = tokio::sync::watch::channel(Some(Arc::new(key.certified(enrollment).unwrap())));
        let backup = Backup {
            outbox,
            identity: identity.1,
            cloud: Arc::new(cloud_at("http://127.0.0.1:9")),
            backup_after: Duration::ZERO,
            line: Arc::new(Line::new(watch::channel(LinkHealth::now(LinkState::Connecting, None)).0)),
        };
        let before = processor_time();
        let _ = tokio::time::timeout(Duration::from_secs(2), backup.run(CancellationToken::new())).await;
        let used = processor_time() - before;
        assert!(used < Duration::from_millis(300), "{used:?} of processor time in 2 s of having nothing to send");
    }
}
