//! Keeps the edge enrolled: the first certificate when there is none, the next one at two thirds of its life.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aivms_appliance_core::backoff::{Backoff, Jitter};
use aivms_contract::health::Notice;
use aivms_contract::id::EdgeId;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::cloud::Cloud;
use crate::config::Secret;
use crate::enroll::{EnrollError, enroll, renew};
use crate::health::Vitals;
use crate::identity::Identity;
use crate::uplink::{LinkHealth, LinkState};

/// How often the certificate is compared with the wall clock, which may be set meanwhile, and with the disk, where
/// `enroll` may have put another one.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// How often the clock is compared with the cloud's.
const CLOCK_INTERVAL: Duration = Duration::from_secs(600);
/// Pause after an answer that trying again can't change by itself.
const FINAL_PAUSE: Duration = Duration::from_secs(900);

/// What enrolment and renewal need.
pub struct Keeper {
    /// The cloud to ask.
    pub cloud: Arc<Cloud>,
    /// Where the identity is kept.
    pub data_dir: PathBuf,
    /// The edge this appliance runs as.
    pub edge: EdgeId,
    /// The secret of a first enrolment.
    pub secret: Option<Secret>,
    /// Where the identity is shown to the rest of the program.
    pub identity: watch::Sender<Option<Arc<Identity>>>,
    /// Where it is said why there is none.
    pub link: watch::Sender<LinkHealth>,
    /// Where it is noted that the clock is wrong.
    pub vitals: Arc<Vitals>,
    /// [`CHECK_INTERVAL`], except in tests.
    pub check_every: Duration,
}

impl Keeper {
    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            _ = async { tokio::join!(self.keep(), self.watch_clock()) } => {}
        }
    }

    async fn keep(&self) {
        let mut backoff = backoff();
        if self.identity.borrow().is_none() && self.secret.is_none() {
            let advice = "set EDGE_SECRET (edge.secret) as shown at registration, or run `aivms-appliance enroll`";
            tracing::error!("the edge has neither certificate nor secret; events are kept; {advice}");
        }
        loop {
            let current = self.identity.borrow().clone();
            let pause = match self.step(current.as_deref()).await {
                Ok(Some(fresh)) => {
                    tracing::info!(until = %fresh.validity().not_after, "the edge has a new certificate");
                    self.identity.send_replace(Some(Arc::new(fresh)));
                    backoff = self::backoff();
                    self.check_every
                }
                Ok(None) => self.check_every,
                Err(error) => {
                    tracing::error!(%error, "the edge has no new certificate");
                    if current.is_none() {
                        self.link.send_replace(LinkHealth::now(LinkState::NotEnrolled, Some(error.to_string())));
                    }
                    let delay = backoff.next_delay(fastrand::f64());
                    if error.is_final() { FINAL_PAUSE.max(delay) } else { delay }
                }
            };
            self.wait(pause).await;
        }
    }

    /// Asks the cloud what time it is, since MQTT does not tell and events carry this device's time. What is wrong is
    /// told once, until it is right again.
    async fn watch_clock(&self) {
        let mut was_wrong = false;
        loop {
            // Why the cloud can't be reached is for the others to tell; without an answer nothing is known.
            if self.cloud.knock().await.is_ok() {
                let problem = self.cloud.clock_problem();
                let is_wrong = problem.is_some();
                if let Some(message) = problem.filter(|_| !was_wrong) {
                    self.vitals.note(Notice { code: "clock_wrong".to_owned(), message, camera_id: None });
                }
                was_wrong = is_wrong;
            }
            sleep(CLOCK_INTERVAL).await;
        }
    }

    async fn step(&self, current: Option<&Identity>) -> Result<Option<Identity>, EnrollError> {
        match (current, &self.secret) {
            (Some(identity), _) if clock::now() >= identity.validity().renew_at() => {
                renew(&self.cloud, identity, &self.data_dir).await.map(Some)
            }
            (None, Some(secret)) => enroll(&self.cloud, &self.edge, secret, &self.data_dir).await.map(Some),
            _ => Ok(None),
        }
    }

    /// Waits for `pause`, or until the disk holds another identity of this edge, which is used then.
    async fn wait(&self, pause: Duration) {
        let end = Instant::now() + pause;
        while Instant::now() < end {
            sleep_until(end.min(Instant::now() + self.check_every)).await;
            let data_dir = self.data_dir.clone();
            let read = tokio::task::spawn_blocking(move || Identity::load(&data_dir)).await;
            let Ok(Ok(Some(found))) = read else { continue };
            let current = self.identity.borrow().clone();
            let is_new = current.is_none_or(|current| current.enrollment() != found.enrollment());
            if is_new && found.enrollment().edge_id == self.edge {
                tracing::info!("the edge was enrolled again");
                self.identity.send_replace(Some(Arc::new(found)));
                return;
            }
        }
    }
}

/// From seconds, because a cloud that starts together with the edge is soon there, to minutes.
fn backoff() -> Backoff {
    Backoff::new(Duration::from_secs(2), Duration::from_secs(300), Jitter::Equal).expect("the bounds are in order")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::DeviceKey;
    use crate::testing::{Authority, HttpServer, cloud_at, eventually};
    use std::sync::atomic::{AtomicBool, Ordering};
    use tempfile::TempDir;

    struct Kept {
        dir: TempDir,
        identity: watch::Receiver<Option<Arc<Identity>>>,
        link: watch::Receiver<LinkHealth>,
        _stop: tokio_util::sync::DropGuard,
    }

    impl Kept {
        fn new(url: &str, known: Option<Identity>, secret: Option<&str>) -> Self {
            let dir = tempfile::tempdir().unwrap();
            if let Some(known) = &known {
                known.store(dir.path()).unwrap();
            }
            let (identity, seen) = watch::channel(known.map(Arc::new));
            let (link, shown) = watch::channel(LinkHealth::now(LinkState::Connecting, None));
            let keeper = Keeper {
                cloud: Arc::new(cloud_at(url)),
                data_dir: dir.path().to_owned(),
                edge: "edge_1".parse().unwrap(),
                secret: secret.map(|secret| Secret::new(secret.to_owned())),
                identity,
                link,
                vitals: Arc::new(Vitals::new(std::env::temp_dir())),
                check_every: Duration::from_millis(100),
            };
            let stop = CancellationToken::new();
            tokio::spawn(keeper.run(stop.clone()));
            Self { dir, identity: seen, link: shown, _stop: stop.drop_guard() }
        }

        fn certificate(&self) -> Option<String> {
            Some(self.identity.borrow().as_ref()?.enrollment().certificate_pem.clone())
        }
    }

    fn identity(authority: &Authority, age_days: i64) -> Identity {
        let key = DeviceKey::generate().unwrap();
        let request = key.certificate_request().unwrap();
        key.certified(authority.enroll_aged(&request, "acme", "edge_1", 8883, age_days)).unwrap()
    }

    /// A cloud that certifies, once it is up.
    fn cloud(authority: &Arc<Authority>, is_up: &Arc<AtomicBool>) -> HttpServer {
        let (authority, is_up) = (Arc::clone(authority), Arc::clone(is_up));
        HttpServer::answering(move |request| {
            if !is_up.load(Ordering::SeqCst) {
                return (503, String::new());
            }
            if request.path == "/" {
                // Only asked for the date.
                return (404, String::new());
            }
            let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
            let request = body["csr_pem"].as_str().unwrap();
            (200, serde_json::to_string(&authority.enroll(request, "acme", "edge_1", 8883)).unwrap())
        })
    }

    #[tokio::test]
    async fn an_edge_that_is_not_enrolled_enrols_as_soon_as_the_cloud_is_there() {
        let (authority, is_up) = (Arc::new(Authority::new()), Arc::new(AtomicBool::new(false)));
        let server = cloud(&authority, &is_up);
        let kept = Kept::new(&server.url(), None, Some("secret"));
        eventually("the first attempt fails", || kept.link.borrow().cause.is_some()).await;
        assert!(kept.link.borrow().cause.as_ref().unwrap().contains("503"));
        is_up.store(true, Ordering::SeqCst);
        eventually("the edge is enrolled", || kept.certificate().is_some()).await;
        assert!(Identity::load(kept.dir.path()).unwrap().is_some());
    }

    #[tokio::test]
    async fn a_certificate_past_two_thirds_of_its_life_is_renewed_and_a_younger_one_is_kept() {
        let (authority, is_up) = (Arc::new(Authority::new()), Arc::new(AtomicBool::new(true)));
        let server = cloud(&authority, &is_up);
        let (young, old) = (identity(&authority, 59), identity(&authority, 61));
        let before = old.enrollment().certificate_pem.clone();
        let untouched = Kept::new(&server.url(), Some(young), None);
        let renewed = Kept::new(&server.url(), Some(old), None);
        eventually("it is renewed", || renewed.certificate().is_some_and(|now| now != before)).await;
        let asked: Vec<_> =
            server.requests().into_iter().map(|request| request.path).filter(|path| path != "/").collect();
        assert_eq!(asked, ["/api/edge/renew"]);
        assert!(untouched.certificate().is_some());
    }

    #[tokio::test]
    async fn what_enroll_puts_on_the_disk_meanwhile_is_used() {
        let authority = Authority::new();
        let kept = Kept::new("http://127.0.0.1:9", Some(identity(&authority, 1)), None);
        let other = identity(&authority, 0);
        other.store(kept.dir.path()).unwrap();
        let mut seen = kept.identity.clone();
        let adopted = seen.wait_for(|now| {
            now.as_ref().is_some_and(|now| now.enrollment().certificate_pem == other.enrollment().certificate_pem)
        });
        tokio::time::timeout(Duration::from_secs(30), adopted).await.unwrap().unwrap();
    }
}
