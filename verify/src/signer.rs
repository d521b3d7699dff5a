//! Who signed: what the certificates of a key say, and whether the given authority vouches for them.

use aivms_contract::id::EdgeId;
use aivms_contract::identity::{Identity, Role};
use aivms_contract::time::UtcMillis;
use aivms_footage::chain::{Digest, KeyChange, KeyId, Problem, PublicKey};
use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The certificates of authorities whose word counts.
#[derive(Debug, Clone)]
pub struct Authorities(Vec<Vec<u8>>);

/// A key that signed, and who it is by its certificate.
#[derive(Debug, Clone, Serialize)]
pub struct Signer {
    /// SHA-256 of the public key in DER.
    pub key: KeyId,
    /// The edge, by the certificate.
    pub edge: Option<String>,
    /// The tenant that it belongs to, by the certificate.
    pub tenant: Option<String>,
    /// SHA-256 of the certificate in DER, as `openssl x509 -fingerprint -sha256` prints it without colons.
    pub certificate: Option<Digest>,
    /// Life of the certificate.
    pub valid: Option<(UtcMillis, UtcMillis)>,
    /// Whether the given authority issued it; absent when none was given.
    pub vouched_for: Option<bool>,
}

impl Authorities {
    /// Reads certificates in PEM.
    ///
    /// # Errors
    /// There is none, or one is damaged.
    pub fn from_pem(pem: &[u8]) -> anyhow::Result<Self> {
        let blocks = pem::parse_many(pem).context("is not PEM")?;
        let found: Vec<_> =
            blocks.into_iter().filter(|block| block.tag() == "CERTIFICATE").map(pem::Pem::into_contents).collect();
        if found.is_empty() {
            bail!("holds no certificate");
        }
        for der in &found {
            X509Certificate::from_der(der).context("holds a damaged certificate")?;
        }
        Ok(Self(found))
    }

    /// Whether one of them signed `leaf`.
    fn issued(&self, leaf: &X509Certificate<'_>) -> bool {
        self.0.iter().filter_map(|der| X509Certificate::from_der(der).ok()).any(|(_, authority)| {
            let key = PublicKey::from_der(authority.public_key().raw.to_vec());
            authority.is_ca()
                && authority.subject() == leaf.issuer()
                && key.has_signed(leaf.tbs_certificate.as_ref(), &leaf.signature_value.data)
        })
    }
}

impl Signer {
    /// Looks at who vouches for a key that signed for `edge` at the times `used`, the first and the last.
    pub fn examine(
        change: &KeyChange,
        edge: Option<&EdgeId>,
        used: (UtcMillis, UtcMillis),
        authorities: Option<&Authorities>,
    ) -> (Self, Vec<Problem>) {
        let key = change.public_key.id();
        let mut signer = Self { key, edge: None, tenant: None, certificate: None, valid: None, vouched_for: None };
        let mut problems = Vec::new();
        if let Err(problem) = signer.read(change, edge, authorities) {
            signer.vouched_for = authorities.map(|_| false);
            problems.push(Problem::Certificate { key, problem: problem.to_string() });
        }
        if let Some((from, until)) = signer.valid {
            let at = if used.0 < from { Some(used.0) } else { Some(used.1).filter(|at| *at > until) };
            problems.extend(at.map(|at| Problem::CertificateTime { key, from, until, at }));
        }
        match signer.vouched_for {
            Some(false) if problems.is_empty() => {
                let problem = "was not issued by the given authority".to_owned();
                problems.push(Problem::Certificate { key, problem });
            }
            None => problems.push(Problem::SignerUnknown(key)),
            _ => {}
        }
        (signer, problems)
    }

    fn read(
        &mut self,
        change: &KeyChange,
        edge: Option<&EdgeId>,
        authorities: Option<&Authorities>,
    ) -> anyhow::Result<()> {
        let Some(text) = change.certificates.first() else { bail!("is missing") };
        let der = STANDARD.decode(text).context("is not base64")?;
        let (_, leaf) = X509Certificate::from_der(&der).context("can't be read")?;
        self.certificate = Some(Digest::of(&der));
        let at = |time: x509_parser::time::ASN1Time| UtcMillis::from_millis(time.timestamp().saturating_mul(1000));
        self.valid = Some((at(leaf.validity().not_before), at(leaf.validity().not_after)));
        if leaf.public_key().raw != change.public_key.der() {
            bail!("belongs to another key");
        }
        let identity = identity(&leaf).context("names no edge")?;
        let Role::Edge(named) = &identity.role else { bail!("is not an edge's") };
        (self.edge, self.tenant) = (Some(named.to_string()), Some(identity.tenant.to_string()));
        self.vouched_for = authorities.map(|authorities| authorities.issued(&leaf));
        if edge.is_some_and(|edge| edge != named) {
            bail!("is that of {named}, and the records name another edge");
        }
        Ok(())
    }
}

fn identity(leaf: &X509Certificate<'_>) -> Option<Identity> {
    let names = leaf.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => uri.parse().ok(),
        _ => None,
    })
}
