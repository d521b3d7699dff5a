//! `[mqtt]`: where edges and MQTT tools connect.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::part::Part;
use crate::network::Proxies;

/// Where edges and MQTT tools connect.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MqttConfig {
    /// Where to listen; port 0 takes a free one. Default `0.0.0.0:8883`.
    pub bind: SocketAddr,
    /// Host name or address that edges are told to connect to. Default `localhost`.
    pub public_host: String,
    /// Port that edges are told to connect to. Default the one listened on.
    pub public_port: Option<u16>,
    /// Further names and addresses in the server's certificate. Default `localhost`, `127.0.0.1` and `::1`.
    pub server_names: Vec<String>,
    /// Addresses of proxies, or networks they are in, that say by the PROXY protocol (version 1 or 2) where a
    /// connection comes from. They must say it, and nobody else may. Default none.
    pub trusted_proxies: Proxies,
}

impl Default for MqttConfig {
    fn default() -> Self {
        Self {
            bind: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 8883),
            public_host: "localhost".into(),
            public_port: None,
            server_names: ["localhost", "127.0.0.1", "::1"].map(String::from).into(),
            trusted_proxies: Proxies::default(),
        }
    }
}

impl Part for MqttConfig {}
