//! Counts are exactly what the events say, however much has been counted ahead.

use std::collections::BTreeMap;
use std::time::Duration;

use aivms_cloud_core::analytics::{Bucket, Step, Tally, Zone, buckets};
use aivms_cloud_core::rights::CameraScope;
use aivms_contract::detection::Detection;
use aivms_contract::envelope::Body;
use aivms_contract::time::UtcMillis;
use aivms_contract::zone_event::{Direction, ZoneEvent, ZoneEventType};

use super::super::quarters::PAUSE;
use super::super::{CountQuery, DetectionCount, Edge, SharedStore, User};
use super::{Open, at, detection, edge, incoming, tenant, zone_event};

const MINUTE: i64 = 60_000;

/// A detection by camera, class and time.
type Seen = (&'static str, &'static str, i64);

/// Events of two days, in no order, from a fixed row of numbers.
fn seen(count: usize) -> Vec<Seen> {
    let mut state = 1_u64;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let camera = |number| ["door", "yard", "gate"][usize::try_from(number).unwrap()];
    let class = |number| ["person", "car"][usize::try_from(number).unwrap()];
    (0..count).map(|_| (camera(next(3)), class(next(2)), i64::try_from(next(48 * 60)).unwrap() * MINUTE + 7)).collect()
}

async fn record(store: &SharedStore, owner: &User, edge: &Edge, first_seq: u64, events: &[Seen]) {
    let body = |(camera, class, millis): &Seen| {
        Body::Detections(Detection {
            camera_id: camera.parse().unwrap(),
            object_class: (*class).into(),
            ..detection(*millis)
        })
    };
    let batch = (first_seq..).zip(events).map(|(seq, event)| incoming(owner, edge, seq, body(event))).collect();
    store.record_events(batch).await.unwrap();
}

/// Counts ahead whatever can be.
pub(super) async fn count_ahead(store: &SharedStore) -> usize {
    let later = at(0) + Duration::from_secs(10 * 24 * 3_600);
    while store.mark_backlog().await.unwrap() {}
    store.begin_counts(later).await.unwrap();
    let mut kept = 0;
    for count in store.counts_to_end(later + PAUSE).await.unwrap() {
        kept += usize::from(store.end_count(count).await.unwrap());
    }
    kept
}

pub(super) fn span(from: i64, to: i64) -> Vec<Bucket> {
    buckets(&"Asia/Kolkata".parse::<Zone>().unwrap(), Step::Hour, at(from), at(to)).unwrap()
}

fn naive(events: &[Seen], buckets: &[Bucket], wanted: impl Fn(&Seen) -> bool) -> BTreeMap<(usize, String), u64> {
    let mut counts = BTreeMap::new();
    for event in events.iter().filter(|event| wanted(event)) {
        let bucket = buckets.iter().position(|bucket| bucket.start <= at(event.2) && at(event.2) < bucket.end);
        if let Some(bucket) = bucket {
            *counts.entry((bucket, event.1.to_owned())).or_default() += 1;
        }
    }
    counts
}

fn by_bucket(counts: Vec<DetectionCount>) -> BTreeMap<(usize, String), u64> {
    counts.into_iter().map(|count| ((count.bucket, count.object_class), count.count)).collect()
}

async fn check(store: &SharedStore, owner: &User, events: &[Seen]) {
    // Whole, and with ends that lie in the middle of a quarter.
    for buckets in [span(0, 48 * 60 * MINUTE), span(47 * MINUTE + 11, 31 * 60 * MINUTE + 3)] {
        let query = CountQuery { buckets: buckets.clone(), ..CountQuery::default() };
        let counts = store.count_detections(owner.tenant, query.clone()).await.unwrap();
        assert_eq!(by_bucket(counts), naive(events, &buckets, |_| true));
        let of_door = CountQuery { camera_id: "door".parse().ok(), ..query.clone() };
        let counts = store.count_detections(owner.tenant, of_door).await.unwrap();
        assert_eq!(by_bucket(counts), naive(events, &buckets, |event| event.0 == "door"));
        let of_cars = CountQuery { object_class: Some("car".into()), ..query.clone() };
        let counts = store.count_detections(owner.tenant, of_cars).await.unwrap();
        assert_eq!(by_bucket(counts), naive(events, &buckets, |event| event.1 == "car"));
        let pair = ("edge_a".parse().unwrap(), "yard".parse().unwrap());
        let scope = CameraScope::Only([pair].into());
        let of_yard = CountQuery { cameras: scope, ..query.clone() };
        let counts = store.count_detections(owner.tenant, of_yard).await.unwrap();
        assert_eq!(by_bucket(counts), naive(events, &buckets, |event| event.0 == "yard"));
        let unknown = CountQuery { object_class: Some("zebra".into()), ..query };
        assert_eq!(store.count_detections(owner.tenant, unknown).await.unwrap(), []);
    }
}

pub(crate) async fn detections_are_counted_exactly_before_and_after_counting_ahead(open: Open<'_>) {
    let store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    let (ours, theirs) = (edge(&store, &owner, "edge_a").await, edge(&store, &rival, "edge_b").await);
    let mut events = seen(300);
    record(&store, &owner, &ours, 1, &events).await;
    record(&store, &rival, &theirs, 1, &seen(50)).await;
    check(&store, &owner, &events).await;
    assert!(count_ahead(&store).await > 100);
    check(&store, &owner, &events).await;
    // Late events fall into quarters that have been counted.
    let late = seen(40);
    record(&store, &owner, &ours, 1_000, &late).await;
    events.extend(late);
    check(&store, &owner, &events).await;
    assert!(count_ahead(&store).await > 0);
    check(&store, &owner, &events).await;
    assert_eq!(count_ahead(&store).await, 0);
}

pub(crate) async fn a_count_is_not_kept_when_events_came_meanwhile_or_twice(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let ours = edge(&store, &owner, "edge_a").await;
    record(&store, &owner, &ours, 1, &[("door", "person", 0)]).await;
    let later = at(0) + Duration::from_secs(3_600);
    store.begin_counts(later).await.unwrap();
    let counts = store.counts_to_end(later + PAUSE).await.unwrap();
    assert_eq!(counts.len(), 1);
    assert_eq!(store.counts_to_end(later + PAUSE / 2).await.unwrap(), []);
    record(&store, &owner, &ours, 2, &[("door", "person", MINUTE)]).await;
    assert!(!store.end_count(counts[0]).await.unwrap());
    let buckets = span(0, 60 * MINUTE);
    let query = CountQuery { buckets, by_camera: true, ..CountQuery::default() };
    let total = async || -> u64 {
        let counts = store.count_detections(owner.tenant, query.clone()).await.unwrap();
        counts.iter().map(|count| count.count).sum()
    };
    assert_eq!(total().await, 2);
    store.begin_counts(later).await.unwrap();
    let counts = store.counts_to_end(later + PAUSE).await.unwrap();
    assert!(store.end_count(counts[0]).await.unwrap());
    assert!(!store.end_count(counts[0]).await.unwrap());
    assert_eq!(total().await, 2);
    // A quarter that is not over is not counted.
    record(&store, &owner, &ours, 3, &[("door", "person", 30 * MINUTE)]).await;
    assert_eq!(store.begin_counts(at(31 * MINUTE)).await.unwrap(), 0);
}

pub(crate) async fn what_happened_in_zones_is_counted_exactly_before_and_after_counting_ahead(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let ours = edge(&store, &owner, "edge_a").await;
    let kinds = [
        (ZoneEventType::Enter, None, None),
        (ZoneEventType::Exit, Some(12_000), None),
        (ZoneEventType::Dwell, Some(10_000), None),
        (ZoneEventType::Cross, None, Some(Direction::LeftToRight)),
        (ZoneEventType::Cross, None, Some(Direction::RightToLeft)),
        (ZoneEventType::Occupied, None, None),
    ];
    let events: Vec<ZoneEvent> = (0..90)
        .map(|number| {
            let (event_type, dwell_ms, direction) = kinds[number % kinds.len()];
            let millis = i64::try_from(number).unwrap() * 7 * MINUTE;
            let zone = if number.is_multiple_of(5) { "lobby" } else { "line" };
            let dwell_ms = dwell_ms.map(|ms: u64| ms + number as u64);
            ZoneEvent { event_type, dwell_ms, direction, zone_id: zone.parse().unwrap(), ..zone_event(millis) }
        })
        .collect();
    let batch = (1..).zip(&events).map(|(seq, event)| incoming(&owner, &ours, seq, Body::ZoneEvents(event.clone())));
    store.record_events(batch.collect()).await.unwrap();
    let (start, end) = (5 * MINUTE, 9 * 60 * MINUTE + 1);
    for round in 0..2 {
        let query = CountQuery { buckets: span(start, end), ..CountQuery::default() };
        for zone in ["lobby", "line"] {
            let asked = CountQuery { zone_id: zone.parse().ok(), ..query.clone() };
            let mut counted = Tally::default();
            for count in store.count_zone_events(owner.tenant, asked).await.unwrap() {
                assert_eq!((count.zone_id.as_str(), count.camera_id.as_str()), (zone, "door"));
                counted.merge(&count.tally);
            }
            let within = |at_: UtcMillis| at(start) <= at_ && at_ < at(end);
            let mut naive = Tally::default();
            events
                .iter()
                .filter(|event| event.zone_id.as_str() == zone && within(event.timestamp))
                .for_each(|event| naive.add(event));
            assert_eq!(counted, naive, "{zone} {round}");
            assert!(naive.exits + naive.crosses.left_to_right > 0);
        }
        count_ahead(&store).await;
    }
}
