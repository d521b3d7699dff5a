//! A consumer that keeps what a test asks about.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aivms_appliance::pipeline::access_unit::{AccessUnit, AudioUnit};
use aivms_appliance::pipeline::consumer::{StreamConsumer, StreamEnd, StreamFeed, StreamRole};
use aivms_contract::id::CameraId;
use aivms_contract::time::MediaClock;
use tokio::sync::broadcast::error::RecvError;

/// Long enough for a loaded machine; a test waits this long only to fail.
pub(crate) const PATIENCE: Duration = Duration::from_secs(50);

/// Everything that came from the cameras given to it.
#[derive(Default)]
pub(crate) struct Counting {
    connections: Mutex<Vec<Arc<Seen>>>,
    ends: Mutex<Vec<(CameraId, StreamRole, StreamEnd, Instant)>>,
}

/// One connection.
pub(crate) struct Seen {
    pub(crate) camera: CameraId,
    pub(crate) role: StreamRole,
    pub(crate) clock: MediaClock,
    pub(crate) units: Mutex<Vec<AccessUnit>>,
    pub(crate) sound: Mutex<Vec<AudioUnit>>,
    pub(crate) lost: Mutex<u64>,
}

impl StreamConsumer for Counting {
    fn connected(&self, camera: &CameraId, feed: StreamFeed) {
        let StreamFeed { role, mut units, mut audio, clock } = feed;
        let seen = Arc::new(Seen {
            camera: camera.clone(),
            role,
            clock: *clock.borrow(),
            units: Mutex::default(),
            sound: Mutex::default(),
            lost: Mutex::default(),
        });
        self.connections.lock().unwrap().push(Arc::clone(&seen));
        let heard = Arc::clone(&seen);
        tokio::spawn(async move {
            loop {
                match units.recv().await {
                    Ok(unit) => seen.units.lock().unwrap().push(unit),
                    Err(RecvError::Lagged(lost)) => *seen.lost.lock().unwrap() += lost,
                    Err(RecvError::Closed) => return,
                }
            }
        });
        tokio::spawn(async move {
            while let Ok(unit) = audio.recv().await {
                heard.sound.lock().unwrap().push(unit);
            }
        });
    }

    fn disconnected(&self, camera: &CameraId, role: StreamRole, end: StreamEnd) {
        self.ends.lock().unwrap().push((camera.clone(), role, end, Instant::now()));
    }
}

impl Counting {
    /// The connections of a camera so far.
    pub(crate) fn connections(&self, camera: &str) -> Vec<Arc<Seen>> {
        self.connections.lock().unwrap().iter().filter(|seen| seen.camera.as_str() == camera).cloned().collect()
    }

    /// The ends of a camera's connections and attempts so far.
    pub(crate) fn ends(&self, camera: &str) -> Vec<(StreamRole, StreamEnd, Instant)> {
        let ends = self.ends.lock().unwrap();
        let of_camera = ends.iter().filter(|(id, ..)| id.as_str() == camera);
        of_camera.map(|(_, role, end, at)| (*role, end.clone(), *at)).collect()
    }

    /// Waits for the connection of this number, counted from 0, until it has given `units`.
    pub(crate) async fn connection(&self, camera: &str, number: usize, units: usize) -> Arc<Seen> {
        let seen = || self.connections(camera).get(number).cloned().filter(|seen| seen.count() >= units);
        eventually(&format!("{units} units of connection {number} of {camera}"), seen).await
    }
}

impl Seen {
    /// Units so far.
    pub(crate) fn count(&self) -> usize {
        self.units.lock().unwrap().len()
    }
}

/// Waits until there is something.
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
