//! Following the objects of one input.

use std::collections::BTreeMap;
use std::time::Duration;

use aivms_appliance_core::detection::{ClassId, Detected, Tracked};
use aivms_appliance_core::tracker::{Tracker, TrackerSettings};
use aivms_contract::geometry::{FrameSize, PixelBox};
use aivms_contract::time::MediaTime;

use super::config::Config;

/// How long a lost track is awaited before the time between frames is known.
const AT_FIRST: Duration = Duration::from_secs(2);

/// Follows one input.
pub(super) struct Follower {
    config: Config,
    tracker: Tracker,
    /// The first frame, until the second tells the time between them.
    first: Option<(MediaTime, Vec<Detected>)>,
    /// What was followed in the last frame with detection, by number.
    followed: BTreeMap<u64, Motion>,
}

/// An object and how it moves.
#[derive(Debug, Clone, Copy)]
struct Motion {
    at: MediaTime,
    object: Tracked,
    /// Pixels a second of each corner's coordinate.
    speed: [f64; 4],
}

impl Follower {
    pub(super) fn new(config: Config) -> Self {
        let tracker = Tracker::new(settings(&config, AT_FIRST));
        Self { config, tracker, first: None, followed: BTreeMap::new() }
    }

    /// Takes the boxes of a frame in which was detected, and gives those it confirms.
    pub(super) fn update(&mut self, at: MediaTime, frame: FrameSize, found: &[Detected]) -> Vec<Tracked> {
        self.learn_interval(at, frame, found);
        let tracked = self.tracker.update(at, frame, found);
        let moves = tracked.iter().map(|object| (object.track, self.motion(at, *object)));
        self.followed = moves.collect();
        tracked
    }

    /// Where the objects of the last frame with detection should be in one without.
    pub(super) fn predict(&self, at: MediaTime, frame: FrameSize) -> Vec<Tracked> {
        if !self.config.visual {
            return vec![];
        }
        self.followed.values().filter_map(|motion| motion.at_time(at, frame)).collect()
    }

    /// Ages are counted in frames in the file and in media time here.
    fn learn_interval(&mut self, at: MediaTime, frame: FrameSize, found: &[Detected]) {
        let Some((first_at, first)) = self.first.take() else {
            if self.followed.is_empty() && self.tracker.settings().lost_after == AT_FIRST {
                self.first = Some((at, found.to_vec()));
            }
            return;
        };
        let lost_after = at.since(first_at).saturating_mul(self.config.lost_after);
        self.tracker = Tracker::new(settings(&self.config, lost_after));
        self.tracker.update(first_at, frame, &first);
    }

    fn motion(&self, at: MediaTime, object: Tracked) -> Motion {
        let before = self.followed.get(&object.track).filter(|before| before.at < at);
        let speed = before.map_or([0.0; 4], |before| {
            let seconds = at.since(before.at).as_secs_f64();
            let (now, then) = (object.bbox.corners(), before.object.bbox.corners());
            std::array::from_fn(|corner| f64::from(now[corner] - then[corner]) / seconds)
        });
        Motion { at, object, speed }
    }
}

impl Motion {
    fn at_time(&self, at: MediaTime, frame: FrameSize) -> Option<Tracked> {
        let seconds = at.since(self.at).as_secs_f64();
        let corners = self.object.bbox.corners();
        let [x1, y1, x2, y2] =
            std::array::from_fn(|corner| (f64::from(corners[corner]) + self.speed[corner] * seconds) as f32);
        let bbox = PixelBox::new(x1, y1, x2, y2).ok()?.clipped(frame)?;
        Some(Tracked { bbox, ..self.object })
    }
}

fn settings(config: &Config, lost_after: Duration) -> TrackerSettings {
    TrackerSettings { high_confidence: config.high_confidence, low_confidence: config.low_confidence, lost_after }
}

/// Finds among the boxes of a frame the one that a confirmed object is: of those of its confidence, which it took over
/// unchanged, the one it overlaps most.
pub(super) fn origin(object: &Tracked, found: &[(ClassId, f32, PixelBox)], taken: &[bool]) -> Option<usize> {
    let free = found.iter().enumerate().filter(|(at, _)| !taken[*at]);
    let alike = free.filter(|(_, (_, confidence, _))| confidence.to_bits() == object.confidence.to_bits());
    alike.max_by(|(_, a), (_, b)| object.bbox.iou(a.2).total_cmp(&object.bbox.iou(b.2))).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: FrameSize = FrameSize { width: 640, height: 360 };
    const CONFIG: Config =
        Config { low_confidence: 0.3, high_confidence: 0.5, lost_after: 5, unique_ids: true, visual: true };

    fn at(ms: u64) -> MediaTime {
        MediaTime::from_millis(ms)
    }

    fn walker(x: f32, confidence: f32) -> Detected {
        Detected { class: 0, confidence, bbox: PixelBox::new(x, 100.0, x + 40.0, 200.0).unwrap() }
    }

    #[test]
    fn a_lost_track_is_awaited_for_the_frames_that_the_file_says() {
        let number_after = |frames_away: u64| {
            let mut follower = Follower::new(CONFIG);
            let mut seen = (0..5).map(|n| follower.update(at(n * 200), FRAME, &[walker(100.0, 0.9)])).last().unwrap();
            let before = seen.pop().unwrap().track;
            let back = (0..3).map(|n| (4 + frames_away + n) * 200);
            let last = back.map(|ms| follower.update(at(ms), FRAME, &[walker(100.0, 0.9)])).last().unwrap();
            (before, last[0].track)
        };
        assert!(matches!(number_after(5), (before, after) if before == after));
        assert!(matches!(number_after(6), (before, after) if before != after));
    }

    #[test]
    fn between_detections_an_object_moves_on_at_its_speed() {
        let mut follower = Follower::new(CONFIG);
        for n in 0..5_u16 {
            follower.update(at(u64::from(n) * 200), FRAME, &[walker(100.0 + f32::from(n) * 10.0, 0.9)]);
        }
        let predicted = follower.predict(at(900), FRAME);
        let [x, ..] = predicted[0].bbox.corners();
        assert!((x - 145.0).abs() < 3.0, "{predicted:?}");
        assert!(Follower::new(Config { visual: false, ..CONFIG }).predict(at(0), FRAME).is_empty());
    }

    #[test]
    fn a_confirmed_object_is_the_box_of_its_confidence_that_it_overlaps_most() {
        let boxes = [walker(100.0, 0.9), walker(300.0, 0.9), walker(110.0, 0.8)];
        let found = boxes.map(|found| (found.class, found.confidence, found.bbox));
        let confirmed = Tracked { track: 1, class: 0, confidence: 0.9, bbox: walker(108.0, 0.9).bbox };
        assert_eq!(origin(&confirmed, &found, &[false; 3]), Some(0));
        assert_eq!(origin(&confirmed, &found, &[true, false, false]), Some(1));
        assert_eq!(origin(&Tracked { confidence: 0.7, ..confirmed }, &found, &[false; 3]), None);
    }
}
