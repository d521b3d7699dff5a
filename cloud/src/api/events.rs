//! Lists of detections and zone events.

use std::sync::Arc;

use aivms_cloud_core::page::{Cursor, DEFAULT_LIMIT};
use aivms_contract::detection::{Detection, TrackPhase};
use aivms_contract::envelope::Body;
use aivms_contract::geometry::{FrameSize, PixelBox};
use aivms_contract::id::{CameraId, EdgeId, EventId, TrackId, ZoneId};
use aivms_contract::zone_event::{Direction, ExitReason, ZoneEvent, ZoneEventType};
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::{Enum, Object, OpenApi};

use super::failure::Failure;
use super::signed_in::SignedIn;
use super::values::{Text, Time, shortest, time};
use super::{Services, Tags};
use crate::store::{EventFilter, Page, PageRequest, StoredEvent};

pub(super) struct EventsApi(pub Arc<Services>);

/// A page of detections.
#[derive(Debug, Object)]
struct DetectionPage {
    /// Newest first.
    items: Vec<DetectionAnswer>,
    /// Give it as `cursor` to get the page after this one; null on the last page.
    #[oai(nullable)]
    next_cursor: Option<Text<Cursor>>,
}

/// A page of zone events.
#[derive(Debug, Object)]
struct ZoneEventPage {
    /// Newest first.
    items: Vec<ZoneEventAnswer>,
    /// Give it as `cursor` to get the page after this one; null on the last page.
    #[oai(nullable)]
    next_cursor: Option<Text<Cursor>>,
}

/// A report about a track.
#[derive(Debug, Object)]
#[oai(rename = "Detection")]
pub(super) struct DetectionAnswer {
    /// The event; sorts by time.
    id: Text<EventId>,
    /// The edge that saw it.
    edge_id: Text<EdgeId>,
    /// The camera that saw it.
    camera_id: Text<CameraId>,
    /// Media time of the frame.
    timestamp: Text<Time>,
    /// When the cloud took it.
    received_at: Text<Time>,
    /// Label of the model, such as `person`.
    object_class: String,
    /// The detector's confidence, 0 to 1.
    confidence: f64,
    /// Where it is, `[x1, y1, x2, y2]` in pixels of `frame`.
    #[oai(validator(min_items = 4, max_items = 4))]
    bbox: Vec<f64>,
    /// Size of the frame.
    frame: Frame,
    /// The track.
    track_id: Text<TrackId>,
    /// Why this report was made.
    phase: Phase,
    /// Time since the track was first seen, in milliseconds.
    age_ms: u64,
}

/// What a track did in a zone.
#[derive(Debug, Object)]
#[oai(rename = "ZoneEvent")]
pub(super) struct ZoneEventAnswer {
    /// The event; sorts by time.
    id: Text<EventId>,
    /// The edge that saw it.
    edge_id: Text<EdgeId>,
    /// The camera whose zone it is.
    camera_id: Text<CameraId>,
    /// The zone.
    zone_id: Text<ZoneId>,
    /// What happened.
    event_type: EventType,
    /// Media time of the event.
    timestamp: Text<Time>,
    /// When the cloud took it.
    received_at: Text<Time>,
    /// Label of the model, such as `person`.
    object_class: String,
    /// The detector's confidence, 0 to 1.
    confidence: f64,
    /// The track that did it.
    track_id: Text<TrackId>,
    /// Where it was, `[x1, y1, x2, y2]` in pixels of `frame`.
    #[oai(validator(min_items = 4, max_items = 4))]
    bbox: Vec<f64>,
    /// Size of the frame.
    frame: Frame,
    /// Milliseconds inside: the whole stay for `exit`, the threshold passed for `dwell`, null otherwise.
    #[oai(nullable)]
    dwell_ms: Option<u64>,
    /// For `exit`: whether it was seen to leave.
    #[oai(nullable)]
    exit_reason: Option<ExitCause>,
    /// For `cross`: the way it went.
    #[oai(nullable)]
    direction: Option<CrossDirection>,
}

/// Size of a frame in pixels.
#[derive(Debug, Object)]
struct Frame {
    /// Pixels per line.
    width: u32,
    /// Lines.
    height: u32,
}

/// Why a track is reported.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case")]
enum Phase {
    /// It has been seen often enough to be real.
    Start,
    /// It moved, or time passed.
    Update,
    /// It was lost.
    End,
}

/// What happened between a track and a zone.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case", rename = "ZoneEventType")]
enum EventType {
    /// Came in.
    Enter,
    /// Went out, or was lost inside.
    Exit,
    /// Has been inside for the zone's dwell time.
    Dwell,
    /// Crossed a line.
    Cross,
    /// Made the zone hold as many objects as its occupancy asks for.
    Occupied,
    /// Left the zone with fewer objects than its occupancy asks for.
    Cleared,
}

/// How a stay ended.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case", rename = "ExitReason")]
enum ExitCause {
    /// It was seen outside.
    Left,
    /// Its track ended inside.
    TrackLost,
    /// The zone was redrawn or removed.
    ZoneChanged,
    /// The zone's schedule ended.
    ScheduleEnded,
}

/// The way a line was crossed, seen from its first to its second point.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case", rename = "Direction")]
enum CrossDirection {
    /// From the left side to the right side.
    LeftToRight,
    /// From the right side to the left side.
    RightToLeft,
}

#[OpenApi(prefix_path = "/api/events", tag = "Tags::Events")]
impl EventsApi {
    /// List detections
    ///
    /// Newest first. All filters given must match. A page is `limit` long; follow `next_cursor` for older ones.
    #[oai(path = "/detections", method = "get", operation_id = "list_detections")]
    #[expect(clippy::too_many_arguments, reason = "one per query parameter")]
    async fn detections(
        &self,
        signed_in: SignedIn,
        /// Not before this time: RFC 3339, or without a zone, which is UTC.
        start_time: Query<Option<Text<Time>>>,
        /// Before this time.
        end_time: Query<Option<Text<Time>>>,
        /// Of this class, such as `person`.
        #[oai(validator(min_length = 1, max_length = 64))]
        object_class: Query<Option<String>>,
        /// Of this camera.
        camera_id: Query<Option<Text<CameraId>>>,
        /// Of this edge.
        edge_id: Query<Option<Text<EdgeId>>>,
        /// Of this track.
        track_id: Query<Option<Text<TrackId>>>,
        /// At least this sure, 0 to 1.
        #[oai(validator(minimum(value = "0"), maximum(value = "1")))]
        min_confidence: Query<Option<f32>>,
        /// Most items of the page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u32>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Text<Cursor>>>,
    ) -> Result<Json<DetectionPage>, Failure> {
        let filter = EventFilter {
            start: start_time.0.map(|Text(Time(at))| at),
            end: end_time.0.map(|Text(Time(at))| at),
            edge_id: edge_id.0.map(plain),
            camera_id: camera_id.0.map(plain),
            object_class: object_class.0,
            track_id: track_id.0.map(|Text(id)| id.into()),
            min_confidence: min_confidence.0,
            ..EventFilter::default()
        };
        let page = page_request(limit.0, cursor.0);
        let page = self.0.store.list_detections(signed_in.user().tenant, filter, page).await?;
        let next_cursor = next_cursor(&page);
        let items = page.items.into_iter().filter_map(detection_answer).collect();
        Ok(Json(DetectionPage { items, next_cursor }))
    }

    /// List zone events
    ///
    /// Newest first. All filters given must match. A page is `limit` long; follow `next_cursor` for older ones.
    #[oai(path = "/zones", method = "get", operation_id = "list_zone_events")]
    #[expect(clippy::too_many_arguments, reason = "one per query parameter")]
    async fn zones(
        &self,
        signed_in: SignedIn,
        /// Of this zone.
        zone_id: Query<Option<Text<ZoneId>>>,
        /// Of this type.
        event_type: Query<Option<EventType>>,
        /// Of this camera.
        camera_id: Query<Option<Text<CameraId>>>,
        /// Of this edge.
        edge_id: Query<Option<Text<EdgeId>>>,
        /// Of this class, such as `person`.
        #[oai(validator(min_length = 1, max_length = 64))]
        object_class: Query<Option<String>>,
        /// Of this track.
        track_id: Query<Option<Text<TrackId>>>,
        /// Not before this time: RFC 3339, or without a zone, which is UTC.
        start_time: Query<Option<Text<Time>>>,
        /// Before this time.
        end_time: Query<Option<Text<Time>>>,
        /// Most items of the page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u32>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Text<Cursor>>>,
    ) -> Result<Json<ZoneEventPage>, Failure> {
        let filter = EventFilter {
            start: start_time.0.map(|Text(Time(at))| at),
            end: end_time.0.map(|Text(Time(at))| at),
            edge_id: edge_id.0.map(plain),
            camera_id: camera_id.0.map(plain),
            object_class: object_class.0,
            track_id: track_id.0.map(|Text(id)| id.into()),
            zone_id: zone_id.0.map(plain),
            event_type: event_type.0.map(Into::into),
            ..EventFilter::default()
        };
        let page = page_request(limit.0, cursor.0);
        let page = self.0.store.list_zone_events(signed_in.user().tenant, filter, page).await?;
        let next_cursor = next_cursor(&page);
        let items = page.items.into_iter().filter_map(zone_event_answer).collect();
        Ok(Json(ZoneEventPage { items, next_cursor }))
    }
}

/// The answer's form of a stored detection; `None` for another kind.
pub(super) fn detection_answer(event: StoredEvent) -> Option<DetectionAnswer> {
    let Body::Detections(body) = event.envelope.body else { return None };
    let Detection { camera_id, timestamp, object_class, confidence, bbox, frame, track_id, phase, age_ms, .. } = body;
    Some(DetectionAnswer {
        id: Text(event.envelope.id),
        edge_id: Text(event.edge_id),
        camera_id: Text(camera_id),
        timestamp: time(timestamp),
        received_at: time(event.received_at),
        object_class,
        confidence: shortest(confidence),
        bbox: corners(bbox),
        frame: frame.into(),
        track_id: Text(track_id),
        phase: match phase {
            TrackPhase::Start => Phase::Start,
            TrackPhase::Update => Phase::Update,
            TrackPhase::End => Phase::End,
        },
        age_ms,
    })
}

/// The answer's form of a stored zone event; `None` for another kind.
pub(super) fn zone_event_answer(event: StoredEvent) -> Option<ZoneEventAnswer> {
    let Body::ZoneEvents(body) = event.envelope.body else { return None };
    let ZoneEvent { camera_id, zone_id, timestamp, event_type, object_class, confidence, track_id, .. } = body;
    Some(ZoneEventAnswer {
        id: Text(event.envelope.id),
        edge_id: Text(event.edge_id),
        camera_id: Text(camera_id),
        zone_id: Text(zone_id),
        event_type: event_type.into(),
        timestamp: time(timestamp),
        received_at: time(event.received_at),
        object_class,
        confidence: shortest(confidence),
        track_id: Text(track_id),
        bbox: corners(body.bbox),
        frame: body.frame.into(),
        dwell_ms: body.dwell_ms,
        exit_reason: body.exit_reason.map(|reason| match reason {
            ExitReason::Left => ExitCause::Left,
            ExitReason::TrackLost => ExitCause::TrackLost,
            ExitReason::ZoneChanged => ExitCause::ZoneChanged,
            ExitReason::ScheduleEnded => ExitCause::ScheduleEnded,
        }),
        direction: body.direction.map(|direction| match direction {
            Direction::LeftToRight => CrossDirection::LeftToRight,
            Direction::RightToLeft => CrossDirection::RightToLeft,
        }),
    })
}

fn default_limit() -> u32 {
    DEFAULT_LIMIT
}

fn plain<T>(Text(value): Text<T>) -> T {
    value
}

fn page_request(limit: u32, cursor: Option<Text<Cursor>>) -> PageRequest {
    PageRequest { before: cursor.map(|Text(Cursor(id))| id), limit }
}

fn next_cursor(page: &Page<StoredEvent>) -> Option<Text<Cursor>> {
    let last = page.items.last().filter(|_| page.more)?;
    Some(Text(Cursor(last.envelope.id)))
}

fn corners(bbox: PixelBox) -> Vec<f64> {
    bbox.corners().map(shortest).into()
}

impl From<FrameSize> for Frame {
    fn from(FrameSize { width, height }: FrameSize) -> Self {
        Self { width, height }
    }
}

impl From<ZoneEventType> for EventType {
    fn from(event_type: ZoneEventType) -> Self {
        match event_type {
            ZoneEventType::Enter => Self::Enter,
            ZoneEventType::Exit => Self::Exit,
            ZoneEventType::Dwell => Self::Dwell,
            ZoneEventType::Cross => Self::Cross,
            ZoneEventType::Occupied => Self::Occupied,
            ZoneEventType::Cleared => Self::Cleared,
        }
    }
}

impl From<EventType> for ZoneEventType {
    fn from(event_type: EventType) -> Self {
        match event_type {
            EventType::Enter => Self::Enter,
            EventType::Exit => Self::Exit,
            EventType::Dwell => Self::Dwell,
            EventType::Cross => Self::Cross,
            EventType::Occupied => Self::Occupied,
            EventType::Cleared => Self::Cleared,
        }
    }
}
