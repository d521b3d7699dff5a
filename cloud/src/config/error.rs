//! What can be wrong with settings.

use std::path::PathBuf;

/// Says which setting is wrong.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The settings file can't be read.
    #[error("{}: can't be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The settings file is not TOML, or a key of it is unknown or has a wrong value.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The key and what is wrong with it.
        problem: String,
    },
    /// A setting has a value the program can't work with.
    #[error("{name}: {problem}")]
    Value {
        /// The variable or key.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl ConfigError {
    /// What a check says of the variable or key `name`.
    pub(super) fn wrong<T>(name: &'static str, problem: impl Into<String>) -> Result<T, Self> {
        Err(Self::Value { name, problem: problem.into() })
    }
}
