//! What edges should run and say they run.

use aivms_cloud_core::audit::Action;
use aivms_contract::desired::{Cameras, Desired, Reported, ReportedState, Settings};
use aivms_contract::id::EdgeId;
use aivms_contract::time::UtcMillis;
use serde_json::json;

use super::edges::edge_key;
use super::lists::Page;
use super::sql::{Row, Transaction, values};
use super::{EdgeKey, News, Store, StoreError, TenantKey, UserKey, audit};

/// Versions kept of each edge; older ones are forgotten.
pub const KEPT_VERSIONS: u64 = 100;

/// A version of a desired document.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredVersion {
    /// The document as the edge gets it, passwords of cameras included.
    pub document: Desired,
    /// When it was made.
    pub made_at: UtcMillis,
    /// Name of who made it, while that user exists.
    pub made_by: Option<String>,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq)]
pub enum DesiredChange {
    /// This is the newest version now.
    Done(Box<DesiredVersion>),
    /// The newest version is another one than the change is based on; 0 when there is none.
    Stale(u64),
}

/// What an edge said last of its desired document.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportedNow {
    /// What it said.
    pub reported: Reported,
    /// When the cloud took it.
    pub received_at: UtcMillis,
    /// The version it runs; 0 for its local files.
    pub runs: u64,
}

impl Store {
    /// The newest version of an edge's document, or the one named; `None` when there is no such version.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for an edge that is not there.
    pub async fn desired(
        &self,
        tenant: TenantKey,
        edge_id: &EdgeId,
        version: Option<u64>,
    ) -> Result<Option<DesiredVersion>, StoreError> {
        let edge_id = edge_id.clone();
        self.lookup(move |transaction| {
            let edge = edge_key(transaction, tenant, &edge_id)?.ok_or(StoreError::NotFound)?;
            match version {
                None => newest(transaction, edge),
                Some(version) => {
                    let sql = format!("{SELECT} where d.edge = ?1 and d.version = ?2");
                    transaction.first(&sql, &values![edge.0, number(version)], read)
                }
            }
        })
        .await
    }

    /// Makes the next version of an edge's document, if the newest one is still the one the change is `based_on`
    /// (0: none).
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for an edge that is not there or was withdrawn.
    pub async fn change_desired(
        &self,
        tenant: TenantKey,
        edge_id: &EdgeId,
        based_on: u64,
        content: (Cameras, Settings),
        by: UserKey,
        now: UtcMillis,
    ) -> Result<DesiredChange, StoreError> {
        let edge_id = edge_id.clone();
        self.write(move |transaction| {
            let edge = edge_key(transaction, tenant, &edge_id)?.ok_or(StoreError::NotFound)?;
            let current = newest(transaction, edge)?.map_or(0, |newest| newest.document.version);
            if current != based_on {
                return Ok(DesiredChange::Stale(current));
            }
            let (cameras, settings) = content.clone();
            let document = Desired { version: current + 1, cameras, settings };
            insert(transaction, tenant, edge, &document, by, now)?;
            let made = newest(transaction, edge)?.ok_or(StoreError::NotFound)?;
            let detail = json!({ "version": made.document.version });
            audit::note(transaction, tenant, Action::EdgeDesiredChanged, Some(edge_id.as_str()), detail, now)?;
            Ok(DesiredChange::Done(Box::new(made)))
        })
        .await
    }

    /// A page of an edge's versions, newest first, each with the version before it where that is kept; `before` is
    /// the last version of the page before.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for an edge that is not there.
    pub async fn desired_history(
        &self,
        tenant: TenantKey,
        edge_id: &EdgeId,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Page<(DesiredVersion, Option<DesiredVersion>)>, StoreError> {
        let edge_id = edge_id.clone();
        self.list(tenant, move |transaction| {
            let edge = edge_key(transaction, tenant, &edge_id)?.ok_or(StoreError::NotFound)?;
            let sql = format!("{SELECT} where d.edge = ?1 and d.version < ?2 order by d.version desc limit ?3");
            let values = values![edge.0, before.map_or(i64::MAX, number), limit.saturating_add(1)];
            let versions = transaction.all(&sql, &values, read)?;
            let older = versions.iter().skip(1).cloned().map(Some).chain([None]);
            Ok(Page::of(versions.iter().cloned().zip(older).collect(), limit))
        })
        .await
    }

    /// What an edge said last of its desired document; `None` when it never did.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for an edge that is not there.
    pub async fn reported(&self, tenant: TenantKey, edge_id: &EdgeId) -> Result<Option<ReportedNow>, StoreError> {
        let edge_id = edge_id.clone();
        self.lookup(move |transaction| {
            let edge = edge_key(transaction, tenant, &edge_id)?.ok_or(StoreError::NotFound)?;
            let sql =
                "select version, at, applied, field, reason, received_at, runs from reported_states where edge = ?1";
            transaction.first(sql, &values![edge.0], read_reported)
        })
        .await
    }

    /// Writes down what an edge says of its desired document.
    ///
    /// # Errors
    /// The database's own.
    pub async fn record_reported(&self, edge: EdgeKey, reported: Reported, now: UtcMillis) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let (applied, field, reason) = match &reported.state {
                ReportedState::Applied => (true, None, None),
                ReportedState::Refused { field, reason } => (false, Some(clean(field)), Some(clean(reason))),
            };
            // An edge that refuses a version goes on with the one it ran.
            transaction.execute(
                "insert into reported_states (edge, version, at, received_at, applied, field, reason, runs)
                 values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 on conflict (edge) do update set version = ?2, at = ?3, received_at = ?4, applied = ?5, field = ?6,
                     reason = ?7, runs = case when ?5 = 1 then ?2 else reported_states.runs end",
                &values![
                    edge.0,
                    number(reported.version),
                    reported.at,
                    now,
                    applied,
                    field,
                    reason,
                    if applied { number(reported.version) } else { 0 },
                ],
            )?;
            Ok(())
        })
        .await
    }

    /// The newest document of an edge for the edge itself.
    ///
    /// # Errors
    /// The database's own.
    pub async fn desired_for_edge(&self, edge: EdgeKey) -> Result<Option<Desired>, StoreError> {
        self.lookup(move |transaction| Ok(newest(transaction, edge)?.map(|newest| newest.document))).await
    }
}

const SELECT: &str = "select d.document, d.made_at, u.name
    from desired_documents d left join users u on u.id = d.made_by";

fn newest(transaction: &mut Transaction<'_>, edge: EdgeKey) -> Result<Option<DesiredVersion>, StoreError> {
    let sql = format!("{SELECT} where d.edge = ?1 order by d.version desc limit 1");
    transaction.first(&sql, &values![edge.0], read)
}

fn insert(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    edge: EdgeKey,
    document: &Desired,
    by: UserKey,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let json = serde_json::to_string(document).map_err(|error| StoreError::Database(error.to_string()))?;
    transaction.execute(
        "insert into desired_documents (edge, version, tenant, document, made_at, made_by)
         values (?1, ?2, ?3, ?4, ?5, ?6)",
        &values![edge.0, number(document.version), tenant.0, json, now, by.0],
    )?;
    let oldest = document.version.saturating_sub(KEPT_VERSIONS);
    transaction
        .execute("delete from desired_documents where edge = ?1 and version <= ?2", &values![edge.0, number(oldest)])?;
    transaction.announce(News::Edge(edge));
    Ok(())
}

fn read(row: &Row) -> Result<DesiredVersion, StoreError> {
    let document = serde_json::from_str(&row.get::<String>(0)?)
        .map_err(|error| StoreError::Database(format!("a stored document is damaged: {error}")))?;
    Ok(DesiredVersion { document, made_at: row.time(1)?, made_by: row.get(2)? })
}

fn read_reported(row: &Row) -> Result<ReportedNow, StoreError> {
    let state = if row.get(2)? {
        ReportedState::Applied
    } else {
        let text = |index| row.get::<Option<String>>(index).map(Option::unwrap_or_default);
        ReportedState::Refused { field: text(3)?, reason: text(4)? }
    };
    let reported = Reported { version: row.get(0)?, at: row.time(1)?, state };
    Ok(ReportedNow { reported, received_at: row.time(5)?, runs: row.get(6)? })
}

/// A version as databases keep numbers.
fn number(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

/// Databases keep texts without NUL only.
fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
