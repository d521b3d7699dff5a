//! The configuration file of the tracker's library: YAML of two levels.

use std::collections::BTreeMap;

/// The keys that the appliance's engine writes, by section. The real library knows more.
const KEYS: [(&str, &[&str]); 6] = [
    ("BaseConfig", &["minDetectorConfidence"]),
    (
        "TargetManagement",
        &[
            "enableBboxUnClipping",
            "maxTargetsPerStream",
            "minIouDiff4NewTarget",
            "minTrackerConfidence",
            "probationAge",
            "maxShadowTrackingAge",
            "earlyTerminationAge",
        ],
    ),
    ("TrajectoryManagement", &["useUniqueID"]),
    (
        "DataAssociator",
        &[
            "dataAssociatorType",
            "associationMatcherType",
            "checkClassMatch",
            "tentativeDetectorConfidence",
            "minMatchingScore4TentativeIou",
            "minMatchingScore4Overall",
            "minMatchingScore4SizeSimilarity",
            "minMatchingScore4Iou",
            "minMatchingScore4VisualSimilarity",
            "matchingScoreWeight4VisualSimilarity",
            "matchingScoreWeight4SizeSimilarity",
            "matchingScoreWeight4Iou",
        ],
    ),
    (
        "StateEstimator",
        &[
            "stateEstimatorType",
            "noiseWeightVar4Loc",
            "noiseWeightVar4Vel",
            "useAspectRatio",
            "processNoiseVar4Loc",
            "processNoiseVar4Size",
            "processNoiseVar4Vel",
            "measurementNoiseVar4Detector",
            "measurementNoiseVar4Tracker",
        ],
    ),
    (
        "VisualTracker",
        &[
            "visualTrackerType",
            "useColorNames",
            "useHog",
            "featureImgSizeLevel",
            "featureFocusOffsetFactor_y",
            "filterLr",
            "filterChannelWeightsLr",
            "gaussianSigma",
        ],
    ),
];

/// What of the file has an effect here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Config {
    /// Confidence from which on a box may continue a track.
    pub(super) low_confidence: f32,
    /// Confidence from which on a box may start a track.
    pub(super) high_confidence: f32,
    /// Frames after which a lost track ends.
    pub(super) lost_after: u32,
    /// Whether the numbers of different inputs differ.
    pub(super) unique_ids: bool,
    /// Whether objects are followed in frames without detection.
    pub(super) visual: bool,
}

/// Reads the text of a file; the error names the key.
pub(super) fn parse(text: &str) -> Result<Config, String> {
    let values = values(text)?;
    let find = |section, key| values.get(&(section, key)).copied();
    let need = |section: &'static str, key: &'static str| {
        find(section, key).ok_or_else(|| format!("{section}.{key}: must be set"))
    };
    let lost_after = need("TargetManagement", "maxShadowTrackingAge")?;
    if !(1.0..=1e6).contains(&lost_after) || lost_after.fract() != 0.0 {
        return Err(format!("TargetManagement.maxShadowTrackingAge: must be a whole number from 1, is {lost_after}"));
    }
    Ok(Config {
        low_confidence: need("BaseConfig", "minDetectorConfidence")? as f32,
        high_confidence: need("DataAssociator", "tentativeDetectorConfidence")? as f32,
        lost_after: lost_after as u32,
        unique_ids: find("TrajectoryManagement", "useUniqueID") == Some(1.0),
        visual: find("VisualTracker", "visualTrackerType").is_some_and(|kind| kind > 0.0),
    })
}

fn values(text: &str) -> Result<BTreeMap<(&'static str, &'static str), f64>, String> {
    let mut values = BTreeMap::new();
    let mut section: Option<(&'static str, &'static [&'static str])> = None;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim_end());
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('%') && *line != "---") {
        let (key, value) =
            line.split_once(':').ok_or_else(|| format!("{line:?}: is no line of the form key: value"))?;
        let (name, value) = (key.trim(), value.trim());
        if !key.starts_with(' ') {
            let known = KEYS.iter().find(|(known, _)| *known == name && value.is_empty());
            section = Some(*known.ok_or_else(|| format!("{name}: is an unknown section"))?);
            continue;
        }
        let (section, keys) = section.ok_or_else(|| format!("{name}: stands in no section"))?;
        let known = keys.iter().find(|known| **known == name);
        let known = known.ok_or_else(|| format!("{section}.{name}: is an unknown key"))?;
        let number = value.parse().map_err(|_| format!("{section}.{name}: must be a number, is {value:?}"))?;
        values.insert((section, *known), number);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "%YAML:1.0\nBaseConfig:\n  minDetectorConfidence: 0.25 # of the detector\n\
        TargetManagement:\n  maxShadowTrackingAge: 10\nTrajectoryManagement:\n  useUniqueID: 1\n\
        DataAssociator:\n  tentativeDetectorConfidence: 0.5\n";

    #[test]
    fn the_keys_that_matter_here_are_read() {
        let config = parse(GOOD).unwrap();
        assert_eq!((config.low_confidence, config.high_confidence, config.lost_after), (0.25, 0.5, 10));
        assert!(config.unique_ids && !config.visual);
        assert!(parse(&format!("{GOOD}VisualTracker:\n  visualTrackerType: 1\n")).unwrap().visual);
    }

    #[test]
    fn a_wrong_file_is_refused_by_the_name_of_its_key() {
        let check = |from: &str, to: &str, said: &str| {
            assert!(GOOD.contains(from), "{from}");
            assert_eq!(parse(&GOOD.replace(from, to)).expect_err(to), said);
        };
        check("useUniqueID", "useUniqueId", "TrajectoryManagement.useUniqueId: is an unknown key");
        check("BaseConfig:", "Base:", "Base: is an unknown section");
        check("BaseConfig:\n", "", "minDetectorConfidence: stands in no section");
        check("0.25", "much", "BaseConfig.minDetectorConfidence: must be a number, is \"much\"");
        check("  maxShadowTrackingAge: 10\n", "", "TargetManagement.maxShadowTrackingAge: must be set");
        check(": 10", ": 0", "TargetManagement.maxShadowTrackingAge: must be a whole number from 1, is 0");
        check("BaseConfig:", "BaseConfig", "\"BaseConfig\": is no line of the form key: value");
    }
}
