//! When an object is at rest, as a parked car is, and when it moves again.
//!
//! All spans are media time. The rules:
//!
//! - An object's *place* is the mean of its boxes since it last moved. A box is *on* the place when their overlap (IoU)
//!   is at least [`SAME_IOU`] and their middles are at most [`SAME_SHIFT`] of the place's width and height apart.
//! - It has moved when two sights in a row are off the place; one odd box of the detector moves nothing. A box that
//!   is a part of the place tells of something in front of it rather than of a movement, and must last
//!   [`COVERED_FOR`]. Either way it has moved since the first of those sights.
//! - It is at rest when it has not moved for [`RestSettings::after`]. While at rest it is told to stand exactly where
//!   it came to rest, so that nothing behind this sees the detector's jitter. Its place follows the light's and the
//!   camera's slow changes all the same.

use std::time::Duration;

use aivms_contract::geometry::{FrameSize, PixelBox};
use aivms_contract::time::MediaTime;
use serde::{Deserialize, Serialize};

use super::Sight;

/// Least overlap of a box with the place it is on.
const SAME_IOU: f32 = 0.5;
/// Furthest that a box on a place may be shifted, in widths and heights of the place.
const SAME_SHIFT: f32 = 0.3;
/// Least part of a box that lies in a place it is a part of, ...
const PART_INSIDE: f32 = 0.8;
/// ... and least size of such a part.
const PART_SIZE: f32 = 0.2;
/// Time for which an object must be seen in part before that counts as a movement.
const COVERED_FOR: Duration = Duration::from_secs(2);
/// Least sights before an object is at rest.
const LEAST_SIGHTS: u32 = 3;
/// Time over which the place of an object at rest follows its boxes.
const FOLLOW_OVER: Duration = Duration::from_secs(60);

/// When an object is at rest, and for how long it is remembered.
///
/// Written in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RestSettings {
    /// An object that has not moved for this long is at rest.
    #[serde(rename = "after_s", with = "seconds")]
    pub after: Duration,
    /// An object at rest that is not seen, because something hides it or the night does, is remembered for this long
    /// after its last sight. What then appears on its place is taken for it.
    #[serde(rename = "remember_s", with = "seconds")]
    pub remember: Duration,
    /// Time after which an object at rest is reported again.
    #[serde(rename = "report_every_s", with = "seconds")]
    pub report_every: Duration,
}

impl Default for RestSettings {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        Self { after: Duration::from_secs(10), remember: minutes(30), report_every: minutes(15) }
    }
}

/// A box and the frame it refers to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    pub(super) bbox: PixelBox,
    pub(super) frame: FrameSize,
}

/// Whether one track stands still, and since when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stillness {
    place: Place,
    since: MediaTime,
    last_at: MediaTime,
    sights: u32,
    /// The first sight off the place, while it is not certain that the object has moved.
    off: Option<Sight>,
    /// Where it is told to stand; `None` when it is not at rest.
    held: Option<Place>,
    /// Where it rested before it moved.
    former: Option<Place>,
}

/// What a sight says of the object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Motion {
    /// It is not at rest.
    Free,
    /// It is at rest; here it stands.
    Resting(Place),
    /// It is at rest unless the next sight says otherwise too.
    Doubtful,
    /// It was at rest and has moved since this sight.
    Woke(Sight),
}

impl Stillness {
    pub(super) fn new(sight: &Sight) -> Self {
        let place = Place::of(sight);
        Self { place, since: sight.at, last_at: sight.at, sights: 1, off: None, held: None, former: None }
    }

    pub(super) fn is_resting(&self) -> bool {
        self.held.is_some()
    }

    /// The place in pixels of `frame`.
    pub(super) fn place(&self, frame: FrameSize) -> Place {
        self.place.scaled(frame)
    }

    /// When the object was last seen, on its place or off it.
    pub(super) fn seen_at(&self) -> MediaTime {
        self.last_at
    }

    /// Drops the suspicion of a movement: the object was lost before it was certain.
    pub(super) fn doubt_no_more(&mut self) {
        self.off = None;
    }

    /// Forgets that it rests or rested.
    pub(super) fn forget(&mut self) {
        (self.held, self.former, self.off) = (None, None, None);
    }

    /// Takes a sight later than the last one.
    pub(super) fn see(&mut self, sight: &Sight, settings: &RestSettings) -> Motion {
        self.place = self.place.scaled(sight.frame);
        if !self.place.holds(sight.object.bbox) {
            return self.stray(sight);
        }
        self.off = None;
        self.sights = self.sights.saturating_add(1);
        self.place = self.place.drawn_to(sight.object.bbox, self.weight(sight.at));
        self.last_at = sight.at;
        if self.sights >= LEAST_SIGHTS && sight.at.since(self.since) >= settings.after {
            let held = self.held.unwrap_or(self.place).scaled(sight.frame);
            (self.held, self.former) = (Some(held), None);
            return Motion::Resting(held);
        }
        Motion::Free
    }

    /// Goes back to rest when the object is lost before it has left the place it rested on; `last` is where it was
    /// last seen. Says whether it does.
    pub(super) fn settle_back(&mut self, last: &Sight) -> bool {
        let Some(former) = self.former.map(|former| former.scaled(last.frame)) else { return false };
        let bbox = last.object.bbox;
        let stays = former.bbox.iou(bbox) >= SAME_SHIFT || former.has_part(bbox);
        if stays {
            (self.place, self.held, self.former, self.off) = (former, Some(former), None, None);
        }
        stays
    }

    fn stray(&mut self, sight: &Sight) -> Motion {
        let first = *self.off.get_or_insert(*sight);
        let is_covered = self.held.is_some() && self.place.has_part(sight.object.bbox);
        let lasted = sight.at.since(first.at);
        if lasted.is_zero() || (is_covered && lasted < COVERED_FOR) {
            self.last_at = sight.at;
            return if self.held.is_some() { Motion::Doubtful } else { Motion::Free };
        }
        let woke = self.held.map(|_| Motion::Woke(first));
        let former = self.held.or(self.former);
        let place = Place::of(sight);
        let since = if place.holds(first.object.bbox) { first.at } else { sight.at };
        *self = Self { place, since, last_at: sight.at, sights: 1, off: None, held: None, former };
        woke.unwrap_or(Motion::Free)
    }

    /// How much a box at `now` draws the place to itself: all boxes alike before the rest, little by little in it.
    fn weight(&self, now: MediaTime) -> f32 {
        match self.held {
            #[expect(clippy::cast_precision_loss, reason = "a count of sights in a few seconds")]
            None => 1.0 / self.sights as f32,
            Some(_) => now.since(self.last_at).as_secs_f32().min(1.0) / FOLLOW_OVER.as_secs_f32(),
        }
    }
}

impl Place {
    pub(super) fn of(sight: &Sight) -> Self {
        Self { bbox: sight.object.bbox, frame: sight.frame }
    }

    /// Whether a box in pixels of the same frame is on it.
    pub(super) fn holds(self, bbox: PixelBox) -> bool {
        let ([x1, y1, x2, y2], [u1, v1, u2, v2]) = (self.bbox.corners(), bbox.corners());
        let (across, down) = ((u1 + u2 - x1 - x2).abs() / 2.0, (v1 + v2 - y1 - y2).abs() / 2.0);
        across <= SAME_SHIFT * self.bbox.width()
            && down <= SAME_SHIFT * self.bbox.height()
            && self.bbox.iou(bbox) >= SAME_IOU
    }

    /// Whether a box in pixels of the same frame shows a part of what is here.
    pub(super) fn has_part(self, bbox: PixelBox) -> bool {
        let iou = self.bbox.iou(bbox);
        // From iou = shared / (a + b - shared).
        let shared = iou * (self.bbox.area() + bbox.area()) / (1.0 + iou);
        shared >= PART_INSIDE * bbox.area() && bbox.area() >= PART_SIZE * self.bbox.area() && shared > 0.0
    }

    /// The same place in pixels of another size of the picture.
    pub(super) fn scaled(self, frame: FrameSize) -> Self {
        if self.frame == frame {
            return self;
        }
        #[expect(clippy::cast_precision_loss, reason = "frames are far smaller than 2^24 pixels")]
        let factor = |now: u32, before: u32| now.max(1) as f32 / before.max(1) as f32;
        let (across, down) = (factor(frame.width, self.frame.width), factor(frame.height, self.frame.height));
        let [x1, y1, x2, y2] = self.bbox.corners();
        let bbox = PixelBox::new(x1 * across, y1 * down, x2 * across, y2 * down).unwrap_or(self.bbox);
        Self { bbox, frame }
    }

    fn drawn_to(self, bbox: PixelBox, part: f32) -> Self {
        let (from, to) = (self.bbox.corners(), bbox.corners());
        let [x1, y1, x2, y2] = std::array::from_fn(|i| from[i] + (to[i] - from[i]) * part);
        Self { bbox: PixelBox::new(x1, y1, x2, y2).unwrap_or(self.bbox), ..self }
    }
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(span.as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u32::deserialize(deserializer).map(|seconds| Duration::from_secs(seconds.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::Tracked;

    const FRAME: FrameSize = FrameSize { width: 1000, height: 1000 };

    fn sight(at_ms: u64, [x, y, width, height]: [f32; 4]) -> Sight {
        let bbox = PixelBox::new(x, y, x + width, y + height).unwrap();
        let object = Tracked { track: 1, class: 0, confidence: 0.5, bbox };
        Sight { at: MediaTime::from_millis(at_ms), frame: FRAME, object }
    }

    const CAR: [f32; 4] = [400.0, 400.0, 100.0, 60.0];

    fn parked() -> Stillness {
        let mut still = Stillness::new(&sight(0, CAR));
        (1..=50).for_each(|i| {
            still.see(&sight(i * 200, CAR), &RestSettings::default());
        });
        assert!(still.is_resting());
        still
    }

    #[test]
    fn one_odd_box_wakes_nothing_and_two_wake_at_the_first() {
        let mut still = parked();
        let (odd, rest) = ([460.0, 400.0, 100.0, 60.0], &RestSettings::default());
        assert_eq!(still.see(&sight(10_200, odd), rest), Motion::Doubtful);
        assert!(matches!(still.see(&sight(10_400, CAR), rest), Motion::Resting(_)));
        assert_eq!(still.see(&sight(10_600, odd), rest), Motion::Doubtful);
        assert_eq!(still.see(&sight(10_800, odd), rest), Motion::Woke(sight(10_600, odd)));
        assert_eq!(still.see(&sight(11_000, odd), rest), Motion::Free);
    }

    #[test]
    fn jitter_of_a_fifth_of_the_box_neither_keeps_from_rest_nor_wakes() {
        let mut still = Stillness::new(&sight(0, CAR));
        let mut rested = 0;
        for i in 1..=600_u16 {
            let wobble = |step: u16, most: f32| (f32::from(i * step % 11) / 5.0 - 1.0) * most;
            let bbox = [400.0 + wobble(3, 20.0), 400.0 + wobble(5, 12.0), 100.0 + wobble(7, 20.0), 60.0];
            rested += u32::from(still.see(&sight(u64::from(i) * 200, bbox), &RestSettings::default()) != Motion::Free);
        }
        assert_eq!(rested, 600 - 49);
    }

    #[test]
    fn a_part_of_a_resting_object_is_not_a_movement_for_two_seconds() {
        let (mut still, half) = (parked(), [400.0, 400.0, 35.0, 60.0]);
        let motions: Vec<_> =
            (1..=11_u64).map(|i| still.see(&sight(10_000 + i * 200, half), &RestSettings::default())).collect();
        assert!(motions[..10].iter().all(|motion| *motion == Motion::Doubtful), "{motions:?}");
        assert_eq!(motions[10], Motion::Woke(sight(10_200, half)));
    }

    #[test]
    fn a_picture_in_another_resolution_moves_nothing() {
        let mut still = parked();
        let half = FrameSize { width: 500, height: 500 };
        let sight = Sight { frame: half, ..sight(10_200, [200.0, 200.0, 50.0, 30.0]) };
        let Motion::Resting(held) = still.see(&sight, &RestSettings::default()) else { panic!("it woke") };
        assert_eq!(held, Place::of(&sight));
    }
}
