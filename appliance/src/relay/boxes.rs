//! What cameras saw in the last hour, for boxes over recorded video.
//!
//! In memory only, and bounded: a restart forgets it, and what was seen longer ago is in the events. Frames without
//! objects take no room.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aivms_appliance_core::detection::FrameDetections;
use aivms_contract::id::CameraId;
use aivms_contract::relay::{BoxesAt, SeenBox};
use aivms_contract::time::{MediaClock, UtcMillis};

/// How long it is remembered.
const KEPT: Duration = Duration::from_secs(3_600);
/// Most boxes remembered of a camera, the newest: 32 bytes each, half a megabyte.
const MAX_BOXES: usize = 16 * 1024;

/// What cameras saw; a cheap handle.
#[derive(Debug, Clone, Default)]
pub struct SeenBoxes(Arc<Mutex<BTreeMap<CameraId, VecDeque<Seen>>>>);

#[derive(Debug, Clone)]
struct Seen {
    at: UtcMillis,
    track: u64,
    class: Arc<str>,
    confidence: f32,
    corners: [f32; 4],
}

impl SeenBoxes {
    /// Remembers a frame.
    pub fn note(&self, camera: &CameraId, frame: &FrameDetections, clock: MediaClock, labels: &[String]) {
        if frame.objects.is_empty() {
            return;
        }
        let at = clock.utc(frame.pts);
        #[expect(clippy::cast_precision_loss, reason = "frames are far smaller than 2^24 pixels")]
        let (width, height) = (frame.frame.width.max(1) as f32, frame.frame.height.max(1) as f32);
        let mut cameras = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = cameras.entry(camera.clone()).or_default();
        for object in &frame.objects {
            let [x1, y1, x2, y2] = object.bbox.corners();
            let corners = [x1 / width, y1 / height, x2 / width, y2 / height].map(|part| part.clamp(0.0, 1.0));
            let label = labels.get(usize::from(object.class)).map_or("", String::as_str);
            // Neighbours are mostly of one class, so that names are shared.
            let class = seen.back().filter(|last| *last.class == *label).map(|last| Arc::clone(&last.class));
            let class = class.unwrap_or_else(|| Arc::from(label));
            seen.push_back(Seen { at, track: object.track, class, confidence: object.confidence, corners });
        }
        while seen.len() > MAX_BOXES || seen.front().is_some_and(|first| first.at + KEPT < at) {
            seen.pop_front();
        }
    }

    /// What was seen in a span, in order of time.
    pub(super) fn between(&self, camera: &CameraId, from: UtcMillis, to: UtcMillis) -> Vec<BoxesAt> {
        let cameras = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut frames: Vec<BoxesAt> = Vec::new();
        let seen = cameras.get(camera).into_iter().flatten().filter(|seen| from <= seen.at && seen.at < to);
        for seen in seen {
            let t = seen.at.as_millis();
            let found = SeenBox {
                track: Some(seen.track.to_string()),
                class: seen.class.to_string(),
                confidence: seen.confidence,
                at: seen.corners,
            };
            match frames.last_mut() {
                Some(frame) if frame.t == t => frame.boxes.push(found),
                _ => frames.push(BoxesAt { t, boxes: vec![found] }),
            }
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aivms_appliance_core::detection::Tracked;
    use aivms_contract::geometry::{FrameSize, PixelBox};
    use aivms_contract::time::MediaTime;

    fn frame(second: u64, objects: usize) -> FrameDetections {
        let bbox = PixelBox::new(160.0, 90.0, 320.0, 180.0).unwrap();
        let object = Tracked { track: 7, class: 1, confidence: 0.5, bbox };
        let frame = FrameSize { width: 640, height: 360 };
        FrameDetections { pts: MediaTime::from_millis(second * 1000), frame, objects: vec![object; objects] }
    }

    #[test]
    fn what_was_seen_is_told_in_wall_time_and_fractions_and_is_bounded() {
        let (seen, camera) = (SeenBoxes::default(), "gate".parse().unwrap());
        let (clock, labels) = (MediaClock { zero_at: utc(0) }, ["car".to_owned(), "person".to_owned()]);
        let note = |second, objects| seen.note(&camera, &frame(second, objects), clock, &labels);
        for second in 0..4_000 {
            note(second, 1);
        }
        assert_eq!(seen.between(&camera, utc(0), utc(300)), [], "an hour is kept");
        let told = seen.between(&camera, utc(3_990), utc(3_992));
        assert_eq!(told.iter().map(|frame| frame.t).collect::<Vec<_>>(), [3_990_000, 3_991_000]);
        let expected =
            SeenBox { track: Some("7".into()), class: "person".into(), confidence: 0.5, at: [0.25, 0.25, 0.5, 0.5] };
        assert_eq!(told[0].boxes, [expected]);
        for second in 4_000..4_900 {
            note(second, 30);
        }
        assert!(seen.0.lock().unwrap()[&camera].len() <= MAX_BOXES);
        assert_eq!(seen.between(&camera, utc(4_899), utc(4_900))[0].boxes.len(), 30);
    }

    fn utc(seconds: i64) -> UtcMillis {
        UtcMillis::from_millis(seconds * 1000)
    }
}
