//! Carries out a plan: the chain first, then files, then rows; and tells the cloud what went.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aivms_appliance_core::retention::{Action, Limits, Plan, Span, Step, Tier};
use aivms_contract::envelope::Body;
use aivms_contract::footage::{Deleted, DeletionReason, Footage as Report, FootageEvent};
use aivms_contract::id::CameraId;

use super::locks::Locks;
use crate::chain::{Chain, ChainError};
use crate::clock;
use crate::outbox::Outbox;
use crate::recorder::{DiskTier, Footage, SegmentKey};

/// Segments deleted at once: one entry in the chain and a few hundred files.
const AT_ONCE: usize = 256;
/// Longest time spent moving footage before the disks are looked at again.
const MOVING: Duration = Duration::from_secs(30);
/// How often deletions are told to the cloud: a camera that has settled loses a minute each minute.
const TELL_INTERVAL: Duration = Duration::from_secs(900);
/// How long what could not be deleted or moved is left alone, and plans do without it.
const HOLD: Duration = Duration::from_secs(600);
/// Moves that fail one after the other, after which nothing is moved for as long: not a file is bad, but the disk.
const REFUSALS: usize = 3;

/// Deletes and moves, and remembers what is still to be told.
pub(super) struct Sweep {
    footage: Footage,
    chain: Chain,
    locks: Locks,
    untold: BTreeMap<(CameraId, DeletionReason), Deleted>,
    told: Instant,
    /// What could not be deleted or moved; an entry goes once it could.
    held: BTreeMap<SegmentKey, Held>,
    /// Moves that failed one after the other.
    refusals: usize,
    /// When there were too many of them.
    refused: Option<Instant>,
}

/// A segment that could not be deleted or moved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) span: Span,
    /// Whether its deletion is in the chain already.
    pub(super) is_entered: bool,
    since: Instant,
}

impl Sweep {
    pub(super) fn new(footage: Footage, chain: Chain, locks: Locks) -> Self {
        Self {
            footage,
            chain,
            locks,
            untold: BTreeMap::new(),
            told: Instant::now(),
            held: BTreeMap::new(),
            refusals: 0,
            refused: None,
        }
    }

    /// What could not be deleted or moved lately: the next plan must not count on it.
    pub(super) fn held(&self) -> Vec<(CameraId, Held)> {
        let lately = self.held.iter().filter(|(_, held)| held.since.elapsed() < HOLD);
        lately.map(|(key, held)| (key.camera.clone(), *held)).collect()
    }

    /// Whether the slow disk refused what was moved to it lately.
    pub(super) fn is_slow_refusing(&self) -> bool {
        self.refused.is_some_and(|refused| refused.elapsed() < HOLD)
    }

    /// Carries out as much of a plan as can be, and gives the number of segments that went or moved; the next plan
    /// holds what was not. `free_bytes` are those of the disk that is recorded to. Without the slow disk
    /// (`has_slow`), what lies on it waits.
    pub(super) async fn carry_out(&mut self, plan: Plan, free_bytes: u64, has_slow: bool) -> usize {
        let is_deletion = |step: &Step| matches!(step.action, Action::Delete(_));
        let possible = plan.steps.into_iter().filter(|step| has_slow || step.segment.tier == Tier::Fast);
        let (deletions, moves): (Vec<_>, Vec<_>) = possible.partition(is_deletion);
        let is_nearly_full = free_bytes < Limits::default().full_bytes;
        let mut done = 0;
        for batch in batches(deletions) {
            let camera = batch.camera.clone();
            match self.delete(batch, is_nearly_full).await {
                Ok(gone) => done += gone,
                Err(problem) => {
                    tracing::error!(
                        camera.id = camera.as_str(),
                        problem,
                        "footage could not be deleted; it is tried again"
                    );
                }
            }
        }
        done + self.relocate_all(moves).await
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

    /// Deletes segments of one camera that go for one reason; gives how many went.
    async fn delete(&mut self, batch: Batch, is_nearly_full: bool) -> Result<usize, String> {
        // No lock comes between this look and the deletion.
        let locks = self.locks.clone();
        let _gate = locks.gate().await;
        let locked = locks.spans().ok_or("the locks of footage are not known")?;
        let locked = locked.get(&batch.camera).map_or(&[][..], Vec::as_slice);
        let free = |step: &Step| !locked.iter().any(|lock| meets(*lock, step));
        let steps: Vec<_> = batch.steps.into_iter().filter(free).collect();
        let mut entered = self.enter(&batch.camera, &steps, batch.reason).await;
        if let Err(error) = &entered {
            // The chain lies on the same disk: one that is full could never be freed. The entry is made once it is.
            if !is_nearly_full {
                self.hold(&steps, false);
                return Err(format!("the deletion can't be entered in the chain: {error}"));
            }
            tracing::warn!(%error, "a full disk is freed before the deletion is in the chain");
        }
        let footage = self.footage.clone();
        let (planned, work) = (steps.clone(), move || remove(&footage, steps));
        let Removed { gone, left, bytes, problem } =
            tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?;
        if entered.is_err() {
            entered = self.enter(&batch.camera, &planned, batch.reason).await;
        }
        self.hold(&left, entered.is_ok());
        for step in &gone {
            self.held.remove(&key(step));
        }
        self.note(&batch.camera, batch.reason, &gone, bytes);
        let problem = entered.err().map(|error| format!("a deletion is not in the chain: {error}")).or(problem);
        if let Some(problem) = problem {
            tracing::error!(
                camera.id = batch.camera.as_str(),
                problem,
                "not all footage could be deleted as it should"
            );
        }
        Ok(gone.len())
    }

    /// Enters deletions in the chain that are not in it yet.
    async fn enter(&self, camera: &CameraId, steps: &[Step], reason: DeletionReason) -> Result<(), ChainError> {
        let is_new = |step: &&Step| !self.held.get(&key(step)).is_some_and(|held| held.is_entered);
        let steps: Vec<_> = steps.iter().filter(is_new).collect();
        if steps.is_empty() {
            return Ok(());
        }
        let starts: Vec<_> = steps.iter().map(|step| step.segment.start).collect();
        let bytes = steps.iter().map(|step| step.segment.bytes).sum();
        self.chain.deleted(camera, &starts, bytes, reason).await
    }

    /// Remembers what is to be told of a deletion.
    fn note(&mut self, camera: &CameraId, reason: DeletionReason, gone: &[Step], bytes: u64) {
        let (Some(first), Some(last)) = (gone.first(), gone.last()) else { return };
        let (start, end, segments) = (first.segment.start, last.segment.end, gone.len());
        tracing::info!(camera.id = camera.as_str(), segments, bytes, ?reason, %start, %end, "footage is deleted");
        let untold = self.untold.entry((camera.clone(), reason));
        let untold = untold.or_insert(Deleted { start, end, bytes: 0, reason });
        (untold.start, untold.end) = (untold.start.min(start), untold.end.max(end));
        untold.bytes = untold.bytes.saturating_add(bytes);
    }

    /// Leaves segments alone for a while.
    fn hold(&mut self, steps: &[Step], is_entered: bool) {
        for step in steps {
            let span = Span { start: step.segment.start, end: step.segment.end };
            let held = self.held.entry(key(step)).or_insert(Held { span, is_entered, since: Instant::now() });
            (held.since, held.is_entered) = (Instant::now(), held.is_entered || is_entered);
        }
    }

    /// Moves segments to the slow disk for a while; gives how many moved.
    async fn relocate_all(&mut self, moves: Vec<Step>) -> usize {
        let (begun, mut moved) = (Instant::now(), 0);
        for step in moves {
            if begun.elapsed() > MOVING {
                break;
            }
            match self.relocate(&step).await {
                Ok(()) => {
                    self.refusals = 0;
                    self.held.remove(&key(&step));
                    moved += 1;
                }
                Err(problem) => {
                    tracing::warn!(problem, "footage could not be moved to the slow disk; it is tried again");
                    self.hold(&[step], false);
                    self.refusals += 1;
                    if self.refusals >= REFUSALS {
                        (self.refusals, self.refused) = (0, Some(Instant::now()));
                        break;
                    }
                }
            }
        }
        moved
    }

    async fn relocate(&self, step: &Step) -> Result<(), String> {
        let (footage, key) = (self.footage.clone(), key(step));
        let moved = tokio::task::spawn_blocking(move || footage.relocate(&key, DiskTier::Slow)).await;
        moved.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}

/// What became of segments that were to be deleted.
#[derive(Default)]
struct Removed {
    gone: Vec<Step>,
    left: Vec<Step>,
    bytes: u64,
    problem: Option<String>,
}

/// Deletes each segment that can be. Blocks.
fn remove(footage: &Footage, steps: Vec<Step>) -> Removed {
    let mut removed = Removed::default();
    for step in steps {
        match footage.remove(&[key(&step)]) {
            Ok(bytes) => {
                removed.bytes = removed.bytes.saturating_add(bytes);
                removed.gone.push(step);
            }
            Err(error) => {
                removed.problem.get_or_insert_with(|| error.to_string());
                removed.left.push(step);
            }
        }
    }
    removed
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

fn key(step: &Step) -> SegmentKey {
    SegmentKey { camera: step.camera.clone(), start: step.segment.start }
}
