//! Where objects were in the last minutes, for boxes that somebody wants to see in a picture.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aivms_appliance_core::detection::FrameDetections;
use aivms_contract::geometry::{FrameSize, PixelBox};
use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;

/// Frames remembered of each camera: two minutes at five per second. The oldest go.
const FRAMES: usize = 600;
/// Most that a frame may be away from the picture for its boxes to fit.
const FITS_WITHIN: Duration = Duration::from_millis(500);

/// The boxes of the last analysed frames. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct RecentBoxes(Arc<Mutex<BTreeMap<CameraId, VecDeque<Boxes>>>>);

/// The boxes of one frame.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Boxes {
    at: UtcMillis,
    /// Size that they refer to.
    pub(super) frame: FrameSize,
    /// Where the objects are.
    pub(super) boxes: Vec<PixelBox>,
}

impl RecentBoxes {
    /// Remembers what was seen in a frame shown at `at`.
    pub fn see(&self, camera: &CameraId, at: UtcMillis, frame: &FrameDetections) {
        let boxes = frame.objects.iter().map(|object| object.bbox).collect();
        // Every change under this lock is a single push or removal.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let frames = all.entry(camera.clone()).or_default();
        if frames.len() >= FRAMES {
            frames.pop_front();
        }
        frames.push_back(Boxes { at, frame: frame.frame, boxes });
    }

    /// What was seen at about a time; `None` when that is not known any more.
    pub(super) fn at(&self, camera: &CameraId, at: UtcMillis) -> Option<Boxes> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let distance = |boxes: &&Boxes| boxes.at.since(at) + at.since(boxes.at);
        all.get(camera)?.iter().min_by_key(distance).filter(|boxes| distance(boxes) <= FITS_WITHIN).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aivms_contract::time::MediaTime;

    #[test]
    fn the_boxes_nearest_in_time_are_given_while_they_fit() {
        let (recent, camera) = (RecentBoxes::default(), "gate".parse().unwrap());
        let frame =
            FrameDetections { pts: MediaTime::ZERO, frame: FrameSize { width: 10, height: 10 }, objects: vec![] };
        let at = |millis: i64| UtcMillis::from_millis(1_000_000 + millis);
        for number in 0..1000 {
            recent.see(&camera, at(number * 200), &frame);
        }
        assert_eq!(recent.at(&camera, at(150_130)).unwrap().at, at(150_200));
        assert_eq!(recent.at(&camera, at(200_400)), None);
        assert_eq!(recent.at(&camera, at(0)), None, "too long ago");
        assert_eq!(recent.at(&"yard".parse().unwrap(), at(150_000)), None);
    }
}
