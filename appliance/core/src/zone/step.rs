//! Where an object is in one sight, and its way from one sight to the next.

use aivms_contract::desired::Anchor;
use aivms_contract::geometry::Point;
use aivms_contract::time::MediaTime;

use crate::tracks::Sight;

/// How far inside the frame a point on its edge is taken to be, in fractions of the frame.
const EDGE_INSET: f64 = 1e-6;

/// Where an object is, in fractions of the frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    bottom_center: Point,
    center: Point,
    /// Top left corner of the part of the box that the frame shows.
    pub(super) low: Point,
    /// Bottom right corner of it.
    pub(super) high: Point,
}

/// One track's way from one sight to the next, or a part of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step<'a> {
    pub(super) before: MediaTime,
    pub(super) from: Spot,
    pub(super) now: MediaTime,
    pub(super) to: Spot,
    /// Whether the sights are close enough for a straight line between them.
    pub(super) joined: bool,
    /// The sight that shows the way.
    pub(super) shown: &'a Sight,
}

impl Spot {
    pub(super) fn of(sight: &Sight) -> Self {
        let inset = |point: Point| Point {
            x: point.x.clamp(EDGE_INSET, 1.0 - EDGE_INSET),
            y: point.y.clamp(EDGE_INSET, 1.0 - EDGE_INSET),
        };
        let (bbox, frame) = (sight.object.bbox, sight.frame);
        let (width, height) = (f64::from(frame.width.max(1)), f64::from(frame.height.max(1)));
        let [x1, y1, x2, y2] = bbox.corners().map(f64::from);
        let corner = |x: f64, y: f64| Point { x: (x / width).clamp(0.0, 1.0), y: (y / height).clamp(0.0, 1.0) };
        Self {
            bottom_center: inset(bbox.bottom_center(frame)),
            center: inset(bbox.center(frame)),
            low: corner(x1, y1),
            high: corner(x2, y2),
        }
    }

    /// The point of the box that is held against a zone or line.
    pub(super) fn point(&self, anchor: Anchor) -> Point {
        match anchor {
            Anchor::BottomCenter => self.bottom_center,
            Anchor::Center | Anchor::Overlap => self.center,
        }
    }

    fn toward(self, to: Self, part: f64) -> Self {
        let mix = |a: Point, b: Point| along(a, b, part);
        Self {
            bottom_center: mix(self.bottom_center, to.bottom_center),
            center: mix(self.center, to.center),
            low: mix(self.low, to.low),
            high: mix(self.high, to.high),
        }
    }
}

impl Step<'_> {
    /// Media time at a part, 0 to 1, of the way.
    pub(super) fn time_at(&self, part: f64) -> MediaTime {
        self.before + self.now.since(self.before).mul_f64(part)
    }

    /// The way until `at`, which lies on it, and the way from then on.
    pub(super) fn split(self, at: MediaTime) -> (Self, Self) {
        let whole = self.now.since(self.before).as_secs_f64();
        let part = if whole > 0.0 { at.since(self.before).as_secs_f64() / whole } else { 1.0 };
        let middle = self.from.toward(self.to, part);
        (Self { now: at, to: middle, ..self }, Self { before: at, from: middle, ..self })
    }
}

/// The point at a part, 0 to 1, of the straight way.
pub(super) fn along(from: Point, to: Point, part: f64) -> Point {
    Point { x: from.x + (to.x - from.x) * part, y: from.y + (to.y - from.y) * part }
}

/// Twice the area of the triangle, above zero when `c` lies to the right of the way from `a` to `b` in the picture
/// (y downwards).
pub(super) fn turn(a: Point, b: Point, c: Point) -> f64 {
    (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x)
}
