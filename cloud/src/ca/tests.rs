use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use aivms_contract::id::EdgeId;
use rcgen::{PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use x509_parser::prelude::GeneralName;

use super::*;

fn now() -> UtcMillis {
    UtcMillis::from_millis(1_795_352_700_250)
}

fn edge() -> Identity {
    let edge = EdgeId::from_random(7);
    Identity { tenant: "acme-corp".parse().unwrap(), role: Role::Edge(edge) }
}

fn authority() -> (tempfile::TempDir, CertificateAuthority) {
    let dir = tempfile::tempdir().unwrap();
    let ca = CertificateAuthority::open(dir.path(), now()).unwrap();
    (dir, ca)
}

/// A request that asks for far more than it gets.
fn greedy_request(key: &KeyPair) -> String {
    let mut params = CertificateParams::new(["cloud.example.com".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.distinguished_name.push(DnType::CommonName, "root");
    params.serialize_request(key).unwrap().pem().unwrap()
}

#[test]
fn a_certificate_carries_the_identity_and_nothing_the_request_asked_for() {
    let (_dir, ca) = authority();
    let key = new_key().unwrap();
    let issued = ca.issue_for_request(&greedy_request(&key), &edge(), now()).unwrap();
    let der = pem::parse(&issued.certificate_pem).unwrap().into_contents();
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();

    let names = &parsed.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert!(matches!(names[..], [GeneralName::URI(urn)] if urn == edge().to_string()), "{names:?}");
    assert!(!parsed.is_ca());
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth);
    assert!(!parsed.subject().to_string().contains("root"));
    assert_eq!(parsed.public_key().raw, key.subject_public_key_info());
    assert_eq!(issued.record.public_key_der, key.subject_public_key_info());
    assert_eq!(issued.record.fingerprint, <[u8; 32]>::from(Sha256::digest(&der)));
    assert_eq!(issued.record.identity, edge());
    let seconds = now().as_millis() / 1000;
    assert_eq!(parsed.validity().not_before.timestamp(), seconds - i64::try_from(CLOCK_SKEW.as_secs()).unwrap());
    assert_eq!(parsed.validity().not_after.timestamp() * 1000, issued.record.not_after.as_millis());
    assert_eq!(issued.record.not_after, UtcMillis::from_millis(seconds * 1000) + CERTIFICATE_LIFE);
}

#[test]
fn serial_numbers_differ() {
    let (_dir, ca) = authority();
    let serial = || {
        let (issued, _) = ca.issue_with_key(&edge(), now()).unwrap();
        let der = pem::parse(&issued.certificate_pem).unwrap().into_contents();
        x509_parser::parse_x509_certificate(&der).unwrap().1.raw_serial().to_vec()
    };
    assert_ne!(serial(), serial());
}

#[test]
fn only_a_signed_request_with_a_p256_key_is_accepted() {
    let (_dir, ca) = authority();
    let refused = |csr: &str, part: &str| {
        let error = ca.issue_for_request(csr, &edge(), now()).unwrap_err().to_string();
        assert!(error.starts_with("csr_pem: ") && error.contains(part), "{error}");
    };
    for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        refused(&greedy_request(&KeyPair::generate_for(algorithm).unwrap()), "P-256");
    }
    let good = pem::parse(greedy_request(&new_key().unwrap())).unwrap().into_contents();
    let mut forged = good.clone();
    let last = forged.len() - 5;
    forged[last] ^= 1;
    refused(&pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", forged)), "signature");
    let mut longer = good.clone();
    longer.push(0);
    refused(&pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", longer)), "after its end");
    refused(&pem::encode(&pem::Pem::new("CERTIFICATE", good)), "must be a CERTIFICATE REQUEST");
    refused("", "not PEM");
    refused(&"x".repeat(1 << 20), "longer");
    refused(&pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", vec![0x30, 0x80])), "PKCS #10");
}

#[test]
fn the_key_is_private_and_one_that_others_can_read_is_refused() {
    let (dir, _) = authority();
    let path = dir.path().join("ca-key.pem");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let error = CertificateAuthority::open(dir.path(), now()).unwrap_err().to_string();
    assert!(error.contains("ca-key.pem") && error.contains("chmod 600"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "no draft is left behind");
}

#[test]
fn a_missing_key_is_never_replaced_silently_and_a_foreign_one_is_refused() {
    let (dir, _) = authority();
    fs::remove_file(dir.path().join("ca-key.pem")).unwrap();
    let error = CertificateAuthority::open(dir.path(), now()).unwrap_err().to_string();
    assert!(error.contains("ca-key.pem: is missing"), "{error}");
    let (other, _) = authority();
    fs::copy(other.path().join("ca-key.pem"), dir.path().join("ca-key.pem")).unwrap();
    let error = CertificateAuthority::open(dir.path(), now()).unwrap_err().to_string();
    assert!(error.contains("ca.pem: is not the certificate of the key"), "{error}");
}

#[test]
fn an_ended_ca_is_refused() {
    let (dir, _) = authority();
    let error = CertificateAuthority::open(dir.path(), now() + CA_LIFE + CLOCK_SKEW).unwrap_err().to_string();
    assert!(error.contains("ca.pem: ended at 2046"), "{error}");
}

#[test]
fn openssl_accepts_certificates_from_before_and_after_a_reopening_and_a_lost_ca_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let now = UtcMillis::from_millis(jiff::Timestamp::now().as_millisecond());
    let ca = CertificateAuthority::open(dir.path(), now).unwrap();
    let check = |ca: &CertificateAuthority, purpose: &str, pem: &str| {
        let (root, leaf) = (dir.path().join("root"), dir.path().join("leaf"));
        fs::write(&root, ca.ca_pem()).unwrap();
        fs::write(&leaf, pem).unwrap();
        let out = Command::new("openssl")
            .args(["verify", "-x509_strict", "-purpose", purpose, "-CAfile"])
            .args([&root, &leaf])
            .output()
            .expect("openssl is installed");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    };
    let first = ca.issue_with_key(&edge(), now).unwrap().0.certificate_pem;
    let reopened = CertificateAuthority::open(dir.path(), now).unwrap();
    assert_eq!(reopened.ca_pem(), ca.ca_pem());
    fs::remove_file(dir.path().join("ca.pem")).unwrap();
    let remade = CertificateAuthority::open(dir.path(), now).unwrap();
    for ca in [&ca, &reopened, &remade] {
        check(ca, "sslclient", &first);
        check(ca, "sslclient", &ca.issue_with_key(&edge(), now).unwrap().0.certificate_pem);
        let server = ca.server_certificate(&["localhost".to_owned(), "::1".to_owned()], now).unwrap();
        let block = pem::Pem::new("CERTIFICATE", server.chain[0].to_vec());
        check(&reopened, "sslserver", &pem::encode(&block));
    }
}

#[test]
fn a_server_certificate_names_hosts_and_addresses() {
    let (_dir, ca) = authority();
    let names = ["cloud.example.com".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let server = ca.server_certificate(&names, now()).unwrap();
    let (_, parsed) = x509_parser::parse_x509_certificate(&server.chain[0]).unwrap();
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth);
    let alt_names = &parsed.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert!(matches!(
        alt_names[..],
        [GeneralName::DNSName("cloud.example.com"), GeneralName::IPAddress([127, 0, 0, 1]), GeneralName::IPAddress(v6)]
            if v6.len() == 16
    ));
    assert!(matches!(ca.server_certificate(&[], now()), Err(CaError::ServerName { .. })));
    let error = ca.server_certificate(&["näme".to_owned()], now()).unwrap_err().to_string();
    assert!(error.contains("näme"), "{error}");
}
