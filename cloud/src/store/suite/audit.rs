//! The audit log: a whole chain whatever happens at once, and every change behind its back found.

use std::time::Duration;

use aivms_cloud_core::audit::{Action, Actor, Finding, Flaw, Head};
use aivms_cloud_core::notify::id::ChannelId;
use aivms_cloud_core::rules::{Kind, Rule};
use aivms_contract::alert::Severity;
use serde_json::{Value, json};

use super::super::sql::values;
use super::super::{
    AuditFilter, ChannelSettings, DesiredChange, Doer, NewAudit, RuleChange, SharedStore, StoreError, Target,
    TenantKey, User, WebhookTarget, audit,
};
use super::{Open, at, edge, tenant};

fn entry(owner: &User, action: Action, subject: &str, millis: i64) -> NewAudit {
    NewAudit {
        tenant: owner.tenant,
        actor: Actor::from(owner),
        address: Some("192.0.2.7".into()),
        action,
        subject: Some(subject.into()),
        detail: json!({ "z": 1, "a": "ü\n" }),
        at: at(millis),
    }
}

async fn actions(store: &SharedStore, tenant: TenantKey) -> Vec<String> {
    let all = store.audit_after(tenant, AuditFilter::default(), 0, 1_000).await.unwrap();
    all.into_iter().map(|sealed| sealed.entry.action).collect()
}

async fn findings(store: &SharedStore, tenant: TenantKey) -> Vec<Finding> {
    store.verify_audit(tenant, None).await.unwrap().findings
}

async fn tamper(store: &SharedStore, sql: &'static str) {
    assert_eq!(store.write(move |transaction| transaction.execute(sql, &[])).await.unwrap(), 1);
}

pub(crate) async fn entries_appended_at_once_make_one_whole_chain_per_tenant(open: Open<'_>) {
    let store = open();
    let (acme, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    let mut tasks = Vec::new();
    for number in 0..40 {
        let owner = if number % 2 == 0 { &acme } else { &rival };
        let (store, entry) = (store.clone(), entry(owner, Action::RuleChanged, &format!("rule {number}"), number));
        tasks.push(tokio::spawn(async move { store.audit(entry).await.unwrap() }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    for owner in [&acme, &rival] {
        let report = store.verify_audit(owner.tenant, None).await.unwrap();
        // The registration is the first entry.
        assert_eq!((report.entries, report.head.seq, report.findings), (21, 21, vec![]));
    }
}

pub(crate) async fn an_entry_stands_if_and_only_if_its_change_does(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let told = entry(&owner, Action::RuleChanged, "rule", 1);
    let failed: Result<(), _> = store
        .write(move |transaction| {
            audit::append(transaction, &told)?;
            Err(StoreError::NotFound)
        })
        .await;
    assert!(failed.is_err());
    assert_eq!(actions(&store, owner.tenant).await, ["tenant.registered"]);
    let nobody = NewAudit { tenant: TenantKey(99), ..entry(&owner, Action::RuleChanged, "rule", 1) };
    assert!(matches!(store.audit(nobody).await, Err(StoreError::NotFound)));
}

pub(crate) async fn what_is_done_to_edges_is_told_with_who_did_it(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let by = Doer { actor: Actor::from(&owner), address: Some("192.0.2.7".into()) };
    let made = edge(&store, &owner, "edge_a").await;
    let certificate = super::edge_certificate(&owner, &made.edge_id, 1);
    store.enroll_edge(&made.edge_id, [1; 32], certificate, at(1)).await.unwrap();
    store.by(&by).rotate_edge_secret(owner.tenant, &made.edge_id, [2; 32], at(2)).await.unwrap();
    store.by(&by).revoke_edge(owner.tenant, &made.edge_id, at(3)).await.unwrap();
    assert!(store.by(&by).revoke_edge(owner.tenant, &"edge_none".parse().unwrap(), at(3)).await.is_err());
    let all = store.audit_after(owner.tenant, AuditFilter::default(), 1, 100).await.unwrap();
    let told: Vec<_> = all.iter().map(|row| (row.entry.action.as_str(), row.entry.actor.id.as_str())).collect();
    let expected = [
        ("edge.registered", ""),
        ("edge.enrolled", "edge_a"),
        ("edge.secret_rotated", "owner@acme.example"),
        ("edge.revoked", "owner@acme.example"),
    ];
    assert_eq!(told, expected);
    assert!(all.iter().all(|row| row.entry.subject.as_deref() == Some("edge_a")));
    assert_eq!(all[3].entry.address.as_deref(), Some("192.0.2.7"));
    assert_eq!(findings(&store, owner.tenant).await, []);
}

pub(crate) async fn a_row_changed_behind_the_log_is_named(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    for number in 2..=6 {
        store.audit(entry(&owner, Action::RuleChanged, "rule", number)).await.unwrap();
    }
    let before = store.verify_audit(owner.tenant, None).await.unwrap();
    assert_eq!(before.findings, []);
    let found = |seq, flaw| Finding { seq, flaw };
    tamper(&store, "update audit_entries set actor_name = 'Somebody else' where seq = 3").await;
    assert_eq!(findings(&store, owner.tenant).await, [found(3, Flaw::Edited)]);
    tamper(&store, "delete from audit_entries where seq = 3").await;
    assert_eq!(findings(&store, owner.tenant).await, [found(3, Flaw::Missing), found(4, Flaw::Unlinked)]);
    tamper(&store, "update audit_entries set seq = 3 where seq = 6").await;
    let seqs: Vec<_> = findings(&store, owner.tenant).await.iter().map(|finding| finding.seq).collect();
    assert!(seqs.contains(&3) && seqs.contains(&6), "{seqs:?}");
    // The end cut off, with its head: only who noted the head finds that.
    tamper(&store, "delete from audit_entries where seq = 3").await;
    let noted = Some(Head { seq: 6, hash: before.head.hash });
    let report = store.verify_audit(owner.tenant, noted).await.unwrap();
    assert!(report.findings.contains(&found(6, Flaw::Missing)), "{:?}", report.findings);
}

pub(crate) async fn viewing_the_same_again_makes_no_further_entry_for_a_while(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let span = Duration::from_millis(600);
    let view = async |subject, millis| {
        store.audit_views(vec![entry(&owner, Action::FootageViewed, subject, millis)], span).await.unwrap();
    };
    view("edge_a/door", 0).await;
    view("edge_a/door", 599).await;
    view("edge_a/yard", 599).await;
    view("edge_a/door", 600).await;
    view("edge_a/door", 601).await;
    let all = store.audit_after(owner.tenant, AuditFilter::default(), 1, 100).await.unwrap();
    let told: Vec<_> = all.iter().map(|row| (row.entry.subject.clone().unwrap(), row.entry.at)).collect();
    let expected = [("edge_a/door", 0), ("edge_a/yard", 599), ("edge_a/door", 600)];
    assert_eq!(told, expected.map(|(subject, millis)| (subject.to_owned(), at(millis))));
}

pub(crate) async fn entries_are_found_by_each_filter_page_by_page_and_by_their_tenant_only(open: Open<'_>) {
    let store = open();
    let (owner, rival) = (tenant(&store, "acme").await, tenant(&store, "rival").await);
    for number in 1..=9 {
        let action = if number % 3 == 0 { Action::RuleDeleted } else { Action::RuleChanged };
        let mut new = entry(&owner, action, &format!("rule {}", number % 2), number);
        if number > 5 {
            new.actor = Actor::system();
        }
        store.audit(new).await.unwrap();
    }
    let listed = async |filter: AuditFilter| -> Vec<u64> {
        let (mut seqs, mut before) = (Vec::new(), None);
        loop {
            let page = store.audit_entries(owner.tenant, filter.clone(), before, 2).await.unwrap();
            seqs.extend(page.items.iter().map(|entry| entry.seq));
            before = seqs.last().copied();
            if !page.more {
                return seqs;
            }
        }
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(listed(AuditFilter::default()).await, (1..=10).rev().collect::<Vec<_>>());
    assert_eq!(listed(AuditFilter { action: text("rule.deleted"), ..AuditFilter::default() }).await, [10, 7, 4]);
    let of_owner = AuditFilter { actor: text("owner@acme.example"), ..AuditFilter::default() };
    assert_eq!(listed(of_owner).await, [6, 5, 4, 3, 2, 1]);
    assert_eq!(listed(AuditFilter { subject: text("rule 0"), ..AuditFilter::default() }).await, [9, 7, 5, 3]);
    let within = AuditFilter { start: Some(at(3)), end: Some(at(6)), ..AuditFilter::default() };
    assert_eq!(listed(within).await, [6, 5, 4]);
    assert_eq!(actions(&store, rival.tenant).await, ["tenant.registered"]);
}

pub(crate) async fn details_are_kept_as_they_were_hashed(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let mut new = entry(&owner, Action::RuleChanged, "nul \0 and \u{1F600}", 1);
    new.detail = json!({ "b": "\0", "a": [1.5, null] });
    store.audit(new.clone()).await.unwrap();
    new.detail = Value::Null;
    store.audit(new.clone()).await.unwrap();
    new.detail = json!("plain");
    store.audit(new).await.unwrap();
    assert_eq!(findings(&store, owner.tenant).await, []);
    let all = store.audit_after(owner.tenant, AuditFilter::default(), 1, 100).await.unwrap();
    let details: Vec<_> = all.iter().map(|row| row.entry.detail.as_str()).collect();
    assert_eq!(details, [r#"{"a":[1.5,null],"b":"\u0000"}"#, "{}", r#"{"value":"plain"}"#]);
    let kept: Option<i64> = store
        .lookup(move |transaction| {
            let sql = "select count(*) from audit_entries where tenant = ?1";
            transaction.first(sql, &values![owner.tenant.0], |row| row.get(0))
        })
        .await
        .unwrap();
    assert_eq!(kept, Some(4));
}

pub(crate) async fn what_changes_nothing_writes_nothing(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let edge = edge(&store, &owner, "edge_a").await;
    let rule = Rule::new("Lobby", Kind::Zone, None);
    let made = store.create_rule(owner.tenant, owner.key, rule.clone(), at(1)).await.unwrap().rule_id;
    let before = actions(&store, owner.tenant).await;
    assert_eq!(before.last().unwrap(), "rule.created");
    let same = store.change_edge(owner.tenant, &edge.edge_id, Some("edge_a".into()), Some(vec![]), at(2)).await;
    assert_eq!(same.unwrap().edge.name, "edge_a");
    let stale = store.change_rule(owner.tenant, owner.key, made, 7, rule, at(2)).await.unwrap();
    assert!(matches!(stale, RuleChange::Stale(1)));
    assert!(matches!(store.delete_rule(owner.tenant, made, 7, at(2)).await.unwrap(), RuleChange::Stale(1)));
    let stale = store.change_desired(owner.tenant, &edge.edge_id, 7, Default::default(), owner.key, at(2)).await;
    assert!(matches!(stale.unwrap(), DesiredChange::Stale(0)));
    store.refuse_mail(owner.tenant, "desk@example.com".into(), at(3)).await.unwrap();
    store.refuse_mail(owner.tenant, "desk@example.com".into(), at(4)).await.unwrap();
    let after = actions(&store, owner.tenant).await;
    assert_eq!(after[before.len()..], ["mail.refused"]);
}

pub(crate) async fn an_entry_about_a_webhook_names_its_host_and_no_more(open: Open<'_>) {
    let store = open();
    let owner = tenant(&store, "acme").await;
    let url = "https://robot:hunter2@hooks.example.com/T0/secret?key=hunter3".to_owned();
    let target = Target::Webhook(WebhookTarget { url });
    let settings = ChannelSettings { name: "Hook".into(), target, least_severity: Severity::Info, enabled: true };
    let id = ChannelId::from_parts(at(0), 1);
    store.create_channel(owner.tenant, id.clone(), settings, Some(b"sealed".to_vec()), at(1)).await.unwrap();
    store.rotate_channel_secret(owner.tenant, id.clone(), b"again".to_vec(), at(9), at(2)).await.unwrap();
    store.disable_channel(owner.tenant, id.to_string(), "answered 410".into(), at(3)).await.unwrap();
    store.disable_channel(owner.tenant, id.to_string(), "answered 410".into(), at(4)).await.unwrap();
    store.delete_channel(owner.tenant, id.clone(), at(5)).await.unwrap();
    let entries = store.audit_after(owner.tenant, AuditFilter::default(), 1, 10).await.unwrap();
    let told: Vec<_> =
        entries.iter().map(|sealed| (sealed.entry.action.as_str(), sealed.entry.detail.as_str())).collect();
    let is = |enabled| format!(r#"{{"enabled":{enabled},"kind":"webhook","name":"Hook","to":"hooks.example.com"}}"#);
    let expected = [
        ("channel.created", is(true)),
        ("channel.secret_rotated", is(true)),
        ("channel.disabled", r#"{"reason":"answered 410"}"#.to_owned()),
        ("channel.deleted", is(false)),
    ];
    assert_eq!(told, expected.each_ref().map(|(action, detail)| (*action, detail.as_str())));
    assert!(entries.iter().all(|sealed| sealed.entry.subject.as_deref() == Some(id.as_str())));
}
