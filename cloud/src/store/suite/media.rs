//! Files of clips and snapshots.

use aivms_contract::clip::Clip;
use aivms_contract::envelope::Body;
use aivms_contract::geometry::FrameSize;
use aivms_contract::id::EventId;
use aivms_contract::media::{MediaKind, MediaOffer, MediaType, Sha256Hex};
use aivms_contract::snapshot::Snapshot;

use super::super::{Edge, EventFilter, Media, OfferedMedia, PageRequest, StoreError, StoredEvent, User};
use super::{Open, at, edge, incoming, tenant};

pub(super) const NO_QUOTA: u64 = u64::MAX;

pub(crate) async fn a_file_offered_again_is_the_same_and_another_one_under_its_id_is_refused(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let [first, second] = [edge(&store, &owner, "edge_a").await, edge(&store, &owner, "edge_b").await];
    let offered = store.offer_media(clip(&owner, &first, "c1", 100, NO_QUOTA), at(1)).await.unwrap();
    drop(store);
    let store = open();
    let again = store.offer_media(clip(&owner, &first, "c1", 100, NO_QUOTA), at(2)).await.unwrap();
    assert_eq!(again, offered);
    assert_eq!((again.edge_id, again.size, again.stored_at), (first.edge_id.clone(), 100, None));
    let other = store.offer_media(clip(&owner, &first, "c1", 101, NO_QUOTA), at(3)).await;
    assert!(matches!(other, Err(StoreError::Taken("media_id"))), "{other:?}");
    // Ids are an edge's own, and a kind's own.
    let elsewhere = store.offer_media(clip(&owner, &second, "c1", 101, NO_QUOTA), at(4)).await.unwrap();
    let mut picture = clip(&owner, &first, "c1", 7, NO_QUOTA);
    (picture.offer.kind, picture.offer.content_type) = (MediaKind::Snapshot, MediaType::Jpeg);
    let picture = store.offer_media(picture, at(5)).await.unwrap();
    assert!(elsewhere.key != offered.key && picture.key != offered.key);
    let found = store.offered_media(first.key, MediaKind::Clip, &"c1".parse().unwrap()).await.unwrap();
    assert_eq!(found, Some(offered));
}

pub(crate) async fn a_file_is_stored_once_and_then_never_forgotten(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    let old = store.offer_media(clip(&owner, &edge, "old", 10, NO_QUOTA), at(1)).await.unwrap();
    let new = store.offer_media(clip(&owner, &edge, "new", 10, NO_QUOTA), at(5)).await.unwrap();
    let keys = |found: Vec<Media>| found.into_iter().map(|media| media.key).collect::<Vec<_>>();
    assert_eq!(keys(store.unfinished_media(at(6), 10).await.unwrap()), [old.key, new.key]);
    assert_eq!(keys(store.unfinished_media(at(5), 10).await.unwrap()), [old.key]);
    store.media_stored(old.key, at(7)).await.unwrap();
    store.media_stored(old.key, at(8)).await.unwrap();
    let stored = store.media(owner.tenant, old.key).await.unwrap().unwrap();
    assert_eq!(stored.stored_at, Some(at(7)));
    assert_eq!(keys(store.unfinished_media(at(9), 10).await.unwrap()), [new.key]);
    assert!(!store.forget_media(old.key).await.unwrap());
    assert!(store.forget_media(new.key).await.unwrap());
    assert!(!store.forget_media(new.key).await.unwrap());
    assert!(store.media(owner.tenant, old.key).await.unwrap().is_some());
}

pub(crate) async fn the_files_of_a_tenant_have_the_room_of_its_quota_and_give_it_back(open: Open<'_>) {
    let store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    let ours = edge(&store, &owner, "edge_a").await;
    let theirs = edge(&store, &rival, "edge_b").await;
    let first = store.offer_media(clip(&owner, &ours, "c1", 60, 100), at(1)).await.unwrap();
    let beyond = store.offer_media(clip(&owner, &ours, "c2", 41, 100), at(2)).await;
    assert!(matches!(beyond, Err(StoreError::QuotaFull)), "{beyond:?}");
    // One that is known takes no further room, and a tenant takes none of another one's.
    store.offer_media(clip(&owner, &ours, "c1", 60, 100), at(3)).await.unwrap();
    store.offer_media(clip(&rival, &theirs, "c1", 100, 100), at(4)).await.unwrap();
    store.forget_media(first.key).await.unwrap();
    store.offer_media(clip(&owner, &ours, "c2", 100, 100), at(5)).await.unwrap();
}

pub(crate) async fn clips_and_snapshots_are_listed_with_their_files_and_found_by_event_and_id(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    let event = EventId::from_parts(at(1), 7);
    let said = [
        Body::Clips(clip_event("c1", "door", 1, Some(event))),
        Body::Clips(clip_event("c2", "yard", 2, None)),
        Body::Snapshots(snapshot_event("s1", 3, Some(event))),
    ];
    let batch = (1..).zip(said).map(|(seq, body)| incoming(&owner, &edge, seq, body)).collect();
    store.record_events(batch).await.unwrap();
    let file = store.offer_media(clip(&owner, &edge, "c1", 10, NO_QUOTA), at(4)).await.unwrap();

    let list = async |kind, filter| {
        let page = PageRequest { before: None, limit: 10 };
        let found = store.list_media_events(owner.tenant, kind, filter, page).await.unwrap().items;
        found.into_iter().map(|(event, media)| (id(&event), media.map(|media| media.key))).collect::<Vec<_>>()
    };
    let all = EventFilter::default;
    let (c1, c2) = (("c1".to_owned(), Some(file.key)), ("c2".to_owned(), None));
    let s1 = ("s1".to_owned(), None);
    assert_eq!(list(MediaKind::Clip, all()).await, [c2.clone(), c1.clone()]);
    assert_eq!(list(MediaKind::Snapshot, all()).await, std::slice::from_ref(&s1));
    let of_event = EventFilter { made_for: Some(event), ..all() };
    assert_eq!(list(MediaKind::Clip, of_event.clone()).await, [c1]);
    assert_eq!(list(MediaKind::Snapshot, of_event.clone()).await, [s1]);
    let on_camera = EventFilter { camera_id: "yard".parse().ok(), ..all() };
    assert_eq!(list(MediaKind::Clip, on_camera.clone()).await, [c2]);
    assert_eq!(list(MediaKind::Clip, EventFilter { made_for: Some(event), ..on_camera }).await, []);
    assert_eq!(list(MediaKind::Clip, EventFilter { start: Some(at(2)), ..of_event }).await, []);

    let find = async |kind, id: &str| store.media_event(owner.tenant, kind, &id.parse().unwrap()).await.unwrap();
    let (found, media) = find(MediaKind::Clip, "c1").await.unwrap();
    assert_eq!((id(&found), media), ("c1".to_owned(), Some(file)));
    assert!(find(MediaKind::Snapshot, "s1").await.is_some());
    assert!(find(MediaKind::Clip, "s1").await.is_none() && find(MediaKind::Clip, "c3").await.is_none());
}

pub(crate) async fn nothing_of_one_tenants_files_is_shown_to_another(open: Open<'_>) {
    let store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    let edge = edge(&store, &owner, "edge_a").await;
    store
        .record_events(vec![incoming(&owner, &edge, 1, Body::Clips(clip_event("c1", "door", 1, None)))])
        .await
        .unwrap();
    let file = store.offer_media(clip(&owner, &edge, "c1", 10, NO_QUOTA), at(2)).await.unwrap();
    assert_eq!(store.media(rival.tenant, file.key).await.unwrap(), None);
    assert!(store.media_event(rival.tenant, MediaKind::Clip, &"c1".parse().unwrap()).await.unwrap().is_none());
    let page = PageRequest { before: None, limit: 10 };
    let listed = store.list_media_events(rival.tenant, MediaKind::Clip, EventFilter::default(), page).await.unwrap();
    assert!(listed.items.is_empty());
    assert!(store.media(owner.tenant, file.key).await.unwrap().is_some());
}

pub(super) fn clip(owner: &User, edge: &Edge, media_id: &str, size_bytes: u64, quota_bytes: u64) -> OfferedMedia {
    let offer = MediaOffer {
        kind: MediaKind::Clip,
        media_id: media_id.parse().unwrap(),
        camera_id: "door".parse().unwrap(),
        size_bytes,
        sha256: Sha256Hex::from_bytes([7; 32]),
        content_type: MediaType::Mp4,
        captured_at: at(1),
        event_id: Some(EventId::from_parts(at(1), 7)),
    };
    OfferedMedia { tenant: owner.tenant, edge: edge.key, offer, object: format!("acme/{media_id}.mp4"), quota_bytes }
}

pub(super) fn clip_event(clip_id: &str, camera: &str, millis: i64, event_id: Option<EventId>) -> Clip {
    Clip {
        clip_id: clip_id.parse().unwrap(),
        camera_id: camera.parse().unwrap(),
        start: at(millis),
        duration_ms: 20_000,
        size_bytes: 10,
        event_id,
        command_id: None,
        missing_ms: 0,
        missing: Vec::new(),
        event_offset_ms: None,
        codecs: None,
        sha256: None,
        masked: false,
    }
}

fn snapshot_event(snapshot_id: &str, millis: i64, event_id: Option<EventId>) -> Snapshot {
    Snapshot {
        snapshot_id: snapshot_id.parse().unwrap(),
        camera_id: "door".parse().unwrap(),
        timestamp: at(millis),
        frame: FrameSize { width: 640, height: 480 },
        size_bytes: 10,
        sha256: String::new(),
        object: None,
        event_id,
        command_id: None,
        boxes: false,
        masked: false,
    }
}

fn id(event: &StoredEvent) -> String {
    match &event.envelope.body {
        Body::Clips(clip) => clip.clip_id.to_string(),
        Body::Snapshots(snapshot) => snapshot.snapshot_id.to_string(),
        other => panic!("{other:?}"),
    }
}
