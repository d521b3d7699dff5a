//! Looks at the disks and the footage on them.

use std::collections::{BTreeMap, BTreeSet};

use aivms_appliance_core::retention::{
    CameraFootage, Disk, Holdings, Limits, Plan, Problem, RetentionPolicy, Shows, Span, Stored, Tier, forecast, summary,
};
use aivms_contract::health::DiskHealth;
use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;

use super::board::{Found, Going, Kept};
use super::slow;
use super::sweep::Held;
use super::words::make_folder;
use crate::health::disk_space;
use crate::recorder::{DiskTier, Footage, RecordingPolicy, SegmentSummary, Tags};

/// What a survey takes besides the footage.
#[derive(Debug, Clone)]
pub(super) struct Around {
    pub(super) policy: std::sync::Arc<RecordingPolicy>,
    pub(super) locks: BTreeMap<CameraId, Vec<Span>>,
    pub(super) needs: BTreeMap<CameraId, Vec<Span>>,
    /// Bytes to stay free on each disk.
    pub(super) floor_bytes: u64,
    pub(super) limits: Limits,
    /// What could not be deleted or moved lately.
    pub(super) held: Vec<(CameraId, Held)>,
    /// Whether the slow disk refused what was moved to it lately.
    pub(super) is_slow_refusing: bool,
}

/// What lies on the disks, and what is wrong with them. Blocks.
///
/// # Errors
/// The disk that is recorded to can't be measured; in words.
pub(super) fn survey(footage: &Footage, around: &Around) -> Result<(Holdings, Vec<String>), String> {
    let mut problems = Vec::new();
    let measure = |tier: DiskTier| {
        let Some(folder) = footage.folders().of(tier) else { return Ok(None) };
        if tier == DiskTier::Fast {
            make_folder(folder);
        }
        match disk_space(folder) {
            Ok(space) => Ok(Some(Disk {
                total_bytes: space.total_bytes,
                free_bytes: space.free_bytes,
                floor_bytes: around.floor_bytes,
            })),
            Err(error) => Err(format!(
                "the {} disk of the recordings, {}, can't be reached ({error}): check that it is mounted",
                tier.as_str(),
                folder.display()
            )),
        }
    };
    let fast = measure(DiskTier::Fast)?.ok_or_else(|| "there is no folder for recordings".to_owned())?;
    let slow = usable(footage, around).and_then(|()| measure(DiskTier::Slow)).unwrap_or_else(|problem| {
        problems.push(problem);
        None
    });
    let held = held(around, fast);
    problems.extend(held.iter().map(|(camera, spans)| {
        format!(
            "{} files of camera {camera} could not be deleted or moved: see the log for why; they are tried again every \
             ten minutes",
            spans.len()
        )
    }));
    let mut known: BTreeSet<_> = footage.cameras().into_iter().collect();
    known.extend(around.locks.keys().cloned());
    let cameras = known.into_iter().map(|camera| {
        let own = CameraFootage {
            policy: RetentionPolicy::of(&around.policy.of(&camera)),
            segments: footage.summaries(&camera).iter().filter(|segment| segment.closed).map(stored).collect(),
            locks: [&around.locks, &held]
                .into_iter()
                .filter_map(|spans| spans.get(&camera))
                .flatten()
                .copied()
                .collect(),
            needs: around.needs.get(&camera).cloned().unwrap_or_default(),
        };
        (camera, own)
    });
    let now = UtcMillis::from_millis(0);
    Ok((Holdings { now, cameras: cameras.collect(), fast, slow, limits: around.limits }, problems))
}

/// Whether the slow disk is there, if one is configured, and takes what is moved to it.
fn usable(footage: &Footage, around: &Around) -> Result<(), String> {
    slow::look(footage.folders())?;
    if around.is_slow_refusing {
        return Err(
            "the slow disk of the recordings refused some files: see the log for why; nothing is moved to it or \
                    deleted on it for ten minutes"
                .to_owned(),
        );
    }
    Ok(())
}

/// What the plan has to do without, as if it were locked. A disk that is about to be full is freed without the chain,
/// so that only what can't be deleted stays then.
fn held(around: &Around, fast: Disk) -> BTreeMap<CameraId, Vec<Span>> {
    let is_full = fast.free_bytes < around.limits.full_bytes;
    let mut spans = BTreeMap::<_, Vec<_>>::new();
    for (camera, held) in around.held.iter().filter(|(_, held)| !is_full || held.is_entered) {
        spans.entry(camera.clone()).or_default().push(held.span);
    }
    spans
}

/// The end of the newest footage that is not later than `until`.
pub(super) fn newest_until(holdings: &Holdings, until: UtcMillis) -> Option<UtcMillis> {
    let segments = holdings.cameras.values().flat_map(|camera| &camera.segments);
    segments.map(|segment| segment.end).filter(|end| *end <= until).max()
}

/// What the survey and the plan mean to a person.
pub(super) fn found(holdings: &Holdings, plan: &Plan, mut problems: Vec<String>, locks: usize) -> Found {
    problems.extend(plan.problems.iter().map(in_words));
    let (forecasts, sums) = (forecast(holdings), summary(plan));
    let kept = |(camera, footage): (&CameraId, &CameraFootage)| {
        let forecast = forecasts.get(camera);
        let goes = sums.get(camera).into_iter().flat_map(|sum| &sum.deleted).map(|(reason, deleted)| Going {
            reason: *reason,
            days: days(deleted.length),
            bytes: deleted.bytes,
        });
        let kept = Kept {
            bytes: footage.segments.iter().map(|segment| segment.bytes).sum(),
            oldest: footage.segments.iter().map(|segment| segment.start).min(),
            forecast_days: forecast.map(|forecast| days(forecast.reaches)),
            wanted_days: forecast.map(|forecast| days(forecast.wanted)),
            goes: goes.collect(),
        };
        (camera.clone(), kept)
    };
    let locked = holdings.cameras.values().flat_map(|footage| {
        let is_locked =
            |segment: &&Stored| footage.locks.iter().any(|lock| lock.start < segment.end && segment.start < lock.end);
        footage.segments.iter().filter(is_locked).map(|segment| segment.bytes)
    });
    Found {
        cameras: holdings.cameras.iter().map(kept).collect(),
        disks: disks(holdings),
        problems,
        locks,
        locked_bytes: locked.sum(),
    }
}

fn disks(holdings: &Holdings) -> Vec<DiskHealth> {
    let health = |(tier, disk): (Tier, Disk)| {
        let segments = holdings.cameras.values().flat_map(|footage| &footage.segments);
        let on_it = segments.filter(|segment| segment.tier == tier);
        DiskHealth {
            tier: if tier == Tier::Fast { DiskTier::Fast } else { DiskTier::Slow }.as_str().to_owned(),
            total_bytes: disk.total_bytes,
            free_bytes: disk.free_bytes,
            footage_bytes: on_it.map(|segment| segment.bytes).sum(),
        }
    };
    let slow = holdings.slow.map(|slow| (Tier::Slow, slow));
    std::iter::once((Tier::Fast, holdings.fast)).chain(slow).map(health).collect()
}

fn in_words(problem: &Problem) -> String {
    match problem {
        Problem::CameraBytes { camera, excess_bytes } => format!(
            "camera {camera} has {} MiB more than its max_gib allows, and what is left of it is locked, needed by \
             events that the cloud has not got, or of the last hour: raise max_gib or take locks away",
            mib(*excess_bytes)
        ),
        Problem::FreeSpace { tier, missing_bytes, locked_bytes } => format!(
            "the {} disk lacks {} MiB to recording.min_free_gib, and no footage on it may go ({} MiB are locked): \
             free some room, take locks away or use a larger disk",
            if *tier == Tier::Fast { "fast" } else { "slow" },
            mib(*missing_bytes),
            mib(*locked_bytes)
        ),
    }
}

fn stored(segment: &SegmentSummary) -> Stored {
    let shows = |tag| segment.tags.contains(tag);
    Stored {
        start: segment.start,
        end: segment.end,
        bytes: segment.bytes,
        tier: if segment.tier == DiskTier::Fast { Tier::Fast } else { Tier::Slow },
        shows: Shows { motion: shows(Tags::MOTION), object: shows(Tags::OBJECT), event: shows(Tags::EVENT) },
    }
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1024 * 1024)
}

fn days(span: std::time::Duration) -> f32 {
    span.as_secs_f32() / 86_400.0
}
