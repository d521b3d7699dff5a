//! When a camera's source counts as dead and when it is tried again.
//!
//! A live source dies in many ways: an error, an end of stream, a timeout, or silence while the session stays up
//! (measured: `rtspsrc` says nothing for 45 s then). All lead to the same move: drop the source, wait, build it anew.

mod failure;

use std::time::Duration;

use aivms_contract::health::CameraState;
use aivms_contract::id::CameraId;

pub use self::failure::Failure;
use crate::backoff::Backoff;

/// How long a source may be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchSettings {
    /// From the start to the first access unit: connecting, describing and the first key frame take their time.
    pub first_unit_within: Duration,
    /// From one access unit to the next.
    pub next_unit_within: Duration,
    /// Streaming for this long makes the next failure wait for the shortest delay again. A camera that sends a moment
    /// of video and dies, over and over, is not streaming.
    pub steady_after: Duration,
}

impl Default for WatchSettings {
    fn default() -> Self {
        Self {
            first_unit_within: Duration::from_secs(10),
            next_unit_within: Duration::from_secs(5),
            steady_after: Duration::from_secs(10),
        }
    }
}

/// What an end of stream means for a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// It never ends by itself: its end is a failure.
    Live,
    /// It is played again when it ends.
    LoopedFile,
}

impl SourceKind {
    /// The kind that a camera's `url` means.
    #[must_use]
    pub fn of_url(url: &str) -> Self {
        if url.starts_with("file://") { Self::LoopedFile } else { Self::Live }
    }
}

/// What the shell must do with the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Build a new source and start it.
    Start,
    /// Drop the source, whatever state it is in. A `Start` follows at a later deadline.
    Stop,
    /// Play the file again from its start, at once.
    Replay,
}

/// State of a camera for its health report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStatus {
    /// What the source is doing.
    pub state: CameraState,
    /// Why it is not streaming, for a person.
    pub cause: Option<String>,
    /// Since when, on the clock of `now`.
    pub since: Duration,
}

/// Supervises one camera's source.
///
/// `now` is a monotonic time since any start that all calls share. `fraction` is a random number from 0 to 1 for the
/// back-off. The shell passes reports of the present source only, waits until [`CameraSupervisor::next_deadline`] or
/// a report, and carries out what comes back. A camera that is switched off has no supervisor.
#[derive(Debug)]
pub struct CameraSupervisor {
    camera: CameraId,
    kind: SourceKind,
    settings: WatchSettings,
    backoff: Backoff,
    state: State,
    since: Duration,
    /// Why the source last failed; forgotten when it streams.
    cause: Option<Failure>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// No source exists; one is started at `until`.
    Waiting { until: Duration },
    /// A source exists, and no access unit has come from it.
    Connecting,
    /// Access units arrive.
    Streaming {
        /// When the last one came, or when a file was started again.
        last_unit: Duration,
        /// Whether one came since a file was started again.
        any_unit: bool,
    },
}

impl CameraSupervisor {
    /// A camera whose source is to be started at once: the first deadline is `now`.
    #[must_use]
    pub fn new(camera: CameraId, kind: SourceKind, settings: WatchSettings, backoff: Backoff, now: Duration) -> Self {
        Self { camera, kind, settings, backoff, state: State::Waiting { until: now }, since: now, cause: None }
    }

    /// Says that an access unit arrived.
    pub fn on_access_unit(&mut self, now: Duration) {
        match &mut self.state {
            // A late unit of a source that is being dropped.
            State::Waiting { .. } => return,
            State::Connecting => self.enter(State::Streaming { last_unit: now, any_unit: true }, now),
            State::Streaming { last_unit, any_unit } => (*last_unit, *any_unit) = (now, true),
        }
        self.cause = None;
        if now.saturating_sub(self.since) >= self.settings.steady_after {
            self.backoff.reset();
        }
    }

    /// Says that the source failed. `None` when that is known already: errors seldom come alone.
    pub fn on_failure(&mut self, failure: Failure, now: Duration, fraction: f64) -> Option<Action> {
        if matches!(self.state, State::Waiting { .. }) {
            return None;
        }
        self.cause = Some(failure);
        let until = now.saturating_add(self.backoff.next_delay(fraction));
        self.enter(State::Waiting { until }, now);
        Some(Action::Stop)
    }

    /// Says that the source has reached its end. A file is played again, unless nothing came of it.
    pub fn on_end_of_stream(&mut self, now: Duration, fraction: f64) -> Option<Action> {
        match (self.kind, &mut self.state) {
            (SourceKind::LoopedFile, State::Streaming { last_unit, any_unit: any_unit @ true }) => {
                (*last_unit, *any_unit) = (now, false);
                Some(Action::Replay)
            }
            (SourceKind::LoopedFile, _) => self.on_failure(Failure::NotVideo, now, fraction),
            (SourceKind::Live, State::Connecting) => self.on_failure(Failure::NoVideo, now, fraction),
            (SourceKind::Live, _) => self.on_failure(Failure::Ended, now, fraction),
        }
    }

    /// When [`CameraSupervisor::on_deadline`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Duration {
        match self.state {
            State::Waiting { until } => until,
            State::Connecting => self.since.saturating_add(self.settings.first_unit_within),
            State::Streaming { last_unit, .. } => last_unit.saturating_add(self.settings.next_unit_within),
        }
    }

    /// Starts a source whose wait is over, or gives up one that is silent for too long. `None` when nothing is due.
    pub fn on_deadline(&mut self, now: Duration, fraction: f64) -> Option<Action> {
        if now < self.next_deadline() {
            return None;
        }
        match self.state {
            State::Waiting { .. } => {
                self.enter(State::Connecting, now);
                Some(Action::Start)
            }
            State::Connecting => self.on_failure(Failure::NoVideo, now, fraction),
            State::Streaming { .. } => self.on_failure(Failure::Stalled, now, fraction),
        }
    }

    /// What to report of the camera.
    #[must_use]
    pub fn status(&self) -> SourceStatus {
        let state = match (self.state, &self.cause) {
            (State::Waiting { .. }, Some(_)) => CameraState::Retrying,
            (State::Waiting { .. }, None) | (State::Connecting, _) => CameraState::Connecting,
            (State::Streaming { .. }, _) => CameraState::Streaming,
        };
        let cause = self.cause.as_ref().map(|failure| failure.explain(&self.camera));
        SourceStatus { state, cause, since: self.since }
    }

    /// Why the source last failed; `None` while it streams, or when it never did.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.cause.as_ref()
    }

    /// Failures in a row; 0 while it streams steadily.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.backoff.failures()
    }

    fn enter(&mut self, state: State, now: Duration) {
        self.state = state;
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backoff::Jitter;
    use proptest::prelude::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn supervisor(kind: SourceKind) -> CameraSupervisor {
        let backoff = Backoff::new(s(1), s(60), Jitter::Equal).unwrap();
        CameraSupervisor::new("door".parse().unwrap(), kind, WatchSettings::default(), backoff, s(100))
    }

    /// A supervisor whose source has been started at 100 s.
    fn started(kind: SourceKind) -> CameraSupervisor {
        let mut camera = supervisor(kind);
        assert_eq!(camera.on_deadline(s(100), 1.0), Some(Action::Start));
        camera
    }

    #[test]
    fn a_new_camera_is_started_at_once() {
        let mut camera = supervisor(SourceKind::Live);
        assert_eq!(camera.status().state, CameraState::Connecting);
        assert_eq!(camera.next_deadline(), s(100));
        assert_eq!(camera.on_deadline(s(99), 1.0), None);
        assert_eq!(camera.on_deadline(s(100), 1.0), Some(Action::Start));
    }

    #[test]
    fn a_source_without_a_first_unit_is_given_up_after_ten_seconds_and_says_so() {
        let mut camera = started(SourceKind::Live);
        assert_eq!(camera.next_deadline(), s(110));
        assert_eq!(camera.on_deadline(s(110), 1.0), Some(Action::Stop));
        let status = camera.status();
        assert_eq!((status.state, status.since), (CameraState::Retrying, s(110)));
        assert!(status.cause.unwrap().starts_with("camera door connected but sends no video"));
    }

    #[test]
    fn a_stream_that_falls_silent_is_given_up_after_five_seconds() {
        let mut camera = started(SourceKind::Live);
        camera.on_access_unit(s(101));
        camera.on_access_unit(s(103));
        assert_eq!((camera.status().state, camera.status().since), (CameraState::Streaming, s(101)));
        assert_eq!(camera.on_deadline(s(106), 1.0), None);
        assert_eq!(camera.on_deadline(s(108), 1.0), Some(Action::Stop));
        assert!(camera.status().cause.unwrap().contains("stopped sending video"));
    }

    #[test]
    fn errors_ends_and_silence_all_lead_to_the_same_rebuild_with_growing_waits() {
        let mut camera = supervisor(SourceKind::Live);
        let mut waits = vec![];
        for round in 0..6 {
            let now = camera.next_deadline();
            assert_eq!(camera.on_deadline(now, 1.0), Some(Action::Start));
            let stop = match round % 3 {
                0 => camera.on_failure(Failure::Refused(401), now, 1.0),
                1 => camera.on_end_of_stream(now, 1.0),
                _ => camera.on_deadline(camera.next_deadline(), 1.0),
            };
            assert_eq!(stop, Some(Action::Stop));
            waits.push(camera.next_deadline() - camera.status().since);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32].map(s));
    }

    #[test]
    fn an_error_after_an_error_counts_once_and_a_late_unit_changes_nothing() {
        let mut camera = started(SourceKind::Live);
        assert_eq!(camera.on_failure(Failure::Unreachable, s(101), 1.0), Some(Action::Stop));
        assert_eq!(camera.on_failure(Failure::Ended, s(101), 1.0), None);
        assert_eq!(camera.on_end_of_stream(s(101), 1.0), None);
        camera.on_access_unit(s(101));
        assert_eq!((camera.status().state, camera.next_deadline()), (CameraState::Retrying, s(102)));
        assert_eq!(camera.failures(), 1);
    }

    #[test]
    fn only_steady_streaming_shortens_the_wait_again() {
        let mut camera = started(SourceKind::Live);
        camera.on_access_unit(s(101));
        camera.on_failure(Failure::Ended, s(102), 1.0);
        camera.on_deadline(s(103), 1.0);
        camera.on_access_unit(s(104));
        camera.on_failure(Failure::Ended, s(105), 1.0);
        assert_eq!(camera.next_deadline(), s(107), "a second of video is not steady");
        camera.on_deadline(s(107), 1.0);
        (108..=118).for_each(|at| camera.on_access_unit(s(at)));
        camera.on_failure(Failure::Ended, s(119), 1.0);
        assert_eq!(camera.next_deadline(), s(120));
    }

    #[test]
    fn a_file_that_ends_is_played_again_at_once_and_an_empty_one_is_a_failure() {
        let mut camera = started(SourceKind::LoopedFile);
        camera.on_access_unit(s(101));
        assert_eq!(camera.on_end_of_stream(s(102), 1.0), Some(Action::Replay));
        camera.on_access_unit(s(103));
        assert_eq!(camera.on_end_of_stream(s(104), 1.0), Some(Action::Replay));
        assert_eq!((camera.failures(), camera.status().state), (0, CameraState::Streaming));
        assert_eq!(camera.on_end_of_stream(s(104), 1.0), Some(Action::Stop));
        assert_eq!(started(SourceKind::LoopedFile).on_end_of_stream(s(100), 1.0), Some(Action::Stop));
    }

    #[test]
    fn the_cause_stays_while_connecting_and_goes_with_the_first_unit() {
        let mut camera = started(SourceKind::Live);
        camera.on_failure(Failure::Refused(401), s(101), 1.0);
        camera.on_deadline(s(102), 1.0);
        let status = camera.status();
        assert_eq!(status.state, CameraState::Connecting);
        assert_eq!(status.cause.as_deref(), Some("camera door answers 401: check username and password"));
        camera.on_access_unit(s(103));
        assert_eq!(camera.status().cause, None);
    }

    proptest! {
        /// Whatever a source does, the shell is told to start and stop by turns, and is never left without a deadline.
        #[test]
        fn starts_and_stops_alternate_and_the_camera_is_tried_for_ever(
            file: bool, steps in proptest::collection::vec((0u8..5, 0u64..8_000, 0.0..=1.0f64), 1..300),
        ) {
            let mut camera = supervisor(if file { SourceKind::LoopedFile } else { SourceKind::Live });
            let (mut now, mut running) = (s(100), false);
            for (what, step_ms, fraction) in steps {
                now += Duration::from_millis(step_ms);
                let action = match what {
                    0 => { camera.on_access_unit(now); None }
                    1 => camera.on_failure(Failure::Unreachable, now, fraction),
                    2 => camera.on_end_of_stream(now, fraction),
                    _ => camera.on_deadline(now, fraction),
                };
                match action {
                    Some(Action::Start) => { prop_assert!(!running); running = true; }
                    Some(Action::Stop) => { prop_assert!(running); running = false; }
                    Some(Action::Replay) => prop_assert!(running && file),
                    None => {}
                }
                prop_assert!(camera.next_deadline() <= now + s(60));
                prop_assert!(running || camera.status().state != CameraState::Streaming);
            }
        }
    }
}
