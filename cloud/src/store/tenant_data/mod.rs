//! Everything of a tenant, noun by noun and page by page, as lines of JSON for an export: [`PLAN`] says what.
//!
//! Nothing that lets anybody in is among it; [`hide_secrets`] sees to what stands inside documents.

mod plan;

use aivms_cloud_core::desired::{MASK, hide_in_text};
use aivms_contract::id::EventId;
use aivms_contract::time::UtcMillis;
use serde_json::{Map, Value as Json, json};

use super::sql::{Row, Transaction, Value};
use super::{Store, StoreError, TenantKey};

#[cfg(test)]
pub(super) use self::plan::LEFT_OUT;
pub use self::plan::{Noun, PLAN};

/// What a column is and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A text or a number as it is.
    Plain,
    /// 0 or 1.
    Truth,
    /// Milliseconds since 1970, written as RFC 3339.
    Time,
    /// The 16 bytes of a ULID.
    Id,
    /// Bytes, in hexadecimal.
    Hex,
    /// JSON, without the secrets in it.
    Document,
}

/// The first value that a key of this form can't be below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Numbers,
    Texts,
    Bytes,
}

/// Lines of a noun.
#[derive(Debug, Clone, Default)]
pub struct DataPage {
    /// Each a JSON object without a line feed at its end.
    pub lines: Vec<String>,
    /// Where the page after this one begins; `None` on the last one.
    pub(crate) next: Option<Vec<Value>>,
}

impl Store {
    /// Up to `limit` lines of a noun of the tenant, from where the page before ended.
    ///
    /// # Errors
    /// The database's own.
    pub(crate) async fn tenant_data(
        &self,
        tenant: TenantKey,
        noun: &'static Noun,
        from: Option<Vec<Value>>,
        limit: u32,
    ) -> Result<DataPage, StoreError> {
        self.list(tenant, move |transaction| page(transaction, tenant, noun, from, limit)).await
    }
}

fn page(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    noun: &Noun,
    from: Option<Vec<Value>>,
    limit: u32,
) -> Result<DataPage, StoreError> {
    let sql = noun.sql();
    let mut given = vec![Value::Int(tenant.0)];
    given.extend(from.unwrap_or_else(|| noun.order.iter().map(|(_, order)| order.lowest()).collect()));
    given.push(limit.into());
    let keys = noun.order.len();
    let rows = transaction.all(&sql, &given, |row| {
        let key: Vec<Value> = (0..keys).map(|column| row.value(column).cloned()).collect::<Result<_, _>>()?;
        Ok((key, noun.line(row)?))
    })?;
    let is_full = rows.len() == limit as usize;
    let next = rows.last().filter(|_| is_full).map(|(key, _)| key.clone());
    Ok(DataPage { lines: rows.into_iter().map(|(_, line)| line).collect(), next })
}

impl Order {
    fn lowest(self) -> Value {
        match self {
            Self::Numbers => Value::Int(i64::MIN),
            Self::Texts => Value::Text(String::new()),
            Self::Bytes => Value::Blob(Vec::new()),
        }
    }
}

impl Noun {
    fn sql(&self) -> String {
        let keys: Vec<_> = self.order.iter().map(|(key, _)| *key).collect();
        let keys = keys.join(", ");
        let columns: Vec<_> = self.columns.iter().map(|(_, column, _)| *column).collect();
        let columns = columns.join(", ");
        let after: Vec<_> = (0..self.order.len()).map(|n| format!("?{}", n + 2)).collect();
        let (from, condition, after, limit) = (self.from, self.condition, after.join(", "), self.order.len() + 2);
        format!(
            "select {keys}, {columns} from {from} where {condition} and ({keys}) > ({after}) order by {keys}
             limit ?{limit}"
        )
    }

    fn line(&self, row: &Row) -> Result<String, StoreError> {
        let mut line = Map::new();
        for (place, (name, _, form)) in self.columns.iter().enumerate() {
            let value = row.value(self.order.len() + place)?;
            line.insert((*name).to_owned(), form.json(value).map_err(|problem| wrong(self.name, name, &problem))?);
        }
        Ok(Json::Object(line).to_string())
    }
}

impl Form {
    fn json(self, value: &Value) -> Result<Json, String> {
        Ok(match (self, value) {
            (_, Value::Null) => Json::Null,
            (Self::Plain, Value::Int(number)) => json!(number),
            (Self::Plain, Value::Real(number)) => json!(number),
            (Self::Plain, Value::Text(text)) => json!(text),
            (Self::Truth, Value::Int(truth)) => json!(*truth != 0),
            (Self::Time, Value::Int(millis)) => json!(UtcMillis::from_millis(*millis)),
            (Self::Id, Value::Blob(bytes)) => {
                let bytes = bytes.as_slice().try_into().map_err(|_| "is no ULID".to_owned())?;
                json!(EventId::from_bytes(bytes).to_string())
            }
            (Self::Hex, Value::Blob(bytes)) => json!(hex::encode(bytes)),
            (Self::Document, Value::Text(text)) => {
                hide_secrets(serde_json::from_str(text).map_err(|error| error.to_string())?)
            }
            (form, value) => return Err(format!("{value:?} is not {form:?}")),
        })
    }
}

fn wrong(noun: &str, column: &str, problem: &str) -> StoreError {
    StoreError::Database(format!("{noun}.{column}: {problem}"))
}

/// A document with what opens cameras and receivers hidden, as the API hides it.
fn hide_secrets(document: Json) -> Json {
    match document {
        Json::Object(members) => {
            let hidden = members.into_iter().map(|(name, value)| {
                let value = match value {
                    Json::String(_) if name == "username" || name.contains("password") || name.contains("secret") => {
                        json!(MASK)
                    }
                    Json::String(text) if name.ends_with("url") => json!(hide_in_text(&text)),
                    other => hide_secrets(other),
                };
                (name, value)
            });
            Json::Object(hidden.collect())
        }
        Json::Array(items) => Json::Array(items.into_iter().map(hide_secrets).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_opens_a_camera_is_hidden_wherever_it_stands_in_a_document() {
        let document = json!({ "cameras": [{ "url": "rtsp://root:s3cret@10.0.0.2/1?token=s3cret", "password": "s3cret",
            "username": "root", "camera_id": "door", "zones": [{ "name": "s" }] }], "webhook_secret": "s3cret" });
        let hidden = hide_secrets(document);
        assert!(!hidden.to_string().contains("s3cret"), "{hidden}");
        assert_eq!(hidden["cameras"][0]["camera_id"], "door");
        assert_eq!(hidden["cameras"][0]["zones"], json!([{ "name": "s" }]));
    }
}
