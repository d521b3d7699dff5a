//! Alerts that were not raised, folded so that a rule that stops everything stays small.

use std::collections::{BTreeMap, BTreeSet};

use aivms_cloud_core::rules::{Finding, Gate, Kind, Occurrence, RuleId, Scope, headline};
use aivms_contract::id::{CameraId, EdgeId, EventId};
use aivms_contract::time::UtcMillis;

use super::super::rules::to_json;
use super::super::sql::{Row, Transaction, Value, values};
use super::super::{Page, PageRequest, Store, StoreError, TenantKey};
use super::Asker;
use super::lists::Query;

const HOUR_MS: i64 = 3_600_000;

/// Which suppressed alerts a list shows; `None` means all.
#[derive(Debug, Clone, Default)]
pub struct SuppressedFilter {
    /// Of this rule.
    pub rule_id: Option<RuleId>,
    /// About this edge.
    pub edge_id: Option<EdgeId>,
    /// About this camera.
    pub camera_id: Option<CameraId>,
    /// Not before.
    pub start: Option<UtcMillis>,
    /// Before, exclusive.
    pub end: Option<UtcMillis>,
}

/// Alerts of one rule and thing that the same gate stopped within an hour.
#[derive(Debug, Clone)]
pub struct Suppressed {
    /// Its id; the time part is the time of the first.
    pub id: EventId,
    /// The rule.
    pub rule_id: RuleId,
    /// The rule's name; `None` when it is gone.
    pub rule_name: Option<String>,
    /// What stopped them.
    pub gate: Gate,
    /// The edge they are about.
    pub edge_id: EdgeId,
    /// The camera they are about.
    pub camera_id: Option<CameraId>,
    /// Time of the first.
    pub first_at: UtcMillis,
    /// Time of the last.
    pub last_at: UtcMillis,
    /// How many.
    pub times: u64,
    /// What the last one told, in one line.
    pub title: String,
    /// The event of the last one.
    pub event_id: Option<EventId>,
    /// The reasons of the last one.
    pub why: Vec<Finding>,
}

/// Suppressed alerts of one transaction, folded.
#[derive(Default)]
pub(super) struct Stopped<'a>(BTreeMap<(RuleId, Scope, Gate, i64), Fold<'a>>);

struct Fold<'a> {
    first_at: UtcMillis,
    last_at: UtcMillis,
    times: i64,
    last: &'a Occurrence,
    why: Vec<Finding>,
}

impl<'a> Stopped<'a> {
    pub(super) fn add(&mut self, rule: RuleId, scope: Scope, by: Gate, occurrence: &'a Occurrence, why: Vec<Finding>) {
        if is_expected(by, occurrence.what.kind()) {
            return;
        }
        let at = occurrence.at;
        let hour = at.as_millis().div_euclid(HOUR_MS);
        let new = || Fold { first_at: at, last_at: at, times: 0, last: occurrence, why: Vec::new() };
        let fold = self.0.entry((rule, scope, by, hour)).or_insert_with(new);
        (fold.first_at, fold.last_at) = (fold.first_at.min(at), fold.last_at.max(at));
        (fold.last, fold.why) = (occurrence, why);
        fold.times += 1;
    }

    pub(super) fn save(self, transaction: &mut Transaction<'_>, tenant: TenantKey) -> Result<(), StoreError> {
        let edges = self.edges(transaction, tenant)?;
        let rows = self.0.into_iter().filter_map(|((rule, scope, gate, hour), fold)| {
            let edge = *edges.get(fold.last.edge.as_str())?;
            let (id, last) = (EventId::from_parts(fold.first_at, fastrand::u128(..)), fold.last);
            let row = |why: String| {
                let camera = last.camera.as_ref().map(CameraId::as_str);
                let key = values![tenant.0, id, rule.0, scope.as_str(), gate.as_str(), hour, edge, camera];
                let rest = values![fold.first_at, fold.last_at, fold.times, headline(last), last.event, why];
                [&key[..], &rest[..]].concat()
            };
            Some(to_json(&fold.why).map(row))
        });
        transaction.insert_all(
            "insert into suppressed_alerts (tenant, suppressed_id, rule_id, scope, gate, hour, edge, camera, first_at,
                 last_at, times, title, event, why)",
            &rows.collect::<Result<Vec<_>, StoreError>>()?,
            "on conflict (tenant, rule_id, scope, gate, hour) do update set
                 edge = excluded.edge, camera = excluded.camera,
                 first_at = case when excluded.first_at < suppressed_alerts.first_at
                     then excluded.first_at else suppressed_alerts.first_at end,
                 last_at = case when excluded.last_at > suppressed_alerts.last_at
                     then excluded.last_at else suppressed_alerts.last_at end,
                 times = suppressed_alerts.times + excluded.times,
                 title = excluded.title, event = excluded.event, why = excluded.why",
        )
    }

    /// The rows of the edges they are about, those of the tenant, by name.
    fn edges(&self, transaction: &mut Transaction<'_>, tenant: TenantKey) -> Result<BTreeMap<String, i64>, StoreError> {
        let names: BTreeSet<&str> = self.0.values().map(|fold| fold.last.edge.as_str()).collect();
        let wanted: Vec<Value> = names.into_iter().map(Value::from).collect();
        let sql = "select edge_id, id from edges where tenant = ?1 and edge_id";
        let found = transaction.all_among(sql, &values![tenant.0], &wanted, |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(found.into_iter().collect())
    }
}

/// Whether nobody wonders that there was no alert. Each report tells a lasting state or value again, which alerts once;
/// and most of them tell that it is not too warm and that footage is kept for long enough.
fn is_expected(by: Gate, kind: Kind) -> bool {
    let lasts = matches!(kind, Kind::CameraState | Kind::RecordingGap | Kind::DiskForecast | Kind::Temperature);
    lasts && matches!(by, Gate::Once | Gate::Days | Gate::Celsius)
}

impl Store {
    /// A page of suppressed alerts, newest first.
    ///
    /// # Errors
    /// The database's own.
    pub async fn list_suppressed(
        &self,
        asker: Asker,
        filter: SuppressedFilter,
        page: PageRequest,
    ) -> Result<Page<Suppressed>, StoreError> {
        self.list(asker.tenant, move |transaction| {
            let select =
                "select a.suppressed_id, a.rule_id, r.body, a.gate, e.edge_id, a.camera, a.first_at, a.last_at,
                     a.times, a.title, a.event, a.why
                 from suppressed_alerts a join edges e on e.id = a.edge
                     left join alert_rules r on r.tenant = a.tenant and r.rule_id = a.rule_id";
            let mut query = Query::new(select, &asker);
            query.require("a.rule_id =", filter.rule_id.map(|id| id.0));
            query.require("e.edge_id =", filter.edge_id.as_ref().map(EdgeId::as_str));
            query.require("a.camera =", filter.camera_id.as_ref().map(CameraId::as_str));
            query.require("a.suppressed_id >=", filter.start.map(EventId::first_at));
            query.require("a.suppressed_id <", filter.end.map(EventId::first_at));
            query.require("a.suppressed_id <", page.before);
            let (sql, values) = query.finish("order by a.suppressed_id desc", i64::from(page.limit).saturating_add(1));
            Ok(Page::of(transaction.all(&sql, &values, read)?, page.limit))
        })
        .await
    }
}

fn read(row: &Row) -> Result<Suppressed, StoreError> {
    #[derive(serde::Deserialize)]
    struct Named {
        name: String,
    }
    let rule: Option<String> = row.get(2)?;
    Ok(Suppressed {
        id: EventId::from_bytes(row.get(0)?),
        rule_id: RuleId::from_bytes(row.get(1)?),
        rule_name: rule.and_then(|body| serde_json::from_str(&body).ok()).map(|Named { name }| name),
        gate: row.parsed(3)?,
        edge_id: row.parsed(4)?,
        camera_id: row.optional_parsed(5)?,
        first_at: row.time(6)?,
        last_at: row.time(7)?,
        times: row.get(8)?,
        title: row.get(9)?,
        event_id: row.get::<Option<[u8; 16]>>(10)?.map(EventId::from_bytes),
        why: row.json(11)?,
    })
}
