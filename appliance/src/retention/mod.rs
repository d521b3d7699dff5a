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
mod pace;
mod slow;
mod survey;
mod sweep;
pub mod tagging;
#[cfg(test)]
pub(crate) mod tests;
pub mod words;

use std::sync::Arc;
use std::time::Instant;

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
use pace::{LOOK_INTERVAL, Pace};
use survey::Around;
use sweep::Sweep;

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
        let mut pace = Pace::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = looks.tick() => {}
            }
            let (now, is_low) = (started.elapsed(), self.is_nearly_full().await);
            if pace.is_due(now, is_low) {
                let doubted = self.cloud.as_ref().is_some_and(|cloud| cloud.clock_problem().is_some());
                let judge = |wall, newest: &dyn Fn(UtcMillis) -> Option<UtcMillis>| {
                    guard.judge(wall, started.elapsed(), newest, doubted)
                };
                let done = tokio::select! {
                    // What is begun is restartable at any point.
                    () = stop.cancelled() => break,
                    done = self.clean_up(&mut sweep, judge) => done,
                };
                pace.is_done(now, is_low, done);
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

    /// Surveys, plans and carries out, once; gives the number of segments that went or moved.
    async fn clean_up(
        &mut self,
        sweep: &mut Sweep,
        judge: impl FnOnce(UtcMillis, &dyn Fn(UtcMillis) -> Option<UtcMillis>) -> UtcMillis,
    ) -> usize {
        let Some(around) = self.around(sweep).await else { return 0 };
        let footage = self.footage.clone();
        let surveyed = tokio::task::spawn_blocking(move || survey::survey(&footage, &around)).await;
        let (mut holdings, problems) = match surveyed {
            Ok(Ok(surveyed)) => surveyed,
            Ok(Err(problem)) => {
                self.board.set_found(board::Found { problems: vec![problem], ..board::Found::default() });
                return 0;
            }
            Err(error) => {
                tracing::error!(%error, "the survey of footage panicked");
                return 0;
            }
        };
        holdings.now = judge(clock::now(), &|until| survey::newest_until(&holdings, until));
        let locks = self.locks.all().map_or(0, |locks| locks.len());
        let planned = tokio::task::spawn_blocking(move || {
            let plan = plan(&holdings);
            let found = survey::found(&holdings, &plan, problems, locks);
            (plan, found, holdings.fast.free_bytes, holdings.slow.is_some())
        });
        let Ok((plan, found, free_bytes, has_slow)) = planned.await else {
            tracing::error!("the planning of retention panicked");
            return 0;
        };
        say(&plan);
        self.board.set_found(found);
        sweep.carry_out(plan, free_bytes, has_slow).await
    }

    /// What else decides; `None` when it is not known what is locked.
    async fn around(&mut self, sweep: &Sweep) -> Option<Around> {
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
            held: sweep.held(),
            is_slow_refusing: sweep.is_slow_refusing(),
        })
    }

    /// Whether the disk that is recorded to can't wait for the next cleanup.
    async fn is_nearly_full(&self) -> bool {
        let (footage, floor_bytes) = (self.footage.clone(), self.floor_bytes);
        // A look at a disk that does not answer must not hold up others.
        let look = move || {
            let folder = footage.folders().of(DiskTier::Fast);
            let space = folder.and_then(|folder| disk_space(folder).ok());
            space.is_some_and(|space| {
                let floor = floor_bytes.min(space.total_bytes / 2);
                space.free_bytes < floor / 2 || space.free_bytes < Limits::default().full_bytes.min(floor)
            })
        };
        tokio::task::spawn_blocking(look).await.unwrap_or(false)
    }
}

/// Logs problems; what is deleted is logged as it is done.
fn say(plan: &Plan) {
    if !plan.problems.is_empty() {
        tracing::warn!(problems = ?plan.problems, "retention can't keep to its limits");
    }
}
