//! Group commit against the real database: what it does when the database refuses, and at the end of the program.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod front;

use std::sync::Arc;

use aivms_cloud::ingest::{Ingest, IngestError, read_message};
use aivms_cloud::live::LiveHints;
use aivms_cloud::store::{Incoming, TenantKey};
use aivms_contract::id::OutboxId;
use aivms_contract::topic::UpKind;
use front::events::{detection, outbox};
use front::{Cloud, Credentials, SOON, Tenant, now};
use tokio_util::sync::CancellationToken;

/// A cloud with an edge, and the messages of its outbox.
struct Scene {
    cloud: Cloud,
    tenant: Tenant,
    edge: Credentials,
    key: aivms_cloud::store::EdgeKey,
    outbox: OutboxId,
}

impl Scene {
    async fn set() -> Self {
        let cloud = Cloud::start().await;
        let tenant = cloud.tenant("acme").await;
        let edge = cloud.edge(&tenant).await;
        let key = cloud.edge_row(&tenant, &edge).await.key;
        Self { cloud, tenant, edge, key, outbox: outbox() }
    }

    fn message(&self, seq: u64) -> Incoming {
        let tenant: TenantKey = self.tenant.key;
        let payload = detection(self.edge.edge_id(), &self.outbox, seq).to_json();
        let message = read_message(UpKind::Detections, &payload, self.edge.edge_id()).unwrap();
        Incoming { tenant, edge: self.key, received_at: now(), message }
    }

    async fn stored(&self) -> Vec<u64> {
        self.cloud.stored(&self.tenant, &self.edge).await
    }

    fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.cloud.dir.path().join("cloud.db")).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_message_the_database_refuses_is_set_aside_and_all_others_are_stored() {
    let scene = Scene::set().await;
    scene
        .database()
        .execute_batch(
            "create trigger refuse before insert on events when new.seq = 7 begin select raise(abort, 'no'); end",
        )
        .unwrap();
    let messages: Vec<_> = (1..=20).map(|seq| scene.message(seq)).collect();
    tokio::time::timeout(SOON, scene.cloud.ingest.record(messages)).await.unwrap().unwrap();
    assert_eq!(scene.stored().await, (1..=20).filter(|seq| *seq != 7).collect::<Vec<_>>());
    let kept: i64 = scene.database().query_row("select seq from quarantine", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_edge_said_that_went_with_its_tenant_stops_nobody() {
    let scene = Scene::set().await;
    let gone = scene.cloud.edge(&scene.tenant).await;
    let key = scene.cloud.edge_row(&scene.tenant, &gone).await.key;
    let payload = detection(gone.edge_id(), &scene.outbox, 1).to_json();
    let message = read_message(UpKind::Detections, &payload, gone.edge_id()).unwrap();
    let late = Incoming { tenant: scene.tenant.key, edge: key, received_at: now(), message };
    scene
        .database()
        .execute_batch(&format!(
            "pragma foreign_keys = on;
             delete from certificates where edge = (select id from edges where edge_id = '{0}');
             delete from edges where edge_id = '{0}'",
            gone.edge_id()
        ))
        .unwrap();
    let messages = vec![scene.message(1), late, scene.message(2)];
    tokio::time::timeout(SOON, scene.cloud.ingest.record(messages)).await.unwrap().unwrap();
    assert_eq!(scene.stored().await, [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_refuses_everything_for_a_while_loses_nothing_and_sets_nothing_aside() {
    let scene = Scene::set().await;
    scene
        .database()
        .execute_batch(
            "create trigger refuse before insert on events begin select raise(abort, 'no'); end;
             create trigger refuse_all before insert on quarantine begin select raise(abort, 'no'); end",
        )
        .unwrap();
    let messages: Vec<_> = (1..=20).map(|seq| scene.message(seq)).collect();
    let ingest = scene.cloud.ingest.clone();
    let recording = tokio::spawn(async move { ingest.record(messages).await });
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert!(!recording.is_finished(), "answered without a commit");
    scene.database().execute_batch("drop trigger refuse; drop trigger refuse_all").unwrap();
    tokio::time::timeout(SOON, recording).await.unwrap().unwrap().unwrap();
    assert_eq!(scene.stored().await, (1..=20).collect::<Vec<_>>());
    let kept: i64 = scene.database().query_row("select count(*) from quarantine", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_submitted_before_the_end_is_committed_and_nothing_is_taken_after_it() {
    let scene = Scene::set().await;
    let (ingest, batches) = Ingest::new(Arc::clone(&scene.cloud.store), LiveHints::default());
    let shutdown = CancellationToken::new();
    let submitted: Vec<_> = (1..=50)
        .map(|seq| {
            let (ingest, messages) = (ingest.clone(), vec![scene.message(seq)]);
            tokio::spawn(async move { ingest.record(messages).await })
        })
        .collect();
    while ingest.waiting() < 50 {
        tokio::task::yield_now().await;
    }
    shutdown.cancel();
    batches.run(shutdown).await;
    for answer in submitted {
        assert!(answer.await.unwrap().is_ok());
    }
    assert_eq!(scene.stored().await, (1..=50).collect::<Vec<_>>());
    assert_eq!(ingest.record(vec![scene.message(51)]).await.map(drop), Err(IngestError::Stopped));
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_hear_of_a_commit_when_it_can_be_read() {
    let scene = Scene::set().await;
    let hints = LiveHints::default();
    let mut watcher = hints.subscribe();
    let (ingest, batches) = Ingest::new(Arc::clone(&scene.cloud.store), hints);
    tokio::spawn(batches.run(CancellationToken::new()));
    ingest.record(vec![scene.message(1)]).await.unwrap();
    watcher.changed().await.unwrap();
    let events = scene.cloud.store.feed_after(scene.tenant.key, *watcher.borrow() - 1, 10).await.unwrap();
    assert_eq!(events.len(), 1);
}
