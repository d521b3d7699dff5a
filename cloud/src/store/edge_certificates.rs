//! The certificates an edge has and had.

use aivms_contract::id::EdgeId;
use aivms_contract::time::UtcMillis;

use super::edges::edge_key;
use super::sql::values;
use super::{Fingerprint, Store, StoreError, TenantKey};

/// Certificates of an edge that are listed: renewals of many years.
const MOST: u32 = 200;

/// A certificate of an edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeCertificate {
    /// SHA-256 of the DER.
    pub fingerprint: Fingerprint,
    /// When it was issued.
    pub issued_at: UtcMillis,
    /// End of its life.
    pub not_after: UtcMillis,
    /// When it was withdrawn; `None` while it counts.
    pub revoked_at: Option<UtcMillis>,
}

impl Store {
    /// The newest certificates of an edge, newest first.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for an edge that is not there.
    pub async fn edge_certificates(
        &self,
        tenant: TenantKey,
        edge_id: &EdgeId,
    ) -> Result<Vec<EdgeCertificate>, StoreError> {
        let edge_id = edge_id.clone();
        self.lookup(move |transaction| {
            let edge = edge_key(transaction, tenant, &edge_id)?.ok_or(StoreError::NotFound)?;
            let sql = "select fingerprint, issued_at, not_after, revoked_at from certificates
                       where edge = ?1 order by issued_at desc, fingerprint limit ?2";
            transaction.all(sql, &values![edge.0, MOST], |row| {
                Ok(EdgeCertificate {
                    fingerprint: row.get(0)?,
                    issued_at: row.time(1)?,
                    not_after: row.time(2)?,
                    revoked_at: row.optional_time(3)?,
                })
            })
        })
        .await
    }
}
