//! Back-test over stored events, and over what was told of edges that went, came or took each other's place over.

mod presence;
mod turn;
mod walk;

use std::time::Duration;

use aivms_cloud_core::rules::{BackTest, Kind, Occurrence, ReadyRule, Report, Rule};
use aivms_contract::id::EventId;
use aivms_contract::time::UtcMillis;
use aivms_contract::topic::UpKind;

use self::walk::{Stored, Walk};
use super::super::events::kind_number;
use super::super::lists::{read_event, select_events};
use super::super::sql::{Transaction, values};
use super::super::{Store, StoreError, TenantKey};

/// Rows read in one step: a step is a list, and lists are broken off after a few seconds.
const STEP: i64 = 5_000;
/// Most rows of one back-test.
const MAX_ROWS: u64 = 2_000_000;
/// Longest time of one back-test.
const LIMIT: Duration = Duration::from_secs(30);

/// What to try on what.
#[derive(Debug)]
pub struct BackTestRequest {
    /// The rule to be tried.
    pub candidate: ReadyRule,
    /// The rule to compare it with.
    pub today: Option<ReadyRule>,
    /// What happened from here on counts.
    pub start: UtcMillis,
    /// What happened before this.
    pub end: UtcMillis,
}

impl Store {
    /// Tries a rule on what is stored of the tenant in the order in which it was stored, beside the rule of today.
    ///
    /// # Errors
    /// [`StoreError::TooSlow`] when there is too much to look at in the time there is, [`StoreError::AtWork`] while
    /// another back-test of the tenant runs.
    pub async fn back_test(
        &self,
        tenant: TenantKey,
        request: BackTestRequest,
        now: UtcMillis,
    ) -> Result<Report, StoreError> {
        let turn = self.back_test_turn(tenant, now).await?;
        let report = tokio::time::timeout(LIMIT, self.try_on_all(tenant, request)).await;
        turn.end().await;
        report.unwrap_or(Err(StoreError::TooSlow))
    }

    async fn try_on_all(&self, tenant: TenantKey, request: BackTestRequest) -> Result<Report, StoreError> {
        let of_presence = request.rules().any(|rule| matches!(told_by(rule.kind), ToldBy::Presence));
        let of = (stored_kinds(&request), of_presence);
        let warm_up = BackTest::warm_up(&request.candidate, request.today.as_ref());
        let mut walk = Walk::begin(self, tenant, of, [request.start - warm_up, request.end]).await?;
        let mut test = BackTest::new(request.candidate, request.today, request.start);
        while let Some(stored) = walk.next(self).await? {
            for occurrence in &stored.tells {
                if test.is_about(occurrence) {
                    test.take(occurrence);
                }
            }
        }
        Ok(test.finish())
    }
}

/// What is stored that tells of what a rule waits for.
enum ToldBy {
    Events(UpKind),
    Presence,
}

fn told_by(kind: Kind) -> ToldBy {
    match kind {
        Kind::Zone => ToldBy::Events(UpKind::ZoneEvents),
        Kind::Detection => ToldBy::Events(UpKind::Detections),
        Kind::EdgeAlert => ToldBy::Events(UpKind::Alerts),
        Kind::CameraState | Kind::DiskForecast | Kind::Temperature => ToldBy::Events(UpKind::Health),
        Kind::RecordingGap => ToldBy::Events(UpKind::Footage),
        Kind::EdgeOffline | Kind::EdgeOnline | Kind::TakeOver => ToldBy::Presence,
    }
}

/// The kinds of stored events that tell of what the rules wait for.
fn stored_kinds(request: &BackTestRequest) -> Vec<i64> {
    let kinds = request.rules().filter_map(|rule| match told_by(rule.kind) {
        ToldBy::Events(kind) => Some(kind_number(kind)),
        ToldBy::Presence => None,
    });
    let mut numbers: Vec<i64> = kinds.collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

impl BackTestRequest {
    fn rules(&self) -> impl Iterator<Item = &Rule> {
        [Some(&self.candidate), self.today.as_ref()].into_iter().flatten().map(|ready| &ready.rule)
    }
}

/// The feed number of the first event stored of those in question, so that older ones are not read.
fn first_number(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    kinds: &[i64],
    [start, end]: [UtcMillis; 2],
) -> Result<Option<i64>, StoreError> {
    let mut first: Option<i64> = None;
    for kind in kinds {
        let sql = "select min(feed_number) from events where tenant = ?1 and kind = ?2 and id >= ?3 and id < ?4";
        let values = values![tenant.0, *kind, EventId::first_at(start), EventId::first_at(end)];
        let found: Option<i64> = transaction.first(sql, &values, |row| row.get(0))?.flatten();
        first = first.into_iter().chain(found).min();
    }
    Ok(first)
}

/// The next events in the order of storing.
fn next(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    kinds: &[i64],
    [start, end]: [UtcMillis; 2],
    after: i64,
) -> Result<Vec<Stored>, StoreError> {
    let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
    let select = select_events(transaction.dialect(), "events_by_feed");
    let sql = format!(
        "{select} where v.tenant = ?1 and v.feed_number > ?2 and v.kind in ({}) and v.id >= ?3 and v.id < ?4
         order by v.feed_number limit ?5",
        kinds.join(", ")
    );
    let values = values![tenant.0, after, EventId::first_at(start), EventId::first_at(end), STEP];
    transaction.all(&sql, &values, |row| {
        let event = read_event(row)?;
        let tells = Occurrence::of_event(&event.envelope);
        Ok(Stored { number: event.feed_number, at: event.received_at, tells })
    })
}
