//! What every table of the settings file does, and how it asks the environment.

use std::fmt::Display;
use std::str::FromStr;

use super::ConfigError;

/// A table of the settings file.
pub(super) trait Part {
    /// Takes what the environment says, which wins over the file.
    fn take_environment(&mut self, _variables: &Variables<'_>) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Looks at what belongs together, and at values that a type alone does not refuse.
    fn check(&self) -> Result<(), ConfigError> {
        Ok(())
    }
}

/// The environment. An empty variable is none: it is how compose files and shells leave one unset.
pub(super) struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

impl<'a> Variables<'a> {
    pub(super) fn new(environment: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self(environment)
    }

    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// Takes a text or path over from the variable `name`, if it is set.
    pub(super) fn text<T: From<String>>(&self, name: &str, value: &mut T) {
        if let Some(text) = self.get(name) {
            *value = text.into();
        }
    }

    /// Like [`Variables::text`], for a setting that may be absent.
    pub(super) fn optional<T: From<String>>(&self, name: &str, value: &mut Option<T>) {
        if let Some(text) = self.get(name) {
            *value = Some(text.into());
        }
    }

    /// Takes a whole number of `unit` over from the variable `name`, if it is set.
    pub(super) fn number<T>(&self, name: &'static str, unit: &str, value: &mut T) -> Result<(), ConfigError>
    where
        T: FromStr<Err: Display>,
    {
        if let Some(text) = self.get(name) {
            let problem = || format!("must be a whole number of {unit}, is {text:?}");
            *value = text.parse().map_err(|_| ConfigError::Value { name, problem: problem() })?;
        }
        Ok(())
    }
}
