//! The OpenAPI document and the page that shows it.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::cloud::{Answer, Cloud};

#[tokio::test]
async fn the_document_is_the_one_in_the_repository() {
    let cloud = Cloud::start().await;
    let served = cloud.request(Method::GET, "/openapi.json").send().await.unwrap().text().await.unwrap() + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ref/openapi.json");
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, &served).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        served == kept,
        "the API has changed: look at the difference after\n    UPDATE_OPENAPI=1 cargo nextest run -p aivms-cloud the_document_is\n    git diff docs/ref/openapi.json"
    );
}

#[tokio::test]
async fn every_operation_is_described_with_its_failures() {
    let cloud = Cloud::start().await;
    let document = Answer::of(cloud.request(Method::GET, "/openapi.json")).await.body;
    let open = [
        "register",
        "login",
        "login_second_factor",
        "refresh_token",
        "request_password_reset",
        "reset_password",
        "accept_invitation",
        "start_provider_sign_in",
        "finish_provider_sign_in",
        "exchange_sign_in_code",
        "enroll_edge",
    ];
    let mut seen = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path}"));
            assert!(operation["summary"].is_string(), "{name}");
            for status in ["400", "401", "404", "405", "413", "415", "422", "429", "500", "503"] {
                let content = &operation["responses"][status]["content"];
                assert!(content["application/problem+json"].is_object(), "{name} {status}");
            }
            assert_eq!(operation["security"].is_array(), !open.contains(&name), "{name}");
            seen += 1;
        }
    }
    assert!(seen >= 14, "{seen}");
    let parameters = document["paths"]["/api/events/detections"]["get"]["parameters"].as_array().unwrap();
    let limit = parameters.iter().find(|parameter| parameter["name"] == "limit").unwrap();
    assert_eq!(limit["schema"]["maximum"].as_f64(), Some(f64::from(aivms_cloud_core::page::MAX_LIMIT)));
    let registration = &document["components"]["schemas"]["RegisterRequest"];
    assert_eq!(
        (&registration["additionalProperties"], &registration["example"]["name"]),
        (&false.into(), &"Jane Miller".into())
    );
}

#[tokio::test]
async fn the_page_may_run_its_own_scripts_and_nothing_else() {
    let cloud = Cloud::start().await;
    let answer = Answer::of(cloud.request(Method::GET, "/docs")).await;
    let policy = answer.header("content-security-policy");
    let script_rule = policy.split("; ").find(|rule| rule.starts_with("script-src")).unwrap();
    assert!(policy.starts_with("default-src 'none'") && !script_rule.contains("unsafe"), "{policy}");
    let Value::String(html) = &answer.body else { panic!("no page") };
    let (mut scripts, mut rest) = (0, html.as_str());
    while let Some((_, opened)) = rest.split_once("<script") {
        let (script, after) = opened.split_once('>').unwrap().1.split_once("</script>").unwrap();
        let hash = format!("'sha256-{}'", STANDARD.encode(Sha256::digest(script)));
        assert!(script_rule.contains(&hash), "{hash}");
        (scripts, rest) = (scripts + 1, after);
    }
    assert_eq!(scripts, 2, "a description must not end a script");
    assert_eq!(script_rule.matches("sha256-").count(), 2);
}
