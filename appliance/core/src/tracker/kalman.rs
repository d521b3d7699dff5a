//! Where a box will be: a Kalman filter of constant velocity, aware of the time between frames.
//!
//! The covariances that trackers of this kind use have no terms between the four numbers of a box, so one filter of
//! eight states is four filters of two states, exactly. Process noise is white acceleration in continuous time
//! (Bar-Shalom, Li, Kirubarajan, "Estimation with Applications to Tracking and Navigation", 6.2.2): predicting over a
//! dropped frame is the same as predicting twice.
//!
//! Deviations are in units of the box's longer side, so that near and far objects behave alike: the height of a person,
//! the length of a car. Their values were searched on sequences of people who mostly walk across the picture, which
//! prefer a size that hardly changes. A car that drives at the camera does not, so the size's acceleration is ten times
//! what that search chose; it cost .002 MOTA there and gained .057 on sequences from moving cameras.

use aivms_contract::geometry::PixelBox;

/// Deviation of a detected middle, in longer sides.
const PLACE_NOISE: f64 = 0.05;
/// Deviation of a detected width or height, in longer sides.
const SIZE_NOISE: f64 = 0.1;
/// Deviation of the speed of an object just found, in longer sides per second: a person who runs, a car in a town.
const FIRST_SPEED: f64 = 1.0;
/// Spectral density of the middle's acceleration, in longer sides² per second³. From 0.08 to 0.15 nothing changes but by
/// chance.
const PLACE_ACCELERATION: f64 = 0.1;
/// Spectral density of the size's acceleration, in longer sides² per second³.
const SIZE_ACCELERATION: f64 = 0.05;

/// Squared distance beyond which a box is none of the filter's: 99 % of the chi-square distribution of four degrees.
pub(super) const FARTHEST: f64 = 13.28;

/// The state of one box: its middle and its size, in pixels of the frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct BoxFilter {
    x: Axis,
    y: Axis,
    width: Axis,
    height: Axis,
}

impl BoxFilter {
    /// Starts at the box, at rest.
    pub(super) fn new(seen: PixelBox) -> Self {
        let [x, y, width, height] = middle_and_size(seen);
        let side = longer(width, height);
        let place = |at| Axis::new(at, PLACE_NOISE * side, FIRST_SPEED * side);
        let size = |at| Axis::new(at, SIZE_NOISE * side, 0.0);
        Self { x: place(x), y: place(y), width: size(width), height: size(height) }
    }

    /// Moves on by a time without a box.
    pub(super) fn predict(&mut self, seconds: f64) {
        let side = longer(self.width.position, self.height.position);
        for axis in [&mut self.x, &mut self.y] {
            axis.predict(seconds, PLACE_ACCELERATION * side * side);
        }
        for axis in [&mut self.width, &mut self.height] {
            axis.predict(seconds, SIZE_ACCELERATION * side * side);
            axis.position = axis.position.max(1.0);
        }
    }

    /// Takes in a box at the time of the last prediction.
    pub(super) fn correct(&mut self, seen: PixelBox) {
        let [x, y, width, height] = middle_and_size(seen);
        let (place, size) = noise(longer(width, height));
        self.x.correct(x, place);
        self.y.correct(y, place);
        self.width.correct(width, size);
        self.height.correct(height, size);
    }

    /// Keeps the size as it is from now on: the last boxes of an object that is being covered shrink with what is left
    /// of it, which must not go on.
    pub(super) fn stop_growing(&mut self) {
        self.width.velocity = 0.0;
        self.height.velocity = 0.0;
    }

    /// Squared Mahalanobis distance of a box from the prediction.
    pub(super) fn distance(&self, seen: PixelBox) -> f64 {
        let [x, y, width, height] = middle_and_size(seen);
        let (place, size) = noise(longer(self.width.position, self.height.position));
        self.x.distance(x, place)
            + self.y.distance(y, place)
            + self.width.distance(width, size)
            + self.height.distance(height, size)
    }

    /// `[x1, y1, x2, y2]` of the box as the filter believes it.
    pub(super) fn corners(&self) -> [f64; 4] {
        let (width, height) = (self.width.position / 2.0, self.height.position / 2.0);
        let (x, y) = (self.x.position, self.y.position);
        [x - width, y - height, x + width, y + height]
    }

    /// Carries the state over to frames of another size.
    pub(super) fn rescale(&mut self, horizontal: f64, vertical: f64) {
        self.x.rescale(horizontal);
        self.width.rescale(horizontal);
        self.y.rescale(vertical);
        self.height.rescale(vertical);
    }
}

fn middle_and_size(seen: PixelBox) -> [f64; 4] {
    let [x1, y1, x2, y2] = seen.corners().map(f64::from);
    [(x1 + x2) / 2.0, (y1 + y2) / 2.0, x2 - x1, y2 - y1]
}

fn longer(width: f64, height: f64) -> f64 {
    width.max(height).max(1.0)
}

/// Variances of a detected middle and size.
fn noise(side: f64) -> (f64, f64) {
    ((PLACE_NOISE * side).powi(2), (SIZE_NOISE * side).powi(2))
}

/// One number of a box and its rate of change.
#[derive(Debug, Clone, Copy)]
struct Axis {
    /// Pixels.
    position: f64,
    /// Pixels per second.
    velocity: f64,
    position_variance: f64,
    covariance: f64,
    velocity_variance: f64,
}

impl Axis {
    fn new(position: f64, deviation: f64, velocity_deviation: f64) -> Self {
        Self {
            position,
            velocity: 0.0,
            position_variance: deviation.powi(2),
            covariance: 0.0,
            velocity_variance: velocity_deviation.powi(2),
        }
    }

    /// Moves on by `seconds`, with an acceleration noise of `density` pixels² per second³.
    fn predict(&mut self, seconds: f64, density: f64) {
        let squared = seconds * seconds;
        self.position += self.velocity * seconds;
        self.position_variance +=
            2.0 * seconds * self.covariance + squared * self.velocity_variance + density * squared * seconds / 3.0;
        self.covariance += seconds * self.velocity_variance + density * squared / 2.0;
        self.velocity_variance += density * seconds;
    }

    fn correct(&mut self, measured: f64, variance: f64) {
        let total = self.position_variance + variance;
        let (gain, velocity_gain) = (self.position_variance / total, self.covariance / total);
        let residual = measured - self.position;
        self.position += gain * residual;
        self.velocity += velocity_gain * residual;
        self.velocity_variance -= velocity_gain * self.covariance;
        self.covariance *= 1.0 - gain;
        self.position_variance *= 1.0 - gain;
    }

    fn distance(&self, measured: f64, variance: f64) -> f64 {
        (measured - self.position).powi(2) / (self.position_variance + variance)
    }

    fn rescale(&mut self, factor: f64) {
        self.position *= factor;
        self.velocity *= factor;
        for variance in [&mut self.position_variance, &mut self.covariance, &mut self.velocity_variance] {
            *variance *= factor * factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_steady_walk_is_predicted_across_a_gap() {
        let at = |x: f32| PixelBox::new(x, 100.0, x + 40.0, 200.0).unwrap();
        let mut filter = BoxFilter::new(at(0.0));
        for step in 1u8..20 {
            filter.predict(0.2);
            filter.correct(at(f32::from(step) * 16.0));
        }
        filter.predict(1.0);
        let [x1, y1, x2, y2] = filter.corners();
        let expected = 19.0 * 16.0 + 80.0;
        assert!((x1 - expected).abs() < 2.0 && (x2 - expected - 40.0).abs() < 2.0, "{x1} {x2}");
        assert!((y1 - 100.0).abs() < 0.5 && (y2 - 200.0).abs() < 0.5, "{y1} {y2}");
    }

    proptest! {
        #[test]
        fn predicting_over_a_dropped_frame_is_predicting_twice(
            first in 0.0f64..2.0, second in 0.0f64..2.0, velocity in -100.0f64..100.0, density in 0.0f64..1000.0,
        ) {
            let mut once = Axis::new(50.0, 3.0, 20.0);
            once.velocity = velocity;
            let mut twice = once;
            once.predict(first + second, density);
            twice.predict(first, density);
            twice.predict(second, density);
            let numbers = |a: Axis| [a.position, a.velocity, a.position_variance, a.covariance, a.velocity_variance];
            for (a, b) in numbers(once).into_iter().zip(numbers(twice)) {
                prop_assert!((a - b).abs() <= 1e-9 * a.abs().max(1.0), "{once:?} is not {twice:?}");
            }
        }

        #[test]
        fn variances_stay_positive(steps in prop::collection::vec((0.0f64..5.0, -1e4f64..1e4), 1..100)) {
            let mut axis = Axis::new(0.0, 5.0, 100.0);
            for (seconds, measured) in steps {
                axis.predict(seconds, 500.0);
                axis.correct(measured, 25.0);
                prop_assert!(axis.position_variance > 0.0 && axis.velocity_variance > 0.0);
                prop_assert!(axis.covariance.powi(2) <= axis.position_variance * axis.velocity_variance * 1.000_001);
            }
        }
    }
}
