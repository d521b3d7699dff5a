//! Trials of rules on what was told of edges, and whose turn it is to try.

use std::collections::BTreeSet;
use std::time::Duration;

use aivms_cloud_core::presence::HoldOff;
use aivms_cloud_core::rules::{Kind, Per, ReadyRule, Repeated, Report, Rule, RuleId, Side};
use aivms_contract::alert::Severity;
use aivms_contract::time::UtcMillis;

use super::super::{BackTestRequest, Edge, SharedStore, StoreError, User};
use super::alerts::{alerts, enter, with_rule};
use super::{Open, at, edge, tenant};

const HOLD_OFF: HoldOff =
    HoldOff { timeout: Duration::from_secs(120), offline: Duration::from_secs(60), stable: Duration::from_secs(60) };
const MINUTE: i64 = 60_000;
/// What is told of edges.
const KINDS: [Kind; 3] = [Kind::EdgeOffline, Kind::EdgeOnline, Kind::TakeOver];

/// An alert by what it is of: its time, its edge and its line.
type Raised = BTreeSet<(UtcMillis, String, String)>;

fn request(candidate: Rule, today: Option<Rule>, start: UtcMillis) -> BackTestRequest {
    let ready = |rule| ReadyRule::new(RuleId::from_parts(at(0), 9), rule).unwrap();
    BackTestRequest { candidate: ready(candidate), today: today.map(ready), start, end: at(1_000 * MINUTE) }
}

/// Two rules of a kind: one that is calm over all edges together, and one that wants it twice in half an hour of an edge.
fn rules_of(kind: Kind) -> [Rule; 2] {
    let rule = Rule::new("a rule", kind, Some(Severity::Warning));
    let calm = Rule { cooldown_s: 600, per: Per::Rule, ..rule.clone() };
    [calm, Rule { repeated: Some(Repeated { times: 2, within_s: 1_800 }), per: Per::Edge, ..rule }]
}

/// Minutes in which an edge can't be heard: a day of each of three edges.
fn silences(edge: usize) -> &'static [std::ops::Range<i64>] {
    match edge {
        // Once longer than a trial looks back; and with the second one at the same moment.
        0 => &[10..20, 30..36, 45..52, 90..290, 310..320],
        1 => &[10..19, 45..52, 61..62, 200..210, 310..320, 330..340],
        // There only since then.
        _ => &[0..300, 310..315],
    }
}

/// Lets three edges go, come and be replaced, with two processes that look each minute.
async fn live_through(store: &SharedStore, edges: &[Edge]) {
    for minute in 0..360 {
        for (index, edge) in edges.iter().enumerate() {
            if !silences(index).iter().any(|silence| silence.contains(&minute)) {
                store.record_heartbeat(edge.key, at(minute * MINUTE), None).await.unwrap();
            }
        }
        if [40, 60, 65, 130, 325].contains(&minute) {
            let edge = &edges[usize::try_from(minute % 2).unwrap()];
            for second in 0..4 {
                store.count_take_over(edge.key, at(minute * MINUTE + second * 1_000)).await.unwrap();
            }
        }
        for _ in 0..2 {
            store.judge_presence(HOLD_OFF, at(0), at(minute * MINUTE)).await.unwrap();
        }
    }
}

async fn raised_live(store: &SharedStore, owner: &User, rule: RuleId, since: UtcMillis) -> Raised {
    let all = alerts(store, owner).await.into_iter().filter(|alert| alert.rule_id == rule);
    let of = all.map(|alert| (alert.alert_id.0.at(), alert.edge_id.to_string(), alert.title));
    of.filter(|(at, ..)| *at >= since).collect()
}

fn raised_by(report: &Report, side: Side) -> Raised {
    let shown = report.shown.iter().filter(|shown| shown.side == side || shown.side == Side::Both);
    shown.map(|shown| (shown.occurrence.at, shown.occurrence.edge.to_string(), shown.title.clone())).collect()
}

pub(crate) async fn a_back_test_says_what_was_raised_live_of_edges_that_went_came_and_were_replaced(open: Open<'_>) {
    let store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    let mut edges = Vec::new();
    for name in ["edge_a", "edge_b", "edge_c"] {
        edges.push(edge(&store, &owner, name).await);
    }
    let mut rules = Vec::new();
    for kind in KINDS {
        let [calm, repeated] = rules_of(kind);
        let ids = [with_rule(&store, &owner, calm).await, with_rule(&store, &owner, repeated).await];
        rules.push((kind, ids));
    }
    live_through(&store, &edges).await;
    for (kind, [calm, repeated]) in rules {
        let [today, candidate] = rules_of(kind);
        // From before the first thing on, and from where an edge had been away for longer than a trial looks back.
        for start in [at(-MINUTE), at(285 * MINUTE)] {
            let trial = request(candidate.clone(), Some(today.clone()), start);
            let report = store.back_test(owner.tenant, trial, at(0)).await.unwrap();
            let (new, old) = (raised_by(&report, Side::New), raised_by(&report, Side::Old));
            assert_eq!(new, raised_live(&store, &owner, repeated, start).await, "{kind} since {start}");
            assert_eq!(old, raised_live(&store, &owner, calm, start).await, "{kind} since {start}");
            assert!(!old.is_empty() && new != old, "{kind} since {start}: {report:?}");
        }
        let all = store.back_test(owner.tenant, request(today, None, at(-MINUTE)), at(0)).await.unwrap();
        let told = if kind == Kind::TakeOver { 5 } else { 11 };
        assert_eq!(all.looked_at, told, "{kind}: that an edge is there for the first time is no news");
        let foreign = store.back_test(rival.tenant, request(candidate, None, at(-MINUTE)), at(0)).await.unwrap();
        assert_eq!(foreign.looked_at, 0);
    }
}

pub(crate) async fn a_back_test_of_two_kinds_takes_what_was_stored_first(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    let zone = Rule::new("Lobby", Kind::Zone, Some(Severity::Warning));
    // Stored five seconds after the beginning, all of them.
    let events: Vec<_> = (1..=3).map(|seq| enter(&owner, &edge, seq, 90 * MINUTE, &format!("t{seq}"))).collect();
    store.record_events(events).await.unwrap();
    for second in [0, 3] {
        store.count_take_over(edge.key, at(second * 1_000)).await.unwrap();
    }
    store.count_take_over(edge.key, at(4_999)).await.unwrap();
    store.record_heartbeat(edge.key, at(4_999), None).await.unwrap();
    store.judge_presence(HOLD_OFF, at(0), at(5_000)).await.unwrap();
    store.judge_presence(HOLD_OFF, at(0), at(9 * MINUTE)).await.unwrap();
    let [_, offline] = rules_of(Kind::EdgeOffline).map(|rule| Rule { repeated: None, cooldown_s: 0, ..rule });
    let [_, take_over] = rules_of(Kind::TakeOver).map(|rule| Rule { repeated: None, cooldown_s: 0, ..rule });
    for (candidate, order) in [(take_over, "take_over zone zone zone"), (offline, "zone zone zone edge_offline")] {
        let trial = request(candidate, Some(zone.clone()), at(0));
        let report = store.back_test(owner.tenant, trial, at(0)).await.unwrap();
        let kinds: Vec<_> = report.shown.iter().map(|shown| shown.occurrence.what.kind().as_str()).collect();
        assert_eq!(kinds.join(" "), order);
    }
}

pub(crate) async fn a_tenant_has_one_back_test_at_a_time_over_all_processes(open: Open<'_>) {
    let store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    let [rule, _] = rules_of(Kind::EdgeOffline);
    let trial = async |store: &SharedStore, owner: &User, seconds: i64| {
        store.back_test(owner.tenant, request(rule.clone(), None, at(0)), at(seconds * 1_000)).await.map(drop)
    };
    for second in 0..3 {
        trial(&store, &owner, second).await.expect("one after the other");
    }
    let turn = store.back_test_turn(owner.tenant, at(10_000)).await.unwrap();
    let refused = trial(&store, &owner, 20).await;
    assert!(matches!(refused, Err(StoreError::AtWork(wait)) if wait == Duration::from_secs(35)), "{refused:?}");
    trial(&store, &rival, 20).await.expect("another tenant's is its own");
    // The process ends before its trial does: then the turn ends with the lease.
    std::thread::spawn(|| drop(turn)).join().unwrap();
    drop(store);
    let store = open();
    assert!(matches!(trial(&store, &owner, 54).await, Err(StoreError::AtWork(_))), "also in the next process");
    trial(&store, &owner, 55).await.expect("after the lease");
    // A caller that goes away.
    drop(store.back_test_turn(owner.tenant, at(60_000)).await.unwrap());
    let given_back = async {
        while trial(&store, &owner, 61).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), given_back).await.expect("its turn is given back");
}
