//! Detections and zone events as the API shows them.

use aivms_contract::detection::{Detection, TrackPhase};
use aivms_contract::envelope::Body;
use aivms_contract::geometry::{FrameSize, PixelBox};
use aivms_contract::id::{CameraId, EdgeId, EventId, TrackId, ZoneId};
use aivms_contract::time::UtcMillis;
use aivms_contract::why::{Check, Gate};
use aivms_contract::zone_event::{Direction, ExitReason, ZoneEvent, ZoneEventType};
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object};

use super::super::values::{Text, TextForm, Time, shortest, time};
use super::check::CheckAnswer;
use crate::store::StoredEvent;

/// A report about a track.
#[derive(Debug, Object)]
#[oai(rename = "Detection", example)]
pub(in crate::api) struct DetectionAnswer {
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
    /// Whether it is at rest, as a parked car is.
    stationary: bool,
}

/// What a track did in a zone.
#[derive(Debug, Object)]
#[oai(rename = "ZoneEvent", example)]
pub(in crate::api) struct ZoneEventAnswer {
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
    /// For `enter`, `exit`, `occupied` and `cleared`: objects in the zone after it. For `cross`: crossings of the line
    /// this way since the edge began to judge it, this one included. Null from edges that do not count.
    #[oai(nullable)]
    count: Option<u32>,
    /// Speed over the ground in km/h; null in zones that do not know where the ground is.
    #[oai(nullable)]
    speed_kmh: Option<f64>,
    /// What let the event through, in the order in which it was asked; empty from edges that do not say.
    why: Vec<CheckAnswer>,
}

/// Size of a frame in pixels.
#[derive(Debug, Object)]
pub(in crate::api) struct Frame {
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
pub(super) enum EventType {
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

/// The answer's form of a stored detection; `None` for another kind.
pub(in crate::api) fn detection_answer(event: StoredEvent) -> Option<DetectionAnswer> {
    let Body::Detections(body) = event.envelope.body else { return None };
    let Detection { camera_id, timestamp, object_class, confidence, bbox, frame, track_id, .. } = body;
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
        phase: match body.phase {
            TrackPhase::Start => Phase::Start,
            TrackPhase::Update => Phase::Update,
            TrackPhase::End => Phase::End,
        },
        age_ms: body.age_ms,
        stationary: body.stationary,
    })
}

/// The answer's form of a stored zone event; `None` for another kind.
pub(in crate::api) fn zone_event_answer(event: StoredEvent) -> Option<ZoneEventAnswer> {
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
        count: body.count,
        speed_kmh: body.speed_kmh.map(shortest),
        why: body.why.into_iter().map(Into::into).collect(),
    })
}

pub(in crate::api) fn corners(bbox: PixelBox) -> Vec<f64> {
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

impl Example for DetectionAnswer {
    fn example() -> Self {
        let at = example_time();
        Self {
            id: example(),
            edge_id: example(),
            camera_id: example(),
            timestamp: time(at),
            received_at: time(at),
            object_class: "car".into(),
            confidence: 0.83,
            bbox: vec![412.5, 208.0, 604.25, 310.75],
            frame: Frame { width: 1280, height: 720 },
            track_id: example(),
            phase: Phase::Update,
            age_ms: 754_000,
            stationary: true,
        }
    }
}

impl Example for ZoneEventAnswer {
    fn example() -> Self {
        let at = example_time();
        let check = |gate, value, limit| CheckAnswer::from(Check { gate, passed: true, value, limit });
        Self {
            id: example(),
            edge_id: example(),
            camera_id: example(),
            zone_id: example(),
            event_type: EventType::Enter,
            timestamp: time(at),
            received_at: time(at),
            object_class: "person".into(),
            confidence: 0.83,
            track_id: example(),
            bbox: vec![412.5, 208.0, 448.25, 310.75],
            frame: Frame { width: 1280, height: 720 },
            dwell_ms: None,
            exit_reason: None,
            direction: None,
            count: Some(2),
            speed_kmh: Some(4.5),
            why: vec![
                check(Gate::Class, None, None),
                check(Gate::Confidence, Some(0.83), Some(0.6)),
                check(Gate::Schedule, None, None),
                check(Gate::Debounce, Some(400.0), Some(400.0)),
            ],
        }
    }
}

/// The example of a text's form.
fn example<T: TextForm>() -> Text<T> {
    Text(T::EXAMPLE.parse().unwrap_or_else(|_| unreachable!("each form's example is of that form")))
}

fn example_time() -> UtcMillis {
    let Text(Time(at)) = example();
    at
}
