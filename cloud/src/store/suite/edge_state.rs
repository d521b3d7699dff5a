//! Presence with hold-off, take-overs, labels and health.

use std::time::Duration;

use aivms_cloud_core::label::Label;
use aivms_cloud_core::presence::HoldOff;
use aivms_contract::envelope::Body;
use aivms_contract::id::EventId;
use serde_json::json;

use super::super::{Edge, EdgeFilter, PageRequest, PresenceKind, SharedStore, StoreError, User};
use super::{Open, at, edge, incoming, tenant};

const HOLD_OFF: HoldOff =
    HoldOff { timeout: Duration::from_secs(120), offline: Duration::from_secs(60), stable: Duration::from_secs(60) };
const SECOND: i64 = 1_000;

async fn told(store: &SharedStore, owner: &User, edge: &Edge) -> Vec<(PresenceKind, i64, i64)> {
    let (mut told, mut before) = (Vec::new(), None);
    loop {
        let page = PageRequest { before, limit: 2 };
        let page = store.presence_events(owner.tenant, &edge.edge_id, page).await.unwrap();
        let seconds = |time: aivms_contract::time::UtcMillis| (time.as_millis() - at(0).as_millis()) / SECOND;
        told.extend(page.items.iter().map(|event| (event.kind, seconds(event.at), seconds(event.noted_at))));
        before = page.items.last().map(|event| event.id);
        if !page.more {
            told.reverse();
            return told;
        }
    }
}

pub(crate) async fn an_edge_is_told_offline_and_online_once_each_with_hold_off(open: Open<'_>) {
    let store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    let (edge, silent) = (edge(&store, &owner, "edge_a").await, edge(&store, &owner, "edge_never").await);
    for second in (0..600).step_by(10) {
        if !(100..400).contains(&second) {
            store.record_heartbeat(edge.key, at(second * SECOND), None).await.unwrap();
        }
        // Two processes look.
        for _ in 0..2 {
            store.judge_presence(HOLD_OFF, at(0), at(second * SECOND)).await.unwrap();
        }
    }
    let expected = [(PresenceKind::Online, 0, 0), (PresenceKind::Offline, 90, 270), (PresenceKind::Online, 400, 460)];
    assert_eq!(told(&store, &owner, &edge).await, expected);
    assert!(told(&store, &owner, &silent).await.is_empty());
    let foreign = store.presence_events(rival.tenant, &edge.edge_id, PageRequest { before: None, limit: 1 }).await;
    assert!(matches!(foreign, Err(StoreError::NotFound)));
}

pub(crate) async fn connections_that_replace_each_other_are_told_once_in_ten_minutes(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    let mut alarms = Vec::new();
    for second in [0, 10, 20, 30, 40, 2_000, 2_700, 3_400, 3_410, 3_420] {
        if store.count_take_over(edge.key, at(second * SECOND)).await.unwrap() {
            alarms.push(second);
        }
    }
    assert_eq!(alarms, [20, 3_420], "and single ones in a long time are no alarm");
    let expected = [(PresenceKind::TakeOver, 20, 20), (PresenceKind::TakeOver, 3_420, 3_420)];
    assert_eq!(told(&store, &owner, &edge).await, expected);
}

pub(crate) async fn edges_are_found_by_all_their_labels_page_by_page(open: Open<'_>) {
    let store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    let label = |text: &str| text.parse::<Label>().unwrap();
    for n in 0..5 {
        let edge = edge(&store, &owner, &format!("edge_{n}")).await;
        let labels = vec![label(&format!("floor:{}", n % 2)), label("site:Kai 3")];
        let changed = store.change_edge(owner.tenant, &edge.edge_id, None, Some(labels.clone()), at(0)).await.unwrap();
        assert_eq!((changed.labels, changed.edge.name), (labels.clone(), format!("edge_{n}")));
        let stranger = store.change_edge(rival.tenant, &edge.edge_id, Some("mine".into()), None, at(0)).await;
        assert!(matches!(stranger, Err(StoreError::NotFound)));
    }
    let renamed =
        store.change_edge(owner.tenant, &"edge_4".parse().unwrap(), Some("Yard".into()), None, at(0)).await.unwrap();
    assert_eq!((renamed.edge.name.as_str(), renamed.labels.len()), ("Yard", 2));
    store.revoke_edge(owner.tenant, &"edge_2".parse().unwrap(), at(1)).await.unwrap();
    let find = async |labels: &[&str], only_active| {
        let labels = labels.iter().map(|text| label(text)).collect();
        let filter = EdgeFilter { labels, only_active };
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = store.page_of_edges(owner.tenant, filter.clone(), after, 2).await.unwrap();
            found.extend(page.items.iter().map(|edge| edge.edge.edge_id.to_string()));
            after = page.items.last().map(|edge| edge.edge.edge_id.clone());
            if !page.more {
                return found;
            }
        }
    };
    assert_eq!(find(&[], false).await, ["edge_0", "edge_1", "edge_2", "edge_3", "edge_4"]);
    assert_eq!(find(&["floor:0"], false).await, ["edge_0", "edge_2", "edge_4"]);
    assert_eq!(find(&["floor:0", "site:Kai 3"], true).await, ["edge_0", "edge_4"]);
    assert!(find(&["floor:0", "site:Kai 4"], false).await.is_empty());
    let foreign = store.page_of_edges(rival.tenant, EdgeFilter::default(), Some("edge_0".parse().unwrap()), 9);
    assert!(foreign.await.unwrap().items.is_empty());
}

pub(crate) async fn the_newest_health_report_is_the_one_measured_last(open: Open<'_>) {
    let store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    let (edge, other) = (edge(&store, &owner, "edge_a").await, edge(&store, &owner, "edge_b").await);
    let report = |seq: i64, millis: i64| {
        let report = json!({"timestamp": at(millis), "version": format!("{seq}"), "uptime_s": 1, "disk_total_bytes": 2,
            "disk_free_bytes": 1, "cameras": [], "outbox": {"entries": 0, "bytes": 0, "shed": 0}});
        Body::Health(serde_json::from_value(report).unwrap())
    };
    assert_eq!(store.newest_health(owner.tenant, &edge.edge_id).await.unwrap(), None);
    for (seq, millis) in [(1, 100), (2, 300), (3, 200)] {
        let message = incoming(&owner, &edge, u64::try_from(seq).unwrap(), report(seq, millis));
        store.record_events(vec![message]).await.unwrap();
    }
    store.record_events(vec![incoming(&owner, &other, 9, report(9, 900))]).await.unwrap();
    let newest = store.newest_health(owner.tenant, &edge.edge_id).await.unwrap().unwrap();
    assert_eq!((newest.report.version.as_str(), newest.received_at), ("2", at(5_000)));
    let filter = super::super::EventFilter { start: Some(at(150)), ..Default::default() };
    let page = PageRequest { before: None, limit: 9 };
    let listed = store.list_health(owner.tenant, &edge.edge_id, filter, page).await.unwrap();
    let times: Vec<_> = listed.items.iter().map(|event| event.envelope.id).map(EventId::at).collect();
    assert_eq!(times, [at(300), at(200)]);
    let foreign = store.newest_health(rival.tenant, &edge.edge_id).await;
    assert!(matches!(foreign, Err(StoreError::NotFound)));
}
