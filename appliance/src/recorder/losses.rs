//! Keeps account of video that was sent and not written, camera by camera.

use std::collections::BTreeMap;

use aivms_contract::footage::GapCause;
use aivms_contract::id::CameraId;
use aivms_contract::time::UtcMillis;

use super::event::RecorderEvent;

/// Milliseconds of further loss after which a loss that lasts is told again.
const TELL_AGAIN_MS: i64 = 5_000;

/// What is lost of each camera.
#[derive(Debug, Default)]
pub(super) struct Losses {
    cameras: BTreeMap<CameraId, Account>,
}

#[derive(Debug, Default)]
struct Account {
    /// End of what was written last.
    written: Option<UtcMillis>,
    loss: Option<Loss>,
}

#[derive(Debug)]
struct Loss {
    from: UtcMillis,
    cause: GapCause,
    /// How far it was told.
    told: Option<UtcMillis>,
}

impl Losses {
    /// Video from `at` on is lost, or from the end of what was written on.
    pub(super) fn begin(&mut self, camera: &CameraId, at: UtcMillis, cause: GapCause) {
        let account = self.cameras.entry(camera.clone()).or_default();
        let from = account.written.filter(|written| *written <= at).unwrap_or(at);
        account.loss.get_or_insert(Loss { from, cause, told: None });
    }

    /// It is lost up to `to` by now. Gives what to tell, not more often than every few seconds of loss.
    pub(super) fn lasts(&mut self, camera: &CameraId, to: UtcMillis) -> Option<RecorderEvent> {
        let loss = self.cameras.get_mut(camera)?.loss.as_mut()?;
        if loss.told.is_some_and(|told| to.as_millis() - told.as_millis() < TELL_AGAIN_MS) {
            return None;
        }
        loss.told = Some(to);
        Some(RecorderEvent::Lost { camera: camera.clone(), from: loss.from, to, cause: loss.cause })
    }

    /// Video is written again. Gives the loss that this ends.
    pub(super) fn written(&mut self, camera: &CameraId, start: UtcMillis, end: UtcMillis) -> Option<RecorderEvent> {
        let account = self.cameras.entry(camera.clone()).or_default();
        account.written = Some(end);
        let Loss { from, cause, .. } = account.loss.take()?;
        (from < start).then(|| RecorderEvent::Lost { camera: camera.clone(), from, to: start, cause })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> UtcMillis {
        UtcMillis::from_millis(millis)
    }

    #[test]
    fn a_loss_reaches_from_the_last_video_written_to_the_next() {
        let camera: CameraId = "gate".parse().unwrap();
        let lost = |from, to| {
            Some(RecorderEvent::Lost { camera: camera.clone(), from: at(from), to: at(to), cause: GapCause::Disk })
        };
        let mut losses = Losses::default();
        assert_eq!(losses.written(&camera, at(0), at(900)), None);
        losses.begin(&camera, at(900), GapCause::Disk);
        assert_eq!(losses.lasts(&camera, at(1800)), lost(900, 1800));
        losses.begin(&camera, at(1800), GapCause::Internal);
        assert_eq!(losses.lasts(&camera, at(2700)), None, "told a moment ago");
        assert_eq!(losses.lasts(&camera, at(7000)), lost(900, 7000));
        assert_eq!(losses.written(&camera, at(8000), at(8900)), lost(900, 8000));
        assert_eq!(losses.written(&camera, at(8900), at(9800)), None);
    }

    #[test]
    fn a_loss_without_anything_missing_is_none() {
        let camera: CameraId = "gate".parse().unwrap();
        let mut losses = Losses::default();
        losses.written(&camera, at(0), at(900));
        losses.begin(&camera, at(900), GapCause::Internal);
        assert_eq!(losses.written(&camera, at(900), at(1800)), None);
    }
}
