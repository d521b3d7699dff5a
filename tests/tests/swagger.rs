//! The API's page works in a real browser under its own content security policy.

use std::process::Command;

use aivms_tests::site::Cloud;
use anyhow::{Context, Result, ensure};

#[tokio::test(flavor = "multi_thread")]
async fn swagger_ui_shows_every_operation_in_a_real_browser() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let cloud = Cloud::start(&directory.path().join("cloud"), None).await?;
    let document: serde_json::Value = reqwest::get(format!("{}/openapi.json", cloud.base)).await?.json().await?;
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", directory.path().join("browser").display()))
        .args(["--virtual-time-budget=10000", "--dump-dom"])
        .arg(format!("{}/docs", cloud.base))
        .output()
        .context("chromium: run `make setup`")?;
    let page = String::from_utf8_lossy(&output.stdout);
    let paths = document["paths"].as_object().context("paths")?;
    ensure!(paths.len() > 8, "only {} paths in the document", paths.len());
    for path in paths.keys() {
        ensure!(page.contains(&format!("data-path=\"{path}\"")), "{path} is not on the page");
    }
    Ok(())
}
