//! The engine on NVIDIA's SDK: cameras of one shape share a pipeline.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use aivms_appliance_core::model::ModelDescription;
use aivms_contract::geometry::FrameSize;
use aivms_contract::id::CameraId;
use aivms_deepstream::Library;

use super::branch::{Branch, OnSize};
use super::error::DeepStreamError;
use super::lane::Lane;
use super::nvinfer_config::{InferenceSettings, Weights, nvinfer_config};
use super::settings::DeepStreamSettings;
use super::shape::{USUAL, mux_size, same_shape};
use super::shared::{Plan, SharedPipeline};
use super::tracker_config::{TrackingSettings, tracker_config};
use super::weights::{Network, write};
use super::{check, model};
use crate::pipeline::access_unit::StreamFormat;
use crate::pipeline::decode::DecodeError;
use crate::pipeline::engine::{Engine, EngineCounters, EngineError, EngineSession, Feed, Watch};
use crate::pipeline::snapshot::Jpeg;
use crate::pipeline::unit_feed;

/// The network, made ready for nvinfer, and the pipelines that use it.
pub struct DeepStreamEngine {
    settings: DeepStreamSettings,
    library: Arc<Library>,
    model: Arc<ModelDescription>,
    /// The generated file for nvinfer.
    inference: PathBuf,
    pipelines: Mutex<Vec<Running>>,
    /// Cameras whose pictures had another size than was announced, with both.
    learned: Arc<Mutex<BTreeMap<CameraId, Learned>>>,
    /// Numbers the tracker's files.
    made: AtomicU64,
}

/// The size that was announced, if any, and that of the decoded pictures.
type Learned = (Option<FrameSize>, FrameSize);

/// A pipeline, kept by its cameras, and the confidence that its tracker was told.
struct Running {
    pipeline: Weak<SharedPipeline>,
    confidence: f32,
}

impl DeepStreamEngine {
    /// Checks what is installed, finds the network's engine, and writes the file for nvinfer.
    ///
    /// Reads the model's file: call it where blocking is allowed.
    ///
    /// # Errors
    /// Names what is missing or does not fit, and what to do.
    pub fn load(settings: DeepStreamSettings, library: Arc<Library>) -> Result<Arc<Self>, DeepStreamError> {
        check::installed(&settings.dir)?;
        let (described, network) = model::read(&settings)?;
        network.place()?;
        let inference = settings.work_dir.join("nvinfer.txt");
        let weights = model::weights(&settings, &network)?;
        write(
            &inference,
            nvinfer_config(&network.model, &inference_settings(&settings, &network, weights))?.as_bytes(),
        )?;
        tracing::info!(model = %settings.model.display(), labels = described.labels.len(), "DeepStream is ready");
        Ok(Arc::new(Self {
            library,
            model: Arc::new(described),
            inference,
            settings,
            pipelines: Mutex::default(),
            learned: Arc::default(),
            made: AtomicU64::default(),
        }))
    }

    /// The running pipeline for pictures of this size, or a new one, with the camera in it.
    fn join(&self, size: FrameSize, watch: &Watch, camera: &Camera<'_>) -> Result<Joined, EngineError> {
        let mut pipelines = lock(&self.pipelines);
        pipelines.retain(|running| running.pipeline.upgrade().is_some_and(|pipeline| !pipeline.has_failed()));
        let fits = |running: &Running| {
            let pipeline = running.pipeline.upgrade()?;
            (running.confidence == watch.confidence && same_shape(pipeline.mux, size)).then_some(pipeline)
        };
        if let Some(pipeline) = pipelines.iter().find_map(fits) {
            let (branch, number) = camera.enter(&pipeline)?;
            return Ok(Joined { pipeline, branch, number });
        }
        let pipeline = Arc::new(self.build(mux_size(size), watch)?);
        let (branch, number) = camera.enter(&pipeline)?;
        let joined = Joined { pipeline, branch, number };
        joined.pipeline.start()?;
        pipelines.push(Running { pipeline: Arc::downgrade(&joined.pipeline), confidence: watch.confidence });
        Ok(joined)
    }

    fn build(&self, mux: FrameSize, watch: &Watch) -> Result<SharedPipeline, EngineError> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let file = self.settings.work_dir.join(format!("tracker-{number}.yml"));
        let interval = self.settings.interval;
        let text = tracker_config(&TrackingSettings { confidence: watch.confidence, fps: watch.fps, interval });
        write(&file, text.as_bytes()).map_err(|error| EngineError::Pipeline(error.to_string()))?;
        tracing::info!(width = mux.width, height = mux.height, "a DeepStream pipeline starts");
        SharedPipeline::build(&Plan {
            library: &self.library,
            model: &self.model,
            mux,
            batch: self.settings.batch,
            inference: &self.inference,
            tracker: (&self.settings.tracker(), &file),
        })
    }

    /// What the camera's pictures are taken for.
    fn size_of(&self, camera: &CameraId, announced: Option<FrameSize>) -> FrameSize {
        let learned = lock(&self.learned).get(camera).copied();
        match learned {
            Some((before, decoded)) if before == announced => decoded,
            _ => announced.unwrap_or(USUAL),
        }
    }
}

impl Engine for DeepStreamEngine {
    fn labels(&self) -> &[String] {
        &self.model.labels
    }

    fn connect(self: Arc<Self>, feed: Feed) -> Result<Box<dyn EngineSession>, EngineError> {
        let Feed { camera, format, units, watch, output } = feed;
        let size = self.size_of(&camera, format.frame);
        let lane = Arc::new(Lane::new(watch.clone(), output.clone()));
        let camera = Camera { engine: &self, id: &camera, format: &format, lane: &lane };
        let Joined { pipeline, branch, number } = self.join(size, &watch, &camera)?;
        let feeder = tokio::spawn(unit_feed::feed(units, Arc::clone(&branch), output));
        Ok(Box::new(Session { pipeline, branch, number, lane, feeder }))
    }
}

/// A camera on its way into a pipeline.
struct Camera<'a> {
    engine: &'a DeepStreamEngine,
    id: &'a CameraId,
    format: &'a Arc<StreamFormat>,
    lane: &'a Arc<Lane>,
}

struct Joined {
    pipeline: Arc<SharedPipeline>,
    branch: Arc<Branch>,
    number: u32,
}

impl Camera<'_> {
    fn enter(&self, pipeline: &SharedPipeline) -> Result<(Arc<Branch>, u32), EngineError> {
        let branch = Arc::new(Branch::build(self.format, self.lane, self.on_size(pipeline.mux))?);
        let number = pipeline.attach(&branch, self.lane)?;
        Ok((branch, number))
    }

    /// Pictures of a shape that this pipeline would distort need another one: the connection ends, and the next one
    /// knows.
    fn on_size(&self, mux: FrameSize) -> OnSize {
        let (learned, lane) = (Arc::clone(&self.engine.learned), Arc::downgrade(self.lane));
        let (id, announced) = (self.id.clone(), self.format.frame);
        Box::new(move |decoded| {
            if !same_shape(mux, decoded) {
                lock(&learned).insert(id.clone(), (announced, decoded));
                if let Some(lane) = lane.upgrade() {
                    lane.end(DecodeError::FormatChanged.into());
                }
            }
        })
    }
}

/// One connection of a camera.
struct Session {
    pipeline: Arc<SharedPipeline>,
    branch: Arc<Branch>,
    number: u32,
    lane: Arc<Lane>,
    feeder: tokio::task::JoinHandle<()>,
}

impl EngineSession for Session {
    fn counters(&self) -> EngineCounters {
        if self.lane.is_stalled() && !self.pipeline.has_failed() {
            self.pipeline.give_up("no picture has come out of it for 20 s");
        }
        let [decoded, admitted, analysed] = self.lane.counts();
        EngineCounters {
            units_dropped: self.branch.units_dropped(),
            decoded,
            frames_skipped: admitted.saturating_sub(analysed),
            analysed,
            still: 0,
        }
    }

    fn snapshot(&self, wait: Duration) -> Result<Jpeg, EngineError> {
        self.branch.snapshot(wait)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.feeder.abort();
        self.pipeline.detach(&self.branch, self.number);
    }
}

fn inference_settings(settings: &DeepStreamSettings, network: &Network, weights: Weights) -> InferenceSettings {
    InferenceSettings {
        weights,
        batch: network.batch(settings.batch),
        precision: settings.precision,
        calibration: settings.calibration.clone(),
        interval: settings.interval,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is a single call, so a panic can't leave them half made.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
