//! How fast a track is in a zone that knows where the ground is.
//!
//! - An event tells the speed over the second that ends with the sight that decided it.
//! - With a least speed an object enters when it is inside and that fast; the event has the time at which both are
//!   known. A slower one, or one whose speed is not known yet, is not in the zone.
//! - Until the entering has lasted the debounce time the speed may fall to [`STILL_FAST`] of the least, so that one which
//!   wavers about it does not start anew each time. Who has entered stays until seen outside, however slow.

use aivms_contract::desired::{Ground, Kmh};
use aivms_contract::why::{Check, Gate};

use super::filter::check;
use crate::ground::{FootPath, GroundPlane};

/// The part of the least speed that still does while the entering is debounced.
const STILL_FAST: f64 = 0.8;

/// Measures speeds in one zone.
#[derive(Debug)]
pub(super) struct Speedometer {
    plane: GroundPlane,
    least: Option<f64>,
}

/// Measures the speed of one track in one zone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speed<'a> {
    meter: &'a Speedometer,
    path: &'a FootPath,
}

impl Speedometer {
    /// Takes where the ground is; `None` where no camera could see such a rectangle, which the document refuses.
    pub(super) fn new(ground: &Ground) -> Option<Self> {
        let plane = GroundPlane::new(ground).ok()?;
        Some(Self { plane, least: ground.min_speed_kmh.map(Kmh::get) })
    }

    /// Whether it matters to who enters.
    pub(super) fn is_gate(&self) -> bool {
        self.least.is_some()
    }

    pub(super) fn of<'a>(&'a self, path: &'a FootPath) -> Speed<'a> {
        Speed { meter: self, path }
    }
}

impl Speed<'_> {
    pub(super) fn kmh(self) -> Option<f32> {
        self.meter.plane.speed_kmh(self.path)
    }

    /// Why the track is too slow to enter: `Some(None)` when that is not known yet, `None` when it is fast enough.
    pub(super) fn too_slow(self, is_entering: bool) -> Option<Option<Check>> {
        let least = self.meter.least?;
        let Some(kmh) = self.kmh().map(tenths) else { return Some(None) };
        let limit = if is_entering { least * STILL_FAST } else { least };
        (kmh < limit).then(|| Some(check(Gate::Speed, false, kmh, least)))
    }

    /// That the track is fast enough, where that was asked.
    pub(super) fn passed(self) -> Option<Check> {
        Some(check(Gate::Speed, true, tenths(self.kmh()?), self.meter.least?))
    }
}

/// The speed as it is told: 32-bit tenths as a 64-bit number that prints the same.
fn tenths(kmh: f32) -> f64 {
    (f64::from(kmh) * 10.0).round() / 10.0
}
