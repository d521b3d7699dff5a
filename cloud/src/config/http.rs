//! `[http]`: where people and enrolling edges connect.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

use super::ConfigError;
use super::part::Part;

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
    /// Addresses of proxies whose `X-Forwarded-For` is believed. Default none.
    pub trusted_proxies: Vec<IpAddr>,
    /// Where people reach the cloud, as `https://vms.example.com`, for links in mails. Default none: mails hold no links.
    pub public_url: Option<Url>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        let bind = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 8080);
        Self { bind, tls_certificate: None, tls_key: None, trusted_proxies: Vec::new(), public_url: None }
    }
}

impl Part for HttpConfig {
    fn check(&self) -> Result<(), ConfigError> {
        match (&self.tls_certificate, &self.tls_key) {
            (Some(_), None) => ConfigError::wrong("http.tls_key", "is missing beside tls_certificate"),
            (None, Some(_)) => ConfigError::wrong("http.tls_certificate", "is missing beside tls_key"),
            _ => Ok(()),
        }
    }
}
