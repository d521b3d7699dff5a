//! Measures what the engine costs beside the model's own run, per analysed frame of a real video, one frame at a time:
//! decoding, scaling and colour conversion, filling the tensor, hand-over between threads, reading boxes, tracking.
//!
//! ```text
//! cargo run --release -p aivms-appliance --example bench_engine -- [MODEL.onnx VIDEO LIBONNXRUNTIME]
//! ```
//!
//! Without arguments it takes what `make setup` has fetched. Every picture of the video is analysed, so each analysed
//! frame pays for one decoded picture.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aivms_appliance::pipeline::access_unit::{AccessUnit, fan_out};
use aivms_appliance::pipeline::decode::Decoder;
use aivms_appliance::pipeline::frame::Frame;
use aivms_appliance::pipeline::infer::Times;
use aivms_appliance::pipeline::source::address::Address;
use aivms_appliance::pipeline::source::{Source, SourceOutput};
use aivms_appliance::pipeline::{Detector, DetectorSettings};
use aivms_appliance_core::tracker::{Tracker, TrackerSettings};
use anyhow::{Context, Result, anyhow};
use serde_json::json;

/// Pictures measured: ten seconds of the demo video.
const PICTURES: usize = 100;
/// Pictures before them, which fill caches and pools.
const WARM_UP: usize = 10;
/// Where the time of one frame went.
struct Costs {
    decode: Duration,
    look: Times,
    track: Duration,
}

impl Costs {
    fn overhead(&self) -> Duration {
        let Times { prepare, queue, read, .. } = self.look;
        self.decode + prepare + queue + read + self.track
    }
}

fn main() -> Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let given = |place: usize, fetched: &str| arguments.get(place).cloned().unwrap_or_else(|| cache(fetched));
    let settings = DetectorSettings {
        library: Some(given(2, "onnxruntime/libonnxruntime.so")),
        model: given(0, "models/nanodet-g-416.onnx"),
        description: None,
        threads: 1,
        motion_gate: false,
    };
    let units = read_units(&given(1, "video/vtest.avi"), WARM_UP + PICTURES)?;
    let costs = measure(&settings, &units)?;
    let median = |part: &dyn Fn(&Costs) -> Duration| median(costs.iter().map(part));
    print("engine.model", median(&|costs| costs.look.model))?;
    print("engine.overhead", median(&Costs::overhead))?;
    print("engine.overhead.decode", median(&|costs| costs.decode))?;
    print("engine.overhead.prepare", median(&|costs| costs.look.prepare))?;
    print("engine.overhead.queue", median(&|costs| costs.look.queue))?;
    print("engine.overhead.read", median(&|costs| costs.look.read))?;
    print("engine.overhead.track", median(&|costs| costs.track))
}

fn cache(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache").join(name)
}

/// The first pictures of a file, as a camera would send them.
fn read_units(video: &Path, wanted: usize) -> Result<Vec<AccessUnit>> {
    let video = std::path::absolute(video)?;
    let (sender, mut received) = fan_out();
    let (output, _ends) = SourceOutput::new(sender);
    let address = Address::File(video.clone());
    let source = Source::start(&address, output).map_err(|failure| anyhow!(failure.explain(&video.display())))?;
    let units = (0..wanted).map(|_| received.blocking_recv()).collect::<Result<_, _>>()?;
    source.stop();
    Ok(units)
}

fn measure(settings: &DetectorSettings, units: &[AccessUnit]) -> Result<Vec<Costs>> {
    let detector = Detector::load(settings)?;
    let format = &units.first().context("an empty video")?.format;
    let decoder = Decoder::start(format, &detector.model().input, 60.0)?;
    let (mut eye, mut tracker, mut costs) = (detector.eye(), Tracker::new(TrackerSettings::default()), vec![]);
    for unit in units {
        let start = Instant::now();
        let Some(frame) = decode(&decoder, unit)? else { continue };
        let decode = start.elapsed();
        let (found, look) = eye.look(&frame, tracker.settings().low_confidence)?;
        let start = Instant::now();
        tracker.update(frame.at, frame.letterbox.frame(), &found);
        costs.push(Costs { decode, look, track: start.elapsed() });
    }
    costs.drain(..WARM_UP.min(costs.len()));
    Ok(costs)
}

/// Hands a unit to the decoder and waits for a picture; a decoder that reorders gives none for the first units.
fn decode(decoder: &Decoder, unit: &AccessUnit) -> Result<Option<Frame>> {
    decoder.push(unit)?;
    Ok(decoder.next_frame(gstreamer::ClockTime::from_mseconds(500))?)
}

fn median(times: impl Iterator<Item = Duration>) -> f64 {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    times.get(times.len() / 2).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

fn print(bench: &str, milliseconds: f64) -> Result<()> {
    let value = (milliseconds * 1e3).round() / 1e3;
    writeln!(std::io::stdout(), "{}", json!({ "bench": bench, "value": value, "unit": "ms" }))?;
    Ok(())
}
