//! Boxes in pixels and zones in fractions of the frame.
//!
//! Both frames of reference have their origin in the top left corner, x to the
//! right and y downwards.

use serde::{Deserialize, Serialize};

/// Width and height of the frame that pixel coordinates refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FrameSize {
    /// Pixels per line.
    pub width: u32,
    /// Lines.
    pub height: u32,
}

/// A box in pixels of a stated [`FrameSize`], as `[x1, y1, x2, y2]` with `x1 <= x2` and `y1 <= y2`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "[f32; 4]", into = "[f32; 4]")]
pub struct PixelBox {
    x1: f32,
    y1: f32,
    x2: f32,
    y2: f32,
}

/// Says why four numbers are not a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be [x1, y1, x2, y2] of finite numbers with x1 <= x2 and y1 <= y2")]
pub struct BoxError;

impl PixelBox {
    /// Takes the top left and bottom right corners.
    ///
    /// # Errors
    /// A coordinate is not finite or the corners are swapped.
    pub fn new(x1: f32, y1: f32, x2: f32, y2: f32) -> Result<Self, BoxError> {
        let finite = [x1, y1, x2, y2].iter().all(|v| v.is_finite());
        (finite && x1 <= x2 && y1 <= y2).then_some(Self { x1, y1, x2, y2 }).ok_or(BoxError)
    }

    /// `[x1, y1, x2, y2]`.
    #[must_use]
    pub fn corners(self) -> [f32; 4] {
        [self.x1, self.y1, self.x2, self.y2]
    }

    /// Pixels from left to right edge.
    #[must_use]
    pub fn width(self) -> f32 {
        self.x2 - self.x1
    }

    /// Pixels from top to bottom edge.
    #[must_use]
    pub fn height(self) -> f32 {
        self.y2 - self.y1
    }

    /// Square pixels.
    #[must_use]
    pub fn area(self) -> f32 {
        self.width() * self.height()
    }

    /// Intersection over union with `other`, 0 to 1; 0 for two empty boxes.
    #[must_use]
    pub fn iou(self, other: Self) -> f32 {
        let width = self.x2.min(other.x2) - self.x1.max(other.x1);
        let height = self.y2.min(other.y2) - self.y1.max(other.y1);
        if width <= 0.0 || height <= 0.0 {
            return 0.0;
        }
        let shared = width * height;
        shared / (self.area() + other.area() - shared)
    }

    /// Cuts the box to the frame; `None` when nothing is left of it.
    #[must_use]
    pub fn clipped(self, frame: FrameSize) -> Option<Self> {
        #[expect(clippy::cast_precision_loss, reason = "frames are far smaller than 2^24 pixels")]
        let (width, height) = (frame.width as f32, frame.height as f32);
        let cut = Self {
            x1: self.x1.clamp(0.0, width),
            y1: self.y1.clamp(0.0, height),
            x2: self.x2.clamp(0.0, width),
            y2: self.y2.clamp(0.0, height),
        };
        (cut.width() > 0.0 && cut.height() > 0.0).then_some(cut)
    }

    /// Middle of the bottom edge in fractions of the frame: where a standing object touches the ground.
    #[must_use]
    pub fn bottom_center(self, frame: FrameSize) -> Point {
        Point {
            x: f64::from(self.x1 + self.x2) / 2.0 / f64::from(frame.width.max(1)),
            y: f64::from(self.y2) / f64::from(frame.height.max(1)),
        }
    }

    /// Middle of the box in fractions of the frame.
    #[must_use]
    pub fn center(self, frame: FrameSize) -> Point {
        Point {
            x: f64::from(self.x1 + self.x2) / 2.0 / f64::from(frame.width.max(1)),
            y: f64::from(self.y1 + self.y2) / 2.0 / f64::from(frame.height.max(1)),
        }
    }
}

impl TryFrom<[f32; 4]> for PixelBox {
    type Error = BoxError;
    fn try_from([x1, y1, x2, y2]: [f32; 4]) -> Result<Self, BoxError> {
        Self::new(x1, y1, x2, y2)
    }
}

impl From<PixelBox> for [f32; 4] {
    fn from(b: PixelBox) -> Self {
        b.corners()
    }
}

/// A point in fractions of the frame's width and height; 0..=1 lies inside the frame.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f64; 2]", into = "[f64; 2]")]
pub struct Point {
    /// Fraction of the width from the left edge.
    pub x: f64,
    /// Fraction of the height from the top edge.
    pub y: f64,
}

impl From<[f64; 2]> for Point {
    fn from([x, y]: [f64; 2]) -> Self {
        Self { x, y }
    }
}

impl Point {
    /// Whether it lies in the frame, its edges included.
    #[must_use]
    pub fn is_in_frame(self) -> bool {
        (0.0..=1.0).contains(&self.x) && (0.0..=1.0).contains(&self.y)
    }
}

impl From<Point> for [f64; 2] {
    fn from(point: Point) -> Self {
        [point.x, point.y]
    }
}

/// Most corners of a zone; more is a mistake of a drawing tool, not a zone.
pub const MAX_CORNERS: usize = 64;
/// Smallest area of a zone in fractions of the frame: about 10 x 10 pixels of a 1080p frame.
pub const MIN_AREA: f64 = 5e-5;

/// A closed polygon without crossings, its corners in fractions of the frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Point>", into = "Vec<Point>")]
pub struct Polygon(Vec<Point>);

/// Says why corners do not make a zone.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PolygonError {
    /// Fewer than three or more than [`MAX_CORNERS`] corners.
    #[error("must have 3 to 64 corners, has {0}")]
    Corners(usize),
    /// A corner outside the frame.
    #[error("corner {index} is [{x}, {y}], but corners are fractions of the frame from 0 to 1")]
    OutsideFrame {
        /// Position in the list, from 0.
        index: usize,
        /// The corner's x.
        x: f64,
        /// The corner's y.
        y: f64,
    },
    /// Two sides cross or touch.
    #[error(
        "the side from corner {0} crosses or touches the side from corner {1}; list the corners in order around the zone"
    )]
    Crossing(usize, usize),
    /// The corners lie on a line or nearly so.
    #[error("its area is too small; draw it larger")]
    Area,
}

impl Polygon {
    /// Checks and takes the corners, in drawing order, the last joined to the first.
    ///
    /// # Errors
    /// Says which corner or side is wrong.
    pub fn new(corners: Vec<Point>) -> Result<Self, PolygonError> {
        if !(3..=MAX_CORNERS).contains(&corners.len()) {
            return Err(PolygonError::Corners(corners.len()));
        }
        if let Some(index) = corners.iter().position(|corner| !corner.is_in_frame()) {
            let Point { x, y } = corners[index];
            return Err(PolygonError::OutsideFrame { index, x, y });
        }
        if let Some((a, b)) = find_crossing(&corners) {
            return Err(PolygonError::Crossing(a, b));
        }
        if signed_area(&corners).abs() < MIN_AREA {
            return Err(PolygonError::Area);
        }
        Ok(Self(corners))
    }

    /// The corners in drawing order.
    #[must_use]
    pub fn corners(&self) -> &[Point] {
        &self.0
    }

    /// The sides as (from, to), the closing side last.
    pub fn sides(&self) -> impl Iterator<Item = (Point, Point)> + '_ {
        sides(&self.0)
    }

    /// Whether the point lies inside (even-odd rule; a point on a left or top side counts as inside).
    #[must_use]
    pub fn contains(&self, point: Point) -> bool {
        self.sides().fold(false, |inside, (a, b)| {
            let spans = (a.y > point.y) != (b.y > point.y);
            let left_of_side = || point.x < (b.x - a.x) * (point.y - a.y) / (b.y - a.y) + a.x;
            inside ^ (spans && left_of_side())
        })
    }
}

impl TryFrom<Vec<Point>> for Polygon {
    type Error = PolygonError;
    fn try_from(corners: Vec<Point>) -> Result<Self, PolygonError> {
        Self::new(corners)
    }
}

impl From<Polygon> for Vec<Point> {
    fn from(polygon: Polygon) -> Self {
        polygon.0
    }
}

fn sides(corners: &[Point]) -> impl Iterator<Item = (Point, Point)> + '_ {
    corners.iter().copied().zip(corners.iter().copied().cycle().skip(1))
}

fn signed_area(corners: &[Point]) -> f64 {
    sides(corners).map(|(a, b)| a.x * b.y - b.x * a.y).sum::<f64>() / 2.0
}

/// Finds two sides that are no neighbours and meet, or neighbours that fold back on each other.
fn find_crossing(corners: &[Point]) -> Option<(usize, usize)> {
    let all: Vec<_> = sides(corners).collect();
    let count = all.len();
    (0..count).flat_map(|i| (i + 1..count).map(move |j| (i, j))).find(|&(i, j)| {
        let neighbours = j == i + 1 || (i == 0 && j == count - 1);
        if neighbours { folds_back(all[i], all[j], i == 0 && j == count - 1) } else { meet(all[i], all[j]) }
    })
}

/// Whether two sides that share a corner run back over each other.
fn folds_back(first: (Point, Point), second: (Point, Point), closing: bool) -> bool {
    let (before, corner, after) =
        if closing && second.1 == first.0 { (second.0, first.0, first.1) } else { (first.0, first.1, second.1) };
    let along = (before.x - corner.x) * (after.x - corner.x) + (before.y - corner.y) * (after.y - corner.y);
    turn(before, corner, after) == 0.0 && along >= 0.0
}

fn turn(a: Point, b: Point, c: Point) -> f64 {
    (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x)
}

fn meet((a, b): (Point, Point), (c, d): (Point, Point)) -> bool {
    let (d1, d2, d3, d4) = (turn(c, d, a), turn(c, d, b), turn(a, b, c), turn(a, b, d));
    if ((d1 > 0.0) != (d2 > 0.0)) && ((d3 > 0.0) != (d4 > 0.0)) && d1 != 0.0 && d2 != 0.0 && d3 != 0.0 && d4 != 0.0 {
        return true;
    }
    let within = |p: Point, q: Point, r: Point| {
        r.x >= p.x.min(q.x) && r.x <= p.x.max(q.x) && r.y >= p.y.min(q.y) && r.y <= p.y.max(q.y)
    };
    (d1 == 0.0 && within(c, d, a))
        || (d2 == 0.0 && within(c, d, b))
        || (d3 == 0.0 && within(a, b, c))
        || (d4 == 0.0 && within(a, b, d))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn polygon(corners: &[[f64; 2]]) -> Result<Polygon, PolygonError> {
        Polygon::new(corners.iter().map(|&c| c.into()).collect())
    }

    #[test]
    fn a_bow_tie_names_the_sides_that_cross() {
        let bow_tie = polygon(&[[0.1, 0.1], [0.9, 0.9], [0.9, 0.1], [0.1, 0.9]]);
        assert_eq!(bow_tie, Err(PolygonError::Crossing(0, 2)));
    }

    #[test]
    fn flat_small_and_short_polygons_are_refused() {
        assert_eq!(polygon(&[[0.1, 0.1], [0.9, 0.9]]), Err(PolygonError::Corners(2)));
        assert!(polygon(&[[0.1, 0.1], [0.5, 0.5], [0.9, 0.9]]).is_err());
        assert_eq!(polygon(&[[0.1, 0.1], [0.101, 0.1], [0.1, 0.101]]), Err(PolygonError::Area));
        assert!(polygon(&[[0.1, 0.1], [0.9, 0.1], [0.5, 0.1], [0.5, 0.9]]).is_err(), "folds back");
        assert!(polygon(&[[0.1, 0.1], [f64::NAN, 0.1], [0.5, 0.9]]).is_err());
        assert!(matches!(
            polygon(&[[0.1, 0.1], [1.2, 0.1], [0.5, 0.9]]),
            Err(PolygonError::OutsideFrame { index: 1, .. })
        ));
    }

    #[test]
    fn a_concave_zone_does_not_hold_its_bay() {
        let u =
            polygon(&[[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.6, 0.9], [0.6, 0.3], [0.4, 0.3], [0.4, 0.9], [0.1, 0.9]])
                .expect("a plain U");
        assert!(u.contains([0.2, 0.8].into()) && u.contains([0.8, 0.8].into()) && u.contains([0.5, 0.2].into()));
        assert!(!u.contains([0.5, 0.6].into()) && !u.contains([0.95, 0.5].into()));
    }

    proptest! {
        #[test]
        fn iou_is_symmetric_and_bounded(a in boxes(), b in boxes()) {
            let iou = a.iou(b);
            prop_assert!((0.0..=1.0001).contains(&iou));
            prop_assert_eq!(iou, b.iou(a));
        }

        #[test]
        fn a_clipped_box_lies_in_the_frame(b in boxes()) {
            let frame = FrameSize { width: 640, height: 360 };
            if let Some(cut) = b.clipped(frame) {
                let [x1, y1, x2, y2] = cut.corners();
                prop_assert!(x1 >= 0.0 && y1 >= 0.0 && x2 <= 640.0 && y2 <= 360.0 && x1 < x2 && y1 < y2);
            }
        }
    }

    fn boxes() -> impl Strategy<Value = PixelBox> {
        (-100.0f32..800.0, -100.0f32..800.0, 0.0f32..400.0, 0.0f32..400.0)
            .prop_map(|(x, y, w, h)| PixelBox::new(x, y, x + w, y + h).expect("ordered corners"))
    }
}
