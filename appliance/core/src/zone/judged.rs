//! One zone: its hours, its judge and its tally.

use std::time::Duration;

use aivms_contract::desired::{Anchor, Fraction, Zone};
use aivms_contract::time::MediaTime;
use aivms_contract::why::Gate;
use aivms_contract::zone_event::ExitReason;

use super::area::Area;
use super::filter::{Admission, check};
use super::hours::Hours;
use super::journal::{Rule, Turn, millis};
use super::judge::{Cell, ZoneJudge};
use super::occupancy::{Tally, Told};
use super::presence::Times;
use super::speed::Speedometer;
use super::step::{Spot, Step};
use super::{Move, ZoneTransition};
use crate::schedule::SiteZone;
use crate::tracks::Sight;

/// A zone made ready.
#[derive(Debug)]
pub(super) struct JudgedZone {
    pub(super) zone: Zone,
    hours: Option<Hours>,
    judge: ZoneJudge,
    pub(super) tally: Tally,
}

impl JudgedZone {
    pub(super) fn new(index: usize, zone: &Zone, labels: &[String], site: &SiteZone) -> Self {
        let debounce = Duration::from_millis(zone.debounce_ms.get());
        let rule = Rule {
            id: zone.id.clone(),
            index,
            admission: Admission::new(&zone.classes, &zone.filters, labels),
            scheduled: zone.schedule.is_some(),
            debounce,
        };
        let dwell = zone.dwell_ms.as_slice().iter().map(|dwell| Duration::from_millis(dwell.get())).collect();
        let judge = ZoneJudge {
            rule,
            area: Area::new(&zone.polygon),
            anchor: zone.anchor,
            min_share: zone.min_overlap.unwrap_or_default().get(),
            times: Times { debounce, dwell },
            speed: zone.ground.as_ref().and_then(Speedometer::new),
        };
        let hours = zone.schedule.as_ref().map(|schedule| Hours::new(schedule, site));
        Self { zone: zone.clone(), hours, judge, tally: Tally::new(zone.occupancy) }
    }

    /// Whether a stay here goes on there.
    pub(super) fn judges_same_as(&self, other: &Self) -> bool {
        let share = |zone: &Zone| zone.min_overlap.map_or(Fraction::default().get(), Fraction::get);
        let (one, two) = (&self.zone, &other.zone);
        (&one.id, one.anchor, &one.classes, &one.polygon) == (&two.id, two.anchor, &two.classes, &two.polygon)
            && (one.anchor != Anchor::Overlap || share(one) == share(two))
    }

    pub(super) fn debounce(&self) -> Duration {
        self.judge.rule.debounce
    }

    /// What is told of its occupancy.
    pub(super) fn transition(&self, told: &Told) -> ZoneTransition {
        let Told { occupied, turn, lasted, at_least, lasts } = *told;
        let mut why = vec![check(Gate::Occupancy, true, turn.count.into(), at_least.into())];
        if !lasts.is_zero() && lasted >= lasts {
            why.push(check(Gate::Debounce, true, millis(lasted), millis(lasts)));
        }
        let (rule, what) = (&self.judge.rule, if occupied { Move::Occupied } else { Move::Cleared });
        let (zone, zone_id, count) = (rule.index, rule.id.clone(), Some(turn.count));
        ZoneTransition {
            at: turn.at,
            zone,
            zone_id,
            track: turn.track,
            what,
            shown: turn.shown,
            count,
            speed_kmh: None,
            why,
        }
    }

    pub(super) fn is_scheduled(&self) -> bool {
        self.hours.is_some()
    }

    pub(super) fn has_ground(&self) -> bool {
        self.judge.speed.is_some()
    }

    /// Takes the first sight of a track.
    pub(super) fn admit(&mut self, spot: &Spot, sight: &Sight, cell: &mut Cell, turn: &mut Turn) {
        let Self { judge, hours, .. } = self;
        if hours.as_mut().is_none_or(|hours| hours.is_open(sight.at, turn.clock)) {
            judge.meet(spot, sight.at, sight, cell, turn);
        } else {
            judge.refuse(spot, sight.at, Gate::Schedule, cell, turn);
        }
    }

    /// Takes the way of a track from one sight to the next, cut where the schedule opens or closes.
    pub(super) fn follow(&mut self, step: &Step, cell: &mut Cell, turn: &mut Turn) {
        let Self { judge, hours, .. } = self;
        let Some(hours) = hours else { return judge.pass(step, cell, turn) };
        if hours.steady(step.before, step.now, turn.clock) == Some(true) {
            return judge.pass(step, cell, turn);
        }
        let mut rest = *step;
        loop {
            let is_open = hours.is_open(rest.before, turn.clock);
            if !is_open {
                // A new schedule may have closed over it.
                judge.close(rest.before, rest.shown, cell, turn);
            }
            let change = hours.next_change(rest.before, rest.now, turn.clock).filter(|at| *at > rest.before);
            let Some(at) = change else {
                return match is_open {
                    true => judge.pass(&rest, cell, turn),
                    false => judge.refuse(&rest.to, rest.now, Gate::Schedule, cell, turn),
                };
            };
            let (until, from) = rest.split(at);
            if is_open && rest.joined {
                judge.pass(&until, cell, turn);
            }
            if is_open {
                judge.close(at, rest.shown, cell, turn);
            } else if rest.joined {
                judge.meet(&from.from, at, rest.shown, cell, turn);
            }
            rest = from;
        }
    }

    /// Closes the stay of a track that is remembered but was not seen since before the schedule closed.
    pub(super) fn close_unseen(&mut self, last: &Sight, now: MediaTime, cell: &mut Cell, turn: &mut Turn) {
        let Self { judge, hours, .. } = self;
        let Some(hours) = hours.as_mut().filter(|_| cell.presence.was_inside().is_some()) else { return };
        if hours.is_open(last.at, turn.clock)
            && let Some(at) = hours.next_change(last.at, now, turn.clock)
        {
            judge.close(at, last, cell, turn);
        }
    }

    /// Ends the track's stay, if it has one.
    pub(super) fn end(&self, at: MediaTime, reason: ExitReason, shown: &Sight, cell: &mut Cell, turn: &mut Turn) {
        self.judge.end(at, reason, shown, cell, turn);
    }
}
