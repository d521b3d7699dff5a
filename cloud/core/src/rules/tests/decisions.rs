//! Single decisions and their reasons.

use aivms_contract::alert::Severity;
use aivms_contract::health::CameraState;
use aivms_contract::zone_event::Direction;

use super::*;

#[track_caller]
fn check(rule: Rule, occurrence: Occurrence, expected: Option<Gate>) {
    assert_eq!(verdicts(rule, &[occurrence]), [expected]);
}

#[test]
fn a_rule_is_about_the_places_and_sorts_it_names_only() {
    let named = Rule {
        edges: vec!["edge_1".parse().unwrap()],
        cameras: vec![CameraChoice { edge_id: None, camera_id: "gate".parse().unwrap() }],
        zones: vec!["dock".parse().unwrap()],
        classes: vec!["person".into()],
        event_types: vec![ZoneEventType::Enter],
        ..warning(Kind::Zone)
    };
    check(named.clone(), entered(0, "t1"), None);
    check(named.clone(), zone_event(0, ZoneEventType::Exit, "t1"), Some(Gate::Kind));
    let elsewhere = Occurrence { camera: Some("yard".parse().unwrap()), ..entered(0, "t1") };
    check(named.clone(), elsewhere, Some(Gate::Kind));
    check(named.clone(), Occurrence { edge: "edge_2".parse().unwrap(), ..entered(0, "t1") }, Some(Gate::Kind));
    let of_other_edge = CameraChoice { edge_id: Some("edge_2".parse().unwrap()), camera_id: "gate".parse().unwrap() };
    check(Rule { cameras: vec![of_other_edge], ..named.clone() }, entered(0, "t1"), Some(Gate::Kind));
    check(Rule { enabled: false, ..named }, entered(0, "t1"), Some(Gate::Kind));
}

#[test]
fn a_line_alerts_in_the_direction_asked_for() {
    let crossed = |direction| {
        let mut crossing = zone_event(0, ZoneEventType::Cross, "t1");
        if let What::Zone { direction: way, .. } = &mut crossing.what {
            *way = direction;
        }
        crossing
    };
    let rule = Rule { direction: Some(Direction::LeftToRight), ..warning(Kind::Zone) };
    check(rule.clone(), crossed(Some(Direction::LeftToRight)), None);
    check(rule.clone(), crossed(Some(Direction::RightToLeft)), Some(Gate::Kind));
    check(rule, crossed(None), Some(Gate::Kind));
}

#[test]
fn a_value_at_its_bound_is_enough() {
    let sure = |confidence| Rule { min_confidence: Some(confidence), ..warning(Kind::Zone) };
    // 0.9 of 32 bits is a little less than 0.9 of 64; a person who writes 0.9 means the former.
    check(sure(0.9), entered(0, "t1"), None);
    check(sure(0.91), entered(0, "t1"), Some(Gate::Confidence));
    let aged = |age_ms, stationary| occurrence(0, What::Detection { seen: seen("car", "t1"), age_ms, stationary });
    let rule = Rule { min_dwell_ms: Some(10_000), ..warning(Kind::Detection) };
    check(rule.clone(), aged(10_000, false), None);
    check(rule, aged(9_999, false), Some(Gate::Dwell));
    let forecast = |days| occurrence(0, What::DiskForecast { days });
    check(Rule { below_days: Some(7.0), ..warning(Kind::DiskForecast) }, forecast(7.0), Some(Gate::Days));
    check(Rule { below_days: Some(7.0), ..warning(Kind::DiskForecast) }, forecast(6.9), None);
}

#[test]
fn what_is_not_known_does_not_pass_a_least() {
    check(Rule { min_dwell_ms: Some(1), ..warning(Kind::Zone) }, entered(0, "t1"), Some(Gate::Dwell));
    check(Rule { min_speed_kmh: Some(1.0), ..warning(Kind::Zone) }, entered(0, "t1"), Some(Gate::Speed));
}

#[test]
fn an_object_at_rest_alerts_only_where_asked_for() {
    let parked = || occurrence(0, What::Detection { seen: seen("car", "t1"), age_ms: 0, stationary: true });
    check(warning(Kind::Detection), parked(), Some(Gate::Stationary));
    check(Rule { stationary: true, ..warning(Kind::Detection) }, parked(), None);
}

#[test]
fn one_object_alerts_once_and_each_event_where_that_is_switched_off() {
    let path = [entered(0, "t1"), entered(60, "t1"), entered(61, "t2"), entered(62, "t1")];
    assert_eq!(verdicts(warning(Kind::Zone), &path), [None, Some(Gate::Once), None, Some(Gate::Once)]);
    assert_eq!(verdicts(Rule { once_per_track: false, ..warning(Kind::Zone) }, &path), [None; 4]);
}

#[test]
fn after_an_alert_there_is_none_for_the_cooldown_also_of_what_comes_late() {
    let rule = |per| Rule { cooldown_s: 60, per, ..warning(Kind::Zone) };
    let path = [entered(0, "t1"), entered(59, "t2"), entered(60, "t3"), entered(-59, "t4"), entered(-60, "t5")];
    let cool = Some(Gate::Cooldown);
    assert_eq!(verdicts(rule(Per::Camera), &path), [None, cool, None, cool, None]);
    let yard = Occurrence { camera: Some("yard".parse().unwrap()), ..entered(1, "t6") };
    assert_eq!(verdicts(rule(Per::Camera), &[entered(0, "t1"), yard.clone()]), [None, None]);
    assert_eq!(verdicts(rule(Per::Edge), &[entered(0, "t1"), yard]), [None, cool]);
}

#[test]
fn a_repetition_alerts_at_the_last_of_so_many_and_counts_anew_after_it() {
    let rule = Rule { repeated: Some(Repeated { times: 3, within_s: 10 }), ..warning(Kind::Zone) };
    let few = Some(Gate::Repeated);
    let path = [0, 5, 11, 12, 13, 14, 15].map(|second| entered(second, &format!("t{second}")));
    assert_eq!(verdicts(rule.clone(), &path), [few, few, few, None, few, few, None]);
    let same = [entered(0, "t1"), entered(1, "t1"), entered(2, "t1"), entered(3, "t2"), entered(4, "t3")];
    assert_eq!(verdicts(rule.clone(), &same), [few, few, few, few, None], "one object counts once");
    let late = [entered(9, "t1"), entered(4, "t2"), entered(0, "t3")];
    assert_eq!(verdicts(rule, &late), [few, few, None], "the one that came last completes the three");
}

#[test]
fn a_night_watch_holds_over_the_change_of_clocks() {
    let schedule = serde_json::from_value(serde_json::json!([{ "from": "22:00", "to": "06:00" }])).unwrap();
    let zone = "Europe/Berlin".to_owned().try_into().unwrap();
    let rule = Rule { schedule: Some(schedule), time_zone: Some(zone), ..warning(Kind::Zone) };
    // 2026-10-25: 22:00 is 20:00Z, the clock goes back at 01:00Z, 06:00 is 05:00Z: nine hours.
    for (time, expected) in [
        ("2026-10-24T19:59:59.999Z", Some(Gate::Schedule)),
        ("2026-10-24T20:00:00Z", None),
        ("2026-10-25T00:30:00Z", None),
        ("2026-10-25T01:30:00Z", None),
        ("2026-10-25T04:59:59.999Z", None),
        ("2026-10-25T05:00:00Z", Some(Gate::Schedule)),
    ] {
        let event = Occurrence { at: time.parse().unwrap(), ..entered(0, "t1") };
        check(rule.clone(), event, expected);
    }
}

#[test]
fn the_reasons_name_each_condition_with_its_value() {
    let schedule = serde_json::from_value(serde_json::json!([{ "from": "00:00", "to": "24:00" }])).unwrap();
    let rule = Rule {
        classes: vec!["person".into(), "dog".into()],
        min_confidence: Some(0.5),
        schedule: Some(schedule),
        cooldown_s: 60,
        ..warning(Kind::Zone)
    };
    let why = decisions(rule, &[entered(0, "t1"), entered(12, "t2")]).remove(1).why;
    let text = why.iter().map(|finding| {
        let sign = if finding.passed { '+' } else { '-' };
        let (value, wanted) = (finding.value.as_deref().unwrap(), finding.wanted.as_deref().unwrap());
        format!("{sign}{} {value} ({wanted})", finding.gate.as_str())
    });
    assert_eq!(
        text.collect::<Vec<_>>(),
        [
            "+kind zone (zone)",
            "+class person (person, dog)",
            "+confidence 0.9 (>= 0.5)",
            "+schedule 2026-11-22T13:05:12.000+00:00 (in the schedule)",
            "+once no alert of it yet (no alert of it yet)",
            "-cooldown 12 s (>= 60 s)",
        ]
    );
}

#[test]
fn an_alert_of_an_edge_keeps_its_own_severity_unless_the_rule_has_one() {
    let told = occurrence(
        0,
        What::EdgeAlert { alert_type: "tamper".into(), severity: Severity::Critical, title: "Camera covered".into() },
    );
    let severity = |rule| match decisions(rule, std::slice::from_ref(&told)).remove(0).verdict {
        Verdict::Raised { severity, .. } => severity,
        other => panic!("{other:?}"),
    };
    assert_eq!(severity(Rule::built_in().remove(0)), Severity::Critical);
    assert_eq!(severity(Rule { severity: Some(Severity::Info), ..warning(Kind::EdgeAlert) }), Severity::Info);
    assert_eq!(headline(&told), "Camera covered");
}

#[test]
fn what_has_no_event_counts_once_by_what_it_is_and_when_it_began() {
    let offline = |second| Occurrence { event: None, camera: None, ..occurrence(second, What::EdgeOffline) };
    let rule = || warning(Kind::EdgeOffline);
    assert_eq!(verdicts(rule(), &[offline(0), offline(0), offline(1)]), [None, Some(Gate::Once), None]);
    let state = |state| {
        let what = What::Camera { state, cause: None, lasted_ms: 60_000 };
        Occurrence { event: None, ..occurrence(0, what) }
    };
    let changes = [state(CameraState::Retrying), state(CameraState::Streaming)];
    assert_eq!(verdicts(warning(Kind::CameraState), &changes), [None, None], "two states in one millisecond are two");
}

#[test]
fn a_state_that_many_reports_tell_of_alerts_once_it_has_lasted_and_once_only() {
    let told = |report, lasted_ms| {
        let what = What::Camera { state: CameraState::Retrying, cause: None, lasted_ms };
        let event = Some(EventId::from_parts(at(report), 1));
        Occurrence { event, ..occurrence(0, what) }
    };
    let path = [told(30, 30_000), told(60, 60_000), told(90, 90_000)];
    let rule = Rule { cooldown_s: 0, ..Rule::built_in().remove(2) };
    assert_eq!(verdicts(rule, &path), [Some(Gate::Lasted), None, Some(Gate::Once)]);
}

#[test]
fn a_back_test_of_a_rule_that_is_switched_off_says_what_it_would_raise() {
    let off = Rule { enabled: false, ..warning(Kind::Zone) };
    let mut test = BackTest::new(ready(off.clone()), Some(ready(off)), at(0));
    assert!(test.is_about(&entered(1, "t1")));
    test.take(&entered(1, "t1"));
    let report = test.finish();
    assert_eq!(
        (report.both, report.only_new, report.only_old),
        (0, 1, 0),
        "today's rule raises nothing while it is off"
    );
}

#[test]
fn different_alarms_of_one_camera_do_not_silence_each_other() {
    let told = |second, alert_type: &str| {
        let what = What::EdgeAlert { alert_type: alert_type.into(), severity: Severity::Info, title: "x".into() };
        occurrence(second, what)
    };
    let path = [told(0, "disk_full"), told(1, "tamper"), told(2, "disk_full")];
    assert_eq!(verdicts(Rule::built_in().remove(0), &path), [None, None, Some(Gate::Cooldown)]);
}

#[test]
fn every_built_in_rule_can_mean_something() {
    for rule in Rule::built_in() {
        assert_eq!(rule.check(), Ok(()), "{}", rule.name);
    }
}
