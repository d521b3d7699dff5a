//! The page with the figures, on a listener of its own.
//!
//! Its own, because each of several processes behind one balancer has figures of its own, and because the API's
//! listener faces the world. Whoever may not be trusted with the machine's inside can't reach a loopback address;
//! any other address needs a token, which [`crate::config`] sees to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use poem::endpoint::{make, make_sync};
use poem::http::StatusCode;
use poem::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use poem::listener::{Acceptor, Listener, TcpAcceptor, TcpListener};
use poem::{Endpoint, EndpointExt, IntoResponse, Request, Response, Route, get};
use prometheus_client::encoding::text::encode;
use tokio_util::sync::CancellationToken;

use super::Registry;
use super::census::CensusFigures;
use crate::config::{MetricsConfig, Secret};
use crate::http::PatientAcceptor;
use crate::network::Proxies;
use crate::readiness::Readiness;
use crate::store::SharedStore;

/// The form of the page, which Prometheus asks for first.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Longest wait for looks in progress when stopping.
const STOP_LIMIT: Duration = Duration::from_secs(1);

/// The listener, bound but not yet serving.
pub struct FiguresPage {
    acceptor: TcpAcceptor,
    address: SocketAddr,
    token: Option<Secret>,
}

impl FiguresPage {
    /// Binds the listener, if the settings name an address.
    ///
    /// # Errors
    /// The address is taken.
    pub async fn bind(config: &MetricsConfig) -> anyhow::Result<Option<Self>> {
        let Some(bind) = config.bind else { return Ok(None) };
        let acceptor = TcpListener::bind(bind).into_acceptor().await;
        let acceptor = acceptor.with_context(|| format!("metrics.bind: can't listen on {bind}"))?;
        let address = acceptor.local_addr().first().and_then(|address| address.as_socket_addr().copied());
        let address = address.context("metrics.bind: the system names no address")?;
        Ok(Some(Self { acceptor, address, token: config.token.clone() }))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`.
    ///
    /// # Errors
    /// The server failed.
    pub async fn serve(
        self,
        mut registry: Registry,
        store: SharedStore,
        readiness: Readiness,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let census = CensusFigures::new(store, &mut registry);
        let shown = Arc::new((registry, census));
        let figures = get(make(move |_| show(Arc::clone(&shown))));
        let figures = figures.around({
            let token = self.token.clone();
            move |inner, request| guarded(token.clone(), inner, request)
        });
        let routes = Route::new()
            .at("/metrics", figures)
            .at("/healthz", get(make_sync(|_| "ok")))
            .at("/readyz", get(make(move |_| ready(readiness.clone()))));
        poem::Server::new_with_acceptor(PatientAcceptor::new(self.acceptor, Proxies::default()))
            .run_with_graceful_shutdown(routes, stop.cancelled(), Some(STOP_LIMIT))
            .await
            .context("the server of figures")
    }
}

async fn guarded<E: Endpoint>(token: Option<Secret>, inner: Arc<E>, request: Request) -> poem::Result<Response> {
    let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let good = |token: &Secret| {
        let given = given.unwrap_or_default().as_bytes();
        verify_slices_are_equal(token.reveal().as_bytes(), given).is_ok()
    };
    if token.as_ref().is_some_and(|token| !good(token)) {
        let refused = StatusCode::UNAUTHORIZED.with_header(WWW_AUTHENTICATE, "Bearer");
        return Ok(refused.into_response());
    }
    inner.call(request).await.map(IntoResponse::into_response)
}

async fn show(shown: Arc<(Registry, CensusFigures)>) -> poem::Result<Response> {
    let (registry, census) = &*shown;
    census.refresh().await;
    let mut text = String::new();
    encode(&mut text, registry).map_err(poem::error::InternalServerError)?;
    Ok(Response::builder().header(CONTENT_TYPE, OPEN_METRICS).header(CACHE_CONTROL, "no-store").body(text))
}

async fn ready(readiness: Readiness) -> poem::Result<Response> {
    Ok(match readiness.look().await {
        Ok(()) => "ready".into_response(),
        Err(cause) => (StatusCode::SERVICE_UNAVAILABLE, format!("{cause}\n")).into_response(),
    })
}
