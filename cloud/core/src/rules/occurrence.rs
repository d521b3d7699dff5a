//! One thing that happened and that rules are asked about.

use std::fmt;
use std::str::FromStr;

use aivms_contract::alert::Severity;
use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::footage::{FootageEvent, GapCause};
use aivms_contract::health::{CameraHealth, CameraState, Health};
use aivms_contract::id::{CameraId, EdgeId, EventId, TrackId, ZoneId};
use aivms_contract::time::UtcMillis;
use aivms_contract::zone_event::{Direction, ZoneEvent, ZoneEventType};
use serde::{Deserialize, Serialize};

/// One thing that happened at a tenant's site.
///
/// Two occurrences of the same edge, camera, time and [`What`] without an event id count as one: whoever finds
/// something out from state, such as that an edge is offline, takes the time at which that state began, so that two
/// processes that find out the same tell of one thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Occurrence {
    /// The stored event that tells of it; `None` for what the cloud found out by itself.
    pub event: Option<EventId>,
    /// When it happened: media time where frames tell of it.
    pub at: UtcMillis,
    /// The edge it is about.
    pub edge: EdgeId,
    /// The camera it is about, when it is about one.
    pub camera: Option<CameraId>,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A track did something in a zone or at a line.
    Zone {
        /// The zone or line.
        zone: ZoneId,
        /// What it did there.
        event_type: ZoneEventType,
        /// Who did it.
        seen: Seen,
        /// Time inside, for `exit` and `dwell`.
        dwell_ms: Option<u64>,
        /// The way over the line, for `cross`.
        direction: Option<Direction>,
        /// Speed over the ground in kilometres per hour, where the zone knows it.
        speed_kmh: Option<f32>,
    },
    /// A report about a track.
    Detection {
        /// What was seen.
        seen: Seen,
        /// Time since the track was first seen.
        age_ms: u64,
        /// Whether it is at rest, as a parked car is.
        stationary: bool,
    },
    /// The edge raised an alert by itself.
    EdgeAlert {
        /// Its kind, such as `camera_offline`.
        alert_type: String,
        /// How urgent the edge takes it to be.
        severity: Severity,
        /// One line for a person.
        title: String,
    },
    /// The edge has not been heard of for longer than its time-out; [`Occurrence::at`] is its last sign of life.
    EdgeOffline,
    /// The edge is heard of again; [`Occurrence::at`] is when.
    EdgeOnline {
        /// How long it was offline.
        offline_ms: u64,
    },
    /// A camera is in another state than before; [`Occurrence::at`] is since when.
    Camera {
        /// The new state.
        state: CameraState,
        /// Why it is not streaming, for a person.
        cause: Option<String>,
        /// For how long it has been in it when this was told.
        lasted_ms: u64,
    },
    /// The footage of a camera will be kept for so many days at today's rate.
    DiskForecast {
        /// Days its oldest footage will be old once retention has settled.
        days: f64,
    },
    /// A temperature was measured.
    Temperature {
        /// Where, by the name that the edge's system gives it, such as `CPU-therm`.
        sensor: String,
        /// Degrees Celsius.
        celsius: f64,
    },
    /// A span without video has ended, or still lasts; [`Occurrence::at`] is its beginning, so that one span told twice
    /// is one thing.
    RecordingGap {
        /// Whose fault it is.
        cause: GapCause,
        /// How long it is, so far.
        length_ms: u64,
    },
    /// Somebody else used the identity of the edge at the same time.
    TakeOver {
        /// What was seen, for a person.
        detail: String,
    },
}

/// An object that was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Label of the model, such as `person`.
    pub class: String,
    /// The detector's confidence, 0 to 1.
    pub confidence: f32,
    /// Its track.
    pub track: TrackId,
}

/// What a rule waits for: the kinds of [`What`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// [`What::Zone`].
    Zone,
    /// [`What::Detection`].
    Detection,
    /// [`What::EdgeAlert`].
    EdgeAlert,
    /// [`What::EdgeOffline`].
    EdgeOffline,
    /// [`What::EdgeOnline`].
    EdgeOnline,
    /// [`What::Camera`].
    CameraState,
    /// [`What::DiskForecast`].
    DiskForecast,
    /// [`What::Temperature`].
    Temperature,
    /// [`What::RecordingGap`].
    RecordingGap,
    /// [`What::TakeOver`].
    TakeOver,
}

/// Says that a text names no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be one of zone, detection, edge_alert, edge_offline, edge_online, camera_state, disk_forecast, temperature, recording_gap, take_over, is {0:?}"
)]
pub struct KindError(String);

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Zone,
        Self::Detection,
        Self::EdgeAlert,
        Self::EdgeOffline,
        Self::EdgeOnline,
        Self::CameraState,
        Self::DiskForecast,
        Self::Temperature,
        Self::RecordingGap,
        Self::TakeOver,
    ];

    /// The name in JSON and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zone => "zone",
            Self::Detection => "detection",
            Self::EdgeAlert => "edge_alert",
            Self::EdgeOffline => "edge_offline",
            Self::EdgeOnline => "edge_online",
            Self::CameraState => "camera_state",
            Self::DiskForecast => "disk_forecast",
            Self::Temperature => "temperature",
            Self::RecordingGap => "recording_gap",
            Self::TakeOver => "take_over",
        }
    }
}

impl FromStr for Kind {
    type Err = KindError;
    fn from_str(text: &str) -> Result<Self, KindError> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| KindError(text.to_owned()))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl What {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Zone { .. } => Kind::Zone,
            Self::Detection { .. } => Kind::Detection,
            Self::EdgeAlert { .. } => Kind::EdgeAlert,
            Self::EdgeOffline => Kind::EdgeOffline,
            Self::EdgeOnline { .. } => Kind::EdgeOnline,
            Self::Camera { .. } => Kind::CameraState,
            Self::DiskForecast { .. } => Kind::DiskForecast,
            Self::Temperature { .. } => Kind::Temperature,
            Self::RecordingGap { .. } => Kind::RecordingGap,
            Self::TakeOver { .. } => Kind::TakeOver,
        }
    }
}

impl Occurrence {
    /// What a stored event tells of, one after the other. Clips, snapshots, and what became of footage but gaps tell of
    /// nothing that rules are asked about.
    #[must_use]
    pub fn of_event(envelope: &Envelope) -> Vec<Self> {
        match &envelope.body {
            Body::Detections(body) => {
                let seen = seen(&body.object_class, body.confidence, &body.track_id);
                let what = What::Detection { seen, age_ms: body.age_ms, stationary: body.stationary };
                vec![Self::of(envelope, envelope.at, &body.camera_id, what)]
            }
            Body::ZoneEvents(body) => vec![Self::of(envelope, envelope.at, &body.camera_id, in_zone(body))],
            Body::Alerts(body) => {
                let (alert_type, title) = (body.alert_type.clone(), body.title.clone());
                let what = What::EdgeAlert { alert_type, severity: body.severity, title };
                vec![Self::of(envelope, envelope.at, &body.camera_id, what)]
            }
            Body::Footage(body) => match &body.event {
                FootageEvent::Gap(gap) => {
                    let length_ms = millis_between(gap.start, gap.end.unwrap_or(body.timestamp));
                    let what = What::RecordingGap { cause: gap.cause, length_ms };
                    vec![Self::of(envelope, gap.start, &body.camera_id, what)]
                }
                _ => Vec::new(),
            },
            Body::Health(body) => Self::of_health(envelope, body),
            Body::Clips(_) | Body::Snapshots(_) => Vec::new(),
        }
    }

    fn of(envelope: &Envelope, at: UtcMillis, camera: &CameraId, what: What) -> Self {
        Self { event: Some(envelope.id), at, edge: envelope.edge.clone(), camera: Some(camera.clone()), what }
    }

    fn of_health(envelope: &Envelope, body: &Health) -> Vec<Self> {
        let cameras = body.cameras.iter().flat_map(|camera| Self::of_camera(envelope, body.timestamp, camera));
        let temperatures = body.temperatures.as_slice().iter().map(|one| {
            let what = What::Temperature { sensor: one.name.to_string(), celsius: one.celsius.get() };
            let (event, edge) = (Some(envelope.id), envelope.edge.clone());
            Self { event, at: body.timestamp, edge, camera: None, what }
        });
        cameras.chain(temperatures).collect()
    }

    /// What a report tells of one camera: its state, and how long its footage will last.
    fn of_camera(envelope: &Envelope, now: UtcMillis, health: &CameraHealth) -> impl Iterator<Item = Self> {
        let (state, cause) = (health.state, health.cause.clone());
        let what = What::Camera { state, cause, lasted_ms: millis_between(health.since, now) };
        let state = Self::of(envelope, health.since, &health.camera_id, what);
        let days = health.recording.as_ref().and_then(|recording| recording.forecast_days);
        let forecast =
            days.map(|days| Self::of(envelope, now, &health.camera_id, What::DiskForecast { days: f64::from(days) }));
        [Some(state), forecast].into_iter().flatten()
    }

    /// The zone it happened in.
    #[must_use]
    pub fn zone(&self) -> Option<&ZoneId> {
        match &self.what {
            What::Zone { zone, .. } => Some(zone),
            _ => None,
        }
    }

    /// The object it is about.
    #[must_use]
    pub fn seen(&self) -> Option<&Seen> {
        match &self.what {
            What::Zone { seen, .. } | What::Detection { seen, .. } => Some(seen),
            _ => None,
        }
    }
}

fn in_zone(body: &ZoneEvent) -> What {
    What::Zone {
        zone: body.zone_id.clone(),
        event_type: body.event_type,
        seen: seen(&body.object_class, body.confidence, &body.track_id),
        dwell_ms: body.dwell_ms,
        direction: body.direction,
        speed_kmh: body.speed_kmh,
    }
}

fn millis_between(start: UtcMillis, end: UtcMillis) -> u64 {
    u64::try_from(end.since(start).as_millis()).unwrap_or(u64::MAX)
}

fn seen(class: &str, confidence: f32, track: &TrackId) -> Seen {
    Seen { class: class.to_owned(), confidence, track: track.clone() }
}
