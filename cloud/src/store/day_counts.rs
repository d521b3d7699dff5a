//! Counts of a day's quarters, kept in one row for each place: a month is read in few rows.
//!
//! A place is what is counted apart: a class, a camera's class, a zone's class, by its rows in the database.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use aivms_cloud_core::analytics::Quarter;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::sql::{Transaction, Value, values};
use super::{StoreError, TenantKey};

/// Quarters of a day.
const QUARTERS: i64 = 96;

/// A table of such rows, and the columns of its places.
pub(super) struct DayTable<const N: usize> {
    name: &'static str,
    place: [&'static str; N],
}

/// Detections by class.
pub(super) const CLASSES: DayTable<1> = DayTable { name: "day_classes", place: ["object_class"] };
/// Detections by edge, camera and class.
pub(super) const CAMERAS: DayTable<3> = DayTable { name: "day_cameras", place: ["edge", "camera", "object_class"] };
/// What happened in zones, by edge, camera, zone and class.
pub(super) const ZONES: DayTable<4> = DayTable { name: "day_zones", place: ["edge", "camera", "zone", "object_class"] };

impl<const N: usize> DayTable<N> {
    /// Shows each row of the days that the quarters of `span` are in: its place, its first quarter, and what was counted
    /// in that and the following ones. `narrowed` is a further condition in SQL, such as ` and edge = 3`.
    pub(super) fn read<T: DeserializeOwned>(
        &self,
        transaction: &mut Transaction<'_>,
        tenant: TenantKey,
        span: &RangeInclusive<i64>,
        narrowed: &str,
        mut each: impl FnMut([i64; N], Quarter, Vec<T>),
    ) -> Result<(), StoreError> {
        let sql = format!(
            "select counts, day, {} from {} where tenant = ?1 and day >= ?2 and day <= ?3{narrowed}",
            self.place.join(", "),
            self.name
        );
        let days = values![tenant.0, span.start().div_euclid(QUARTERS), span.end().div_euclid(QUARTERS)];
        transaction.all(&sql, &days, |row| {
            let counts: String = row.get(0)?;
            let counts = serde_json::from_str(&counts)
                .map_err(|error| StoreError::Database(format!("counts in {}: {error}", self.name)))?;
            let mut place = [0; N];
            for (column, number) in place.iter_mut().enumerate() {
                *number = row.get(column + 2)?;
            }
            each(place, Quarter(row.get::<i64>(1)?.saturating_mul(QUARTERS)), counts);
            Ok(())
        })?;
        Ok(())
    }

    /// Replaces what was counted in a quarter.
    pub(super) fn replace<T: Serialize + DeserializeOwned + Clone + Default + PartialEq>(
        &self,
        transaction: &mut Transaction<'_>,
        tenant: TenantKey,
        quarter: Quarter,
        counted: &BTreeMap<[i64; N], T>,
    ) -> Result<(), StoreError> {
        let mut days: BTreeMap<[i64; N], Vec<T>> = BTreeMap::new();
        self.read(transaction, tenant, &(quarter.0..=quarter.0), "", |place, _, counts| {
            days.insert(place, counts);
        })?;
        for place in counted.keys() {
            days.entry(*place).or_default();
        }
        let at = usize::try_from(quarter.0.rem_euclid(QUARTERS)).unwrap_or_default();
        for (place, mut counts) in days {
            if put(&mut counts, at, counted.get(&place).cloned().unwrap_or_default()) {
                self.keep(transaction, tenant, quarter.0.div_euclid(QUARTERS), place, &counts)?;
            }
        }
        Ok(())
    }

    /// Keeps a day's counts, or removes the row when there are none.
    fn keep<T: Serialize>(
        &self,
        transaction: &mut Transaction<'_>,
        tenant: TenantKey,
        day: i64,
        place: [i64; N],
        counts: &[T],
    ) -> Result<(), StoreError> {
        let key: Vec<Value> = [tenant.0, day].into_iter().chain(place).map(Value::from).collect();
        let columns: Vec<&str> = ["tenant", "day"].into_iter().chain(self.place).collect();
        let numbers: Vec<String> = (1..=columns.len()).map(|number| format!("?{number}")).collect();
        if counts.is_empty() {
            let sql = format!("delete from {} where ({}) = ({})", self.name, columns.join(", "), numbers.join(", "));
            transaction.execute(&sql, &key)?;
            return Ok(());
        }
        let counts = serde_json::to_string(counts).map_err(|error| StoreError::Database(error.to_string()))?;
        let sql = format!(
            "insert into {} ({columns}, counts) values ({}, ?{}) on conflict ({columns}) do update set counts = excluded.counts",
            self.name,
            numbers.join(", "),
            numbers.len() + 1,
            columns = columns.join(", "),
        );
        transaction.execute(&sql, &[key, values![counts].to_vec()].concat())?;
        Ok(())
    }
}

/// Puts `count` at a place of the list, which never ends with nothing; whether that changed it.
fn put<T: Clone + Default + PartialEq>(counts: &mut Vec<T>, at: usize, count: T) -> bool {
    let before = counts.clone();
    if counts.len() <= at {
        counts.resize(at + 1, T::default());
    }
    if let Some(slot) = counts.get_mut(at) {
        *slot = count;
    }
    while counts.last().is_some_and(|last| *last == T::default()) {
        counts.pop();
    }
    *counts != before
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::put;

    proptest! {
        #[test]
        fn a_list_holds_what_was_put_last_and_never_ends_with_nothing(puts in vec((0usize..96, 0u32..3), 0..60)) {
            let (mut counts, mut naive) = (Vec::new(), vec![0; 96]);
            for (at, count) in puts {
                let changes = naive[at] != count;
                naive[at] = count;
                prop_assert_eq!(put(&mut counts, at, count), changes);
            }
            prop_assert_ne!(counts.last(), Some(&0));
            counts.resize(96, 0);
            prop_assert_eq!(counts, naive);
        }
    }
}
