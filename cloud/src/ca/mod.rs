//! The cloud's own certificate authority: server, edge and operator certificates.
//!
//! One P-256 CA key, made on first start and kept beside the database with mode 0600. Edge and operator
//! certificates carry exactly one SAN, the identity's URN; nothing else in them is trusted, least of all what a
//! request asked for.

mod files;

use std::path::Path;
use std::time::Duration;

use aivms_contract::identity::{Identity, Role};
use aivms_contract::time::UtcMillis;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use crate::store::NewCertificate;

/// How long server, edge and operator certificates live. Edges renew at two thirds, so a box that was switched off
/// for a month comes back by itself.
pub const CERTIFICATE_LIFE: Duration = Duration::from_secs(90 * DAY);
/// How long the CA's own certificate lives: longer than any appliance stays in the field.
pub const CA_LIFE: Duration = Duration::from_secs(20 * 365 * DAY);
/// How far the clock of a peer may be behind: certificates begin this much in the past.
pub const CLOCK_SKEW: Duration = Duration::from_secs(DAY);

const DAY: u64 = 24 * 60 * 60;
/// Longest certificate request looked at, in bytes; one with a P-256 key has about 500.
const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// Signs certificates.
#[derive(Debug)]
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    ca_pem: String,
    not_after: UtcMillis,
}

/// Says why no certificate was issued.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The key or certificate file is unreadable, damaged or open to others.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The certificate request is not PEM PKCS #10 with a valid signature by a P-256 key.
    #[error("csr_pem: {0}")]
    Request(String),
    /// A name for the server certificate is neither a host name nor an IP address.
    #[error("server name {name:?}: {reason}")]
    ServerName {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Signing failed.
    #[error("signing: {0}")]
    Signing(String),
}

/// A certificate ready to be handed out, once written down.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate_pem: String,
    /// What the store keeps of it.
    pub record: NewCertificate,
}

/// The certificate and key of a TLS server; kept in memory only and made anew at each start.
#[derive(Debug)]
pub struct ServerCertificate {
    /// The certificate, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
    /// End of its life; make another before.
    pub not_after: UtcMillis,
}

impl CertificateAuthority {
    /// Opens the CA in `dir` (`ca-key.pem`, `ca.pem`), making key and certificate when there are none.
    ///
    /// # Errors
    /// Names the file.
    pub fn open(dir: &Path, now: UtcMillis) -> Result<Self, CaError> {
        let stored = files::open_or_create(dir, |key| ca_certificate(key, now))?;
        let damaged = |reason: String| stored.certificate_error(format!("{reason}; restore it from a backup"));
        let (public_key, not_after) = inspect(&stored.certificate).map_err(damaged)?;
        if public_key != stored.key.subject_public_key_info() {
            return Err(damaged("is not the certificate of the key beside it".to_owned()));
        }
        if not_after <= now {
            return Err(damaged(format!("ended at {not_after}")));
        }
        let issuer = Issuer::from_ca_cert_der(&stored.certificate, stored.key)
            .map_err(|error| CaError::Signing(error.to_string()))?;
        Ok(Self { issuer, certificate: stored.certificate, ca_pem: stored.certificate_pem, not_after })
    }

    /// The CA certificate(s) that clients and edges verify the MQTT server with.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The CA certificate in DER, which client certificates must chain to.
    #[must_use]
    pub fn ca_der(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Issues a certificate for the key in `csr_pem`, for `identity` and nothing else, living [`CERTIFICATE_LIFE`].
    ///
    /// # Errors
    /// The request is not acceptable.
    pub fn issue_for_request(&self, csr_pem: &str, identity: &Identity, now: UtcMillis) -> Result<Issued, CaError> {
        self.issue(&requested_key(csr_pem)?, identity, now)
    }

    /// Makes a key and a certificate for an operator; returns the key in PEM beside it.
    ///
    /// # Errors
    /// Signing failed.
    pub fn issue_with_key(&self, identity: &Identity, now: UtcMillis) -> Result<(Issued, String), CaError> {
        let key = new_key()?;
        Ok((self.issue(&key, identity, now)?, key.serialize_pem()))
    }

    /// Makes a key and a certificate for a TLS server that clients reach by `names`, host names or IP addresses.
    ///
    /// # Errors
    /// A name is neither, or there is none.
    pub fn server_certificate(&self, names: &[String], now: UtcMillis) -> Result<ServerCertificate, CaError> {
        let wrong = |name: &str, reason: String| CaError::ServerName { name: name.to_owned(), reason };
        let first = names.first().ok_or_else(|| wrong("", "at least one is needed".to_owned()))?;
        let mut alt_names = Vec::with_capacity(names.len());
        for name in names {
            let one = CertificateParams::new([name.clone()]).map_err(|error| wrong(name, error.to_string()))?;
            alt_names.extend(one.subject_alt_names);
        }
        let key = new_key()?;
        let (params, not_after) = self.leaf(first, alt_names, ExtendedKeyUsagePurpose::ServerAuth, now)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(signing)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok(ServerCertificate { chain: vec![certificate.into()], key: key.into(), not_after })
    }

    fn issue(&self, key: &impl PublicKeyData, identity: &Identity, now: UtcMillis) -> Result<Issued, CaError> {
        let urn = identity.to_string().try_into().map_err(signing)?;
        let name = match &identity.role {
            Role::Edge(edge) => edge.as_str(),
            Role::Operator(operator) => operator.as_str(),
        };
        let (params, not_after) = self.leaf(name, vec![SanType::URI(urn)], ExtendedKeyUsagePurpose::ClientAuth, now)?;
        let certificate = params.signed_by(key, &self.issuer).map_err(signing)?;
        let record = NewCertificate {
            fingerprint: Sha256::digest(certificate.der()).into(),
            identity: identity.clone(),
            public_key_der: key.subject_public_key_info(),
            not_after,
        };
        Ok(Issued { certificate_pem: certificate.pem(), record })
    }

    /// A certificate that can't sign others, with the end of its life. `common_name` is for people only.
    fn leaf(
        &self,
        common_name: &str,
        alt_names: Vec<SanType>,
        usage: ExtendedKeyUsagePurpose,
        now: UtcMillis,
    ) -> Result<(CertificateParams, UtcMillis), CaError> {
        let (mut params, not_after) = params(common_name, now, (now + CERTIFICATE_LIFE).min(self.not_after))?;
        params.subject_alt_names = alt_names;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        Ok((params, not_after))
    }
}

/// The CA's own certificate. Its subject follows from the key, so a lost certificate can be made again.
fn ca_certificate(key: &KeyPair, now: UtcMillis) -> Result<String, CaError> {
    let key_hash = Sha256::digest(key.subject_public_key_info());
    let name = format!("AIVMS CA {}", hex::encode(&key_hash[..8]));
    let (mut params, _) = params(&name, now, now + CA_LIFE)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params.self_signed(key).map_err(signing)?.pem())
}

/// What all certificates share; returns the end of life cut to whole seconds, as certificates keep it.
fn params(common_name: &str, now: UtcMillis, not_after: UtcMillis) -> Result<(CertificateParams, UtcMillis), CaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.serial_number = Some(random_serial()?);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let seconds = |at: UtcMillis| Duration::from_secs(u64::try_from(at.as_millis() / 1000).unwrap_or(0));
    params.not_before = epoch + seconds(now - CLOCK_SKEW);
    params.not_after = epoch + seconds(not_after);
    Ok((params, UtcMillis::from_millis(not_after.as_millis() / 1000 * 1000)))
}

/// 127 random bits: positive, never zero and not guessable (RFC 5280 §4.1.2.2).
fn random_serial() -> Result<SerialNumber, CaError> {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| CaError::Signing("no random numbers".to_owned()))?;
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn new_key() -> Result<KeyPair, CaError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(signing)
}

/// The public key of a PKCS #10 request whose signature proves that the sender holds the private one.
fn requested_key(csr_pem: &str) -> Result<SubjectPublicKeyInfo, CaError> {
    let wrong = |reason: &str| CaError::Request(reason.to_owned());
    if csr_pem.len() > MAX_REQUEST_BYTES {
        return Err(wrong("is longer than a request can be"));
    }
    let block = pem::parse(csr_pem).map_err(|error| CaError::Request(format!("is not PEM: {error}")))?;
    if !matches!(block.tag(), "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST") {
        return Err(CaError::Request(format!("must be a CERTIFICATE REQUEST, is a {:?}", block.tag())));
    }
    let (rest, request) = X509CertificationRequest::from_der(block.contents())
        .map_err(|error| CaError::Request(format!("is not PKCS #10: {error}")))?;
    if !rest.is_empty() {
        return Err(wrong("has bytes after its end"));
    }
    let key = SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw)
        .ok()
        .filter(|key| key.algorithm() == &PKCS_ECDSA_P256_SHA256)
        .ok_or_else(|| wrong("its key must be an ECDSA key on P-256 (prime256v1)"))?;
    request.verify_signature().map_err(|_| wrong("its signature is wrong"))?;
    Ok(key)
}

/// Public key (SubjectPublicKeyInfo in DER) and end of life of a certificate.
fn inspect(certificate: &CertificateDer<'_>) -> Result<(Vec<u8>, UtcMillis), String> {
    let (_, parsed) =
        x509_parser::parse_x509_certificate(certificate).map_err(|error| format!("is no certificate: {error}"))?;
    let not_after = UtcMillis::from_millis(parsed.validity().not_after.timestamp().saturating_mul(1000));
    Ok((parsed.public_key().raw.to_vec(), not_after))
}

#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
fn signing(error: rcgen::Error) -> CaError {
    CaError::Signing(error.to_string())
}

#[cfg(test)]
mod tests;
