//! The best picture of each followed object: large, sure, whole, and not in a hurry.
//!
//! No pixel is looked at: the detector's boxes say enough. An object is shown well when its box is large and certain,
//! when no edge of the frame cuts it off, and when it has not moved far since the frame before, which blurs it.

use std::collections::BTreeMap;
use std::time::Duration;

use aivms_contract::geometry::{FrameSize, PixelBox};
use aivms_contract::time::MediaTime;

use crate::tracks::Sight;

/// Distance from the edge of the frame, in fractions of it, within which an object is taken to be cut off.
const EDGE: f32 = 0.01;
/// What an object that is cut off counts for.
const CUT_OFF: f32 = 0.4;
/// Time after its first sight in which a track's boxes are not settled.
const UNSETTLED: Duration = Duration::from_millis(400);
/// What a box counts for in that time.
const EARLY: f32 = 0.7;
/// Times of a box's own size moved per second at which a picture counts for half.
const BLURRED: f32 = 2.0;
/// Time after its first event at which a track's picture is taken although the track goes on.
pub const SETTLE: Duration = Duration::from_secs(5);

/// A track's best picture, due to be taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Best {
    /// The track's number.
    pub track: u64,
    /// Where it is seen best.
    pub sight: Sight,
    /// Whether the track has made an event.
    pub has_event: bool,
}

/// The best sight of each live track of one camera.
#[derive(Debug, Default)]
pub struct BestFrames(BTreeMap<u64, Watched>);

#[derive(Debug)]
struct Watched {
    first_at: MediaTime,
    last: Sight,
    best: Sight,
    score: f32,
    event_at: Option<MediaTime>,
    is_told: bool,
}

impl BestFrames {
    /// Takes a sight of a track.
    pub fn see(&mut self, track: u64, sight: Sight) {
        let watched = self.0.entry(track).or_insert_with(|| Watched {
            first_at: sight.at,
            last: sight,
            best: sight,
            score: 0.0,
            event_at: None,
            is_told: false,
        });
        let age = sight.at.since(watched.first_at);
        let score = score(&sight, speed(&watched.last, &sight), age);
        if score > watched.score {
            (watched.best, watched.score) = (sight, score);
        }
        watched.last = sight;
    }

    /// Hears that a track has made an event.
    pub fn on_event(&mut self, track: u64) {
        if let Some(watched) = self.0.get_mut(&track) {
            watched.event_at.get_or_insert(watched.last.at);
        }
    }

    /// The pictures due at `now`: of tracks whose first event is a while ago.
    pub fn due(&mut self, now: MediaTime) -> Vec<Best> {
        let is_due = |watched: &Watched| watched.event_at.is_some_and(|at| now.since(at) >= SETTLE);
        let due = self.0.iter_mut().filter(|(_, watched)| !watched.is_told && is_due(watched));
        due.map(|(&track, watched)| {
            watched.is_told = true;
            Best { track, sight: watched.best, has_event: true }
        })
        .collect()
    }

    /// Forgets a track that has ended; its picture, unless it was due before.
    pub fn end(&mut self, track: u64) -> Option<Best> {
        let watched = self.0.remove(&track)?;
        let has_event = watched.event_at.is_some();
        (!watched.is_told).then_some(Best { track, sight: watched.best, has_event })
    }
}

/// How well a sight shows its object; of an object that moved by `speed` times its own size per second.
fn score(sight: &Sight, speed: f32, age: Duration) -> f32 {
    let whole = if is_cut_off(sight.object.bbox, sight.frame) { CUT_OFF } else { 1.0 };
    let settled = if age < UNSETTLED { EARLY } else { 1.0 };
    let sharp = BLURRED / (BLURRED + speed);
    // The root, so that one that is twice as tall and half as certain is worth the same.
    let size = (sight.object.bbox.area() / area(sight.frame)).clamp(0.0, 1.0).sqrt();
    size * sight.object.confidence * whole * settled * sharp
}

fn speed(before: &Sight, now: &Sight) -> f32 {
    let seconds = now.at.since(before.at).as_secs_f32();
    let size = now.object.bbox.area().max(1.0).sqrt();
    let middle = |bbox: PixelBox| {
        let [x1, y1, x2, y2] = bbox.corners();
        ((x1 + x2) / 2.0, (y1 + y2) / 2.0)
    };
    let ((x, y), (was_x, was_y)) = (middle(now.object.bbox), middle(before.object.bbox));
    if seconds > 0.0 { (x - was_x).hypot(y - was_y) / size / seconds } else { 0.0 }
}

fn is_cut_off(bbox: PixelBox, frame: FrameSize) -> bool {
    let [x1, y1, x2, y2] = bbox.corners();
    let (width, height) = size(frame);
    x1 < width * EDGE || y1 < height * EDGE || x2 > width * (1.0 - EDGE) || y2 > height * (1.0 - EDGE)
}

fn area(frame: FrameSize) -> f32 {
    let (width, height) = size(frame);
    (width * height).max(1.0)
}

#[expect(clippy::cast_precision_loss, reason = "frames are far smaller than 2^24 pixels")]
fn size(frame: FrameSize) -> (f32, f32) {
    (frame.width as f32, frame.height as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::Tracked;
    use proptest::prelude::*;

    fn sight(millis: u64, confidence: f32, [x1, y1, x2, y2]: [f32; 4]) -> Sight {
        let bbox = PixelBox::new(x1, y1, x2, y2).unwrap();
        let object = Tracked { track: 1, class: 0, confidence, bbox };
        Sight { at: MediaTime::from_millis(millis), frame: FrameSize { width: 1000, height: 500 }, object }
    }

    fn best(sights: &[Sight]) -> u64 {
        let mut frames = BestFrames::default();
        sights.iter().for_each(|sight| frames.see(1, *sight));
        frames.end(1).unwrap().sight.at.as_nanos() / 1_000_000
    }

    const SMALL: [f32; 4] = [100.0, 100.0, 140.0, 180.0];
    const LARGE: [f32; 4] = [300.0, 100.0, 400.0, 300.0];

    #[test]
    fn the_best_picture_is_large_sure_whole_settled_and_slow() {
        assert_eq!(best(&[sight(0, 0.9, SMALL), sight(1_000, 0.9, LARGE), sight(2_000, 0.9, SMALL)]), 1_000);
        assert_eq!(best(&[sight(0, 0.5, LARGE), sight(1_000, 0.9, LARGE), sight(2_000, 0.6, LARGE)]), 1_000);
        let cut_off = [880.0, 90.0, 1000.0, 310.0];
        assert_eq!(best(&[sight(0, 0.1, LARGE), sight(10_000, 0.9, LARGE), sight(20_000, 0.9, cut_off)]), 10_000);
        assert_eq!(best(&[sight(0, 0.9, LARGE), sight(500, 0.9, LARGE)]), 500, "the first boxes are not settled");
        let far = [700.0, 100.0, 800.0, 300.0];
        assert_eq!(best(&[sight(0, 0.1, LARGE), sight(1_000, 0.8, LARGE), sight(1_200, 0.9, far)]), 1_000);
    }

    #[test]
    fn each_track_is_told_once_a_while_after_its_event_or_at_its_end() {
        let mut frames = BestFrames::default();
        for track in [1, 2, 3] {
            frames.see(track, sight(0, 0.5, SMALL));
        }
        frames.on_event(1);
        frames.on_event(2);
        assert_eq!(frames.due(MediaTime::from_millis(4_900)), []);
        assert!(frames.end(2).is_some_and(|best| best.has_event));
        frames.see(1, sight(4_900, 0.9, LARGE));
        let due = frames.due(MediaTime::from_millis(5_000));
        assert_eq!(due, [Best { track: 1, sight: sight(4_900, 0.9, LARGE), has_event: true }]);
        assert_eq!((frames.due(MediaTime::from_millis(9_000)), frames.end(1)), (vec![], None));
        assert!(frames.end(3).is_some_and(|best| !best.has_event));
        assert_eq!(frames.end(3), None);
    }

    proptest! {
        #[test]
        fn a_picture_that_is_better_in_every_way_is_never_passed_over(
            confidence in 0.1f32..0.9, height in 20.0f32..200.0
        ) {
            let small = sight(0, confidence, [400.0, 100.0, 400.0 + height / 2.0, 100.0 + height]);
            let same = Sight { at: MediaTime::from_millis(1_000), ..small };
            let better = sight(2_000, confidence + 0.05, [395.0, 95.0, 405.0 + height / 2.0, 110.0 + height]);
            let slow = Sight { at: MediaTime::from_millis(3_000), ..better };
            prop_assert_eq!(best(&[small, same, better, slow]), 3_000);
        }
    }
}
