//! How far back footage will reach once retention has settled at today's rate.

use std::collections::BTreeMap;
use std::time::Duration;

use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;

use super::plan::floor;
use super::pool::Pool;
use super::{CameraFootage, Disk, Holdings, Tier, Worth};

/// Span over which the rate is measured: a whole day, since nights differ.
const WINDOW: Duration = Duration::from_secs(86_400);
/// Least span of footage that says anything about a rate.
const LEAST: Duration = Duration::from_secs(600);
/// Halvings of the span searched: from ten years to well below a second.
const HALVINGS: u32 = 40;

/// How far back one camera's footage will reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forecast {
    /// Bytes of a day at today's rate.
    pub bytes_per_day: u64,
    /// How long everything will be there; of a camera of which only some is kept, the least worth that is.
    pub reaches: Duration,
    /// How long that is meant to be kept.
    pub wanted: Duration,
    /// How old the oldest of it will be, whatever it shows.
    pub oldest: Duration,
}

/// One camera's rates and times to keep by worth, in bytes per second and seconds.
struct Flow {
    rates: [f64; 4],
    keeps: [f64; 4],
}

/// Forecasts each camera of which ten minutes are recorded.
///
/// Room is what footage has and what is free above the floors of both disks, less what is locked. When it is too
/// small for what is to be kept, the span shrinks for all cameras alike, first of what shows nothing, as the plan
/// deletes.
#[must_use]
pub fn forecast(holdings: &Holdings) -> BTreeMap<CameraId, Forecast> {
    let pool = Pool::of(holdings);
    let measured = |(camera, footage): (&CameraId, &CameraFootage)| {
        let rates = rates(footage, holdings.now)?;
        let keeps = Worth::ALL.map(|worth| footage.policy.keeps_worth(worth).as_secs_f64());
        let mut flow = Flow { rates, keeps };
        if let Some(most) = footage.policy.max_bytes {
            let locked = pool.bytes(|item| item.locked && item.camera == camera);
            settle(std::slice::from_mut(&mut flow), as_f64(most.saturating_sub(locked)));
        }
        Some((camera.clone(), flow))
    };
    let (cameras, mut flows): (Vec<_>, Vec<_>) = holdings.cameras.iter().filter_map(measured).unzip();
    let room = |tier, disk: Disk| {
        let kept = pool.bytes(|item| item.segment.tier == tier && !item.locked);
        disk.free_bytes.saturating_add(kept).saturating_sub(floor(disk))
    };
    let slow = holdings.slow.map_or(0, |slow| room(Tier::Slow, slow));
    settle(&mut flows, as_f64(room(Tier::Fast, holdings.fast).saturating_add(slow)));
    let told = |(camera, flow): (CameraId, Flow)| {
        let policy = holdings.cameras.get(&camera).map(|footage| footage.policy).unwrap_or_default();
        (camera, flow.told(|worth| policy.keeps_worth(worth)))
    };
    cameras.into_iter().zip(flows).map(told).collect()
}

impl Flow {
    fn told(&self, wanted: impl Fn(Worth) -> Duration) -> Forecast {
        let tiers = || Worth::ALL.into_iter().zip(self.rates).zip(self.keeps);
        let flowing = || tiers().filter(|((_, rate), _)| *rate > 0.0);
        let least = flowing().find(|((worth, _), _)| !wanted(*worth).is_zero());
        let (worth, reaches) = least.map_or((Worth::Continuous, 0.0), |((worth, _), keep)| (worth, keep));
        Forecast {
            bytes_per_day: as_u64(self.rates.iter().sum::<f64>() * WINDOW.as_secs_f64()),
            reaches: seconds(reaches),
            wanted: wanted(worth),
            oldest: seconds(flowing().map(|(_, keep)| keep).fold(0.0, f64::max)),
        }
    }
}

/// Bytes per second by worth over the last day, or since the camera is recorded.
fn rates(footage: &CameraFootage, now: UtcMillis) -> Option<[f64; 4]> {
    let past = || footage.segments.iter().filter(|segment| segment.end <= now);
    let oldest_of = |worth: Worth| {
        let likely = past().filter(|segment| segment.shows.worth() <= worth);
        likely.map(|segment| segment.start).min()
    };
    let whole = now.since(oldest_of(Worth::Event)?);
    let mut rates = [0.0; 4];
    for (rate, worth) in rates.iter_mut().zip(Worth::ALL) {
        // What is worth little may be gone already where there is little room: then the rest of the day says nothing.
        let Some(oldest) = oldest_of(worth) else { continue };
        let span = now.since(oldest).clamp(LEAST, WINDOW);
        let recent = past().filter(|segment| segment.shows.worth() == worth && now.since(segment.start) <= span);
        *rate = as_f64(recent.map(|segment| segment.bytes).sum()) / span.as_secs_f64();
    }
    (whole >= LEAST && rates.iter().sum::<f64>() > 0.0).then_some(rates)
}

/// Shortens what is kept until it fits `room`, for all cameras alike and first what is worth least.
fn settle(flows: &mut [Flow], room: f64) {
    for worth in 0..Worth::ALL.len() {
        let total = |flows: &[Flow], most: f64| -> f64 {
            let of = |flow: &Flow| -> f64 {
                let tiers = flow.rates.iter().zip(&flow.keeps).enumerate();
                tiers.map(|(tier, (rate, keep))| rate * if tier == worth { keep.min(most) } else { *keep }).sum()
            };
            flows.iter().map(of).sum()
        };
        if total(flows, f64::MAX) <= room {
            return;
        }
        let longest = flows.iter().filter_map(|flow| flow.keeps.get(worth).copied()).fold(0.0, f64::max);
        let (mut fits, mut too_long) = (0.0, longest);
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(fits, too_long);
            if total(flows, middle) <= room {
                fits = middle;
            } else {
                too_long = middle;
            }
        }
        let keeps = flows.iter_mut().filter_map(|flow| flow.keeps.get_mut(worth));
        keeps.for_each(|keep| *keep = keep.min(fits));
    }
}

fn seconds(span: f64) -> Duration {
    Duration::try_from_secs_f64(span).unwrap_or(Duration::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a forecast of bytes; 2^52 is four petabytes")]
fn as_f64(bytes: u64) -> f64 {
    bytes as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates; a rate is not negative")]
fn as_u64(bytes: f64) -> u64 {
    bytes as u64
}
