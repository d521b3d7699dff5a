//! Memory of a cloud that many idle edges are connected to, over mutually authenticated MQTT.

use std::time::Duration;

use aivms_tests::fleet::Fleet;
use aivms_tests::report::Row;
use aivms_tests::site::Cloud;
use anyhow::{Context, Result};
use rumqttc::mqttbytes::v4::Packet;
use tokio::time::sleep;

const TENANTS: usize = 20;
const EDGES_PER_TENANT: usize = 100;
/// Connections being made at once.
const CONNECTING: usize = 50;
/// How long they stay before memory is looked at: several rounds of everything the cloud does by itself.
const IDLE: Duration = Duration::from_secs(25);

#[tokio::main]
async fn main() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let cloud = Cloud::start(directory.path(), None).await?;
    let empty = cloud.resident_mib()?;
    let fleet = Fleet::enroll(&cloud.base, TENANTS, EDGES_PER_TENANT).await?;
    let mut writers = Vec::new();
    for some in fleet.edges.chunks(CONNECTING) {
        let connecting = some.iter().map(|edge| async {
            let (mut reader, mut writer) = edge.connect().await?;
            writer.subscribe(&edge.down_filter(), 1)?;
            writer.flush().await?;
            while !matches!(reader.next().await?, Packet::SubAck(_)) {}
            Ok::<_, anyhow::Error>((reader, writer))
        });
        for (mut reader, writer) in futures_util::future::try_join_all(connecting).await? {
            tokio::spawn(async move { while reader.next().await.is_ok() {} });
            writers.push(writer);
        }
    }
    sleep(IDLE).await;
    let full = cloud.resident_mib()?;
    let online = online(&fleet).await?;
    anyhow::ensure!(online == writers.len(), "{online} edges are online");
    Row::new("fleet.memory", full, "MiB").print();
    Row::new("fleet.memory.without", empty, "MiB").print();
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    Row::new("fleet.memory.per-edge", (full - empty) * 1024.0 / writers.len() as f64, "KiB").print();
    Ok(())
}

/// How many edges the API shows as online.
async fn online(fleet: &Fleet) -> Result<usize> {
    let mut online = 0;
    for owner in &fleet.tenants {
        let edges = owner.list_all("/api/tenant/edges").await.context("edges")?;
        online += edges.iter().filter(|edge| edge["status"] == "online").count();
    }
    Ok(online)
}
