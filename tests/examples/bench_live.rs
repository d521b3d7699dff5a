//! Measures live view on this machine: from the choice of a camera to the first picture in a real browser.

use aivms_tests::live::LiveSite;
use aivms_tests::report::Row;
use anyhow::{Context, Result};

/// Times the camera is chosen; the median counts.
const TIMES: usize = 9;

#[tokio::main]
async fn main() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let site = LiveSite::start(directory.path()).await?;
    let mut browser = site.browser().await?;
    let mut times = Vec::new();
    for _ in 0..TIMES {
        browser.eval("delete document.body.dataset.first; viewerPlayer.live(); true").await?;
        let first = browser.until("document.body.dataset.first").await?;
        times.push(first.as_str().context("no figure")?.parse::<f64>()?);
    }
    times.sort_by(f64::total_cmp);
    Row::new("live.first-frame", times[TIMES / 2], "ms").print();
    Ok(())
}
