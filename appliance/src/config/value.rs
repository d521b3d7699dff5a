//! Values of the TOML file that are checked when they are read.

use std::path::{Path, PathBuf};

use aivms_appliance_core::schedule::{SiteZone, UnknownZone};
use aivms_contract::desired::TimeZoneName;
use serde::Deserialize;
use url::Url;

use crate::pipeline::infer::refuse_other_form;

/// Frames at once.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u32")]
pub(super) struct Batch(pub(super) u32);

impl TryFrom<u32> for Batch {
    type Error = String;
    fn try_from(frames: u32) -> Result<Self, String> {
        match frames {
            1..=64 => Ok(Self(frames)),
            _ => Err(format!("must be 1 to 64 frames, is {frames}")),
        }
    }
}

/// Batches in a row without inference.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u32")]
pub(super) struct Interval(pub(super) u32);

impl TryFrom<u32> for Interval {
    type Error = String;
    fn try_from(batches: u32) -> Result<Self, String> {
        match batches {
            0..=30 => Ok(Self(batches)),
            _ => Err(format!("must be at most 30 batches, is {batches}: a tracker can't bridge more")),
        }
    }
}

/// A time zone that is known.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "TimeZoneName")]
pub(super) struct SiteTimeZone(pub(super) SiteZone);

impl TryFrom<TimeZoneName> for SiteTimeZone {
    type Error = UnknownZone;
    fn try_from(name: TimeZoneName) -> Result<Self, UnknownZone> {
        SiteZone::of(Some(&name)).map(Self)
    }
}

/// Milliseconds that a group of events may take to fill. An event that waits is lost by a crash, so it is kept short.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u32")]
pub(super) struct GroupMs(pub(super) u32);

impl GroupMs {
    pub(super) fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for GroupMs {
    type Error = String;
    fn try_from(milliseconds: u32) -> Result<Self, String> {
        match milliseconds {
            0..=1000 => Ok(Self(milliseconds)),
            _ => Err(format!("must be at most 1000, is {milliseconds}: an event that waits is lost by a power cut")),
        }
    }
}

/// Seconds of media time.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u32")]
pub(super) struct StationarySeconds(pub(super) u32);

impl TryFrom<u32> for StationarySeconds {
    type Error = String;
    fn try_from(seconds: u32) -> Result<Self, String> {
        match seconds {
            1..=3600 => Ok(Self(seconds)),
            _ => Err(format!("must be 1 to 3600 seconds, is {seconds}")),
        }
    }
}

/// Seconds of one file of footage.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u32")]
pub(super) struct SegmentSeconds(pub(super) u32);

impl TryFrom<u32> for SegmentSeconds {
    type Error = String;
    fn try_from(seconds: u32) -> Result<Self, String> {
        match seconds {
            10..=600 => Ok(Self(seconds)),
            _ => Err(format!("must be 10 to 600 seconds, is {seconds}")),
        }
    }
}

/// Seconds of footage that a power cut may cost.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u32")]
pub(super) struct SyncSeconds(pub(super) u32);

impl TryFrom<u32> for SyncSeconds {
    type Error = String;
    fn try_from(seconds: u32) -> Result<Self, String> {
        match seconds {
            1..=60 => Ok(Self(seconds)),
            _ => Err(format!("must be 1 to 60 seconds, is {seconds}: what waits longer is lost by a power cut")),
        }
    }
}

/// Seconds of a clip before or after its event.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u32")]
pub(super) struct RollSeconds(pub(super) u32);

impl TryFrom<u32> for RollSeconds {
    type Error = String;
    fn try_from(seconds: u32) -> Result<Self, String> {
        match seconds {
            0..=60 => Ok(Self(seconds)),
            _ => Err(format!("must be 0 to 60 seconds, is {seconds}: a clip of two minutes ends in any case")),
        }
    }
}

/// MiB of recordings.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u64")]
pub(super) struct RecordMib(pub(super) u64);

impl TryFrom<u64> for RecordMib {
    type Error = String;
    fn try_from(mib: u64) -> Result<Self, String> {
        match mib {
            16.. => Ok(Self(mib)),
            _ => Err(format!("must be at least 16, is {mib}: each camera writes a file of its own")),
        }
    }
}

/// An HTTP address with a host.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct CloudUrl(pub(super) Url);

impl TryFrom<String> for CloudUrl {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        // Whether plain HTTP is allowed depends on another key; `parse` asks again.
        Self::check(&text, true)
    }
}

impl CloudUrl {
    /// Reads an address. Plain HTTP is for this machine itself, unless allowed.
    pub(super) fn check(text: &str, allow_plain_http: bool) -> Result<Self, String> {
        let url = Url::parse(text.trim()).map_err(|error| format!("is not a URL ({error}); write https://HOST"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "holds a user or password; an edge proves itself by its certificate, so leave them out".to_owned()
            );
        }
        let host = url.host_str().ok_or("names no host; write https://HOST")?;
        match url.scheme() {
            "https" => Ok(Self(url)),
            "http" if allow_plain_http || is_this_machine(host) => Ok(Self(url)),
            "http" => Err("http would show the edge secret to the network; use https, or set \
                           cloud.allow_plain_http = true in the settings file"
                .to_owned()),
            other => Err(format!("scheme {other:?} is not known; use https")),
        }
    }
}

impl From<CloudUrl> for Url {
    fn from(url: CloudUrl) -> Self {
        url.0
    }
}

fn is_this_machine(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Path or name of a model.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct ModelName(pub(super) String);

impl TryFrom<String> for ModelName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() {
            return Err("names no model; write the path of an ONNX file".to_owned());
        }
        if let Some(problem) = refuse_other_form(Path::new(&text)) {
            return Err(format!("{text:?} {problem}"));
        }
        Ok(Self(text))
    }
}

impl ModelName {
    /// The file meant: a text with a slash or ending in `.onnx` is a path, another one a name in `models_dir`.
    pub(super) fn locate(&self, base: &Path, models_dir: &Path) -> PathBuf {
        if self.0.contains('/') || self.0.ends_with(".onnx") {
            base.join(&self.0)
        } else {
            models_dir.join(format!("{}.onnx", self.0))
        }
    }
}
