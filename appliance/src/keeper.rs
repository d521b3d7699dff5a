//! Keeps the edge enrolled: the first certificate when there is none, the next one at two thirds of its life.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aivms_appliance_core::backoff::{Backoff, Jitter};
use aivms_contract::id::EdgeId;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::cloud::Cloud;
use crate::config::Secret;
use crate::enroll::{EnrollError, enroll, renew};
use crate::identity::Identity;

/// How often the wall clock is compared with the certificate: it may be set meanwhile.
const CHECK_INTERVAL: Duration = Duration::from_secs(600);
/// Pause after an answer that trying again can't change by itself.
const FINAL_PAUSE: Duration = Duration::from_secs(900);

/// What enrolment and renewal need.
pub struct Keeper {
    /// The cloud to ask.
    pub cloud: Arc<Cloud>,
    /// Where the identity is kept.
    pub data_dir: PathBuf,
    /// Edge and secret of a first enrolment.
    pub first: Option<(EdgeId, Secret)>,
    /// Where the identity is shown to the rest of the program.
    pub identity: watch::Sender<Option<Arc<Identity>>>,
}

impl Keeper {
    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep() => {}
        }
    }

    async fn keep(&self) {
        let mut backoff = backoff();
        loop {
            let current = self.identity.borrow().clone();
            let pause = match self.step(current.as_deref()).await {
                Ok(Some(fresh)) => {
                    let (edge, until) = (&fresh.enrollment().edge_id, fresh.validity().not_after);
                    tracing::info!(edge.id = edge.as_str(), %until, "the edge has a new certificate");
                    self.identity.send_replace(Some(Arc::new(fresh)));
                    backoff = self::backoff();
                    continue;
                }
                Ok(None) => CHECK_INTERVAL,
                Err(error) => {
                    tracing::error!(%error, "the edge has no new certificate");
                    let delay = backoff.next_delay(fastrand::f64());
                    if error.is_final() { FINAL_PAUSE.max(delay) } else { delay }
                }
            };
            sleep(pause).await;
        }
    }

    async fn step(&self, current: Option<&Identity>) -> Result<Option<Identity>, EnrollError> {
        match (current, &self.first) {
            (Some(identity), _) if clock::now() >= identity.validity().renew_at() => {
                renew(&self.cloud, identity, &self.data_dir).await.map(Some)
            }
            (None, Some((edge, secret))) => enroll(&self.cloud, edge, secret, &self.data_dir).await.map(Some),
            _ => Ok(None),
        }
    }
}

/// From seconds, because a cloud that starts together with the edge is soon there, to minutes.
fn backoff() -> Backoff {
    Backoff::new(Duration::from_secs(2), Duration::from_secs(300), Jitter::Equal).expect("the bounds are in order")
}
