//! Carries out a plan: the chain first, then files, then rows; and tells the cloud what went.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aivms_appliance_core::retention::{Action, Limits, Plan, Span, Step};
use aivms_contract::envelope::Body;
use aivms_contract::footage::{Deleted, DeletionReason, Footage as Report, FootageEvent};
use aivms_contract::id::CameraId;

use super::locks::Locks;
use crate::chain::Chain;
use crate::clock;
use crate::outbox::Outbox;
use crate::recorder::{DiskTier, Footage, SegmentKey};

/// Segments deleted at once: one entry in the chain and a few hundred files.
const AT_ONCE: usize = 256;
/// Longest time spent moving footage before the disks are looked at again.
const MOVING: Duration = Duration::from_secs(30);
/// How often deletions are told to the cloud: a camera that has settled loses a minute each minute.
const TELL_INTERVAL: Duration = Duration::from_secs(900);

/// Deletes and moves, and remembers what is still to be told.
pub(super) struct Sweep {
    footage: Footage,
    chain: Chain,
    locks: Locks,
    untold: BTreeMap<(CameraId, DeletionReason), Deleted>,
    told: Instant,
}

impl Sweep {
    pub(super) fn new(footage: Footage, chain: Chain, locks: Locks) -> Self {
        Self { footage, chain, locks, untold: BTreeMap::new(), told: Instant::now() }
    }

    /// Carries out as much of a plan as can be; the next plan holds what was not. `free_bytes` are those of the disk
    /// that is recorded to.
    pub(super) async fn carry_out(&mut self, plan: Plan, free_bytes: u64) {
        let is_deletion = |step: &Step| matches!(step.action, Action::Delete(_));
        let (deletions, moves): (Vec<_>, Vec<_>) = plan.steps.into_iter().partition(is_deletion);
        let is_nearly_full = free_bytes < Limits::default().full_bytes;
        for batch in batches(deletions) {
            if let Err(problem) = self.delete(batch, is_nearly_full).await {
                tracing::error!(problem, "footage could not be deleted; it is tried again");
                return;
            }
        }
        let begun = Instant::now();
        for step in moves {
            if begun.elapsed() > MOVING {
                return;
            }
            if let Err(problem) = self.relocate(&step).await {
                tracing::warn!(problem, "footage could not be moved to the slow disk; it is tried again");
                return;
            }
        }
    }

    /// Tells the cloud what went, from time to time or `at_once`.
    pub(super) async fn tell(&mut self, outbox: &Outbox, at_once: bool) {
        if !at_once && self.told.elapsed() < TELL_INTERVAL {
            return;
        }
        self.told = Instant::now();
        for ((camera_id, reason), deleted) in std::mem::take(&mut self.untold) {
            let event = FootageEvent::Deleted(deleted.clone());
            let report = Report { camera_id: camera_id.clone(), timestamp: clock::now(), event };
            match outbox.append(Body::Footage(report)).await {
                Err(error) if !error.waits() => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a deletion is not told yet");
                    self.untold.insert((camera_id, reason), deleted);
                }
                _ => {}
            }
        }
    }

    /// Deletes segments of one camera that go for one reason.
    async fn delete(&mut self, batch: Batch, is_nearly_full: bool) -> Result<(), String> {
        // No lock comes between this look and the deletion.
        let locks = self.locks.clone();
        let _gate = locks.gate().await;
        let locked = locks.spans().ok_or("the locks of footage are not known")?;
        let locked = locked.get(&batch.camera).map_or(&[][..], Vec::as_slice);
        let free = |step: &Step| !locked.iter().any(|lock| meets(*lock, step));
        let steps: Vec<_> = batch.steps.into_iter().filter(free).collect();
        let (Some(first), Some(last)) = (steps.first(), steps.last()) else { return Ok(()) };
        let (start, end) = (first.segment.start, last.segment.end);
        let starts: Vec<_> = steps.iter().map(|step| step.segment.start).collect();
        let planned = steps.iter().map(|step| step.segment.bytes).sum();
        let entered = self.chain.deleted(&batch.camera, &starts, planned, batch.reason).await;
        if let Err(error) = &entered {
            // The chain lies on the same disk: one that is full could never be freed. The entry is made once it is.
            if !is_nearly_full {
                return Err(format!("the deletion can't be entered in the chain: {error}"));
            }
            tracing::warn!(%error, "a full disk is freed before the deletion is in the chain");
        }
        let keys: Vec<_> = starts.iter().map(|start| key(&batch.camera, *start)).collect();
        let footage = self.footage.clone();
        let removed = tokio::task::spawn_blocking(move || footage.remove(&keys)).await;
        let bytes = removed.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        if entered.is_err() {
            let again = self.chain.deleted(&batch.camera, &starts, planned, batch.reason).await;
            again.map_err(|error| format!("a deletion is not in the chain: {error}"))?;
        }
        let (camera, segments) = (batch.camera.as_str(), starts.len());
        tracing::info!(camera.id = camera, segments, bytes, reason = ?batch.reason, %start, %end, "footage is deleted");
        let untold = self.untold.entry((batch.camera, batch.reason));
        let untold = untold.or_insert(Deleted { start, end, bytes: 0, reason: batch.reason });
        (untold.start, untold.end) = (untold.start.min(start), untold.end.max(end));
        untold.bytes = untold.bytes.saturating_add(bytes);
        Ok(())
    }

    async fn relocate(&self, step: &Step) -> Result<(), String> {
        let (footage, key) = (self.footage.clone(), key(&step.camera, step.segment.start));
        let moved = tokio::task::spawn_blocking(move || footage.relocate(&key, DiskTier::Slow)).await;
        moved.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}

/// Segments of one camera that go for one reason, oldest first.
struct Batch {
    camera: CameraId,
    reason: DeletionReason,
    steps: Vec<Step>,
}

/// Parts deletions by camera and reason, keeping to the order of the plan as far as the first of each goes.
fn batches(steps: Vec<Step>) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    for step in steps {
        let Action::Delete(reason) = step.action else { continue };
        let same =
            |batch: &&mut Batch| batch.camera == step.camera && batch.reason == reason && batch.steps.len() < AT_ONCE;
        match batches.iter_mut().rev().find(same) {
            Some(batch) => batch.steps.push(step),
            None => batches.push(Batch { camera: step.camera.clone(), reason, steps: vec![step] }),
        }
    }
    for batch in &mut batches {
        batch.steps.sort_unstable_by_key(|step| step.segment.start);
    }
    batches
}

fn meets(lock: Span, step: &Step) -> bool {
    lock.start < step.segment.end && step.segment.start < lock.end
}

fn key(camera: &CameraId, start: aivms_contract::time::UtcMillis) -> SegmentKey {
    SegmentKey { camera: camera.clone(), start }
}
