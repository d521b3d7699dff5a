//! Builds, wires and supervises the running cloud.
//!
//! The order of starting and stopping: the database first and last; then ingest; then the two fronts that feed it.
//! Stopping takes the fronts away, lets ingest commit what it has taken, and closes the database.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::api::{self, Api, ApiParts, ApiSettings};
use crate::ca::CertificateAuthority;
use crate::config::{Config, MqttConfig, Secret};
use crate::dispatch::Dispatch;
use crate::edge_watch::EdgeWatch;
use crate::hearing;
use crate::ingest::Ingest;
use crate::live::LiveHints;
use crate::media::{Janitor, MediaFiles};
use crate::metrics::page::FiguresPage;
use crate::metrics::{self, HttpFigures, Registry};
use crate::mqtt::sessions::Sessions;
use crate::mqtt::{Front, FrontSettings};
use crate::notify::guard::GuardedClient;
use crate::readiness::Readiness;
use crate::relay::{Relay, SEALED_FOR_TICKETS, Tickets};
use crate::sealed::Sealer;
use crate::store::{SharedStore, Store};
use crate::tenants::TenantSettings;
use crate::{clock, counting, escalation, https, notify, retention, secret_file, servers, service, tenants};

/// Longest wait for requests in flight when stopping; service managers wait 90 s before they kill.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A cloud at work.
#[derive(Debug)]
pub struct Running {
    http_addr: SocketAddr,
    mqtt_addr: SocketAddr,
    metrics_addr: Option<SocketAddr>,
    stop: CancellationToken,
    supervisor: JoinHandle<Result<()>>,
}

impl Running {
    /// Where the API listens.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Where the MQTT front listens.
    #[must_use]
    pub fn mqtt_addr(&self) -> SocketAddr {
        self.mqtt_addr
    }

    /// Where the figures are shown, if anywhere.
    #[must_use]
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_addr
    }

    /// Waits until the cloud has ended by itself, which only a failure makes it do.
    ///
    /// # Errors
    /// Says what failed.
    pub async fn ended(&mut self) -> Result<()> {
        (&mut self.supervisor).await.context("the supervisor")?
    }

    /// Stops in order: requests in flight are answered, events taken are committed, the database is closed.
    ///
    /// # Errors
    /// Something failed before or while stopping.
    pub async fn stop(mut self) -> Result<()> {
        self.stop.cancel();
        self.ended().await
    }
}

/// Starts everything; when it returns, both fronts listen.
///
/// # Errors
/// Names the setting, file or address that is in the way.
pub async fn start(config: Config) -> Result<Running> {
    install_crypto_provider();
    let store = open_store(&config).await?;
    let data_dir = config.data_dir();
    let jwt_secret = match config.jwt_secret.clone() {
        Some(secret) => secret,
        None => secret_file::read_or_draw(&data_dir.join("jwt-secret"))?,
    };
    let ca = Arc::new(CertificateAuthority::open(&data_dir, clock::now()).context("certificate authority")?);
    let previous = config.jwt_secret_previous.as_ref();
    let (listener, links) = servers::open(&config, &jwt_secret, &ca, &store).await?;
    let address = listener.as_ref().map(|listener| config.servers.told_address(listener.address()));
    store.join_processes(address).await.context("database")?;
    seal_anew(&store, &jwt_secret, previous).await?;
    let media = open_media(&config, &store).await?;
    let (sender, notifications) = notify::set_up(&config, &jwt_secret, media.clone())?;
    let mailer = notifications.mailer.clone();
    store.set_default_webhook(config.webhook_url.is_some()).await.context("database")?;
    let (sessions, hints, stop) = (Sessions::default(), LiveHints::default(), CancellationToken::new());
    let hearing = hearing::hear(store.news(), Arc::downgrade(&store), hints.clone(), sessions.clone());
    let hearing = AbortOnDropHandle::new(tokio::spawn(hearing));
    let tickets = Tickets::new(Sealer::new(&jwt_secret, previous, SEALED_FOR_TICKETS));
    let (relay, calls) = Relay::new(Arc::clone(&store), tickets, links, stop.clone());
    let (ingest, batches) = Ingest::new(Arc::clone(&store), hints.clone());
    let front_settings = front_settings(&config.mqtt);
    let front = Front::bind(front_settings, Arc::clone(&store), Arc::clone(&ca), sessions.clone(), ingest.clone());
    let front = front.await?;
    let (acceptor, http_addr) = https::bind(&config.http).await?;
    let page = FiguresPage::bind(&config.metrics).await?;
    let metrics_addr = page.as_ref().map(FiguresPage::address);
    let mqtt_addr = front.local_addr();
    let settings = ApiSettings {
        jwt_secret,
        jwt_secret_previous: config.jwt_secret_previous.clone(),
        public_url: config.http.public_url.clone(),
        guarded: GuardedClient::new(config.notifications.address_rules()).context("the client that calls others")?,
        edge_timeout: config.edge_timeout(),
        mqtt_host: config.mqtt.public_host.clone(),
        mqtt_port: config.mqtt.public_port.unwrap_or(mqtt_addr.port()),
        trusted_proxies: config.http.trusted_proxies.clone(),
        https: config.http.is_https(),
        security_contact: config.http.security_contact.clone(),
        link_seconds: config.media.link_seconds,
        deletion_wait_days: config.tenants.deletion_wait_days,
        calls_per_caller: config.calls.per_caller(),
        calls_per_tenant: config.calls.per_tenant(),
    };
    let scheme = if config.http.tls_certificate.is_some() { "https" } else { "http" };
    let readiness = Readiness::new(Arc::clone(&store), stop.clone());
    let figures = HttpFigures::default();
    let mut registry = name_figures(&figures, &front, &ingest, &relay, &media);
    store.register(&mut registry);
    let parts = ApiParts {
        store: Arc::clone(&store),
        ca,
        ingest,
        sessions,
        hints,
        relay: relay.clone(),
        media: media.clone(),
        notifications,
        readiness: readiness.clone(),
        figures,
    };
    let api = Api::new(parts, settings, stop.clone());
    let endpoint = api::endpoint(api.clone());
    tracing::info!("API on {scheme}://{http_addr}, its documentation on {scheme}://{http_addr}/docs");
    tracing::info!("MQTT with TLS client certificates on {mqtt_addr}");

    let mut fronts: JoinSet<Result<()>> = JoinSet::new();
    let http_stop = stop.clone();
    fronts.spawn(async move {
        let server = poem::Server::new_with_acceptor(acceptor);
        server
            .run_with_graceful_shutdown(endpoint, http_stop.cancelled(), Some(STOP_LIMIT))
            .await
            .context("the API server")
    });
    if let Some(page) = page {
        tracing::info!("figures on http://{}/metrics", page.address());
        fronts.spawn(page.serve(registry, Arc::clone(&store), readiness, stop.clone()));
    }
    if let Some(listener) = listener {
        tracing::info!("links of other servers on {}", listener.address());
        let take = move |link, errand| api.clone().take(link, errand);
        tokio::spawn(listener.serve(take, stop.clone()));
    }
    tokio::spawn(calls.run(relay, Arc::clone(&store), front.down_link(), stop.clone()));
    let dispatch = Dispatch::new(Arc::clone(&store), front.down_link());
    let dispatch_stop = stop.clone();
    fronts.spawn(async move {
        dispatch.run(dispatch_stop).await;
        Ok(())
    });
    let watch = EdgeWatch::new(Arc::clone(&store), config.presence.hold_off(config.edge_timeout()));
    let watch_stop = stop.clone();
    fronts.spawn(async move {
        watch.run(watch_stop).await;
        Ok(())
    });
    let mqtt_stop = stop.clone();
    fronts.spawn(async move { front.run(mqtt_stop).await.context("the MQTT front") });
    let (counted, counting_stop) = (Arc::clone(&store), stop.clone());
    fronts.spawn(async move {
        counting::run(counted, counting_stop).await;
        Ok(())
    });
    let (retained, files, retention_stop) = (Arc::clone(&store), media.clone(), stop.clone());
    fronts.spawn(async move {
        retention::run(retained, files, retention_stop).await;
        Ok(())
    });
    let tenant_settings =
        TenantSettings { export_days: config.tenants.export_days, public_url: config.http.public_url.clone() };
    fronts.spawn(ended(tenants::run(Arc::clone(&store), media.clone(), tenant_settings, stop.clone())));
    let janitor_stop = stop.clone();
    fronts.spawn(async move {
        Janitor::new(media).run(janitor_stop).await;
        Ok(())
    });
    let (escalation_store, escalation_stop) = (Arc::clone(&store), stop.clone());
    fronts.spawn(async move {
        escalation::run(escalation_store, escalation_stop).await;
        Ok(())
    });
    fronts.spawn(ended(notify::outgoing::send_mails(Arc::clone(&store), mailer, stop.clone())));
    let (worker, worker_stop) = (notify::worker::Worker::new(Arc::clone(&store), sender), stop.clone());
    fronts.spawn(ended(worker.run(worker_stop)));
    let ingest_stop = CancellationToken::new();
    let committer = tokio::spawn(batches.run(ingest_stop.clone()));
    let supervisor = tokio::spawn(supervise(fronts, committer, ingest_stop, stop.clone(), store, hearing));
    Ok(Running { http_addr, mqtt_addr, metrics_addr, stop, supervisor })
}

/// Gives every part's figures their names.
fn name_figures(http: &HttpFigures, front: &Front, ingest: &Ingest, relay: &Relay, media: &MediaFiles) -> Registry {
    let mut registry = Registry::default();
    http.register(&mut registry);
    front.register(&mut registry);
    ingest.register(&mut registry);
    relay.register(&mut registry);
    media.register(&mut registry);
    metrics::register_process(&mut registry);
    registry
}

/// Seals with the server secret what the one before it has sealed, so that that one can be taken away.
async fn seal_anew(store: &SharedStore, secret: &Secret, previous: Option<&Secret>) -> Result<()> {
    if previous.is_none() {
        return Ok(());
    }
    let sealer = Sealer::new(secret, previous, api::SEALED_FOR_PEOPLE);
    let resealed = store.reseal(move |sealed| sealer.anew(sealed)).await.context("database")?;
    tracing::info!(resealed, "sealed with the new server secret what the one before had sealed");
    Ok(())
}

/// A part whose end is no failure.
async fn ended(part: impl Future<Output = ()>) -> Result<()> {
    part.await;
    Ok(())
}

/// Waits for SIGTERM, SIGINT or a failure, and stops.
///
/// # Errors
/// Something failed.
pub async fn until_told_to_stop(mut running: Running) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    tokio::select! {
        ended = running.ended() => return ended,
        never = service::report_alive() => match never {},
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
    }
    service::report_stopping();
    running.stop().await?;
    tracing::info!("stopped");
    Ok(())
}

/// Makes aws-lc the one provider of TLS; a second call, from another cloud in the same process, changes nothing.
pub fn install_crypto_provider() {
    // The error says that there is one already, and nobody installs another one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Ends all when told to, or when a part ends; then the fronts first, ingest after them, the database last.
async fn supervise(
    mut fronts: JoinSet<Result<()>>,
    mut committer: JoinHandle<()>,
    ingest_stop: CancellationToken,
    stop: CancellationToken,
    store: SharedStore,
    hearing: AbortOnDropHandle<()>,
) -> Result<()> {
    let first = tokio::select! {
        // Asked first: told to stop, parts may have ended before this is looked at, and that is no failure.
        biased;
        () = stop.cancelled() => Ok(()),
        ended = fronts.join_next() => flat(ended),
        ended = &mut committer => Err(ended.err().map_or_else(|| anyhow!("ingest ended"), Into::into)),
    };
    stop.cancel();
    let rest = tokio::time::timeout(STOP_LIMIT + Duration::from_secs(1), async {
        let mut rest = Ok(());
        while let Some(ended) = fronts.join_next().await {
            rest = rest.and(flat(Some(ended)));
        }
        rest
    })
    .await;
    if rest.is_err() {
        tracing::warn!("connections did not end in time and are cut");
        fronts.shutdown().await;
    }
    ingest_stop.cancel();
    if !committer.is_finished() && tokio::time::timeout(STOP_LIMIT, committer).await.is_err() {
        tracing::warn!("ingest did not end in time; what was not acknowledged will be sent again");
    }
    drop(hearing);
    // Closing waits for the writer thread and may write the whole log into the file.
    tokio::task::spawn_blocking(move || drop(store)).await.context("closing the database")?;
    first.and(rest.unwrap_or(Ok(())))
}

fn flat(ended: Option<Result<Result<()>, tokio::task::JoinError>>) -> Result<()> {
    ended.transpose().context("a task")?.unwrap_or(Ok(()))
}

/// Opens the database that the settings name.
pub(crate) async fn open_store(config: &Config) -> Result<SharedStore> {
    if let Some(settings) = config.postgres()? {
        let store = Store::open_postgres(&settings).await.with_context(|| settings.to_string())?;
        return Ok(Arc::new(store));
    }
    let path = config.database_path.clone();
    make_parent(&path)?;
    let opened =
        tokio::task::spawn_blocking(move || Store::open_sqlite(&path)).await.context("opening the database")?;
    let store = opened.with_context(|| format!("database_path {}", config.database_path.display()))?;
    Ok(Arc::new(store))
}

async fn open_media(config: &Config, store: &SharedStore) -> Result<MediaFiles> {
    let (settings, store) = (config.media_settings(), Arc::clone(store));
    tokio::task::spawn_blocking(move || MediaFiles::open(settings, store)).await.context("opening the media folders")?
}

fn make_parent(path: &Path) -> Result<()> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => std::fs::create_dir_all(parent)
            .with_context(|| format!("database_path: can't make the folder {}", parent.display())),
        None => Ok(()),
    }
}

fn front_settings(config: &MqttConfig) -> FrontSettings {
    let mut server_names = vec![config.public_host.clone()];
    server_names.extend(config.server_names.iter().filter(|name| **name != config.public_host).cloned());
    FrontSettings { bind: config.bind, server_names, proxies: config.trusted_proxies.clone() }
}
