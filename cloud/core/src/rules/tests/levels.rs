//! Values that each report tells: once per excursion beyond their bound.

use std::convert::Infallible;

use proptest::prelude::*;

use super::*;

const ONCE: Option<Gate> = Some(Gate::Once);
const COOL: Option<Gate> = Some(Gate::Celsius);

fn hot(second: i64, sensor: &str, celsius: f64) -> Occurrence {
    Occurrence { camera: None, ..occurrence(second, What::Temperature { sensor: sensor.into(), celsius }) }
}

/// Reports of one sensor, a minute apart.
fn reports<const N: usize>(all: [f64; N]) -> Vec<Occurrence> {
    all.iter().zip(0..).map(|(celsius, minute)| hot(60 * minute, "cpu", *celsius)).collect()
}

fn above(celsius: f64) -> Rule {
    Rule { above_celsius: Some(celsius), ..warning(Kind::Temperature) }
}

#[test]
fn a_temperature_alerts_once_until_it_has_fallen_five_degrees_below_its_bound() {
    let path = reports([85.0, 85.1, 90.0, 85.0, 80.1, 86.0, 80.0, 85.0, 85.1]);
    assert_eq!(verdicts(above(85.0), &path), [COOL, None, ONCE, COOL, COOL, ONCE, COOL, COOL, None]);
}

#[test]
fn a_forecast_alerts_once_until_it_has_been_a_tenth_above_its_bound() {
    let days = [7.0, 6.9, 3.0, 7.6, 6.9, 7.8, 6.9];
    let path: Vec<_> = days
        .iter()
        .zip(0..)
        .map(|(days, minute)| occurrence(60 * minute, What::DiskForecast { days: *days }))
        .collect();
    let long = Some(Gate::Days);
    let rule = || Rule { below_days: Some(7.0), ..warning(Kind::DiskForecast) };
    assert_eq!(verdicts(rule(), &path), [long, None, ONCE, long, ONCE, long, None]);
    let yard = Occurrence { camera: Some("yard".parse().unwrap()), ..path[1].clone() };
    for per in [Per::Camera, Per::Edge, Per::Rule] {
        let both = [path[1].clone(), yard.clone(), path[2].clone(), Occurrence { at: at(120), ..yard.clone() }];
        assert_eq!(
            verdicts(Rule { per, ..rule() }, &both),
            [None, None, ONCE, ONCE],
            "each camera is judged by itself"
        );
    }
}

#[test]
fn each_sensor_is_judged_by_itself_whatever_a_rule_counts_for() {
    for per in [Per::Zone, Per::Camera, Per::Edge, Per::Rule] {
        let other = Occurrence { edge: "edge_2".parse().unwrap(), ..hot(0, "cpu", 90.0) };
        let path = [hot(0, "cpu", 90.0), hot(0, "gpu", 90.0), other, hot(60, "cpu", 60.0), hot(60, "gpu", 90.0)];
        assert_eq!(verdicts(Rule { per, ..above(85.0) }, &path), [None, None, None, COOL, ONCE]);
    }
    let named = Rule { sensors: vec!["gpu".into()], ..above(85.0) };
    assert_eq!(verdicts(named, &[hot(0, "cpu", 90.0), hot(0, "gpu", 90.0)]), [Some(Gate::Kind), None]);
}

#[test]
fn what_went_beyond_its_bound_outside_the_schedule_alerts_when_the_schedule_begins_if_it_still_lasts() {
    // The occurrences begin at 13:05.
    let schedule = serde_json::from_value(serde_json::json!([{ "from": "13:07", "to": "14:00" }])).unwrap();
    let rule = Rule { schedule: Some(schedule), ..above(85.0) };
    let shut = Some(Gate::Schedule);
    assert_eq!(verdicts(rule.clone(), &reports([86.0, 86.0, 86.0, 86.0])), [shut, shut, None, ONCE]);
    assert_eq!(verdicts(rule, &reports([86.0, 86.0, 80.0, 80.0])), [shut, shut, COOL, COOL]);
}

#[test]
fn after_a_cooldown_what_went_beyond_its_bound_again_and_lasts_alerts() {
    let rule = Rule { cooldown_s: 240, ..above(85.0) };
    let quiet = Some(Gate::Cooldown);
    assert_eq!(verdicts(rule, &reports([90.0, 70.0, 90.0, 90.0, 90.0, 90.0])), [None, COOL, quiet, quiet, None, ONCE]);
}

#[test]
fn a_repetition_counts_excursions_and_not_reports() {
    let rule = Rule { repeated: Some(Repeated { times: 2, within_s: 600 }), ..above(85.0) };
    let few = Some(Gate::Repeated);
    assert_eq!(verdicts(rule, &reports([90.0, 90.0, 90.0, 70.0, 90.0, 90.0])), [few, few, few, COOL, None, few]);
}

#[test]
fn a_rule_of_another_bound_asks_anew() {
    let mut memory = VolatileMemory::default();
    let mut verdict = |bound, occurrence| {
        let Ok::<_, Infallible>(decision) = decide(&ready(above(bound)), &occurrence, &mut memory);
        if let Verdict::Raised { key, .. } = &decision.verdict {
            memory.remember(key.clone());
        }
        matches!(decision.verdict, Verdict::Raised { .. })
    };
    assert!(verdict(85.0, hot(0, "cpu", 90.0)));
    assert!(!verdict(85.0, hot(60, "cpu", 92.0)));
    assert!(!verdict(95.0, hot(120, "cpu", 92.0)), "it is below the new bound");
    assert!(verdict(95.0, hot(180, "cpu", 96.0)), "and only five degrees below it would be far enough otherwise");
}

#[test]
fn an_alert_of_a_temperature_names_sensor_and_value() {
    assert_eq!(headline(&hot(0, "CPU-therm", 90.26)), "CPU-therm is at 90.3 °C");
}

proptest! {
    #[test]
    fn there_is_one_alert_for_each_time_it_gets_hot_and_has_cooled_before(
        path in prop::collection::vec(70.0f64..95.0, 1..60), bound in 75.0f64..90.0,
    ) {
        let mut is_armed = true;
        let expected = path.iter().map(|celsius| {
            let raises = is_armed && *celsius > bound;
            is_armed = (is_armed && !raises) || *celsius <= bound - 5.0;
            raises
        });
        let expected: Vec<bool> = expected.collect();
        let path: Vec<_> = path.iter().zip(0..).map(|(celsius, minute)| hot(60 * minute, "cpu", *celsius)).collect();
        let raised: Vec<bool> = verdicts(above(bound), &path).iter().map(Option::is_none).collect();
        prop_assert_eq!(raised, expected);
    }
}
