//! How many calls a person, an API key and a tenant as a whole may make, so that no program of one takes the API from others.
//!
//! Each process counts the calls that come to it, in memory: a database that counted for all would be asked more for the
//! counting than for most calls. Edges don't pass here: what they bring must not wait for what people do.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aivms_cloud_core::pace::{Meter, Pace};
use prometheus_client::metrics::counter::Counter;

use super::Tried;
use super::failure::Failure;
use crate::metrics::HttpFigures;
use crate::store::{Credential, TenantKey, UserKey};

/// How often refused calls are told of in the log.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Who makes a call. A person's sessions count together: signing in again gives nobody more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Caller {
    Person(UserKey),
    /// By its hash.
    ApiKey([u8; 32]),
}

/// Counts calls and refuses those that are too many.
#[derive(Debug)]
pub(super) struct Calls {
    began: Instant,
    meters: Mutex<Meters>,
    of_people: Counter,
    of_api_keys: Counter,
    of_tenants: Counter,
}

#[derive(Debug)]
struct Meters {
    callers: Option<Meter<Caller>>,
    tenants: Option<Meter<TenantKey>>,
    refused: Refused,
}

/// Refused calls that the log was not told of yet.
#[derive(Debug, Default)]
struct Refused {
    calls: u64,
    told_at: Option<Duration>,
}

/// A call that was one too many.
struct TooMany {
    pace: Pace,
    of_tenant: bool,
    wait: Duration,
    /// How many were refused since the log was told last, if it is to be told now.
    to_tell: Option<u64>,
}

impl Calls {
    /// Holds each person and API key to one pace and each tenant to another; `None` holds them to nothing.
    pub(super) fn new(per_caller: Option<Pace>, per_tenant: Option<Pace>, figures: &HttpFigures) -> Self {
        let (callers, tenants) = (per_caller.map(Meter::new), per_tenant.map(Meter::new));
        Self {
            began: Instant::now(),
            meters: Mutex::new(Meters { callers, tenants, refused: Refused::default() }),
            of_people: figures.refused("person"),
            of_api_keys: figures.refused("api_key"),
            of_tenants: figures.refused("tenant"),
        }
    }

    /// Counts a call of `credential`, which was found to be good and one of `tenant`. A refused call counts for nobody.
    ///
    /// # Errors
    /// It is one too many; says how long to wait.
    pub(super) fn count(&self, credential: &Credential, tenant: TenantKey) -> Tried<()> {
        let caller = match credential {
            Credential::Session { user, .. } => Caller::Person(*user),
            Credential::Key(hash) => Caller::ApiKey(*hash),
        };
        let (of, counter) = match caller {
            Caller::Person(_) => ("person", &self.of_people),
            Caller::ApiKey(_) => ("API key", &self.of_api_keys),
        };
        let taken = {
            let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
            // Looked at with the lock held, so that time goes forward for the meters.
            meters.take(caller, tenant, self.began.elapsed())
        };
        let Err(TooMany { pace, of_tenant, wait, to_tell }) = taken else { return Ok(()) };
        let (of, counter) = if of_tenant { ("tenant", &self.of_tenants) } else { (of, counter) };
        counter.inc();
        if let Some(refused) = to_tell {
            tracing::warn!(of, refused, "calls are refused as too many; what follows is told in a minute");
        }
        let Pace { per_second, at_once } = pace;
        let detail = format!("too many calls of this {of}: {at_once} at once and {per_second} a second are answered");
        Err(Failure::too_many(detail, wait))
    }
}

impl Meters {
    fn take(&mut self, caller: Caller, tenant: TenantKey, now: Duration) -> Result<(), TooMany> {
        // Both are asked before either counts, so that a tenant's flood uses up nothing of its people's own, and theirs
        // nothing of its own.
        let of_caller = self.callers.as_ref().map(|meter| (meter.pace(), meter.wait(&caller, now), false));
        let of_tenant = self.tenants.as_ref().map(|meter| (meter.pace(), meter.wait(&tenant, now), true));
        let longest = of_caller.into_iter().chain(of_tenant).max_by_key(|(_, wait, _)| *wait);
        if let Some((pace, wait, of_tenant)) = longest.filter(|(_, wait, _)| !wait.is_zero()) {
            return Err(TooMany { pace, of_tenant, wait, to_tell: self.refused.note(now) });
        }
        if let Some(meter) = &mut self.callers {
            meter.count(caller, now);
        }
        if let Some(meter) = &mut self.tenants {
            meter.count(tenant, now);
        }
        Ok(())
    }
}

impl Refused {
    /// Notes one more; gives how many there are to tell of, once a minute.
    fn note(&mut self, now: Duration) -> Option<u64> {
        self.calls += 1;
        if self.told_at.is_some_and(|told_at| now.saturating_sub(told_at) < TELL_EVERY) {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.calls))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn pace(per_second: u32, at_once: u32) -> Option<Pace> {
        Some(Pace { per_second: NonZeroU32::new(per_second)?, at_once: NonZeroU32::new(at_once)? })
    }

    fn meters(per_caller: Option<Pace>, per_tenant: Option<Pace>) -> Meters {
        let (callers, tenants) = (per_caller.map(Meter::new), per_tenant.map(Meter::new));
        Meters { callers, tenants, refused: Refused::default() }
    }

    /// Who was refused, and for how many seconds.
    fn refusal(taken: Result<(), TooMany>) -> Option<(bool, f64)> {
        taken.err().map(|refused| (refused.of_tenant, refused.wait.as_secs_f64()))
    }

    #[test]
    fn a_refused_call_uses_up_nothing_of_either() {
        let mut meters = meters(pace(1, 2), pace(1, 3));
        let mut take =
            |caller, now| refusal(meters.take(Caller::Person(UserKey(caller)), TenantKey(7), Duration::from_secs(now)));
        assert_eq!([take(1, 0), take(1, 0), take(1, 0)], [None, None, Some((false, 1.0))]);
        assert_eq!([take(2, 0), take(2, 0)], [None, Some((true, 1.0))]);
        // One of the tenant's has come back, and of the second person's one was never used.
        assert_eq!([take(2, 1), take(2, 1)], [None, Some((true, 1.0))]);
        assert_eq!(take(3, 3), None);
    }

    #[test]
    fn one_that_is_not_limited_is_not_remembered() {
        let mut meters = meters(None, None);
        for caller in 0..1_000 {
            assert_eq!(refusal(meters.take(Caller::ApiKey([1; 32]), TenantKey(caller), Duration::ZERO)), None);
        }
        assert!(meters.callers.is_none() && meters.tenants.is_none());
    }

    #[test]
    fn the_log_is_told_of_refused_calls_once_a_minute_and_of_all_of_them() {
        let mut refused = Refused::default();
        let told: Vec<_> = (0..150).filter_map(|second| refused.note(Duration::from_secs(second))).collect();
        assert_eq!(told, [1, 60, 60]);
    }
}
