//! The reasons of a decision, in the order in which they were found.

use serde::{Deserialize, Serialize};

/// One question that a decision depended on, with its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was asked.
    pub gate: Gate,
    /// Whether it let the alert through.
    pub passed: bool,
    /// What was found, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What the rule asks for, for a person; absent when it asks for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
}

/// What can stop an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// Whether the rule waits for this kind of thing.
    Kind,
    /// Whether the edge is one of its.
    Edge,
    /// Whether the camera is one of its.
    Camera,
    /// Whether the zone is one of its.
    Zone,
    /// Whether the class is one of its.
    Class,
    /// Whether what was done in the zone is what it asks for.
    EventType,
    /// Whether the way over the line is what it asks for.
    Direction,
    /// Whether the edge's alert is of a kind it asks for.
    AlertType,
    /// Whether the camera's state is one it asks for.
    CameraState,
    /// Whether the gap's cause is one it asks for.
    GapCause,
    /// Whether the sensor is one it asks for.
    Sensor,
    /// The detector's confidence against the least.
    Confidence,
    /// Milliseconds inside, or since first seen, against the least.
    Dwell,
    /// Kilometres per hour against the least.
    Speed,
    /// Days of footage against the bound.
    Days,
    /// Degrees Celsius against the bound.
    Celsius,
    /// Seconds without video against the least.
    GapLength,
    /// Seconds that the camera has been in its state, against the least.
    Lasted,
    /// Whether the object is at rest.
    Stationary,
    /// Whether the clock of the rule's time zone is in its schedule.
    Schedule,
    /// Whether it has happened often enough.
    Repeated,
    /// Whether there is no alert of this very thing yet.
    Once,
    /// Whether the last alert is long enough ago.
    Cooldown,
}

impl Gate {
    /// Every gate.
    pub const ALL: [Self; 23] = [
        Self::Kind,
        Self::Edge,
        Self::Camera,
        Self::Zone,
        Self::Class,
        Self::EventType,
        Self::Direction,
        Self::AlertType,
        Self::CameraState,
        Self::GapCause,
        Self::Sensor,
        Self::Confidence,
        Self::Dwell,
        Self::Speed,
        Self::Days,
        Self::Celsius,
        Self::GapLength,
        Self::Lasted,
        Self::Stationary,
        Self::Schedule,
        Self::Repeated,
        Self::Once,
        Self::Cooldown,
    ];

    /// Whether it asks what a thing is, not how much, when or how often. What such a gate stops is none of the rule's
    /// business, and no one wonders why it raised no alert.
    #[must_use]
    pub fn is_of_subject(self) -> bool {
        self <= Self::Sensor
    }

    /// The name in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Edge => "edge",
            Self::Camera => "camera",
            Self::Zone => "zone",
            Self::Class => "class",
            Self::EventType => "event_type",
            Self::Direction => "direction",
            Self::AlertType => "alert_type",
            Self::CameraState => "camera_state",
            Self::GapCause => "gap_cause",
            Self::Sensor => "sensor",
            Self::Confidence => "confidence",
            Self::Dwell => "dwell",
            Self::Speed => "speed",
            Self::Days => "days",
            Self::Celsius => "celsius",
            Self::GapLength => "gap_length",
            Self::Lasted => "lasted",
            Self::Stationary => "stationary",
            Self::Schedule => "schedule",
            Self::Repeated => "repeated",
            Self::Once => "once",
            Self::Cooldown => "cooldown",
        }
    }
}

impl std::str::FromStr for Gate {
    type Err = GateError;
    fn from_str(text: &str) -> Result<Self, GateError> {
        Self::ALL.into_iter().find(|gate| gate.as_str() == text).ok_or_else(|| GateError(text.to_owned()))
    }
}

/// Says that a text names no gate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no gate is named {0:?}")]
pub struct GateError(String);
