//! From the cameras' analysis to who takes the pictures, without ever holding a camera up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aivms_appliance_core::analysis::BestPicture;
use aivms_appliance_core::detection::FrameDetections;
use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;
use tokio::sync::mpsc;

use super::boxes::RecentBoxes;

/// Pictures that may wait to be taken: half a minute of sixty busy cameras. When full, more are dropped and counted.
const WAITING: usize = 512;

/// Where the analysis says which pictures are worth taking. It never waits; a default one takes nothing.
#[derive(Debug, Clone, Default)]
pub struct PictureSink {
    sender: Option<mpsc::Sender<BestPicture>>,
    dropped: Arc<AtomicU64>,
    boxes: RecentBoxes,
}

/// The pictures worth taking.
#[derive(Debug)]
pub struct Pictures {
    receiver: mpsc::Receiver<BestPicture>,
    dropped: Arc<AtomicU64>,
    boxes: RecentBoxes,
}

/// A way for pictures to who takes them; it ends when all sinks are gone.
#[must_use]
pub fn channel() -> (PictureSink, Pictures) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let dropped = Arc::default();
    let boxes = RecentBoxes::default();
    let sink = PictureSink { sender: Some(sender), dropped: Arc::clone(&dropped), boxes: boxes.clone() };
    (sink, Pictures { receiver, dropped, boxes })
}

impl PictureSink {
    /// Says what was seen in a frame shown at `at`.
    pub fn saw(&self, camera: &CameraId, at: UtcMillis, frame: &FrameDetections) {
        if self.sender.is_some() {
            self.boxes.see(camera, at, frame);
        }
    }

    /// Says which pictures are worth taking.
    pub fn offer(&self, pictures: Vec<BestPicture>) {
        let Some(sender) = &self.sender else { return };
        let refused = pictures.into_iter().filter(|picture| sender.try_send(picture.clone()).is_err()).count();
        self.dropped.fetch_add(refused as u64, Ordering::Relaxed);
    }
}

impl Pictures {
    /// The next one; `None` when all sinks are gone.
    pub async fn next(&mut self) -> Option<BestPicture> {
        self.receiver.recv().await
    }

    /// What was seen in the last minutes.
    #[must_use]
    pub fn boxes(&self) -> RecentBoxes {
        self.boxes.clone()
    }

    /// Pictures dropped since this was last asked.
    #[must_use]
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }
}
