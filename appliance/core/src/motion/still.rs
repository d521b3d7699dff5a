//! What stands in a picture that does not change, by vote of the last looks.

use std::collections::VecDeque;

use crate::detection::Detected;

/// Looks that vote.
const LOOKS: usize = 5;
/// Overlap from which on boxes of two looks are the same thing; it does not move, so they lie close.
const SAME_IOU: f32 = 0.5;

/// The last looks. A thing is held to be there when most of them saw it: one flicker adds nothing and takes nothing.
#[derive(Debug, Default)]
pub(super) struct StillLife {
    /// Oldest first.
    looks: VecDeque<Vec<Detected>>,
}

impl StillLife {
    /// Takes what a look has found.
    pub(super) fn see(&mut self, found: &[Detected]) {
        let mut look = if self.looks.len() == LOOKS { self.looks.pop_front().unwrap_or_default() } else { vec![] };
        look.clear();
        look.extend_from_slice(found);
        self.looks.push_back(look);
    }

    /// What is there, each thing where it was seen last.
    pub(super) fn held(&self) -> Vec<Detected> {
        let mut held: Vec<Detected> = vec![];
        for look in self.looks.iter().rev() {
            // Boxes of one look are different things, also when they overlap.
            let newer = held.len();
            for found in look {
                if !held[..newer].iter().any(|kept| is_same(kept, found)) {
                    held.extend(self.vote(found));
                }
            }
        }
        held
    }

    /// A thing that most looks saw, with their mean confidence: given again and again, that of a single look would
    /// weigh as much as many looks.
    fn vote(&self, found: &Detected) -> Option<Detected> {
        let nearest = |look: &Vec<Detected>| {
            let same = look.iter().filter(|other| is_same(found, other));
            same.max_by(|a, b| found.bbox.iou(a.bbox).total_cmp(&found.bbox.iou(b.bbox))).copied()
        };
        let seen: Vec<_> = self.looks.iter().filter_map(nearest).map(|seen| seen.confidence).collect();
        let confidence = seen.iter().sum::<f32>() / seen.len() as f32;
        (seen.len() * 2 > self.looks.len()).then_some(Detected { confidence, ..*found })
    }

    /// Whether `found` is what is held to be there, as far as either is `sure` to be something.
    pub(super) fn agrees(&self, found: &[Detected], sure: f32) -> bool {
        let held = self.held();
        let all_in = |some: &[Detected], others: &[Detected]| {
            let mut certain = some.iter().filter(|one| one.confidence >= sure);
            certain.all(|one| others.iter().any(|other| is_same(one, other)))
        };
        all_in(&held, found) && all_in(found, &held)
    }
}

fn is_same(one: &Detected, other: &Detected) -> bool {
    one.class == other.class && one.bbox.iou(other.bbox) >= SAME_IOU
}
