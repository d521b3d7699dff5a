//! Enrolment, renewal and withdrawal.

use aivms_contract::identity::{Identity, Role};

use super::super::edges::spent_mark;
use super::super::{NewCertificate, SharedStore, StoreError};
use super::{Open, at, edge, edge_certificate, tenant};

const FIRST: u8 = 11;
const SECOND: u8 = 12;

pub(crate) async fn a_secret_enrols_once(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    let state = store.enrollment_state(&edge.edge_id).await.unwrap().unwrap();
    assert_eq!((state.tenant_id, state.secret_hash, state.revoked), (owner.tenant_id.clone(), Some([1; 32]), false));
    let certificate = edge_certificate(&owner, &edge.edge_id, FIRST);
    let wrong = store.enroll_edge(&edge.edge_id, [9; 32], certificate.clone(), at(1)).await;
    assert!(matches!(wrong, Err(StoreError::SecretSpent)), "{wrong:?}");
    store.enroll_edge(&edge.edge_id, [1; 32], certificate, at(1)).await.unwrap();
    let again = store.enroll_edge(&edge.edge_id, [1; 32], edge_certificate(&owner, &edge.edge_id, SECOND), at(2)).await;
    assert!(matches!(again, Err(StoreError::SecretSpent)), "{again:?}");
    let active = store.active_certificate(&[FIRST; 32], at(3)).await.unwrap().unwrap();
    assert_eq!((active.tenant, active.edge), (owner.tenant, Some(edge.key)));
    assert_eq!(active.identity.to_string(), "urn:aivms:tenant:acme:edge:edge_a");
    assert_eq!((active.public_key_der, active.not_after), (vec![FIRST; 3], at(1_000)));
    assert!(!counts(&store, SECOND, 3).await);
    let stored = store.edge(owner.tenant, &edge.edge_id).await.unwrap().unwrap();
    assert_eq!(stored.enrolled_at, Some(at(1)));
    assert!(store.enrollment_state(&"edge_unknown".parse().unwrap()).await.unwrap().is_none());
    let unknown = "edge_unknown".parse().unwrap();
    let nowhere = store.enroll_edge(&unknown, [1; 32], edge_certificate(&owner, &unknown, SECOND), at(1)).await;
    assert!(matches!(nowhere, Err(StoreError::NotFound)), "{nowhere:?}");
}

pub(crate) async fn a_rotated_secret_replaces_the_old_one_and_withdraws_certificates(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    store.enroll_edge(&edge.edge_id, [1; 32], edge_certificate(&owner, &edge.edge_id, FIRST), at(1)).await.unwrap();
    let withdrawn = store.rotate_edge_secret(owner.tenant, &edge.edge_id, [2; 32], at(2)).await.unwrap();
    assert_eq!(withdrawn, [[FIRST; 32]]);
    assert!(!counts(&store, FIRST, 3).await);
    let certificate = edge_certificate(&owner, &edge.edge_id, SECOND);
    let old = store.enroll_edge(&edge.edge_id, [1; 32], certificate.clone(), at(3)).await;
    assert!(matches!(old, Err(StoreError::SecretSpent)), "{old:?}");
    store.enroll_edge(&edge.edge_id, [2; 32], certificate, at(4)).await.unwrap();
    assert!(counts(&store, SECOND, 5).await);
    assert!(!counts(&store, FIRST, 5).await);
}

pub(crate) async fn a_withdrawn_edge_never_comes_back(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    store.enroll_edge(&edge.edge_id, [1; 32], edge_certificate(&owner, &edge.edge_id, FIRST), at(1)).await.unwrap();
    assert_eq!(store.revoke_edge(owner.tenant, &edge.edge_id, at(2)).await.unwrap(), [[FIRST; 32]]);
    assert!(store.revoke_edge(owner.tenant, &edge.edge_id, at(3)).await.unwrap().is_empty());
    assert!(!counts(&store, FIRST, 4).await);
    assert!(store.edge(owner.tenant, &edge.edge_id).await.unwrap().unwrap().revoked);
    let state = store.enrollment_state(&edge.edge_id).await.unwrap().unwrap();
    assert_eq!((state.secret_hash, state.revoked), (Some(spent_mark(&[1; 32])), true));
    let certificate = edge_certificate(&owner, &edge.edge_id, SECOND);
    let again = store.enroll_edge(&edge.edge_id, spent_mark(&[1; 32]), certificate, at(4)).await;
    assert!(matches!(again, Err(StoreError::SecretSpent)), "the mark is no secret: {again:?}");
    let renewed =
        store.add_edge_certificate(edge.key, [FIRST; 32], edge_certificate(&owner, &edge.edge_id, SECOND), at(4)).await;
    assert!(matches!(renewed, Err(StoreError::NotFound)), "{renewed:?}");
    let rotated = store.rotate_edge_secret(owner.tenant, &edge.edge_id, [3; 32], at(4)).await;
    assert!(matches!(rotated, Err(StoreError::NotFound)), "{rotated:?}");
}

pub(crate) async fn a_renewed_certificate_and_the_one_before_it_both_count(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    store.enroll_edge(&edge.edge_id, [1; 32], edge_certificate(&owner, &edge.edge_id, FIRST), at(1)).await.unwrap();
    store
        .add_edge_certificate(edge.key, [FIRST; 32], edge_certificate(&owner, &edge.edge_id, SECOND), at(2))
        .await
        .unwrap();
    assert!(counts(&store, FIRST, 3).await);
    assert!(counts(&store, SECOND, 3).await);
    let mut withdrawn = store.revoke_edge(owner.tenant, &edge.edge_id, at(4)).await.unwrap();
    withdrawn.sort_unstable();
    assert_eq!(withdrawn, [[FIRST; 32], [SECOND; 32]]);
}

pub(crate) async fn a_certificate_that_was_withdrawn_meanwhile_renews_nothing(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    store.enroll_edge(&edge.edge_id, [1; 32], edge_certificate(&owner, &edge.edge_id, FIRST), at(1)).await.unwrap();
    // A renewal has found the first certificate good; before it writes, the secret is rotated.
    store.rotate_edge_secret(owner.tenant, &edge.edge_id, [2; 32], at(2)).await.unwrap();
    let renewed =
        store.add_edge_certificate(edge.key, [FIRST; 32], edge_certificate(&owner, &edge.edge_id, SECOND), at(3)).await;
    assert!(matches!(renewed, Err(StoreError::NotFound)), "{renewed:?}");
    assert!(!counts(&store, SECOND, 4).await);
}

pub(crate) async fn a_certificate_counts_until_its_end(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    store.enroll_edge(&edge.edge_id, [1; 32], edge_certificate(&owner, &edge.edge_id, FIRST), at(1)).await.unwrap();
    assert!(counts(&store, FIRST, 999).await);
    assert!(!counts(&store, FIRST, 1_000).await);
    assert!(store.revoke_edge(owner.tenant, &edge.edge_id, at(1_001)).await.unwrap().is_empty());
}

pub(crate) async fn a_certificate_of_another_identity_is_never_written_down(open: Open<'_>) {
    let store = open();
    let (acme, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    let edge = edge(&store, &acme, "edge_a").await;
    for foreign in [
        edge_certificate(&rival, &edge.edge_id, FIRST),
        edge_certificate(&acme, &"edge_b".parse().unwrap(), FIRST),
        operator_certificate("acme", "op"),
    ] {
        store.enroll_edge(&edge.edge_id, [1; 32], foreign, at(1)).await.unwrap_err();
        assert!(!counts(&store, FIRST, 2).await);
    }
    store.enroll_edge(&edge.edge_id, [1; 32], edge_certificate(&acme, &edge.edge_id, FIRST), at(1)).await.unwrap();
}

pub(crate) async fn an_operator_lives_until_withdrawn_and_only_in_its_tenant(open: Open<'_>) {
    let store = open();
    let (acme, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    let certificate = operator_certificate("acme", "op_1");
    let made = store.create_operator(acme.tenant, "Night desk", certificate.clone(), at(1)).await.unwrap();
    assert_eq!((made.name.as_str(), made.created_at, made.not_after), ("Night desk", at(1), at(1_000)));
    let again = store.create_operator(acme.tenant, "x", certificate, at(1)).await;
    assert!(matches!(again, Err(StoreError::Taken("operator_id"))), "{again:?}");
    let active = store.active_certificate(&[FIRST; 32], at(2)).await.unwrap().unwrap();
    assert_eq!((active.edge, active.identity.to_string().as_str()), (None, "urn:aivms:tenant:acme:operator:op_1"));
    assert!(store.list_operators(rival.tenant).await.unwrap().is_empty());
    let foreign = store.revoke_operator(rival.tenant, &made.operator_id, at(2)).await;
    assert!(matches!(foreign, Err(StoreError::NotFound)), "{foreign:?}");
    assert!(counts(&store, FIRST, 2).await);
    assert_eq!(store.revoke_operator(acme.tenant, &made.operator_id, at(2)).await.unwrap(), [[FIRST; 32]]);
    assert!(!counts(&store, FIRST, 3).await);
    let listed = store.list_operators(acme.tenant).await.unwrap();
    assert_eq!(listed.iter().map(|o| (o.operator_id.as_str(), o.revoked)).collect::<Vec<_>>(), [("op_1", true)]);
}

fn operator_certificate(tenant: &str, operator_id: &str) -> NewCertificate {
    NewCertificate {
        fingerprint: [FIRST; 32],
        identity: Identity { tenant: tenant.parse().unwrap(), role: Role::Operator(operator_id.parse().unwrap()) },
        public_key_der: vec![1],
        not_after: at(1_000),
    }
}

async fn counts(store: &SharedStore, fingerprint: u8, now: i64) -> bool {
    store.active_certificate(&[fingerprint; 32], at(now)).await.unwrap().is_some()
}
