//! How well objects are followed, on made scenes with a known truth: what `make bench` measures on public sequences
//! beside other trackers, `make test` holds here without any of them.

mod mot;

use std::time::Duration;

use aivms_appliance_core::detection::Detected;
use aivms_appliance_core::tracker::{Tracker, TrackerSettings};
use aivms_contract::geometry::{FrameSize, PixelBox};
use aivms_contract::time::MediaTime;
use mot::{Frames, Quality};

const FRAME: FrameSize = FrameSize { width: 1280, height: 720 };

/// Part of a box that must be in sight for the detector to see it.
const LEAST_SIGHT: f64 = 0.45;

/// Numbers that look random and are the same on every machine (xorshift64*, Vigna, "An experimental exploration of
/// Marsaglia's xorshift generators, scrambled", 2016).
struct Dice(u64);

impl Dice {
    /// The next number from 0 to 1.
    fn throw(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.throw()
    }

    /// About a normal distribution of that deviation: the sum of twelve evenly spread numbers.
    fn around_zero(&mut self, deviation: f64) -> f64 {
        ((0..12).map(|_| self.throw()).sum::<f64>() - 6.0) * deviation
    }
}

/// Somebody who crosses the picture, sometimes stops, and sometimes turns.
struct Walker {
    number: u64,
    /// Middle of the feet, in pixels.
    feet: [f64; 2],
    /// Heights per second.
    speed: f64,
    heading: f64,
    /// Seconds until the next step.
    rests_for: f64,
}

impl Walker {
    fn new(number: u64, dice: &mut Dice) -> Self {
        let from_left = dice.throw() < 0.5;
        let heading = dice.around_zero(0.1) + if from_left { 0.0 } else { std::f64::consts::PI };
        let feet = [if from_left { 10.0 } else { 1270.0 }, dice.between(260.0, 680.0)];
        Self { number, feet, speed: dice.between(0.4, 0.9), heading, rests_for: 0.0 }
    }

    /// Near ones are larger: the camera looks down a street.
    fn height(&self) -> f64 {
        self.feet[1] * 0.35
    }

    fn bbox(&self) -> PixelBox {
        let (height, [x, y]) = (self.height(), self.feet);
        let corners = [x - height * 0.2, y - height, x + height * 0.2, y].map(|pixels| pixels as f32);
        PixelBox::try_from(corners).expect("a height is positive")
    }

    fn step(&mut self, seconds: f64, dice: &mut Dice) {
        self.rests_for -= seconds;
        if self.rests_for > 0.0 {
            return;
        }
        if dice.throw() < 0.06 * seconds {
            self.rests_for = dice.between(1.0, 4.0);
        }
        self.heading += dice.around_zero(0.2 * seconds.sqrt());
        let way = self.speed * self.height() * seconds;
        self.feet[0] += way * self.heading.cos();
        self.feet[1] = (self.feet[1] + 0.3 * way * self.heading.sin()).clamp(240.0, 700.0);
    }
}

/// What happens in a minute, at what times it is looked at, and what a detector makes of it.
struct Scene {
    times: Vec<Duration>,
    truth: Frames,
    found: Vec<Vec<Detected>>,
}

impl Scene {
    /// `walkers` in a minute, looked at every `interval` or up to `jitter` of it sooner or later.
    fn new(seed: u64, walkers: u64, interval: Duration, jitter: f64) -> Self {
        let mut dice = Dice(seed);
        let mut coming: Vec<(f64, Walker)> =
            (1..=walkers).map(|number| (dice.between(0.0, 50.0), Walker::new(number, &mut dice))).collect();
        let (mut scene, mut now) = (Self { times: vec![], truth: Frames::new(), found: vec![] }, 0.0);
        while now < 60.0 {
            let objects: Vec<(u64, PixelBox)> = coming
                .iter()
                .filter(|(from, walker)| *from <= now && (5.0..1275.0).contains(&walker.feet[0]))
                .map(|(_, walker)| (walker.number, walker.bbox()))
                .collect();
            scene.found.push(detected(&objects, &mut dice));
            scene.truth.insert(scene.times.len() as u64, objects);
            scene.times.push(Duration::from_secs_f64(now));
            let seconds = interval.as_secs_f64() * (1.0 + jitter * dice.between(-1.0, 1.0));
            coming.iter_mut().filter(|(from, _)| *from <= now).for_each(|(_, walker)| walker.step(seconds, &mut dice));
            now += seconds;
        }
        scene
    }

    /// Judges a tracker that is given the boxes as they are, or in the opposite order.
    fn quality(&self, opposite: bool) -> Quality {
        let mut tracker = Tracker::new(TrackerSettings::default());
        let mut tracks = Frames::new();
        for (index, (time, found)) in self.times.iter().zip(&self.found).enumerate() {
            let mut found = found.clone();
            if opposite {
                found.reverse();
            }
            let reports = tracker.update(MediaTime::ZERO + *time, FRAME, &found);
            tracks.insert(index as u64, reports.iter().map(|tracked| (tracked.track, tracked.bbox)).collect());
        }
        Quality::of(&self.truth, &tracks, 0..self.times.len() as u64)
    }
}

/// What a detector makes of the objects: those in sight, not quite in place, one in fifteen overlooked, and now and then
/// a shadow.
fn detected(objects: &[(u64, PixelBox)], dice: &mut Dice) -> Vec<Detected> {
    let mut found = vec![];
    for (number, bbox) in objects {
        let in_sight = sight(*number, *bbox, objects);
        let noise = [(); 4].map(|()| dice.around_zero(0.025));
        let confidence = (0.35 + 0.5 * in_sight + dice.around_zero(0.1)).clamp(0.05, 0.95);
        if in_sight >= LEAST_SIGHT && dice.throw() > 1.0 / 15.0 {
            let height = f64::from(bbox.height());
            let mut corners = bbox.corners();
            corners.iter_mut().zip(noise).for_each(|(corner, off)| *corner += (off * height) as f32);
            let bbox = PixelBox::try_from(corners).expect("the noise is small");
            found.push(Detected { class: 0, confidence: confidence as f32, bbox });
        }
    }
    if dice.throw() < 0.1 {
        let (x, y) = (dice.between(0.0, 1200.0) as f32, dice.between(0.0, 500.0) as f32);
        found.push(Detected {
            class: 0,
            confidence: 0.55,
            bbox: PixelBox::new(x, y, x + 50.0, y + 120.0).expect("a box"),
        });
    }
    found
}

/// Part of a box that nobody nearer covers, by a grid of points.
fn sight(number: u64, bbox: PixelBox, objects: &[(u64, PixelBox)]) -> f64 {
    let [x1, y1, x2, y2] = bbox.corners();
    let nearer: Vec<[f32; 4]> = objects
        .iter()
        .filter(|(other, over)| *other != number && over.corners()[3] > y2)
        .map(|(_, over)| over.corners())
        .collect();
    let points = (0..64u8).map(|i| (f32::from(i % 8) + 0.5, f32::from(i / 8) + 0.5));
    let places = points.map(|(column, row)| (x1 + (x2 - x1) * column / 8.0, y1 + (y2 - y1) * row / 8.0));
    let free = places.filter(|(x, y)| !nearer.iter().any(|b| (b[0]..b[2]).contains(x) && (b[1]..b[3]).contains(y)));
    free.count() as f64 / 64.0
}

/// Scenes of 8 to 40 walkers a minute, together.
fn overall(interval: Duration, jitter: f64) -> Quality {
    let scenes = (1..=5).map(|seed| Scene::new(seed * 7919, 8 * seed, interval, jitter).quality(false));
    scenes.fold(Quality::default(), |sum, quality| sum + quality)
}

fn bbox(x: f32) -> PixelBox {
    PixelBox::new(x, 100.0, x + 40.0, 200.0).expect("a box")
}

#[test]
fn the_evaluator_counts_misses_false_boxes_switches_and_right_numbers_as_their_papers_define_them() {
    // Two objects; number 1 is lost for a frame, comes back as 3, and is given 2's number in the end.
    let truth: Frames = (0..6).map(|frame| (frame, vec![(1, bbox(0.0)), (2, bbox(200.0))])).collect();
    let given: [&[(u64, f32)]; 6] = [
        &[(1, 0.0), (2, 200.0)],
        &[(1, 10.0), (2, 200.0)],
        &[(2, 200.0), (9, 500.0)],
        &[(3, 0.0), (2, 200.0)],
        &[(3, 5.0), (2, 200.0)],
        &[(2, 0.0)],
    ];
    let tracks = (0..).zip(given.map(|boxes| boxes.iter().map(|&(number, x)| (number, bbox(x))).collect())).collect();
    let quality = Quality::of(&truth, &tracks, 0..6);
    let expected = Quality { objects: 12, boxes: 11, misses: 2, false_boxes: 1, switches: 2, right_numbers: 7 };
    assert_eq!(quality, expected);
    assert!((quality.mota() - (1.0 - 5.0 / 12.0)).abs() < 1e-12 && (quality.idf1() - 14.0 / 23.0).abs() < 1e-12);
}

#[test]
fn a_perfect_answer_is_worth_1_and_none_is_worth_0() {
    let truth: Frames = (0..5).map(|frame| (frame, vec![(1, bbox(0.0)), (2, bbox(200.0))])).collect();
    let perfect = Quality::of(&truth, &truth, 0..5);
    assert!((perfect.mota() - 1.0).abs() < 1e-12 && (perfect.idf1() - 1.0).abs() < 1e-12);
    let none = Quality::of(&truth, &Frames::new(), 0..5);
    assert!(none.mota().abs() < 1e-12 && none.idf1().abs() < 1e-12);
}

#[test]
fn walkers_who_cross_stop_and_hide_each_other_are_followed_as_well_as_ever_at_each_rate() {
    // What was reached when this was written was .880 / .879 / 29, .862 / .845 / 48, .864 / .859 / 46 and .821 / .791 / 91.
    // The margin is for other machines' sines; without the first round's doubts about tracks that are out of sight, the
    // second IDF1 is .808.
    for (millis, jitter, least_mota, least_idf1, most_switches) in [
        (100, 0.0, 0.87, 0.86, 36),
        (200, 0.0, 0.85, 0.825, 56),
        (200, 0.4, 0.85, 0.835, 56),
        (400, 0.0, 0.81, 0.77, 105),
    ] {
        let quality = overall(Duration::from_millis(millis), jitter);
        let (mota, idf1) = (quality.mota(), quality.idf1());
        let held = mota >= least_mota && idf1 >= least_idf1 && quality.switches <= most_switches;
        assert!(held, "every {millis} ms, off by up to {jitter}: MOTA {mota:.3}, IDF1 {idf1:.3}, {quality:?}");
    }
}

#[test]
fn quality_does_not_depend_on_the_order_of_boxes_in_a_frame() {
    for seed in 1..4 {
        let scene = Scene::new(seed * 104_729, 30, Duration::from_millis(200), 0.2);
        assert_eq!(scene.quality(false), scene.quality(true));
    }
}
