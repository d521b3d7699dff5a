//! Footage in words, for `status` and `doctor`.

use std::fmt::Write as _;
use std::path::Path;

use aivms_contract::footage::{DeletionReason, Gap, GapCause};
use aivms_contract::health::{CameraHealth, DiskHealth, RecordingHealth, RecordingState};
use aivms_contract::time::UtcMillis;

use super::board::{CameraStatus, FootageStatus};
use crate::identity::in_words;
use crate::status::in_bytes;

/// Gaps shown of each camera.
const SHOWN_GAPS: usize = 5;
/// Part of the wanted days below which a forecast is a warning.
const ENOUGH: f32 = 0.95;

/// Lines on the footage, each with its label.
#[must_use]
pub fn lines(
    cameras: &[CameraHealth],
    disks: &[DiskHealth],
    footage: &FootageStatus,
    now: UtcMillis,
) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    for camera in cameras {
        let Some(recording) = &camera.recording else { continue };
        let status = footage.cameras.iter().find(|status| status.camera_id == camera.camera_id);
        lines.push(("recording", format!("{} {}", camera.camera_id, recording_words(recording, status))));
        for gap in status.into_iter().flat_map(|status| status.gaps.iter().rev().take(SHOWN_GAPS)) {
            lines.push(("gap", format!("{} {}", camera.camera_id, gap_words(gap, now))));
        }
        for going in status.into_iter().flat_map(|status| &status.goes) {
            let why = reason_words(going.reason);
            let (days, bytes) = (going.days, in_bytes(going.bytes));
            lines.push(("deleted last", format!("{} {days:.3} days ({bytes}), {why}", camera.camera_id)));
        }
    }
    for disk in disks {
        let [free, total, own] = [disk.free_bytes, disk.total_bytes, disk.footage_bytes].map(in_bytes);
        lines.push(("footage disk", format!("{}: {own} of footage, {free} free of {total}", disk.tier)));
    }
    if footage.locks > 0 {
        let held = in_bytes(footage.locked_bytes);
        lines.push(("locks", format!("{} hold {held}", footage.locks)));
    }
    lines.extend(footage.problems.iter().map(|problem| ("PROBLEM", problem.clone())));
    lines
}

/// What `doctor` warns of: findings that a person should act on.
#[must_use]
pub fn warnings(cameras: &[CameraHealth], footage: &FootageStatus) -> Vec<String> {
    let short = |status: &CameraStatus| {
        let recording = cameras.iter().find(|camera| camera.camera_id == status.camera_id)?.recording.as_ref()?;
        let (reaches, wanted) = (recording.forecast_days?, status.wanted_days?);
        (reaches < wanted * ENOUGH).then(|| {
            format!(
                "camera {}: the disks will hold {reaches:.1} days of the {wanted:.1} wanted; use a larger disk, a lower \
                 bit rate, or fewer days",
                status.camera_id
            )
        })
    };
    let failing = cameras.iter().filter_map(|camera| {
        let recording = camera.recording.as_ref().filter(|it| it.state == RecordingState::Failing)?;
        let cause = recording.cause.as_deref().unwrap_or("the disk takes nothing");
        Some(format!("camera {} is not recorded: {cause}", camera.camera_id))
    });
    footage.problems.iter().cloned().chain(failing).chain(footage.cameras.iter().filter_map(short)).collect()
}

/// Whether a file can be made in a folder for footage; says what to do when not.
///
/// # Errors
/// In words: it can't.
pub fn try_folder(folder: &Path) -> Result<String, String> {
    let trial = folder.join(".doctor");
    make_folder(folder);
    let made = std::fs::write(&trial, b"trial");
    let made = made.and_then(|()| std::fs::remove_file(&trial));
    match made {
        Ok(()) => Ok(format!("{} can be written", folder.display())),
        Err(error) => Err(format!("{}: {error}; check that the disk is mounted and writable", folder.display())),
    }
}

/// Makes a folder for footage where the one above it is there: a disk that is not mounted must not be filled in the
/// place where it belongs.
pub(super) fn make_folder(folder: &Path) {
    // Whoever uses the folder finds out.
    let _ = std::fs::create_dir(folder);
}

fn recording_words(recording: &RecordingHealth, status: Option<&CameraStatus>) -> String {
    let mut text = match recording.state {
        RecordingState::Recording => "recording".to_owned(),
        RecordingState::Waiting => "WAITING for video".to_owned(),
        RecordingState::Failing => "NOT RECORDED".to_owned(),
    };
    // Writing to a String can't fail.
    if let Some(cause) = &recording.cause {
        let _ = write!(text, " ({cause})");
    }
    let _ = write!(text, ", {}", in_bytes(recording.bytes));
    if let Some(oldest) = recording.oldest {
        let _ = write!(text, " since {oldest}");
    }
    if let Some(days) = recording.forecast_days {
        let _ = write!(text, ", will reach {days:.1} days back");
        if let Some(wanted) = status.and_then(|status| status.wanted_days) {
            let _ = write!(text, " of {wanted:.1} wanted");
        }
    }
    if let Some(percent) = recording.continuity_percent {
        // Rounded down: a gap must not read as 100 %.
        let _ = write!(text, ", {:.2} % of today", (percent * 100.0).floor() / 100.0);
    }
    text
}

fn gap_words(gap: &Gap, now: UtcMillis) -> String {
    let whose = match gap.cause {
        GapCause::Camera => "the camera sent nothing",
        GapCause::Network => "the camera could not be reached",
        GapCause::Disk => "the disk took nothing",
        GapCause::Restart => "the appliance did not run",
        GapCause::Internal => "a fault of the appliance",
        GapCause::SwitchedOff => "switched off",
        GapCause::Deleted => "deleted",
    };
    let length = in_words(gap.end.unwrap_or(now).since(gap.start));
    let lasts = if gap.end.is_none() { ", still lasting" } else { "" };
    let detail = gap.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
    format!("from {} for {length}{lasts}: {whose}{detail}", gap.start)
}

fn reason_words(reason: DeletionReason) -> &'static str {
    match reason {
        DeletionReason::Age => "older than its tier keeps",
        DeletionReason::CameraBytes => "the camera had used up its bytes",
        DeletionReason::FreeSpace => "the disk had too little room",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aivms_contract::health::CameraState;

    fn camera(recording: RecordingHealth) -> CameraHealth {
        CameraHealth {
            camera_id: "door".parse().unwrap(),
            state: CameraState::Streaming,
            cause: None,
            since: UtcMillis::from_millis(0),
            detect_fps: 5.0,
            recording: Some(recording),
        }
    }

    fn status() -> FootageStatus {
        let gap = Gap {
            start: UtcMillis::from_millis(1_795_352_700_000),
            end: Some(UtcMillis::from_millis(1_795_352_760_000)),
            cause: GapCause::Network,
            detail: None,
        };
        let camera = CameraStatus {
            camera_id: "door".parse().unwrap(),
            wanted_days: Some(7.0),
            gaps: vec![gap],
            goes: Vec::new(),
        };
        FootageStatus { cameras: vec![camera], ..FootageStatus::default() }
    }

    fn recording(state: RecordingState, forecast_days: f32) -> RecordingHealth {
        RecordingHealth {
            state,
            cause: (state == RecordingState::Failing).then(|| "no room left".to_owned()),
            bytes: 3 << 30,
            oldest: Some(UtcMillis::from_millis(1_795_352_700_000)),
            forecast_days: Some(forecast_days),
            continuity_percent: Some(99.9999),
        }
    }

    #[test]
    fn a_recorded_camera_is_shown_with_its_forecast_its_continuity_and_its_gaps() {
        let now = UtcMillis::from_millis(1_795_353_000_000);
        let lines = lines(&[camera(recording(RecordingState::Recording, 6.8))], &[], &status(), now);
        let told: Vec<_> = lines.iter().map(|(label, text)| format!("{label}: {text}")).collect();
        assert_eq!(
            told,
            [
                "recording: door recording, 3.0 GiB since 2026-11-22T13:05:00.000Z, will reach 6.8 days back of 7.0 wanted, \
             99.99 % of today",
                "gap: door from 2026-11-22T13:05:00.000Z for 60 s: the camera could not be reached",
            ]
        );
    }

    #[test]
    fn doctor_warns_of_too_small_disks_and_of_cameras_that_are_not_recorded() {
        assert_eq!(warnings(&[camera(recording(RecordingState::Recording, 6.8))], &status()), Vec::<String>::new());
        let [failing, small] = &warnings(&[camera(recording(RecordingState::Failing, 2.0))], &status())[..] else {
            panic!()
        };
        assert!(failing.contains("door is not recorded: no room left"), "{failing}");
        assert!(small.contains("2.0 days of the 7.0 wanted"), "{small}");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_found() {
        let dir = tempfile::tempdir().unwrap();
        assert!(try_folder(&dir.path().join("recordings")).is_ok());
        std::fs::write(dir.path().join("file"), b"").unwrap();
        assert!(try_folder(&dir.path().join("file")).unwrap_err().contains("mounted"));
    }
}
