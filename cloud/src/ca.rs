//! The cloud's own certificate authority: server, edge and operator certificates.
//!
//! One P-256 CA key, made on first start and kept beside the database with mode 0600. Edge and operator
//! certificates carry exactly one SAN, the identity's URN; nothing else in them is trusted, least of all what a
//! request asked for.

use std::path::Path;

use aivms_contract::identity::Identity;
use aivms_contract::time::UtcMillis;

use crate::store::NewCertificate;

/// Signs certificates.
#[derive(Debug)]
pub struct CertificateAuthority {}

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

impl CertificateAuthority {
    /// Opens the CA in `dir`, making key and certificate when there are none.
    ///
    /// # Errors
    /// Names the file.
    pub fn open(_dir: &Path, _now: UtcMillis) -> Result<Self, CaError> {
        unimplemented!()
    }

    /// The CA certificate(s) that clients and edges verify the MQTT server with.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        unimplemented!()
    }

    /// Issues a certificate for the key in `csr_pem`, for `identity` and nothing else, living 90 days.
    ///
    /// # Errors
    /// The request is not acceptable.
    pub fn issue_for_request(&self, _csr_pem: &str, _identity: &Identity, _now: UtcMillis) -> Result<Issued, CaError> {
        unimplemented!()
    }

    /// Makes a key and a certificate for an operator; returns the key in PEM beside it.
    ///
    /// # Errors
    /// Signing failed.
    pub fn issue_with_key(&self, _identity: &Identity, _now: UtcMillis) -> Result<(Issued, String), CaError> {
        unimplemented!()
    }
}
