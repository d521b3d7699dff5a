//! Live view and playback for the cloud, over one outbound WebSocket that is there only while somebody looks.
//!
//! [`Relay`] takes every camera's units beside the recorder and keeps those since the last key picture, so that a
//! viewer has a picture at once. The command `open_relay` makes [`RelayTask`] connect ([`session`]); each stream is a
//! task of its own: [`live`] makes fragments of some 120 ms of the units as they come, [`playback`] reads what the
//! recorder wrote. Both write to the one socket through [`outlet`], which never lets live video wait for long.

mod boxes;
mod connect;
mod feed;
mod live;
mod outlet;
mod packager;
mod permit;
mod playback;
mod reel;
mod session;
mod sprite;
mod timeline;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aivms_contract::id::CameraId;
use aivms_contract::relay::Viewable;
use tokio::sync::{Notify, watch};

use crate::control::desired::Wanted;
use crate::pipeline::consumer::{StreamConsumer, StreamEnd, StreamFeed, StreamRole};
use feed::Feed;

pub use boxes::SeenBoxes;
pub use session::RelayTask;

/// Takes the cameras' video for those who look; a cheap handle.
#[derive(Debug, Clone, Default)]
pub struct Relay {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Nobody will ever look: there is no cloud.
    is_idle: bool,
    cameras: Mutex<Vec<Known>>,
    feeds: Mutex<BTreeMap<(CameraId, StreamRole), Arc<Feed>>>,
    /// Rises whenever feeds or cameras change.
    changes: watch::Sender<u64>,
    /// Somebody wants to look.
    called: Notify,
    seen: SeenBoxes,
}

/// A camera as the configuration has it.
#[derive(Debug, Clone)]
struct Known {
    camera: CameraId,
    /// Whether it has a smaller stream.
    has_sub: bool,
}

impl Relay {
    /// For an edge without a cloud: it takes nothing.
    #[must_use]
    pub fn idle() -> Self {
        Self { inner: Arc::new(Inner { is_idle: true, ..Inner::default() }) }
    }

    /// Asks for the WebSocket to be opened, if it is not; the answer to the command `open_relay`.
    pub fn call(&self) {
        self.inner.called.notify_one();
    }

    /// Learns which cameras there are.
    pub fn set_cameras(&self, wanted: &[Wanted]) {
        let known = wanted
            .iter()
            .map(|wanted| Known { camera: wanted.camera.id.clone(), has_sub: wanted.camera.sub_url.is_some() });
        *self.cameras() = known.collect();
        self.changed();
    }

    /// Where what is detected is remembered for boxes over recorded video.
    #[must_use]
    pub fn seen(&self) -> &SeenBoxes {
        &self.inner.seen
    }

    fn known(&self, camera: &CameraId) -> Option<Known> {
        self.cameras().iter().find(|known| known.camera == *camera).cloned()
    }

    fn viewable(
        &self,
        is_recorded: impl Fn(&CameraId) -> bool,
        is_masked: impl Fn(&CameraId) -> bool,
    ) -> Vec<Viewable> {
        let known = self.cameras().clone();
        let live = |camera: &CameraId| {
            [StreamRole::Main, StreamRole::Sub].iter().any(|role| self.feed(camera, *role).is_some())
        };
        let viewable = |Known { camera, .. }: Known| Viewable {
            live: live(&camera),
            recorded: is_recorded(&camera),
            masked: is_masked(&camera),
            camera_id: camera,
        };
        known.into_iter().map(viewable).collect()
    }

    fn feed(&self, camera: &CameraId, role: StreamRole) -> Option<Arc<Feed>> {
        self.feeds().get(&(camera.clone(), role)).cloned()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    fn changed(&self) {
        self.inner.changes.send_modify(|number| *number += 1);
    }

    /// A panic elsewhere never makes the list unusable: every change to it is complete.
    fn cameras(&self) -> MutexGuard<'_, Vec<Known>> {
        self.inner.cameras.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As above.
    fn feeds(&self) -> MutexGuard<'_, BTreeMap<(CameraId, StreamRole), Arc<Feed>>> {
        self.inner.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StreamConsumer for Relay {
    fn connected(&self, camera: &CameraId, feed: StreamFeed) {
        if self.inner.is_idle {
            return;
        }
        let StreamFeed { role, units, clock, .. } = feed;
        let feed = Arc::new(Feed::new(role, clock));
        self.feeds().insert((camera.clone(), role), Arc::clone(&feed));
        self.changed();
        tokio::spawn(feed::keep(feed, units));
    }

    fn disconnected(&self, camera: &CameraId, role: StreamRole, _: StreamEnd) {
        if self.feeds().remove(&(camera.clone(), role)).is_some() {
            self.changed();
        }
    }
}

#[cfg(test)]
mod tests;
