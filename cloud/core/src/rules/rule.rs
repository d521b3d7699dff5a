//! What a tenant wants to be told of.

use std::fmt;
use std::str::FromStr;

use aivms_contract::alert::Severity;
use aivms_contract::desired::{Schedule, TimeZoneName};
use aivms_contract::footage::GapCause;
use aivms_contract::health::CameraState;
use aivms_contract::id::{CameraId, EdgeId, ZoneId};
use aivms_contract::zone_event::{Direction, ZoneEventType};
use serde::{Deserialize, Serialize};

use super::Kind;

/// One alert rule as a tenant wrote it. Lists that are empty and values that are absent ask for nothing.
///
/// Which fields belong to which [`Kind`] is checked by [`Rule::check`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What people call it.
    pub name: String,
    /// Whether it is asked at all.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// What it waits for.
    pub kind: Kind,
    /// How urgent its alerts are; absent only for [`Kind::EdgeAlert`], where the edge says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Only of these edges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<EdgeId>,
    /// Only of these cameras.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cameras: Vec<CameraChoice>,
    /// Only in these zones or at these lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<ZoneId>,
    /// Only of these classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Only these things done in a zone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event_types: Vec<ZoneEventType>,
    /// Only crossings in this way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Only alerts of the edge of these kinds, such as `camera_offline`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alert_types: Vec<String>,
    /// Only cameras that come into these states.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub camera_states: Vec<CameraState>,
    /// Only gaps by these faults.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gap_causes: Vec<GapCause>,
    /// Only temperatures of these sensors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensors: Vec<String>,
    /// Least confidence of the detector, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_confidence: Option<f64>,
    /// Least milliseconds inside a zone, or for detections since the track was first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_dwell_ms: Option<u64>,
    /// Least speed over the ground in kilometres per hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_speed_kmh: Option<f64>,
    /// Forecast of footage below which it counts, in days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below_days: Option<f64>,
    /// Temperature above which it counts, in degrees Celsius.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above_celsius: Option<f64>,
    /// Least seconds without video.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_gap_s: Option<u32>,
    /// Least seconds that a camera has been in its state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_lasted_s: Option<u32>,
    /// Whether objects at rest count, too, such as parked cars.
    #[serde(default)]
    pub stationary: bool,
    /// When it counts; absent for always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// The time zone in which `schedule` is meant, UTC when absent; also that of the days of a back-test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<TimeZoneName>,
    /// Only when it happens often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeated: Option<Repeated>,
    /// Seconds around an alert in which there is no other one of the same [`Rule::per`].
    #[serde(default)]
    pub cooldown_s: u32,
    /// What cool-down and repetition are counted for.
    #[serde(default)]
    pub per: Per,
    /// Whether one object alerts once at most in each [`Rule::per`].
    #[serde(default = "yes")]
    pub once_per_track: bool,
    /// Whom to tell: ids of notification channels; empty leaves the choice to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// What to do when nobody acknowledges, by rising minutes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub escalation: Vec<EscalationStep>,
}

/// A camera by name, on one edge or on any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraChoice {
    /// The edge it is on; absent for every camera of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge_id: Option<EdgeId>,
    /// The camera.
    pub camera_id: CameraId,
}

/// So many times in so short a time. With [`Rule::once_per_track`] one object counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repeated {
    /// How many, the one that raises the alert included.
    pub times: u32,
    /// Within so many seconds from the first to the last.
    pub within_s: u32,
}

/// What cool-down, repetition and once-per-track are counted for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// Each zone of each camera by itself.
    Zone,
    /// Each camera by itself.
    #[default]
    Camera,
    /// Each edge by itself.
    Edge,
    /// All together.
    Rule,
}

/// What to do when nobody has acknowledged an alert for so long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EscalationStep {
    /// Minutes since the alert was raised or reopened.
    pub after_minutes: u32,
    /// The alert's severity from then on; absent to leave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Whom to tell; empty leaves the choice to the notification channels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
}

/// Says that a text is no severity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be info, warning or critical, is {0:?}")]
pub struct SeverityError(String);

/// The name of a severity in JSON and in the database.
#[must_use]
pub fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

/// Reads the name of a severity.
///
/// # Errors
/// It is none.
pub fn parse_severity(text: &str) -> Result<Severity, SeverityError> {
    [Severity::Info, Severity::Warning, Severity::Critical]
        .into_iter()
        .find(|severity| severity_name(*severity) == text)
        .ok_or_else(|| SeverityError(text.to_owned()))
}

impl Rule {
    /// A rule of `kind` that asks for nothing else.
    #[must_use]
    pub fn new(name: &str, kind: Kind, severity: Option<Severity>) -> Self {
        Self {
            name: name.to_owned(),
            enabled: true,
            kind,
            severity,
            edges: Vec::new(),
            cameras: Vec::new(),
            zones: Vec::new(),
            classes: Vec::new(),
            event_types: Vec::new(),
            direction: None,
            alert_types: Vec::new(),
            camera_states: Vec::new(),
            gap_causes: Vec::new(),
            sensors: Vec::new(),
            min_confidence: None,
            min_dwell_ms: None,
            min_speed_kmh: None,
            below_days: None,
            above_celsius: None,
            min_gap_s: None,
            min_lasted_s: None,
            stationary: false,
            schedule: None,
            time_zone: None,
            repeated: None,
            cooldown_s: 0,
            per: Per::default(),
            once_per_track: true,
            targets: Vec::new(),
            escalation: Vec::new(),
        }
    }

    /// The rules that every tenant begins with, so that nobody learns of a dead recorder from an empty timeline
    /// (frigate #1932, #7473, #3910). A tenant changes or deletes them as its own.
    #[must_use]
    pub fn built_in() -> Vec<Self> {
        let calm = |rule: Self| Self { cooldown_s: 300, ..rule };
        let edge = |rule: Self| Self { per: Per::Edge, ..rule };
        vec![
            calm(Self::new("Alerts of edges", Kind::EdgeAlert, None)),
            edge(calm(Self::new("Edge offline", Kind::EdgeOffline, Some(Severity::Warning)))),
            calm(Self {
                camera_states: vec![CameraState::Retrying],
                min_lasted_s: Some(60),
                ..Self::new("Camera without video", Kind::CameraState, Some(Severity::Warning))
            }),
            edge(calm(Self::new("Identity of an edge used twice", Kind::TakeOver, Some(Severity::Critical)))),
        ]
    }
}

impl FromStr for Per {
    type Err = PerError;
    fn from_str(text: &str) -> Result<Self, PerError> {
        [Self::Zone, Self::Camera, Self::Edge, Self::Rule]
            .into_iter()
            .find(|per| per.to_string() == text)
            .ok_or_else(|| PerError(text.to_owned()))
    }
}

/// Says that a text names nothing that is counted for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be zone, camera, edge or rule, is {0:?}")]
pub struct PerError(String);

impl fmt::Display for Per {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zone => "zone",
            Self::Camera => "camera",
            Self::Edge => "edge",
            Self::Rule => "rule",
        })
    }
}

fn yes() -> bool {
    true
}
