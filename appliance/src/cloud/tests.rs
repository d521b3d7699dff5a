use super::*;
use crate::testing::{HttpServer, cloud_at};

#[tokio::test]
async fn a_refusal_carries_the_reason_of_the_problem_document() {
    let server = HttpServer::answering(|_| (403, r#"{"title":"Forbidden","detail":"secret is spent"}"#.to_owned()));
    let request = RenewRequest { csr_pem: String::new() };
    let error = cloud_at(&server.url()).renew("token", &request).await.unwrap_err();
    assert_eq!(error.to_string(), "the cloud answered 403 Forbidden: secret is spent");
    assert!(error.is_final());
    assert_eq!(server.requests()[0].header("authorization"), Some("Bearer token"));
}

#[tokio::test]
async fn an_outage_is_not_final_and_names_the_address() {
    let server = HttpServer::answering(|_| (503, String::new()));
    let busy = cloud_at(&server.url()).renew("t", &RenewRequest { csr_pem: String::new() }).await.unwrap_err();
    assert!(!busy.is_final());
    let gone = cloud_at("http://127.0.0.1:9").knock().await.unwrap_err();
    assert!(matches!(gone, CloudError::Unreachable { .. }));
    assert!(gone.to_string().contains("http://127.0.0.1:9/") && gone.to_string().contains("refused"), "{gone}");
}

#[tokio::test]
async fn a_clock_that_differs_from_the_clouds_is_noticed() {
    let server = HttpServer::answering(|_| (200, String::new())).with_date("Tue, 01 Jan 2030 00:00:00 GMT");
    let cloud = cloud_at(&server.url());
    assert_eq!(cloud.clock_problem(), None);
    cloud.knock().await.unwrap();
    assert!(cloud.clock_problem().unwrap().contains("behind the cloud's"), "{:?}", cloud.clock_problem());
}

#[tokio::test]
async fn another_servers_page_is_not_taken_for_an_answer() {
    let server = HttpServer::answering(|_| (200, "<html>".to_owned()));
    let error = cloud_at(&server.url()).renew("t", &RenewRequest { csr_pem: String::new() }).await.unwrap_err();
    assert!(error.to_string().contains("is this an AIVMS cloud?"), "{error}");
}

#[test]
fn the_base_address_may_have_a_path() {
    let at = |base| cloud_at(base).endpoint("api/edge/enroll").to_string();
    assert_eq!(at("https://example.com/"), "https://example.com/api/edge/enroll");
    assert_eq!(at("https://example.com/vms"), "https://example.com/vms/api/edge/enroll");
    assert_eq!(at("https://example.com/vms/"), "https://example.com/vms/api/edge/enroll");
}
