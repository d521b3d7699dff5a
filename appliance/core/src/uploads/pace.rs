//! The pace of uploads: a budget in bytes per second, and pieces that fit the line.

use std::time::Duration;

use aivms_contract::desired::Schedule;
use aivms_contract::media::MAX_PIECE_BYTES;
use aivms_contract::time::UtcMillis;

use crate::schedule::{SiteZone, WeekPlan};

/// What a request costs on the line beside the piece: head, token, TLS.
const REQUEST_BYTES: usize = 1024;
/// A piece takes about so long, so that what is worth more waits no longer than this and a cut line costs no more.
const PIECE_TIME: Duration = Duration::from_secs(2);
/// Least piece: on the thinnest line the head of the request must not be the most of it.
const MIN_PIECE_BYTES: usize = 8 * 1024;
/// First piece, before the line is known.
const FIRST_PIECE_BYTES: usize = 128 * 1024;

/// Keeps a budget and knows how fast the line is.
#[derive(Debug, Default)]
pub struct Pace {
    /// Bytes per second of the last pieces, when some were measured.
    line: Option<f64>,
    /// When the budget has paid for all that was charged.
    free_at: Duration,
}

/// The budget of a site: bytes per second by the time of day.
#[derive(Debug, Clone)]
pub struct Budget {
    base: Option<u64>,
    /// The first that is open counts.
    spans: Vec<(WeekPlan, Option<u64>)>,
}

impl Pace {
    /// When the next request may go.
    #[must_use]
    pub fn free_at(&self) -> Duration {
        self.free_at
    }

    /// Bytes of the next piece.
    #[must_use]
    pub fn piece(&self, bytes_per_s: Option<u64>) -> usize {
        let of_line = self.line.map_or(FIRST_PIECE_BYTES as f64, |line| line * PIECE_TIME.as_secs_f64());
        let of_budget = bytes_per_s.map_or(f64::INFINITY, |budget| budget as f64 * PIECE_TIME.as_secs_f64());
        let bytes = of_line.min(of_budget).clamp(MIN_PIECE_BYTES as f64, MAX_PIECE_BYTES as f64);
        // Whole numbers of this range are exact.
        bytes as usize
    }

    /// Charges a request with `bytes` of a file to the budget.
    pub fn charge(&mut self, bytes: usize, bytes_per_s: Option<u64>, now: Duration) {
        let Some(budget) = bytes_per_s else { return };
        let cost = (bytes + REQUEST_BYTES) as f64 / budget.max(1) as f64;
        self.free_at = self.free_at.max(now) + Duration::try_from_secs_f64(cost).unwrap_or(Duration::MAX / 4);
    }

    /// Learns from a piece that arrived. What the budget holds back is no part of `took`.
    pub fn measure(&mut self, bytes: usize, took: Duration) {
        let seen = (bytes + REQUEST_BYTES) as f64 / took.as_secs_f64().max(1e-4);
        self.line = Some(self.line.map_or(seen, |line| line + (seen - line) / 2.0));
    }

    /// Learns from a piece that did not arrive.
    pub fn slow_down(&mut self) {
        let piece = PIECE_TIME.as_secs_f64();
        let known = self.line.unwrap_or(FIRST_PIECE_BYTES as f64 / piece);
        self.line = Some((known.min(MAX_PIECE_BYTES as f64 / piece) / 2.0).max(MIN_PIECE_BYTES as f64 / piece));
    }

    /// Time that `bytes` take; `None` while neither line nor budget is known.
    #[must_use]
    pub fn time_for(&self, bytes: u64, bytes_per_s: Option<u64>) -> Option<Duration> {
        let budget = bytes_per_s.map(|budget| budget as f64);
        let pace = self.line.into_iter().chain(budget).reduce(f64::min)?;
        Duration::try_from_secs_f64(bytes as f64 / pace.max(1.0)).ok()
    }
}

impl Budget {
    /// A budget of `base` bytes per second except in the spans of `schedules`; `None` is as fast as the line is.
    #[must_use]
    pub fn new(base: Option<u64>, schedules: &[(Schedule, Option<u64>)], zone: &SiteZone) -> Self {
        let spans = schedules.iter().map(|(schedule, rate)| (WeekPlan::new(schedule, zone), *rate)).collect();
        Self { base, spans }
    }

    /// The budget at `at`.
    pub fn at(&mut self, at: UtcMillis) -> Option<u64> {
        let open = self.spans.iter_mut().find_map(|(plan, rate)| plan.is_open(at).then_some(*rate));
        open.unwrap_or(self.base)
    }
}
