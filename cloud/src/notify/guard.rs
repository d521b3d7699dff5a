//! The client that calls addresses users named: webhooks and push services.
//!
//! It resolves each name itself and connects only to addresses that [`AddressRules`] let pass, so that a name that is
//! public while it is checked and private while it is called gains nothing. Addresses in the URL itself never come to the
//! resolver and are checked with the URL. It follows no redirect, uses no proxy, and reads little of any answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aivms_cloud_core::notify::address::{AddressRefused, AddressRules};
use async_trait::async_trait;
use poem::http;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use url::Url;

/// Longest time to resolve, connect and agree on TLS.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Longest time for a whole call.
const CALL_LIMIT: Duration = Duration::from_secs(15);
/// Most bytes of an answer that are read; of those, few are kept.
const MAX_ANSWER_BYTES: usize = 4_096;
/// Most characters of an answer that are kept for the log.
const MAX_KEPT_CHARS: usize = 200;

/// Calls addresses that users named. Cheap to clone.
#[derive(Clone)]
pub struct GuardedClient {
    client: Client,
    rules: Arc<AddressRules>,
}

/// Finds the addresses of a name; the system's resolver, or one that a test plays.
#[async_trait]
pub trait LookUp: Send + Sync + 'static {
    /// The addresses of `host` now.
    ///
    /// # Errors
    /// The name can't be resolved.
    async fn look_up(&self, host: &str) -> std::io::Result<Vec<SocketAddr>>;
}

/// The resolver of the system.
#[derive(Debug, Clone, Copy)]
pub struct SystemLookUp;

/// What a receiver answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// For how long it wants to be left alone.
    pub retry_after: Option<Duration>,
    /// The beginning of what it said, on one line.
    pub text: String,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The address, or one its name resolves to, may not be called.
    #[error("{0}")]
    Refused(#[from] AddressRefused),
    /// No connection, no TLS, or no answer in time.
    #[error("{0}")]
    NoAnswer(String),
}

impl GuardedClient {
    /// A client by `rules` on the system's resolver.
    ///
    /// # Errors
    /// TLS can't be set up.
    pub fn new(rules: AddressRules) -> reqwest::Result<Self> {
        Self::with_look_up(rules, SystemLookUp, Client::builder())
    }

    /// A client on another resolver, and with other settings of TLS.
    ///
    /// # Errors
    /// TLS can't be set up.
    pub fn with_look_up(
        rules: AddressRules,
        look_up: impl LookUp,
        builder: reqwest::ClientBuilder,
    ) -> reqwest::Result<Self> {
        let rules = Arc::new(rules);
        let resolver = GuardedResolver { rules: Arc::clone(&rules), look_up: Arc::new(look_up) };
        let client = builder
            .user_agent(concat!("AIVMS/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(resolver))
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT_LIMIT)
            .timeout(CALL_LIMIT)
            // A kept connection was made to an address that was checked; few are kept, and not for long.
            .pool_max_idle_per_host(1)
            .pool_idle_timeout(Duration::from_secs(30))
            .http1_max_headers(64)
            .build()?;
        Ok(Self { client, rules })
    }

    /// The rules it goes by.
    #[must_use]
    pub fn rules(&self) -> &AddressRules {
        &self.rules
    }

    /// Posts `body` to `url`.
    ///
    /// # Errors
    /// The address may not be called, or there is no answer.
    pub async fn post(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: impl Into<reqwest::Body>,
    ) -> Result<Answer, CallError> {
        self.rules.check_url(url)?;
        let sent = self.client.post(url.clone()).headers(headers).body(body).send().await;
        let response = sent.map_err(|error| no_answer(&error))?;
        let (status, retry_after) = (response.status(), retry_after(response.headers()));
        let text = beginning(response).await;
        Ok(Answer { status, retry_after, text })
    }
}

impl GuardedClient {
    /// Sends a request and reads the whole answer, of at most `limit` bytes.
    ///
    /// # Errors
    /// The address may not be called, there is no answer, or it is too long.
    pub async fn exchange(
        &self,
        request: http::Request<Vec<u8>>,
        limit: usize,
    ) -> Result<http::Response<Vec<u8>>, CallError> {
        let request = reqwest::Request::try_from(request).map_err(|error| no_answer(&error))?;
        self.rules.check_url(request.url())?;
        let mut response = self.client.execute(request).await.map_err(|error| no_answer(&error))?;
        let mut answer = http::Response::new(Vec::new());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = response.headers().clone();
        while let Some(chunk) = response.chunk().await.map_err(|error| no_answer(&error))? {
            if answer.body().len() + chunk.len() > limit {
                return Err(CallError::NoAnswer(format!("the answer has more than {limit} bytes")));
            }
            answer.body_mut().extend_from_slice(&chunk);
        }
        Ok(answer)
    }
}

impl std::fmt::Debug for GuardedClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuardedClient").field("rules", &self.rules).finish_non_exhaustive()
    }
}

#[async_trait]
impl LookUp for SystemLookUp {
    async fn look_up(&self, host: &str) -> std::io::Result<Vec<SocketAddr>> {
        // Port 0 lets the client put in the URL's.
        Ok(tokio::net::lookup_host((host, 0)).await?.collect())
    }
}

struct GuardedResolver {
    rules: Arc<AddressRules>,
    look_up: Arc<dyn LookUp>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (rules, look_up) = (Arc::clone(&self.rules), Arc::clone(&self.look_up));
        Box::pin(async move {
            let addresses = look_up.look_up(name.as_str()).await?;
            // One address that is not public among public ones is how rebinding looks: none of them is called.
            for address in &addresses {
                rules.check_ip(address.ip())?;
            }
            if addresses.is_empty() {
                return Err("the name has no address".into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    SystemTime::from(at).duration_since(SystemTime::now()).ok()
}

async fn beginning(mut response: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < MAX_ANSWER_BYTES
        && let Ok(Some(chunk)) = response.chunk().await
    {
        bytes.extend_from_slice(&chunk[..chunk.len().min(MAX_ANSWER_BYTES - bytes.len())]);
    }
    one_line(&String::from_utf8_lossy(&bytes))
}

/// What somebody else said, as part of one line of a log.
pub(crate) fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(MAX_KEPT_CHARS).collect()
}

/// The innermost cause says what happened; the outer ones only name the layers, and the URL, which may hold a secret.
fn no_answer(error: &reqwest::Error) -> CallError {
    let mut cause: &(dyn std::error::Error + 'static) = error;
    loop {
        if let Some(refused) = cause.downcast_ref::<AddressRefused>() {
            return CallError::Refused(refused.clone());
        }
        match cause.source() {
            Some(inner) => cause = inner,
            None => break,
        }
    }
    let what = match () {
        () if error.is_timeout() && error.is_connect() => format!("no connection within {} s", CONNECT_LIMIT.as_secs()),
        () if error.is_timeout() => format!("no answer within {} s", CALL_LIMIT.as_secs()),
        () if error.is_connect() => format!("no connection: {cause}"),
        () => format!("no answer: {cause}"),
    };
    CallError::NoAnswer(one_line(&what))
}

#[cfg(test)]
mod tests;
