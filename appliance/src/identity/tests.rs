use super::*;
use crate::testing::Authority;
use std::os::unix::fs::PermissionsExt;

fn enrolled(authority: &Authority) -> Identity {
    let key = DeviceKey::generate().unwrap();
    let enrollment = authority.enroll(&key.certificate_request().unwrap(), "acme", "edge_1", 8883);
    key.certified(enrollment).unwrap()
}

#[test]
fn a_stored_identity_is_read_back_and_its_key_is_private() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Identity::load(dir.path()).unwrap().is_none());
    let authority = Authority::new();
    for _ in 0..3 {
        let identity = enrolled(&authority);
        identity.store(dir.path()).unwrap();
        let read = Identity::load(dir.path()).unwrap().expect("just stored");
        assert_eq!(read.enrollment(), identity.enrollment());
        assert_eq!(read.thumbprint, identity.thumbprint);
        let mode = |name: &str| current(dir.path()).join(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("key.pem"), 0o600);
    }
    assert_eq!(std::fs::read_dir(dir.path().join("identity")).unwrap().count(), 2, "one generation and the link");
}

#[test]
fn an_attempt_cut_short_leaves_the_old_identity_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let first = enrolled(&authority);
    first.store(dir.path()).unwrap();
    // What a power cut before the rename leaves: a half-written other generation.
    std::fs::create_dir(dir.path().join("identity/b")).unwrap();
    std::fs::write(dir.path().join("identity/b/key.pem"), "half").unwrap();
    std::os::unix::fs::symlink("b", dir.path().join("identity/.current.new")).unwrap();
    let read = Identity::load(dir.path()).unwrap().unwrap();
    assert_eq!(read.thumbprint, first.thumbprint);
    enrolled(&authority).store(dir.path()).unwrap();
}

#[test]
fn a_certificate_of_another_key_or_edge_is_refused() {
    let authority = Authority::new();
    let (key, other) = (DeviceKey::generate().unwrap(), DeviceKey::generate().unwrap());
    let enrollment = authority.enroll(&other.certificate_request().unwrap(), "acme", "edge_1", 8883);
    assert!(matches!(key.certified(enrollment.clone()), Err(IdentityError::Mismatch)));
    let renamed = Enrollment { edge_id: "edge_2".parse().unwrap(), ..enrollment };
    assert!(matches!(other.certified(renamed), Err(IdentityError::Part { part: "certificate", .. })));
}

#[test]
fn a_token_is_signed_by_the_device_key_and_names_the_certificate() {
    let identity = enrolled(&Authority::new());
    let now = crate::clock::now();
    let token = identity.bearer_token(now).unwrap();
    let public = KeyPair::from_pem(&identity.key_pem).unwrap().public_key_pem();
    let key = jsonwebtoken::DecodingKey::from_ec_pem(public.as_bytes()).unwrap();
    let mut rules = jsonwebtoken::Validation::new(Algorithm::ES256);
    rules.set_audience(&[TOKEN_AUDIENCE]);
    let read = jsonwebtoken::decode::<TokenClaims>(&token, &key, &rules).unwrap();
    assert_eq!(read.claims.sub, "urn:aivms:tenant:acme:edge:edge_1");
    assert_eq!(read.claims.exp - read.claims.iat, TOKEN_LIFETIME_S);
    assert_eq!(read.header.x5t_s256.as_deref(), Some(identity.thumbprint.as_str()));
    assert_eq!(URL_SAFE_NO_PAD.decode(&identity.thumbprint).unwrap().len(), 32);
}

#[test]
fn a_certificate_is_renewed_at_two_thirds_and_a_wrong_clock_is_named() {
    let day = Duration::from_secs(86_400);
    let not_before = UtcMillis::from_millis(1_795_352_700_000);
    let validity = Validity { not_before, not_after: not_before + 90 * day };
    assert_eq!(validity.renew_at(), not_before + 60 * day);
    assert_eq!(validity.problem_at(not_before + day), None);
    assert!(validity.problem_at(not_before - 400 * day).unwrap().contains("400 days earlier"));
    assert!(validity.problem_at(not_before + 91 * day).unwrap().contains("ended"));
}
