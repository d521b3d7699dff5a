//! What is judged on a camera: zones, lines, masks and what objects must be like.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::number::{Aspect, Confidence, DebounceMs, DwellTimes, Fraction, Kmh, Metres, Objects, ValueError};
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
#[serde(remote = "Self", deny_unknown_fields)]
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
    /// Its corners in fractions of the frame, in order around it: the first two are the ends of a side of `width_m`. A
    /// camera sees a rectangle as a quadrilateral without dents, so any other is refused.
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

impl Ground {
    /// Checks that corners are what a camera may see of a rectangle on the ground: a quadrilateral inside the frame,
    /// without crossings or dents, no corner of which lies nearly on the line between its neighbours.
    ///
    /// # Errors
    /// Says which corner or side is wrong.
    pub fn check_corners(corners: &[Point; 4]) -> Result<(), ValueError> {
        Polygon::new(corners.to_vec()).map_err(|error| ValueError::new(error.to_string()))?;
        // Twice the area of the triangle that each corner makes with its neighbours, negative for a turn to the left.
        let turns: [f64; 4] = std::array::from_fn(|i| {
            let (before, at, after) = (corners[(i + 3) % 4], corners[i], corners[(i + 1) % 4]);
            (at.x - before.x) * (after.y - at.y) - (at.y - before.y) * (after.x - at.x)
        });
        let whole = (turns[0] + turns[2]).abs();
        let way = (turns[0] + turns[2]).signum();
        match turns.iter().position(|turn| turn * way < LEAST_TURN * whole) {
            Some(index) => Err(ValueError::new(format!(
                "corner {index} is dented or nearly on the line between its neighbours; mark the corners of a rectangle \
                 on the ground, in order around it"
            ))),
            None => Ok(()),
        }
    }
}

/// Least area of the triangle of a corner and its neighbours, as a part of the quadrilateral's. Below it a pixel at the
/// far side decides over tens of metres.
const LEAST_TURN: f64 = 0.01;

fn picture_of_a_rectangle<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[Point; 4], D::Error> {
    let corners = <[Point; 4]>::deserialize(deserializer)?;
    Ground::check_corners(&corners).map_err(serde::de::Error::custom)?;
    Ok(corners)
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

impl Serialize for ObjectFilter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for ObjectFilter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let filter = Self::deserialize(deserializer)?;
        filter.check_order().map_err(serde::de::Error::custom)?;
        Ok(filter)
    }
}

impl ObjectFilter {
    /// A filter that nothing can pass is a mistake.
    fn check_order(&self) -> Result<(), ValueError> {
        let swapped = |what: &str, min: Option<f64>, max: Option<f64>| match (min, max) {
            (Some(min), Some(max)) if min > max => {
                Err(ValueError::new(format!("min_{what} must be at most max_{what}, is {min} against {max}")))
            }
            _ => Ok(()),
        };
        swapped("area", self.min_area.map(Into::into), self.max_area.map(Into::into))?;
        swapped("aspect", self.min_aspect.map(Into::into), self.max_aspect.map(Into::into))
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(corners: &serde_json::Value) -> Result<Ground, String> {
        let ground = serde_json::json!({ "corners": corners, "width_m": 4, "length_m": 12.5 });
        let camera = serde_json::json!({
            "id": "gate", "url": "rtsp://h/1",
            "zones": [{ "id": "lane", "polygon": [[0, 0], [1, 0], [0, 1]], "ground": ground }],
        });
        serde_path_to_error::deserialize::<_, super::super::Camera>(camera)
            .map(|camera| camera.zones.as_slice()[0].ground.unwrap())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_ground_that_no_camera_sees_as_a_rectangle_is_refused_by_the_name_of_its_field() {
        let seen = serde_json::json!([[0.2, 0.9], [0.8, 0.9], [0.6, 0.4], [0.4, 0.4]]);
        assert_eq!(read(&seen).unwrap().length_m.get(), 12.5);
        let refused = [
            (serde_json::json!([[0.2, 0.9], [0.8, 0.9], [0.4, 0.4], [0.6, 0.4]]), "crosses"),
            (serde_json::json!([[0.2, 0.9], [0.8, 0.9], [0.5, 0.8], [0.4, 0.4]]), "corner 2"),
            (serde_json::json!([[0.2, 0.9], [0.8, 0.9], [0.8, 0.4], [0.5, 0.6501]]), "corner 3"),
            (serde_json::json!([[0.2, 0.9], [0.8, 0.9], [0.6, 1.4], [0.4, 0.4]]), "corner 2"),
            (serde_json::json!([[0.2, 0.9], [0.8, 0.9], [0.6, 0.4]]), "length 4"),
            (serde_json::json!([[0.2, 0.9], [0.2, 0.9], [0.6, 0.4], [0.4, 0.4]]), "corner"),
        ];
        for (corners, names) in refused {
            let error = read(&corners).unwrap_err();
            assert!(error.contains("corners") && error.contains(names), "{corners}: {error}");
        }
    }
}
