use aivms_contract::geometry::PixelBox;
use proptest::prelude::*;

use super::*;
use crate::model::ColourOrder;

const WIDTH: usize = 160;
const HEIGHT: usize = 96;
/// Time between two pictures: five per second.
const INTERVAL_MS: u64 = 200;

/// A textured scene with sensor noise, and a patch of another brightness when one is given as (x, y, side).
fn picture(n: u64, noise: i32, patch: Option<(usize, usize, usize)>) -> Vec<u8> {
    let mut random = 0x9e37_79b9_u32.wrapping_mul(u32::try_from(n).unwrap() + 1);
    let mut pixels = vec![0; WIDTH * HEIGHT * 3];
    for (index, pixel) in pixels.chunks_exact_mut(3).enumerate() {
        let (x, y) = (index % WIDTH, index / WIDTH);
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let jitter = if noise == 0 { 0 } else { (random >> 16) as i32 % (2 * noise + 1) - noise };
        let inside = |(px, py, side)| (px..px + side).contains(&x) && (py..py + side).contains(&y);
        let base = 60 + (x * 7 + y * 13) % 90 + if patch.is_some_and(inside) { 60 } else { 0 };
        pixel.fill(u8::try_from((base as i32 + jitter).clamp(0, 255)).unwrap());
    }
    pixels
}

fn judge(gate: &mut MotionGate, n: u64, pixels: &[u8]) -> Verdict {
    let (width, height) = (WIDTH as u32, HEIGHT as u32);
    let image = PackedImage { data: pixels, width, height, stride: WIDTH * 3, colour: ColourOrder::Rgb };
    gate.judge(MediaTime::from_millis(n * INTERVAL_MS), &image)
}

fn thing(x: f32) -> Detected {
    Detected { class: 0, confidence: 0.7, bbox: PixelBox::new(x, 10.0, x + 20.0, 50.0).unwrap() }
}

/// Plays pictures with a detector that finds `found`; gives the numbers of those that were looked at.
fn looks(pictures: impl Iterator<Item = (u64, Vec<u8>)>, found: impl Fn(u64) -> Vec<Detected>) -> Vec<u64> {
    let (mut gate, mut looked) = (MotionGate::new(MotionSettings::default(), 1.0), vec![]);
    for (n, pixels) in pictures {
        if judge(&mut gate, n, &pixels) == Verdict::Look {
            gate.found(MediaTime::from_millis(n * INTERVAL_MS), &found(n));
            looked.push(n);
        }
    }
    looked
}

#[test]
fn a_static_noisy_scene_is_looked_at_once_per_refresh() {
    let looked = looks((0..400).map(|n| (n, picture(n, 10, None))), |_| vec![]);
    // The first two seconds, then each ten.
    assert!(looked.iter().filter(|&&n| n >= 10).count() <= 8, "{looked:?}");
    let longest = looked.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert_eq!(longest, Some(50), "{looked:?}");
}

#[test]
fn whoever_walks_is_looked_at_in_every_picture_and_for_two_seconds_after() {
    let walk = |n: u64| (100..150).contains(&n).then(|| (10 + (n as usize - 100) * 2, 30, 14));
    let looked = looks((0..200).map(|n| (n, picture(n, 6, walk(n)))), |_| vec![]);
    let during: Vec<_> = looked.iter().copied().filter(|n| (100..159).contains(n)).collect();
    assert_eq!(during, (100..159).collect::<Vec<_>>());
    assert!(looked.iter().filter(|&&n| n > 162).count() <= 2, "{looked:?}");
}

#[test]
fn other_light_is_looked_at_and_then_known() {
    let light = |n: u64| if n >= 100 { Some((0, 0, WIDTH.max(HEIGHT))) } else { None };
    let looked = looks((0..300).map(|n| (n, picture(n, 6, light(n)))), |_| vec![]);
    let after: Vec<_> = looked.into_iter().filter(|n| (100..140).contains(n)).collect();
    assert_eq!(after, (100..110).collect::<Vec<_>>());
}

#[test]
fn what_stands_there_is_given_again_and_one_flicker_changes_nothing() {
    let mut gate = MotionGate::new(MotionSettings::default(), 1.0);
    let mut given = vec![];
    for n in 0..60 {
        match judge(&mut gate, n, &picture(n, 4, None)) {
            Verdict::Look => {
                // The detector misses it once, and sees something that is not there in the last look.
                let found = match n {
                    7 => vec![],
                    _ if n % 10 == 9 => vec![thing(10.0), thing(90.0)],
                    _ => vec![thing(10.0 + (n % 2) as f32)],
                };
                gate.found(MediaTime::from_millis(n * INTERVAL_MS), &found);
            }
            Verdict::Still(held) => given.push(held),
        }
    }
    assert!(given.len() > 20, "{}", given.len());
    for held in given {
        let [one] = held[..] else { panic!("{held:?}") };
        assert!(one.bbox.iou(thing(10.0).bbox) > 0.8);
    }
}

#[test]
fn a_look_that_finds_something_new_is_followed_by_others() {
    // It fades in so slowly that nothing moves.
    let found = |n: u64| if n >= 40 { vec![thing(40.0)] } else { vec![] };
    let looked = looks((0..120).map(|n| (n, picture(n, 4, None))), found);
    let refresh = looked.iter().copied().find(|&n| n >= 40).unwrap();
    let next: Vec<_> = looked.iter().copied().filter(|&n| n >= refresh).take(10).collect();
    assert_eq!(next, (refresh..refresh + 10).collect::<Vec<_>>());
}

#[test]
fn two_things_that_overlap_stay_two_and_are_given_with_their_mean_confidence() {
    let (mut gate, mut given) = (MotionGate::new(MotionSettings::default(), 1.0), vec![]);
    for n in 0..40 {
        match judge(&mut gate, n, &picture(n, 4, None)) {
            Verdict::Look => {
                let lucky = Detected { confidence: if n == 9 { 0.9 } else { 0.5 }, ..thing(40.0) };
                gate.found(MediaTime::from_millis(n * INTERVAL_MS), &[lucky, thing(44.0)]);
            }
            Verdict::Still(held) => given.push(held),
        }
    }
    assert!(!given.is_empty());
    for held in given {
        let [one, two] = held[..] else { panic!("{held:?}") };
        assert_eq!((one.bbox, two.bbox), (thing(40.0).bbox, thing(44.0).bbox));
        assert!((one.confidence - 0.58).abs() < 1e-3 && (two.confidence - 0.7).abs() < 1e-3, "{held:?}");
    }
}

#[test]
fn a_detector_that_flickers_at_its_threshold_does_not_hold_the_gate_open() {
    let unsure = |n: u64| if n.is_multiple_of(2) { vec![Detected { confidence: 0.2, ..thing(40.0) }] } else { vec![] };
    let looked = looks((0..400).map(|n| (n, picture(n, 4, None))), unsure);
    assert!(looked.iter().filter(|&&n| n >= 10).count() <= 8, "{looked:?}");
}

#[test]
fn a_picture_of_another_size_begins_anew_and_too_few_bytes_harm_nothing() {
    let mut gate = MotionGate::new(MotionSettings { linger: std::time::Duration::ZERO, ..Default::default() }, 1.0);
    for (n, (width, height)) in [(160, 96), (160, 96), (80, 48), (3, 2), (0, 0), (0, 0)].into_iter().enumerate() {
        let image = PackedImage { data: &[0; 100], width, height, stride: 480, colour: ColourOrder::Bgr };
        gate.judge(MediaTime::from_millis(n as u64 * INTERVAL_MS), &image);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_patch_of_three_cells_that_appears_anywhere_is_seen(x in 0..WIDTH - 16, y in 0..HEIGHT - 16, noise in 0..8) {
        let mut gate = MotionGate::new(MotionSettings::default(), 1.0);
        for n in 0..49 {
            judge(&mut gate, n, &picture(n, noise, None));
        }
        prop_assert_eq!(judge(&mut gate, 49, &picture(49, noise, Some((x, y, 16)))), Verdict::Look);
    }
}
