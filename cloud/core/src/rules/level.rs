//! Values that each report tells anew: one that stays beyond its bound is one thing, however often it is told.

use aivms_contract::time::UtcMillis;
use serde::{Deserialize, Serialize};

use super::occurrence::What;
use super::rule::Rule;

/// Degrees Celsius that a temperature must fall below its bound to be back. A machine under an even
/// load goes up and down by two or three.
const COOLER_BY: f64 = 5.0;
/// Times its bound that a forecast must reach to be back. It moves by a few hundredths with
/// the hour of the day.
const LONGER_BY: f64 = 1.1;

/// A value against the bound of a rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Level {
    bound: f64,
    /// It is what the rule waits for.
    is_beyond: bool,
    /// It is so far from it that being beyond again is news.
    is_back: bool,
}

/// A value that went beyond a bound and is not back yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Excursion {
    /// Time of the report that told of it first, in milliseconds since 1970.
    since: i64,
    /// The bound, as a text so that it comes back from the database as it was.
    bound: String,
}

impl Level {
    /// The value that `what` tells, if it is of this sort.
    pub(super) fn of(rule: &Rule, what: &What) -> Option<Self> {
        match what {
            What::Temperature { celsius, .. } => rule.above_celsius.map(|bound| Self {
                bound,
                is_beyond: *celsius > bound,
                is_back: *celsius <= bound - COOLER_BY,
            }),
            What::DiskForecast { days } => rule.below_days.map(|bound| Self {
                bound,
                is_beyond: *days < bound,
                is_back: *days >= bound * LONGER_BY,
            }),
            _ => None,
        }
    }

    /// Changes what is known of the value by its next report, of `at`: begins an excursion or ends one. One of
    /// another bound is forgotten: who has changed the rule asks anew. Returns since when the present one lasts.
    ///
    /// Reports count in the order in which they come. Time does not order them, as the clock of an edge that was far
    /// ahead would silence it until then.
    pub(super) fn follow(self, excursion: &mut Option<Excursion>, at: UtcMillis) -> Option<UtcMillis> {
        let bound = self.bound.to_string();
        if self.is_back || excursion.as_ref().is_some_and(|known| known.bound != bound) {
            *excursion = None;
        }
        if self.is_beyond && excursion.is_none() {
            *excursion = Some(Excursion { since: at.as_millis(), bound });
        }
        excursion.as_ref().map(|known| UtcMillis::from_millis(known.since))
    }
}
