//! How long a tenant keeps what: its policy, what is over, and how much there is.

use std::collections::{BTreeMap, BTreeSet};

use aivms_cloud_core::analytics::Quarter;
use aivms_cloud_core::audit::Action;
use aivms_cloud_core::retention::{Kept, Policy};
use aivms_contract::id::EventId;
use aivms_contract::media::MediaKind;
use aivms_contract::time::UtcMillis;
use aivms_contract::topic::UpKind;
use serde_json::json;

use super::events::kind_number;
use super::media::{self, Media, MediaKey};
use super::sql::{Transaction, values};
use super::{Store, StoreError, TenantKey, alerts, audit, media_locks, quarters};

/// Events deleted in one transaction: ingest waits no longer than for a batch of its own.
pub(crate) const DELETED_AT_ONCE: u32 = 500;

/// A number of things and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// How many.
    pub count: u64,
    /// Bytes of all of them: of bodies for events, of files for clips and snapshots.
    pub bytes: u64,
}

/// What a tenant has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    /// By kind.
    pub kinds: BTreeMap<Kept, Amount>,
    /// Edges, also withdrawn ones.
    pub edges: u64,
    /// Bytes that count against the quota of files, also of those on their way.
    pub file_bytes: u64,
}

impl Store {
    /// A tenant's policy; without one everything is kept for ever.
    ///
    /// # Errors
    /// The database's own.
    pub async fn retention_policy(&self, tenant: TenantKey) -> Result<Policy, StoreError> {
        self.lookup(move |transaction| {
            let sql = "select policy from retention_policies where tenant = ?1";
            transaction
                .first(sql, &values![tenant.0], |row| policy(&row.get::<String>(0)?))
                .map(Option::unwrap_or_default)
        })
        .await
    }

    /// Sets a tenant's policy.
    ///
    /// # Errors
    /// The database's own.
    pub async fn set_retention_policy(
        &self,
        tenant: TenantKey,
        policy: Policy,
        now: UtcMillis,
    ) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let detail = json!(policy);
            transaction.execute(
                "insert into retention_policies (tenant, policy, changed_at) values (?1, ?2, ?3)
                 on conflict (tenant) do update set policy = excluded.policy, changed_at = excluded.changed_at",
                &values![tenant.0, detail.to_string(), now],
            )?;
            audit::note(transaction, tenant, Action::RetentionChanged, None, detail, now)
        })
        .await
    }

    /// Policies of all tenants that have one.
    ///
    /// # Errors
    /// The database's own.
    pub async fn retention_policies(&self) -> Result<Vec<(TenantKey, Policy)>, StoreError> {
        self.lookup(|transaction| {
            let sql = "select tenant, policy from retention_policies order by tenant";
            transaction.all(sql, &[], |row| Ok((TenantKey(row.get(0)?), policy(&row.get::<String>(1)?)?)))
        })
        .await
    }

    /// Deletes the oldest events of a kind from before `before`, at most [`DELETED_AT_ONCE`]; returns how many. The
    /// policy is asked again in the same transaction: a hold that was set meanwhile wins.
    ///
    /// # Errors
    /// The database's own.
    pub async fn delete_expired_events(
        &self,
        tenant: TenantKey,
        kept: Kept,
        now: UtcMillis,
    ) -> Result<u64, StoreError> {
        self.write(move |transaction| {
            let sql = "select policy from retention_policies where tenant = ?1";
            let policy = transaction.first(sql, &values![tenant.0], |row| policy(&row.get::<String>(0)?))?;
            match policy.and_then(|policy| policy.cutoff(kept, now)) {
                Some(before) => delete_events(transaction, tenant, kept, before),
                None => Ok(0),
            }
        })
        .await
    }

    /// Deletes some raised alerts that are resolved and over, with all that belongs to them; returns how many. As
    /// [`Store::delete_expired_events`], the policy is asked again.
    ///
    /// # Errors
    /// The database's own.
    pub async fn delete_expired_alerts(&self, tenant: TenantKey, now: UtcMillis) -> Result<u64, StoreError> {
        self.write(move |transaction| {
            let sql = "select policy from retention_policies where tenant = ?1";
            let policy = transaction.first(sql, &values![tenant.0], |row| policy(&row.get::<String>(0)?))?;
            match policy.and_then(|policy| policy.cutoff(Kept::Alerts, now)) {
                Some(before) => alerts::delete_expired(transaction, tenant, before),
                None => Ok(0),
            }
        })
        .await
    }

    /// Stored files of clips or snapshots from before `before` that nobody locked, oldest first.
    ///
    /// # Errors
    /// The database's own.
    pub async fn expired_media(
        &self,
        tenant: TenantKey,
        kind: MediaKind,
        before: UtcMillis,
        limit: u32,
    ) -> Result<Vec<Media>, StoreError> {
        self.lookup(move |transaction| media::stored_before(transaction, tenant, kind, before, limit)).await
    }

    /// Forgets a stored file whose bytes are gone, and gives them back to the tenant.
    ///
    /// # Errors
    /// The database's own.
    pub async fn forget_stored_media(&self, key: MediaKey) -> Result<bool, StoreError> {
        self.write(move |transaction| media::forget_stored(transaction, key)).await
    }

    /// Tells the audit log what retention deleted.
    ///
    /// # Errors
    /// The database's own.
    pub async fn tell_of_retention(
        &self,
        tenant: TenantKey,
        deleted: BTreeMap<&'static str, u64>,
        now: UtcMillis,
    ) -> Result<(), StoreError> {
        self.write(move |transaction| {
            audit::note(transaction, tenant, Action::RetentionDeleted, None, json!(deleted), now)
        })
        .await
    }

    /// What a policy would delete at `now`, by kind; kinds of which it deletes nothing are left out.
    ///
    /// # Errors
    /// [`StoreError::TooSlow`] when too much has to be read.
    pub async fn would_delete(
        &self,
        tenant: TenantKey,
        policy: Policy,
        now: UtcMillis,
    ) -> Result<BTreeMap<Kept, Amount>, StoreError> {
        self.list(tenant, move |transaction| {
            let mut amounts = BTreeMap::new();
            for kept in Kept::ALL {
                let Some(before) = policy.cutoff(kept, now) else { continue };
                let mut amount = amount_before(transaction, tenant, kept, Some(before))?;
                if kept == Kept::Alerts {
                    amount.count += alerts::expired(transaction, tenant, before)?;
                }
                if amount.count > 0 {
                    amounts.insert(kept, amount);
                }
            }
            Ok(amounts)
        })
        .await
    }

    /// What a tenant has.
    ///
    /// # Errors
    /// [`StoreError::TooSlow`] when too much has to be read.
    pub async fn usage(&self, tenant: TenantKey) -> Result<Usage, StoreError> {
        self.list(tenant, move |transaction| {
            let mut usage = Usage::default();
            for kept in Kept::ALL {
                usage.kinds.insert(kept, amount_before(transaction, tenant, kept, None)?);
            }
            let sql = "select count(*) from edges where tenant = ?1";
            let edges: Option<u64> = transaction.first(sql, &values![tenant.0], |row| row.get(0))?;
            usage.edges = edges.unwrap_or_default();
            let sql = "select bytes from media_totals where tenant = ?1";
            let bytes: Option<u64> = transaction.first(sql, &values![tenant.0], |row| row.get(0))?;
            usage.file_bytes = bytes.unwrap_or_default();
            Ok(usage)
        })
        .await
    }
}

/// Whether a legal hold stands.
pub(super) fn is_on_hold(transaction: &mut Transaction<'_>, tenant: TenantKey) -> Result<bool, StoreError> {
    let sql = "select policy from retention_policies where tenant = ?1";
    let found = transaction.first(sql, &values![tenant.0], |row| policy(&row.get::<String>(0)?))?;
    Ok(found.is_some_and(|policy| policy.legal_hold))
}

fn policy(text: &str) -> Result<Policy, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Database(format!("a retention policy: {error}")))
}

/// The kind of the events of what is kept.
fn event_kind(kept: Kept) -> UpKind {
    match kept {
        Kept::Detections => UpKind::Detections,
        Kept::ZoneEvents => UpKind::ZoneEvents,
        Kept::Alerts => UpKind::Alerts,
        Kept::Health => UpKind::Health,
        Kept::Clips => UpKind::Clips,
        Kept::Snapshots => UpKind::Snapshots,
        Kept::Footage => UpKind::Footage,
    }
}

/// What holds for events of clips and snapshots whose file nobody has locked.
const NOT_LOCKED: &str = " and not exists (select 1 from media m
    where m.tenant = events.tenant and m.edge = events.edge and m.media_id = events.subject and m.locked_at is not null
        and m.kind = case events.kind when 5 then 1 else 2 end)";

fn delete_events(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    kept: Kept,
    before: UtcMillis,
) -> Result<u64, StoreError> {
    let kind = kind_number(event_kind(kept));
    let unlocked = if matches!(kept, Kept::Clips | Kept::Snapshots) { NOT_LOCKED } else { "" };
    let sql =
        format!("select id from events where tenant = ?1 and kind = ?2 and id < ?3{unlocked} order by id limit ?4");
    let values = values![tenant.0, kind, EventId::first_at(before), DELETED_AT_ONCE];
    let ids: Vec<EventId> = transaction.all(&sql, &values, |row| row.get::<[u8; 16]>(0).map(EventId::from_bytes))?;
    let Some(last) = ids.last() else { return Ok(0) };
    let sql = format!("delete from events where tenant = ?1 and kind = ?2 and id <= ?3{unlocked}");
    let deleted = transaction.execute(&sql, &values![tenant.0, kind, *last])?;
    let quarters: BTreeSet<_> = ids.iter().map(|id| (tenant, Quarter::of(id.at()))).collect();
    quarters::mark(transaction, &quarters)?;
    Ok(deleted)
}

/// How much there is of a kind from before `before`.
fn amount_before(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    kept: Kept,
    before: Option<UtcMillis>,
) -> Result<Amount, StoreError> {
    let files = match kept {
        Kept::Clips => Some(MediaKind::Clip),
        Kept::Snapshots => Some(MediaKind::Snapshot),
        _ => None,
    };
    let events = quarters::events_before(transaction, tenant, event_kind(kept), before)?;
    let Some(files) = files else { return Ok(events) };
    // A clip is an event and, once it has arrived, a file; its bytes are the file's.
    let bytes = media::stored_bytes(transaction, tenant, files, before)?;
    let locked = match before {
        Some(before) => media_locks::locked_before(transaction, tenant, files, before)?,
        None => 0,
    };
    Ok(Amount { count: events.count.saturating_sub(locked), bytes })
}
