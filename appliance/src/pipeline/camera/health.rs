//! What a camera's task says of its camera.

use std::time::{Duration, Instant};

use aivms_appliance_core::supervise::SourceStatus;
use aivms_contract::health::{CameraHealth, CameraState};
use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;
use tokio::sync::watch;

/// Time over which the rate of analysed frames is measured.
const RATE_PERIOD: Duration = Duration::from_secs(5);

/// Publishes a camera's health whenever it changes.
pub(super) struct HealthBoard {
    health: watch::Sender<CameraHealth>,
    measured: Instant,
    analysed: u64,
}

/// The wall clock.
pub(super) fn utc_now() -> UtcMillis {
    UtcMillis::from_millis(jiff::Timestamp::now().as_millisecond())
}

impl HealthBoard {
    pub(super) fn new(camera_id: CameraId) -> (Self, watch::Receiver<CameraHealth>) {
        let state = CameraState::Connecting;
        let (health, read) = watch::channel(CameraHealth {
            camera_id,
            state,
            cause: None,
            since: utc_now(),
            detect_fps: 0.0,
            recording: None,
        });
        (Self { health, measured: Instant::now(), analysed: 0 }, read)
    }

    /// Says what the supervisor says; `now` is on its clock.
    pub(super) fn show(&self, status: SourceStatus, now: Duration) {
        let since = || utc_now() - now.saturating_sub(status.since);
        self.change(status.state, status.cause, since);
    }

    /// Says that the camera does not run, and why if that is a fault.
    pub(super) fn show_idle(&self, state: CameraState, cause: Option<String>) {
        self.change(state, cause, utc_now);
    }

    /// Counts one analysed frame.
    pub(super) fn count_frame(&mut self) {
        self.analysed += 1;
    }

    /// Measures the rate when it is time to.
    pub(super) fn measure(&mut self) {
        let elapsed = self.measured.elapsed();
        if elapsed < RATE_PERIOD {
            return;
        }
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a rate of a few frames")]
        let rate = (self.analysed as f64 / elapsed.as_secs_f64()) as f32;
        (self.measured, self.analysed) = (Instant::now(), 0);
        self.health.send_if_modified(|health| std::mem::replace(&mut health.detect_fps, rate) != rate);
    }

    fn change(&self, state: CameraState, cause: Option<String>, since: impl FnOnce() -> UtcMillis) {
        self.health.send_if_modified(|health| {
            if health.state == state && health.cause == cause {
                return false;
            }
            if health.state != state {
                health.since = since();
            }
            (health.state, health.cause) = (state, cause);
            true
        });
    }
}
