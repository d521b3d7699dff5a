//! What is judged on a camera: zones, lines, masks and what objects must be like.

use serde::{Deserialize, Deserializer, Serialize};

use super::number::{Aspect, Confidence, DebounceMs, DwellTimes, Fraction, Kmh, Metres, Objects};
use super::schedule::Schedule;
use crate::geometry::{Point, Polygon};
use crate::id::ZoneId;

/// A polygon of a camera's frame in which tracks are judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// Slug unique on this camera, among its lines too.
    pub id: ZoneId,
    /// What people call it.
    #[serde(default)]
    pub name: String,
    /// Corners in fractions of the frame.
    pub polygon: Polygon,
    /// Classes judged; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Times inside after each of which a `dwell` event is made, in milliseconds: a number or a rising list.
    #[serde(default, skip_serializing_if = "DwellTimes::is_empty")]
    pub dwell_ms: DwellTimes,
    /// Time for which a change of side must last before it counts, in milliseconds of media time.
    #[serde(default)]
    pub debounce_ms: DebounceMs,
    /// What of the box must lie inside.
    #[serde(default)]
    pub anchor: Anchor,
    /// With the anchor `overlap`: the part of the box's area that must lie inside; absent for a half.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_overlap: Option<Fraction>,
    /// What objects must be like to enter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<ObjectFilter>,
    /// From how many objects on the zone counts as occupied; absent for no such events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occupancy: Option<Occupancy>,
    /// When the zone is judged; absent for always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Where the ground is, for speeds; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ground: Option<Ground>,
}

/// A line across a camera's frame whose crossings are told and counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Slug unique on this camera, among its zones too.
    pub id: ZoneId,
    /// What people call it.
    #[serde(default)]
    pub name: String,
    /// First end, in fractions of the frame. Left and right are meant as seen from here towards `to`.
    #[serde(deserialize_with = "in_frame")]
    pub from: Point,
    /// Second end, in fractions of the frame.
    #[serde(deserialize_with = "in_frame")]
    pub to: Point,
    /// The crossings that are told.
    #[serde(default)]
    pub direction: LineDirection,
    /// Classes judged; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Time for which the object must stay on the other side before the crossing counts, in milliseconds of media
    /// time: one that wavers on the line has not crossed it.
    #[serde(default)]
    pub debounce_ms: DebounceMs,
    /// The point of the box that must cross; `overlap` is not for lines.
    #[serde(default)]
    pub anchor: Anchor,
    /// What objects must be like.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<ObjectFilter>,
    /// When the line is judged; absent for always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
}

/// The ways over a line that are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineDirection {
    /// Both ways.
    #[default]
    Both,
    /// Only from the left side to the right side.
    LeftToRight,
    /// Only from the right side to the left side.
    RightToLeft,
}

/// A part of the frame in which objects are ignored: a screen, a tree, the neighbour's drive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mask {
    /// What people call it.
    #[serde(default)]
    pub name: String,
    /// Corners in fractions of the frame. An object whose box has the middle of its bottom edge inside is ignored.
    pub polygon: Polygon,
    /// Classes ignored; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
}

/// What objects must be like; an absent bound is none. An object must pass each filter that is for its class.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectFilter {
    /// Classes it is for; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Least confidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_confidence: Option<Confidence>,
    /// Least area of the box, as a part of the frame's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_area: Option<Fraction>,
    /// Largest area of the box, as a part of the frame's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_area: Option<Fraction>,
    /// Least width divided by height, both in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_aspect: Option<Aspect>,
    /// Largest width divided by height, both in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_aspect: Option<Aspect>,
}

/// When a zone counts as occupied.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Occupancy {
    /// Objects that must be inside at once.
    pub at_least: Objects,
    /// For how long, and for how long fewer before it is clear again, in milliseconds of media time.
    #[serde(default)]
    pub for_ms: DebounceMs,
}

/// A rectangle on the ground as the camera sees it, for speeds in the real world.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ground {
    /// Its corners in fractions of the frame, in order around it: the first two are the ends of a side of `width_m`.
    /// As the picture of a rectangle they have no bay.
    #[serde(deserialize_with = "picture_of_a_rectangle")]
    pub corners: [Point; 4],
    /// Length of the side from the first to the second corner.
    pub width_m: Metres,
    /// Length of the side from the second to the third corner.
    pub length_m: Metres,
    /// Least speed with which an object counts as entering; absent for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_speed_kmh: Option<Kmh>,
}

/// What of a box decides whether it is in a zone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anchor {
    /// Middle of the bottom edge, where people stand and vehicles touch the road.
    #[default]
    BottomCenter,
    /// Middle of the box, for cameras that look straight down.
    Center,
    /// A part of the box's area, see [`Zone::min_overlap`].
    Overlap,
}

impl Zone {
    /// A zone with every other value at its default.
    #[must_use]
    pub fn new(id: ZoneId, polygon: Polygon) -> Self {
        Self {
            id,
            name: String::new(),
            polygon,
            classes: vec![],
            dwell_ms: DwellTimes::default(),
            debounce_ms: DebounceMs::default(),
            anchor: Anchor::default(),
            min_overlap: None,
            filters: vec![],
            occupancy: None,
            schedule: None,
            ground: None,
        }
    }
}

impl Line {
    /// A line with every other value at its default.
    #[must_use]
    pub fn new(id: ZoneId, from: Point, to: Point) -> Self {
        Self {
            id,
            name: String::new(),
            from,
            to,
            direction: LineDirection::default(),
            classes: vec![],
            debounce_ms: DebounceMs::default(),
            anchor: Anchor::default(),
            filters: vec![],
            schedule: None,
        }
    }
}

impl ObjectFilter {
    /// Whether it is for objects of this class.
    #[must_use]
    pub fn is_for(&self, class: &str) -> bool {
        self.classes.is_empty() || self.classes.iter().any(|own| own == class)
    }
}

fn in_frame<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Point, D::Error> {
    let point = Point::deserialize(deserializer)?;
    if !point.is_in_frame() {
        let Point { x, y } = point;
        let text = format!("must be fractions of the frame from 0 to 1, is [{x}, {y}]");
        return Err(serde::de::Error::custom(text));
    }
    Ok(point)
}

fn picture_of_a_rectangle<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[Point; 4], D::Error> {
    let corners = <[Point; 4]>::deserialize(deserializer)?;
    let polygon = Polygon::new(corners.to_vec()).map_err(serde::de::Error::custom)?;
    if !polygon.is_convex() {
        let text = "a corner lies on a line with its neighbours or behind it; mark the corners of a rectangle on the \
                    ground";
        return Err(serde::de::Error::custom(text));
    }
    Ok(corners)
}
