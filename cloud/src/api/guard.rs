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
                tracing::error!(path = without_token(&path), "a request panicked; this is a defect");
                Failure::internal().into_response()
            }
        };
        self.add_headers(&mut response);
        Ok(response)
    }
}

/// A path for the log: whoever has a link to a file can see the file.
fn without_token(path: &str) -> &str {
    if path.starts_with("/media/") { "/media/…" } else { path }
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
        let failure = Failure::from_error(&error, &self.methods, path);
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
        let guard = Guard { inner, methods: Arc::new(PathMethods::from_document("{}", &[])), https: false };
        for path in ["/media/secret.token", "/api/clips"] {
            let request = Request::builder().uri(path.parse().unwrap()).finish();
            assert_eq!(guard.call(request).await.unwrap().status(), 500);
        }
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(log.contains("/media/…") && log.contains("/api/clips") && !log.contains("secret"), "{log}");
    }
}
