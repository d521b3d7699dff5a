//! Sending what is owed: whose turn it is, what is due, and what became of it.
//!
//! The unit that is leased is the receiver, not the message: one process at a time sends to a receiver, so that few
//! connections are made to it, mails can be put together, and one that hangs takes no more than its own turn. A
//! process that dies loses its leases by time, and what it had sent but not reported is sent again: at least once.

use std::time::Duration;

use aivms_cloud_core::notify::id::DeliveryId;
use aivms_cloud_core::notify::message::Message;
use aivms_contract::id::EventId;
use aivms_contract::time::UtcMillis;

use super::deliveries::{DeliveryState, Means};
use super::sql::{Row, Transaction, values};
use super::{Store, StoreError, TenantKey};

/// How long a turn may last without a word of its holder: longer than any one message takes.
pub const LEASE: Duration = Duration::from_secs(90);

/// The right to send to one receiver, for a while.
#[derive(Debug, Clone)]
pub struct Turn {
    /// Whose messages these are.
    pub tenant: TenantKey,
    /// The receiver: `mail:`, `webhook:` or `push:` and what it is.
    pub receiver: String,
    /// By which means.
    pub means: Means,
    lease: i64,
}

/// What is due to the receiver of a turn.
#[derive(Debug, Clone, Default)]
pub struct Due {
    /// The messages, by the time they are due.
    pub deliveries: Vec<DueDelivery>,
    /// Times at which the receiver got messages lately.
    pub sent: Vec<UtcMillis>,
    /// Calls in a row before that got no answer.
    pub failures: u32,
}

/// A message that is due.
#[derive(Debug, Clone)]
pub struct DueDelivery {
    pub(super) key: i64,
    /// Its id, the same in every try.
    pub id: DeliveryId,
    /// What is told.
    pub message: Message,
    /// Failed tries in a row.
    pub attempts: u32,
    /// When it is given up.
    pub give_up_at: UtcMillis,
    /// The channel it came by.
    pub channel: Option<String>,
    /// The user it is for, when it is for one.
    pub person: Option<super::UserKey>,
}

/// How many turns are taken.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Most turns.
    pub turns: u32,
    /// Most turns that one tenant has at any time, those of all processes together.
    pub of_tenant: u32,
}

/// How a turn goes on after its messages were tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// With what is due next.
    GoOn,
    /// With the turns of others; what is due waits for its next one.
    End,
    /// It ends, and the receiver is left alone until then: it gave no answer, or was slow to refuse.
    RestUntil(UtcMillis),
}

/// How much of what is due is taken at once.
#[derive(Debug, Clone, Copy)]
pub struct TurnSize {
    /// Most messages.
    pub deliveries: u32,
    /// How far back [`Due::sent`] goes.
    pub sent_within: Duration,
}

/// What became of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// When the try began; `None` when there was none, and the message only waits or is left.
    pub tried_at: Option<UtcMillis>,
    /// How long it took.
    pub took: Duration,
    /// What the receiver answered.
    pub status: Option<u16>,
    /// What went wrong.
    pub error: Option<String>,
    /// What follows.
    pub next: Next,
}

/// What follows a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The receiver has it.
    Delivered,
    /// It is tried again, or for the first time, at this time.
    At(UtcMillis),
    /// It is given up.
    Failed,
}

impl Store {
    /// Takes the turns of receivers to which something is due by `means`, as many as there is `room` for: first of those
    /// that have waited longest, since something is due or since their last turn.
    ///
    /// # Errors
    /// The database's own.
    pub async fn take_turns(
        &self,
        means: Means,
        room: Room,
        size: TurnSize,
        now: UtcMillis,
    ) -> Result<Vec<(Turn, Due)>, StoreError> {
        self.write(move |transaction| take_turns(transaction, means, room, size, now)).await
    }

    /// Writes down what became of messages of a turn, and returns what is due next; when that is nothing the turn has
    /// ended.
    ///
    /// What another process has taken over meanwhile, because this one was too slow, is not touched.
    ///
    /// # Errors
    /// The database's own.
    pub async fn report(
        &self,
        turn: Turn,
        reports: Vec<(DueDelivery, Report)>,
        then: Then,
        size: TurnSize,
        now: UtcMillis,
    ) -> Result<Due, StoreError> {
        self.write(move |transaction| report(transaction, &turn, &reports, then, size, now)).await
    }

    /// When something is due next, or a receiver has rested; `None` when nothing waits.
    ///
    /// # Errors
    /// The database's own.
    pub async fn next_due(&self) -> Result<Option<UtcMillis>, StoreError> {
        let sql = "select min(case when t.not_before > d.due_at then t.not_before else d.due_at end)
            from deliveries d left join receiver_turns t on t.tenant = d.tenant and t.receiver = d.receiver
            where d.state = 1";
        self.lookup(move |transaction| transaction.first(sql, &[], |row| row.optional_time(0)).map(Option::flatten))
            .await
    }
}

/// Receivers that wait for a turn, and each one's place among those of its tenant that have one or wait.
const WAITING: &str = "
    with waiting as (
        select d.tenant, d.receiver,
            case when t.not_before > min(d.due_at) then t.not_before else min(d.due_at) end as since
        from deliveries d left join receiver_turns t on t.tenant = d.tenant and t.receiver = d.receiver
        where d.state = 1 and d.means = ?1 and d.due_at <= ?2 and (t.not_before is null or t.not_before <= ?2)
        group by d.tenant, d.receiver, t.not_before
    ), held as (
        select tenant, count(*) as turns from receiver_turns
        where lease <> 0 and not_before > ?2 and receiver like ?5 group by tenant
    ), placed as (
        select w.tenant, w.receiver, w.since, coalesce(h.turns, 0)
            + row_number() over (partition by w.tenant order by w.since, w.receiver) as place
        from waiting w left join held h on h.tenant = w.tenant
    )
    select tenant, receiver from placed where place <= ?4 order by since, tenant, receiver limit ?3";

fn take_turns(
    transaction: &mut Transaction<'_>,
    means: Means,
    room: Room,
    size: TurnSize,
    now: UtcMillis,
) -> Result<Vec<(Turn, Due)>, StoreError> {
    let of_means = match means {
        Means::Mail => "mail:%",
        Means::Webhook => "webhook:%",
        Means::Push => "push:%",
    };
    let waiting =
        transaction.all(WAITING, &values![means as i64, now, room.turns, room.of_tenant, of_means], |row| {
            Ok((TenantKey(row.get(0)?), row.get::<String>(1)?))
        })?;
    let mut taken = Vec::new();
    for (tenant, receiver) in waiting {
        // Never 0, which stands for nobody.
        let turn = Turn { tenant, receiver, means, lease: fastrand::i64(1..) };
        let rows = transaction.execute(
            "insert into receiver_turns (tenant, receiver, not_before, lease, failures) values (?1, ?2, ?3, ?4, 0)
             on conflict (tenant, receiver) do update set not_before = ?3, lease = ?4
             where receiver_turns.not_before <= ?5",
            &values![turn.tenant.0, &turn.receiver, now + LEASE, turn.lease, now],
        )?;
        if rows == 0 {
            continue;
        }
        give_up_on_the_dead(transaction, &turn, now)?;
        let due = due(transaction, &turn, size, now)?;
        if due.deliveries.is_empty() {
            release(transaction, &turn)?;
        } else {
            taken.push((turn, due));
        }
    }
    Ok(taken)
}

/// A receiver that gives no answer is tried with a few messages only; the others come to their end here. Those of one
/// that answers are tried at least once, however late they are.
fn give_up_on_the_dead(transaction: &mut Transaction<'_>, turn: &Turn, now: UtcMillis) -> Result<(), StoreError> {
    let sql = "update deliveries set state = 3, finished_at = ?3,
            last_error = coalesce(last_error, 'given up: the receiver gave no answer')
        where tenant = ?1 and receiver = ?2 and state = 1 and give_up_at <= ?3
            and exists (select 1 from receiver_turns where tenant = ?1 and receiver = ?2 and failures > 0)";
    transaction.execute(sql, &values![turn.tenant.0, &turn.receiver, now]).map(drop)
}

fn release(transaction: &mut Transaction<'_>, turn: &Turn) -> Result<(), StoreError> {
    let sql = "delete from receiver_turns where tenant = ?1 and receiver = ?2 and lease = ?3";
    transaction.execute(sql, &values![turn.tenant.0, &turn.receiver, turn.lease]).map(drop)
}

fn due(transaction: &mut Transaction<'_>, turn: &Turn, size: TurnSize, now: UtcMillis) -> Result<Due, StoreError> {
    let (tenant, receiver) = (turn.tenant.0, &turn.receiver);
    let deliveries = transaction.all(
        "select id, delivery_id, message, attempts, give_up_at, channel, person from deliveries
         where tenant = ?1 and receiver = ?2 and state = 1 and due_at <= ?3 order by due_at, id limit ?4",
        &values![tenant, receiver, now, size.deliveries],
        read_due,
    )?;
    let sent = transaction.all(
        "select distinct finished_at from deliveries
         where tenant = ?1 and receiver = ?2 and state = 2 and finished_at > ?3",
        &values![tenant, receiver, now - size.sent_within],
        |row| row.time(0),
    )?;
    let failures = transaction.first(
        "select failures from receiver_turns where tenant = ?1 and receiver = ?2",
        &values![tenant, receiver],
        |row| row.get(0),
    )?;
    Ok(Due { deliveries, sent, failures: failures.unwrap_or(0) })
}

fn read_due(row: &Row) -> Result<DueDelivery, StoreError> {
    Ok(DueDelivery {
        key: row.get(0)?,
        id: DeliveryId(EventId::from_bytes(row.get(1)?)),
        message: row.json(2)?,
        attempts: row.get(3)?,
        give_up_at: row.time(4)?,
        channel: row.get(5)?,
        person: row.get::<Option<i64>>(6)?.map(super::UserKey),
    })
}

fn report(
    transaction: &mut Transaction<'_>,
    turn: &Turn,
    reports: &[(DueDelivery, Report)],
    then: Then,
    size: TurnSize,
    now: UtcMillis,
) -> Result<Due, StoreError> {
    let own = values![turn.tenant.0, &turn.receiver, turn.lease];
    let sql = "select 1 from receiver_turns where tenant = ?1 and receiver = ?2 and lease = ?3";
    if !transaction.exists(sql, &own)? {
        return Ok(Due::default());
    }
    for (delivery, report) in reports {
        write_report(transaction, delivery, report, now)?;
    }
    if let Then::RestUntil(until) = then {
        let sql = "update receiver_turns set not_before = ?4, lease = 0, failures = failures + 1
                   where tenant = ?1 and receiver = ?2 and lease = ?3";
        transaction.execute(sql, &values![turn.tenant.0, &turn.receiver, turn.lease, until])?;
        return Ok(Due::default());
    }
    let next = due(transaction, turn, size, now)?;
    if next.deliveries.is_empty() {
        release(transaction, turn)?;
        return Ok(Due::default());
    }
    // The row of a turn that has ended tells since when the receiver waits for its next one.
    let (not_before, lease) = if then == Then::End { (now, 0) } else { (now + LEASE, turn.lease) };
    let sql = "update receiver_turns set not_before = ?4, lease = ?5, failures = 0
               where tenant = ?1 and receiver = ?2 and lease = ?3";
    transaction.execute(sql, &values![turn.tenant.0, &turn.receiver, turn.lease, not_before, lease])?;
    Ok(if then == Then::End { Due::default() } else { Due { failures: 0, ..next } })
}

fn write_report(
    transaction: &mut Transaction<'_>,
    delivery: &DueDelivery,
    report: &Report,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let (state, due, finished) = match report.next {
        Next::Delivered => (DeliveryState::Delivered, None, Some(now)),
        Next::At(at) => (DeliveryState::Waiting, Some(at), None),
        Next::Failed => (DeliveryState::Failed, None, Some(now)),
    };
    let failed = report.tried_at.is_some() && report.next != Next::Delivered;
    // Sent again by hand meanwhile, or removed: then there is nothing to write.
    let rows = transaction.execute(
        "update deliveries set state = ?2, due_at = coalesce(?3, due_at), finished_at = ?4,
            attempts = case when cast(?5 as bigint) = 1 then attempts + 1 else attempts end,
            last_status = case when cast(?6 as bigint) = 1 then ?7 else last_status end,
            last_error = case when cast(?6 as bigint) = 1 then ?8 else last_error end
         where id = ?1 and state = 1",
        &values![
            delivery.key,
            state as i64,
            due,
            finished,
            failed,
            report.tried_at.is_some() || report.error.is_some(),
            report.status,
            report.error.as_deref(),
        ],
    )?;
    let Some(tried_at) = report.tried_at.filter(|_| rows == 1) else { return Ok(()) };
    let took = i64::try_from(report.took.as_millis()).unwrap_or(i64::MAX);
    transaction.execute(
        "insert into delivery_attempts (delivery, at, took_ms, status, error) values (?1, ?2, ?3, ?4, ?5)",
        &values![delivery.key, tried_at, took, report.status, report.error.as_deref()],
    )?;
    Ok(())
}
