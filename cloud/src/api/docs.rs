//! The API's document and the page that shows it.

mod examples;
mod failures;
mod tree;
mod whole;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use poem::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use poem::web::Html;
use poem::{IntoResponse, Response};
use sha2::{Digest, Sha256};

/// What stands at the head of the document.
pub(super) const DESCRIPTION: &str = "\
Events of a tenant's edges, and the edges themselves.

Sign in with `POST /api/auth/login`, press *Authorize* and paste the token. Failures are problem documents (RFC 9457): \
`detail` says what is wrong and what to do, `field` names the parameter or member. Parameters and members that an \
operation does not have are refused. Lists page by cursor. Times are RFC \
3339; parameters may leave the zone out, which means UTC.

**Live events**: `GET /api/events/live` answers `text/event-stream`.

**Any operation**: a method that a path does not have is answered by 405, with those that it has in `Allow`.

**Live video and playback**: buy a ticket with `POST /api/live/tickets` and open the WebSocket \
`GET /api/live/stream?ticket=<ticket>` with it. Text frames are JSON with a `type`, binary frames a head of 32 bytes \
and fragmented MP4 for `MediaSource`; `docs/ref/relay.md` describes both, and the \
WebSocket of edges, `/api/edge/relay`: OpenAPI has no words for messages that go both ways. The page `/viewer` shows \
how.

**Files**: the `url` of a clip or snapshot that is stored is a link on this server, `/media/{token}`. It needs no token \
beside it and is good until `url_expires_at`, so that a `<video>` can show it; whoever has the link can see the file. It \
answers to byte ranges, `HEAD` and entity tags; `?download=1` saves the file under a name of its own.";

/// The document that is served, made of the framework's. A text that is no JSON, which the framework does not write,
/// stays as it is.
pub(super) fn whole(spec: &str) -> String {
    whole::whole(spec).unwrap_or_else(|_| spec.to_owned())
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
