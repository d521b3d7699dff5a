//! What an edge should run: cameras, zones and settings as one versioned document.
//!
//! The same shapes are read from `cameras.json` on the edge. Unknown keys are errors everywhere.

mod number;
mod recording;
mod rule;
mod schedule;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

pub use self::number::{
    Aspect, Confidence, Days, DebounceMs, DwellMs, DwellTimes, Fps, Fraction, Gib, Kmh, MAX_DWELL_TIMES, Metres,
    Objects, ValueError,
};
pub use self::recording::{Recording, RtspClient};
pub use self::rule::{Anchor, Ground, Line, LineDirection, Mask, ObjectFilter, Occupancy, Zone};
pub use self::schedule::{Schedule, ScheduleSpan, TimeOfDay, TimeZoneName, Weekday};
use crate::geometry::Polygon;
use crate::id::CameraId;
use crate::time::UtcMillis;

/// Most cameras of one edge.
pub const MAX_CAMERAS: usize = 64;
/// Most zones, and most lines, of one camera.
pub const MAX_ZONES: usize = 32;
/// Most masks of one camera.
pub const MAX_MASKS: usize = 32;

/// The document the cloud wants an edge to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Desired {
    /// Counts up with each change; an edge ignores versions it has passed.
    pub version: u64,
    /// The cameras, each with its zones.
    pub cameras: Cameras,
    /// Settings of the whole edge.
    #[serde(default)]
    pub settings: Settings,
}

/// A list of cameras with distinct ids; also the content of `cameras.json` under the key `cameras`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Camera>", into = "Vec<Camera>")]
pub struct Cameras(Vec<Camera>);

/// The file `cameras.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CamerasFile {
    /// The cameras of this edge.
    pub cameras: Cameras,
}

/// One camera.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Camera {
    /// Slug unique on this edge.
    pub id: CameraId,
    /// What people call it.
    #[serde(default)]
    pub name: String,
    /// Where the video comes from: `rtsp://`, `rtsps://`, `file://` (looped, in real time) or `v4l2:///dev/video0`.
    pub url: String,
    /// A second, smaller stream of the same camera in one of the same forms: analysed and shown live in place of the
    /// first, which is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_url: Option<String>,
    /// What connects to a network camera.
    #[serde(default, skip_serializing_if = "RtspClient::is_default")]
    pub rtsp_client: RtspClient,
    /// User of the camera, when not in the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password of the camera, when not in the URL. Never logged, never sent back.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "unrepeated")]
    pub password: Option<String>,
    /// A switched-off camera stays configured and is not connected.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Classes looked for on this camera; empty for the edge's default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Frames analysed per second; absent for the edge's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detection_fps: Option<Fps>,
    /// The zones judged on this camera.
    #[serde(default)]
    pub zones: Zones,
    /// The lines whose crossings are told and counted.
    #[serde(default, skip_serializing_if = "Lines::is_empty")]
    pub lines: Lines,
    /// Where objects are ignored altogether.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "few_masks")]
    pub masks: Vec<Mask>,
    /// What objects must be like to be followed at all on this camera.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<ObjectFilter>,
    /// What of its video is kept, and for how long.
    #[serde(default, skip_serializing_if = "Recording::is_empty")]
    pub recording: Recording,
    /// Parts of the picture that nobody may see: burned into every clip, snapshot and live picture that leaves the edge.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "few_polygons")]
    pub privacy_masks: Vec<Polygon>,
}

/// A list of zones with distinct ids.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Zone>", into = "Vec<Zone>")]
pub struct Zones(Vec<Zone>);

/// A list of lines with distinct ids, which no zone of the camera has either.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Line>", into = "Vec<Line>")]
pub struct Lines(Vec<Line>);

/// Settings of the whole edge; an absent one keeps the edge's own value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Least confidence of a detection, above 0 and at most 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detection_confidence: Option<Confidence>,
    /// Frames analysed per second and camera.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detection_fps: Option<Fps>,
    /// Days footage is kept; what `recording` says as `continuous_days` wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording_retention_days: Option<u32>,
    /// What of the cameras' video is kept, and for how long, where a camera does not say otherwise.
    #[serde(default, skip_serializing_if = "Recording::is_empty")]
    pub recording: Recording,
    /// The site's time zone, in which schedules are meant; absent for UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<TimeZoneName>,
}

/// Reads a text that no error may repeat.
fn unrepeated<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::deserialize(deserializer);
    text.map_err(|_| serde::de::Error::custom("must be a text in quotation marks"))
}

impl Cameras {
    /// The cameras in the order of the document.
    #[must_use]
    pub fn as_slice(&self) -> &[Camera] {
        &self.0
    }
}

impl TryFrom<Vec<Camera>> for Cameras {
    type Error = ValueError;
    fn try_from(cameras: Vec<Camera>) -> Result<Self, ValueError> {
        check_list("cameras", MAX_CAMERAS, cameras.iter().map(|camera| camera.id.as_str()))?;
        cameras.iter().try_for_each(check_shared_ids)?;
        Ok(Self(cameras))
    }
}

impl From<Cameras> for Vec<Camera> {
    fn from(cameras: Cameras) -> Self {
        cameras.0
    }
}

impl Zones {
    /// The zones in the order of the document.
    #[must_use]
    pub fn as_slice(&self) -> &[Zone] {
        &self.0
    }
}

impl TryFrom<Vec<Zone>> for Zones {
    type Error = ValueError;
    fn try_from(zones: Vec<Zone>) -> Result<Self, ValueError> {
        check_list("zones", MAX_ZONES, zones.iter().map(|zone| zone.id.as_str()))?;
        if let Some(zone) = zones.iter().find(|zone| zone.min_overlap.is_some() && zone.anchor != Anchor::Overlap) {
            return Err(ValueError::new(format!("zone {}: min_overlap is for the anchor overlap", zone.id)));
        }
        Ok(Self(zones))
    }
}

impl From<Zones> for Vec<Zone> {
    fn from(zones: Zones) -> Self {
        zones.0
    }
}

impl Lines {
    /// The lines in the order of the document.
    #[must_use]
    pub fn as_slice(&self) -> &[Line] {
        &self.0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<Vec<Line>> for Lines {
    type Error = ValueError;
    fn try_from(lines: Vec<Line>) -> Result<Self, ValueError> {
        check_list("lines", MAX_ZONES, lines.iter().map(|line| line.id.as_str()))?;
        if let Some(line) = lines.iter().find(|line| line.anchor == Anchor::Overlap) {
            return Err(ValueError::new(format!("line {}: the anchor overlap is for zones only", line.id)));
        }
        if let Some(line) = lines.iter().find(|line| line.from == line.to) {
            return Err(ValueError::new(format!("line {}: from and to must differ", line.id)));
        }
        Ok(Self(lines))
    }
}

impl From<Lines> for Vec<Line> {
    fn from(lines: Lines) -> Self {
        lines.0
    }
}

/// Zones and lines share their ids: events name either as `zone_id`.
fn check_shared_ids(camera: &Camera) -> Result<(), ValueError> {
    let zones = camera.zones.as_slice();
    match camera.lines.as_slice().iter().find(|line| zones.iter().any(|zone| zone.id == line.id)) {
        Some(line) => {
            Err(ValueError::new(format!("camera {}: a zone and a line have the id {:?}", camera.id, line.id.as_str())))
        }
        None => Ok(()),
    }
}

fn few_masks<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Mask>, D::Error> {
    few(deserializer)
}

fn few_polygons<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Polygon>, D::Error> {
    few(deserializer)
}

fn few<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let masks = Vec::deserialize(deserializer)?;
    if masks.len() > MAX_MASKS {
        return Err(serde::de::Error::custom(format!("at most {MAX_MASKS} masks, found {}", masks.len())));
    }
    Ok(masks)
}

fn check_list<'a>(what: &str, most: usize, ids: impl Iterator<Item = &'a str>) -> Result<(), ValueError> {
    let mut seen = HashSet::new();
    for id in ids {
        if !seen.insert(id) {
            return Err(ValueError::new(format!("two {what} have the id {id:?}")));
        }
    }
    if seen.len() > most {
        return Err(ValueError::new(format!("at most {most} {what}, found {}", seen.len())));
    }
    Ok(())
}

fn yes() -> bool {
    true
}

/// What the edge runs, said after each attempt to apply a document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reported {
    /// The version this answers.
    pub version: u64,
    /// When.
    pub at: UtcMillis,
    /// Whether it is running now.
    #[serde(flatten)]
    pub state: ReportedState,
}

/// How an attempt to apply a document ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ReportedState {
    /// The edge runs it, whole.
    Applied,
    /// The edge keeps what it ran before, whole.
    Refused {
        /// Path of the wrong field, such as `cameras[0].zones[1].polygon`.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
}
