//! Wires what works with footage: the recorder, and those that read, delete and send what it records.

use std::sync::Arc;
use std::time::Duration;

use aivms_contract::id::EdgeId;
use anyhow::Context as _;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::chain::{self, Chain, ChainSettings};
use crate::cloud::Cloud;
use crate::config::{self, Config};
use crate::continuity::Ends;
use crate::health::Vitals;
use crate::identity::Identity;
use crate::masks::Gate;
use crate::outbox::Outbox;
use crate::pipeline::consumer::{Consumers, StreamConsumer};
use crate::recorder::{Folders, Footage, PolicyWatch, Recorder, RecorderSettings, RecordingPolicy};
use crate::relay::{Relay, RelayTask};
use crate::retention::Retention;
use crate::retention::board::Board;
use crate::retention::locking::Locking;
use crate::retention::locks::Locks;
use crate::retention::needs::{NeedSource, Needs, Surroundings};
use crate::state::State;

/// Time for the last records to reach the chains.
const SEAL_LIMIT: Duration = Duration::from_secs(5);

/// What works with footage.
#[derive(Clone)]
pub(super) struct FootageParts {
    /// What is recorded of which camera and for how long; control changes it.
    pub(super) policy: watch::Sender<Arc<RecordingPolicy>>,
    /// Takes the cameras' main streams.
    pub(super) recorder: Recorder,
    /// What is recorded, for everybody else.
    pub(super) footage: Footage,
    /// Shows video to the cloud; without one it keeps nothing.
    pub(super) relay: Relay,
    /// What is signed of it.
    pub(super) chain: Chain,
    /// The task that enters segments, and the thread that writes what is entered.
    sealing: [TaskTracker; 2],
    recorded: CancellationToken,
}

/// What retention needs besides footage.
pub(super) struct RetentionAround {
    pub(super) state: State,
    pub(super) outbox: Outbox,
    pub(super) cloud: Option<Arc<Cloud>>,
    pub(super) floor_bytes: u64,
    pub(super) board: Board,
    /// Footage around an event that the cloud has not got.
    pub(super) surroundings: Surroundings,
    /// Clips that are not cut yet.
    pub(super) clips: NeedSource,
}

impl FootageParts {
    /// Starts the recorder.
    pub(super) fn open(
        config: &Config,
        edge: &EdgeId,
        vitals: &Arc<Vitals>,
        identity: watch::Receiver<Option<Arc<Identity>>>,
    ) -> anyhow::Result<Self> {
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
        let noting = Arc::clone(vitals);
        let opened = Recorder::open(settings, changes, move |notice| noting.note(notice));
        let (recorder, footage) = opened.context("video can't be recorded")?;
        let settings = ChainSettings {
            recordings: config.recording.dir.clone(),
            slow: config.recording.slow_dir.clone(),
            edge: edge.clone(),
        };
        let (chain, writer) = Chain::new(settings, identity);
        let (sealing, recorded) = ([TaskTracker::new(), TaskTracker::new()], CancellationToken::new());
        let [following, writing] = &sealing;
        vitals.set_chain(chain.clone());
        following.spawn(chain::follow(chain.clone(), footage.clone(), recorded.clone()));
        writing.spawn_blocking(|| writer.run());
        let relay = if config.cloud.is_some() { Relay::default() } else { Relay::idle() };
        Ok(Self { policy, recorder, footage, relay, chain, sealing, recorded })
    }

    /// Those who take the cameras' video.
    pub(super) fn consumers(&self, ends: Ends) -> Consumers {
        let consumers: Vec<Arc<dyn StreamConsumer>> =
            vec![Arc::new(self.recorder.clone()), Arc::new(self.relay.clone()), Arc::new(ends)];
        consumers.into()
    }

    /// What deletes footage, and what knows which of it stays.
    pub(super) fn retention(&self, around: RetentionAround) -> (Retention, Locking) {
        let locks = Locks::open(around.state);
        let outbox = around.outbox;
        let followed = around.cloud.is_some().then(|| outbox.clone());
        let retention = Retention {
            footage: self.footage.clone(),
            policy: self.policy.subscribe(),
            floor_bytes: around.floor_bytes,
            locks: locks.clone(),
            needs: Needs::new(followed, around.surroundings, vec![around.clips]),
            chain: self.chain.clone(),
            outbox: outbox.clone(),
            cloud: around.cloud,
            board: around.board,
        };
        (retention, Locking { locks, footage: self.footage.clone(), chain: self.chain.clone(), outbox })
    }

    /// The task that shows video to the cloud.
    pub(super) fn relay_task(
        &self,
        settings: config::Cloud,
        cloud: Arc<Cloud>,
        identity: watch::Receiver<Option<Arc<Identity>>>,
        (gate, board): (Gate, Board),
    ) -> RelayTask {
        RelayTask { relay: self.relay.clone(), footage: self.footage.clone(), gate, board, settings, cloud, identity }
    }

    /// Ends all of it, once the cameras have stopped.
    pub(super) async fn close(&self) {
        self.recorder.close().await;
        // What was closed now gets its record before the chain ends; without it, after the next start.
        self.recorded.cancel();
        let sealed = async {
            let [following, writing] = &self.sealing;
            following.close();
            following.wait().await;
            self.chain.close().await;
            writing.close();
            writing.wait().await;
        };
        if timeout(SEAL_LIMIT, sealed).await.is_err() {
            tracing::error!(
                "the last segments have no records in their chains yet; they get them after the next start"
            );
        }
    }
}
