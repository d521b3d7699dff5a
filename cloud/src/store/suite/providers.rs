//! Sign-in through a provider.

use aivms_cloud_core::rights::CameraScope;
use aivms_contract::id::EdgeId;

use super::super::{
    Arrival, AuditFilter, By, Credential, Flow, Identified, NewApiKey, NewInvitation, NotAdmitted, Provider, Refreshed,
    SharedStore, SignIn, THROUGH_PROVIDER, User, UserRole,
};
use super::{Open, at, edge, tenant};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

fn provider(role: Option<UserRole>) -> Provider {
    Provider {
        issuer: "https://login.example".into(),
        client_id: "aivms".into(),
        client_secret: vec![1; 40],
        allowed_domains: vec!["acme.example".into()],
        default_role: role,
    }
}

async fn connect(store: &SharedStore, owner: &User, provider: Provider) {
    store.set_provider(By::person(owner, None), Some(provider), at(0)).await.unwrap();
}

async fn identify(
    store: &SharedStore,
    owner: &User,
    (subject, email): (&str, &str),
    code: u8,
) -> Result<User, NotAdmitted> {
    let provider = store.provider(owner.tenant).await.unwrap().unwrap();
    let arrival = Arrival { tenant: owner.tenant, provider, address: "192.0.2.7".into(), code_hash: [code; 32] };
    let who = Identified { subject: subject.into(), email: email.into(), name: "X".into() };
    store.identify(arrival, who, at(1)).await.unwrap()
}

fn flow(state: u8) -> Flow {
    Flow { state_hash: [state; 32], browser_hash: [9; 32], nonce: "nonce".into(), verifier: vec![2; 40] }
}

pub(crate) async fn a_flow_is_taken_once_and_in_time_with_its_tenants_provider(open: Open<'_>) {
    let store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    connect(&store, &owner, provider(None)).await;
    assert_eq!(store.provider(owner.tenant).await.unwrap(), Some(provider(None)));
    assert_eq!(store.provider(rival.tenant).await.unwrap(), None);
    let (found, _) = store.provider_of(owner.tenant_id.clone()).await.unwrap().unwrap();
    assert_eq!(found, owner.tenant);
    for state in 1..=3 {
        store.begin_flow(owner.tenant, flow(state), at(0)).await.unwrap();
    }
    let taken = store.take_flow([1; 32], at(1)).await.unwrap().unwrap();
    assert_eq!((taken.tenant, &taken.tenant_id, taken.flow.browser_hash), (owner.tenant, &owner.tenant_id, [9; 32]));
    assert!(store.take_flow([1; 32], at(1)).await.unwrap().is_none(), "it is used up");
    assert!(store.take_flow([2; 32], at(HOUR)).await.unwrap().is_none(), "it is too late");
    store.set_provider(By::person(&owner, None), None, at(2)).await.unwrap();
    assert!(store.take_flow([3; 32], at(3)).await.unwrap().is_none(), "the provider is gone");
}

pub(crate) async fn a_provider_brings_in_its_own_tenants_people_only(open: Open<'_>) {
    let store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    connect(&store, &owner, provider(None)).await;
    let stranger = identify(&store, &owner, ("a", "new@acme.example"), 1).await;
    assert_eq!(stranger.err(), Some(NotAdmitted::Unknown), "nobody is let in unasked");
    connect(&store, &owner, provider(Some(UserRole::Viewer))).await;
    let new = identify(&store, &owner, ("a", "new@acme.example"), 2).await.unwrap();
    assert_eq!((new.tenant, new.role, new.password_hash.as_str()), (owner.tenant, UserRole::Viewer, ""));
    let again = identify(&store, &owner, ("a", "renamed@acme.example"), 3).await.unwrap();
    assert_eq!(again.key, new.key, "known by the provider's name, not by the address");
    let boss = identify(&store, &owner, ("b", &owner.email), 4).await.unwrap();
    assert_eq!(boss.key, owner.key);
    let heir = identify(&store, &owner, ("heir", &owner.email), 5).await;
    assert_eq!(heir.err(), Some(NotAdmitted::SomebodyElse), "an address that was given to somebody else");
    let elsewhere = identify(&store, &owner, ("c", &rival.email), 6).await;
    assert_eq!(elsewhere.err(), Some(NotAdmitted::Elsewhere));
    let signed_in = store.take_sign_in_code([2; 32], at(2)).await.unwrap().unwrap();
    assert_eq!(signed_in.key, new.key);
    assert!(store.take_sign_in_code([2; 32], at(2)).await.unwrap().is_none(), "it is used up");
    assert!(store.take_sign_in_code([3; 32], at(HOUR)).await.unwrap().is_none(), "it is too late");
    connect(&store, &owner, provider(None)).await;
    store.remove_person(By::person(&owner, None), new.user_id, at(5)).await.unwrap();
    let removed = identify(&store, &owner, ("a", "new@acme.example"), 7).await;
    assert_eq!(removed.err(), Some(NotAdmitted::Unknown), "removed is removed");
}

pub(crate) async fn an_invited_person_comes_through_a_provider_with_the_rights_of_the_invitation(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let gate: EdgeId = edge(&store, &owner, "edge_gate").await.edge_id;
    connect(&store, &owner, provider(None)).await;
    let cameras = CameraScope::Only([(gate, "door".parse().unwrap())].into());
    let invitation = NewInvitation {
        email: "sam@acme.example".into(),
        role: UserRole::Operator,
        cameras: cameras.clone(),
        token_hash: [5; 32],
        mail: ("Come".into(), "in".into()),
    };
    store.invite(By::person(&owner, None), invitation, at(0)).await.unwrap();
    let sam = identify(&store, &owner, ("sam", "sam@acme.example"), 1).await.unwrap();
    assert_eq!((sam.role, sam.cameras), (UserRole::Operator, cameras));
    assert!(store.invited([5; 32], at(2)).await.unwrap().is_none(), "it is used up");
}

pub(crate) async fn what_began_through_a_provider_ends_with_it_and_after_a_day(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    connect(&store, &owner, provider(None)).await;
    let boss = identify(&store, &owner, ("boss", &owner.email), 1).await.unwrap();
    let sign_in = |method, refresh| SignIn {
        method,
        address: "192.0.2.7".into(),
        agent: String::new(),
        refresh_hash: [refresh; 32],
    };
    let through = store.sign_in(boss.key, sign_in(THROUGH_PROVIDER, 1), at(10)).await.unwrap();
    let beside = store.sign_in(boss.key, sign_in("password", 2), at(10)).await.unwrap();
    let counts = async |session: &_, now| {
        let credential = Credential::Session { user: boss.key, generation: 0, session: Clone::clone(session) };
        store.bearer(credential, at(now)).await.unwrap().is_some()
    };
    for (hours, refresh) in [(8, 10), (16, 11), (23, 12)] {
        let old = if refresh == 10 { [1; 32] } else { [refresh - 1; 32] };
        let refreshed = store.refresh(old, [refresh; 32], String::new(), at(hours * HOUR)).await.unwrap();
        assert!(matches!(refreshed, Refreshed::Done(..)), "{hours} {refreshed:?}");
    }
    assert!(counts(&through, 23 * HOUR).await && !counts(&through, 25 * HOUR).await);
    assert!(counts(&beside, 25 * HOUR).await);
    // New settings of the same provider end no session; another provider ends those that began through the one before.
    connect(&store, &owner, provider(Some(UserRole::Viewer))).await;
    assert!(counts(&through, 23 * HOUR).await);
    let unlike = Arrival { tenant: owner.tenant, provider: provider(None), address: String::new(), code_hash: [7; 32] };
    let who = Identified { subject: "boss".into(), email: owner.email.clone(), name: "X".into() };
    let changed = store.identify(unlike, who, at(2)).await.unwrap();
    assert_eq!(changed.err(), Some(NotAdmitted::ProviderChanged));
    identify(&store, &owner, ("boss", &owner.email), 8).await.unwrap();
    connect(&store, &owner, Provider { issuer: "https://other.example".into(), ..provider(None) }).await;
    assert!(!counts(&through, 23 * HOUR).await && counts(&beside, 23 * HOUR).await);
    assert!(store.take_sign_in_code([8; 32], at(2)).await.unwrap().is_none(), "a code of the one before");
    let again = identify(&store, &owner, ("boss at the other", &owner.email), 9).await.unwrap();
    assert_eq!(again.key, owner.key, "who is who at the one before is forgotten");
}

/// Makes a key of an admin for a year.
async fn key(store: &SharedStore, user: &User, key: u8) {
    let new = NewApiKey {
        name: "Key".into(),
        role: UserRole::Admin,
        cameras: CameraScope::All,
        key_hash: [key; 32],
        hint: "abcd".into(),
        expires_at: at(366 * DAY),
    };
    store.create_api_key(By::person(user, None), new, at(10)).await.unwrap();
}

pub(crate) async fn keys_of_somebody_without_a_password_count_a_month_after_a_sign_in_and_end_with_the_provider(
    open: Open<'_>,
) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    connect(&store, &owner, provider(Some(UserRole::Admin))).await;
    let sam = identify(&store, &owner, ("sam", "sam@acme.example"), 1).await.unwrap();
    let boss = identify(&store, &owner, ("boss", &owner.email), 2).await.unwrap();
    let sign_in = async |user: &User, refresh, millis| {
        let (method, address, agent) = (THROUGH_PROVIDER, "192.0.2.7".into(), String::new());
        let sign_in = SignIn { method, address, agent, refresh_hash: [refresh; 32] };
        store.sign_in(user.key, sign_in, at(millis)).await.unwrap();
    };
    key(&store, &sam, 1).await;
    let end = async |key: u8, millis| {
        let bearer = store.bearer(Credential::Key([key; 32]), at(millis)).await.unwrap();
        bearer.and_then(|bearer| bearer.ends_at)
    };
    assert_eq!(end(1, 11).await, None, "never signed in");
    sign_in(&sam, 1, 10).await;
    sign_in(&boss, 2, 10).await;
    key(&store, &boss, 2).await;
    assert_eq!(end(1, 30 * DAY).await, Some(at(30 * DAY + 10)), "open streams end then, too");
    assert_eq!(end(1, 31 * DAY).await, None, "who has left does not sign in any more");
    sign_in(&sam, 3, 31 * DAY).await;
    assert!(end(1, 60 * DAY).await.is_some());
    assert_eq!(end(2, 60 * DAY).await, Some(at(366 * DAY)), "who has a password can come back by it");
    store.set_provider(By::person(&owner, None), None, at(32 * DAY)).await.unwrap();
    assert!(end(1, 33 * DAY).await.is_none() && end(2, 33 * DAY).await.is_some());
    let keys = store.list_api_keys(owner.tenant, None, 10).await.unwrap().items;
    let revoked: Vec<_> = keys.iter().filter(|key| key.revoked).collect();
    assert!(revoked.len() == 1 && revoked[0].acts_for == sam.email, "{keys:?}");
    let filter = AuditFilter { action: Some("api_key.revoked".into()), ..AuditFilter::default() };
    let told = store.audit_entries(owner.tenant, filter, None, 10).await.unwrap().items;
    assert!(told.len() == 1 && told[0].subject.as_deref() == Some(revoked[0].key_id.as_str()), "{told:?}");
}
