//! What belongs to a tenant, read from the schema itself: so that the table nobody thought of is found too.
//!
//! A table belongs to tenants when it has a column `tenant`, or refers to a table that does. The one table of tenants
//! itself is apart.

use std::collections::{BTreeMap, BTreeSet};

use super::StoreError;
use super::sql::{Dialect, Row, Transaction};

/// A table whose rows belong to tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OwnedTable {
    /// Its name.
    pub(super) name: String,
    /// What holds for the rows of the tenant `?1`.
    pub(super) condition: String,
    /// The columns that tell its rows apart.
    pub(super) key: String,
    /// Whether others refer to it: each row that goes is looked for there.
    pub(super) is_referred_to: bool,
}

/// A column that refers to another table.
#[derive(Debug)]
struct Reference {
    table: String,
    column: String,
    to: String,
    to_column: String,
}

/// All tables that belong to tenants, each before those it refers to.
pub(super) fn owned_tables(transaction: &mut Transaction<'_>) -> Result<Vec<OwnedTable>, StoreError> {
    let references = references(transaction)?;
    let conditions = conditions(with_tenant(transaction)?, &references);
    let mut keys = keys(transaction)?;
    let mut tables = Vec::new();
    for name in ordered(conditions.keys().cloned().collect(), &references)? {
        let key = keys.remove(&name).ok_or_else(|| StoreError::Database(format!("{name} has no key")))?;
        let is_referred_to = references.iter().any(|reference| reference.to == name);
        tables.push(OwnedTable { condition: conditions[&name].clone(), key, is_referred_to, name });
    }
    Ok(tables)
}

/// By table, what holds for the rows of the tenant `?1`.
fn conditions(with_tenant: Vec<String>, references: &[Reference]) -> BTreeMap<String, String> {
    let mut conditions: BTreeMap<_, _> =
        with_tenant.into_iter().map(|table| (table, "tenant = ?1".to_owned())).collect();
    loop {
        let found = references.iter().find_map(|Reference { table, column, to, to_column }| {
            let of_parent = conditions.get(to).filter(|_| !conditions.contains_key(table))?;
            Some((table.clone(), format!("{column} in (select {to_column} from {to} where {of_parent})")))
        });
        let Some((table, condition)) = found else { return conditions };
        conditions.insert(table, condition);
    }
}

/// Each table before those it refers to.
fn ordered(mut left: BTreeSet<String>, references: &[Reference]) -> Result<Vec<String>, StoreError> {
    let mut order = Vec::new();
    while !left.is_empty() {
        let is_free =
            |table: &&String| !references.iter().any(|r| r.to == **table && r.table != r.to && left.contains(&r.table));
        let next = left.iter().find(is_free).cloned();
        let next = next.ok_or_else(|| StoreError::Database(format!("{left:?} refer to each other in a circle")))?;
        left.remove(&next);
        order.push(next);
    }
    Ok(order)
}

fn with_tenant(transaction: &mut Transaction<'_>) -> Result<Vec<String>, StoreError> {
    let sql = match transaction.dialect() {
        Dialect::Sqlite => {
            "select m.name from sqlite_master m join pragma_table_info(m.name) c
             where m.type = 'table' and c.name = 'tenant' order by m.name"
        }
        Dialect::Postgres => {
            "select c.relname::text from pg_class c join pg_attribute a on a.attrelid = c.oid
             where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
                 and a.attname = 'tenant' and not a.attisdropped order by 1"
        }
    };
    transaction.all(sql, &[], |row| row.get(0))
}

fn references(transaction: &mut Transaction<'_>) -> Result<Vec<Reference>, StoreError> {
    let sql = match transaction.dialect() {
        Dialect::Sqlite => {
            "select m.name, f.\"from\", f.\"table\", coalesce(f.\"to\", 'id')
             from sqlite_master m join pragma_foreign_key_list(m.name) f where m.type = 'table' order by 1, f.id"
        }
        Dialect::Postgres => {
            "select t.relname::text, c.attname::text, u.relname::text, d.attname::text
             from pg_constraint f join pg_class t on t.oid = f.conrelid join pg_class u on u.oid = f.confrelid
                 join pg_attribute c on c.attrelid = t.oid and c.attnum = f.conkey[1]
                 join pg_attribute d on d.attrelid = u.oid and d.attnum = f.confkey[1]
             where f.contype = 'f' and f.connamespace = current_schema()::regnamespace order by 1, f.oid"
        }
    };
    let read =
        |row: &Row| Ok(Reference { table: row.get(0)?, column: row.get(1)?, to: row.get(2)?, to_column: row.get(3)? });
    transaction.all(sql, &[], read)
}

/// By table, the columns of a key, separated by commas: the primary one where there is one.
fn keys(transaction: &mut Transaction<'_>) -> Result<BTreeMap<String, String>, StoreError> {
    let sql = match transaction.dialect() {
        Dialect::Sqlite => {
            "select l.name, case when l.wr = 1 then group_concat(c.name, ', ') else 'rowid' end
             from pragma_table_list l join pragma_table_info(l.name) c
             where l.schema = 'main' and l.type = 'table' and (l.wr = 0 or c.pk > 0) group by l.name, l.wr"
        }
        Dialect::Postgres => {
            "select c.relname::text, (select string_agg(a.attname::text, ', ') from pg_attribute a
                 where a.attrelid = c.oid and a.attnum = any (i.indkey))
             from pg_index i join pg_class c on c.oid = i.indrelid
             where c.relnamespace = current_schema()::regnamespace and not c.relispartition
                 and i.indisunique and i.indpred is null and i.indexprs is null
             order by i.indisprimary, c.relname"
        }
    };
    // The primary key comes last and stays.
    let keys: Vec<(String, String)> = transaction.all(sql, &[], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(keys.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(table: &str, to: &str) -> Reference {
        Reference { table: table.into(), column: format!("the_{to}"), to: to.into(), to_column: "id".into() }
    }

    #[test]
    fn what_refers_to_what_belongs_to_a_tenant_belongs_to_it_and_goes_first() {
        let references = [reference("tries", "sends"), reference("sends", "users"), reference("sends", "sends")];
        let conditions = conditions(vec!["users".into()], &references);
        assert_eq!(conditions["users"], "tenant = ?1");
        assert_eq!(
            conditions["tries"],
            "the_sends in (select id from sends where the_users in (select id from users where tenant = ?1))"
        );
        let order = ordered(conditions.into_keys().collect(), &references).unwrap();
        assert_eq!(order, ["tries", "sends", "users"]);
        let circle = [reference("a", "b"), reference("b", "a")];
        assert!(ordered(["a", "b"].map(String::from).into(), &circle).is_err());
    }
}
