//! The task that keeps one camera running.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aivms_appliance_core::analysis::{CameraAnalysis, Findings};
use aivms_appliance_core::backoff::Backoff;
use aivms_appliance_core::detection::FrameDetections;
use aivms_appliance_core::supervise::{Action, CameraSupervisor, Failure, SourceKind, WatchSettings};
use aivms_contract::health::CameraState;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::connection::{Connection, LeftBehind};
use super::event::{Event, Orders, next_event};
use super::health::{HealthBoard, utc_now};
use super::outbound::{Closed, Outbound};
use super::{CameraCounters, CameraOutput, CameraSpec, SpecError};
use crate::pipeline::access_unit::AccessUnit;
use crate::pipeline::engine::{Engine, Watch};
use crate::pipeline::source::SourceEnd;
use crate::pipeline::source::address::Address;
use crate::tracks_file::CameraTap;
use crate::why::WhySink;

/// How often counters and rates are brought up to date.
const TICK: Duration = Duration::from_secs(1);
/// Longest wait for the outbox when the camera is stopped.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// One camera's task.
pub(super) struct CameraTask {
    spec: CameraSpec,
    engine: Arc<dyn Engine>,
    outbound: Outbound,
    why: WhySink,
    board: HealthBoard,
    counts: watch::Sender<CameraCounters>,
    analysis: CameraAnalysis,
    /// Records every input of the analysis.
    tap: Option<CameraTap>,
    /// The failure last logged.
    logged: String,
    left_behind: LeftBehind,
    /// Zero of the supervisor's clock.
    started: Instant,
}

/// What a camera needs to connect, found right.
struct Plan {
    address: Address,
    watch: Watch,
}

impl CameraTask {
    pub(super) fn new(
        spec: CameraSpec,
        engine: Arc<dyn Engine>,
        output: CameraOutput,
        board: HealthBoard,
        counts: watch::Sender<CameraCounters>,
    ) -> Self {
        let camera = spec.camera.id.clone();
        let analysis = CameraAnalysis::new(
            camera.clone(),
            &spec.session,
            engine.labels(),
            &spec.rules(),
            spec.analysis_settings(),
        );
        let tap = spec.tap(engine.labels());
        let outbound = Outbound::new(camera, output.bodies);
        let (logged, left_behind) = (String::new(), LeftBehind::default());
        let (why, started) = (output.why, Instant::now());
        Self { spec, engine, outbound, why, board, counts, analysis, tap, logged, left_behind, started }
    }

    /// Runs until told to stop or until the outbox is gone.
    pub(super) async fn run(self, orders: Orders) {
        let camera = &self.spec.camera;
        if !camera.enabled {
            self.board.show_idle(CameraState::Disabled, None);
            return orders.stop.cancelled().await;
        }
        match self.plan() {
            Ok(plan) => self.keep_running(&plan, orders).await,
            Err(error) => {
                tracing::error!(camera.id = %camera.id, %error, "the camera can't run as it is configured");
                self.board.show_idle(CameraState::Retrying, Some(error.to_string()));
                orders.stop.cancelled().await;
            }
        }
    }

    fn plan(&self) -> Result<Plan, SpecError> {
        Ok(Plan { address: Address::of(&self.spec.camera)?, watch: self.spec.watch(self.engine.labels())? })
    }

    fn new_supervisor(&self) -> CameraSupervisor {
        let camera = &self.spec.camera;
        let kind = SourceKind::of_url(&camera.url);
        CameraSupervisor::new(camera.id.clone(), kind, WatchSettings::default(), Backoff::for_cameras(), self.now())
    }

    async fn keep_running(mut self, plan: &Plan, mut orders: Orders) {
        let mut supervisor = self.new_supervisor();
        let mut connection = None;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let deadline = self.started + supervisor.next_deadline();
            let action = match next_event(&mut self.outbound, &mut orders, &mut connection, &mut tick, deadline).await {
                Event::Stop | Event::Sent(Err(Closed)) => break,
                Event::Restart => {
                    self.disconnect(&mut connection).await;
                    supervisor = self.new_supervisor();
                    None
                }
                Event::Rules(rules) => {
                    if let Some(tap) = &mut self.tap {
                        tap.rules(&rules);
                    }
                    let findings = self.analysis.replace_rules(&rules);
                    self.tell(findings);
                    None
                }
                Event::Sent(Ok(())) => None,
                Event::SourceEnd(end) => self.on_source_end(&mut supervisor, connection.as_ref(), &end),
                Event::EngineEnd(error) => self.fail(&mut supervisor, Failure::Other(error.to_string())),
                Event::Frame(frame) => {
                    self.judge(&frame, connection.as_ref());
                    None
                }
                Event::Unit(unit) => {
                    supervisor.on_access_unit(self.now());
                    let taken = self.take_unit(plan, connection.as_mut(), unit).await;
                    taken.err().and_then(|failure| self.fail(&mut supervisor, failure))
                }
                Event::Tick => self.on_tick(&mut supervisor, connection.as_mut()),
                Event::Deadline => self.on_deadline(&mut supervisor, connection.as_ref()),
            };
            self.carry_out(action, plan, &mut supervisor, &mut connection).await;
            self.board.show(supervisor.status(), self.now());
        }
        self.disconnect(&mut connection).await;
        self.finish().await;
    }

    async fn carry_out(
        &mut self,
        action: Option<Action>,
        plan: &Plan,
        supervisor: &mut CameraSupervisor,
        connection: &mut Option<Connection>,
    ) {
        match action {
            None => {}
            Some(Action::Start) => self.connect(plan, supervisor, connection).await,
            Some(Action::Stop) => self.disconnect(connection).await,
            // A file source replays by itself; one that ended all the same is followed by a new one.
            Some(Action::Replay) => {
                self.disconnect(connection).await;
                self.connect(plan, supervisor, connection).await;
            }
        }
    }

    async fn connect(&mut self, plan: &Plan, supervisor: &mut CameraSupervisor, connection: &mut Option<Connection>) {
        if !self.left_behind.has_room() {
            let hang = "earlier pipelines of it hang: restart the appliance, or the device if it does not help";
            self.fail(supervisor, Failure::Other(hang.to_owned()));
            return;
        }
        self.counts.send_modify(|counts| counts.connections += 1);
        match Connection::open(&plan.address, &mut self.left_behind).await {
            Ok(opened) => *connection = Some(opened),
            Err(failure) => {
                // Without a source there is nothing to stop.
                self.fail(supervisor, failure);
            }
        }
    }

    /// Begins the analysis at the first unit of a connection and watches the time of the others.
    async fn take_unit(
        &mut self,
        plan: &Plan,
        connection: Option<&mut Connection>,
        unit: Option<AccessUnit>,
    ) -> Result<(), Failure> {
        let (Some(connection), Some(unit)) = (connection, unit) else { return Ok(()) };
        if connection.clock().is_some() {
            let jumped = || Failure::Other("its timestamps do not fit the time that has passed".to_owned());
            return if connection.is_in_time(&unit) { Ok(()) } else { Err(jumped()) };
        }
        let (camera, format) = (&self.spec.camera.id, &unit.format);
        tracing::info!(camera.id = %camera, codec = format.codec(), frame = ?format.frame, "the camera streams");
        connection.begin(camera, &self.engine, &plan.watch, &unit, utc_now(), &mut self.left_behind).await
    }

    fn judge(&mut self, frame: &FrameDetections, connection: Option<&Connection>) {
        if let Some(clock) = connection.and_then(Connection::clock) {
            self.board.count_frame();
            if let Some(tap) = &mut self.tap {
                tap.frame(frame, clock);
            }
            let findings = self.analysis.on_frame(frame, &clock);
            self.tell(findings);
        }
    }

    /// Hands on what the analysis has to say.
    fn tell(&mut self, findings: Findings) {
        let Findings { bodies, decisions } = findings;
        self.why.note(&bodies, decisions);
        self.outbound.push(bodies);
    }

    fn on_tick(&mut self, supervisor: &mut CameraSupervisor, connection: Option<&mut Connection>) -> Option<Action> {
        self.board.measure();
        let blind = connection.is_some_and(|connection| {
            self.count(connection);
            connection.follow_wall_clock(&self.spec.camera.id, utc_now());
            connection.is_blind()
        });
        if blind { self.fail(supervisor, Failure::NotVideo) } else { None }
    }

    fn on_source_end(
        &mut self,
        supervisor: &mut CameraSupervisor,
        connection: Option<&Connection>,
        end: &SourceEnd,
    ) -> Option<Action> {
        match connection.map(|connection| connection.failure(end)) {
            None => None,
            Some(Failure::Ended) => {
                let action = supervisor.on_end_of_stream(self.now(), fastrand::f64());
                self.log_stop(supervisor, action)
            }
            Some(failure) => self.fail(supervisor, failure),
        }
    }

    fn on_deadline(&mut self, supervisor: &mut CameraSupervisor, connection: Option<&Connection>) -> Option<Action> {
        let now = self.now();
        // Silence of a host that has not answered is another fault than silence of a camera.
        let silence = connection.map(|connection| connection.failure(&Failure::NoVideo.into()));
        if silence == Some(Failure::Unreachable) && now >= supervisor.next_deadline() {
            return self.fail(supervisor, Failure::Unreachable);
        }
        let action = supervisor.on_deadline(now, fastrand::f64());
        self.log_stop(supervisor, action)
    }

    fn fail(&mut self, supervisor: &mut CameraSupervisor, failure: Failure) -> Option<Action> {
        let action = supervisor.on_failure(failure, self.now(), fastrand::f64());
        self.log_stop(supervisor, action)
    }

    /// Logs the failure that an action answers to: when it is a new one, and ever rarer while it stays the same, so
    /// that a dead camera does not bury what else is in the log.
    fn log_stop(&mut self, supervisor: &CameraSupervisor, action: Option<Action>) -> Option<Action> {
        if action == Some(Action::Stop) {
            let cause = supervisor.status().cause.unwrap_or_default();
            let retry_in = supervisor.next_deadline().saturating_sub(self.now());
            let (camera, failures) = (&self.spec.camera.id, supervisor.failures());
            if cause != self.logged || failures.is_power_of_two() {
                tracing::warn!(camera.id = %camera, failures, ?retry_in, "{cause}");
            } else {
                tracing::debug!(camera.id = %camera, failures, ?retry_in, "{cause}");
            }
            self.logged = cause;
        }
        action
    }

    /// Ends the connection and with it all tracks.
    async fn disconnect(&mut self, connection: &mut Option<Connection>) {
        let Some(mut connection) = connection.take() else { return };
        self.count(&mut connection);
        if let Some(tap) = &mut self.tap {
            tap.end();
        }
        let findings = self.analysis.on_end();
        self.tell(findings);
        if !connection.close(&mut self.left_behind).await {
            self.counts.send_modify(|counts| counts.left_behind += 1);
            tracing::error!(camera.id = %self.spec.camera.id, "the camera's pipeline does not end and is left behind");
        }
    }

    fn count(&self, connection: &mut Connection) {
        let new = connection.count();
        self.counts.send_modify(|counts| {
            counts.frames_analysed += new.analysed;
            counts.frames_skipped += new.frames_skipped;
            counts.units_dropped += new.units_dropped;
            counts.detections_dropped = self.outbound.dropped;
            counts.events_waiting = self.outbound.waiting() as u64;
        });
    }

    async fn finish(&mut self) {
        let lost = self.outbound.flush(FLUSH_WITHIN).await;
        if lost > 0 {
            tracing::error!(camera.id = %self.spec.camera.id, lost, "zone events are lost: the outbox takes none");
        }
        self.counts.send_modify(|counts| {
            (counts.events_waiting, counts.events_lost) = (0, lost as u64);
            counts.detections_dropped = self.outbound.dropped;
        });
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}
