//! Retention: deletes and moves footage as [`aivms_appliance_core::retention`] plans it, and keeps what is locked.
//!
//! Once a minute, and at once when the disk is low, the footage is surveyed, a plan is made, and it is carried out:
//! a deletion is first entered in the chain of signatures, then files go, then the rows of the index. A crash anywhere
//! in between leaves footage that the next plan finds again. Nothing is deleted before the recorder has seen all that
//! lies on the disks.

pub mod board;
pub mod locking;
pub mod locks;
pub mod needs;
mod survey;
mod sweep;
pub mod tagging;
#[cfg(test)]
pub(crate) mod tests;
pub mod words;

use std::sync::Arc;
use std::time::{Duration, Instant};

use aivms_appliance_core::retention::{ClockGuard, Limits, Plan, plan};
use aivms_contract::time::UtcMillis;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::chain::Chain;
use crate::clock;
use crate::cloud::Cloud;
use crate::health::disk_space;
use crate::outbox::Outbox;
use crate::recorder::{DiskTier, Footage, PolicyWatch, Readiness};
use board::Board;
use locks::Locks;
use needs::Needs;
use survey::Around;
use sweep::Sweep;

/// Time between two cleanups.
const INTERVAL: Duration = Duration::from_secs(60);
/// Time between two looks at the free room.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// What retention works with.
pub struct Retention {
    /// What lies on the disks.
    pub footage: Footage,
    /// How long what is kept.
    pub policy: PolicyWatch,
    /// Bytes that are to stay free on each disk.
    pub floor_bytes: u64,
    /// What is locked.
    pub locks: Locks,
    /// What events need.
    pub needs: Needs,
    /// Where deletions are entered first.
    pub chain: Chain,
    /// Where deletions are told.
    pub outbox: Outbox,
    /// What knows whether the clock is wrong.
    pub cloud: Option<Arc<Cloud>>,
    /// Where the findings go.
    pub board: Board,
}

impl Retention {
    /// Cleans up until `stop`; the deletions told last are told on the way out.
    pub async fn run(mut self, stop: CancellationToken) {
        if !self.is_complete(&stop).await {
            return;
        }
        let mut sweep = Sweep::new(self.footage.clone(), self.chain.clone(), self.locks.clone());
        let (mut guard, started) = (ClockGuard::default(), Instant::now());
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = looks.tick() => {}
            }
            if Instant::now() >= next || self.is_nearly_full() {
                next = Instant::now() + INTERVAL;
                let doubted = self.cloud.as_ref().is_some_and(|cloud| cloud.clock_problem().is_some());
                let judge = |wall, newest: &dyn Fn(UtcMillis) -> Option<UtcMillis>| {
                    guard.judge(wall, started.elapsed(), newest, doubted)
                };
                tokio::select! {
                    // What is begun is restartable at any point.
                    () = stop.cancelled() => break,
                    () = self.clean_up(&mut sweep, judge) => {}
                }
                sweep.tell(&self.outbox, false).await;
            }
        }
        sweep.tell(&self.outbox, true).await;
    }

    /// Waits until the recorder knows all that lies on the disks; `false` when that never happens.
    async fn is_complete(&self, stop: &CancellationToken) -> bool {
        let mut readiness = self.footage.readiness();
        let is_ready = tokio::select! {
            () = stop.cancelled() => false,
            ready = readiness.wait_for(|ready| *ready == Readiness::Complete) => ready.is_ok(),
        };
        if !is_ready {
            stop.cancelled().await;
        }
        is_ready
    }

    /// Surveys, plans and carries out, once.
    async fn clean_up(
        &mut self,
        sweep: &mut Sweep,
        judge: impl FnOnce(UtcMillis, &dyn Fn(UtcMillis) -> Option<UtcMillis>) -> UtcMillis,
    ) {
        let Some(around) = self.around().await else { return };
        let footage = self.footage.clone();
        let surveyed = tokio::task::spawn_blocking(move || survey::survey(&footage, &around)).await;
        let (mut holdings, problems) = match surveyed {
            Ok(Ok(surveyed)) => surveyed,
            Ok(Err(problem)) => {
                self.board.set_found(board::Found { problems: vec![problem], ..board::Found::default() });
                return;
            }
            Err(error) => return tracing::error!(%error, "the survey of footage panicked"),
        };
        holdings.now = judge(clock::now(), &|until| survey::newest_until(&holdings, until));
        let locks = self.locks.all().map_or(0, |locks| locks.len());
        let planned = tokio::task::spawn_blocking(move || {
            let plan = plan(&holdings);
            let found = survey::found(&holdings, &plan, problems, locks);
            (plan, found, holdings.fast.free_bytes)
        });
        let Ok((plan, found, free_bytes)) = planned.await else {
            return tracing::error!("the planning of retention panicked");
        };
        say(&plan);
        self.board.set_found(found);
        sweep.carry_out(plan, free_bytes).await;
    }

    /// What else decides; `None` when it is not known what is locked.
    async fn around(&mut self) -> Option<Around> {
        let Some(locks) = self.locks.spans() else {
            let problem = "the locks of footage can't be read: nothing is deleted".to_owned();
            self.board.set_found(board::Found { problems: vec![problem], ..board::Found::default() });
            return None;
        };
        let needs = self.needs.spans().await;
        Some(Around {
            policy: Arc::clone(&self.policy.borrow()),
            locks,
            needs,
            floor_bytes: self.floor_bytes,
            limits: Limits::default(),
        })
    }

    /// Whether the disk that is recorded to can't wait for the next cleanup.
    fn is_nearly_full(&self) -> bool {
        let folder = self.footage.folders().of(DiskTier::Fast);
        let space = folder.and_then(|folder| disk_space(folder).ok());
        space.is_some_and(|space| {
            let floor = self.floor_bytes.min(space.total_bytes / 2);
            space.free_bytes < floor / 2 || space.free_bytes < Limits::default().full_bytes.min(floor)
        })
    }
}

/// Logs problems; what is deleted is logged as it is done.
fn say(plan: &Plan) {
    if !plan.problems.is_empty() {
        tracing::warn!(problems = ?plan.problems, "retention can't keep to its limits");
    }
}
