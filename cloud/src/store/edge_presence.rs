//! Whether edges are told online or offline, and take-overs of their connections.

use aivms_cloud_core::audit::Action;
use aivms_cloud_core::presence::{Change, HoldOff, Sight, Told, Watch};
use aivms_cloud_core::rules::{Occurrence, What};
use aivms_contract::id::{EdgeId, EventId};
use aivms_contract::time::UtcMillis;
use serde_json::Value as Json;

use super::edges::edge_key;
use super::lists::{Page, PageRequest};
use super::sql::{Row, Transaction, Value, values};
use super::{EdgeKey, Store, StoreError, TenantKey, alerts, audit};

/// Edges judged in one transaction.
const JUDGED_AT_ONCE: u32 = 500;
/// So many take-overs of one edge within [`TAKE_OVER_PERIOD_MS`] mean two boxes with the same identity: a box that
/// reconnects after a network failure takes over from itself once.
const TAKE_OVER_ALARM: i64 = 3;
const TAKE_OVER_PERIOD_MS: i64 = 600_000;

/// Something that was told of an edge's presence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceEvent {
    /// Its id, the order of lists.
    pub id: EventId,
    /// What was told.
    pub kind: PresenceKind,
    /// Since when the edge is there, its last sign of life, or when the take-over was seen.
    pub at: UtcMillis,
    /// When the cloud found out.
    pub noted_at: UtcMillis,
    /// What was seen, for a person.
    pub detail: Option<String>,
}

/// What is told of an edge's presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PresenceKind {
    /// It is there.
    Online,
    /// It is gone.
    Offline,
    /// Somebody else seems to use its identity.
    TakeOver,
}

/// Says that a text is no kind of presence event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is no kind of presence event: {0:?}")]
pub struct PresenceKindError(String);

impl PresenceKind {
    /// The name in the database and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
            Self::TakeOver => "take_over",
        }
    }

    /// What rules are asked about when this is told of `edge`, now or when it is tried on what was told: `gone` is the
    /// last sign of life with which the edge was told offline before. `None` for an edge that is there for the first
    /// time, which is no news to whoever has just set it up.
    pub(super) fn tells(
        self,
        edge: EdgeId,
        at: UtcMillis,
        gone: Option<UtcMillis>,
        detail: Option<&str>,
    ) -> Option<Occurrence> {
        let what = match self {
            Self::Offline => What::EdgeOffline,
            Self::Online => {
                What::EdgeOnline { offline_ms: u64::try_from(at.since(gone?).as_millis()).unwrap_or(u64::MAX) }
            }
            Self::TakeOver => What::TakeOver { detail: detail.unwrap_or_default().to_owned() },
        };
        Some(Occurrence { event: None, at, edge, camera: None, what })
    }
}

impl std::str::FromStr for PresenceKind {
    type Err = PresenceKindError;
    fn from_str(text: &str) -> Result<Self, PresenceKindError> {
        let all = [Self::Online, Self::Offline, Self::TakeOver];
        all.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| PresenceKindError(text.to_owned()))
    }
}

impl Store {
    /// Looks at every edge whose presence may have changed, and tells what did, once. Any process may do it at any
    /// time. Returns how many changes were told.
    ///
    /// # Errors
    /// The database's own.
    pub async fn judge_presence(
        &self,
        hold_off: HoldOff,
        listening_since: UtcMillis,
        now: UtcMillis,
    ) -> Result<usize, StoreError> {
        let values = candidates(hold_off, now);
        let any = self.lookup({
            let values = values.clone();
            move |transaction| transaction.exists(CANDIDATES, &values)
        });
        if !any.await? {
            return Ok(0);
        }
        self.write(move |transaction| {
            let edges = transaction.all(CANDIDATES, &values, Judged::read)?;
            let mut told = 0;
            for edge in &edges {
                let sight = Sight { last_seen: edge.last_seen, listening_since, now };
                let (watch, change) = edge.watch.look(sight, hold_off);
                if watch != edge.watch {
                    edge.remember(transaction, watch, change)?;
                }
                if let Some(change) = change {
                    edge.tell(transaction, change, now)?;
                    told += 1;
                }
            }
            Ok(told)
        })
        .await
    }

    /// A page of what was told of an edge, newest first.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for an edge that is not there.
    pub async fn presence_events(
        &self,
        tenant: TenantKey,
        edge_id: &EdgeId,
        page: PageRequest,
    ) -> Result<Page<PresenceEvent>, StoreError> {
        let edge_id = edge_id.clone();
        self.list(tenant, move |transaction| {
            let edge = edge_key(transaction, tenant, &edge_id)?.ok_or(StoreError::NotFound)?;
            let sql = "select event_id, kind, at, noted_at, detail from presence_events
                       where tenant = ?1 and edge = ?2 and event_id < ?3 order by event_id desc limit ?4";
            let before = page.before.unwrap_or(EventId::from_bytes([0xff; 16]));
            let values = values![tenant.0, edge.0, before, page.limit.saturating_add(1)];
            Ok(Page::of(transaction.all(sql, &values, read_event)?, page.limit))
        })
        .await
    }

    /// Counts a take-over of an edge's connection by another one; tells when there are too many within ten minutes.
    /// Returns whether it was told.
    ///
    /// # Errors
    /// The database's own.
    pub async fn count_take_over(&self, edge: EdgeKey, now: UtcMillis) -> Result<bool, StoreError> {
        self.write(move |transaction| {
            let count = transaction.first(
                "insert into edge_presence (edge, told, take_overs, take_overs_since) values (?1, 'nothing', 1, ?2)
                 on conflict (edge) do update set
                     take_overs = case when edge_presence.take_overs_since > ?3 then edge_presence.take_overs + 1 else 1 end,
                     take_overs_since = case when edge_presence.take_overs_since > ?3
                         then edge_presence.take_overs_since else ?2 end
                 returning take_overs",
                &values![edge.0, now, now.as_millis() - TAKE_OVER_PERIOD_MS],
                |row| row.get::<i64>(0),
            )?;
            // Told once in each period, however long the two boxes go on.
            if count != Some(TAKE_OVER_ALARM) {
                return Ok(false);
            }
            let owner = transaction.first("select tenant, edge_id from edges where id = ?1", &values![edge.0], |row| {
                Ok((TenantKey(row.get(0)?), row.parsed::<EdgeId>(1)?))
            })?;
            let Some((tenant, edge_id)) = owner else { return Ok(false) };
            let detail = format!(
                "{TAKE_OVER_ALARM} connections replaced each other within ten minutes: is its disk in use in two boxes? \
                 Rotate its secret"
            );
            insert_event(transaction, tenant, edge, PresenceKind::TakeOver, now, now, Some(&detail))?;
            let subject = edge_id.to_string();
            let told = PresenceKind::TakeOver.tells(edge_id, now, None, Some(&detail));
            alerts::consider(transaction, tenant, told.as_slice(), now)?;
            audit::note(transaction, tenant, Action::EdgeTakenOver, Some(&subject), Json::Null, now)?;
            Ok(true)
        })
        .await
    }
}

/// Edges that a look may change something about; `?1` the oldest sign of life of an edge that is heard, `?2` the
/// newest of one that may be told offline.
const CANDIDATES: &str =
    "select e.id, e.tenant, e.last_seen, coalesce(p.told, 'nothing'), p.heard_since, e.edge_id, p.since
    from edges e left join edge_presence p on p.edge = e.id
    where e.revoked_at is null and e.last_seen is not null and (
        (p.told = 'online' and e.last_seen <= ?2)
        or (p.told = 'offline' and (e.last_seen > ?1 or p.heard_since is not null))
        or (coalesce(p.told, 'nothing') = 'nothing' and e.last_seen > ?1)
    )
    order by e.id limit ?3";

fn candidates(hold_off: HoldOff, now: UtcMillis) -> Vec<Value> {
    let before = |span: std::time::Duration| now.as_millis() - i64::try_from(span.as_millis()).unwrap_or(i64::MAX / 2);
    values![before(hold_off.timeout), before(hold_off.timeout + hold_off.offline), JUDGED_AT_ONCE].into()
}

/// An edge that is looked at.
struct Judged {
    key: EdgeKey,
    tenant: TenantKey,
    edge_id: EdgeId,
    last_seen: UtcMillis,
    watch: Watch,
    /// Since when what was told last is so.
    since: Option<UtcMillis>,
}

impl Judged {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let told = match row.get::<String>(3)?.as_str() {
            "online" => Told::Online,
            "offline" => Told::Offline,
            _ => Told::Nothing,
        };
        Ok(Self {
            key: EdgeKey(row.get(0)?),
            tenant: TenantKey(row.get(1)?),
            last_seen: row.time(2)?,
            watch: Watch { told, heard_since: row.optional_time(4)? },
            edge_id: row.parsed(5)?,
            since: row.optional_time(6)?,
        })
    }

    fn remember(
        &self,
        transaction: &mut Transaction<'_>,
        watch: Watch,
        change: Option<Change>,
    ) -> Result<(), StoreError> {
        let since = change.map(|(Change::Online(at) | Change::Offline(at))| at);
        let told = match watch.told {
            Told::Nothing => "nothing",
            Told::Online => "online",
            Told::Offline => "offline",
        };
        transaction.execute(
            "insert into edge_presence (edge, told, since, heard_since) values (?1, ?2, ?3, ?4)
             on conflict (edge) do update set told = ?2, heard_since = ?4,
                 since = coalesce(?3, edge_presence.since)",
            &values![self.key.0, told, since, watch.heard_since],
        )?;
        Ok(())
    }

    fn tell(&self, transaction: &mut Transaction<'_>, change: Change, now: UtcMillis) -> Result<(), StoreError> {
        let (kind, at) = match change {
            Change::Offline(seen) => (PresenceKind::Offline, seen),
            Change::Online(at) => (PresenceKind::Online, at),
        };
        insert_event(transaction, self.tenant, self.key, kind, at, now, None)?;
        let gone = self.since.filter(|_| self.watch.told == Told::Offline);
        match kind.tells(self.edge_id.clone(), at, gone, None) {
            Some(told) => alerts::consider(transaction, self.tenant, &[told], now),
            None => Ok(()),
        }
    }
}

fn insert_event(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    edge: EdgeKey,
    kind: PresenceKind,
    at: UtcMillis,
    now: UtcMillis,
    detail: Option<&str>,
) -> Result<(), StoreError> {
    let id = EventId::from_parts(now, fastrand::u128(..));
    transaction.execute(
        "insert into presence_events (tenant, edge, event_id, kind, at, noted_at, detail)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        &values![tenant.0, edge.0, id, kind.as_str(), at, now, detail],
    )?;
    Ok(())
}

fn read_event(row: &Row) -> Result<PresenceEvent, StoreError> {
    Ok(PresenceEvent {
        id: EventId::from_bytes(row.get(0)?),
        kind: row.parsed(1)?,
        at: row.time(2)?,
        noted_at: row.time(3)?,
        detail: row.get(4)?,
    })
}
