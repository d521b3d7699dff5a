//! Lists: filters, pages and isolation.

use aivms_cloud_core::rights::CameraScope;
use aivms_contract::envelope::Body;
use aivms_contract::id::EventId;
use aivms_contract::zone_event::ZoneEventType;

use super::super::{EventFilter, Incoming, Message, PageRequest, SharedStore, StoredEvent, User};
use super::{Open, at, detection, edge, id_of, incoming, tenant, zone_event};

/// Whether an event should be shown.
type Wanted = fn(&StoredEvent) -> bool;

pub(crate) async fn each_filter_shows_exactly_the_matching_events(open: Open<'_>) {
    let store = open();
    let (owner, all) = stocked(&store).await;
    let detections: Vec<(EventFilter, Wanted)> = vec![
        (EventFilter { start: Some(at(3)), ..none() }, |event| event.envelope.at >= at(3)),
        (EventFilter { end: Some(at(3)), ..none() }, |event| event.envelope.at < at(3)),
        (EventFilter { edge_id: "edge_b".parse().ok(), ..none() }, |event| event.edge_id.as_str() == "edge_b"),
        (EventFilter { camera_id: "yard".parse().ok(), ..none() }, |event| camera(event) == "yard"),
        (EventFilter { object_class: Some("car".into()), ..none() }, |event| class(event) == "car"),
        (EventFilter { track_id: Some("track-2".into()), ..none() }, |event| track(event) == "track-2"),
        (EventFilter { min_confidence: Some(0.5), ..none() }, |event| confidence(event) >= 0.5),
    ];
    for (filter, wanted) in detections {
        check(&store, &owner, &all, Kind::Detections, filter, wanted).await;
    }
    let zone_events: Vec<(EventFilter, Wanted)> = vec![
        (EventFilter { zone_id: "gate".parse().ok(), ..none() }, |event| zone(event) == "gate"),
        (
            EventFilter { event_type: Some(ZoneEventType::Exit), ..none() },
            |event| matches!(&event.envelope.body, Body::ZoneEvents(body) if body.event_type == ZoneEventType::Exit),
        ),
        (EventFilter { camera_id: "door".parse().ok(), ..none() }, |event| camera(event) == "door"),
    ];
    for (filter, wanted) in zone_events {
        check(&store, &owner, &all, Kind::ZoneEvents, filter, wanted).await;
    }
    for unknown in [
        EventFilter { camera_id: "nowhere".parse().ok(), ..none() },
        EventFilter { edge_id: "edge_nowhere".parse().ok(), ..none() },
        EventFilter { object_class: Some("unicorn".into()), ..none() },
        EventFilter { zone_id: "nowhere".parse().ok(), ..none() },
    ] {
        assert!(pages(&store, &owner, Kind::ZoneEvents, &unknown, 10).await.is_empty());
    }
}

pub(crate) async fn each_type_of_zone_event_is_found_by_its_own_number(open: Open<'_>) {
    use ZoneEventType::{Cleared, Cross, Dwell, Enter, Exit, Occupied};
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    let types = [Enter, Exit, Dwell, Cross, Occupied, Cleared];
    let message = |(seq, event_type): (u64, ZoneEventType)| {
        let event = aivms_contract::zone_event::ZoneEvent { event_type, ..zone_event(1) };
        incoming(&owner, &edge, seq, Body::ZoneEvents(event))
    };
    store.record_events((1..).zip(types).map(message).collect()).await.unwrap();
    for event_type in types {
        let filter = EventFilter { event_type: Some(event_type), ..none() };
        let request = PageRequest { before: None, limit: 10 };
        let found = store.list_zone_events(owner.tenant, filter, request).await.unwrap().items;
        let types = found.iter().map(|event| match &event.envelope.body {
            Body::ZoneEvents(body) => body.event_type,
            other => panic!("{other:?}"),
        });
        assert_eq!(types.collect::<Vec<_>>(), [event_type]);
    }
}

pub(crate) async fn filters_together_show_what_each_of_them_would(open: Open<'_>) {
    let store = open();
    let (owner, all) = stocked(&store).await;
    let filter = EventFilter {
        start: Some(at(0)),
        end: Some(at(1)),
        edge_id: "edge_a".parse().ok(),
        camera_id: "door".parse().ok(),
        object_class: Some("person".into()),
        track_id: Some("track-1".into()),
        zone_id: "lobby".parse().ok(),
        event_type: Some(ZoneEventType::Enter),
        min_confidence: Some(0.1),
        made_for: None,
        cameras: CameraScope::All,
    };
    let wanted: Wanted = |event| {
        (at(0)..at(1)).contains(&event.envelope.at)
            && event.edge_id.as_str() == "edge_a"
            && (camera(event), class(event), track(event), zone(event)) == ("door", "person", "track-1", "lobby")
            && matches!(&event.envelope.body, Body::ZoneEvents(body) if body.event_type == ZoneEventType::Enter)
    };
    check(&store, &owner, &all, Kind::ZoneEvents, filter, wanted).await;
}

pub(crate) async fn pages_joined_are_the_whole_list_without_gap_or_double(open: Open<'_>) {
    let store = open();
    let (owner, all) = stocked(&store).await;
    for limit in [1, 2, 3, 7, 1_000] {
        for filter in [none(), EventFilter { camera_id: "door".parse().ok(), ..none() }] {
            let joined = pages(&store, &owner, Kind::Detections, &filter, limit).await;
            let mut ids: Vec<_> = all
                .iter()
                .filter(|event| matches!(event.envelope.body, Body::Detections(_)))
                .filter(|event| filter.camera_id.is_none() || camera(event) == "door")
                .map(|event| event.envelope.id)
                .collect();
            ids.sort_unstable_by(|a, b| b.cmp(a));
            assert_eq!(joined, ids, "limit {limit}");
        }
    }
}

pub(crate) async fn nothing_of_one_tenant_is_listed_to_another(open: Open<'_>) {
    let store = open();
    stocked(&store).await;
    let rival = tenant(&store, "rival").await;
    for filter in [
        none(),
        EventFilter { edge_id: "edge_a".parse().ok(), ..none() },
        EventFilter { camera_id: "door".parse().ok(), ..none() },
        EventFilter { object_class: Some("person".into()), ..none() },
        EventFilter { zone_id: "lobby".parse().ok(), ..none() },
    ] {
        assert!(pages(&store, &rival, Kind::Detections, &filter, 10).await.is_empty());
        assert!(pages(&store, &rival, Kind::ZoneEvents, &filter, 10).await.is_empty());
    }
    assert!(store.feed_after(rival.tenant, 0, 10).await.unwrap().is_empty());
    // The same names in a second tenant are other names.
    let theirs = edge(&store, &rival, "edge_rival").await;
    store.record_events(vec![incoming(&rival, &theirs, 1, Body::Detections(detection(1)))]).await.unwrap();
    let door = EventFilter { camera_id: "door".parse().ok(), ..none() };
    assert_eq!(pages(&store, &rival, Kind::Detections, &door, 10).await.len(), 1);
}

#[derive(Clone, Copy)]
enum Kind {
    Detections,
    ZoneEvents,
}

fn none() -> EventFilter {
    EventFilter::default()
}

/// A tenant with 64 events of two edges: every combination of what filters look at, at eight times.
async fn stocked(store: &SharedStore) -> (User, Vec<StoredEvent>) {
    let owner = tenant(store, "acme").await;
    let edges = [edge(store, &owner, "edge_a").await, edge(store, &owner, "edge_b").await];
    let messages: Vec<Incoming> = (0..64u32).map(|n| message(&owner, &edges[(n >> 5) as usize], n)).collect();
    assert!(messages.iter().all(|message| message.tenant == owner.tenant));
    store.record_events(messages).await.unwrap();
    let all = store.feed_after(owner.tenant, 0, 1_000).await.unwrap();
    assert_eq!(all.len(), 64);
    (owner, all)
}

fn message(owner: &User, edge: &super::super::Edge, n: u32) -> Incoming {
    let millis = i64::from(n % 8);
    let bit = |place: u32| n >> place & 1 == 1;
    let mut seen = detection(millis);
    seen.camera_id = (if bit(1) { "yard" } else { "door" }).parse().unwrap();
    seen.object_class = (if bit(2) { "car" } else { "person" }).into();
    seen.confidence = if bit(3) { 0.25 } else { 0.5 };
    seen.track_id = format!("track-{}", n % 3).parse().unwrap();
    let body = if bit(4) {
        let mut event = zone_event(millis);
        event.camera_id = seen.camera_id;
        event.object_class = seen.object_class;
        event.track_id = seen.track_id;
        event.confidence = seen.confidence;
        event.zone_id = (if bit(3) { "gate" } else { "lobby" }).parse().unwrap();
        event.event_type = if bit(0) { ZoneEventType::Exit } else { ZoneEventType::Enter };
        Body::ZoneEvents(event)
    } else {
        Body::Detections(seen)
    };
    let incoming = incoming(owner, edge, u64::from(n) + 1, body);
    assert!(matches!(incoming.message, Message::Known(_)) && id_of(&incoming).at() == at(millis));
    incoming
}

async fn check(
    store: &SharedStore,
    owner: &User,
    all: &[StoredEvent],
    kind: Kind,
    filter: EventFilter,
    wanted: Wanted,
) {
    let mut expected: Vec<_> = all
        .iter()
        .filter(|event| {
            matches!(
                (kind, &event.envelope.body),
                (Kind::Detections, Body::Detections(_)) | (Kind::ZoneEvents, Body::ZoneEvents(_))
            )
        })
        .filter(|event| wanted(event))
        .map(|event| event.envelope.id)
        .collect();
    expected.sort_unstable_by(|a, b| b.cmp(a));
    assert!(!expected.is_empty(), "{filter:?} must have something to show");
    assert_eq!(pages(store, owner, kind, &filter, 5).await, expected, "{filter:?}");
}

/// Joins the pages of a list.
async fn pages(store: &SharedStore, owner: &User, kind: Kind, filter: &EventFilter, limit: u32) -> Vec<EventId> {
    let mut joined = Vec::new();
    let mut before = None;
    loop {
        let request = PageRequest { before, limit };
        let page = match kind {
            Kind::Detections => store.list_detections(owner.tenant, filter.clone(), request).await.unwrap(),
            Kind::ZoneEvents => store.list_zone_events(owner.tenant, filter.clone(), request).await.unwrap(),
        };
        assert!(page.items.len() <= limit as usize);
        joined.extend(page.items.iter().map(|event| event.envelope.id));
        let Some(next) = page.next else { return joined };
        assert!(before.is_none_or(|before| next < before), "each page goes on");
        before = Some(next);
    }
}

fn camera(event: &StoredEvent) -> &str {
    match &event.envelope.body {
        Body::Detections(body) => body.camera_id.as_str(),
        Body::ZoneEvents(body) => body.camera_id.as_str(),
        _ => "",
    }
}

fn class(event: &StoredEvent) -> &str {
    match &event.envelope.body {
        Body::Detections(body) => &body.object_class,
        Body::ZoneEvents(body) => &body.object_class,
        _ => "",
    }
}

fn track(event: &StoredEvent) -> &str {
    match &event.envelope.body {
        Body::Detections(body) => body.track_id.as_str(),
        Body::ZoneEvents(body) => body.track_id.as_str(),
        _ => "",
    }
}

fn confidence(event: &StoredEvent) -> f32 {
    match &event.envelope.body {
        Body::Detections(body) => body.confidence,
        _ => 0.0,
    }
}

fn zone(event: &StoredEvent) -> &str {
    match &event.envelope.body {
        Body::ZoneEvents(body) => body.zone_id.as_str(),
        _ => "",
    }
}
