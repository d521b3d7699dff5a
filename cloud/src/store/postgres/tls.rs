//! TLS to the database, with the one provider that everything else uses.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::StoreError;
use super::settings::Tls;

/// The connector for what the URL asks for.
///
/// # Errors
/// `sslrootcert` can't be read or holds no certificate.
pub(super) fn connector(tls: &Tls) -> Result<MakeRustlsConnect, StoreError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Database(format!("TLS: {error}")))?;
    let config = match tls {
        Tls::Verified { roots } => builder.with_root_certificates(trusted(roots.as_deref())?),
        Tls::Off | Tls::Unverified => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        }
    };
    Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
}

fn trusted(file: Option<&std::path::Path>) -> Result<RootCertStore, StoreError> {
    let mut store = RootCertStore::empty();
    let Some(path) = file else {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(store);
    };
    let wrong = |reason: String| StoreError::Database(format!("sslrootcert {}: {reason}", path.display()));
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))? {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        store.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if store.is_empty() { Err(wrong("holds no certificate in PEM".into())) } else { Ok(store) }
}

/// Takes any certificate, as `sslmode=require` does: the connection is encrypted, but the server is not known.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use aivms_test_database::TestServer;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    use super::super::super::Store;

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_connection_is_protected_as_the_url_asks() {
        let (ours, other) = (authority(), authority());
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &ours).unwrap();
        let settings = ["ssl=on", "ssl_cert_file=server.crt", "ssl_key_file=server.key"];
        let files = [("server.crt", &*certificate.pem()), ("server.key", &*key.serialize_pem())];
        let server = TestServer::start_with(&settings, &files).unwrap();
        let url = server.create_database("cloud").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let roots = |name: &str, pem: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, pem).unwrap();
            format!("verify-full&sslrootcert={}", path.display())
        };
        let (trusted, foreign) = (roots("ours.pem", ours.pem()), roots("other.pem", other.pem()));
        for (mode, encrypted) in [("disable", "f"), ("prefer", "t"), ("require", "t"), (trusted.as_str(), "t")] {
            let store = Store::open_postgres(&format!("{url}?sslmode={mode}").parse().unwrap()).await.unwrap();
            store.feed_head().await.unwrap();
            let asked = "select distinct ssl from pg_stat_ssl join pg_stat_activity using (pid)
                         where application_name like 'aivms-cloud%lookup' and state = 'idle'";
            assert_eq!(server.psql("cloud", &[asked]).unwrap().trim(), encrypted, "{mode}");
            drop(store);
            let gone = "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'aivms%'";
            server.psql("cloud", &[gone]).unwrap();
        }
        for mode in [foreign.as_str(), "verify-full"] {
            let error = Store::open_postgres(&format!("{url}?sslmode={mode}").parse().unwrap()).await.unwrap_err();
            assert!(error.to_string().contains("certificate"), "{mode}: {error}");
        }
    }
}
