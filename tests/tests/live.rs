//! Live view and playback from a camera to a browser, through an edge that only connects outward.

use std::time::Duration;

use aivms_contract::relay::{EndReason, FromEdge};
use aivms_tests::live::LiveSite;
use aivms_tests::wait;
use anyhow::{Result, ensure};
use serde_json::json;
use tokio::time::sleep;

/// Longest wait for one step on a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);
/// Whether a box is drawn over the video: some pixel of the canvas above it is not clear.
const BOXES_ARE_PAINTED: &str = "(() => { const canvas = document.querySelector('#boxes'); \
    return canvas.width > 0 && canvas.height > 0 && \
    canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value > 0); })()";

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_shows_live_video_and_plays_what_was_recorded_from_the_time_sought() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let site = LiveSite::start(directory.path()).await?;
    let mut browser = site.browser().await?;
    browser.until("document.querySelector('#mode').textContent === 'LIVE'").await?;
    let size = browser.eval("[video.videoWidth, video.videoHeight]").await?;
    ensure!(size == json!([768, 576]), "pictures of {size}");
    browser.until("video.getVideoPlaybackQuality().totalVideoFrames > 20").await?;
    let first = browser.eval("Number(document.body.dataset.first)").await?;
    let lag = browser.eval("document.querySelector('#lag').textContent").await?;
    println!("first live picture after {first} ms, {lag}");
    wait::until("a quarter of a minute of footage", LIMIT, async || {
        Ok(site.recorded().await?.iter().any(|(start, end)| end - start > 15_000).then_some(()))
    })
    .await?;
    browser.until(BOXES_ARE_PAINTED).await?;
    keep_picture(&mut browser, "live").await?;

    let (start, _) = site.recorded().await?[0];
    let sought = start + 5_000;
    browser.eval(&format!("viewerPlayer.seek({sought})")).await?;
    if let Err(error) = browser.until("document.querySelector('#mode').textContent === 'RECORDED'").await {
        let said = "[document.querySelector('#notice').textContent, document.querySelector('#problem').textContent]";
        return Err(error.context(browser.eval(said).await?.to_string()));
    }
    let shown = browser.until("viewerPlayer.placed && !video.paused && viewerPlayer.wall()").await?;
    let shown = shown.as_f64().unwrap_or_default() - sought as f64;
    // The picture shown at that time began up to 100 ms before it, and the browser's clock and ours count from pictures.
    ensure!((-200.0..20_000.0).contains(&shown), "{shown} ms from the time sought");
    browser.until(&format!("viewerPlayer.wall() > {}", sought + 1_000)).await?;
    // Backwards and within the stream, as a drag on the timeline does it.
    browser.eval(&format!("viewerPlayer.seek({})", start + 9_000)).await?;
    browser.eval(&format!("viewerPlayer.seek({})", start + 7_000)).await?;
    browser.eval(&format!("viewerPlayer.seek({})", start + 2_000)).await?;
    let settled = format!(
        "viewerPlayer.seeking == null && viewerPlayer.placed && viewerPlayer.wall() >= {} && viewerPlayer.wall() < {}",
        start + 1_900,
        start + 6_500
    );
    browser.until(&settled).await?;
    browser.until("video.readyState >= 3 && document.querySelector('#notice').textContent === ''").await?;
    keep_picture(&mut browser, "playback").await?;
    ensure!(browser.eval("video.error === null").await? == json!(true));

    let (edge, base) = (site.appliance.edge_id(), &site.cloud.base);
    let http = reqwest::Client::builder().no_proxy().build()?;
    let hour = jiff::Timestamp::from_millisecond(start)?;
    let sprite = http.get(format!("{base}/api/edges/{edge}/cameras/gate/sprite?hour={hour}"));
    let sprite = sprite.bearer_auth(site.api.token()).send().await?;
    ensure!(sprite.status().is_success(), "{}", sprite.text().await?);
    let sprite = sprite.bytes().await?;
    ensure!(sprite.starts_with(&[0xff, 0xd8]) && sprite.len() > 9_000, "a sprite of {} bytes", sprite.len());
    if let Some(directory) = std::env::var_os("AIVMS_KEEP_PICTURES") {
        std::fs::write(std::path::Path::new(&directory).join("sprite.jpg"), &sprite)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_comes_up_once_for_all_nothing_flows_unseen_and_those_without_the_right_are_cut() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let site = LiveSite::start(directory.path()).await?;
    let mut viewers = Vec::new();
    for _ in 0..3 {
        let mut viewer = site.viewer(json!({})).await?;
        let heads = viewer.fragments(1).await?;
        ensure!(heads[0].key, "the first fragment can be decoded by itself");
        viewers.push(viewer);
    }
    let before = site.proxy.sent();
    let mut streams = Vec::new();
    for viewer in &mut viewers {
        streams.push(viewer.fragments(30).await?);
    }
    let up = site.proxy.sent() - before;
    let numbers: Vec<_> = streams.iter().map(|heads| heads[0].stream).collect();
    ensure!(numbers.iter().all(|number| *number == numbers[0]), "streams {numbers:?}");
    let walls = streams[0].iter().map(|head| head.wall);
    ensure!(walls.is_sorted(), "wall times rise");
    ensure!(up > 10_000, "only {up} bytes came up while three looked");

    drop(viewers);
    let mut last = site.proxy.sent();
    wait::until("silence after the last viewer", LIMIT, async || {
        sleep(Duration::from_secs(2)).await;
        let sent = site.proxy.sent() - std::mem::replace(&mut last, site.proxy.sent());
        // Answers to pings remain until the socket is closed.
        Ok((sent < 500).then_some(()))
    })
    .await?;

    let start = site.recorded().await?[0].0;
    let from = jiff::Timestamp::from_millisecond(start)?.to_string();
    let mut player = site.viewer(json!({ "from": from })).await?;
    player.say(json!({ "type": "credit", "fragments": 2 })).await?;
    let heads = player.fragments(2).await?;
    ensure!(heads[0].key && (heads[0].wall.as_millis() - start).abs() < 1_000, "{heads:?}");
    player.say(json!({ "type": "seek", "from": "not a time" })).await?;
    loop {
        // What is not understood is answered, and the stream goes on.
        if let aivms_tests::live::Got::Text(FromEdge::Error { .. }) = player.next().await? {
            break;
        }
    }
    player.say(json!({ "type": "credit", "fragments": 1 })).await?;
    player.fragments(1).await?;

    let database = rusqlite::Connection::open(site.cloud.database())?;
    let mut viewer = site.viewer(json!({})).await?;
    viewer.fragments(1).await?;
    database.execute("update users set token_generation = token_generation + 1", [])?;
    let ended = viewer.ended().await?;
    ensure!(matches!(ended, FromEdge::Ended { reason: EndReason::Revoked, .. }), "{ended:?}");
    database.execute("update users set token_generation = token_generation - 1", [])?;

    let mut viewer = site.viewer(json!({})).await?;
    viewer.fragments(1).await?;
    let revoke = format!("/api/tenant/edges/{}/revoke", site.appliance.edge_id());
    site.api.post(&revoke, json!({})).await?;
    let ended = viewer.ended().await?;
    ensure!(matches!(ended, FromEdge::Ended { reason: EndReason::Revoked, .. }), "{ended:?}");
    Ok(())
}

/// Keeps a picture of the page for whoever asks for it with `AIVMS_KEEP_PICTURES`.
async fn keep_picture(browser: &mut aivms_tests::browser::Browser, name: &str) -> Result<()> {
    let Some(directory) = std::env::var_os("AIVMS_KEEP_PICTURES") else { return Ok(()) };
    browser.screenshot(&std::path::Path::new(&directory).join(format!("{name}.png"))).await
}
