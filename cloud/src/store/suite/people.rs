//! People: rights, invitations, sessions, second factors, keys and tries.

use std::collections::BTreeSet;
use std::time::Duration;

use aivms_cloud_core::rights::{CameraScope, RightsError};
use aivms_cloud_core::throttle::Allowance;
use aivms_contract::envelope::Body;

use super::super::{
    By, Credential, EventFilter, Joining, NewApiKey, NewInvitation, News, PageRequest, Person, PersonChange, Proof,
    Refreshed, SharedStore, SignIn, StoreError, Successor, User, UserRole,
};
use super::{Open, at, detection, edge, incoming, tenant};

fn by(user: &User) -> By {
    By::person(user, Some("192.0.2.1".into()))
}

fn sign_in(token: u8) -> SignIn {
    SignIn { method: "password", address: "192.0.2.1".into(), agent: "test".into(), refresh_hash: [token; 32] }
}

fn invitation(email: &str, role: UserRole, cameras: CameraScope, token: u8) -> NewInvitation {
    let mail = ("Subject".to_owned(), "Text".to_owned());
    NewInvitation { email: email.into(), role, cameras, token_hash: [token; 32], mail }
}

async fn join(store: &SharedStore, owner: &User, name: &str, role: UserRole, cameras: CameraScope, token: u8) -> User {
    let email = format!("{name}@{}.example", owner.tenant_id);
    store.invite(by(owner), invitation(&email, role, cameras, token), at(0)).await.unwrap();
    let joining = Joining {
        token_hash: [token; 32],
        name: name.into(),
        password_hash: "$argon2id$".into(),
        sign_in: sign_in(token),
    };
    store.join(joining, at(1)).await.unwrap().unwrap().0
}

async fn people(store: &SharedStore, owner: &User) -> Vec<Person> {
    store.list_people(owner.tenant, None, 100).await.unwrap().items
}

pub(crate) async fn an_invitation_makes_one_user_and_its_mail_goes_with_it(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let mut news = store.news();
    let guard = join(&store, &owner, "guard", UserRole::Viewer, CameraScope::All, 1).await;
    assert_eq!(
        (guard.tenant, guard.role, guard.email.as_str()),
        (owner.tenant, UserRole::Viewer, "guard@acme.example")
    );
    let told = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            if news.recv().await.unwrap() == News::Mail {
                return;
            }
        }
    });
    told.await.expect("the mail is told of");
    let again = Joining { token_hash: [1; 32], name: "x".into(), password_hash: "x".into(), sign_in: sign_in(9) };
    assert!(store.join(again, at(2)).await.unwrap().is_none(), "it is used up");
    let taken =
        store.invite(by(&owner), invitation("guard@acme.example", UserRole::Viewer, CameraScope::All, 2), at(2)).await;
    assert!(matches!(taken, Err(StoreError::Taken("email"))), "{taken:?}");
    let late = invitation("late@acme.example", UserRole::Viewer, CameraScope::All, 3);
    let late = store.invite(by(&owner), late, at(2)).await.unwrap();
    assert!(store.invited([3; 32], late.expires_at).await.unwrap().is_none(), "its time is over");
    assert!(store.invited([3; 32], at(3)).await.unwrap().is_some());
    let rival = tenant(&store, "rival").await;
    let foreign = store.withdraw_invitation(by(&rival), late.invitation_id.clone(), at(3)).await;
    assert!(matches!(foreign, Err(StoreError::NotFound)), "{foreign:?}");
    store.withdraw_invitation(by(&owner), late.invitation_id, at(3)).await.unwrap();
    assert!(store.invited([3; 32], at(3)).await.unwrap().is_none());
}

pub(crate) async fn rules_about_people_hold_in_the_database(open: Open<'_>) {
    let store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    let admin = join(&store, &owner, "admin", UserRole::Admin, CameraScope::All, 1).await;
    let role = |role| PersonChange { role: Some(role), ..PersonChange::default() };
    let change = async |who: &User, whom: &User, change: PersonChange| {
        store.change_person(by(who), whom.user_id.clone(), change, at(5)).await.map(|person| person.role)
    };
    let refused = change(&admin, &admin, role(UserRole::Owner)).await;
    assert!(matches!(refused, Err(StoreError::Rights(RightsError::RoleAboveYours))), "{refused:?}");
    let last = change(&owner, &owner, role(UserRole::Admin)).await;
    assert!(matches!(last, Err(StoreError::Rights(RightsError::LastOwner))), "{last:?}");
    let foreign = change(&rival, &admin, role(UserRole::Viewer)).await;
    assert!(matches!(foreign, Err(StoreError::NotFound)), "{foreign:?}");
    let foreign = store.remove_person(by(&rival), admin.user_id.clone(), at(5)).await;
    assert!(matches!(foreign, Err(StoreError::NotFound)), "{foreign:?}");
    assert_eq!(change(&owner, &admin, role(UserRole::Owner)).await.unwrap(), UserRole::Owner);
    // Both owners step down at once: one of them may.
    let admin = store.user(admin.key).await.unwrap().unwrap();
    let (a, b) =
        tokio::join!(change(&owner, &owner, role(UserRole::Viewer)), change(&admin, &admin, role(UserRole::Viewer)));
    assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
    let owners = people(&store, &owner).await.into_iter().filter(|person| person.role == UserRole::Owner).count();
    assert_eq!(owners, 1);
}

pub(crate) async fn a_removed_person_is_out_and_its_address_is_free(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let guard = join(&store, &owner, "guard", UserRole::Viewer, CameraScope::All, 1).await;
    let session = store.sign_in(guard.key, sign_in(2), at(2)).await.unwrap();
    let credential = Credential::Session { user: guard.key, generation: guard.token_generation, session };
    assert!(store.bearer(credential.clone(), at(3)).await.unwrap().is_some());
    store.remove_person(by(&owner), guard.user_id.clone(), at(4)).await.unwrap();
    assert!(store.bearer(credential, at(5)).await.unwrap().is_none());
    assert!(store.user(guard.key).await.unwrap().is_none());
    assert!(store.user_by_email("guard@acme.example").await.unwrap().is_none());
    assert!(matches!(store.refresh([2; 32], [3; 32], String::new(), at(5)).await.unwrap(), Refreshed::Refused));
    assert_eq!(people(&store, &owner).await.len(), 1);
    join(&store, &owner, "guard", UserRole::Viewer, CameraScope::All, 4).await;
}

pub(crate) async fn pages_of_people_joined_are_all_of_them(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    for n in 1..=5 {
        join(&store, &owner, &format!("guard{n}"), UserRole::Viewer, CameraScope::All, n).await;
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.list_people(owner.tenant, after, 2).await.unwrap();
        assert!(page.items.len() <= 2);
        after = page.items.last().map(|person| person.user_id.clone());
        seen.extend(page.items.into_iter().map(|person| person.user_id));
        if !page.more {
            break;
        }
    }
    assert_eq!((seen.len(), seen.iter().collect::<BTreeSet<_>>().len()), (6, 6));
}

pub(crate) async fn a_session_lives_by_its_newest_refresh_token_and_dies_by_an_older_one(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let session = store.sign_in(owner.key, sign_in(1), at(0)).await.unwrap();
    let other = store.sign_in(owner.key, sign_in(7), at(0)).await.unwrap();
    let refresh =
        async |old: u8, new: u8| store.refresh([old; 32], [new; 32], "192.0.2.9".into(), at(9)).await.unwrap();
    assert!(matches!(refresh(1, 2).await, Refreshed::Done(..)));
    assert!(matches!(refresh(2, 3).await, Refreshed::Done(..)));
    let credential = |session| Credential::Session { user: owner.key, generation: 0, session };
    assert!(store.bearer(credential(session.clone()), at(9)).await.unwrap().is_some());
    let mut news = store.news();
    assert!(matches!(refresh(1, 4).await, Refreshed::Reused(user) if user == owner.key));
    let told = tokio::time::timeout(Duration::from_secs(20), news.recv()).await.unwrap().unwrap();
    assert_eq!(told, News::User(owner.key), "live streams look at once");
    assert!(matches!(refresh(3, 4).await, Refreshed::Refused), "the newest one too");
    assert!(store.bearer(credential(session), at(9)).await.unwrap().is_none());
    assert!(store.bearer(credential(other), at(9)).await.unwrap().is_some(), "other sessions are not to blame");
    // Two at once: one of them is the copy.
    let (a, b) = tokio::join!(refresh(7, 8), refresh(7, 9));
    let done = [&a, &b].into_iter().filter(|one| matches!(one, Refreshed::Done(..))).count();
    assert_eq!(done, 1, "{a:?} {b:?}");
}

pub(crate) async fn a_code_of_a_second_factor_is_used_once_also_by_two_at_once(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    assert!(store.begin_second_factor(owner.key, vec![1; 40], at(0)).await.unwrap());
    assert!(store.begin_second_factor(owner.key, vec![2; 40], at(0)).await.unwrap(), "begun anew");
    let wrong = store.confirm_second_factor(by(&owner), vec![1; 40], 10, vec![[1; 32]], at(1)).await.unwrap();
    assert!(!wrong, "that secret was replaced");
    assert!(store.confirm_second_factor(by(&owner), vec![2; 40], 10, vec![[1; 32]], at(1)).await.unwrap());
    assert!(!store.begin_second_factor(owner.key, vec![3; 40], at(2)).await.unwrap(), "a confirmed one stays");
    assert!(store.user(owner.key).await.unwrap().unwrap().second_factor);
    let prove = async |proof| store.use_second_factor(owner.key, proof, at(3)).await.unwrap();
    assert!(!prove(Proof::Step(10)).await, "the one it was confirmed with");
    let (a, b) = tokio::join!(prove(Proof::Step(11)), prove(Proof::Step(11)));
    assert!(a != b, "{a} {b}");
    assert!(prove(Proof::Recovery([1; 32])).await && !prove(Proof::Recovery([1; 32])).await);
    let rival = tenant(&store, "rival").await;
    let foreign = store.reset_second_factor(by(&rival), owner.user_id.clone(), at(4)).await;
    assert!(matches!(foreign, Err(StoreError::NotFound)), "{foreign:?}");
    let anew = |sealed: &[u8]| (sealed[0] == 2).then(|| vec![9; 40]);
    assert_eq!(store.reseal(anew).await.unwrap(), 1);
    assert_eq!(store.second_factor(owner.key).await.unwrap().unwrap().sealed, [9; 40]);
}

pub(crate) async fn a_key_has_the_rights_that_both_it_and_its_person_have(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let admin = join(&store, &owner, "admin", UserRole::Admin, CameraScope::All, 1).await;
    let new = |role, key: u8| NewApiKey {
        name: "Key".into(),
        role,
        cameras: CameraScope::All,
        key_hash: [key; 32],
        hint: "abcd".into(),
        expires_at: at(1_000),
    };
    let above = store.create_api_key(by(&admin), new(UserRole::Owner, 9), at(0)).await;
    assert!(matches!(above, Err(StoreError::Rights(RightsError::RoleAboveYours))), "{above:?}");
    let made = store.create_api_key(by(&admin), new(UserRole::Admin, 1), at(0)).await.unwrap();
    let bearer = async |key: u8, millis| store.bearer(Credential::Key([key; 32]), at(millis)).await.unwrap();
    let found = bearer(1, 1).await.unwrap();
    assert_eq!((found.user.key, found.user.role), (admin.key, UserRole::Admin));
    assert_eq!(found.actor.id, made.key_id.as_str());
    assert!(bearer(1, 1_000).await.is_none(), "its life is over");
    let down = PersonChange { role: Some(UserRole::Viewer), ..PersonChange::default() };
    store.change_person(by(&owner), admin.user_id.clone(), down, at(2)).await.unwrap();
    assert_eq!(bearer(1, 3).await.unwrap().user.role, UserRole::Viewer, "it follows its person");
    let successor =
        Successor { overlap: Duration::from_millis(10), key_hash: [2; 32], hint: "efgh".into(), expires_at: at(5_000) };
    let rival = tenant(&store, "rival").await;
    let foreign = store.rotate_api_key(by(&rival), made.key_id.clone(), successor.clone(), at(4)).await;
    assert!(matches!(foreign, Err(StoreError::NotFound)), "{foreign:?}");
    store.rotate_api_key(by(&admin), made.key_id.clone(), successor, at(4)).await.unwrap();
    assert!(bearer(1, 13).await.is_some() && bearer(2, 13).await.is_some(), "both count for a while");
    assert!(bearer(1, 14).await.is_none());
    let second = store.list_api_keys(owner.tenant, Some(made.key_id), 10).await.unwrap().items.remove(0);
    store.revoke_api_key(by(&owner), second.key_id, at(20)).await.unwrap();
    assert!(bearer(2, 21).await.is_none());
    assert!(store.list_api_keys(rival.tenant, None, 10).await.unwrap().items.is_empty());
}

pub(crate) async fn a_key_limited_to_cameras_is_an_operators_at_most(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let gate = edge(&store, &owner, "edge_a").await;
    let door = CameraScope::Only([(gate.edge_id, "door".parse().unwrap())].into());
    let new = |role| NewApiKey {
        name: "Key".into(),
        role,
        cameras: door.clone(),
        key_hash: [1; 32],
        hint: "abcd".into(),
        expires_at: at(1_000),
    };
    for role in [UserRole::Owner, UserRole::Admin] {
        let refused = store.create_api_key(by(&owner), new(role), at(0)).await;
        assert!(matches!(refused, Err(StoreError::Rights(RightsError::UnlimitedRole))), "{refused:?}");
    }
    store.create_api_key(by(&owner), new(UserRole::Operator), at(0)).await.unwrap();
    // As they could be made before.
    let older = store.write(|transaction| transaction.execute("update api_keys set role = 'admin'", &[])).await;
    assert_eq!(older.unwrap(), 1);
    let user = store.bearer(Credential::Key([1; 32]), at(1)).await.unwrap().unwrap().user;
    assert_eq!((user.role, &user.cameras), (UserRole::Operator, &door));
    let listed = store.list_api_keys(owner.tenant, None, 10).await.unwrap().items.remove(0);
    assert_eq!((listed.role, &listed.cameras), (UserRole::Operator, &door));
    let successor =
        Successor { overlap: Duration::ZERO, key_hash: [2; 32], hint: "efgh".into(), expires_at: at(1_000) };
    let next = store.rotate_api_key(by(&owner), listed.key_id, successor, at(2)).await.unwrap();
    assert_eq!((next.role, &next.cameras), (UserRole::Operator, &door));
}

pub(crate) async fn lists_show_only_the_cameras_of_a_scope(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let (a, b) = (edge(&store, &owner, "edge_a").await, edge(&store, &owner, "edge_b").await);
    let mut batch = Vec::new();
    for (seq, edge) in [(1, &a), (1, &b)] {
        for (n, camera) in ["door", "yard"].into_iter().enumerate() {
            let mut seen = detection(10 * seq as i64 + n as i64);
            seen.camera_id = camera.parse().unwrap();
            batch.push(incoming(&owner, edge, seq + n as u64, Body::Detections(seen)));
        }
    }
    store.record_events(batch).await.unwrap();
    let list = async |scope: CameraScope, limit| {
        let filter = EventFilter { cameras: scope, ..EventFilter::default() };
        store.list_detections(owner.tenant, filter, PageRequest { before: None, limit }).await.unwrap()
    };
    let only = |pairs: &[(&str, &str)]| {
        CameraScope::Only(pairs.iter().map(|(e, c)| (e.parse().unwrap(), c.parse().unwrap())).collect())
    };
    assert_eq!(list(CameraScope::All, 10).await.items.len(), 4);
    assert_eq!(list(only(&[("edge_a", "door"), ("edge_b", "yard")]), 10).await.items.len(), 2);
    let door = list(only(&[("edge_a", "door")]), 1).await;
    assert_eq!((door.items.len(), door.next), (1, None), "what is not seen is not counted either");
    assert_eq!(door.items[0].edge_id, a.edge_id);
    for nothing in [only(&[]), only(&[("edge_a", "never-seen")]), only(&[("edge_x", "door")])] {
        assert!(list(nothing, 10).await.items.is_empty());
    }
}

pub(crate) async fn tries_are_counted_for_all_processes_together(open: Open<'_>) {
    let one = open();
    let five = Allowance { tries: 5, per: Duration::from_secs(60) };
    let three = Allowance { tries: 3, per: Duration::from_secs(60) };
    let take = async |store: &SharedStore, millis: i64| {
        store.take_tries(vec![([1; 32], five), ([2; 32], three)], at(millis)).await.unwrap()
    };
    assert_eq!((take(&one, 0).await, take(&one, 0).await, take(&one, 0).await), (Ok(()), Ok(()), Ok(())));
    drop(one);
    let one = open();
    assert_eq!(
        take(&one, 0).await,
        Err(Duration::from_secs(20)),
        "the narrower one is used up, also for the next process"
    );
    let rest = async |millis| one.take_tries(vec![([1; 32], five)], at(millis)).await.unwrap();
    assert_eq!((rest(0).await, rest(0).await), (Ok(()), Ok(())), "a refused try took nothing of the wider one");
    assert_eq!(rest(0).await, Err(Duration::from_secs(12)));
    one.give_back_tries(vec![([1; 32], five)], at(0)).await.unwrap();
    assert_eq!(rest(0).await, Ok(()));
    assert_eq!(take(&one, 60_000).await, Ok(()), "all come back");
}
