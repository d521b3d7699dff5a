//! Who is connected.

use super::super::{Edge, Presence, SharedStore, User};
use super::{Open, at, edge, tenant};

pub(crate) async fn the_newest_connection_decides_whatever_the_order_of_news(open: Open<'_>) {
    // Each case: news as (generation, up) in the order they arrive, and whether the edge is connected after the last.
    for (case, (news, connected)) in [
        (vec![(1, true)], true),
        (vec![(1, true), (1, false)], false),
        (vec![(1, true), (2, true), (1, false)], true),
        (vec![(1, true), (2, true), (1, false), (2, false)], false),
        (vec![(2, true), (1, true), (1, false)], true),
        (vec![(1, false), (1, true)], false),
    ]
    .into_iter()
    .enumerate()
    {
        let store = open();
        let owner = tenant(&store, &format!("tenant-{case}")).await;
        let edge = edge(&store, &owner, &format!("edge_{case}")).await;
        for (place, (generation, up)) in (1..).zip(&news) {
            let presence = Presence { edge: edge.key, generation: *generation, up: *up, at: at(place) };
            store.record_presence(presence).await.unwrap();
        }
        assert_eq!(read(&store, &owner, &edge).await.connected, connected, "{news:?}");
    }
}

pub(crate) async fn a_process_that_starts_after_another_has_left_finds_nobody_connected(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    let up = |generation| Presence { edge: edge.key, generation, up: true, at: at(100) };
    for expected in 1..=7 {
        assert_eq!(store.next_connection().await.unwrap(), expected);
    }
    store.record_presence(up(7)).await.unwrap();
    store.record_heartbeat(edge.key, at(200), Some("1.2.3".into())).await.unwrap();
    store.record_heartbeat(edge.key, at(150), None).await.unwrap();
    drop(store);
    let store = open();
    store.join_processes(None).await.unwrap();
    let cleared = read(&store, &owner, &edge).await;
    assert!(!cleared.connected);
    assert_eq!((cleared.last_seen, cleared.version.as_deref()), (Some(at(200)), Some("1.2.3")));
    let next = store.next_connection().await.unwrap();
    assert!(next > 7, "the numbers go on: {next}");
    store.record_presence(up(next)).await.unwrap();
    assert!(read(&store, &owner, &edge).await.connected);
}

async fn read(store: &SharedStore, owner: &User, edge: &Edge) -> Edge {
    store.edge(owner.tenant, &edge.edge_id).await.unwrap().unwrap()
}
