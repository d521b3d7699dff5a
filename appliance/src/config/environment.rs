//! The environment variables, which win over the file.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use super::file::File;
use super::{ConfigError, Secret};

/// The variables of a process, taken once.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<&'static str, String>);

/// Every variable read, in the order of the documentation.
const NAMES: [&str; 7] = [
    "CLOUD_URL",
    "EDGE_ID",
    "EDGE_SECRET",
    "DETECTION_MODEL",
    "DETECTION_CONFIDENCE",
    "DETECTION_FPS",
    "RECORDING_RETENTION_DAYS",
];

impl Environment {
    /// Takes the variables of this process. An empty variable counts as unset.
    #[must_use]
    pub fn of_process() -> Self {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Takes each known variable that `lookup` has a text for.
    #[must_use]
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name| Some((name, lookup(name).filter(|value| !value.is_empty())?));
        Self(NAMES.into_iter().filter_map(set).collect())
    }

    /// Replaces what `file` says by what the variables say.
    pub(super) fn overlay(&self, file: &mut File) -> Result<(), ConfigError> {
        if let Some(url) = self.0.get("CLOUD_URL") {
            let url = super::value::CloudUrl::check(url, file.cloud.allow_plain_http);
            file.cloud.url = Some(url.map_err(|problem| ConfigError::Variable { name: "CLOUD_URL", problem })?);
        }
        if let Some(id) = self.parsed("EDGE_ID")? {
            file.edge.id = Some(id);
        }
        if let Some(secret) = self.0.get("EDGE_SECRET") {
            file.edge.secret = Some(Secret::new(secret.clone()));
        }
        if let Some(model) = self.0.get("DETECTION_MODEL") {
            file.detection.model = super::value::ModelName::try_from(model.clone())
                .map_err(|problem| ConfigError::Variable { name: "DETECTION_MODEL", problem })?;
        }
        if let Some(confidence) = self.number::<f64>("DETECTION_CONFIDENCE", "a number")? {
            file.detection.confidence = checked("DETECTION_CONFIDENCE", confidence.try_into())?;
        }
        if let Some(fps) = self.number::<f64>("DETECTION_FPS", "a number")? {
            file.detection.fps = checked("DETECTION_FPS", fps.try_into())?;
        }
        if let Some(days) = self.number::<f64>("RECORDING_RETENTION_DAYS", "a number of days")? {
            file.recording.continuous_days = checked("RECORDING_RETENTION_DAYS", days.try_into())?;
        }
        Ok(())
    }

    fn number<T: FromStr>(&self, name: &'static str, what: &str) -> Result<Option<T>, ConfigError> {
        let parse = |text: &String| {
            let number = text.trim().parse();
            number.map_err(|_| ConfigError::Variable { name, problem: format!("must be {what}, is {text:?}") })
        };
        self.0.get(name).map(parse).transpose()
    }

    fn parsed<T: FromStr<Err: Display>>(&self, name: &'static str) -> Result<Option<T>, ConfigError> {
        self.0.get(name).map(|text| checked(name, text.trim().parse())).transpose()
    }
}

fn checked<T>(name: &'static str, value: Result<T, impl Display>) -> Result<T, ConfigError> {
    value.map_err(|error| ConfigError::Variable { name, problem: error.to_string() })
}
