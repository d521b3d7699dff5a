//! Values that go into statements and come out of rows.

use std::fmt::Display;
use std::str::FromStr;

use aivms_contract::id::EventId;
use aivms_contract::time::UtcMillis;

use super::super::StoreError;

/// A value of a column or of a placeholder.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Nothing.
    Null,
    /// A number, a time or a truth.
    Int(i64),
    /// A fraction.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

/// The values of a statement, in the order of its placeholders.
macro_rules! values {
    ($($value:expr),* $(,)?) => { [$($crate::store::sql::Value::from($value)),*] };
}
pub(crate) use values;

macro_rules! from_integers {
    ($($integer:ty),*) => {$(
        impl From<$integer> for Value {
            fn from(number: $integer) -> Self {
                Self::Int(i64::from(number))
            }
        }
    )*};
}
from_integers!(i64, i32, u32, u16, u8, bool);

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl From<f32> for Value {
    fn from(number: f32) -> Self {
        Self::Real(f64::from(number))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Blob(bytes.to_vec())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Blob(bytes)
    }
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(bytes: [u8; N]) -> Self {
        Self::Blob(bytes.to_vec())
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Blob(bytes.to_vec())
    }
}

impl From<UtcMillis> for Value {
    fn from(at: UtcMillis) -> Self {
        Self::Int(at.as_millis())
    }
}

impl From<EventId> for Value {
    fn from(id: EventId) -> Self {
        Self::Blob(id.to_bytes().to_vec())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A row of an answer.
#[derive(Debug, Clone)]
pub(crate) struct Row(Vec<Value>);

impl Row {
    /// A row of these columns.
    pub(crate) fn new(columns: Vec<Value>) -> Self {
        Self(columns)
    }

    /// A column as it is.
    pub(crate) fn value(&self, index: usize) -> Result<&Value, StoreError> {
        self.column(index)
    }

    fn column(&self, index: usize) -> Result<&Value, StoreError> {
        self.0.get(index).ok_or_else(|| StoreError::Database(format!("column {index}: there is none")))
    }

    /// Reads a column.
    pub(crate) fn get<T: FromColumn>(&self, index: usize) -> Result<T, StoreError> {
        let column = self.column(index)?;
        T::from_column(column).ok_or_else(|| wrong(index, format!("{column:?} has the wrong type")))
    }

    /// Reads a text column into a type with a form of its own.
    pub(crate) fn parsed<T: FromStr<Err: Display>>(&self, index: usize) -> Result<T, StoreError> {
        match self.column(index)? {
            Value::Text(text) => text.parse().map_err(|error| wrong(index, error)),
            other => Err(wrong(index, format!("{other:?} is no text"))),
        }
    }

    /// Reads a text column that may be null into a type with a form of its own.
    pub(crate) fn optional_parsed<T: FromStr<Err: Display>>(&self, index: usize) -> Result<Option<T>, StoreError> {
        match self.column(index)? {
            Value::Null => Ok(None),
            _ => self.parsed(index).map(Some),
        }
    }

    /// Reads a text column of JSON.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self, index: usize) -> Result<T, StoreError> {
        match self.column(index)? {
            Value::Text(text) => serde_json::from_str(text).map_err(|error| wrong(index, error)),
            other => Err(wrong(index, format!("{other:?} is no text"))),
        }
    }

    /// Reads a time column.
    pub(crate) fn time(&self, index: usize) -> Result<UtcMillis, StoreError> {
        self.get(index).map(UtcMillis::from_millis)
    }

    /// Reads a time column that may be null.
    pub(crate) fn optional_time(&self, index: usize) -> Result<Option<UtcMillis>, StoreError> {
        self.get::<Option<i64>>(index).map(|millis| millis.map(UtcMillis::from_millis))
    }
}

/// The column is not what the program wrote there.
fn wrong(index: usize, reason: impl Display) -> StoreError {
    StoreError::Database(format!("column {index}: {reason}"))
}

/// What a column can be read as.
pub(crate) trait FromColumn: Sized {
    /// The column's value, when it has this type.
    fn from_column(value: &Value) -> Option<Self>;
}

macro_rules! integers_from_column {
    ($($integer:ty),*) => {$(
        impl FromColumn for $integer {
            fn from_column(value: &Value) -> Option<Self> {
                match value {
                    Value::Int(number) => Self::try_from(*number).ok(),
                    _ => None,
                }
            }
        }
    )*};
}
integers_from_column!(i64, i32, u64, u32, u16, u8);

impl FromColumn for bool {
    fn from_column(value: &Value) -> Option<Self> {
        match value {
            Value::Int(0) => Some(false),
            Value::Int(1) => Some(true),
            _ => None,
        }
    }
}

impl FromColumn for f64 {
    #[expect(clippy::cast_precision_loss, reason = "a whole number in a column of fractions")]
    fn from_column(value: &Value) -> Option<Self> {
        match value {
            Value::Real(number) => Some(*number),
            Value::Int(number) => Some(*number as Self),
            _ => None,
        }
    }
}

impl FromColumn for String {
    fn from_column(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }
}

impl FromColumn for Vec<u8> {
    fn from_column(value: &Value) -> Option<Self> {
        match value {
            Value::Blob(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }
}

impl<const N: usize> FromColumn for [u8; N] {
    fn from_column(value: &Value) -> Option<Self> {
        match value {
            Value::Blob(bytes) => bytes.as_slice().try_into().ok(),
            _ => None,
        }
    }
}

impl<T: FromColumn> FromColumn for Option<T> {
    fn from_column(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            other => T::from_column(other).map(Some),
        }
    }
}
