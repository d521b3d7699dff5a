//! Labels of edges: a few `key:value` pairs by which people group them.

use std::fmt;
use std::str::FromStr;

/// Most labels of one edge.
pub const MAX_LABELS: usize = 32;
/// Longest key in bytes.
pub const MAX_KEY_BYTES: usize = 32;
/// Longest value in characters.
pub const MAX_VALUE_CHARS: usize = 64;
/// The form of a label as text, for the API's documentation. A longer value with spaces around it is taken too.
pub const LABEL_PATTERN: &str =
    r"^[a-z0-9][a-z0-9_.-]{0,31}:[^\x00-\x1f\x7f-\x9f]{0,31}[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]{0,31}$";

/// One label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    key: String,
    value: String,
}

/// Says why something is no label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// No colon between key and value.
    #[error("must have the form key:value, is {0:?}")]
    Shape(String),
    /// The key has a wrong form.
    #[error(
        "the key {0:?} must have 1 to 32 characters of a-z, 0-9, '_', '.' and '-', and begin with a letter or digit"
    )]
    Key(String),
    /// The value has a wrong form.
    #[error("the value of {0:?} must have 1 to 64 characters and none that does not print")]
    Value(String),
}

impl Label {
    /// Makes a label.
    ///
    /// # Errors
    /// Key or value have a wrong form.
    pub fn new(key: &str, value: &str) -> Result<Self, LabelError> {
        let fits = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '_' | '.' | '-');
        let begins = key.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        if !begins || key.len() > MAX_KEY_BYTES || !key.chars().all(fits) {
            return Err(LabelError::Key(key.chars().take(MAX_KEY_BYTES).collect()));
        }
        let value = value.trim();
        if value.is_empty() || value.chars().count() > MAX_VALUE_CHARS || value.chars().any(char::is_control) {
            return Err(LabelError::Value(key.to_owned()));
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }

    /// What it is about, such as `site`.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What it says, such as `Hamburg`.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.key, self.value)
    }
}

impl FromStr for Label {
    type Err = LabelError;
    fn from_str(text: &str) -> Result<Self, LabelError> {
        let shape = || LabelError::Shape(text.chars().take(MAX_KEY_BYTES + MAX_VALUE_CHARS).collect());
        let (key, value) = text.split_once(':').ok_or_else(shape)?;
        Self::new(key, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_printed_label_reads_back(key in "[a-z0-9][a-z0-9_.-]{0,31}", value in "[^\\p{C}\\s]{1,64}") {
            let label = Label::new(&key, &value).unwrap();
            prop_assert_eq!((label.key(), label.value()), (key.as_str(), value.as_str()));
            prop_assert_eq!(label.to_string().parse(), Ok(label));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = text.parse::<Label>();
        }
    }

    #[test]
    fn labels_with_a_wrong_key_or_value_are_refused_by_name() {
        assert!(matches!("site".parse::<Label>(), Err(LabelError::Shape(_))));
        for key in ["", "Site", "-a", "a b", &"a".repeat(33)] {
            assert!(matches!(Label::new(key, "x"), Err(LabelError::Key(_))), "{key:?}");
        }
        for value in ["", "  ", "a\u{7}b", &"ä".repeat(65)] {
            assert!(matches!(Label::new("site", value), Err(LabelError::Value(_))), "{value:?}");
        }
        assert_eq!(Label::new("site", " Hafen: Kai 3 ").unwrap().to_string(), "site:Hafen: Kai 3");
    }
}
