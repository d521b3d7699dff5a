//! The database behind whole operations: a file per noun.
//!
//! [`Store`] is what the rest of the cloud sees: each method is one transaction that either happened or did not. It
//! is written once, in SQL that every database understands ([`sql`]), and runs on the engine that was opened:
//! SQLite by default ([`sqlite`]), or PostgreSQL ([`postgres`]). The suite of tests runs on every engine.
//! Every operation on a tenant's things takes a [`TenantKey`], which only authentication hands out, so a statement
//! without a tenant can't be written by accident.

mod accounts;
mod alerts;
mod analytics;
mod api_keys;
pub(crate) mod audit;
mod catalog;
mod certificates;
mod channels;
mod command_rows;
mod commands;
mod context;
mod day_counts;
mod deliveries;
mod delivery_log;
mod delivery_turns;
mod desired;
mod edge_certificates;
mod edge_health;
mod edge_labels;
mod edge_presence;
mod edges;
mod event_search;
mod events;
mod figures;
mod idempotency;
mod ids;
mod invitations;
mod lists;
pub(crate) mod mail;
mod media;
mod media_locks;
mod media_rows;
mod migrations;
mod names;
mod news;
mod operations;
mod outgoing_mail;
mod passwords;
mod people;
mod postgres;
mod preferences;
mod presence;
mod processes;
mod provider_sign_ins;
mod providers;
mod quarters;
mod relay_homes;
mod retention;
mod rules;
mod scope;
mod second_factors;
mod sessions;
mod sql;
mod sqlite;
#[cfg(test)]
pub(crate) mod suite;
mod tenant_data;
mod tenant_deletion;
mod tenant_export_turns;
mod tenant_exports;
mod tries;
mod turns;

use std::path::Path;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{OnceCell, broadcast};

pub use self::alerts::{
    Alert, AlertChange, AlertFilter, AlertNews, AlertStep, Asker, BackTestRequest, Changed, Done, FedAlert, Incident,
    IncidentFilter, Occasion, PersonName, Suppressed, SuppressedFilter,
};
pub use aivms_cloud_core::rights::{RightsError, UserRole};

pub use self::accounts::{NewTenant, User};
pub use self::analytics::{CountQuery, DetectionCount, ZoneCount};
pub use self::api_keys::{ApiKey, NewApiKey, Successor};
pub use self::audit::{AuditFilter, NewAudit};
pub use self::certificates::{ActiveCertificate, Fingerprint, NewCertificate, Operator};
pub use self::channels::{
    Channel, ChannelSettings, MAX_CHANNELS, Target, Unusable, UnusableTarget, WebhookAddress, WebhookTarget,
};
pub use self::commands::{AnswerFate, Cancelled, CommandFilter, MAX_OPEN, NewCommand, StoredCommand};
use self::context::Context;
pub use self::context::Doer;
pub use self::deliveries::{DEFAULT_WEBHOOK, DeliveryState, Means};
pub use self::delivery_log::{Attempt, DeliveryFilter, LoggedDelivery};
pub use self::delivery_turns::{Due, DueDelivery, LEASE, Next, Report, Room, Then, Turn, TurnSize};
pub use self::desired::{DesiredChange, DesiredVersion, KEPT_VERSIONS, ReportedNow};
pub use self::edge_certificates::EdgeCertificate;
pub use self::edge_health::StoredHealth;
pub use self::edge_labels::{EdgeFilter, LabelledEdge};
pub use self::edge_presence::{PresenceEvent, PresenceKind};
pub(crate) use self::edges::spent_mark;
pub use self::edges::{Edge, EnrollmentState};
pub use self::events::{Incoming, Message, Recorded, StoredEvent};
use self::figures::{Lane, StoreFigures};
pub use self::idempotency::{Claim, Claimed, KeyedRequest};
pub(crate) use self::invitations::LIFE as INVITATION_LIFE;
pub use self::invitations::{Invitation, Invited, Joining, NewInvitation};
pub use self::lists::{EventFilter, EventPage, Page, PageRequest};
pub use self::media::{Media, MediaKey, MediaLock, OfferedMedia};
pub use self::news::News;
pub use self::operations::Census;
pub use self::outgoing_mail::{MailFate, OutgoingMail};
pub(crate) use self::passwords::RESET_LIFE;
pub use self::people::{By, Person, PersonChange};
use self::postgres::PostgresDatabase;
pub use self::postgres::{PostgresSettings, UrlError};
pub use self::preferences::PushSubscription;
pub use self::presence::Presence;
pub(crate) use self::provider_sign_ins::FLOW_LIFE;
pub use self::provider_sign_ins::{Arrival, Flow, Identified, NotAdmitted, TakenFlow};
pub use self::providers::Provider;
pub use self::quarters::Count;
pub use self::relay_homes::{Peer, RelayHome};
pub use self::retention::{Amount, Usage};
pub use self::rules::{RuleChange, StoredRule};
pub use self::second_factors::{Proof, SecondFactor};
pub(crate) use self::sessions::{BY_PASSWORD, NOTE_USE_EVERY, THROUGH_PROVIDER};
pub use self::sessions::{Bearer, Credential, Refreshed, SessionRow, SignIn};
use self::sql::Transaction;
use self::sqlite::SqliteDatabase;
pub use self::sqlite::{check_sqlite, snapshot_sqlite};
pub use self::tenant_data::{DataPage, Noun, PLAN};
pub use self::tenant_deletion::{DueDeletion, TableToEmpty, TenantDeletion};
pub use self::tenant_export_turns::LeasedExport;
pub use self::tenant_exports::{ExportProgress, TenantExport, TenantExportKey, TenantExportState};
pub(crate) use self::tries::Counted;

/// The database of a running cloud.
pub type SharedStore = Arc<Store>;

/// News that may wait for a listener; one that falls further behind is told [`News::Missed`]'s meaning by the channel.
const NEWS_QUEUE: usize = 1_024;

/// A tenant's row; proof that the caller has been authenticated as one of its users, edges or operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TenantKey(pub(crate) i64);

/// A user's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UserKey(pub(crate) i64);

/// An edge's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EdgeKey(pub(crate) i64);

/// Says why an operation did not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A value that must be unique is taken; names the field.
    #[error("{0} is already taken")]
    Taken(&'static str),
    /// What the operation is about does not exist in this tenant.
    #[error("not found")]
    NotFound,
    /// A rule names a channel that this tenant does not have.
    #[error("{field}: there is no channel {channel_id}")]
    NoSuchChannel {
        /// Where the rule names it.
        field: String,
        /// What it names.
        channel_id: String,
    },
    /// The edge's secret has been used or withdrawn meanwhile.
    #[error("the secret has been spent")]
    SecretSpent,
    /// The request took so long that a repeat of it is at work.
    #[error("a repeat of this request has taken its place")]
    Overtaken,
    /// The tenant may not have more bytes of files.
    #[error("the tenant's files have all the room they may take")]
    QuotaFull,
    /// The rules about who may change whom are in the way.
    #[error("{0}")]
    Rights(#[from] RightsError),
    /// There are as many of them as there may be; names them.
    #[error("there are as many {0} as there may be")]
    TooMany(&'static str),
    /// The database can't be written: disk full or read-only.
    #[error("the database can't be written: {0}; if its disk (database_path) is full, free some room")]
    Unwritable(String),
    /// The answer would take too long; a narrower question may be answered.
    #[error("the question takes too long to answer: narrow it, for example by start_time and end_time")]
    TooSlow,
    /// The tenant's one back-test runs; it is over after so long at the latest.
    #[error("another back-test of this tenant is at work")]
    AtWork(Duration),
    /// The database failed otherwise.
    #[error("database: {0}")]
    Database(String),
}

/// Whole operations on the database. The methods are in the files of their nouns. A clone is a handle on the same
/// database; see [`Store::by`] and [`Store::claimed`].
#[derive(Debug, Clone)]
pub struct Store {
    engine: Arc<Engine>,
    context: Context,
    news: broadcast::Sender<News>,
    figures: StoreFigures,
    /// Names this process among those at work; drawn at random.
    process: String,
    /// Where other processes reach this one, if at all; set when it joins them.
    address: Arc<OnceLock<Option<String>>>,
    /// The highest number of a connection, where this process alone counts them.
    connections: Arc<OnceCell<AtomicI64>>,
}

/// The database that runs the operations.
#[derive(Debug)]
enum Engine {
    Sqlite(SqliteDatabase),
    Postgres(PostgresDatabase),
}

impl Store {
    /// Opens or makes an SQLite file and brings it to the current schema. Blocks.
    ///
    /// # Errors
    /// The file can't be made or written, is no SQLite database, or was written by a newer program.
    pub fn open_sqlite(path: &Path) -> Result<Self, StoreError> {
        let (news, _) = broadcast::channel(NEWS_QUEUE);
        let engine = Engine::Sqlite(SqliteDatabase::open(path, news.clone())?);
        Ok(Self::of(engine, news))
    }

    /// Connects to a PostgreSQL database and brings it to the current schema; other processes may do so at the same
    /// time. Must be called inside a Tokio runtime, and the store be dropped there.
    ///
    /// # Errors
    /// The database can't be reached or written, or was written by a newer program.
    pub async fn open_postgres(settings: &PostgresSettings) -> Result<Self, StoreError> {
        let (news, _) = broadcast::channel(NEWS_QUEUE);
        let engine = Engine::Postgres(PostgresDatabase::open(settings, news.clone()).await?);
        Ok(Self::of(engine, news))
    }

    fn of(engine: Engine, news: broadcast::Sender<News>) -> Self {
        let process = format!("{:032x}", fastrand::u128(..));
        let (engine, context, figures) = (Arc::new(engine), Context::default(), StoreFigures::default());
        Self { engine, context, news, figures, process, address: Arc::default(), connections: Arc::default() }
    }

    /// The name of this process among those at work.
    #[must_use]
    pub fn process(&self) -> &str {
        &self.process
    }

    /// What is committed from now on, by this and every other process of the cloud. A receiver that lags has missed
    /// some, which is the same as [`News::Missed`].
    #[must_use]
    pub fn news(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }

    /// Runs `work` in one transaction, as if no other one ran at the same time. Its answer comes after the commit is on
    /// disk. A database with several writers may run it again, so it must have no effect outside the transaction. A
    /// caller that gives up waiting leaves a whole transaction behind, never half of one.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let context = self.context.clone();
        let work = move |transaction: &mut Transaction<'_>| {
            transaction.work_for(context.doer.clone());
            let done = work(transaction)?;
            context.claim.map_or(Ok(()), |claim| idempotency::carried_out(transaction, claim))?;
            Ok(done)
        };
        let work = async {
            match &*self.engine {
                Engine::Sqlite(database) => database.write(work).await,
                Engine::Postgres(database) => database.write(work).await,
            }
        };
        self.figures.timed(Lane::Write, work).await
    }

    /// Runs the recording of a batch: like [`Store::write`], but batches of all processes run one after the other, so
    /// that feed numbers rise in the order of commits.
    pub(super) async fn ingest<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let work = async {
            match &*self.engine {
                Engine::Sqlite(database) => database.write(work).await,
                Engine::Postgres(database) => database.ingest(work).await,
            }
        };
        self.figures.timed(Lane::Ingest, work).await
    }

    /// Runs a look-up by key.
    pub(crate) async fn lookup<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let work = async {
            match &*self.engine {
                Engine::Sqlite(database) => database.lookup(work).await,
                Engine::Postgres(database) => database.lookup(work).await,
            }
        };
        self.figures.timed(Lane::Lookup, work).await
    }

    /// Runs a list of `tenant`; only some of one tenant run at once, and one that takes too long is broken off.
    pub(crate) async fn list<T: Send + 'static>(
        &self,
        tenant: TenantKey,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let work = async {
            match &*self.engine {
                Engine::Sqlite(database) => database.list(tenant, work).await,
                Engine::Postgres(database) => database.list(tenant, work).await,
            }
        };
        self.figures.timed(Lane::List, work).await
    }
}
