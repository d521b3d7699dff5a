//! Sign-ins through a tenant's provider: those on their way, who is who, and the codes that browsers bring back.

use std::time::Duration;

use aivms_cloud_core::audit::Action;
use aivms_cloud_core::rights::{CameraScope, UserRole};
use aivms_contract::id::TenantId;
use aivms_contract::time::UtcMillis;

use super::accounts::{User, user_where};
use super::people::{By, active, note};
use super::providers::{Provider, provider};
use super::sql::{Transaction, values};
use super::{Store, StoreError, TenantKey, UserKey, invitations, scope};

/// How long somebody may take at the provider.
pub(crate) const FLOW_LIFE: Duration = Duration::from_secs(600);
/// How long a browser may take to exchange its code.
pub(crate) const CODE_LIFE: Duration = Duration::from_secs(60);

/// A sign-in on its way.
#[derive(Debug, Clone)]
pub struct Flow {
    /// SHA-256 of the state.
    pub state_hash: [u8; 32],
    /// SHA-256 of what the browser keeps.
    pub browser_hash: [u8; 32],
    /// What the provider's token must hold.
    pub nonce: String,
    /// What only the cloud may know of it, sealed.
    pub verifier: Vec<u8>,
}

/// A sign-in that came back and is used up.
#[derive(Debug, Clone)]
pub struct TakenFlow {
    /// The tenant's row.
    pub tenant: TenantKey,
    /// The tenant it was begun for.
    pub tenant_id: TenantId,
    /// What was written down.
    pub flow: Flow,
    /// The tenant's provider.
    pub provider: Provider,
}

/// Who a provider says somebody is.
#[derive(Debug, Clone)]
pub struct Identified {
    /// Its name for the person.
    pub subject: String,
    /// The address, which the provider has verified, lower case.
    pub email: String,
    /// Name.
    pub name: String,
}

/// Where somebody comes from whom a provider has identified.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The tenant.
    pub tenant: TenantKey,
    /// The provider that was asked, as it was then.
    pub provider: Provider,
    /// Network address.
    pub address: String,
    /// SHA-256 of the code with which the person signs in.
    pub code_hash: [u8; 32],
}

/// Why somebody does not come in whom a provider has identified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// Nobody has this address, and strangers are not let in.
    #[error("nobody has this address or is invited, and the provider brings nobody else in")]
    Unknown,
    /// Another tenant's person has this address.
    #[error("the address belongs to somebody of another organisation")]
    Elsewhere,
    /// The provider had another person with this address before.
    #[error("the person with this address is somebody else at the provider")]
    SomebodyElse,
    /// Signing in is switched off for this person.
    #[error("signing in is switched off for this person")]
    Disabled,
    /// The provider was changed or taken away meanwhile.
    #[error("the provider was changed meanwhile")]
    ProviderChanged,
}

impl Store {
    /// Writes a sign-in down that goes to the provider now.
    ///
    /// # Errors
    /// The database's own.
    pub async fn begin_flow(&self, tenant: TenantKey, flow: Flow, now: UtcMillis) -> Result<(), StoreError> {
        self.write(move |transaction| {
            transaction.execute("delete from provider_flows where expires_at < ?1", &values![now])?;
            transaction.execute("delete from sign_in_codes where expires_at < ?1", &values![now])?;
            transaction.execute(
                "insert into provider_flows (state_hash, tenant, browser_hash, nonce, verifier, expires_at)
                 values (?1, ?2, ?3, ?4, ?5, ?6)",
                &values![
                    flow.state_hash,
                    tenant.0,
                    flow.browser_hash,
                    &flow.nonce,
                    &flow.verifier[..],
                    now + FLOW_LIFE
                ],
            )?;
            Ok(())
        })
        .await
    }

    /// Takes the sign-in with this state, which is used up.
    ///
    /// # Errors
    /// The database's own.
    pub async fn take_flow(&self, state_hash: [u8; 32], now: UtcMillis) -> Result<Option<TakenFlow>, StoreError> {
        self.write(move |transaction| {
            let found = transaction.first(
                "delete from provider_flows where state_hash = ?1 and expires_at > ?2
                 returning tenant, browser_hash, nonce, verifier",
                &values![state_hash, now],
                |row| {
                    let flow =
                        Flow { state_hash, browser_hash: row.get(1)?, nonce: row.get(2)?, verifier: row.get(3)? };
                    Ok((TenantKey(row.get(0)?), flow))
                },
            )?;
            let Some((tenant, flow)) = found else { return Ok(None) };
            let name = "select tenant_id from tenants where id = ?1";
            let tenant_id = transaction.first(name, &values![tenant.0], |row| row.parsed(0))?;
            let provider = provider(transaction, tenant)?;
            Ok(tenant_id.zip(provider).map(|(tenant_id, provider)| TakenFlow { tenant, tenant_id, flow, provider }))
        })
        .await
    }

    /// The user whom a provider has identified: one it identified before, one of the tenant with this address whom it
    /// has not identified as somebody else, one who is invited, or a new one with the provider's role for strangers.
    /// Also writes the code down with which the person signs in.
    ///
    /// # Errors
    /// The database's own.
    pub async fn identify(
        &self,
        arrival: Arrival,
        who: Identified,
        now: UtcMillis,
    ) -> Result<Result<User, NotAdmitted>, StoreError> {
        self.write(move |transaction| {
            let tenant = arrival.tenant;
            if provider(transaction, tenant)?.as_ref() != Some(&arrival.provider) {
                return Ok(Err(NotAdmitted::ProviderChanged));
            }
            let key = match known(transaction, &arrival, &who, now)? {
                Ok(key) => key,
                Err(refused) => return Ok(Err(refused)),
            };
            let Some(user) = active(transaction, key)? else { return Ok(Err(NotAdmitted::Disabled)) };
            transaction.execute(
                "insert into provider_identities (tenant, issuer, subject, person, created_at)
                 values (?1, ?2, ?3, ?4, ?5) on conflict (tenant, issuer, subject) do nothing",
                &values![tenant.0, &arrival.provider.issuer, &who.subject, key.0, now],
            )?;
            transaction.execute(
                "insert into sign_in_codes (code_hash, person, expires_at) values (?1, ?2, ?3)",
                &values![arrival.code_hash, key.0, now + CODE_LIFE],
            )?;
            Ok(Ok(user))
        })
        .await
    }

    /// Whom a code signs in, which is used up.
    ///
    /// # Errors
    /// The database's own.
    pub async fn take_sign_in_code(&self, code_hash: [u8; 32], now: UtcMillis) -> Result<Option<User>, StoreError> {
        self.write(move |transaction| {
            let person = transaction.first(
                "delete from sign_in_codes where code_hash = ?1 and expires_at > ?2 returning person",
                &values![code_hash, now],
                |row| row.get(0).map(UserKey),
            )?;
            let Some(person) = person else { return Ok(None) };
            active(transaction, person)
        })
        .await
    }
}

/// The row of whom the provider has identified. An address alone never reaches an account of another tenant, nor one
/// whose person has another name at the provider: addresses are given to other people when somebody leaves.
fn known(
    transaction: &mut Transaction<'_>,
    arrival: &Arrival,
    who: &Identified,
    now: UtcMillis,
) -> Result<Result<UserKey, NotAdmitted>, StoreError> {
    let (tenant, issuer) = (arrival.tenant, &arrival.provider.issuer);
    let before = transaction.first(
        "select person from provider_identities where tenant = ?1 and issuer = ?2 and subject = ?3",
        &values![tenant.0, issuer, &who.subject],
        |row| row.get(0).map(UserKey),
    )?;
    if let Some(before) = before {
        return Ok(Ok(before));
    }
    let Some(user) = user_where(transaction, "u.email = ?1", &values![&who.email])? else {
        return join(transaction, arrival, who, now);
    };
    if user.tenant != tenant {
        return Ok(Err(NotAdmitted::Elsewhere));
    }
    let sql = "select 1 from provider_identities where tenant = ?1 and issuer = ?2 and person = ?3";
    let is_somebody_else = transaction.exists(sql, &values![tenant.0, issuer, user.key.0])?;
    Ok(if is_somebody_else { Err(NotAdmitted::SomebodyElse) } else { Ok(user.key) })
}

/// Makes a new person with the rights of its invitation, or with those of strangers.
fn join(
    transaction: &mut Transaction<'_>,
    arrival: &Arrival,
    who: &Identified,
    now: UtcMillis,
) -> Result<Result<UserKey, NotAdmitted>, StoreError> {
    let invited = invitations::take_for(transaction, arrival.tenant, &who.email, now)?;
    let stranger = arrival.provider.default_role.map(|role: UserRole| (role, CameraScope::All));
    let Some((role, cameras)) = invited.or(stranger) else { return Ok(Err(NotAdmitted::Unknown)) };
    let key = invitations::make(transaction, arrival.tenant, &who.email, role, &who.name, "", now)?;
    scope::grant(transaction, arrival.tenant, key, &cameras)?;
    let user = active(transaction, key)?.ok_or(StoreError::NotFound)?;
    let by = By::person(&user, Some(arrival.address.clone()));
    note(transaction, &by, Action::UserJoined, Some(&who.email), now)?;
    Ok(Ok(key))
}
