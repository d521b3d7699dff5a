//! How many calls somebody may make: some at once, and so many a second for as long as they like.
//!
//! A leaky bucket for each caller, as in [`crate::throttle`]. Those are kept in the database, by the clock on the wall and to
//! the millisecond; these in memory, by a clock that never goes back, and exactly: 300 a second are 300.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

/// What is counted in: a billion of these are a call, so that a nanosecond brings back a whole number of them at any pace.
const CALL: u128 = 1_000_000_000;
/// How often it is looked whose calls have all come back.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// What one caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Calls a second without end.
    pub per_second: NonZeroU32,
    /// Calls at once after a pause.
    pub at_once: NonZeroU32,
}

impl Pace {
    /// What has come back to anybody by `now`, from the beginning of time.
    fn come_back(self, now: Duration) -> u128 {
        now.as_nanos() * u128::from(self.per_second.get())
    }
}

/// The calls of many callers, each of whom may keep the same pace.
///
/// Times are since any fixed moment, the same for all calls. Once a minute, with a call of anybody, those are forgotten all
/// of whose calls have come back: what is remembered grows with the callers of the last minute, not with those there are.
#[derive(Debug)]
pub struct Meter<K> {
    pace: Pace,
    /// What will have come back when the last call of each has.
    used: BTreeMap<K, u128>,
    swept_at: Duration,
}

impl<K: Ord> Meter<K> {
    /// Nobody has made a call yet.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        Self { pace, used: BTreeMap::new(), swept_at: Duration::ZERO }
    }

    /// What each caller may do.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// How long `caller` has to wait for its next call; zero when it may make it now.
    #[must_use]
    pub fn wait(&self, caller: &K, now: Duration) -> Duration {
        let used = self.used.get(caller).copied().unwrap_or_default();
        let level = used.saturating_sub(self.pace.come_back(now)) + CALL;
        let over = level.saturating_sub(u128::from(self.pace.at_once.get()) * CALL);
        let nanos = over.div_ceil(u128::from(self.pace.per_second.get()));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Counts a call that `caller` makes.
    pub fn count(&mut self, caller: K, now: Duration) {
        let come_back = self.pace.come_back(now);
        if now.saturating_sub(self.swept_at) >= SWEEP_EVERY {
            self.used.retain(|_, used| *used > come_back);
            self.swept_at = now;
        }
        let used = self.used.entry(caller).or_default();
        *used = (*used).max(come_back) + CALL;
    }

    /// How many callers are remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.used.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn meter(per_second: u32, at_once: u32) -> Meter<u16> {
        let [per_second, at_once] = [per_second, at_once].map(|number| NonZeroU32::new(number).unwrap());
        Meter::new(Pace { per_second, at_once })
    }

    fn call(meter: &mut Meter<u16>, caller: u16, now: Duration) -> Result<(), Duration> {
        let wait = meter.wait(&caller, now);
        if !wait.is_zero() {
            return Err(wait);
        }
        meter.count(caller, now);
        Ok(())
    }

    #[test]
    fn calls_run_out_and_come_back_one_by_one_and_those_of_others_stay() {
        let mut meter = meter(50, 3);
        let ms = Duration::from_millis;
        assert_eq!([(); 4].map(|()| call(&mut meter, 1, ms(0))), [Ok(()), Ok(()), Ok(()), Err(ms(20))]);
        assert_eq!(call(&mut meter, 2, ms(0)), Ok(()));
        assert_eq!(call(&mut meter, 1, ms(19)), Err(ms(1)));
        assert_eq!([(); 2].map(|()| call(&mut meter, 1, ms(20))), [Ok(()), Err(ms(20))]);
        assert_eq!([(); 4].map(|()| call(&mut meter, 1, ms(9_000))), [Ok(()), Ok(()), Ok(()), Err(ms(20))]);
    }

    #[test]
    fn no_pace_and_no_time_is_too_much_to_reckon_with() {
        let mut meter = meter(u32::MAX, u32::MAX);
        let made = [Duration::ZERO, Duration::MAX, Duration::ZERO].map(|now| call(&mut meter, 1, now));
        assert_eq!(made, [Ok(()), Ok(()), Err(Duration::from_nanos(u64::MAX))]);
    }

    proptest! {
        #[test]
        fn in_no_span_are_there_more_calls_than_at_once_and_those_that_came_back(
            per_second in 1u32..2_000, at_once in 1u32..50,
            steps in proptest::collection::vec(0u64..30_000_000, 1..400),
        ) {
            let (mut meter, mut now, mut made) = (meter(per_second, at_once), Duration::from_secs(9), Vec::new());
            for step in steps {
                now += Duration::from_nanos(step);
                match call(&mut meter, 1, now) {
                    Ok(()) => made.push(now.as_nanos()),
                    Err(wait) => {
                        prop_assert!(meter.wait(&1, now + wait).is_zero(), "who waits as told is served");
                        prop_assert!(!meter.wait(&1, now + wait - Duration::from_nanos(1)).is_zero(), "and not before");
                    }
                }
            }
            for (first, from) in made.iter().enumerate() {
                for (last, to) in made.iter().enumerate().skip(first) {
                    let most = u128::from(at_once) * CALL + (to - from) * u128::from(per_second);
                    prop_assert!((last - first + 1) as u128 * CALL <= most, "calls {first} to {last}");
                }
            }
        }

        #[test]
        fn who_keeps_to_the_pace_is_never_refused_however_unevenly(
            per_second in 1u32..2_000, at_once in 1u32..50,
            late in proptest::collection::vec(0u64..=1_000, 1..400),
        ) {
            // A call each period, each late by as many periods as may be made up for at once.
            let (mut meter, period) = (meter(per_second, at_once), 1_000_000_000_u64.div_ceil(per_second.into()));
            let longest = period * u64::from(at_once - 1);
            let times = late.iter().zip(0u64..).map(|(late, n)| n * period + longest * late / 1_000);
            let mut times: Vec<_> = times.collect();
            times.sort_unstable();
            for time in times {
                prop_assert_eq!(call(&mut meter, 1, Duration::from_nanos(time)), Ok(()));
            }
        }

        #[test]
        fn only_those_are_remembered_who_made_calls_lately(
            steps in proptest::collection::vec((0u64..3_000, 0u16..300), 1..300),
        ) {
            // Whoever has used all has it back after two seconds.
            let (mut meter, mut now, mut calls) = (meter(10, 20), Duration::ZERO, Vec::new());
            for (step, caller) in steps {
                now += Duration::from_millis(step);
                if call(&mut meter, caller, now).is_ok() {
                    calls.push((now, caller));
                }
                let lately = |at: Duration| now - at <= SWEEP_EVERY + Duration::from_secs(10);
                let active = calls.iter().filter(|(at, _)| lately(*at)).map(|(_, caller)| *caller);
                let active: std::collections::BTreeSet<_> = active.collect();
                prop_assert!(meter.remembered() <= active.len(), "{} of {}", meter.remembered(), active.len());
            }
        }
    }
}
