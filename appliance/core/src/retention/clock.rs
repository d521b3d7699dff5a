//! The time by which the age of footage is judged.

use std::time::Duration;

use aivms_contract::time::UtcMillis;

/// How far wall and monotonic time may part between two looks without being a step: clocks are slewed, and a look may
/// be late.
const TOLERANCE: Duration = Duration::from_secs(300);
/// How far the clock may be ahead of the newest footage at the start without doubt: a restart, a short power cut.
const SHORT_PAUSE: Duration = Duration::from_secs(3600);
/// How long a clock that was put forward must go on before it is believed.
const BELIEVED_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Keeps a clock that jumps ahead from deleting everything at once.
///
/// A wall clock that is suddenly days ahead makes all footage look old. Such a lead is taken off until the clock has
/// gone on so for a day, in which it can be put right and someone can see what is wrong; while the cloud says that the
/// clock is wrong, it is taken off for as long as that lasts. A device that was off for days looks the same: its
/// footage waits a day longer. A clock behind only makes footage look young, which deletes nothing.
///
/// Limits of bytes and free room need no clock and go on.
#[derive(Debug, Clone, Default)]
pub struct ClockGuard {
    last: Option<Look>,
    lead: Duration,
    /// Monotonic time at which the lead last grew, or was last doubted.
    since: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Look {
    wall: UtcMillis,
    monotonic: Duration,
}

impl ClockGuard {
    /// The time by which age is to be judged now.
    ///
    /// `monotonic` is a time since any start that all calls share; `newest_until` gives the end of the newest footage
    /// of all cameras that is not later than a time; `doubted` whether the cloud says that the clock is wrong.
    pub fn judge(
        &mut self,
        wall: UtcMillis,
        monotonic: Duration,
        newest_until: impl Fn(UtcMillis) -> Option<UtcMillis>,
        doubted: bool,
    ) -> UtcMillis {
        let ahead = |until| newest_until(until).map_or(Duration::ZERO, |newest| wall.since(newest));
        match self.last {
            None => (self.lead, self.since) = (beyond(SHORT_PAUSE, ahead(wall)), monotonic),
            Some(last) => self.compare(last, wall, monotonic, ahead),
        }
        if doubted {
            self.since = monotonic;
        } else if monotonic.saturating_sub(self.since) >= BELIEVED_AFTER {
            self.lead = Duration::ZERO;
        }
        self.last = Some(Look { wall, monotonic });
        wall - self.lead
    }

    /// How far the clock is taken to be ahead; zero when it is trusted.
    #[must_use]
    pub fn lead(&self) -> Duration {
        self.lead
    }

    fn compare(&mut self, last: Look, wall: UtcMillis, monotonic: Duration, ahead: impl Fn(UtcMillis) -> Duration) {
        let passed = monotonic.saturating_sub(last.monotonic);
        let forward = beyond(TOLERANCE, wall.since(last.wall).saturating_sub(passed));
        let back = beyond(TOLERANCE, (last.wall + passed).since(wall));
        self.lead = self.lead.saturating_sub(back);
        if !forward.is_zero() {
            // A clock that was behind until now is right at last: only what it is ahead of the footage counts, and of
            // that only what was recorded before it was set.
            let most = if self.lead.is_zero() { ahead(wall - passed) } else { Duration::MAX };
            self.lead = self.lead.saturating_add(beyond(TOLERANCE, forward.min(most)));
            self.since = monotonic;
        }
    }
}

fn beyond(least: Duration, span: Duration) -> Duration {
    if span > least { span } else { Duration::ZERO }
}
