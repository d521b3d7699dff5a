//! When to clean up: once a minute, and sooner while the disk is low and that helps.

use std::time::Duration;

/// Time between two cleanups.
pub(super) const INTERVAL: Duration = Duration::from_secs(60);
/// Time between two looks at the free room, and so between two cleanups of a disk that is low.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Says when a cleanup is due. Times are since any start.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the next is due in any case.
    next: Duration,
    /// When the next is due if the disk is low.
    sooner: Duration,
    /// What the last one on a low disk was followed by.
    pause: Duration,
}

impl Pace {
    pub(super) fn is_due(&self, now: Duration, is_low: bool) -> bool {
        now >= self.next || (is_low && now >= self.sooner)
    }

    /// Learns what a cleanup that was begun at `now` did. One of a low disk that changed nothing is repeated after
    /// twice the pause, since looking at all footage costs much where there is a lot.
    pub(super) fn is_done(&mut self, now: Duration, is_low: bool, steps: usize) {
        let is_in_vain = is_low && steps == 0;
        self.pause = if is_in_vain { (self.pause * 2).clamp(LOOK_INTERVAL, INTERVAL) } else { LOOK_INTERVAL };
        (self.next, self.sooner) = (now + INTERVAL, now + self.pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cleanups within ten minutes, each of which does `steps`.
    fn cleanups(is_low: bool, steps: usize) -> usize {
        let (mut pace, mut cleanups) = (Pace::default(), 0);
        for look in 0..300 {
            let now = LOOK_INTERVAL * look;
            if pace.is_due(now, is_low) {
                pace.is_done(now, is_low, steps);
                cleanups += 1;
            }
        }
        cleanups
    }

    #[test]
    fn a_low_disk_is_cleaned_up_at_each_look_only_while_that_helps() {
        assert_eq!(cleanups(false, 0), 10);
        assert_eq!(cleanups(false, 5), 10);
        assert_eq!(cleanups(true, 1), 300);
        assert!(cleanups(true, 0) < 20, "{}", cleanups(true, 0));
    }

    #[test]
    fn a_disk_that_becomes_low_is_seen_at_the_next_look() {
        let mut pace = Pace::default();
        pace.is_done(Duration::ZERO, false, 0);
        assert!(!pace.is_due(LOOK_INTERVAL, false) && pace.is_due(LOOK_INTERVAL, true));
    }
}
