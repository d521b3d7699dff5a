//! From a camera's task to the outbox, without ever holding the task up.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use aivms_contract::envelope::Body;
use aivms_contract::id::CameraId;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// Zone events that may wait for the outbox: minutes of a busy scene, well under a megabyte.
pub(crate) const MAX_WAITING: usize = 1024;
/// How often the log says that the outbox takes nothing.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// The messages of one camera on their way out.
pub(super) struct Outbound {
    camera: CameraId,
    bodies: mpsc::Sender<Body>,
    waiting: VecDeque<Body>,
    complained: Option<Instant>,
    /// Track reports dropped so far.
    pub(super) dropped: u64,
}

/// The outbox is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closed;

impl Outbound {
    pub(super) fn new(camera: CameraId, bodies: mpsc::Sender<Body>) -> Self {
        Self { camera, bodies, waiting: VecDeque::new(), complained: None, dropped: 0 }
    }

    /// Whether frames may be judged, which makes more messages.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < MAX_WAITING
    }

    /// Zone events that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Sends what can be sent at once. Of the rest, track reports are dropped and everything else waits, in order.
    pub(super) fn push(&mut self, bodies: Vec<Body>) {
        for body in bodies {
            let refused = if self.waiting.is_empty() {
                match self.bodies.try_send(body) {
                    Ok(()) => continue,
                    Err(TrySendError::Full(body) | TrySendError::Closed(body)) => body,
                }
            } else {
                body
            };
            self.complain();
            match refused {
                Body::Detections(_) => self.dropped += 1,
                event => self.waiting.push_back(event),
            }
        }
    }

    /// Sends the first message that waits, when the outbox takes it; never returns while none waits. Nothing is lost
    /// when this is given up on the way.
    pub(super) async fn send_next(&mut self) -> Result<(), Closed> {
        if self.waiting.is_empty() {
            return std::future::pending().await;
        }
        let permit = self.bodies.reserve().await.map_err(|_| Closed)?;
        if let Some(body) = self.waiting.pop_front() {
            permit.send(body);
        }
        Ok(())
    }

    /// Sends all that waits, for as long as `within`; returns what is lost.
    pub(super) async fn flush(&mut self, within: Duration) -> usize {
        let all = async {
            while !self.waiting.is_empty() {
                if self.send_next().await == Err(Closed) {
                    return;
                }
            }
        };
        // The time running out leaves the rest in `waiting`.
        let _ = tokio::time::timeout(within, all).await;
        self.waiting.len()
    }

    fn complain(&mut self) {
        if self.complained.is_some_and(|last| last.elapsed() < COMPLAIN_EVERY) {
            return;
        }
        self.complained = Some(Instant::now());
        let (waiting, dropped) = (self.waiting.len(), self.dropped);
        tracing::warn!(camera.id = %self.camera, waiting, dropped, "the outbox is behind: events wait, reports are dropped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aivms_contract::detection::{Detection, TrackPhase};
    use aivms_contract::geometry::{FrameSize, PixelBox};
    use aivms_contract::time::UtcMillis;
    use aivms_contract::zone_event::{ZoneEvent, ZoneEventType};

    const FRAME: FrameSize = FrameSize { width: 100, height: 100 };

    fn event(millis: i64) -> Body {
        Body::ZoneEvents(ZoneEvent {
            camera_id: "gate".parse().unwrap(),
            zone_id: "door".parse().unwrap(),
            timestamp: UtcMillis::from_millis(millis),
            event_type: ZoneEventType::Enter,
            object_class: "person".to_owned(),
            confidence: 0.5,
            track_id: "t1".parse().unwrap(),
            bbox: PixelBox::new(0.0, 0.0, 1.0, 1.0).unwrap(),
            frame: FRAME,
            dwell_ms: None,
            exit_reason: None,
            direction: None,
            count: None,
            speed_kmh: None,
            why: vec![],
        })
    }

    fn report(millis: i64) -> Body {
        Body::Detections(Detection {
            camera_id: "gate".parse().unwrap(),
            timestamp: UtcMillis::from_millis(millis),
            object_class: "person".to_owned(),
            confidence: 0.5,
            bbox: PixelBox::new(0.0, 0.0, 1.0, 1.0).unwrap(),
            frame: FRAME,
            track_id: "t1".parse().unwrap(),
            phase: TrackPhase::Update,
            age_ms: 0,
            stationary: false,
        })
    }

    fn outbound(room: usize) -> (Outbound, mpsc::Receiver<Body>) {
        let (bodies, outbox) = mpsc::channel(room);
        (Outbound::new("gate".parse().unwrap(), bodies), outbox)
    }

    #[tokio::test]
    async fn with_a_full_outbox_events_wait_in_order_and_reports_are_counted_away() {
        let (mut out, mut outbox) = outbound(1);
        out.push(vec![report(1), event(2), report(3), event(4), report(5)]);
        assert_eq!((out.waiting(), out.dropped), (2, 2));
        let mut received = vec![outbox.recv().await];
        while out.waiting() > 0 {
            out.send_next().await.unwrap();
            received.push(outbox.recv().await);
        }
        assert_eq!(received, [Some(report(1)), Some(event(2)), Some(event(4))]);
        out.push(vec![report(6)]);
        assert_eq!(outbox.recv().await, Some(report(6)));
    }

    #[tokio::test]
    async fn frames_are_no_longer_judged_when_too_many_events_wait() {
        let (mut out, mut outbox) = outbound(1);
        out.push((0..=MAX_WAITING as i64).map(event).collect());
        assert!(!out.has_room());
        outbox.recv().await.unwrap();
        out.send_next().await.unwrap();
        assert!(out.has_room());
    }

    #[tokio::test]
    async fn what_an_outbox_does_not_take_in_time_at_the_end_is_told() {
        let (mut out, mut outbox) = outbound(1);
        out.push(vec![event(1), event(2), event(3)]);
        assert_eq!(out.flush(Duration::from_millis(20)).await, 2);
        outbox.recv().await.unwrap();
        let drain = tokio::spawn(async move { (outbox.recv().await, outbox.recv().await) });
        assert_eq!(out.flush(Duration::from_secs(5)).await, 0);
        assert_eq!(drain.await.unwrap(), (Some(event(2)), Some(event(3))));
    }

    #[tokio::test]
    async fn a_closed_outbox_ends_the_waiting() {
        let (mut out, outbox) = outbound(1);
        drop(outbox);
        out.push(vec![event(1)]);
        assert_eq!(out.send_next().await, Err(Closed));
        assert_eq!(out.flush(Duration::from_secs(5)).await, 1);
    }
}
