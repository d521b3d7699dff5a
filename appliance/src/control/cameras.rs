//! The cameras that run, each in its own supervised task.

use std::collections::BTreeMap;
use std::sync::Arc;

use aivms_appliance_core::tracks::{RestSettings, Session};
use aivms_contract::id::CameraId;
use futures_util::future::join_all;

use super::desired::Wanted;
use super::plan::{Step, plan};
use crate::clock;
use crate::health::{CameraVitals, Vitals};
use crate::pipeline::camera::{CameraHandle, CameraOutput, CameraSpec, spawn_camera};
use crate::pipeline::consumer::Consumers;
use crate::pipeline::engine::Engine;
use crate::tracks_file::TracksRecorder;

/// The running cameras, kept equal to what is wanted.
pub struct CameraSet {
    engine: Arc<dyn Engine>,
    output: CameraOutput,
    vitals: Arc<Vitals>,
    stationary: RestSettings,
    recorder: Option<TracksRecorder>,
    consumers: Consumers,
    running: BTreeMap<CameraId, Running>,
}

struct Running {
    wanted: Wanted,
    handle: CameraHandle,
}

impl CameraSet {
    /// Starts with no camera. What cameras have to say goes to `output`, how they are to `vitals`.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>, output: impl Into<CameraOutput>, vitals: Arc<Vitals>) -> Self {
        let (stationary, recorder) = (RestSettings::default(), None);
        let (output, consumers, running) = (output.into(), Consumers::default(), BTreeMap::new());
        Self { engine, output, vitals, stationary, recorder, consumers, running }
    }

    /// The same, with those who take the cameras' video beside the analysis.
    #[must_use]
    pub fn feeding(self, consumers: Consumers) -> Self {
        Self { consumers, ..self }
    }

    /// The same, with what the settings file says of objects at rest and of recording what cameras see.
    #[must_use]
    pub fn with(self, stationary: RestSettings, recorder: Option<TracksRecorder>) -> Self {
        Self { stationary, recorder, ..self }
    }

    /// Names of the classes that can be seen.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        self.engine.labels()
    }

    /// Stops, starts and changes cameras until those run that are wanted; the others are not touched.
    pub async fn apply(&mut self, wanted: &[Wanted]) {
        let now = self.running.iter().map(|(id, running)| (id.clone(), running.wanted.clone())).collect();
        let steps = plan(&now, wanted);
        let (stops, others): (Vec<_>, Vec<_>) = steps.into_iter().partition(|step| matches!(step, Step::Stop(_)));
        let stopped = stops.into_iter().filter_map(|step| match step {
            Step::Stop(id) => self.running.remove(&id),
            _ => None,
        });
        join_all(stopped.map(|running| running.handle.stop())).await;
        for step in others {
            self.take(step);
        }
        for one in wanted {
            if let Some(running) = self.running.get_mut(&one.camera.id) {
                running.wanted = one.clone();
            }
        }
        self.show(wanted);
    }

    /// Rebuilds the pipeline of one camera, or of all.
    ///
    /// # Errors
    /// The camera does not run.
    pub fn restart(&self, camera: Option<&CameraId>) -> Result<(), String> {
        match camera {
            Some(id) => {
                let running = self.running.get(id).ok_or_else(|| format!("camera {id} does not run on this edge"))?;
                running.handle.restart();
            }
            None => self.running.values().for_each(|running| running.handle.restart()),
        }
        Ok(())
    }

    /// Stops every camera; what they have seen is in the channel then.
    pub async fn stop(self) {
        join_all(self.running.into_values().map(|running| running.handle.stop())).await;
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Start(wanted) => {
                tracing::info!(camera.id = wanted.camera.id.as_str(), "the camera is started");
                let handle = spawn_camera(self.spec(&wanted), Arc::clone(&self.engine), self.output.clone());
                self.running.insert(wanted.camera.id.clone(), Running { wanted: *wanted, handle });
            }
            Step::ReplaceRules(id, rules) => {
                tracing::info!(camera.id = id.as_str(), "the camera's rules are replaced");
                self.running[&id].handle.replace_rules(rules);
            }
            Step::Stop(_) => {}
        }
    }

    fn show(&self, wanted: &[Wanted]) {
        let vitals = |wanted: &Wanted| match self.running.get(&wanted.camera.id) {
            Some(running) => CameraVitals::Running(running.handle.health()),
            None => CameraVitals::Disabled { since: clock::now() },
        };
        self.vitals.set_cameras(wanted.iter().map(|wanted| (wanted.camera.id.clone(), vitals(wanted))).collect());
    }

    fn spec(&self, wanted: &Wanted) -> CameraSpec {
        CameraSpec {
            camera: wanted.camera.clone(),
            // A fresh one for each start, so that track ids are never used twice.
            session: Session::from_random(fastrand::u64(..)),
            detection_fps: wanted.detection_fps,
            confidence: wanted.confidence,
            classes: wanted.classes.clone(),
            time_zone: wanted.time_zone.clone(),
            stationary: self.stationary,
            recorder: self.recorder.clone(),
            consumers: self.consumers.clone(),
            audio: wanted.audio,
        }
    }
}
