//! Non-maximum suppression: of boxes that mean the same object, the best stays.

use std::cmp::Ordering;

use aivms_contract::geometry::PixelBox;

use crate::detection::Detected;

/// Most boxes that are compared; the least confident beyond are dropped.
///
/// Every box is compared with every kept one, so a nonsense output must not cost much: 1,000 take 0.3 ms.
/// A crowded street gives 200.
pub const MAX_CANDIDATES: usize = 1000;
/// Most boxes that stay, of all classes together.
pub const MAX_KEPT: usize = 300;

/// Keeps, per class, each box that overlaps no more confident kept box by more than `iou`.
///
/// The result is ordered by falling confidence and does not depend on the order of the input. Coordinates may be in any
/// one frame of reference.
#[must_use]
pub fn suppress(mut candidates: Vec<Detected>, iou: f32) -> Vec<Detected> {
    candidates.sort_unstable_by(best_first);
    candidates.truncate(MAX_CANDIDATES);
    let mut kept: Vec<Detected> = Vec::new();
    for candidate in candidates {
        let same = |other: &Detected| other.class == candidate.class && overlap(other.bbox, candidate.bbox) > iou;
        if !kept.iter().any(same) {
            kept.push(candidate);
            if kept.len() == MAX_KEPT {
                break;
            }
        }
    }
    kept
}

/// Keeps the boxes of a detector that finds each object once, ordered by falling confidence.
///
/// Of one box under several classes, which such detectors list when a second class is nearly as likely, the most
/// confident stays: a tracker takes one box per object.
#[must_use]
pub fn single(mut found: Vec<Detected>) -> Vec<Detected> {
    found.sort_unstable_by(best_first);
    found.truncate(MAX_CANDIDATES);
    let mut kept: Vec<Detected> = Vec::new();
    for candidate in found {
        if kept.len() < MAX_KEPT && !kept.iter().any(|other| other.bbox == candidate.bbox) {
            kept.push(candidate);
        }
    }
    kept
}

/// Intersection over union, where two empty boxes at one place count as the same.
fn overlap(a: PixelBox, b: PixelBox) -> f32 {
    if a == b { 1.0 } else { a.iou(b) }
}

/// Falling confidence; equals are told apart by class and place so that the order is total.
fn best_first(a: &Detected, b: &Detected) -> Ordering {
    let corners = || a.bbox.corners().into_iter().zip(b.bbox.corners());
    let by_place = || corners().map(|(a, b)| a.total_cmp(&b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal);
    b.confidence.total_cmp(&a.confidence).then(a.class.cmp(&b.class)).then_with(by_place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn detected(class: u16, confidence: f32, corners: [f32; 4]) -> Detected {
        Detected { class, confidence, bbox: corners.try_into().unwrap() }
    }

    #[test]
    fn of_boxes_on_one_object_the_most_confident_stays() {
        let best = detected(0, 0.9, [0.0, 0.0, 10.0, 20.0]);
        let shifted = detected(0, 0.8, [1.0, 0.0, 11.0, 20.0]);
        let apart = detected(0, 0.7, [6.0, 0.0, 16.0, 20.0]);
        assert_eq!(suppress(vec![apart, shifted, best], 0.5), [best, apart]);
    }

    #[test]
    fn boxes_of_different_classes_do_not_suppress_each_other() {
        let rider = detected(0, 0.6, [0.0, 0.0, 10.0, 20.0]);
        let bicycle = detected(1, 0.9, [0.0, 0.0, 10.0, 20.0]);
        assert_eq!(suppress(vec![rider, bicycle], 0.5), [bicycle, rider]);
    }

    #[test]
    fn the_number_of_boxes_is_bounded() {
        let apart = |i: u16| detected(0, 0.5, [f32::from(i) * 10.0, 0.0, f32::from(i) * 10.0 + 5.0, 5.0]);
        assert_eq!(suppress((0..5000).map(apart).collect(), 0.5).len(), MAX_KEPT);
    }

    proptest! {
        #[test]
        fn kept_boxes_are_apart_and_every_dropped_box_has_a_better_one(boxes in boxes(), iou in 0.05f32..0.95) {
            let kept = suppress(boxes.clone(), iou);
            let same = |a: &Detected, b: &Detected| a.class == b.class && overlap(a.bbox, b.bbox) > iou;
            for (i, a) in kept.iter().enumerate() {
                prop_assert!(kept[i + 1..].iter().all(|b| !same(a, b) && b.confidence <= a.confidence));
            }
            for dropped in boxes.iter().filter(|b| !kept.contains(b)) {
                prop_assert!(kept.iter().any(|k| same(k, dropped) && k.confidence >= dropped.confidence));
            }
        }

        #[test]
        fn the_order_of_the_input_does_not_matter(boxes in boxes(), turn in 0usize..40) {
            let mut turned = boxes.clone();
            turned.rotate_left(turn % boxes.len().max(1));
            turned.reverse();
            prop_assert_eq!(suppress(boxes, 0.5), suppress(turned, 0.5));
        }
    }

    /// Few distinct places and confidences, so that ties are common.
    fn boxes() -> impl Strategy<Value = Vec<Detected>> {
        let one = (0u16..3, 0u8..5, 0u8..12, 0u8..12, 0u8..5).prop_map(|(class, confidence, x, y, side)| {
            let [x, y, side] = [x, y, side].map(|n| f32::from(n) * 3.0);
            detected(class, f32::from(confidence) / 5.0, [x, y, x + side, y + side * 1.5])
        });
        prop::collection::vec(one, 0..40)
    }
}
