//! What an alert owes: a message to each receiver, written down in the transaction that raised it.

mod people;

use aivms_cloud_core::notify::backoff::GIVE_UP_AFTER;
use aivms_cloud_core::notify::id::DeliveryId;
use aivms_cloud_core::notify::message::{AlertFacts, Message, Reason};
use aivms_cloud_core::notify::preferences::{Means as PersonalMeans, Telling};
use aivms_cloud_core::rules::AlertId;
use aivms_contract::time::UtcMillis;
use std::time::Duration;

use self::people::{Person, people_who_choose, person, sees, subscriptions};
use super::alerts::{AlertNews, Occasion};
use super::channels::{self, Target, Unusable, targets};
use super::sql::{Transaction, Value, values};
use super::{News, Store, StoreError, TenantKey};

/// Time after which a push is given up: hours later it would wake somebody for what is past.
const PUSH_GIVE_UP_AFTER: Duration = Duration::from_secs(3600);
/// The receiver that the settings name for all tenants.
pub const DEFAULT_WEBHOOK: &str = "webhook:default";

/// By which means a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Means {
    /// Mail.
    Mail = 1,
    /// Webhook.
    Webhook = 2,
    /// Web push.
    Push = 3,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// To be sent, or tried again.
    Waiting = 1,
    /// The receiver has it.
    Delivered = 2,
    /// Given up.
    Failed = 3,
    /// Not sent, by somebody's wish or because a channel that is named can't be used.
    LeftOut = 4,
}

/// One message to one receiver, to be written down.
struct Owed<'a> {
    message: &'a Message,
    means: Means,
    receiver: String,
    channel: Option<&'a str>,
    person: Option<i64>,
    /// `Err` says why it is left out.
    due: Result<UtcMillis, String>,
}

impl Store {
    /// Owes what an alert owes, in a transaction of its own; see [`owe`].
    ///
    /// # Errors
    /// The database's own.
    pub async fn owe_alert(&self, news: AlertNews) -> Result<(), StoreError> {
        self.write(move |transaction| owe(transaction, &news)).await
    }

    /// Says whether the settings name a webhook for every tenant's alerts.
    ///
    /// # Errors
    /// The database's own.
    pub async fn set_default_webhook(&self, is_set: bool) -> Result<(), StoreError> {
        let sql = "insert into notification_defaults (id, webhook) values (1, ?1)
                   on conflict (id) do update set webhook = ?1";
        self.write(move |transaction| transaction.execute(sql, &values![is_set])).await.map(drop)
    }
}

/// Writes down what an alert owes: to the channels and people that choose it, and to the webhook of the settings. That
/// somebody has taken care of it is told to webhooks only, so that other systems follow; people need no message for it.
pub(super) fn owe(transaction: &mut Transaction<'_>, news: &AlertNews) -> Result<(), StoreError> {
    let message = message(transaction, news)?;
    let calls_people = !matches!(news.occasion, Occasion::Acknowledged | Occasion::Resolved);
    let told = targets::for_alert(transaction, news.tenant, news.severity, &news.targets)?;
    for channel in &told.channels {
        if calls_people || matches!(channel.target, Target::Webhook(_)) {
            owe_channel(transaction, news, &message, channel)?;
        }
    }
    owe_escalated_to(transaction, news, &message)?;
    if told.by_choice && calls_people {
        for person in people_who_choose(transaction, news)? {
            owe_person(transaction, news, &message, &person, None)?;
        }
    }
    if transaction.exists("select 1 from notification_defaults where id = 1 and webhook = 1", &[])? {
        let (receiver, due) = (DEFAULT_WEBHOOK.to_owned(), Ok(news.told_at));
        let owed = Owed { message: &message, means: Means::Webhook, receiver, channel: None, person: None, due };
        write(transaction, news, &owed)?;
    }
    // At the end: a receiver that is told by another way is not left out.
    for (target, why) in told.left_out.iter().filter(|_| calls_people) {
        leave_out(transaction, news, &message, target, *why)?;
    }
    transaction.announce(News::Deliveries);
    Ok(())
}

/// Webhooks that a step of the escalation told hear how it went on; one that is told anyhow is told once.
fn owe_escalated_to(transaction: &mut Transaction<'_>, news: &AlertNews, message: &Message) -> Result<(), StoreError> {
    for step in &news.escalated_to {
        let told = targets::for_alert(transaction, news.tenant, news.severity, step)?;
        for channel in told.channels.iter().filter(|channel| matches!(channel.target, Target::Webhook(_))) {
            owe_channel(transaction, news, message, channel)?;
        }
    }
    Ok(())
}

/// Notes that a channel which the rule names gets nothing, and why. One that is gone is noted as a webhook: by which
/// means it told is not known any more.
fn leave_out(
    transaction: &mut Transaction<'_>,
    news: &AlertNews,
    message: &Message,
    target: &str,
    why: Unusable,
) -> Result<(), StoreError> {
    let mut receivers = match channels::named(transaction, news.tenant, target)? {
        Some(channel) => receivers(transaction, news.tenant, &channel)?,
        None => Vec::new(),
    };
    if receivers.is_empty() {
        receivers.push((Means::Webhook, format!("webhook:{target}"), None));
    }
    for (means, receiver, person) in receivers {
        let due = Err(why.as_reason().to_owned());
        write(transaction, news, &Owed { message, means, receiver, channel: Some(target), person, due })?;
    }
    Ok(())
}

/// What is told, and the step of an escalation.
fn reason_of(occasion: Occasion) -> (Reason, u32) {
    match occasion {
        Occasion::Raised => (Reason::Raised, 0),
        Occasion::Escalated(step) => (Reason::Escalated, step),
        Occasion::Acknowledged => (Reason::Acknowledged, 0),
        Occasion::Resolved => (Reason::Resolved, 0),
        Occasion::Reopened => (Reason::Reopened, 0),
    }
}

/// A message to one channel only, by which somebody tries it. Returns the deliveries.
pub(super) fn owe_test(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    channel: &channels::Channel,
    message: &Message,
    now: UtcMillis,
) -> Result<Vec<DeliveryId>, StoreError> {
    let mut made = Vec::new();
    for (means, receiver, person) in receivers(transaction, tenant, channel)? {
        let channel = Some(channel.channel_id.as_str());
        let owed = Owed { message, means, receiver, channel, person, due: Ok(now) };
        made.extend(insert(transaction, tenant, None, (Reason::Test, 0), &owed, now)?);
    }
    transaction.announce(News::Deliveries);
    Ok(made)
}

/// Where a channel's messages go when nobody's preferences are asked.
fn receivers(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    channel: &channels::Channel,
) -> Result<Vec<(Means, String, Option<i64>)>, StoreError> {
    Ok(match &channel.target {
        Target::Mail(addresses) => {
            addresses.iter().map(|address| (Means::Mail, format!("mail:{address}"), None)).collect()
        }
        Target::Webhook(_) => vec![(Means::Webhook, format!("webhook:{}", channel.channel_id), None)],
        Target::User(key) => {
            let Some(person) = person(transaction, tenant, key.0)? else { return Ok(Vec::new()) };
            let mut found = vec![(Means::Mail, format!("mail:{}", person.email), Some(person.key))];
            let pushes = subscriptions(transaction, tenant, person.key)?;
            found.extend(pushes.into_iter().map(|receiver| (Means::Push, receiver, Some(person.key))));
            found
        }
    })
}

fn owe_channel(
    transaction: &mut Transaction<'_>,
    news: &AlertNews,
    message: &Message,
    channel: &channels::Channel,
) -> Result<(), StoreError> {
    if let Target::User(key) = &channel.target {
        let Some(person) = person(transaction, news.tenant, key.0)? else { return Ok(()) };
        return owe_person(transaction, news, message, &person, Some(channel.channel_id.as_str()));
    }
    for (means, receiver, person) in receivers(transaction, news.tenant, channel)? {
        let due = if means == Means::Mail && refuses_mail(transaction, news.tenant, &receiver)? {
            Err("the address wants no more mails".to_owned())
        } else {
            Ok(news.told_at)
        };
        let channel = Some(channel.channel_id.as_str());
        write(transaction, news, &Owed { message, means, receiver, channel, person, due })?;
    }
    Ok(())
}

/// Tells a person by the means it chose. Nothing is written down about what it did not choose at all.
fn owe_person(
    transaction: &mut Transaction<'_>,
    news: &AlertNews,
    message: &Message,
    person: &Person,
    channel: Option<&str>,
) -> Result<(), StoreError> {
    if !sees(transaction, person.key, &news.edge, news.camera.as_ref())? {
        return Ok(());
    }
    let mut ways = vec![(Means::Mail, PersonalMeans::Mail, format!("mail:{}", person.email))];
    let pushes = subscriptions(transaction, news.tenant, person.key)?;
    ways.extend(pushes.into_iter().map(|receiver| (Means::Push, PersonalMeans::Push, receiver)));
    for (means, personal, receiver) in ways {
        use aivms_cloud_core::notify::preferences::LeftOut::QuietHours;
        let due = match person.preferences.when(personal, news.severity, news.told_at) {
            Telling::At(due) => Ok(due),
            Telling::LeftOut(QuietHours) => Err(QuietHours.to_string()),
            Telling::LeftOut(_) => continue,
        };
        if means == Means::Mail && refuses_mail(transaction, news.tenant, &receiver)? {
            continue;
        }
        let owed = Owed { message, means, receiver, channel, person: Some(person.key), due };
        write(transaction, news, &owed)?;
    }
    Ok(())
}

fn refuses_mail(transaction: &mut Transaction<'_>, tenant: TenantKey, receiver: &str) -> Result<bool, StoreError> {
    let address = receiver.strip_prefix("mail:").unwrap_or(receiver);
    transaction.exists("select 1 from mail_refusals where tenant = ?1 and address = ?2", &values![tenant.0, address])
}

fn message(transaction: &mut Transaction<'_>, news: &AlertNews) -> Result<Message, StoreError> {
    let sql = "select tenant_id, name from tenants where id = ?1";
    let tenant = transaction.first(sql, &values![news.tenant.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (tenant_id, tenant_name) = tenant.ok_or(StoreError::NotFound)?;
    let (reason, step) = reason_of(news.occasion);
    Ok(Message {
        reason,
        tenant_id,
        tenant_name,
        title: news.title.clone(),
        severity: news.severity,
        at: news.at,
        alert: Some(AlertFacts {
            alert_id: news.alert,
            incident_id: news.incident,
            step,
            rule_id: Some(news.rule),
            rule_name: Some(news.rule_name.clone()),
            edge_id: news.edge.clone(),
            edge_name: Some(news.edge_name.clone()).filter(|name| !name.is_empty()),
            camera_id: news.camera.clone(),
            zone_id: news.zone.clone(),
            event_id: news.event,
        }),
    })
}

fn write(transaction: &mut Transaction<'_>, news: &AlertNews, owed: &Owed<'_>) -> Result<(), StoreError> {
    insert(transaction, news.tenant, Some(news.alert), reason_of(news.occasion), owed, news.told_at).map(drop)
}

/// Returns `None` when the same is owed already.
fn insert(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    alert: Option<AlertId>,
    (reason, step): (Reason, u32),
    owed: &Owed<'_>,
    now: UtcMillis,
) -> Result<Option<DeliveryId>, StoreError> {
    let id = DeliveryId::from_parts(now, fastrand::u128(..));
    let message = serde_json::to_string(owed.message).map_err(|error| StoreError::Database(error.to_string()))?;
    let (state, due, left_out) = match &owed.due {
        Ok(due) => (DeliveryState::Waiting, *due, None),
        Err(reason) => (DeliveryState::LeftOut, now, Some(reason.as_str())),
    };
    let finished: Option<UtcMillis> = left_out.map(|_| now);
    let patience = if owed.means == Means::Push { PUSH_GIVE_UP_AFTER } else { GIVE_UP_AFTER };
    let sql =
        "insert into deliveries (tenant, delivery_id, alert, reason, step, means, receiver, channel, person, message,
            state, attempts, owed_at, due_at, give_up_at, finished_at, last_error)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 0, ?12, ?13, ?14, ?15, ?16)
        on conflict (tenant, alert, reason, step, receiver, owed_at) do nothing";
    let values: [Value; 16] = values![
        tenant.0,
        id.0,
        alert.map(|alert| alert.0),
        reason.as_str(),
        step,
        owed.means as i64,
        &owed.receiver,
        owed.channel,
        owed.person,
        message,
        state as i64,
        now,
        due,
        due + patience,
        finished,
        left_out,
    ];
    Ok((transaction.execute(sql, &values)? == 1).then_some(id))
}
