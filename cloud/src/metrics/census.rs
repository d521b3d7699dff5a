//! What is counted in the database, for all processes together.

use std::time::Duration;

use aivms_contract::time::UtcMillis;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Registry;
use crate::clock;
use crate::store::{Census, SharedStore};

/// How long a count is good: several Prometheus servers may ask, and each count reads every edge's row
/// and every delivery that waits.
const GOOD_FOR: Duration = Duration::from_secs(15);

/// Figures that every process shows alike; add them up over none.
#[derive(Debug)]
pub(super) struct CensusFigures {
    store: SharedStore,
    counted: Mutex<Option<Instant>>,
    tenants: Gauge,
    edges: Gauge,
    connected: Gauge,
    deliveries_waiting: Gauge,
    oldest_waiting_seconds: Gauge,
    deliveries_failed: Gauge,
}

impl CensusFigures {
    pub(super) fn new(store: SharedStore, registry: &mut Registry) -> Self {
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        Self {
            store,
            counted: Mutex::default(),
            tenants: gauge("aivms_tenants", "Tenants in the database"),
            edges: gauge("aivms_edges", "Edges in the database that are not withdrawn"),
            connected: gauge("aivms_edges_connected", "Edges with a session in any process, by the database"),
            deliveries_waiting: gauge("aivms_deliveries_waiting", "Messages of alerts that wait to be sent"),
            oldest_waiting_seconds: gauge("aivms_deliveries_oldest_waiting_seconds", "Age of the oldest of them"),
            deliveries_failed: gauge("aivms_deliveries_failed_last_hour", "Messages given up within the last hour"),
        }
    }

    /// Counts again when the last count is old. While the database can't be read the last one stays.
    pub(super) async fn refresh(&self) {
        let mut counted = self.counted.lock().await;
        if counted.is_some_and(|at| at.elapsed() < GOOD_FOR) {
            return;
        }
        *counted = Some(Instant::now());
        let now = clock::now();
        match self.store.census(now).await {
            Ok(census) => self.show(&census, now),
            Err(error) => tracing::warn!(%error, "counting tenants, edges and deliveries for the figures"),
        }
    }

    fn show(&self, census: &Census, now: UtcMillis) {
        for (gauge, number) in [
            (&self.tenants, census.tenants),
            (&self.edges, census.edges),
            (&self.connected, census.connected_edges),
            (&self.deliveries_waiting, census.deliveries_waiting),
            (&self.oldest_waiting_seconds, census.oldest_waiting.map_or(0, |owed| now.since(owed).as_secs())),
            (&self.deliveries_failed, census.deliveries_failed),
        ] {
            gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
        }
    }
}
