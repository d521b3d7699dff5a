//! Brakes for guessing: how many tries a key (an account, an address) has left.

use std::collections::BTreeMap;
use std::time::Duration;

use aivms_contract::time::UtcMillis;

/// Most keys remembered. When full, the keys with the fewest tries are forgotten: an attacker who fills the memory
/// forgets his own small entries before anybody's large one.
const MAX_KEYS: usize = 20_000;

/// So many tries at once, refilled evenly over a span.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    /// Tries at once.
    pub tries: u32,
    /// Time in which all of them come back.
    pub per: Duration,
}

/// Counts tries per key in a leaky bucket.
#[derive(Debug)]
pub struct Throttle {
    allowance: Allowance,
    buckets: BTreeMap<String, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// Milliseconds until it is empty, seen at `at`.
    drains_in_ms: u64,
    at: UtcMillis,
}

impl Throttle {
    /// Starts with nothing tried.
    #[must_use]
    pub fn new(allowance: Allowance) -> Self {
        Self { allowance, buckets: BTreeMap::new() }
    }

    /// Takes a try of `key`.
    ///
    /// # Errors
    /// None is left; says how long until there is one.
    pub fn take(&mut self, key: &str, now: UtcMillis) -> Result<(), Duration> {
        let (full, cost) = (self.full_ms(), self.cost_ms());
        let level = self.buckets.get(key).map_or(0, |bucket| bucket.level(now));
        if level + cost > full {
            return Err(Duration::from_millis(level + cost - full));
        }
        if self.buckets.len() >= MAX_KEYS && !self.buckets.contains_key(key) {
            self.forget_some(now);
        }
        self.buckets.insert(key.to_owned(), Bucket { drains_in_ms: level + cost, at: now });
        Ok(())
    }

    /// Gives a try of `key` back: it turned out to be an honest one.
    pub fn give_back(&mut self, key: &str, now: UtcMillis) {
        let cost = self.cost_ms();
        let left = self.buckets.get(key).map_or(0, |bucket| bucket.level(now)).saturating_sub(cost);
        if left == 0 {
            self.buckets.remove(key);
        } else {
            self.buckets.insert(key.to_owned(), Bucket { drains_in_ms: left, at: now });
        }
    }

    fn full_ms(&self) -> u64 {
        u64::try_from(self.allowance.per.as_millis()).unwrap_or(u64::MAX / 4)
    }

    fn cost_ms(&self) -> u64 {
        (self.full_ms() / u64::from(self.allowance.tries.max(1))).max(1)
    }

    /// Drops the emptier half.
    fn forget_some(&mut self, now: UtcMillis) {
        let mut levels: Vec<u64> = self.buckets.values().map(|bucket| bucket.level(now)).collect();
        let middle = levels.len() / 2;
        let (_, median, _) = levels.select_nth_unstable(middle);
        let median = *median;
        let mut room = MAX_KEYS / 2;
        self.buckets.retain(|_, bucket| {
            let keep = bucket.level(now) > median || (bucket.level(now) == median && room > 0);
            room -= usize::from(keep && room > 0);
            keep
        });
    }
}

impl Bucket {
    fn level(self, now: UtcMillis) -> u64 {
        self.drains_in_ms.saturating_sub(u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE_A_MINUTE: Allowance = Allowance { tries: 5, per: Duration::from_secs(60) };

    fn at(seconds: i64) -> UtcMillis {
        UtcMillis::from_millis(seconds * 1_000)
    }

    #[test]
    fn tries_run_out_and_come_back_one_by_one() {
        let mut throttle = Throttle::new(FIVE_A_MINUTE);
        for _ in 0..5 {
            assert_eq!(throttle.take("a", at(0)), Ok(()));
        }
        assert_eq!(throttle.take("a", at(0)), Err(Duration::from_secs(12)));
        assert_eq!(throttle.take("a", at(11)), Err(Duration::from_secs(1)));
        assert_eq!(throttle.take("a", at(12)), Ok(()));
        assert_eq!(throttle.take("a", at(12)), Err(Duration::from_secs(12)));
        assert_eq!(throttle.take("b", at(12)), Ok(()), "another key has its own tries");
    }

    #[test]
    fn a_try_given_back_never_counts() {
        let mut throttle = Throttle::new(FIVE_A_MINUTE);
        for _ in 0..100 {
            assert_eq!(throttle.take("a", at(0)), Ok(()));
            throttle.give_back("a", at(0));
        }
        throttle.give_back("never tried", at(0));
    }

    #[test]
    fn memory_is_bounded_and_the_worst_key_is_remembered() {
        let mut throttle = Throttle::new(FIVE_A_MINUTE);
        for _ in 0..5 {
            throttle.take("worst", at(0)).unwrap();
        }
        for n in 0..3 * MAX_KEYS {
            throttle.take(&n.to_string(), at(0)).unwrap();
            assert!(throttle.buckets.len() <= MAX_KEYS);
        }
        assert!(throttle.take("worst", at(0)).is_err());
    }
}
