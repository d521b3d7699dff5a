//! What is counted in the database, for all processes together.

use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Registry;
use crate::store::SharedStore;

/// How long a count is good: several Prometheus servers may ask, and each count reads every edge's row.
const GOOD_FOR: Duration = Duration::from_secs(15);

/// Figures that every process shows alike; add them up over none.
#[derive(Debug)]
pub(super) struct CensusFigures {
    store: SharedStore,
    counted: Mutex<Option<Instant>>,
    tenants: Gauge,
    edges: Gauge,
    connected: Gauge,
}

impl CensusFigures {
    pub(super) fn new(store: SharedStore, registry: &mut Registry) -> Self {
        let (tenants, edges, connected): (Gauge, Gauge, Gauge) = Default::default();
        registry.register("aivms_tenants", "Tenants in the database", tenants.clone());
        registry.register("aivms_edges", "Edges in the database that are not withdrawn", edges.clone());
        let help = "Edges with a session in any process, by the database";
        registry.register("aivms_edges_connected", help, connected.clone());
        Self { store, counted: Mutex::default(), tenants, edges, connected }
    }

    /// Counts again when the last count is old. While the database can't be read the last one stays.
    pub(super) async fn refresh(&self) {
        let mut counted = self.counted.lock().await;
        if counted.is_some_and(|at| at.elapsed() < GOOD_FOR) {
            return;
        }
        *counted = Some(Instant::now());
        match self.store.census().await {
            Ok(census) => {
                let numbers = [census.tenants, census.edges, census.connected_edges];
                for (gauge, number) in [&self.tenants, &self.edges, &self.connected].into_iter().zip(numbers) {
                    gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
                }
            }
            Err(error) => tracing::warn!(%error, "counting tenants and edges for the figures"),
        }
    }
}
