//! The gate in front of the detector: a picture in which nothing changes is not looked at.
//!
//! What stands in an unchanged picture is what stood there when it was last looked at, so [`MotionGate`] gives that
//! again, at no cost, and the tracker and the zones behind it see no difference. It looks
//!
//! - at the first picture and at each one in which something moves ([`Background`]),
//! - for [`MotionSettings::linger`] after that, so that whoever has just stopped is seen standing,
//! - every [`MotionSettings::refresh`] in any case, for what came too slowly to be motion,
//! - and for another linger when such a look finds something else than what is taken to be there.
//!
//! All times are media time, so the same pictures give the same looks.

mod background;
mod still;

use std::time::Duration;

use aivms_contract::time::MediaTime;

use self::background::Background;
pub use self::background::Change;
use self::still::StillLife;
use crate::detection::Detected;
use crate::letterbox::PackedImage;

/// When a picture is looked at although nothing moves in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MotionSettings {
    /// Time after the last motion for which every picture is still looked at.
    pub linger: Duration,
    /// Longest time without a look.
    pub refresh: Duration,
    /// Confidence from which on a thing that comes or goes without motion is worth further looks, 0 to 1.
    pub sure: f32,
}

impl Default for MotionSettings {
    fn default() -> Self {
        Self { linger: Duration::from_secs(2), refresh: Duration::from_secs(10), sure: 0.5 }
    }
}

/// What to do about a picture.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Run the detector and tell [`MotionGate::found`] what it found.
    Look,
    /// Nothing has changed: this is still there.
    Still(Vec<Detected>),
}

/// One camera's gate.
#[derive(Debug)]
pub struct MotionGate {
    settings: MotionSettings,
    background: Background,
    still: StillLife,
    /// Time after a look until the next one without a reason.
    wait: Duration,
    moved: Option<MediaTime>,
    looked: Option<MediaTime>,
}

impl MotionGate {
    /// Starts without knowing the scene.
    ///
    /// `phase`, 0 to 1, is the part of the refresh time after which it looks for the first time without a reason:
    /// another one for each camera spreads the looks of many cameras that were started together.
    #[must_use]
    pub fn new(settings: MotionSettings, phase: f32) -> Self {
        let (background, still) = (Background::new(), StillLife::default());
        let wait = settings.refresh.mul_f32(phase.clamp(0.0, 1.0));
        Self { settings, background, still, wait, moved: None, looked: None }
    }

    /// Judges the picture at `at`. Pictures must come in order of time and show the same view; another size begins
    /// anew.
    pub fn judge(&mut self, at: MediaTime, image: &PackedImage<'_>) -> Verdict {
        if self.background.change(at, image) != Change::None {
            self.moved = Some(at);
        }
        let lingers = self.lingers(at);
        if lingers || self.looked.is_none_or(|looked| at.since(looked) >= self.wait) {
            if !lingers {
                self.wait = self.settings.refresh;
            }
            self.looked = Some(at);
            return Verdict::Look;
        }
        Verdict::Still(self.still.held())
    }

    /// Takes what a look has found.
    pub fn found(&mut self, at: MediaTime, found: &[Detected]) {
        // While it lingers it looks anyway; a detector that flickers must not keep the gate open.
        if !self.lingers(at) && !self.still.agrees(found, self.settings.sure) {
            self.moved = Some(at);
        }
        self.still.see(found);
    }

    fn lingers(&self, at: MediaTime) -> bool {
        self.moved.is_some_and(|moved| at.since(moved) < self.settings.linger)
    }
}

#[cfg(test)]
mod tests;
