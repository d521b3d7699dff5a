//! A JSON document whose members keep their order, in which they are read by people.

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// One value of the document.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    Object(Vec<(String, Tree)>),
    Array(Vec<Tree>),
    /// A text, a number, true, false or null.
    Plain(Value),
}

impl Tree {
    /// The members of an object; none of anything else.
    pub(super) fn members(&mut self) -> impl Iterator<Item = (&str, &mut Self)> {
        let members = match self {
            Self::Object(members) => members.as_mut_slice(),
            _ => &mut [],
        };
        members.iter_mut().map(|(name, value)| (name.as_str(), value))
    }

    pub(super) fn member(&mut self, name: &str) -> Option<&mut Self> {
        self.members().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Sets a member of an object, at the end if it is new.
    pub(super) fn set(&mut self, name: &str, value: impl Into<Self>) {
        if let Some(known) = self.member(name) {
            *known = value.into();
        } else if let Self::Object(members) = self {
            members.push((name.to_owned(), value.into()));
        }
    }

    /// Keeps the members of an object whose names are wanted.
    pub(super) fn keep(&mut self, is_wanted: impl Fn(&str) -> bool) {
        if let Self::Object(members) = self {
            members.retain(|(name, _)| is_wanted(name));
        }
    }

    /// Adds the members of `other` behind those of this object.
    pub(super) fn append(&mut self, other: Self) {
        if let (Self::Object(members), Self::Object(more)) = (self, other) {
            members.extend(more);
        }
    }
}

impl From<Value> for Tree {
    fn from(value: Value) -> Self {
        match value {
            Value::Object(members) => Self::Object(members.into_iter().map(|(k, v)| (k, v.into())).collect()),
            Value::Array(items) => Self::Array(items.into_iter().map(Into::into).collect()),
            plain => Self::Plain(plain),
        }
    }
}

impl From<&str> for Tree {
    fn from(text: &str) -> Self {
        Self::Plain(text.into())
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                members.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
                map.end()
            }
            Self::Array(items) => items.serialize(serializer),
            Self::Plain(value) => value.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Tree;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Tree::Object(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Tree::Array(items))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Plain(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Plain(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Plain(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Plain(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Plain(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Plain(value.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_written_as_it_was_read() {
        let text = r#"{"z":[1,-2,0.5,1.0,null,true],"a":{"y":"é","b":{}}}"#;
        let tree: Tree = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&tree).unwrap(), text);
    }
}
