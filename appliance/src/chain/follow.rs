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

/// First pause before segments that could not be entered are looked for again: all chains are read then.
const RETRY_PAUSE: Duration = Duration::from_secs(30);
/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// Segments remembered as ones that can't be entered. When there are more, the first of them is forgotten and tried
/// once more.
const MAX_HOPELESS: usize = 4096;

/// Follows the recorder until `stop`, and then enters what was closed before.
pub async fn follow(chain: Chain, footage: Footage, stop: CancellationToken) {
    let mut events = footage.subscribe();
    let mut readiness = footage.readiness();
    let mut follower = Follower::new(chain, footage);
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
    /// Pause before it; it grows while comparisons fail.
    pause: Duration,
    /// What a comparison has entered: it may have been closed just now, and its event still on its way.
    compared: BTreeSet<SegmentKey>,
    /// What can't be entered in this run: its file is damaged or missing.
    hopeless: BTreeSet<SegmentKey>,
}

impl Follower {
    fn new(chain: Chain, footage: Footage) -> Self {
        let (compared, hopeless) = (BTreeSet::new(), BTreeSet::new());
        Self { chain, footage, compare_at: None, pause: RETRY_PAUSE, compared, hopeless }
    }

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
        let pause = self.pause;
        self.compare_at.get_or_insert_with(|| Instant::now() + pause);
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
            Err(ChainError::Disk { path, source })
                if path == segment.path && source.kind() == io::ErrorKind::NotFound =>
            {
                self.missing(segment).await;
            }
            Err(error @ ChainError::Segment { .. }) => self.give_up(segment, &error),
            Err(error) => {
                let key = segment.key();
                tracing::error!(%error, "the segment of {key} has no record in its chain yet; it is tried again");
                self.compare_soon();
            }
        }
        false
    }

    /// A segment's file is not there: it was deleted meanwhile, or moved, or it is lost.
    async fn missing(&mut self, segment: &Segment) {
        let (footage, key) = (self.footage.clone(), segment.key());
        match tokio::task::spawn_blocking(move || footage.segment(&key)).await {
            Ok(Ok(now)) if now.path == segment.path => self.give_up(segment, &"its file is missing"),
            Ok(Ok(_)) => self.compare_soon(),
            // What is deleted needs no record.
            _ => {}
        }
    }

    /// Keeps a segment out of later comparisons.
    fn give_up(&mut self, segment: &Segment, cause: &dyn std::fmt::Display) {
        let key = segment.key();
        tracing::error!("the segment of {key} gets no record in its chain: {cause}");
        if self.hopeless.len() >= MAX_HOPELESS {
            self.hopeless.pop_first();
        }
        self.hopeless.insert(key);
    }

    /// Enters every closed segment that has no record.
    async fn compare(&mut self, stop: &CancellationToken) {
        self.compare_at = None;
        // All events of what earlier comparisons have entered were taken before this one.
        self.compared.clear();
        for camera in self.footage.cameras() {
            for key in self.unsealed(&camera).await {
                if stop.is_cancelled() {
                    return;
                }
                if self.hopeless.contains(&key) {
                    continue;
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
        self.pause = if self.compare_at.is_some() { (self.pause * 2).min(LONGEST_PAUSE) } else { RETRY_PAUSE };
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

#[cfg(test)]
mod tests {
    use aivms_contract::desired::Recording;

    use super::*;
    use crate::retention::tests::{Site, camera, eventually};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_segment_that_can_never_be_entered_is_tried_once_and_a_disk_that_refuses_ever_less_often() {
        let site = Site::new();
        let files = site.lay_until_now("gate", 3, 1000);
        let parts = site.open(Recording::default()).await;
        let (gate, footage) = (camera("gate"), parts.footage.clone());
        let keys: Vec<_> = footage.summaries(&gate).iter().map(|it| (gate.clone(), it.start)).collect();
        let keys: Vec<_> = keys.into_iter().map(|(camera, start)| SegmentKey { camera, start }).collect();
        let mut damaged = std::fs::read(&files[0]).unwrap();
        damaged[..64].fill(0xa5);
        std::fs::write(&files[0], damaged).unwrap();
        std::fs::remove_file(&files[1]).unwrap();
        // Their tables are in the index soon.
        eventually(|| keys.iter().all(|key| footage.segment(key).is_ok())).await;
        let (mut follower, stop) = (Follower::new(parts.chain.clone(), footage), CancellationToken::new());

        // A file stands where the chain's folder belongs.
        let folder = super::super::file::folder(&site.folders().fast, &gate);
        std::fs::write(&folder, "").unwrap();
        for pause in [60, 120, 240] {
            follower.compare(&stop).await;
            assert_eq!((follower.pause, follower.compare_at.is_some()), (Duration::from_secs(pause), true));
        }
        follower.pause = LONGEST_PAUSE;
        follower.compare(&stop).await;
        assert_eq!(follower.pause, LONGEST_PAUSE);
        std::fs::remove_file(&folder).unwrap();
        follower.compare(&stop).await;
        assert_eq!((follower.pause, follower.compare_at), (RETRY_PAUSE, None), "nothing is left that could be entered");
        assert_eq!(follower.hopeless, keys[..2].iter().cloned().collect());
        assert_eq!(follower.compared, keys[2..].iter().cloned().collect());
        follower.compare(&stop).await;
        assert!(follower.compared.is_empty(), "what was entered long ago is forgotten");
        parts.close().await;
    }
}
