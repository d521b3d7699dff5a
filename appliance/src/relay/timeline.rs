//! Which spans of a time are recorded.

use std::time::Duration;

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
}
