//! Back-test over stored events.

use std::time::{Duration, Instant};

use aivms_cloud_core::rules::{BackTest, Kind, Occurrence, ReadyRule, Report};
use aivms_contract::id::EventId;
use aivms_contract::time::UtcMillis;
use aivms_contract::topic::UpKind;

use super::super::events::kind_number;
use super::super::lists::{read_event, select_events};
use super::super::sql::{Transaction, values};
use super::super::{Store, StoreError, TenantKey};

/// Events read in one step: a step is a list, and lists are broken off after a few seconds.
const STEP: i64 = 5_000;
/// Most events of one back-test.
const MAX_EVENTS: u64 = 2_000_000;
/// Longest time of one back-test.
const LIMIT: Duration = Duration::from_secs(30);

/// What to try on which events.
#[derive(Debug)]
pub struct BackTestRequest {
    /// The rule to be tried.
    pub candidate: ReadyRule,
    /// The rule to compare it with.
    pub today: Option<ReadyRule>,
    /// Events from here on count.
    pub start: UtcMillis,
    /// Events before this.
    pub end: UtcMillis,
}

impl Store {
    /// Tries a rule on the tenant's stored events in the order in which they were stored, beside the rule of today.
    ///
    /// Rules of kinds that no stored event tells of find nothing; the caller refuses them.
    ///
    /// # Errors
    /// [`StoreError::TooSlow`] when there are too many events to look at in the time there is.
    pub async fn back_test(&self, tenant: TenantKey, request: BackTestRequest) -> Result<Report, StoreError> {
        let deadline = Instant::now() + LIMIT;
        let kinds = stored_kinds(&request);
        let warm_up = BackTest::warm_up(&request.candidate, request.today.as_ref());
        let bounds = [request.start - warm_up, request.end];
        let mut test = BackTest::new(request.candidate, request.today, request.start);
        let first = {
            let kinds = kinds.clone();
            self.list(tenant, move |transaction| first_number(transaction, tenant, &kinds, bounds)).await?
        };
        let (Some(mut after), mut looked_at) = (first.map(|first| first - 1), 0) else { return Ok(test.finish()) };
        loop {
            let step = self.list(tenant, {
                let kinds = kinds.clone();
                move |transaction| next(transaction, tenant, &kinds, bounds, after)
            });
            let found = step.await?;
            for (number, occurrences) in &found {
                after = *number;
                for occurrence in occurrences {
                    if test.is_about(occurrence) {
                        test.take(occurrence);
                    }
                }
            }
            looked_at += found.len() as u64;
            if (found.len() as i64) < STEP {
                return Ok(test.finish());
            }
            if Instant::now() > deadline || looked_at >= MAX_EVENTS {
                return Err(StoreError::TooSlow);
            }
        }
    }
}

/// The kinds of stored events that tell of what the rules wait for.
fn stored_kinds(request: &BackTestRequest) -> Vec<i64> {
    let kinds = [Some(&request.candidate), request.today.as_ref()].into_iter().flatten();
    let mut numbers: Vec<i64> = kinds.filter_map(|ready| up_kind(ready.rule.kind)).map(kind_number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// The kind of events that tell of what a rule waits for; `None` when none is stored.
fn up_kind(kind: Kind) -> Option<UpKind> {
    match kind {
        Kind::Zone => Some(UpKind::ZoneEvents),
        Kind::Detection => Some(UpKind::Detections),
        Kind::EdgeAlert => Some(UpKind::Alerts),
        Kind::CameraState | Kind::DiskForecast | Kind::Temperature => Some(UpKind::Health),
        Kind::RecordingGap => Some(UpKind::Footage),
        Kind::EdgeOffline | Kind::EdgeOnline | Kind::TakeOver => None,
    }
}

impl BackTestRequest {
    /// Whether stored events tell of what a rule of this kind waits for.
    #[must_use]
    pub fn can_try(kind: Kind) -> bool {
        up_kind(kind).is_some()
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

/// The next events in the order of storing, each with its number in the feed and what it tells of.
fn next(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    kinds: &[i64],
    [start, end]: [UtcMillis; 2],
    after: i64,
) -> Result<Vec<(i64, Vec<Occurrence>)>, StoreError> {
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
        Ok((event.feed_number, Occurrence::of_event(&event.envelope)))
    })
}
