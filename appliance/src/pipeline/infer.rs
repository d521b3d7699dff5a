//! The model on ONNX Runtime: loaded once, run on its own thread for all cameras in turn.

mod built_in;
mod error;
mod load;
mod outputs;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aivms_appliance_core::decode;
use aivms_appliance_core::detection::Detected;
use aivms_appliance_core::letterbox::{Letterbox, Normaliser};
use aivms_appliance_core::model::ModelDescription;
use aivms_contract::desired::MAX_CAMERAS;
use ort::environment::Environment;
use ort::session::Session;
use ort::value::TensorRef;

pub use self::built_in::refuse_other_form;
pub use self::error::{DetectError, DetectorError};
use super::frame::Frame;

/// Frames that wait for the model. Each camera waits for its answer before it asks again, so with one place per
/// camera the queue is never full, and cameras take turns.
const WAITING_FRAMES: usize = MAX_CAMERAS;

/// What to load and how to run it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetectorSettings {
    /// The ONNX Runtime library; absent for the path in `ORT_DYLIB_PATH`, or the system's `libonnxruntime.so`.
    pub library: Option<PathBuf>,
    /// The model's `.onnx` file.
    pub model: PathBuf,
    /// The model's description; absent for the `.toml` file beside the model, or the built-in one of its file name.
    pub description: Option<PathBuf>,
    /// Threads that compute one frame; 0 for as many as there are processor cores.
    pub threads: usize,
    /// Whether the model runs only for pictures in which something changes.
    pub motion_gate: bool,
}

/// A loaded model, shared by all cameras.
pub struct Detector {
    model: Arc<ModelDescription>,
    normaliser: Normaliser,
    motion_gate: bool,
    /// Absent once the detector is being dropped.
    jobs: Option<SyncSender<Job>>,
    worker: Option<JoinHandle<()>>,
    totals: Arc<Mutex<Times>>,
}

/// Where the time of one frame went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// Filling the input tensor.
    pub prepare: Duration,
    /// Waiting for other cameras' frames.
    pub queue: Duration,
    /// The model's own run.
    pub model: Duration,
    /// Reading boxes from the outputs and suppressing doubles.
    pub read: Duration,
}

/// The description of a model: the one that is named, else the one beside the model, else the built-in one of its name.
pub(super) fn description(model: &Path, named: Option<&Path>) -> Result<ModelDescription, DetectorError> {
    let (model, description) = (model.to_owned(), named.map(Path::to_owned));
    load::description(&DetectorSettings { library: None, model, description, threads: 0, motion_gate: false })
}

/// One camera's access to the detector, with the buffers that its frames reuse.
pub struct Eye {
    detector: Arc<Detector>,
    tensor: Vec<f32>,
}

struct Job {
    tensor: Vec<f32>,
    letterbox: Letterbox,
    threshold: f32,
    asked: Instant,
    answer: SyncSender<Answer>,
}

struct Answer {
    tensor: Vec<f32>,
    found: Result<Vec<Detected>, DetectError>,
    times: Times,
}

impl Detector {
    /// Loads library, description and model, checks that they fit together by a first run, and starts the thread.
    ///
    /// Takes about a second: call it where blocking is allowed.
    ///
    /// # Errors
    /// Names the file that is missing or does not fit, and the command that gets it.
    pub fn load(settings: &DetectorSettings) -> Result<Arc<Self>, DetectorError> {
        let model = Arc::new(load::description(settings)?);
        let normaliser = Normaliser::new(&model.input);
        let mut runner = Runner { session: load::session(settings, &model)?, model: Arc::clone(&model) };
        runner.warm_up(normaliser.tensor_len(), settings)?;
        let (jobs, queue) = sync_channel(WAITING_FRAMES);
        let work = move || runner.run(&queue);
        let worker = std::thread::Builder::new().name("detector".to_owned()).spawn(work);
        let worker = worker.map_err(DetectorError::Thread)?;
        tracing::info!(model = %settings.model.display(), labels = model.labels.len(), "detector loaded");
        let (motion_gate, totals) = (settings.motion_gate, Arc::default());
        Ok(Arc::new(Self { model, normaliser, motion_gate, jobs: Some(jobs), worker: Some(worker), totals }))
    }

    /// Names of the classes; the position is the class number.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        &self.model.labels
    }

    /// What the model wants and gives.
    #[must_use]
    pub fn model(&self) -> &ModelDescription {
        &self.model
    }

    /// Whether the model runs only for pictures in which something changes.
    #[must_use]
    pub fn has_motion_gate(&self) -> bool {
        self.motion_gate
    }

    /// Makes one camera's access.
    #[must_use]
    pub fn eye(self: &Arc<Self>) -> Eye {
        Eye { detector: Arc::clone(self), tensor: vec![0.0; self.normaliser.tensor_len()] }
    }

    fn count(&self, times: Times) {
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        totals.prepare += times.prepare;
        totals.queue += times.queue;
        totals.model += times.model;
        totals.read += times.read;
    }

    /// Where the time of all frames went since the detector was loaded.
    #[must_use]
    pub fn totals(&self) -> Times {
        *self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// ONNX Runtime as all of this process must use it. Without `library` it is the one that is loaded already, or that
/// which [`DetectorSettings`] without one would load.
///
/// # Errors
/// The library is missing or too old, or another one has been loaded.
pub fn runtime(library: Option<&Path>) -> Result<Environment, DetectorError> {
    match (library, load::loaded()) {
        (None, Some(loaded)) => Ok(loaded),
        _ => load::environment(library),
    }
}

impl Drop for Detector {
    /// Waits for the frame that is being computed.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if self.worker.take().is_some_and(|worker| worker.join().is_err()) {
            tracing::error!("the detector's thread panicked");
        }
    }
}

impl Eye {
    /// Finds what is in `frame`, boxes of `threshold` and more confidence, in pixels of the camera's picture.
    ///
    /// Blocks until the model has run, after the frames of other cameras that came before.
    ///
    /// # Errors
    /// The picture can't be read, the model failed, or the detector has ended.
    pub fn look(&mut self, frame: &Frame, threshold: f32) -> Result<(Vec<Detected>, Times), DetectError> {
        let start = Instant::now();
        let content = frame.letterbox.content();
        let (normaliser, tensor) = (&self.detector.normaliser, &mut self.tensor);
        let written = frame.with_image(|image| normaliser.write(image, content, tensor));
        written.ok_or(DetectError::Unreadable)??;
        let prepare = start.elapsed();
        // A channel for each question, whose only sender goes with the job: a detector that ends is heard.
        let (answer, answers) = sync_channel(1);
        let (tensor, letterbox) = (std::mem::take(&mut self.tensor), frame.letterbox);
        let job = Job { tensor, letterbox, threshold, asked: Instant::now(), answer };
        let jobs = self.detector.jobs.as_ref().ok_or(DetectError::Ended)?;
        jobs.send(job).map_err(|_| DetectError::Ended)?;
        let answer = answers.recv().map_err(|_| DetectError::Ended)?;
        self.tensor = answer.tensor;
        let times = Times { prepare, ..answer.times };
        self.detector.count(times);
        Ok((answer.found?, times))
    }
}

/// The worker thread's own.
struct Runner {
    session: Session,
    model: Arc<ModelDescription>,
}

impl Runner {
    fn run(mut self, queue: &Receiver<Job>) {
        while let Ok(job) = queue.recv() {
            let Job { tensor, letterbox, threshold, asked, answer } = job;
            let mut times = Times { queue: asked.elapsed(), ..Times::default() };
            // A fault in one frame, of a decoder or of the runtime, must not end the detection of all cameras.
            let look = AssertUnwindSafe(|| self.detect(&tensor, &letterbox, threshold, &mut times));
            let found = catch_unwind(look).unwrap_or(Err(DetectError::Panicked));
            // A camera that has been stopped meanwhile does not wait for its answer.
            let _ = answer.try_send(Answer { tensor, found, times });
        }
    }

    fn detect(
        &mut self,
        tensor: &[f32],
        letterbox: &Letterbox,
        threshold: f32,
        times: &mut Times,
    ) -> Result<Vec<Detected>, DetectError> {
        let model = Arc::clone(&self.model);
        let start = Instant::now();
        let outputs = self.outputs(tensor)?;
        times.model = start.elapsed();
        let found = outputs::read(&outputs, |tensors| decode::detections(&model, letterbox, tensors, threshold));
        times.read = start.elapsed() - times.model;
        found
    }

    fn outputs(&mut self, tensor: &[f32]) -> Result<ort::session::SessionOutputs<'_>, DetectError> {
        let (height, width) = (self.model.input.height as usize, self.model.input.width as usize);
        let input = TensorRef::from_array_view(([1usize, 3, height, width], tensor))?;
        Ok(self.session.run(ort::inputs![input])?)
    }

    /// Runs the model once on an empty picture: the first run allocates, and wrong outputs show before any camera does.
    fn warm_up(&mut self, numbers: usize, settings: &DetectorSettings) -> Result<(), DetectorError> {
        let model = Arc::clone(&self.model);
        let tensor = vec![0.0; numbers];
        let outputs = self.outputs(&tensor);
        let checked =
            outputs.and_then(|outputs| outputs::read(&outputs, |tensors| decode::decode(&model, tensors, 1.0)));
        checked.map(drop).map_err(|source| DetectorError::Outputs { model: settings.model.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aivms_contract::geometry::FrameSize;
    use aivms_contract::time::MediaTime;
    use gstreamer as gst;

    #[test]
    fn a_camera_learns_that_the_detector_has_ended_while_it_waits() {
        gst::init().unwrap();
        let settings = DetectorSettings {
            library: None,
            model: "nanodet-g-416.onnx".into(),
            description: None,
            threads: 1,
            motion_gate: false,
        };
        let model = Arc::new(load::description(&settings).unwrap());
        let (jobs, queue) = sync_channel::<Job>(1);
        let worker = std::thread::spawn(move || drop(queue.recv()));
        let normaliser = Normaliser::new(&model.input);
        let (jobs, worker) = (Some(jobs), Some(worker));
        let detector = Detector { model, normaliser, motion_gate: false, jobs, worker, totals: Arc::default() };
        let mut eye = Arc::new(detector).eye();
        let (said, answer) = std::sync::mpsc::channel();
        std::thread::spawn(move || said.send(eye.look(&black(&eye.detector.model), 0.5)));
        let answer = answer.recv_timeout(Duration::from_secs(10)).expect("it does not wait for ever");
        assert!(matches!(answer, Err(DetectError::Ended)));
    }

    fn black(model: &ModelDescription) -> Frame {
        let size = FrameSize { width: model.input.width, height: model.input.height };
        let letterbox = Letterbox::new(size, &model.input).unwrap();
        let colour = format!("{:?}", model.input.colour).to_uppercase();
        let caps = format!("video/x-raw, format={colour}, width={}, height={}, framerate=5/1", size.width, size.height);
        let buffer = gst::Buffer::from_mut_slice(vec![0u8; (size.width * size.height * 3) as usize]);
        let sample = gst::Sample::builder().caps(&caps.parse().unwrap()).buffer(&buffer).build();
        Frame::new(&sample, MediaTime::ZERO, letterbox).unwrap()
    }
}
