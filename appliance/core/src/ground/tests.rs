use super::*;
use crate::detection::Tracked;
use aivms_contract::desired::{Kmh, Metres};
use aivms_contract::geometry::{FrameSize, PixelBox};
use proptest::prelude::*;

const FRAME: FrameSize = FrameSize { width: 1920, height: 1080 };

/// A pinhole camera above the ground, which looks along the road and down.
#[derive(Debug, Clone, Copy)]
struct Pole {
    height_m: f64,
    down: f64,
    aside: f64,
}

impl Pole {
    /// Where a point of the ground, in metres to the right and ahead, is seen, in fractions of the frame.
    fn see(self, [right, ahead]: [f64; 2]) -> Point {
        // Turned by `aside` about the pole, tilted by `down`; the focal length is one width of the picture.
        let (x, z) =
            (right * self.aside.cos() - ahead * self.aside.sin(), right * self.aside.sin() + ahead * self.aside.cos());
        let depth = z * self.down.cos() + self.height_m * self.down.sin();
        let below = self.height_m * self.down.cos() - z * self.down.sin();
        Point { x: 0.5 + x / depth, y: 0.5 + below / depth * 16.0 / 9.0 }
    }

    fn ground(self) -> Ground {
        let corners = [[-4.0, 10.0], [4.0, 10.0], [4.0, 30.0], [-4.0, 30.0]].map(|place| self.see(place));
        Ground { corners, width_m: metres(8.0), length_m: metres(20.0), min_speed_kmh: None::<Kmh> }
    }
}

fn metres(value: f64) -> Metres {
    Metres::try_from(value).unwrap()
}

const POLE: Pole = Pole { height_m: 6.0, down: 0.35, aside: 0.1 };

/// A car whose foot is seen at `point`, moved by `noise` pixels.
fn sight(at_ms: u64, point: Point, noise: [f64; 2]) -> Sight {
    let (x, y) = ((point.x * 1920.0 + noise[0]) as f32, (point.y * 1080.0 + noise[1]) as f32);
    let bbox = PixelBox::new(x - 60.0, y - 80.0, x + 60.0, y).unwrap();
    Sight {
        at: MediaTime::from_millis(at_ms),
        frame: FRAME,
        object: Tracked { track: 1, class: 0, confidence: 0.8, bbox },
    }
}

/// The speed that is told of a car which drives ahead through `times`, in seconds since it was 12 m away.
fn told(pole: Pole, kmh: f64, aside: f64, times_ms: &[u64], noise: impl Fn(usize) -> [f64; 2]) -> Option<f32> {
    let mut path = FootPath::default();
    for (index, &at) in times_ms.iter().enumerate() {
        let driven = kmh / 3.6 * at as f64 / 1000.0;
        path.push(&sight(at, pole.see([-2.0 + driven * aside, 12.0 + driven]), noise(index)));
    }
    GroundPlane::new(&pole.ground()).unwrap().speed_kmh(&path)
}

#[test]
fn the_corners_are_exactly_where_they_were_said_to_be() {
    let (ground, plane) = (POLE.ground(), GroundPlane::new(&POLE.ground()).unwrap());
    for (corner, expected) in ground.corners.iter().zip([[0.0, 0.0], [8.0, 0.0], [8.0, 20.0], [0.0, 20.0]]) {
        let found = plane.metres(*corner).unwrap();
        assert!((found[0] - expected[0]).abs() < 1e-9 && (found[1] - expected[1]).abs() < 1e-9, "{found:?}");
    }
    let inside = plane.metres(POLE.see([1.0, 17.0])).unwrap();
    assert!((inside[0] - 5.0).abs() < 1e-9 && (inside[1] - 7.0).abs() < 1e-9, "{inside:?}");
    assert_eq!(plane.metres(Point { x: 0.5, y: -0.2 }), None, "the sky is no place on the ground");
}

#[test]
fn corners_either_way_round_are_the_same_ground() {
    let ground = POLE.ground();
    let [a, b, c, d] = ground.corners;
    let turned = Ground { corners: [b, a, d, c], ..ground };
    let at = POLE.see([1.0, 17.0]);
    let [across, along] = GroundPlane::new(&turned).unwrap().metres(at).unwrap();
    assert!((across - 3.0).abs() < 1e-9 && (along - 7.0).abs() < 1e-9);
}

#[test]
fn one_box_in_four_may_be_wrong_altogether() {
    let times: Vec<_> = (0..8).map(|i| i * 125).collect();
    let wild = |index: usize| if index % 4 == 1 { [150.0, 90.0] } else { [0.0, 0.0] };
    let told = told(POLE, 36.0, 0.0, &times, wild).unwrap();
    assert!((told - 36.0).abs() < 2.5, "{told}");
}

#[test]
fn a_car_out_of_the_marked_ground_or_seen_too_briefly_has_no_speed() {
    assert_eq!(told(POLE, 36.0, 0.0, &[0, 200], |_| [0.0, 0.0]), None);
    assert_eq!(told(POLE, 36.0, 0.0, &[0, 20, 40], |_| [0.0, 0.0]), None);
    let beyond: Vec<_> = (0..6).map(|i| 5_000 + i * 200).collect();
    assert_eq!(told(POLE, 36.0, 0.0, &beyond, |_| [0.0, 0.0]), None);
    assert_eq!(told(POLE, 36.0, 0.0, &[], |_| [0.0, 0.0]), None);
}

#[test]
fn a_car_that_the_picture_cuts_off_tells_no_speed() {
    let mut path = FootPath::default();
    (0..6_u64).for_each(|i| path.push(&sight(i * 200, Point { x: 0.5, y: 1.0 }, [0.0, 0.0])));
    assert_eq!(path, FootPath::default());
}

#[test]
fn at_one_frame_per_second_three_sights_tell_a_speed() {
    let told = told(POLE, 18.0, 0.0, &[0, 1000, 2000], |_| [0.0, 0.0]).unwrap();
    assert!((told - 18.0).abs() < 0.1, "{told}");
}

#[test]
fn what_stands_has_no_speed() {
    assert_eq!(told(POLE, 0.0, 0.0, &[0, 200, 400, 600, 800, 1000], |_| [0.0, 0.0]), Some(0.0));
}

proptest! {
    #[test]
    fn with_boxes_off_by_up_to_two_pixels_the_speed_is_right_within_a_tenth_at_any_rate(
        kmh in 5.0..40.0f64, aside in -0.1..0.1f64,
        height_m in 4.0..9.0f64, down in 0.3..0.45f64, turned in -0.15..0.15f64,
        steps in proptest::collection::vec(20..=250u64, 60),
        noise in proptest::collection::vec((-2.0..2.0f64, -2.0..2.0f64), 61),
    ) {
        let pole = Pole { height_m, down, aside: turned };
        let in_picture = pole.ground().corners.iter().all(|c| (0.05..0.95).contains(&c.x) && (0.05..0.95).contains(&c.y));
        prop_assume!(in_picture);
        let mut times = vec![0];
        times.extend(steps.iter().scan(0, |at, step| { *at += step; (*at <= 1_000).then_some(*at) }));
        prop_assume!(*times.last().unwrap() >= 700);
        let found = told(pole, kmh, aside, &times, |index| [noise[index].0, noise[index].1]).unwrap();
        let truth = kmh * (1.0 + aside * aside).sqrt();
        // Two pixels are up to a quarter of a metre at the far side.
        let bound = 0.1 * truth + 1.5;
        prop_assert!((f64::from(found) - truth).abs() <= bound, "{found} instead of {truth}");
    }
}
