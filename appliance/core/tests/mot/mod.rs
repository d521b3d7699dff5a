//! How well tracks follow the truth: MOTA (Bernardin and Stiefelhagen, "Evaluating Multiple Object Tracking
//! Performance", 2008) and IDF1 (Ristani et al., arXiv 1609.01775), exactly.
//!
//! Counts what `motmetrics` 1.4.0 counts with IoU 0.5; `tests/bench/mot_peers.py` compares the two.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Add;

use aivms_contract::geometry::PixelBox;

/// Objects of each frame: their number and box.
pub(crate) type Frames = BTreeMap<u64, Vec<(u64, PixelBox)>>;

/// Least intersection over union of a track's box with the object it follows.
const LEAST_IOU: f64 = 0.5;

/// What a pair that must not be costs.
const NEVER: f64 = 1e6;

/// Counts of a sequence; those of several sequences add up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Quality {
    /// Objects, over all frames.
    pub(crate) objects: usize,
    /// Boxes that the tracks gave, over all frames.
    pub(crate) boxes: usize,
    /// Objects without a box.
    pub(crate) misses: usize,
    /// Boxes without an object.
    pub(crate) false_boxes: usize,
    /// Times that an object went on under another number.
    pub(crate) switches: usize,
    /// Boxes with the right number, when each object is given at most one track and each track at most one object.
    pub(crate) right_numbers: usize,
}

impl Quality {
    /// Judges `tracks` by `truth`, in the frames from the first to the last of `frames`.
    pub(crate) fn of(truth: &Frames, tracks: &Frames, frames: impl Iterator<Item = u64>) -> Self {
        let mut quality = Self::default();
        let mut followed_by = BTreeMap::new();
        let mut together: BTreeMap<(u64, u64), usize> = BTreeMap::new();
        for frame in frames {
            let objects = truth.get(&frame).map(Vec::as_slice).unwrap_or_default();
            let boxes = tracks.get(&frame).map(Vec::as_slice).unwrap_or_default();
            let near = near(objects, boxes);
            for &(object, track, _) in &near {
                *together.entry((objects[object].0, boxes[track].0)).or_default() += 1;
            }
            quality.add_frame(objects, boxes, &near, &mut followed_by);
        }
        quality.right_numbers = most_together(&together);
        quality
    }

    fn add_frame(
        &mut self,
        objects: &[(u64, PixelBox)],
        boxes: &[(u64, PixelBox)],
        near: &[(usize, usize, f64)],
        followed_by: &mut BTreeMap<u64, u64>,
    ) {
        // Two objects may have been followed by one track, one after the other: the first in the list keeps it.
        let mut kept: Vec<(usize, usize)> = Vec::new();
        for &(object, track, _) in near {
            let same = followed_by.get(&objects[object].0) == Some(&boxes[track].0);
            if same && kept.iter().all(|&(_, by)| by != track) {
                kept.push((object, track));
            }
        }
        let free = |&&(object, track, _): &&(usize, usize, f64)| {
            kept.iter().all(|&(taken, by)| taken != object && by != track)
        };
        let open: Vec<(usize, usize, f64)> = near.iter().filter(free).copied().collect();
        let fresh = pair(objects.len(), boxes.len(), &open);
        for &(object, track) in &fresh {
            let before = followed_by.insert(objects[object].0, boxes[track].0);
            self.switches += usize::from(before.is_some_and(|before| before != boxes[track].0));
        }
        let pairs = kept.len() + fresh.len();
        self.objects += objects.len();
        self.boxes += boxes.len();
        self.misses += objects.len() - pairs;
        self.false_boxes += boxes.len() - pairs;
    }

    /// 1 less the errors per object; below 0 when there are more errors than objects.
    pub(crate) fn mota(&self) -> f64 {
        1.0 - (self.misses + self.false_boxes + self.switches) as f64 / self.objects as f64
    }

    /// Harmonic mean of the right numbers' share of the objects and of the boxes.
    pub(crate) fn idf1(&self) -> f64 {
        2.0 * self.right_numbers as f64 / (self.objects + self.boxes) as f64
    }
}

impl Add for Quality {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            objects: self.objects + other.objects,
            boxes: self.boxes + other.boxes,
            misses: self.misses + other.misses,
            false_boxes: self.false_boxes + other.false_boxes,
            switches: self.switches + other.switches,
            right_numbers: self.right_numbers + other.right_numbers,
        }
    }
}

/// The pairs of object and box that overlap enough, with their distance: 1 less the intersection over union.
fn near(objects: &[(u64, PixelBox)], boxes: &[(u64, PixelBox)]) -> Vec<(usize, usize, f64)> {
    let all = (0..objects.len()).flat_map(|object| (0..boxes.len()).map(move |track| (object, track)));
    let distances = all.map(|(object, track)| (object, track, 1.0 - iou(objects[object].1, boxes[track].1)));
    distances.filter(|(.., distance)| *distance <= 1.0 - LEAST_IOU).collect()
}

/// Intersection over union; in double precision, so that the limit falls as it does elsewhere.
fn iou(a: PixelBox, b: PixelBox) -> f64 {
    let ([ax1, ay1, ax2, ay2], [bx1, by1, bx2, by2]) = (a.corners().map(f64::from), b.corners().map(f64::from));
    let shared = (ax2.min(bx2) - ax1.max(bx1)).max(0.0) * (ay2.min(by2) - ay1.max(by1)).max(0.0);
    shared / ((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - shared)
}

/// As many pairs as possible, at the least sum of distances among those.
fn pair(rows: usize, columns: usize, possible: &[(usize, usize, f64)]) -> Vec<(usize, usize)> {
    let side = rows.max(columns);
    let mut costs = vec![NEVER; side * side];
    for &(row, column, distance) in possible {
        costs[row * side + column] = distance;
    }
    let chosen = least_cost(&costs, side).into_iter().enumerate();
    chosen.filter(|&(row, column)| costs[row * side + column] < NEVER).collect()
}

/// The most frames that any one-to-one pairing of objects and tracks spends together.
fn most_together(together: &BTreeMap<(u64, u64), usize>) -> usize {
    let objects: BTreeSet<u64> = together.keys().map(|pair| pair.0).collect();
    let tracks: BTreeSet<u64> = together.keys().map(|pair| pair.1).collect();
    let side = objects.len().max(tracks.len());
    let mut frames = vec![0.0; side * side];
    for (&(object, track), &count) in together {
        let (row, column) = (objects.range(..object).count(), tracks.range(..track).count());
        frames[row * side + column] = -(count as f64);
    }
    let sum: f64 =
        least_cost(&frames, side).into_iter().enumerate().map(|(row, column)| -frames[row * side + column]).sum();
    sum.round() as usize
}

/// The column of each row in the assignment of least total cost of a square matrix (the Hungarian method, by shortest
/// augmenting paths).
fn least_cost(costs: &[f64], side: usize) -> Vec<usize> {
    let (mut of_row, mut of_column) = (vec![0.0; side + 1], vec![0.0; side + 1]);
    let (mut row_at, mut before) = (vec![0; side + 1], vec![0; side + 1]);
    for row in 1..=side {
        row_at[0] = row;
        let (mut least, mut seen, mut column) = (vec![f64::INFINITY; side + 1], vec![false; side + 1], 0);
        while row_at[column] != 0 {
            seen[column] = true;
            let (from, mut nearest, mut step) = (row_at[column], 0, f64::INFINITY);
            for next in (1..=side).filter(|&next| !seen[next]) {
                let cost = costs[(from - 1) * side + next - 1] - of_row[from] - of_column[next];
                if cost < least[next] {
                    (least[next], before[next]) = (cost, column);
                }
                if least[next] < step {
                    (step, nearest) = (least[next], next);
                }
            }
            for next in 0..=side {
                if seen[next] {
                    of_row[row_at[next]] += step;
                    of_column[next] -= step;
                } else {
                    least[next] -= step;
                }
            }
            column = nearest;
        }
        while column != 0 {
            row_at[column] = row_at[before[column]];
            column = before[column];
        }
    }
    let mut column_of = vec![0; side];
    (1..=side).for_each(|column| column_of[row_at[column] - 1] = column - 1);
    column_of
}
