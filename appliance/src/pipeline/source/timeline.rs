//! Times of a camera's stream on the timeline of its connection, whatever the camera's clock does.

use std::ops::RangeInclusive;
use std::time::Duration;

use aivms_contract::time::MediaTime;

/// Where a connection's timeline begins: above zero, because pictures that are shown before the first one may follow it.
const BEGIN_NS: i64 = 1_000_000_000;
/// What the first time of a stream may be: its place beside the other stream of the camera. A camera that says another
/// one does not know where its streams begin.
const FIRST_NS: RangeInclusive<i64> = -900_000_000..=10_000_000_000;
/// Most that a stream's time may go back from one unit to the next; pictures in decoding order go back by a few.
const MAX_BACK_NS: i64 = 1_000_000_000;
/// Most that a stream's time may outrun the arrival of its units. A network delays units and never hurries them.
const MAX_AHEAD_NS: i64 = 2_000_000_000;

/// The way of one stream's times.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// Added to the stream's times.
    offset_ns: i64,
    seen: Option<Seen>,
}

/// What the units so far tell of the next one.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// Time and arrival of the last unit.
    at_ns: i64,
    arrived_ns: i64,
    /// Furthest that a unit's time was ahead of its arrival: that one was delayed least.
    lead_ns: i64,
}

impl Timeline {
    /// Places a unit that says `own_ns` and arrives at `arrived`. When the camera's clock jumps, time goes on by the
    /// time that has really passed.
    pub(super) fn place(&mut self, own_ns: i64, arrived: Duration) -> MediaTime {
        let arrived_ns = i64::try_from(arrived.as_nanos()).unwrap_or(i64::MAX);
        let mut at_ns = own_ns.saturating_add(self.offset_ns);
        let instead_ns = match self.seen {
            None if FIRST_NS.contains(&own_ns) => None,
            None => Some(arrived_ns),
            Some(seen) if seen.is_jump(at_ns, arrived_ns) => {
                Some(seen.at_ns.saturating_add(arrived_ns.saturating_sub(seen.arrived_ns)))
            }
            Some(_) => None,
        };
        if let Some(instead_ns) = instead_ns {
            at_ns = instead_ns;
            self.offset_ns = at_ns.saturating_sub(own_ns);
        }
        let lead_ns = at_ns.saturating_sub(arrived_ns);
        let lead_ns = self.seen.map_or(lead_ns, |seen| seen.lead_ns.max(lead_ns));
        self.seen = Some(Seen { at_ns, arrived_ns, lead_ns });
        MediaTime::from_nanos(u64::try_from(at_ns.saturating_add(BEGIN_NS)).unwrap_or(0))
    }
}

impl Seen {
    fn is_jump(self, at_ns: i64, arrived_ns: i64) -> bool {
        let ahead = at_ns.saturating_sub(arrived_ns).saturating_sub(self.lead_ns);
        at_ns.saturating_sub(self.at_ns) < -MAX_BACK_NS || ahead > MAX_AHEAD_NS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(millis: i64) -> i64 {
        millis * 1_000_000
    }

    fn at(millis: u64) -> MediaTime {
        MediaTime::from_millis(millis)
    }

    #[test]
    fn times_are_kept_as_the_camera_says_them_also_after_a_stall_of_the_network() {
        let mut time = Timeline::default();
        let arrived = Duration::from_millis;
        assert_eq!(time.place(0, arrived(0)), at(1000));
        assert_eq!(time.place(ms(120), arrived(40)), at(1120), "shown later than the next ones");
        assert_eq!(time.place(ms(40), arrived(4000)), at(1040), "came late");
        assert_eq!(time.place(ms(80), arrived(4000)), at(1080));
        assert_eq!(time.place(ms(4200), arrived(4100)), at(5200), "the camera dropped what it could not send");
    }

    #[test]
    fn a_clock_that_is_set_moves_nothing() {
        let mut time = Timeline::default();
        let arrived = Duration::from_millis;
        time.place(0, arrived(0));
        assert_eq!(time.place(ms(3_600_040), arrived(40)), at(1040));
        assert_eq!(time.place(ms(3_600_080), arrived(80)), at(1080));
        assert_eq!(time.place(ms(-500_000), arrived(120)), at(1120));
    }

    proptest! {
        /// However often a camera's clock is set, its pictures pass as time does.
        #[test]
        fn pictures_pass_as_time_does(
            pictures in proptest::collection::vec((0u64..30, prop_oneof![9 => Just(0i64), 1 => -1_000_000..1_000_000i64]), 1..300),
        ) {
            let (mut time, mut clock_ns, mut jumps) = (Timeline::default(), 0i64, 0u64);
            for (number, (late_ms, set_s)) in (0u64..).zip(pictures) {
                // What is less than the bounds may pass as it is.
                let set_s = if set_s.abs() < 10 { 0 } else { set_s };
                jumps += u64::from(set_s != 0);
                clock_ns += set_s * 1_000_000_000;
                let own_ns = clock_ns + ms(i64::try_from(number).unwrap() * 40);
                let at = time.place(own_ns, Duration::from_millis(number * 40 + late_ms));
                let right = MediaTime::from_millis(1000 + number * 40);
                let off = at.since(right) + right.since(at);
                prop_assert!(off <= Duration::from_millis(30 * (jumps + 1)), "{off:?} after {jumps} jumps");
            }
        }

        #[test]
        fn nothing_a_camera_says_breaks_it(own in proptest::collection::vec((any::<i64>(), any::<u64>()), 0..50)) {
            let mut time = Timeline::default();
            for (own_ns, arrived) in own {
                time.place(own_ns, Duration::from_nanos(arrived));
            }
        }
    }
}
