//! Counts of closed quarters of an hour, made in the background.
//!
//! [`mark`] notes in the transaction that changes events which quarters have to be counted (again). A count has two
//! steps with a pause between them that is longer than any transaction: the first says that it begins, the second,
//! after all transactions that may not have seen that have ended, reads the events and keeps the counts if no mark was
//! renewed meanwhile. So the events are read outside of any writing transaction, and ingest never waits for a count.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aivms_cloud_core::analytics::{Quarter, Tally};
use aivms_contract::id::EventId;
use aivms_contract::time::UtcMillis;
use aivms_contract::topic::UpKind;

use super::day_counts;
use super::events::kind_number;
use super::retention::Amount;
use super::sql::{Row, Transaction, values};
use super::{Store, StoreError, TenantKey};

/// After its end a quarter is given this long for events on their way.
const SETTLED: Duration = Duration::from_secs(120);
/// Between the steps of a count: longer than any transaction may take.
pub(crate) const PAUSE: Duration = Duration::from_secs(45);
/// A count that has not been ended by now was given up by a process that was killed.
const GIVEN_UP: Duration = Duration::from_secs(600);
/// Quarters begun at once.
const BEGUN_AT_ONCE: u32 = 400;
/// Quarters of earlier versions marked in one transaction.
const MARKED_AT_ONCE: usize = 200;
/// Parts in which a quarter is read, so that each is short.
const PARTS: i64 = 15;

/// A count that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    tenant: TenantKey,
    quarter: Quarter,
    since: UtcMillis,
}

/// What was counted in a quarter.
#[derive(Debug, Clone, Default)]
struct Counted {
    /// Events and bytes by kind.
    kinds: BTreeMap<i64, (i64, i64)>,
    /// Detections by edge, camera and class.
    detections: BTreeMap<[i64; 3], i64>,
    /// By edge, camera, zone and class.
    zones: BTreeMap<[i64; 4], Tally>,
}

/// Notes that these quarters must be counted, again if they have been.
///
/// # Errors
/// The database's own.
pub(super) fn mark(
    transaction: &mut Transaction<'_>,
    quarters: &BTreeSet<(TenantKey, Quarter)>,
) -> Result<(), StoreError> {
    for (tenant, quarter) in quarters {
        let key = values![tenant.0, quarter.0];
        let idle = "select 1 from quarter_marks where tenant = ?1 and quarter = ?2 and counting_since is null";
        // Looked at first: nearly always it is there, and reading it stands in nobody's way.
        if !transaction.exists(idle, &key)? {
            transaction.execute(
                "insert into quarter_marks (tenant, quarter) values (?1, ?2)
                 on conflict (tenant, quarter) do update set counting_since = null",
                &key,
            )?;
        }
    }
    Ok(())
}

impl Store {
    /// Begins to count quarters that have settled, and those whose count was given up.
    ///
    /// # Errors
    /// The database's own.
    pub async fn begin_counts(&self, now: UtcMillis) -> Result<u64, StoreError> {
        let settled = Quarter::of(now - SETTLED);
        self.write(move |transaction| {
            transaction.execute(
                "update quarter_marks set counting_since = ?1 where (tenant, quarter) in
                     (select tenant, quarter from quarter_marks
                      where (counting_since is null or counting_since < ?2) and quarter < ?3 limit ?4)",
                &values![now, now - GIVEN_UP, settled.0, BEGUN_AT_ONCE],
            )
        })
        .await
    }

    /// Counts that have begun and can be ended.
    ///
    /// # Errors
    /// The database's own.
    pub async fn counts_to_end(&self, now: UtcMillis) -> Result<Vec<Count>, StoreError> {
        self.lookup(move |transaction| {
            transaction.all(
                "select tenant, quarter, counting_since from quarter_marks where counting_since <= ?1
                 order by counting_since, tenant, quarter limit ?2",
                &values![now - PAUSE, BEGUN_AT_ONCE],
                |row| Ok(Count { tenant: TenantKey(row.get(0)?), quarter: Quarter(row.get(1)?), since: row.time(2)? }),
            )
        })
        .await
    }

    /// Reads the events of a quarter and keeps the counts; false when events came or went meanwhile, or somebody else
    /// has ended it.
    ///
    /// # Errors
    /// The database's own.
    pub async fn end_count(&self, count: Count) -> Result<bool, StoreError> {
        let mut counted = Counted::default();
        let (start, end) = (count.quarter.start().as_millis(), count.quarter.end().as_millis());
        let part = (end - start) / PARTS;
        for number in 0..PARTS {
            let from = UtcMillis::from_millis(start + number * part);
            let to = UtcMillis::from_millis(start + (number + 1) * part);
            let read = self.list(count.tenant, move |transaction| read(transaction, count.tenant, from, to)).await?;
            counted.merge(read);
        }
        self.write(move |transaction| {
            let gone = transaction.execute(
                "delete from quarter_marks where tenant = ?1 and quarter = ?2 and counting_since = ?3",
                &values![count.tenant.0, count.quarter.0, count.since],
            )?;
            if gone == 1 {
                keep(transaction, count, &counted)?;
            }
            Ok(gone == 1)
        })
        .await
    }

    /// Marks quarters in which events of an earlier version lie; true when there may be more.
    ///
    /// # Errors
    /// The database's own.
    pub async fn mark_backlog(&self) -> Result<bool, StoreError> {
        self.write(|transaction| {
            let sql = "select tenant, next_quarter from quarter_backlogs order by tenant limit 1";
            let found = transaction.first(sql, &[], |row| Ok((TenantKey(row.get(0)?), Quarter(row.get(1)?))))?;
            let Some((tenant, next)) = found else { return Ok(false) };
            mark_some(transaction, tenant, next)?;
            Ok(true)
        })
        .await
    }
}

fn mark_some(transaction: &mut Transaction<'_>, tenant: TenantKey, mut next: Quarter) -> Result<(), StoreError> {
    let mut found = BTreeSet::new();
    while found.len() < MARKED_AT_ONCE {
        let sql = "select id from events where tenant = ?1 and id >= ?2 order by id limit 1";
        let id: Option<[u8; 16]> =
            transaction.first(sql, &values![tenant.0, EventId::first_at(next.start())], |row| row.get(0))?;
        let Some(id) = id else {
            transaction.execute("delete from quarter_backlogs where tenant = ?1", &values![tenant.0])?;
            return mark(transaction, &found);
        };
        let quarter = Quarter::of(EventId::from_bytes(id).at());
        found.insert((tenant, quarter));
        next = Quarter(quarter.0 + 1);
    }
    mark(transaction, &found)?;
    let sql = "update quarter_backlogs set next_quarter = ?2 where tenant = ?1";
    transaction.execute(sql, &values![tenant.0, next.0])?;
    Ok(())
}

/// Counts the events from `start` to before `end`.
fn read(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    start: UtcMillis,
    end: UtcMillis,
) -> Result<Counted, StoreError> {
    let span = values![tenant.0, EventId::first_at(start), EventId::first_at(end)];
    let mut counted = Counted::default();
    let sql = "select kind, count(*), cast(sum(length(body)) as bigint) from events
               where tenant = ?1 and id >= ?2 and id < ?3 group by kind";
    for (kind, of_kind) in transaction.all(sql, &span, |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))? {
        counted.kinds.insert(kind, of_kind);
    }
    for (place, count) in super::analytics::raw_detections(transaction, tenant, start, end, "")? {
        *counted.detections.entry(place).or_default() += count;
    }
    for (place, tally) in super::analytics::raw_zones(transaction, tenant, start, end, "")? {
        counted.zones.entry(place).or_default().merge(&tally);
    }
    Ok(counted)
}

impl Counted {
    fn merge(&mut self, other: Self) {
        for (kind, (count, bytes)) in other.kinds {
            let sum = self.kinds.entry(kind).or_default();
            *sum = (sum.0 + count, sum.1 + bytes);
        }
        for (place, count) in other.detections {
            *self.detections.entry(place).or_default() += count;
        }
        for (place, tally) in other.zones {
            self.zones.entry(place).or_default().merge(&tally);
        }
    }
}

/// Replaces the counts of a quarter.
fn keep(transaction: &mut Transaction<'_>, count: Count, counted: &Counted) -> Result<(), StoreError> {
    let (tenant, quarter) = (count.tenant.0, count.quarter.0);
    transaction.execute("delete from quarter_events where tenant = ?1 and quarter = ?2", &values![tenant, quarter])?;
    for (kind, (count, bytes)) in &counted.kinds {
        let sql = "insert into quarter_events (tenant, quarter, kind, count, bytes) values (?1, ?2, ?3, ?4, ?5)";
        transaction.execute(sql, &values![tenant, quarter, *kind, *count, *bytes])?;
    }
    let mut classes: BTreeMap<[i64; 1], i64> = BTreeMap::new();
    for ([_, _, class], count) in &counted.detections {
        *classes.entry([*class]).or_default() += count;
    }
    day_counts::CLASSES.replace(transaction, count.tenant, count.quarter, &classes)?;
    day_counts::CAMERAS.replace(transaction, count.tenant, count.quarter, &counted.detections)?;
    day_counts::ZONES.replace(transaction, count.tenant, count.quarter, &counted.zones)
}

/// How many events of a kind there are from before `before`, and the bytes of their bodies.
pub(super) fn events_before(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    kind: UpKind,
    before: Option<UtcMillis>,
) -> Result<Amount, StoreError> {
    let (kind, end) = (kind_number(kind), before.unwrap_or(UtcMillis::from_millis(i64::MAX)));
    if transaction.exists("select 1 from quarter_backlogs where tenant = ?1", &values![tenant.0])? {
        return raw_events(transaction, tenant, kind, UtcMillis::from_millis(0), end);
    }
    let last = Quarter::of(end);
    let sql = "select cast(coalesce(sum(count), 0) as bigint), cast(coalesce(sum(bytes), 0) as bigint)
               from quarter_events q where q.tenant = ?1 and q.kind = ?2 and q.quarter < ?3 and not exists
                   (select 1 from quarter_marks m where m.tenant = q.tenant and m.quarter = q.quarter)";
    let mut sum = transaction.first(sql, &values![tenant.0, kind, last.0], amount)?.unwrap_or_default();
    let sql = "select quarter from quarter_marks where tenant = ?1 and quarter < ?2";
    let marked: Vec<Quarter> = transaction.all(sql, &values![tenant.0, last.0], |row| row.get(0).map(Quarter))?;
    let spans = marked.into_iter().map(|quarter| (quarter.start(), quarter.end()));
    for (start, end) in spans.chain([(last.start(), end)]) {
        let raw = raw_events(transaction, tenant, kind, start, end)?;
        sum = Amount { count: sum.count + raw.count, bytes: sum.bytes + raw.bytes };
    }
    Ok(sum)
}

fn raw_events(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    kind: i64,
    start: UtcMillis,
    end: UtcMillis,
) -> Result<Amount, StoreError> {
    let sql = "select count(*), cast(coalesce(sum(length(body)), 0) as bigint) from events
               where tenant = ?1 and kind = ?2 and id >= ?3 and id < ?4";
    let values = values![tenant.0, kind, EventId::first_at(start), EventId::first_at(end)];
    Ok(transaction.first(sql, &values, amount)?.unwrap_or_default())
}

fn amount(row: &Row) -> Result<Amount, StoreError> {
    Ok(Amount { count: row.get(0)?, bytes: row.get(1)? })
}

/// The number of the kind of detections and of zone events.
pub(super) fn counted_kinds() -> (i64, i64) {
    (kind_number(UpKind::Detections), kind_number(UpKind::ZoneEvents))
}
