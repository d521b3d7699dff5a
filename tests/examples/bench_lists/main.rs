//! Lists and charts of a tenant with ten million events, through the API, on SQLite and on PostgreSQL.
//!
//! Two months of 20 edges with 8 cameras each; some classes, zones and tracks are seldom seen, which is what makes a
//! list hard. `bench_lists [EVENTS] [sqlite|postgres]`.

mod fill;

use std::path::PathBuf;
use std::time::Duration;

use aivms_cloud::store::{PostgresSettings, Store};
use aivms_contract::time::UtcMillis;
use aivms_test_database::{SMALL_MACHINE, TestServer};
use aivms_tests::api::Api;
use aivms_tests::fixtures;
use aivms_tests::report::Row;
use aivms_tests::site::{Cloud, CloudSettings};
use anyhow::{Context, Result};
use tokio::time::{Instant, sleep};

use fill::{EDGES, Site, fill, track};

/// How often each list is asked for, one page of 50 after the other.
const TIMES: usize = 100;
/// How often each chart is asked for.
const CHART_TIMES: usize = 20;
const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::main]
async fn main() -> Result<()> {
    let events = std::env::args().nth(1).map_or(Ok(10_000_000), |text| text.parse()).context("EVENTS: a number")?;
    let only = std::env::args().nth(2);
    if only.as_deref() != Some("postgres") {
        let directory = tempfile::tempdir_in(fixtures::target()?)?;
        let cloud = Cloud::start(directory.path(), None).await?;
        let file = Database::File(cloud.database());
        measure("lists", cloud, events, file, || Ok(())).await?;
    }
    if only.as_deref() != Some("sqlite") {
        let server = TestServer::start(&SMALL_MACHINE)?;
        let url = server.create_database("bench")?;
        let settings = CloudSettings { database_url: Some(url.clone()), ..CloudSettings::default() };
        let directory = tempfile::tempdir_in(fixtures::target()?)?;
        let cloud = Cloud::start_with(directory.path(), settings).await?;
        // What a server does by itself in the hours that so many events take to come.
        let settle = || server.psql("bench", &["checkpoint", "vacuum analyze"]).map(drop);
        measure("lists.postgres", cloud, events, Database::Server(Box::new(url.parse()?)), settle).await?;
    }
    Ok(())
}

enum Database {
    File(PathBuf),
    Server(Box<PostgresSettings>),
}

impl Database {
    async fn open(&self) -> Result<Store> {
        Ok(match self {
            Self::File(path) => Store::open_sqlite(path)?,
            Self::Server(settings) => Store::open_postgres(settings).await?,
        })
    }
}

/// Measures one cloud; `settle` waits for what the database has left to do after so many events.
async fn measure(
    name: &str,
    mut cloud: Cloud,
    events: usize,
    database: Database,
    settle: impl Fn() -> Result<()>,
) -> Result<()> {
    let owner = Api::register(&cloud.base, "large").await?;
    for edge in 0..EDGES {
        owner.register_edge(&format!("edge {edge}")).await?;
    }
    cloud.kill()?;
    let store = database.open().await?;
    let tenant = store.user_by_email("owner@large.example").await?.context("the owner")?.tenant;
    let began = Instant::now();
    let site = fill(&store, tenant, events).await?;
    Row::new(&format!("{name}.filled"), events as f64 / began.elapsed().as_secs_f64(), "events/s").print();
    drop(store);
    settle()?;
    cloud.up().await?;
    let owner = Api::sign_in(&cloud.base, "large").await?;
    // What it does at a start is over.
    sleep(Duration::from_secs(5)).await;
    lists(name, &owner, &site, events).await?;
    charts(name, &owner, &site).await
}

/// Asks for the first pages of each list, and prints the slowest 99th percentile of all.
async fn lists(name: &str, owner: &Api, site: &Site, events: usize) -> Result<()> {
    let (edge, (start, end)) = (&site.edges[3].edge_id, (site.end - 30 * DAY, site.end - 29 * DAY));
    let (early, rare) = (track(events / 100), track(events / 2 + 7));
    let span = format!("start_time={start}&end_time={end}");
    let detections = [
        ("newest", String::new()),
        ("span", span.clone()),
        ("old", format!("end_time={}", site.start + DAY)),
        ("edge", format!("edge_id={edge}")),
        ("camera", "camera_id=camera-3".to_owned()),
        ("edge-camera", format!("edge_id={edge}&camera_id=camera-3&{span}")),
        ("class", "object_class=person".to_owned()),
        ("class-rare", "object_class=bear".to_owned()),
        ("class-span", format!("object_class=bear&{span}")),
        ("confident", "min_confidence=0.99".to_owned()),
        ("confident-span", format!("min_confidence=0.99&{span}")),
        ("track", format!("track_id={rare}")),
        ("track-old", format!("track_id={early}")),
    ]
    .map(|(list, filter)| (list, format!("/api/events/detections?limit=50&{filter}")));
    let zones = [
        ("zone-newest", String::new()),
        ("zone", "zone_id=yard".to_owned()),
        ("zone-rare", "zone_id=vault".to_owned()),
        ("zone-type", "event_type=exit".to_owned()),
        ("zone-no-type", "event_type=cross".to_owned()),
        ("zone-edge", format!("edge_id={edge}&{span}")),
    ]
    .map(|(list, filter)| (list, format!("/api/events/zones?limit=50&{filter}")));
    let mut slowest: f64 = 0.0;
    for (list, path) in detections.into_iter().chain(zones) {
        let p99 = pages(owner, &path).await.with_context(|| path.clone())?;
        Row::new(&format!("{name}.{list}.p99"), p99, "ms").print();
        slowest = slowest.max(p99);
    }
    Row::new(&format!("{name}.p99"), slowest, "ms").print();
    Ok(())
}

/// The 99th percentile of the time that a page takes, in milliseconds; after the last page it begins anew.
async fn pages(owner: &Api, path: &str) -> Result<f64> {
    let (mut times, mut cursor) = (Vec::new(), String::new());
    for _ in 0..TIMES {
        let began = Instant::now();
        let page = owner.get(&format!("{path}{cursor}")).await?;
        times.push(began.elapsed());
        cursor = page["next_cursor"].as_str().map(|next| format!("&cursor={next}")).unwrap_or_default();
    }
    Ok(percentile(times, 99))
}

/// Hourly charts of a month, of which the slowest 99th percentile is printed, and what else is drawn of one.
async fn charts(name: &str, owner: &Api, site: &Site) -> Result<()> {
    let month = |end: UtcMillis| format!("start_time={}&end_time={end}", end - 31 * DAY);
    let (now, earlier) = (month(site.end), month(site.end - 10 * DAY));
    let mut slowest: f64 = 0.0;
    for (chart, path) in [
        ("hour", format!("detections?group_by=hour&{now}")),
        ("hour-earlier", format!("detections?group_by=hour&{earlier}")),
        ("hour-zoned", format!("detections?group_by=hour&tz=Asia/Kathmandu&{now}")),
        ("day", format!("detections?group_by=day&{now}")),
        ("class", format!("detections?group_by=class&{now}")),
        ("camera", format!("detections?group_by=camera&{now}")),
        ("zones", format!("zones?group_by=hour&{now}")),
    ] {
        let path = format!("/api/events/analytics/{path}");
        let mut times = Vec::new();
        for _ in 0..CHART_TIMES {
            let began = Instant::now();
            owner.get(&path).await?;
            times.push(began.elapsed());
        }
        let p99 = percentile(times, 99);
        Row::new(&format!("{name}.chart.{chart}"), p99, "ms").print();
        if path.contains("group_by=hour") {
            slowest = slowest.max(p99);
        }
    }
    Row::new(&format!("{name}.chart"), slowest, "ms").print();
    Ok(())
}

fn percentile(mut times: Vec<Duration>, percent: usize) -> f64 {
    times.sort();
    let place = (times.len() * percent / 100).min(times.len() - 1);
    times.get(place).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}
