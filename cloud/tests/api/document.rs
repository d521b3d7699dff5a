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

/// Operations that need no token of a person or an edge.
const OPEN: [&str; 15] = [
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
    "ask_to_end_mails",
    "end_mails",
    "show_media",
    "download_tenant_export",
];

#[tokio::test]
async fn every_operation_is_described_with_its_failures() {
    let document = document().await;
    let operations = operations(&document);
    assert!(operations.len() >= 132, "{}", operations.len());
    for (name, operation) in operations {
        assert!(operation["summary"].is_string(), "{name}");
        assert_eq!(operation["security"].is_array(), !OPEN.contains(&name), "{name}");
        assert!(["500", "503"].iter().all(|status| operation["responses"][status].is_object()), "{name}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            let response = resolved(&document, response);
            assert!(response["description"].as_str().is_some_and(|text| text.len() > 1), "{name} {status}");
            // A range that a file has not is answered without a body.
            if status.as_str() >= "400" && status != "416" {
                let problem = &response["content"]["application/problem+json"];
                assert_eq!(problem["example"]["status"].to_string(), *status, "{name}");
                let schema = resolved(&document, &problem["schema"]);
                assert_eq!(fault(&document, schema, &problem["example"]), None, "{name} {status}");
            }
        }
    }
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
async fn an_operation_lists_no_failure_that_it_can_not_answer() {
    let document = document().await;
    let failures = |method: &str, path: &str| -> Vec<String> {
        let responses = document["paths"][path][method]["responses"].as_object().unwrap();
        responses.keys().filter(|status| status.as_str() >= "400").cloned().collect()
    };
    assert_eq!(failures("get", "/api/auth/me"), ["400", "401", "429", "500", "503"]);
    assert_eq!(failures("get", "/api/events/alerts"), ["400", "401", "403", "429", "500", "503"]);
    assert_eq!(failures("delete", "/api/clips/{clip_id}/lock"), ["400", "401", "403", "404", "429", "500", "503"]);
    assert_eq!(failures("post", "/api/edge/renew"), ["400", "401", "413", "415", "422", "500", "503"]);
    let cameras = failures("get", "/api/edges/{edge_id}/cameras");
    assert_eq!(cameras, ["400", "401", "403", "404", "409", "429", "500", "503", "504"]);
}

#[tokio::test]
async fn every_body_has_an_example_that_its_schema_allows() {
    let document = document().await;
    let (mut without, mut wrong) = (Vec::new(), Vec::new());
    for (name, operation) in operations(&document) {
        let responses = operation["responses"].as_object().unwrap().iter();
        let answers = responses.filter(|(status, _)| status.starts_with('2')).map(|(_, response)| response);
        for body in answers.chain([&operation["requestBody"]]) {
            for (kind, content) in body["content"].as_object().into_iter().flatten() {
                // Nobody reads a picture or a film in a document.
                if ["image/jpeg", "video/mp4", "application/x-tar"].contains(&kind.as_str()) {
                    continue;
                }
                let schema = resolved(&document, &content["schema"]);
                match content.get("example").or(schema.get("example")) {
                    Some(example) => wrong.extend(fault(&document, schema, example).map(|fault| (name, fault))),
                    None => without.push(format!("{name} {kind}")),
                }
            }
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        if let Some(example) = schema.get("example") {
            wrong.extend(fault(&document, schema, example).map(|fault| (&**name, fault)));
        }
    }
    assert!(without.is_empty(), "without an example: {without:#?}");
    let hint = "set the member in cloud/src/api/docs/examples.json";
    assert!(wrong.is_empty(), "examples that are not what their schemas say ({hint}): {wrong:#?}");
}

#[tokio::test]
async fn the_feed_and_the_links_are_described_and_take_what_is_added_on_their_way() {
    let cloud = Cloud::start().await;
    let document = document().await;
    for (method, path) in [
        ("get", "/api/events/live"),
        ("get", "/api/notifications/unsubscribe"),
        ("post", "/api/notifications/unsubscribe"),
        ("get", "/media/{token}"),
        ("get", "/exports/{token}"),
    ] {
        assert!(document["paths"][path][method]["summary"].is_string(), "{method} {path}");
        let path = format!("{}?utm_source=mail", path.replace("{token}", "x"));
        let answer = Answer::of(cloud.request(method.to_uppercase().parse().unwrap(), &path)).await;
        assert!([401, 404].contains(&answer.status.as_u16()), "{path}: {}", answer.status);
    }
    let described = document["info"]["description"].as_str().unwrap();
    assert!(["/api/live/stream", "/api/edge/relay"].iter().all(|path| described.contains(path)));
}

async fn document() -> Value {
    let cloud = Cloud::start().await;
    Answer::of(cloud.request(Method::GET, "/openapi.json")).await.body
}

/// All operations with their names.
fn operations(document: &Value) -> Vec<(&str, &Value)> {
    let paths = document["paths"].as_object().unwrap().values();
    let operations = paths.flat_map(|methods| methods.as_object().unwrap().values());
    operations.map(|operation| (operation["operationId"].as_str().unwrap(), operation)).collect()
}

/// What a reference leads to, or what is no reference.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(place) => document.pointer(place.trim_start_matches('#')).unwrap_or_else(|| panic!("{place}")),
        None => value,
    }
}

/// What of `value` is not as `schema` says, for the words that our schemas have.
fn fault(document: &Value, schema: &Value, value: &Value) -> Option<String> {
    let schema = resolved(document, schema);
    if value.is_null() && schema["nullable"] == true {
        return None;
    }
    let parts = schema["allOf"].as_array().into_iter().flatten();
    let is_type = match schema["type"].as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => true,
    };
    if !is_type || !is_within(schema, value) {
        return Some(format!("{value} is not {schema}"));
    }
    let whole = parts.filter_map(|part| fault(document, part, value));
    let items = value.as_array().into_iter().flatten();
    let items = items.filter_map(|item| fault(document, schema.get("items")?, item));
    whole.chain(items).chain(fault_of_members(document, schema, value)).next()
}

/// Whether a value that has the type of its schema keeps its bounds.
fn is_within(schema: &Value, value: &Value) -> bool {
    let bound = |name: &str| schema[name].as_f64();
    let keeps = |size: f64, least: &str, most: &str| {
        bound(least).is_none_or(|least| size >= least) && bound(most).is_none_or(|most| size <= most)
    };
    match value {
        Value::String(text) => {
            let fits = |pattern: &str| regex::Regex::new(pattern).unwrap().is_match(text);
            let is_listed = schema["enum"].as_array().is_none_or(|all| all.contains(value));
            let is_time = schema["format"] != "date-time" || text.ends_with('Z') && text.len() == 24;
            let length = f64::from(u32::try_from(text.chars().count()).unwrap());
            let is_long = keeps(length, "minLength", "maxLength");
            is_listed && is_time && is_long && schema["pattern"].as_str().is_none_or(fits)
        }
        Value::Number(number) => keeps(number.as_f64().unwrap(), "minimum", "maximum"),
        Value::Array(items) => keeps(f64::from(u32::try_from(items.len()).unwrap()), "minItems", "maxItems"),
        _ => true,
    }
}

fn fault_of_members(document: &Value, schema: &Value, value: &Value) -> Option<String> {
    let members = value.as_object()?;
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let missing = required.filter(|name| !members.contains_key(*name)).map(|name| format!("{name} is missing"));
    let wrong = members.iter().filter_map(|(name, value)| match schema["properties"].get(name) {
        Some(schema) => Some(format!("{name}: {}", fault(document, schema, value)?)),
        None if schema["properties"].is_object() => Some(format!("{name} is not of the schema")),
        None => None,
    });
    missing.chain(wrong).next()
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
