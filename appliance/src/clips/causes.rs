//! Why there is no footage of a span: as the ledger of gaps says, else as far as the footage itself tells.

use aivms_contract::clip::Missing;
use aivms_contract::footage::{Gap, GapCause};
use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;

use super::cutter::Causes;
use crate::recorder::Footage;
use crate::retention::board::Board;

/// Without a ledger only this is known: what lies before the oldest footage has been deleted, and otherwise there was no
/// video to record.
impl Causes for Footage {
    fn causes(&self, camera: &CameraId, from: UtcMillis, to: UtcMillis) -> Vec<Missing> {
        let oldest = self.oldest(camera).unwrap_or(to).clamp(from, to);
        let spans = [(from, oldest, GapCause::Deleted), (oldest, to, GapCause::Camera)];
        let missing = spans.into_iter().filter(|(start, end, _)| end > start);
        missing.map(|(start, end, cause)| Missing { start, end, cause }).collect()
    }
}

/// The latest gaps that were told, and for all else the footage.
pub struct Told {
    /// Where gaps are remembered.
    pub board: Board,
    /// What was recorded.
    pub footage: Footage,
}

impl Causes for Told {
    fn causes(&self, camera: &CameraId, from: UtcMillis, to: UtcMillis) -> Vec<Missing> {
        explain(&self.board.gaps(camera), from, to, |from, to| self.footage.causes(camera, from, to))
    }
}

/// Divides a span by the gaps within it; `guess` explains what lies in none.
fn explain(
    gaps: &[Gap],
    from: UtcMillis,
    to: UtcMillis,
    guess: impl Fn(UtcMillis, UtcMillis) -> Vec<Missing>,
) -> Vec<Missing> {
    let mut known: Vec<_> = gaps.iter().map(|gap| (gap.start, gap.end.unwrap_or(to), gap.cause)).collect();
    known.sort();
    let (mut missing, mut through) = (vec![], from);
    for (start, end, cause) in known {
        let (start, end) = (start.max(through), end.min(to));
        if start >= end {
            continue;
        }
        if start > through {
            missing.extend(guess(through, start));
        }
        missing.push(Missing { start, end, cause });
        through = end;
    }
    if through < to {
        missing.extend(guess(through, to));
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_divided_by_the_gaps_known_and_nothing_of_it_is_left_out_or_told_twice() {
        let at = UtcMillis::from_millis;
        let gap = |start, end: Option<i64>, cause| Gap { start: at(start), end: end.map(at), cause, detail: None };
        let gaps = [
            gap(80, None, GapCause::Disk),
            gap(0, Some(30), GapCause::Network),
            gap(25, Some(40), GapCause::Restart),
            gap(500, Some(600), GapCause::Internal),
        ];
        let guess = |start, end| vec![Missing { start, end, cause: GapCause::Camera }];
        let told: Vec<_> = explain(&gaps, at(10), at(100), guess)
            .into_iter()
            .map(|missing| (missing.start.as_millis(), missing.end.as_millis(), missing.cause))
            .collect();
        let expected = [
            (10, 30, GapCause::Network),
            (30, 40, GapCause::Restart),
            (40, 80, GapCause::Camera),
            (80, 100, GapCause::Disk),
        ];
        assert_eq!(told, expected);
    }
}
