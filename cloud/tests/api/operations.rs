//! What those who run the cloud see: figures, readiness, names of requests.

use aivms_cloud::config::Secret;
use reqwest::Method;
use serde_json::json;

use crate::cloud::{Answer, Cloud};

/// Figures that dashboards and alarms are built on; `docs/guide/monitor.md` explains them.
const PROMISED: [&str; 34] = [
    "aivms_database_seconds_bucket",
    "aivms_deliveries_failed_last_hour",
    "aivms_deliveries_oldest_waiting_seconds",
    "aivms_deliveries_waiting",
    "aivms_edges",
    "aivms_edges_connected",
    "aivms_events_duplicate_total",
    "aivms_events_quarantined_total",
    "aivms_events_stored_total",
    "aivms_http_calls_refused_total",
    "aivms_http_request_duration_seconds_bucket",
    "aivms_http_requests_in_flight",
    "aivms_http_requests_total",
    "aivms_ingest_batch_messages_bucket",
    "aivms_ingest_commit_seconds_bucket",
    "aivms_ingest_failing",
    "aivms_ingest_failures_total",
    "aivms_ingest_queue_submissions",
    "aivms_ingest_wait_seconds_bucket",
    "aivms_media_received_bytes_total",
    "aivms_media_served_bytes_total",
    "aivms_mqtt_connections_total",
    "aivms_mqtt_connections_turned_away_total",
    "aivms_mqtt_handshakes_failed_total",
    "aivms_mqtt_live_messages_dropped_total",
    "aivms_mqtt_sessions",
    "aivms_mqtt_take_overs_total",
    "aivms_relay_streams",
    "aivms_tenants",
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
];

fn value(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test]
async fn figures_count_what_happened_and_name_no_customer() {
    let cloud = Cloud::start().await;
    let owner = cloud.register("umbrella").await;
    let (edge_id, _) = cloud.register_edge(&owner).await;
    cloud.get_as(&owner, &format!("/api/tenant/edges/{edge_id}")).await.assert_ok();
    for path in ["/wp-login.php", "/api/umbrella"] {
        Answer::of(cloud.request(Method::GET, path)).await.assert_problem(404, None);
    }
    let page = cloud.inside("/metrics").await;
    assert_eq!(page.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let page = page.body.as_str().unwrap();
    for name in PROMISED {
        assert!(page.lines().any(|line| line.starts_with(name)), "{name} in {page}");
    }
    for (row, number) in [
        ("aivms_tenants", 1.0),
        ("aivms_edges", 1.0),
        ("aivms_edges_connected", 0.0),
        ("aivms_deliveries_waiting", 0.0),
        (r#"aivms_http_requests_total{operation="POST /api/auth/register",status="201"}"#, 1.0),
        (r#"aivms_http_requests_total{operation="GET /api/tenant/edges/{edge_id}",status="200"}"#, 1.0),
        (r#"aivms_http_requests_total{operation="unknown",status="404"}"#, 2.0),
    ] {
        assert_eq!(value(page, row), Some(number), "{row} in {page}");
    }
    assert!(value(page, "process_resident_memory_bytes").unwrap() > 1e6);
    assert!(!page.contains("umbrella") && !page.contains(&edge_id), "{page}");
    assert!(page.ends_with("# EOF\n"));
}

#[tokio::test]
async fn figures_are_not_shown_where_people_and_edges_connect() {
    let cloud = Cloud::start().await;
    Answer::of(cloud.request(Method::GET, "/metrics")).await.assert_problem(404, None);
}

#[tokio::test]
async fn figures_are_shown_only_to_whoever_has_the_token() {
    let cloud = Cloud::with(|config| config.metrics.token = Some(Secret::new("hush-hush-hush-hush".into()))).await;
    for (token, status) in [(None, 401), (Some("hush-hush-hush-hus"), 401), (Some("hush-hush-hush-hush"), 200)] {
        assert_eq!(cloud.inside_as("/metrics", token).await.status.as_u16(), status, "{token:?}");
    }
    assert_eq!(cloud.inside("/readyz").await.status.as_u16(), 200);
}

#[tokio::test]
async fn the_cloud_is_not_ready_while_its_database_takes_no_writes_and_says_so() {
    let cloud = Cloud::start().await;
    let ready = async || Answer::of(cloud.request(Method::GET, "/readyz")).await;
    assert_eq!((ready().await.status.as_u16(), cloud.inside("/readyz").await.status.as_u16()), (200, 200));

    let hog = rusqlite::Connection::open(cloud.database()).unwrap();
    hog.execute_batch("begin immediate").unwrap();
    // What was seen a moment ago still counts; balancers must not write to the database each second.
    assert_eq!(ready().await.status.as_u16(), 200);
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    let refused = ready().await;
    refused.assert_problem(503, None);
    assert!(refused.text("detail").contains("did not take a write"), "{refused:?}");
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(cloud.inside("/readyz").await.status.as_u16(), 503);
    assert_eq!(cloud.inside("/healthz").await.status.as_u16(), 200, "the process itself is well");

    hog.execute_batch("rollback").unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    assert_eq!(ready().await.status.as_u16(), 200);
}

#[tokio::test]
async fn each_request_has_a_name_in_its_answer_and_its_problem_document() {
    let cloud = Cloud::start().await;
    let problem = cloud.post("/api/auth/login", json!({ "email": "a@example.com", "password": "x" })).await;
    let named = problem.request_id.as_ref().and_then(serde_json::Value::as_str);
    assert_eq!(named, Some(problem.header("x-request-id")));
    let well = Answer::of(cloud.request(Method::GET, "/healthz")).await;
    assert_eq!(well.header("x-request-id").len(), 32);
    assert_ne!(well.header("x-request-id"), problem.header("x-request-id"));
}

#[tokio::test]
async fn every_figure_is_explained_in_the_guide() {
    let cloud = Cloud::start().await;
    cloud.register("acme").await;
    let page = cloud.inside("/metrics").await;
    let guide = include_str!("../../../docs/guide/monitor.md");
    let mut kinds = 0;
    for line in page.body.as_str().unwrap().lines() {
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' ')) else { continue };
        let shown = if kind == "counter" { format!("`{name}_total`") } else { format!("`{name}`") };
        assert!(guide.contains(&shown), "{shown} is not in docs/guide/monitor.md");
        kinds += 1;
    }
    assert!(kinds >= 25, "{page:?}");
}

#[tokio::test]
async fn finders_of_weaknesses_learn_where_to_report_them() {
    let cloud = Cloud::start().await;
    let page = Answer::of(cloud.request(Method::GET, "/.well-known/security.txt")).await;
    let text = page.body.as_str().unwrap();
    assert!(text.starts_with("Contact: mailto:security@example.com\nExpires: 20"), "{text}");
    let silent = Cloud::with(|config| config.http.security_contact = None).await;
    Answer::of(silent.request(Method::GET, "/.well-known/security.txt")).await.assert_problem(404, None);
}

#[tokio::test]
async fn browsers_insist_on_https_also_when_a_proxy_ends_it() {
    for (url, insists) in [("https://vms.example.com", true), ("http://vms.example.com", false)] {
        let cloud = match insists {
            true => Cloud::with(|config| config.http.public_url = "https://vms.example.com".parse().ok()).await,
            false => Cloud::with(|config| config.http.public_url = "http://vms.example.com".parse().ok()).await,
        };
        let answer = Answer::of(cloud.request(Method::GET, "/healthz")).await;
        assert_eq!(answer.headers.contains_key("strict-transport-security"), insists, "{url}");
    }
}
