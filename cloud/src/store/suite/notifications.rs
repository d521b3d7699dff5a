//! Channels, preferences, and deliveries with their turns and their log.

use std::time::Duration;

use aivms_cloud_core::notify::id::{ChannelId, SubscriptionId};
use aivms_cloud_core::notify::preferences::Preferences;
use aivms_cloud_core::rules::{AlertId, EscalationStep, IncidentId, Kind, Rule, RuleId};
use aivms_contract::alert::Severity;

use super::super::sql::values;
use super::super::{
    AlertNews, ChannelSettings, DeliveryFilter, DeliveryState, Due, LEASE, Means, Next, Occasion, PageRequest,
    PushSubscription, Report, Room, SharedStore, StoreError, StoredRule, Target, Then, Turn, TurnSize, Unusable,
    UnusableTarget, User, WebhookTarget,
};
use super::{Open, at, edge, tenant};
use crate::clock;

const SIZE: TurnSize = TurnSize { deliveries: 10, sent_within: Duration::from_secs(600) };
const SECOND: i64 = 1_000;

fn news(owner: &User, alert: u128, severity: Severity) -> AlertNews {
    AlertNews {
        tenant: owner.tenant,
        alert: AlertId::from_parts(at(0), alert),
        incident: IncidentId::from_parts(at(0), 1),
        opens_incident: true,
        occasion: Occasion::Raised,
        severity,
        title: format!("alert {alert}"),
        rule: RuleId::from_parts(at(0), 1),
        rule_name: "Night watch".into(),
        edge: "edge_a".parse().unwrap(),
        edge_name: "Gate".into(),
        camera: "door".parse().ok(),
        zone: None,
        at: at(0),
        told_at: at(0),
        event: None,
        targets: vec![],
        escalated_to: vec![],
    }
}

fn webhook(number: u128) -> (ChannelId, ChannelSettings) {
    let url = format!("https://hooks.example.com/{number}");
    channel(number, Target::Webhook(WebhookTarget { url }))
}

fn channel(number: u128, target: Target) -> (ChannelId, ChannelSettings) {
    let name = format!("channel {number}");
    let settings = ChannelSettings { name, target, least_severity: Severity::Warning, enabled: true };
    (ChannelId::from_parts(at(0), number), settings)
}

async fn make(store: &SharedStore, owner: &User, (id, settings): (ChannelId, ChannelSettings)) -> ChannelId {
    let secret = matches!(settings.target, Target::Webhook(_)).then(|| b"first".to_vec());
    store.create_channel(owner.tenant, id.clone(), settings, secret, at(0)).await.unwrap();
    id
}

async fn turns(store: &SharedStore, means: Means, now: i64) -> Vec<(Turn, Due)> {
    store.take_turns(means, room(100), SIZE, at(now)).await.unwrap()
}

/// Room for `turns`, and for a tenant's as many.
fn room(turns: u32) -> Room {
    Room { turns, of_tenant: turns }
}

fn tried(now: i64, status: u16, next: Next) -> Report {
    let error = (next != Next::Delivered).then(|| format!("answered {status}"));
    Report { tried_at: Some(at(now)), took: Duration::from_millis(7), status: Some(status), error, next }
}

async fn tell(store: &SharedStore, news: AlertNews, now: aivms_contract::time::UtcMillis) {
    store.owe_alert(AlertNews { told_at: now, ..news }).await.unwrap();
}

/// Everything logged, oldest first, as (receiver, state).
async fn log(store: &SharedStore, owner: &User, filter: DeliveryFilter) -> Vec<(String, DeliveryState)> {
    let page = store.list_deliveries(owner.tenant, filter, PageRequest { before: None, limit: 1000 }).await.unwrap();
    let mut log: Vec<_> = page.items.into_iter().map(|logged| (logged.receiver, logged.state)).collect();
    log.sort_by(|a, b| a.0.cmp(&b.0));
    log
}

async fn receivers(store: &SharedStore, owner: &User) -> Vec<String> {
    log(store, owner, DeliveryFilter::default()).await.into_iter().map(|(receiver, _)| receiver).collect()
}

pub(crate) async fn an_alert_is_owed_once_to_everybody_who_chooses_one_so_urgent(open: Open<'_>) {
    let store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    edge(&store, &owner, "edge_a").await;
    let hook = make(&store, &owner, webhook(1)).await;
    let addresses = vec!["guard@example.com".to_owned(), owner.email.clone()];
    make(&store, &owner, channel(2, Target::Mail(addresses))).await;
    make(&store, &rival, webhook(3)).await;
    let (off, mut settings) = webhook(4);
    settings.enabled = false;
    make(&store, &owner, (off.clone(), settings)).await;
    let wants_mail = Preferences { mail: true, ..Preferences::default() };
    store.set_preferences(owner.tenant, owner.key, wants_mail, at(0)).await.unwrap();
    tell(&store, news(&owner, 1, Severity::Info), at(1)).await;
    assert_eq!(receivers(&store, &owner).await, Vec::<String>::new(), "too little urgent");
    for _ in 0..2 {
        tell(&store, news(&owner, 2, Severity::Warning), at(2)).await;
    }
    // The owner is in the list and chose mail as well: one mail.
    let expected = ["mail:guard@example.com".into(), format!("mail:{}", owner.email), format!("webhook:{hook}")];
    assert_eq!(receivers(&store, &owner).await, expected);
    assert_eq!(receivers(&store, &rival).await, Vec::<String>::new());
    // An escalation is news of its own; it goes where its step says, whatever the severity there.
    let targets = vec![hook.to_string(), off.to_string(), "chn_unknown".into()];
    let escalated = AlertNews { occasion: Occasion::Escalated(1), targets, ..news(&owner, 2, Severity::Info) };
    tell(&store, escalated, at(3)).await;
    let mut expected =
        [&expected[..], &[hook.as_str(), off.as_str(), "chn_unknown"].map(|id| format!("webhook:{id}"))].concat();
    expected.sort();
    assert_eq!(receivers(&store, &owner).await, expected);
    let left_out = DeliveryFilter { state: Some(DeliveryState::LeftOut), ..DeliveryFilter::default() };
    assert_eq!(log(&store, &owner, left_out).await.len(), 2, "those that can't be told are noted");
}

pub(crate) async fn an_alert_whose_named_channels_are_gone_or_off_is_told_as_if_none_were_named(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let wants_mail = Preferences { mail: true, ..Preferences::default() };
    store.set_preferences(owner.tenant, owner.key, wants_mail, at(0)).await.unwrap();
    let chooses = make(&store, &owner, webhook(1)).await;
    let (off, mut settings) = channel(2, Target::Mail(vec!["guard@example.com".into()]));
    settings.enabled = false;
    make(&store, &owner, (off.clone(), settings)).await;
    let gone = make(&store, &owner, webhook(3)).await;
    store.delete_channel(owner.tenant, gone.clone(), at(0)).await.unwrap();
    let targets = vec![off.to_string(), gone.to_string()];
    tell(&store, AlertNews { targets: targets.clone(), ..news(&owner, 1, Severity::Warning) }, at(1)).await;
    let expected = [
        ("mail:guard@example.com".to_owned(), DeliveryState::LeftOut),
        (format!("mail:{}", owner.email), DeliveryState::Waiting),
        (format!("webhook:{chooses}"), DeliveryState::Waiting),
        (format!("webhook:{gone}"), DeliveryState::LeftOut),
    ];
    assert_eq!(log(&store, &owner, DeliveryFilter::default()).await, expected);
    for (channel, why) in [(&off, "it is switched off"), (&gone, "there is none")] {
        let filter = DeliveryFilter { channel: Some(channel.to_string()), ..DeliveryFilter::default() };
        let logged = store.list_deliveries(owner.tenant, filter, page(10)).await.unwrap().items.remove(0);
        assert!(logged.last_error.as_deref().unwrap().ends_with(why), "{logged:?}");
    }
    // One that can be told is enough, and the others are noted all the same.
    let targets = [targets, vec![chooses.to_string()]].concat();
    tell(&store, AlertNews { targets, ..news(&owner, 2, Severity::Info) }, at(2)).await;
    let alert = Some(news(&owner, 2, Severity::Info).alert);
    let waiting = DeliveryFilter { alert, state: Some(DeliveryState::Waiting), ..DeliveryFilter::default() };
    assert_eq!(log(&store, &owner, waiting).await, [(format!("webhook:{chooses}"), DeliveryState::Waiting)]);
    assert_eq!(log(&store, &owner, DeliveryFilter { alert, ..DeliveryFilter::default() }).await.len(), 3);
}

pub(crate) async fn a_named_user_who_may_not_sign_in_does_not_swallow_an_alert(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let hook = make(&store, &owner, webhook(1)).await;
    let person = make(&store, &owner, channel(2, Target::User(owner.key))).await;
    let rule = Rule { targets: vec![person.to_string()], ..Rule::new("Lobby", Kind::Zone, Some(Severity::Warning)) };
    let made = store.create_rule(owner.tenant, owner.key, rule.clone(), at(0)).await.unwrap();
    let key = owner.key.0;
    let disable = "update users set disabled_at = ?2 where id = ?1";
    store.write(move |transaction| transaction.execute(disable, &values![key, at(1)])).await.unwrap();
    let shown = store.rule(owner.tenant, made.rule_id).await.unwrap().unwrap().unusable_targets;
    assert_eq!(shown.iter().map(|target| target.why).collect::<Vec<_>>(), [Unusable::UserGone]);
    tell(&store, AlertNews { targets: rule.targets, ..news(&owner, 1, Severity::Warning) }, at(2)).await;
    let expected =
        [(format!("webhook:{hook}"), DeliveryState::Waiting), (format!("webhook:{person}"), DeliveryState::LeftOut)];
    assert_eq!(log(&store, &owner, DeliveryFilter::default()).await, expected);
}

pub(crate) async fn a_rule_names_channels_that_are_there_and_shows_those_that_get_nothing(open: Open<'_>) {
    let store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    let (hook, theirs) = (make(&store, &owner, webhook(1)).await, make(&store, &rival, webhook(2)).await);
    let (off, settings) = webhook(3);
    make(&store, &owner, (off.clone(), settings.clone())).await;
    let rule = |targets: &[&ChannelId], step: &[&ChannelId]| {
        let ids = |channels: &[&ChannelId]| channels.iter().map(ToString::to_string).collect();
        let escalation = vec![EscalationStep { after_minutes: 5, severity: None, targets: ids(step) }];
        Rule { targets: ids(targets), escalation, ..Rule::new("Lobby", Kind::Zone, Some(Severity::Warning)) }
    };
    let create = async |rule| store.create_rule(owner.tenant, owner.key, rule, at(0)).await;
    let no_such = |result: Result<_, StoreError>, named: &str| match result.map(|_: StoredRule| ()) {
        Err(StoreError::NoSuchChannel { field, channel_id }) => {
            assert_eq!((field.as_str(), channel_id), (named, theirs.to_string()));
        }
        other => panic!("{other:?}"),
    };
    no_such(create(rule(&[&hook, &theirs], &[])).await, "targets");
    no_such(create(rule(&[&hook], &[&theirs])).await, "escalation[0].targets");
    let made = create(rule(&[&hook, &off], &[&hook])).await.unwrap();
    assert_eq!(made.unusable_targets, []);
    let foreign = rule(&[], &[&theirs]);
    let changed = store.change_rule(owner.tenant, owner.key, made.rule_id, 1, foreign, at(0)).await;
    assert!(matches!(changed, Err(StoreError::NoSuchChannel { .. })), "{changed:?}");
    let disabled = ChannelSettings { enabled: false, ..settings };
    store.change_channel(owner.tenant, off.clone(), disabled, at(1)).await.unwrap();
    store.delete_channel(owner.tenant, hook.clone(), at(1)).await.unwrap();
    let unusable =
        |field: &str, id: &ChannelId, why| UnusableTarget { field: field.into(), channel_id: id.to_string(), why };
    let expected = [
        unusable("targets", &hook, Unusable::Gone),
        unusable("targets", &off, Unusable::SwitchedOff),
        unusable("escalation[0].targets", &hook, Unusable::Gone),
    ];
    let shown = store.rule(owner.tenant, made.rule_id).await.unwrap().unwrap();
    assert_eq!(shown.unusable_targets, expected);
    let listed = store.list_rules(owner.tenant, page(100), at(2)).await.unwrap().items;
    assert_eq!(listed.iter().find(|rule| rule.rule_id == made.rule_id).unwrap().unusable_targets, expected);
}

pub(crate) async fn the_webhook_of_the_settings_gets_every_tenants_alerts(open: Open<'_>) {
    let store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    store.set_default_webhook(true).await.unwrap();
    for (owner, number) in [(&owner, 1), (&rival, 2)] {
        tell(&store, news(owner, number, Severity::Info), at(1)).await;
        assert_eq!(receivers(&store, owner).await, ["webhook:default"]);
    }
    store.set_default_webhook(false).await.unwrap();
    tell(&store, news(&owner, 3, Severity::Critical), at(1)).await;
    assert_eq!(receivers(&store, &owner).await.len(), 1);
}

pub(crate) async fn what_waits_and_what_was_given_up_is_counted(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let hooks = [make(&store, &owner, webhook(1)).await, make(&store, &owner, webhook(2)).await];
    let counted = async |millis: i64| {
        let census = store.census(at(millis)).await.unwrap();
        (census.deliveries_waiting, census.oldest_waiting, census.deliveries_failed)
    };
    assert_eq!(counted(0).await, (0, None, 0));
    tell(&store, news(&owner, 1, Severity::Warning), at(5)).await;
    tell(&store, news(&owner, 2, Severity::Warning), at(9)).await;
    assert_eq!(counted(10).await, (4, Some(at(5)), 0));
    // What waits for a channel that is removed fails.
    store.delete_channel(owner.tenant, hooks[0].clone(), at(20)).await.unwrap();
    assert_eq!(counted(21).await, (2, Some(at(5)), 2));
    assert_eq!(counted(3_600_021).await, (2, Some(at(5)), 0), "an hour later they are no news");
}

pub(crate) async fn a_receiver_is_one_process_business_until_it_reports_or_its_time_is_over(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    make(&store, &owner, webhook(1)).await;
    tell(&store, news(&owner, 1, Severity::Warning), at(0)).await;
    assert!(turns(&store, Means::Mail, SECOND).await.is_empty());
    let [(turn, due)] = turns(&store, Means::Webhook, SECOND).await.try_into().unwrap();
    let [delivery] = due.deliveries.try_into().unwrap();
    assert_eq!((delivery.message.title.as_str(), delivery.attempts), ("alert 1", 0));
    tell(&store, news(&owner, 2, Severity::Warning), at(2 * SECOND)).await;
    assert!(turns(&store, Means::Webhook, 3 * SECOND).await.is_empty(), "somebody has the turn");
    // The holder died; another one takes over, and its late report changes nothing.
    let later = i64::try_from(LEASE.as_millis()).unwrap() + 2 * SECOND;
    let [(other, due)] = turns(&store, Means::Webhook, later).await.try_into().unwrap();
    assert_eq!(due.deliveries.len(), 2);
    let late = vec![(delivery.clone(), tried(later, 200, Next::Delivered))];
    assert!(store.report(turn, late, Then::GoOn, SIZE, at(later)).await.unwrap().deliveries.is_empty());
    assert_eq!(store.delivery(owner.tenant, delivery.id).await.unwrap().0.state, DeliveryState::Waiting);
    // What is left is given with the report, and at the end the turn is free.
    let [first, second] = due.deliveries.try_into().unwrap();
    let next =
        store.report(other.clone(), vec![(first, tried(later, 200, Next::Delivered))], Then::GoOn, SIZE, at(later));
    let next = next.await.unwrap();
    assert_eq!((next.deliveries.len(), next.deliveries[0].id, next.sent.len()), (1, second.id, 1));
    let next = store.report(other, vec![(second, tried(later, 200, Next::Delivered))], Then::GoOn, SIZE, at(later));
    assert!(next.await.unwrap().deliveries.is_empty());
    assert_eq!(store.next_due().await.unwrap(), None);
    tell(&store, news(&owner, 3, Severity::Warning), at(later)).await;
    assert_eq!(turns(&store, Means::Webhook, later).await.len(), 1);
}

pub(crate) async fn a_receiver_that_gives_no_answer_rests_and_delays_nobody_else(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    make(&store, &owner, webhook(1)).await;
    for number in 0..30 {
        tell(&store, news(&owner, number, Severity::Warning), at(0)).await;
    }
    make(&store, &owner, webhook(2)).await;
    tell(&store, news(&owner, 99, Severity::Warning), at(SECOND)).await;
    // The dead one has most of what is due, and one turn of two.
    let taken = store.take_turns(Means::Webhook, room(2), SIZE, at(2 * SECOND)).await.unwrap();
    assert_eq!(taken.iter().map(|(_, due)| due.deliveries.len()).collect::<Vec<_>>(), [10, 1]);
    let (turn, due) = taken[0].clone();
    let first = due.deliveries[0].clone();
    let report = Report { status: None, ..tried(2 * SECOND, 0, Next::At(at(7 * SECOND))) };
    let left = store
        .report(turn, vec![(first, report)], Then::RestUntil(at(60 * SECOND)), SIZE, at(3 * SECOND))
        .await
        .unwrap();
    assert!(left.deliveries.is_empty());
    assert!(turns(&store, Means::Webhook, 59 * SECOND).await.is_empty());
    assert_eq!(store.next_due().await.unwrap(), Some(at(60 * SECOND)));
    let [(_, due)] = turns(&store, Means::Webhook, 60 * SECOND).await.try_into().unwrap();
    assert_eq!((due.deliveries.len(), due.failures), (10, 1));
}

pub(crate) async fn a_tenant_has_its_share_of_turns_and_leaves_the_others_to_others(open: Open<'_>) {
    let store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    for number in 0..10 {
        make(&store, &owner, webhook(number)).await;
    }
    make(&store, &rival, webhook(20)).await;
    tell(&store, news(&owner, 1, Severity::Warning), at(0)).await;
    let whose = |taken: &[(Turn, Due)]| taken.iter().map(|(turn, _)| turn.tenant).collect::<Vec<_>>();
    let take =
        async |turns, now| store.take_turns(Means::Webhook, Room { turns, of_tenant: 3 }, SIZE, at(now)).await.unwrap();
    let slow = take(8, SECOND).await;
    assert_eq!(whose(&slow), [owner.tenant; 3]);
    assert!(take(5, 2 * SECOND).await.is_empty(), "its share is taken, in every process");
    tell(&store, news(&rival, 2, Severity::Warning), at(3 * SECOND)).await;
    assert_eq!(whose(&take(5, 3 * SECOND).await), [rival.tenant]);
    // Turns by another means are counted by themselves.
    make(&store, &owner, channel(30, Target::Mail(vec!["guard@example.com".into()]))).await;
    tell(&store, news(&owner, 3, Severity::Warning), at(4 * SECOND)).await;
    assert_eq!(turns(&store, Means::Mail, 4 * SECOND).await.len(), 1);
    // One that ends makes room for one more.
    let (turn, due) = slow[0].clone();
    let done = vec![(due.deliveries[0].clone(), tried(5 * SECOND, 200, Next::Delivered))];
    store.report(turn, done, Then::End, SIZE, at(5 * SECOND)).await.unwrap();
    assert_eq!(whose(&take(5, 5 * SECOND).await), [owner.tenant]);
}

pub(crate) async fn a_receiver_whose_turn_has_ended_waits_behind_those_that_had_none(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    make(&store, &owner, webhook(1)).await;
    for number in 0..30 {
        tell(&store, news(&owner, number, Severity::Warning), at(0)).await;
    }
    make(&store, &owner, webhook(2)).await;
    tell(&store, news(&owner, 99, Severity::Warning), at(SECOND)).await;
    let take = async |now| store.take_turns(Means::Webhook, room(1), SIZE, at(now)).await.unwrap();
    let [(turn, due)] = take(2 * SECOND).await.try_into().unwrap();
    let busy = turn.receiver.clone();
    let tries = due.deliveries.into_iter();
    let tries = tries.map(|delivery| (delivery, tried(2 * SECOND, 200, Next::Delivered))).collect();
    let left = store.report(turn, tries, Then::End, SIZE, at(3 * SECOND)).await.unwrap();
    assert!(left.deliveries.is_empty());
    assert_eq!(store.next_due().await.unwrap(), Some(at(SECOND)));
    let [(turn, due)] = take(3 * SECOND).await.try_into().unwrap();
    assert_ne!(turn.receiver, busy);
    let done = vec![(due.deliveries[0].clone(), tried(3 * SECOND, 200, Next::Delivered))];
    store.report(turn, done, Then::End, SIZE, at(3 * SECOND)).await.unwrap();
    let [(turn, due)] = take(3 * SECOND).await.try_into().unwrap();
    assert_eq!((turn.receiver, due.deliveries.len(), due.failures), (busy, 10, 0));
}

pub(crate) async fn what_failed_is_tried_again_and_every_try_is_logged(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    make(&store, &owner, webhook(1)).await;
    tell(&store, news(&owner, 1, Severity::Warning), at(0)).await;
    let mut now = 0;
    for (status, next) in [(500, Next::At(at(5 * SECOND))), (503, Next::Failed)] {
        let [(turn, due)] = turns(&store, Means::Webhook, now).await.try_into().unwrap();
        let delivery = due.deliveries[0].clone();
        assert_eq!(delivery.give_up_at, at(0) + Duration::from_secs(86_400));
        store.report(turn, vec![(delivery, tried(now, status, next))], Then::GoOn, SIZE, at(now + 1)).await.unwrap();
        now += 5 * SECOND;
    }
    assert!(turns(&store, Means::Webhook, now).await.is_empty());
    let logged = &store.list_deliveries(owner.tenant, DeliveryFilter::default(), page(10)).await.unwrap().items[0];
    assert_eq!((logged.state, logged.attempts, logged.last_status), (DeliveryState::Failed, 2, Some(503)));
    let (found, attempts) = store.delivery(owner.tenant, logged.id).await.unwrap();
    assert_eq!((found.finished_at, found.last_error.as_deref()), (Some(at(5 * SECOND + 1)), Some("answered 503")));
    let seen: Vec<_> = attempts.iter().map(|attempt| (attempt.at, attempt.status, attempt.took_ms)).collect();
    assert_eq!(seen, [(at(5 * SECOND), Some(503), 7), (at(0), Some(500), 7)]);
    // By hand it begins anew, under its id.
    let again = store.redeliver(owner.tenant, logged.id, at(now)).await.unwrap();
    assert_eq!((again.state, again.attempts, again.due_at), (DeliveryState::Waiting, 0, at(now)));
    let [(_, due)] = turns(&store, Means::Webhook, now).await.try_into().unwrap();
    assert_eq!(
        (due.deliveries[0].id, due.deliveries[0].give_up_at),
        (logged.id, at(now) + Duration::from_secs(86_400))
    );
}

pub(crate) async fn a_removed_or_changed_channel_is_what_it_is_now_and_its_secrets_sign_as_long_as_they_should(
    open: Open<'_>,
) {
    let store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    let (id, settings) = webhook(1);
    make(&store, &owner, (id.clone(), settings.clone())).await;
    let address = async |now| store.webhook_address(owner.tenant, id.to_string(), at(now)).await.unwrap();
    let secrets = |address: &Option<super::super::WebhookAddress>| address.as_ref().unwrap().secrets.clone();
    store.rotate_channel_secret(owner.tenant, id.clone(), b"second".to_vec(), at(100), at(0)).await.unwrap();
    assert_eq!(secrets(&address(99).await), [b"second".to_vec(), b"first".to_vec()]);
    assert_eq!(secrets(&address(100).await), [b"second".to_vec()]);
    for foreign in [
        store.rotate_channel_secret(rival.tenant, id.clone(), vec![1], at(1), at(1)).await.map(drop),
        store.change_channel(rival.tenant, id.clone(), settings.clone(), at(1)).await.map(drop),
        store.delete_channel(rival.tenant, id.clone(), at(1)).await,
        store.channel(rival.tenant, id.clone()).await.map(drop),
    ] {
        assert!(matches!(foreign, Err(StoreError::NotFound)), "{foreign:?}");
    }
    let mail = ChannelSettings { target: Target::Mail(vec!["a@example.com".into()]), ..settings.clone() };
    let refused = store.change_channel(owner.tenant, id.clone(), mail, at(1)).await;
    assert!(matches!(refused, Err(StoreError::NotFound)), "a channel stays of its kind: {refused:?}");
    store.disable_channel(owner.tenant, id.to_string(), "answered 410".into(), at(1)).await.unwrap();
    let off = store.channel(owner.tenant, id.clone()).await.unwrap();
    assert_eq!((off.enabled, off.disabled_reason.as_deref()), (false, Some("answered 410")));
    let on = store.change_channel(owner.tenant, id.clone(), settings, at(1)).await.unwrap();
    assert_eq!((on.enabled, on.disabled_reason), (true, None));
    tell(&store, news(&owner, 1, Severity::Warning), at(0)).await;
    store.delete_channel(owner.tenant, id.clone(), at(5)).await.unwrap();
    assert_eq!(address(0).await, None);
    let log = log(&store, &owner, DeliveryFilter::default()).await;
    assert_eq!(log, [(format!("webhook:{id}"), DeliveryState::Failed)]);
}

pub(crate) async fn a_person_is_told_by_the_means_and_at_the_hours_it_chose(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let subscription = PushSubscription {
        subscription_id: SubscriptionId::from_parts(at(0), 1),
        endpoint: "https://push.example.net/1".into(),
        p256dh: "p".into(),
        auth: "a".into(),
        label: "Phone".into(),
        created_at: at(0),
    };
    store.subscribe_push(owner.tenant, owner.key, subscription.clone()).await.unwrap();
    assert_eq!(store.preferences(owner.key).await.unwrap(), Preferences::default());
    let push = format!("push:{}", subscription.subscription_id);
    tell(&store, news(&owner, 1, Severity::Warning), at(0)).await;
    assert_eq!(receivers(&store, &owner).await, std::slice::from_ref(&push), "by default only pushes");
    let quiet = serde_json::from_str(r#"[{"from":"00:00","to":"23:00"}]"#).unwrap();
    let preferences = Preferences { mail: true, quiet_hours: Some(quiet), ..Preferences::default() };
    store.set_preferences(owner.tenant, owner.key, preferences.clone(), at(0)).await.unwrap();
    assert_eq!(store.preferences(owner.key).await.unwrap(), preferences);
    let night = "2026-11-22T12:00:00Z".parse().unwrap();
    tell(&store, news(&owner, 2, Severity::Warning), night).await;
    let of_second = DeliveryFilter { alert: Some(news(&owner, 2, Severity::Info).alert), ..DeliveryFilter::default() };
    let mail = format!("mail:{}", owner.email);
    let expected = [(mail.clone(), DeliveryState::Waiting), (push, DeliveryState::LeftOut)];
    assert_eq!(log(&store, &owner, of_second).await, expected);
    assert!(store.take_turns(Means::Mail, room(9), SIZE, night + Duration::from_secs(3600)).await.unwrap().is_empty());
    let evening = night + Duration::from_secs(11 * 3600);
    assert_eq!(store.take_turns(Means::Mail, room(9), SIZE, evening).await.unwrap().len(), 1);
    // A refusal holds until the person asks for mail again.
    store.refuse_mail(owner.tenant, owner.email.clone(), evening).await.unwrap();
    tell(&store, news(&owner, 3, Severity::Critical), night).await;
    let of_third = DeliveryFilter { alert: Some(news(&owner, 3, Severity::Info).alert), ..DeliveryFilter::default() };
    assert_eq!(log(&store, &owner, of_third).await.len(), 1, "the push only");
    store.set_preferences(owner.tenant, owner.key, preferences, at(0)).await.unwrap();
    tell(&store, news(&owner, 4, Severity::Critical), night).await;
    assert_eq!(receivers(&store, &owner).await.iter().filter(|receiver| **receiver == mail).count(), 2);
    // A browser belongs to whoever subscribed it last.
    let rival = tenant(&store, "rival").await;
    let moved = PushSubscription { subscription_id: SubscriptionId::from_parts(at(0), 2), ..subscription };
    store.subscribe_push(rival.tenant, rival.key, moved.clone()).await.unwrap();
    assert!(store.list_push_subscriptions(owner.tenant, owner.key).await.unwrap().is_empty());
    let foreign = store.unsubscribe_push(owner.tenant, owner.key, moved.subscription_id.clone(), at(1)).await;
    assert!(matches!(foreign, Err(StoreError::NotFound)));
    store.unsubscribe_push(rival.tenant, rival.key, moved.subscription_id, at(1)).await.unwrap();
}

pub(crate) async fn the_log_is_paged_filtered_and_only_a_tenants_own(open: Open<'_>) {
    let store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    let (one, two) = (make(&store, &owner, webhook(1)).await, make(&store, &owner, webhook(2)).await);
    for number in 0..5 {
        tell(&store, news(&owner, number, Severity::Warning), at(i64::try_from(number).unwrap())).await;
    }
    let [(turn, due), _] = turns(&store, Means::Webhook, 10).await.try_into().unwrap();
    let done = vec![(due.deliveries[0].clone(), tried(10, 200, Next::Delivered))];
    store.report(turn, done, Then::GoOn, SIZE, at(11)).await.unwrap();
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let request = PageRequest { before, limit: 3 };
        let page = store.list_deliveries(owner.tenant, DeliveryFilter::default(), request).await.unwrap();
        before = page.items.last().map(|logged| logged.id.0);
        seen.extend(page.items.into_iter().map(|logged| logged.id));
        if !page.more {
            break;
        }
    }
    assert!(seen.len() == 10 && seen.is_sorted_by(|a, b| a > b), "{seen:?}");
    let count = async |filter: DeliveryFilter| log(&store, &owner, filter).await.len();
    let filter = DeliveryFilter::default;
    assert_eq!(count(DeliveryFilter { channel: Some(one.to_string()), ..filter() }).await, 5);
    assert_eq!(count(DeliveryFilter { state: Some(DeliveryState::Delivered), ..filter() }).await, 1);
    let alert = Some(news(&owner, 3, Severity::Info).alert);
    assert_eq!(count(DeliveryFilter { alert, ..filter() }).await, 2);
    let state = Some(DeliveryState::Waiting);
    assert_eq!(count(DeliveryFilter { alert, channel: Some(two.to_string()), state }).await, 1);
    assert!(log(&store, &rival, filter()).await.is_empty());
    for foreign in [
        store.delivery(rival.tenant, seen[0]).await.map(drop),
        store.redeliver(rival.tenant, seen[0], at(0)).await.map(drop),
    ] {
        assert!(matches!(foreign, Err(StoreError::NotFound)), "{foreign:?}");
    }
    // Only what is finished is old.
    assert_eq!(store.forget_deliveries(clock::now(), 100).await.unwrap(), 1);
    assert_eq!(count(filter()).await, 9);
}

fn page(limit: u32) -> PageRequest {
    PageRequest { before: None, limit }
}
