//! From a verified certificate to the identity it speaks for.

use aivms_contract::identity::Identity;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::prelude::GeneralName;

use crate::store::Fingerprint;

/// What a certificate of our CA says; it counts only while the store knows it as active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) identity: Identity,
    pub(super) fingerprint: Fingerprint,
}

/// Reads the identity of a certificate whose chain TLS has verified: exactly one SAN, a URI of ours. Subject and
/// everything else are for people.
///
/// # Errors
/// Says what is missing.
pub(super) fn claim(certificate: &CertificateDer<'_>) -> Result<Claim, String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|error| error.to_string())?;
    let names = parsed
        .subject_alternative_name()
        .map_err(|error| error.to_string())?
        .ok_or("the certificate has no subject alternative name")?;
    let [GeneralName::URI(urn)] = names.value.general_names[..] else {
        return Err("the certificate must have exactly one subject alternative name, a URI".to_owned());
    };
    let identity = urn.parse().map_err(|error| format!("{urn}: {error}"))?;
    Ok(Claim { identity, fingerprint: Sha256::digest(certificate).into() })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    const URN: &str = "urn:aivms:tenant:acme:edge:edge_a";

    fn certificate(names: &[SanType]) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.to_vec();
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().into()
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    #[test]
    fn exactly_one_uri_of_ours_is_an_identity() {
        let good = certificate(&[uri(URN)]);
        let claim = claim(&good).unwrap();
        assert_eq!(claim.identity.to_string(), URN);
        assert_eq!(claim.fingerprint, <Fingerprint>::from(Sha256::digest(&good)));
    }

    #[test]
    fn anything_else_is_none() {
        let dns = || SanType::DnsName("cloud.example.com".try_into().unwrap());
        for names in [
            vec![],
            vec![dns()],
            vec![uri(URN), uri(URN)],
            vec![uri(URN), dns()],
            vec![uri("urn:aivms:tenant:acme:admin:x")],
            vec![uri("https://example.com/")],
        ] {
            assert!(claim(&certificate(&names)).is_err(), "{names:?}");
        }
        assert!(claim(&CertificateDer::from(vec![1, 2, 3])).is_err());
    }
}
