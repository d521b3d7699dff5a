//! Many edges of several tenants at one cloud.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join_all;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::api::Api;
use crate::edge_client::EdgeIdentity;
use crate::load::{Pace, Publisher};

/// Enrolments under way at once.
const ENROLLING: usize = 8;
/// Connections being made at once: the front takes no more than some from one address.
const CONNECTING: usize = 50;

/// Tenants with their enrolled edges.
#[derive(Debug)]
pub struct Fleet {
    /// The tenants' owners.
    pub tenants: Vec<Api>,
    /// All edges, tenant after tenant.
    pub edges: Vec<EdgeIdentity>,
}

impl Fleet {
    /// Registers `tenants` tenants and enrols `edges` edges of each at the cloud whose API is at `base`.
    ///
    /// # Errors
    /// The cloud refuses.
    pub async fn enroll(base: &str, tenants: usize, edges: usize) -> Result<Self> {
        let mut fleet = Self { tenants: Vec::new(), edges: Vec::new() };
        for tenant in 0..tenants {
            let api = Api::register(base, &format!("fleet-{tenant}")).await?;
            let names: Vec<String> = (0..edges).map(|edge| format!("edge {edge}")).collect();
            for some in names.chunks(ENROLLING) {
                let enrolling = some.iter().map(|name| EdgeIdentity::enroll(&api, base, name));
                fleet.edges.extend(try_join_all(enrolling).await?);
            }
            fleet.tenants.push(api);
        }
        Ok(fleet)
    }

    /// Connects every edge, and has all publish as `pace` says from the same moment on; returns how many events were
    /// acknowledged, and the time from that moment until the last was.
    ///
    /// # Errors
    /// A connection ended, or an acknowledgement did not come.
    pub async fn publish(&self, pace: Pace) -> Result<(u64, Duration)> {
        let mut publishers = Vec::new();
        for some in self.edges.chunks(CONNECTING) {
            publishers.extend(try_join_all(some.iter().cloned().map(Publisher::connect)).await?);
        }
        let start = Instant::now();
        let mut tasks: JoinSet<_> = publishers.into_iter().map(|publisher| publisher.publish(pace)).collect();
        let mut acknowledged = 0;
        while let Some(sent) = tasks.join_next().await {
            acknowledged += sent??.acknowledged;
        }
        Ok((acknowledged, start.elapsed()))
    }
}
