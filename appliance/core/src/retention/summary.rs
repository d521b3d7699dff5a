//! What a plan means for each camera, in days and bytes.

use std::collections::BTreeMap;
use std::time::Duration;

use aivms_contract::footage::DeletionReason;
use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;

use super::{Action, Plan, Span};

/// What goes and moves of one camera.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CameraSummary {
    /// What goes, by reason: the span that holds it, its length and its bytes.
    pub deleted: BTreeMap<DeletionReason, Deletions>,
    /// Bytes that move to the slow disk.
    pub moved_bytes: u64,
}

/// What goes of one camera for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deletions {
    /// From the oldest to the newest of it; footage that stays may lie between.
    pub span: Span,
    /// How much video it is.
    pub length: Duration,
    /// Bytes that become free.
    pub bytes: u64,
}

/// Sums up a plan by camera.
#[must_use]
pub fn summary(plan: &Plan) -> BTreeMap<CameraId, CameraSummary> {
    let mut cameras = BTreeMap::<CameraId, CameraSummary>::new();
    for step in &plan.steps {
        let camera = cameras.entry(step.camera.clone()).or_default();
        match step.action {
            Action::MoveToSlow => camera.moved_bytes += step.segment.bytes,
            Action::Delete(why) => {
                let (start, end) = (step.segment.start, step.segment.end);
                let none = Deletions { span: Span { start, end }, length: Duration::ZERO, bytes: 0 };
                camera.deleted.entry(why).or_insert(none).add(start, end, step.segment.bytes);
            }
        }
    }
    cameras
}

impl Deletions {
    fn add(&mut self, start: UtcMillis, end: UtcMillis, bytes: u64) {
        self.span = Span { start: self.span.start.min(start), end: self.span.end.max(end) };
        self.length += end.since(start);
        self.bytes += bytes;
    }
}
