//! Many rows by few statements: over a network each statement costs a round trip.

use std::fmt::Write;

use super::super::StoreError;
use super::{Row, Transaction, Value};

/// How many things one statement takes: as few texts as possible for the databases to prepare, and few statements.
const PORTIONS: [usize; 4] = [256, 64, 8, 1];
/// Most placeholders of one statement. SQLite takes 32,766, PostgreSQL 65,535.
const MAX_PLACEHOLDERS: usize = 4_000;

impl Transaction<'_> {
    /// All rows of `select`, which ends in the column that has to be one of `wanted`; `values` are those of its own
    /// placeholders.
    pub(crate) fn all_among<T>(
        &mut self,
        select: &str,
        values: &[Value],
        wanted: &[Value],
        mut read: impl FnMut(&Row) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::new();
        for portion in portions(wanted, 1) {
            let sql = format!("{select} in {}", placeholders(values.len(), portion.len()));
            found.extend(self.all(&sql, &[values, portion].concat(), &mut read)?);
        }
        Ok(found)
    }

    /// Inserts `rows`, all of the same length: `insert` ends before `values`, `on_conflict` follows them.
    pub(crate) fn insert_all(
        &mut self,
        insert: &str,
        rows: &[Vec<Value>],
        on_conflict: &str,
    ) -> Result<(), StoreError> {
        let width = rows.first().map_or(1, Vec::len);
        for portion in portions(rows, width) {
            let tuples: Vec<String> = (0..portion.len()).map(|row| placeholders(row * width, width)).collect();
            let sql = format!("{insert} values {} {on_conflict}", tuples.join(", "));
            self.execute(&sql, &portion.concat())?;
        }
        Ok(())
    }
}

/// Parts `things`, each with `width` placeholders, into as few portions as there can be.
fn portions<T>(mut things: &[T], width: usize) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let fits = |size: &usize| *size <= things.len() && (*size == 1 || size * width <= MAX_PLACEHOLDERS);
        let (portion, rest) = things.split_at(PORTIONS.into_iter().find(fits)?);
        things = rest;
        Some(portion)
    })
}

/// `(?4, ?5, ?6)` for three after the first three.
fn placeholders(after: usize, count: usize) -> String {
    let mut text = String::new();
    for number in after + 1..=after + count {
        let _ = write!(text, "{}?{number}", if text.is_empty() { "(" } else { ", " });
    }
    text + ")"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_in_one_portion_and_none_has_too_many_placeholders() {
        let things: Vec<u32> = (0..1_000).collect();
        for width in [1, 14, 5_000] {
            assert_eq!(portions(&things, width).collect::<Vec<_>>().concat(), things);
            assert!(portions(&things, width).all(|portion| portion.len() == 1 || portion.len() * width <= 4_000));
        }
        let sizes = |count: usize| portions(&things[..count], 1).map(<[u32]>::len).collect::<Vec<_>>();
        assert_eq!(sizes(331), [256, 64, 8, 1, 1, 1]);
        assert_eq!(sizes(0), [0; 0]);
    }

    #[test]
    fn placeholders_go_on_counting() {
        assert_eq!(placeholders(3, 3), "(?4, ?5, ?6)");
        assert_eq!(placeholders(0, 1), "(?1)");
    }
}
