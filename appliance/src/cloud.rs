//! The cloud's HTTPS side, as an edge uses it: enrolment, renewal, the backup way for events, and files.

mod media;

use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use aivms_contract::ack::Ack;
use aivms_contract::edge_api::{EnrollRequest, Enrollment, EventBatch, RenewRequest};
use aivms_contract::time::UtcMillis;
use reqwest::header::DATE;
use reqwest::{Certificate, Client, RequestBuilder, StatusCode, redirect};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{clock, config};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a whole answer; a full batch over a slow mobile line fits.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest answer read; every answer of the contract is far smaller.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// Difference of clocks that is worth a warning: tokens live five minutes, certificates are checked to the second.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);
/// The clock has not been compared yet.
const NOT_COMPARED: i64 = i64::MIN;

/// A client of one cloud.
pub struct Cloud {
    http: Client,
    base: Url,
    /// Milliseconds the cloud's clock is ahead of ours at the last answer.
    clock_ahead_ms: AtomicI64,
}

/// Says why a request brought no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// The certificates to check the cloud with can't be used.
    #[error("{}: {problem}", path.display())]
    CaFile {
        /// The file of `cloud.ca_file`.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The HTTPS client can't be set up.
    #[error("HTTPS can't be used: {0}; install the package ca-certificates or set cloud.ca_file")]
    Setup(String),
    /// No answer came.
    #[error("the cloud at {url} can't be reached: {cause}; check cloud.url (CLOUD_URL), network and firewall")]
    Unreachable {
        /// Address called.
        url: Url,
        /// What happened.
        cause: String,
    },
    /// The cloud's certificate is not valid at the time our clock shows.
    #[error(
        "the certificate of the cloud at {url} is not valid at {now}, the time of this device's clock: {cause}; \
         set the clock (NTP), or ask the cloud's operator whether its certificate has ended"
    )]
    Clock {
        /// Address called.
        url: Url,
        /// What our clock shows.
        now: UtcMillis,
        /// What the TLS library said.
        cause: String,
    },
    /// The cloud said no.
    #[error("the cloud answered {status}: {reason}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// Its reason.
        reason: String,
    },
    /// The answer is not of the contract's form.
    #[error("the answer of {url} is not understood ({problem}); is this an AIVMS cloud?")]
    Answer {
        /// Address called.
        url: Url,
        /// What is wrong with it.
        problem: String,
    },
}

/// An RFC 9457 problem document.
#[derive(Deserialize)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
}

impl Cloud {
    /// Prepares a client; nothing is sent yet.
    ///
    /// # Errors
    /// The CA file can't be used, or the system has no certificates.
    pub fn new(settings: &config::Cloud) -> Result<Self, CloudError> {
        let mut builder = Client::builder()
            .user_agent(concat!("aivms-appliance/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            // A redirect would carry the edge secret to another place.
            .redirect(redirect::Policy::none())
            .no_proxy();
        if let Some(path) = &settings.ca_file {
            builder = builder.tls_certs_only(read_authorities(path)?);
        } else if settings.url.scheme() == "http" {
            // Works on systems without any certificates.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(|error| CloudError::Setup(causes(&error)))?;
        Ok(Self { http, base: settings.url.clone(), clock_ahead_ms: AtomicI64::new(NOT_COMPARED) })
    }

    /// Asks for the first certificate.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn enroll(&self, request: &EnrollRequest) -> Result<Enrollment, CloudError> {
        self.post("api/edge/enroll", None, request).await
    }

    /// Asks for the next certificate.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn renew(&self, token: &str, request: &RenewRequest) -> Result<Enrollment, CloudError> {
        self.post("api/edge/renew", Some(token), request).await
    }

    /// Delivers events and returns how far the cloud has stored their outbox.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn deliver(&self, token: &str, batch: &EventBatch) -> Result<Ack, CloudError> {
        self.post("api/edge/events", Some(token), batch).await
    }

    /// Asks for anything at all, to see whether the cloud is there and what its clock shows.
    ///
    /// # Errors
    /// [`CloudError::Unreachable`] or [`CloudError::Clock`].
    pub async fn knock(&self) -> Result<StatusCode, CloudError> {
        let url = self.base.clone();
        let response = self.send(&url, self.http.head(url.clone())).await?;
        Ok(response.status())
    }

    /// Milliseconds the cloud's clock is ahead of ours, as of its last answer.
    #[must_use]
    pub fn clock_ahead_ms(&self) -> Option<i64> {
        match self.clock_ahead_ms.load(Ordering::Relaxed) {
            NOT_COMPARED => None,
            millis => Some(millis),
        }
    }

    /// The time by the cloud's clock, as far as it is known: what it checks tokens with.
    #[must_use]
    pub fn time(&self) -> UtcMillis {
        UtcMillis::from_millis(clock::now().as_millis().saturating_add(self.clock_ahead_ms().unwrap_or(0)))
    }

    /// Says how far our clock is off, when that is too far.
    #[must_use]
    pub fn clock_problem(&self) -> Option<String> {
        let ahead = self.clock_ahead_ms()?;
        let off = Duration::from_millis(ahead.unsigned_abs());
        let way = if ahead > 0 { "behind" } else { "ahead of" };
        (off > CLOCK_TOLERANCE).then(|| {
            format!("this device's clock is {} {way} the cloud's; set it (NTP)", crate::identity::in_words(off))
        })
    }

    /// The address of the cloud.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.base
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        token: Option<&str>,
        body: &impl Serialize,
    ) -> Result<T, CloudError> {
        let url = self.endpoint(path);
        let mut request = self.http.post(url.clone()).json(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        self.answer(url, request).await
    }

    /// Sends a request and reads its answer.
    async fn answer<T: DeserializeOwned>(&self, url: Url, request: RequestBuilder) -> Result<T, CloudError> {
        let response = self.send(&url, request).await?;
        let status = response.status();
        let body = read_body(response).await.map_err(|error| failure(&url, &error))?;
        if status.is_success() {
            return serde_json::from_slice(&body)
                .map_err(|error| CloudError::Answer { url, problem: error.to_string() });
        }
        Err(CloudError::Refused { status, reason: reason(&body) })
    }

    fn endpoint(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/'));
        }
        url
    }

    async fn send(&self, url: &Url, request: RequestBuilder) -> Result<reqwest::Response, CloudError> {
        let asked = clock::now();
        let response = request.send().await.map_err(|error| failure(url, &error))?;
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
        if let Some(date) = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()) {
            // The header has whole seconds; half of one is the fairest guess.
            let theirs = date.timestamp().as_millisecond() + 500;
            let ours = i64::midpoint(asked.as_millis(), clock::now().as_millis());
            self.clock_ahead_ms.store(theirs - ours, Ordering::Relaxed);
        }
        Ok(response)
    }
}

impl CloudError {
    /// Whether the same request can never succeed: the cloud understood it and said no.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Refused { status, .. } => {
                status.is_client_error()
                    && !matches!(*status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
            }
            _ => false,
        }
    }
}

fn read_authorities(path: &std::path::Path) -> Result<Vec<Certificate>, CloudError> {
    let problem = |problem: String| CloudError::CaFile { path: path.to_owned(), problem };
    let pem = std::fs::read(path).map_err(|error| problem(error.to_string()))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|error| problem(causes(&error)))?;
    if found.is_empty() { Err(problem("holds no certificate in PEM".to_owned())) } else { Ok(found) }
}

async fn read_body(mut response: reqwest::Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = MAX_ANSWER_BYTES - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == MAX_ANSWER_BYTES {
            break;
        }
    }
    Ok(body)
}

fn reason(body: &[u8]) -> String {
    let problem = serde_json::from_slice::<Problem>(body).ok();
    let said = problem.and_then(|problem| problem.detail.or(problem.title));
    said.unwrap_or_else(|| "no reason given".to_owned())
}

fn failure(url: &Url, error: &reqwest::Error) -> CloudError {
    let cause = causes(error);
    if blames_the_clock(error) {
        CloudError::Clock { url: url.clone(), now: clock::now(), cause }
    } else {
        CloudError::Unreachable { url: url.clone(), cause }
    }
}

/// The innermost cause, which says most; the outer ones repeat the address.
pub(crate) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = inner(cause) {
        cause = inner;
    }
    // The TLS library adds the address of its manual.
    let text = cause.to_string();
    text.split(": https://").next().unwrap_or(&text).to_owned()
}

/// Whether TLS refused a certificate for its dates only.
pub(crate) fn blames_the_clock(error: &(dyn Error + 'static)) -> bool {
    use rustls::CertificateError as Bad;
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(rustls::Error::InvalidCertificate(bad)) = error.downcast_ref() {
            return matches!(
                bad,
                Bad::Expired | Bad::ExpiredContext { .. } | Bad::NotValidYet | Bad::NotValidYetContext { .. }
            );
        }
        cause = inner(error);
    }
    false
}

/// The cause of an error. An I/O error hides the error it wraps from `source`.
fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests;
