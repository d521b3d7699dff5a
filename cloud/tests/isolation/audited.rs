//! Every change and every view of footage stands in the audit log: tried with every operation of the API's document,
//! and with the doors beside it. `docs/ref/audit-actions.md` is what was found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use aivms_cloud::api::OUTSIDE_THE_DOCUMENT;
use aivms_cloud::config::Secret;
use aivms_cloud::notify::unsubscribe::UnsubscribeLinks;
use aivms_cloud::store::TenantKey;
use aivms_cloud_core::audit::Action;
use reqwest::Method;
use serde_json::{Value, json};

use crate::cloud::{Cloud, Owner, SOON};
use crate::document::{Operation, operations};
use crate::party::{Caller, Party, Seen};
use crate::recipes;
use crate::stock::{one_tenant, tenant_with_events};

/// Operations that are no GET and write no entry, and why. Nothing else may be silent, and none of these may speak.
const SILENT: [(&str, &str); 6] = [
    ("refresh_token", "goes on with a session whose beginning is written; every program does it every few minutes"),
    ("begin_second_factor", "nothing counts before it is confirmed, and that is written"),
    ("back_test_rule", "tries a rule on what is stored and changes nothing"),
    ("deliver_events", "what an edge saw stands in the lists of events, with the edge and the time of arrival"),
    ("offer_media", "an edge announces a file; it stands in the lists of clips and snapshots"),
    ("send_media", "an edge sends a file; it stands in the lists of clips and snapshots"),
];

/// Operations that need a provider, which does not run beside these tests, and what they write: `tests/api/providers.rs`
/// reads it. The sign-in itself is written when its code is exchanged.
const ELSEWHERE: [(&str, Option<Action>); 3] =
    [("set_provider", Some(Action::SsoChanged)), ("start_provider_sign_in", None), ("finish_provider_sign_in", None)];

/// Doors beside the document, and what is written when somebody goes through; a new one has no entry here.
const DOORS: [(&str, Option<&str>); 17] = [
    ("/.well-known/security.txt", None),
    ("/healthz", None),
    ("/readyz", None),
    ("/openapi.json", None),
    ("/docs", None),
    ("/viewer", None),
    ("/viewer/viewer.css", None),
    ("/viewer/viewer.js", None),
    ("/viewer/player.js", None),
    ("/sign-in", None),
    ("/sign-in/sign-in.js", None),
    // Events, no pictures.
    ("/api/events/live", None),
    // The edge's own connection.
    ("/api/edge/relay", None),
    // Opens with a ticket only, and buying one is written.
    ("/api/live/stream", None),
    // Giving the link out is written, as a view; saving what it leads to is another thing.
    ("/media/{token}", Some("clip.downloaded")),
    ("/exports/{token}", Some("tenant.export_downloaded")),
    ("/api/notifications/unsubscribe", Some("mail.refused")),
];

const HEAD: &str = "\
# What the audit log is told

Every action, what it means, and the operations that write it. An action without an operation is written by the cloud
itself, by whoever has a link, or after a request that failed. No other operation changes anything or shows footage,
except those below.

This table is measured: a test carries out each operation of the document and reads the log. After a change of the API,
look at the difference after `UPDATE_AUDIT=1 cargo nextest run -p aivms-cloud --test isolation audit_log`.

| action | meaning | operations |
|---|---|---|
";

const SILENT_HEAD: &str = "
## What is not written

Reading anything but footage is not, and neither are these:

| operation | why |
|---|---|
";

/// An entry, as far as it matters here.
#[derive(Debug)]
struct Entry {
    actor: String,
    kind: String,
    action: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_and_every_view_of_footage_stands_in_the_audit_log() {
    let cloud = Cloud::start().await;
    let operations = operations(&cloud).await;
    let party = one_tenant(&cloud, "acme", &operations).await;
    let (mut written, mut faults): (BTreeMap<String, BTreeSet<String>>, Vec<String>) = Default::default();
    for operation in &operations {
        for action in carried_out(&party, operation, &mut faults).await {
            written.entry(action).or_default().insert(operation.id.clone());
        }
    }
    for (id, action) in ELSEWHERE {
        if let Some(action) = action {
            written.entry(action.as_str().to_owned()).or_default().insert(id.to_owned());
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    let known: Vec<_> = operations.iter().map(|operation| operation.id.as_str()).collect();
    let named = SILENT.iter().map(|(id, _)| id).chain(ELSEWHERE.iter().map(|(id, _)| id));
    let unknown: Vec<_> = named.filter(|id| !known.contains(id)).collect();
    assert!(unknown.is_empty(), "operations that are gone: {unknown:?}");
    for view in ["footage.viewed", "clip.viewed", "snapshot.viewed"] {
        assert!(written.contains_key(view), "no operation showed footage and wrote {view}");
    }
    compare(&table(&written));
}

/// Carries an operation out as somebody new, whose views have not been folded into earlier ones; the actions written.
async fn carried_out(party: &Party<'_>, operation: &Operation, faults: &mut Vec<String>) -> BTreeSet<String> {
    faults.extend(refused(party, operation).await);
    if ELSEWHERE.iter().any(|(id, _)| *id == operation.id) {
        return BTreeSet::new();
    }
    let mut call = recipes::call_with_success(party, operation).await;
    let caller = Party::caller(operation);
    let mut email = None;
    if matches!(caller, Caller::Person(_)) {
        if call.token.is_none() {
            call.token = Some(party.another("owner").await.1);
        }
        let person = Owner { token: call.token.clone().unwrap() };
        email = Some(party.cloud.get_as(&person, "/api/auth/me").await.text("email"));
    }
    let before = newest(party, &party.owner).await;
    let seen = party.send(caller, operation, &call).await;
    assert!(call.is_success(seen.status), "{}: {} {}\n{call:?}", operation.id, seen.status, seen.text);
    let entries = if call.apart {
        after(party, &Owner { token: seen.json()["token"].as_str().unwrap().to_owned() }, 0).await
    } else {
        after(party, &party.owner, before).await
    };
    if let Some(email) = email {
        let others: Vec<_> = entries.iter().filter(|entry| entry.kind != "user" || entry.actor != email).collect();
        if !others.is_empty() {
            faults.push(format!("{}: {email} did it, and the log says {others:?}", operation.id));
        }
    }
    faults.extend(fault(operation, &seen, &entries));
    entries.into_iter().map(|entry| entry.action).collect()
}

/// What a viewer may not do leaves no trace of having been done.
async fn refused(party: &Party<'_>, operation: &Operation) -> Option<String> {
    if operation.reads() || !matches!(Party::caller(operation), Caller::Person(_)) {
        return None;
    }
    let call = recipes::call(party, operation).await;
    let before = newest(party, &party.owner).await;
    let seen = party.send(Caller::Person("viewer"), operation, &call).await;
    if seen.status != 403 {
        return None;
    }
    let entries = after(party, &party.owner, before).await;
    (!entries.is_empty()).then(|| format!("{} was refused, and the log says {entries:?}", operation.id))
}

/// What is wrong when something that had to be written was not, or the other way round.
fn fault(operation: &Operation, seen: &Seen, entries: &[Entry]) -> Option<String> {
    let silent = SILENT.iter().any(|(id, _)| *id == operation.id);
    let must = if operation.reads() { shows_footage(seen) } else { !silent };
    if must && entries.is_empty() {
        return Some(format!(
            "{} ({} {}) wrote nothing to the audit log. Let its operation of the store append an entry in its own \
             transaction (audit::note), through store.by(doer); or say in SILENT why it needs none",
            operation.id, operation.method, operation.path
        ));
    }
    (silent && !entries.is_empty()).then(|| format!("{} is no longer silent: {entries:?}", operation.id))
}

/// Whether an answer is a picture or has a link to a file.
fn shows_footage(seen: &Seen) -> bool {
    let kind = seen.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.starts_with("image/") || kind.starts_with("video/") || seen.text.contains("/media/")
}

async fn newest(party: &Party<'_>, reader: &Owner) -> u64 {
    let page = party.cloud.get_as(reader, "/api/audit?limit=1").await;
    page.body["items"][0]["seq"].as_u64().unwrap_or(0)
}

/// The entries after a place.
async fn after(party: &Party<'_>, reader: &Owner, before: u64) -> Vec<Entry> {
    let page = party.cloud.get_as(reader, "/api/audit?limit=50").await;
    let items = page.body["items"].as_array().unwrap_or_else(|| panic!("{page:?}")).iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let entry = |item: &Value| Entry {
        actor: text(&item["actor_id"]),
        kind: text(&item["actor_kind"]),
        action: text(&item["action"]),
    };
    let entries = items.filter(|item| item["seq"].as_u64().unwrap() > before).map(entry);
    // An export that an operation before asked for ends when it is ready.
    entries.filter(|entry| (&*entry.kind, &*entry.action) != ("system", "tenant.export_finished")).collect()
}

fn table(written: &BTreeMap<String, BTreeSet<String>>) -> String {
    let mut table = HEAD.to_owned();
    for action in Action::ALL {
        let by = written.get(action.as_str()).into_iter().flatten();
        let by: Vec<_> = by.map(|operation| format!("`{operation}`")).collect();
        let by = if by.is_empty() { "–".to_owned() } else { by.join(", ") };
        writeln!(table, "| `{action}` | {} | {by} |", action.meaning()).unwrap();
    }
    table.push_str(SILENT_HEAD);
    for (operation, why) in SILENT {
        writeln!(table, "| `{operation}` | {why} |").unwrap();
    }
    table
}

fn compare(table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ref/audit-actions.md");
    if std::env::var_os("UPDATE_AUDIT").is_some() {
        std::fs::write(&path, table).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let new: Vec<_> = table.lines().filter(|line| !kept.contains(*line)).collect();
    assert!(
        table == kept,
        "what the audit log is told has changed: {new:#?}\nlook at the difference after\n    \
         UPDATE_AUDIT=1 cargo nextest run -p aivms-cloud --test isolation audit_log\n    \
         git diff docs/ref/audit-actions.md"
    );
}

#[tokio::test]
async fn going_through_a_door_beside_the_document_stands_in_the_audit_log() {
    let cloud = Cloud::start().await;
    let party = tenant_with_events(&cloud, "acme").await;
    for path in OUTSIDE_THE_DOCUMENT {
        let door = DOORS.iter().find(|(known, _)| *known == path);
        let (_, action) = door.unwrap_or_else(|| panic!("{path} is a new door: say in DOORS what is written"));
        let Some(action) = action else { continue };
        let request = match *action {
            "clip.downloaded" => {
                let clip = cloud.get_as(&party.owner, &format!("/api/clips/{}", party.thing("clip_id"))).await;
                cloud.request(Method::GET, &format!("{}?download=1", clip.text("url")))
            }
            "tenant.export_downloaded" => cloud.request(Method::GET, &export_link(&party).await),
            _ => cloud.request(Method::POST, &unsubscribe_link(&cloud)),
        };
        let before = newest(&party, &party.owner).await;
        let seen = Seen::of(request).await;
        assert_eq!(seen.status, 200, "{path}: {}", seen.text);
        let entries = after(&party, &party.owner, before).await;
        let is_it = |entry: &Entry| entry.action == *action && entry.kind == "link";
        assert!(entries.iter().any(is_it), "{path}: {entries:?}");
    }
}

/// The link to an export of the tenant, once that is written.
async fn export_link(party: &Party<'_>) -> String {
    let (cloud, owner) = (party.cloud, &party.owner);
    let made = cloud.post_as(owner, "/api/tenant/exports", json!({})).await;
    let path = format!("/api/tenant/exports/{}", made.text("export_id"));
    let finished = async {
        loop {
            let export = cloud.get_as(owner, &path).await;
            if let Some(url) = export.body["url"].as_str() {
                return url.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(SOON, finished).await.expect("an export in time")
}

/// The link that a mail to an address of the first tenant has.
fn unsubscribe_link(cloud: &Cloud) -> String {
    let secret = std::fs::read_to_string(cloud.dir.path().join("cloud.db.d/jwt-secret")).unwrap();
    let links = UnsubscribeLinks::new(&Secret::new(secret.trim().into()));
    let tenant: TenantKey = serde_json::from_value(json!(1)).unwrap();
    let link = links.link(&"https://vms.example.com".parse().unwrap(), tenant, "desk@example.com").unwrap();
    link.as_str().trim_start_matches("https://vms.example.com").to_owned()
}

#[tokio::test]
async fn a_person_who_is_locked_out_is_told_of_once() {
    let cloud = Cloud::start().await;
    let party = Party::new(&cloud, "acme").await;
    let email = format!("owner@{}.example", party.marker);
    for _ in 0..14 {
        cloud.post("/api/auth/login", json!({ "email": email, "password": "not the password" })).await;
    }
    // Written after the answer.
    let told = async {
        loop {
            let entries = after(&party, &party.owner, 0).await;
            let count = |action: &str| entries.iter().filter(|entry| entry.action == action).count();
            if count("user.sign_in_failed") == 10 && count("user.locked_out") > 0 {
                break count("user.locked_out");
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    assert_eq!(tokio::time::timeout(crate::cloud::SOON, told).await.unwrap(), 1);
}
