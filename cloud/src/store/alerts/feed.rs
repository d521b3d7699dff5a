//! Changes of alerts in the order of commits, for the live feed.

use super::super::sql::{Transaction, values};
use super::super::{Store, StoreError, TenantKey};
use super::{Alert, Asker, lists};

/// An alert and the number of its last change.
#[derive(Debug, Clone)]
pub struct FedAlert {
    /// Strictly rising number of the tenant in the order of changes.
    pub number: i64,
    /// The alert as it is now.
    pub alert: Alert,
}

impl Store {
    /// Alerts changed after `number`, in the order of their last changes, at most `limit`; each as it is now, so that
    /// an alert that changed twice comes once.
    ///
    /// # Errors
    /// The database's own.
    pub async fn alerts_after(&self, asker: Asker, number: i64, limit: u32) -> Result<Vec<FedAlert>, StoreError> {
        self.list(asker.tenant, move |transaction| lists::after(transaction, &asker, number, limit)).await
    }

    /// The number of the last change of an alert of the tenant; 0 before the first.
    ///
    /// # Errors
    /// The database's own.
    pub async fn alert_head(&self, tenant: TenantKey) -> Result<i64, StoreError> {
        let sql = "select head from alert_feeds where tenant = ?1";
        let found =
            self.lookup(move |transaction| transaction.first(sql, &values![tenant.0], |row| row.get(0))).await?;
        Ok(found.unwrap_or_default())
    }
}

/// The number of a change that is being made. Until the transaction ends nobody else takes one of this tenant.
pub(super) fn next_number(transaction: &mut Transaction<'_>, tenant: TenantKey) -> Result<i64, StoreError> {
    let sql = "insert into alert_feeds (tenant, head) values (?1, 1)
         on conflict (tenant) do update set head = alert_feeds.head + 1 returning head";
    let number = transaction.first(sql, &values![tenant.0], |row| row.get(0))?;
    number.ok_or_else(|| StoreError::Database("a number was not returned".into()))
}
