//! Parts of an alert rule that have members of their own.

use poem_openapi::Object;
use serde::{Deserialize, Serialize};

use super::words::{AlertSeverity, DayOfWeek};

/// A camera by its id, on one edge or on any.
#[derive(Debug, Serialize, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(rename = "CameraChoice")]
pub(super) struct CameraChoiceBody {
    /// The edge it is on; null for every camera of this id.
    #[serde(default)]
    #[oai(nullable, default, validator(pattern = "^edge_[a-z0-9_-]{1,59}$"))]
    edge_id: Option<String>,
    /// The camera.
    #[oai(validator(pattern = "^[a-z0-9_-]{1,64}$"))]
    camera_id: String,
}

/// The same span on some days of the week.
#[derive(Debug, Serialize, Deserialize, Object)]
#[serde(deny_unknown_fields)]
pub(super) struct WeeklySpan {
    /// Days on which it begins; empty for every day.
    #[serde(default)]
    #[oai(default, validator(max_items = 7))]
    days: Vec<DayOfWeek>,
    /// When it begins.
    #[oai(validator(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    from: String,
    /// When it ends; a time at or before `from` is on the next day, `24:00` is midnight.
    #[oai(validator(pattern = "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"))]
    to: String,
}

/// So many times in so short a time.
#[derive(Debug, Serialize, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(rename = "Repeated")]
pub(super) struct RepeatedBody {
    /// How many, the one that raises the alert included.
    #[oai(validator(minimum(value = "2"), maximum(value = "100")))]
    times: u32,
    /// Within so many seconds from the first to the last.
    #[oai(validator(minimum(value = "1"), maximum(value = "604800")))]
    within_s: u32,
}

/// What to do when nobody has acknowledged an alert for so long.
#[derive(Debug, Serialize, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(rename = "EscalationStep")]
pub(super) struct EscalationBody {
    /// Minutes since the alert was raised or reopened.
    #[oai(validator(minimum(value = "1"), maximum(value = "43200")))]
    after_minutes: u32,
    /// The alert's severity from then on, if it is a higher one; null to leave it.
    #[serde(default)]
    #[oai(nullable, default)]
    severity: Option<AlertSeverity>,
    /// Whom to tell: ids of notification channels; empty leaves the choice to the channels.
    #[serde(default)]
    #[oai(default, validator(max_items = 256))]
    targets: Vec<String>,
}
