//! The log of deliveries: what was told to whom, when, and what came back.

use aivms_cloud_core::audit::Action;
use aivms_cloud_core::notify::backoff::GIVE_UP_AFTER;
use aivms_cloud_core::notify::id::DeliveryId;
use aivms_cloud_core::notify::message::Message;
use aivms_cloud_core::rules::AlertId;
use aivms_contract::id::EventId;
use aivms_contract::time::UtcMillis;
use serde_json::json;

use super::deliveries::{DeliveryState, Means};
use super::lists::{Page, PageRequest};
use super::sql::{Row, Transaction, Value, values};
use super::{News, Store, StoreError, TenantKey, audit};

/// Most tries of one delivery that are shown; the rest is older.
const MAX_ATTEMPTS_SHOWN: i64 = 50;

/// A delivery as its tenant sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedDelivery {
    pub(super) key: i64,
    /// Its id, which is the `webhook-id` too.
    pub id: DeliveryId,
    /// What was told.
    pub message: Message,
    /// By which means.
    pub means: Means,
    /// To whom.
    pub receiver: String,
    /// The channel it came by.
    pub channel: Option<String>,
    /// What became of it.
    pub state: DeliveryState,
    /// Failed tries in a row.
    pub attempts: u32,
    /// When it was owed.
    pub owed_at: UtcMillis,
    /// When it is tried next, or was.
    pub due_at: UtcMillis,
    /// When it got its state; `None` while it waits.
    pub finished_at: Option<UtcMillis>,
    /// What the receiver answered last.
    pub last_status: Option<u16>,
    /// What went wrong last, or why it was left out.
    pub last_error: Option<String>,
}

/// One try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When it began.
    pub at: UtcMillis,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// What the receiver answered.
    pub status: Option<u16>,
    /// What went wrong.
    pub error: Option<String>,
}

/// Which deliveries are listed; all that is given must match.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    /// Of this alert.
    pub alert: Option<AlertId>,
    /// By this channel.
    pub channel: Option<String>,
    /// In this state.
    pub state: Option<DeliveryState>,
}

impl Store {
    /// A page of deliveries, newest first.
    ///
    /// # Errors
    /// The database's own.
    pub async fn list_deliveries(
        &self,
        tenant: TenantKey,
        filter: DeliveryFilter,
        page: PageRequest,
    ) -> Result<Page<LoggedDelivery>, StoreError> {
        self.list(tenant, move |transaction| list(transaction, tenant, &filter, page)).await
    }

    /// One delivery with its tries, the newest first.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delivery(
        &self,
        tenant: TenantKey,
        id: DeliveryId,
    ) -> Result<(LoggedDelivery, Vec<Attempt>), StoreError> {
        self.lookup(move |transaction| {
            let delivery = find(transaction, tenant, id)?;
            let sql =
                "select at, took_ms, status, error from delivery_attempts where delivery = ?1 order by id desc limit ?2";
            let attempts = transaction.all(sql, &values![delivery.key, MAX_ATTEMPTS_SHOWN], read_attempt)?;
            Ok((delivery, attempts))
        })
        .await
    }

    /// Sends a delivery once more, under its old id, at once and with all its tries; one that waits is sent at once.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn redeliver(
        &self,
        tenant: TenantKey,
        id: DeliveryId,
        now: UtcMillis,
    ) -> Result<LoggedDelivery, StoreError> {
        self.write(move |transaction| {
            transaction.execute(
                "update deliveries set state = 1, attempts = 0, due_at = ?3, give_up_at = ?4, finished_at = null
                 where tenant = ?1 and delivery_id = ?2",
                &values![tenant.0, id.0, now, now + GIVE_UP_AFTER],
            )?;
            transaction.announce(News::Deliveries);
            let again = find(transaction, tenant, id)?;
            let detail = json!({ "receiver": again.receiver, "channel_id": again.channel });
            audit::note(transaction, tenant, Action::DeliveryRepeated, Some(&id.to_string()), detail, now)?;
            Ok(again)
        })
        .await
    }

    /// Forgets deliveries that were finished before `before`, at most `most`; returns how many.
    ///
    /// # Errors
    /// The database's own.
    pub async fn forget_deliveries(&self, before: UtcMillis, most: u32) -> Result<u64, StoreError> {
        const OLD: &str = "select id from deliveries where finished_at < ?1 order by finished_at limit ?2";
        self.write(move |transaction| {
            let values = values![before, most];
            transaction.execute(&format!("delete from delivery_attempts where delivery in ({OLD})"), &values)?;
            transaction.execute(&format!("delete from deliveries where id in ({OLD})"), &values)
        })
        .await
    }
}

const SELECT: &str = "select id, delivery_id, message, means, receiver, channel, state, attempts, owed_at, due_at,
    finished_at, last_status, last_error from deliveries";

/// The filter that leaves the fewest rows leads, by its index; the others only sort out.
fn list(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    filter: &DeliveryFilter,
    page: PageRequest,
) -> Result<Page<LoggedDelivery>, StoreError> {
    let mut sql = format!("{SELECT} where tenant = ?1");
    let mut values: Vec<Value> = values![tenant.0].into();
    let mut and = |column: &str, value: Option<Value>| {
        if let Some(value) = value {
            values.push(value);
            sql.push_str(&format!(" and {column} ?{}", values.len()));
        }
    };
    and("alert =", filter.alert.map(|alert| alert.0.into()));
    and("channel =", filter.channel.as_ref().map(Into::into));
    and("state =", filter.state.map(|state| Value::Int(state as i64)));
    and("delivery_id <", page.before.map(Into::into));
    values.push(Value::Int(i64::from(page.limit) + 1));
    sql.push_str(&format!(" order by delivery_id desc limit ?{}", values.len()));
    let mut items = transaction.all(&sql, &values, read)?;
    let limit = page.limit as usize;
    let more = items.len() > limit;
    items.truncate(limit);
    Ok(Page { items, more })
}

fn find(transaction: &mut Transaction<'_>, tenant: TenantKey, id: DeliveryId) -> Result<LoggedDelivery, StoreError> {
    let sql = format!("{SELECT} where tenant = ?1 and delivery_id = ?2");
    transaction.first(&sql, &values![tenant.0, id.0], read)?.ok_or(StoreError::NotFound)
}

fn read(row: &Row) -> Result<LoggedDelivery, StoreError> {
    let means = match row.get::<i64>(3)? {
        1 => Means::Mail,
        2 => Means::Webhook,
        _ => Means::Push,
    };
    let state = match row.get::<i64>(6)? {
        1 => DeliveryState::Waiting,
        2 => DeliveryState::Delivered,
        3 => DeliveryState::Failed,
        _ => DeliveryState::LeftOut,
    };
    Ok(LoggedDelivery {
        key: row.get(0)?,
        id: DeliveryId(EventId::from_bytes(row.get(1)?)),
        message: row.json(2)?,
        means,
        receiver: row.get(4)?,
        channel: row.get(5)?,
        state,
        attempts: row.get(7)?,
        owed_at: row.time(8)?,
        due_at: row.time(9)?,
        finished_at: row.optional_time(10)?,
        last_status: row.get(11)?,
        last_error: row.get(12)?,
    })
}

fn read_attempt(row: &Row) -> Result<Attempt, StoreError> {
    Ok(Attempt { at: row.time(0)?, took_ms: row.get(1)?, status: row.get(2)?, error: row.get(3)? })
}
