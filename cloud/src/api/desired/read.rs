//! Documents as they are asked for, read by the contract's own rules so that a wrong field is named with its path.

use aivms_contract::desired::{Cameras, Lines, Settings, Zones};
use poem_openapi::Object;
use poem_openapi::types::{Any, Example};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::super::failure::Failure;

/// A document to be stored.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DesiredRequest {
    version: Option<u64>,
    cameras: Value,
    #[serde(default = "nothing")]
    settings: Value,
}

/// The document an edge should run.
#[derive(Object)]
#[oai(rename = "DesiredRequest", example)]
pub(super) struct DesiredForm {
    /// The version the change is based on: the newest one, 0 when there is none. Needed without `If-Match`.
    #[oai(nullable, validator(minimum(value = "0"), maximum(value = "9007199254740991")))]
    version: Option<u64>,
    /// The cameras, each with its zones and lines; `docs/ref/cameras.md` describes them.
    #[oai(validator(max_items = 64))]
    cameras: Vec<Any<Value>>,
    /// Settings of the whole edge.
    settings: Option<Any<Value>>,
}

/// Zones and lines to be stored.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ZonesRequest {
    pub(super) version: Option<u64>,
    zones: Value,
    lines: Option<Value>,
}

/// The zones and lines of a camera.
#[derive(Object)]
#[oai(rename = "ZonesRequest", example)]
pub(super) struct ZonesForm {
    /// The version the change is based on; whatever is the newest when absent.
    #[oai(nullable, validator(minimum(value = "0"), maximum(value = "9007199254740991")))]
    version: Option<u64>,
    /// The zones; `docs/ref/rules.md` describes them.
    #[oai(validator(max_items = 32))]
    zones: Vec<Any<Value>>,
    /// The lines; they stay as they are when absent.
    #[oai(nullable, validator(max_items = 32))]
    lines: Option<Vec<Any<Value>>>,
}

impl DesiredRequest {
    /// The version the change is based on.
    pub(super) fn based_on(&self, if_match: Option<&str>) -> Result<u64, Failure> {
        let wrong =
            || Failure::bad_request(Some("If-Match"), "If-Match: must be the ETag of an earlier answer, such as \"3\"");
        match (if_match, self.version) {
            (Some(tag), _) => tag.trim_matches('"').parse().map_err(|_| wrong()),
            (None, Some(version)) => Ok(version),
            (None, None) => {
                Err(Failure::unacceptable("version", "is missing: say which version the change is based on"))
            }
        }
    }

    /// Cameras and settings.
    pub(super) fn content(self) -> Result<(Cameras, Settings), Failure> {
        Ok((read("cameras", self.cameras)?, read("settings", self.settings)?))
    }
}

impl ZonesRequest {
    /// Zones, and lines when they are to change.
    pub(super) fn content(&self) -> Result<(Zones, Option<Lines>), Failure> {
        let lines = self.lines.clone().map(|lines| read("lines", lines)).transpose()?;
        Ok((read("zones", self.zones.clone())?, lines))
    }
}

/// Reads `value` as `member` of the body.
fn read<T: DeserializeOwned>(member: &str, value: Value) -> Result<T, Failure> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = match error.path().to_string() {
            path if path == "." => member.to_owned(),
            path if path.starts_with('[') => format!("{member}{path}"),
            path => format!("{member}.{path}"),
        };
        Failure::unacceptable(&path, error.inner())
    })
}

fn nothing() -> Value {
    json!({})
}

fn zones() -> Vec<Any<Value>> {
    vec![Any(json!({"id": "entrance", "polygon": [[0.1, 0.2], [0.9, 0.2], [0.9, 0.9]], "dwell_ms": 5000}))]
}

impl Example for DesiredForm {
    fn example() -> Self {
        let zones: Vec<Value> = zones().into_iter().map(|Any(zone)| zone).collect();
        let camera = json!({"id": "front-door", "url": "rtsp://192.0.2.10/stream1", "zones": zones});
        Self { version: Some(0), cameras: vec![Any(camera)], settings: Some(Any(json!({"detection_fps": 5}))) }
    }
}

impl Example for ZonesForm {
    fn example() -> Self {
        Self { version: Some(1), zones: zones(), lines: None }
    }
}
