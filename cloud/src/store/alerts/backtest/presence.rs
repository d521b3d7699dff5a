//! What was told of edges that went, came or took each other's place over, for a back-test.

use std::collections::HashMap;
use std::time::Duration;

use aivms_cloud_core::rules::Occurrence;
use aivms_contract::id::EdgeId;
use aivms_contract::time::UtcMillis;

use super::super::super::PresenceKind;
use super::super::super::sql::{Transaction, values};
use super::{STEP, StoreError, Stored, TenantKey};

/// How much the clocks of two servers may differ without anything being left out.
const SKEW: Duration = Duration::from_secs(3_600);

/// Edges that are told offline, each with its last sign of life, as far as the walk has come.
#[derive(Debug, Default)]
pub(super) struct Gone(HashMap<i64, UtcMillis>);

/// Something that was told.
struct Told {
    number: i64,
    noted_at: UtcMillis,
    at: UtcMillis,
    kind: PresenceKind,
    detail: Option<String>,
    edge: i64,
    edge_id: EdgeId,
}

/// The number of the last thing told before those in question, so that older ones are not read. Nothing is told before
/// it has happened.
pub(super) fn before(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    [start, _]: [UtcMillis; 2],
) -> Result<i64, StoreError> {
    let indexed = transaction.dialect().indexed_by("presence_events_in_order");
    let sql =
        format!("select id from presence_events{indexed} where tenant = ?1 and noted_at < ?2 order by id desc limit 1");
    let found = transaction.first(&sql, &values![tenant.0, start - SKEW], |row| row.get(0))?;
    Ok(found.unwrap_or_default())
}

impl Gone {
    /// The next things told in the order of telling, which is the order in which rules were asked: each was written
    /// down in the transaction that asked them. Answers itself, too, for the step after.
    pub(super) fn next(
        mut self,
        transaction: &mut Transaction<'_>,
        tenant: TenantKey,
        [start, end]: [UtcMillis; 2],
        after: i64,
    ) -> Result<(Vec<Stored>, Self), StoreError> {
        let rows = read(transaction, tenant, after)?.into_iter().map(|told| {
            let (number, at) = (told.number, told.noted_at);
            let is_in_question = start <= told.at && told.at < end;
            let tells = self.tells(transaction, tenant, told)?.filter(|_| is_in_question);
            Ok(Stored { number, at, tells: tells.into_iter().collect() })
        });
        let rows = rows.collect::<Result<_, StoreError>>()?;
        Ok((rows, self))
    }

    /// What rules were asked about when it was told.
    fn tells(
        &mut self,
        transaction: &mut Transaction<'_>,
        tenant: TenantKey,
        told: Told,
    ) -> Result<Option<Occurrence>, StoreError> {
        let gone = match told.kind {
            PresenceKind::Offline => self.0.insert(told.edge, told.at).and(None),
            PresenceKind::Online => match self.0.remove(&told.edge) {
                None => gone_before(transaction, tenant, &told)?,
                known => known,
            },
            PresenceKind::TakeOver => None,
        };
        Ok(told.kind.tells(told.edge_id, told.at, gone, told.detail.as_deref()))
    }
}

/// With which last sign of life an edge was told offline before the walk began.
fn gone_before(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    told: &Told,
) -> Result<Option<UtcMillis>, StoreError> {
    let indexed = transaction.dialect().indexed_by("presence_events_of_edge");
    let sql = format!(
        "select at from presence_events{indexed}
         where tenant = ?1 and edge = ?2 and id < ?3 and kind = 'offline' order by id desc limit 1"
    );
    transaction.first(&sql, &values![tenant.0, told.edge, told.number], |row| row.time(0))
}

fn read(transaction: &mut Transaction<'_>, tenant: TenantKey, after: i64) -> Result<Vec<Told>, StoreError> {
    let (dialect, index) = (transaction.dialect(), "presence_events_in_order");
    let (indexed, join) = (dialect.indexed_by(index), dialect.joined_to_driver());
    let sql = format!(
        "select p.id, p.noted_at, p.at, p.kind, p.detail, p.edge, e.edge_id
         from presence_events p{indexed} {join} edges e on e.id = p.edge
         where p.tenant = ?1 and p.id > ?2 order by p.id limit ?3"
    );
    transaction.all(&sql, &values![tenant.0, after, STEP], |row| {
        Ok(Told {
            number: row.get(0)?,
            noted_at: row.time(1)?,
            at: row.time(2)?,
            kind: row.parsed(3)?,
            detail: row.get(4)?,
            edge: row.get(5)?,
            edge_id: row.parsed(6)?,
        })
    })
}
