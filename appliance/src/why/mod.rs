//! Why there was an event, or none: what the rules decided, kept for the last hours on the edge's own disk.
//!
//! Every event carries its reasons to the cloud. What was stopped (by a filter, a mask, a schedule, the debounce time)
//! is no event, so its reasons stay here, beside those of the events, and `aivms-appliance why` shows both. They are of
//! use to people only: nothing waits for them, and they are the first to go when room or time is short.

mod ask;
mod read;
mod store;
mod words;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aivms_contract::envelope::Body;
use aivms_contract::why::Decision;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

pub use ask::{Ask, Span, Time, answer};
pub use read::{Found, Question, read};
pub use store::WhyStore;
pub use words::sentence;

use crate::clock;

/// Decisions that may wait for the disk: those of sixty busy cameras for some seconds. When full, more are dropped.
const WAITING: usize = 4096;
/// Decisions written at once.
const AT_ONCE: usize = 512;
/// How often old files are looked for when nothing is decided.
const PRUNE_INTERVAL: Duration = Duration::from_secs(600);

/// Where the analysis puts its decisions. It never waits.
#[derive(Debug, Clone, Default)]
pub struct WhySink {
    sender: Option<mpsc::Sender<Decision>>,
    dropped: Arc<AtomicU64>,
}

/// The decisions on their way to the disk.
#[derive(Debug)]
pub struct Noted {
    receiver: mpsc::Receiver<Decision>,
    dropped: Arc<AtomicU64>,
}

/// A way for decisions to [`keep`]; it ends when all sinks are gone.
#[must_use]
pub fn channel() -> (WhySink, Noted) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let dropped = Arc::default();
    (WhySink { sender: Some(sender), dropped: Arc::clone(&dropped) }, Noted { receiver, dropped })
}

impl WhySink {
    /// Takes what was decided about one frame: the events among `bodies`, and `stopped`, which became none.
    ///
    /// What the disk is too slow for is dropped and counted. A default sink takes nothing.
    pub fn note(&self, bodies: &[Body], stopped: Vec<Decision>) {
        let Some(sender) = &self.sender else { return };
        let made = bodies.iter().filter_map(|body| match body {
            Body::ZoneEvents(event) => Some(Decision::from(event)),
            _ => None,
        });
        let refused = made.chain(stopped).filter(|decision| sender.try_send(decision.clone()).is_err()).count();
        self.dropped.fetch_add(refused as u64, Ordering::Relaxed);
    }
}

/// Writes decisions to the disk until all sinks are gone.
pub async fn keep(mut noted: Noted, mut store: WhyStore) {
    let mut batch = Vec::with_capacity(AT_ONCE);
    let mut prune = interval(PRUNE_INTERVAL);
    prune.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut lost = Lost::default();
    loop {
        tokio::select! {
            count = noted.receiver.recv_many(&mut batch, AT_ONCE) => if count == 0 { return },
            _ = prune.tick() => {}
        }
        let decisions = std::mem::take(&mut batch);
        let (count, fresh) = (decisions.len() as u64, store.reopened());
        let written = tokio::task::spawn_blocking(move || {
            let result = store.append(&decisions, clock::now());
            (store, result)
        });
        match written.await {
            Ok((back, result)) => {
                store = back;
                lost.count(count, result);
            }
            Err(_) => {
                store = fresh;
                lost.count(count, Err(std::io::Error::other("writing panicked")));
            }
        }
        lost.too_slow(noted.dropped.swap(0, Ordering::Relaxed));
    }
}

/// What was not kept, told when that begins and when it ends.
#[derive(Debug, Default)]
struct Lost {
    count: u64,
    slow: bool,
}

impl Lost {
    fn count(&mut self, decisions: u64, result: std::io::Result<()>) {
        match result {
            Ok(()) if self.count > 0 => {
                tracing::info!(lost = self.count, "the reasons of events are kept again");
                self.count = 0;
            }
            Ok(()) => {}
            Err(error) => {
                if self.count == 0 {
                    tracing::warn!(%error, "the reasons of events can't be kept; the events themselves are");
                }
                self.count += decisions.max(1);
            }
        }
    }

    fn too_slow(&mut self, dropped: u64) {
        if dropped > 0 && !self.slow {
            tracing::warn!(dropped, "the disk is too slow for the reasons of events; some are not kept");
        }
        self.slow = dropped > 0;
    }
}

#[cfg(test)]
mod tests;
