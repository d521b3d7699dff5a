//! One try to send what is due to a receiver, and what follows from how it went.

use std::time::{Duration, Instant};

use aivms_cloud_core::notify::address::AddressRules;
use aivms_cloud_core::notify::backoff;
use aivms_cloud_core::notify::digest::MailBudget;
use aivms_contract::time::UtcMillis;
use anyhow::{Context, Result};
use futures_util::future::join_all;
use url::Url;

use super::guard::{Answer, CallError, GuardedClient};
use super::mail::Mailer;
use super::push::VapidKey;
use super::unsubscribe::UnsubscribeLinks;
use super::webhook::{self, WebhookSecret};
use super::{mailing, pushing};
use crate::clock;
use crate::media::MediaFiles;
use crate::sealed::Sealer;
use crate::store::{DEFAULT_WEBHOOK, Due, DueDelivery, Means, Next, Report, SharedStore, Turn, TurnSize};

/// Messages of one receiver on their way at once.
const AT_ONCE: u32 = 4;
/// Most alerts that one digest tells of; it lists fewer.
const MAX_DIGEST: u32 = 1_000;
/// Longest rest of a receiver that gives no answer: so soon after its repair it gets what waits.
const MAX_REST: Duration = Duration::from_secs(600);
/// Time after which a refusal is as good as no answer: a receiver that is so slow to say no rests as well.
const SLOW_REFUSAL: Duration = Duration::from_secs(5);

/// What messages are sent with.
pub struct Sender {
    /// `None` when the settings name no mail server.
    pub(super) mailer: Option<Mailer>,
    pub(super) budget: MailBudget,
    pub(super) public_url: Option<Url>,
    pub(super) unsubscribe: UnsubscribeLinks,
    pub(super) media: Option<MediaFiles>,
    pub(super) guarded: GuardedClient,
    pub(super) vapid: VapidKey,
    pub(super) push_contact: String,
    default_webhook: Option<DefaultWebhook>,
    sealer: Sealer,
}

/// What [`Sender`] is made of.
pub struct SenderParts {
    /// The mail server.
    pub mailer: Option<Mailer>,
    /// How many mails an address gets.
    pub budget: MailBudget,
    /// Where people reach the cloud.
    pub public_url: Option<Url>,
    /// Makes the links that end mails.
    pub unsubscribe: UnsubscribeLinks,
    /// Where snapshots are.
    pub media: Option<MediaFiles>,
    /// Calls addresses that users named.
    pub guarded: GuardedClient,
    /// Proves to push services who sends.
    pub vapid: VapidKey,
    /// Whom a push service may ask about this cloud.
    pub push_contact: String,
    /// Opens the secrets of webhooks.
    pub sealer: Sealer,
    /// The webhook that the settings name, with the secret that signs.
    pub default_webhook: Option<(Url, WebhookSecret)>,
}

/// The webhook that the settings name. Whoever runs the cloud chose it, so it may be anywhere.
#[derive(Debug)]
struct DefaultWebhook {
    url: Url,
    secret: WebhookSecret,
    client: GuardedClient,
}

/// What became of messages.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) reports: Vec<(DueDelivery, Report)>,
    /// The receiver gave no answer, or was slow to refuse, and is left alone until then.
    pub(super) rest_until: Option<UtcMillis>,
}

/// How one try went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The receiver has it.
    Delivered(Option<u16>),
    /// It is tried again, unless that would be too late.
    Again { status: Option<u16>, error: String, asked: Option<Duration> },
    /// There was no answer: the receiver rests.
    NoAnswer(String),
    /// Another try would be in vain.
    InVain { status: Option<u16>, error: String },
}

impl Sender {
    /// Puts the parts together.
    ///
    /// # Errors
    /// The webhook of the settings can't be called at all.
    pub fn new(parts: SenderParts) -> Result<Self> {
        let default_webhook =
            parts.default_webhook.map(|(url, secret)| DefaultWebhook::new(url, secret)).transpose()?;
        Ok(Self {
            mailer: parts.mailer,
            budget: parts.budget,
            public_url: parts.public_url,
            unsubscribe: parts.unsubscribe,
            media: parts.media,
            guarded: parts.guarded,
            vapid: parts.vapid,
            push_contact: parts.push_contact,
            default_webhook,
            sealer: parts.sealer,
        })
    }

    pub(super) fn turn_size(&self, means: Means) -> TurnSize {
        let deliveries = if means == Means::Mail { MAX_DIGEST } else { AT_ONCE };
        TurnSize { deliveries, sent_within: self.budget.window }
    }

    /// Sends what is due, which is not nothing.
    pub(super) async fn send(&self, store: &SharedStore, turn: &Turn, due: &Due) -> Sent {
        match turn.means {
            Means::Mail => mailing::send(self, store, turn, due).await,
            Means::Webhook => each(due, |delivery| self.post(store, turn, delivery)).await,
            Means::Push => each(due, |delivery| pushing::send(self, store, turn, delivery)).await,
        }
    }

    async fn post(&self, store: &SharedStore, turn: &Turn, delivery: &DueDelivery) -> Outcome {
        let body = match delivery.message.webhook_body() {
            Ok(body) => body,
            Err(error) => return in_vain(&error),
        };
        if turn.receiver == DEFAULT_WEBHOOK {
            let Some(webhook) = &self.default_webhook else {
                return in_vain(&"the settings name no webhook_url any more");
            };
            return call(&webhook.client, &webhook.url, std::slice::from_ref(&webhook.secret), delivery, body).await;
        }
        let Some(channel) = &delivery.channel else { return in_vain(&"the channel is not known") };
        let address = match store.webhook_address(turn.tenant, channel.clone(), clock::now()).await {
            Ok(Some(address)) if address.enabled => address,
            Ok(Some(_)) => return in_vain(&"the channel is switched off"),
            Ok(None) => return in_vain(&"the channel was removed"),
            Err(error) => return Outcome::Again { status: None, error: error.to_string(), asked: None },
        };
        let secrets: Option<Vec<WebhookSecret>> = address.secrets.iter().map(|sealed| self.opened(sealed)).collect();
        let url = match address.url.parse() {
            Ok(url) => url,
            Err(error) => return in_vain(&error),
        };
        let Some(secrets) = secrets else {
            return in_vain(
                &"its secret can't be opened: the server secret was replaced; rotate the secret of the channel",
            );
        };
        let outcome = call(&self.guarded, &url, &secrets, delivery, body).await;
        if let Outcome::InVain { status: Some(410), error } = &outcome
            && let Err(error) = store.disable_channel(turn.tenant, channel.clone(), error.clone(), clock::now()).await
        {
            tracing::warn!(%error, "a channel whose receiver is gone can't be switched off");
        }
        outcome
    }
}

impl Sender {
    fn opened(&self, sealed: &[u8]) -> Option<WebhookSecret> {
        String::from_utf8(self.sealer.open(sealed)?).ok()?.parse().ok()
    }
}

impl DefaultWebhook {
    fn new(url: Url, secret: WebhookSecret) -> Result<Self> {
        let everywhere = ["0.0.0.0/0", "::/0"].into_iter().filter_map(|network| network.parse().ok()).collect();
        let allowed_ports = url.port_or_known_default().into_iter().collect();
        let rules = AddressRules { allowed_networks: everywhere, allowed_ports, allow_http: true };
        rules.check_url(&url).context("webhook_url")?;
        Ok(Self { client: GuardedClient::new(rules).context("webhook_url")?, url, secret })
    }
}

async fn call(
    client: &GuardedClient,
    url: &Url,
    secrets: &[WebhookSecret],
    delivery: &DueDelivery,
    body: Vec<u8>,
) -> Outcome {
    match webhook::headers(secrets, &delivery.id.to_string(), clock::now(), &body) {
        Ok(headers) => outcome(client.post(url, headers, body).await),
        Err(error) => in_vain(&error),
    }
}

/// What an answer to a webhook means, as Standard Webhooks has it.
fn outcome(answer: Result<Answer, CallError>) -> Outcome {
    let answer = match answer {
        Ok(answer) => answer,
        Err(CallError::Refused(refused)) => return in_vain(&refused),
        Err(CallError::NoAnswer(error)) => return Outcome::NoAnswer(error),
    };
    let status = Some(answer.status.as_u16());
    match answer.status.as_u16() {
        200..=299 => Outcome::Delivered(status),
        410 => Outcome::InVain { status, error: answered(&answer) },
        300..=399 => Outcome::Again {
            status,
            error: format!("{}; redirects are not followed: enter the address itself", answered(&answer)),
            asked: None,
        },
        _ => Outcome::Again { status, error: answered(&answer), asked: answer.retry_after },
    }
}

pub(super) fn answered(answer: &Answer) -> String {
    let said = if answer.text.is_empty() { String::new() } else { format!(": {}", answer.text) };
    format!("answered {}{said}", answer.status)
}

pub(super) fn in_vain(error: &dyn std::fmt::Display) -> Outcome {
    Outcome::InVain { status: None, error: error.to_string() }
}

/// Sends all that is due at once.
async fn each<'a, F: Future<Output = Outcome>>(due: &'a Due, send: impl Fn(&'a DueDelivery) -> F) -> Sent {
    let tries = due.deliveries.iter().map(|delivery| {
        let sending = send(delivery);
        async move {
            let (begun, clock) = (clock::now(), Instant::now());
            let outcome = sending.await;
            (delivery, outcome, begun, clock.elapsed())
        }
    });
    let mut sent = Sent::default();
    for (delivery, outcome, begun, took) in join_all(tries).await {
        sent.take(due, delivery, outcome, begun, took);
    }
    sent
}

impl Sent {
    /// Decides what follows a try.
    pub(super) fn take(
        &mut self,
        due: &Due,
        delivery: &DueDelivery,
        outcome: Outcome,
        begun: UtcMillis,
        took: Duration,
    ) {
        let now = clock::now();
        if rests_after(&outcome, took) {
            let rest = backoff::wait(due.failures + 1, fastrand::u32(..)).min(MAX_REST);
            self.rest_until = Some(now + rest);
        }
        let again = |asked| {
            let next = backoff::next_attempt(delivery.attempts + 1, now, delivery.give_up_at, fastrand::u32(..), asked);
            next.map_or(Next::Failed, Next::At)
        };
        let (status, error, next) = match outcome {
            Outcome::Delivered(status) => (status, None, Next::Delivered),
            Outcome::Again { status, error, asked } => (status, Some(error), again(asked)),
            Outcome::NoAnswer(error) => (None, Some(error), again(None)),
            Outcome::InVain { status, error } => (status, Some(error), Next::Failed),
        };
        self.reports.push((delivery.clone(), Report { tried_at: Some(begun), took, status, error, next }));
    }
}

/// Whether a receiver is left alone for a while.
fn rests_after(outcome: &Outcome, took: Duration) -> bool {
    match outcome {
        Outcome::NoAnswer(_) => true,
        Outcome::Again { .. } => took >= SLOW_REFUSAL,
        Outcome::Delivered(_) | Outcome::InVain { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_that_is_slow_to_refuse_rests_as_one_that_gives_no_answer() {
        let busy = Outcome::Again { status: Some(503), error: "answered 503".into(), asked: None };
        let second = Duration::from_secs(1);
        assert!(rests_after(&Outcome::NoAnswer("timed out".into()), second));
        assert!(rests_after(&busy, 14 * second));
        assert!(!rests_after(&busy, second));
        assert!(!rests_after(&Outcome::Delivered(Some(200)), 14 * second));
    }
}
