//! Against a provider that goes by the standard in everything: PKCE, exact addresses of return, its own keys, and
//! addresses of people for those only who ask with the access token.

use serde_json::json;

use super::server::{self, RETURN};
use super::way::{FAILED, claims, cloud_with, exchange, put, settings_of, start, strict_way};

#[tokio::test]
async fn a_certified_provider_brings_its_people_in_also_with_new_keys() {
    let people = json!({ "sam": claims("sam@acme.example", true), "unverified": claims("max@acme.example", false) });
    let provider = server::certified(&people, None).await;
    let (cloud, _) = cloud_with(&provider, json!({ "default_role": "operator" })).await;
    let first = exchange(&cloud, &strict_way(&cloud, &provider, Some("sam")).await).await;
    assert_eq!(first.body["user"]["email"], "sam@acme.example", "{first:?}");
    assert_eq!(strict_way(&cloud, &provider, Some("unverified")).await, format!("{FAILED}unverified"));
    assert_eq!(strict_way(&cloud, &provider, None).await, format!("{FAILED}declined"));
    // The same provider with another key: nobody has to tell the cloud.
    let port = provider.port;
    drop(provider);
    let provider = server::certified(&people, Some(port)).await;
    let again = exchange(&cloud, &strict_way(&cloud, &provider, Some("sam")).await).await;
    assert_eq!(again.body["user"]["user_id"], first.body["user"]["user_id"]);
}

#[tokio::test]
async fn a_wrong_secret_or_address_of_return_brings_nobody_in() {
    let provider = server::certified(&json!({ "sam": claims("owner@acme.example", true) }), None).await;
    let (mut cloud, owner) = cloud_with(&provider, json!({})).await;
    let (page, _) = start(&cloud, "acme").await;
    let asked: url::Url = page.parse().unwrap();
    let part = |name: &str| asked.query_pairs().find(|(n, _)| n == name).map(|(_, value)| value.into_owned());
    assert_eq!(part("redirect_uri").as_deref(), Some(RETURN));
    assert_eq!(part("code_challenge_method").as_deref(), Some("S256"));
    let mut wrong = settings_of(&provider.issuer);
    wrong["client_secret"] = "something else".into();
    put(&cloud, &owner, wrong).await.assert_ok();
    assert_eq!(strict_way(&cloud, &provider, Some("sam")).await, format!("{FAILED}provider"));
    put(&cloud, &owner, settings_of(&provider.issuer)).await.assert_ok();
    exchange(&cloud, &strict_way(&cloud, &provider, Some("sam")).await).await.assert_ok();
    // A cloud under another name than the provider was told.
    cloud.public_url = Some("http://other.example".parse().unwrap());
    cloud.restart().await;
    let (page, _) = start(&cloud, "acme").await;
    let answer = server::browser().get(page).send().await.unwrap();
    assert_eq!(answer.status(), 400, "the provider sends nobody to an address it does not know");
}
