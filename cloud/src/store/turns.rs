//! Turns at the readers, so that one tenant's slow lists leave readers to the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{StoreError, TenantKey};

/// Who may use a reader now; each tenant some at once.
#[derive(Debug)]
pub(super) struct Turns {
    per_tenant: usize,
    /// Of the tenants that use readers now.
    tenants: Mutex<HashMap<TenantKey, Weak<Semaphore>>>,
}

impl Turns {
    /// So many at once for each tenant.
    pub(super) fn new(per_tenant: usize) -> Self {
        Self { per_tenant, tenants: Mutex::default() }
    }

    /// Waits for a turn of `tenant`; it ends when the permit is dropped.
    pub(super) async fn take(&self, tenant: TenantKey) -> Result<OwnedSemaphorePermit, StoreError> {
        let closed = |_| StoreError::Database("the store has been closed".into());
        self.of(tenant).acquire_owned().await.map_err(closed)
    }

    fn of(&self, tenant: TenantKey) -> Arc<Semaphore> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = tenants.get(&tenant).and_then(Weak::upgrade) {
            return known;
        }
        tenants.retain(|_, turns| turns.strong_count() > 0);
        let made = Arc::new(Semaphore::new(self.per_tenant));
        tenants.insert(tenant, Arc::downgrade(&made));
        made
    }
}
