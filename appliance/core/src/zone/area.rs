//! A zone's polygon made ready for fast questions about straight paths.

use aivms_contract::geometry::{Point, Polygon};

use super::overlap::shared_area;
use super::step::{along, turn};

/// Crossings of one path closer together than this part of it are one: a corner touched by the path belongs to two
/// sides and must not count as a visit of no length.
const SAME_PLACE: f64 = 1e-9;

/// A polygon with its bounding box and sides laid out flat.
#[derive(Debug, Clone)]
pub(super) struct Area {
    low: Point,
    high: Point,
    sides: Vec<Side>,
}

#[derive(Debug, Clone, Copy)]
struct Side {
    a: Point,
    b: Point,
    /// Change of x per change of y; unused for a level side.
    slope: f64,
}

impl Area {
    pub(super) fn new(polygon: &Polygon) -> Self {
        let corners = polygon.corners();
        let bound = |pick: fn(f64, f64) -> f64, start: f64| Point {
            x: corners.iter().fold(start, |edge, corner| pick(edge, corner.x)),
            y: corners.iter().fold(start, |edge, corner| pick(edge, corner.y)),
        };
        let sides = polygon.sides().map(|(a, b)| Side { a, b, slope: (b.x - a.x) / (b.y - a.y) }).collect();
        Self { low: bound(f64::min, f64::INFINITY), high: bound(f64::max, f64::NEG_INFINITY), sides }
    }

    /// Whether the whole path from `from` to `to` passes the bounding box on one side of it.
    pub(super) fn is_clear_of(&self, from: Point, to: Point) -> bool {
        from.x.max(to.x) < self.low.x
            || from.x.min(to.x) > self.high.x
            || from.y.max(to.y) < self.low.y
            || from.y.min(to.y) > self.high.y
    }

    /// The part, 0 to 1, of the box from `low` to `high` that lies inside; 0 for a box without area.
    pub(super) fn share(&self, low: Point, high: Point) -> f64 {
        let whole = (high.x - low.x) * (high.y - low.y);
        if self.is_clear_of(low, high) || whole <= 0.0 {
            return 0.0;
        }
        (shared_area(self.sides.iter().map(|side| (side.a, side.b)), low, high) / whole).min(1.0)
    }

    /// Whether `point` lies inside, by the rule of [`Polygon::contains`].
    pub(super) fn contains(&self, point: Point) -> bool {
        self.sides.iter().fold(false, |inside, side| inside ^ side.is_right_of(point))
    }

    /// Where `to` lies, and whether the path from `from` may meet a side on the way. One pass over the sides.
    ///
    /// An end that lies on the boundary itself may be told to be within although no side is met, or the other way
    /// round: the two are computed differently, and round differently.
    pub(super) fn look(&self, from: Point, to: Point) -> (bool, bool) {
        self.sides.iter().fold((false, false), |(inside, meets), side| {
            (inside ^ side.is_right_of(to), meets | side.may_meet(from, to))
        })
    }

    /// Fills `flips` with the places, as parts 0 to 1 of the path, where the path changes sides.
    ///
    /// `inside_from` and `inside_to` are the sides of its ends; the number of flips is odd when they differ. Each
    /// stretch between two meetings with the boundary is judged at its middle, so that corners and sides that the
    /// path only touches are no flips.
    pub(super) fn flips(
        &self,
        (from, inside_from): (Point, bool),
        (to, inside_to): (Point, bool),
        flips: &mut Vec<f64>,
    ) {
        flips.clear();
        flips
            .extend(self.sides.iter().filter(|side| side.may_meet(from, to)).filter_map(|side| side.meeting(from, to)));
        flips.sort_by(f64::total_cmp);
        flips.dedup_by(|later, earlier| *later - *earlier < SAME_PLACE);
        let (count, mut kept, mut inside) = (flips.len(), 0, inside_from);
        for index in 0..count {
            let here = flips[index];
            let inside_after = match flips.get(index + 1) {
                Some(next) => self.contains(along(from, to, f64::midpoint(here, *next))),
                None => inside_to,
            };
            if inside_after != inside {
                inside = inside_after;
                flips[kept] = here;
                kept += 1;
            }
        }
        flips.truncate(kept);
        if inside != inside_to {
            // Rounding hid the meeting: the change is known to have happened when the end was seen.
            flips.push(1.0);
        }
    }
}

impl Side {
    /// Whether a ray from `point` to the right meets the side; counting these gives the even-odd rule.
    fn is_right_of(&self, point: Point) -> bool {
        let spans = (self.a.y > point.y) != (self.b.y > point.y);
        spans & (point.x < self.slope * (point.y - self.a.y) + self.a.x)
    }

    /// False only when path and side certainly do not meet.
    fn may_meet(&self, from: Point, to: Point) -> bool {
        let (d1, d2) = (turn(self.a, self.b, from), turn(self.a, self.b, to));
        let (d3, d4) = (turn(from, to, self.a), turn(from, to, self.b));
        // Without short circuits: the loop over the sides then has no branches to mispredict.
        !(((d1 > 0.0) & (d2 > 0.0)) | ((d1 < 0.0) & (d2 < 0.0)) | ((d3 > 0.0) & (d4 > 0.0)) | ((d3 < 0.0) & (d4 < 0.0)))
    }

    /// The part of the path at which it meets the line of the side; `None` when they run along each other.
    fn meeting(&self, from: Point, to: Point) -> Option<f64> {
        let (d1, d2) = (turn(self.a, self.b, from), turn(self.a, self.b, to));
        let part = d1 / (d1 - d2);
        part.is_finite().then(|| part.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn polygon(corners: &[[f64; 2]]) -> Polygon {
        Polygon::new(corners.iter().map(|&corner| corner.into()).collect()).expect("a polygon")
    }

    fn flips(area: &Area, from: [f64; 2], to: [f64; 2]) -> Vec<f64> {
        let (from, to) = (Point::from(from), Point::from(to));
        let mut flips = Vec::new();
        area.flips((from, area.contains(from)), (to, area.contains(to)), &mut flips);
        flips
    }

    fn check(area: &Area, from: [f64; 2], to: [f64; 2], expected: &[f64]) {
        let found = flips(area, from, to);
        let close = found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(close, "{from:?} to {to:?}: {found:?} instead of {expected:?}");
    }

    #[test]
    fn a_path_flips_where_it_meets_the_boundary() {
        let square = Area::new(&polygon(&[[0.4, 0.4], [0.6, 0.4], [0.6, 0.6], [0.4, 0.6]]));
        check(&square, [0.2, 0.5], [0.5, 0.5], &[2.0 / 3.0]);
        check(&square, [0.0, 0.5], [1.0, 0.5], &[0.4, 0.6]);
        check(&square, [0.45, 0.5], [0.55, 0.5], &[]);
        check(&square, [0.0, 0.3], [1.0, 0.3], &[]);
    }

    #[test]
    fn touching_a_corner_or_running_along_a_side_is_no_visit() {
        let diamond = Area::new(&polygon(&[[0.5, 0.3], [0.7, 0.5], [0.5, 0.7], [0.3, 0.5]]));
        check(&diamond, [0.2, 0.3], [0.8, 0.3], &[]);
        check(&diamond, [0.3, 0.2], [0.3, 0.8], &[]);
        check(&diamond, [0.5, 0.0], [0.5, 0.5], &[0.6]);
        check(&diamond, [0.5, 0.0], [0.5, 1.0], &[0.3, 0.7]);
        let square = Area::new(&polygon(&[[0.4, 0.4], [0.6, 0.4], [0.6, 0.6], [0.4, 0.6]]));
        check(&square, [0.1, 0.6], [0.9, 0.6], &[]);
    }

    #[test]
    fn a_bay_of_a_concave_zone_is_left_and_entered_again() {
        let u = Area::new(&polygon(&[
            [0.1, 0.1],
            [0.9, 0.1],
            [0.9, 0.9],
            [0.6, 0.9],
            [0.6, 0.3],
            [0.4, 0.3],
            [0.4, 0.9],
            [0.1, 0.9],
        ]));
        check(&u, [0.0, 0.6], [1.0, 0.6], &[0.1, 0.4, 0.6, 0.9]);
        check(&u, [0.3, 0.6], [0.7, 0.6], &[0.25, 0.75]);
    }

    #[test]
    fn the_way_in_from_the_boundary_is_told_at_its_end_when_rounding_hides_the_meeting() {
        // (0.6, 0.45) lies on the first side and counts as outside; no side is met on the way in.
        let triangle = Area::new(&polygon(&[[0.45, 0.0], [0.75, 0.9], [0.0, 0.0]]));
        let (on_a_side, within) = ([0.6, 0.45], [0.2, 0.05]);
        assert!(!triangle.contains(on_a_side.into()));
        assert_eq!(triangle.look(on_a_side.into(), within.into()), (true, false));
        check(&triangle, on_a_side, within, &[1.0]);
    }

    fn points() -> impl Strategy<Value = [f64; 2]> {
        // A coarse grid, so that paths meet corners and run along sides often.
        (0u8..=20, 0u8..=20).prop_map(|(x, y)| [f64::from(x) / 20.0, f64::from(y) / 20.0])
    }

    proptest! {
        #[test]
        fn the_sides_agree_with_the_polygon_of_the_contract(corners in proptest::collection::vec(points(), 3..8), p in points(), q in points()) {
            if let Ok(polygon) = Polygon::new(corners.into_iter().map(Point::from).collect()) {
                let area = Area::new(&polygon);
                // Off the grid, where the two ways to write the same line cannot round differently.
                let off = |[x, y]: [f64; 2]| Point { x: x + 0.012_345, y: y + 0.006_789 };
                prop_assert_eq!(area.contains(off(p)), polygon.contains(off(p)));
                let (from, to) = (Point::from(p), Point::from(q));
                if area.is_clear_of(from, to) {
                    prop_assert!(!area.contains(to) && flips(&area, p, q).is_empty());
                }
            }
        }

        #[test]
        fn flips_ascend_and_alternate_from_one_end_to_the_other(corners in proptest::collection::vec(points(), 3..8), p in points(), q in points()) {
            if let Ok(polygon) = Polygon::new(corners.into_iter().map(Point::from).collect()) {
                let area = Area::new(&polygon);
                let (inside, meets) = area.look(p.into(), q.into());
                let found = flips(&area, p, q);
                prop_assert_eq!(inside, area.contains(q.into()));
                prop_assert!(found.is_sorted() && found.iter().all(|part| (0.0..=1.0).contains(part)));
                prop_assert_eq!(found.len() % 2 == 1, area.contains(p.into()) != inside);
                let on_boundary = |[x, y]: [f64; 2]| area.sides.iter().any(|side| turn(side.a, side.b, Point { x, y }).abs() < 1e-12);
                let hidden = found == [1.0] && (on_boundary(p) || on_boundary(q));
                prop_assert!(meets || found.is_empty() || hidden, "{:?}", found);
            }
        }
    }
}
