//! Which addresses belong to one customer, for limits per address, and which are proxies of ours.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What one customer usually holds: an IPv4 address, or the /64 of an IPv6 address.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Proxies of ours, as addresses or networks: what they say of where a connection comes from is believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Whether a connection from `address` is one of a proxy of ours.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl FromIterator<IpAddr> for Proxies {
    fn from_iter<T: IntoIterator<Item = IpAddr>>(addresses: T) -> Self {
        Self(addresses.into_iter().map(|address| IpNet::from(address.to_canonical())).collect())
    }
}

impl<'de> Deserialize<'de> for Proxies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = |text: &String| {
            let one = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
            one.or_else(|_| text.parse()).map_err(|_| {
                D::Error::custom(format!("{text:?} is neither an address nor a network such as 10.0.0.0/8"))
            })
        };
        Vec::<String>::deserialize(deserializer)?.iter().map(read).collect::<Result<_, _>>().map(Self)
    }
}

impl Serialize for Proxies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_named_by_its_address_or_its_network() {
        let proxies: Proxies = serde_json::from_str(r#"["10.0.0.1", "172.16.0.0/12", "2001:db8::/32"]"#).unwrap();
        for (address, ours) in [
            ("10.0.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("10.0.0.2", false),
            ("172.31.9.9", true),
            ("172.32.0.1", false),
            ("2001:db8:1::1", true),
            ("::1", false),
        ] {
            assert_eq!(proxies.contains(address.parse().unwrap()), ours, "{address}");
        }
        let again = serde_json::to_string(&proxies).unwrap();
        assert_eq!(serde_json::from_str::<Proxies>(&again).unwrap(), proxies);
        let error = serde_json::from_str::<Proxies>(r#"["proxy.example"]"#).unwrap_err().to_string();
        assert!(error.contains("proxy.example"), "{error}");
    }
}
