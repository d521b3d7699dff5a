//! The API's document and the page that shows it.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use poem::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use poem::web::Html;
use poem::{IntoResponse, Response};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What stands at the head of the document.
pub(super) const DESCRIPTION: &str = "\
Events of a tenant's edges, and the edges themselves.

Sign in with `POST /api/auth/login`, press *Authorize* and paste the token. Failures are problem documents (RFC 9457): \
`detail` says what is wrong and what to do, `field` names the parameter or member. Lists page by cursor. Times are RFC \
3339; parameters may leave the zone out, which means UTC.

**Live events**: `GET /api/events/live` with `Authorization: Bearer <token>` answers `text/event-stream`. Each event \
is named by its kind (`detections`, `zone-events`, `alerts`, `health`, `clips`), its data is the JSON of the list item, \
its id its place in the feed. Send the last id as `Last-Event-ID` to get what was missed, up to 1,000 events; beyond \
that, an event `reset` says that the lists must be read instead. The stream ends when the token does.

**Live video and playback**: buy a ticket with `POST /api/live/tickets` and open the WebSocket \
`GET /api/live/stream?ticket=<ticket>` with it. Text frames are JSON with a `type`, binary frames a head of 32 bytes \
and fragmented MP4 for `MediaSource`; `docs/ref/relay.md` describes both. The page \
`/viewer` shows how.

**Files**: the `url` of a clip or snapshot that is stored is a link on this server, `/media/{token}`. It needs no token \
beside it and is good until `url_expires_at`, so that a `<video>` can show it; whoever has the link can see the file. It \
answers to byte ranges, `HEAD` and entity tags; `?download=1` saves the file under a name of its own.";

/// Says in `text`, the document or a page that holds it, that the bodies of people take no further members, which the
/// framework has no word for. What edges send stays open: they may be newer than the cloud.
pub(super) fn with_closed_schemas(text: &str, document: &str) -> String {
    let document: Value = serde_json::from_str(document).unwrap_or_default();
    closed_schemas(&document).into_iter().fold(text.to_owned(), |text, name| {
        let head = format!("\"{name}\": {{\n        \"type\": \"object\",\n");
        text.replace(&head, &format!("{head}        \"additionalProperties\": false,\n"))
    })
}

/// The names of all schemas of objects in bodies of requests that do not come from edges, at any depth.
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
            let name = value["$ref"].as_str().and_then(|text| text.strip_prefix("#/components/schemas/"));
            names.extend(name.map(str::to_owned));
            members.values().for_each(|member| references(member, names));
        }
        _ => {}
    }
}

/// Methods by path, as the document has them; for the header `Allow`.
#[derive(Debug)]
pub(super) struct PathMethods(Vec<(Vec<String>, String)>);

/// The page and the policy it is served with.
#[derive(Debug, Clone)]
pub(super) struct DocsPage {
    html: String,
    policy: String,
}

impl PathMethods {
    /// Reads them from the document and adds those outside it.
    pub(super) fn from_document(document: &str, others: &[&str]) -> Self {
        let document: serde_json::Value = serde_json::from_str(document).unwrap_or_default();
        let operations = document["paths"].as_object().into_iter().flatten();
        let mut methods: BTreeMap<String, Vec<String>> = operations
            .map(|(path, operations)| {
                let methods = operations.as_object().into_iter().flatten().map(|(method, _)| method.to_uppercase());
                (path.clone(), methods.collect())
            })
            .collect();
        methods.extend(others.iter().map(|path| ((*path).to_owned(), vec!["GET".to_owned()])));
        let rows = methods.into_iter().map(|(path, mut methods)| {
            if methods.iter().any(|method| method == "GET") {
                methods.push("HEAD".into());
            }
            methods.sort();
            (segments(&path).map(Into::into).collect(), methods.join(", "))
        });
        Self(rows.collect())
    }

    /// The methods of `path`, empty for a path that is not known.
    pub(super) fn of(&self, path: &str) -> &str {
        self.row(path).map_or("", |(_, methods)| methods)
    }

    /// The operation of a request, as the document writes it: a method and a path with the names of its parameters.
    /// Everything that the document does not have is one operation, so that strangers can't make up more of them.
    pub(super) fn operation(&self, method: &str, path: &str) -> String {
        let row = self.row(path).filter(|(_, methods)| methods.split(", ").any(|known| known == method));
        match row {
            Some((segments, _)) => format!("{method} /{}", segments.join("/")),
            None => "unknown".to_owned(),
        }
    }

    /// The name of a parameter in `path` that the framework calls `param0`, `param1` and so on.
    pub(super) fn parameter<'a>(&'a self, path: &str, numbered: &'a str) -> &'a str {
        let number = numbered.strip_prefix("param").and_then(|number| number.parse().ok());
        let name = number.and_then(|number: usize| {
            let mut names = self.row(path)?.0.iter().filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
            names.nth(number)
        });
        name.unwrap_or(numbered)
    }

    fn row(&self, path: &str) -> Option<&(Vec<String>, String)> {
        let asked: Vec<_> = segments(path).collect();
        let fits = |known: &[String]| {
            known.len() == asked.len() && known.iter().zip(&asked).all(|(k, a)| k == a || k.starts_with('{'))
        };
        self.0.iter().find(|(known, _)| fits(known))
    }
}

impl DocsPage {
    /// Wraps the Swagger UI page: one file with its scripts inline, which the policy allows by their hashes and
    /// nothing else. It may talk to this server only.
    pub(super) fn new(html: &str) -> Self {
        let hashes: Vec<_> =
            scripts(html).map(|script| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(script)))).collect();
        let policy = format!(
            "default-src 'none'; script-src {}; style-src 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            hashes.join(" ")
        );
        Self { html: format!("<!doctype html>{html}"), policy }
    }
}

impl IntoResponse for &DocsPage {
    fn into_response(self) -> Response {
        Html(self.html.clone())
            .with_header(CONTENT_SECURITY_POLICY, &self.policy)
            .with_header(CACHE_CONTROL, "no-cache")
            .into_response()
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// The texts of the inline scripts, as a browser finds them: one ends at the first end tag, whatever is in it.
fn scripts(html: &str) -> impl Iterator<Item = &str> {
    let mut rest = html;
    std::iter::from_fn(move || {
        let (_, opened) = rest.split_once("<script")?;
        let (script, after) = opened.split_once('>')?.1.split_once("</script>")?;
        rest = after;
        Some(script)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_found_as_a_browser_finds_them() {
        let html =
            "<head><script charset=\"x\">a</script><style>s</style></head><script>\nb < '<script>'\n</script></html>";
        assert_eq!(scripts(html).collect::<Vec<_>>(), ["a", "\nb < '<script>'\n"]);
    }

    #[test]
    fn methods_are_found_for_paths_with_parameters() {
        let document = r#"{"paths": {"/a/{id}": {"get": {}, "post": {}}, "/a/{id}/b": {"post": {}}}}"#;
        let methods = PathMethods::from_document(document, &["/c"]);
        assert_eq!(methods.of("/a/17"), "GET, HEAD, POST");
        assert_eq!(methods.of("/a/17/b/"), "POST");
        assert_eq!(methods.of("/c"), "GET, HEAD");
        assert_eq!(methods.of("/d"), "");
        let operations =
            [("GET", "/a/17"), ("HEAD", "/c"), ("GET", "/a/17/b"), ("GET", "/wp-login.php"), ("BREW", "/c")];
        let operations = operations.map(|(method, path)| methods.operation(method, path));
        assert_eq!(operations, ["GET /a/{id}", "HEAD /c", "unknown", "unknown", "unknown"]);
    }

    #[test]
    fn parameters_of_a_path_have_the_names_of_the_document() {
        let document = r#"{"paths": {"/a/{kind}/b/{id}": {"get": {}}}}"#;
        let methods = PathMethods::from_document(document, &[]);
        assert_eq!(["param0", "param1"].map(|name| methods.parameter("/a/x/b/%2F", name)), ["kind", "id"]);
        assert_eq!(methods.parameter("/a/x/b/17", "param2"), "param2");
        assert_eq!(methods.parameter("/d", "param0"), "param0");
    }
}
