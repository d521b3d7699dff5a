//! Why an event was made, as the API shows it.

use aivms_contract::why::{Check, Gate};
use poem_openapi::{Enum, Object};

/// One question that the event depended on, with its answer.
#[derive(Debug, Object)]
#[oai(rename = "Check")]
pub(super) struct CheckAnswer {
    /// What was asked.
    gate: GateName,
    /// Whether it let the event through.
    passed: bool,
    /// What was found, in the unit of the gate; null where there is nothing to measure.
    #[oai(nullable)]
    value: Option<f64>,
    /// The bound it was held to, in the same unit; null where there is none.
    #[oai(nullable)]
    limit: Option<f64>,
}

/// What can let an event through or stop it. Values and limits are parts of a whole for `confidence`, `min_area`,
/// `max_area` (of the frame) and `overlap` (of the box), width divided by height for `min_aspect` and `max_aspect`,
/// milliseconds for `debounce` and `dwell`, km/h for `speed`, objects for `occupancy`; the others have none.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case", rename = "Gate")]
enum GateName {
    /// The class is one that is asked for.
    Class,
    /// The detector's confidence, 0 to 1, against the least.
    Confidence,
    /// Area of the box as a part of the frame's, against the least.
    MinArea,
    /// Area of the box as a part of the frame's, against the largest.
    MaxArea,
    /// Width divided by height, against the least.
    MinAspect,
    /// Width divided by height, against the largest.
    MaxAspect,
    /// It does not stand in a mask.
    Mask,
    /// The part of the box inside, against the least.
    Overlap,
    /// The site's clock is in the schedule.
    Schedule,
    /// Milliseconds for which the change of side lasted, against the least.
    Debounce,
    /// The way over the line is one that is asked for.
    Direction,
    /// Milliseconds inside, against the threshold.
    Dwell,
    /// Speed in km/h, against the least.
    Speed,
    /// Objects inside, against the number asked for.
    Occupancy,
    /// It moves, or is at rest and was not told of yet.
    Stationary,
}

impl From<Check> for CheckAnswer {
    fn from(Check { gate, passed, value, limit }: Check) -> Self {
        Self { gate: gate.into(), passed, value, limit }
    }
}

impl From<Gate> for GateName {
    fn from(gate: Gate) -> Self {
        match gate {
            Gate::Class => Self::Class,
            Gate::Confidence => Self::Confidence,
            Gate::MinArea => Self::MinArea,
            Gate::MaxArea => Self::MaxArea,
            Gate::MinAspect => Self::MinAspect,
            Gate::MaxAspect => Self::MaxAspect,
            Gate::Mask => Self::Mask,
            Gate::Overlap => Self::Overlap,
            Gate::Schedule => Self::Schedule,
            Gate::Debounce => Self::Debounce,
            Gate::Direction => Self::Direction,
            Gate::Dwell => Self::Dwell,
            Gate::Speed => Self::Speed,
            Gate::Occupancy => Self::Occupancy,
            Gate::Stationary => Self::Stationary,
        }
    }
}
