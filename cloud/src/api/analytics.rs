//! Charts: how many detections, and what happened in zones, by hour, day, class or camera.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aivms_cloud_core::analytics::{Bucket, Stays, Step, Tally, Zone, buckets};
use aivms_contract::id::{CameraId, EdgeId, ZoneId};
use aivms_contract::time::UtcMillis;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::{Enum, Object, OpenApi};

use super::events::plain;
use super::failure::Failure;
use super::signed_in::SignedIn;
use super::values::{Text, Time, time};
use super::{Services, Tags};
use crate::clock;
use crate::store::{CountQuery, DetectionCount, ZoneCount};

/// Most items of an answer about zones.
const MAX_ITEMS: usize = 20_000;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) struct AnalyticsApi(pub Arc<Services>);

/// What the items of an answer are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase", rename = "GroupBy")]
enum GroupBy {
    /// Hours on the clock of the time zone.
    Hour,
    /// Days on its calendar, of 23 or 25 hours where the clock is changed.
    Day,
    /// Classes of objects.
    Class,
    /// Cameras.
    Camera,
}

/// Detections, counted.
#[derive(Debug, Object)]
struct DetectionAnalytics {
    /// What the items are.
    group_by: GroupBy,
    /// The time zone of hours and days.
    tz: String,
    /// Counted from here.
    start_time: Text<Time>,
    /// Counted to before here.
    end_time: Text<Time>,
    /// All together.
    total: u64,
    /// Hours and days in their order, also those without any; classes and cameras by their names.
    items: Vec<DetectionGroup>,
}

/// An hour, a day, a class or a camera.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct DetectionGroup {
    /// Beginning of the hour or day, as a clock of the time zone shows it with its offset. The first may be cut by
    /// `start_time`.
    start: Option<String>,
    /// Its end; the last may be cut by `end_time`.
    end: Option<String>,
    /// The class.
    object_class: Option<String>,
    /// The edge of the camera.
    edge_id: Option<Text<EdgeId>>,
    /// The camera.
    camera_id: Option<Text<CameraId>>,
    /// How many.
    count: u64,
    /// The same by class.
    classes: Vec<ClassCount>,
}

/// How many of a class.
#[derive(Debug, Object)]
struct ClassCount {
    /// The class.
    object_class: String,
    /// How many.
    count: u64,
}

/// What happened in zones, counted.
#[derive(Debug, Object)]
struct ZoneAnalytics {
    /// What the items are told apart by, beside their zones.
    group_by: GroupBy,
    /// The time zone of hours and days.
    tz: String,
    /// Counted from here.
    start_time: Text<Time>,
    /// Counted to before here.
    end_time: Text<Time>,
    /// By time, edge, camera, zone and class; zones in which nothing happened are left out.
    items: Vec<ZoneGroup>,
}

/// What happened in one zone.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct ZoneGroup {
    /// Beginning of the hour or day, as a clock of the time zone shows it with its offset.
    start: Option<String>,
    /// Its end.
    end: Option<String>,
    /// The edge.
    edge_id: Text<EdgeId>,
    /// The camera.
    camera_id: Text<CameraId>,
    /// The zone.
    zone_id: Text<ZoneId>,
    /// The class, when classes are told apart.
    object_class: Option<String>,
    /// Objects that came in.
    enters: u64,
    /// Objects that went out, or whose track ended inside.
    exits: u64,
    /// Objects that stayed as long as the zone's dwell time.
    dwells: u64,
    /// Times that the zone became occupied.
    occupied: u64,
    /// Times that the line was crossed.
    crosses: CrossCounts,
    /// How long those stayed that went out.
    stays: StayFigures,
}

/// Times that a line was crossed, seen from its first to its second point.
#[derive(Debug, Object)]
struct CrossCounts {
    /// From the left side to the right side.
    left_to_right: u64,
    /// From the right side to the left side.
    right_to_left: u64,
    /// By an edge that did not say which way.
    unknown: u64,
}

/// Lengths of stays in milliseconds. Mean and longest are exact, the other figures within 1/16.
#[derive(Debug, Object)]
struct StayFigures {
    /// How many.
    count: u64,
    /// Mean.
    #[oai(nullable)]
    mean_ms: Option<u64>,
    /// Half of them were no longer.
    #[oai(nullable)]
    p50_ms: Option<u64>,
    /// Nine of ten were no longer.
    #[oai(nullable)]
    p90_ms: Option<u64>,
    /// Nineteen of twenty were no longer.
    #[oai(nullable)]
    p95_ms: Option<u64>,
    /// The longest.
    #[oai(nullable)]
    max_ms: Option<u64>,
}

#[OpenApi(prefix_path = "/api/events/analytics", tag = "Tags::Events")]
impl AnalyticsApi {
    /// Count detections
    ///
    /// By hour, day, class or camera. Hours and days are those of the time zone `tz`: an hour that its clock shows
    /// twice is two items, one that it skips is none. Without times it is the last day by hours, else the last 30
    /// days.
    #[oai(path = "/detections", method = "get", operation_id = "count_detections")]
    #[expect(clippy::too_many_arguments, reason = "one per query parameter")]
    async fn detections(
        &self,
        signed_in: SignedIn,
        /// What the items are; `hour` when absent.
        group_by: Query<Option<GroupBy>>,
        /// Not before this time: RFC 3339, or without a zone, which is UTC.
        start_time: Query<Option<Text<Time>>>,
        /// Before this time; now when absent.
        end_time: Query<Option<Text<Time>>>,
        /// Of this class, such as `person`.
        #[oai(validator(min_length = 1, max_length = 64))]
        object_class: Query<Option<String>>,
        /// Of this camera.
        camera_id: Query<Option<Text<CameraId>>>,
        /// Of this edge.
        edge_id: Query<Option<Text<EdgeId>>>,
        /// IANA name of the time zone of hours and days, such as `Europe/Berlin`; UTC when absent.
        #[oai(validator(max_length = 64))]
        tz: Query<Option<String>>,
    ) -> Result<Json<DetectionAnalytics>, Failure> {
        let asked = Asked::new(group_by.0, start_time.0, end_time.0, tz.0.as_deref())?;
        let query = CountQuery {
            buckets: asked.buckets.clone(),
            object_class: object_class.0.as_deref().map(without_nul),
            camera_id: camera_id.0.map(plain),
            edge_id: edge_id.0.map(plain),
            zone_id: None,
            cameras: signed_in.cameras().clone(),
            by_camera: asked.group_by == GroupBy::Camera,
        };
        let counts = self.0.store.count_detections(signed_in.user().tenant, query).await?;
        Ok(Json(DetectionAnalytics {
            group_by: asked.group_by,
            tz: asked.zone.to_string(),
            start_time: time(asked.start),
            end_time: time(asked.end),
            total: counts.iter().map(|count| count.count).sum(),
            items: asked.detections(counts),
        }))
    }

    /// Count what happened in zones
    ///
    /// For each zone, and by hour, day or class within it; `camera`, or nothing, tells the zones apart only. Without
    /// times it is the last day by hours, else the last 30 days.
    #[oai(path = "/zones", method = "get", operation_id = "count_zone_events")]
    #[expect(clippy::too_many_arguments, reason = "one per query parameter")]
    async fn zones(
        &self,
        signed_in: SignedIn,
        /// What the items are told apart by, beside their zones; `camera` when absent.
        group_by: Query<Option<GroupBy>>,
        /// Not before this time: RFC 3339, or without a zone, which is UTC.
        start_time: Query<Option<Text<Time>>>,
        /// Before this time; now when absent.
        end_time: Query<Option<Text<Time>>>,
        /// Of this class, such as `person`.
        #[oai(validator(min_length = 1, max_length = 64))]
        object_class: Query<Option<String>>,
        /// Of this camera.
        camera_id: Query<Option<Text<CameraId>>>,
        /// Of this edge.
        edge_id: Query<Option<Text<EdgeId>>>,
        /// In this zone.
        zone_id: Query<Option<Text<ZoneId>>>,
        /// IANA name of the time zone of hours and days, such as `Europe/Berlin`; UTC when absent.
        #[oai(validator(max_length = 64))]
        tz: Query<Option<String>>,
    ) -> Result<Json<ZoneAnalytics>, Failure> {
        let asked = Asked::new(group_by.0.or(Some(GroupBy::Camera)), start_time.0, end_time.0, tz.0.as_deref())?;
        let query = CountQuery {
            buckets: asked.buckets.clone(),
            object_class: object_class.0.as_deref().map(without_nul),
            camera_id: camera_id.0.map(plain),
            edge_id: edge_id.0.map(plain),
            zone_id: zone_id.0.map(plain),
            cameras: signed_in.cameras().clone(),
            by_camera: true,
        };
        let counts = self.0.store.count_zone_events(signed_in.user().tenant, query).await?;
        let items = asked.zones(counts);
        if items.len() > MAX_ITEMS {
            let reason = format!("must be closer to start_time: the answer would have more than {MAX_ITEMS} items");
            return Err(Failure::unacceptable("end_time", reason));
        }
        Ok(Json(ZoneAnalytics {
            group_by: asked.group_by,
            tz: asked.zone.to_string(),
            start_time: time(asked.start),
            end_time: time(asked.end),
            items,
        }))
    }
}

/// A question whose parameters have been read.
struct Asked {
    group_by: GroupBy,
    zone: Zone,
    start: UtcMillis,
    end: UtcMillis,
    buckets: Vec<Bucket>,
}

impl Asked {
    fn new(
        group_by: Option<GroupBy>,
        start_time: Option<Text<Time>>,
        end_time: Option<Text<Time>>,
        tz: Option<&str>,
    ) -> Result<Self, Failure> {
        let group_by = group_by.unwrap_or(GroupBy::Hour);
        let zone: Zone = tz.unwrap_or("UTC").parse().map_err(|error| Failure::unacceptable("tz", error))?;
        let end = end_time.map_or_else(clock::now, |Text(Time(at))| at);
        let before = if group_by == GroupBy::Hour { DAY } else { 30 * DAY };
        let start = start_time.map_or_else(|| end - before, |Text(Time(at))| at);
        if end <= start {
            return Err(Failure::unacceptable("end_time", "must be after start_time"));
        }
        let step = match group_by {
            GroupBy::Hour => Some(Step::Hour),
            GroupBy::Day => Some(Step::Day),
            GroupBy::Class | GroupBy::Camera => None,
        };
        let buckets = match step {
            Some(step) => buckets(&zone, step, start, end).map_err(|error| Failure::unacceptable("end_time", error))?,
            None => vec![Bucket { start, end }],
        };
        Ok(Self { group_by, zone, start, end, buckets })
    }

    fn is_by_time(&self) -> bool {
        matches!(self.group_by, GroupBy::Hour | GroupBy::Day)
    }

    /// Beginning and end of a bucket, as a clock of the zone shows them.
    fn clock(&self, bucket: usize) -> (Option<String>, Option<String>) {
        let bucket = self.buckets.get(bucket).filter(|_| self.is_by_time());
        let shown = |at: UtcMillis| self.zone.clock(at);
        (bucket.map(|bucket| shown(bucket.start)), bucket.map(|bucket| shown(bucket.end)))
    }

    fn detections(&self, counts: Vec<DetectionCount>) -> Vec<DetectionGroup> {
        type Key = (usize, Option<(EdgeId, CameraId)>, Option<String>);
        let mut groups: BTreeMap<Key, Vec<ClassCount>> = BTreeMap::new();
        if self.is_by_time() {
            groups.extend((0..self.buckets.len()).map(|bucket| ((bucket, None, None), Vec::new())));
        }
        for DetectionCount { bucket, camera, object_class, count } in counts {
            let class = (self.group_by == GroupBy::Class).then(|| object_class.clone());
            groups.entry((bucket, camera, class)).or_default().push(ClassCount { object_class, count });
        }
        let group = |((bucket, camera, object_class), mut classes): (Key, Vec<ClassCount>)| {
            let (start, end) = self.clock(bucket);
            let (edge_id, camera_id) = camera.map(|(edge, camera)| (Text(edge), Text(camera))).unzip();
            classes.sort_by(|a, b| a.object_class.cmp(&b.object_class));
            let count = classes.iter().map(|class| class.count).sum();
            DetectionGroup { start, end, object_class, edge_id, camera_id, count, classes }
        };
        groups.into_iter().map(group).collect()
    }

    fn zones(&self, counts: Vec<ZoneCount>) -> Vec<ZoneGroup> {
        type Key = (usize, EdgeId, CameraId, ZoneId, Option<String>);
        let mut groups: BTreeMap<Key, Tally> = BTreeMap::new();
        for ZoneCount { bucket, edge_id, camera_id, zone_id, object_class, tally } in counts {
            let class = (self.group_by == GroupBy::Class).then_some(object_class);
            groups.entry((bucket, edge_id, camera_id, zone_id, class)).or_default().merge(&tally);
        }
        // There are thousands of items at each of some hundred times.
        let clocks: Vec<_> = (0..self.buckets.len()).map(|bucket| self.clock(bucket)).collect();
        let group = |((bucket, edge, camera, zone, object_class), tally): (Key, Tally)| {
            let (start, end) = clocks.get(bucket).cloned().unwrap_or_default();
            let Tally { enters, exits, dwells, occupied, crosses, stays } = tally;
            ZoneGroup {
                start,
                end,
                edge_id: Text(edge),
                camera_id: Text(camera),
                zone_id: Text(zone),
                object_class,
                enters,
                exits,
                dwells,
                occupied,
                crosses: CrossCounts {
                    left_to_right: crosses.left_to_right,
                    right_to_left: crosses.right_to_left,
                    unknown: crosses.unknown,
                },
                stays: figures(&stays),
            }
        };
        groups.into_iter().map(group).collect()
    }
}

fn figures(stays: &Stays) -> StayFigures {
    StayFigures {
        count: stays.count(),
        mean_ms: stays.mean_ms(),
        p50_ms: stays.percentile_ms(50),
        p90_ms: stays.percentile_ms(90),
        p95_ms: stays.percentile_ms(95),
        max_ms: stays.max_ms(),
    }
}

/// No database keeps NUL, so nothing matches one.
/// PostgreSQL holds no text with it, so nothing can be found by one.
pub(super) fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
