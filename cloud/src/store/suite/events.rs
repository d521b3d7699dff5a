//! Recording, at most once, and the feed.

use aivms_contract::alert::{Alert, Severity};
use aivms_contract::clip::Clip;
use aivms_contract::envelope::Body;
use aivms_contract::health::{Health, OutboxHealth};
use aivms_contract::temperature::Temperatures;
use aivms_contract::topic::UpKind;

use super::super::{EventFilter, Incoming, Message, PageRequest, SharedStore, User};
use super::{Open, at, detection, edge, incoming, tenant, zone_event};

pub(crate) async fn an_event_delivered_again_is_stored_once(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    let batch: Vec<_> = (1..=3).map(|seq| incoming(&owner, &edge, seq, Body::Detections(detection(1)))).collect();
    let first = store.record_events(batch.clone()).await.unwrap();
    assert_eq!((first.stored, first.duplicates), (3, 0));
    let mut more = batch;
    more.push(incoming(&owner, &edge, 4, Body::Detections(detection(2))));
    more.extend(more.clone());
    let second = store.record_events(more).await.unwrap();
    assert_eq!((second.stored, second.duplicates), (1, 7));
    assert_eq!(second.feed_number, store.feed_head().await.unwrap());
    assert!(second.feed_number > first.feed_number);
    assert_eq!(store.feed_after(owner.tenant, 0, 100).await.unwrap().len(), 4);
    let nothing_new = store.record_events(Vec::new()).await.unwrap();
    assert_eq!((nothing_new.stored, nothing_new.feed_number), (0, second.feed_number));
}

pub(crate) async fn everything_of_an_event_comes_back_as_it_was_sent(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    let sent: Vec<_> = (1..).zip(every_kind()).map(|(seq, body)| incoming(&owner, &edge, seq, body)).collect();
    store.record_events(sent.clone()).await.unwrap();
    let read = store.feed_after(owner.tenant, 0, 100).await.unwrap();
    assert_eq!(read.len(), sent.len());
    for (sent, read) in sent.iter().zip(&read) {
        let Message::Known(envelope) = &sent.message else { panic!("only known messages were sent") };
        assert_eq!(**envelope, read.envelope);
        assert_eq!((&read.edge_id, read.received_at), (&edge.edge_id, sent.received_at));
    }
}

pub(crate) async fn a_colliding_event_id_is_kept_aside_and_fails_nothing(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let (first, second) = (edge(&store, &owner, "edge_a").await, edge(&store, &owner, "edge_b").await);
    let original = incoming(&owner, &first, 1, Body::Detections(detection(1)));
    let mut copy = incoming(&owner, &second, 1, Body::Detections(detection(1)));
    take_id(&mut copy, &original);
    let batch = vec![original, copy.clone(), incoming(&owner, &second, 2, Body::Detections(detection(2)))];
    assert_eq!(store.record_events(batch).await.unwrap().stored, 3);
    assert_eq!(store.record_events(vec![copy]).await.unwrap().duplicates, 1);
    assert_eq!(listed(&store, &owner).await, 2);
}

pub(crate) async fn a_second_event_at_one_place_of_an_outbox_is_kept_aside(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    let original = incoming(&owner, &edge, 1, Body::Detections(detection(1)));
    let other = incoming(&owner, &edge, 1, Body::Detections(detection(2)));
    let recorded = store.record_events(vec![original, other.clone()]).await.unwrap();
    assert_eq!((recorded.stored, recorded.duplicates), (2, 0));
    assert_eq!(store.record_events(vec![other]).await.unwrap().duplicates, 1);
    assert_eq!(listed(&store, &owner).await, 1);
}

pub(crate) async fn a_class_with_a_character_that_no_text_holds_is_kept_aside(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    let mut odd = detection(0);
    odd.object_class = "per\0son".into();
    let batch = vec![
        incoming(&owner, &edge, 1, Body::Detections(odd)),
        incoming(&owner, &edge, 2, Body::Detections(detection(0))),
    ];
    assert_eq!(store.record_events(batch.clone()).await.unwrap().stored, 2);
    assert_eq!(store.record_events(batch).await.unwrap().duplicates, 2);
    assert_eq!(store.feed_after(owner.tenant, 0, 9).await.unwrap().len(), 1);
}

pub(crate) async fn an_unreadable_message_counts_as_stored_once(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    let mut newer = incoming(&owner, &edge, 1, Body::Detections(detection(1)));
    newer.message = Message::Unreadable {
        outbox: "outbox-1".parse().unwrap(),
        seq: 1,
        kind: UpKind::Detections,
        payload: br#"{"v":2}"#.to_vec(),
        reason: "v: version 2 is not known".into(),
    };
    assert_eq!(store.record_events(vec![newer.clone()]).await.unwrap().stored, 1);
    assert_eq!(store.record_events(vec![newer]).await.unwrap().duplicates, 1);
    assert_eq!(listed(&store, &owner).await, 0);
}

pub(crate) async fn the_feed_has_the_order_of_storing_and_only_the_tenants_events(open: Open<'_>) {
    let store = open();
    let (acme, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    let (ours, theirs) = (edge(&store, &acme, "edge_a").await, edge(&store, &rival, "edge_b").await);
    // Later events carry earlier times: the feed goes by storing, lists go by time.
    for seq in 1..=6 {
        let body = Body::Detections(detection(100 - i64::try_from(seq).unwrap()));
        let batch = vec![incoming(&acme, &ours, seq, body.clone()), incoming(&rival, &theirs, seq, body)];
        store.record_events(batch).await.unwrap();
    }
    let feed = store.feed_after(acme.tenant, 0, 100).await.unwrap();
    assert_eq!(feed.iter().map(|event| event.envelope.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert!(feed.iter().all(|event| event.edge_id == ours.edge_id));
    assert!(feed.is_sorted_by(|a, b| a.feed_number < b.feed_number));
    let rest = store.feed_after(acme.tenant, feed[2].feed_number, 2).await.unwrap();
    assert_eq!(rest.iter().map(|event| event.envelope.seq).collect::<Vec<_>>(), [4, 5]);
}

pub(crate) async fn feed_numbers_rise_over_a_restart(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    let record = async |store: &SharedStore, seq| {
        store.record_events(vec![incoming(&owner, &edge, seq, Body::ZoneEvents(zone_event(1)))]).await.unwrap()
    };
    let before = record(&store, 1).await;
    drop(store);
    let store = open();
    assert_eq!(store.feed_head().await.unwrap(), before.feed_number);
    assert!(record(&store, 2).await.feed_number > before.feed_number);
    assert_eq!(record(&store, 1).await.duplicates, 1);
}

async fn listed(store: &SharedStore, owner: &User) -> usize {
    let page = PageRequest { before: None, limit: 100 };
    store.list_detections(owner.tenant, EventFilter::default(), page).await.unwrap().items.len()
}

fn take_id(incoming: &mut Incoming, from: &Incoming) {
    let id = super::id_of(from);
    let Message::Known(envelope) = &mut incoming.message else { panic!("no event") };
    envelope.id = id;
}

fn every_kind() -> Vec<Body> {
    vec![
        Body::Detections(detection(1)),
        Body::ZoneEvents(zone_event(2)),
        Body::Alerts(Alert {
            camera_id: "door".parse().unwrap(),
            timestamp: at(3),
            alert_type: "camera_offline".into(),
            severity: Severity::Warning,
            title: "door is dark".into(),
            clip_id: None,
            event_id: None,
        }),
        Body::Health(Health {
            timestamp: at(4),
            version: "0.1.0".into(),
            uptime_s: 5,
            disk_total_bytes: 10,
            disk_free_bytes: 4,
            cameras: Vec::new(),
            footage_disks: Vec::new(),
            chains: Vec::new(),
            outbox: OutboxHealth::default(),
            uploads: None,
            temperatures: Temperatures::default(),
            notices: Vec::new(),
        }),
        Body::Clips(Clip {
            clip_id: "clip-1".parse().unwrap(),
            camera_id: "door".parse().unwrap(),
            start: at(5),
            duration_ms: 1_000,
            size_bytes: 2_000,
            event_id: None,
            command_id: None,
            missing_ms: 0,
            missing: Vec::new(),
            event_offset_ms: None,
            codecs: None,
            sha256: None,
            masked: false,
        }),
    ]
}
