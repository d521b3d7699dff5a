//! A walk over what is stored of a tenant, in the order of storing.

use std::collections::VecDeque;

use aivms_cloud_core::rules::Occurrence;
use aivms_contract::time::UtcMillis;

use super::super::super::{Store, StoreError, TenantKey};
use super::presence::{self, Gone};
use super::{MAX_ROWS, STEP, first_number, next};

/// The walk, as far as it has come.
pub(super) struct Walk {
    tenant: TenantKey,
    /// The kinds of events.
    kinds: Vec<i64>,
    /// What happened from the first on and before the second.
    bounds: [UtcMillis; 2],
    events: Ahead,
    told: Ahead,
    gone: Gone,
    rows: u64,
}

/// A stored row that tells of something.
pub(super) struct Stored {
    /// Its number in the order of storing.
    pub(super) number: i64,
    /// When it was stored.
    pub(super) at: UtcMillis,
    pub(super) tells: Vec<Occurrence>,
}

/// Rows that were read ahead of the walk, in the order of storing.
struct Ahead {
    rows: VecDeque<Stored>,
    /// The number of the last row read; `None` when there are no more.
    after: Option<i64>,
}

impl Walk {
    /// Begins where the first thing in question was stored.
    pub(super) async fn begin(
        store: &Store,
        tenant: TenantKey,
        (kinds, with_presence): (Vec<i64>, bool),
        bounds: [UtcMillis; 2],
    ) -> Result<Self, StoreError> {
        let of_events = kinds.clone();
        let first = store.list(tenant, move |transaction| {
            let told = with_presence.then(|| presence::before(transaction, tenant, bounds)).transpose()?;
            Ok((first_number(transaction, tenant, &of_events, bounds)?.map(|first| first - 1), told))
        });
        let (events, told) = first.await?;
        let (events, told) = (Ahead::after(events), Ahead::after(told));
        Ok(Self { tenant, kinds, bounds, events, told, gone: Gone::default(), rows: 0 })
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// [`StoreError::TooSlow`] when there are more than may be read.
    pub(super) async fn next(&mut self, store: &Store) -> Result<Option<Stored>, StoreError> {
        let (tenant, bounds) = (self.tenant, self.bounds);
        if let Some(after) = self.events.wanted() {
            let kinds = self.kinds.clone();
            let step = store.list(tenant, move |transaction| next(transaction, tenant, &kinds, bounds, after));
            self.rows += self.events.refill(step.await?);
        }
        if let Some(after) = self.told.wanted() {
            let gone = std::mem::take(&mut self.gone);
            let step = store.list(tenant, move |transaction| gone.next(transaction, tenant, bounds, after));
            let (found, gone) = step.await?;
            self.gone = gone;
            self.rows += self.told.refill(found);
        }
        if self.rows > MAX_ROWS {
            return Err(StoreError::TooSlow);
        }
        Ok(self.first())
    }

    /// The row that was stored first. Events and what was told each keep their own order, whatever the clocks of
    /// several servers said; only that order matters, as a rule is about one kind.
    fn first(&mut self) -> Option<Stored> {
        let first = match (self.events.rows.front(), self.told.rows.front()) {
            (Some(event), Some(told)) if told.at < event.at => &mut self.told,
            (None, _) => &mut self.told,
            (Some(_), _) => &mut self.events,
        };
        first.rows.pop_front()
    }
}

impl Ahead {
    fn after(number: Option<i64>) -> Self {
        Self { rows: VecDeque::new(), after: number }
    }

    /// After which row to read on, when all that were read are taken and there may be more.
    fn wanted(&self) -> Option<i64> {
        self.after.filter(|_| self.rows.is_empty())
    }

    /// Takes what a step has read; says how much that was.
    fn refill(&mut self, rows: Vec<Stored>) -> u64 {
        let read = rows.len();
        self.after = rows.last().map(|last| last.number).filter(|_| read as i64 >= STEP);
        self.rows = rows.into();
        read as u64
    }
}
