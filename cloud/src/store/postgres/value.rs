//! Values and rows in PostgreSQL's binary form.

use std::error::Error;

use bytes::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, WrongType, to_sql_checked};

use super::super::StoreError;
use super::super::sql::{Row, Value};

type Encoded = Result<IsNull, Box<dyn Error + Sync + Send>>;

/// A value on its way to a placeholder, whose type PostgreSQL has inferred from the statement.
#[derive(Debug)]
pub(super) struct Parameter<'a>(pub(super) &'a Value);

impl ToSql for Parameter<'_> {
    fn to_sql(&self, wanted: &Type, out: &mut BytesMut) -> Encoded {
        match self.0 {
            Value::Null => Ok(IsNull::Yes),
            Value::Int(number) => integer(*number, wanted, out),
            Value::Real(number) if *wanted == Type::FLOAT8 => number.to_sql(wanted, out),
            Value::Text(text) if <&str as ToSql>::accepts(wanted) => text.to_sql(wanted, out),
            Value::Blob(bytes) if *wanted == Type::BYTEA => bytes.as_slice().to_sql(wanted, out),
            other => Err(format!("a placeholder of type {wanted} is given {}; cast it", kind(other)).into()),
        }
    }

    /// Whether it fits depends on the value.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn integer(number: i64, wanted: &Type, out: &mut BytesMut) -> Encoded {
    match *wanted {
        Type::INT8 => number.to_sql(wanted, out),
        Type::INT4 => i32::try_from(number)?.to_sql(wanted, out),
        // A condition on its own: truth is a number everywhere else.
        Type::BOOL => (number != 0).to_sql(wanted, out),
        #[expect(clippy::cast_precision_loss, reason = "a whole number for a column of fractions")]
        Type::FLOAT8 => (number as f64).to_sql(wanted, out),
        _ => Err(Box::new(WrongType::new::<i64>(wanted.clone()))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Int(_) => "a whole number",
        Value::Real(_) => "a fraction",
        Value::Text(_) => "text",
        Value::Blob(_) => "bytes",
    }
}

/// A row as operations read it: truth becomes 0 or 1, as SQLite has it.
pub(super) fn row(row: &tokio_postgres::Row) -> Result<Row, StoreError> {
    (0..row.len()).map(|index| column(row, index)).collect::<Result<_, _>>().map(Row::new)
}

fn column(row: &tokio_postgres::Row, index: usize) -> Result<Value, StoreError> {
    let wrong = |reason: String| StoreError::Database(format!("column {index}: {reason}"));
    let Some(column) = row.columns().get(index) else { return Err(wrong("there is none".into())) };
    let read = match *column.type_() {
        Type::INT8 => row.try_get::<_, Option<i64>>(index).map(Value::from),
        Type::INT4 => row.try_get::<_, Option<i32>>(index).map(Value::from),
        Type::BOOL => row.try_get::<_, Option<bool>>(index).map(Value::from),
        Type::FLOAT8 => row.try_get::<_, Option<f64>>(index).map(Value::from),
        Type::TEXT | Type::VARCHAR | Type::NAME => row.try_get::<_, Option<String>>(index).map(Value::from),
        Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(index).map(Value::from),
        Type::VOID => Ok(Value::Null),
        ref other => return Err(wrong(format!("{other} is not among the types in use; cast it"))),
    };
    read.map_err(|error| wrong(error.to_string()))
}
