//! How long objects stayed: count, mean and percentiles of many spans in little room, and they can be added up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Classes of length per doubling: a length is known to an eighth of itself.
const PARTS: u64 = 8;
const PARTS_BITS: u32 = 3;

/// Lengths of stays in milliseconds. Count, sum and longest are exact; percentiles are within 1/16.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stays {
    /// How many.
    #[serde(rename = "n")]
    count: u64,
    /// Milliseconds of all together.
    #[serde(rename = "s")]
    sum_ms: u64,
    /// Milliseconds of the longest.
    #[serde(rename = "m")]
    max_ms: u64,
    /// How many of each class of length.
    #[serde(rename = "c")]
    classes: BTreeMap<u32, u64>,
}

impl Stays {
    /// Adds one stay.
    pub fn add(&mut self, ms: u64) {
        self.count += 1;
        self.sum_ms = self.sum_ms.saturating_add(ms);
        self.max_ms = self.max_ms.max(ms);
        *self.classes.entry(class(ms)).or_default() += 1;
    }

    /// Adds all stays of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum_ms = self.sum_ms.saturating_add(other.sum_ms);
        self.max_ms = self.max_ms.max(other.max_ms);
        for (class, count) in &other.classes {
            *self.classes.entry(*class).or_default() += count;
        }
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Milliseconds of a mean stay; `None` without any.
    #[must_use]
    pub fn mean_ms(&self) -> Option<u64> {
        self.sum_ms.checked_div(self.count)
    }

    /// Milliseconds of the longest; `None` without any.
    #[must_use]
    pub fn max_ms(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max_ms)
    }

    /// The length that `percent` of the stays do not exceed, within 1/16 of itself; `None` without any.
    #[must_use]
    pub fn percentile_ms(&self, percent: u64) -> Option<u64> {
        // The nearest-rank definition.
        let rank = (self.count.saturating_mul(percent)).div_ceil(100).max(1);
        let mut below = 0;
        for (class, count) in &self.classes {
            below += count;
            if below >= rank {
                return Some(middle(*class).min(self.max_ms));
            }
        }
        None
    }
}

/// The class of a length: exact below 8 ms, then eight classes for each doubling.
fn class(ms: u64) -> u32 {
    if ms < PARTS {
        return u32::try_from(ms).unwrap_or_default();
    }
    let doubling = ms.ilog2() - PARTS_BITS;
    let part = u32::try_from((ms >> doubling) - PARTS).unwrap_or_default();
    ((doubling + 1) << PARTS_BITS) + part
}

/// The middle of a class.
fn middle(class: u32) -> u64 {
    let class = u64::from(class);
    if class < PARTS {
        return class;
    }
    let (doubling, part) = ((class >> PARTS_BITS) - 1, class & (PARTS - 1));
    // A class no length has, read from a damaged row, is a length all the same.
    let low = (PARTS + part).checked_shl(u32::try_from(doubling).unwrap_or(u32::MAX)).unwrap_or(u64::MAX);
    low.saturating_add(1_u64.checked_shl(u32::try_from(doubling).unwrap_or(u32::MAX)).unwrap_or_default() / 2)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn of(lengths: &[u64]) -> Stays {
        let mut stays = Stays::default();
        lengths.iter().for_each(|ms| stays.add(*ms));
        stays
    }

    proptest! {
        #[test]
        fn percentiles_are_within_a_sixteenth(mut lengths in vec(0u64..100_000_000, 1..60), percent in 1u64..=100) {
            let stays = of(&lengths);
            lengths.sort_unstable();
            let rank = usize::try_from((lengths.len() as u64 * percent).div_ceil(100)).unwrap();
            let (exact, told) = (lengths[rank - 1], stays.percentile_ms(percent).unwrap());
            prop_assert!(told.abs_diff(exact) * 16 <= exact, "{} for {}", told, exact);
            prop_assert_eq!(stays.mean_ms(), Some(lengths.iter().sum::<u64>() / lengths.len() as u64));
            prop_assert_eq!(stays.max_ms(), lengths.last().copied());
        }

        #[test]
        fn added_up_they_are_as_if_counted_together(one in vec(any::<u32>(), 0..30), other in vec(any::<u32>(), 0..30)) {
            let (one, other): (Vec<u64>, Vec<u64>) =
                (one.into_iter().map(Into::into).collect(), other.into_iter().map(Into::into).collect());
            let mut merged = of(&one);
            merged.merge(&of(&other));
            prop_assert_eq!(merged, of(&[one, other].concat()));
        }

        #[test]
        fn any_length_has_a_class_and_reads_back(ms: u64) {
            let stays = of(&[ms]);
            let text = serde_json::to_string(&stays).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Stays>(&text).unwrap(), &stays);
            prop_assert!(stays.percentile_ms(50).is_some());
        }
    }

    #[test]
    fn without_stays_there_is_no_mean() {
        let none = Stays::default();
        assert_eq!((none.mean_ms(), none.max_ms(), none.percentile_ms(50)), (None, None, None));
        let damaged: Stays = serde_json::from_str(r#"{"n":1,"s":1,"m":1,"c":{"4294967295":1}}"#).unwrap();
        assert_eq!(damaged.percentile_ms(50), Some(1));
    }
}
