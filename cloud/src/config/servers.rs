//! `[servers]`: how several processes of the cloud reach each other.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::part::{Part, Variables};

/// How several processes of the cloud reach each other.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServersConfig {
    /// Where the other processes reach this one, for live view and playback; nobody else needs to. Port 0 takes a free
    /// one. Default none: this process shows only edges that come to it; `SERVERS_BIND`.
    pub bind: Option<SocketAddr>,
    /// Host and port that the others are told, as `10.0.0.5:7443`. Default `bind`; `SERVERS_ADDRESS`.
    pub address: Option<String>,
}

impl ServersConfig {
    /// What the others are told when this process listens on `bound`.
    #[must_use]
    pub fn told_address(&self, bound: SocketAddr) -> String {
        self.address.clone().unwrap_or_else(|| bound.to_string())
    }
}

impl Part for ServersConfig {
    fn take_environment(&mut self, variables: &Variables<'_>) -> Result<(), ConfigError> {
        let mut bind = None;
        variables.optional::<String>("SERVERS_BIND", &mut bind);
        if let Some(text) = bind {
            let problem = |_| ConfigError::Value {
                name: "SERVERS_BIND",
                problem: format!("must be an IP address and a port, is {text:?}"),
            };
            self.bind = Some(text.parse().map_err(problem)?);
        }
        variables.optional("SERVERS_ADDRESS", &mut self.address);
        Ok(())
    }

    fn check(&self) -> Result<(), ConfigError> {
        let Some(bind) = self.bind else {
            return match &self.address {
                Some(_) => ConfigError::wrong("servers.address", "is set without servers.bind"),
                None => Ok(()),
            };
        };
        match &self.address {
            None if bind.ip().is_unspecified() => {
                let problem = format!("is missing: servers.bind is {bind}, which tells nobody where this process is");
                ConfigError::wrong("servers.address", problem)
            }
            Some(address) if !is_host_and_port(address) => {
                let problem = format!("must be a host and a port, as 10.0.0.5:7443, is {address:?}");
                ConfigError::wrong("servers.address", problem)
            }
            _ => Ok(()),
        }
    }
}

fn is_host_and_port(address: &str) -> bool {
    let port = |port: &str| port.parse::<u16>().is_ok_and(|port| port != 0);
    address.rsplit_once(':').is_some_and(|(host, number)| !host.is_empty() && port(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_never_told_an_address_that_leads_nowhere() {
        let check = |bind: &str, address: &str| {
            let address = Some(address.to_owned()).filter(|address| !address.is_empty());
            ServersConfig { bind: bind.parse().ok(), address }.check().map_err(|error| error.to_string())
        };
        for good in [("", ""), ("10.0.0.5:7443", ""), ("0.0.0.0:7443", "cloud-1:7443"), ("[::]:7443", "[fd00::5]:7443")]
        {
            assert_eq!(check(good.0, good.1), Ok(()), "{good:?}");
        }
        for bad in [
            ("0.0.0.0:7443", ""),
            ("[::]:7443", ""),
            ("", "a:1"),
            ("10.0.0.5:1", "a"),
            ("10.0.0.5:1", "a:0"),
            ("10.0.0.5:1", ":1"),
        ] {
            assert!(check(bad.0, bad.1).unwrap_err().starts_with("servers.address: "), "{bad:?}");
        }
    }
}
