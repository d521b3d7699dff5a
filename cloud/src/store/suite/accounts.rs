//! Tenants, users and the list of edges.

use super::super::{NewTenant, StoreError, UserRole};
use super::{Open, at, edge, tenant};

pub(crate) async fn a_registered_owner_is_found_by_address_and_by_row(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    assert_eq!(owner.role, UserRole::Owner);
    let found = store.user_by_email("owner@acme.example").await.unwrap().unwrap();
    assert_eq!((found.key, found.tenant, found.tenant_name.as_str()), (owner.key, owner.tenant, "ACME"));
    assert_eq!(store.user(owner.key).await.unwrap().unwrap().email, "owner@acme.example");
    assert!(store.user_by_email("nobody@acme.example").await.unwrap().is_none());
    assert_eq!(found.token_generation, 0);
}

pub(crate) async fn a_taken_tenant_name_or_address_is_refused_by_field_and_leaves_nothing(open: Open<'_>) {
    let store = open();
    tenant(&store, "acme").await;
    let again = |slug: &str, email: &str| NewTenant {
        tenant_id: slug.parse().unwrap(),
        tenant_name: slug.into(),
        email: email.into(),
        name: "x".into(),
        password_hash: "x".into(),
    };
    let same_slug = store.register_tenant(again("acme", "new@acme.example"), at(1)).await;
    assert!(matches!(same_slug, Err(StoreError::Taken("tenant_name"))), "{same_slug:?}");
    assert!(store.user_by_email("new@acme.example").await.unwrap().is_none());
    let same_email = store.register_tenant(again("other", "owner@acme.example"), at(1)).await;
    assert!(matches!(same_email, Err(StoreError::Taken("email"))), "{same_email:?}");
    store.register_tenant(again("other", "new@acme.example"), at(1)).await.unwrap();
}

pub(crate) async fn edges_are_listed_by_registration_and_only_to_their_tenant(open: Open<'_>) {
    let store = open();
    let (acme, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    for edge_id in ["edge_b", "edge_a"] {
        edge(&store, &acme, edge_id).await;
    }
    let listed = store.list_edges(acme.tenant).await.unwrap();
    assert_eq!(listed.iter().map(|edge| edge.edge_id.as_str()).collect::<Vec<_>>(), ["edge_b", "edge_a"]);
    assert!(listed.iter().all(|edge| edge.enrolled_at.is_none() && !edge.revoked && !edge.connected));
    assert!(store.list_edges(rival.tenant).await.unwrap().is_empty());
    let foreign = listed[0].edge_id.clone();
    assert!(store.edge(rival.tenant, &foreign).await.unwrap().is_none());
    let taken = store.create_edge(rival.tenant, &foreign, "x", [2; 32], at(1)).await;
    assert!(matches!(taken, Err(StoreError::Taken("edge_id"))), "{taken:?}");
    let rotated = store.rotate_edge_secret(rival.tenant, &foreign, [2; 32], at(1)).await;
    assert!(matches!(rotated, Err(StoreError::NotFound)), "{rotated:?}");
    let revoked = store.revoke_edge(rival.tenant, &foreign, at(1)).await;
    assert!(matches!(revoked, Err(StoreError::NotFound)), "{revoked:?}");
    assert!(!store.edge(acme.tenant, &foreign).await.unwrap().unwrap().revoked);
}
