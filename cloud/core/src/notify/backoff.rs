//! When a message that did not arrive is tried again.
//!
//! The waits grow as Standard Webhooks proposes, and end within a day: who repairs a receiver the next morning loses
//! nothing, who never does costs a dozen attempts a message.

use std::time::Duration;

use aivms_contract::time::UtcMillis;

/// Waits after the first, second … failed attempt, in seconds; together 23 h 42 min. The last one repeats.
const WAITS_S: [u64; 10] = [5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 28_800];
/// Time after which a message is given up.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Longest wait that a receiver may ask for by `Retry-After`.
const MAX_ASKED: Duration = Duration::from_secs(3600);

/// When to try again after `failed` attempts (at least one), the last of which ended at `now`. `None` when that would
/// be later than `give_up_at`.
///
/// `jitter` is a random number: waits are shortened by up to a fifth, so that what failed together does not come back
/// together. `asked` is the `Retry-After` of the receiver; it lengthens a wait up to an hour.
#[must_use]
pub fn next_attempt(
    failed: u32,
    now: UtcMillis,
    give_up_at: UtcMillis,
    jitter: u32,
    asked: Option<Duration>,
) -> Option<UtcMillis> {
    let asked = asked.unwrap_or_default().min(MAX_ASKED);
    let next = now + wait(failed, jitter).max(asked);
    (next <= give_up_at).then_some(next)
}

/// The wait after `failed` attempts in a row, shortened by up to a fifth.
#[must_use]
pub fn wait(failed: u32, jitter: u32) -> Duration {
    let index = usize::try_from(failed.saturating_sub(1)).unwrap_or(usize::MAX).min(WAITS_S.len() - 1);
    let full_ms = WAITS_S[index] * 1_000;
    Duration::from_millis(full_ms - full_ms / 5 * u64::from(jitter) / u64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> UtcMillis {
        UtcMillis::from_millis(0) + Duration::from_secs(seconds)
    }

    #[test]
    fn the_first_attempts_follow_quickly_and_the_last_ones_within_a_day() {
        let mut now = at(0);
        let mut attempts = 1;
        while let Some(next) = next_attempt(attempts, now, at(0) + GIVE_UP_AFTER, 0, None) {
            (now, attempts) = (next, attempts + 1);
        }
        assert_eq!((attempts, now), (11, at(85_355)));
        assert_eq!(next_attempt(1, at(0), at(100), 0, None), Some(at(5)));
    }

    #[test]
    fn a_receiver_may_ask_for_a_longer_wait_up_to_an_hour_and_for_no_shorter_one() {
        let asked = |seconds| next_attempt(1, at(0), at(86_400), 0, Some(Duration::from_secs(seconds)));
        assert_eq!((asked(0), asked(60), asked(1 << 40)), (Some(at(5)), Some(at(60)), Some(at(3600))));
    }

    proptest! {
        #[test]
        fn waits_are_never_longer_than_the_table_nor_shorter_than_four_fifths(failed: u32, jitter: u32) {
            let (full, wait) = (wait(failed, 0), wait(failed, jitter));
            prop_assert!(wait <= full && wait * 5 >= full * 4);
        }

        #[test]
        fn every_message_is_given_up_within_a_day_whatever_the_receiver_asks(jitter: u32, asked in 0u64..1 << 40) {
            let (mut now, end, mut attempts) = (at(7), at(7) + GIVE_UP_AFTER, 1);
            while let Some(next) = next_attempt(attempts, now, end, jitter, Some(Duration::from_secs(asked))) {
                prop_assert!(next > now && next <= end && attempts < 30);
                (now, attempts) = (next, attempts + 1);
            }
        }
    }
}
