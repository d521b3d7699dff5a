//! Folding of alerts to incidents.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// Folds alerts at these seconds in this order, as a store does: into the newest incident that takes it.
fn fold(folding: Folding, seconds: &[i64]) -> Vec<Span> {
    let mut incidents: Vec<Span> = Vec::new();
    for second in seconds {
        let joined =
            incidents.iter().enumerate().rev().find_map(|(i, span)| Some((i, folding.join(*span, at(*second))?)));
        match joined {
            Some((index, span)) => incidents[index] = span,
            None => incidents.push(Folding::open(at(*second))),
        }
    }
    incidents
}

#[test]
fn alerts_that_follow_each_other_are_one_incident_also_when_they_come_late() {
    let spans = fold(Folding::default(), &[0, 299, 598, 1000, 300]);
    assert_eq!(spans.len(), 2);
    assert_eq!(spans[0], Span { first_at: at(0), last_at: at(598), alerts: 4 });
}

#[test]
fn an_incident_that_never_ends_is_cut() {
    let every_minute: Vec<i64> = (0..180).map(|minute| minute * 60).collect();
    let spans = fold(Folding::default(), &every_minute);
    assert_eq!(spans.len(), 3);
    assert!(spans.iter().all(|span| span.last_at.since(span.first_at) <= Duration::from_hours(1)));
    let most = Folding { most: 10, ..Folding::default() };
    assert_eq!(fold(most, &[0; 25]).iter().map(|span| span.alerts).collect::<Vec<_>>(), [10, 10, 5]);
}

proptest! {
    #[test]
    fn every_alert_is_in_one_incident_and_none_is_longer_than_allowed(seconds in prop::collection::vec(0i64..20_000, 1..80)) {
        let folding = Folding::default();
        let spans = fold(folding, &seconds);
        prop_assert_eq!(spans.iter().map(|span| span.alerts as usize).sum::<usize>(), seconds.len());
        for span in &spans {
            prop_assert!(span.first_at <= span.last_at && span.last_at.since(span.first_at) <= folding.longest);
        }
    }

    #[test]
    fn in_order_two_incidents_are_apart_by_more_than_the_window_unless_one_was_cut(mut seconds in prop::collection::vec(0i64..20_000, 1..80)) {
        seconds.sort_unstable();
        let folding = Folding::default();
        for pair in fold(folding, &seconds).windows(2) {
            let apart = pair[1].first_at.since(pair[0].last_at) > folding.window;
            let would_be_too_long = pair[1].first_at.since(pair[0].first_at) > folding.longest;
            prop_assert!(apart || would_be_too_long, "{pair:?}");
        }
    }
}
