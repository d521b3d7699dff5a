//! The engine on NVIDIA's SDK: cameras of one shape share a pipeline.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

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

/// A start that takes longer than this may have been given up by the camera that asked for it.
const SLOW_START: Duration = Duration::from_secs(5);
/// For how long a pipeline that started slowly waits for its camera to come back.
const KEPT_AFTER_START: Duration = Duration::from_secs(90);

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
        }))
    }

    /// The running pipeline for pictures of this size, or a new one, with the camera in it.
    fn join(&self, size: FrameSize, watch: &Watch, camera: &Camera<'_>) -> Result<Joined, EngineError> {
        let pipeline = self.pipeline_for(size, watch)?;
        // A decoder that hangs holds up its own camera and no other: those who want this very pipeline wait for its
        // start and for nothing else.
        let branch = camera.branch(&pipeline)?;
        let mut started = lock(&pipeline.started);
        if *started {
            drop(started);
            let number = pipeline.attach(&branch, camera.lane)?;
            return Ok(Joined { pipeline, branch, number });
        }
        // What is not started yet opens nothing when a camera is added.
        let number = pipeline.attach(&branch, camera.lane)?;
        let begun = Instant::now();
        if let Err(error) = pipeline.start() {
            pipeline.detach(&branch, number);
            return Err(error);
        }
        *started = true;
        drop(started);
        if begun.elapsed() > SLOW_START {
            keep_for_a_while(Arc::clone(&pipeline));
        }
        Ok(Joined { pipeline, branch, number })
    }

    /// A pipeline that fits, running or not started yet. Nothing that may block is done while the list is locked.
    fn pipeline_for(&self, size: FrameSize, watch: &Watch) -> Result<Arc<SharedPipeline>, EngineError> {
        // Declared before the lock, so that a pipeline of which this is the last holder goes down after it.
        let mut alive = Vec::new();
        let mut pipelines = lock(&self.pipelines);
        pipelines.retain(|running| {
            let Some(pipeline) = running.pipeline.upgrade() else { return false };
            let usable = !pipeline.has_failed();
            alive.push((usable && running.confidence == watch.confidence, pipeline));
            usable
        });
        if let Some((_, pipeline)) = alive.iter().find(|(fits, pipeline)| *fits && same_shape(pipeline.mux, size)) {
            return Ok(Arc::clone(pipeline));
        }
        let pipeline = Arc::new(self.build(mux_size(size), watch)?);
        pipelines.push(Running { pipeline: Arc::downgrade(&pipeline), confidence: watch.confidence });
        Ok(pipeline)
    }

    fn build(&self, mux: FrameSize, watch: &Watch) -> Result<SharedPipeline, EngineError> {
        let interval = self.settings.interval;
        let text = tracker_config(&TrackingSettings { confidence: watch.confidence, fps: watch.fps, interval });
        // Named by what it says: cameras that come back for years write no further files.
        let name = crc32fast::hash(text.as_bytes());
        let file = self.settings.work_dir.join(format!("tracker-{name:08x}.yml"));
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
    fn branch(&self, pipeline: &SharedPipeline) -> Result<Arc<Branch>, EngineError> {
        Ok(Arc::new(Branch::build(self.format, self.lane, self.on_size(pipeline.mux))?))
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
        if self.lane.is_stalled() {
            self.tell_of_stall();
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

impl Session {
    /// While other cameras' pictures come out, only this camera is at fault.
    fn tell_of_stall(&self) {
        let why = "no picture has come out of it for 20 s";
        if self.pipeline.is_moving() && !self.pipeline.has_failed() {
            self.lane.end(EngineError::Pipeline(why.to_owned()));
        } else {
            self.pipeline.give_up(why);
        }
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

/// Holds a pipeline that has no camera yet: loading a network takes longer than a camera waits for a decoder, and the
/// next attempt must find it running instead of beginning again.
fn keep_for_a_while(pipeline: Arc<SharedPipeline>) {
    tokio::spawn(async move {
        tokio::time::sleep(KEPT_AFTER_START).await;
        // Taking it down may block.
        drop(tokio::task::spawn_blocking(move || drop(pipeline)));
    });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is a single call, so a panic can't leave them half made.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
