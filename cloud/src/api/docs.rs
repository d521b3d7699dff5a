//! The API's document and the page that shows it.

use std::collections::BTreeSet;

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
`detail` says what is wrong and what to do, `field` names the parameter or member. Parameters and members that an \
operation does not have are refused. Lists page by cursor. Times are RFC \
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

/// The page and the policy it is served with.
#[derive(Debug, Clone)]
pub(super) struct DocsPage {
    html: String,
    policy: String,
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
}
