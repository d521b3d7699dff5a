//! One line that says what happened.

use aivms_contract::health::CameraState;
use aivms_contract::zone_event::{Direction, ZoneEventType};

use super::judge::word;
use super::occurrence::{Occurrence, What};

/// Longest line in characters; what an edge wrote may be longer.
const MAX_CHARACTERS: usize = 200;

/// Says in one line what happened, for a person: `person entered dock (camera gate)`.
#[must_use]
pub fn headline(occurrence: &Occurrence) -> String {
    let camera = occurrence.camera.as_ref().map_or("camera", |camera| camera.as_str());
    let line = match &occurrence.what {
        What::Zone { zone, event_type, seen, dwell_ms, direction, .. } => {
            let done = done(*event_type, *direction, *dwell_ms, zone.as_str());
            format!("{} {done} (camera {camera})", seen.class)
        }
        What::Detection { seen, stationary: true, .. } => format!("{} at rest on camera {camera}", seen.class),
        What::Detection { seen, .. } => format!("{} on camera {camera}", seen.class),
        What::EdgeAlert { title, .. } => title.clone(),
        What::EdgeOffline => "edge is offline".to_owned(),
        What::EdgeOnline { offline_ms } => format!("edge is back after {}", length(*offline_ms)),
        What::Camera { state, cause, .. } => camera_line(camera, *state, cause.as_deref()),
        What::DiskForecast { days } => format!("footage will be kept for {days:.1} days"),
        What::Temperature { sensor, celsius } => format!("{sensor} is at {celsius:.1} °C"),
        What::RecordingGap { cause, length_ms } => {
            format!("{} without video on camera {camera}, cause: {}", length(*length_ms), word(cause))
        }
        What::TakeOver { detail } => format!("identity of the edge is used twice: {detail}"),
    };
    line.chars().filter(|c| !c.is_control()).take(MAX_CHARACTERS).collect()
}

fn done(event_type: ZoneEventType, direction: Option<Direction>, dwell_ms: Option<u64>, zone: &str) -> String {
    let stay = dwell_ms.map(length);
    match (event_type, stay) {
        (ZoneEventType::Enter, _) => format!("entered {zone}"),
        (ZoneEventType::Exit, Some(stay)) => format!("left {zone} after {stay}"),
        (ZoneEventType::Exit, None) => format!("left {zone}"),
        (ZoneEventType::Dwell, Some(stay)) => format!("has been in {zone} for {stay}"),
        (ZoneEventType::Dwell, None) => format!("stays in {zone}"),
        (ZoneEventType::Cross, _) => match direction {
            Some(Direction::LeftToRight) => format!("crossed {zone} from left to right"),
            Some(Direction::RightToLeft) => format!("crossed {zone} from right to left"),
            None => format!("crossed {zone}"),
        },
        (ZoneEventType::Occupied, _) => format!("made {zone} occupied"),
        (ZoneEventType::Cleared, _) => format!("left {zone} clear"),
    }
}

fn camera_line(camera: &str, state: CameraState, cause: Option<&str>) -> String {
    let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
    match state {
        CameraState::Streaming => format!("camera {camera} has video again"),
        CameraState::Connecting => format!("camera {camera} is being connected{cause}"),
        CameraState::Retrying => format!("camera {camera} has no video{cause}"),
        CameraState::Disabled => format!("camera {camera} is switched off"),
    }
}

/// A length of time in the largest unit that says it within a tenth.
fn length(ms: u64) -> String {
    match ms / 1000 {
        0..=119 if ms.is_multiple_of(1000) => format!("{} s", ms / 1000),
        0..=119 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        seconds @ 120..=7_199 => format!("{} min", seconds / 60),
        seconds @ 7_200..=172_799 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}
