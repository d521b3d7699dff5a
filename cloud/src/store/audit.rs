//! The audit log: entries are appended in the transaction of what they tell of.

use std::time::Duration;

use aivms_cloud_core::audit::{Action, Actor, Entry, Hash, Head, NOTHING_BEFORE, Report, Sealed, Verifier};
use aivms_contract::id::TenantId;
use aivms_contract::time::UtcMillis;
use serde_json::{Map, Value as Json};

use super::sql::{Row, Transaction, Value, values};
use super::{Doer, Page, Store, StoreError, TenantKey};

/// Rows read at once while a chain is walked.
const WALK: u32 = 2_000;

/// An entry to be appended.
#[derive(Debug, Clone)]
pub struct NewAudit {
    /// Whose chain it goes to.
    pub tenant: TenantKey,
    /// Who did it.
    pub actor: Actor,
    /// The network address it came from, if there was one.
    pub address: Option<String>,
    /// What was done.
    pub action: Action,
    /// What it was done to: an id, or `<edge>/<camera>`.
    pub subject: Option<String>,
    /// More about it: a small JSON object, never with secrets.
    pub detail: Json,
    /// When.
    pub at: UtcMillis,
}

/// Which entries are asked for; `None` means all.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Not before.
    pub start: Option<UtcMillis>,
    /// Before, exclusive.
    pub end: Option<UtcMillis>,
    /// By this actor's id.
    pub actor: Option<String>,
    /// This action.
    pub action: Option<String>,
    /// About this subject.
    pub subject: Option<String>,
}

/// Appends an entry to its tenant's chain, in the caller's transaction: it stands if and only if the change does.
/// Whoever appends waits for others who append to the same chain, so append last.
///
/// # Errors
/// [`StoreError::NotFound`] for a tenant that is not there.
pub(crate) fn append(transaction: &mut Transaction<'_>, new: &NewAudit) -> Result<(), StoreError> {
    let tenant = new.tenant.0;
    let name = "select tenant_id from tenants where id = ?1";
    let tenant_id: TenantId =
        transaction.first(name, &values![tenant], |row| row.parsed(0))?.ok_or(StoreError::NotFound)?;
    let head = head(transaction, new.tenant)?;
    let entry = Entry {
        seq: head.seq + 1,
        tenant: tenant_id,
        at: new.at,
        actor: new.actor.clone(),
        address: new.address.clone(),
        action: new.action.as_str().to_owned(),
        subject: new.subject.clone(),
        detail: Entry::detail_text(&members(&new.detail)),
    }
    .bounded();
    let hash = entry.hash(&head.hash);
    // The head first: two who append at once meet here, and one of them begins again.
    transaction.execute(
        "insert into audit_heads (tenant, seq, hash) values (?1, ?2, ?3)
         on conflict (tenant) do update set seq = excluded.seq, hash = excluded.hash",
        &values![tenant, number(head.seq + 1)?, hash],
    )?;
    insert(transaction, new.tenant, &Sealed { entry, previous: head.hash, hash })
}

/// Appends an entry by whom the transaction's store handle works for, see [`Store::by`].
///
/// # Errors
/// As [`append`].
pub(crate) fn note(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    action: Action,
    subject: Option<&str>,
    detail: Json,
    at: UtcMillis,
) -> Result<(), StoreError> {
    let Doer { actor, address } = transaction.doer();
    append(transaction, &NewAudit { tenant, actor, address, action, subject: subject.map(Into::into), detail, at })
}

/// Appends an entry unless the same actor did the same to the same less than `span` ago.
///
/// # Errors
/// As [`append`].
pub(crate) fn append_folded(
    transaction: &mut Transaction<'_>,
    entry: &NewAudit,
    span: Duration,
) -> Result<(), StoreError> {
    let (tenant, fold) = (entry.tenant.0, fold(entry));
    if is_folded(transaction, entry)? {
        return Ok(());
    }
    transaction.execute("delete from audit_folds where tenant = ?1 and until <= ?2", &values![tenant, entry.at])?;
    transaction.execute(
        "insert into audit_folds (tenant, fold, until) values (?1, ?2, ?3)
         on conflict (tenant, fold) do update set until = excluded.until",
        &values![tenant, fold, entry.at + span],
    )?;
    append(transaction, entry)
}

impl Store {
    /// Appends an entry about something that changes nothing else in the database.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for a tenant that is not there.
    pub async fn audit(&self, entry: NewAudit) -> Result<(), StoreError> {
        self.write(move |transaction| append(transaction, &entry)).await
    }

    /// Appends entries, such as about viewings, each unless the same was told less than `span` ago. Costs no write when
    /// all of them were.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for a tenant that is not there.
    pub async fn audit_views(&self, entries: Vec<NewAudit>, span: Duration) -> Result<(), StoreError> {
        let fresh = self.lookup(move |transaction| {
            let mut fresh = Vec::new();
            for entry in entries {
                if !is_folded(transaction, &entry)? {
                    fresh.push(entry);
                }
            }
            Ok(fresh)
        });
        let fresh = fresh.await?;
        if fresh.is_empty() {
            return Ok(());
        }
        self.write(move |transaction| fresh.iter().try_for_each(|entry| append_folded(transaction, entry, span))).await
    }

    /// A page of a tenant's entries, newest first; `before` is the place of the last entry of the page before.
    ///
    /// # Errors
    /// The database's own.
    pub async fn audit_entries(
        &self,
        tenant: TenantKey,
        filter: AuditFilter,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Page<Entry>, StoreError> {
        self.list(tenant, move |transaction| {
            let before = before.map(|before| i64::try_from(before).unwrap_or(i64::MAX));
            let mut items = listed(transaction, tenant, &filter, ("seq < ", before), "desc", limit)?;
            let more = items.len() > limit as usize;
            items.truncate(limit as usize);
            Ok(Page { items: items.into_iter().map(|sealed| sealed.entry).collect(), more })
        })
        .await
    }

    /// Up to `limit` of a tenant's entries after a place, oldest first.
    ///
    /// # Errors
    /// The database's own.
    pub async fn audit_after(
        &self,
        tenant: TenantKey,
        filter: AuditFilter,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Sealed>, StoreError> {
        self.list(tenant, move |transaction| {
            let after = Some(number(after)?);
            let mut found = listed(transaction, tenant, &filter, ("seq > ", after), "asc", limit)?;
            found.truncate(limit as usize);
            Ok(found)
        })
        .await
    }

    /// Walks a tenant's whole chain. `noted` is a head that somebody kept outside the database.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for a tenant that is not there.
    pub async fn verify_audit(&self, tenant: TenantKey, noted: Option<Head>) -> Result<Report, StoreError> {
        let begin = self.lookup(move |transaction| {
            let name = "select tenant_id from tenants where id = ?1";
            let tenant_id = transaction.first(name, &values![tenant.0], |row| row.parsed(0))?;
            Ok((tenant_id.ok_or(StoreError::NotFound)?, head(transaction, tenant)?))
        });
        let (tenant_id, end): (TenantId, Head) = begin.await?;
        let mut verifier = Verifier::new(tenant_id, end, noted);
        let mut after = 0;
        loop {
            let rows = self.audit_after(tenant, AuditFilter::default(), after, WALK).await?;
            // What is appended meanwhile comes after the head that was read: it is for the next walk.
            let is_last = rows.len() < WALK as usize;
            let appended = self.lookup(move |transaction| head(transaction, tenant)).await?.seq;
            for row in rows.iter().filter(|row| row.entry.seq <= end.seq || row.entry.seq > appended) {
                verifier.take(row);
            }
            match rows.last() {
                Some(last) if !is_last && last.entry.seq < end.seq => after = last.entry.seq,
                _ => return Ok(verifier.finish()),
            }
        }
    }

    /// Every tenant, by its row: for those who look after the whole database.
    ///
    /// # Errors
    /// The database's own.
    pub async fn tenants(&self) -> Result<Vec<(TenantKey, TenantId)>, StoreError> {
        self.lookup(|transaction| {
            let sql = "select id, tenant_id from tenants where closed_at is null order by id";
            transaction.all(sql, &[], |row| Ok((TenantKey(row.get(0)?), row.parsed(1)?)))
        })
        .await
    }
}

/// The end of a tenant's chain.
pub(super) fn head(transaction: &mut Transaction<'_>, tenant: TenantKey) -> Result<Head, StoreError> {
    let sql = "select seq, hash from audit_heads where tenant = ?1";
    let head = transaction.first(sql, &values![tenant.0], |row| Ok(Head { seq: row.get(0)?, hash: row.get(1)? }))?;
    Ok(head.unwrap_or(Head { seq: 0, hash: NOTHING_BEFORE }))
}

fn is_folded(transaction: &mut Transaction<'_>, entry: &NewAudit) -> Result<bool, StoreError> {
    let sql = "select 1 from audit_folds where tenant = ?1 and fold = ?2 and until > ?3";
    transaction.exists(sql, &values![entry.tenant.0, fold(entry), entry.at])
}

/// What makes two viewings the same. None of the parts holds a line feed.
fn fold(entry: &NewAudit) -> String {
    let NewAudit { actor, address, action, subject, .. } = entry;
    let [address, subject] = [address, subject].map(|text| text.as_deref().unwrap_or_default());
    // People move between networks while they look; whoever has a link is told apart by nothing else.
    let whence = if actor.id.is_empty() { address } else { "" };
    format!("{}\n{}\n{whence}\n{action}\n{subject}", actor.kind, actor.id)
}

fn members(detail: &Json) -> Map<String, Json> {
    match detail {
        Json::Object(members) => members.clone(),
        Json::Null => Map::new(),
        other => Map::from_iter([("value".to_owned(), other.clone())]),
    }
}

fn insert(transaction: &mut Transaction<'_>, tenant: TenantKey, sealed: &Sealed) -> Result<(), StoreError> {
    let Entry { seq, at, actor, address, action, subject, detail, .. } = &sealed.entry;
    let [address, subject] = [address, subject].map(|text| text.as_deref());
    transaction.execute(
        "insert into audit_entries (tenant, seq, at, actor_kind, actor_id, actor_name, address, action, subject,
             detail, previous, hash)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        &values![
            tenant.0,
            number(*seq)?,
            *at,
            actor.kind.as_str(),
            &actor.id,
            &actor.name,
            address,
            action,
            subject,
            detail,
            sealed.previous,
            sealed.hash,
        ],
    )?;
    Ok(())
}

/// One more than `limit` of the entries that match.
fn listed(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    filter: &AuditFilter,
    (place, bound): (&str, Option<i64>),
    order: &str,
    limit: u32,
) -> Result<Vec<Sealed>, StoreError> {
    let mut sql = "select t.tenant_id, a.seq, a.at, a.actor_kind, a.actor_id, a.actor_name, a.address, a.action,
            a.subject, a.detail, a.previous, a.hash
        from audit_entries a join tenants t on t.id = a.tenant where a.tenant = ?1"
        .to_owned();
    let mut given = vec![Value::Int(tenant.0)];
    let AuditFilter { start, end, actor, action, subject } = filter;
    for (condition, value) in [
        (place, bound.map(Value::Int)),
        ("at >= ", start.map(Value::from)),
        ("at < ", end.map(Value::from)),
        ("actor_id = ", actor.as_deref().map(Value::from)),
        ("action = ", action.as_deref().map(Value::from)),
        ("subject = ", subject.as_deref().map(Value::from)),
    ] {
        if let Some(value) = value {
            given.push(value);
            sql.push_str(&format!(" and a.{condition}?{}", given.len()));
        }
    }
    given.push(Value::from(i64::from(limit) + 1));
    sql.push_str(&format!(" order by a.seq {order} limit ?{}", given.len()));
    transaction.all(&sql, &given, read)
}

fn read(row: &Row) -> Result<Sealed, StoreError> {
    let entry = Entry {
        tenant: row.parsed(0)?,
        seq: row.get(1)?,
        at: row.time(2)?,
        actor: Actor { kind: row.parsed(3)?, id: row.get(4)?, name: row.get(5)? },
        address: row.get(6)?,
        action: row.get(7)?,
        subject: row.get(8)?,
        detail: row.get(9)?,
    };
    Ok(Sealed { entry, previous: row.get::<Hash>(10)?, hash: row.get::<Hash>(11)? })
}

fn number(seq: u64) -> Result<i64, StoreError> {
    i64::try_from(seq).map_err(|_| StoreError::Database(format!("seq: {seq} is beyond 2^63")))
}
