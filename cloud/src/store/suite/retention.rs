//! Retention: what is over goes, in small steps, and nothing else does.

use std::time::Duration;

use aivms_cloud_core::retention::{Kept, Policy};
use aivms_contract::detection::Detection;
use aivms_contract::envelope::Body;
use aivms_contract::media::MediaKind;

use super::super::retention::DELETED_AT_ONCE;
use super::super::{Amount, AuditFilter, CountQuery, EventFilter, PageRequest, SharedStore, StoreError, User};
use super::media;
use super::{Open, at, detection, edge, incoming, tenant, zone_event};
use aivms_cloud_core::analytics::Bucket;

const DAY: i64 = 24 * 3_600 * 1_000;

async fn listed(store: &SharedStore, owner: &User) -> usize {
    let page = PageRequest { before: None, limit: 1_000 };
    store.list_detections(owner.tenant, EventFilter::default(), page).await.unwrap().items.len()
}

async fn delete_all(store: &SharedStore, owner: &User, kept: Kept, days: i64) -> Vec<u64> {
    let mut steps = Vec::new();
    loop {
        steps.push(store.delete_expired_events(owner.tenant, kept, at(days * DAY)).await.unwrap());
        if steps.last() == Some(&0) {
            return steps;
        }
    }
}

pub(crate) async fn events_go_when_they_are_older_than_the_policy_says_and_no_others(open: Open<'_>) {
    let store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    let (ours, theirs) = (edge(&store, &owner, "edge_a").await, edge(&store, &rival, "edge_b").await);
    let count = u64::from(DELETED_AT_ONCE) + 20;
    let old = |seq: u64| Body::Detections(detection(i64::try_from(seq).unwrap()));
    let mut batch: Vec<_> = (1..=count).map(|seq| incoming(&owner, &ours, seq, old(seq))).collect();
    batch.push(incoming(&owner, &ours, count + 1, Body::Detections(Detection { ..detection(5 * DAY) })));
    batch.push(incoming(&owner, &ours, count + 2, Body::ZoneEvents(zone_event(1))));
    batch.push(incoming(&rival, &theirs, 1, Body::Detections(detection(1))));
    store.record_events(batch).await.unwrap();
    // Without a policy nothing goes.
    assert_eq!(delete_all(&store, &owner, Kept::Detections, 100).await, [0]);
    let policy = Policy { detections: Some(3), ..Policy::default() };
    store.set_retention_policy(owner.tenant, policy.clone(), at(0)).await.unwrap();
    assert_eq!(store.retention_policy(owner.tenant).await.unwrap(), policy);
    let would = store.would_delete(owner.tenant, policy.clone(), at(6 * DAY)).await.unwrap();
    assert_eq!(would.keys().copied().collect::<Vec<_>>(), [Kept::Detections]);
    assert_eq!(would[&Kept::Detections].count, count);
    assert_eq!(delete_all(&store, &owner, Kept::Detections, 6).await, [u64::from(DELETED_AT_ONCE), 20, 0]);
    assert_eq!((listed(&store, &owner).await, listed(&store, &rival).await), (1, 1));
    assert_eq!(delete_all(&store, &owner, Kept::ZoneEvents, 6).await, [0]);
    assert!(store.would_delete(owner.tenant, policy, at(6 * DAY)).await.unwrap().is_empty());
}

pub(crate) async fn nothing_goes_under_a_legal_hold(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let ours = edge(&store, &owner, "edge_a").await;
    store.record_events(vec![incoming(&owner, &ours, 1, Body::Detections(detection(0)))]).await.unwrap();
    let held = Policy { maximum: Some(1), legal_hold: true, ..Policy::default() };
    store.set_retention_policy(owner.tenant, held.clone(), at(0)).await.unwrap();
    assert_eq!(delete_all(&store, &owner, Kept::Detections, 100).await, [0]);
    let policy = Policy { legal_hold: false, ..held };
    store.set_retention_policy(owner.tenant, policy, at(0)).await.unwrap();
    assert_eq!(delete_all(&store, &owner, Kept::Detections, 100).await, [1, 0]);
}

pub(crate) async fn usage_and_charts_say_what_is_there_after_events_went(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let ours = edge(&store, &owner, "edge_a").await;
    let body = |seq: u64| Body::Detections(detection(i64::try_from(seq).unwrap() * DAY / 4));
    let batch = (1..=20).map(|seq| incoming(&owner, &ours, seq, body(seq))).collect();
    store.record_events(batch).await.unwrap();
    let later = at(30 * DAY);
    let count_ahead = async || {
        store.begin_counts(later).await.unwrap();
        for count in store.counts_to_end(later + Duration::from_secs(300)).await.unwrap() {
            assert!(store.end_count(count).await.unwrap());
        }
    };
    let seen = async || -> (Amount, u64) {
        let usage = store.usage(owner.tenant).await.unwrap();
        let buckets = vec![Bucket { start: at(0), end: later }];
        let query = CountQuery { buckets, ..CountQuery::default() };
        let counts = store.count_detections(owner.tenant, query).await.unwrap();
        (usage.kinds[&Kept::Detections], counts.iter().map(|count| count.count).sum())
    };
    let before = seen().await;
    assert_eq!((before.0.count, before.1), (20, 20));
    assert!(before.0.bytes > 20 * 100);
    count_ahead().await;
    assert_eq!(seen().await, before);
    let policy = Policy { detections: Some(1), ..Policy::default() };
    store.set_retention_policy(owner.tenant, policy, at(0)).await.unwrap();
    delete_all(&store, &owner, Kept::Detections, 4).await;
    let after = seen().await;
    let left = listed(&store, &owner).await as u64;
    assert_eq!((after.0.count, after.1), (left, left));
    assert!(left > 0 && left < 20);
    count_ahead().await;
    assert_eq!(seen().await, after);
}

pub(crate) async fn a_locked_clip_stays_with_what_tells_of_it_until_its_lock_is_taken_away(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let ours = edge(&store, &owner, "edge_a").await;
    let ids = ["kept", "gone"];
    for (seq, id) in (1..).zip(ids) {
        let event = Body::Clips(media::clip_event(id, "door", 1, None));
        store.record_events(vec![incoming(&owner, &ours, seq, event)]).await.unwrap();
        let offered = store.offer_media(media::clip(&owner, &ours, id, 10, media::NO_QUOTA), at(1)).await.unwrap();
        let early = store.lock_media(&offered, "too early".into(), at(2)).await;
        assert!(matches!(early, Err(StoreError::NotFound)), "{early:?}");
        store.media_stored(offered.key, at(3)).await.unwrap();
    }
    let clips = async || {
        let page = PageRequest { before: None, limit: 10 };
        let listed =
            store.list_media_events(owner.tenant, MediaKind::Clip, EventFilter::default(), page).await.unwrap();
        listed.items.into_iter().map(|(_, media)| media.unwrap()).collect::<Vec<_>>()
    };
    let kept = clips().await.into_iter().find(|media| media.media_id.as_str() == "kept").unwrap();
    store.lock_media(&kept, "Case 4711".into(), at(4)).await.unwrap();
    store.lock_media(&kept, "Case 4712".into(), at(5)).await.unwrap();
    let policy = Policy { clips: Some(1), ..Policy::default() };
    store.set_retention_policy(owner.tenant, policy.clone(), at(0)).await.unwrap();
    let would = store.would_delete(owner.tenant, policy, at(9 * DAY)).await.unwrap();
    assert_eq!(would[&Kept::Clips], Amount { count: 1, bytes: 10 });
    let expired = store.expired_media(owner.tenant, MediaKind::Clip, at(8 * DAY), 10).await.unwrap();
    assert_eq!(expired.iter().map(|media| media.media_id.as_str()).collect::<Vec<_>>(), ["gone"]);
    assert!(!store.begin_media_deletion(kept.tenant, kept.key).await.unwrap(), "it was locked meanwhile");
    assert!(store.begin_media_deletion(expired[0].tenant, expired[0].key).await.unwrap());
    let late = store.lock_media(&expired[0], "too late".into(), at(6)).await;
    assert!(matches!(late, Err(StoreError::NotFound)), "{late:?}");
    store.forget_stored_media(expired[0].key).await.unwrap();
    assert_eq!(delete_all(&store, &owner, Kept::Clips, 9).await, [1, 0]);
    let left = clips().await;
    let lock = left[0].lock.clone().unwrap();
    assert_eq!((left.len(), lock.reason.as_str(), lock.at), (1, "Case 4712", at(4)));
    store.unlock_media(&left[0], at(7)).await.unwrap();
    store.unlock_media(&left[0], at(8)).await.unwrap();
    assert_eq!(store.expired_media(owner.tenant, MediaKind::Clip, at(8 * DAY), 10).await.unwrap().len(), 1);
    assert_eq!(delete_all(&store, &owner, Kept::Clips, 9).await, [1, 0]);
    let filter = AuditFilter::default();
    let told = store.audit_entries(owner.tenant, filter, None, 10).await.unwrap().items;
    let told: Vec<_> = told.iter().filter(|entry| entry.action.starts_with("clip.")).collect();
    let told: Vec<_> = told.iter().map(|entry| (entry.action.as_str(), entry.subject.as_deref())).collect();
    assert_eq!(told, [("clip.unlocked", Some("kept")), ("clip.locked", Some("kept")), ("clip.locked", Some("kept"))]);
}
