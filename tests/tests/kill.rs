//! Promise 1: nothing that was seen is lost, and nothing is stored twice, whoever is killed and when.

use std::time::Duration;

use aivms_tests::api::Api;
use aivms_tests::ledger;
use aivms_tests::site::{Appliance, Cloud, Watch};
use anyhow::Result;
use tokio::time::sleep;

/// Kills of a run, cloud and appliance in random turn.
const KILLS: usize = 20;
/// Longest time in which everything must have arrived once both sides stay up.
const DRAIN_DEADLINE: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn every_kept_event_is_stored_exactly_once_over_20_kills_of_either_side() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut cloud = Cloud::start(&directory.path().join("cloud"), None).await?;
    let api = Api::register(&cloud.base, "kill-test").await?;
    let mut appliance = Appliance::register(&directory.path().join("edge"), &api, &cloud.base).await?;
    let watch = Watch::people_walking()?;
    appliance.up(&watch)?;
    ledger::wait_for_stored(&cloud, 1).await?;

    for _ in 0..KILLS {
        sleep(Duration::from_millis(fastrand::u64(50..3_000))).await;
        if fastrand::bool() {
            cloud.kill()?;
            sleep(Duration::from_millis(fastrand::u64(0..1_500))).await;
            cloud.up().await?;
        } else {
            appliance.kill()?;
            appliance.up(&watch)?;
        }
    }
    sleep(Duration::from_secs(5)).await;
    appliance.kill()?;
    appliance.up(&Watch::nothing())?;
    ledger::check_stored_once(&mut appliance, &cloud, DRAIN_DEADLINE).await
}
