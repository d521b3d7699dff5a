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
    /// A value of a JSON file that can't be taken, with the path of its field.
    pub(crate) fn json_field(path: &Path, error: &serde_path_to_error::Error<serde_json::Error>) -> Self {
        Self::field(path, error.path().to_string(), error.inner().to_string())
    }

    /// A value of a TOML file that can't be taken, with the path of its key.
    pub(crate) fn toml_field(path: &Path, error: &serde_path_to_error::Error<toml::de::Error>) -> Self {
        Self::field(path, error.path().to_string(), error.inner().message().to_owned())
    }

    /// A mistake of a JSON file's form.
    pub(crate) fn json_syntax(path: &Path, error: &serde_json::Error) -> Self {
        Self::Syntax { path: path.to_owned(), problem: error.to_string() }
    }

    /// A mistake of a TOML file's form, by its line. The line itself is not shown: it may hold a secret.
    pub(crate) fn toml_syntax(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let message = error.message();
        let before = error.span().and_then(|span| text.get(..span.start));
        let problem = before.map_or_else(
            || message.to_owned(),
            |before| format!("line {}: {message}", before.matches('\n').count() + 1),
        );
        Self::Syntax { path: path.to_owned(), problem }
    }

    fn field(path: &Path, key: String, problem: String) -> Self {
        match key.as_str() {
            "." => Self::Syntax { path: path.to_owned(), problem },
            _ => Self::Field { path: path.to_owned(), key, problem },
        }
    }
}
