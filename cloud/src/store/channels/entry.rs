//! What the audit log is told of channels: enough to see where alerts went, and no secrets.

use aivms_cloud_core::audit::Action;
use aivms_contract::time::UtcMillis;
use serde_json::{Value as Json, json};
use url::Url;

use super::super::sql::{Transaction, values};
use super::super::{StoreError, TenantKey, UserKey, audit};
use super::{Channel, Target};

/// Most addresses that an entry names; a channel may have more.
const NAMED: usize = 20;

/// Writes down what was done with a channel.
pub(super) fn note(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    action: Action,
    channel: &Channel,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let (kind, to) = match &channel.target {
        Target::Mail(addresses) => ("mail", json!(addresses.iter().take(NAMED).collect::<Vec<_>>())),
        Target::Webhook(webhook) => ("webhook", host(&webhook.url)),
        Target::User(person) => ("user", json!(email(transaction, tenant, *person)?)),
    };
    let detail = json!({ "name": channel.name, "kind": kind, "to": to, "enabled": channel.enabled });
    audit::note(transaction, tenant, action, Some(channel.channel_id.as_str()), detail, now)
}

/// The rest of a webhook's URL may be its secret.
fn host(url: &str) -> Json {
    json!(Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)))
}

fn email(transaction: &mut Transaction<'_>, tenant: TenantKey, person: UserKey) -> Result<Option<String>, StoreError> {
    let sql = "select email from users where tenant = ?1 and id = ?2";
    transaction.first(sql, &values![tenant.0, person.0], |row| row.get(0))
}
