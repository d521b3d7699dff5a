//! The deletion of a tenant: asked for, waited for, begun once, worked off in small steps, and found to be whole.
//!
//! Each step may be the last one before a crash: whoever goes on begins with the first step again, which finds nothing
//! left to do where it had been done.

use std::time::Duration;

use aivms_cloud_core::audit::Action;
use aivms_cloud_core::letters::Letter;
use aivms_contract::id::TenantId;
use aivms_contract::time::UtcMillis;
use serde_json::json;

use super::audit::{self, NewAudit};
use super::catalog::{self, OwnedTable};
use super::mail::{NewMail, enqueue};
use super::media::{self, Media};
use super::people::By;
use super::sql::{Row, Transaction, Value, values};
use super::{News, Store, StoreError, TenantKey, UserKey, retention};

/// How long a process has a deletion for itself after each step.
const LEASE: Duration = Duration::from_secs(60);
/// How long after everything was gone a last look is taken: for what was on its way meanwhile.
pub(crate) const LAST_LOOK_AFTER: Duration = Duration::from_secs(3_600);
/// Rows deleted in one transaction.
const ROWS_AT_ONCE: u32 = 500;
/// The same where each row is looked for in other tables.
const REFERRED_ROWS_AT_ONCE: u32 = 50;

/// A deletion that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantDeletion {
    /// When.
    pub asked_at: UtcMillis,
    /// By whom, an address.
    pub asked_by: String,
    /// When it begins.
    pub due_at: UtcMillis,
}

/// A deletion that is due, for the process that works on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueDeletion {
    /// The tenant.
    pub tenant: TenantKey,
    /// Its slug: the first segment of the places of its files.
    pub tenant_id: TenantId,
    /// Whether everything was gone before: then this is the last look.
    pub is_last_look: bool,
}

/// A table of which a tenant's rows are to be deleted.
#[derive(Debug, Clone)]
pub struct TableToEmpty(OwnedTable);

impl Store {
    /// The deletion that was asked for, if one was.
    ///
    /// # Errors
    /// The database's own.
    pub async fn tenant_deletion(&self, tenant: TenantKey) -> Result<Option<TenantDeletion>, StoreError> {
        self.lookup(move |transaction| asked_for(transaction, tenant)).await
    }

    /// Asks for the deletion and tells every owner by mail. Asking again changes nothing.
    ///
    /// # Errors
    /// The database's own.
    pub async fn ask_for_tenant_deletion(
        &self,
        by: By,
        due_at: UtcMillis,
        letter: Letter,
        now: UtcMillis,
    ) -> Result<TenantDeletion, StoreError> {
        self.write(move |transaction| {
            if let Some(asked) = asked_for(transaction, by.tenant)? {
                return Ok(asked);
            }
            transaction.execute(
                "update tenants set deletion_asked_at = ?2, deletion_asked_by = ?3, deletion_due_at = ?4 where id = ?1",
                &values![by.tenant.0, now, &by.actor.id, due_at],
            )?;
            tell_owners(transaction, by.tenant, &letter, now)?;
            note(transaction, &by, Action::TenantDeletionRequested, json!({ "due_at": due_at }), now)?;
            asked_for(transaction, by.tenant)?.ok_or(StoreError::NotFound)
        })
        .await
    }

    /// Calls the deletion off and tells every owner by mail.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when none was asked for, or it has begun.
    pub async fn cancel_tenant_deletion(&self, by: By, letter: Letter, now: UtcMillis) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let changed = transaction.execute(
                "update tenants set deletion_asked_at = null, deletion_asked_by = null, deletion_due_at = null
                 where id = ?1 and deletion_due_at is not null and closed_at is null",
                &values![by.tenant.0],
            )?;
            if changed == 0 {
                return Err(StoreError::NotFound);
            }
            tell_owners(transaction, by.tenant, &letter, now)?;
            note(transaction, &by, Action::TenantDeletionCancelled, json!({}), now)
        })
        .await
    }

    /// Takes a deletion that is due and that no other process works on.
    ///
    /// # Errors
    /// The database's own.
    pub async fn take_tenant_deletion(&self, now: UtcMillis) -> Result<Option<DueDeletion>, StoreError> {
        self.write(move |transaction| {
            let due = transaction.first(
                "select id, tenant_id, emptied_at is not null from tenants
                 where deletion_due_at <= ?1 and (deletion_leased_until is null or deletion_leased_until <= ?1)
                     and (emptied_at is null or emptied_at <= ?2)
                 order by deletion_due_at, id limit 1",
                &values![now, now - LAST_LOOK_AFTER],
                |row| {
                    let tenant = TenantKey(row.get(0)?);
                    Ok(DueDeletion { tenant, tenant_id: row.parsed(1)?, is_last_look: row.get(2)? })
                },
            )?;
            if let Some(due) = &due {
                keep(transaction, due.tenant, now)?;
            }
            Ok(due)
        })
        .await
    }

    /// Goes on having a deletion for itself.
    ///
    /// # Errors
    /// The database's own.
    pub async fn keep_tenant_deletion(&self, tenant: TenantKey, now: UtcMillis) -> Result<(), StoreError> {
        self.write(move |transaction| keep(transaction, tenant, now)).await
    }

    /// Shuts everybody and everything of the tenant out, over all processes: certificates, edges, MQTT tools, people,
    /// their sessions and keys, invitations. False when the deletion was called off meanwhile, or a legal hold stands.
    ///
    /// # Errors
    /// The database's own.
    pub async fn close_tenant(&self, tenant: TenantKey, now: UtcMillis) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            if retention::is_on_hold(transaction, tenant)? {
                return Ok(false);
            }
            let closed = transaction.execute(
                "update tenants set closed_at = coalesce(closed_at, ?2) where id = ?1 and deletion_due_at <= ?2",
                &values![tenant.0, now],
            )?;
            if closed == 0 {
                return Ok(false);
            }
            shut_devices_out(transaction, tenant, now)?;
            shut_people_out(transaction, tenant, now)?;
            forget_mails(transaction, tenant)?;
            Ok(true)
        })
        .await
    }

    /// Some files of the tenant, stored or not.
    ///
    /// # Errors
    /// The database's own.
    pub async fn media_to_erase(&self, tenant: TenantKey, limit: u32) -> Result<Vec<Media>, StoreError> {
        self.lookup(move |transaction| media::of_tenant(transaction, tenant, limit)).await
    }

    /// The tables that hold rows of tenants, in the order in which they can be emptied.
    ///
    /// # Errors
    /// The database's own.
    pub async fn tables_to_empty(&self) -> Result<Vec<TableToEmpty>, StoreError> {
        let tables = self.lookup(catalog::owned_tables).await?;
        Ok(tables.into_iter().map(TableToEmpty).collect())
    }

    /// Deletes some of the tenant's rows of a table; returns how many. None means that there is none left.
    ///
    /// # Errors
    /// The database's own.
    pub async fn delete_tenants_rows(&self, tenant: TenantKey, table: &TableToEmpty) -> Result<u64, StoreError> {
        let TableToEmpty(OwnedTable { name, condition, key, is_referred_to }) = table;
        let sql = format!("delete from {name} where ({key}) in (select {key} from {name} where {condition} limit ?2)");
        let limit = if *is_referred_to { REFERRED_ROWS_AT_ONCE } else { ROWS_AT_ONCE };
        self.write(move |transaction| transaction.execute(&sql, &values![tenant.0, limit])).await
    }

    /// Writes down that everything of the tenant was found to be gone. After the last look its slug is free again, and
    /// nothing is left but the number of its row.
    ///
    /// # Errors
    /// The database's own.
    pub async fn tenant_emptied(&self, due: &DueDeletion, now: UtcMillis) -> Result<(), StoreError> {
        let sql = match due.is_last_look {
            false => {
                "update tenants set name = '', deletion_asked_by = null, emptied_at = ?2, deletion_leased_until = null
                 where id = ?1 and closed_at is not null"
            }
            true => {
                "update tenants set tenant_id = '#' || cast(id as text), deletion_asked_at = null,
                     deletion_due_at = null, deletion_leased_until = null, emptied_at = coalesce(emptied_at, ?2)
                 where id = ?1 and closed_at is not null"
            }
        };
        let tenant = due.tenant;
        self.write(move |transaction| transaction.execute(sql, &values![tenant.0, now])).await.map(drop)
    }
}

fn asked_for(transaction: &mut Transaction<'_>, tenant: TenantKey) -> Result<Option<TenantDeletion>, StoreError> {
    let sql = "select deletion_asked_at, deletion_asked_by, deletion_due_at from tenants
               where id = ?1 and deletion_due_at is not null and closed_at is null";
    transaction.first(sql, &values![tenant.0], |row: &Row| {
        Ok(TenantDeletion { asked_at: row.time(0)?, asked_by: row.get(1)?, due_at: row.time(2)? })
    })
}

fn keep(transaction: &mut Transaction<'_>, tenant: TenantKey, now: UtcMillis) -> Result<(), StoreError> {
    let sql = "update tenants set deletion_leased_until = ?2 where id = ?1 and deletion_due_at is not null";
    transaction.execute(sql, &values![tenant.0, now + LEASE]).map(drop)
}

fn tell_owners(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    (subject, text): &Letter,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let sql = "select email from users where tenant = ?1 and role = 'owner' and removed_at is null order by id";
    let owners: Vec<String> = transaction.all(sql, &values![tenant.0], |row| row.get(0))?;
    for to in owners {
        let (subject, text) = (subject.clone(), text.clone());
        enqueue(transaction, &NewMail { to, subject, text, html: None, useful_until: None }, now)?;
    }
    Ok(())
}

fn note(
    transaction: &mut Transaction<'_>,
    by: &By,
    action: Action,
    detail: serde_json::Value,
    at: UtcMillis,
) -> Result<(), StoreError> {
    let (actor, address) = (by.actor.clone(), by.address.clone());
    audit::append(transaction, &NewAudit { tenant: by.tenant, actor, address, action, subject: None, detail, at })
}

fn shut_devices_out(transaction: &mut Transaction<'_>, tenant: TenantKey, now: UtcMillis) -> Result<(), StoreError> {
    let sql = "update certificates set revoked_at = ?2 where tenant = ?1 and revoked_at is null returning fingerprint";
    let withdrawn = transaction.all(sql, &values![tenant.0, now], |row| row.get(0))?;
    // News that are too long for one message would be told as something missed, which is looked up seconds later.
    for some in withdrawn.chunks(50) {
        transaction.announce(News::Withdrawn(some.to_vec()));
    }
    let sql = "update edges set revoked_at = coalesce(revoked_at, ?2), secret_hash = null where tenant = ?1";
    transaction.execute(sql, &values![tenant.0, now])?;
    let sql = "update operators set revoked_at = coalesce(revoked_at, ?2) where tenant = ?1";
    transaction.execute(sql, &values![tenant.0, now]).map(drop)
}

fn shut_people_out(transaction: &mut Transaction<'_>, tenant: TenantKey, now: UtcMillis) -> Result<(), StoreError> {
    let given: [Value; 2] = values![tenant.0, now];
    for sql in [
        "update api_keys set revoked_at = coalesce(revoked_at, ?2) where tenant = ?1",
        "update sessions set ended_at = coalesce(ended_at, ?2)
         where person in (select id from users where tenant = ?1)",
    ] {
        transaction.execute(sql, &given)?;
    }
    for sql in [
        "update invitations set token_hash = null where tenant = ?1",
        "delete from sign_in_codes where person in (select id from users where tenant = ?1)",
        "delete from provider_flows where tenant = ?1",
        "delete from identity_providers where tenant = ?1",
    ] {
        transaction.execute(sql, &values![tenant.0])?;
    }
    let sql = "update users set disabled_at = coalesce(disabled_at, ?2), token_generation = token_generation + 1
               where tenant = ?1 returning id";
    for person in transaction.all(sql, &given, |row| row.get(0).map(UserKey))? {
        transaction.announce(News::User(person));
    }
    Ok(())
}

/// Mails name no tenant: those to its people are found by their addresses, which are nobody else's; those to people who
/// were only invited when they are over, because another tenant may have invited them too.
fn forget_mails(transaction: &mut Transaction<'_>, tenant: TenantKey) -> Result<(), StoreError> {
    for sql in [
        "delete from outgoing_mail where recipient in (select email from users where tenant = ?1)",
        "delete from outgoing_mail where (sent_at is not null or failed_at is not null)
             and recipient in (select email from invitations where tenant = ?1)",
    ] {
        transaction.execute(sql, &values![tenant.0])?;
    }
    Ok(())
}
