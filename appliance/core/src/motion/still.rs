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

    /// What is there, each thing as it was seen last.
    pub(super) fn held(&self) -> Vec<Detected> {
        let mut held: Vec<Detected> = vec![];
        for found in self.looks.iter().rev().flatten() {
            let votes = self.looks.iter().filter(|look| look.iter().any(|other| is_same(found, other))).count();
            if votes * 2 > self.looks.len() && !held.iter().any(|kept| is_same(kept, found)) {
                held.push(*found);
            }
        }
        held
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
