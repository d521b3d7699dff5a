//! What is counted of ingest.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::metrics::{Registry, seconds, sizes};
use crate::store::{Incoming, Message, Recorded};

/// Counters of one process; clones count together.
#[derive(Debug, Clone)]
pub(super) struct IngestFigures {
    batch: Histogram,
    commit: Histogram,
    wait: Histogram,
    stored: Counter,
    duplicate: Counter,
    quarantined: Counter,
    failures: Counter,
    failing: Gauge,
}

impl Default for IngestFigures {
    fn default() -> Self {
        Self {
            batch: sizes(),
            commit: seconds(),
            wait: seconds(),
            stored: Counter::default(),
            duplicate: Counter::default(),
            quarantined: Counter::default(),
            failures: Counter::default(),
            failing: Gauge::default(),
        }
    }
}

impl IngestFigures {
    /// Names the figures.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("aivms_ingest_batch_messages", "Messages of one commit", self.batch.clone());
        registry.register("aivms_ingest_commit_seconds", "Time of one commit of messages", self.commit.clone());
        let help = "Time from taking a submission of messages to its commit";
        registry.register("aivms_ingest_wait_seconds", help, self.wait.clone());
        registry.register("aivms_events_stored", "Messages stored for the first time", self.stored.clone());
        registry.register("aivms_events_duplicate", "Messages that had been stored before", self.duplicate.clone());
        let help = "Messages that came unreadable and were set aside, repeats included";
        registry.register("aivms_events_quarantined", help, self.quarantined.clone());
        registry.register("aivms_ingest_failures", "Commits of messages that failed", self.failures.clone());
        let help = "1 while messages can't be stored and edges wait";
        registry.register("aivms_ingest_failing", help, self.failing.clone());
    }

    /// Counts a commit.
    pub(super) fn committed(&self, messages: &[Incoming], recorded: &Recorded, took: Duration) {
        self.batch.observe(messages.len() as f64);
        self.commit.observe(took.as_secs_f64());
        self.stored.inc_by(recorded.stored);
        self.duplicate.inc_by(recorded.duplicates);
        let unreadable = messages.iter().filter(|incoming| matches!(incoming.message, Message::Unreadable { .. }));
        self.quarantined.inc_by(unreadable.count() as u64);
        self.failing.set(0);
    }

    /// Counts a commit that failed.
    pub(super) fn failed(&self) {
        self.failures.inc();
        self.failing.set(1);
    }

    /// Counts how long a submitter waited.
    pub(super) fn waited(&self, time: Duration) {
        self.wait.observe(time.as_secs_f64());
    }
}
