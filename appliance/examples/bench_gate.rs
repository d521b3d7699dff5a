//! Measures what cameras cost in which nothing moves, and how long a frame takes from arrival to its events.
//!
//! ```text
//! cargo run --release -p aivms-appliance --example bench_gate
//! ```
//!
//! Sixteen cameras show one noisy still scene (the demo video's first picture, H.264, 640x360, 5 pictures per second)
//! in real time; the processor time of the whole process is divided by the time. Then one camera shows the moving
//! demo video; the time from each access unit's arrival to its judged frame is compared with the model's own.

mod clip;

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aivms_appliance::pipeline::access_unit::{AccessUnit, fan_out};
use aivms_appliance::pipeline::engine::{Engine, EngineOutput, EngineSession, Feed, Watch};
use aivms_appliance::pipeline::{Detector, DetectorSettings};
use aivms_appliance_core::analysis::{AnalysisSettings, CameraAnalysis};
use aivms_appliance_core::rules::CameraRules;
use aivms_contract::time::{MediaClock, MediaTime, UtcMillis};
use anyhow::{Result, ensure};
use gstreamer as gst;
use serde_json::json;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use clip::{cache, encode};

const CAMERAS: u64 = 16;
const INTERVAL: Duration = Duration::from_millis(200);
/// Pictures shown before measuring: the gate learns the scene, the detector looks at it.
const WARM_UP: usize = 25;
/// Pictures measured: two refresh times.
const MEASURED: usize = 100;

/// What ffmpeg makes of the demo video: a still scene with the noise of a sensor, and a moving one.
const STILL: &str = "select=eq(n\\,0),loop=loop=-1:size=1,scale=640:360,noise=alls=6:allf=t,fps=5,trim=duration=26";
const MOVING: &str = "scale=640:360,fps=5,trim=duration=26";

#[tokio::main]
async fn main() -> Result<()> {
    gst::init()?;
    let folder = tempfile::tempdir()?;
    let still = encode(folder.path(), "still", STILL)?;
    let moving = encode(folder.path(), "moving", MOVING)?;
    print("engine.static.16-cameras", static_load(&still).await?, "cores")?;
    print("engine.latency.over-model", latency(&moving).await?, "ms")
}

fn detector(motion_gate: bool) -> Result<Arc<Detector>> {
    let library = Some(cache("onnxruntime/libonnxruntime.so"));
    let model = cache("models/nanodet-g-416.onnx");
    Ok(Detector::load(&DetectorSettings { library, model, description: None, threads: 1, motion_gate })?)
}

/// A camera that the engine watches.
struct Camera {
    units: broadcast::Sender<AccessUnit>,
    session: Box<dyn EngineSession>,
    judged: JoinHandle<Vec<(MediaTime, Instant)>>,
}

impl Camera {
    fn connect(detector: &Arc<Detector>, name: &str, first: &AccessUnit) -> Result<Self> {
        let (units, received) = fan_out();
        let (output, mut results) = EngineOutput::new();
        let watch = Watch { fps: 5.0, confidence: 0.5, classes: vec![] };
        let (camera, format) = (name.parse()?, Arc::clone(&first.format));
        let session = Arc::clone(detector).connect(Feed { camera, format, units: received, watch, output })?;
        let labels = detector.labels().to_vec();
        let (camera, settings) = (name.parse()?, AnalysisSettings::for_rate(5.0));
        let mut analysis = CameraAnalysis::new(camera, &"bench".parse()?, labels, &CameraRules::default(), settings);
        let clock = MediaClock { zero_at: UtcMillis::from_millis(0) };
        let judged = tokio::spawn(async move {
            let mut judged = vec![];
            while let Some(frame) = results.frames.recv().await {
                std::hint::black_box(analysis.on_frame(&frame, &clock));
                judged.push((frame.pts, Instant::now()));
            }
            judged
        });
        Ok(Self { units, session, judged })
    }

    fn show(&self, unit: &AccessUnit, at: Duration) -> MediaTime {
        let at = MediaTime::ZERO + at;
        let mut unit = AccessUnit { at, ..unit.clone() };
        let buffer = unit.buffer.make_mut();
        buffer.set_pts(gst::ClockTime::from_nseconds(at.as_nanos()));
        buffer.set_dts(gst::ClockTime::NONE);
        // Nobody listens any more only when the engine has failed, which shows in what it has judged.
        let _ = self.units.send(unit);
        at
    }
}

/// Processor cores that sixteen cameras without motion take, all parts of the engine together.
async fn static_load(units: &[AccessUnit]) -> Result<f64> {
    let detector = detector(true)?;
    let cameras = (0..CAMERAS).map(|n| Camera::connect(&detector, &format!("camera-{n}"), &units[0]));
    let cameras = cameras.collect::<Result<Vec<_>>>()?;
    let mut tick = tokio::time::interval(INTERVAL / u32::try_from(CAMERAS)?);
    let (mut began, mut looked) = ((Instant::now(), processor_time()?), 0);
    for (n, unit) in units.iter().enumerate().take(WARM_UP + MEASURED) {
        if n == WARM_UP {
            began = (Instant::now(), processor_time()?);
            looked = looks(&cameras);
        }
        for camera in &cameras {
            tick.tick().await;
            camera.show(unit, INTERVAL * u32::try_from(n)?);
        }
    }
    let share = (processor_time()? - began.1).as_secs_f64() / began.0.elapsed().as_secs_f64();
    let looked = looks(&cameras) - looked;
    print("engine.static.looks", looked as f64 / (CAMERAS as f64 * MEASURED as f64), "of pictures")?;
    Ok(share)
}

fn looks(cameras: &[Camera]) -> u64 {
    let counters = cameras.iter().map(|camera| camera.session.counters());
    counters.map(|counters| counters.analysed - counters.still.min(counters.analysed)).sum()
}

/// Median time, in milliseconds, from an access unit's arrival to its judged frame, less the model's own.
async fn latency(units: &[AccessUnit]) -> Result<f64> {
    let detector = detector(true)?;
    let camera = Camera::connect(&detector, "moving", &units[0])?;
    let (mut tick, mut sent) = (tokio::time::interval(INTERVAL), vec![]);
    for (n, unit) in units.iter().enumerate().take(WARM_UP + MEASURED) {
        tick.tick().await;
        sent.push((camera.show(unit, INTERVAL * u32::try_from(n)?), Instant::now()));
    }
    tokio::time::sleep(INTERVAL * 3).await;
    drop(camera.units);
    let looked = camera.session.counters().analysed;
    drop(camera.session);
    let judged = camera.judged.await?;
    ensure!(judged.len() >= MEASURED, "only {} of {} pictures were judged", judged.len(), sent.len());
    let took = |(at, when): &(MediaTime, Instant)| {
        let (_, sent) = sent.iter().find(|(sent, _)| sent == at)?;
        Some(when.duration_since(*sent).as_secs_f64() * 1e3)
    };
    let mut times: Vec<f64> = judged.iter().skip(WARM_UP).filter_map(took).collect();
    times.sort_by(f64::total_cmp);
    let model = detector.totals().model.as_secs_f64() * 1e3 / looked as f64;
    print("engine.latency.worst-of-20", times[times.len() * 19 / 20], "ms")?;
    Ok(times[times.len() / 2] - model)
}

/// Processor time of this process, all threads.
fn processor_time() -> Result<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Ok(Duration::new(u64::try_from(time.tv_sec)?, u32::try_from(time.tv_nsec)?))
}

fn print(bench: &str, value: f64, unit: &str) -> Result<()> {
    let value = (value * 1e3).round() / 1e3;
    writeln!(std::io::stdout(), "{}", json!({ "bench": bench, "value": value, "unit": unit }))?;
    Ok(())
}
