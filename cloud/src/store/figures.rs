//! What is counted of the database.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use tokio::time::Instant;

use super::{Store, StoreError};
use crate::metrics::{Registry, seconds};

type Label = [(&'static str, &'static str); 1];

/// Counters of one process; clones count together.
#[derive(Debug, Clone)]
pub(super) struct StoreFigures {
    seconds: Family<Label, Histogram>,
    failures: Family<Label, Counter>,
}

/// Why an operation was run, which decides how long it may take.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lane {
    Write,
    Ingest,
    Lookup,
    List,
}

impl Default for StoreFigures {
    fn default() -> Self {
        Self { seconds: Family::new_with_constructor(seconds as fn() -> Histogram), failures: Family::default() }
    }
}

impl StoreFigures {
    /// Runs an operation and counts its time, waiting for its turn included, and its failure if it is the database's.
    pub(super) async fn timed<T>(
        &self,
        lane: Lane,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let lane = [("lane", lane.name())];
        let began = Instant::now();
        let result = work.await;
        self.seconds.get_or_create(&lane).observe(began.elapsed().as_secs_f64());
        if matches!(result, Err(StoreError::Unwritable(_) | StoreError::TooSlow | StoreError::Database(_))) {
            self.failures.get_or_create(&lane).inc();
        }
        result
    }
}

impl Lane {
    fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Ingest => "ingest",
            Self::Lookup => "lookup",
            Self::List => "list",
        }
    }
}

impl Store {
    /// Names the figures of this process.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Time of a database operation, waiting for its turn included, by lane";
        registry.register("aivms_database_seconds", help, self.figures.seconds.clone());
        let help = "Database operations that failed or took too long, by lane";
        registry.register("aivms_database_failures", help, self.figures.failures.clone());
    }
}
