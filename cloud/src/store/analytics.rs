//! How many detections, and what happened in zones: from counts made ahead, and from the events where there are none.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aivms_cloud_core::analytics::{Bucket, Cover, Quarter, Tally, cover};
use aivms_cloud_core::rights::CameraScope;
use aivms_contract::id::{CameraId, EdgeId, EventId, ZoneId};
use aivms_contract::time::UtcMillis;
use aivms_contract::zone_event::ZoneEvent;

use super::day_counts;
use super::quarters::counted_kinds;
use super::sql::{Transaction, values};
use super::{Store, StoreError, TenantKey};

/// What is to be counted.
#[derive(Debug, Clone, Default)]
pub struct CountQuery {
    /// The parts of the time asked for, in order, without gap.
    pub buckets: Vec<Bucket>,
    /// Of this class.
    pub object_class: Option<String>,
    /// Of this camera.
    pub camera_id: Option<CameraId>,
    /// Of this edge.
    pub edge_id: Option<EdgeId>,
    /// In this zone.
    pub zone_id: Option<ZoneId>,
    /// The cameras that may be seen.
    pub cameras: CameraScope,
    /// Whether the answer tells cameras apart.
    pub by_camera: bool,
}

/// Detections of one bucket, class and, if they are told apart, camera.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DetectionCount {
    /// The bucket, by its place in the question.
    pub bucket: usize,
    /// The camera, when cameras are told apart.
    pub camera: Option<(EdgeId, CameraId)>,
    /// The class.
    pub object_class: String,
    /// How many.
    pub count: u64,
}

/// What happened in one zone, in one bucket, by objects of one class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneCount {
    /// The bucket, by its place in the question.
    pub bucket: usize,
    /// The edge.
    pub edge_id: EdgeId,
    /// The camera.
    pub camera_id: CameraId,
    /// The zone.
    pub zone_id: ZoneId,
    /// The class.
    pub object_class: String,
    /// What happened.
    pub tally: Tally,
}

/// Edge, camera and class, by rows.
type Place = [i64; 3];
/// Edge, camera, zone and class, by rows.
type ZonePlace = [i64; 4];

impl Store {
    /// Counts detections.
    ///
    /// # Errors
    /// [`StoreError::TooSlow`] when too much has to be read.
    pub async fn count_detections(
        &self,
        tenant: TenantKey,
        query: CountQuery,
    ) -> Result<Vec<DetectionCount>, StoreError> {
        self.list(tenant, move |transaction| count_detections(transaction, tenant, &query)).await
    }

    /// Counts what happened in zones.
    ///
    /// # Errors
    /// [`StoreError::TooSlow`] when too much has to be read.
    pub async fn count_zone_events(&self, tenant: TenantKey, query: CountQuery) -> Result<Vec<ZoneCount>, StoreError> {
        self.list(tenant, move |transaction| count_zones(transaction, tenant, &query)).await
    }
}

fn count_detections(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    query: &CountQuery,
) -> Result<Vec<DetectionCount>, StoreError> {
    let Some(asked) = Asked::read(transaction, tenant, query)? else { return Ok(Vec::new()) };
    let covered = covered(transaction, tenant, &query.buckets)?;
    let apart = query.by_camera || asked.edge.is_some() || asked.camera.is_some() || query.cameras != CameraScope::All;
    let mut sums: BTreeMap<(usize, Place), i64> = BTreeMap::new();
    let mut add = |bucket: usize, [edge, camera, class]: Place, count: i64| {
        if asked.wants(edge, camera, class) {
            let place = if query.by_camera { [edge, camera, class] } else { [0, 0, class] };
            *sums.entry((bucket, place)).or_default() += count;
        }
    };
    if let Some(span) = covered.ready_span() {
        let mut add_day = |place: Place, first: Quarter, counts: Vec<i64>| {
            let counts: Vec<_> = covered.in_buckets(first, counts).collect();
            for of_bucket in counts.chunk_by(|one, next| one.0 == next.0) {
                if let Some((bucket, _)) = of_bucket.first() {
                    add(*bucket, place, of_bucket.iter().map(|(_, count)| count).sum());
                }
            }
        };
        if apart {
            day_counts::CAMERAS.read(transaction, tenant, &span, &asked.of_place(), add_day)?;
        } else {
            let add_day = |[class]: [i64; 1], first, counts| add_day([0, 0, class], first, counts);
            day_counts::CLASSES.read(transaction, tenant, &span, "", add_day)?;
        }
    }
    for raw in &covered.raw {
        for (place, count) in raw_detections(transaction, tenant, raw.start, raw.end, &asked.of_place())? {
            add(raw.bucket, place, count);
        }
    }
    let named =
        sums.into_iter().filter(|(_, count)| *count > 0).filter_map(|((bucket, [edge, camera, class]), count)| {
            let camera = query.by_camera.then(|| asked.names.camera(edge, camera));
            let object_class = asked.names.classes.get(&class)?.clone();
            let count = u64::try_from(count).unwrap_or_default();
            match camera {
                Some(None) => None,
                camera => Some(DetectionCount { bucket, camera: camera.flatten(), object_class, count }),
            }
        });
    Ok(named.collect())
}

fn count_zones(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    query: &CountQuery,
) -> Result<Vec<ZoneCount>, StoreError> {
    let Some(asked) = Asked::read(transaction, tenant, query)? else { return Ok(Vec::new()) };
    let covered = covered(transaction, tenant, &query.buckets)?;
    let mut sums: BTreeMap<(usize, ZonePlace), Tally> = BTreeMap::new();
    let mut add = |bucket: usize, place: ZonePlace, tally: &Tally| {
        let [edge, camera, zone, class] = place;
        if asked.wants(edge, camera, class) && asked.zone.is_none_or(|asked| asked == zone) {
            sums.entry((bucket, place)).or_default().merge(tally);
        }
    };
    if let Some(span) = covered.ready_span() {
        day_counts::ZONES.read(
            transaction,
            tenant,
            &span,
            &asked.of_place(),
            |place, first, tallies: Vec<Tally>| {
                for (bucket, tally) in covered.in_buckets(first, tallies) {
                    if tally != Tally::default() {
                        add(bucket, place, &tally);
                    }
                }
            },
        )?;
    }
    for raw in &covered.raw {
        for (place, tally) in raw_zones(transaction, tenant, raw.start, raw.end, &asked.of_place())? {
            add(raw.bucket, place, &tally);
        }
    }
    let named = sums.into_iter().filter_map(|((bucket, [edge, camera, zone, class]), tally)| {
        let (edge_id, camera_id) = asked.names.camera(edge, camera)?;
        let zone_id = asked.names.zones.get(&zone)?.clone();
        let object_class = asked.names.classes.get(&class)?.clone();
        Some(ZoneCount { bucket, edge_id, camera_id, zone_id, object_class, tally })
    });
    Ok(named.collect())
}

/// Counts detections from the events. `of_place` narrows it by rows, see [`Asked::of_place`].
pub(super) fn raw_detections(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    start: UtcMillis,
    end: UtcMillis,
    of_place: &str,
) -> Result<Vec<(Place, i64)>, StoreError> {
    let indexed = transaction.dialect().indexed_by(index(of_place));
    let sql = format!(
        "select edge, camera, object_class, count(*) from events{indexed}
         where tenant = ?1 and kind = ?2 and id >= ?3 and id < ?4{of_place} group by edge, camera, object_class"
    );
    let values = values![tenant.0, counted_kinds().0, EventId::first_at(start), EventId::first_at(end)];
    transaction.all(&sql, &values, |row| Ok(([row.get(0)?, row.get(1)?, row.get(2)?], row.get(3)?)))
}

/// Counts what happened in zones from the events.
pub(super) fn raw_zones(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    start: UtcMillis,
    end: UtcMillis,
    of_place: &str,
) -> Result<BTreeMap<ZonePlace, Tally>, StoreError> {
    let indexed = transaction.dialect().indexed_by(index(of_place));
    let sql = format!(
        "select edge, camera, zone, object_class, body from events{indexed}
         where tenant = ?1 and kind = ?2 and id >= ?3 and id < ?4{of_place}"
    );
    let values = values![tenant.0, counted_kinds().1, EventId::first_at(start), EventId::first_at(end)];
    let mut tallies: BTreeMap<ZonePlace, Tally> = BTreeMap::new();
    transaction.all(&sql, &values, |row| {
        let body: String = row.get(4)?;
        let event: ZoneEvent =
            serde_json::from_str(&body).map_err(|error| StoreError::Database(format!("a zone event: {error}")))?;
        let place = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
        tallies.entry(place).or_default().add(&event);
        Ok(())
    })?;
    Ok(tallies)
}

fn index(of_place: &str) -> &'static str {
    if of_place.contains("camera") { "events_by_camera" } else { "events_by_kind" }
}

/// Which quarters' counts can be used.
fn covered(transaction: &mut Transaction<'_>, tenant: TenantKey, buckets: &[Bucket]) -> Result<Cover, StoreError> {
    let (Some(first), Some(last)) = (buckets.first(), buckets.last()) else { return Ok(Cover::default()) };
    if transaction.exists("select 1 from quarter_backlogs where tenant = ?1", &values![tenant.0])? {
        return Ok(cover(buckets, |_| false));
    }
    let sql = "select quarter from quarter_marks where tenant = ?1 and quarter >= ?2 and quarter <= ?3";
    let span = values![tenant.0, Quarter::of(first.start).0, Quarter::of(last.end).0];
    let marked: BTreeSet<i64> = transaction.all(sql, &span, |row| row.get(0))?.into_iter().collect();
    Ok(cover(buckets, |quarter| !marked.contains(&quarter.0)))
}

/// A question with rows in place of names.
struct Asked {
    edge: Option<i64>,
    camera: Option<i64>,
    zone: Option<i64>,
    class: Option<i64>,
    /// Edges and cameras that may be seen; `None` for all.
    seen: Option<BTreeSet<(i64, i64)>>,
    names: Names,
}

/// Names by rows. A tenant has some hundreds.
struct Names {
    edges: HashMap<i64, EdgeId>,
    cameras: HashMap<i64, CameraId>,
    zones: HashMap<i64, ZoneId>,
    classes: HashMap<i64, String>,
}

impl Asked {
    /// `None` when a name is asked for that the tenant has never used, so that nothing matches.
    fn read(
        transaction: &mut Transaction<'_>,
        tenant: TenantKey,
        query: &CountQuery,
    ) -> Result<Option<Self>, StoreError> {
        let names = Names {
            edges: named(transaction, tenant, "select id, edge_id from edges where tenant = ?1")?,
            cameras: named(transaction, tenant, "select id, name from cameras where tenant = ?1")?,
            zones: named(transaction, tenant, "select id, name from zones where tenant = ?1")?,
            classes: named(transaction, tenant, "select id, name from object_classes where tenant = ?1")?,
        };
        let (Some(edge), Some(camera), Some(zone), Some(class)) = (
            row_of(&names.edges, query.edge_id.as_ref()),
            row_of(&names.cameras, query.camera_id.as_ref()),
            row_of(&names.zones, query.zone_id.as_ref()),
            row_of(&names.classes, query.object_class.as_ref()),
        ) else {
            return Ok(None);
        };
        let seen = match &query.cameras {
            CameraScope::All => None,
            CameraScope::Only(pairs) => {
                let rows = |(edge, camera): &(EdgeId, CameraId)| {
                    Some((row_of(&names.edges, Some(edge))??, row_of(&names.cameras, Some(camera))??))
                };
                Some(pairs.iter().filter_map(rows).collect())
            }
        };
        Ok(Some(Self { edge, camera, zone, class, seen, names }))
    }

    /// The conditions on edge and camera, for a statement. Both are numbers of ours.
    fn of_place(&self) -> String {
        let edge = self.edge.map(|row| format!(" and edge = {row}")).unwrap_or_default();
        let camera = self.camera.map(|row| format!(" and camera = {row}")).unwrap_or_default();
        edge + &camera
    }

    fn wants(&self, edge: i64, camera: i64, class: i64) -> bool {
        self.class.is_none_or(|asked| asked == class)
            && self.seen.as_ref().is_none_or(|seen| seen.contains(&(edge, camera)))
    }
}

impl Names {
    fn camera(&self, edge: i64, camera: i64) -> Option<(EdgeId, CameraId)> {
        Some((self.edges.get(&edge)?.clone(), self.cameras.get(&camera)?.clone()))
    }
}

fn named<T: std::str::FromStr<Err: std::fmt::Display>>(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    sql: &str,
) -> Result<HashMap<i64, T>, StoreError> {
    Ok(transaction.all(sql, &values![tenant.0], |row| Ok((row.get(0)?, row.parsed(1)?)))?.into_iter().collect())
}

/// `Some(None)` when nothing is asked for, `None` when there is no such name.
fn row_of<T: PartialEq>(names: &HashMap<i64, T>, asked: Option<&T>) -> Option<Option<i64>> {
    match asked {
        None => Some(None),
        Some(asked) => names.iter().find(|(_, name)| *name == asked).map(|(row, _)| Some(*row)),
    }
}
