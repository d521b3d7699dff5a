//! What should run: the desired document when there is one, the local files otherwise.

use aivms_appliance_core::schedule::SiteZone;
use aivms_contract::desired::{Camera, Days, Desired, Recording, Settings};
use serde::Deserialize;

use crate::config::{self, Config};
use crate::recorder::RecordingPolicy;

/// Says why a desired document is refused, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The version refused.
    pub version: u64,
    /// Path of the wrong field.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

/// One camera as it should run, with the edge's defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// The camera.
    pub camera: Camera,
    /// Frames analysed per second.
    pub detection_fps: f64,
    /// Least confidence of a detection.
    pub confidence: f64,
    /// Classes looked for.
    pub classes: Vec<String>,
    /// The site's time zone.
    pub time_zone: SiteZone,
    /// Whether sound is wanted with its video.
    pub audio: bool,
}

/// Reads a desired document.
///
/// # Errors
/// The refusal to report; `None` when the bytes do not even hold a version that could be refused.
pub fn read(bytes: &[u8]) -> Result<Desired, Option<Refusal>> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u64,
    }
    let Versioned { version } = serde_json::from_slice(bytes).map_err(|_| None)?;
    let refusal = |field: String, reason: String| Some(Refusal { version, field, reason });
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let desired: Desired = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| refusal(error.path().to_string(), without_place(&error.inner().to_string())))?;
    config::check_cameras(&desired.cameras).map_err(|(field, reason)| refusal(field, reason))?;
    SiteZone::of(desired.settings.time_zone.as_ref())
        .map_err(|error| refusal("settings.time_zone".to_owned(), error.to_string()))?;
    Ok(desired)
}

/// What is recorded of each camera and for how long: the camera wins over the document, and that over the settings.
#[must_use]
pub fn recording(config: &Config, desired: Option<&Desired>) -> RecordingPolicy {
    let cameras = desired.map_or(&config.cameras, |desired| &desired.cameras).as_slice();
    let cameras = cameras.iter().map(|camera| (camera.id.clone(), camera.recording.clone()));
    let Some(settings) = desired.map(|desired| &desired.settings) else {
        return RecordingPolicy::new(config.recording.policy.clone(), cameras);
    };
    let days = settings.recording_retention_days.and_then(|days| Days::try_from(f64::from(days)).ok());
    let site = Recording { continuous_days: settings.recording.continuous_days.or(days), ..settings.recording.clone() };
    RecordingPolicy::new(site.or(&config.recording.policy), cameras)
}

/// Every camera as it should run.
#[must_use]
pub fn wanted(config: &Config, desired: Option<&Desired>) -> Vec<Wanted> {
    let cameras = desired.map_or(&config.cameras, |desired| &desired.cameras);
    let none = Settings::default();
    let settings = desired.map_or(&none, |desired| &desired.settings);
    let fps = settings.detection_fps.unwrap_or(config.detection.fps);
    let confidence = settings.detection_confidence.unwrap_or(config.detection.confidence);
    let time_zone = time_zone(config, desired);
    let recording = recording(config, desired);
    let with_defaults = |camera: &Camera| Wanted {
        detection_fps: camera.detection_fps.unwrap_or(fps).get(),
        confidence: confidence.get(),
        classes: if camera.classes.is_empty() { config.detection.classes.clone() } else { camera.classes.clone() },
        time_zone: time_zone.clone(),
        audio: recording.records_sound(&camera.id),
        camera: camera.clone(),
    };
    cameras.as_slice().iter().map(with_defaults).collect()
}

/// The site's time zone: that of the document, else that of the settings file, else UTC.
#[must_use]
pub fn time_zone(config: &Config, desired: Option<&Desired>) -> SiteZone {
    let Some(name) = desired.and_then(|desired| desired.settings.time_zone.as_ref()) else {
        return config.time_zone.clone();
    };
    SiteZone::of(Some(name)).unwrap_or_else(|error| {
        // A document that another version of this program took and this one would refuse.
        tracing::error!(%error, "the time zone of the remembered document is not known; that of the settings holds");
        config.time_zone.clone()
    })
}

/// Line and column mean nothing to someone who edits the document in a browser.
fn without_place(message: &str) -> String {
    message.split(" at line ").next().unwrap_or(message).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;
    use serde_json::json;

    fn config() -> Config {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("appliance.toml");
        std::fs::write(&path, "[detection]\nfps = 4\nconfidence = 0.4\nclasses = ['person']\n").unwrap();
        let cameras = json!({"cameras": [{"id": "local", "url": "file:///a.mp4", "detection_fps": 2}]});
        std::fs::write(dir.path().join("cameras.json"), cameras.to_string()).unwrap();
        Config::load(Some(&path), &Environment::default()).unwrap()
    }

    fn refused(document: &serde_json::Value) -> Refusal {
        read(document.to_string().as_bytes()).unwrap_err().expect("it has a version")
    }

    #[test]
    fn local_files_run_until_a_document_arrives_which_then_wins() {
        let config = config();
        let local = wanted(&config, None);
        assert_eq!(local[0].camera.id.as_str(), "local");
        assert_eq!((local[0].detection_fps, local[0].confidence), (2.0, 0.4));
        assert_eq!(local[0].classes, ["person"]);

        let document = json!({"version": 1, "cameras": [{"id": "a", "url": "rtsp://h/1", "classes": ["car"]}],
            "settings": {"detection_fps": 8}});
        let desired = read(document.to_string().as_bytes()).unwrap();
        let from_cloud = wanted(&config, Some(&desired));
        assert_eq!(from_cloud.len(), 1);
        assert_eq!((from_cloud[0].detection_fps, from_cloud[0].confidence), (8.0, 0.4));
        assert_eq!(from_cloud[0].classes, ["car"]);
    }

    #[test]
    fn a_wrong_document_is_refused_whole_with_the_path_of_its_field() {
        let polygon = json!([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0]]);
        let bow = json!({"version": 4, "cameras": [
            {"id": "good", "url": "rtsp://h/1"},
            {"id": "bad", "url": "rtsp://h/2", "zones": [{"id": "z", "polygon": polygon}]},
        ]});
        let refusal = refused(&bow);
        assert_eq!((refusal.version, refusal.field.as_str()), (4, "cameras[1].zones[0].polygon"));
        assert!(!refusal.reason.contains("line"), "{}", refusal.reason);
        let scheme = refused(&json!({"version": 5, "cameras": [{"id": "a", "url": "http://h/1"}]}));
        assert_eq!(scheme.field, "cameras[0].url");
        let misspelt = refused(&json!({"version": 6, "cameras": [], "settings": {"fps": 3}}));
        assert_eq!(misspelt.field, "settings.fps");
        let nowhere = refused(&json!({"version": 7, "cameras": [], "settings": {"time_zone": "Mars/Olympus"}}));
        assert_eq!((nowhere.version, nowhere.field.as_str()), (7, "settings.time_zone"));
        assert!(nowhere.reason.contains("Mars/Olympus") && nowhere.reason.contains("Europe/Berlin"));
    }

    #[test]
    fn the_documents_time_zone_wins_over_that_of_the_settings_file_and_without_both_it_is_utc() {
        let document = |settings: serde_json::Value| {
            let document = json!({"version": 1, "cameras": [{"id": "a", "url": "rtsp://h/1"}], "settings": settings});
            read(document.to_string().as_bytes()).unwrap()
        };
        let without = config();
        let zone = |config: &Config, desired: Option<&Desired>| wanted(config, desired)[0].time_zone.name().to_owned();
        assert_eq!(zone(&without, None), "UTC");
        let kathmandu = "Asia/Kathmandu".to_owned().try_into().unwrap();
        let with = Config { time_zone: SiteZone::of(Some(&kathmandu)).unwrap(), ..config() };
        assert_eq!(zone(&with, None), "Asia/Kathmandu");
        assert_eq!(zone(&with, Some(&document(json!({})))), "Asia/Kathmandu");
        let berlin = document(json!({"time_zone": "Europe/Berlin"}));
        assert_eq!([zone(&with, Some(&berlin)), zone(&without, Some(&berlin))], ["Europe/Berlin", "Europe/Berlin"]);
    }

    #[test]
    fn bytes_without_a_version_cant_be_refused_by_version() {
        assert_eq!(read(b"not json").unwrap_err(), None);
        assert_eq!(read(b"{\"cameras\": []}").unwrap_err(), None);
    }
}
