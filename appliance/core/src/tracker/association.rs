//! Which box belongs to which track: rounds of pairing, each with its own rule, until nothing more fits.

use aivms_contract::geometry::PixelBox;
use aivms_contract::time::MediaTime;

use super::assignment::assign;
use super::kalman::FARTHEST;
use super::track::{Phase, Track};
use super::{CONFIRM_HITS, TrackerSettings};
use crate::detection::Detected;

/// By how much of its width and height a box is grown on each side in the first round.
///
/// At 5 frames per second a walker who turns is a good part of his width from where the filter expects him. Growing
/// lowers the number switches from 563 to 519 on the sequences the constants were chosen on and from 891 to 833 on the
/// others (`docs/ref/tracking.md`), against the best limit without it.
const GROWTH: f64 = 0.2;
/// Least overlap of grown boxes in the first round, for a track that was seen in the last frame.
const LEAST_GROWN_OVERLAP: f64 = 0.3;
/// The same for a track that was not: while it was gone another object may have come to where it is expected, so it has
/// to fit better. On TUD-Stadtmitte somebody steps out from behind another where a third was lost 0.7 s before.
const LEAST_RETURNED_OVERLAP: f64 = 0.35;
/// What the first round holds against a pair, as exponents of the chance that the two are one object: overlap at its
/// least, a second out of sight (of two tracks that a box fits, the one seen later is more likely its owner), and one
/// squared deviation from the prediction, which unlike overlap knows how sure the filter is and minds the size.
const BARE_OVERLAP: f64 = 1.5;
const SECOND_GONE: f64 = 0.45;
const SQUARED_DEVIATION: f64 = 0.056;
/// Least overlap with a box of low confidence: such a box is often another object's shadow.
const LEAST_LOW_OVERLAP: f64 = 0.5;
/// Least overlap at which a box of another class is the same object under another name.
const LEAST_RENAMED_OVERLAP: f64 = 0.7;

/// One frame's boxes on their way to tracks.
pub(super) struct Association<'a> {
    at: MediaTime,
    settings: &'a TrackerSettings,
    tracks: &'a mut [Track],
    detections: &'a [Detected],
    has_box: Vec<bool>,
    taken: Vec<bool>,
}

impl<'a> Association<'a> {
    pub(super) fn new(
        at: MediaTime,
        settings: &'a TrackerSettings,
        tracks: &'a mut [Track],
        detections: &'a [Detected],
    ) -> Self {
        let (has_box, taken) = (vec![false; tracks.len()], vec![false; detections.len()]);
        Self { at, settings, tracks, detections, has_box, taken }
    }

    /// Gives every track its box of this frame and returns the confident boxes that are left, most confident first.
    pub(super) fn run(mut self) -> Vec<Detected> {
        let (high, low) = (self.settings.high_confidence, self.settings.low_confidence);
        let is_high = |found: &Detected| found.confidence >= high;
        let is_low = |found: &Detected| found.confidence >= low && found.confidence < high;
        let known = |track: &Track| track.phase() != Phase::Tentative;
        let at = self.at;
        self.pair(known, is_high, |track, found| expected(track, found, at));
        self.pair(|track| track.phase() == Phase::Seen, is_low, low_overlap);
        self.pair(|track| track.phase() == Phase::Tentative, is_high, reachable);
        self.pair(known, is_high, renamed_overlap);
        for (track, _) in self.tracks.iter_mut().zip(&self.has_box).filter(|(_, has_box)| !**has_box) {
            track.miss();
        }
        self.leftover(is_high)
    }

    /// Pairs what is left of the given tracks and boxes at least total cost; a cost is 0 (sure) to 1 (barely).
    fn pair(
        &mut self,
        wanted: impl Fn(&Track) -> bool,
        offered: impl Fn(&Detected) -> bool,
        cost: impl Fn(&Track, &Detected) -> Option<f64>,
    ) {
        let rows: Vec<usize> =
            (0..self.tracks.len()).filter(|&i| !self.has_box[i] && wanted(&self.tracks[i])).collect();
        let columns: Vec<usize> =
            (0..self.detections.len()).filter(|&i| !self.taken[i] && offered(&self.detections[i])).collect();
        let mut pairs = Vec::new();
        for (row, &track) in rows.iter().enumerate() {
            for (column, &found) in columns.iter().enumerate() {
                let cost = cost(&self.tracks[track], &self.detections[found]);
                pairs.extend(cost.map(|cost| (row, column, cost)));
            }
        }
        for (row, column) in assign(rows.len(), columns.len(), &pairs) {
            let (track, found) = (rows[row], columns[column]);
            self.has_box[track] = true;
            self.taken[found] = true;
            self.tracks[track].see(self.at, self.detections[found], CONFIRM_HITS);
        }
    }

    /// Boxes nobody took, without those that repeat a box somebody took under another class.
    fn leftover(self, is_high: impl Fn(&Detected) -> bool) -> Vec<Detected> {
        let with_box = self.tracks.iter().zip(&self.has_box).filter(|(_, has_box)| **has_box);
        let mut owned: Vec<PixelBox> = with_box.map(|(track, _)| track.last_box()).collect();
        let not_taken = self.detections.iter().zip(&self.taken).filter(|(found, taken)| !**taken && is_high(found));
        let mut free: Vec<Detected> = not_taken.map(|(found, _)| *found).collect();
        free.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
        free.retain(|found| {
            let repeats = owned.iter().any(|other| f64::from(found.bbox.iou(*other)) > LEAST_RENAMED_OVERLAP);
            owned.push(found.bbox);
            !repeats
        });
        free
    }
}

/// Cost for a track whose motion is known: the grown boxes must overlap, and what speaks against the pair adds up.
fn expected(track: &Track, found: &Detected, at: MediaTime) -> Option<f64> {
    if !same_class(track, found) {
        return None;
    }
    let least = if track.phase() == Phase::Lost { LEAST_RETURNED_OVERLAP } else { LEAST_GROWN_OVERLAP };
    let bare = cost(overlap(grow(track.filter().corners()), grow(corners(found))), least)?;
    let against = BARE_OVERLAP * bare
        + SECOND_GONE * at.since(track.last_seen()).as_secs_f64()
        + SQUARED_DEVIATION * track.filter().distance(found.bbox);
    Some(1.0 - (-against).exp())
}

fn low_overlap(track: &Track, found: &Detected) -> Option<f64> {
    let overlap = || overlap(track.filter().corners(), corners(found));
    if same_class(track, found) { cost(overlap(), LEAST_LOW_OVERLAP) } else { None }
}

/// Cost by distance in deviations, for a track whose speed is not known yet: its boxes need not overlap at all.
fn reachable(track: &Track, found: &Detected) -> Option<f64> {
    let distance = track.filter().distance(found.bbox) / FARTHEST;
    (same_class(track, found) && distance <= 1.0).then_some(distance)
}

fn renamed_overlap(track: &Track, found: &Detected) -> Option<f64> {
    cost(overlap(track.filter().corners(), corners(found)), LEAST_RENAMED_OVERLAP)
}

fn same_class(track: &Track, found: &Detected) -> bool {
    track.class() == found.class
}

/// 0 for boxes that coincide, 1 for the least overlap that counts.
fn cost(overlap: f64, least: f64) -> Option<f64> {
    (overlap >= least).then(|| (1.0 - overlap) / (1.0 - least))
}

fn corners(found: &Detected) -> [f64; 4] {
    found.bbox.corners().map(f64::from)
}

fn grow([x1, y1, x2, y2]: [f64; 4]) -> [f64; 4] {
    let (width, height) = ((x2 - x1) * GROWTH, (y2 - y1) * GROWTH);
    [x1 - width, y1 - height, x2 + width, y2 + height]
}

/// Intersection over union.
fn overlap(a: [f64; 4], b: [f64; 4]) -> f64 {
    let width = a[2].min(b[2]) - a[0].max(b[0]);
    let height = a[3].min(b[3]) - a[1].max(b[1]);
    if width <= 0.0 || height <= 0.0 {
        return 0.0;
    }
    let shared = width * height;
    let area = |[x1, y1, x2, y2]: [f64; 4]| (x2 - x1) * (y2 - y1);
    shared / (area(a) + area(b) - shared)
}
