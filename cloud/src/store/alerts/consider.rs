//! Asks a tenant's rules about what has happened, in the transaction that writes it down.

use std::collections::BTreeMap;

use aivms_cloud_core::rules::{Decision, Foresight, Kind, Occurrence, ReadyRule, Verdict, decide};
use aivms_contract::envelope::{Body, Envelope};
use aivms_contract::footage::FootageEvent;
use aivms_contract::id::EdgeId;
use aivms_contract::time::UtcMillis;

use super::super::events::{Content, Outcome, Prepared};
use super::super::rules::{self, RuleSet};
use super::super::sql::{Transaction, values};
use super::super::{News, StoreError, TenantKey};
use super::memory::StoredMemory;
use super::raise::{NewAlert, raise};
use super::suppressed::Stopped;

/// Asks the tenant's rules about each of `occurrences`, in this order, and raises the alerts.
///
/// For whoever finds something out by itself, such as that an edge is offline; events are asked about when they are
/// recorded. Telling the same twice raises nothing twice.
///
/// # Errors
/// The database's own. A rule that can't be asked is none: it is left out.
pub(crate) fn consider(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    occurrences: &[Occurrence],
    now: UtcMillis,
) -> Result<(), StoreError> {
    let set = rules::current(transaction, tenant, now)?;
    ask(transaction, tenant, &set, occurrences, now)
}

/// Asks about the events of a batch that are new.
pub(in super::super) fn consider_batch(
    transaction: &mut Transaction<'_>,
    batch: &[Prepared],
    outcomes: &[Outcome],
) -> Result<(), StoreError> {
    let mut new: BTreeMap<TenantKey, (UtcMillis, Vec<&Envelope>)> = BTreeMap::new();
    for (message, outcome) in batch.iter().zip(outcomes) {
        if let (Content::Event(event), Outcome::Stored) = (&message.content, outcome)
            && !kinds(&event.envelope.body).is_empty()
        {
            let (now, events) = new.entry(message.tenant).or_insert((message.received_at, Vec::new()));
            *now = message.received_at.max(*now);
            events.push(&event.envelope);
        }
    }
    for (tenant, (now, events)) in new {
        let set = rules::current(transaction, tenant, now)?;
        let asked = events.into_iter().filter(|envelope| set.waits_for(kinds(&envelope.body)));
        let occurrences: Vec<Occurrence> = asked.flat_map(Occurrence::of_event).collect();
        ask(transaction, tenant, &set, &occurrences, now)?;
    }
    Ok(())
}

/// What an event may tell of, so that most are left out without being read.
fn kinds(body: &Body) -> &'static [Kind] {
    match body {
        Body::Detections(_) => &[Kind::Detection],
        Body::ZoneEvents(_) => &[Kind::Zone],
        Body::Alerts(_) => &[Kind::EdgeAlert],
        Body::Health(_) => &[Kind::CameraState, Kind::DiskForecast, Kind::Temperature],
        Body::Footage(body) if matches!(body.event, FootageEvent::Gap(_)) => &[Kind::RecordingGap],
        Body::Footage(_) | Body::Clips(_) | Body::Snapshots(_) => &[],
    }
}

fn ask(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    set: &RuleSet,
    occurrences: &[Occurrence],
    now: UtcMillis,
) -> Result<(), StoreError> {
    let mut memory = StoredMemory::new(transaction, tenant);
    if memory.transaction.dialect().is_behind_a_network() {
        memory.prepare(&foresee(set, occurrences))?;
    }
    let mut stopped = Stopped::default();
    let mut raised = false;
    for (rule, occurrence) in questions(set, occurrences) {
        let Decision { verdict, why } = decide(rule, occurrence, &mut memory)?;
        match verdict {
            Verdict::Unrelated => {}
            Verdict::Suppressed { by, scope } => stopped.add(rule.id, scope, by, occurrence, why),
            Verdict::Raised { key, severity, .. } => {
                let Some(edge) = edge_of(memory.transaction, tenant, &occurrence.edge)? else { continue };
                memory.remember(key.clone());
                raise(memory.transaction, NewAlert { tenant, rule, occurrence, edge, key, severity, why, now })?;
                raised = true;
            }
        }
    }
    memory.save(now)?;
    stopped.save(transaction, tenant)?;
    if raised {
        transaction.announce(News::Alerts(tenant));
    }
    Ok(())
}

/// Each occurrence with each rule that waits for its kind, in the order in which they are asked.
fn questions<'a>(
    set: &'a RuleSet,
    occurrences: &'a [Occurrence],
) -> impl Iterator<Item = (&'a ReadyRule, &'a Occurrence)> {
    occurrences.iter().flat_map(|it| set.of(it.what.kind()).iter().map(move |rule| (rule, it)))
}

fn foresee(set: &RuleSet, occurrences: &[Occurrence]) -> Foresight {
    let mut foresight = Foresight::default();
    questions(set, occurrences).for_each(|(rule, occurrence)| foresight.look(rule, occurrence));
    foresight
}

/// An edge as alerts need it.
#[derive(Debug, Clone)]
pub(super) struct EdgeRow {
    pub(super) row: i64,
    pub(super) name: String,
}

/// The edge of the tenant; `None` when it is not the tenant's.
pub(super) fn edge_of(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    edge: &EdgeId,
) -> Result<Option<EdgeRow>, StoreError> {
    let sql = "select id, name from edges where tenant = ?1 and edge_id = ?2";
    let values = values![tenant.0, edge.as_str()];
    transaction.first(sql, &values, |row| Ok(EdgeRow { row: row.get(0)?, name: row.get(1)? }))
}
