//! Alerts: raised with the events, once, folded, escalated, and tried on what is stored.

use std::collections::BTreeSet;
use std::time::Duration;

use aivms_cloud_core::notify::id::ChannelId;
use aivms_cloud_core::notify::message::Reason;
use aivms_cloud_core::retention::{Kept, Policy};
use aivms_cloud_core::rights::CameraScope;
use aivms_cloud_core::rules::{
    AlertState, EscalationStep, Gate, Kind, Occurrence, ReadyRule, Repeated, Rule, RuleId, Side, What,
};
use aivms_contract::alert::{Alert as EdgeAlert, Severity};
use aivms_contract::envelope::Body;
use aivms_contract::zone_event::ZoneEventType;

use super::super::alerts::consider;
use super::super::sql::values;
use super::super::{
    Alert, AlertChange, AlertFilter, Asker, BackTestRequest, Changed, ChannelSettings, DeliveryFilter, IncidentFilter,
    RuleChange, SharedStore, SuppressedFilter, Target, TenantKey, WebhookTarget,
};
use super::super::{Edge, Incoming, PageRequest, User};
use super::{Open, at, detection, edge, incoming, tenant, zone_event};

const PAGE: PageRequest = PageRequest { before: None, limit: 1_000 };

fn asker(owner: &User) -> Asker {
    Asker { tenant: owner.tenant, cameras: CameraScope::All }
}

pub(super) async fn alerts(store: &SharedStore, owner: &User) -> Vec<Alert> {
    store.list_alerts(asker(owner), AlertFilter::default(), PAGE).await.unwrap().items
}

fn zone_rule() -> Rule {
    Rule::new("Lobby", Kind::Zone, Some(Severity::Warning))
}

pub(super) async fn with_rule(store: &SharedStore, owner: &User, rule: Rule) -> RuleId {
    store.create_rule(owner.tenant, owner.key, rule, at(0)).await.unwrap().rule_id
}

/// A webhook by its number; answers its id.
async fn webhook(store: &SharedStore, owner: &User, number: u128) -> String {
    let id = ChannelId::from_parts(at(0), number);
    let target = Target::Webhook(WebhookTarget { url: format!("https://hooks.example.com/{number}") });
    let settings = ChannelSettings { name: "Hook".into(), target, least_severity: Severity::Warning, enabled: true };
    store.create_channel(owner.tenant, id.clone(), settings, Some(b"secret".to_vec()), at(0)).await.unwrap();
    id.to_string()
}

/// Somebody enters the lobby.
pub(super) fn enter(owner: &User, edge: &Edge, seq: u64, millis: i64, track: &str) -> Incoming {
    let mut event = zone_event(millis);
    event.track_id = track.parse().unwrap();
    incoming(owner, edge, seq, Body::ZoneEvents(event))
}

fn told_by_edge(owner: &User, edge: &Edge, seq: u64) -> Incoming {
    let alert = EdgeAlert {
        camera_id: "door".parse().unwrap(),
        timestamp: at(10),
        alert_type: "tamper".into(),
        severity: Severity::Critical,
        title: "Camera covered".into(),
        clip_id: None,
        event_id: None,
    };
    incoming(owner, edge, seq, Body::Alerts(alert))
}

pub(crate) async fn an_event_raises_an_alert_in_its_own_transaction_and_never_again(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    with_rule(&store, &owner, zone_rule()).await;
    let batch = vec![enter(&owner, &edge, 1, 10, "t1"), enter(&owner, &edge, 2, 20, "t2")];
    store.record_events(batch.clone()).await.unwrap();
    let raised = alerts(&store, &owner).await;
    assert_eq!(raised.iter().map(|alert| alert.track.as_deref().unwrap()).collect::<Vec<_>>(), ["t2", "t1"]);
    assert_eq!(raised[1].event_id, Some(super::id_of(&batch[0])));
    assert_eq!(
        (raised[1].title.as_str(), raised[1].severity),
        ("person entered lobby (camera door)", Severity::Warning)
    );
    assert!(raised[1].why.iter().all(|finding| finding.passed) && !raised[1].why.is_empty());
    for delivered_again in [batch.clone(), vec![batch[1].clone()], vec![batch[0].clone()]] {
        store.record_events(delivered_again).await.unwrap();
    }
    drop(store);
    let store = open();
    store.record_events(batch).await.unwrap();
    assert_eq!(alerts(&store, &owner).await.len(), 2);
    let suppressed = store.list_suppressed(asker(&owner), SuppressedFilter::default(), PAGE).await.unwrap();
    assert!(suppressed.items.is_empty(), "a repeated delivery is not a suppressed alert: {suppressed:?}");
}

pub(crate) async fn a_change_of_rules_counts_for_the_next_event(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    let rule_id = with_rule(&store, &owner, zone_rule()).await;
    store.record_events(vec![enter(&owner, &edge, 1, 10, "t1")]).await.unwrap();
    let off = Rule { enabled: false, ..zone_rule() };
    let changed = store.change_rule(owner.tenant, owner.key, rule_id, 1, off.clone(), at(0)).await.unwrap();
    assert!(matches!(&changed, RuleChange::Done(rule) if rule.version == 2), "{changed:?}");
    store.record_events(vec![enter(&owner, &edge, 2, 20, "t2")]).await.unwrap();
    assert_eq!(alerts(&store, &owner).await.len(), 1);
    let stale = store.change_rule(owner.tenant, owner.key, rule_id, 1, zone_rule(), at(0)).await.unwrap();
    assert!(matches!(stale, RuleChange::Stale(2)), "{stale:?}");
    store.change_rule(owner.tenant, owner.key, rule_id, 2, zone_rule(), at(0)).await.unwrap();
    // The parked car of before is known: changing a rule does not make it alert again.
    store.record_events(vec![enter(&owner, &edge, 3, 30, "t1"), enter(&owner, &edge, 4, 30, "t3")]).await.unwrap();
    assert_eq!(alerts(&store, &owner).await.len(), 2);
    assert!(matches!(store.delete_rule(owner.tenant, rule_id, 3, at(0)).await.unwrap(), RuleChange::Done(_)));
    store.record_events(vec![enter(&owner, &edge, 5, 40, "t4")]).await.unwrap();
    assert_eq!(alerts(&store, &owner).await.len(), 2, "alerts outlive their rule");
    assert!(store.rule(owner.tenant, rule_id).await.unwrap().is_none());
}

pub(crate) async fn what_an_edge_alerts_of_is_an_alert_without_any_rule_of_the_tenant(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    store.record_events(vec![told_by_edge(&owner, &edge, 1)]).await.unwrap();
    let raised = alerts(&store, &owner).await;
    assert_eq!(raised.len(), 1);
    assert_eq!((raised[0].title.as_str(), raised[0].severity), ("Camera covered", Severity::Critical));
    let rules = store.list_rules(owner.tenant, PAGE, at(0)).await.unwrap().items;
    assert_eq!(rules.len(), Rule::built_in().len());
    // Who deletes them does not get them again.
    for rule in rules {
        store.delete_rule(owner.tenant, rule.rule_id, rule.version, at(0)).await.unwrap();
    }
    store.record_events(vec![told_by_edge(&owner, &edge, 2)]).await.unwrap();
    assert_eq!(alerts(&store, &owner).await.len(), 1);
    assert!(store.list_rules(owner.tenant, PAGE, at(0)).await.unwrap().items.is_empty());
}

pub(crate) async fn what_the_cloud_finds_out_itself_is_asked_about_and_counts_once(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    let offline = |since| Occurrence {
        event: None,
        at: at(since),
        edge: edge.edge_id.clone(),
        camera: None,
        what: What::EdgeOffline,
    };
    for since in [0, 0, 400_000, 0] {
        let (tenant, told) = (owner.tenant, [offline(since)]);
        store.write(move |transaction| consider(transaction, tenant, &told, at(500_000))).await.unwrap();
    }
    assert_eq!(alerts(&store, &owner).await.len(), 2);
}

pub(crate) async fn a_rule_that_can_not_be_asked_stops_no_event_and_no_other_rule(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    let (broken, foreign) =
        (with_rule(&store, &owner, zone_rule()).await, with_rule(&store, &owner, zone_rule()).await);
    let good = with_rule(&store, &owner, zone_rule()).await;
    store
        .write(move |transaction| {
            use super::super::sql::values;
            let sql = "update alert_rules set body = ?1 where rule_id = ?2";
            transaction.execute(sql, &values!["{\"not\": \"a rule\"", broken.0])?;
            let zone = r#"{"name":"x","kind":"zone","severity":"info","time_zone":"Europe/Atlantis"}"#;
            transaction.execute(sql, &values![zone, foreign.0])?;
            transaction.execute("update rule_sets set version = ?1", &values![[7u8; 16]])
        })
        .await
        .unwrap();
    let recorded = store.record_events(vec![enter(&owner, &edge, 1, 10, "t1")]).await.unwrap();
    assert_eq!(recorded.stored, 1);
    assert_eq!(alerts(&store, &owner).await.iter().map(|alert| alert.rule_id).collect::<Vec<_>>(), [good]);
    assert!(store.rule(owner.tenant, broken).await.unwrap().unwrap().rule.is_err(), "it is shown with its defect");
}

pub(crate) async fn what_was_stopped_is_counted_with_its_reasons(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    let rule_id = with_rule(&store, &owner, Rule { cooldown_s: 60, ..zone_rule() }).await;
    for (seq, second) in [(1, 0), (2, 10), (3, 20), (4, 70)] {
        store.record_events(vec![enter(&owner, &edge, seq, second * 1000, &format!("t{seq}"))]).await.unwrap();
    }
    assert_eq!(alerts(&store, &owner).await.len(), 2);
    let stopped = store.list_suppressed(asker(&owner), SuppressedFilter::default(), PAGE).await.unwrap().items;
    assert_eq!(stopped.len(), 1, "folded by rule, thing, gate and hour");
    let one = &stopped[0];
    assert_eq!((one.rule_id, one.gate, one.times), (rule_id, Gate::Cooldown, 2));
    assert_eq!((one.first_at, one.last_at, one.rule_name.as_deref()), (at(10_000), at(20_000), Some("Lobby")));
    assert_eq!(one.why.last().map(|finding| (finding.gate, finding.passed)), Some((Gate::Cooldown, false)));
}

pub(crate) async fn alerts_that_follow_each_other_are_one_incident_per_edge(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let (one, two) = (edge(&store, &owner, "edge_a").await, edge(&store, &owner, "edge_b").await);
    with_rule(&store, &owner, zone_rule()).await;
    let batch = vec![
        enter(&owner, &one, 1, 0, "t1"),
        enter(&owner, &one, 2, 60_000, "t2"),
        enter(&owner, &two, 1, 61_000, "t1"),
        enter(&owner, &one, 3, 3_600_000, "t3"),
        // Late: of the first incident's time.
        enter(&owner, &one, 4, 30_000, "t4"),
    ];
    for message in batch {
        store.record_events(vec![message]).await.unwrap();
    }
    let list = |filter| store.list_incidents(asker(&owner), filter, PAGE);
    let incidents = list(IncidentFilter::default()).await.unwrap().items;
    let sizes: Vec<_> = incidents.iter().map(|incident| (incident.edge_id.as_str(), incident.open)).collect();
    assert_eq!(sizes, [("edge_a", 1), ("edge_b", 1), ("edge_a", 3)]);
    let first = &incidents[2];
    assert_eq!((first.first_at, first.last_at), (at(0), at(60_000)));
    let filter = AlertFilter { incident_id: Some(first.incident_id), ..AlertFilter::default() };
    let inside = store.list_alerts(asker(&owner), filter, PAGE).await.unwrap().items;
    assert_eq!(inside.iter().map(|alert| alert.track.as_deref().unwrap()).collect::<Vec<_>>(), ["t2", "t4", "t1"]);
    let resolved = IncidentFilter { with_state: Some(AlertState::Resolved), ..IncidentFilter::default() };
    assert!(list(resolved).await.unwrap().items.is_empty());
    assert!(store.incident(asker(&owner), first.incident_id).await.unwrap().is_some());
}

pub(crate) async fn a_person_sees_alerts_of_its_cameras_only(open: Open<'_>) {
    let store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    let edge = edge(&store, &owner, "edge_a").await;
    with_rule(&store, &owner, Rule { cooldown_s: 600, ..zone_rule() }).await;
    store.record_events(vec![enter(&owner, &edge, 1, 0, "t1"), enter(&owner, &edge, 2, 1, "t2")]).await.unwrap();
    let alert = alerts(&store, &owner).await.remove(0);
    let only = |edge: &str, camera: &str| Asker {
        tenant: owner.tenant,
        cameras: CameraScope::Only([(edge.parse().unwrap(), camera.parse().unwrap())].into()),
    };
    for (asker, sees) in [
        (asker(&owner), true),
        (only("edge_a", "door"), true),
        (only("edge_a", "yard"), false),
        (only("edge_b", "door"), false),
        (asker(&rival), false),
    ] {
        let counts = [
            store.list_alerts(asker.clone(), AlertFilter::default(), PAGE).await.unwrap().items.len(),
            usize::from(store.alert(asker.clone(), alert.alert_id).await.unwrap().is_some()),
            store.list_incidents(asker.clone(), IncidentFilter::default(), PAGE).await.unwrap().items.len(),
            usize::from(store.incident(asker.clone(), alert.incident_id).await.unwrap().is_some()),
            store.list_suppressed(asker.clone(), SuppressedFilter::default(), PAGE).await.unwrap().items.len(),
            store.alerts_after(asker.clone(), 0, 10).await.unwrap().len(),
        ];
        assert_eq!(counts, [usize::from(sees); 6], "{asker:?}");
        let comment = AlertChange::Comment("hm".into());
        let change = store.change_alert(asker.clone(), owner.key, alert.alert_id, comment, at(1)).await;
        assert_eq!(change.is_ok(), sees, "{asker:?}");
    }
    assert!(store.rule(rival.tenant, alert.rule_id).await.unwrap().is_none());
}

pub(crate) async fn each_step_of_an_alerts_life_is_kept_with_who_and_when(open: Open<'_>) {
    let store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    let edge = edge(&store, &owner, "edge_a").await;
    with_rule(&store, &owner, zone_rule()).await;
    store.record_events(vec![enter(&owner, &edge, 1, 0, "t1")]).await.unwrap();
    let alert_id = alerts(&store, &owner).await.remove(0).alert_id;
    let head = store.alert_head(owner.tenant).await.unwrap();
    let change = |change, millis| store.change_alert(asker(&owner), owner.key, alert_id, change, at(millis));
    let done = |changed: Changed| match changed {
        Changed::Done(alert, is_new) => (alert.state, is_new),
        other => panic!("{other:?}"),
    };
    use AlertState::{Acknowledged, Open, Resolved};
    let own = Some("mine".to_owned());
    assert_eq!(done(change(AlertChange::Acknowledge(own), 6_000).await.unwrap()), (Acknowledged, true));
    assert_eq!(done(change(AlertChange::Acknowledge(None), 6_001).await.unwrap()), (Acknowledged, false));
    assert_eq!(done(change(AlertChange::Assign(Some(owner.key)), 6_002).await.unwrap()), (Acknowledged, true));
    let to_stranger = change(AlertChange::Assign(Some(rival.key)), 6_003).await.unwrap();
    assert!(matches!(to_stranger, Changed::NoSuchPerson), "{to_stranger:?}");
    assert_eq!(done(change(AlertChange::Resolve(None), 6_004).await.unwrap()), (Resolved, true));
    let late = change(AlertChange::Acknowledge(None), 6_005).await.unwrap();
    assert!(matches!(late, Changed::Refused(_)), "{late:?}");
    assert_eq!(done(change(AlertChange::Reopen(None), 6_006).await.unwrap()), (Open, true));
    let (alert, steps) = store.alert(asker(&owner), alert_id).await.unwrap().unwrap();
    assert_eq!((alert.acknowledged, alert.resolved), (None, None));
    assert_eq!(alert.assignee.map(|person| person.key), Some(owner.key));
    let told: Vec<_> =
        steps.iter().map(|s| (s.step.as_str(), s.at.since(at(0)).as_millis(), s.note.as_deref())).collect();
    assert_eq!(
        told,
        [
            ("raised", 5_000, None),
            ("acknowledged", 6_000, Some("mine")),
            ("assigned", 6_002, Some("Owner")),
            ("resolved", 6_004, None),
            ("reopened", 6_006, None),
        ]
    );
    assert_eq!(steps[1].by.as_ref().map(|person| person.key), Some(owner.key));
    let fed = store.alerts_after(asker(&owner), head, 10).await.unwrap();
    assert_eq!(fed.iter().map(|fed| (fed.number, fed.alert.state)).collect::<Vec<_>>(), [(head + 4, Open)]);
}

pub(crate) async fn an_alert_escalates_step_by_step_until_somebody_acknowledges(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    let boss = vec![webhook(&store, &owner, 1).await];
    let step = |after_minutes, severity| EscalationStep { after_minutes, severity, targets: boss.clone() };
    let escalation = vec![step(5, None), step(10, Some(Severity::Critical))];
    with_rule(&store, &owner, Rule { escalation, ..zone_rule() }).await;
    store.record_events(vec![enter(&owner, &edge, 1, 0, "t1"), enter(&owner, &edge, 2, 0, "t2")]).await.unwrap();
    let raised = at(5_000);
    let later = |minutes: u64| raised + Duration::from_mins(minutes);
    assert_eq!(store.escalate_due(later(5) - Duration::from_millis(1)).await.unwrap(), 0);
    // Two processes at the same moment.
    let (one, two) = tokio::join!(store.escalate_due(later(5)), store.escalate_due(later(5)));
    assert_eq!(one.unwrap() + two.unwrap(), 2);
    let acknowledged = alerts(&store, &owner).await.remove(0).alert_id;
    let acknowledge = AlertChange::Acknowledge(None);
    store.change_alert(asker(&owner), owner.key, acknowledged, acknowledge, later(6)).await.unwrap();
    assert_eq!(store.escalate_due(later(60)).await.unwrap(), 1, "the acknowledged one is left alone");
    assert_eq!(store.escalate_due(later(600)).await.unwrap(), 0);
    for alert in alerts(&store, &owner).await {
        let (steps, severity) =
            if alert.alert_id == acknowledged { (1, Severity::Warning) } else { (2, Severity::Critical) };
        assert_eq!((alert.escalated, alert.severity), (steps, severity));
        let (_, steps) = store.alert(asker(&owner), alert.alert_id).await.unwrap().unwrap();
        let escalations = steps.iter().filter(|step| step.step == "escalated");
        assert_eq!(escalations.count(), alert.escalated as usize);
    }
    // Opened again, it begins anew.
    store.change_alert(asker(&owner), owner.key, acknowledged, AlertChange::Resolve(None), later(61)).await.unwrap();
    store.change_alert(asker(&owner), owner.key, acknowledged, AlertChange::Reopen(None), later(70)).await.unwrap();
    assert_eq!(store.escalate_due(later(74)).await.unwrap(), 0);
    assert_eq!(store.escalate_due(later(75)).await.unwrap(), 1);
}

pub(crate) async fn a_webhook_that_an_escalation_called_hears_how_it_ended(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    let [desk, boss, chief] = [1, 2, 3].map(|number| webhook(&store, &owner, number));
    let (desk, boss, chief) = (desk.await, boss.await, chief.await);
    let step = |after_minutes, target: &String| EscalationStep {
        after_minutes,
        severity: None,
        targets: vec![target.clone()],
    };
    let escalation = vec![step(5, &boss), step(10, &chief)];
    with_rule(&store, &owner, Rule { targets: vec![desk.clone()], escalation, ..zone_rule() }).await;
    store.record_events(vec![enter(&owner, &edge, 1, 0, "t1")]).await.unwrap();
    let later = |minutes: u64| at(5_000) + Duration::from_mins(minutes);
    assert_eq!(store.escalate_due(later(5)).await.unwrap(), 1);
    let alert = alerts(&store, &owner).await.remove(0).alert_id;
    let change = async |change, minutes| {
        store.change_alert(asker(&owner), owner.key, alert, change, later(minutes)).await.unwrap();
    };
    change(AlertChange::Acknowledge(None), 6).await;
    change(AlertChange::Resolve(None), 7).await;
    // Its ticket was closed by the resolving: it hears that there is work again, although no step is carried out yet.
    change(AlertChange::Reopen(None), 8).await;
    change(AlertChange::Resolve(None), 9).await;
    let heard = async |channel: &String| {
        let filter = DeliveryFilter { channel: Some(channel.clone()), ..DeliveryFilter::default() };
        let page = store.list_deliveries(owner.tenant, filter, PAGE).await.unwrap();
        page.items.iter().rev().map(|logged| logged.message.reason).collect::<Vec<_>>()
    };
    let after = [Reason::Acknowledged, Reason::Resolved, Reason::Reopened, Reason::Resolved];
    assert_eq!(heard(&desk).await, [&[Reason::Raised], &after[..]].concat());
    assert_eq!(heard(&boss).await, [&[Reason::Escalated], &after[..]].concat());
    assert_eq!(heard(&chief).await, [], "its step was never carried out");
}

pub(crate) async fn a_back_test_says_what_was_raised_live(open: Open<'_>) {
    let store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    let (one, theirs) = (edge(&store, &owner, "edge_a").await, edge(&store, &rival, "edge_r").await);
    let today = Rule { cooldown_s: 45, ..zone_rule() };
    let repeated = Some(Repeated { times: 2, within_s: 60 });
    let candidate = Rule { repeated, event_types: vec![ZoneEventType::Enter], ..zone_rule() };
    with_rule(&store, &owner, today.clone()).await;
    let trial = with_rule(&store, &owner, candidate.clone()).await;
    // In an order that is not that of time, with other kinds between, one track twice and one delivery again.
    let seconds = [0, 30, 100, 20, 101, 700, 640, 102, 3_000, 3_050];
    for (index, second) in seconds.iter().enumerate() {
        let seq = index as u64 * 2 + 1;
        let event = enter(&owner, &one, seq, second * 1000, &format!("t{}", index % 7));
        let noise = incoming(&owner, &one, seq + 1, Body::Detections(detection(second * 1000)));
        store.record_events(vec![event.clone(), noise]).await.unwrap();
        store.record_events(vec![event, enter(&rival, &theirs, seq, second * 1000, "t1")]).await.unwrap();
    }
    let live = alerts(&store, &owner).await;
    let of = |is_trial: bool| -> BTreeSet<_> {
        live.iter().filter(|alert| (alert.rule_id == trial) == is_trial).filter_map(|alert| alert.event_id).collect()
    };
    let ready = |rule| ReadyRule::new(RuleId::from_parts(at(0), 9), rule).unwrap();
    let request = |candidate, today: Option<Rule>| BackTestRequest {
        candidate: ready(candidate),
        today: today.map(ready),
        start: at(-1_000_000),
        end: at(10_000_000),
    };
    let report = store.back_test(owner.tenant, request(candidate.clone(), Some(today)), at(0)).await.unwrap();
    let shown = |side: Side| -> BTreeSet<_> {
        report.shown.iter().filter(|shown| shown.side == side).filter_map(|shown| shown.occurrence.event).collect()
    };
    let (both, new, old) = (shown(Side::Both), shown(Side::New), shown(Side::Old));
    assert_eq!(&both | &new, of(true));
    assert_eq!(&both | &old, of(false));
    assert!(!both.is_empty() && !new.is_empty() && !old.is_empty(), "{report:?}");
    assert_eq!(report.looked_at, seconds.len() as u64);
    let nothing = store.back_test(TenantKey(owner.tenant.0 + 1_000), request(candidate, None), at(0)).await.unwrap();
    assert_eq!(nothing.looked_at, 0);
}

pub(crate) async fn resolved_alerts_go_by_the_policy_with_all_that_belongs_to_them_and_open_ones_stay(open: Open<'_>) {
    const DAY: i64 = 24 * 3_600 * 1_000;
    let store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    let (ours, theirs) = (edge(&store, &owner, "edge_a").await, edge(&store, &rival, "edge_b").await);
    for (owner, edge) in [(&owner, &ours), (&rival, &theirs)] {
        with_rule(&store, owner, zone_rule()).await;
        let batch = [1, 2, 3].map(|seq| enter(owner, edge, seq, i64::try_from(seq).unwrap(), &format!("t{seq}")));
        store.record_events(batch.into()).await.unwrap();
        for alert in alerts(&store, owner).await.iter().filter(|alert| alert.track.as_deref() != Some("t3")) {
            let (who, told) = (asker(owner), AlertChange::Comment("a cat".into()));
            store.change_alert(who.clone(), owner.key, alert.alert_id, told, at(10)).await.unwrap();
            let resolved_at = if alert.track.as_deref() == Some("t1") { at(20) } else { at(5 * DAY) };
            let done = AlertChange::Resolve(None);
            store.change_alert(who, owner.key, alert.alert_id, done, resolved_at).await.unwrap();
        }
    }
    assert_eq!(store.delete_expired_alerts(owner.tenant, at(90 * DAY)).await.unwrap(), 0, "without a policy");
    let policy = Policy { alerts: Some(3), ..Policy::default() };
    store.set_retention_policy(owner.tenant, policy.clone(), at(0)).await.unwrap();
    let would = store.would_delete(owner.tenant, policy.clone(), at(6 * DAY)).await.unwrap();
    assert_eq!(would[&Kept::Alerts].count, 1);
    assert_eq!(store.delete_expired_alerts(owner.tenant, at(6 * DAY)).await.unwrap(), 1);
    assert_eq!(store.delete_expired_alerts(owner.tenant, at(6 * DAY)).await.unwrap(), 0);
    let tracks = async |owner: &User| -> BTreeSet<String> {
        alerts(&store, owner).await.into_iter().filter_map(|alert| alert.track).collect()
    };
    assert_eq!(tracks(&owner).await, BTreeSet::from(["t2".to_owned(), "t3".to_owned()]));
    let counted = "select cast(sum(alerts) as bigint) from incidents where tenant = ?1";
    let tenant = owner.tenant.0;
    let counted =
        store.lookup(move |transaction| transaction.first(counted, &values![tenant], |row| row.get::<i64>(0)));
    assert_eq!(counted.await.unwrap(), Some(2), "an incident has as many alerts as are left");
    let held = Policy { legal_hold: true, ..policy.clone() };
    store.set_retention_policy(owner.tenant, held, at(0)).await.unwrap();
    assert_eq!(store.delete_expired_alerts(owner.tenant, at(90 * DAY)).await.unwrap(), 0, "under a hold");
    store.set_retention_policy(owner.tenant, policy, at(0)).await.unwrap();
    assert_eq!(store.delete_expired_alerts(owner.tenant, at(90 * DAY)).await.unwrap(), 1);
    assert_eq!(tracks(&owner).await, BTreeSet::from(["t3".to_owned()]), "an open one is somebody's work");
    assert_eq!(tracks(&rival).await.len(), 3);
}
