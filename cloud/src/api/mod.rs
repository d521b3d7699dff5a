//! The HTTP API: a file per noun.

mod accounts;
mod alerts;
mod analytics;
mod api_keys;
mod audit;
mod brakes;
mod calls;
mod channels;
mod clips;
mod commands;
mod deliveries;
mod desired;
mod docs;
mod documented;
mod edge_devices;
mod edge_media;
mod edge_relay;
mod edge_state;
mod edge_token;
mod edges;
mod events;
mod failure;
mod feed_cursor;
mod footage;
mod guard;
mod idempotency;
mod incidents;
mod invitations;
mod live;
mod media;
mod media_list;
mod media_locks;
mod operations;
mod operators;
mod own_password;
mod own_sessions;
mod passing;
mod passwords;
mod people;
mod preferences;
mod providers;
mod retention;
mod rules;
mod second_factor;
mod secrets;
mod security_txt;
mod sign_in;
mod signed_in;
mod snapshots;
mod tenant_deletion;
mod tenant_exports;
mod unsubscribe;
mod user_changes;
mod user_token;
mod values;
mod viewer;
mod viewing;
mod views;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aivms_cloud_core::pace::Pace;
use poem::endpoint::make_sync;
use poem::web::Data;
use poem::{Endpoint, EndpointExt, IntoResponse, Request, Response, Route, get, handler};
use poem_openapi::Tags as TagList;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use url::Url;

use crate::ca::CertificateAuthority;
use crate::config::Secret;
use crate::ingest::Ingest;
use crate::live::LiveHints;
use crate::media::{ExportLinks, LinkSigner, MediaFiles};
use crate::metrics::HttpFigures;
use crate::mqtt::sessions::Sessions;
use crate::network::{Proxies, network};
use crate::notify::Notifications;
use crate::notify::guard::GuardedClient;
use crate::readiness::Readiness;
use crate::relay::Relay;
use crate::sealed::Sealer;
use crate::servers::{Errand, Link};
use crate::store::{SharedStore, UserKey};

/// What the API is told at start.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// Signs user tokens.
    pub jwt_secret: Secret,
    /// The secret before: what it signed and sealed still counts.
    pub jwt_secret_previous: Option<Secret>,
    /// Where people reach the cloud, for links in mails.
    pub public_url: Option<Url>,
    /// Calls providers that tenants named, by the rules for such addresses.
    pub guarded: GuardedClient,
    /// Time without a sign of life after which an edge counts as offline.
    pub edge_timeout: Duration,
    /// Host that edges and MQTT tools are told to connect to.
    pub mqtt_host: String,
    /// Port that edges and MQTT tools are told to connect to.
    pub mqtt_port: u16,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Proxies,
    /// Whether browsers reach the API by HTTPS.
    pub https: bool,
    /// Where finders of weaknesses report them.
    pub security_contact: Option<url::Url>,
    /// Seconds for which a link to a file is good.
    pub link_seconds: u32,
    /// Days from asking for the deletion of a tenant to its beginning.
    pub deletion_wait_days: u32,
    /// What each person and each API key may call; `None` for no limit.
    pub calls_per_caller: Option<Pace>,
    /// What the people and API keys of a tenant may call together; `None` for no limit.
    pub calls_per_tenant: Option<Pace>,
}

/// The parts of the cloud the API works with.
#[derive(Clone)]
pub struct ApiParts {
    /// The database.
    pub store: SharedStore,
    /// Signs certificates.
    pub ca: Arc<CertificateAuthority>,
    /// The way into the database for events.
    pub ingest: Ingest,
    /// The live MQTT sessions, to end those of withdrawn certificates.
    pub sessions: Sessions,
    /// News of stored events.
    pub hints: LiveHints,
    /// Live view and playback.
    pub relay: Relay,
    /// Files of clips and snapshots.
    pub media: MediaFiles,
    /// Where messages may go, and what they are signed with.
    pub notifications: Notifications,
    /// Whether the cloud can do its work.
    pub readiness: Readiness,
    /// What is counted of requests.
    pub figures: HttpFigures,
}

/// Groups of operations in the document.
#[derive(Debug, TagList)]
enum Tags {
    /// Tenants, signing in, and one's own account.
    Accounts,
    /// The people of a tenant, and the programs that act for them.
    People,
    /// Appliances.
    Edges,
    /// What edges shall do once.
    Commands,
    /// MQTT clients of people and tools.
    Operators,
    /// What edges saw.
    Events,
    /// Alert rules, alerts and incidents.
    Alerts,
    /// Live view and playback.
    Footage,
    /// Clips and snapshots.
    #[oai(rename = "Clips and snapshots")]
    Media,
    /// Who is told of alerts, and how.
    Notifications,
    /// Who did what.
    #[oai(rename = "Audit log")]
    Audit,
    /// What edges themselves call.
    #[oai(rename = "Edge devices")]
    EdgeDevices,
}

/// What secrets of second factors and of tenants' providers are sealed for.
pub const SEALED_FOR_PEOPLE: &str = "secrets of people";

/// What a handler's steps give.
type Tried<T> = Result<T, failure::Failure>;

/// Everything a handler may need.
struct Services {
    store: SharedStore,
    ca: Arc<CertificateAuthority>,
    ingest: Ingest,
    sessions: Sessions,
    hints: LiveHints,
    relay: Relay,
    media: MediaFiles,
    notifications: Notifications,
    readiness: Readiness,
    links: LinkSigner,
    export_links: ExportLinks,
    answer_keys: idempotency::AnswerKeys,
    settings: ApiSettings,
    tokens: user_token::UserTokens,
    sealer: Sealer,
    /// Whose rights have changed; `None` for anybody's.
    changes: broadcast::Sender<Option<UserKey>>,
    feed_cursors: feed_cursor::FeedCursors,
    passwords: passwords::Passwords,
    brakes: brakes::Brakes,
    calls: calls::Calls,
    /// Ends live streams, which would otherwise hold up the stop.
    stop: CancellationToken,
}

/// Paths that are no operations of the framework; each answers GET. Those of them that are for programs of people are
/// described in the document by hand.
pub const OUTSIDE_THE_DOCUMENT: [&str; 17] = [
    "/.well-known/security.txt",
    "/healthz",
    "/readyz",
    "/openapi.json",
    "/docs",
    "/api/events/live",
    "/api/live/stream",
    "/api/edge/relay",
    "/media/{token}",
    "/exports/{token}",
    "/api/notifications/unsubscribe",
    "/viewer",
    "/viewer/viewer.css",
    "/viewer/viewer.js",
    "/viewer/player.js",
    "/sign-in",
    "/sign-in/sign-in.js",
];

/// Everything the API works with; cheap to clone.
#[derive(Clone)]
pub struct Api {
    services: Arc<Services>,
    figures: HttpFigures,
}

impl Api {
    /// Puts the parts together. `stop` ends the live streams.
    #[must_use]
    pub fn new(parts: ApiParts, settings: ApiSettings, stop: CancellationToken) -> Self {
        let figures = parts.figures.clone();
        Self { services: Arc::new(Services::new(parts, settings, stop)), figures }
    }

    /// Does what another process of the cloud asks for, until its link ends.
    pub(crate) async fn take(self, link: Link, errand: Errand) {
        passing::take(self.services, link, errand).await;
    }
}

/// Builds the whole HTTP side.
pub fn endpoint(api: Api) -> impl Endpoint<Output = Response> {
    let Api { services, figures } = api;
    let (https, proxies) = (services.settings.https, services.settings.trusted_proxies.clone());
    let api = operations::service(&services);
    let spec = api.spec();
    let document = docs::whole(&spec);
    let page = docs::DocsPage::new(&api.swagger_ui_html().replace(&spec, &document));
    let documented = documented::Documented::new(&document, &OUTSIDE_THE_DOCUMENT);
    let routes = Route::new()
        .at("/healthz", get(healthz))
        .at("/readyz", get(readyz))
        .at("/.well-known/security.txt", get(security_txt::show))
        .at("/openapi.json", get(make_sync(move |_| document.clone().with_content_type("application/json"))))
        .at("/docs", get(make_sync(move |_| page.into_response())))
        .at("/api/events/live", get(live::live))
        .at("/api/live/stream", get(viewing::stream))
        .at("/api/edge/relay", get(edge_relay::relay))
        .at("/api/notifications/unsubscribe", get(unsubscribe::ask).post(unsubscribe::end))
        .at("/media/:token", get(media::serve).head(media::serve))
        .at("/exports/:token", get(tenant_exports::serve).head(tenant_exports::serve))
        .nest("/", api);
    let routes = providers::add(viewer::add(routes)).data(services).map_to_response();
    guard::Guard { inner: routes, documented: Arc::new(documented), proxies, figures, https }
}

impl Services {
    /// Where people reach the cloud, for links in mails.
    fn public_url(&self) -> Option<&str> {
        self.settings.public_url.as_ref().map(Url::as_str)
    }

    fn new(parts: ApiParts, settings: ApiSettings, stop: CancellationToken) -> Self {
        Self {
            tokens: user_token::UserTokens::new(&settings.jwt_secret, settings.jwt_secret_previous.as_ref()),
            sealer: Sealer::new(&settings.jwt_secret, settings.jwt_secret_previous.as_ref(), SEALED_FOR_PEOPLE),
            changes: user_changes::follow(&parts.store, stop.clone()),
            links: LinkSigner::new(&settings.jwt_secret),
            export_links: ExportLinks::new(&settings.jwt_secret),
            answer_keys: idempotency::AnswerKeys::new(&settings.jwt_secret),
            feed_cursors: feed_cursor::FeedCursors::new(&settings.jwt_secret),
            passwords: passwords::Passwords::new(),
            brakes: brakes::Brakes::new(Arc::clone(&parts.store)),
            calls: calls::Calls::new(settings.calls_per_caller, settings.calls_per_tenant, &parts.figures),
            store: parts.store,
            ca: parts.ca,
            ingest: parts.ingest,
            sessions: parts.sessions,
            hints: parts.hints,
            relay: parts.relay,
            media: parts.media,
            notifications: parts.notifications,
            readiness: parts.readiness,
            settings,
            stop,
        }
    }
}

/// Runs `work` to its end, also when the caller goes away meanwhile: a withdrawal that is in the database must reach
/// the live sessions too.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, failure::Failure>> + Send + 'static,
) -> Result<T, failure::Failure> {
    tokio::spawn(work.in_current_span()).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a request panicked; this is a defect");
        Err(failure::Failure::internal())
    })
}

/// The process answers.
#[handler]
fn healthz() -> &'static str {
    "ok"
}

/// The process can do its work: the database takes what is written.
#[handler]
async fn readyz(services: Data<&Arc<Services>>) -> poem::Result<&'static str> {
    let unready =
        |cause: crate::readiness::Unready| failure::Failure::unavailable(cause.to_string(), Duration::from_secs(5));
    services.readiness.look().await.map_err(unready)?;
    Ok("ready")
}

/// The address a request comes from: the connection's, or behind proxies of ours the last one they did not add
/// themselves.
fn address(request: &Request, services: &Services) -> String {
    let forwarded = request.headers().get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    match request.remote_addr().as_socket_addr() {
        Some(peer) => client_address(peer.ip(), forwarded, &services.settings.trusted_proxies).to_string(),
        None => request.remote_addr().to_string(),
    }
}

/// An IPv6 address counts as its network: whoever has one has as many as it takes to get around every brake.
fn client_address<'a>(peer: IpAddr, forwarded: impl Iterator<Item = &'a str>, trusted: &Proxies) -> IpAddr {
    let peer = peer.to_canonical();
    if !trusted.contains(peer) {
        return network(peer);
    }
    let chain: Vec<IpAddr> =
        forwarded.flat_map(|value| value.split(',')).filter_map(|a| a.trim().parse().ok()).collect();
    network(chain.into_iter().rev().find(|address| !trusted.contains(*address)).unwrap_or(peer))
}

#[cfg(test)]
mod tests;
