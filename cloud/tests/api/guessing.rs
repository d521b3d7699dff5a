//! Guessing of passwords: counted in the database, and telling nothing.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::cloud::{Answer, Cloud, PASSWORD};

#[tokio::test]
async fn of_a_thousand_guesses_ten_are_looked_at_and_a_restart_forgets_none() {
    let mut cloud = Cloud::start().await;
    cloud.register("acme").await;
    let mut looked_at = 0;
    for round in 0..10 {
        let guesses = (0..100).map(|n| {
            let body = json!({ "email": "owner@acme.example", "password": format!("guess {round} number {n}") });
            Answer::of(cloud.request(Method::POST, "/api/auth/login").json(&body))
        });
        let answers = futures_util::future::join_all(guesses).await;
        assert!(answers.iter().all(|answer| [401, 429].contains(&answer.status.as_u16())));
        looked_at += answers.iter().filter(|answer| answer.status == StatusCode::UNAUTHORIZED).count();
        if round == 4 {
            cloud.restart().await;
        }
    }
    // Ten at once, and one more for each minute and a half that the test takes.
    assert!((10..=14).contains(&looked_at), "{looked_at}");
    let right = cloud.post("/api/auth/login", json!({ "email": "owner@acme.example", "password": PASSWORD })).await;
    right.assert_problem(429, None);
}

#[tokio::test]
async fn many_accounts_guessed_from_one_address_use_up_its_tries() {
    let cloud = Cloud::start().await;
    cloud.register("acme").await;
    let guesses = (0..80).map(|n| {
        let body = json!({ "email": format!("user{n}@acme.example"), "password": "not the one" });
        Answer::of(cloud.request(Method::POST, "/api/auth/login").json(&body))
    });
    let answers = futures_util::future::join_all(guesses).await;
    let looked_at = answers.iter().filter(|answer| answer.status == StatusCode::UNAUTHORIZED).count();
    assert!((50..=54).contains(&looked_at), "{looked_at}");
}

#[tokio::test]
async fn an_unknown_address_takes_as_long_as_a_wrong_password() {
    let cloud = Cloud::start().await;
    cloud.register("acme").await;
    let timed = async |email: &str| {
        let body = json!({ "email": email, "password": "not the one" });
        let start = Instant::now();
        let answer = cloud.post("/api/auth/login", body).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        start.elapsed()
    };
    timed("warm@acme.example").await;
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for n in 0..9 {
        known.push(timed("owner@acme.example").await);
        unknown.push(timed(&format!("nobody{n}@acme.example")).await);
    }
    let middle = |mut times: Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let (known, unknown) = (middle(known), middle(unknown));
    // Without the same work for both, they would be apart by the whole of the hashing, which is nearly all of it.
    assert!(known < 2 * unknown && unknown < 2 * known, "known {known:?}, unknown {unknown:?}");
}
