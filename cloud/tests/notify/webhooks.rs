//! Webhooks: signed, tried again, never led astray, and nobody waits for anybody else.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use aivms_cloud::clock;
use aivms_cloud::config::Secret;
use aivms_cloud::store::DeliveryState;
use aivms_contract::alert::Severity;
use reqwest::header::{HeaderMap, HeaderName};
use standardwebhooks::Webhook;

use crate::receiver::{Manner, Receiver, Request};
use crate::site::{OUTSIDE, Site};

const OK: Manner = Manner::Answer("200 OK");

/// Checks a message as a receiver would, with the reference implementation.
fn verified(request: &Request, secret: &str) -> bool {
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        headers.insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    Webhook::new(secret).unwrap().verify(&request.body, &headers).is_ok()
}

#[tokio::test]
async fn an_alert_reaches_its_webhook_signed_and_within_a_second() {
    let receiver = Receiver::at(OUTSIDE, vec![OK]).await;
    let site = Site::with(vec![receiver.address.port()], |_| {}).await;
    let (id, secret) = site.webhook(receiver.url()).await;
    let mut slowest = Duration::ZERO;
    for number in 1..=20 {
        let begun = Instant::now();
        site.tell(site.alert("Person in loading-bay", Severity::Critical)).await;
        slowest = slowest.max(receiver.wait_for(number).await[number - 1].at.duration_since(begun));
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    let request = &receiver.seen()[0];
    assert!(verified(request, &secret));
    let body = request.json();
    assert_eq!((&body["type"], &body["data"]["title"]), (&"alert.raised".into(), &"Person in loading-bay".into()));
    assert_eq!((&body["data"]["severity"], &body["data"]["tenant_id"]), (&"critical".into(), &"acme".into()));
    // While a secret is changed over, receivers with either one are content.
    let now = clock::now();
    let second = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let until = now + Duration::from_secs(3600);
    site.store.rotate_channel_secret(site.owner.tenant, id, site.sealed(second), until, clock::now()).await.unwrap();
    site.tell(site.alert("again", Severity::Info)).await;
    let request = receiver.wait_for(21).await.pop().unwrap();
    assert!(verified(&request, &secret) && verified(&request, second));
}

#[tokio::test]
async fn a_receiver_that_failed_gets_the_same_message_again() {
    let receiver = Receiver::at(OUTSIDE, vec![Manner::Answer("500 Oh no"), OK]).await;
    let site = Site::with(vec![receiver.address.port()], |_| {}).await;
    let (_, secret) = site.webhook(receiver.url()).await;
    site.tell(site.alert("x", Severity::Info)).await;
    let seen = receiver.wait_for(2).await;
    assert_eq!(seen[0].header("webhook-id"), seen[1].header("webhook-id"));
    assert_eq!(seen[0].body, seen[1].body);
    assert!(verified(&seen[1], &secret));
    let waited = seen[1].at.duration_since(seen[0].at);
    assert!((Duration::from_secs(4)..Duration::from_secs(12)).contains(&waited), "{waited:?}");
    let log = site.wait_for_log(|log| log[0].state == DeliveryState::Delivered).await;
    assert_eq!(log[0].id.to_string(), seen[0].header("webhook-id"));
    let (_, attempts) = site.store.delivery(site.owner.tenant, log[0].id).await.unwrap();
    let statuses: Vec<_> = attempts.iter().map(|attempt| attempt.status).collect();
    assert_eq!(statuses, [Some(200), Some(500)]);
    // By hand it goes once more, as it was.
    site.store.redeliver(site.owner.tenant, log[0].id, clock::now()).await.unwrap();
    let third = receiver.wait_for(3).await.pop().unwrap();
    assert_eq!((third.header("webhook-id"), &third.body), (seen[0].header("webhook-id"), &seen[0].body));
}

#[tokio::test]
async fn receivers_that_hang_or_are_gone_delay_nobody_else() {
    let good = Receiver::at(OUTSIDE, vec![OK]).await;
    let hanging = Receiver::at(OUTSIDE, vec![Manner::Hang]).await;
    let site = Site::with(vec![good.address.port(), hanging.address.port(), 9], |_| {}).await;
    for path in 0..10 {
        site.webhook(format!("http://{}/{path}", hanging.address)).await;
    }
    site.webhook(format!("http://{OUTSIDE}:9/nobody-listens")).await;
    for _ in 0..30 {
        site.tell(site.alert("first", Severity::Info)).await;
    }
    hanging.wait_for(10).await;
    site.webhook(good.url()).await;
    let begun = Instant::now();
    for _ in 0..30 {
        site.tell(site.alert("second", Severity::Info)).await;
    }
    good.wait_for(30).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // Each of the hanging ones has few calls open, whatever waits for it.
    assert!(hanging.seen().len() <= 10 * 4, "{}", hanging.seen().len());
}

#[tokio::test]
async fn nothing_inside_is_called_by_redirect_name_or_address() {
    let inside = Receiver::at("127.0.0.1", vec![OK]).await;
    let location = format!("307 Temporary Redirect\r\nlocation: {}", inside.url()).leak();
    let redirecting = Receiver::at(OUTSIDE, vec![Manner::Answer(location)]).await;
    let site = Site::with(vec![inside.address.port(), redirecting.address.port()], |_| {}).await;
    let port = inside.address.port();
    site.webhook(redirecting.url()).await;
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433"] {
        site.webhook(format!("http://{host}:{port}/hook")).await;
    }
    site.webhook(format!("http://user:password@{}/hook", redirecting.address)).await;
    site.tell(site.alert("x", Severity::Info)).await;
    let log = site.wait_for_log(|log| log.len() == 7 && log.iter().all(|delivery| delivery.last_error.is_some())).await;
    assert_eq!((inside.seen().len(), redirecting.seen().len()), (0, 1));
    let failed = log.iter().filter(|delivery| delivery.state == DeliveryState::Failed).count();
    let errors: Vec<_> = log.iter().map(|delivery| delivery.last_error.clone().unwrap()).collect();
    assert_eq!(failed, 6, "{errors:?}");
    assert!(errors.iter().any(|error| error.contains("redirects are not followed")), "{errors:?}");
    assert!(errors.iter().any(|error| error.contains("loopback")), "{errors:?}");
}

#[tokio::test]
async fn a_receiver_that_is_gone_for_good_is_switched_off_and_it_is_said_why() {
    let receiver = Receiver::at(OUTSIDE, vec![Manner::Answer("410 Gone")]).await;
    let site = Site::with(vec![receiver.address.port()], |_| {}).await;
    let (id, _) = site.webhook(receiver.url()).await;
    site.tell(site.alert("x", Severity::Info)).await;
    site.wait_for_log(|log| log[0].state == DeliveryState::Failed).await;
    let channel = site.store.channel(site.owner.tenant, id).await.unwrap();
    assert!(!channel.enabled && channel.disabled_reason.unwrap().contains("410"));
    site.tell(site.alert("y", Severity::Info)).await;
    assert_eq!(site.log().await.len(), 1, "nothing more is owed to it");
}

#[tokio::test]
async fn several_processes_send_each_message_once_and_a_stop_cuts_nothing_off() {
    let receiver = Receiver::at(OUTSIDE, vec![Manner::Slow(Duration::from_millis(50))]).await;
    let mut site = Site::with(vec![receiver.address.port()], |_| {}).await;
    site.start_worker();
    site.start_worker();
    for path in 0..5 {
        site.webhook(format!("http://{}/{path}", receiver.address)).await;
    }
    for _ in 0..20 {
        site.tell(site.alert("x", Severity::Info)).await;
    }
    receiver.wait_for(30).await;
    site.stop().await;
    let seen = receiver.seen();
    let ids: HashSet<&str> = seen.iter().map(|request| request.header("webhook-id")).collect();
    assert_eq!(ids.len(), seen.len(), "each once");
    let delivered = site.log().await.iter().filter(|delivery| delivery.state == DeliveryState::Delivered).count();
    assert_eq!(delivered, seen.len(), "what was sent is written down");
    // What is left is sent by the next process.
    site.stop = tokio_util::sync::CancellationToken::new();
    site.start_worker();
    receiver.wait_for(100).await;
    let log = site.wait_for_log(|log| log.iter().all(|delivery| delivery.state == DeliveryState::Delivered)).await;
    assert_eq!((log.len(), receiver.seen().len()), (100, 100));
}

#[tokio::test]
async fn the_webhook_of_the_settings_is_told_wherever_it_is() {
    let receiver = Receiver::at("127.0.0.1", vec![OK]).await;
    let url = receiver.url();
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let site = Site::with(vec![443], |config| {
        config.webhook_url = Some(Secret::new(url));
        config.notifications.webhook_secret = Some(Secret::new(secret.into()));
    })
    .await;
    site.tell(site.alert("x", Severity::Info)).await;
    let request = receiver.wait_for(1).await.pop().unwrap();
    assert!(verified(&request, secret) && request.path == "/hook");
}
