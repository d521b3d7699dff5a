//! Lists of detections and zone events.

mod answer;
mod check;

use std::sync::Arc;

use aivms_cloud_core::page::{Cursor, DEFAULT_LIMIT};
use aivms_contract::id::{CameraId, EdgeId, EventId, TrackId, ZoneId};
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use self::answer::{DetectionAnswer, EventType, ZoneEventAnswer};
pub(super) use self::answer::{Frame, corners, detection_answer, zone_event_answer};
use super::analytics::without_nul;
use super::failure::Failure;
use super::signed_in::SignedIn;
use super::values::{Text, Time};
use super::{Services, Tags};
use crate::store::{EventFilter, PageRequest};

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

#[OpenApi(prefix_path = "/api/events", tag = "Tags::Events")]
impl EventsApi {
    /// List detections
    ///
    /// Newest first. All filters given must match. A page has at most `limit` items and
    /// may have fewer, even none: read on until `next_cursor` is null.
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
            object_class: object_class.0.as_deref().map(without_nul),
            track_id: track_id.0.map(|Text(id)| id.into()),
            min_confidence: min_confidence.0,
            cameras: signed_in.cameras().clone(),
            ..EventFilter::default()
        };
        let page = page_request(limit.0, cursor.0);
        let page = self.0.store.list_detections(signed_in.user().tenant, filter, page).await?;
        let next_cursor = cursor_of(page.next);
        let items = page.items.into_iter().filter_map(detection_answer).collect();
        Ok(Json(DetectionPage { items, next_cursor }))
    }

    /// List zone events
    ///
    /// Newest first. All filters given must match. A page has at most `limit` items and
    /// may have fewer, even none: read on until `next_cursor` is null.
    ///
    /// `why` says of each event what let it through: the filters, schedule, debounce and other gates that were asked.
    #[oai(path = "/zones", method = "get", operation_id = "list_zone_events")]
    #[expect(clippy::too_many_arguments, reason = "one per query parameter")]
    async fn zones(
        &self,
        signed_in: SignedIn,
        /// Of this zone.
        zone_id: Query<Option<Text<ZoneId>>>,
        /// Of this type: `enter`, `exit`, `dwell` and `cross` of one object, `occupied` and `cleared` of a zone.
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
            object_class: object_class.0.as_deref().map(without_nul),
            track_id: track_id.0.map(|Text(id)| id.into()),
            zone_id: zone_id.0.map(plain),
            event_type: event_type.0.map(Into::into),
            cameras: signed_in.cameras().clone(),
            ..EventFilter::default()
        };
        let page = page_request(limit.0, cursor.0);
        let page = self.0.store.list_zone_events(signed_in.user().tenant, filter, page).await?;
        let next_cursor = cursor_of(page.next);
        let items = page.items.into_iter().filter_map(zone_event_answer).collect();
        Ok(Json(ZoneEventPage { items, next_cursor }))
    }
}

pub(super) fn default_limit() -> u32 {
    DEFAULT_LIMIT
}

pub(super) fn plain<T>(Text(value): Text<T>) -> T {
    value
}

pub(super) fn page_request(limit: u32, cursor: Option<Text<Cursor>>) -> PageRequest {
    PageRequest { before: cursor.map(|Text(Cursor(id))| id), limit }
}

/// Where the next page begins.
pub(super) fn cursor_of(next: Option<EventId>) -> Option<Text<Cursor>> {
    next.map(|id| Text(Cursor(id)))
}
