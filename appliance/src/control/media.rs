//! What control has to do with clips and snapshots: it passes requests on, and answers when they are done.

use aivms_contract::command::CommandResult;
use aivms_contract::id::{CameraId, CommandId};
use aivms_contract::time::UtcMillis;
use tokio::sync::mpsc;

use crate::clips::Clips;
use crate::masks::GateKeeper;
use crate::snapshots::Snapshots;

/// The ways to who makes clips and snapshots.
pub struct Media {
    /// Cuts clips.
    pub clips: Clips,
    /// Takes snapshots.
    pub snapshots: Snapshots,
    /// Is told what must be hidden.
    pub gate: GateKeeper,
    /// Answers of commands whose work is done.
    pub answers: mpsc::Receiver<CommandResult>,
}

impl Media {
    /// Passes on a request for a clip.
    pub(super) fn clip(
        this: Option<&Self>,
        id: CommandId,
        camera: CameraId,
        start: UtcMillis,
        duration_ms: u64,
    ) -> Result<(), String> {
        this.ok_or_else(none)?.clips.request(id, camera, start, duration_ms)
    }

    /// Passes on a request for a snapshot.
    pub(super) fn snapshot(
        this: Option<&Self>,
        id: CommandId,
        camera: CameraId,
        at: Option<UtcMillis>,
        boxes: bool,
    ) -> Result<(), String> {
        this.ok_or_else(none)?.snapshots.request(id, camera, at, boxes)
    }

    /// Waits for the next answer; for ever when none will come.
    pub(super) async fn answer(this: &mut Option<Self>) -> CommandResult {
        match this {
            Some(media) => match media.answers.recv().await {
                Some(answer) => answer,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }
}

fn none() -> String {
    "nothing is recorded on this edge".to_owned()
}
