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
