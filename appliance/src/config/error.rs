//! What can be wrong with settings, each with the place to correct.

use std::path::{Path, PathBuf};

/// Says which setting is wrong.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A settings file can't be read.
    #[error("{}: can't be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A settings file is not TOML or JSON.
    #[error("{}: {problem}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Place and kind of the mistake.
        problem: String,
    },
    /// A key of a settings file is unknown, missing or has a wrong value.
    #[error("{}: {key}: {problem}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The key, such as `detection.fps` or `cameras[0].url`.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An environment variable has a wrong value.
    #[error("environment variable {name}: {problem}")]
    Variable {
        /// The variable.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl ConfigError {
    /// A deserialisation error with the path of the field it belongs to.
    pub(crate) fn field<E: std::fmt::Display>(path: &Path, error: &serde_path_to_error::Error<E>) -> Self {
        let problem = error.inner().to_string().trim_end().to_owned();
        match error.path().to_string() {
            key if key == "." => Self::Syntax { path: path.to_owned(), problem },
            key => Self::Field { path: path.to_owned(), key, problem },
        }
    }

    /// A mistake of the file's form.
    pub(crate) fn syntax(path: &Path, error: &impl std::fmt::Display) -> Self {
        Self::Syntax { path: path.to_owned(), problem: error.to_string().trim_end().to_owned() }
    }
}
