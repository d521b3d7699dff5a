//! Clips and snapshots from an edge's queue to a person: over cut lines and killed programs, each once and unchanged.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aivms_appliance::cloud::Cloud as CloudClient;
use aivms_appliance::config::{self, Secret};
use aivms_appliance::enroll::enroll;
use aivms_appliance::health::Vitals;
use aivms_appliance::identity::Identity;
use aivms_appliance::masks::{Gate, GateKeeper, Hidden};
use aivms_appliance::uploads::{Outgoing, OutgoingJob, Uploader};
use aivms_appliance_core::uploads::Worth;
use aivms_contract::clip::Clip;
use aivms_contract::desired::CamerasFile;
use aivms_contract::edge_api::EventBatch;
use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::id::EdgeId;
use aivms_contract::media::{MediaKind, Sha256Hex};
use aivms_contract::time::UtcMillis;
use aivms_tests::api::Api;
use aivms_tests::site::Cloud;
use aivms_tests::wait;
use anyhow::{Context, Result, ensure};
use serde_json::value::RawValue;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(90);

/// An edge that only uploads: the real queue and the real uploader with an identity of its own.
struct Edge {
    directory: PathBuf,
    client: Arc<CloudClient>,
    identity: Arc<Identity>,
    settings: config::Uploads,
    gate: Gate,
    _keeper: GateKeeper,
}

impl Edge {
    /// Enrols with `cloud` and uploads to it by `url`.
    async fn enrolled(
        directory: &Path,
        (cloud, api): (&Cloud, &Api),
        url: &str,
        kib_per_s: Option<u64>,
    ) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let (edge_id, secret) = api.register_edge("uploads").await?;
        let client = |url: &str| {
            let (url, ca_file) = (url.parse()?, None);
            let (backup_after, ack_timeout) = (Duration::from_secs(30), Duration::from_secs(20));
            let settings = config::Cloud { url, ca_file, backup_after, ack_timeout };
            anyhow::Ok(CloudClient::new(&settings)?)
        };
        let secret = Secret::new(secret);
        let identity = enroll(&client(&cloud.base)?, &edge_id.parse::<EdgeId>()?, &secret, directory).await?;
        let client = Arc::new(client(url)?);
        let bytes_per_s = kib_per_s.map(|kib| kib * 1024);
        let settings = config::Uploads { max_bytes: 1 << 30, bytes_per_s, schedule: Vec::new() };
        let cameras: CamerasFile =
            serde_json::from_value(serde_json::json!({"cameras": [{"id": "gate", "url": "file:///a"}]}))?;
        let (keeper, gate) = Gate::new();
        keeper.set(cameras.cameras.as_slice());
        let (directory, identity) = (directory.to_owned(), Arc::new(identity));
        Ok(Self { directory, client, identity, settings, gate, _keeper: keeper })
    }

    /// Opens the queue and starts to send, as the program does at its start; both end when the guard is dropped.
    fn up(&self) -> Result<(Outgoing, tokio::task::JoinHandle<()>)> {
        let outgoing = Outgoing::open(self.directory.join("outgoing"), &self.settings)?;
        let uploader = Uploader {
            outgoing: outgoing.clone(),
            cloud: Arc::clone(&self.client),
            identity: watch::channel(Some(Arc::clone(&self.identity))).1,
            vitals: Arc::new(Vitals::new(self.directory.clone())),
            gate: self.gate.clone(),
        };
        Ok((outgoing, tokio::spawn(uploader.run(CancellationToken::new()))))
    }

    fn put(&self, outgoing: &Outgoing, id: &str, kind: MediaKind, worth: Worth, bytes: &[u8]) -> Result<()> {
        let path = outgoing.draft_path(id);
        std::fs::write(&path, bytes)?;
        let job = OutgoingJob {
            kind,
            id: id.parse()?,
            camera: "gate".parse()?,
            worth,
            sha256: sha256(bytes)?,
            bytes: bytes.len() as u64,
            captured_at: UtcMillis::from_millis(1_795_352_700_000),
            event_id: None,
            hidden: Hidden::default(),
        };
        Ok(outgoing.put(job, &path)?)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_arrive_once_and_unchanged_over_cut_lines_and_kills_of_either_side() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut cloud = Cloud::start(&directory.path().join("cloud"), None).await?;
    let api = Api::register(&cloud.base, "uploads").await?;
    let target: SocketAddr = cloud.base.trim_start_matches("http://").parse()?;
    let (line, _relay) = torn_line(target).await?;
    let edge = Edge::enrolled(&directory.path().join("edge"), (&cloud, &api), &format!("http://{line}"), None).await?;
    let (mut outgoing, mut sending) = edge.up()?;
    let mut files = BTreeMap::new();
    for number in 0..12 {
        let (id, kind) =
            (format!("file-{number}"), if number % 3 == 0 { MediaKind::Clip } else { MediaKind::Snapshot });
        let length = if kind == MediaKind::Clip { 1_500_000 } else { 60_000 };
        let bytes: Vec<u8> = (0..fastrand::usize(1..length)).map(|_| fastrand::u8(..)).collect();
        edge.put(&outgoing, &id, kind, [Worth::Alert, Worth::Event][number % 2], &bytes)?;
        files.insert(id, bytes);
    }
    for round in 0..6 {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(20..600))).await;
        if round % 2 == 0 {
            cloud.kill()?;
            cloud.up().await?;
        } else {
            sending.abort();
            let _ = sending.await;
            (outgoing, sending) = edge.up()?;
        }
    }
    wait::until("empty queue", DEADLINE, async || Ok(outgoing.health().is_none().then_some(()))).await?;
    let stored = walk(&cloud.clips())?;
    ensure!(stored.len() == files.len(), "{} files of {} are there", stored.len(), files.len());
    for (id, bytes) in &files {
        let found = stored.iter().find(|path| path.file_stem().is_some_and(|stem| stem == id.as_str()));
        let found = std::fs::read(found.with_context(|| format!("{id} is there"))?)?;
        ensure!(found == *bytes, "{id} has changed");
    }
    let rows = "select count(*) from media where stored_at is not null";
    let rows: i64 = rusqlite::Connection::open(cloud.database())?.query_row(rows, [], |row| row.get(0))?;
    ensure!(usize::try_from(rows)? == files.len(), "{rows} rows");
    ensure!(walk(&edge.directory.join("outgoing"))?.is_empty(), "the edge has deleted what arrived");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_overtakes_a_long_clip_and_the_budget_of_the_line_holds() -> Result<()> {
    const KIB_PER_S: u64 = 256;
    let directory = tempfile::tempdir()?;
    let cloud = Cloud::start(&directory.path().join("cloud"), None).await?;
    let api = Api::register(&cloud.base, "budget").await?;
    let edge = Edge::enrolled(&directory.path().join("edge"), (&cloud, &api), &cloud.base, Some(KIB_PER_S)).await?;
    let (outgoing, sending) = edge.up()?;
    let begun = Instant::now();
    edge.put(&outgoing, "long", MediaKind::Clip, Worth::Event, &vec![7; 2 << 20])?;
    wait::until("part of the clip", DEADLINE, async || {
        Ok((outgoing.health().context("it waits")?.bytes < 2 << 20).then_some(()))
    })
    .await?;
    edge.put(&outgoing, "alert", MediaKind::Snapshot, Worth::Alert, &vec![8; 128 << 10])?;
    wait::until("empty queue", DEADLINE, async || Ok(outgoing.health().is_none().then_some(()))).await?;
    let seconds = begun.elapsed().as_secs_f64();
    sending.abort();
    let connection = rusqlite::Connection::open(cloud.database())?;
    let mut rows = connection.prepare("select media_id from media order by stored_at")?;
    let order: Vec<String> = rows.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    ensure!(order == ["alert", "long"], "{order:?}");
    // The first piece goes at once: what is paid for it later is paid by the next, so the last is for nothing.
    let pace = f64::from((2 << 20) + (128 << 10)) / 1024.0 / (seconds + 2.0);
    ensure!(pace < KIB_PER_S as f64 * 1.2, "{pace} KiB/s over {seconds} s");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_shows_a_clip_to_tools_that_know_nothing_of_us() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let cloud = Cloud::start(&directory.path().join("cloud"), None).await?;
    let api = Api::register(&cloud.base, "links").await?;
    let edge = Edge::enrolled(&directory.path().join("edge"), (&cloud, &api), &cloud.base, None).await?;
    let made = directory.path().join("made.mp4");
    let source = ["-f", "lavfi", "-i", "testsrc=size=320x240:rate=25:duration=3", "-c:v", "libx264"];
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error"]).args(source).args(["-movflags", "+faststart"]).arg(&made);
    output_of(&mut ffmpeg)?;
    let bytes = std::fs::read(&made)?;
    let (outgoing, _sending) = edge.up()?;
    edge.put(&outgoing, "clip", MediaKind::Clip, Worth::Requested, &bytes)?;
    announce(&edge, &bytes).await?;
    let stored = wait::until("stored clip", DEADLINE, async || {
        let clip = api.get("/api/clips/clip").await?;
        Ok((clip["state"] == "stored").then_some(clip))
    });
    let url = format!("{}{}", cloud.base, stored.await?["url"].as_str().context("url")?);

    let probe = ["-v", "error", "-show_entries", "stream=codec_name,nb_frames", "-of", "csv=p=0"];
    let shown = output_of(Command::new("ffprobe").args(probe).arg(&url))?;
    ensure!(shown.trim() == "h264,75", "{shown}");
    for (range, part) in [("0-99", &bytes[..100]), ("-50", &bytes[bytes.len() - 50..]), ("1000-", &bytes[1000..])] {
        let got = Command::new("curl").args(["-sS", "--fail", "--noproxy", "*", "-r", range]).arg(&url).output()?;
        ensure!(got.status.success() && got.stdout == part, "{range}: {} bytes", got.stdout.len());
    }
    Ok(())
}

/// Says that there is a clip, as its outbox would.
async fn announce(edge: &Edge, bytes: &[u8]) -> Result<()> {
    let clip = Clip {
        clip_id: "clip".parse()?,
        camera_id: "gate".parse()?,
        start: UtcMillis::from_millis(1_795_352_700_000),
        duration_ms: 3_000,
        size_bytes: bytes.len() as u64,
        event_id: None,
        command_id: None,
        missing_ms: 0,
        missing: Vec::new(),
        event_offset_ms: None,
        codecs: None,
        sha256: None,
        masked: false,
    };
    let edge_id = edge.identity.enrollment().edge_id.clone();
    let envelope = Envelope::new(edge_id, "outbox-1".parse()?, 1, Body::Clips(clip), 7);
    let event = RawValue::from_string(String::from_utf8(envelope.to_json())?)?;
    let token = edge.identity.bearer_token(edge.client.time())?;
    edge.client.deliver(&token, &EventBatch { events: vec![event] }).await?;
    Ok(())
}

/// A relay that closes each connection after some random number of bytes.
async fn torn_line(target: SocketAddr) -> Result<(SocketAddr, tokio::task::JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let relay = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut server) = TcpStream::connect(target).await else { return };
                let (to_server, to_client) = (fastrand::u64(500..700_000), fastrand::u64(200..20_000));
                let (mut from_client, mut into_client) = client.split();
                let (mut from_server, mut into_server) = server.split();
                let mut from_client = tokio::io::AsyncReadExt::take(&mut from_client, to_server);
                let mut from_server = tokio::io::AsyncReadExt::take(&mut from_server, to_client);
                tokio::select! {
                    _ = tokio::io::copy(&mut from_client, &mut into_server) => {}
                    _ = tokio::io::copy(&mut from_server, &mut into_client) => {}
                }
                let _ = into_client.shutdown().await;
            });
        }
    });
    Ok((address, relay))
}

fn output_of(command: &mut Command) -> Result<String> {
    let output = command.env_remove("http_proxy").output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn walk(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(walk(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

fn sha256(bytes: &[u8]) -> Result<Sha256Hex> {
    use std::io::Write;
    let mut child =
        Command::new("sha256sum").stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn()?;
    child.stdin.take().context("stdin")?.write_all(bytes)?;
    let printed = String::from_utf8(child.wait_with_output()?.stdout)?;
    Ok(printed.get(..64).context("a hash")?.parse()?)
}
