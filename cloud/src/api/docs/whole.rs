//! Makes the document whole: what the framework has no words for, takes for granted or does not know.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::examples::Examples;
use super::failures;
use super::tree::Tree;

/// Paths that are no operations of the framework, described by hand.
const DOORS: &str = include_str!("doors.json");

/// What a body that is no JSON may look like, by its type.
const OTHER_BODIES: [(&str, &str); 2] = [
    ("application/octet-stream", "the bytes of the file from `offset` on"),
    (
        "text/csv",
        "seq,at,actor_kind,actor_id,actor_name,address,action,subject_id,detail\n\
         17,2026-11-22T13:05:00.250Z,user,jane@acme.example,Jane Miller,192.0.2.7,edge.revoked,\
         edge_01kb3x0v7t5m9q2r8s4w6y1z3a,{}\n",
    ),
];

/// The framework's document with the failures that each operation can have, examples, descriptions and doors.
///
/// # Errors
/// The text is no JSON.
pub(super) fn whole(text: &str) -> serde_json::Result<String> {
    let (read, mut document): (Value, Tree) = (serde_json::from_str(text)?, serde_json::from_str(text)?);
    let mut shared = Tree::Object(Vec::new());
    if let Some(paths) = document.member("paths") {
        for (path, operations) in paths.members() {
            for (method, operation) in operations.members() {
                complete(&read, &read["paths"][path][method], operation, &mut shared);
            }
        }
        paths.append(serde_json::from_str(DOORS)?);
    }
    if let Some(components) = document.member("components") {
        if let Some(schemas) = components.member("schemas") {
            complete_schemas(&read, schemas);
        }
        components.set("responses", shared);
    }
    serde_json::to_string_pretty(&document)
}

/// Completes one operation, which was `read` in `document`; failures become those that operations share.
fn complete(document: &Value, read: &Value, operation: &mut Tree, shared: &mut Tree) {
    if let Some(content) = operation.member("requestBody").and_then(|body| body.member("content")) {
        add_examples(document, &read["requestBody"]["content"], content);
    }
    let Some(responses) = operation.member("responses") else { return };
    responses.keep(|status| failures::name(status).is_none() || failures::can_answer(read, status));
    for (status, response) in responses.members() {
        let Some(name) = failures::name(status) else {
            complete_success(document, read, &read["responses"][status], response);
            continue;
        };
        let failure = std::mem::replace(response, json!({ "$ref": format!("#/components/responses/{name}") }).into());
        if shared.member(name).is_none() {
            shared.set(name, with_typical_problem(failure, status));
        }
    }
}

fn complete_success(document: &Value, operation: &Value, read: &Value, response: &mut Tree) {
    if read["description"].as_str().is_none_or(str::is_empty) {
        response.set("description", &*described(document, operation, read));
    }
    if let Some(content) = response.member("content") {
        add_examples(document, &read["content"], content);
    }
}

/// What an answer is: the first sentence about its schema, else what the operation does.
fn described(document: &Value, operation: &Value, read: &Value) -> String {
    let contents = read["content"].as_object().into_iter().flatten();
    let mut names = contents.filter_map(|(_, content)| schema_name(&content["schema"]));
    let of_schema = names.find_map(|name| document["components"]["schemas"][name]["description"].as_str());
    let text = of_schema.or(operation["summary"].as_str()).unwrap_or("It is done");
    let sentence = text.split_once(". ").or(text.split_once(".\n")).map_or(text, |(first, _)| first);
    format!("{}.", sentence.trim_end_matches('.').replace('\n', " "))
}

/// Gives an example to each body that has none by the name of its schema.
fn add_examples(document: &Value, read: &Value, content: &mut Tree) {
    for (kind, body) in content.members() {
        let schema = &read[kind]["schema"];
        if kind.starts_with("application/json") && schema_name(schema).is_none() {
            body.set("example", Examples::new(document).of(schema));
        } else if let Some((_, example)) = OTHER_BODIES.iter().find(|(known, _)| *known == kind) {
            body.set("example", *example);
        }
    }
}

/// Gives an example to every object, and closes those that people send.
fn complete_schemas(document: &Value, schemas: &mut Tree) {
    let (examples, closed) = (Examples::new(document), closed_schemas(document));
    for (name, schema) in schemas.members() {
        if closed.contains(name) {
            schema.set("additionalProperties", Value::from(false));
        }
        if document["components"]["schemas"][name]["type"] == "object" {
            schema.set("example", examples.of_named(name));
        }
    }
}

fn with_typical_problem(mut failure: Tree, status: &str) -> Tree {
    let (title, detail, field) = failures::typical(status);
    let mut example = json!({
        "type": "about:blank",
        "title": title,
        "status": status.parse::<u16>().unwrap_or(500),
        "detail": detail,
        "request_id": "5f0c6a9be2d14b7f8a3e9d1c0b7a6f52",
    });
    if let Some(field) = field {
        example["field"] = field.into();
    }
    for (_, body) in failure.member("content").into_iter().flat_map(Tree::members) {
        body.set("example", example.clone());
    }
    failure
}

/// The names of all schemas of objects in bodies of requests that do not come from edges, at any depth. They take no
/// further members, which the framework has no word for. What edges send stays open: they may be newer than the cloud.
fn closed_schemas(document: &Value) -> BTreeSet<String> {
    let (mut found, mut waiting) = (BTreeSet::new(), Vec::new());
    let paths = document["paths"].as_object().into_iter().flatten();
    for (_, operations) in paths.filter(|(path, _)| !path.starts_with("/api/edge/")) {
        for (_, operation) in operations.as_object().into_iter().flatten() {
            references(&operation["requestBody"], &mut waiting);
        }
    }
    while let Some(name) = waiting.pop() {
        let schema = &document["components"]["schemas"][&name];
        // A schema that says itself what else it takes, or that is one of several, is left as it is.
        let is_plain = schema["type"] == "object" && schema["additionalProperties"].is_null();
        if is_plain && found.insert(name) {
            references(schema, &mut waiting);
        }
    }
    found
}

/// The names of the schemas that `value` refers to.
fn references(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| references(item, names)),
        Value::Object(members) => {
            names.extend(schema_name(value).map(str::to_owned));
            members.values().for_each(|member| references(member, names));
        }
        _ => {}
    }
}

/// The name of a schema that is referred to.
fn schema_name(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix("#/components/schemas/")
}
