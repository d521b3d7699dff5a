//! Decoded pictures, and the choice of those that are analysed.

use std::time::Duration;

use aivms_appliance_core::letterbox::{Letterbox, PackedImage};
use aivms_appliance_core::model::ColourOrder;
use aivms_contract::time::MediaTime;
use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

/// One picture, scaled to what the model wants to see of it.
pub struct Frame {
    /// Presentation time.
    pub at: MediaTime,
    /// How the camera's picture was fitted; boxes return through it.
    pub letterbox: Letterbox,
    buffer: gst::Buffer,
    info: gst_video::VideoInfo,
}

impl Frame {
    /// Takes a sample of packed pixels of three bytes; `None` when it is anything else.
    pub(super) fn new(sample: &gst::Sample, at: MediaTime, letterbox: Letterbox) -> Option<Self> {
        let info = gst_video::VideoInfo::from_caps(sample.caps()?).ok()?;
        colour_order(info.format())?;
        Some(Self { at, letterbox, buffer: sample.buffer_owned()?, info })
    }

    /// Lends the pixels to `look`; `None` when the memory can't be read.
    pub fn with_image<T>(&self, look: impl FnOnce(&PackedImage<'_>) -> T) -> Option<T> {
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(&self.buffer, &self.info).ok()?;
        let image = PackedImage {
            data: frame.plane_data(0).ok()?,
            width: frame.width(),
            height: frame.height(),
            stride: usize::try_from(*frame.plane_stride().first()?).ok()?,
            colour: colour_order(frame.format())?,
        };
        Some(look(&image))
    }
}

fn colour_order(format: gst_video::VideoFormat) -> Option<ColourOrder> {
    match format {
        gst_video::VideoFormat::Rgb => Some(ColourOrder::Rgb),
        gst_video::VideoFormat::Bgr => Some(ColourOrder::Bgr),
        _ => None,
    }
}

/// Lets through as many pictures per second of media time as are to be analysed, evenly spread.
///
/// It also keeps time strictly rising: a picture that is not later than the one before is left out, so that nothing
/// behind it ever sees time stand still.
#[derive(Debug)]
pub struct FrameGate {
    interval: Duration,
    /// How much earlier than due a picture may come; timestamps through a network jitter.
    slack: Duration,
    due: MediaTime,
    last: Option<MediaTime>,
}

impl FrameGate {
    /// Lets `fps` pictures per second through; all of them when the source has fewer.
    ///
    /// `fps` must be above zero, as [`aivms_contract::desired::Fps`] is; anything else is taken as one.
    #[must_use]
    pub fn new(fps: f64) -> Self {
        let interval = Duration::try_from_secs_f64(1.0 / fps).unwrap_or(Duration::from_secs(1));
        Self { interval, slack: interval / 10, due: MediaTime::ZERO, last: None }
    }

    /// Whether the picture at `at` is to be analysed.
    pub fn admit(&mut self, at: MediaTime) -> bool {
        if self.last.is_some_and(|last| at <= last) || at + self.slack < self.due {
            return false;
        }
        // Counted from when it was due, so that the mean rate is kept; from now, when the source is slower than that.
        let next = self.due + self.interval;
        self.due = if next <= at { at + self.interval } else { next };
        self.last = Some(at);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn admitted(fps: f64, times: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let mut gate = FrameGate::new(fps);
        times.into_iter().filter(|&ms| gate.admit(MediaTime::from_millis(ms))).collect()
    }

    #[test]
    fn five_of_twenty_five_pictures_are_kept_evenly() {
        assert_eq!(admitted(5.0, (0..26).map(|n| n * 40)), [0, 200, 400, 600, 800, 1000]);
    }

    #[test]
    fn jitter_of_a_few_milliseconds_does_not_halve_the_rate() {
        let jittered = (0..100).map(|n| n * 200 + if n % 2 == 0 { 7 } else { 0 });
        assert_eq!(admitted(5.0, jittered).len(), 100);
    }

    #[test]
    fn a_gap_does_not_make_later_pictures_come_in_a_burst() {
        let times = (0..10).map(|n| n * 40).chain((0..26).map(|n| 60_000 + n * 40));
        assert_eq!(admitted(5.0, times).len(), 2 + 6);
    }

    proptest! {
        #[test]
        fn admitted_times_rise_strictly_and_never_exceed_the_rate(
            fps in 0.1f64..60.0, mut times in proptest::collection::vec(0u64..100_000, 1..400), sorted: bool,
        ) {
            if sorted { times.sort_unstable(); }
            let kept = admitted(fps, times);
            prop_assert!(kept.is_sorted_by(|a, b| a < b));
            if let [first, .., last] = kept[..] {
                let intervals = (last - first) as f64 / 1000.0 * fps;
                prop_assert!((kept.len() - 1) as f64 <= intervals + 1.2, "{} in {intervals} intervals", kept.len());
            }
        }
    }
}
