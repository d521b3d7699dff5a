//! Which counts made ahead answer a question, and what must be counted from the events.

use std::ops::RangeInclusive;

use aivms_contract::time::UtcMillis;

use super::Bucket;

const QUARTER_MS: i64 = 15 * 60 * 1_000;

/// A quarter of an hour in UTC: the number of quarters since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quarter(pub i64);

/// How a question is answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cover {
    /// Quarters whose counts are ready, rising, each with the bucket it is in.
    pub ready: Vec<(Quarter, usize)>,
    /// Spans to count from the events, in order.
    pub raw: Vec<Raw>,
}

/// A span to count from the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw {
    /// Its beginning.
    pub start: UtcMillis,
    /// Its end, exclusive.
    pub end: UtcMillis,
    /// The bucket it is in.
    pub bucket: usize,
}

impl Quarter {
    /// The quarter that `at` is in.
    #[must_use]
    pub fn of(at: UtcMillis) -> Self {
        Self(at.as_millis().div_euclid(QUARTER_MS))
    }

    /// Its beginning.
    #[must_use]
    pub fn start(self) -> UtcMillis {
        UtcMillis::from_millis(self.0.saturating_mul(QUARTER_MS))
    }

    /// Its end, exclusive.
    #[must_use]
    pub fn end(self) -> UtcMillis {
        Self(self.0.saturating_add(1)).start()
    }
}

impl Cover {
    /// The quarters from the first to the last ready one; `None` when there is none.
    #[must_use]
    pub fn ready_span(&self) -> Option<RangeInclusive<i64>> {
        Some(self.ready.first()?.0.0..=self.ready.last()?.0.0)
    }

    /// Of the counts of `first` and the quarters that follow it, those that are to be used, each with its bucket.
    pub fn in_buckets<T>(&self, first: Quarter, counts: Vec<T>) -> impl Iterator<Item = (usize, T)> {
        let from = self.ready.partition_point(|(quarter, _)| *quarter < first);
        let mut ready = self.ready.get(from..).unwrap_or_default().iter().peekable();
        (first.0..).zip(counts).filter_map(move |(quarter, count)| {
            let (_, bucket) = ready.next_if(|(next, _)| next.0 == quarter)?;
            Some((*bucket, count))
        })
    }
}

/// Divides `buckets` into quarters whose counts are ready, as `is_ready` says, and the rest.
#[must_use]
pub fn cover(buckets: &[Bucket], is_ready: impl Fn(Quarter) -> bool) -> Cover {
    let mut cover = Cover::default();
    for (number, bucket) in buckets.iter().enumerate() {
        let mut from = bucket.start;
        while from < bucket.end {
            let quarter = Quarter::of(from);
            let to = quarter.end().min(bucket.end);
            let whole = from == quarter.start() && to == quarter.end();
            if whole && is_ready(quarter) {
                cover.ready.push((quarter, number));
            } else {
                cover.add_raw(Raw { start: from, end: to, bucket: number });
            }
            from = to;
        }
    }
    cover
}

impl Cover {
    /// Neighbours in one bucket are counted together.
    fn add_raw(&mut self, raw: Raw) {
        match self.raw.last_mut() {
            Some(last) if last.end == raw.start && last.bucket == raw.bucket => last.end = raw.end,
            _ => self.raw.push(raw),
        }
    }
}
