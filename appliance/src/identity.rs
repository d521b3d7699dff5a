//! The device key, its certificate, and what is signed with it: tokens and the chain over footage.
//!
//! On disk: `identity/current` is a link to a folder of one generation with `key.pem` (mode 0600), `certificate.pem`,
//! `ca.pem` and `enrollment.json`. A new generation is written whole and the link replaced by a rename, so that key
//! and certificate always fit each other, and so that a person can hand these paths to MQTT tools.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aivms_contract::edge_api::{Enrollment, TOKEN_AUDIENCE, TOKEN_LIFETIME_S, TokenClaims};
use aivms_contract::identity::{self, Role};
use aivms_contract::time::UtcMillis;
use aivms_footage::chain::{PublicKey, SignError, Signer};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::state::durable;

/// A key made on this device that no certificate has been issued for yet.
pub struct DeviceKey(KeyPair);

/// Who this edge is, with the key that proves it.
pub struct Identity {
    enrollment: Enrollment,
    key_pem: String,
    token_key: EncodingKey,
    footage_key: EcdsaKeyPair,
    public_key: PublicKey,
    chain: Vec<CertificateDer<'static>>,
    thumbprint: String,
    validity: Validity,
}

/// The life of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First moment.
    pub not_before: UtcMillis,
    /// Last moment.
    pub not_after: UtcMillis,
}

/// Says why an identity can't be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The identity folder can't be read or written.
    #[error("{}: can't be {doing}", path.display())]
    Disk {
        /// What was being done to it.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A stored or received part is not what it should be.
    #[error("{part} of the device's identity: {problem}")]
    Part {
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The certificate belongs to another key.
    #[error("the certificate does not belong to the device key; run `aivms-appliance enroll` with a new secret")]
    Mismatch,
    /// Random numbers or signatures failed.
    #[error("cryptography failed: {0}")]
    Crypto(String),
}

impl DeviceKey {
    /// Makes a P-256 key.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn generate() -> Result<Self, IdentityError> {
        KeyPair::generate().map(Self).map_err(|error| IdentityError::Crypto(error.to_string()))
    }

    /// The PKCS #10 request for this key in PEM; its subject says nothing.
    ///
    /// # Errors
    /// Signing failed.
    pub fn certificate_request(&self) -> Result<String, IdentityError> {
        let request = CertificateParams::default().serialize_request(&self.0).and_then(|request| request.pem());
        request.map_err(|error| IdentityError::Crypto(error.to_string()))
    }

    /// Joins the key with the certificate issued for it.
    ///
    /// # Errors
    /// The certificate is not readable, or belongs to another key or edge.
    pub fn certified(&self, enrollment: Enrollment) -> Result<Identity, IdentityError> {
        Identity::new(self.0.serialize_pem(), enrollment)
    }
}

impl Identity {
    fn new(key_pem: String, enrollment: Enrollment) -> Result<Self, IdentityError> {
        let key = KeyPair::from_pem(&key_pem).map_err(|error| part("key", error))?;
        let chain = certificates("certificate", &enrollment.certificate_pem)?;
        certificates("ca", &enrollment.ca_pem)?;
        let leaf = chain.first().expect("`certificates` returns at least one");
        let validity = inspect(leaf, &key, &enrollment)?;
        let token_key = EncodingKey::from_ec_pem(key_pem.as_bytes()).map_err(|error| part("key", error))?;
        let footage_key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key.serialize_der())
            .map_err(|error| part("key", error))?;
        let public_key = PublicKey::from_der(key.subject_public_key_info());
        let thumbprint = thumbprint(leaf);
        Ok(Self { thumbprint, token_key, footage_key, public_key, key_pem, chain, validity, enrollment })
    }

    /// Reads the identity kept in `data_dir`; `None` when the edge is not enrolled.
    ///
    /// # Errors
    /// It is there and not usable.
    pub fn load(data_dir: &Path) -> Result<Option<Self>, IdentityError> {
        let folder = current(data_dir);
        if !folder.exists() {
            return Ok(None);
        }
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).map_err(|source| IdentityError::Disk { doing: "read", path, source })
        };
        let enrollment = serde_json::from_str(&read("enrollment.json")?).map_err(|error| part("enrollment", error))?;
        Self::new(read("key.pem")?, enrollment).map(Some)
    }

    /// Keeps this identity in `data_dir` in place of the one there.
    ///
    /// # Errors
    /// The disk refused; the old identity is then still in use.
    pub fn store(&self, data_dir: &Path) -> Result<(), IdentityError> {
        let root = data_dir.join("identity");
        write_generation(&root, self).map_err(|source| IdentityError::Disk { doing: "written", path: root, source })
    }

    /// What the cloud said at enrolment or renewal.
    #[must_use]
    pub fn enrollment(&self) -> &Enrollment {
        &self.enrollment
    }

    /// The device's certificate and its authority's, in DER.
    ///
    /// # Errors
    /// The authority's can't be read.
    pub fn certificates(&self) -> Result<Vec<Vec<u8>>, IdentityError> {
        let authority = certificates("ca", &self.enrollment.ca_pem)?;
        Ok(self.chain.iter().chain(&authority).map(|certificate| certificate.to_vec()).collect())
    }

    /// The life of the certificate.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Makes a bearer token for the cloud's API, valid from `now`.
    ///
    /// # Errors
    /// Signing failed.
    pub fn bearer_token(&self, now: UtcMillis) -> Result<String, IdentityError> {
        let mut header = Header::new(Algorithm::ES256);
        header.x5t_s256 = Some(self.thumbprint.clone());
        let iat = u64::try_from(now.as_millis() / 1000).unwrap_or(0);
        let Enrollment { tenant_id: tenant, edge_id, .. } = self.enrollment.clone();
        let claims = TokenClaims {
            sub: identity::Identity { tenant, role: Role::Edge(edge_id) }.to_string(),
            aud: TOKEN_AUDIENCE.to_owned(),
            iat,
            exp: iat + TOKEN_LIFETIME_S,
        };
        jsonwebtoken::encode(&header, &claims, &self.token_key)
            .map_err(|error| IdentityError::Crypto(error.to_string()))
    }

    /// The TLS settings of the MQTT connection: our CA only, our certificate shown.
    ///
    /// # Errors
    /// Key or certificates are refused by the TLS library.
    pub fn mqtt_tls(&self) -> Result<Arc<rustls::ClientConfig>, IdentityError> {
        let mut roots = rustls::RootCertStore::empty();
        for authority in certificates("ca", &self.enrollment.ca_pem)? {
            roots.add(authority).map_err(|error| part("ca", error))?;
        }
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).map_err(|error| part("key", error))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| IdentityError::Crypto(error.to_string()))?
            .with_root_certificates(roots)
            .with_client_auth_cert(self.chain.clone(), key)
            .map_err(|error| part("certificate", error))?;
        Ok(Arc::new(config))
    }
}

impl std::fmt::Debug for Identity {
    // Whose it is, and never the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("edge", &self.enrollment.edge_id).field("key", &self.public_key.id()).finish()
    }
}

impl Signer for Identity {
    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self.footage_key.sign(&SystemRandom::new(), message);
        signature.map(|signature| signature.as_ref().to_vec()).map_err(|error| SignError(error.to_string()))
    }
}

impl Validity {
    /// When the certificate should be renewed: at two thirds of its life.
    #[must_use]
    pub fn renew_at(self) -> UtcMillis {
        self.not_before + self.not_after.since(self.not_before) / 3 * 2
    }

    /// Says what is wrong with the certificate at `now`, if anything.
    #[must_use]
    pub fn problem_at(self, now: UtcMillis) -> Option<String> {
        if now < self.not_before {
            let early = self.not_before.since(now);
            Some(format!(
                "the certificate is valid from {} and this device's clock says {now}, {} earlier; set the clock (NTP)",
                self.not_before,
                in_words(early)
            ))
        } else if now > self.not_after {
            Some(format!(
                "the certificate ended at {}; check the clock, or enrol again with a new secret",
                self.not_after
            ))
        } else {
            None
        }
    }
}

/// Prints a time span in its largest fitting unit.
#[must_use]
pub fn in_words(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// Where the identity in use is kept.
#[must_use]
pub fn current(data_dir: &Path) -> PathBuf {
    data_dir.join("identity").join("current")
}

fn part(part: &'static str, problem: impl std::fmt::Display) -> IdentityError {
    IdentityError::Part { part, problem: problem.to_string() }
}

fn certificates(name: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().map_err(|error| part(name, error))?;
    if found.is_empty() { Err(part(name, "holds no certificate")) } else { Ok(found) }
}

/// The base64url SHA-256 of a certificate, by which the cloud finds the key of a token.
fn thumbprint(certificate: &CertificateDer<'_>) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(certificate))
}

fn inspect(leaf: &CertificateDer<'_>, key: &KeyPair, enrollment: &Enrollment) -> Result<Validity, IdentityError> {
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|error| part("certificate", error))?;
    if certificate.public_key().raw != key.subject_public_key_info() {
        return Err(IdentityError::Mismatch);
    }
    let ours =
        identity::Identity { tenant: enrollment.tenant_id.clone(), role: Role::Edge(enrollment.edge_id.clone()) };
    let names = certificate.subject_alternative_name().map_err(|error| part("certificate", error))?;
    let named = names.is_some_and(|names| {
        names.value.general_names.iter().any(
            |name| matches!(name, x509_parser::extensions::GeneralName::URI(uri) if uri.parse() == Ok(ours.clone())),
        )
    });
    if !named {
        return Err(part("certificate", format!("does not name {ours}")));
    }
    let at = |time: x509_parser::time::ASN1Time| UtcMillis::from_millis(time.timestamp().saturating_mul(1000));
    Ok(Validity { not_before: at(certificate.validity().not_before), not_after: at(certificate.validity().not_after) })
}

fn write_generation(root: &Path, identity: &Identity) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(root)?;
    let link = root.join("current");
    let old = std::fs::read_link(&link).ok();
    // Two generations alternate, so that nothing of an interrupted attempt is ever left over.
    let name = if old.as_deref() == Some(Path::new("a")) { "b" } else { "a" };
    let folder = root.join(name);
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
    let enrollment = serde_json::to_vec_pretty(&identity.enrollment)?;
    durable::write_synced(&folder.join("key.pem"), identity.key_pem.as_bytes(), 0o600)?;
    durable::write_synced(&folder.join("certificate.pem"), identity.enrollment.certificate_pem.as_bytes(), 0o644)?;
    durable::write_synced(&folder.join("ca.pem"), identity.enrollment.ca_pem.as_bytes(), 0o644)?;
    durable::write_synced(&folder.join("enrollment.json"), &enrollment, 0o644)?;
    durable::sync_dir(&folder)?;
    replace_link(&link, name)?;
    durable::sync_parent(&link)?;
    if let Some(old) = old {
        std::fs::remove_dir_all(root.join(old))?;
    }
    Ok(())
}

fn replace_link(link: &Path, target: &str) -> io::Result<()> {
    let fresh = link.with_file_name(".current.new");
    durable::delete(&fresh)?;
    std::os::unix::fs::symlink(target, &fresh)?;
    std::fs::rename(&fresh, link)
}

#[cfg(test)]
mod tests;
