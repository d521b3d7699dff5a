//! One of a camera's streams under supervision: connected, watched over and connected anew, whatever happens to it.

use std::time::{Duration, Instant};

use aivms_appliance_core::backoff::Backoff;
use aivms_appliance_core::supervise::{Action, CameraSupervisor, Failure, SourceKind, SourceStatus, WatchSettings};
use aivms_contract::time::MediaClock;

use super::connection::{Connection, LeftBehind};
use super::health::utc_now;
use super::stream::Stream;
use crate::pipeline::access_unit::AccessUnit;
use crate::pipeline::consumer::StreamEnd;
use crate::pipeline::source::SourceEnd;
use crate::pipeline::source::address::Address;

/// A supervised stream. It tells its consumers of each connection, and of the end of each connection and attempt.
pub(super) struct Link {
    pub(super) stream: Stream,
    pub(super) connection: Option<Connection>,
    pub(super) left_behind: LeftBehind,
    /// Connections begun.
    pub(super) connections: u64,
    /// Pipelines that did not end in time.
    pub(super) left: u64,
    supervisor: CameraSupervisor,
    /// The failure last logged.
    logged: String,
    /// Zero of the supervisor's clock.
    started: Instant,
}

impl Link {
    /// Connects at its first deadline, which is now.
    pub(super) fn new(stream: Stream) -> Self {
        let (supervisor, started) = (supervise(&stream, Duration::ZERO), Instant::now());
        let (logged, left_behind) = (String::new(), LeftBehind::default());
        Self { stream, connection: None, left_behind, connections: 0, left: 0, supervisor, logged, started }
    }

    /// What to report of the stream.
    pub(super) fn status(&self) -> SourceStatus {
        self.supervisor.status()
    }

    /// Time on the clock of [`Link::status`].
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// When [`Link::on_deadline`] is due.
    pub(super) fn deadline(&self) -> Instant {
        self.started + self.supervisor.next_deadline()
    }

    /// The clock of the present connection.
    pub(super) fn clock(&self) -> Option<MediaClock> {
        self.connection.as_ref().and_then(Connection::clock)
    }

    /// Begins anew, without any wait; the connection is closed already.
    pub(super) fn begin_anew(&mut self) {
        self.supervisor = supervise(&self.stream, self.now());
    }

    /// Takes note of a unit; true when it is the first of its connection, which is handed to the consumers then.
    ///
    /// # Errors
    /// Its time does not fit the time that has passed.
    pub(super) fn take(&mut self, unit: &AccessUnit) -> Result<bool, Failure> {
        let Some(connection) = &mut self.connection else { return Ok(false) };
        if connection.clock().is_none() {
            let (camera, role, format) = (&self.stream.camera, self.stream.role, &unit.format);
            let (codec, frame) = (format.codec(), format.frame);
            tracing::info!(camera.id = %camera, ?role, codec, ?frame, "the camera streams");
            connection.anchor(&self.stream, unit, utc_now());
            return Ok(true);
        }
        let jumped = || Failure::Other("its timestamps do not fit the time that has passed".to_owned());
        if connection.is_in_time(unit) { Ok(false) } else { Err(jumped()) }
    }

    /// Says that a unit arrived.
    pub(super) fn on_unit(&mut self) {
        self.supervisor.on_access_unit(self.started.elapsed());
    }

    /// Follows the wall clock when it was set.
    pub(super) fn follow_wall_clock(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.follow_wall_clock(&self.stream, utc_now());
        }
    }

    pub(super) fn on_source_end(&mut self, end: &SourceEnd) -> Option<Action> {
        match self.connection.as_ref().map(|connection| connection.failure(end)) {
            None => None,
            Some(Failure::Ended) => {
                let action = self.supervisor.on_end_of_stream(self.now(), fastrand::f64());
                self.log_stop(action)
            }
            Some(failure) => self.fail(failure),
        }
    }

    pub(super) fn on_deadline(&mut self) -> Option<Action> {
        let now = self.now();
        // Silence of a host that has not answered is another fault than silence of a camera.
        let silence = self.connection.as_ref().map(|connection| connection.failure(&Failure::NoVideo.into()));
        if silence == Some(Failure::Unreachable) && now >= self.supervisor.next_deadline() {
            return self.fail(Failure::Unreachable);
        }
        let action = self.supervisor.on_deadline(now, fastrand::f64());
        self.log_stop(action)
    }

    pub(super) fn fail(&mut self, failure: Failure) -> Option<Action> {
        let action = self.supervisor.on_failure(failure, self.now(), fastrand::f64());
        self.log_stop(action)
    }

    /// Starts a source; what keeps it from starting counts as a failed attempt.
    pub(super) async fn connect(&mut self) {
        if !self.left_behind.has_room() {
            let hang = "earlier pipelines of it hang: restart the appliance, or the device if it does not help";
            return self.fail_to_start(Failure::Other(hang.to_owned()));
        }
        self.connections += 1;
        match Connection::open(&self.stream, &mut self.left_behind).await {
            Ok(opened) => self.connection = Some(opened),
            Err(failure) => self.fail_to_start(failure),
        }
    }

    /// Without a source there is nothing to stop.
    fn fail_to_start(&mut self, failure: Failure) {
        let end = StreamEnd::Failed(failure.clone());
        self.fail(failure);
        self.stream.tell_end(&end);
    }

    /// Takes the connection down and tells the consumers why it ended.
    pub(super) async fn close(&mut self, end: &StreamEnd) {
        if let Some(connection) = self.connection.take()
            && !connection.close(&mut self.left_behind).await
        {
            self.left += 1;
            tracing::error!(camera.id = %self.stream.camera, "the camera's pipeline does not end and is left behind");
        }
        self.stream.tell_end(end);
    }

    /// Why the connection that is to be closed has ended.
    pub(super) fn end(&self) -> StreamEnd {
        // A file that is played again has not failed.
        StreamEnd::Failed(self.supervisor.failure().cloned().unwrap_or(Failure::Ended))
    }

    /// Logs the failure that an action answers to: when it is a new one, and ever rarer while it stays the same, so
    /// that a dead camera does not bury what else is in the log.
    fn log_stop(&mut self, action: Option<Action>) -> Option<Action> {
        if action == Some(Action::Stop) {
            let cause = self.supervisor.status().cause.unwrap_or_default();
            let retry_in = self.supervisor.next_deadline().saturating_sub(self.now());
            let (camera, failures) = (&self.stream.camera, self.supervisor.failures());
            if cause != self.logged || failures.is_power_of_two() {
                tracing::warn!(camera.id = %camera, failures, ?retry_in, "{cause}");
            } else {
                tracing::debug!(camera.id = %camera, failures, ?retry_in, "{cause}");
            }
            self.logged = cause;
        }
        action
    }
}

fn supervise(stream: &Stream, now: Duration) -> CameraSupervisor {
    let kind = match stream.address {
        Address::File(_) => SourceKind::LoopedFile,
        Address::Rtsp(_) | Address::V4l2(_) => SourceKind::Live,
    };
    CameraSupervisor::new(stream.camera.clone(), kind, WatchSettings::default(), Backoff::for_cameras(), now)
}
