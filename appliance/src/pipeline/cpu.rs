//! The engine without special hardware: GStreamer decodes, ONNX Runtime detects, the core's tracker follows.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use aivms_appliance_core::detection::{Detected, FrameDetections};
use aivms_appliance_core::motion::{MotionGate, MotionSettings, Verdict};
use aivms_appliance_core::tracker::{Tracker, TrackerSettings};
use gstreamer as gst;

use super::decode::Decoder;
use super::engine::{Engine, EngineCounters, EngineError, EngineOutput, EngineSession, Feed, Watch};
use super::frame::Frame;
use super::infer::{Detector, Eye};
use super::snapshot::Jpeg;
use super::unit_feed;

/// Pictures that are looked at after the last motion at least: so many looks vote on what stands there.
const LEAST_LOOKS: f64 = 5.0;
/// How often a thread without pictures looks whether it is to end.
const POLL: gst::ClockTime = gst::ClockTime::from_mseconds(100);

impl Engine for Detector {
    fn labels(&self) -> &[String] {
        Self::labels(self)
    }

    fn connect(self: Arc<Self>, feed: Feed) -> Result<Box<dyn EngineSession>, EngineError> {
        let decoder = Arc::new(Decoder::start(&feed.format, &self.model().input, feed.watch.fps)?);
        let shared = Arc::new(Shared::default());
        let watcher = Watcher {
            decoder: Arc::clone(&decoder),
            eye: self.eye(),
            gate: self.has_motion_gate().then(|| motion_gate(&feed)),
            tracker: Tracker::new(TrackerSettings::for_confidence(feed.watch.confidence).at_rate(feed.watch.fps)),
            watch: feed.watch,
            output: feed.output.clone(),
            shared: Arc::clone(&shared),
        };
        let output = feed.output.clone();
        let watch = move || {
            if catch_unwind(AssertUnwindSafe(|| watcher.run())).is_err() {
                output.end(EngineError::Detect("its thread panicked; this is a fault of the program".to_owned()));
            }
        };
        let thread = std::thread::Builder::new().name(format!("watch-{}", feed.camera)).spawn(watch);
        let thread = thread.map_err(|error| EngineError::Thread(error.to_string()))?;
        let feeder = tokio::spawn(unit_feed::feed(feed.units, Arc::clone(&decoder), feed.output));
        Ok(Box::new(Session { decoder, shared, feeder, thread: Some(thread) }))
    }
}

fn motion_gate(feed: &Feed) -> MotionGate {
    let usual = MotionSettings::default();
    // Long enough for the looks that vote, also at few pictures per second.
    let looks = Duration::try_from_secs_f64(LEAST_LOOKS / feed.watch.fps).unwrap_or_default();
    let settings = MotionSettings { sure: feed.watch.confidence, linger: usual.linger.max(looks), ..usual };
    let phase = f64::from(crc32fast::hash(feed.camera.as_str().as_bytes())) / f64::from(u32::MAX);
    #[expect(clippy::cast_possible_truncation, reason = "a number of 0 to 1")]
    MotionGate::new(settings, phase as f32)
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    analysed: AtomicU64,
    still: AtomicU64,
}

struct Session {
    decoder: Arc<Decoder>,
    shared: Arc<Shared>,
    feeder: tokio::task::JoinHandle<()>,
    /// Absent once the session is being dropped.
    thread: Option<JoinHandle<()>>,
}

impl EngineSession for Session {
    fn counters(&self) -> EngineCounters {
        let decode = self.decoder.counters();
        let analysed = self.shared.analysed.load(Ordering::Relaxed);
        EngineCounters {
            units_dropped: decode.units_dropped,
            decoded: decode.decoded,
            frames_skipped: decode.admitted.saturating_sub(analysed),
            analysed,
            still: self.shared.still.load(Ordering::Relaxed),
        }
    }

    fn snapshot(&self, wait: Duration) -> Result<Jpeg, EngineError> {
        self.decoder.snapshot(wait).ok_or(EngineError::NoPicture)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.feeder.abort();
        self.shared.stop.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("a camera's detection thread panicked");
        }
    }
}

/// Looks at one connection's pictures, on its own thread because the model's answer is waited for.
struct Watcher {
    decoder: Arc<Decoder>,
    eye: Eye,
    /// Absent when every picture is to be looked at.
    gate: Option<MotionGate>,
    tracker: Tracker,
    watch: Watch,
    output: EngineOutput,
    shared: Arc<Shared>,
}

impl Watcher {
    fn run(mut self) {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let looked = match self.decoder.next_frame(POLL) {
                Ok(None) => continue,
                Ok(Some(frame)) => self.look(&frame),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = looked {
                return self.output.end(error);
            }
        }
    }

    fn look(&mut self, frame: &Frame) -> Result<(), EngineError> {
        let gate = self.gate.as_mut();
        let found = match gate.and_then(|gate| frame.with_image(|image| gate.judge(frame.at, image))) {
            Some(Verdict::Still(held)) => {
                self.shared.still.fetch_add(1, Ordering::Relaxed);
                held
            }
            Some(Verdict::Look) | None => self.detect(frame)?,
        };
        let objects = self.tracker.update(frame.at, frame.letterbox.frame(), &found);
        let detections = FrameDetections { pts: frame.at, frame: frame.letterbox.frame(), objects };
        if self.output.frame(detections) {
            self.shared.analysed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn detect(&mut self, frame: &Frame) -> Result<Vec<Detected>, EngineError> {
        let found = self.eye.look(frame, self.tracker.settings().low_confidence);
        let (mut found, _) = found.map_err(|error| EngineError::Detect(error.to_string()))?;
        let classes = &self.watch.classes;
        found.retain(|detected| classes.is_empty() || classes.contains(&detected.class));
        if let Some(gate) = &mut self.gate {
            gate.found(frame.at, &found);
        }
        Ok(found)
    }
}
