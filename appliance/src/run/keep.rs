//! From the cameras to the disk.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use aivms_contract::envelope::Body;
use aivms_contract::id::EventId;
use aivms_contract::zone_event::ZoneEvent;
use tokio::sync::{broadcast, mpsc};
use tokio::time::sleep;

use crate::outbox::{Drawn, Outbox, OutboxError};
use crate::retention::tagging::Tagger;

/// Events offered to the disk at once: what busy cameras make within one group write.
const AT_ONCE: usize = 256;
/// Pause before events are offered again to a disk that refused them.
const PAUSE: Duration = Duration::from_secs(1);
/// Kept events that may wait for who makes clips and pictures of them: minutes of a busy site. Who is further behind
/// loses the oldest, and learns how many.
const KEPT_EVENTS: usize = 1024;

/// A zone event that the outbox has, with the id under which the cloud will know it.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptEvent {
    /// Its id.
    pub id: EventId,
    /// The event.
    pub event: ZoneEvent,
}

/// Tells of each zone event once the outbox has it.
#[must_use]
pub(super) fn kept_events() -> broadcast::Sender<Arc<KeptEvent>> {
    broadcast::channel(KEPT_EVENTS).0
}

/// Puts everything the cameras say into the outbox, in order; ends when all cameras have ended.
///
/// It also ends when the outbox has: nothing is kept then, and only a new start of the program mends that.
///
/// What a full disk refuses is offered again for as long as it takes: cameras wait then, and nothing they said is
/// dropped here. What is shed when the outbox itself is full is the outbox's own rule.
pub(super) async fn keep(
    mut seen: mpsc::Receiver<Body>,
    outbox: Outbox,
    kept_events: broadcast::Sender<Arc<KeptEvent>>,
    tagger: Option<Tagger>,
) {
    let mut bodies = Vec::with_capacity(AT_ONCE);
    while seen.recv_many(&mut bodies, AT_ONCE).await > 0 {
        if let Some(tagger) = &tagger {
            bodies.iter().for_each(|body| tagger.see(body));
        }
        let mut batch: Vec<_> = bodies.drain(..).map(Drawn::new).collect();
        let mut refusals = 0u32;
        while !batch.is_empty() {
            let results = outbox.append_drawn(batch.clone()).await;
            if results.iter().any(|result| matches!(result, Err(OutboxError::Closed))) {
                tracing::error!("the outbox has ended; nothing is kept any more");
                return;
            }
            tell(&batch, &results, &kept_events);
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

/// Tells of the zone events that the outbox has taken. Nobody has to listen.
fn tell(batch: &[Drawn], results: &[Result<u64, OutboxError>], kept_events: &broadcast::Sender<Arc<KeptEvent>>) {
    for (drawn, result) in batch.iter().zip(results) {
        let is_taken = result.as_ref().map_or_else(OutboxError::waits, |_| true);
        if let (Body::ZoneEvents(event), true) = (drawn.body(), is_taken) {
            let _ = kept_events.send(Arc::new(KeptEvent { id: drawn.id(), event: event.clone() }));
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
    use std::path::Path;

    use super::*;
    use crate::outbox::OutboxSettings;
    use crate::state::State;
    use aivms_contract::alert::{Alert, Severity};
    use aivms_contract::envelope::Envelope;

    #[tokio::test]
    async fn everything_said_reaches_the_disk_in_order_before_the_task_ends() {
        let dir = tempfile::tempdir().unwrap();
        let (outbox, _state) = open(dir.path());
        let (bodies, seen) = mpsc::channel(2048);
        for number in 0..1000 {
            bodies.try_send(alert(&number.to_string())).unwrap();
        }
        drop(bodies);
        keep(seen, outbox.clone(), kept_events(), None).await;
        let entries = outbox.read_after(0, 2000, usize::MAX).await.unwrap();
        let titles = entries.iter().map(|entry| match Envelope::from_json(&entry.json).unwrap().body {
            Body::Alerts(alert) => alert.title,
            other => panic!("{other:?}"),
        });
        assert!(titles.eq((0..1000).map(|number| number.to_string())));
    }

    #[tokio::test]
    async fn a_zone_event_is_told_with_the_id_of_its_envelope_once_it_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (outbox, _state) = open(dir.path());
        let (bodies, seen) = mpsc::channel(8);
        bodies.try_send(alert("not an event")).unwrap();
        bodies.try_send(zone_event()).unwrap();
        drop(bodies);
        let told = kept_events();
        let mut heard = told.subscribe();
        keep(seen, outbox.clone(), told, None).await;
        let entries = outbox.read_after(0, 8, usize::MAX).await.unwrap();
        let envelope = Envelope::from_json(&entries[1].json).unwrap();
        let kept = heard.try_recv().unwrap();
        assert_eq!((kept.id, Body::ZoneEvents(kept.event.clone())), (envelope.id, envelope.body));
        assert!(heard.try_recv().is_err(), "nothing else is told");
    }

    #[tokio::test]
    async fn the_task_ends_when_the_outbox_has_ended_since_nothing_is_kept_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let (outbox, _state) = open(dir.path());
        let (bodies, seen) = mpsc::channel(8);
        outbox.clone().close().await;
        bodies.try_send(alert("unheard")).unwrap();
        tokio::time::timeout(Duration::from_secs(10), keep(seen, outbox, kept_events(), None))
            .await
            .expect("the task ends");
        assert!(bodies.is_closed(), "cameras learn of it");
    }

    fn open(dir: &Path) -> (Outbox, State) {
        let (state, _) = State::open(dir.join("state")).unwrap();
        let (dir, group_time) = (dir.join("outbox"), Duration::from_millis(20));
        let settings = OutboxSettings { dir, max_bytes: 64 << 20, group_time };
        let (outbox, _) = Outbox::open(settings, "edge_1".parse().unwrap(), &state).unwrap();
        (outbox, state)
    }

    fn zone_event() -> Body {
        let event = serde_json::json!({"camera_id": "a", "zone_id": "door", "timestamp": crate::clock::now(),
            "event_type": "enter", "object_class": "person", "confidence": 0.5, "track_id": "t1",
            "bbox": [0.0, 0.0, 1.0, 1.0], "frame": {"width": 10, "height": 10}});
        Body::ZoneEvents(serde_json::from_value(event).unwrap())
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
