//! Names and labels of edges, and the list of edges that they filter.

use std::collections::BTreeMap;

use aivms_cloud_core::audit::Action;
use aivms_cloud_core::label::Label;
use aivms_contract::id::EdgeId;
use aivms_contract::time::UtcMillis;
use serde_json::json;

use super::edges::{Edge, SELECT_EDGE, edge, edge_key, read_edge};
use super::lists::Page;
use super::sql::{Transaction, Value, values};
use super::{EdgeKey, Store, StoreError, TenantKey, audit};

/// Which edges a list shows; all that is given must match.
#[derive(Debug, Clone, Default)]
pub struct EdgeFilter {
    /// With each of these labels.
    pub labels: Vec<Label>,
    /// Whether withdrawn ones are left out.
    pub only_active: bool,
}

/// An edge with its labels, sorted.
#[derive(Debug, Clone)]
pub struct LabelledEdge {
    /// The edge.
    pub edge: Edge,
    /// What it is labelled with.
    pub labels: Vec<Label>,
}

impl Store {
    /// A page of the tenant's edges in the order of registration; `after` is the last edge of the page before. An edge
    /// that is not the tenant's there begins at the beginning.
    ///
    /// # Errors
    /// The database's own.
    pub async fn page_of_edges(
        &self,
        tenant: TenantKey,
        filter: EdgeFilter,
        after: Option<EdgeId>,
        limit: u32,
    ) -> Result<Page<LabelledEdge>, StoreError> {
        self.list(tenant, move |transaction| {
            let after = match &after {
                Some(edge_id) => edge_key(transaction, tenant, edge_id)?.map_or(0, |key| key.0),
                None => 0,
            };
            let (sql, values) = page_query(tenant, &filter, after, limit);
            let page = Page::of(transaction.all(&sql, &values, read_edge)?, limit);
            let mut labels = labels_of(transaction, &page.items)?;
            let items = page.items.into_iter().map(|edge| {
                let labels = labels.remove(&edge.key).unwrap_or_default();
                LabelledEdge { edge, labels }
            });
            Ok(Page { items: items.collect(), more: page.more })
        })
        .await
    }

    /// One edge of the tenant with its labels.
    ///
    /// # Errors
    /// The database's own.
    pub async fn labelled_edge(&self, tenant: TenantKey, edge_id: &EdgeId) -> Result<Option<LabelledEdge>, StoreError> {
        let edge_id = edge_id.clone();
        self.lookup(move |transaction| labelled(transaction, tenant, &edge_id)).await
    }

    /// Gives an edge another name or other labels; what is `None` stays.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn change_edge(
        &self,
        tenant: TenantKey,
        edge_id: &EdgeId,
        name: Option<String>,
        labels: Option<Vec<Label>>,
        now: UtcMillis,
    ) -> Result<LabelledEdge, StoreError> {
        let edge_id = edge_id.clone();
        self.write(move |transaction| {
            let was = labelled(transaction, tenant, &edge_id)?.ok_or(StoreError::NotFound)?;
            let key = was.edge.key;
            if let Some(name) = &name {
                transaction.execute("update edges set name = ?2 where id = ?1", &values![key.0, name])?;
            }
            if let Some(labels) = &labels {
                transaction.execute("delete from edge_labels where edge = ?1", &values![key.0])?;
                for label in labels {
                    transaction.execute(
                        "insert into edge_labels (edge, tenant, name, value) values (?1, ?2, ?3, ?4)",
                        &values![key.0, tenant.0, label.key(), label.value()],
                    )?;
                }
            }
            let is = labelled(transaction, tenant, &edge_id)?.ok_or(StoreError::NotFound)?;
            note_change(transaction, tenant, &was, &is, now)?;
            Ok(is)
        })
        .await
    }
}

/// Writes down what has changed of an edge, if anything has.
fn note_change(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    was: &LabelledEdge,
    is: &LabelledEdge,
    now: UtcMillis,
) -> Result<(), StoreError> {
    if was.edge.name == is.edge.name && was.labels == is.labels {
        return Ok(());
    }
    let labels: BTreeMap<_, _> = is.labels.iter().map(|label| (label.key(), label.value())).collect();
    let detail = json!({ "name": is.edge.name, "labels": labels });
    audit::note(transaction, tenant, Action::EdgeChanged, Some(is.edge.edge_id.as_str()), detail, now)
}

fn labelled(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    edge_id: &EdgeId,
) -> Result<Option<LabelledEdge>, StoreError> {
    let Some(edge) = edge(transaction, tenant, edge_id)? else { return Ok(None) };
    let labels = labels_of(transaction, std::slice::from_ref(&edge))?.remove(&edge.key).unwrap_or_default();
    Ok(Some(LabelledEdge { edge, labels }))
}

fn page_query(tenant: TenantKey, filter: &EdgeFilter, after: i64, limit: u32) -> (String, Vec<Value>) {
    let mut sql = format!("{SELECT_EDGE} where tenant = ?1 and id > ?2");
    let mut values: Vec<Value> = values![tenant.0, after].into();
    for label in &filter.labels {
        values.extend(values![label.key(), label.value()]);
        let (value, name) = (values.len(), values.len() - 1);
        sql += &format!(
            " and id in (select l.edge from edge_labels l where l.tenant = ?1 and l.name = ?{name} and l.value = ?{value})"
        );
    }
    if filter.only_active {
        sql += " and revoked_at is null";
    }
    values.push(Value::from(limit.saturating_add(1)));
    sql += &format!(" order by id limit ?{}", values.len());
    (sql, values)
}

fn labels_of(transaction: &mut Transaction<'_>, edges: &[Edge]) -> Result<BTreeMap<EdgeKey, Vec<Label>>, StoreError> {
    let mut labels: BTreeMap<EdgeKey, Vec<Label>> = BTreeMap::new();
    if edges.is_empty() {
        return Ok(labels);
    }
    let values: Vec<Value> = edges.iter().map(|edge| edge.key.0.into()).collect();
    let sql = format!(
        "select edge, name, value from edge_labels where edge in ({}) order by edge, name",
        places(1, values.len())
    );
    let rows = transaction.all(&sql, &values, |row| {
        let label = Label::new(&row.get::<String>(1)?, &row.get::<String>(2)?);
        let label = label.map_err(|error| StoreError::Database(format!("a stored label is damaged: {error}")))?;
        Ok((EdgeKey(row.get(0)?), label))
    })?;
    for (edge, label) in rows {
        labels.entry(edge).or_default().push(label);
    }
    Ok(labels)
}

/// `?first, …, ?last`
fn places(first: usize, last: usize) -> String {
    (first..=last).map(|n| format!("?{n}")).collect::<Vec<_>>().join(", ")
}
