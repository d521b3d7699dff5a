//! A front with its database and CA, and the clients that attack and use it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

pub mod attacker;
pub mod clients;
pub mod events;
pub mod innocent;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aivms_cloud::ca::CertificateAuthority;
use aivms_cloud::dispatch::Dispatch;
use aivms_cloud::ingest::Ingest;
use aivms_cloud::live::LiveHints;
use aivms_cloud::mqtt::sessions::Sessions;
use aivms_cloud::mqtt::{DownLink, Front, FrontError, FrontLimits, FrontSettings};

use aivms_cloud::store::{Edge, Fingerprint, NewTenant, SharedStore, Store, TenantKey};
use aivms_contract::id::{EdgeId, TenantId};
use aivms_contract::identity::{Identity, Role};
use aivms_contract::time::UtcMillis;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything may take that should happen at once.
pub const SOON: Duration = Duration::from_secs(20);

/// A running front.
pub struct Cloud {
    pub dir: TempDir,
    pub store: SharedStore,
    pub ca: Arc<CertificateAuthority>,
    pub sessions: Sessions,
    pub ingest: Ingest,
    pub down_link: DownLink,
    pub addr: SocketAddr,
    pub shutdown: CancellationToken,
    pub served: JoinHandle<Result<(), FrontError>>,
}

/// A tenant in the database.
#[derive(Clone)]
pub struct Tenant {
    pub id: TenantId,
    pub key: TenantKey,
}

/// Who a client is, with its files.
#[derive(Clone)]
pub struct Credentials {
    pub identity: Identity,
    pub fingerprint: Fingerprint,
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub ca: PathBuf,
}

pub fn now() -> UtcMillis {
    UtcMillis::from_millis(jiff::Timestamp::now().as_millisecond())
}

impl Cloud {
    pub async fn start() -> Self {
        Self::start_with(FrontLimits::default()).await
    }

    pub async fn start_with(limits: FrontLimits) -> Self {
        Self::start_behind(limits, Vec::new()).await
    }

    /// One that hears from these proxies who is there.
    pub async fn start_behind(limits: FrontLimits, proxies: Vec<IpAddr>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store: SharedStore = Arc::new(Store::open_sqlite(&dir.path().join("cloud.db")).unwrap());
        let ca = Arc::new(CertificateAuthority::open(&dir.path().join("ca"), now()).unwrap());
        let sessions = Sessions::default();
        let (ingest, batches) = Ingest::new(Arc::clone(&store), LiveHints::default());
        let settings = FrontSettings {
            bind: ([127, 0, 0, 1], 0).into(),
            server_names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
            proxies: proxies.into_iter().collect(),
        };
        let bound =
            Front::bind_with(settings, limits, Arc::clone(&store), Arc::clone(&ca), sessions.clone(), ingest.clone());
        let front = bound.await.unwrap();
        let (addr, down_link, shutdown) = (front.local_addr(), front.down_link(), CancellationToken::new());
        tokio::spawn(Dispatch::new(Arc::clone(&store), front.down_link()).run(shutdown.clone()));
        let served = tokio::spawn(front.run(shutdown.clone()));
        tokio::spawn(batches.run(CancellationToken::new()));
        std::fs::write(dir.path().join("ca.pem"), ca.ca_pem()).unwrap();
        Self { dir, store, ca, sessions, ingest, down_link, addr, shutdown, served }
    }

    pub async fn tenant(&self, id: &str) -> Tenant {
        let tenant = NewTenant {
            tenant_id: id.parse().unwrap(),
            tenant_name: id.to_owned(),
            email: format!("owner@{id}.example"),
            name: "Owner".to_owned(),
            password_hash: "none".to_owned(),
        };
        let user = self.store.register_tenant(tenant, now()).await.unwrap();
        Tenant { id: user.tenant_id, key: user.tenant }
    }

    /// A registered and enrolled edge.
    pub async fn edge(&self, tenant: &Tenant) -> Credentials {
        let edge = EdgeId::from_random(fastrand::u128(..));
        let secret_hash: [u8; 32] = std::array::from_fn(|_| fastrand::u8(..));
        self.store.create_edge(tenant.key, &edge, "edge", secret_hash, now()).await.unwrap();
        let identity = Identity { tenant: tenant.id.clone(), role: Role::Edge(edge.clone()) };
        let (issued, key) = self.ca.issue_with_key(&identity, now()).unwrap();
        let credentials = self.files(&issued.certificate_pem, &key, identity, issued.record.fingerprint);
        self.store.enroll_edge(&edge, secret_hash, issued.record, now()).await.unwrap();
        credentials
    }

    pub async fn operator(&self, tenant: &Tenant) -> Credentials {
        let role = Role::Operator(format!("op-{:08x}", fastrand::u32(..)).parse().unwrap());
        let identity = Identity { tenant: tenant.id.clone(), role };
        let (issued, key) = self.ca.issue_with_key(&identity, now()).unwrap();
        let credentials = self.files(&issued.certificate_pem, &key, identity, issued.record.fingerprint);
        self.store.create_operator(tenant.key, "operator", issued.record, now()).await.unwrap();
        credentials
    }

    pub fn files(&self, certificate: &str, key: &str, identity: Identity, fingerprint: Fingerprint) -> Credentials {
        let path = |kind: &str| self.dir.path().join(format!("{:016x}.{kind}", fastrand::u64(..)));
        let (certificate_path, key_path) = (path("crt"), path("key"));
        std::fs::write(&certificate_path, certificate).unwrap();
        std::fs::write(&key_path, key).unwrap();
        Credentials {
            identity,
            fingerprint,
            certificate: certificate_path,
            key: key_path,
            ca: self.dir.path().join("ca.pem"),
        }
    }

    pub async fn edge_row(&self, tenant: &Tenant, edge: &Credentials) -> Edge {
        self.store.edge(tenant.key, edge.edge_id()).await.unwrap().unwrap()
    }

    /// Ends the front and says how it ended.
    pub async fn stop(self) -> Result<(), FrontError> {
        self.shutdown.cancel();
        tokio::time::timeout(SOON, self.served).await.unwrap().unwrap()
    }
}

impl Credentials {
    pub fn edge_id(&self) -> &EdgeId {
        match &self.identity.role {
            Role::Edge(edge) => edge,
            Role::Operator(_) => panic!("not an edge"),
        }
    }

    /// `aivms/v1/<tenant>/<edge>/<rest>`
    pub fn topic(&self, rest: &str) -> String {
        format!("aivms/v1/{}/{}/{rest}", self.identity.tenant, self.edge_id())
    }
}

/// Waits until `condition` holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + SOON;
    while !condition().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
