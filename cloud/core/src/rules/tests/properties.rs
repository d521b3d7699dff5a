//! What holds for every rule and every row of things that happen.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use aivms_contract::alert::Severity;
use aivms_contract::id::EdgeId;
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A memory that is written out and read back after each batch, as the database does it.
#[derive(Default)]
struct Stored {
    rows: BTreeMap<(RuleId, Scope), String>,
    loaded: BTreeMap<(RuleId, Scope), ScopeMemory>,
    alerts: BTreeSet<DedupKey>,
}

impl Stored {
    fn commit(&mut self) {
        for (key, memory) in std::mem::take(&mut self.loaded) {
            self.rows.insert(key, serde_json::to_string(&memory).unwrap());
        }
    }
}

impl Memory for Stored {
    type Error = Infallible;

    fn of_scope(&mut self, rule: RuleId, scope: &Scope) -> Result<&mut ScopeMemory, Infallible> {
        let key = (rule, scope.clone());
        let stored = self.rows.get(&key).map(|row| serde_json::from_str(row).unwrap());
        Ok(self.loaded.entry(key).or_insert_with(|| stored.unwrap_or_default()))
    }

    fn is_raised(&mut self, key: &DedupKey) -> Result<bool, Infallible> {
        Ok(self.alerts.contains(key))
    }
}

/// A memory that notes what it is asked for.
#[derive(Default)]
struct Asked {
    memory: Stored,
    scopes: BTreeSet<(RuleId, Scope)>,
    keys: BTreeSet<DedupKey>,
}

impl Memory for Asked {
    type Error = Infallible;

    fn of_scope(&mut self, rule: RuleId, scope: &Scope) -> Result<&mut ScopeMemory, Infallible> {
        self.scopes.insert((rule, scope.clone()));
        self.memory.of_scope(rule, scope)
    }

    fn is_raised(&mut self, key: &DedupKey) -> Result<bool, Infallible> {
        self.keys.insert(key.clone());
        self.memory.is_raised(key)
    }
}

/// What the cloud finds out about edges by itself, without an event.
const PRESENCE: [Kind; 3] = [Kind::EdgeOffline, Kind::EdgeOnline, Kind::TakeOver];

/// What names an occurrence.
type Name = (Kind, EdgeId, i64, Option<EventId>);

fn name(occurrence: &Occurrence) -> Name {
    (occurrence.what.kind(), occurrence.edge.clone(), occurrence.at.as_millis(), occurrence.event)
}

fn occurrences() -> impl Strategy<Value = Vec<Occurrence>> {
    let one = (0i64..600, 0u8..3, 0u8..2, 0u8..12, 0.0f32..1.0, 0u8..8, any::<bool>());
    prop::collection::vec(one, 1..120).prop_map(|rows| {
        let all =
            rows.into_iter().enumerate().map(|(number, (second, camera, edge, track, confidence, what, flag))| {
                let class = if track % 2 == 0 { "person" } else { "car" };
                let seen = Seen { class: class.into(), confidence, track: format!("t{track}").parse().unwrap() };
                let (zone, event_type) = (format!("z{}", track % 3).parse().unwrap(), event_type(what));
                let what = match what {
                    0 => What::Detection { seen, age_ms: u64::from(track) * 1000, stationary: flag },
                    4 => What::EdgeAlert { alert_type: class.into(), severity: Severity::Info, title: "x".into() },
                    5 => What::EdgeOffline,
                    6 => What::EdgeOnline { offline_ms: u64::from(track) * 1000 },
                    7 => What::TakeOver { detail: class.into() },
                    _ => What::Zone {
                        zone,
                        event_type,
                        seen,
                        dwell_ms: flag.then_some(5_000),
                        direction: None,
                        speed_kmh: None,
                    },
                };
                let of_edge = PRESENCE.contains(&what.kind());
                // What has no event has a time of its own.
                let own = Duration::from_millis(if of_edge { number as u64 } else { 0 });
                Occurrence {
                    event: (!of_edge).then(|| EventId::from_parts(at(second), number as u128)),
                    at: at(second) + own,
                    edge: format!("edge_{edge}").parse().unwrap(),
                    camera: (!of_edge).then(|| format!("c{camera}").parse().unwrap()),
                    what,
                }
            });
        all.collect()
    })
}

fn event_type(number: u8) -> ZoneEventType {
    [ZoneEventType::Enter, ZoneEventType::Exit, ZoneEventType::Dwell][usize::from(number) % 3]
}

fn rules() -> impl Strategy<Value = Rule> {
    let subject = (0usize..6, any::<bool>(), any::<bool>(), prop::option::of(0.0f64..1.0));
    let history = (0u32..90, 0usize..4, any::<bool>(), prop::option::of((2u32..5, 1u32..120)), any::<bool>());
    (subject, history).prop_map(|((kind, cameras, classes, sure), (cooldown_s, per, once, repeated, night))| {
        let [offline, online, take_over] = PRESENCE;
        let kind = [Kind::Zone, Kind::Detection, Kind::EdgeAlert, offline, online, take_over][kind];
        let sees = kind == Kind::Zone || kind == Kind::Detection;
        let camera = CameraChoice { edge_id: None, camera_id: "c1".parse().unwrap() };
        // The ten minutes of the occurrences begin at 13:05.
        let hours = json!([{ "from": "13:08", "to": "13:12" }]);
        Rule {
            cameras: if cameras && !PRESENCE.contains(&kind) { vec![camera] } else { Vec::new() },
            classes: if classes && sees { vec!["person".into()] } else { Vec::new() },
            min_confidence: sure.filter(|_| sees),
            schedule: night.then(|| serde_json::from_value(hours).unwrap()),
            cooldown_s,
            per: [Per::Zone, Per::Camera, Per::Edge, Per::Rule][per],
            once_per_track: once,
            repeated: repeated.map(|(times, within_s)| Repeated { times, within_s }),
            ..warning(kind)
        }
    })
}

/// That of which live evaluation raises alerts when it comes in batches of these sizes.
fn live(rule: &Rule, occurrences: &[Occurrence], sizes: &[usize]) -> BTreeSet<Name> {
    let (rule, mut memory, mut raised) = (ready(rule.clone()), Stored::default(), BTreeSet::new());
    let mut left = occurrences;
    for size in sizes.iter().cycle() {
        if left.is_empty() {
            break;
        }
        let (batch, rest) = left.split_at((*size).min(left.len()));
        for occurrence in batch {
            let Ok(decision) = decide(&rule, occurrence, &mut memory);
            if let Verdict::Raised { key, .. } = decision.verdict {
                memory.alerts.insert(key);
                raised.insert(name(occurrence));
            }
        }
        memory.commit();
        left = rest;
    }
    raised
}

proptest! {
    #[test]
    fn a_memory_is_asked_for_what_was_foreseen(
        occurrences in occurrences(), rule in rules(), size in 1usize..60,
    ) {
        let (rule, mut asked) = (ready(rule), Asked::default());
        for batch in occurrences.chunks(size) {
            let mut foresight = Foresight::default();
            batch.iter().for_each(|occurrence| foresight.look(&rule, occurrence));
            for occurrence in batch {
                let Ok(decision) = decide(&rule, occurrence, &mut asked);
                if let Verdict::Raised { key, .. } = decision.verdict {
                    asked.memory.alerts.insert(key);
                }
            }
            let (scopes, keys) = (std::mem::take(&mut asked.scopes), std::mem::take(&mut asked.keys));
            let foreseen: BTreeSet<_> = foresight.scopes().map(|(rule, scope)| (rule, scope.clone())).collect();
            prop_assert!(scopes.is_subset(&foreseen));
            // Whether enough came together for a repetition depends on what was before.
            if rule.rule.repeated.is_none() {
                prop_assert!(foresight.keys().eq(&keys));
            }
        }
    }

    #[test]
    fn a_back_test_raises_what_live_evaluation_did_of_events_and_of_edges_that_went_and_came(
        rule in rules(), today in rules(), occurrences in occurrences(), sizes in prop::collection::vec(1usize..20, 1..6),
    ) {
        let (new, old) = (live(&rule, &occurrences, &sizes), live(&today, &occurrences, &sizes));
        let mut test = BackTest::new(ready(rule), Some(ready(today)), at(0));
        for occurrence in &occurrences {
            // What none of the rules is about may be left out: that is how stored events are read.
            if test.is_about(occurrence) {
                test.take(occurrence);
            }
        }
        let report = test.finish();
        let shown = |side| report.shown.iter().filter(move |shown| shown.side == side).map(|s| name(&s.occurrence));
        let (both, only_new, only_old) = (
            shown(Side::Both).collect::<BTreeSet<_>>(),
            shown(Side::New).collect::<BTreeSet<_>>(),
            shown(Side::Old).collect::<BTreeSet<_>>(),
        );
        prop_assert!(occurrences.len() > 100 || report.shown.len() as u64 == report.both + report.only_new + report.only_old);
        if report.both.max(report.only_new).max(report.only_old) < 100 {
            prop_assert_eq!(&both | &only_new, new.clone());
            prop_assert_eq!(&both | &only_old, old.clone());
            prop_assert_eq!(both, &new & &old);
        }
        let by_day = report.days.iter().map(|day| day.both + day.only_new + day.only_old).sum::<u64>();
        prop_assert_eq!(by_day, report.both + report.only_new + report.only_old);
    }

    #[test]
    fn alerts_of_one_scope_are_a_cooldown_apart_and_of_one_track_there_is_one(rule in rules(), occurrences in occurrences()) {
        let mut times: BTreeMap<Scope, Vec<i64>> = BTreeMap::new();
        let mut keys = BTreeSet::new();
        for (decision, occurrence) in decisions(rule.clone(), &occurrences).into_iter().zip(&occurrences) {
            if let Verdict::Raised { key, scope, .. } = decision.verdict {
                prop_assert!(keys.insert(key));
                times.entry(scope).or_default().push(occurrence.at.as_millis());
            }
        }
        for times in times.values_mut() {
            times.sort_unstable();
            for pair in times.windows(2) {
                prop_assert!(pair[1] - pair[0] >= i64::from(rule.cooldown_s) * 1000);
            }
        }
    }

    #[test]
    fn the_reasons_agree_with_the_verdict(rule in rules(), occurrences in occurrences()) {
        let ready = ready(rule.clone());
        for (decision, occurrence) in decisions(rule, &occurrences).into_iter().zip(&occurrences) {
            let first = decision.why.iter().find(|finding| !finding.passed).map(|finding| finding.gate);
            let explained = ready.findings(occurrence);
            let foreign = explained.iter().any(|finding| !finding.passed && finding.gate.is_of_subject());
            prop_assert_eq!(ready.is_about(occurrence), !foreign);
            match decision.verdict {
                Verdict::Raised { .. } => prop_assert_eq!(first, None),
                Verdict::Suppressed { by, .. } => prop_assert_eq!(first, Some(by)),
                Verdict::Unrelated => prop_assert!(foreign),
            }
        }
    }

    #[test]
    fn a_repetition_counts_as_a_brute_force_does(
        seconds in prop::collection::vec(0i64..60, 1..30), times in 2u32..5, within_s in 1u32..20,
    ) {
        let repeated = Repeated { times, within_s };
        let rule = Rule { repeated: Some(repeated), once_per_track: false, ..warning(Kind::Zone) };
        let path: Vec<Occurrence> = seconds.iter().enumerate().map(|(number, second)| {
            let event = Some(EventId::from_parts(at(*second), number as u128));
            Occurrence { event, ..entered(*second, "t1") }
        }).collect();
        let mut since: Vec<i64> = Vec::new();
        let expected: Vec<bool> = seconds.iter().map(|now| {
            since.push(*now);
            let enough = since.iter().any(|first| {
                let last = first + i64::from(within_s);
                (*first..=last).contains(now) && since.iter().filter(|s| (*first..=last).contains(*s)).count() >= times as usize
            });
            if enough { since.clear(); }
            enough
        }).collect();
        let raised: Vec<bool> = verdicts(rule, &path).iter().map(Option::is_none).collect();
        prop_assert_eq!(raised, expected);
    }

    #[test]
    fn a_headline_is_one_line_of_bounded_length(title in ".{0,400}", class in ".{0,300}") {
        let told = What::EdgeAlert { alert_type: "x".into(), severity: Severity::Info, title };
        let mut seen_too = entered(0, "t1");
        if let What::Zone { seen, .. } = &mut seen_too.what {
            seen.class = class;
        }
        for occurrence in [occurrence(0, told), seen_too] {
            let line = headline(&occurrence);
            prop_assert!(line.chars().count() <= 200 && !line.chars().any(char::is_control));
        }
    }
}
