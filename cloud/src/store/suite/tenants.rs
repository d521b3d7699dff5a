//! Tenants that are exported, and tenants that go. What belongs to one is read from the schema: a table that is made
//! tomorrow is in these tests.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aivms_cloud_core::retention::Policy;
use aivms_contract::envelope::Body;
use aivms_contract::media::Sha256Hex;

use super::super::catalog::{OwnedTable, owned_tables};
use super::super::sql::{Dialect, Transaction, Value, values};
use super::super::tenant_data::LEFT_OUT;
use super::super::tenant_deletion::LAST_LOOK_AFTER;
use super::super::{By, ExportProgress, PLAN, SharedStore, StoreError, TenantExportState, TenantKey, User};
use super::{Open, at, detection, edge, incoming, tenant};

const DAY: i64 = 24 * 3_600 * 1_000;

/// A column as the schema has it: name, type, whether it may be null.
type Column = (String, String, bool);

fn columns(transaction: &mut Transaction<'_>, table: &str) -> Result<Vec<Column>, StoreError> {
    let sql = match transaction.dialect() {
        Dialect::Sqlite => "select name, lower(type), 1 - max(\"notnull\", pk > 0) from pragma_table_info(?1)",
        Dialect::Postgres => {
            "select column_name::text, data_type::text, (case is_nullable when 'YES' then 1 else 0 end)::bigint
             from information_schema.columns where table_schema = current_schema() and table_name = ($1)::text"
        }
    };
    transaction.all(sql, &values![table], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
}

/// A column of a table.
type Place = (String, String);

/// By column, the column that it refers to.
fn references(transaction: &mut Transaction<'_>) -> Result<BTreeMap<Place, Place>, StoreError> {
    let sql = match transaction.dialect() {
        Dialect::Sqlite => {
            "select m.name, f.\"from\", f.\"table\", coalesce(f.\"to\", 'id')
             from sqlite_master m join pragma_foreign_key_list(m.name) f where m.type = 'table'"
        }
        Dialect::Postgres => {
            "select k.table_name::text, k.column_name::text, u.table_name::text, u.column_name::text
             from information_schema.key_column_usage k
                 join information_schema.referential_constraints r on r.constraint_name = k.constraint_name
                     and r.constraint_schema = k.constraint_schema
                 join information_schema.constraint_column_usage u on u.constraint_name = r.constraint_name
                     and u.constraint_schema = r.constraint_schema
             where k.table_schema = current_schema()"
        }
    };
    transaction
        .all(sql, &[], |row| Ok(((row.get(0)?, row.get(1)?), (row.get(2)?, row.get(3)?))))
        .map(|found| found.into_iter().collect())
}

/// Puts a row of the tenant into a table: what refers to something refers to the tenant's, the rest is anything.
fn insert_anything(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    table: &OwnedTable,
    tables: &[OwnedTable],
    number: &mut i64,
) -> Result<(), StoreError> {
    let references = references(transaction)?;
    let (mut names, mut given) = (Vec::new(), Vec::new());
    for (column, kind, may_be_null) in columns(transaction, &table.name)? {
        *number += 1;
        // A certificate is an edge's or an operator's.
        let is_skipped = (table.name.as_str(), column.as_str()) == ("certificates", "operator");
        if is_skipped || (column == "id" && (kind == "integer" || kind == "bigint")) {
            continue;
        }
        let value = if column == "tenant" {
            Value::Int(tenant.0)
        } else if let Some((to, to_column)) = references.get(&(table.name.clone(), column.clone())) {
            let parent = tables.iter().find(|table| table.name == *to);
            let Some(parent) = parent else { continue };
            let sql = format!("select {to_column} from {to} where {} limit 1", parent.condition);
            transaction.first(&sql, &values![tenant.0], |row| row.value(0).cloned())?.unwrap_or(Value::Null)
        } else if may_be_null {
            continue;
        } else {
            match kind.as_str() {
                "integer" | "bigint" => Value::Int(*number),
                "text" if column == "policy" => Value::Text("{\"legal_hold\":false}".into()),
                "text" => Value::Text(format!("anything-{number}")),
                "blob" | "bytea" if column.ends_with("id") => {
                    Value::Blob(u128::try_from(*number).unwrap().to_be_bytes().to_vec())
                }
                // The others are SHA-256 sums.
                "blob" | "bytea" => Value::Blob([[0; 24].as_slice(), &number.to_be_bytes()].concat()),
                _ => Value::Real(0.5),
            }
        };
        names.push(column);
        given.push(value);
    }
    let places: Vec<_> = (1..=names.len()).map(|n| format!("?{n}")).collect();
    let sql = format!("insert into {} ({}) values ({})", table.name, names.join(", "), places.join(", "));
    transaction.execute(&sql, &given).map(drop)
}

/// At least one row in every table, those referred to first.
async fn fill(store: &SharedStore, tenant: TenantKey, seed: i64) {
    let filled = store.write(move |transaction| {
        let (tables, mut number) = (owned_tables(transaction)?, seed);
        for table in tables.iter().rev() {
            if count(transaction, tenant, table)? == 0 {
                insert_anything(transaction, tenant, table, &tables, &mut number)?;
            }
        }
        Ok(())
    });
    filled.await.unwrap();
}

fn count(transaction: &mut Transaction<'_>, tenant: TenantKey, table: &OwnedTable) -> Result<u64, StoreError> {
    let sql = format!("select count(*) from {} where {}", table.name, table.condition);
    Ok(transaction.first(&sql, &values![tenant.0], |row| row.get(0))?.unwrap_or_default())
}

/// Rows of each table.
async fn counts(store: &SharedStore, tenant: TenantKey) -> BTreeMap<String, u64> {
    let counted = store.lookup(move |transaction| {
        let tables = owned_tables(transaction)?;
        tables.iter().map(|table| Ok((table.name.clone(), count(transaction, tenant, table)?))).collect()
    });
    counted.await.unwrap()
}

fn by(owner: &User) -> By {
    By::person(owner, None)
}

fn letter() -> (String, String) {
    ("subject".into(), "text".into())
}

pub(crate) async fn no_table_keeps_a_row_of_a_deleted_tenant_and_another_tenant_loses_none(open: Open<'_>) {
    let mut store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    fill(&store, owner.tenant, 1_000_000).await;
    fill(&store, rival.tenant, 2_000_000).await;
    let empty: Vec<_> = counts(&store, owner.tenant).await.into_iter().filter(|(_, rows)| *rows == 0).collect();
    assert!(empty.is_empty(), "{empty:?} have no row that could stay behind");
    let before = counts(&store, rival.tenant).await;
    assert!(before.len() > 50, "{} tables belong to tenants", before.len());

    store.ask_for_tenant_deletion(by(&owner), at(5), letter(), at(1)).await.unwrap();
    assert_eq!(store.take_tenant_deletion(at(4)).await.unwrap(), None, "it is not due");
    let due = store.take_tenant_deletion(at(5)).await.unwrap().unwrap();
    assert_eq!(store.take_tenant_deletion(at(6)).await.unwrap(), None, "another process has it");
    assert!(store.close_tenant(due.tenant, at(6)).await.unwrap());
    for (number, table) in store.tables_to_empty().await.unwrap().iter().enumerate() {
        // Whoever goes on after a kill begins anew.
        if number % 16 == 7 {
            drop(store);
            store = open();
        }
        while store.delete_tenants_rows(owner.tenant, table).await.unwrap() > 0 {}
    }
    let left: Vec<_> = counts(&store, owner.tenant).await.into_iter().filter(|(_, rows)| *rows > 0).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(counts(&store, rival.tenant).await, before);

    store.tenant_emptied(&due, at(10)).await.unwrap();
    assert_eq!(store.take_tenant_deletion(at(11)).await.unwrap(), None);
    let last = store.take_tenant_deletion(at(11) + LAST_LOOK_AFTER).await.unwrap().unwrap();
    assert!(last.is_last_look && last.tenant == owner.tenant);
    store.tenant_emptied(&last, at(12)).await.unwrap();
    assert_eq!(store.take_tenant_deletion(at(365 * DAY)).await.unwrap(), None);
    let told = store.tenants().await.unwrap();
    assert_eq!(told.len(), 1);
    // The name is free again, and the number of the row is not.
    let again = tenant(&store, "acme").await;
    assert!(again.tenant != owner.tenant);
}

pub(crate) async fn every_table_of_a_tenant_is_exported_or_left_out_for_a_reason(open: Open<'_>) {
    let tables: BTreeSet<_> = open().lookup(owned_tables).await.unwrap().into_iter().map(|table| table.name).collect();
    for table in &tables {
        let is_left_out = LEFT_OUT.iter().any(|(name, _)| name == table);
        assert!(
            is_left_out || PLAN.iter().any(|noun| noun.reads(table)),
            "{table} is new: have an export hold it (cloud/src/store/tenant_data/plan.rs), or say there why not"
        );
    }
    for (table, _) in LEFT_OUT {
        assert!(tables.contains(*table), "{table} is gone");
    }
}

pub(crate) async fn a_deletion_is_called_off_until_it_begins_and_never_after(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let cancelled = store.cancel_tenant_deletion(by(&owner), letter(), at(1)).await;
    assert!(matches!(cancelled, Err(StoreError::NotFound)), "{cancelled:?}");
    let asked = store.ask_for_tenant_deletion(by(&owner), at(DAY), letter(), at(2)).await.unwrap();
    let again = store.ask_for_tenant_deletion(by(&owner), at(9 * DAY), letter(), at(3)).await.unwrap();
    assert_eq!((asked.due_at, &again), (at(DAY), &asked), "the first one counts");
    let mails = store.take_mails(10, at(4)).await.unwrap();
    assert_eq!(mails.len(), 1, "the owner is told");
    store.cancel_tenant_deletion(by(&owner), letter(), at(5)).await.unwrap();
    assert_eq!(store.tenant_deletion(owner.tenant).await.unwrap(), None);
    assert_eq!(store.take_tenant_deletion(at(2 * DAY)).await.unwrap(), None);
    assert!(!store.close_tenant(owner.tenant, at(2 * DAY)).await.unwrap(), "nobody wants it");
    assert!(store.user(owner.key).await.unwrap().is_some());

    store.ask_for_tenant_deletion(by(&owner), at(DAY), letter(), at(6)).await.unwrap();
    let held = Policy { legal_hold: true, ..Policy::default() };
    store.set_retention_policy(owner.tenant, held, at(7)).await.unwrap();
    assert!(!store.close_tenant(owner.tenant, at(DAY)).await.unwrap(), "it waits for the end of the hold");
    assert!(store.user(owner.key).await.unwrap().is_some());
    store.set_retention_policy(owner.tenant, Policy::default(), at(8)).await.unwrap();
    assert!(store.close_tenant(owner.tenant, at(DAY)).await.unwrap());
    let late = store.cancel_tenant_deletion(by(&owner), letter(), at(DAY + 1)).await;
    assert!(matches!(late, Err(StoreError::NotFound)), "{late:?}");
    assert!(store.user(owner.key).await.unwrap().is_none(), "nobody signs in any more");
}

pub(crate) async fn an_export_is_one_process_business_until_it_dies_and_is_given_up_after_a_few(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let asked = store.ask_for_export(by(&owner), true, at(1)).await.unwrap();
    let first = store.take_export(at(2)).await.unwrap().unwrap();
    assert_eq!((first.export.export_id.clone(), first.export.state), (asked.export_id, TenantExportState::Running));
    assert!(store.take_export(at(3)).await.unwrap().is_none(), "another process has it");
    let progress = ExportProgress { lines: 7, ..ExportProgress::default() };
    assert!(store.keep_export(&first, progress.clone(), at(50_000)).await.unwrap());
    assert!(store.take_export(at(100_000)).await.unwrap().is_none(), "it said that it goes on");
    let second = store.take_export(at(120_000)).await.unwrap().expect("the first one died");
    assert_ne!(second.export.object, first.export.object, "it writes over nobody's archive");
    assert!(!store.keep_export(&first, progress.clone(), at(120_001)).await.unwrap());
    let sha256 = Sha256Hex::from_bytes([7; 32]);
    let done = store.export_finished(&first, progress.clone(), sha256.clone(), (None, 7), at(120_002)).await.unwrap();
    assert!(!done, "a try that was taken for dead finishes nothing");
    assert!(store.export_finished(&second, progress, sha256, (None, 7), at(120_003)).await.unwrap());
    assert!(store.take_export(at(DAY)).await.unwrap().is_none());
    let listed = store.tenant_exports(owner.tenant).await.unwrap();
    assert_eq!((listed[0].state, listed[0].expires_at), (TenantExportState::Finished, Some(at(120_003 + 7 * DAY))));
    assert!(store.exports_to_delete(at(7 * DAY)).await.unwrap().is_empty());
    let expired = store.exports_to_delete(at(8 * DAY)).await.unwrap();
    store.export_deleted(expired[0].key, at(8 * DAY)).await.unwrap();
    assert!(store.exports_to_delete(at(9 * DAY)).await.unwrap().is_empty());
    assert_eq!(store.tenant_exports(owner.tenant).await.unwrap()[0].state, TenantExportState::Expired);

    let hopeless = store.ask_for_export(by(&owner), false, at(9 * DAY)).await.unwrap();
    let mut now = at(9 * DAY);
    while let Some(tried) = store.take_export(now).await.unwrap() {
        store.export_tried(&tried, "the place of files failed".into(), now).await.unwrap();
        now = now + Duration::from_secs(60);
    }
    let failed = store.tenant_export(owner.tenant, hopeless.export_id).await.unwrap().unwrap();
    assert_eq!((failed.state, failed.error.as_deref()), (TenantExportState::Failed, Some("the place of files failed")));
    assert!(now >= at(9 * DAY + 5 * 60_000), "five tries");
}

pub(crate) async fn lines_of_every_noun_come_page_by_page_without_gap_or_double(open: Open<'_>) {
    let store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    let (ours, theirs) = (edge(&store, &owner, "edge_a").await, edge(&store, &rival, "edge_b").await);
    let seen = |seq: u64| Body::Detections(detection(i64::try_from(seq).unwrap()));
    let mut batch: Vec<_> = (1..=25).map(|seq| incoming(&owner, &ours, seq, seen(seq))).collect();
    batch.push(incoming(&rival, &theirs, 1, seen(1)));
    store.record_events(batch).await.unwrap();
    for noun in PLAN {
        let (mut lines, mut from) = (Vec::new(), None);
        loop {
            let page = store.tenant_data(owner.tenant, noun, from, 4).await.unwrap();
            lines.extend(page.lines);
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        let whole = store.tenant_data(owner.tenant, noun, None, 1_000).await.unwrap().lines;
        assert_eq!(lines, whole, "{}", noun.name);
        let expected = match noun.name {
            "events" => 25,
            "tenant" | "people" | "edges" | "cameras" => 1,
            _ => continue,
        };
        assert_eq!(lines.len(), expected, "{}", noun.name);
        assert!(!lines.concat().contains("rival") && !lines.concat().contains("edge_b"), "{}", noun.name);
    }
}
