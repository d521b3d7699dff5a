//! What the sender of webhooks asks of their channels.

use aivms_cloud_core::audit::Action;
use aivms_contract::time::UtcMillis;
use serde_json::json;

use super::super::sql::values;
use super::super::{Store, StoreError, TenantKey, audit};
use super::WebhookTarget;

/// What a webhook is called with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookAddress {
    /// Where.
    pub url: String,
    /// Secrets that sign, sealed, the newest first.
    pub secrets: Vec<Vec<u8>>,
    /// Whether anything is sent to it.
    pub enabled: bool,
}

impl Store {
    /// What a webhook is called with now; `None` when there is no such webhook any more.
    ///
    /// # Errors
    /// The database's own.
    pub async fn webhook_address(
        &self,
        tenant: TenantKey,
        id: String,
        now: UtcMillis,
    ) -> Result<Option<WebhookAddress>, StoreError> {
        let sql = "select target, secret, case when old_secret_until > ?3 then old_secret end, enabled
                   from channels where tenant = ?1 and channel_id = ?2 and kind = 2";
        self.lookup(move |transaction| {
            transaction.first(sql, &values![tenant.0, id, now], |row| {
                let secrets = [row.get::<Option<Vec<u8>>>(1)?, row.get(2)?].into_iter().flatten().collect();
                Ok(WebhookAddress { url: row.json::<WebhookTarget>(0)?.url, secrets, enabled: row.get(3)? })
            })
        })
        .await
    }

    /// Switches a channel off because its receiver wants no more.
    ///
    /// # Errors
    /// The database's own.
    pub async fn disable_channel(
        &self,
        tenant: TenantKey,
        id: String,
        reason: String,
        now: UtcMillis,
    ) -> Result<(), StoreError> {
        let sql = "update channels set enabled = 0, disabled_reason = ?3
                   where tenant = ?1 and channel_id = ?2 and enabled = 1";
        self.write(move |transaction| {
            if transaction.execute(sql, &values![tenant.0, &id, &reason])? == 0 {
                return Ok(());
            }
            let detail = json!({ "reason": reason });
            audit::note(transaction, tenant, Action::ChannelDisabled, Some(&id), detail, now)
        })
        .await
    }
}
