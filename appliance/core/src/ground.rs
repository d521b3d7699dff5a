//! Speed over the ground, from a rectangle on it that somebody marked in the picture.
//!
//! Four points of a plane and their images fix the projection from one to the other, so every foot point on the same
//! plane has a place in metres. The speed of a track is that of a straight line through its places of about the last
//! second, with the median of the slopes between all pairs of places (the estimator of Theil and Sen): one box in four
//! may be wrong altogether without moving it. Media time is the time between frames, so the rate does not matter.
//!
//! What this can't do: it takes the road for flat, and the bottom of a box for the foot of the object. A box that the
//! picture's edge cuts off has no foot and is left out.

use std::collections::VecDeque;
use std::time::Duration;

use aivms_contract::desired::{Ground, ValueError};
use aivms_contract::geometry::Point;
use aivms_contract::time::MediaTime;

use crate::tracks::Sight;

/// Time over which a speed is measured.
const WINDOW: Duration = Duration::from_secs(1);
/// Longest time it may reach back at low rates, to have enough places.
const LONGEST_WINDOW: Duration = Duration::from_secs(3);
/// Shortest time between the first and the last place of a speed.
const SHORTEST_SPAN: Duration = Duration::from_millis(300);
/// Least places of a speed.
const LEAST_PLACES: usize = 3;
/// Most places of a speed; more, at high rates, are thinned out evenly.
const MOST_PLACES: usize = 16;
/// How far beyond the rectangle a place may lie, as a part of its sides: further out the projection errs ever more.
const MARGIN: f64 = 0.1;
/// Pixels from the edge of the picture within which a box counts as cut off.
const CUT_WITHIN: f32 = 1.5;

/// The projection from a camera's picture to the ground.
#[derive(Debug, Clone, PartialEq)]
pub struct GroundPlane {
    /// Rows of the matrix that takes (x, y, 1) in fractions of the frame to the rectangle as a unit square.
    rows: [[f64; 3]; 3],
    width_m: f64,
    length_m: f64,
}

/// Where the foot of one track was in the last seconds, in fractions of the frame.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FootPath(VecDeque<(MediaTime, Point)>);

impl GroundPlane {
    /// The projection by which the corners of `ground` are those of a rectangle of its sides.
    ///
    /// # Errors
    /// The corners are not what a camera may see of a rectangle, see [`Ground::check_corners`].
    pub fn new(ground: &Ground) -> Result<Self, ValueError> {
        Ground::check_corners(&ground.corners)?;
        let rows = adjugate(square_to_quadrilateral(&ground.corners));
        // The third coordinate has one sign on this side of the horizon; it is made positive.
        let center = |pick: fn(&Point) -> f64| ground.corners.iter().map(pick).sum::<f64>() / 4.0;
        let sign = apply(&rows, Point { x: center(|p| p.x), y: center(|p| p.y) })[2].signum();
        let rows = rows.map(|row| row.map(|value| value * sign));
        Ok(Self { rows, width_m: ground.width_m.get(), length_m: ground.length_m.get() })
    }

    /// Metres along the side of the width and along that of the length, from the first corner; `None` at the horizon
    /// and beyond.
    #[must_use]
    pub fn metres(&self, point: Point) -> Option<[f64; 2]> {
        let [u, v, w] = apply(&self.rows, point);
        let metres = [u / w * self.width_m, v / w * self.length_m];
        (w > 0.0 && metres.iter().all(|metre| metre.is_finite())).then_some(metres)
    }

    /// Kilometres per hour over the last second of a path, rounded to tenths; `None` when too little of it is on the
    /// rectangle or near it.
    #[must_use]
    pub fn speed_kmh(&self, path: &FootPath) -> Option<f32> {
        let places: Vec<_> = path.window().filter_map(|(at, point)| Some((at, self.near(point)?))).collect();
        let [(first, _), .., (last, _)] = places[..] else { return None };
        if places.len() < LEAST_PLACES || last.since(first) < SHORTEST_SPAN {
            return None;
        }
        let step = places.len().div_ceil(MOST_PLACES);
        let places: Vec<_> = places.iter().rev().step_by(step).rev().copied().collect();
        let [across, along] = [0, 1].map(|axis| median_slope(&places, axis));
        let metres_per_second = (across * across + along * along).sqrt();
        #[expect(clippy::cast_possible_truncation, reason = "a speed in tenths")]
        Some(((metres_per_second * 36.0).round() / 10.0) as f32)
    }

    fn near(&self, point: Point) -> Option<[f64; 2]> {
        let [across, along] = self.metres(point)?;
        let on = |metre: f64, side: f64| (-MARGIN * side..=(1.0 + MARGIN) * side).contains(&metre);
        (on(across, self.width_m) && on(along, self.length_m)).then_some([across, along])
    }
}

impl FootPath {
    /// Takes a sight later than the last one.
    pub fn push(&mut self, sight: &Sight) {
        while self.0.front().is_some_and(|(at, _)| sight.at.since(*at) > LONGEST_WINDOW) {
            self.0.pop_front();
        }
        if !is_cut_off(sight) {
            self.0.push_back((sight.at, sight.object.bbox.bottom_center(sight.frame)));
        }
    }

    /// The points of the last second, or as many as a speed needs at a low rate.
    fn window(&self) -> impl Iterator<Item = (MediaTime, Point)> + '_ {
        let newest = self.0.back().map(|(at, _)| *at).unwrap_or_default();
        let recent = self.0.iter().rev().take_while(|(at, _)| newest.since(*at) <= WINDOW).count();
        self.0.range(self.0.len() - recent.max(LEAST_PLACES).min(self.0.len())..).copied()
    }
}

fn is_cut_off(sight: &Sight) -> bool {
    let [left, _, right, bottom] = sight.object.bbox.corners();
    #[expect(clippy::cast_precision_loss, reason = "frames are far smaller than 2^24 pixels")]
    let (width, height) = (sight.frame.width as f32, sight.frame.height as f32);
    left <= CUT_WITHIN || right >= width - CUT_WITHIN || bottom >= height - CUT_WITHIN
}

/// The matrix that takes the corners (0, 0), (1, 0), (1, 1), (0, 1) to `corners`, after Heckbert, "Fundamentals of
/// Texture Mapping and Image Warping" (1989), section 2.2.3.
fn square_to_quadrilateral([p, q, r, s]: &[Point; 4]) -> [[f64; 3]; 3] {
    let (dx1, dx2, sx) = (q.x - r.x, s.x - r.x, p.x - q.x + r.x - s.x);
    let (dy1, dy2, sy) = (q.y - r.y, s.y - r.y, p.y - q.y + r.y - s.y);
    let whole = dx1 * dy2 - dx2 * dy1;
    let (g, h) = ((sx * dy2 - dx2 * sy) / whole, (dx1 * sy - sx * dy1) / whole);
    [[q.x - p.x + g * q.x, s.x - p.x + h * s.x, p.x], [q.y - p.y + g * q.y, s.y - p.y + h * s.y, p.y], [g, h, 1.0]]
}

/// The inverse of a matrix but for a factor, which projections do not feel.
fn adjugate([[a, b, c], [d, e, f], [g, h, i]]: [[f64; 3]; 3]) -> [[f64; 3]; 3] {
    [
        [e * i - f * h, c * h - b * i, b * f - c * e],
        [f * g - d * i, a * i - c * g, c * d - a * f],
        [d * h - e * g, b * g - a * h, a * e - b * d],
    ]
}

fn apply(rows: &[[f64; 3]; 3], point: Point) -> [f64; 3] {
    rows.map(|[a, b, c]| a * point.x + b * point.y + c)
}

/// Median of the slopes, in metres per second, between all pairs of places. `places` has at least two times.
fn median_slope(places: &[(MediaTime, [f64; 2])], axis: usize) -> f64 {
    let mut slopes: Vec<f64> = Vec::with_capacity(places.len() * places.len() / 2);
    for (index, (at, place)) in places.iter().enumerate() {
        let later = &places[index + 1..];
        slopes.extend(later.iter().map(|(then, there)| (there[axis] - place[axis]) / then.since(*at).as_secs_f64()));
    }
    slopes.sort_by(f64::total_cmp);
    let middle = slopes.len() / 2;
    if slopes.len() % 2 == 1 { slopes[middle] } else { f64::midpoint(slopes[middle - 1], slopes[middle]) }
}

#[cfg(test)]
mod tests;
