//! Partitions of events, one per month of the events' own time, made before the month begins.

use aivms_contract::id::EventId;
use aivms_contract::time::UtcMillis;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use tokio_postgres::{Client, Transaction};

use super::super::StoreError;
use super::error::store_error;

/// Months made before now: an edge that was cut off for some weeks brings events of then.
const BEHIND: i64 = 1;
/// Months made ahead of now, so that a cloud nobody looks after has time to find out that making them fails.
const AHEAD: i64 = 3;
/// "aivp" in ASCII: one process at a time makes partitions.
const PARTITION_LOCK: i64 = 0x6169_7670;

/// A month of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Month {
    first: Date,
}

/// Makes the partitions around `now` that are missing; returns how many.
///
/// # Errors
/// A partition can't be made, for example because somebody holds a lock for long; it can be tried again at any time.
pub(super) async fn make_ahead(client: &mut Client, now: UtcMillis) -> Result<u32, StoreError> {
    let mut made = 0;
    for month in around(now) {
        made += u32::from(make(client, month).await?);
    }
    Ok(made)
}

async fn make(client: &mut Client, month: Month) -> Result<bool, StoreError> {
    let told = |error: tokio_postgres::Error| store_error(&error);
    let begun = client.build_transaction().isolation_level(tokio_postgres::IsolationLevel::ReadCommitted).start();
    let transaction = begun.await.map_err(told)?;
    let lock = "select pg_advisory_xact_lock($1)";
    transaction.execute(lock, &[&PARTITION_LOCK]).await.map_err(told)?;
    if exists(&transaction, &month.name()).await.map_err(told)? {
        return Ok(false);
    }
    transaction.batch_execute(&month.sql()).await.map_err(told)?;
    transaction.commit().await.map_err(told)?;
    Ok(true)
}

async fn exists(transaction: &Transaction<'_>, name: &str) -> Result<bool, tokio_postgres::Error> {
    let row = transaction.query_one("select to_regclass($1) is not null", &[&name]).await?;
    row.try_get(0)
}

fn around(now: UtcMillis) -> impl Iterator<Item = Month> {
    let today = Timestamp::from_millisecond(now.as_millis()).unwrap_or_default().to_zoned(TimeZone::UTC).date();
    (-BEHIND..=AHEAD).filter_map(move |months| Month::of(today).after(months))
}

impl Month {
    fn of(day: Date) -> Self {
        Self { first: day.first_of_month() }
    }

    fn after(self, months: i64) -> Option<Self> {
        self.first.checked_add(Span::new().months(months)).ok().map(Self::of)
    }

    fn name(self) -> String {
        format!("events_{:04}_{:02}", self.first.year(), self.first.month())
    }

    /// The smallest id of the month, as SQL.
    fn first_id(self) -> String {
        let begins = self.first.to_zoned(TimeZone::UTC).map_or(0, |begins| begins.timestamp().as_millisecond());
        let id = EventId::first_at(UtcMillis::from_millis(begins));
        format!(r"'\x{}'::bytea", hex::encode(id.to_bytes()))
    }

    /// Makes the table beside the others and attaches it, which needs no lock that inserts would wait for, as
    /// `create table … partition of` would. The check spares a look at every row; what an edge with a clock ahead has
    /// left in the default partition moves over.
    fn sql(self) -> String {
        let (name, from) = (self.name(), self.first_id());
        let to = self.after(1).unwrap_or(self).first_id();
        format!(
            "create table {name} (like events including defaults including constraints including storage,
                 constraint {name}_bounds check (id >= {from} and id < {to}));
             with moved as (delete from events_default where id >= {from} and id < {to} returning *)
                 insert into {name} select * from moved;
             alter table events attach partition {name} for values from ({from}) to ({to});
             alter table {name} drop constraint {name}_bounds;"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_made_from_the_one_before_to_three_ahead_over_the_end_of_a_year() {
        // 2026-11-30T23:59:59.999Z
        let names: Vec<_> = around(UtcMillis::from_millis(1_796_083_199_999)).map(Month::name).collect();
        assert_eq!(names, ["events_2026_10", "events_2026_11", "events_2026_12", "events_2027_01", "events_2027_02"]);
    }

    #[test]
    fn a_month_ends_where_the_next_one_begins() {
        let month = Month::of(jiff::civil::date(2026, 12, 24));
        let next = Month::of(jiff::civil::date(2027, 1, 1));
        assert!(month.sql().contains(&format!("to ({})", next.first_id())));
        assert!(month.first_id() < next.first_id());
        // 2027-01-01T00:00:00Z in milliseconds, then no entropy.
        assert_eq!(
            next.first_id(),
            r"'\x019b7612e80000000000000000000000'::bytea"
                .replace("019b7612e800", &format!("{:012x}", 1_798_761_600_000_u64))
        );
    }
}
