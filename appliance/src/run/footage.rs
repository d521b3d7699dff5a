//! Wires what works with footage: the recorder, and those that read, delete and send what it records.

use std::sync::Arc;

use aivms_contract::id::EdgeId;
use anyhow::Context as _;
use tokio::sync::watch;

use crate::config::Config;
use crate::health::Vitals;
use crate::pipeline::consumer::{Consumers, StreamConsumer};
use crate::recorder::{Folders, Footage, PolicyWatch, Recorder, RecorderSettings, RecordingPolicy};

/// What works with footage.
#[derive(Clone)]
pub(super) struct FootageParts {
    /// What is recorded of which camera and for how long; control changes it.
    pub(super) policy: watch::Sender<Arc<RecordingPolicy>>,
    /// Takes the cameras' main streams.
    pub(super) recorder: Recorder,
    /// What is recorded, for everybody else.
    #[allow(dead_code, reason = "retention, clips, relay and chain are wired to it here")]
    pub(super) footage: Footage,
}

impl FootageParts {
    /// Starts the recorder.
    pub(super) fn open(config: &Config, edge: &EdgeId, vitals: &Arc<Vitals>) -> anyhow::Result<Self> {
        let cameras = config.cameras.as_slice().iter();
        let cameras = cameras.map(|camera| (camera.id.clone(), camera.recording.clone()));
        let policy = RecordingPolicy::new(config.recording.policy.clone(), cameras);
        let (policy, changes): (_, PolicyWatch) = watch::channel(Arc::new(policy));
        let settings = RecorderSettings {
            data_dir: config.data_dir.clone(),
            folders: Folders { fast: config.recording.dir.clone(), slow: config.recording.slow_dir.clone() },
            segment: config.recording.segment,
            sync: config.recording.sync,
            edge: Some(edge.clone()),
        };
        let vitals = Arc::clone(vitals);
        let opened = Recorder::open(settings, changes, move |notice| vitals.note(notice));
        let (recorder, footage) = opened.context("video can't be recorded")?;
        Ok(Self { policy, recorder, footage })
    }

    /// Those who take the cameras' video.
    pub(super) fn consumers(&self) -> Consumers {
        let consumers: Vec<Arc<dyn StreamConsumer>> = vec![Arc::new(self.recorder.clone())];
        consumers.into()
    }

    /// Ends all of it, once the cameras have stopped.
    pub(super) async fn close(&self) {
        self.recorder.close().await;
    }
}
