//! Where the cloud may post what users ask it to post: the guard against server-side request forgery.
//!
//! Whoever may name an address for webhooks or pushes could otherwise have the cloud call the network it stands in:
//! metadata services, databases, routers. So an address counts only when the whole internet could call it as well.
//! A name says nothing: [`AddressRules::check_ip`] must be asked for every address that a name resolves to, each time,
//! and the connection made to exactly that address. OWASP API Security Top 10 (2023), API7.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

/// Longest URL that is taken.
pub const MAX_URL_CHARS: usize = 2_000;

/// What may be called beyond HTTPS on port 443 of public addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressRules {
    /// Networks that may be called although they are not public.
    pub allowed_networks: Vec<IpNet>,
    /// Ports that may be called.
    pub allowed_ports: Vec<u16>,
    /// Whether HTTP without TLS is allowed.
    pub allow_http: bool,
}

/// Says why an address may not be called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressRefused {
    /// Too long.
    #[error("must have at most {MAX_URL_CHARS} characters")]
    Long,
    /// Not HTTPS.
    #[error("must begin with https://")]
    Scheme,
    /// It carries a name or password, which would be sent and logged.
    #[error("must hold no user name and no password")]
    UserInfo,
    /// It names no host.
    #[error("must name a host")]
    Host,
    /// Another port than those allowed.
    #[error("port {0} is not allowed")]
    Port(u16),
    /// An address that is not everybody's.
    #[error("{0} is {1}, which may not be called")]
    NotPublic(IpAddr, &'static str),
}

impl Default for AddressRules {
    fn default() -> Self {
        Self { allowed_networks: Vec::new(), allowed_ports: vec![443], allow_http: false }
    }
}

impl AddressRules {
    /// Checks all of a URL that can be checked without resolving its name.
    ///
    /// # Errors
    /// Says what may not be called.
    pub fn check_url(&self, url: &Url) -> Result<(), AddressRefused> {
        if url.as_str().len() > MAX_URL_CHARS {
            return Err(AddressRefused::Long);
        }
        if url.scheme() != "https" && !(self.allow_http && url.scheme() == "http") {
            return Err(AddressRefused::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressRefused::UserInfo);
        }
        let port = url.port_or_known_default().ok_or(AddressRefused::Host)?;
        if !self.allowed_ports.contains(&port) {
            return Err(AddressRefused::Port(port));
        }
        match url.host() {
            // The client's resolver is never asked about these.
            Some(Host::Ipv4(ip)) => self.check_ip(ip.into()),
            Some(Host::Ipv6(ip)) => self.check_ip(ip.into()),
            Some(Host::Domain(_)) => Ok(()),
            None => Err(AddressRefused::Host),
        }
    }

    /// Checks one address, as it stands in a URL or as a name resolved to it.
    ///
    /// # Errors
    /// It is not public, and in no network that is allowed.
    pub fn check_ip(&self, ip: IpAddr) -> Result<(), AddressRefused> {
        if self.allowed_networks.iter().any(|network| network.contains(&ip)) {
            return Ok(());
        }
        let reason = match ip {
            IpAddr::V4(ip) => v4_reason(ip),
            IpAddr::V6(ip) => v6_reason(ip),
        };
        reason.map_or(Ok(()), |reason| Err(AddressRefused::NotPublic(ip, reason)))
    }
}

/// Networks that are not everybody's, by the IANA IPv4 Special-Purpose Address Registry, and two that clouds keep for
/// themselves.
const V4: [(Ipv4Net, &str); 18] = [
    v4(0, 0, 0, 0, 8, "\"this network\""),
    v4(10, 0, 0, 0, 8, "a private address"),
    v4(100, 64, 0, 0, 10, "an address shared by a provider's customers"),
    v4(127, 0, 0, 0, 8, "a loopback address"),
    // Cloud metadata services live here.
    v4(169, 254, 0, 0, 16, "a link-local address"),
    v4(172, 16, 0, 0, 12, "a private address"),
    // The platform's own services in one large cloud, though it looks public.
    v4(168, 63, 129, 16, 32, "an address of the cloud's platform"),
    v4(192, 0, 0, 0, 24, "kept for protocols"),
    v4(192, 0, 2, 0, 24, "for documentation only"),
    v4(192, 88, 99, 0, 24, "a 6to4 relay"),
    v4(192, 168, 0, 0, 16, "a private address"),
    v4(198, 18, 0, 0, 15, "for benchmarks only"),
    v4(198, 51, 100, 0, 24, "for documentation only"),
    v4(203, 0, 113, 0, 24, "for documentation only"),
    v4(224, 0, 0, 0, 4, "a multicast address"),
    v4(233, 252, 0, 0, 24, "for documentation only"),
    v4(240, 0, 0, 0, 4, "reserved"),
    v4(255, 255, 255, 255, 32, "the broadcast address"),
];

/// What of IPv6 is given out to everybody; all else is loopback, private, link-local, multicast, mapped or translated.
const V6_PUBLIC: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
/// What lies in it and still is not, by the IANA IPv6 Special-Purpose Address Registry.
const V6: [(Ipv6Net, &str); 4] = [
    // Teredo, benchmarks, ORCHID: 2001::/23 is for protocols.
    (Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), "kept for protocols, such as Teredo"),
    (Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), "for documentation only"),
    (Ipv6Net::new_assert(Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), "a 6to4 address"),
    (Ipv6Net::new_assert(Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), "for documentation only"),
];

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8, reason: &'static str) -> (Ipv4Net, &'static str) {
    (Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length), reason)
}

fn v4_reason(ip: Ipv4Addr) -> Option<&'static str> {
    V4.iter().find(|(network, _)| network.contains(&ip)).map(|(_, reason)| *reason)
}

fn v6_reason(ip: Ipv6Addr) -> Option<&'static str> {
    if !V6_PUBLIC.contains(&ip) {
        // Also what holds an IPv4 address: ::ffff:0:0/96 (mapped), 64:ff9b::/96 and 64:ff9b:1::/48 (NAT64).
        return Some("not a public IPv6 address");
    }
    V6.iter().find(|(network, _)| network.contains(&ip)).map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url(text: &str) -> Result<(), AddressRefused> {
        AddressRules::default().check_url(&Url::parse(text).unwrap())
    }

    #[test]
    fn an_address_that_only_some_can_reach_is_refused_in_every_way_of_writing_it() {
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "0.0.0.0",
            "0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "192.0.2.1",
            "198.51.100.7",
            "203.0.113.9",
            "198.18.0.1",
            "192.88.99.1",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:8.8.8.8]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b:1::1]",
            "[2002:7f00:1::]",
            "[2001:0:53aa:64c::1]",
            "[2001:db8::1]",
            "[3fff::1]",
            "[fe80::1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[ff02::1]",
            "[100::1]",
            "[5f00::1]",
        ] {
            let refused = url(&format!("https://{host}/hook"));
            assert!(matches!(refused, Err(AddressRefused::NotPublic(..))), "{host}: {refused:?}");
        }
        for host in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "[2606:4700:4700::1111]", "[2a00:1450::1]", "example.com"]
        {
            assert_eq!(url(&format!("https://{host}/hook")), Ok(()), "{host}");
        }
    }

    #[test]
    fn only_https_on_443_without_credentials_is_called_unless_settings_say_so() {
        assert_eq!(url("http://example.com/"), Err(AddressRefused::Scheme));
        assert_eq!(url("ftp://example.com/"), Err(AddressRefused::Scheme));
        assert_eq!(url("https://example.com:8443/"), Err(AddressRefused::Port(8443)));
        assert_eq!(url("https://me:secret@example.com/"), Err(AddressRefused::UserInfo));
        assert_eq!(url("https://me@example.com/"), Err(AddressRefused::UserInfo));
        assert_eq!(url(&format!("https://example.com/{}", "a".repeat(MAX_URL_CHARS))), Err(AddressRefused::Long));
        let rules = AddressRules {
            allowed_networks: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
            allowed_ports: vec![443, 80, 8443],
            allow_http: true,
        };
        for text in ["http://10.1.2.3/", "https://[fd00::7]:8443/", "http://example.com/"] {
            assert_eq!(rules.check_url(&Url::parse(text).unwrap()), Ok(()), "{text}");
        }
        for text in ["https://192.168.0.1/", "https://127.0.0.1/", "https://[::ffff:10.1.2.3]/"] {
            assert!(rules.check_url(&Url::parse(text).unwrap()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_ipv6_address_that_carries_an_ipv4_address_is_never_called(ip: u32) {
            let (high, low) = ((ip >> 16) as u16, ip as u16);
            for v6 in [
                Ipv4Addr::from(ip).to_ipv6_mapped(),
                Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, 1, 2, 3, 4, !high, !low),
            ] {
                prop_assert!(AddressRules::default().check_ip(v6.into()).is_err(), "{}", v6);
            }
        }
    }
}
