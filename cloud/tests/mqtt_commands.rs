//! Commands and desired documents between the store and edges, on the front itself.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod front;

use std::time::Duration;

use aivms_cloud::store::{NewCommand, NewTenant, StoredCommand, UserKey};
use aivms_cloud_core::command::{CommandState, Deadlines};
use aivms_contract::command::{Command, CommandResult, Outcome};
use aivms_contract::desired::{Desired, Settings};
use aivms_contract::id::CommandId;
use rumqttc::QoS;
use serde_json::{Map, json};

use front::clients::{EdgeClient, Heard, Subscriber};
use front::{Cloud, Credentials, Tenant, eventually, now};

/// A tenant and the user who gives commands.
async fn commander(cloud: &Cloud) -> (Tenant, UserKey) {
    let tenant = NewTenant {
        tenant_id: "acme".parse().unwrap(),
        tenant_name: "acme".into(),
        email: "owner@acme.example".into(),
        name: "Owner".into(),
        password_hash: "none".into(),
    };
    let user = cloud.store.register_tenant(tenant, now()).await.unwrap();
    (Tenant { id: user.tenant_id, key: user.tenant }, user.key)
}

async fn ask(cloud: &Cloud, tenant: &Tenant, by: UserKey, edge: &Credentials) -> StoredCommand {
    let now = now();
    let id = CommandId::from_parts(now, fastrand::u128(..));
    let (name, payload) = ("get_status".to_owned(), Map::new());
    let mut command = Command { id, issued_at: now, expires_at: now, command: name, payload };
    let deadlines = Deadlines::of(&command.action().unwrap(), now, None);
    command.expires_at = deadlines.expires_at;
    let new = NewCommand { command, camera: None, deadlines, by };
    cloud.store.create_command(tenant.key, edge.edge_id(), new).await.unwrap()
}

async fn told(client: &mut EdgeClient, kind: &str) -> Vec<u8> {
    let fits = |heard: &Heard| matches!(heard, Heard::Down(topic, _) if topic.ends_with(kind));
    match client.expect(kind, fits).await {
        Heard::Down(_, payload) => payload,
        other => panic!("{other:?}"),
    }
}

async fn told_command(client: &mut EdgeClient) -> Command {
    serde_json::from_slice(&told(client, "down/commands").await).unwrap()
}

async fn answer(client: &mut EdgeClient, edge: &Credentials, id: &CommandId, outcome: Outcome) {
    let answer = CommandResult { id: id.clone(), at: now(), outcome, reason: None, data: Map::new() };
    let json = serde_json::to_vec(&answer).unwrap();
    client.client.publish(edge.topic("up/results"), QoS::AtLeastOnce, false, json).await.unwrap();
    client.expect("a PUBACK", |heard| matches!(heard, Heard::PubAck)).await;
}

async fn state(cloud: &Cloud, tenant: &Tenant, edge: &Credentials, command: &StoredCommand) -> CommandState {
    let found = cloud.store.command(tenant.key, edge.edge_id(), &command.command.id).await.unwrap();
    found.unwrap().state
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_wait_for_their_edge_come_in_order_and_are_told_again_on_each_connection_until_answered() {
    let cloud = Cloud::start().await;
    let (tenant, by) = commander(&cloud).await;
    let edge = cloud.edge(&tenant).await;
    let mut asked = Vec::new();
    for _ in 0..20 {
        asked.push(ask(&cloud, &tenant, by, &edge).await);
    }
    let mut client = EdgeClient::start(cloud.addr, &edge).await;
    for command in &asked {
        assert_eq!(told_command(&mut client).await, command.command);
    }
    let (first, second) = (&asked[0], &asked[1]);
    answer(&mut client, &edge, &first.command.id, Outcome::Succeeded).await;
    assert_eq!(state(&cloud, &tenant, &edge, first).await, CommandState::Succeeded, "its PUBACK follows the commit");
    assert_eq!(state(&cloud, &tenant, &edge, second).await, CommandState::Sent);
    drop(client);
    let mut client = EdgeClient::start(cloud.addr, &edge).await;
    for command in &asked[1..] {
        assert_eq!(told_command(&mut client).await, command.command, "and the answered one is not among them");
    }
    let live = ask(&cloud, &tenant, by, &edge).await;
    assert_eq!(told_command(&mut client).await, live.command, "while it is connected, at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_another_edge_or_a_second_one_changes_nothing_and_is_counted() {
    let cloud = Cloud::start().await;
    let (tenant, by) = commander(&cloud).await;
    let (edge, other) = (cloud.edge(&tenant).await, cloud.edge(&tenant).await);
    let command = ask(&cloud, &tenant, by, &edge).await;
    let mut liar = EdgeClient::start(cloud.addr, &other).await;
    answer(&mut liar, &other, &command.command.id, Outcome::Succeeded).await;
    assert_eq!(state(&cloud, &tenant, &edge, &command).await, CommandState::Queued);
    let mut client = EdgeClient::start(cloud.addr, &edge).await;
    for outcome in [Outcome::Failed, Outcome::Succeeded, Outcome::TimedOut] {
        answer(&mut client, &edge, &command.command.id, outcome).await;
    }
    assert_eq!(state(&cloud, &tenant, &edge, &command).await, CommandState::Failed);
    client.client.publish(edge.topic("up/results"), QoS::AtLeastOnce, false, "no answer at all").await.unwrap();
    client.expect("a PUBACK", |heard| matches!(heard, Heard::PubAck)).await;
    let answers = cloud.down_link.answers();
    assert_eq!((answers.unknown.get(), answers.late.get(), answers.unreadable.get()), (1, 2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_edge_gets_passwords_of_its_cameras_and_whoever_watches_does_not() {
    let cloud = Cloud::start().await;
    let (tenant, by) = commander(&cloud).await;
    let (edge, operator) = (cloud.edge(&tenant).await, cloud.operator(&tenant).await);
    let watcher = Subscriber::start(cloud.addr, &operator, &["-t", "aivms/v1/acme/#"]);
    let mut client = EdgeClient::start(cloud.addr, &edge).await;
    let change = async |version: u64| {
        let camera = json!([{"id": "gate", "url": format!("rtsp://u:s3cr3t@h/{version}"), "password": "hunter2"}]);
        let content = (serde_json::from_value(camera).unwrap(), Settings::default());
        cloud.store.change_desired(tenant.key, edge.edge_id(), version, content, by, now()).await.unwrap();
    };
    for version in 0..2 {
        change(version).await;
        let document: Desired = serde_json::from_slice(&told(&mut client, "down/desired").await).unwrap();
        assert_eq!(
            (document.version, document.cameras.as_slice()[0].password.as_deref()),
            (version + 1, Some("hunter2"))
        );
        assert_eq!(document.cameras.as_slice()[0].url, format!("rtsp://u:s3cr3t@h/{version}"));
        let (topic, shown) = watcher.message();
        assert_eq!(topic, edge.topic("down/desired"));
        assert!(shown.contains("rtsp://***@h/") && !shown.contains("s3cr3t") && !shown.contains("hunter2"), "{shown}");
    }
    drop(client);
    let mut client = EdgeClient::start(cloud.addr, &edge).await;
    let again: Desired = serde_json::from_slice(&told(&mut client, "down/desired").await).unwrap();
    assert_eq!(again.version, 2, "told on each connection");
    let reported = json!({"version": 2, "at": now(), "state": "applied"}).to_string();
    client.client.publish(edge.topic("up/reported"), QoS::AtLeastOnce, false, reported).await.unwrap();
    client.expect("a PUBACK", |heard| matches!(heard, Heard::PubAck)).await;
    assert_eq!(cloud.store.reported(tenant.key, edge.edge_id()).await.unwrap().unwrap().runs, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_boxes_with_one_identity_are_told_of() {
    let cloud = Cloud::start().await;
    let (tenant, _) = commander(&cloud).await;
    let edge = cloud.edge(&tenant).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(EdgeClient::start(cloud.addr, &edge).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let page = aivms_cloud::store::PageRequest { before: None, limit: 9 };
    eventually("a take-over is told", || async {
        let told = cloud.store.presence_events(tenant.key, edge.edge_id(), page).await.unwrap();
        told.items.iter().any(|event| event.kind == aivms_cloud::store::PresenceKind::TakeOver)
    })
    .await;
}
