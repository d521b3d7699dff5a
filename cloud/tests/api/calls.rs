//! How many calls a person, an API key and a tenant may make.

use std::time::{Duration, Instant};

use aivms_cloud::config::CallsConfig;
use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::cloud::{Answer, Cloud, Owner};
use crate::device::Device;

/// Calls that are made at once, many more than are allowed in the time that they take.
const FLOOD: usize = 40;
const NOBODY: CallsConfig = CallsConfig { per_second: 0, at_once: 1, tenant_per_second: 0, tenant_at_once: 1 };

/// What came of a flood.
struct Flood {
    served: usize,
    refused: Vec<Answer>,
    /// Most that may have come back meanwhile, at one a second.
    came_back: usize,
}

impl Flood {
    async fn of(cloud: &Cloud, caller: &Owner) -> Self {
        let began = Instant::now();
        let answers = join_all((0..FLOOD).map(|_| me(cloud, caller))).await;
        let (served, refused): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|answer| answer.status == StatusCode::OK);
        Self { served: served.len(), refused, came_back: began.elapsed().as_secs() as usize + 1 }
    }

    /// Checks that `at_once` were served, and all others refused over a limit of `whose`: one comes back each second.
    #[track_caller]
    fn assert_held_to(&self, at_once: usize, whose: &str) {
        assert!((at_once..=at_once + self.came_back).contains(&self.served), "{} were served", self.served);
        for refused in &self.refused {
            refused.assert_problem(429, None);
            assert!(refused.text("detail").contains(whose), "{refused:?}");
            assert_eq!(wait(refused), 1, "{refused:?}");
        }
        assert!(!self.refused.is_empty());
    }
}

async fn me(cloud: &Cloud, caller: &Owner) -> Answer {
    cloud.get_as(caller, "/api/auth/me").await
}

async fn key(cloud: &Cloud, owner: &Owner, name: &str) -> Owner {
    let made = cloud.post_as(owner, "/api/tenant/api-keys", json!({ "name": name, "role": "viewer" })).await;
    Owner { token: made.text("key") }
}

/// Seconds after which an answer asks to be tried again.
fn wait(refused: &Answer) -> u64 {
    refused.header("retry-after").parse().unwrap()
}

#[tokio::test]
async fn a_key_that_calls_too_much_waits_as_it_is_told_and_nobody_else_does() {
    let cloud = Cloud::with(|config| config.calls = CallsConfig { per_second: 1, at_once: 8, ..NOBODY }).await;
    let (owner, other) = (cloud.register("acme").await, cloud.register("rival").await);
    let (busy, calm) = (key(&cloud, &owner, "Busy").await, key(&cloud, &owner, "Calm").await);
    let flood = Flood::of(&cloud, &busy).await;
    flood.assert_held_to(8, "API key");
    for caller in [&calm, &owner, &other] {
        me(&cloud, caller).await.assert_ok();
    }
    // Emptied again, as some may have come back meanwhile: then one call is due as soon as the last answer says.
    let again = Flood::of(&cloud, &busy).await;
    tokio::time::sleep(Duration::from_secs(wait(again.refused.last().unwrap()))).await;
    me(&cloud, &busy).await.assert_ok();

    let page = cloud.inside("/metrics").await;
    let count =
        format!("aivms_http_calls_refused_total{{of=\"api_key\"}} {}\n", flood.refused.len() + again.refused.len());
    let page = page.body.as_str().unwrap();
    assert!(page.contains(&count) && page.contains("aivms_http_calls_refused_total{of=\"tenant\"} 0\n"), "{page}");
    assert!(page.contains("aivms_http_calls_refused_total{of=\"person\"} 0\n"), "{page}");
}

#[tokio::test]
async fn a_person_has_no_more_calls_by_signing_in_twice() {
    let cloud = Cloud::with(|config| config.calls = CallsConfig { per_second: 1, at_once: 8, ..NOBODY }).await;
    let owner = cloud.register("acme").await;
    let login = json!({ "email": "owner@acme.example", "password": crate::cloud::PASSWORD });
    let again = Owner { token: cloud.post("/api/auth/login", login).await.text("token") };
    let began = Instant::now();
    let floods = [Flood::of(&cloud, &owner).await, Flood::of(&cloud, &again).await];
    let most = 8 + began.elapsed().as_secs() as usize + 1;
    assert!(floods.iter().map(|flood| flood.served).sum::<usize>() <= most, "of {most}");
    floods[0].assert_held_to(8, "person");
}

#[tokio::test]
async fn the_keys_of_a_tenant_share_its_limit_and_another_tenant_has_its_own() {
    let cloud =
        Cloud::with(|config| config.calls = CallsConfig { tenant_per_second: 1, tenant_at_once: 12, ..NOBODY }).await;
    let (owner, other) = (cloud.register("acme").await, cloud.register("rival").await);
    let keys = [key(&cloud, &owner, "One").await, key(&cloud, &owner, "Two").await];
    let began = Instant::now();
    let (one, two) = tokio::join!(Flood::of(&cloud, &keys[0]), Flood::of(&cloud, &keys[1]));
    let most = 12 + began.elapsed().as_secs() as usize + 1;
    // The owner has made two calls for the keys.
    assert!((10..=most).contains(&(one.served + two.served)), "{} and {}", one.served, two.served);
    for refused in one.refused.iter().chain(&two.refused) {
        refused.assert_problem(429, None);
        assert!(refused.text("detail").contains("tenant") && wait(refused) == 1, "{refused:?}");
    }
    me(&cloud, &other).await.assert_ok();
    let page = cloud.inside("/metrics").await;
    let count = format!("aivms_http_calls_refused_total{{of=\"tenant\"}} {}\n", one.refused.len() + two.refused.len());
    assert!(page.body.as_str().unwrap().contains(&count), "{page:?}");
}

#[tokio::test]
async fn limits_that_are_switched_off_hold_nobody() {
    let cloud = Cloud::with(|config| config.calls = NOBODY).await;
    let owner = cloud.register("acme").await;
    let flood = Flood::of(&cloud, &owner).await;
    assert_eq!((flood.served, flood.refused.len()), (FLOOD, 0));
}

#[tokio::test]
async fn edges_bring_their_events_however_much_their_tenants_people_call() {
    let cloud = Cloud::with(|config| {
        config.calls = CallsConfig { per_second: 1, at_once: 4, tenant_per_second: 1, tenant_at_once: 4 }
    })
    .await;
    let owner = cloud.register("acme").await;
    let device = Device::enrolled(&cloud, &owner).await;
    assert!(!Flood::of(&cloud, &owner).await.refused.is_empty());
    let delivered = join_all((1..=20).map(async |n| device.deliver(&cloud, &[device.detection(n)]).await)).await;
    delivered.iter().for_each(Answer::assert_ok);
}

#[tokio::test]
async fn opening_the_live_feed_is_a_call() {
    let cloud = Cloud::with(|config| config.calls = CallsConfig { per_second: 1, at_once: 2, ..NOBODY }).await;
    let owner = cloud.register("acme").await;
    let feeds = (0..FLOOD).map(|_| cloud.request(Method::GET, "/api/events/live").bearer_auth(&owner.token).send());
    let statuses: Vec<_> = join_all(feeds).await.into_iter().map(|feed| feed.unwrap().status().as_u16()).collect();
    assert!(statuses.contains(&200) && statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn every_operation_of_people_and_none_of_edges_says_that_calls_are_counted() {
    let cloud = Cloud::start().await;
    let document = Answer::of(cloud.request(Method::GET, "/openapi.json")).await.body;
    let paths = document["paths"].as_object().unwrap();
    let operations: Vec<_> = paths.values().flat_map(|methods| methods.as_object().unwrap().values()).collect();
    for (scheme, is_counted, least) in [("UserToken", true, 80), ("EdgeToken", false, 4)] {
        let asks = |operation: &&&Value| operation["security"][0][scheme].is_array();
        let operations: Vec<_> = operations.iter().filter(asks).collect();
        assert!(operations.len() >= least, "{} of {scheme}", operations.len());
        for operation in operations {
            assert_eq!(operation["responses"]["429"].is_object(), is_counted, "{}", operation["operationId"]);
        }
    }
}
