//! `[http]`: where people and enrolling edges connect.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

use super::ConfigError;
use super::part::Part;
use crate::network::Proxies;

/// Where people and enrolling edges connect.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Where to listen; port 0 takes a free one. Default `0.0.0.0:8080`.
    pub bind: SocketAddr,
    /// Certificate chain in PEM; with `tls_key` the API speaks HTTPS. Default none: put a proxy with TLS before it.
    pub tls_certificate: Option<PathBuf>,
    /// Key of `tls_certificate` in PEM.
    pub tls_key: Option<PathBuf>,
    /// Addresses of proxies, or networks they are in, whose `X-Forwarded-For` and `X-Request-Id` are believed. Default
    /// none.
    pub trusted_proxies: Proxies,
    /// Where people reach the cloud, as `https://vms.example.com`, for links in mails and for sign-ins through
    /// providers. Default none: mails hold no links, and there are no such sign-ins.
    pub public_url: Option<Url>,
    /// Where finders of weaknesses report them, as `mailto:security@example.com` or `https://…`; shown in
    /// `/.well-known/security.txt`. Default none: there is no such page.
    pub security_contact: Option<Url>,
}

impl HttpConfig {
    /// Whether browsers reach the API by HTTPS, by itself or through a proxy.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.tls_certificate.is_some() || self.public_url.as_ref().is_some_and(|url| url.scheme() == "https")
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        let bind = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 8080);
        Self {
            bind,
            tls_certificate: None,
            tls_key: None,
            trusted_proxies: Proxies::default(),
            public_url: None,
            security_contact: None,
        }
    }
}

impl Part for HttpConfig {
    fn check(&self) -> Result<(), ConfigError> {
        // RFC 9116 wants no plain http here.
        let unfit = |contact: &Url| !matches!(contact.scheme(), "mailto" | "https" | "tel");
        if self.security_contact.as_ref().is_some_and(unfit) {
            return ConfigError::wrong("http.security_contact", "must begin with mailto:, https: or tel:");
        }
        match (&self.tls_certificate, &self.tls_key) {
            (Some(_), None) => ConfigError::wrong("http.tls_key", "is missing beside tls_certificate"),
            (None, Some(_)) => ConfigError::wrong("http.tls_certificate", "is missing beside tls_key"),
            _ => Ok(()),
        }
    }
}
