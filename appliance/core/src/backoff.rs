//! Delays between attempts: exponential, capped, with jitter.
//!
//! The caller draws the randomness and passes it in as a fraction, so that a test can pick it.

use std::time::Duration;

/// How much of the delay is left to chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// Anything from nothing to the whole delay: spreads a fleet best after a common outage.
    Full,
    /// Half of the delay for certain, the other half left to chance: never tries again at once.
    Equal,
}

/// A growing delay between failed attempts; bad values cannot be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    jitter: Jitter,
    failures: u32,
}

/// Says why numbers do not make a [`Backoff`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackoffError {
    /// Without a first delay, attempts would follow each other at once.
    #[error("the first delay must be above zero")]
    Zero,
    /// The cap is the longest delay, so it cannot be below the first.
    #[error("the longest delay {cap:?} is below the first delay {first:?}")]
    Cap {
        /// Delay before the second attempt.
        first: Duration,
        /// Longest delay.
        cap: Duration,
    },
}

impl Backoff {
    /// Doubles from `first` to `cap`, less what `jitter` takes away.
    ///
    /// # Errors
    /// `first` is zero, or `cap` is below it.
    pub const fn new(first: Duration, cap: Duration, jitter: Jitter) -> Result<Self, BackoffError> {
        if first.is_zero() {
            return Err(BackoffError::Zero);
        }
        if cap.as_nanos() < first.as_nanos() {
            return Err(BackoffError::Cap { first, cap });
        }
        Ok(Self { first, cap, jitter, failures: 0 })
    }

    /// Between attempts to reach a camera: 1 s to 60 s. A camera that restarts needs most of a minute, and one that
    /// refuses must not be hammered, so half of each delay is certain.
    #[must_use]
    pub const fn for_cameras() -> Self {
        Self { first: Duration::from_secs(1), cap: Duration::from_secs(60), jitter: Jitter::Equal, failures: 0 }
    }

    /// Between attempts to reach the cloud: 1 s to 30 s, spread over the whole delay because a restarted cloud is
    /// met by its whole fleet at once.
    #[must_use]
    pub const fn for_uplink() -> Self {
        Self { first: Duration::from_secs(1), cap: Duration::from_secs(30), jitter: Jitter::Full, failures: 0 }
    }

    /// Counts a failure and gives the wait before the next attempt.
    ///
    /// `fraction` is a random number from 0 to 1; anything else is taken as the nearer of the two, and no number as 1.
    pub fn next_delay(&mut self, fraction: f64) -> Duration {
        let doublings = self.failures.min(31);
        self.failures = self.failures.saturating_add(1);
        let delay = self.first.saturating_mul(1 << doublings).min(self.cap);
        let fraction = if fraction.is_nan() { 1.0 } else { fraction.clamp(0.0, 1.0) };
        match self.jitter {
            Jitter::Full => delay.mul_f64(fraction),
            Jitter::Equal => delay.mul_f64(0.5 + fraction / 2.0),
        }
    }

    /// Says that an attempt succeeded: the next failure waits for the first delay again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn delays_double_up_to_the_cap_and_start_again_after_a_success() {
        let mut backoff = Backoff::new(SECOND, 10 * SECOND, Jitter::Equal).unwrap();
        let waits: Vec<_> = (0..6).map(|_| backoff.next_delay(1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
        backoff.reset();
        assert_eq!(backoff.next_delay(1.0), SECOND);
    }

    #[test]
    fn a_backoff_that_never_waits_or_shrinks_cannot_be_built() {
        assert_eq!(Backoff::new(Duration::ZERO, SECOND, Jitter::Full), Err(BackoffError::Zero));
        assert!(matches!(Backoff::new(2 * SECOND, SECOND, Jitter::Full), Err(BackoffError::Cap { .. })));
    }

    proptest! {
        #[test]
        fn every_delay_lies_between_its_bounds(
            first_ms in 1u64..100_000, more_ms in 0u64..10_000_000, full: bool,
            fractions in proptest::collection::vec(proptest::num::f64::ANY, 1..80),
        ) {
            let (first, cap) = (Duration::from_millis(first_ms), Duration::from_millis(first_ms + more_ms));
            let jitter = if full { Jitter::Full } else { Jitter::Equal };
            let mut backoff = Backoff::new(first, cap, jitter).unwrap();
            for fraction in fractions {
                let delay = backoff.next_delay(fraction);
                prop_assert!(delay <= cap);
                prop_assert!(full || delay >= first / 2);
            }
        }
    }
}
