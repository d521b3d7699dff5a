//! A tenant's own provider for signing in (OpenID Connect): its settings, and what ends with it.

use aivms_cloud_core::audit::Action;
use aivms_cloud_core::rights::UserRole;
use aivms_contract::id::TenantId;
use aivms_contract::time::UtcMillis;
use serde_json::{Value as Json, json};

use super::audit::{self, NewAudit};
use super::people::By;
use super::sql::{Row, Transaction, values};
use super::{News, Store, StoreError, TenantKey, UserKey, api_keys, sessions};

/// A tenant's provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Where it describes itself.
    pub issuer: String,
    /// What the cloud is called there.
    pub client_id: String,
    /// The secret of the cloud there, sealed.
    pub client_secret: Vec<u8>,
    /// Domains whose addresses may come in, lower case.
    pub allowed_domains: Vec<String>,
    /// Role of those who come for the first time; `None` when only people who are there or invited may come in.
    pub default_role: Option<UserRole>,
}

impl Store {
    /// The provider of a tenant.
    ///
    /// # Errors
    /// The database's own.
    pub async fn provider(&self, tenant: TenantKey) -> Result<Option<Provider>, StoreError> {
        self.lookup(move |transaction| provider(transaction, tenant)).await
    }

    /// The tenant with this id and its provider, if it has one.
    ///
    /// # Errors
    /// The database's own.
    pub async fn provider_of(&self, tenant: TenantId) -> Result<Option<(TenantKey, Provider)>, StoreError> {
        self.lookup(move |transaction| {
            let sql = "select id from tenants where tenant_id = ?1 and closed_at is null";
            let key = transaction.first(sql, &values![tenant.as_str()], |row| row.get(0).map(TenantKey))?;
            let Some(key) = key else { return Ok(None) };
            Ok(provider(transaction, key)?.map(|provider| (key, provider)))
        })
        .await
    }

    /// Sets the tenant's provider, or takes it away. Sign-ins on their way end. So do, unless issuer and client id stay
    /// as they are, the sessions that began through the provider before and the API keys of people without a password, and
    /// who people are there is forgotten.
    ///
    /// # Errors
    /// The database's own.
    pub async fn set_provider(&self, by: By, new: Option<Provider>, now: UtcMillis) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let before = provider(transaction, by.tenant)?;
            end_flows(transaction, by.tenant)?;
            let name = |provider: &Option<Provider>| provider.clone().map(|p| (p.issuer, p.client_id));
            if name(&before) != name(&new) {
                end_identities(transaction, &by, now)?;
            }
            transaction.execute("delete from identity_providers where tenant = ?1", &values![by.tenant.0])?;
            if let Some(new) = &new {
                insert(transaction, by.tenant, new, now)?;
            }
            tell(transaction, &by, before.as_ref(), new.as_ref(), now)
        })
        .await
    }
}

/// The provider of a tenant now.
pub(super) fn provider(transaction: &mut Transaction<'_>, tenant: TenantKey) -> Result<Option<Provider>, StoreError> {
    transaction.first(
        "select issuer, client_id, client_secret, allowed_domains, default_role from identity_providers
         where tenant = ?1",
        &values![tenant.0],
        read_provider,
    )
}

fn read_provider(row: &Row) -> Result<Provider, StoreError> {
    Ok(Provider {
        issuer: row.get(0)?,
        client_id: row.get(1)?,
        client_secret: row.get(2)?,
        allowed_domains: row.json(3)?,
        default_role: row.optional_parsed(4)?,
    })
}

fn insert(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    provider: &Provider,
    now: UtcMillis,
) -> Result<(), StoreError> {
    transaction.execute(
        "insert into identity_providers (tenant, issuer, client_id, client_secret, allowed_domains, default_role,
            changed_at)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        &values![
            tenant.0,
            &provider.issuer,
            &provider.client_id,
            &provider.client_secret[..],
            json!(provider.allowed_domains).to_string(),
            provider.default_role.map(UserRole::as_str),
            now
        ],
    )?;
    Ok(())
}

/// Ends what is on its way through the provider: browsers that are there, and codes that were not exchanged.
fn end_flows(transaction: &mut Transaction<'_>, tenant: TenantKey) -> Result<(), StoreError> {
    transaction.execute("delete from provider_flows where tenant = ?1", &values![tenant.0])?;
    transaction.execute(
        "delete from sign_in_codes where person in (select id from users where tenant = ?1)",
        &values![tenant.0],
    )?;
    Ok(())
}

/// Signs out who came through the provider, withdraws the keys of those who have no password, and forgets who is who
/// there.
fn end_identities(transaction: &mut Transaction<'_>, by: &By, now: UtcMillis) -> Result<(), StoreError> {
    let tenant = by.tenant;
    let sql = "select distinct person from provider_identities where tenant = ?1";
    for person in transaction.all(sql, &values![tenant.0], |row| row.get(0).map(UserKey))? {
        transaction.execute(
            "update sessions set ended_at = ?1 where person = ?2 and method = ?3 and ended_at is null",
            &values![now, person.0, sessions::THROUGH_PROVIDER],
        )?;
        api_keys::revoke_without_password(transaction, by, person, now)?;
        transaction.announce(News::User(person));
    }
    transaction.execute("delete from provider_identities where tenant = ?1", &values![tenant.0])?;
    Ok(())
}

fn tell(
    transaction: &mut Transaction<'_>,
    by: &By,
    before: Option<&Provider>,
    new: Option<&Provider>,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let Some(subject) = new.or(before) else { return Ok(()) };
    let entry = NewAudit {
        tenant: by.tenant,
        actor: by.actor.clone(),
        address: by.address.clone(),
        action: if new.is_some() { Action::SsoChanged } else { Action::SsoRemoved },
        subject: Some(subject.issuer.clone()),
        detail: new.map_or(Json::Null, |new| {
            json!({
                "client_id": new.client_id,
                "allowed_domains": new.allowed_domains,
                "default_role": new.default_role.map(UserRole::as_str),
            })
        }),
        at: now,
    };
    audit::append(transaction, &entry)
}
