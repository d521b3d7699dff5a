//! The text that tells nvtracker's low-level library how to follow. Pure.
//!
//! Keys and their meaning: NVIDIA's DeepStream manual, "Gst-nvtracker", section on the NvMultiObjectTracker library. The
//! numbers follow this project's own tracker, so that both engines follow alike: the detector's output comes down to a
//! low confidence, only confident boxes start a track, and a lost one is awaited for two seconds.

use aivms_appliance_core::tracker::TrackerSettings;

/// What the tracker is to expect.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TrackingSettings {
    /// Confidence from which on a box counts as an object, 0 to 1.
    pub(super) confidence: f32,
    /// Frames a second of each camera.
    pub(super) fps: f64,
    /// Batches without inference after each with.
    pub(super) interval: u32,
}

/// Writes the file for `ll-config-file`: NvSORT when each frame is inferred; NvDCF, which looks at the pixels, when
/// frames in between are not.
pub(super) fn tracker_config(settings: &TrackingSettings) -> String {
    let known = TrackerSettings::for_confidence(settings.confidence).at_rate(settings.fps);
    let (low, high) = (known.low_confidence, known.high_confidence);
    let frames = (known.lost_after.as_secs_f64() * settings.fps).ceil().clamp(1.0, 600.0) as u32;
    let visual = settings.interval > 0;
    let mut text = format!(
        "%YAML:1.0\n\
         BaseConfig:\n  minDetectorConfidence: {low}\n\
         TargetManagement:\n  enableBboxUnClipping: 0\n  maxTargetsPerStream: 150\n  minIouDiff4NewTarget: 0.5\n  \
         minTrackerConfidence: 0.2\n  probationAge: 1\n  maxShadowTrackingAge: {frames}\n  earlyTerminationAge: 1\n\
         TrajectoryManagement:\n  useUniqueID: 1\n\
         DataAssociator:\n  dataAssociatorType: 0\n  associationMatcherType: 1\n  checkClassMatch: 1\n  \
         tentativeDetectorConfidence: {high}\n  minMatchingScore4TentativeIou: 0.3\n  minMatchingScore4Overall: 0.2\n  \
         minMatchingScore4SizeSimilarity: 0.3\n  minMatchingScore4Iou: 0.1\n"
    );
    text.push_str(if visual { NVDCF } else { NVSORT });
    text
}

/// A Kalman filter over the box alone.
const NVSORT: &str = "  matchingScoreWeight4SizeSimilarity: 0.4\n  matchingScoreWeight4Iou: 0.6\n\
    StateEstimator:\n  stateEstimatorType: 2\n  noiseWeightVar4Loc: 0.05\n  noiseWeightVar4Vel: 0.00625\n  \
    useAspectRatio: 1\n";
/// A correlation filter over colour names finds the object again where the detector did not look.
const NVDCF: &str = "  minMatchingScore4VisualSimilarity: 0.5\n  matchingScoreWeight4VisualSimilarity: 0.4\n  \
    matchingScoreWeight4SizeSimilarity: 0.2\n  matchingScoreWeight4Iou: 0.4\n\
    StateEstimator:\n  stateEstimatorType: 1\n  processNoiseVar4Loc: 2.0\n  processNoiseVar4Size: 1.0\n  \
    processNoiseVar4Vel: 0.1\n  measurementNoiseVar4Detector: 4.0\n  measurementNoiseVar4Tracker: 16.0\n\
    VisualTracker:\n  visualTrackerType: 1\n  useColorNames: 1\n  useHog: 0\n  featureImgSizeLevel: 2\n  \
    featureFocusOffsetFactor_y: -0.2\n  filterLr: 0.075\n  filterChannelWeightsLr: 0.1\n  gaussianSigma: 0.75\n";

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: TrackingSettings = TrackingSettings { confidence: 0.5, fps: 5.0, interval: 0 };

    #[test]
    fn lost_tracks_are_awaited_as_long_as_on_the_other_engine() {
        let wanted = |fps, frames| {
            let text = tracker_config(&TrackingSettings { fps, ..SETTINGS });
            assert!(text.contains(&format!("maxShadowTrackingAge: {frames}\n")), "{text}");
        };
        wanted(5.0, 10);
        wanted(30.0, 60);
        wanted(0.5, 3);
    }

    #[test]
    fn only_what_is_confident_starts_a_track_and_less_may_continue_it() {
        let text = tracker_config(&SETTINGS);
        assert!(text.contains("minDetectorConfidence: 0.3") && text.contains("tentativeDetectorConfidence: 0.5\n"));
    }

    #[test]
    fn frames_without_inference_need_a_tracker_that_looks_at_pixels() {
        assert!(!tracker_config(&SETTINGS).contains("VisualTracker"));
        assert!(tracker_config(&TrackingSettings { interval: 2, ..SETTINGS }).contains("visualTrackerType: 1"));
    }

    #[test]
    fn the_text_is_yaml_of_two_levels() {
        for interval in [0, 1] {
            let text = tracker_config(&TrackingSettings { interval, ..SETTINGS });
            let mut lines = text.lines();
            assert_eq!(lines.next(), Some("%YAML:1.0"));
            for line in lines {
                let (key, value) = line.split_once(':').unwrap();
                let nested = key.starts_with("  ") && !key[2..].starts_with(' ');
                assert_eq!(nested, !value.is_empty(), "{line:?}");
                assert!(value.is_empty() || value.trim().parse::<f64>().is_ok(), "{line:?}");
            }
        }
    }
}
