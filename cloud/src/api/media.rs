//! Stored files: how far they are, the links to them, and what the links show.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use aivms_cloud_core::range::{Asked, asked};
use poem::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, IF_RANGE, RANGE,
};
use poem::http::{Method, StatusCode};
use poem::web::{Data, Path};
use poem::{Body, Request, Response, ResponseBuilder, handler};
use poem_openapi::Enum;

use super::failure::Failure;
use super::media_locks::LockAnswer;
use super::values::{Text, Time, time};
use super::{Services, address};
use crate::clock;
use crate::media::{Linked, MediaError, download_name};
use crate::store::Media;

/// When to ask again for a file whose folder or bucket fails.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// How far the file of a clip or snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case", rename = "MediaState")]
pub(super) enum State {
    /// The edge has it.
    Announced,
    /// It is on its way.
    Uploading,
    /// It can be seen and downloaded.
    Stored,
}

/// The file of a clip or snapshot, for answers.
pub(super) struct FileState {
    pub state: State,
    pub percent: u8,
    pub stored_at: Option<Text<Time>>,
    pub url: Option<String>,
    pub url_expires_at: Option<Text<Time>>,
    pub lock: Option<LockAnswer>,
}

/// How far a file is, with a link to it once it is stored.
pub(super) async fn file_state(services: &Services, media: Option<&Media>) -> FileState {
    let away =
        |state, percent| FileState { state, percent, stored_at: None, url: None, url_expires_at: None, lock: None };
    let Some(media) = media else { return away(State::Announced, 0) };
    if media.stored_at.is_none() {
        let received = services.media.received(media).await;
        // 100 is for what can be seen.
        let percent = u8::try_from(received * 100 / media.size.max(1)).unwrap_or(99).min(99);
        return away(State::Uploading, percent);
    }
    let until = clock::now() + Duration::from_secs(services.settings.link_seconds.into());
    let token = services.links.sign(Linked { tenant: media.tenant, media: media.key, until });
    FileState {
        state: State::Stored,
        percent: 100,
        stored_at: media.stored_at.map(time),
        url_expires_at: token.is_some().then(|| time(until)),
        url: token.map(|token| format!("/media/{token}")),
        lock: media.lock.clone().map(Into::into),
    }
}

/// `GET` and `HEAD /media/{token}`: the file itself, to whoever has the link.
#[handler]
pub(super) async fn serve(
    request: &Request,
    Path(token): Path<String>,
    services: Data<&Arc<Services>>,
) -> poem::Result<Response> {
    Ok(answer(request, &token, &services).await?)
}

async fn answer(request: &Request, token: &str, services: &Services) -> Result<Response, Failure> {
    // One text for a link that never was, has ended or whose file is gone: it tells nobody which.
    let gone = || Failure::not_found("this link is not good or has ended; ask for the clip or snapshot again");
    let linked = services.links.read(token, clock::now()).ok_or_else(gone)?;
    let media = services.store.media(linked.tenant, linked.media).await?;
    let media = media.filter(|media| media.stored_at.is_some()).ok_or_else(gone)?;
    let etag = format!("\"{}\"", media.sha256);
    let content_type = media.content_type.as_str();
    let shown = Shown { etag, size: media.size, content_type, disposition: disposition(request, &media) };
    let (head, part) = match shown.asked_of(request) {
        Asking::Answered(response) => return Ok(response),
        Asking::Bytes(head, part) => (head, part),
    };
    if is_download(request) {
        services.downloaded(&media, address(request, services)).await?;
    }
    let bytes = services.media.read(&media, part).await.inspect_err(|error| {
        tracing::error!(edge.id = %media.edge_id, media.id = %media.media_id, %error, "a stored file can't be read");
    });
    Ok(head.body(Body::from_bytes_stream(bytes.map_err(|error| unread(&error, gone()))?)))
}

/// What is answered when a stored file can't be read: `gone` when it is, and else that it can be had later.
pub(super) fn unread(error: &MediaError, gone: Failure) -> Failure {
    if error.is_gone() { gone } else { Failure::unavailable("the file can't be read at the moment", READ_AGAIN_AFTER) }
}

/// A file that is shown, whole or in parts.
pub(super) struct Shown {
    /// The entity tag, in its quotation marks.
    pub etag: String,
    pub size: u64,
    pub content_type: &'static str,
    pub disposition: String,
}

/// What a request for a file comes to.
pub(super) enum Asking {
    /// Nothing of the file is to be sent.
    Answered(Response),
    /// These bytes are, behind this head.
    Bytes(ResponseBuilder, Range<u64>),
}

impl Shown {
    /// Looks at ranges, entity tags and the method of a request.
    pub(super) fn asked_of(&self, request: &Request) -> Asking {
        let Self { etag, size, content_type, disposition } = self;
        let head = Response::builder()
            .header(ETAG, etag)
            .header(ACCEPT_RANGES, "bytes")
            .header(CACHE_CONTROL, "private, max-age=3600, immutable");
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let is_same = |known: &str| known.split(',').any(|tag| tag.trim() == etag || tag.trim() == "*");
        if header(IF_NONE_MATCH).is_some_and(is_same) {
            return Asking::Answered(head.status(StatusCode::NOT_MODIFIED).finish());
        }
        let (status, part) = match asked(header(RANGE), header(IF_RANGE), etag, *size) {
            Asked::Whole => (StatusCode::OK, 0..*size),
            Asked::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
            Asked::Nothing => {
                let head = head.status(StatusCode::RANGE_NOT_SATISFIABLE);
                return Asking::Answered(head.header(CONTENT_RANGE, format!("bytes */{size}")).finish());
            }
        };
        let mut head = head
            .status(status)
            .header(CONTENT_TYPE, *content_type)
            .header(CONTENT_LENGTH, part.end - part.start)
            .header(CONTENT_DISPOSITION, disposition);
        if status == StatusCode::PARTIAL_CONTENT {
            head = head.header(CONTENT_RANGE, format!("bytes {}-{}/{size}", part.start, part.end - 1));
        }
        if request.method() == Method::HEAD { Asking::Answered(head.finish()) } else { Asking::Bytes(head, part) }
    }
}

/// Shown in the page, or with `?download=1` saved under a name that says what it is.
fn disposition(request: &Request, media: &Media) -> String {
    let form = if is_download(request) { "attachment" } else { "inline" };
    format!("{form}; filename=\"{}\"", download_name(media))
}

fn is_download(request: &Request) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').any(|pair| pair == "download=1")
}
