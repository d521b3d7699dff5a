//! Desired documents and what edges say of them.

use aivms_contract::desired::{Cameras, Reported, ReportedState, Settings};
use serde_json::json;

use super::super::{DesiredChange, Edge, KEPT_VERSIONS, SharedStore, StoreError, User};
use super::{Open, at, edge, tenant};

fn content(address: u64) -> (Cameras, Settings) {
    let camera = json!([{"id": "gate", "url": format!("rtsp://h/{address}"), "password": "p"}]);
    (serde_json::from_value(camera).unwrap(), Settings::default())
}

async fn change(store: &SharedStore, owner: &User, edge: &Edge, based_on: u64) -> DesiredChange {
    let made = store.change_desired(owner.tenant, &edge.edge_id, based_on, content(based_on), owner.key, at(5));
    made.await.unwrap()
}

pub(crate) async fn a_change_based_on_an_older_version_changes_nothing(open: Open<'_>) {
    let store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    let edge = edge(&store, &owner, "edge_a").await;
    assert_eq!(store.desired(owner.tenant, &edge.edge_id, None).await.unwrap(), None);
    assert_eq!(change(&store, &owner, &edge, 1).await, DesiredChange::Stale(0));
    let DesiredChange::Done(first) = change(&store, &owner, &edge, 0).await else { panic!("nobody was faster") };
    assert_eq!((first.document.version, first.made_by.as_deref(), first.made_at), (1, Some("Owner"), at(5)));
    assert_eq!(change(&store, &owner, &edge, 0).await, DesiredChange::Stale(1));
    let DesiredChange::Done(second) = change(&store, &owner, &edge, 1).await else { panic!("nobody was faster") };
    assert_eq!(store.desired(owner.tenant, &edge.edge_id, None).await.unwrap(), Some(*second.clone()));
    assert_eq!(store.desired(owner.tenant, &edge.edge_id, Some(1)).await.unwrap(), Some(*first));
    assert_eq!(store.desired_for_edge(edge.key).await.unwrap(), Some(second.document));
    let foreign = store.desired(rival.tenant, &edge.edge_id, None).await.unwrap_err();
    assert!(matches!(foreign, StoreError::NotFound));
    let foreign = store.change_desired(rival.tenant, &edge.edge_id, 2, content(9), rival.key, at(6)).await;
    assert!(matches!(foreign, Err(StoreError::NotFound)));
}

pub(crate) async fn only_the_latest_versions_are_kept_and_each_is_shown_beside_the_one_before(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    for version in 0..KEPT_VERSIONS + 2 {
        assert!(matches!(change(&store, &owner, &edge, version).await, DesiredChange::Done(_)));
    }
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = store.desired_history(owner.tenant, &edge.edge_id, before, 30).await.unwrap();
        seen.extend(page.items.iter().map(|(v, b)| (v.document.version, b.as_ref().map(|b| b.document.version))));
        before = seen.last().map(|(version, _)| *version);
        if !page.more {
            break;
        }
    }
    let newest = KEPT_VERSIONS + 2;
    let expected: Vec<_> = (3..=newest).rev().map(|v| (v, (v > 3).then(|| v - 1))).collect();
    assert_eq!(seen, expected);
}

pub(crate) async fn an_edge_that_refuses_a_version_goes_on_with_the_one_it_ran(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    assert_eq!(store.reported(owner.tenant, &edge.edge_id).await.unwrap(), None);
    change(&store, &owner, &edge, 0).await;
    assert_eq!(store.edges_with_orders().await.unwrap(), [edge.key]);
    let say = async |version, state| {
        let reported = Reported { version, at: at(7), state };
        store.record_reported(edge.key, reported.clone(), at(8)).await.unwrap();
        let now = store.reported(owner.tenant, &edge.edge_id).await.unwrap().unwrap();
        assert_eq!((now.reported, now.received_at), (reported, at(8)));
        now.runs
    };
    assert_eq!(say(1, ReportedState::Applied).await, 1);
    assert!(store.edges_with_orders().await.unwrap().is_empty());
    change(&store, &owner, &edge, 1).await;
    let refused = ReportedState::Refused { field: "cameras[0].url".into(), reason: "is wrong".into() };
    assert_eq!(say(2, refused).await, 1);
    assert!(store.edges_with_orders().await.unwrap().is_empty(), "it has answered");
    assert_eq!(say(2, ReportedState::Applied).await, 2);
}
