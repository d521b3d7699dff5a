//! Which spans of a time are recorded, and why others are not.

use std::time::Duration;

use aivms_contract::footage::Gap;
use aivms_contract::id::CameraId;
use aivms_contract::relay::Span;
use aivms_contract::time::UtcMillis;

use crate::recorder::Footage;

/// Segments with no more than this between them are one span.
const TOUCHING: Duration = Duration::from_millis(1_500);

/// The spans with video, joined and cut to the time asked for.
pub(super) fn spans(footage: &Footage, camera: &CameraId, from: UtcMillis, to: UtcMillis) -> Vec<Span> {
    let segments = footage.summaries(camera).into_iter();
    joined(segments.map(|segment| Span { start: segment.start, end: segment.end }), from, to)
}

/// Of the gaps that the ledger has told, those within the time, in order; as told, because their start is their name.
pub(super) fn gaps(mut told: Vec<Gap>, from: UtcMillis, to: UtcMillis) -> Vec<Gap> {
    told.retain(|gap| gap.start < to && gap.end.is_none_or(|end| end > from));
    told.sort_by_key(|gap| gap.start);
    told
}

fn joined(segments: impl Iterator<Item = Span>, from: UtcMillis, to: UtcMillis) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for segment in segments.filter(|segment| segment.start < to && segment.end > from) {
        let cut = Span { start: segment.start.max(from), end: segment.end.min(to) };
        match spans.last_mut() {
            Some(last) if cut.start <= last.end + TOUCHING => last.end = last.end.max(cut.end),
            _ => spans.push(cut),
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retention::board::Board;
    use aivms_contract::footage::{FootageEvent, GapCause};

    fn span(start: i64, end: i64) -> Span {
        Span { start: UtcMillis::from_millis(start * 1000), end: UtcMillis::from_millis(end * 1000) }
    }

    #[test]
    fn segments_that_touch_are_one_span_and_a_gap_is_left_out() {
        let segments = [span(0, 60), span(60, 120), span(121, 180), span(240, 300)];
        let asked = span(30, 290);
        assert_eq!(joined(segments.into_iter(), asked.start, asked.end), [span(30, 180), span(240, 290)]);
        assert_eq!(joined(segments.into_iter(), span(190, 0).start, span(200, 0).start), []);
    }

    #[test]
    fn the_gaps_of_a_time_are_told_in_order_and_with_the_cause_that_the_ledger_gives() {
        let (board, camera) = (Board::default(), "gate".parse().unwrap());
        let seconds = |seconds: i64| UtcMillis::from_millis(seconds * 1000);
        let told = [
            (200, None, GapCause::Network),
            (10, Some(20), GapCause::Restart),
            (90, Some(110), GapCause::Disk),
            (100, Some(130), GapCause::Camera),
            (300, Some(310), GapCause::Internal),
        ];
        for (start, end, cause) in told {
            let gap = Gap { start: seconds(start), end: end.map(seconds), cause, detail: None };
            board.remember(&camera, &FootageEvent::Gap(gap));
        }
        let causes = |from, to| {
            let gaps = gaps(board.gaps(&camera), seconds(from), seconds(to));
            gaps.into_iter().map(|gap| gap.cause).collect::<Vec<_>>()
        };
        assert_eq!(causes(100, 300), [GapCause::Disk, GapCause::Camera, GapCause::Network]);
        assert_eq!(causes(20, 90), []);
        assert_eq!(gaps(board.gaps(&"yard".parse().unwrap()), seconds(0), seconds(900)), []);
    }
}
