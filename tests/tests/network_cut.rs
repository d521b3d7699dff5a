//! Promise 1 when the network dies: a minute without a single byte loses nothing.

use std::time::Duration;

use aivms_tests::api::Api;
use aivms_tests::ledger;
use aivms_tests::proxy::Proxy;
use aivms_tests::site::{Appliance, Cloud, Watch, free_port};
use anyhow::{Result, ensure};
use tokio::time::sleep;

/// How long nothing passes.
const CUT: Duration = Duration::from_secs(60);
/// Longest time in which everything must have arrived after the cut: a full back-off and the backlog.
const DRAIN_DEADLINE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_without_network_loses_nothing_and_doubles_nothing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let public_port = free_port()?;
    let cloud = Cloud::start(&directory.path().join("cloud"), Some(public_port)).await?;
    let mqtt = Proxy::start(([127, 0, 0, 1], public_port).into(), cloud.mqtt).await?;
    let http = Proxy::start(([127, 0, 0, 1], 0).into(), cloud.base.trim_start_matches("http://").parse()?).await?;
    let api = Api::register(&cloud.base, "cut-test").await?;
    let through_proxy = format!("http://{}", http.address());
    let mut appliance = Appliance::register(&directory.path().join("edge"), &api, &through_proxy).await?;
    appliance.up(&Watch::people_walking()?)?;
    ledger::wait_for_stored(&cloud, 3).await?;

    mqtt.set_cut(true);
    http.set_cut(true);
    sleep(Duration::from_secs(2)).await;
    let stored_before = ledger::stored(&cloud.database())?.len();
    let kept_before = ledger::kept(&appliance.log())?.len();
    sleep(CUT).await;
    let stored_after = ledger::stored(&cloud.database())?.len();
    let kept_after = ledger::kept(&appliance.log())?.len();
    ensure!(stored_after == stored_before, "events passed a cut network");
    ensure!(kept_after > kept_before + 5, "the edge stopped seeing: {kept_before} then {kept_after} events kept");
    mqtt.set_cut(false);
    http.set_cut(false);

    sleep(Duration::from_secs(3)).await;
    appliance.kill()?;
    appliance.up(&Watch::nothing())?;
    ledger::check_stored_once(&mut appliance, &cloud, DRAIN_DEADLINE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_by_https_while_mqtt_alone_is_dead() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let public_port = free_port()?;
    let cloud = Cloud::start(&directory.path().join("cloud"), Some(public_port)).await?;
    let mqtt = Proxy::start(([127, 0, 0, 1], public_port).into(), cloud.mqtt).await?;
    mqtt.set_cut(true);
    let api = Api::register(&cloud.base, "backup-test").await?;
    let mut appliance = Appliance::register(&directory.path().join("edge"), &api, &cloud.base).await?;
    appliance.up(&Watch::people_walking()?)?;
    ledger::wait_for_stored(&cloud, 5).await
}
