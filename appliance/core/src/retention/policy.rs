//! How long what is kept, with its defaults.

use std::time::Duration;

use aivms_contract::desired::{Days, Gib, Recording};

use super::{Shows, Worth};

/// Days kept where nothing is said, by worth; each at least as long as the one before was set to.
const DEFAULT_DAYS: [f64; 4] = [7.0, 7.0, 14.0, 30.0];
const DAY_SECONDS: f64 = 86_400.0;
const GIB: f64 = 1_073_741_824.0;

/// How long a camera's footage is kept, and how much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// By worth, rising as [`Worth::ALL`] where nothing else was set.
    keep: [Duration; 4],
    /// Most bytes of it on all disks.
    pub max_bytes: Option<u64>,
}

impl Default for RetentionPolicy {
    fn default() -> Self {
        Self::of(&Recording::default())
    }
}

impl RetentionPolicy {
    /// Reads what is configured.
    ///
    /// Unset, everything is kept for 7 days, motion too, followed objects for 14 and zone events for 30, but no tier
    /// for less than the tiers below it: someone who asks for 60 days of everything also gets 60 days of events.
    #[must_use]
    pub fn of(recording: &Recording) -> Self {
        let set = [recording.continuous_days, recording.motion_days, recording.object_days, recording.event_days];
        let mut longest: f64 = 0.0;
        let keep = std::array::from_fn(|tier| {
            let unset = longest.max(DEFAULT_DAYS.get(tier).copied().unwrap_or_default());
            let days = set.get(tier).copied().flatten().map_or(unset, Days::get);
            longest = longest.max(days);
            Duration::try_from_secs_f64(days * DAY_SECONDS).unwrap_or(Duration::MAX)
        });
        Self { keep, max_bytes: recording.max_gib.map(bytes) }
    }

    /// How long a segment is kept that shows `shows`: the longest of all that it belongs to.
    #[must_use]
    pub fn keeps(&self, shows: Shows) -> Duration {
        let [everything, motion, object, event] = self.keep;
        let shown = [(shows.motion, motion), (shows.object, object), (shows.event, event)];
        shown.into_iter().filter(|(shown, _)| *shown).map(|(_, keep)| keep).fold(everything, Duration::max)
    }

    /// How long is kept what is worth this and no more.
    #[must_use]
    pub fn keeps_worth(&self, worth: Worth) -> Duration {
        let [everything, motion, object, event] = self.keep;
        let own = match worth {
            Worth::Continuous => everything,
            Worth::Motion => motion,
            Worth::Object => object,
            Worth::Event => event,
        };
        own.max(everything)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "above 0 and at most 2^50")]
fn bytes(gib: Gib) -> u64 {
    (gib.get() * GIB) as u64
}
