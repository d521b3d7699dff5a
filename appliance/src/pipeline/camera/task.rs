//! The task that keeps one camera running.

use std::sync::Arc;
use std::time::Duration;

use aivms_appliance_core::analysis::{CameraAnalysis, Findings};
use aivms_appliance_core::detection::FrameDetections;
use aivms_appliance_core::supervise::{Action, Failure, SourceStatus};
use aivms_contract::health::CameraState;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::connection::Connection;
use super::event::{Event, Orders, next_event};
use super::health::HealthBoard;
use super::link::Link;
use super::outbound::{Closed, Outbound};
use super::recorded::Recorded;
use super::stream::Stream;
use super::{CameraCounters, CameraOutput, CameraSpec, SpecError};
use crate::pipeline::access_unit::AccessUnit;
use crate::pipeline::consumer::{StreamEnd, StreamRole};
use crate::pipeline::engine::{Engine, Watch};
use crate::pipeline::source::SoundNotice;
use crate::pipeline::source::address::Address;
use crate::relay::SeenBoxes;
use crate::snapshots::PictureSink;
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
    pictures: PictureSink,
    seen: SeenBoxes,
    board: HealthBoard,
    counts: watch::Sender<CameraCounters>,
    analysis: CameraAnalysis,
    /// Records every input of the analysis.
    tap: Option<CameraTap>,
}

/// What a camera needs to connect, found right.
struct Plan {
    /// The stream that is analysed.
    stream: Stream,
    /// The other one, when there is another and somebody who takes it.
    recorded: Option<Stream>,
    watch: Watch,
}

/// What runs for one camera.
struct Links {
    analysed: Link,
    recorded: Option<Recorded>,
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
        let (why, pictures, seen) = (output.why, output.pictures, output.seen);
        Self { spec, engine, outbound, why, pictures, seen, board, counts, analysis, tap }
    }

    /// Runs until told to stop or until the outbox is gone.
    pub(super) async fn run(self, orders: Orders) {
        let camera = &self.spec.camera;
        if !camera.enabled {
            self.board.show_idle(CameraState::Disabled, None);
            return orders.stop.cancelled().await;
        }
        match self.plan() {
            Ok(Plan { stream, recorded, watch }) => {
                let recorded = recorded.map(Recorded::start);
                self.keep_running(Links { analysed: Link::new(stream), recorded, watch }, orders).await;
            }
            Err(error) => {
                tracing::error!(camera.id = %camera.id, %error, "the camera can't run as it is configured");
                self.board.show_idle(CameraState::Retrying, Some(error.to_string()));
                orders.stop.cancelled().await;
            }
        }
    }

    fn plan(&self) -> Result<Plan, SpecError> {
        let (camera, watch) = (&self.spec.camera, self.spec.watch(self.engine.labels())?);
        let main = Stream {
            camera: camera.id.clone(),
            role: StreamRole::Main,
            address: Address::of(camera)?,
            consumers: self.spec.consumers.clone(),
            sound: self.spec.audio.then(|| SoundNotice::of(camera.id.clone())),
            analysed: true,
        };
        let Some(address) = Address::of_sub(camera)? else {
            return Ok(Plan { stream: main, recorded: None, watch });
        };
        let sub = Stream { role: StreamRole::Sub, address, sound: None, ..main.clone() };
        let recorded = (!main.consumers.is_empty()).then_some(Stream { analysed: false, ..main });
        Ok(Plan { stream: sub, recorded, watch })
    }

    async fn keep_running(mut self, links: Links, mut orders: Orders) {
        let Links { analysed: mut link, recorded, watch } = links;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let deadline = link.deadline();
            let event = next_event(&mut self.outbound, &mut orders, &mut link.connection, &mut tick, deadline).await;
            if matches!(event, Event::Stop | Event::Sent(Err(Closed))) {
                break;
            }
            if let (Event::Restart, Some(recorded)) = (&event, &recorded) {
                recorded.restart();
            }
            let action = self.on_event(event, &mut link, &watch).await;
            self.carry_out(action, &mut link).await;
            let trouble = recorded.as_ref().and_then(Recorded::trouble);
            self.board.show(with_trouble(link.status(), trouble), link.now());
        }
        let recorded = async {
            if let Some(recorded) = recorded {
                recorded.stop().await;
            }
        };
        tokio::join!(recorded, self.disconnect(&mut link, &StreamEnd::Stopped));
        self.finish().await;
    }

    async fn on_event(&mut self, event: Event, link: &mut Link, watch: &Watch) -> Option<Action> {
        match event {
            Event::Stop | Event::Sent(_) => None,
            Event::Restart => {
                self.disconnect(link, &StreamEnd::Restarted).await;
                link.begin_anew();
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
            Event::SourceEnd(end) => link.on_source_end(&end),
            Event::EngineEnd(error) => link.fail(Failure::Other(error.to_string())),
            Event::Frame(frame) => {
                self.judge(&frame, link);
                None
            }
            Event::Unit(unit) => {
                link.on_unit();
                let taken = self.take_unit(link, watch, unit?).await;
                taken.err().and_then(|failure| link.fail(failure))
            }
            Event::Tick => self.on_tick(link),
            Event::Deadline => link.on_deadline(),
        }
    }

    async fn carry_out(&mut self, action: Option<Action>, link: &mut Link) {
        let end = link.end();
        match action {
            None => {}
            Some(Action::Start) => self.connect(link).await,
            Some(Action::Stop) => self.disconnect(link, &end).await,
            // A file source replays by itself; one that ended all the same is followed by a new one.
            Some(Action::Replay) => {
                self.disconnect(link, &end).await;
                self.connect(link).await;
            }
        }
    }

    async fn connect(&mut self, link: &mut Link) {
        link.connect().await;
        self.counts.send_modify(|counts| counts.connections = link.connections);
    }

    /// Begins the analysis at the first unit of a connection and watches the time of the others.
    async fn take_unit(&mut self, link: &mut Link, watch: &Watch, unit: AccessUnit) -> Result<(), Failure> {
        if !link.take(&unit)? {
            return Ok(());
        }
        let Link { stream, connection: Some(connection), left_behind, .. } = link else { return Ok(()) };
        connection.analyse(stream, &self.engine, watch, &unit, left_behind).await
    }

    fn judge(&mut self, frame: &FrameDetections, link: &Link) {
        if let Some(clock) = link.clock() {
            self.board.count_frame();
            if let Some(tap) = &mut self.tap {
                tap.frame(frame, clock);
            }
            self.pictures.saw(&self.spec.camera.id, clock.utc(frame.pts), frame);
            self.seen.note(&self.spec.camera.id, frame, clock, self.engine.labels());
            let findings = self.analysis.on_frame(frame, &clock);
            self.tell(findings);
        }
    }

    /// Hands on what the analysis has to say.
    fn tell(&mut self, findings: Findings) {
        let Findings { bodies, decisions, pictures } = findings;
        self.why.note(&bodies, decisions);
        self.pictures.offer(pictures);
        self.outbound.push(bodies);
    }

    fn on_tick(&mut self, link: &mut Link) -> Option<Action> {
        self.board.measure();
        self.count(link);
        link.follow_wall_clock();
        let blind = link.connection.as_ref().is_some_and(Connection::is_blind);
        if blind { link.fail(Failure::NotVideo) } else { None }
    }

    /// Ends the connection and with it all tracks.
    async fn disconnect(&mut self, link: &mut Link, end: &StreamEnd) {
        if link.connection.is_some() {
            self.count(link);
            if let Some(tap) = &mut self.tap {
                tap.end();
            }
            let findings = self.analysis.on_end();
            self.tell(findings);
        }
        link.close(end).await;
        self.counts.send_modify(|counts| counts.left_behind = link.left);
    }

    fn count(&self, link: &mut Link) {
        let Some(connection) = &mut link.connection else { return };
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
}

/// The state of the stream that is analysed, with the trouble of the other one when it has none itself.
fn with_trouble(status: SourceStatus, trouble: Option<String>) -> SourceStatus {
    let told = trouble.map(|trouble| format!("the main stream, which is recorded, fails: {trouble}"));
    SourceStatus { cause: status.cause.or(told), ..status }
}
