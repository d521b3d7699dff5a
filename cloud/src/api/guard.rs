//! What stands around every request: its id, limits of size and time, parameters nobody knows, panics, problem
//! documents, security headers, figures.
//!
//! The id is in every line of the log about the request, in the answer's header `X-Request-Id` and in a problem
//! document, so that a person who reports a failure names the very lines.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use poem::error::ReadBodyError;
use poem::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use poem::{Body, Endpoint, IntoResponse, Request, Response, Result};
use tracing::Instrument as _;

use super::commands::MAX_WAIT_S;
use super::documented::Documented;
use super::failure::{Failure, is_problem};
use crate::metrics::HttpFigures;
use crate::network::Proxies;

/// Largest body of a request in bytes. Edges send batches of events of half of it.
pub(super) const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Longest time from the request's head to the response's head. Transactions run on the store's own thread, so a
/// request that is broken off leaves none open.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// The same for requests that may wait for an edge's answer, for up to [`MAX_WAIT_S`].
const WAITING_TIME_LIMIT: Duration = Duration::from_secs(TIME_LIMIT.as_secs() / 2 + MAX_WAIT_S as u64);

/// Name of a request, given by a proxy of ours or by us.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest name of a request that is taken from a proxy.
const MAX_REQUEST_ID_BYTES: usize = 64;

/// The outermost endpoint.
pub(super) struct Guard<E> {
    pub inner: E,
    pub documented: Arc<Documented>,
    /// Proxies of ours, whose names of requests are taken over.
    pub proxies: Proxies,
    pub figures: HttpFigures,
    /// Whether browsers reach us by HTTPS without a proxy that would say it better.
    pub https: bool,
}

impl<E: Endpoint<Output = Response>> Endpoint for Guard<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let (began, id) = (Instant::now(), self.request_id(&request));
        let operation = self.documented.operation(request.method().as_str(), request.uri().path());
        let in_flight = self.figures.begin();
        // Tenant, edge and user are filled in by whoever finds out who is asking. Of the highest level, so that it is
        // there whatever filter lets a line through.
        let span = tracing::error_span!(
            "request",
            request.id = id,
            operation,
            tenant.id = tracing::field::Empty,
            edge.id = tracing::field::Empty,
            user.id = tracing::field::Empty,
        );
        let mut response = self.answer(request).instrument(span.clone()).await;
        drop(in_flight);
        let (status, took) = (response.status(), began.elapsed());
        self.figures.answered(&operation, status.as_u16(), took);
        span.in_scope(|| match (status.as_u16(), took.as_millis()) {
            (status @ 500.., took_ms) => tracing::warn!(status, took_ms, "a request failed"),
            (status, took_ms) => tracing::debug!(status, took_ms, "answered"),
        });
        name(&mut response, &id).await;
        self.add_headers(&mut response);
        Ok(response)
    }
}

/// Whether a name that a proxy of ours gave is one to take over, so that its log and ours agree. A stranger must not
/// choose what stands in the log, nor a proxy that passes strangers' names on.
fn is_plain(id: &str) -> bool {
    (1..=MAX_REQUEST_ID_BYTES).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Says in the answer which request it is the answer to: in its header, and in a problem document also in the text
/// that people pass on.
async fn name(response: &mut Response, id: &str) {
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    if !is_problem(response) {
        return;
    }
    let body = response.take_body().into_bytes().await.unwrap_or_default();
    let named = serde_json::from_slice(&body).ok().and_then(|mut problem: serde_json::Map<_, _>| {
        problem.insert("request_id".into(), id.into());
        serde_json::to_vec(&problem).ok()
    });
    response.headers_mut().remove(CONTENT_LENGTH);
    response.set_body(named.map_or_else(|| Body::from_bytes(body), Body::from_vec));
}

fn time_limit(path: &str) -> Duration {
    let waits = path.starts_with("/api/tenant/edges/")
        && path.split('/').nth(5).is_some_and(|what| what.starts_with("command"));
    if waits { WAITING_TIME_LIMIT } else { TIME_LIMIT }
}

/// A path for the log: whoever has a link to a file can see the file.
fn without_token(path: &str) -> &str {
    match path.split('/').nth(1) {
        Some("media") => "/media/…",
        Some("exports") => "/exports/…",
        _ => path,
    }
}

impl<E: Endpoint<Output = Response>> Guard<E> {
    async fn answer(&self, request: Request) -> Response {
        let path = request.uri().path().to_owned();
        let work = tokio::time::timeout(time_limit(&path), self.limited(request));
        match AssertUnwindSafe(work).catch_unwind().await {
            Ok(Ok(Ok(response))) => response,
            Ok(Ok(Err(error))) => self.problem(error, &path),
            Ok(Err(_)) => Failure::unavailable("this took too long", Duration::from_secs(5)).into_response(),
            Err(_) => {
                tracing::error!(path = without_token(&path), "a request panicked; this is a defect");
                Failure::internal().into_response()
            }
        }
    }

    fn request_id(&self, request: &Request) -> String {
        let peer = request.remote_addr().as_socket_addr().map(std::net::SocketAddr::ip);
        let by_proxy = peer.is_some_and(|peer| self.proxies.contains(peer));
        let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
        match given.filter(|given| by_proxy && is_plain(given)) {
            Some(given) => given.to_owned(),
            None => format!("{:032x}", fastrand::u128(..)),
        }
    }

    async fn limited(&self, mut request: Request) -> Result<Response> {
        self.check_query(&request)?;
        let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: u64| length > MAX_BODY_BYTES as u64) {
            return Err(Failure::too_large(MAX_BODY_BYTES).into());
        }
        let body = request.take_body().into_bytes_limit(MAX_BODY_BYTES).await.map_err(|error| match error {
            ReadBodyError::PayloadTooLarge => Failure::too_large(MAX_BODY_BYTES),
            other => Failure::bad_request(None, format!("body: {other}")),
        })?;
        request.set_body(Body::from_bytes(body));
        self.inner.call(request).await
    }

    fn check_query(&self, request: &Request) -> Result<(), Failure> {
        let (method, uri) = (request.method().as_str(), request.uri());
        let unknown = self.documented.unknown_parameter(method, uri.path(), uri.query().unwrap_or_default());
        let Some((name, known)) = unknown else { return Ok(()) };
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Err(Failure::bad_request(Some(&name), format!("{name}: there is no such parameter here; there are {known}")))
    }

    fn problem(&self, error: poem::Error, path: &str) -> Response {
        let failure = Failure::from_error(&error, &self.documented, path);
        if !error.is_from_response() {
            return failure.into_response();
        }
        let response = error.into_response();
        if is_problem(&response) { response } else { failure.into_response() }
    }

    fn add_headers(&self, response: &mut Response) {
        let headers = response.headers_mut();
        let mut default = |name: HeaderName, value: &'static str| {
            if !headers.contains_key(&name) {
                headers.insert(name, HeaderValue::from_static(value));
            }
        };
        default(CACHE_CONTROL, "no-store");
        default(CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
        default(X_CONTENT_TYPE_OPTIONS, "nosniff");
        default(X_FRAME_OPTIONS, "DENY");
        default(REFERRER_POLICY, "no-referrer");
        if self.https {
            default(STRICT_TRANSPORT_SECURITY, "max-age=31536000");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Mutex, PoisonError};

    use poem::endpoint::make_sync;

    use super::*;

    fn guard<E>(inner: E) -> Guard<E> {
        let documented = Arc::new(Documented::new("{}", &[]));
        Guard { inner, documented, proxies: Proxies::default(), figures: HttpFigures::default(), https: false }
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_panic_is_logged_without_the_token_of_a_link() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let _logged = tracing::subscriber::set_default(subscriber);
        let inner = make_sync(|_| -> Response { panic!("a defect") });
        let guard = guard(inner);
        for path in ["/media/secret.token", "/exports/secret.token", "/api/clips"] {
            let request = Request::builder().uri(path.parse().unwrap()).finish();
            assert_eq!(guard.call(request).await.unwrap().status(), 500);
        }
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(
            ["/media/…", "/exports/…", "/api/clips"].iter().all(|path| log.contains(path)) && !log.contains("secret"),
            "{log}"
        );
    }

    #[tokio::test]
    async fn a_stranger_names_no_request_and_a_proxy_only_in_plain_words() {
        let guard = guard(make_sync(|_| Failure::internal().into_response()));
        let request = Request::builder().uri("/api/clips".parse().unwrap()).header("x-request-id", "abc-123").finish();
        let response = guard.call(request).await.unwrap();
        let named = response.header("x-request-id").unwrap().to_owned();
        assert!(named != "abc-123" && named.len() == 32, "{named}");
        let problem = response.into_body().into_bytes().await.unwrap();
        let problem: serde_json::Value = serde_json::from_slice(&problem).unwrap();
        assert_eq!((problem["request_id"].as_str(), problem["status"].as_u64()), (Some(&*named), Some(500)));

        let plain = ["abc-123", "", "a b", "{tenant}", &"a".repeat(64), &"a".repeat(65)].map(is_plain);
        assert_eq!(plain, [true, false, false, false, true, false]);
    }

    #[tokio::test]
    async fn every_line_about_a_request_has_its_id() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
        let _logged = tracing::subscriber::set_default(subscriber);
        let inner = make_sync(|_| {
            tracing::info!("at work");
            Response::default()
        });
        let guard = guard(inner);
        let answer = guard.call(Request::builder().uri("/api/clips".parse().unwrap()).finish()).await.unwrap();
        let id = answer.header("x-request-id").unwrap();
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(log.contains("at work") && log.contains(id), "{log}");
    }
}
