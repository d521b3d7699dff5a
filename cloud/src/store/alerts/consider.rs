//! Asks a tenant's rules about what has happened, in the transaction that writes it down.

use std::collections::BTreeMap;

use aivms_cloud_core::rules::{Decision, Kind, Occurrence, Verdict, decide};
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
    let mut stopped = Stopped::default();
    let mut raised = false;
    for occurrence in occurrences {
        for rule in set.of(occurrence.what.kind()) {
            let Decision { verdict, why } = decide(rule, occurrence, &mut memory)?;
            match verdict {
                Verdict::Unrelated => {}
                Verdict::Suppressed { by, scope } => stopped.add(rule.id, scope, by, occurrence, why),
                Verdict::Raised { key, severity, .. } => {
                    let Some(edge) = edge_of(memory.transaction, tenant, &occurrence.edge)? else { continue };
                    let alert = NewAlert { tenant, rule, occurrence, edge, key, severity, why, now };
                    raise(memory.transaction, alert)?;
                    raised = true;
                }
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
