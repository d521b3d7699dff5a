//! What events need that the cloud has not got yet.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use aivms_appliance_core::clip::ClipSettings;
use aivms_appliance_core::retention::Span;
use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;
use aivms_contract::topic::UpKind;
use tokio::sync::watch;

use crate::outbox::Outbox;

/// Least footage kept for an event before it, and after it.
const BEFORE_EVENT: Duration = Duration::from_secs(15);
/// See [`BEFORE_EVENT`].
const AFTER_EVENT: Duration = Duration::from_secs(30);
/// Entries read from the outbox at once, and their bytes.
const AT_ONCE: (usize, usize) = (512, 1024 * 1024);
/// Spans remembered, some megabytes; beyond it the oldest is forgotten, and goes with its tier as if it were
/// acknowledged.
const MAX_WAITING: usize = 100_000;

/// What someone still needs; `None` until that is known.
pub type Needed = Option<Vec<(CameraId, Span)>>;
/// Someone else who still needs footage, such as clips that are not cut yet. Nothing is deleted before all are known.
pub type NeedSource = watch::Receiver<Needed>;

/// How much footage an event needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Surroundings {
    before: Duration,
    after: Duration,
}

impl Surroundings {
    /// What a clip of these lengths shows, and at least 15 s before the event and 30 s after it.
    #[must_use]
    pub fn of(lengths: &ClipSettings) -> Self {
        Self { before: lengths.pre_roll.max(BEFORE_EVENT), after: lengths.post_roll.max(AFTER_EVENT) }
    }

    /// The camera and the span that show what a message is about.
    pub(super) fn needed_by(self, body: &Body) -> Option<(CameraId, Span)> {
        let (camera, at) = match body {
            Body::ZoneEvents(event) => (&event.camera_id, event.timestamp),
            Body::Alerts(alert) => (&alert.camera_id, alert.timestamp),
            _ => return None,
        };
        Some((camera.clone(), self.around(at)))
    }

    fn around(self, at: UtcMillis) -> Span {
        Span { start: at - self.before, end: at + self.after }
    }
}

/// Follows the outbox and knows which footage its events need until they are acknowledged.
pub struct Needs {
    /// Absent without a cloud: nobody will ever acknowledge anything then.
    outbox: Option<Outbox>,
    surroundings: Surroundings,
    others: Vec<NeedSource>,
    read_through: u64,
    /// In the order of their sequence numbers.
    waiting: VecDeque<(u64, CameraId, Span)>,
}

impl Needs {
    /// Follows `outbox`, whose events need so much, and asks `others`.
    #[must_use]
    pub fn new(outbox: Option<Outbox>, surroundings: Surroundings, others: Vec<NeedSource>) -> Self {
        Self { outbox, surroundings, others, read_through: 0, waiting: VecDeque::new() }
    }

    /// The spans needed now, by camera; waits until all others know theirs.
    pub async fn spans(&mut self) -> BTreeMap<CameraId, Vec<Span>> {
        if let Some(outbox) = self.outbox.clone() {
            self.follow(&outbox).await;
        }
        let mut spans = BTreeMap::<CameraId, Vec<Span>>::new();
        for (_, camera, span) in &self.waiting {
            spans.entry(camera.clone()).or_default().push(*span);
        }
        for other in &mut self.others {
            // One that ended without a word needs nothing.
            let Ok(needed) = other.wait_for(Option::is_some).await else { continue };
            for (camera, span) in needed.iter().flatten() {
                spans.entry(camera.clone()).or_default().push(*span);
            }
        }
        spans
    }

    async fn follow(&mut self, outbox: &Outbox) {
        let acknowledged = outbox.acknowledged();
        while self.waiting.front().is_some_and(|(seq, ..)| *seq <= acknowledged) {
            self.waiting.pop_front();
        }
        self.read_through = self.read_through.max(acknowledged);
        loop {
            match outbox.read_after(self.read_through, AT_ONCE.0, AT_ONCE.1).await {
                Ok(entries) if entries.is_empty() => return,
                Ok(entries) => {
                    for entry in entries {
                        self.read_through = entry.seq;
                        if matches!(entry.kind, UpKind::ZoneEvents | UpKind::Alerts) {
                            let needed = Envelope::from_json(&entry.json)
                                .ok()
                                .and_then(|it| self.surroundings.needed_by(&it.body));
                            needed.into_iter().for_each(|(camera, span)| self.wait(entry.seq, camera, span));
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "it is not known what all waiting events need; what was known holds");
                    return;
                }
            }
        }
    }

    fn wait(&mut self, seq: u64, camera: CameraId, span: Span) {
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back((seq, camera, span));
    }
}
