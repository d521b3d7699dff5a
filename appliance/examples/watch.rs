//! Watches one camera and prints what it says as JSON lines: its messages, or with `--frames` every tracked object.
//!
//! ```text
//! cargo run --release -p aivms-appliance --example watch -- MODEL.onnx file:///video.avi [--frames] [--fps 5] [--seconds 30]
//! ```
//!
//! ONNX Runtime is found by `ORT_DYLIB_PATH`.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aivms_appliance::pipeline::access_unit::fan_out;
use aivms_appliance::pipeline::consumer::Consumers;
use aivms_appliance::pipeline::engine::{Engine, EngineOutput, Feed, Watch};
use aivms_appliance::pipeline::source::address::Address;
use aivms_appliance::pipeline::source::{Source, SourceOutput};
use aivms_appliance::pipeline::{CameraSpec, Detector, DetectorSettings, spawn_camera};
use aivms_appliance_core::schedule::SiteZone;
use aivms_appliance_core::tracks::RestSettings;
use anyhow::{Context, Result, anyhow};
use clap::Parser;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// Watches one camera and prints what it says as JSON lines.
#[derive(Parser)]
struct Arguments {
    /// The detector's ONNX file.
    model: PathBuf,
    /// The camera's URL.
    url: String,
    /// Print every tracked object of every frame instead of messages.
    #[arg(long)]
    frames: bool,
    /// Frames analysed per second.
    #[arg(long, default_value_t = 5.0)]
    fps: f64,
    /// Least confidence of a detection.
    #[arg(long, default_value_t = 0.5)]
    confidence: f32,
    /// How long to watch.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Threads of the model; 0 for all cores.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Run the model for pictures in which nothing changes, too.
    #[arg(long)]
    every_picture: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    let settings = DetectorSettings {
        library: None,
        model: arguments.model.clone(),
        description: None,
        threads: arguments.threads,
        motion_gate: !arguments.every_picture,
    };
    let detector = tokio::task::spawn_blocking(move || Detector::load(&settings)).await??;
    let until = Instant::now() + Duration::from_secs(arguments.seconds);
    if arguments.frames {
        print_frames(&arguments, detector, until).await
    } else {
        print_messages(&arguments, detector, until).await
    }
}

async fn print_messages(arguments: &Arguments, detector: Arc<Detector>, until: Instant) -> Result<()> {
    let (bodies, mut messages) = mpsc::channel(1000);
    let spec = CameraSpec {
        camera: serde_json::from_value(json!({ "id": "camera", "url": arguments.url }))?,
        session: "watch".parse()?,
        detection_fps: arguments.fps,
        confidence: arguments.confidence.into(),
        classes: vec![],
        time_zone: SiteZone::default(),
        stationary: RestSettings::default(),
        recorder: None,
        consumers: Consumers::default(),
        audio: false,
    };
    let camera = spawn_camera(spec, detector, bodies);
    while let Ok(Some(body)) = timeout_at(until, messages.recv()).await {
        writeln!(std::io::stdout(), "{}", serde_json::to_string(&body)?)?;
    }
    writeln!(std::io::stderr(), "{:?} {:?}", camera.health().borrow(), camera.counters())?;
    camera.stop().await;
    Ok(())
}

async fn print_frames(arguments: &Arguments, detector: Arc<Detector>, until: Instant) -> Result<()> {
    let (sender, mut units) = fan_out();
    let feed_units = sender.subscribe();
    let (output, _ends) = SourceOutput::new(sender);
    let address = Address::parse(&arguments.url, None, None)?;
    let source = Source::start(&address, output).map_err(|failure| anyhow!(failure.explain(&arguments.url)))?;
    let format = timeout_at(until, units.recv()).await.context("no picture came")??.format;
    let (output, mut results) = EngineOutput::new();
    let watch = Watch { fps: arguments.fps, confidence: arguments.confidence, classes: vec![] };
    let engine: Arc<dyn Engine> = detector;
    let feed = Feed { camera: "camera".parse()?, format, units: feed_units, watch, output };
    let session = Arc::clone(&engine).connect(feed)?;
    while let Ok(Some(frame)) = timeout_at(until, results.frames.recv()).await {
        for object in &frame.objects {
            let row = json!({
                "ms": frame.pts.as_nanos() / 1_000_000,
                "track": object.track,
                "class": engine.labels().get(usize::from(object.class)),
                "confidence": object.confidence,
                "bbox": object.bbox,
            });
            writeln!(std::io::stdout(), "{row}")?;
        }
    }
    writeln!(std::io::stderr(), "{:?}", session.counters())?;
    tokio::task::spawn_blocking(move || {
        source.stop();
        drop(session);
    })
    .await?;
    Ok(())
}
