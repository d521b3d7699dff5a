//! How much an identity may send: two token buckets, one of packets and one of bytes.
//!
//! Who exceeds them is read more slowly, never cut off: TCP and MQTT's own window carry the pressure back to the
//! sender, and nothing is lost.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aivms_contract::identity::{Identity, Role};
use tokio::time::Instant;

/// What an edge may send. Catching up after a long outage is the most it ever does: 4,000 events a second is a week's
/// outbox in some minutes, and still leaves two thirds of what one store commits to others.
const EDGE: Rate = Rate { packets: 4_000.0, bytes: 4.0 * 1024.0 * 1024.0 };
/// What an operator may send: it only subscribes and acknowledges. Acknowledgements count as bytes only.
const OPERATOR: Rate = Rate { packets: 20.0, bytes: 256.0 * 1024.0 };
/// Seconds of the rate that may be used at once after a pause.
const BURST_S: f64 = 2.0;

/// Per second.
#[derive(Debug, Clone, Copy)]
struct Rate {
    packets: f64,
    bytes: f64,
}

/// What is left for an identity; shared by all its connections.
#[derive(Debug)]
pub(super) struct Budget {
    rate: Rate,
    left: Mutex<Left>,
}

#[derive(Debug)]
struct Left {
    packets: f64,
    bytes: f64,
    at: Instant,
}

impl Budget {
    /// The full budget of `identity`.
    pub(super) fn of(identity: &Identity) -> Self {
        let rate = match identity.role {
            Role::Edge(_) => EDGE,
            Role::Operator(_) => OPERATOR,
        };
        let left = Left { packets: rate.packets * BURST_S, bytes: rate.bytes * BURST_S, at: Instant::now() };
        Self { rate, left: Mutex::new(left) }
    }

    /// Takes off what was received, and says how long to wait before receiving more.
    pub(super) fn spend(&self, packets: u32, bytes: usize, now: Instant) -> Duration {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(left.at).as_secs_f64();
        let refill = |left: f64, rate: f64| (left + passed * rate).min(rate * BURST_S);
        #[expect(clippy::cast_precision_loss, reason = "one read is far below 2^52 bytes")]
        let bytes = bytes as f64;
        left.packets = refill(left.packets, self.rate.packets) - f64::from(packets);
        left.bytes = refill(left.bytes, self.rate.bytes) - bytes;
        left.at = now;
        let short = (-left.packets / self.rate.packets).max(-left.bytes / self.rate.bytes);
        Duration::from_secs_f64(short.max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> Budget {
        Budget::of(&"urn:aivms:tenant:acme:edge:edge_a".parse().unwrap())
    }

    #[test]
    fn an_edge_that_keeps_within_its_rate_never_waits() {
        let (budget, start) = (budget(), Instant::now());
        for second in 1..100 {
            let now = start + Duration::from_secs(second);
            assert_eq!(budget.spend(4_000, 2_000_000, now), Duration::ZERO);
        }
    }

    #[test]
    fn one_that_exceeds_it_is_held_to_it() {
        let (budget, start) = (budget(), Instant::now());
        let mut now = start;
        let mut sent = 0;
        while now < start + Duration::from_secs(60) {
            sent += 500;
            now += budget.spend(500, 100, now) + Duration::from_millis(1);
        }
        let most = (60.0 + BURST_S) * EDGE.packets + 500.0;
        assert!(f64::from(sent) <= most && f64::from(sent) > most * 0.95, "{sent}");
    }

    #[test]
    fn bytes_count_as_well_as_packets() {
        let (budget, now) = (budget(), Instant::now());
        assert_eq!(budget.spend(1, 8 * 1024 * 1024, now), Duration::ZERO);
        assert_eq!(budget.spend(1, 4 * 1024 * 1024, now), Duration::from_secs(1));
    }
}
