//! The database behind whole operations.
//!
//! [`Store`] is what the rest of the cloud sees: each method is one transaction that either happened or did not.
//! SQLite is the default ([`sqlite`]); another database implements the same trait and passes the same suite.
//! Every operation on a tenant's things takes a [`TenantKey`], which only authentication hands out, so a statement
//! without a tenant can't be written by accident.

mod media;
pub mod sqlite;
#[cfg(test)]
mod suite;

use std::str::FromStr;
use std::sync::Arc;

use aivms_contract::envelope::Envelope;
use aivms_contract::id::{CameraId, EdgeId, EventId, OperatorId, OutboxId, TenantId, ZoneId};
use aivms_contract::identity::Identity;
use aivms_contract::media::{MediaId, MediaKind};
use aivms_contract::time::UtcMillis;
use aivms_contract::topic::UpKind;
use aivms_contract::zone_event::ZoneEventType;
use async_trait::async_trait;

pub use self::media::{Media, MediaKey, OfferedMedia};

/// The database of a running cloud.
pub type SharedStore = Arc<dyn Store>;

/// A tenant's row; proof that the caller has been authenticated as one of its users, edges or operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantKey(pub(crate) i64);

/// A user's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UserKey(pub(crate) i64);

/// An edge's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EdgeKey(pub(crate) i64);

/// SHA-256 of a certificate in DER.
pub type Fingerprint = [u8; 32];

/// Says why an operation did not happen.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A value that must be unique is taken; names the field.
    #[error("{0} is already taken")]
    Taken(&'static str),
    /// What the operation is about does not exist in this tenant.
    #[error("not found")]
    NotFound,
    /// The edge's secret has been used or withdrawn meanwhile.
    #[error("the secret has been spent")]
    SecretSpent,
    /// The tenant may not have more bytes of files.
    #[error("the tenant's files have all the room they may take")]
    QuotaFull,
    /// The database can't be written: disk full or read-only.
    #[error("the database can't be written: {0}; if its disk (database_path) is full, free some room")]
    Unwritable(String),
    /// The answer would take too long; a narrower question may be answered.
    #[error("the question takes too long to answer: narrow it, for example by start_time and end_time")]
    TooSlow,
    /// The database failed otherwise.
    #[error("database: {0}")]
    Database(String),
}

/// What a user may do; each role includes those after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserRole {
    /// Everything, including the tenant itself.
    Owner,
    /// Users, edges, rules.
    Admin,
    /// Acknowledge, command, export.
    Operator,
    /// Look.
    Viewer,
}

/// Says that a text is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be owner, admin, operator or viewer, is {0:?}")]
pub struct RoleError(String);

impl UserRole {
    /// The name in the database and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
        }
    }
}

impl FromStr for UserRole {
    type Err = RoleError;
    fn from_str(text: &str) -> Result<Self, RoleError> {
        [Self::Owner, Self::Admin, Self::Operator, Self::Viewer]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| RoleError(text.to_owned()))
    }
}

/// A user as stored.
#[derive(Debug, Clone)]
pub struct User {
    /// Its row.
    pub key: UserKey,
    /// Its tenant's row.
    pub tenant: TenantKey,
    /// Its tenant's slug.
    pub tenant_id: TenantId,
    /// Its tenant's readable name.
    pub tenant_name: String,
    /// Address it signs in with, lower case.
    pub email: String,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub role: UserRole,
    /// Argon2id hash in PHC form.
    pub password_hash: String,
    /// Counts up when all its tokens become invalid (password or role change, sign-out everywhere).
    pub token_generation: i64,
}

/// A tenant and its owner to be made together.
#[derive(Debug, Clone)]
pub struct NewTenant {
    /// Slug, fixed for ever.
    pub tenant_id: TenantId,
    /// Readable name.
    pub tenant_name: String,
    /// Owner's address, lower case.
    pub email: String,
    /// Owner's name.
    pub name: String,
    /// Owner's Argon2id hash in PHC form.
    pub password_hash: String,
}

/// An edge as stored.
#[derive(Debug, Clone)]
pub struct Edge {
    /// Its row.
    pub key: EdgeKey,
    /// Its id.
    pub edge_id: EdgeId,
    /// What people call it.
    pub name: String,
    /// When it was registered.
    pub created_at: UtcMillis,
    /// When its current certificate was issued first; `None` before enrolment.
    pub enrolled_at: Option<UtcMillis>,
    /// Withdrawn: its certificates no longer count.
    pub revoked: bool,
    /// Whether its MQTT session is up.
    pub connected: bool,
    /// Last sign of life over any way.
    pub last_seen: Option<UtcMillis>,
    /// Version it reported last.
    pub version: Option<String>,
}

/// What enrolment needs to know of an edge before it trusts anything.
#[derive(Debug, Clone)]
pub struct EnrollmentState {
    /// Its tenant.
    pub tenant_id: TenantId,
    /// SHA-256 of the secret that is still good; `None` when spent or withdrawn.
    pub secret_hash: Option<[u8; 32]>,
    /// Withdrawn.
    pub revoked: bool,
}

/// A certificate to be written down before it is handed out.
#[derive(Debug, Clone)]
pub struct NewCertificate {
    /// SHA-256 of the DER.
    pub fingerprint: Fingerprint,
    /// Who it speaks for.
    pub identity: Identity,
    /// SubjectPublicKeyInfo in DER, for tokens signed with the device key.
    pub public_key_der: Vec<u8>,
    /// End of life.
    pub not_after: UtcMillis,
}

/// An active certificate, as authentication finds it.
#[derive(Debug, Clone)]
pub struct ActiveCertificate {
    /// Its tenant's row.
    pub tenant: TenantKey,
    /// The edge's row when it speaks for an edge.
    pub edge: Option<EdgeKey>,
    /// Who it speaks for.
    pub identity: Identity,
    /// SubjectPublicKeyInfo in DER.
    pub public_key_der: Vec<u8>,
    /// End of life.
    pub not_after: UtcMillis,
}

/// An operator's right to MQTT tools, as stored.
#[derive(Debug, Clone)]
pub struct Operator {
    /// Its id.
    pub operator_id: OperatorId,
    /// What people call it.
    pub name: String,
    /// When it was made.
    pub created_at: UtcMillis,
    /// End of its certificate's life.
    pub not_after: UtcMillis,
    /// Withdrawn.
    pub revoked: bool,
}

/// One durable message, checked by the front: the envelope's edge is the connection's own.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The tenant of the connection.
    pub tenant: TenantKey,
    /// The edge of the connection.
    pub edge: EdgeKey,
    /// When the cloud took it.
    pub received_at: UtcMillis,
    /// What was said.
    pub message: Message,
}

/// What a durable publish held.
#[derive(Debug, Clone)]
pub enum Message {
    /// An envelope of a kind this version knows.
    Known(Box<Envelope>),
    /// Identity and order could be read, the body not (a newer edge): kept aside as it came, so that nothing is lost.
    Unreadable {
        /// Its outbox.
        outbox: OutboxId,
        /// Its place.
        seq: u64,
        /// Kind by topic.
        kind: UpKind,
        /// The whole payload.
        payload: Vec<u8>,
        /// Why it could not be read.
        reason: String,
    },
}

/// A batch was recorded.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    /// Messages stored now.
    pub stored: u64,
    /// Messages that had been stored before.
    pub duplicates: u64,
    /// Feed number of the newest event: [`Store::feed_after`] reads on from it.
    pub feed_number: i64,
}

/// A stored event for lists and the live feed.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// Strictly rising number in the order of storing; the live feed's cursor.
    pub feed_number: i64,
    /// Its edge.
    pub edge_id: EdgeId,
    /// When the cloud took it.
    pub received_at: UtcMillis,
    /// The message.
    pub envelope: Envelope,
}

/// Which events a list shows; `None` and empty mean all.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Not before.
    pub start: Option<UtcMillis>,
    /// Before, exclusive.
    pub end: Option<UtcMillis>,
    /// Of this edge.
    pub edge_id: Option<EdgeId>,
    /// Of this camera.
    pub camera_id: Option<CameraId>,
    /// Of this class.
    pub object_class: Option<String>,
    /// Of this track.
    pub track_id: Option<String>,
    /// Zone events of this zone.
    pub zone_id: Option<ZoneId>,
    /// Zone events of this type.
    pub event_type: Option<ZoneEventType>,
    /// Detections at least this sure.
    pub min_confidence: Option<f32>,
    /// Clips and snapshots made for this event.
    pub made_for: Option<EventId>,
}

/// Where a page begins and how long it is; lists run from the newest to the oldest event.
#[derive(Debug, Clone, Copy)]
pub struct PageRequest {
    /// Events older than this one; `None` for the newest.
    pub before: Option<EventId>,
    /// Most rows.
    pub limit: u32,
}

/// One page of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Whether older ones exist.
    pub more: bool,
}

/// A change of presence seen by the MQTT front. A `Down` counts only for the generation that is up.
#[derive(Debug, Clone, Copy)]
pub struct Presence {
    /// The edge.
    pub edge: EdgeKey,
    /// Rises with each connection of this process.
    pub generation: u64,
    /// Up or down.
    pub up: bool,
    /// When.
    pub at: UtcMillis,
}

/// Whole operations on the database.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Makes a tenant and its owner. Fails with [`StoreError::Taken`] `tenant_name` or `email`.
    async fn register_tenant(&self, tenant: NewTenant, now: UtcMillis) -> Result<User, StoreError>;
    /// Finds a user by address (lower case).
    async fn user_by_email(&self, email: &str) -> Result<Option<User>, StoreError>;
    /// Finds a user by row; checked on every request, so a changed generation ends tokens at once.
    async fn user(&self, key: UserKey) -> Result<Option<User>, StoreError>;

    /// Registers an edge with the SHA-256 of its one-time secret.
    async fn create_edge(
        &self,
        tenant: TenantKey,
        edge_id: &EdgeId,
        name: &str,
        secret_hash: [u8; 32],
        now: UtcMillis,
    ) -> Result<Edge, StoreError>;
    /// The tenant's edges by time of registration.
    async fn list_edges(&self, tenant: TenantKey) -> Result<Vec<Edge>, StoreError>;
    /// One edge of the tenant.
    async fn edge(&self, tenant: TenantKey, edge_id: &EdgeId) -> Result<Option<Edge>, StoreError>;
    /// Gives an edge a new secret and withdraws its certificates; returns those that were active. A withdrawn edge
    /// does not come back: it is [`StoreError::NotFound`].
    async fn rotate_edge_secret(
        &self,
        tenant: TenantKey,
        edge_id: &EdgeId,
        secret_hash: [u8; 32],
        now: UtcMillis,
    ) -> Result<Vec<Fingerprint>, StoreError>;
    /// Withdraws an edge and its certificates; returns those that were active.
    async fn revoke_edge(
        &self,
        tenant: TenantKey,
        edge_id: &EdgeId,
        now: UtcMillis,
    ) -> Result<Vec<Fingerprint>, StoreError>;
    /// What enrolment checks first; `None` for an unknown edge.
    async fn enrollment_state(&self, edge_id: &EdgeId) -> Result<Option<EnrollmentState>, StoreError>;
    /// Spends the secret and writes the certificate down, in one step. Fails with [`StoreError::SecretSpent`] when
    /// `secret_hash` is no longer the good one. Earlier certificates of the edge are withdrawn.
    async fn enroll_edge(
        &self,
        edge_id: &EdgeId,
        secret_hash: [u8; 32],
        certificate: NewCertificate,
        now: UtcMillis,
    ) -> Result<(), StoreError>;
    /// Writes down a certificate that renews the one with fingerprint `renewed`, which stays active until its end.
    /// Fails with [`StoreError::NotFound`] when that one is not an active one of the edge: a withdrawal that came
    /// meanwhile must not be outlived.
    async fn add_edge_certificate(
        &self,
        edge: EdgeKey,
        renewed: Fingerprint,
        certificate: NewCertificate,
        now: UtcMillis,
    ) -> Result<(), StoreError>;

    /// Makes an operator with its certificate.
    async fn create_operator(
        &self,
        tenant: TenantKey,
        name: &str,
        certificate: NewCertificate,
        now: UtcMillis,
    ) -> Result<Operator, StoreError>;
    /// The tenant's operators by time of making.
    async fn list_operators(&self, tenant: TenantKey) -> Result<Vec<Operator>, StoreError>;
    /// Withdraws an operator; returns its active certificates.
    async fn revoke_operator(
        &self,
        tenant: TenantKey,
        operator_id: &OperatorId,
        now: UtcMillis,
    ) -> Result<Vec<Fingerprint>, StoreError>;

    /// Finds a certificate that is active now: neither withdrawn, nor past its end, nor of a withdrawn edge.
    async fn active_certificate(
        &self,
        fingerprint: &Fingerprint,
        now: UtcMillis,
    ) -> Result<Option<ActiveCertificate>, StoreError>;

    /// Records a batch in one transaction, each message at most once per (edge, outbox, seq). When it returns, the
    /// batch is on disk.
    async fn record_events(&self, batch: Vec<Incoming>) -> Result<Recorded, StoreError>;
    /// A page of detections, newest first.
    async fn list_detections(
        &self,
        tenant: TenantKey,
        filter: EventFilter,
        page: PageRequest,
    ) -> Result<Page<StoredEvent>, StoreError>;
    /// A page of zone events, newest first.
    async fn list_zone_events(
        &self,
        tenant: TenantKey,
        filter: EventFilter,
        page: PageRequest,
    ) -> Result<Page<StoredEvent>, StoreError>;
    /// A page of events of clips or snapshots, newest first, each with its file when that was offered.
    async fn list_media_events(
        &self,
        tenant: TenantKey,
        kind: MediaKind,
        filter: EventFilter,
        page: PageRequest,
    ) -> Result<Page<(StoredEvent, Option<Media>)>, StoreError>;
    /// The newest event of a clip or snapshot by its id, with its file when that was offered.
    async fn media_event(
        &self,
        tenant: TenantKey,
        kind: MediaKind,
        media_id: &MediaId,
    ) -> Result<Option<(StoredEvent, Option<Media>)>, StoreError>;

    /// Writes an offered file down, or finds the one that was offered before. Fails with [`StoreError::Taken`] when
    /// another file has its id, and with [`StoreError::QuotaFull`].
    async fn offer_media(&self, offered: OfferedMedia, now: UtcMillis) -> Result<Media, StoreError>;
    /// A file that an edge has offered.
    async fn offered_media(
        &self,
        edge: EdgeKey,
        kind: MediaKind,
        media_id: &MediaId,
    ) -> Result<Option<Media>, StoreError>;
    /// A file of the tenant.
    async fn media(&self, tenant: TenantKey, key: MediaKey) -> Result<Option<Media>, StoreError>;
    /// Says that a file is where it stays; saying it again changes nothing.
    async fn media_stored(&self, key: MediaKey, now: UtcMillis) -> Result<(), StoreError>;
    /// Files of all tenants that are not stored and were not offered since `before`, oldest first.
    async fn unfinished_media(&self, before: UtcMillis, limit: u32) -> Result<Vec<Media>, StoreError>;
    /// Forgets a file that is not stored and gives its bytes back to the tenant; true when there was one.
    async fn forget_media(&self, key: MediaKey) -> Result<bool, StoreError>;

    /// Events of the tenant stored after `feed_number`, in the order of storing, at most `limit`.
    async fn feed_after(&self, tenant: TenantKey, feed_number: i64, limit: u32)
    -> Result<Vec<StoredEvent>, StoreError>;
    /// The newest feed number of the whole store, where a new watcher starts.
    async fn feed_head(&self) -> Result<i64, StoreError>;

    /// Writes presence down.
    async fn record_presence(&self, presence: Presence) -> Result<(), StoreError>;
    /// Writes down a sign of life, with the version from a heartbeat.
    async fn record_heartbeat(&self, edge: EdgeKey, at: UtcMillis, version: Option<String>) -> Result<(), StoreError>;
    /// Marks every edge as not connected: no session outlives the process.
    async fn clear_presence(&self) -> Result<(), StoreError>;
}
