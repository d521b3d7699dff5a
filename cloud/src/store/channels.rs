//! Channels: whom a tenant's alerts are told to, beside what people choose for themselves.

mod entry;
pub(super) mod targets;
mod webhook;

use aivms_cloud_core::audit::Action;
use aivms_cloud_core::notify::id::{ChannelId, DeliveryId};
use aivms_cloud_core::notify::message::Message;
use aivms_contract::alert::Severity;
use aivms_contract::time::UtcMillis;
use serde::{Deserialize, Serialize};

pub use self::targets::{Unusable, UnusableTarget};
pub use self::webhook::WebhookAddress;
use super::sql::{Row, Transaction, values};
use super::{Store, StoreError, TenantKey, UserKey, deliveries};

/// Most channels of a tenant: each is looked at for each alert.
pub const MAX_CHANNELS: i64 = 100;

/// Whom a tenant's alerts are told to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Its identifier.
    pub channel_id: ChannelId,
    /// What people call it.
    pub name: String,
    /// Where to.
    pub target: Target,
    /// The least urgent alerts it gets, when a rule does not name it.
    pub least_severity: Severity,
    /// Whether anything is sent to it.
    pub enabled: bool,
    /// Why the cloud itself has switched it off.
    pub disabled_reason: Option<String>,
    /// Until when the secret before signs too.
    pub old_secret_until: Option<UtcMillis>,
    /// When it was made.
    pub created_at: UtcMillis,
}

/// Where a channel's messages go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Target {
    /// To these addresses, in lower case.
    Mail(Vec<String>),
    /// To this URL.
    Webhook(WebhookTarget),
    /// To this user, by the means it chose.
    User(UserKey),
}

/// The address of a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookTarget {
    /// It may hold a secret.
    pub url: String,
}

/// What may be changed of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelSettings {
    /// What people call it.
    pub name: String,
    /// Where to; of the same kind as before.
    pub target: Target,
    /// The least urgent alerts it gets.
    pub least_severity: Severity,
    /// Whether anything is sent to it.
    pub enabled: bool,
}

impl Target {
    fn kind(&self) -> i64 {
        match self {
            Self::Mail(_) => 1,
            Self::Webhook(_) => 2,
            Self::User(_) => 3,
        }
    }
}

impl Store {
    /// Makes a channel; `secret` is that of a webhook, sealed.
    ///
    /// # Errors
    /// [`StoreError::TooMany`] `channels` when there are [`MAX_CHANNELS`] already.
    pub async fn create_channel(
        &self,
        tenant: TenantKey,
        id: ChannelId,
        settings: ChannelSettings,
        secret: Option<Vec<u8>>,
        now: UtcMillis,
    ) -> Result<Channel, StoreError> {
        self.write(move |transaction| create(transaction, tenant, &id, &settings, secret.as_deref(), now)).await
    }

    /// The tenant's channels, by the time they were made.
    ///
    /// # Errors
    /// The database's own.
    pub async fn list_channels(&self, tenant: TenantKey) -> Result<Vec<Channel>, StoreError> {
        let sql = format!("{SELECT} where tenant = ?1 order by channel_id");
        self.list(tenant, move |transaction| transaction.all(&sql, &values![tenant.0], read)).await
    }

    /// One channel.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn channel(&self, tenant: TenantKey, id: ChannelId) -> Result<Channel, StoreError> {
        self.lookup(move |transaction| find(transaction, tenant, &id)).await
    }

    /// Changes a channel. Switching it on forgets why it was off.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], also for a target of another kind.
    pub async fn change_channel(
        &self,
        tenant: TenantKey,
        id: ChannelId,
        settings: ChannelSettings,
        now: UtcMillis,
    ) -> Result<Channel, StoreError> {
        self.write(move |transaction| {
            let rows = transaction.execute(
                "update channels set name = ?3, target = ?4, least_severity = ?5, enabled = ?6,
                    disabled_reason = case when cast(?6 as bigint) = 1 then null else disabled_reason end
                 where tenant = ?1 and channel_id = ?2 and kind = ?7",
                &values![
                    tenant.0,
                    id.as_str(),
                    &settings.name,
                    json(&settings.target)?,
                    settings.least_severity as i64,
                    settings.enabled,
                    settings.target.kind(),
                ],
            )?;
            if rows == 0 {
                return Err(StoreError::NotFound);
            }
            let changed = find(transaction, tenant, &id)?;
            entry::note(transaction, tenant, Action::ChannelChanged, &changed, now)?;
            Ok(changed)
        })
        .await
    }

    /// Removes a channel; what waits for it fails, its log stays.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_channel(&self, tenant: TenantKey, id: ChannelId, now: UtcMillis) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let was = find(transaction, tenant, &id)?;
            let sql = "delete from channels where tenant = ?1 and channel_id = ?2";
            transaction.execute(sql, &values![tenant.0, id.as_str()])?;
            transaction.execute(
                "update deliveries set state = 3, finished_at = ?3, last_error = 'the channel was removed'
                 where tenant = ?1 and channel = ?2 and state = 1",
                &values![tenant.0, id.as_str(), now],
            )?;
            entry::note(transaction, tenant, Action::ChannelDeleted, &was, now)
        })
        .await
    }

    /// Gives a webhook a new secret, sealed; the one before signs too until `old_until`.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], also for what is no webhook.
    pub async fn rotate_channel_secret(
        &self,
        tenant: TenantKey,
        id: ChannelId,
        secret: Vec<u8>,
        old_until: UtcMillis,
        now: UtcMillis,
    ) -> Result<Channel, StoreError> {
        self.write(move |transaction| {
            let rows = transaction.execute(
                "update channels set old_secret = secret, old_secret_until = ?4, secret = ?3
                 where tenant = ?1 and channel_id = ?2 and kind = 2",
                &values![tenant.0, id.as_str(), secret.as_slice(), old_until],
            )?;
            if rows == 0 {
                return Err(StoreError::NotFound);
            }
            let rotated = find(transaction, tenant, &id)?;
            entry::note(transaction, tenant, Action::ChannelSecretRotated, &rotated, now)?;
            Ok(rotated)
        })
        .await
    }

    /// Owes a test message to a channel, whatever its severity and preferences; returns its deliveries.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn test_channel(
        &self,
        tenant: TenantKey,
        id: ChannelId,
        message: Message,
        now: UtcMillis,
    ) -> Result<Vec<DeliveryId>, StoreError> {
        self.write(move |transaction| {
            let channel = find(transaction, tenant, &id)?;
            let owed = deliveries::owe_test(transaction, tenant, &channel, &message, now)?;
            entry::note(transaction, tenant, Action::ChannelTested, &channel, now)?;
            Ok(owed)
        })
        .await
    }
}

const SELECT: &str =
    "select channel_id, name, kind, target, least_severity, enabled, disabled_reason, old_secret_until,
    created_at from channels";

fn create(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    id: &ChannelId,
    settings: &ChannelSettings,
    secret: Option<&[u8]>,
    now: UtcMillis,
) -> Result<Channel, StoreError> {
    let sql = "select count(*) from channels where tenant = ?1";
    let count: Option<i64> = transaction.first(sql, &values![tenant.0], |row| row.get(0))?;
    if count.unwrap_or(0) >= MAX_CHANNELS {
        return Err(StoreError::TooMany("channels"));
    }
    transaction.execute(
        "insert into channels (tenant, channel_id, name, kind, target, least_severity, enabled, secret, created_at)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        &values![
            tenant.0,
            id.as_str(),
            &settings.name,
            settings.target.kind(),
            json(&settings.target)?,
            settings.least_severity as i64,
            settings.enabled,
            secret,
            now,
        ],
    )?;
    let made = find(transaction, tenant, id)?;
    entry::note(transaction, tenant, Action::ChannelCreated, &made, now)?;
    Ok(made)
}

fn find(transaction: &mut Transaction<'_>, tenant: TenantKey, id: &ChannelId) -> Result<Channel, StoreError> {
    named(transaction, tenant, id.as_str())?.ok_or(StoreError::NotFound)
}

/// The channel of this id, if there is one.
pub(super) fn named(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    id: &str,
) -> Result<Option<Channel>, StoreError> {
    let sql = format!("{SELECT} where tenant = ?1 and channel_id = ?2");
    transaction.first(&sql, &values![tenant.0, id], read)
}

fn read(row: &Row) -> Result<Channel, StoreError> {
    let target = match row.get::<i64>(2)? {
        1 => Target::Mail(row.json(3)?),
        2 => Target::Webhook(row.json(3)?),
        _ => Target::User(row.json(3)?),
    };
    let least_severity = [Severity::Info, Severity::Warning, Severity::Critical]
        .get(row.get::<u32>(4)? as usize)
        .copied()
        .unwrap_or(Severity::Critical);
    Ok(Channel {
        channel_id: row.parsed(0)?,
        name: row.get(1)?,
        target,
        least_severity,
        enabled: row.get(5)?,
        disabled_reason: row.get(6)?,
        old_secret_until: row.optional_time(7)?,
        created_at: row.time(8)?,
    })
}

fn json(target: &Target) -> Result<String, StoreError> {
    serde_json::to_string(target).map_err(|error| StoreError::Database(error.to_string()))
}
