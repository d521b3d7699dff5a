//! Sign-in through a provider, against real ones.

mod server;
mod standard;
mod way;

use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use self::way::{
    FAILED, claims, cloud_with, code_on, come_back, exchange, exchange_with, put, remove, settings_of, start,
    start_path, whole_way,
};
use crate::cloud::{Answer, Cloud, Owner, PASSWORD};
use crate::people::login;
use crate::second_factor::code;

async fn log(cloud: &Cloud, owner: &Owner, action: &str) -> Vec<Value> {
    let answer = cloud.get_as(owner, &format!("/api/audit?action={action}")).await;
    answer.body["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_person_of_the_provider_comes_in_and_is_the_same_the_next_time() {
    let provider = server::easy_going().await;
    let (cloud, owner) = cloud_with(&provider, json!({ "default_role": "viewer" })).await;
    provider.knows("sam", claims("Sam@acme.example", true)).await;
    let page = whole_way(&cloud, &provider, "sam").await;
    let first = exchange(&cloud, &page).await;
    first.assert_ok();
    let user = &first.body["user"];
    assert_eq!(
        (&user["email"], &user["role"], &user["name"]),
        (&"sam@acme.example".into(), &"viewer".into(), &"Sam Guard".into())
    );
    exchange(&cloud, &page).await.assert_problem(422, Some("code"));
    // Another address at the provider, the same person there.
    provider.knows("sam", claims("samuel@acme.example", true)).await;
    let again = exchange(&cloud, &whole_way(&cloud, &provider, "sam").await).await;
    assert_eq!(again.body["user"]["user_id"], user["user_id"]);
    // An address that is there already is that person.
    provider.knows("boss", claims("owner@acme.example", true)).await;
    let boss = exchange(&cloud, &whole_way(&cloud, &provider, "boss").await).await;
    assert_eq!(boss.body["user"]["role"], "owner");
    let empty = json!({ "email": "sam@acme.example", "password": "" });
    cloud.post("/api/auth/login", empty).await.assert_problem(401, None);
    let boss = Owner { token: boss.text("token") };
    let sessions = cloud.get_as(&boss, "/api/auth/sessions").await;
    assert_eq!(sessions.body["items"][1]["method"], "provider");
    let told = log(&cloud, &owner, "user.signed_in").await;
    assert_eq!(
        (&told[0]["actor_id"], &told[0]["detail"]),
        (&"owner@acme.example".into(), &json!({ "method": "provider" }))
    );
    assert_eq!(log(&cloud, &owner, "user.joined").await[0]["address"], "127.0.0.1");
    // Without the provider nobody comes in by it, and who did is out.
    remove(&cloud, &owner).await;
    Answer::of(cloud.request(Method::GET, &start_path("acme"))).await.assert_problem(404, None);
    cloud.get_as(&boss, "/api/auth/me").await.assert_problem(401, None);
    cloud.get_as(&Owner { token: again.text("token") }, "/api/auth/me").await.assert_problem(401, None);
    cloud
        .post("/api/auth/refresh", json!({ "refresh_token": again.text("refresh_token") }))
        .await
        .assert_problem(401, None);
    let told = [log(&cloud, &owner, "sso.changed").await, log(&cloud, &owner, "sso.removed").await];
    assert_eq!(told[0][0]["detail"]["allowed_domains"], json!(["acme.example"]));
    assert_eq!(told[1][0]["subject_id"], provider.issuer.as_str());
}

#[tokio::test]
async fn whom_the_organisation_does_not_know_or_want_stays_outside() {
    let provider = server::easy_going().await;
    let (cloud, owner) = cloud_with(&provider, json!({})).await;
    let rival = cloud.register("rival").await;
    for (subject, claims, reason) in [
        ("stranger", claims("stranger@acme.example", true), "not-admitted"),
        ("outside", claims("x@elsewhere.example", true), "not-admitted"),
        ("below", claims("x@sub.acme.example", true), "not-admitted"),
        ("unverified", claims("owner@acme.example", false), "unverified"),
        ("unsaid", json!({ "email": "owner@acme.example" }), "unverified"),
        ("nameless", json!({}), "provider"),
    ] {
        provider.knows(subject, claims).await;
        assert_eq!(whole_way(&cloud, &provider, subject).await, format!("{FAILED}{reason}"), "{subject}");
    }
    // Someone of another tenant with an address of this one's domain.
    cloud.sql("update users set email = 'taken@acme.example' where email = 'owner@rival.example'");
    provider.knows("taken", claims("taken@acme.example", true)).await;
    assert_eq!(whole_way(&cloud, &provider, "taken").await, format!("{FAILED}not-admitted"));
    // Somebody else who was given the address of one who came before.
    provider.knows("boss", claims("owner@acme.example", true)).await;
    exchange(&cloud, &whole_way(&cloud, &provider, "boss").await).await.assert_ok();
    provider.knows("heir", claims("owner@acme.example", true)).await;
    assert_eq!(whole_way(&cloud, &provider, "heir").await, format!("{FAILED}not-admitted"));
    cloud.get_as(&rival, "/api/tenant/provider").await.assert_problem(404, None);
    let people = cloud.get_as(&owner, "/api/tenant/users").await;
    assert_eq!(people.body["items"].as_array().unwrap().len(), 1, "nobody came in");
    let told = log(&cloud, &owner, "user.sign_in_failed").await;
    let seen: Vec<_> = told.iter().map(|entry| (&entry["actor_id"], &entry["detail"]["reason"])).collect();
    assert_eq!(seen[0], (&"owner@acme.example".into(), &"not-admitted".into()));
    assert_eq!((seen.len(), seen[2].1), (8, &"provider".into()));
    assert_eq!(told[0]["detail"]["method"], "provider");
}

#[tokio::test]
async fn a_way_is_good_once_for_the_browser_and_the_organisation_that_began_it() {
    let provider = server::easy_going().await;
    let (cloud, _) = cloud_with(&provider, json!({})).await;
    let rival = cloud.register("rival").await;
    let theirs = json!({ "allowed_domains": ["rival.example"], "issuer": provider.issuer, "client_id": "r", "client_secret": "r" });
    put(&cloud, &rival, theirs).await.assert_ok();
    provider.knows("boss", claims("owner@acme.example", true)).await;
    let expired = format!("{FAILED}expired");
    let (page, cookie) = start(&cloud, "acme").await;
    let back = provider.sign_in(&page, "boss").await;
    let (_, other_cookie) = start(&cloud, "acme").await;
    assert_eq!(come_back(&cloud, &back, &other_cookie).await, expired, "another browser");
    assert_eq!(come_back(&cloud, &back, &cookie).await, expired, "its state is used up");
    let mut forged = provider.sign_in(&start(&cloud, "acme").await.0, "boss").await;
    forged.set_query(Some(&forged.query().unwrap().replace("state=", "state=x")));
    assert_eq!(come_back(&cloud, &forged, &cookie).await, expired);
    // What another tenant's provider had the browser bring: as if its way led to this tenant's address of return.
    let (page, cookie) = start(&cloud, "rival").await;
    let mut mixed = provider.sign_in(&page, "boss").await;
    mixed.set_path("/api/auth/provider/acme/callback");
    assert_eq!(come_back(&cloud, &mixed, &cookie).await, expired);
    // A provider that says that it is another one, and one that says why it gives nothing.
    for (added, outcome) in [("iss=http://evil.example", "provider"), ("error=access_denied", "declined")] {
        let (page, cookie) = start(&cloud, "acme").await;
        let mut back = provider.sign_in(&page, "boss").await;
        back.set_query(Some(&format!("{}&{added}", back.query().unwrap())));
        assert_eq!(come_back(&cloud, &back, &cookie).await, format!("{FAILED}{outcome}"));
    }
    // A code of another sign-in does not fit the nonce and verifier of this one.
    let (first, second) = (start(&cloud, "acme").await, start(&cloud, "acme").await);
    let [first_back, mut second_back] =
        [provider.sign_in(&first.0, "boss").await, provider.sign_in(&second.0, "boss").await];
    let part = |url: &Url, name: &str| url.query_pairs().find(|(n, _)| n == name).unwrap().1.into_owned();
    let (code, state) = (part(&first_back, "code"), part(&second_back, "state"));
    second_back.set_query(Some(&format!("code={code}&state={state}")));
    assert_eq!(come_back(&cloud, &second_back, &second.1).await, format!("{FAILED}provider"));
}

#[tokio::test]
async fn a_code_is_of_use_only_to_who_began_the_sign_in_and_within_a_minute() {
    let provider = server::easy_going().await;
    let (cloud, owner) = cloud_with(&provider, json!({})).await;
    provider.knows("boss", claims("owner@acme.example", true)).await;
    let page = whole_way(&cloud, &provider, "boss").await;
    exchange_with(&cloud, &page, &"x".repeat(43)).await.assert_problem(422, Some("code"));
    exchange(&cloud, &page).await.assert_ok();
    let kept = format!("select count(*) from sign_in_codes where cast(code_hash as text) = '{}'", code_on(&page));
    assert_eq!(rusqlite::Connection::open(cloud.database()).unwrap().query_row(&kept, [], |row| row.get(0)), Ok(0));
    let late = whole_way(&cloud, &provider, "boss").await;
    cloud.sql("update sign_in_codes set expires_at = expires_at - 61000");
    exchange(&cloud, &late).await.assert_problem(422, Some("code"));
    // A provider that was taken away meanwhile brings nobody in.
    let left = whole_way(&cloud, &provider, "boss").await;
    remove(&cloud, &owner).await;
    exchange(&cloud, &left).await.assert_problem(422, Some("code"));
}

#[tokio::test]
async fn an_invited_person_comes_in_with_the_rights_of_the_invitation_and_shows_its_second_factor() {
    let provider = server::easy_going().await;
    let (cloud, owner) = cloud_with(&provider, json!({ "default_role": "viewer" })).await;
    let invite = json!({ "email": "sam@acme.example", "role": "operator" });
    let token = cloud.post_as(&owner, "/api/tenant/invitations", invite).await.text("token");
    provider.knows("sam", claims("sam@acme.example", true)).await;
    let sam = exchange(&cloud, &whole_way(&cloud, &provider, "sam").await).await;
    assert_eq!(sam.body["user"]["role"], "operator");
    let accept = json!({ "token": token, "name": "Sam", "password": PASSWORD });
    assert!(cloud.post("/api/auth/invitations/accept", accept).await.status.is_client_error(), "it is used up");
    let sam = Owner { token: sam.text("token") };
    let begun = cloud.post_as(&sam, "/api/auth/second-factor", json!({ "password": "" })).await;
    let secret = begun.text("secret");
    let first = json!({ "code": code(&secret, -1) });
    cloud.post_as(&sam, "/api/auth/second-factor/confirm", first).await.assert_ok();
    let again = exchange(&cloud, &whole_way(&cloud, &provider, "sam").await).await;
    assert_eq!(again.status, 202, "the provider does not stand in for the second factor: {again:?}");
    let proof = json!({ "challenge": again.text("challenge"), "code": code(&secret, 0) });
    let done = cloud.post("/api/auth/login/second-factor", proof).await;
    done.assert_ok();
    let sessions = cloud.get_as(&Owner { token: done.text("token") }, "/api/auth/sessions").await;
    let methods: Vec<_> = sessions.body["items"].as_array().unwrap().iter().map(|s| s["method"].clone()).collect();
    assert_eq!(methods, ["provider", "provider"]);
    assert_eq!(login(&cloud, "sam@acme.example", "").await.status, 401);
}

#[tokio::test]
async fn a_provider_is_set_by_an_owner_and_called_only_where_that_is_allowed() {
    let provider = server::easy_going().await;
    let (cloud, owner) = cloud_with(&provider, json!({ "default_role": null })).await;
    let with = |name: &str, value: Value| {
        let mut body = settings_of(&provider.issuer);
        body[name] = value;
        body
    };
    for issuer in
        ["http://169.254.169.254", "http://127.0.0.1:1", "ftp://x.example", "nonsense", "", "http://a\u{0}b.example"]
    {
        put(&cloud, &owner, with("issuer", issuer.into())).await.assert_problem(422, Some("issuer"));
    }
    put(&cloud, &owner, with("issuer", format!("{}?x", provider.issuer).into()))
        .await
        .assert_problem(422, Some("issuer"));
    for (name, value) in [
        ("allowed_domains", json!(["@"])),
        ("allowed_domains", json!([])),
        ("allowed_domains", json!(vec!["a.example"; 51])),
        ("default_role", json!("owner")),
        ("client_id", json!("")),
        ("client_id", json!("a\u{0}b")),
        ("client_secret", json!("x".repeat(1001))),
    ] {
        put(&cloud, &owner, with(name, value)).await.assert_problem(422, Some(name));
    }
    let invite = json!({ "email": "admin@acme.example", "role": "admin" });
    let token = cloud.post_as(&owner, "/api/tenant/invitations", invite).await.text("token");
    let accept = json!({ "token": token, "name": "Admin", "password": PASSWORD });
    let admin = Owner { token: cloud.post("/api/auth/invitations/accept", accept).await.text("token") };
    put(&cloud, &admin, settings_of(&provider.issuer)).await.assert_problem(403, None);
    let connection = rusqlite::Connection::open(cloud.database()).unwrap();
    let sealed: Vec<u8> =
        connection.query_row("select client_secret from identity_providers", [], |row| row.get(0)).unwrap();
    let secret = server::SECRET.as_bytes();
    assert!(!sealed.windows(secret.len()).any(|part| part == secret), "it is sealed at rest");
    // A provider that does not answer any more.
    drop(provider);
    let answer = Answer::of(cloud.request(Method::GET, &start_path("acme"))).await;
    answer.assert_problem(503, None);
    for path in [start_path("nobody"), start_path("acme").replace("code_challenge=", "code_challenge=x")] {
        assert!(Answer::of(cloud.request(Method::GET, &path)).await.status.is_client_error(), "{path}");
    }
}
