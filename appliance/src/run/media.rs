//! Wires what makes clips and snapshots of footage, and what sends them.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Parts;
use super::keep::KeptEvent;
use super::tasks::Tasks;
use crate::clips::{self, ClipService, Cutter};
use crate::config::Config;
use crate::control::Media;
use crate::health::Vitals;
use crate::masks::{Gate, GateKeeper};
use crate::retention::board::Board;
use crate::retention::needs::Needed;
use crate::snapshots::{self, Pictures, SnapshotService, Taker};
use crate::uploads::Outgoing;

/// Answers on their way to control, which takes them at once; when full, the next clip waits.
const ANSWERS: usize = 16;

/// What makes and sends clips and snapshots.
#[derive(Clone)]
pub(super) struct MediaParts {
    /// The queue to the cloud.
    pub(super) outgoing: Outgoing,
    /// What may leave the edge.
    pub(super) gate: Gate,
    keeper: GateKeeper,
}

impl MediaParts {
    /// Opens the queue. Blocks.
    pub(super) fn open(config: &Config, vitals: &Vitals) -> anyhow::Result<Self> {
        let outgoing = Outgoing::open(config.data_dir.join("outgoing"), &config.uploads);
        let outgoing = outgoing.context("the queue of uploads can't be used")?;
        vitals.set_uploads(outgoing.clone());
        let (keeper, gate) = Gate::new();
        Ok(Self { outgoing, gate, keeper })
    }

    /// Starts the tasks that cut clips and take snapshots; returns the ways to ask them.
    pub(super) fn start(
        &self,
        tasks: &mut Tasks,
        Parts { config, footage, outbox, .. }: &Parts,
        (pictures, events): (Pictures, &broadcast::Sender<Arc<KeptEvent>>),
        (board, needed): (Board, watch::Sender<Needed>),
        stop: &CancellationToken,
    ) -> Media {
        let (footage, chain) = (&footage.footage, &footage.chain);
        let (answer, answers) = mpsc::channel(ANSWERS);
        let cutter = Cutter {
            footage: footage.clone(),
            gate: self.gate.clone(),
            outgoing: self.outgoing.clone(),
            causes: Arc::new(clips::Told { board, footage: footage.clone() }),
            chain: chain.clone(),
        };
        let (clips, asks) = clips::channel();
        let service = ClipService {
            cutter,
            settings: config.clips.clone(),
            outbox: outbox.clone(),
            answers: answer.clone(),
            needed,
            data_dir: config.data_dir.clone(),
        };
        tasks.spawn("clips", service.run(asks, events.subscribe(), stop.clone()));
        let taker = Taker {
            footage: footage.clone(),
            gate: self.gate.clone(),
            outgoing: self.outgoing.clone(),
            boxes: pictures.boxes(),
        };
        let (snapshots, asks) = snapshots::requests();
        let service = SnapshotService { taker, settings: config.snapshots, outbox: outbox.clone(), answers: answer };
        tasks.spawn("snapshots", service.run(asks, pictures, events.subscribe(), stop.clone()));
        Media { clips, snapshots, gate: self.keeper.clone(), answers }
    }
}
