//! The real ledger of gaps beside the real recorder, and what it tells the cloud.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aivms_appliance::chain::{Chain, ChainSettings};
use aivms_appliance::clock;
use aivms_appliance::continuity::{self, Continuity, Ends};
use aivms_appliance::health::{CameraVitals, Vitals};
use aivms_appliance::outbox::{Outbox, OutboxSettings};
use aivms_appliance::recorder::{Footage, PolicyWatch};
use aivms_appliance::retention::board::Board;
use aivms_appliance::state::State;
use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::footage::{FootageEvent, Gap, GapCause};
use aivms_contract::health::{CameraHealth, CameraState};
use aivms_contract::id::CameraId;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::consumer::eventually;

/// The ledger's task, with an outbox of its own.
pub(crate) struct Ledger {
    /// Hears from the cameras' connections.
    pub(crate) ends: Ends,
    board: Board,
    outbox: Outbox,
    vitals: Arc<Vitals>,
    configured: Mutex<BTreeMap<CameraId, CameraVitals>>,
    stop: CancellationToken,
    work: Mutex<Option<JoinHandle<()>>>,
}

impl Ledger {
    /// Begins to keep it, of what is recorded in `folder`.
    pub(crate) fn keep(folder: &Path, footage: Footage, policy: PolicyWatch) -> Self {
        let (state, _) = State::open(folder.join("state")).unwrap();
        let settings =
            OutboxSettings { dir: folder.join("outbox"), max_bytes: 1 << 20, group_time: Duration::from_millis(20) };
        let (outbox, _) = Outbox::open(settings, "edge_1".parse().unwrap(), &state).unwrap();
        let chains = ChainSettings { recordings: folder.join("chain"), slow: None, edge: "edge_1".parse().unwrap() };
        let (chain, writer) = Chain::new(chains, watch::channel(None).1);
        std::thread::spawn(|| writer.run());
        let (vitals, board) = (Arc::new(Vitals::new(folder.to_owned())), Board::default());
        let continuity = Continuity {
            footage,
            policy,
            vitals: Arc::clone(&vitals),
            outbox: outbox.clone(),
            chain,
            board: board.clone(),
            data_dir: folder.to_owned(),
        };
        let (ends, ended) = continuity::ends();
        let stop = CancellationToken::new();
        let work = Mutex::new(Some(tokio::spawn(continuity.run(ended, stop.clone()))));
        Self { ends, board, outbox, vitals, configured: Mutex::default(), stop, work }
    }

    /// Switches a camera on, as its settings do.
    pub(crate) fn switch_on(&self, camera: &str) {
        let health = CameraHealth {
            camera_id: camera.parse().unwrap(),
            state: CameraState::Connecting,
            cause: None,
            since: clock::now(),
            detect_fps: 0.0,
            recording: None,
        };
        self.set(camera, CameraVitals::Running(watch::channel(health).1));
    }

    /// Switches a camera off, as its settings do.
    pub(crate) fn switch_off(&self, camera: &str) {
        self.set(camera, CameraVitals::Disabled { since: clock::now() });
    }

    fn set(&self, camera: &str, vitals: CameraVitals) {
        let mut configured = self.configured.lock().unwrap();
        configured.insert(camera.parse().unwrap(), vitals);
        self.vitals.set_cameras(configured.clone());
    }

    /// Waits until such a gap of a camera is told.
    pub(crate) async fn gap(&self, camera: &str, fits: impl Fn(&Gap) -> bool) -> Gap {
        let id = camera.parse().unwrap();
        let found = || self.board.gaps(&id).into_iter().find(|gap| gap.cause != GapCause::SwitchedOff && fits(gap));
        eventually(&format!("a gap of {camera}"), found).await
    }

    /// Ends the task; gives what the cloud was told of each camera, in order, but for the time that it was off.
    pub(crate) async fn close(&self) -> HashMap<String, Vec<Gap>> {
        self.stop.cancel();
        let work = self.work.lock().unwrap().take().unwrap();
        work.await.unwrap();
        let mut gaps = HashMap::<String, Vec<Gap>>::new();
        for entry in self.outbox.read_after(0, 1000, usize::MAX).await.unwrap() {
            if let Body::Footage(told) = Envelope::from_json(&entry.json).unwrap().body
                && let FootageEvent::Gap(gap) = told.event
                && gap.cause != GapCause::SwitchedOff
            {
                gaps.entry(told.camera_id.to_string()).or_default().push(gap);
            }
        }
        self.outbox.clone().close().await;
        gaps
    }
}
