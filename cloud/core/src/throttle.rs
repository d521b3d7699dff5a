//! Brakes for guessing: how many tries a key (an account, an address) has left.
//!
//! Each key has a leaky bucket, and of a bucket nothing needs to be known but when it will be empty. So a try is one
//! number that is read and written, wherever it is kept.

use std::time::Duration;

use aivms_contract::time::UtcMillis;

/// So many tries at once, refilled evenly over a span.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    /// Tries at once.
    pub tries: u32,
    /// Time in which all of them come back.
    pub per: Duration,
}

impl Allowance {
    /// Takes a try out of a bucket that is empty at `empties_at` (now or in the past: nothing was tried); gives when it
    /// will be empty.
    ///
    /// # Errors
    /// None is left; says how long until there is one.
    pub fn take(self, empties_at: UtcMillis, now: UtcMillis) -> Result<UtcMillis, Duration> {
        let level = empties_at.since(now) + self.cost();
        if level > self.per { Err(level - self.per) } else { Ok(now + level) }
    }

    /// Puts a try back: it turned out to be an honest one. Gives when the bucket will be empty.
    #[must_use]
    pub fn give_back(self, empties_at: UtcMillis, now: UtcMillis) -> UtcMillis {
        now + empties_at.since(now).saturating_sub(self.cost())
    }

    fn cost(self) -> Duration {
        let tries = u128::from(self.tries.max(1));
        Duration::from_millis(u64::try_from(self.per.as_millis() / tries).unwrap_or(u64::MAX).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIVE_A_MINUTE: Allowance = Allowance { tries: 5, per: Duration::from_secs(60) };

    fn at(seconds: i64) -> UtcMillis {
        UtcMillis::from_millis(seconds * 1_000)
    }

    #[test]
    fn tries_run_out_and_come_back_one_by_one() {
        let mut bucket = at(0);
        let mut take = |now| FIVE_A_MINUTE.take(bucket, now).map(|empties_at| bucket = empties_at);
        for _ in 0..5 {
            assert_eq!(take(at(0)), Ok(()));
        }
        assert_eq!(take(at(0)), Err(Duration::from_secs(12)));
        assert_eq!(take(at(11)), Err(Duration::from_secs(1)));
        assert_eq!(take(at(12)), Ok(()));
        assert_eq!(take(at(12)), Err(Duration::from_secs(12)));
    }

    #[test]
    fn a_try_given_back_never_counts() {
        let mut bucket = at(0);
        for _ in 0..100 {
            bucket = FIVE_A_MINUTE.take(bucket, at(0)).unwrap();
            bucket = FIVE_A_MINUTE.give_back(bucket, at(0));
        }
        assert_eq!(FIVE_A_MINUTE.give_back(bucket, at(100)), at(100), "a bucket is never emptier than empty");
    }

    proptest! {
        #[test]
        fn in_no_span_are_there_more_tries_than_at_once_and_those_that_came_back(
            steps in proptest::collection::vec(0i64..30_000, 1..200),
        ) {
            let (mut bucket, mut now, mut taken) = (at(0), at(0), Vec::new());
            for step in steps {
                now = now + Duration::from_millis(u64::try_from(step).unwrap());
                if let Ok(empties_at) = FIVE_A_MINUTE.take(bucket, now) {
                    bucket = empties_at;
                    taken.push(now);
                }
            }
            for pair in taken.windows(11) {
                prop_assert!(pair[10].since(pair[0]) >= Duration::from_secs(60), "11 tries need a minute at least");
            }
        }
    }
}
