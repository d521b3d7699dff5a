//! What stands around every request: limits of size and time, panics, problem documents, security headers.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use poem::error::ReadBodyError;
use poem::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use poem::{Body, Endpoint, IntoResponse, Request, Response, Result};

use super::docs::PathMethods;
use super::failure::{Failure, is_problem};

/// Largest body of a request in bytes. Edges send batches of events of half of it.
pub(super) const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Longest time from the request's head to the response's head. Transactions run on the store's own thread, so a
/// request that is broken off leaves none open.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// The outermost endpoint.
pub(super) struct Guard<E> {
    pub inner: E,
    pub methods: Arc<PathMethods>,
    /// Whether browsers reach us by HTTPS without a proxy that would say it better.
    pub https: bool,
}

impl<E: Endpoint<Output = Response>> Endpoint for Guard<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let path = request.uri().path().to_owned();
        let work = tokio::time::timeout(TIME_LIMIT, self.limited(request));
        let mut response = match AssertUnwindSafe(work).catch_unwind().await {
            Ok(Ok(Ok(response))) => response,
            Ok(Ok(Err(error))) => self.problem(error, &path),
            Ok(Err(_)) => Failure::unavailable("this took too long", Duration::from_secs(5)).into_response(),
            Err(_) => {
                tracing::error!(path, "a request panicked; this is a defect");
                Failure::internal().into_response()
            }
        };
        self.add_headers(&mut response);
        Ok(response)
    }
}

impl<E: Endpoint<Output = Response>> Guard<E> {
    async fn limited(&self, mut request: Request) -> Result<Response> {
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

    fn problem(&self, error: poem::Error, path: &str) -> Response {
        let failure = Failure::from_error(&error, self.methods.of(path));
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
