//! The API's document, as the running cloud serves it.

use std::collections::BTreeSet;

use aivms_cloud::api::OUTSIDE_THE_DOCUMENT;
use reqwest::Method;
use serde_json::Value;

use crate::cloud::{Answer, Cloud};

/// Parameters and members that name nothing of a tenant's. Whatever is not here must be among a tenant's things.
const PLAIN: &[&str] = &[
    "If-Match",
    "active",
    "acknowledged",
    "assigned_to_me",
    "Idempotency-Key",
    "action",
    "class",
    "command",
    "code",
    "code_challenge",
    "cursor",
    "end_time",
    "error",
    "event_type",
    "format",
    "from",
    "group_by",
    "hour",
    "iss",
    "kind",
    "label",
    "limit",
    "min_confidence",
    "noted_head",
    "offset",
    "preview",
    "severity",
    "start_time",
    "state",
    "tenant",
    "status",
    "time_zone",
    "to",
    "tz",
    "version",
    "wait_s",
    "wait_seconds",
];

/// One operation.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub id: String,
    pub method: Method,
    pub path: String,
    /// Names of its parameters, and where they stand: `path`, `query`, `header`.
    pub parameters: Vec<(String, String)>,
    /// Members of its body, at any depth, that name something: `edge_id`, `camera_ids`.
    pub named_in_body: Vec<String>,
    /// The security schemes that are good for it; none for an operation that everybody may call.
    pub schemes: Vec<String>,
    /// Whether it answers that it has made something (201).
    pub makes: bool,
}

/// All operations, those that make something first, and those that end something last; without the doors, which are
/// gone through in `doors.rs`.
pub(crate) async fn operations(cloud: &Cloud) -> Vec<Operation> {
    let document = Answer::of(cloud.request(Method::GET, "/openapi.json")).await.body;
    let mut operations = Vec::new();
    let paths = document["paths"].as_object().unwrap().iter();
    for (path, methods) in paths.filter(|(path, _)| !OUTSIDE_THE_DOCUMENT.contains(&path.as_str())) {
        for (method, operation) in methods.as_object().unwrap() {
            operations.push(read(&document, path, method, operation));
        }
    }
    assert!(operations.len() >= 27, "only {} operations in the document", operations.len());
    operations.sort_by_key(|operation| (rank(operation), operation.path.clone()));
    operations
}

impl Operation {
    /// Parameters that name things, and where they stand.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters.iter().filter(|(name, _)| !PLAIN.contains(&&**name)).map(|(n, place)| (&**n, &**place))
    }

    /// Whether it only reads.
    pub(crate) fn reads(&self) -> bool {
        self.method == Method::GET
    }
}

fn rank(operation: &Operation) -> u8 {
    let depth = operation.path.matches('{').count();
    match operation.method {
        Method::POST if depth == 0 => 0,
        Method::DELETE => 3,
        Method::GET => 2,
        _ => 1,
    }
}

fn read(document: &Value, path: &str, method: &str, operation: &Value) -> Operation {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut named = BTreeSet::new();
    let contents = operation["requestBody"]["content"].as_object().into_iter().flatten();
    contents.for_each(|(_, content)| members(document, &content["schema"], &mut named, 0));
    let schemes = list(&operation["security"]);
    Operation {
        id: text(&operation["operationId"]),
        method: method.to_uppercase().parse().unwrap(),
        path: path.to_owned(),
        parameters: list(&operation["parameters"]).iter().map(|p| (text(&p["name"]), text(&p["in"]))).collect(),
        named_in_body: named.into_iter().collect(),
        makes: operation["responses"].get("201").is_some(),
        schemes: schemes.iter().flat_map(|scheme| scheme.as_object().unwrap().keys().cloned()).collect(),
    }
}

/// The names of all members of a schema, at any depth, that end as the names of ids do.
fn members(document: &Value, schema: &Value, named: &mut BTreeSet<String>, depth: usize) {
    if depth > 12 {
        return;
    }
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#')).unwrap();
        return members(document, target, named, depth + 1);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        if name.ends_with("_id") || name.ends_with("_ids") {
            named.insert(name.clone());
        }
        members(document, property, named, depth + 1);
    }
    members_of_parts(document, schema, named, depth);
}

fn members_of_parts(document: &Value, schema: &Value, named: &mut BTreeSet<String>, depth: usize) {
    for part in ["items", "additionalProperties"] {
        if schema[part].is_object() {
            members(document, &schema[part], named, depth + 1);
        }
    }
    for part in ["allOf", "anyOf", "oneOf"] {
        schema[part].as_array().into_iter().flatten().for_each(|s| members(document, s, named, depth + 1));
    }
}
