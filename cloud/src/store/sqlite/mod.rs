//! SQLite: one file, one writer, several readers.
//!
//! Settings come from measurements (WAL, full synchronisation, 16,000 pages between checkpoints): a full
//! synchronisation per commit costs 5 % at 1,000 events per batch and is what makes an acknowledgement true.

mod accounts;
mod certificates;
mod claim;
mod connection;
mod edges;
mod events;
mod lists;
mod media;
mod migrate;
mod names;
mod rows;

use std::path::Path;

use aivms_contract::id::{EdgeId, OperatorId};
use aivms_contract::media::{MediaId, MediaKind};
use aivms_contract::time::UtcMillis;
use aivms_contract::topic::UpKind;
use async_trait::async_trait;

use self::connection::Database;
use super::{
    ActiveCertificate, Edge, EdgeKey, EnrollmentState, EventFilter, Fingerprint, Incoming, Media, MediaKey,
    NewCertificate, NewTenant, OfferedMedia, Operator, Page, PageRequest, Presence, Recorded, Store, StoreError,
    StoredEvent, TenantKey, User, UserKey,
};

/// The store in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    database: Database,
}

impl SqliteStore {
    /// Opens or makes the file and brings it to the current schema. Blocks.
    ///
    /// # Errors
    /// The file can't be made or written, is no SQLite database, or was written by a newer program.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Database::open(path).map(|database| Self { database })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn register_tenant(&self, tenant: NewTenant, now: UtcMillis) -> Result<User, StoreError> {
        self.database.write(move |transaction, _| accounts::register_tenant(transaction, &tenant, now)).await
    }

    async fn user_by_email(&self, email: &str) -> Result<Option<User>, StoreError> {
        let email = email.to_owned();
        self.database.lookup(move |connection| accounts::user_by_email(connection, &email)).await
    }

    async fn user(&self, key: UserKey) -> Result<Option<User>, StoreError> {
        self.database.lookup(move |connection| accounts::user(connection, key)).await
    }

    async fn create_edge(
        &self,
        tenant: TenantKey,
        edge_id: &EdgeId,
        name: &str,
        secret_hash: [u8; 32],
        now: UtcMillis,
    ) -> Result<Edge, StoreError> {
        let (edge_id, name) = (edge_id.clone(), name.to_owned());
        self.database
            .write(move |transaction, _| edges::create_edge(transaction, tenant, &edge_id, &name, &secret_hash, now))
            .await
    }

    async fn list_edges(&self, tenant: TenantKey) -> Result<Vec<Edge>, StoreError> {
        self.database.list(tenant, move |connection| edges::list_edges(connection, tenant)).await
    }

    async fn edge(&self, tenant: TenantKey, edge_id: &EdgeId) -> Result<Option<Edge>, StoreError> {
        let edge_id = edge_id.clone();
        self.database.lookup(move |connection| edges::edge(connection, tenant, &edge_id)).await
    }

    async fn rotate_edge_secret(
        &self,
        tenant: TenantKey,
        edge_id: &EdgeId,
        secret_hash: [u8; 32],
        now: UtcMillis,
    ) -> Result<Vec<Fingerprint>, StoreError> {
        let edge_id = edge_id.clone();
        self.database
            .write(move |transaction, _| edges::rotate_secret(transaction, tenant, &edge_id, &secret_hash, now))
            .await
    }

    async fn revoke_edge(
        &self,
        tenant: TenantKey,
        edge_id: &EdgeId,
        now: UtcMillis,
    ) -> Result<Vec<Fingerprint>, StoreError> {
        let edge_id = edge_id.clone();
        self.database.write(move |transaction, _| edges::revoke_edge(transaction, tenant, &edge_id, now)).await
    }

    async fn enrollment_state(&self, edge_id: &EdgeId) -> Result<Option<EnrollmentState>, StoreError> {
        let edge_id = edge_id.clone();
        self.database.lookup(move |connection| edges::enrollment_state(connection, &edge_id)).await
    }

    async fn enroll_edge(
        &self,
        edge_id: &EdgeId,
        secret_hash: [u8; 32],
        certificate: NewCertificate,
        now: UtcMillis,
    ) -> Result<(), StoreError> {
        let edge_id = edge_id.clone();
        self.database
            .write(move |transaction, _| edges::enroll_edge(transaction, &edge_id, &secret_hash, &certificate, now))
            .await
    }

    async fn add_edge_certificate(
        &self,
        edge: EdgeKey,
        renewed: Fingerprint,
        certificate: NewCertificate,
        now: UtcMillis,
    ) -> Result<(), StoreError> {
        self.database
            .write(move |transaction, _| edges::renew_certificate(transaction, edge, &renewed, &certificate, now))
            .await
    }

    async fn create_operator(
        &self,
        tenant: TenantKey,
        name: &str,
        certificate: NewCertificate,
        now: UtcMillis,
    ) -> Result<Operator, StoreError> {
        let name = name.to_owned();
        self.database
            .write(move |transaction, _| certificates::create_operator(transaction, tenant, &name, &certificate, now))
            .await
    }

    async fn list_operators(&self, tenant: TenantKey) -> Result<Vec<Operator>, StoreError> {
        self.database.list(tenant, move |connection| certificates::list_operators(connection, tenant)).await
    }

    async fn revoke_operator(
        &self,
        tenant: TenantKey,
        operator_id: &OperatorId,
        now: UtcMillis,
    ) -> Result<Vec<Fingerprint>, StoreError> {
        let operator_id = operator_id.clone();
        self.database
            .write(move |transaction, _| certificates::revoke_operator(transaction, tenant, &operator_id, now))
            .await
    }

    async fn active_certificate(
        &self,
        fingerprint: &Fingerprint,
        now: UtcMillis,
    ) -> Result<Option<ActiveCertificate>, StoreError> {
        let fingerprint = *fingerprint;
        self.database.lookup(move |connection| certificates::active(connection, &fingerprint, now)).await
    }

    async fn record_events(&self, batch: Vec<Incoming>) -> Result<Recorded, StoreError> {
        let batch: Vec<_> = batch.into_iter().map(events::Prepared::from).collect();
        self.database.write(move |transaction, names| events::record(transaction, names, &batch)).await
    }

    async fn list_detections(
        &self,
        tenant: TenantKey,
        filter: EventFilter,
        page: PageRequest,
    ) -> Result<Page<StoredEvent>, StoreError> {
        self.database
            .list(tenant, move |connection| lists::list(connection, UpKind::Detections, tenant, &filter, page))
            .await
    }

    async fn list_zone_events(
        &self,
        tenant: TenantKey,
        filter: EventFilter,
        page: PageRequest,
    ) -> Result<Page<StoredEvent>, StoreError> {
        self.database
            .list(tenant, move |connection| lists::list(connection, UpKind::ZoneEvents, tenant, &filter, page))
            .await
    }

    async fn list_media_events(
        &self,
        tenant: TenantKey,
        kind: MediaKind,
        filter: EventFilter,
        page: PageRequest,
    ) -> Result<Page<(StoredEvent, Option<Media>)>, StoreError> {
        let kind = media::up_kind(kind);
        self.database
            .list(tenant, move |connection| {
                let Page { items, more } = lists::list(connection, kind, tenant, &filter, page)?;
                let joined = items.into_iter().map(|event| {
                    let media = media::of_event(connection, tenant, &event)?;
                    Ok((event, media))
                });
                Ok(Page { items: joined.collect::<Result<_, StoreError>>()?, more })
            })
            .await
    }

    async fn media_event(
        &self,
        tenant: TenantKey,
        kind: MediaKind,
        media_id: &MediaId,
    ) -> Result<Option<(StoredEvent, Option<Media>)>, StoreError> {
        let media_id = media_id.clone();
        self.database
            .lookup(move |connection| {
                let Some(event) = media::event_of(connection, tenant, kind, &media_id)? else { return Ok(None) };
                let media = media::of_event(connection, tenant, &event)?;
                Ok(Some((event, media)))
            })
            .await
    }

    async fn offer_media(&self, offered: OfferedMedia, now: UtcMillis) -> Result<Media, StoreError> {
        self.database.write(move |transaction, _| media::offer(transaction, &offered, now)).await
    }

    async fn offered_media(
        &self,
        edge: EdgeKey,
        kind: MediaKind,
        media_id: &MediaId,
    ) -> Result<Option<Media>, StoreError> {
        let media_id = media_id.clone();
        self.database.lookup(move |connection| media::at_place(connection, edge, kind, &media_id)).await
    }

    async fn media(&self, tenant: TenantKey, key: MediaKey) -> Result<Option<Media>, StoreError> {
        self.database.lookup(move |connection| media::by_key(connection, tenant, key)).await
    }

    async fn media_stored(&self, key: MediaKey, now: UtcMillis) -> Result<(), StoreError> {
        self.database.write(move |transaction, _| media::stored(transaction, key, now)).await
    }

    async fn unfinished_media(&self, before: UtcMillis, limit: u32) -> Result<Vec<Media>, StoreError> {
        self.database.lookup(move |connection| media::unfinished(connection, before, limit)).await
    }

    async fn forget_media(&self, key: MediaKey) -> Result<bool, StoreError> {
        self.database.write(move |transaction, _| media::forget(transaction, key)).await
    }

    async fn feed_after(
        &self,
        tenant: TenantKey,
        feed_number: i64,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.database.list(tenant, move |connection| lists::feed_after(connection, tenant, feed_number, limit)).await
    }

    async fn feed_head(&self) -> Result<i64, StoreError> {
        self.database.lookup(lists::feed_head).await
    }

    async fn record_presence(&self, presence: Presence) -> Result<(), StoreError> {
        self.database.write(move |transaction, _| edges::record_presence(transaction, presence)).await
    }

    async fn record_heartbeat(&self, edge: EdgeKey, at: UtcMillis, version: Option<String>) -> Result<(), StoreError> {
        self.database
            .write(move |transaction, _| edges::record_heartbeat(transaction, edge, at, version.as_deref()))
            .await
    }

    async fn clear_presence(&self) -> Result<(), StoreError> {
        self.database.write(|transaction, _| edges::clear_presence(transaction)).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::suite::store_suite;
    use super::*;

    store_suite!(|directory: &Path| Arc::new(SqliteStore::open(&directory.join("cloud.db")).unwrap()));

    #[test]
    fn the_library_has_the_repair_of_the_wal_reset_defect() {
        assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
    }
}
