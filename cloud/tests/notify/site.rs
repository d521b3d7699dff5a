//! A tenant with a database and a worker that sends what it is owed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aivms_cloud::api::SEALED_FOR_PEOPLE;
use aivms_cloud::config::{Config, Secret};
use aivms_cloud::media::MediaFiles;
use aivms_cloud::notify::worker::Worker;
use aivms_cloud::notify::{self, webhook::WebhookSecret};
use aivms_cloud::sealed::Sealer;
use aivms_cloud::store::{
    AlertNews, ChannelSettings, DeliveryFilter, LoggedDelivery, NewTenant, Occasion, PageRequest, SharedStore, Store,
    Target, User, WebhookTarget,
};
use aivms_cloud::{clock, run};
use aivms_cloud_core::notify::id::ChannelId;
use aivms_cloud_core::rules::{AlertId, IncidentId, RuleId};
use aivms_contract::alert::Severity;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything may take that should happen at once, on a loaded machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// The one address that webhooks may call here; everything else of this machine stands for the network inside.
pub(crate) const OUTSIDE: &str = "127.7.7.7";

pub(crate) struct Site {
    pub store: SharedStore,
    pub owner: User,
    pub config: Config,
    pub stop: CancellationToken,
    workers: Vec<JoinHandle<()>>,
    _dir: TempDir,
}

impl Site {
    /// A tenant whose webhooks may call [`OUTSIDE`] at `ports`; `change` sets what else there is.
    pub(crate) async fn with(ports: Vec<u16>, change: impl FnOnce(&mut Config)) -> Self {
        run::install_crypto_provider();
        let dir = tempfile::tempdir().unwrap();
        let (database_path, clip_upload_dir) = (dir.path().join("cloud.db"), dir.path().join("clips"));
        let mut config = Config { database_path, clip_upload_dir, ..Config::default() };
        config.media.min_free_mib = 0;
        config.notifications.allowed_networks = vec![format!("{OUTSIDE}/32").parse().unwrap()];
        config.notifications.allowed_ports = ports;
        config.notifications.allow_http = true;
        config.http.public_url = "https://vms.example.com".parse().ok();
        change(&mut config);
        let store = Arc::new(Store::open_sqlite(&config.database_path).unwrap());
        let new = NewTenant {
            tenant_id: "acme".parse().unwrap(),
            tenant_name: "Acme".into(),
            email: "owner@acme.example".into(),
            name: "Owner".into(),
            password_hash: "$argon2id$none".into(),
        };
        let owner = store.register_tenant(new, clock::now()).await.unwrap();
        store.set_default_webhook(config.webhook_url.is_some()).await.unwrap();
        let mut site = Self { store, owner, config, stop: CancellationToken::new(), workers: vec![], _dir: dir };
        site.start_worker();
        site
    }

    /// Starts one more process' worker.
    pub(crate) fn start_worker(&mut self) {
        let media = MediaFiles::open(self.config.media_settings(), Arc::clone(&self.store)).unwrap();
        let (sender, _) = notify::set_up(&self.config, &server_secret(), media).unwrap();
        let worker = Worker::new(Arc::clone(&self.store), sender);
        self.workers.push(tokio::spawn(worker.run(self.stop.clone())));
    }

    /// Stops the workers as the end of a process does.
    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        for worker in self.workers.drain(..) {
            worker.await.unwrap();
        }
    }

    /// The form in which the database keeps a secret.
    pub(crate) fn sealed(&self, secret: &str) -> Vec<u8> {
        let sealer = Sealer::new(&server_secret(), None, SEALED_FOR_PEOPLE);
        sealer.seal(secret.as_bytes()).unwrap()
    }

    /// Makes a webhook; returns its id and secret.
    pub(crate) async fn webhook(&self, url: String) -> (ChannelId, String) {
        let secret = WebhookSecret::draw().unwrap().reveal();
        let sealed = self.sealed(&secret);
        let id = self.channel(Target::Webhook(WebhookTarget { url }), Some(sealed)).await;
        (id, secret)
    }

    pub(crate) async fn mail_list(&self, addresses: &[&str]) -> ChannelId {
        self.channel(Target::Mail(addresses.iter().map(|address| (*address).to_owned()).collect()), None).await
    }

    async fn channel(&self, target: Target, secret: Option<Vec<u8>>) -> ChannelId {
        let id = ChannelId::from_parts(clock::now(), fastrand::u128(..));
        let settings =
            ChannelSettings { name: "Channel".into(), target, least_severity: Severity::Info, enabled: true };
        self.store.create_channel(self.owner.tenant, id.clone(), settings, secret, clock::now()).await.unwrap();
        id
    }

    /// An alert of its own, not told yet.
    pub(crate) fn alert(&self, title: &str, severity: Severity) -> AlertNews {
        let now = clock::now();
        AlertNews {
            tenant: self.owner.tenant,
            alert: AlertId::from_parts(now, fastrand::u128(..)),
            incident: IncidentId::from_parts(now, 1),
            opens_incident: true,
            occasion: Occasion::Raised,
            severity,
            title: title.to_owned(),
            rule: RuleId::from_parts(now, 1),
            rule_name: "Night watch".into(),
            edge: "edge_a".parse().unwrap(),
            edge_name: "Gate".into(),
            camera: "dock".parse().ok(),
            zone: None,
            event: None,
            at: now,
            told_at: now,
            targets: vec![],
            escalated_to: vec![],
        }
    }

    /// Tells of an alert.
    pub(crate) async fn tell(&self, news: AlertNews) {
        self.store.owe_alert(news).await.unwrap();
    }

    pub(crate) async fn log(&self) -> Vec<LoggedDelivery> {
        let page = PageRequest { before: None, limit: 1_000 };
        self.store.list_deliveries(self.owner.tenant, DeliveryFilter::default(), page).await.unwrap().items
    }

    /// Waits until the log is as `expected` says.
    pub(crate) async fn wait_for_log(&self, expected: impl Fn(&[LoggedDelivery]) -> bool) -> Vec<LoggedDelivery> {
        let begun = Instant::now();
        loop {
            let log = self.log().await;
            if expected(&log) {
                return log;
            }
            assert!(begun.elapsed() < SOON, "{log:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn server_secret() -> Secret {
    Secret::new("0123456789".repeat(4))
}
