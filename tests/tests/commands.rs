//! Commands from the API to a real edge and back, over absences and kills.

use std::time::Duration;

use aivms_tests::api::Api;
use aivms_tests::live::{CAMERA, LiveSite};
use aivms_tests::site::{Appliance, Cloud, Watch};
use aivms_tests::wait;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// Longest wait for one step on a loaded machine.
const LIMIT: Duration = Duration::from_secs(120);
/// How far the end of the clip lies ahead when it is asked for.
const AHEAD: Duration = Duration::from_secs(10);

fn edge(appliance: &Appliance) -> String {
    format!("/api/tenant/edges/{}", appliance.edge_id())
}

/// The command at `place` once it is in one of `states`.
async fn in_state(api: &Api, place: &str, states: &[&str]) -> Result<Value> {
    wait::until(&format!("a command that is one of {states:?}"), LIMIT, async || {
        let command = api.get(place).await?;
        let state = command["state"].as_str().context("state")?;
        Ok(states.contains(&state).then_some(command))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_and_documents_given_while_the_edge_is_away_are_carried_out_when_it_comes() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let cloud = Cloud::start(&directory.path().join("cloud"), None).await?;
    let api = Api::register(&cloud.base, "acme").await?;
    let mut appliance = Appliance::register(&directory.path().join("edge"), &api, &cloud.base).await?;
    let edge = edge(&appliance);
    let mut places = Vec::new();
    for command in ["restart_detection", "get_status"] {
        let asked = api.post(&format!("{edge}/command"), json!({ "command": command })).await?;
        ensure!(asked["state"] == "queued", "{asked}");
        places.push(format!("{edge}/commands/{}", asked["command_id"].as_str().context("command_id")?));
    }
    appliance.up(&Watch::nothing())?;
    for place in &places {
        let ended = in_state(&api, place, &["succeeded", "failed", "rejected", "timed_out", "expired"]).await?;
        ensure!(ended["state"] == "succeeded", "{ended}");
    }
    let status = api.get(&places[1]).await?;
    ensure!(status["data"]["version"].is_string(), "a health report is the answer: {status}");
    let waited = api.post(&format!("{edge}/command"), json!({ "command": "update_zones", "wait_s": 60 })).await?;
    ensure!(waited["state"] == "succeeded", "{waited}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clip_asked_for_by_api_is_downloaded_though_the_cloud_is_killed_before_the_answer() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut site = LiveSite::start(directory.path()).await?;
    let edge = edge(&site.appliance);
    let now = jiff::Timestamp::now();
    let payload = json!({ "camera_id": CAMERA, "start": now.to_string(), "duration_ms": AHEAD.as_millis() as u64 });
    let asked =
        site.api.post(&format!("{edge}/command"), json!({ "command": "request_clip", "payload": payload })).await?;
    let place = format!("{edge}/commands/{}", asked["command_id"].as_str().context("command_id")?);
    in_state(&site.api, &place, &["sent"]).await?;
    site.cloud.kill()?;
    // The clip is cut, and answered, while nobody is there to hear it.
    tokio::time::sleep(AHEAD + Duration::from_secs(5)).await;
    site.cloud.up().await?;
    let ended = in_state(&site.api, &place, &["succeeded", "failed", "rejected", "timed_out", "expired"]).await?;
    ensure!(ended["state"] == "succeeded", "{ended}");
    let clip_id = ended["data"]["clip_id"].as_str().context("clip_id")?;
    let stored = wait::until("the clip's file", LIMIT, async || {
        let clip = site.api.get(&format!("/api/clips/{clip_id}")).await?;
        Ok((clip["state"] == "stored").then_some(clip))
    })
    .await?;
    let url = stored["url"].as_str().context("url")?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    let file = http.get(format!("{}{url}", site.cloud.base)).send().await?.error_for_status()?.bytes().await?;
    ensure!(file.get(4..8) == Some(b"ftyp".as_slice()), "no MP4 of {} bytes", file.len());
    ensure!(stored["size_bytes"].as_u64() == Some(file.len() as u64), "{stored}");
    let listed = site.api.list_all(&format!("{edge}/commands")).await?;
    ensure!(listed.len() == 1, "told again, it is still one command: {listed:?}");
    Ok(())
}
