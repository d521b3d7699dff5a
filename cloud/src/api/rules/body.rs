//! Alert rules as the API takes and shows them: the members of `aivms_cloud_core::rules::Rule`, with their forms.

use aivms_cloud_core::rules::Rule;
use poem_openapi::Object;
use poem_openapi::types::Example;
use serde::{Deserialize, Serialize};

use super::super::failure::Failure;
use super::parts::{CameraChoiceBody, EscalationBody, RepeatedBody, WeeklySpan};
use super::words::{AlertSeverity, CameraStateName, GapFault, LineDirection, PerWhat, RuleKind, ZoneAction};

/// An alert rule. Lists that are empty and members that are null ask for nothing.
#[derive(Debug, Serialize, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(rename = "AlertRule", example)]
pub(in crate::api) struct RuleBody {
    /// What people call it.
    #[oai(validator(min_length = 1, max_length = 200))]
    name: String,
    /// Whether it is asked at all.
    #[serde(default = "yes")]
    #[oai(default = "yes")]
    enabled: bool,
    /// What it waits for.
    kind: RuleKind,
    /// How urgent its alerts are; null only for kind `edge_alert`, where the edge says it.
    #[serde(default)]
    #[oai(nullable, default)]
    severity: Option<AlertSeverity>,
    /// Only of these edges.
    #[serde(default)]
    #[oai(default, validator(max_items = 256))]
    edges: Vec<String>,
    /// Only of these cameras.
    #[serde(default)]
    #[oai(default, validator(max_items = 256))]
    cameras: Vec<CameraChoiceBody>,
    /// Only in these zones or at these lines, by their ids. Kind `zone`.
    #[serde(default)]
    #[oai(default, validator(max_items = 256))]
    zones: Vec<String>,
    /// Only of these classes, such as `person`. Kinds `zone` and `detection`.
    #[serde(default)]
    #[oai(default, validator(max_items = 256))]
    classes: Vec<String>,
    /// Only these things done in a zone. Kind `zone`.
    #[serde(default)]
    #[oai(default, validator(max_items = 6))]
    event_types: Vec<ZoneAction>,
    /// Only crossings of a line in this way. Kind `zone`.
    #[serde(default)]
    #[oai(nullable, default)]
    direction: Option<LineDirection>,
    /// Only alerts of these types, such as `camera_offline`. Kind `edge_alert`.
    #[serde(default)]
    #[oai(default, validator(max_items = 256))]
    alert_types: Vec<String>,
    /// Only cameras that come into these states. Kind `camera_state`.
    #[serde(default)]
    #[oai(default, validator(max_items = 4))]
    camera_states: Vec<CameraStateName>,
    /// Only gaps by these faults. Kind `recording_gap`.
    #[serde(default)]
    #[oai(default, validator(max_items = 7))]
    gap_causes: Vec<GapFault>,
    /// Only temperatures of these sensors, by the names that the edge's health tells. Kind `temperature`.
    #[serde(default)]
    #[oai(default, validator(max_items = 256))]
    sensors: Vec<String>,
    /// Least confidence of the detector. Kinds `zone` and `detection`.
    #[serde(default)]
    #[oai(nullable, default, validator(minimum(value = "0"), maximum(value = "1")))]
    min_confidence: Option<f64>,
    /// Least milliseconds inside a zone, or since the track was first seen. Kinds `zone` and `detection`.
    #[serde(default)]
    #[oai(nullable, default, validator(minimum(value = "0"), maximum(value = "86400000")))]
    min_dwell_ms: Option<u64>,
    /// Least speed over the ground in km/h. Kind `zone`.
    #[serde(default)]
    #[oai(nullable, default, validator(minimum(value = "0"), maximum(value = "1000")))]
    min_speed_kmh: Option<f64>,
    /// Days of footage below which it counts; needed by kind `disk_forecast`.
    #[serde(default)]
    #[oai(nullable, default, validator(minimum(value = "0"), maximum(value = "3650")))]
    below_days: Option<f64>,
    /// Degrees Celsius above which it counts; needed by kind `temperature`.
    #[serde(default)]
    #[oai(nullable, default, validator(minimum(value = "-100"), maximum(value = "200")))]
    above_celsius: Option<f64>,
    /// Least seconds without video. Kind `recording_gap`.
    #[serde(default)]
    #[oai(nullable, default, validator(minimum(value = "0"), maximum(value = "604800")))]
    min_gap_s: Option<u32>,
    /// Least seconds that a camera has been in its state. Kind `camera_state`.
    #[serde(default)]
    #[oai(nullable, default, validator(minimum(value = "0"), maximum(value = "604800")))]
    min_lasted_s: Option<u32>,
    /// Whether objects at rest count, too, such as parked cars. Kind `detection`.
    #[serde(default)]
    #[oai(default)]
    stationary: bool,
    /// When it counts; null for always.
    #[serde(default)]
    #[oai(nullable, default, validator(min_items = 1, max_items = 64))]
    schedule: Option<Vec<WeeklySpan>>,
    /// The IANA name of the time zone of `schedule`, such as `Europe/Berlin`; null for UTC.
    #[serde(default)]
    #[oai(nullable, default, validator(min_length = 1, max_length = 64))]
    time_zone: Option<String>,
    /// Only when it happens often.
    #[serde(default)]
    #[oai(nullable, default)]
    repeated: Option<RepeatedBody>,
    /// Seconds around an alert in which there is no other one.
    #[serde(default)]
    #[oai(default, validator(minimum(value = "0"), maximum(value = "604800")))]
    cooldown_s: u32,
    /// What `cooldown_s`, `repeated` and `once_per_track` are counted for.
    #[serde(default)]
    #[oai(default)]
    per: PerWhat,
    /// Whether one object alerts once at most.
    #[serde(default = "yes")]
    #[oai(default = "yes")]
    once_per_track: bool,
    /// Whom to tell: ids of notification channels; empty leaves the choice to the channels.
    #[serde(default)]
    #[oai(default, validator(max_items = 256))]
    targets: Vec<String>,
    /// What to do when nobody acknowledges, by rising minutes.
    #[serde(default)]
    #[oai(default, validator(max_items = 10))]
    escalation: Vec<EscalationBody>,
}

impl RuleBody {
    /// The rule, if it can mean something.
    ///
    /// # Errors
    /// Names the member that is wrong.
    pub(super) fn into_rule(self) -> Result<Rule, Failure> {
        let json = serde_json::to_value(self).map_err(|_| Failure::internal())?;
        let rule: Rule = serde_path_to_error::deserialize(json)
            .map_err(|error| Failure::unacceptable(&error.path().to_string(), error.inner()))?;
        rule.check().map_err(|fault| Failure::unacceptable(&fault.field, fault.reason))?;
        Ok(rule)
    }
}

fn yes() -> bool {
    true
}

impl Example for RuleBody {
    fn example() -> Self {
        let json = serde_json::json!({
            "name": "Somebody at the dock at night",
            "kind": "zone",
            "severity": "critical",
            "zones": ["dock"],
            "classes": ["person"],
            "event_types": ["enter"],
            "min_confidence": 0.6,
            "schedule": [{ "days": ["mon", "tue", "wed", "thu", "fri"], "from": "22:00", "to": "06:00" }],
            "time_zone": "Europe/Berlin",
            "cooldown_s": 300,
            "escalation": [{ "after_minutes": 5, "severity": null, "targets": [] }],
        });
        serde_json::from_value(json).unwrap_or_else(|_| unreachable!("the example is a rule"))
    }
}

#[cfg(test)]
mod tests {
    use aivms_cloud_core::rules::{Gate, Kind};

    use super::super::words::{AlertGate, in_words};
    use super::*;

    #[test]
    fn the_api_has_every_member_and_every_word_of_a_rule() {
        for kind in Kind::ALL {
            assert!(in_words::<RuleKind>(&kind).is_some(), "{kind}");
        }
        for gate in Gate::ALL {
            assert!(in_words::<AlertGate>(&gate).is_some(), "{}", gate.as_str());
        }
        let rule = RuleBody::example().into_rule().unwrap();
        let shown: RuleBody = in_words(&rule).unwrap();
        let again = shown.into_rule().unwrap();
        assert_eq!(again, rule);
        for rule in Rule::built_in() {
            assert_eq!(in_words::<RuleBody>(&rule).unwrap().into_rule().unwrap(), rule);
        }
    }
}
