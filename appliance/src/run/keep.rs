//! From the cameras to the disk.

use std::error::Error;
use std::time::Duration;

use aivms_contract::envelope::Body;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::outbox::{Outbox, OutboxError};

/// Events offered to the disk at once: what busy cameras make within one group write.
const AT_ONCE: usize = 256;
/// Pause before events are offered again to a disk that refused them.
const PAUSE: Duration = Duration::from_secs(1);

/// Puts everything the cameras say into the outbox, in order; ends when all cameras have ended.
///
/// It also ends when the outbox has: nothing is kept then, and only a new start of the program mends that.
///
/// What a full disk refuses is offered again for as long as it takes: cameras wait then, and nothing they said is
/// dropped here. What is shed when the outbox itself is full is the outbox's own rule.
pub(super) async fn keep(mut seen: mpsc::Receiver<Body>, outbox: Outbox) {
    let mut batch = Vec::with_capacity(AT_ONCE);
    while seen.recv_many(&mut batch, AT_ONCE).await > 0 {
        let mut refusals = 0u32;
        while !batch.is_empty() {
            let results = outbox.append_all(batch.clone()).await;
            if results.iter().any(|result| matches!(result, Err(OutboxError::Closed))) {
                tracing::error!("the outbox has ended; nothing is kept any more");
                return;
            }
            let fates: Vec<_> = results.iter().map(fate).collect();
            // That events wait in memory is logged by the outbox, once for all of them.
            if let Some(error) = results.into_iter().filter_map(Result::err).find(|error| !error.waits())
                && (refusals == 0 || refusals.is_power_of_two())
            {
                tracing::error!(error = &error as &dyn Error, "an event is not on the disk");
            }
            refusals = refusals.saturating_add(1);
            let mut fates = fates.into_iter();
            batch.retain(|_| fates.next() == Some(Fate::Again));
            if !batch.is_empty() {
                sleep(PAUSE).await;
            }
        }
    }
}

/// What becomes of an event that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The outbox has it, or never takes it.
    Settled,
    /// The disk may take it later.
    Again,
}

fn fate(result: &Result<u64, OutboxError>) -> Fate {
    match result {
        Err(OutboxError::Refused { .. }) => Fate::Again,
        _ => Fate::Settled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::OutboxSettings;
    use crate::state::State;
    use aivms_contract::alert::{Alert, Severity};
    use aivms_contract::envelope::Envelope;

    #[tokio::test]
    async fn everything_said_reaches_the_disk_in_order_before_the_task_ends() {
        let dir = tempfile::tempdir().unwrap();
        let (state, _) = State::open(dir.path().join("state")).unwrap();
        let settings = OutboxSettings {
            dir: dir.path().join("outbox"),
            max_bytes: 64 << 20,
            group_time: Duration::from_millis(20),
        };
        let (outbox, _) = Outbox::open(settings, "edge_1".parse().unwrap(), &state).unwrap();
        let (bodies, seen) = mpsc::channel(2048);
        for number in 0..1000 {
            bodies.try_send(alert(&number.to_string())).unwrap();
        }
        drop(bodies);
        keep(seen, outbox.clone()).await;
        let entries = outbox.read_after(0, 2000, usize::MAX).await.unwrap();
        let titles = entries.iter().map(|entry| match Envelope::from_json(&entry.json).unwrap().body {
            Body::Alerts(alert) => alert.title,
            other => panic!("{other:?}"),
        });
        assert!(titles.eq((0..1000).map(|number| number.to_string())));
    }

    #[tokio::test]
    async fn the_task_ends_when_the_outbox_has_ended_since_nothing_is_kept_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let (state, _) = State::open(dir.path().join("state")).unwrap();
        let settings = OutboxSettings {
            dir: dir.path().join("outbox"),
            max_bytes: 64 << 20,
            group_time: Duration::from_millis(20),
        };
        let (outbox, _) = Outbox::open(settings, "edge_1".parse().unwrap(), &state).unwrap();
        let (bodies, seen) = mpsc::channel(8);
        outbox.clone().close().await;
        bodies.try_send(alert("unheard")).unwrap();
        tokio::time::timeout(Duration::from_secs(10), keep(seen, outbox)).await.expect("the task ends");
        assert!(bodies.is_closed(), "cameras learn of it");
    }

    fn alert(title: &str) -> Body {
        Body::Alerts(Alert {
            camera_id: "a".parse().unwrap(),
            timestamp: crate::clock::now(),
            alert_type: "test".to_owned(),
            severity: Severity::Info,
            title: title.to_owned(),
            clip_id: None,
            event_id: None,
        })
    }
}
