//! Enters every segment that the recorder closes, and those that an earlier run closed without a record.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use aivms_contract::id::CameraId;
use aivms_footage::chain::{Leaf, SealTime};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Chain, ChainError, ClosedSegment};
use crate::recorder::{Footage, Readiness, RecorderEvent, Segment, SegmentKey};

/// Pause before segments that could not be entered are looked for again.
const RETRY_PAUSE: Duration = Duration::from_secs(30);

/// Follows the recorder until `stop`, and then enters what was closed before.
pub async fn follow(chain: Chain, footage: Footage, stop: CancellationToken) {
    let mut events = footage.subscribe();
    let mut readiness = footage.readiness();
    let mut follower = Follower { chain, footage, compare_at: None, compared: BTreeSet::new() };
    // Nothing is lent out of the channel while other things are awaited.
    let complete = async move { drop(readiness.wait_for(|readiness| *readiness == Readiness::Complete).await) };
    tokio::pin!(complete);
    let mut is_complete = false;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return follower.drain(&mut events).await,
            event = events.recv() => match event {
                Ok(event) => follower.take(event).await,
                Err(RecvError::Lagged(_)) => follower.compare_soon(),
                Err(RecvError::Closed) => return,
            },
            // The sender lives as long as the footage.
            () = &mut complete, if !is_complete => {
                is_complete = true;
                follower.compare_at = Some(Instant::now());
            }
            () = sleep_until(follower.compare_at.unwrap_or_else(Instant::now)),
                if is_complete && follower.compare_at.is_some() => follower.compare(&stop).await,
        }
    }
}

struct Follower {
    chain: Chain,
    footage: Footage,
    /// When the chains are compared with all footage; absent while they agree as far as is known.
    compare_at: Option<Instant>,
    /// What a comparison has entered: it may have been closed just now, and its event still on its way.
    compared: BTreeSet<SegmentKey>,
}

impl Follower {
    async fn drain(mut self, events: &mut Receiver<RecorderEvent>) {
        loop {
            match events.try_recv() {
                Ok(event) => self.take(event).await,
                // The rest is entered after the next start.
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    async fn take(&mut self, event: RecorderEvent) {
        if let RecorderEvent::SegmentClosed { segment } = event
            && !self.compared.remove(&segment.key())
        {
            self.seal(&segment, SealTime::Closed).await;
        }
    }

    fn compare_soon(&mut self) {
        self.compare_at.get_or_insert_with(|| Instant::now() + RETRY_PAUSE);
    }

    /// Whether it has a record now.
    async fn seal(&mut self, segment: &Segment, sealed: SealTime) -> bool {
        let known: Vec<_> = segment.fragments.iter().filter_map(Leaf::of).collect();
        let closed = ClosedSegment {
            start: segment.start,
            end: segment.end,
            path: segment.path.clone(),
            leaves: if known.len() == segment.fragments.len() { known } else { Vec::new() },
            sealed,
        };
        match self.chain.segment_closed(&segment.camera, closed).await {
            Ok(()) => return true,
            // Deleted or moved meanwhile; what was moved is found by the next comparison.
            Err(ChainError::Disk { source, .. }) if source.kind() == io::ErrorKind::NotFound => self.compare_soon(),
            Err(error) => {
                let key = segment.key();
                tracing::error!(%error, "the segment of {key} has no record in its chain yet; it is tried again");
                self.compare_soon();
            }
        }
        false
    }

    /// Enters every closed segment that has no record.
    async fn compare(&mut self, stop: &CancellationToken) {
        self.compare_at = None;
        for camera in self.footage.cameras() {
            for key in self.unsealed(&camera).await {
                if stop.is_cancelled() {
                    return;
                }
                let footage = self.footage.clone();
                let read = tokio::task::spawn_blocking(move || footage.segment(&key)).await;
                // One that was deleted meanwhile needs no record.
                if let Ok(Ok(segment)) = read
                    && self.seal(&segment, SealTime::Later).await
                {
                    self.compared.insert(segment.key());
                }
            }
        }
    }

    async fn unsealed(&self, camera: &CameraId) -> Vec<SegmentKey> {
        let (chain, footage, camera) = (self.chain.clone(), self.footage.clone(), camera.clone());
        let compared = tokio::task::spawn_blocking(move || {
            let closed: Vec<_> = footage.summaries(&camera).into_iter().filter(|segment| segment.closed).collect();
            // Read after the list, so that what is closed meanwhile is in neither.
            let sealed = chain.sealed(&camera);
            let missing = closed.into_iter().filter(|segment| !sealed.contains(&segment.start));
            missing.map(|segment| SegmentKey { camera: camera.clone(), start: segment.start }).collect()
        });
        compared.await.unwrap_or_default()
    }
}
