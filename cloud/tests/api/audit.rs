//! The audit log over HTTP: what was done stands in it, and what was done to it is found.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::cloud::{Answer, Cloud, Owner, PASSWORD, SOON};

async fn log(cloud: &Cloud, owner: &Owner, query: &str) -> Vec<Value> {
    let answer = cloud.get_as(owner, &format!("/api/audit?{query}")).await;
    answer.assert_ok();
    answer.body["items"].as_array().unwrap().clone()
}

fn actions(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["action"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn sign_ins_and_changes_are_told_with_who_and_from_where() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    let login = |password: &str| json!({ "email": "owner@acme.example", "password": password });
    cloud.post("/api/auth/login", login(PASSWORD)).await.assert_ok();
    cloud.post("/api/auth/login", login("something else")).await.assert_problem(401, None);
    // A failed sign-in is told after its answer.
    let failed = async {
        while log(&cloud, &owner, "action=user.sign_in_failed").await.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, failed).await.unwrap();
    let (edge_id, _) = cloud.register_edge(&owner).await;
    cloud.post_as(&owner, &format!("/api/tenant/edges/{edge_id}/revoke"), json!({})).await.assert_ok();
    cloud.post_as(&owner, "/api/tenant/operators", json!({ "name": "Night desk" })).await.assert_ok();
    let entries = log(&cloud, &owner, "").await;
    let expected = [
        "operator.created",
        "edge.revoked",
        "edge.registered",
        "user.sign_in_failed",
        "user.signed_in",
        // Who registers is signed in.
        "user.signed_in",
        "tenant.registered",
    ];
    assert_eq!(actions(&entries), expected);
    for entry in &entries {
        assert_eq!((&entry["actor_id"], &entry["address"]), (&json!("owner@acme.example"), &json!("127.0.0.1")));
    }
    assert_eq!(entries[1]["subject_id"], edge_id);
    let text = serde_json::to_string(&entries).unwrap();
    assert!(!text.contains("PRIVATE") && !text.contains("argon2") && !text.contains(PASSWORD), "{text}");
}

#[tokio::test]
async fn pages_joined_are_the_whole_log_and_filters_narrow_it() {
    let cloud = Cloud::start().await;
    let (owner, rival) = (cloud.register("acme").await, cloud.register("rival").await);
    for _ in 0..4 {
        cloud.register_edge(&owner).await;
    }
    let (mut seqs, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = cloud.get_as(&owner, &format!("/api/audit?limit=2{cursor}")).await;
        seqs.extend(page.body["items"].as_array().unwrap().iter().map(|entry| entry["seq"].as_u64().unwrap()));
        let Some(next) = page.body["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seqs, [6, 5, 4, 3, 2, 1]);
    assert_eq!(log(&cloud, &owner, "action=edge.registered&actor_id=owner@acme.example").await.len(), 4);
    assert_eq!(log(&cloud, &owner, "end_time=2020-01-01").await.len(), 0);
    assert_eq!(log(&cloud, &rival, "").await.len(), 2);
    assert_eq!(log(&cloud, &owner, "action=user.flew").await.len(), 0);
    cloud.get_as(&owner, "/api/audit?action=FLEW").await.assert_problem(400, Some("action"));
    cloud.get_as(&owner, "/api/audit?cursor=AAAA").await.assert_problem(400, Some("cursor"));
}

#[tokio::test]
async fn a_changed_log_is_found_and_a_noted_head_finds_one_computed_anew() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    cloud.register_edge(&owner).await;
    let whole = cloud.get_as(&owner, "/api/audit/verify").await;
    assert_eq!((&whole.body["valid"], &whole.body["entries"]), (&json!(true), &json!(3)), "{whole:?}");
    let noted = format!("noted_head={}", whole.text("head"));
    cloud.register_edge(&owner).await;
    let later = cloud.get_as(&owner, &format!("/api/audit/verify?{noted}")).await;
    assert_eq!(later.body["valid"], true, "{later:?}");
    let other = format!("noted_head=3:{}", "0".repeat(64));
    let other = cloud.get_as(&owner, &format!("/api/audit/verify?{other}")).await;
    assert_eq!(other.body["findings"][0]["flaw"], "not_the_head", "{other:?}");
    cloud.sql("update audit_entries set address = '10.0.0.1' where seq = 2");
    let edited = cloud.get_as(&owner, "/api/audit/verify").await;
    assert_eq!(edited.body["valid"], false);
    assert_eq!(
        (&edited.body["findings"][0]["seq"], &edited.body["findings"][0]["flaw"]),
        (&json!(2), &json!("edited"))
    );
    cloud.get_as(&owner, "/api/audit/verify?noted_head=1").await.assert_problem(400, Some("noted_head"));
}

#[tokio::test]
async fn the_export_holds_every_entry_and_no_formula() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    cloud.post_as(&owner, "/api/tenant/edges", json!({ "name": "Gate" })).await.assert_ok();
    cloud.sql("update users set name = '=HYPERLINK(\"http://evil\")'");
    cloud.post_as(&owner, "/api/tenant/operators", json!({ "name": "Desk, \"night\"" })).await.assert_ok();
    let answer = Answer::of(cloud.request(Method::GET, "/api/audit/export").bearer_auth(&owner.token)).await;
    assert_eq!(answer.header("content-type"), "text/csv");
    assert!(answer.header("content-disposition").contains("acme-audit.csv"));
    let Value::String(table) = &answer.body else { panic!("{answer:?}") };
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let rows: Vec<_> = reader.records().collect::<Result<_, _>>().unwrap();
    let actions: Vec<_> = rows.iter().map(|row| row[6].to_owned()).collect();
    assert_eq!(
        actions,
        ["tenant.registered", "user.signed_in", "edge.registered", "operator.created", "audit.exported"]
    );
    assert!(rows.iter().flatten().all(|cell| !cell.starts_with(['=', '+', '-', '@'])));
    assert_eq!(&rows[3][4], "'=HYPERLINK(\"http://evil\")");
    assert!(rows[3][8].contains("Desk, "));
}

#[tokio::test]
async fn only_an_admin_reads_the_log() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("acme").await;
    cloud.sql("update users set role = 'operator'");
    for path in ["/api/audit", "/api/audit/verify", "/api/audit/export"] {
        assert_eq!(cloud.get_as(&owner, path).await.status, StatusCode::FORBIDDEN, "{path}");
    }
}
