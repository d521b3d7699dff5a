//! The WebSocket to the cloud: its address, its certificates, and the edge's token.

use std::sync::Arc;
use std::time::Duration;

use aivms_contract::relay::MAX_TEXT_BYTES;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};
use url::Url;

use crate::cloud::{Cloud, causes};
use crate::config;
use crate::identity::Identity;

/// Longest wait for the connection.
const LIMIT: Duration = Duration::from_secs(10);

/// The socket.
pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Connects; says in words why not.
pub(super) async fn connect(settings: &config::Cloud, cloud: &Cloud, identity: &Identity) -> Result<Socket, String> {
    let url = address(&settings.url)?;
    let token = identity.bearer_token(cloud.time()).map_err(|error| error.to_string())?;
    let mut request = url.as_str().into_client_request().map_err(|error| format!("cloud.url: {error}"))?;
    let bearer = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|error| error.to_string())?;
    request.headers_mut().insert(AUTHORIZATION, bearer);
    let limits = WebSocketConfig::default().max_message_size(Some(MAX_TEXT_BYTES)).max_frame_size(Some(MAX_TEXT_BYTES));
    let connector = connector(settings).await?;
    // Without waiting for full packets, which would cost a fragment its time.
    let connecting = connect_async_tls_with_config(request, Some(limits), true, connector);
    match timeout(LIMIT, connecting).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(error)) => Err(format!("{url}: {}", causes(&error))),
        Err(_) => Err(format!("{url}: no answer within {} s", LIMIT.as_secs())),
    }
}

fn address(cloud: &Url) -> Result<Url, String> {
    let mut url = cloud.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(["api", "edge", "relay"]);
    }
    let scheme = if url.scheme() == "http" { "ws" } else { "wss" };
    url.set_scheme(scheme).map_err(|()| format!("cloud.url: {cloud} can't be called"))?;
    Ok(url)
}

/// The certificates of `cloud.ca_file` and no others, or the system's.
async fn connector(settings: &config::Cloud) -> Result<Option<Connector>, String> {
    let Some(path) = settings.ca_file.clone() else { return Ok(None) };
    let named = |problem: String| format!("cloud.ca_file {}: {problem}", path.display());
    let pem = tokio::fs::read(&path).await.map_err(|error| named(error.to_string()))?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| named(error.to_string()))?;
        roots.add(certificate).map_err(|error| named(error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Some(Connector::Rustls(Arc::new(config))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_follows_the_clouds() {
        for (cloud, relay) in [
            ("https://vms.example", "wss://vms.example/api/edge/relay"),
            ("http://127.0.0.1:8080/", "ws://127.0.0.1:8080/api/edge/relay"),
            ("https://vms.example/aivms", "wss://vms.example/aivms/api/edge/relay"),
        ] {
            assert_eq!(address(&cloud.parse().unwrap()).unwrap().as_str(), relay);
        }
    }
}
