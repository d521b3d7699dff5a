//! Examples of bodies, put together from those of their members: what a type's own example says, else each member's
//! example, else a word for its name from `examples.json`, else its schema's first value.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

/// Words for members, under `*` by their name alone, else by the name of the schema they are in; null leaves one out.
static WORDS: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("examples.json")).expect("examples.json is JSON"));

/// Makes examples for the schemas of one document.
pub(super) struct Examples<'a> {
    schemas: &'a Value,
}

impl<'a> Examples<'a> {
    pub(super) fn new(document: &'a Value) -> Self {
        Self { schemas: &document["components"]["schemas"] }
    }

    /// An example of anything that a schema of the document describes.
    pub(super) fn of(&self, schema: &Value) -> Value {
        self.member("", "", schema).unwrap_or(Value::Null)
    }

    /// An example of a schema that has a name.
    pub(super) fn of_named(&self, name: &str) -> Value {
        let schema = &self.schemas[name];
        if schema["properties"].is_null() {
            return first_value(schema);
        }
        let own = schema["example"].as_object().filter(|own| !own.is_empty());
        let mut example = own.cloned().unwrap_or_else(|| self.composed(name, schema));
        for (member, word) in WORDS[name].as_object().into_iter().flatten() {
            example.insert(member.clone(), word.clone());
        }
        example.retain(|_, value| !value.is_null());
        example.into()
    }

    fn composed(&self, name: &str, schema: &Value) -> Map<String, Value> {
        let required = |member: &String| schema["required"].as_array().is_some_and(|all| all.contains(&json!(member)));
        let members = schema["properties"].as_object().into_iter().flatten();
        let examples = members.filter_map(|(member, schema)| {
            let example = self.member(name, member, schema);
            let needed = || required(member).then(|| first_value(schema));
            Some((member.clone(), example.or_else(needed)?))
        });
        examples.collect()
    }

    /// None where nothing but the type is known of a member.
    fn member(&self, of: &str, name: &str, schema: &Value) -> Option<Value> {
        let given = [&WORDS[of][name], &schema["example"], &schema["enum"][0], &WORDS["*"][name], &schema["default"]];
        if let Some(given) = given.into_iter().find(|given| !given.is_null()) {
            return Some(given.clone());
        }
        let reference = schema["$ref"].as_str().or(schema["allOf"][0]["$ref"].as_str());
        if let Some(name) = reference.and_then(|text| text.strip_prefix("#/components/schemas/")) {
            return Some(self.of_named(name));
        }
        (schema["type"] == "array").then(|| self.member(of, "", &schema["items"]).into_iter().collect())
    }
}

/// What a schema allows, as far as its type says.
fn first_value(schema: &Value) -> Value {
    match schema["type"].as_str() {
        Some("boolean") => false.into(),
        Some("integer") => 0.into(),
        Some("number") => 0.5.into(),
        Some("object") => json!({}),
        _ => schema["enum"][0].clone(),
    }
}
