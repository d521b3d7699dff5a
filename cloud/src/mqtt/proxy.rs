//! The PROXY protocol, versions 1 and 2: behind a proxy that passes TLS on unread, it alone says who is there.
//!
//! Only proxies named in the settings are listened to, and those must speak it: a client that could choose its own
//! address would be free of every limit per address. The form is that of the HAProxy project's
//! `proxy-protocol.txt`; nginx's stream module speaks version 1, HAProxy either.

use std::io;
use std::net::{IpAddr, SocketAddr};

use ppp::{HeaderResult, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Signature of version 2.
const SIGNATURE: &[u8] = v2::PROTOCOL_PREFIX;
/// First four bytes behind the signature: version, family, length.
const V2_HEAD: usize = 16;
/// Most bytes behind the head of version 2: addresses and what proxies add to them.
const MAX_V2_BYTES: usize = 1_024;
/// Longest line of version 1, its end included.
const MAX_V1_BYTES: usize = 107;

/// Who a proxy says is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Announced {
    /// A client at this address.
    Client(SocketAddr),
    /// Nobody but the proxy itself: it looks whether we are well.
    Proxy,
    /// It went away without a word, as checks of a port do.
    Nobody,
}

/// Reads the header and not one byte of what follows it.
///
/// # Errors
/// There is no header, or one that is not understood; the connection must be closed.
pub(super) async fn announced(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Announced> {
    let mut header = vec![0; SIGNATURE.len()];
    if stream.read(&mut header[..1]).await? == 0 {
        return Ok(Announced::Nobody);
    }
    // No header of either version is shorter than the signature.
    stream.read_exact(&mut header[1..]).await?;
    if header == SIGNATURE {
        read_v2(stream, &mut header).await?;
    } else if header.starts_with(b"PROXY ") {
        read_line(stream, &mut header).await?;
    } else {
        return Err(wrong("the proxy does not speak the PROXY protocol"));
    }
    match HeaderResult::parse(&header) {
        HeaderResult::V1(Ok(v1::Header { addresses, .. })) => Ok(of_v1(&addresses)),
        HeaderResult::V2(Ok(header)) => Ok(of_v2(&header)),
        HeaderResult::V1(Err(error)) => Err(wrong(&error.to_string())),
        HeaderResult::V2(Err(error)) => Err(wrong(&error.to_string())),
    }
}

async fn read_v2(stream: &mut (impl AsyncRead + Unpin), header: &mut Vec<u8>) -> io::Result<()> {
    header.resize(V2_HEAD, 0);
    stream.read_exact(&mut header[SIGNATURE.len()..]).await?;
    let length = usize::from(u16::from_be_bytes([header[V2_HEAD - 2], header[V2_HEAD - 1]]));
    if length > MAX_V2_BYTES {
        return Err(wrong("the header is too long"));
    }
    header.resize(V2_HEAD + length, 0);
    stream.read_exact(&mut header[V2_HEAD..]).await?;
    Ok(())
}

/// Byte by byte, as the line's end is not known and what follows belongs to TLS. There are a hundred of them at most.
async fn read_line(stream: &mut (impl AsyncRead + Unpin), header: &mut Vec<u8>) -> io::Result<()> {
    while !header.ends_with(b"\r\n") {
        if header.len() >= MAX_V1_BYTES {
            return Err(wrong("the header is too long"));
        }
        header.push(stream.read_u8().await?);
    }
    Ok(())
}

fn of_v1(addresses: &v1::Addresses) -> Announced {
    match addresses {
        v1::Addresses::Tcp4(a) => client(a.source_address, a.source_port),
        v1::Addresses::Tcp6(a) => client(a.source_address, a.source_port),
        v1::Addresses::Unknown => Announced::Proxy,
    }
}

fn of_v2(header: &v2::Header<'_>) -> Announced {
    match (header.command, &header.addresses) {
        (v2::Command::Proxy, v2::Addresses::IPv4(a)) => client(a.source_address, a.source_port),
        (v2::Command::Proxy, v2::Addresses::IPv6(a)) => client(a.source_address, a.source_port),
        _ => Announced::Proxy,
    }
}

fn client(address: impl Into<IpAddr>, port: u16) -> Announced {
    Announced::Client(SocketAddr::new(address.into(), port))
}

fn wrong(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is announced by `bytes`, and what is left to read.
    fn read(bytes: &[u8]) -> (Result<Announced, io::ErrorKind>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut rest = bytes;
            let found = announced(&mut rest).await.map_err(|error| error.kind());
            (found, rest.to_vec())
        })
    }

    fn at(address: &str) -> Announced {
        Announced::Client(address.parse().unwrap())
    }

    /// A header of version 2 with `more` behind the addresses.
    fn v2(command: u8, family: u8, addresses: &[u8], more: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len() + more.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[0x20 | command, family], &length, addresses, more].concat()
    }

    const IPV4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x9c, 0x40, 0x22, 0xb3];

    #[test]
    fn both_versions_name_the_client_and_leave_its_own_bytes() {
        for (header, found) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 8883\r\n".to_vec(), at("192.0.2.7:40000")),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 8883\r\n".to_vec(), at("[2001:db8::7]:40000")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Announced::Proxy),
            (v2(1, 0x11, &IPV4, b""), at("192.0.2.7:40000")),
            (v2(1, 0x11, &IPV4, &[0x04, 0, 1, 0]), at("192.0.2.7:40000")),
            (v2(0, 0, b"", b""), Announced::Proxy),
        ] {
            let (announced, rest) = read(&[&header[..], b"\x16\x03\x01 a ClientHello"].concat());
            assert_eq!((announced, rest.as_slice()), (Ok(found), &b"\x16\x03\x01 a ClientHello"[..]), "{header:?}");
        }
    }

    #[test]
    fn a_check_of_the_port_says_nothing_and_is_no_failure() {
        assert_eq!(read(b"").0, Ok(Announced::Nobody));
    }

    #[test]
    fn whatever_is_no_header_is_refused_and_never_read_without_end() {
        let long_v1 = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 500]].concat();
        for bytes in [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a ClientHello".to_vec(),
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            b"PROXY TCP4 not an address\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 70000 8883\r\n".to_vec(),
            long_v1,
            v2(1, 0x11, &[1, 2, 3], b""),
            v2(1, 0x11, &IPV4, &[0; 2_000]),
            v2(7, 0x11, &IPV4, b""),
        ] {
            assert_eq!(read(&bytes).0, Err(io::ErrorKind::InvalidData), "{bytes:?}");
        }
        for cut in [1, 10, 14, 20] {
            assert_eq!(read(&v2(1, 0x11, &IPV4, b"")[..cut]).0, Err(io::ErrorKind::UnexpectedEof), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_taken_or_refused_and_what_is_no_header_is_left(bytes in proptest::collection::vec(any::<u8>(), 0..64), signed in 0_usize..3) {
            let prefix: &[u8] = [&b""[..], SIGNATURE, b"PROXY TCP4 "][signed];
            let whole = [prefix, &bytes].concat();
            let (found, rest) = read(&whole);
            prop_assert!(whole.ends_with(&rest));
            if let Err(kind) = found {
                prop_assert!(matches!(kind, io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof), "{kind}");
            }
        }
    }
}
