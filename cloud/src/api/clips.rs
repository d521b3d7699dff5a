//! Clips: what edges have cut, how far each is on its way, and links to those that are here.

use std::sync::Arc;

use aivms_cloud_core::page::Cursor;
use aivms_contract::clip::{Clip, Missing};
use aivms_contract::envelope::Body;
use aivms_contract::id::{CameraId, ClipId, CommandId, EdgeId, EventId};
use aivms_contract::media::MediaKind;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use super::events::{default_limit, plain};
use super::failure::Failure;
use super::media::{FileState, State};
use super::media_list::{self, MediaQuery, ToldFile};
use super::media_locks::LockAnswer;
use super::signed_in::SignedIn;
use super::values::{Text, TextForm, Time, time};
use super::{Services, Tags};

pub(super) struct ClipsApi(pub Arc<Services>);

/// A page of clips.
#[derive(Debug, Object)]
struct ClipPage {
    /// Newest first.
    items: Vec<ClipAnswer>,
    /// Give it as `cursor` to get the page after this one; null on the last page.
    #[oai(nullable)]
    next_cursor: Option<Text<Cursor>>,
}

/// A clip and how far its file is.
#[derive(Debug, Object)]
#[oai(rename = "Clip", example)]
pub(super) struct ClipAnswer {
    /// The clip.
    clip_id: Text<ClipId>,
    /// The edge that cut it.
    edge_id: Text<EdgeId>,
    /// The camera that filmed it.
    camera_id: Text<CameraId>,
    /// Wall time of its first frame.
    start: Text<Time>,
    /// Length of what it holds, in milliseconds.
    duration_ms: u64,
    /// Bytes of the file.
    size_bytes: u64,
    /// The event it was cut for.
    #[oai(nullable)]
    event_id: Option<Text<EventId>>,
    /// The command that asked for it.
    #[oai(nullable)]
    command_id: Option<Text<CommandId>>,
    /// From its first frame to the event it was cut for, in milliseconds.
    #[oai(nullable)]
    event_offset_ms: Option<u64>,
    /// Milliseconds asked for that no footage exists of.
    missing_ms: u64,
    /// What is missing and why, in order.
    missing: Vec<MissingAnswer>,
    /// The codecs in the form of RFC 6381, such as `avc1.64001f,mp4a.40.2`.
    #[oai(nullable)]
    codecs: Option<String>,
    /// SHA-256 of the file in hexadecimal.
    #[oai(nullable)]
    sha256: Option<String>,
    /// Whether a privacy mask is burned into it.
    masked: bool,
    /// How far the file is.
    state: State,
    /// Part of the file that is here, 0 to 100.
    #[oai(validator(maximum(value = "100")))]
    percent: u8,
    /// When it was stored here.
    #[oai(nullable)]
    stored_at: Option<Text<Time>>,
    /// Where the file is, on this server, for whoever has this link and until it ends; null before it is stored. It
    /// answers to byte ranges; with `?download=1` it is saved under a name of its own.
    #[oai(nullable)]
    url: Option<String>,
    /// End of the link.
    #[oai(nullable)]
    url_expires_at: Option<Text<Time>>,
    /// That retention leaves it; null when it does not.
    #[oai(nullable)]
    lock: Option<LockAnswer>,
}

/// A span of which no footage exists.
#[derive(Debug, Object)]
#[oai(rename = "Missing")]
struct MissingAnswer {
    /// Its beginning.
    start: Text<Time>,
    /// Its end.
    end: Text<Time>,
    /// Why there is none, such as `camera`, `network` or `disk`.
    cause: String,
}

#[OpenApi(prefix_path = "/api/clips", tag = "Tags::Media")]
impl ClipsApi {
    /// List clips
    ///
    /// Newest first, also those whose file is not here yet. All filters given must match. A page has at most
    /// `limit` items and may have fewer, even none: read on until `next_cursor` is null.
    #[oai(path = "/", method = "get", operation_id = "list_clips")]
    #[expect(clippy::too_many_arguments, reason = "one per query parameter")]
    async fn list(
        &self,
        signed_in: SignedIn,
        /// Of this camera.
        camera_id: Query<Option<Text<CameraId>>>,
        /// Of this edge.
        edge_id: Query<Option<Text<EdgeId>>>,
        /// Made for this event.
        event_id: Query<Option<Text<EventId>>>,
        /// That begin not before this time: RFC 3339, or without a zone, which is UTC.
        start_time: Query<Option<Text<Time>>>,
        /// That begin before this time.
        end_time: Query<Option<Text<Time>>>,
        /// Most items of the page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u32>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Text<Cursor>>>,
    ) -> Result<Json<ClipPage>, Failure> {
        let query = MediaQuery {
            camera_id: camera_id.0,
            edge_id: edge_id.0,
            event_id: event_id.0,
            start_time: start_time.0,
            end_time: end_time.0,
            limit: limit.0,
            cursor: cursor.0,
        };
        let (files, next_cursor) = media_list::list(&self.0, signed_in, MediaKind::Clip, query).await?;
        let items = files.into_iter().filter_map(clip_answer).collect();
        Ok(Json(ClipPage { items, next_cursor }))
    }

    /// Show a clip
    ///
    /// With a fresh link when its file is here.
    #[oai(path = "/:clip_id", method = "get", operation_id = "get_clip")]
    async fn show(
        &self,
        signed_in: SignedIn,
        /// The clip.
        clip_id: Path<Text<ClipId>>,
    ) -> Result<Json<ClipAnswer>, Failure> {
        let none = || Failure::not_found("there is no such clip, or it is not yours");
        let found = media_list::find(&self.0, signed_in, MediaKind::Clip, &plain(clip_id.0).into()).await?;
        found.and_then(clip_answer).map(Json).ok_or_else(none)
    }
}

/// The answer's form of a clip; `None` for another kind.
pub(super) fn clip_answer((event, file): ToldFile) -> Option<ClipAnswer> {
    let Body::Clips(clip) = event.envelope.body else { return None };
    Some(joined(event.edge_id, clip, file))
}

fn joined(edge_id: EdgeId, clip: Clip, file: FileState) -> ClipAnswer {
    let FileState { state, percent, stored_at, url, url_expires_at, lock } = file;
    ClipAnswer {
        clip_id: Text(clip.clip_id),
        edge_id: Text(edge_id),
        camera_id: Text(clip.camera_id),
        start: time(clip.start),
        duration_ms: clip.duration_ms,
        size_bytes: clip.size_bytes,
        event_id: clip.event_id.map(Text),
        command_id: clip.command_id.map(Text),
        event_offset_ms: clip.event_offset_ms,
        missing_ms: clip.missing_ms,
        missing: clip.missing.into_iter().map(Into::into).collect(),
        codecs: clip.codecs,
        sha256: clip.sha256,
        masked: clip.masked,
        state,
        percent,
        stored_at,
        url,
        url_expires_at,
        lock,
    }
}

impl From<Missing> for MissingAnswer {
    fn from(missing: Missing) -> Self {
        let cause = serde_json::to_value(missing.cause).ok();
        let cause = cause.and_then(|cause| cause.as_str().map(str::to_owned)).unwrap_or_default();
        Self { start: time(missing.start), end: time(missing.end), cause }
    }
}

impl Example for ClipAnswer {
    fn example() -> Self {
        let start = Time::EXAMPLE.parse::<Time>().expect("the example is a time").0;
        let clip = Clip {
            clip_id: ClipId::EXAMPLE.parse().expect("the example is an id"),
            camera_id: CameraId::EXAMPLE.parse().expect("the example is an id"),
            start,
            duration_ms: 20_000,
            size_bytes: 5_242_880,
            event_id: EventId::EXAMPLE.parse().ok(),
            command_id: None,
            missing_ms: 0,
            missing: Vec::new(),
            event_offset_ms: Some(5_000),
            codecs: Some("avc1.64001f".to_owned()),
            sha256: Some("9f".repeat(32)),
            masked: false,
        };
        let file = FileState {
            state: State::Stored,
            percent: 100,
            stored_at: Some(time(start)),
            url: Some(format!("/media/{}", "A".repeat(64))),
            url_expires_at: Some(time(start)),
            lock: None,
        };
        joined(EdgeId::EXAMPLE.parse().expect("the example is an id"), clip, file)
    }
}
