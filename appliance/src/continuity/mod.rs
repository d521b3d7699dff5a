//! Keeps the ledger of every camera's video ([`aivms_appliance_core::continuity`]) and tells the cloud of gaps.
//!
//! It listens to the recorder for what is on the disk, and to the cameras' connections for why nothing comes. The
//! ledgers are kept in `<data>/continuity.json`, at most some seconds behind; what the file misses after a crash is in
//! the footage itself, from which each ledger is brought up to date at the start. So a gap may be told twice, and the
//! cloud knows it by its beginning.

mod book;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aivms_appliance_core::continuity::Cause;
use aivms_contract::envelope::Body;
use aivms_contract::footage::{Footage as Report, FootageEvent};
use aivms_contract::health::{CameraState, RecordingState};
use aivms_contract::id::CameraId;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::chain::Chain;
use crate::clock;
use crate::health::Vitals;
use crate::outbox::Outbox;
use crate::pipeline::consumer::{StreamConsumer, StreamEnd, StreamFeed, StreamRole};
use crate::recorder::{Footage, PolicyWatch, Readiness, RecorderEvent};
use crate::retention::board::{Board, Running};
use book::Book;

/// Ends of connections on their way to the ledger: all of sixty cameras, some times. When full, one is dropped; the
/// next attempt to connect, a minute later at most, says the same.
const ENDS: usize = 512;
/// How often time is accounted for.
const TICK: Duration = Duration::from_secs(1);
/// How often the ledgers are written down.
const KEEP_INTERVAL: Duration = Duration::from_secs(15);
/// Video that reached the disk this long ago is video that reaches the disk.
const FRESH: Duration = Duration::from_secs(10);
/// Messages that the outbox refused and that wait here; beyond it the oldest is dropped with an error.
const MAX_UNTOLD: usize = 1000;

/// Hears from the cameras' connections. A cheap handle.
#[derive(Debug, Clone)]
pub struct Ends {
    sender: mpsc::Sender<(CameraId, Cause)>,
}

/// What the ledgers are kept with.
pub struct Continuity {
    /// What lies on the disk.
    pub footage: Footage,
    /// Which cameras are to be recorded.
    pub policy: PolicyWatch,
    /// Which cameras run, in which time zone; where the state of recording goes.
    pub vitals: Arc<Vitals>,
    /// Where gaps are told.
    pub outbox: Outbox,
    /// Where gaps are entered.
    pub chain: Chain,
    /// Where the status file finds gaps.
    pub board: Board,
    /// The folder of the ledgers' file.
    pub data_dir: PathBuf,
}

/// Makes the way from the cameras' connections to the ledger.
#[must_use]
pub fn ends() -> (Ends, mpsc::Receiver<(CameraId, Cause)>) {
    let (sender, ended) = mpsc::channel(ENDS);
    (Ends { sender }, ended)
}

impl StreamConsumer for Ends {
    fn connected(&self, _camera: &CameraId, _feed: StreamFeed) {}

    fn disconnected(&self, camera: &CameraId, role: StreamRole, end: StreamEnd) {
        // That a camera is switched off is seen from its settings, and a program that stops says nothing more.
        if let (StreamRole::Main, StreamEnd::Failed(failure)) = (role, end) {
            let cause = Cause::of(&failure, failure.explain(camera));
            let _ = self.sender.try_send((camera.clone(), cause));
        }
    }
}

/// What is remembered between two ticks.
struct Work {
    book: Book,
    /// When video of a camera last reached the disk.
    written: BTreeMap<CameraId, Instant>,
    untold: VecDeque<(CameraId, FootageEvent)>,
    /// Wall and monotonic time of the last tick.
    last: (aivms_contract::time::UtcMillis, Instant),
    started: Instant,
}

impl Continuity {
    /// Keeps the ledgers until `stop`.
    pub async fn run(self, mut ended: mpsc::Receiver<(CameraId, Cause)>, stop: CancellationToken) {
        let mut events = self.footage.subscribe();
        let begun = clock::now();
        if !self.is_recovered(&stop).await {
            return stop.cancelled().await;
        }
        let mut work = Work {
            book: Book::read(&self.data_dir).await,
            written: BTreeMap::new(),
            untold: VecDeque::new(),
            last: (begun, Instant::now()),
            started: Instant::now(),
        };
        let told = work.book.resume(&self.footage, begun, &self.vitals.time_zone());
        work.untold.extend(told);
        if let Some(trouble) = self.footage.trouble().borrow().clone() {
            work.book.each(|ledger| ledger.disk(begun, Some(trouble.clone())));
        }
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut kept = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                event = events.recv() => match event {
                    Ok(event) => self.take(event, &mut work),
                    Err(RecvError::Lagged(missed)) => {
                        tracing::warn!(missed, "the ledger fell behind and reads from the footage what it missed");
                        let told = work.book.catch_up(&self.footage, &self.vitals.time_zone());
                        work.untold.extend(told);
                    }
                    Err(RecvError::Closed) => { stop.cancelled().await; break }
                },
                Some((camera, cause)) = ended.recv() => work.book.ledger(&camera, begun, &self.vitals.time_zone())
                    .failed(clock::now(), cause),
                _ = ticks.tick() => {
                    self.tick(&mut work);
                    self.tell(&mut work.untold).await;
                    if kept.elapsed() >= KEEP_INTERVAL {
                        kept = Instant::now();
                        work.book.write(&self.data_dir).await;
                    }
                }
            }
        }
        self.tell(&mut work.untold).await;
        work.book.write(&self.data_dir).await;
    }

    async fn is_recovered(&self, stop: &CancellationToken) -> bool {
        let mut readiness = self.footage.readiness();
        tokio::select! {
            () = stop.cancelled() => false,
            ready = readiness.wait_for(|ready| *ready >= Readiness::Recovered) => ready.is_ok(),
        }
    }

    fn take(&self, event: RecorderEvent, work: &mut Work) {
        let (zone, now) = (self.vitals.time_zone(), clock::now());
        match event {
            RecorderEvent::FragmentWritten { camera, start, end } => {
                let told = work.book.ledger(&camera, start, &zone).video(start, end, &zone);
                work.written.insert(camera.clone(), Instant::now());
                work.untold.extend(told.into_iter().map(|event| (camera.clone(), event)));
            }
            RecorderEvent::Lost { camera, from, to, cause } => {
                work.book.ledger(&camera, from, &zone).lost(from, to, cause);
            }
            RecorderEvent::DiskFailed { tier: crate::recorder::DiskTier::Fast, cause } => {
                work.book.each(|ledger| ledger.disk(now, Some(cause.clone())));
            }
            RecorderEvent::DiskBack { tier: crate::recorder::DiskTier::Fast } => {
                work.book.each(|ledger| ledger.disk(now, None));
            }
            _ => {}
        }
    }

    fn tick(&self, work: &mut Work) {
        let (zone, now) = (self.vitals.time_zone(), clock::now());
        let (wall, monotonic) = work.last;
        let expected = wall + monotonic.elapsed();
        if now.since(expected) > FRESH {
            let soon = work.started.elapsed() < Duration::from_secs(600);
            work.book.each(|ledger| ledger.clock_set(expected, now, soon));
        }
        work.last = (now, Instant::now());
        let policy = Arc::clone(&self.policy.borrow());
        for camera in self.vitals.cameras() {
            let is_on = camera.state != CameraState::Disabled && policy.records(&camera.camera_id);
            if is_on || work.book.knows(&camera.camera_id) {
                work.book.ledger(&camera.camera_id, now, &zone).switched(now, is_on);
            }
        }
        if let Some(configured) = self.vitals.configured() {
            // Until all footage is known none of a camera may only seem so.
            let is_complete = *self.footage.readiness().borrow() == Readiness::Complete;
            let has_footage = |camera: &CameraId| !is_complete || self.footage.newest(camera).is_some();
            work.untold.extend(work.book.retire(&configured, now, has_footage));
            work.written.retain(|camera, _| configured.contains(camera));
        }
        work.untold.extend(work.book.tick(now, &zone));
        self.board.set_running(self.running(work));
        self.vitals.set_footage(self.board.vitals());
    }

    /// How each recorded camera is doing.
    fn running(&self, work: &Work) -> BTreeMap<CameraId, Running> {
        let (policy, configured) = (Arc::clone(&self.policy.borrow()), self.vitals.configured());
        let trouble = self.footage.trouble().borrow().clone();
        let running = |(camera, ledger): (&CameraId, &aivms_appliance_core::continuity::Ledger)| {
            let is_fresh = work.written.get(camera).is_some_and(|written| written.elapsed() < FRESH);
            let (state, cause) = match (is_fresh, &trouble) {
                (true, _) => (RecordingState::Recording, None),
                (false, Some(trouble)) => (RecordingState::Failing, Some(trouble.clone())),
                (false, None) => (RecordingState::Waiting, ledger.open_gap().and_then(|gap| gap.detail)),
            };
            (camera.clone(), Running { state, cause, today: ledger.today() })
        };
        let recorded = |(camera, _): &(&CameraId, _)| {
            policy.records(camera) && configured.as_ref().is_none_or(|configured| configured.contains(*camera))
        };
        work.book.ledgers().filter(recorded).map(running).collect()
    }

    /// Tells what there is to tell, in order; what the outbox refuses waits.
    async fn tell(&self, untold: &mut VecDeque<(CameraId, FootageEvent)>) {
        while let Some((camera, event)) = untold.pop_front() {
            self.board.remember(&camera, &event);
            let report = Report { camera_id: camera.clone(), timestamp: clock::now(), event: event.clone() };
            match self.outbox.append(Body::Footage(report)).await {
                Err(error) if !error.waits() => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a gap is not told yet");
                    untold.push_front((camera, event));
                    while untold.len() > MAX_UNTOLD {
                        tracing::error!("a gap is never told: too many wait for the disk");
                        untold.pop_front();
                    }
                    return;
                }
                _ => {}
            }
            if let FootageEvent::Gap(gap) = event
                && gap.end.is_some()
                && let Err(error) = self.chain.gap(&camera, gap).await
            {
                tracing::warn!(%error, "a gap is not in the chain");
            }
        }
    }
}
