//! Pushes: an alert as a notification of a browser.

use aivms_cloud_core::notify::message::Message;
use aivms_contract::alert::Severity;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::json;
use url::Url;

use super::guard::{Answer, CallError};
use super::push::{self, SubscriptionKeys};
use super::sending::{Outcome, Sender, answered, in_vain};
use crate::clock;
use crate::store::{DueDelivery, SharedStore, Turn};

/// Most characters of a title; a push has room for one record.
const MAX_TITLE_CHARS: usize = 300;

/// Sends one push.
pub(super) async fn send(sender: &Sender, store: &SharedStore, turn: &Turn, delivery: &DueDelivery) -> Outcome {
    let id = turn.receiver.trim_start_matches("push:").to_owned();
    let subscription = match store.push_subscription(turn.tenant, id.clone()).await {
        Ok(Some(subscription)) => subscription,
        Ok(None) => return in_vain(&"the browser is subscribed no more"),
        Err(error) => return Outcome::Again { status: None, error: error.to_string(), asked: None },
    };
    let (keys, url) =
        match (SubscriptionKeys::read(&subscription.p256dh, &subscription.auth), subscription.endpoint.parse()) {
            (Ok(keys), Ok(url)) => (keys, url),
            (Err(error), _) => return in_vain(&error),
            (_, Err(error)) => return in_vain(&error),
        };
    let Ok(body) = push::encrypt(&keys, &content(&delivery.message, sender.public_url.as_ref())) else {
        return in_vain(&"the message can't be encrypted for this browser");
    };
    let Some(headers) = headers(sender, &url, delivery) else { return in_vain(&"the push can't be signed") };
    let outcome = outcome(sender.guarded.post(&url, headers, body).await);
    if let Outcome::InVain { status: Some(404 | 410), .. } = &outcome
        && let Err(error) = store.forget_push_subscription(turn.tenant, id).await
    {
        tracing::warn!(%error, "a browser that is gone can't be forgotten");
    }
    outcome
}

/// What the browser's service worker is given.
fn content(message: &Message, public_url: Option<&Url>) -> Vec<u8> {
    let title: String = message.headline().chars().take(MAX_TITLE_CHARS).collect();
    let alert = message.alert.as_ref();
    json!({
        "type": message.reason.as_str(),
        "title": title,
        "body": message.place(),
        "severity": message.severity,
        "timestamp": message.at,
        "alert_id": alert.map(|facts| facts.alert_id),
        "incident_id": alert.map(|facts| facts.incident_id),
        "url": public_url.map(Url::as_str),
    })
    .to_string()
    .into_bytes()
}

fn headers(sender: &Sender, url: &Url, delivery: &DueDelivery) -> Option<HeaderMap> {
    let now = clock::now();
    let urgency = if delivery.message.severity == Severity::Critical { "high" } else { "normal" };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("aes128gcm"));
    headers.insert("ttl", delivery.give_up_at.since(now).as_secs().into());
    headers.insert("urgency", HeaderValue::from_static(urgency));
    // News of an incident takes the place of older news of it that the browser has not seen (RFC 8030 section 5.4).
    if let Some(facts) = &delivery.message.alert {
        headers.insert("topic", facts.incident_id.to_string().parse().ok()?);
    }
    let mut authorization: HeaderValue =
        sender.vapid.authorization(url, &sender.push_contact, now).ok()?.parse().ok()?;
    authorization.set_sensitive(true);
    headers.insert(AUTHORIZATION, authorization);
    Some(headers)
}

/// What the answer of a push service means (RFC 8030 section 5 and 7.3).
fn outcome(answer: Result<Answer, CallError>) -> Outcome {
    let answer = match answer {
        Ok(answer) => answer,
        Err(CallError::Refused(refused)) => return in_vain(&refused),
        Err(CallError::NoAnswer(error)) => return Outcome::NoAnswer(error),
    };
    let (status, error) = (Some(answer.status.as_u16()), answered(&answer));
    match answer.status.as_u16() {
        200..=299 => Outcome::Delivered(status),
        // Gone, or never there; a wrong key, a wrong form, too large: the same again changes nothing.
        400..=428 => Outcome::InVain { status, error },
        _ => Outcome::Again { status, error, asked: answer.retry_after },
    }
}
