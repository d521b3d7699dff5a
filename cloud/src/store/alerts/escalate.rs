//! Escalation: what happens to alerts that nobody acknowledges, and tidying.

use aivms_cloud_core::rights::CameraScope;
use aivms_cloud_core::rules::{
    AlertId, AlertState, EscalationStep, MAX_SECONDS, escalated, escalation_due, severity_name,
};
use aivms_contract::time::UtcMillis;

use super::super::sql::{Transaction, values};
use super::super::{Store, StoreError, TenantKey, deliveries};
use super::steps::{news, note_step, touch};
use super::{Asker, Occasion, lists, severity_number, state_number};

/// Alerts that one transaction escalates; what is left is taken at once by the next.
const AT_ONCE: u32 = 50;
/// A memory that nobody has touched for longer than the longest cool-down is of no use; twice that, for events that
/// come late.
const MEMORY_LIFE_MS: i64 = 2 * 1000 * MAX_SECONDS as i64;
/// Rows of suppressed alerts that a tenant keeps at most.
const MAX_SUPPRESSED: i64 = 20_000;

struct Due {
    tenant: TenantKey,
    row: i64,
    alert_id: AlertId,
    step: usize,
    open_since: UtcMillis,
    steps: Vec<EscalationStep>,
}

impl Store {
    /// Carries out the steps of escalations that are due; answers how many. Any process may do this at any time: a
    /// step and the date of the next one are one transaction, so none is carried out twice or left out.
    ///
    /// # Errors
    /// The database's own.
    pub async fn escalate_due(&self, now: UtcMillis) -> Result<u32, StoreError> {
        let mut done = 0;
        let due = "select 1 from alerts where escalate_at <= ?1 limit 1";
        while self.lookup(move |transaction| transaction.exists(due, &values![now])).await? {
            let escalated = self.write(move |transaction| escalate(transaction, now)).await?;
            done += escalated;
            if escalated == 0 {
                break;
            }
        }
        Ok(done)
    }

    /// Forgets what rules remember of long ago, and the oldest suppressed alerts of tenants that have too many.
    ///
    /// # Errors
    /// The database's own.
    pub async fn tidy_alerts(&self, now: UtcMillis) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let old = now.as_millis().saturating_sub(MEMORY_LIFE_MS);
            transaction.execute("delete from rule_memories where touched_at < ?1", &values![old])?;
            let sql = "select tenant from suppressed_alerts group by tenant having count(*) > ?1";
            let full: Vec<i64> = transaction.all(sql, &values![MAX_SUPPRESSED], |row| row.get(0))?;
            for tenant in full {
                transaction.execute(
                    "delete from suppressed_alerts where tenant = ?1 and suppressed_id <= (select suppressed_id
                         from suppressed_alerts where tenant = ?1 order by suppressed_id desc limit 1 offset ?2)",
                    &values![tenant, MAX_SUPPRESSED],
                )?;
            }
            Ok(())
        })
        .await
    }
}

fn escalate(transaction: &mut Transaction<'_>, now: UtcMillis) -> Result<u32, StoreError> {
    let due = transaction.all(
        "select tenant, id, alert_id, escalated, open_since, escalation from alerts
         where escalate_at <= ?1 and state = ?2 order by escalate_at limit ?3",
        &values![now, state_number(AlertState::Open), AT_ONCE],
        |row| {
            Ok(Due {
                tenant: TenantKey(row.get(0)?),
                row: row.get(1)?,
                alert_id: AlertId::from_bytes(row.get(2)?),
                step: usize::try_from(row.get::<u32>(3)?).unwrap_or(usize::MAX),
                open_since: row.time(4)?,
                steps: row.json(5)?,
            })
        },
    )?;
    for one in &due {
        carry_out(transaction, one, now)?;
    }
    Ok(u32::try_from(due.len()).unwrap_or(u32::MAX))
}

fn carry_out(transaction: &mut Transaction<'_>, due: &Due, now: UtcMillis) -> Result<(), StoreError> {
    let asker = Asker { tenant: due.tenant, cameras: CameraScope::All };
    let (_, mut alert) = lists::find(transaction, &asker, due.alert_id)?.ok_or(StoreError::NotFound)?;
    let Some(step) = due.steps.get(due.step) else {
        let sql = "update alerts set escalate_at = null where tenant = ?1 and id = ?2";
        return transaction.execute(sql, &values![due.tenant.0, due.row]).map(drop);
    };
    let (before, number) = (alert.severity, alert.escalated + 1);
    alert.severity = escalated(before, step);
    let next = escalation_due(&due.steps, due.step + 1, due.open_since);
    transaction.execute(
        "update alerts set severity = ?1, escalated = ?2, escalate_at = ?3 where tenant = ?4 and id = ?5",
        &values![severity_number(alert.severity), number, next, due.tenant.0, due.row],
    )?;
    let mut note = format!("step {number} after {} minutes", step.after_minutes);
    if alert.severity != before {
        note.push_str(&format!(", {} instead of {}", severity_name(alert.severity), severity_name(before)));
    }
    let occasion = Occasion::Escalated(number);
    note_step(transaction, due.tenant, due.row, None, occasion.as_str(), Some(&note), now)?;
    touch(transaction, due.tenant, due.row)?;
    let news = news(transaction, due.tenant, &alert, occasion, step.targets.clone(), now)?;
    deliveries::owe(transaction, &news)
}
