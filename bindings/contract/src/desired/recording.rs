//! What of a camera's video is kept, and for how long.

use serde::{Deserialize, Serialize};

use super::number::{Days, Gib};

/// What is recorded and for how long; an absent value is that of the edge, or the settings file's.
///
/// The tiers are those that Frigate's users know: everything is kept for `continuous_days`; what shows motion for
/// `motion_days`; what shows a followed object for `object_days`; what belongs to a zone event for `event_days`. What
/// belongs to several is kept for the longest of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// Whether video is recorded at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Whether sound is recorded with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<bool>,
    /// Days everything is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continuous_days: Option<Days>,
    /// Days is kept what shows motion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub motion_days: Option<Days>,
    /// Days is kept what shows a followed object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_days: Option<Days>,
    /// Days is kept what belongs to a zone event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_days: Option<Days>,
    /// Most GiB of one camera's footage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_gib: Option<Gib>,
}

impl Recording {
    /// These values, and those of `other` where there is none.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self {
            enabled: self.enabled.or(other.enabled),
            audio: self.audio.or(other.audio),
            continuous_days: self.continuous_days.or(other.continuous_days),
            motion_days: self.motion_days.or(other.motion_days),
            object_days: self.object_days.or(other.object_days),
            event_days: self.event_days.or(other.event_days),
            max_gib: self.max_gib.or(other.max_gib),
        }
    }

    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The RTSP client that connects to a camera.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RtspClient {
    /// GStreamer's: knows the oddities of most cameras.
    #[default]
    Rtspsrc,
    /// A client that needs a quarter of the processor; TCP only, no encryption.
    Retina,
}

impl RtspClient {
    /// Whether it is the default.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
