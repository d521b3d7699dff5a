//! Edges: registration, enrolment and withdrawal.

use aivms_cloud_core::audit::{Action, Actor, ActorKind};
use aivms_contract::id::{EdgeId, TenantId};
use aivms_contract::identity::{Identity, Role};
use aivms_contract::time::UtcMillis;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::audit::{self, NewAudit};
use super::certificates::{self, Fingerprint, Holder, NewCertificate};
use super::sql::{Row, Transaction, values};
use super::{EdgeKey, Store, StoreError, TenantKey};

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
    /// SHA-256 of the secret while it is good, [`spent_mark`] of that from its enrolment on. `None` only for edges
    /// that enrolled before this mark was kept.
    pub secret_hash: Option<[u8; 32]>,
    /// Withdrawn.
    pub revoked: bool,
}

/// What stands in place of a secret's hash once it is spent. Whoever holds the secret can be told that it is, and
/// nobody else learns even that there is such an edge. No text begins with the byte that is put in front, so no secret
/// has this as its hash.
pub(crate) fn spent_mark(secret_hash: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update([0xff]).chain_update(secret_hash).finalize().into()
}

impl Store {
    /// Registers an edge with the SHA-256 of its one-time secret.
    ///
    /// # Errors
    /// [`StoreError::Taken`] `edge_id`.
    pub async fn create_edge(
        &self,
        tenant: TenantKey,
        edge_id: &EdgeId,
        name: &str,
        secret_hash: [u8; 32],
        now: UtcMillis,
    ) -> Result<Edge, StoreError> {
        let (edge_id, name) = (edge_id.clone(), name.to_owned());
        self.write(move |transaction| {
            let inserted = transaction.execute(
                "insert into edges (tenant, edge_id, name, created_at, secret_hash) values (?1, ?2, ?3, ?4, ?5)
                 on conflict (edge_id) do nothing",
                &values![tenant.0, edge_id.as_str(), &name, now, secret_hash],
            )?;
            if inserted == 0 {
                return Err(StoreError::Taken("edge_id"));
            }
            let detail = json!({ "name": &name });
            audit::note(transaction, tenant, Action::EdgeRegistered, Some(edge_id.as_str()), detail, now)?;
            edge(transaction, tenant, &edge_id)?.ok_or(StoreError::NotFound)
        })
        .await
    }

    /// The tenant's edges by time of registration.
    ///
    /// # Errors
    /// The database's own.
    pub async fn list_edges(&self, tenant: TenantKey) -> Result<Vec<Edge>, StoreError> {
        let sql = format!("{SELECT_EDGE} where tenant = ?1 order by id");
        self.list(tenant, move |transaction| transaction.all(&sql, &values![tenant.0], read_edge)).await
    }

    /// One edge of the tenant.
    ///
    /// # Errors
    /// The database's own.
    pub async fn edge(&self, tenant: TenantKey, edge_id: &EdgeId) -> Result<Option<Edge>, StoreError> {
        let edge_id = edge_id.clone();
        self.lookup(move |transaction| edge(transaction, tenant, &edge_id)).await
    }

    /// Gives an edge a new secret and withdraws its certificates; returns those that were active.
    ///
    /// # Errors
    /// A withdrawn edge does not come back: it is [`StoreError::NotFound`].
    pub async fn rotate_edge_secret(
        &self,
        tenant: TenantKey,
        edge_id: &EdgeId,
        secret_hash: [u8; 32],
        now: UtcMillis,
    ) -> Result<Vec<Fingerprint>, StoreError> {
        let edge_id = edge_id.clone();
        self.write(move |transaction| {
            let key = transaction.first(
                "update edges set secret_hash = ?3 where tenant = ?1 and edge_id = ?2 and revoked_at is null
                 returning id",
                &values![tenant.0, edge_id.as_str(), secret_hash],
                |row| row.get(0),
            )?;
            let holder = Holder::Edge(key.ok_or(StoreError::NotFound)?);
            let withdrawn = certificates::withdraw(transaction, holder, now)?;
            audit::note(transaction, tenant, Action::EdgeSecretRotated, Some(edge_id.as_str()), Json::Null, now)?;
            Ok(withdrawn)
        })
        .await
    }

    /// Whether an edge that was there is no more: it went with its tenant.
    ///
    /// # Errors
    /// The database's own.
    pub async fn is_edge_gone(&self, edge: EdgeKey) -> Result<bool, StoreError> {
        let sql = "select 1 from edges where id = ?1";
        self.lookup(move |transaction| transaction.exists(sql, &values![edge.0])).await.map(|there| !there)
    }

    /// Withdraws an edge, its secret and its certificates; returns those that were active. Withdrawing it again
    /// changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn revoke_edge(
        &self,
        tenant: TenantKey,
        edge_id: &EdgeId,
        now: UtcMillis,
    ) -> Result<Vec<Fingerprint>, StoreError> {
        let edge_id = edge_id.clone();
        self.write(move |transaction| {
            let sql = "select id, revoked_at is not null from edges where tenant = ?1 and edge_id = ?2";
            let found =
                transaction.first(sql, &values![tenant.0, edge_id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let (key, revoked): (i64, bool) = found.ok_or(StoreError::NotFound)?;
            if revoked {
                return Ok(Vec::new());
            }
            transaction.execute("update edges set revoked_at = ?2 where id = ?1", &values![key, now])?;
            let holder = Holder::Edge(key);
            let withdrawn = certificates::withdraw(transaction, holder, now)?;
            audit::note(transaction, tenant, Action::EdgeRevoked, Some(edge_id.as_str()), Json::Null, now)?;
            Ok(withdrawn)
        })
        .await
    }

    /// What enrolment checks first; `None` for an unknown edge.
    ///
    /// # Errors
    /// The database's own.
    pub async fn enrollment_state(&self, edge_id: &EdgeId) -> Result<Option<EnrollmentState>, StoreError> {
        let edge_id = edge_id.clone();
        self.lookup(move |transaction| enrollment_state(transaction, &edge_id)).await
    }

    /// Spends the secret and writes the certificate down, in one step. Earlier certificates of the edge are withdrawn.
    ///
    /// # Errors
    /// [`StoreError::SecretSpent`] when `secret_hash` is no longer the good one.
    pub async fn enroll_edge(
        &self,
        edge_id: &EdgeId,
        secret_hash: [u8; 32],
        certificate: NewCertificate,
        now: UtcMillis,
    ) -> Result<(), StoreError> {
        let edge_id = edge_id.clone();
        self.write(move |transaction| enroll_edge(transaction, &edge_id, secret_hash, &certificate, now)).await
    }

    /// Writes down a certificate that renews the one with fingerprint `renewed`, which stays active until its end.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when that one is not an active one of the edge: a withdrawal that came meanwhile must
    /// not be outlived.
    pub async fn add_edge_certificate(
        &self,
        edge: EdgeKey,
        renewed: Fingerprint,
        certificate: NewCertificate,
        now: UtcMillis,
    ) -> Result<(), StoreError> {
        self.write(move |transaction| {
            let active = certificates::active(transaction, &renewed, now)?;
            if active.is_some_and(|active| active.edge == Some(edge)) {
                add_certificate(transaction, edge, &certificate, Action::EdgeCertificateRenewed, now)
            } else {
                Err(StoreError::NotFound)
            }
        })
        .await
    }
}

pub(super) const SELECT_EDGE: &str =
    "select id, edge_id, name, created_at, enrolled_at, revoked_at is not null, connected,
        last_seen, version
    from edges";

/// One edge of the tenant.
pub(super) fn edge(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    edge_id: &EdgeId,
) -> Result<Option<Edge>, StoreError> {
    let sql = format!("{SELECT_EDGE} where tenant = ?1 and edge_id = ?2");
    transaction.first(&sql, &values![tenant.0, edge_id.as_str()], read_edge)
}

/// The row of an edge of the tenant.
pub(super) fn edge_key(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    edge_id: &EdgeId,
) -> Result<Option<EdgeKey>, StoreError> {
    let sql = "select id from edges where tenant = ?1 and edge_id = ?2";
    transaction.first(sql, &values![tenant.0, edge_id.as_str()], |row| row.get(0).map(EdgeKey))
}

fn enrollment_state(
    transaction: &mut Transaction<'_>,
    edge_id: &EdgeId,
) -> Result<Option<EnrollmentState>, StoreError> {
    transaction.first(
        "select t.tenant_id, e.secret_hash, e.revoked_at is not null
         from edges e join tenants t on t.id = e.tenant where e.edge_id = ?1",
        &values![edge_id.as_str()],
        |row| Ok(EnrollmentState { tenant_id: row.parsed(0)?, secret_hash: row.get(1)?, revoked: row.get(2)? }),
    )
}

fn enroll_edge(
    transaction: &mut Transaction<'_>,
    edge_id: &EdgeId,
    secret_hash: [u8; 32],
    certificate: &NewCertificate,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let spent: Option<i64> = transaction.first(
        "update edges set secret_hash = ?4, enrolled_at = ?3
         where edge_id = ?1 and secret_hash = ?2 and revoked_at is null returning id",
        &values![edge_id.as_str(), secret_hash, now, spent_mark(&secret_hash)],
        |row| row.get(0),
    )?;
    let Some(key) = spent else {
        let known = enrollment_state(transaction, edge_id)?.is_some();
        return Err(if known { StoreError::SecretSpent } else { StoreError::NotFound });
    };
    certificates::withdraw(transaction, Holder::Edge(key), now)?;
    add_certificate(transaction, EdgeKey(key), certificate, Action::EdgeEnrolled, now)
}

/// Writes a certificate of an edge that counts down; the audit log tells of it as `action` of the edge itself.
fn add_certificate(
    transaction: &mut Transaction<'_>,
    edge: EdgeKey,
    certificate: &NewCertificate,
    action: Action,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let found = transaction.first(
        "select e.tenant, e.edge_id, t.tenant_id, e.name from edges e join tenants t on t.id = e.tenant
         where e.id = ?1 and e.revoked_at is null",
        &values![edge.0],
        |row| {
            let identity = Identity { tenant: row.parsed(2)?, role: Role::Edge(row.parsed(1)?) };
            let actor = Actor { kind: ActorKind::Edge, id: row.get(1)?, name: row.get(3)? };
            Ok((TenantKey(row.get(0)?), identity, actor))
        },
    )?;
    let (tenant, identity, actor) = found.ok_or(StoreError::NotFound)?;
    if certificate.identity != identity {
        return Err(StoreError::Database(format!("certificate of {} for {identity}", certificate.identity)));
    }
    certificates::insert(transaction, tenant, Holder::Edge(edge.0), certificate, now)?;
    let detail = json!({ "not_after": certificate.not_after, "fingerprint": hex::encode(certificate.fingerprint) });
    let (subject, address) = (Some(actor.id.clone()), transaction.doer().address);
    audit::append(transaction, &NewAudit { tenant, actor, address, action, subject, detail, at: now })
}

pub(super) fn read_edge(row: &Row) -> Result<Edge, StoreError> {
    Ok(Edge {
        key: EdgeKey(row.get(0)?),
        edge_id: row.parsed(1)?,
        name: row.get(2)?,
        created_at: row.time(3)?,
        enrolled_at: row.optional_time(4)?,
        revoked: row.get(5)?,
        connected: row.get(6)?,
        last_seen: row.optional_time(7)?,
        version: row.get(8)?,
    })
}
