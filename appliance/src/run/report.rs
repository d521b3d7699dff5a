//! What the edge says by itself: heartbeat, health reports, and the status file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aivms_contract::envelope::Body;
use aivms_contract::health::CameraState;
use aivms_contract::id::{CameraId, EdgeId};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::cloud::Cloud;
use crate::config::Reporting;
use crate::health::Vitals;
use crate::identity::Identity;
use crate::outbox::Outbox;
use crate::status::{StatusFile, WRITE_INTERVAL};
use crate::uplink::{LinkHealth, Say};

/// How often cameras are compared with the last report.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Least time between two reports, so that a camera that flaps does not fill the outbox.
const REPORT_GAP: Duration = Duration::from_secs(10);

/// What reports are made of and where they go.
pub(super) struct Reporter {
    pub(super) reporting: Reporting,
    pub(super) data_dir: PathBuf,
    pub(super) edge: EdgeId,
    pub(super) vitals: Arc<Vitals>,
    pub(super) outbox: Outbox,
    pub(super) identity: watch::Receiver<Option<Arc<Identity>>>,
    pub(super) cloud: Option<Arc<Cloud>>,
    pub(super) link: watch::Receiver<LinkHealth>,
    pub(super) say: mpsc::Sender<Say>,
}

impl Reporter {
    /// Reports until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut ticks = [self.reporting.heartbeat, LOOK_INTERVAL, WRITE_INTERVAL].map(|period| {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        let [heartbeat, look, write] = &mut ticks;
        let mut last: Option<Reported> = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = heartbeat.tick() => self.beat(),
                _ = look.tick() => self.look(&mut last).await,
                _ = write.tick() => self.write().await,
            }
        }
        // Only a crash leaves the file, for whoever looks into it.
        StatusFile::remove(&self.data_dir);
    }

    fn beat(&self) {
        let status = self.vitals.heartbeat(clock::now(), self.outbox.health().entries);
        // The next one says the same; see `uplink::MESSAGES`.
        let _ = self.say.try_send(Say::Status(status));
    }

    async fn look(&self, last: &mut Option<Reported>) {
        let cameras = self.vitals.cameras().into_iter().map(|camera| (camera.camera_id, camera.state)).collect();
        let now = Instant::now();
        if last.as_ref().is_none_or(|last| last.is_outdated(&cameras, self.reporting.health, now)) {
            self.outbox.take_notices().into_iter().for_each(|notice| self.vitals.note(notice));
            let notices = self.vitals.take_notices();
            let report = self.vitals.report(clock::now(), self.outbox.health(), notices.clone());
            let kept = self.outbox.append(Body::Health(report)).await;
            // What waits in memory is kept as well, and the outbox logs that it waits.
            if let Err(error) = kept.or_else(|error| error.waits().then_some(0).ok_or(error)) {
                tracing::error!(error = &error as &dyn std::error::Error, "a health report can't be written");
                notices.into_iter().for_each(|notice| self.vitals.note(notice));
            }
            *last = Some(Reported { at: now, cameras });
        }
    }

    async fn write(&self) {
        let now = clock::now();
        let validity = self.identity.borrow().as_ref().map(|identity| identity.validity());
        let wrong_clock = validity.and_then(|validity| validity.problem_at(now));
        let status = StatusFile {
            at: now,
            pid: std::process::id(),
            edge_id: self.edge.clone(),
            link: self.link.borrow().clone(),
            applied_version: self.vitals.applied_version(),
            time_zone: self.vitals.time_zone().name().to_owned().try_into().ok(),
            certificate_until: validity.map(|validity| validity.not_after),
            clock_problem: wrong_clock.or_else(|| self.cloud.as_ref()?.clock_problem()),
            footage: self.vitals.footage_status(),
            health: self.vitals.report(now, self.outbox.health(), Vec::new()),
        };
        let data_dir = self.data_dir.clone();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || status.write(&data_dir)).await {
            tracing::debug!(%error, "the status file can't be written");
        }
    }
}

/// The last health report.
struct Reported {
    at: Instant,
    cameras: Vec<(CameraId, CameraState)>,
}

impl Reported {
    fn is_outdated(&self, cameras: &Vec<(CameraId, CameraState)>, period: Duration, now: Instant) -> bool {
        let age = now.duration_since(self.at);
        age >= period || (age >= REPORT_GAP.min(period) && self.cameras != *cameras)
    }
}
