//! What an edge should run: cameras, zones and settings as one versioned document.
//!
//! The same shapes are read from `cameras.json` on the edge. Unknown keys are errors everywhere.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::geometry::Polygon;
use crate::id::{CameraId, ZoneId};
use crate::time::UtcMillis;

/// Most cameras of one edge.
pub const MAX_CAMERAS: usize = 64;
/// Most zones of one camera.
pub const MAX_ZONES: usize = 32;

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
}

/// A list of zones with distinct ids.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Zone>", into = "Vec<Zone>")]
pub struct Zones(Vec<Zone>);

/// A polygon of a camera's frame in which tracks are judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// Slug unique on this camera.
    pub id: ZoneId,
    /// What people call it.
    #[serde(default)]
    pub name: String,
    /// Corners in fractions of the frame.
    pub polygon: Polygon,
    /// Classes judged; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Time inside after which a `dwell` event is made, in milliseconds; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dwell_ms: Option<DwellMs>,
    /// Time for which a change of side must last before it counts, in milliseconds of media time.
    #[serde(default)]
    pub debounce_ms: DebounceMs,
    /// The point of the box that must lie inside.
    #[serde(default)]
    pub anchor: Anchor,
}

/// The point of a box that decides whether it is in a zone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anchor {
    /// Middle of the bottom edge, where people stand and vehicles touch the road.
    #[default]
    BottomCenter,
    /// Middle of the box, for cameras that look straight down.
    Center,
}

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
    /// Days footage is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording_retention_days: Option<u32>,
}

/// Reads a text that no error may repeat.
fn unrepeated<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::deserialize(deserializer);
    text.map_err(|_| serde::de::Error::custom("must be a text in quotation marks"))
}

/// Says why a value of the document is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(String);

macro_rules! checked_numbers {
    ($($(#[$doc:meta])* $name:ident($inner:ty, $inner_name:literal) { $ok:expr, $rule:literal, default $default:expr })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(try_from = $inner_name, into = $inner_name)]
        pub struct $name($inner);

        impl $name {
            /// The plain number.
            #[must_use]
            pub fn get(self) -> $inner {
                self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self($default)
            }
        }

        impl TryFrom<$inner> for $name {
            type Error = ValueError;
            fn try_from(value: $inner) -> Result<Self, ValueError> {
                let ok: fn($inner) -> bool = $ok;
                if ok(value) { Ok(Self(value)) } else { Err(ValueError(format!("{}, is {value}", $rule))) }
            }
        }

        impl From<$name> for $inner {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    )*};
}

checked_numbers! {
    /// Frames per second, above 0 and at most 60.
    Fps(f64, "f64") { |v| v > 0.0 && v <= 60.0, "must be above 0 and at most 60", default 5.0 }
    /// A confidence, above 0 and at most 1.
    Confidence(f64, "f64") { |v| v > 0.0 && v <= 1.0, "must be above 0 and at most 1", default 0.5 }
    /// A dwell time in milliseconds, 100 to 86,400,000 (one day).
    DwellMs(u64, "u64") { |v| (100..=86_400_000).contains(&v), "must be 100 to 86400000 milliseconds", default 10_000 }
    /// A debounce time in milliseconds, at most 60,000.
    DebounceMs(u64, "u64") { |v| v <= 60_000, "must be at most 60000 milliseconds", default 400 }
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
        Ok(Self(zones))
    }
}

impl From<Zones> for Vec<Zone> {
    fn from(zones: Zones) -> Self {
        zones.0
    }
}

fn check_list<'a>(what: &str, most: usize, ids: impl Iterator<Item = &'a str>) -> Result<(), ValueError> {
    let mut seen = HashSet::new();
    for id in ids {
        if !seen.insert(id) {
            return Err(ValueError(format!("two {what} have the id {id:?}")));
        }
    }
    if seen.len() > most {
        return Err(ValueError(format!("at most {most} {what}, found {}", seen.len())));
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
