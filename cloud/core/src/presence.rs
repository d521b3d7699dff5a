//! Whether an edge counts as online, and when that is told: a hold-off keeps a shaky network from ringing all night.
//!
//! An edge is *heard* while its last sign of life is younger than the time-out. It is told offline only after it has
//! been silent for the time-out and the hold-off together, and told online again only after it has been heard without
//! a break for as long as [`HoldOff::stable`].

use std::time::Duration;

use aivms_contract::time::UtcMillis;

/// How patient one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldOff {
    /// Silence after which an edge is not heard any more (`EDGE_TIMEOUT_SECONDS`).
    pub timeout: Duration,
    /// Further silence before it is told offline.
    pub offline: Duration,
    /// How long an edge that was told offline must be heard without a break before it is told online.
    pub stable: Duration,
}

/// What was told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Nothing: the edge was never heard.
    Nothing,
    /// Online.
    Online,
    /// Offline.
    Offline,
}

/// What is remembered of an edge between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// What was told last.
    pub told: Told,
    /// Since when an edge that is told offline has been heard without a break.
    pub heard_since: Option<UtcMillis>,
}

/// Something to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The edge is there, since then.
    Online(UtcMillis),
    /// The edge is gone; that was its last sign of life.
    Offline(UtcMillis),
}

/// What one look at an edge finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// The edge's last sign of life.
    pub last_seen: UtcMillis,
    /// Since when somebody has been listening: silence before that is not the edge's.
    pub listening_since: UtcMillis,
    /// Now.
    pub now: UtcMillis,
}

impl Default for Watch {
    fn default() -> Self {
        Self { told: Told::Nothing, heard_since: None }
    }
}

impl Watch {
    /// Looks at the edge: what is to be remembered, and what is to be told.
    ///
    /// Looks must come more often than the time-out, else a silence between two of them is not seen.
    #[must_use]
    pub fn look(self, sight: Sight, hold_off: HoldOff) -> (Self, Option<Change>) {
        let Sight { last_seen, listening_since, now } = sight;
        let is_heard = now.since(last_seen) < hold_off.timeout;
        let silence = now.since(last_seen.max(listening_since));
        match self.told {
            Told::Nothing if is_heard => (Self::told(Told::Online), Some(Change::Online(last_seen))),
            Told::Online if silence >= hold_off.timeout + hold_off.offline => {
                (Self::told(Told::Offline), Some(Change::Offline(last_seen)))
            }
            Told::Offline if is_heard => self.heard_again(last_seen, now, hold_off.stable),
            Told::Offline => (Self { heard_since: None, ..self }, None),
            Told::Nothing | Told::Online => (self, None),
        }
    }

    fn heard_again(self, last_seen: UtcMillis, now: UtcMillis, stable: Duration) -> (Self, Option<Change>) {
        let since = self.heard_since.unwrap_or(last_seen);
        // Measured to the last sign of life: an edge that says one word is not stable by being silent after it.
        if last_seen.since(since) >= stable && now.since(since) >= stable {
            return (Self::told(Told::Online), Some(Change::Online(since)));
        }
        (Self { heard_since: Some(since), ..self }, None)
    }

    fn told(told: Told) -> Self {
        Self { told, heard_since: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOLD_OFF: HoldOff = HoldOff {
        timeout: Duration::from_secs(120),
        offline: Duration::from_secs(60),
        stable: Duration::from_secs(90),
    };
    const STEP: i64 = 10;

    fn at(seconds: i64) -> UtcMillis {
        UtcMillis::from_millis(seconds * 1_000)
    }

    /// Looks every ten seconds while the edge gives signs of life every ten seconds of `alive`.
    fn told(alive: &[bool]) -> Vec<(i64, Change)> {
        let (mut watch, mut last_seen, mut told) = (Watch::default(), None, Vec::new());
        for (second, alive) in (0..).step_by(10).zip(alive) {
            if *alive {
                last_seen = Some(at(second));
            }
            let Some(last_seen) = last_seen else { continue };
            let sight = Sight { last_seen, listening_since: at(0), now: at(second) };
            let (next, change) = watch.look(sight, HOLD_OFF);
            watch = next;
            told.extend(change.map(|change| (second, change)));
        }
        told
    }

    fn story(spans: &[(bool, usize)]) -> Vec<bool> {
        spans.iter().flat_map(|(alive, steps)| std::iter::repeat_n(*alive, *steps)).collect()
    }

    #[test]
    fn an_edge_is_told_offline_after_time_out_and_hold_off_and_online_once_it_is_stable() {
        let told = told(&story(&[(true, 10), (false, 30), (true, 20)]));
        let expected = [(0, Change::Online(at(0))), (270, Change::Offline(at(90))), (490, Change::Online(at(400)))];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_short_silence_tells_nobody() {
        assert_eq!(told(&story(&[(true, 10), (false, 17), (true, 10)])).len(), 1);
    }

    #[test]
    fn an_edge_that_comes_for_a_moment_stays_offline() {
        let told = told(&story(&[(true, 10), (false, 30), (true, 3), (false, 30), (true, 2), (false, 30)]));
        assert_eq!(told.len(), 2, "{told:?}");
    }

    #[test]
    fn silence_while_nobody_listened_is_not_the_edges() {
        let watch = Watch { told: Told::Online, heard_since: None };
        let look =
            |now: i64| watch.look(Sight { last_seen: at(0), listening_since: at(9_000), now: at(now) }, HOLD_OFF).1;
        assert_eq!(look(9_100), None);
        assert_eq!(look(9_180), Some(Change::Offline(at(0))));
    }

    #[test]
    fn an_edge_that_was_never_heard_is_told_nothing_of() {
        let watch = Watch::default();
        let sight = Sight { last_seen: at(0), listening_since: at(0), now: at(5_000) };
        assert_eq!(watch.look(sight, HOLD_OFF), (watch, None));
    }

    proptest! {
        #[test]
        fn online_and_offline_alternate_and_come_apart_by_what_was_promised(
            spans in proptest::collection::vec((any::<bool>(), 1usize..40), 1..30)
        ) {
            let told = told(&story(&spans));
            for pair in told.windows(2) {
                let [(_, first), (at_second, second)] = pair else { unreachable!() };
                match (first, second) {
                    (Change::Online(_), Change::Offline(seen)) => {
                        let silence = at(*at_second).since(*seen);
                        prop_assert!(silence >= HOLD_OFF.timeout + HOLD_OFF.offline);
                        prop_assert!(silence < HOLD_OFF.timeout + HOLD_OFF.offline + Duration::from_secs(STEP as u64));
                    }
                    (Change::Offline(_), Change::Online(since)) => {
                        prop_assert!(at(*at_second).since(*since) >= HOLD_OFF.stable);
                    }
                    _ => prop_assert!(false, "the same twice: {:?}", told),
                }
            }
        }
    }
}
