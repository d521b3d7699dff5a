//! Times of a camera's stream on the timeline of its connection, whatever the camera's clock does.

use std::time::Duration;

use aivms_contract::time::MediaTime;

/// Where a connection's timeline begins: above zero, because pictures that are shown before the first one may follow it.
const BEGIN_NS: i64 = 1_000_000_000;
/// Most that a stream's time may go back from one unit to the next; pictures in decoding order go back by a few.
const MAX_BACK_NS: i64 = 1_000_000_000;
/// Most that a stream's time may outrun the arrival of its units. A network delays units and never hurries them.
const MAX_AHEAD_NS: i64 = 2_000_000_000;

/// The way of one stream's times.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// Added to the stream's times.
    offset_ns: i64,
    last: Option<(i64, Duration)>,
}

impl Timeline {
    /// Places a unit that says `own_ns` and arrives at `arrived`. When the camera's clock jumps, time goes on by the
    /// time that has really passed.
    pub(super) fn place(&mut self, own_ns: i64, arrived: Duration) -> MediaTime {
        if let Some((before_ns, before)) = self.last {
            let step = own_ns.saturating_sub(before_ns);
            let passed = i64::try_from(arrived.saturating_sub(before).as_nanos()).unwrap_or(i64::MAX);
            if step < -MAX_BACK_NS || step.saturating_sub(passed) > MAX_AHEAD_NS {
                self.offset_ns = self.offset_ns.saturating_sub(step.saturating_sub(passed));
            }
        }
        self.last = Some((own_ns, arrived));
        let at = own_ns.saturating_add(self.offset_ns).saturating_add(BEGIN_NS);
        MediaTime::from_nanos(u64::try_from(at).unwrap_or(0))
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
        /// Whatever a camera says, its time stays near the time that passes.
        #[test]
        fn no_single_unit_leads_far_away(steps in proptest::collection::vec((any::<i64>(), 0u64..500), 1..100)) {
            let (mut time, mut now) = (Timeline::default(), Duration::ZERO);
            let mut before = None;
            for (own_ns, passed) in steps {
                now += Duration::from_millis(passed);
                let at = time.place(own_ns, now);
                if let Some(before) = before {
                    prop_assert!(at.since(before) <= Duration::from_millis(passed + 2000) + Duration::from_secs(1));
                }
                before = Some(at);
            }
        }
    }
}
