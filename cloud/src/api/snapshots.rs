//! Snapshots: pictures that edges have taken, how far each is on its way, and links to those that are here.

use std::sync::Arc;

use aivms_cloud_core::page::Cursor;
use aivms_contract::envelope::Body;
use aivms_contract::geometry::FrameSize;
use aivms_contract::id::{CameraId, CommandId, EdgeId, EventId, SnapshotId, TrackId};
use aivms_contract::media::MediaKind;
use aivms_contract::snapshot::{Pictured, Snapshot};
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use super::events::{Frame, corners, default_limit, plain};
use super::failure::Failure;
use super::media::{FileState, State};
use super::media_list::{self, MediaQuery, ToldFile};
use super::media_locks::LockAnswer;
use super::signed_in::SignedIn;
use super::values::{Text, TextForm, Time, shortest, time};
use super::{Services, Tags};

pub(super) struct SnapshotsApi(pub Arc<Services>);

/// A page of snapshots.
#[derive(Debug, Object)]
struct SnapshotPage {
    /// Newest first.
    items: Vec<SnapshotAnswer>,
    /// Give it as `cursor` to get the page after this one; null on the last page.
    #[oai(nullable)]
    next_cursor: Option<Text<Cursor>>,
}

/// A snapshot and how far its file is.
#[derive(Debug, Object)]
#[oai(rename = "Snapshot", example)]
pub(super) struct SnapshotAnswer {
    /// The snapshot.
    snapshot_id: Text<SnapshotId>,
    /// The edge that took it.
    edge_id: Text<EdgeId>,
    /// The camera that filmed it.
    camera_id: Text<CameraId>,
    /// Wall time of the picture.
    timestamp: Text<Time>,
    /// Size of the picture.
    frame: Frame,
    /// Bytes of the file, a JPEG.
    size_bytes: u64,
    /// SHA-256 of the file in hexadecimal.
    sha256: String,
    /// The object it shows best.
    #[oai(nullable)]
    object: Option<PicturedAnswer>,
    /// The event it was taken for.
    #[oai(nullable)]
    event_id: Option<Text<EventId>>,
    /// The command that asked for it.
    #[oai(nullable)]
    command_id: Option<Text<CommandId>>,
    /// Whether boxes are drawn into it.
    boxes: bool,
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
    /// Where the file is, on this server, for whoever has this link and until it ends; null before it is stored.
    #[oai(nullable)]
    url: Option<String>,
    /// End of the link.
    #[oai(nullable)]
    url_expires_at: Option<Text<Time>>,
    /// That retention leaves it; null when it does not.
    #[oai(nullable)]
    lock: Option<LockAnswer>,
}

/// The object that a snapshot shows.
#[derive(Debug, Object)]
#[oai(rename = "Pictured")]
struct PicturedAnswer {
    /// Its track.
    track_id: Text<TrackId>,
    /// Label of the model, such as `person`.
    object_class: String,
    /// The detector's confidence in this picture, 0 to 1.
    confidence: f64,
    /// Where it is, `[x1, y1, x2, y2]` in pixels of `frame`.
    #[oai(validator(min_items = 4, max_items = 4))]
    bbox: Vec<f64>,
}

#[OpenApi(prefix_path = "/api/snapshots", tag = "Tags::Media")]
impl SnapshotsApi {
    /// List snapshots
    ///
    /// Newest first, also those whose file is not here yet. All filters given must match. A page has at most
    /// `limit` items and may have fewer, even none: read on until `next_cursor` is null.
    #[oai(path = "/", method = "get", operation_id = "list_snapshots")]
    #[expect(clippy::too_many_arguments, reason = "one per query parameter")]
    async fn list(
        &self,
        signed_in: SignedIn,
        /// Of this camera.
        camera_id: Query<Option<Text<CameraId>>>,
        /// Of this edge.
        edge_id: Query<Option<Text<EdgeId>>>,
        /// Taken for this event.
        event_id: Query<Option<Text<EventId>>>,
        /// Not before this time: RFC 3339, or without a zone, which is UTC.
        start_time: Query<Option<Text<Time>>>,
        /// Before this time.
        end_time: Query<Option<Text<Time>>>,
        /// Most items of the page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u32>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Text<Cursor>>>,
    ) -> Result<Json<SnapshotPage>, Failure> {
        let query = MediaQuery {
            camera_id: camera_id.0,
            edge_id: edge_id.0,
            event_id: event_id.0,
            start_time: start_time.0,
            end_time: end_time.0,
            limit: limit.0,
            cursor: cursor.0,
        };
        let (files, next_cursor) = media_list::list(&self.0, signed_in, MediaKind::Snapshot, query).await?;
        let items = files.into_iter().filter_map(snapshot_answer).collect();
        Ok(Json(SnapshotPage { items, next_cursor }))
    }

    /// Show a snapshot
    ///
    /// With a fresh link when its file is here.
    #[oai(path = "/:snapshot_id", method = "get", operation_id = "get_snapshot")]
    async fn show(
        &self,
        signed_in: SignedIn,
        /// The snapshot.
        snapshot_id: Path<Text<SnapshotId>>,
    ) -> Result<Json<SnapshotAnswer>, Failure> {
        let none = || Failure::not_found("there is no such snapshot, or it is not yours");
        let found = media_list::find(&self.0, signed_in, MediaKind::Snapshot, &plain(snapshot_id.0).into()).await?;
        found.and_then(snapshot_answer).map(Json).ok_or_else(none)
    }
}

/// The answer's form of a snapshot; `None` for another kind.
pub(super) fn snapshot_answer((event, file): ToldFile) -> Option<SnapshotAnswer> {
    let Body::Snapshots(snapshot) = event.envelope.body else { return None };
    Some(joined(event.edge_id, snapshot, file))
}

fn joined(edge_id: EdgeId, snapshot: Snapshot, file: FileState) -> SnapshotAnswer {
    let FileState { state, percent, stored_at, url, url_expires_at, lock } = file;
    SnapshotAnswer {
        snapshot_id: Text(snapshot.snapshot_id),
        edge_id: Text(edge_id),
        camera_id: Text(snapshot.camera_id),
        timestamp: time(snapshot.timestamp),
        frame: snapshot.frame.into(),
        size_bytes: snapshot.size_bytes,
        sha256: snapshot.sha256,
        object: snapshot.object.map(Into::into),
        event_id: snapshot.event_id.map(Text),
        command_id: snapshot.command_id.map(Text),
        boxes: snapshot.boxes,
        masked: snapshot.masked,
        state,
        percent,
        stored_at,
        url,
        url_expires_at,
        lock,
    }
}

impl From<Pictured> for PicturedAnswer {
    fn from(object: Pictured) -> Self {
        Self {
            track_id: Text(object.track_id),
            object_class: object.object_class,
            confidence: shortest(object.confidence),
            bbox: corners(object.bbox),
        }
    }
}

impl Example for SnapshotAnswer {
    fn example() -> Self {
        let timestamp = Time::EXAMPLE.parse::<Time>().expect("the example is a time").0;
        let snapshot = Snapshot {
            snapshot_id: SnapshotId::EXAMPLE.parse().expect("the example is an id"),
            camera_id: CameraId::EXAMPLE.parse().expect("the example is an id"),
            timestamp,
            frame: FrameSize { width: 1920, height: 1080 },
            size_bytes: 184_320,
            sha256: "9f".repeat(32),
            object: None,
            event_id: EventId::EXAMPLE.parse().ok(),
            command_id: None,
            boxes: false,
            masked: false,
        };
        let file = FileState {
            state: State::Uploading,
            percent: 40,
            stored_at: None,
            url: None,
            url_expires_at: None,
            lock: None,
        };
        joined(EdgeId::EXAMPLE.parse().expect("the example is an id"), snapshot, file)
    }
}
