//! Measures what recording costs beside `ffmpeg -c copy -f segment`: the same cameras, the same machine, the same run.
//!
//! ```text
//! cargo build --release --workspace --bins --examples
//! target/release/examples/bench_recording
//! ```
//!
//! A test camera sends 1920x1080 at 25 pictures per second, 4 Mbit/s, to 1, 4 and 16 clients. Each recorder gets the
//! cameras for itself for twenty seconds. `record.cpu` is the processor time of all of it, connecting included, which is
//! how the promised ratios were measured first; `record.steady` is that of the time after everything had connected;
//! `record.receive` is the latter when all that comes is thrown away: what the RTSP client alone costs. ffmpeg runs once per camera with the flags that an NVR gives it; ours is one process for all.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aivms_appliance::pipeline::consumer::{Consumers, StreamConsumer, StreamEnd, StreamFeed, StreamRole};
use aivms_appliance::pipeline::engine::{Engine, EngineError, EngineSession, Feed};
use aivms_appliance::pipeline::{CameraHandle, CameraSpec, spawn_camera};
use aivms_appliance::recorder::{Folders, Recorder, RecorderSettings, RecordingPolicy};
use aivms_appliance_core::schedule::SiteZone;
use aivms_appliance_core::tracks::{RestSettings, Session};
use aivms_contract::desired::{Camera, Recording, RtspClient};
use aivms_contract::id::CameraId;
use aivms_rig::{PASSWORD, USER};
use aivms_tests::report::Row;
use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use tokio::sync::{mpsc, watch};

/// What a camera sends: the 4 Mbit/s that cameras of 1080p are sold with.
const CLIP: &str = "h264,1920x1080,25fps,8s,12noise,4000kbps";
const COUNTS: [u32; 3] = [1, 4, 16];
/// Time for all cameras to connect and for the first files to be there.
const SETTLE: Duration = Duration::from_secs(6);
/// Time over which the processor is measured, from the start on.
const MEASURE: Duration = Duration::from_secs(20);
/// Longest wait for the test camera to encode its clip.
const CAMERA_WITHIN: Duration = Duration::from_secs(120);
/// Bytes per MiB.
const MIB: f64 = 1024.0 * 1024.0;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => measure(),
        [what @ ("record" | "receive"), client, folder, port, count] => {
            receive(what == "record", client, Path::new(folder), port.parse()?, count.parse()?)
        }
        _ => bail!("takes no arguments"),
    }
}

fn measure() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for client in ["ffmpeg", "rtspsrc", "retina"] {
        let mut memory = Vec::new();
        for count in COUNTS {
            let load = Load::of(&["record", client], folder.path(), count)?;
            ensure!(load.rate > 0.0, "{client} recorded nothing of {count} cameras");
            let of_all = f64::from(count);
            let per_camera = |part: &str, value: f64, unit: &str| {
                Row::new(&format!("record.{part}.{client}.{count}"), value / of_all, &format!("{unit} a camera"))
                    .print();
            };
            per_camera("cpu", load.cores * 100.0, "% of a core");
            per_camera("steady", load.steady * 100.0, "% of a core");
            per_camera("rate", load.rate * 8.0 / 1e6, "Mbit/s");
            memory.push(load.memory);
        }
        if client != "ffmpeg" {
            let load = Load::of(&["receive", client], folder.path(), COUNTS[2])?;
            let each = load.steady * 100.0 / f64::from(COUNTS[2]);
            Row::new(&format!("record.receive.{client}.{}", COUNTS[2]), each, "% of a core a camera").print();
        }
        let further = (memory[2] - memory[0]) / f64::from(COUNTS[2] - COUNTS[0]);
        Row::new(&format!("record.memory.{client}"), further / MIB, "MiB a further camera").print();
    }
    Ok(())
}

/// The test camera's program; it ends with the value. Each recorder gets one of its own: gst-rtsp-server 1.22 breaks when
/// many clients go at one moment.
struct TestCamera {
    child: Child,
    port: u16,
}

impl TestCamera {
    fn start() -> Result<Self> {
        let streams = COUNTS[2].to_string();
        let mut child = Command::new(beside("aivms-test-camera")?)
            .args(["--streams", &streams, CLIP])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("aivms-test-camera")?;
        let mut said = BufReader::new(child.stdout.take().context("its output")?);
        let (asked, mut line) = (Instant::now(), String::new());
        said.read_line(&mut line)?;
        ensure!(asked.elapsed() < CAMERA_WITHIN, "the test camera took too long");
        let port = line.trim().parse().with_context(|| format!("the test camera said {line:?}"))?;
        Ok(Self { child, port })
    }
}

impl Drop for TestCamera {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processes that record; they end with the value.
struct Recorders(Vec<Child>);

impl Drop for Recorders {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn start(job: &[&str; 2], dir: &Path, port: u16, count: u32) -> Result<Recorders> {
    if job[1] != "ffmpeg" {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(job).arg(dir).args([port.to_string(), count.to_string()]);
        return Ok(Recorders(vec![command.stdout(Stdio::null()).spawn()?]));
    }
    let one = |number: u32| {
        let user = USER;
        let password = PASSWORD.replace(' ', "%20");
        let files = dir.join(format!("{number}-%05d.mp4"));
        let mut command = Command::new("ffmpeg");
        command.args(["-loglevel", "error", "-rtsp_transport", "tcp", "-i"]);
        command.arg(format!("rtsp://{user}:{password}@127.0.0.1:{port}/{number}"));
        command.args(["-c", "copy", "-an", "-f", "segment", "-segment_time", "10", "-segment_format", "mp4"]);
        command.args(["-reset_timestamps", "1"]).arg(files).stdin(Stdio::null());
        Ok(command.spawn()?)
    };
    Ok(Recorders((1..=count).map(one).collect::<Result<_>>()?))
}

/// What recorders took.
struct Load {
    /// Processors, from the start on.
    cores: f64,
    /// Processors, after [`SETTLE`].
    steady: f64,
    /// Bytes per second after it.
    rate: f64,
    /// Bytes in memory.
    memory: f64,
}

impl Load {
    /// Has a client do its job with so many cameras, in a folder of its own.
    fn of(job: &[&str; 2], folder: &Path, count: u32) -> Result<Self> {
        let (dir, camera) = (tempfile::tempdir_in(folder)?, TestCamera::start()?);
        let (begun, recorders) = (Instant::now(), start(job, dir.path(), camera.port, count)?);
        Self::measured(&recorders, dir.path(), begun)
    }

    fn measured(recorders: &Recorders, dir: &Path, begun: Instant) -> Result<Self> {
        std::thread::sleep(SETTLE.saturating_sub(begun.elapsed()));
        let (settled, before, bytes) = (begun.elapsed(), processor_time(recorders)?, bytes_in(dir)?);
        std::thread::sleep(MEASURE.saturating_sub(begun.elapsed()));
        let (whole, after, memory) = (begun.elapsed(), processor_time(recorders)?, memory(recorders)?);
        let (passed, written) = ((whole - settled).as_secs_f64(), bytes_in(dir)?.saturating_sub(bytes));
        let (cores, steady) = (after / whole.as_secs_f64(), (after - before) / passed);
        Ok(Self { cores, steady, rate: written as f64 / passed, memory })
    }
}

/// Seconds of processor time that the processes took so far, ended threads included.
fn processor_time(recorders: &Recorders) -> Result<f64> {
    recorders.0.iter().map(|child| seconds_of(child.id())).sum()
}

fn seconds_of(process: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).context("a recorder has ended")?;
    let fields: Vec<&str> = text.rsplit_once(')').context("stat")?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).context("stat");
    // Fields 14 and 15 of proc_pid_stat(5), of which the first two are cut off; a tick is 10 ms on every Linux.
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

fn memory(recorders: &Recorders) -> Result<f64> {
    let one = |child: &Child| {
        let text = fs::read_to_string(format!("/proc/{}/status", child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024.0)
    };
    recorders.0.iter().map(one).sum()
}

fn bytes_in(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { bytes_in(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}

fn beside(program: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.parent().and_then(Path::parent).context("target folder")?.join(program))
}

/// An engine that is never asked: the cameras are recorded and not analysed.
struct NoEngine;

impl Engine for NoEngine {
    fn labels(&self) -> &[String] {
        &[]
    }

    fn connect(self: Arc<Self>, _feed: Feed) -> Result<Box<dyn EngineSession>, EngineError> {
        Err(EngineError::Detect("nothing is analysed here".to_owned()))
    }
}

/// One who takes video and throws it away.
struct Nobody;

impl StreamConsumer for Nobody {
    fn connected(&self, _camera: &CameraId, _feed: StreamFeed) {}

    fn disconnected(&self, _camera: &CameraId, _role: StreamRole, _end: StreamEnd) {}
}

/// Receives and, where that is asked for, records, until it is killed.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn receive(records: bool, client: &str, folder: &Path, port: u16, count: u32) -> Result<()> {
    let client = if client == "retina" { RtspClient::Retina } else { RtspClient::Rtspsrc };
    let settings = RecorderSettings {
        data_dir: folder.join("data"),
        folders: Folders { fast: folder.join("recordings"), slow: None },
        segment: Duration::from_secs(10),
        sync: Duration::from_secs(1),
        edge: None,
    };
    let policy = watch::channel(Arc::new(RecordingPolicy::new(Recording::default(), []))).1;
    let (recorder, _footage) = Recorder::open(settings, policy, |_| {})?;
    let consumer: Arc<dyn StreamConsumer> = if records { Arc::new(recorder) } else { Arc::new(Nobody) };
    let consumers = Consumers::from(vec![consumer]);
    let cameras: Vec<CameraHandle> =
        (1..=count).map(|number| start_camera(number, port, client, &consumers)).collect::<Result<_>>()?;
    ensure!(!cameras.is_empty(), "no camera");
    std::future::pending().await
}

fn start_camera(number: u32, port: u16, client: RtspClient, consumers: &Consumers) -> Result<CameraHandle> {
    let camera: Camera = serde_json::from_value(json!({
        "id": format!("camera-{number}"),
        "url": format!("rtsp://127.0.0.1:{port}/{number}"),
        // The stream to be analysed is another one, which is not there: what is measured is recording alone.
        "sub_url": "file:///nonexistent/sub.mp4",
        "rtsp_client": client,
        "username": USER,
        "password": PASSWORD,
    }))?;
    let spec = CameraSpec {
        camera,
        session: Session::from_random(number.into()),
        detection_fps: 5.0,
        confidence: 0.5,
        classes: Vec::new(),
        time_zone: SiteZone::default(),
        stationary: RestSettings::default(),
        recorder: None,
        consumers: consumers.clone(),
        audio: false,
    };
    // What a camera that is not analysed has to say is nothing.
    Ok(spawn_camera(spec, Arc::new(NoEngine), mpsc::channel(1).0))
}
