//! Certificates and operators: who may connect now.

use aivms_cloud_core::audit::Action;
use aivms_contract::id::OperatorId;
use aivms_contract::identity::{Identity, Role};
use aivms_contract::time::UtcMillis;
use serde_json::{Value as Json, json};

use super::sql::{Row, Transaction, values};
use super::{EdgeKey, News, Store, StoreError, TenantKey, audit};

/// SHA-256 of a certificate in DER.
pub type Fingerprint = [u8; 32];

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
    /// The highest number of a connection of the edge; 0 for an operator, who may have several.
    pub newest_connection: u64,
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

impl Store {
    /// Makes an operator with its certificate.
    ///
    /// # Errors
    /// [`StoreError::Taken`] `operator_id`.
    pub async fn create_operator(
        &self,
        tenant: TenantKey,
        name: &str,
        certificate: NewCertificate,
        now: UtcMillis,
    ) -> Result<Operator, StoreError> {
        let name = name.to_owned();
        self.write(move |transaction| create_operator(transaction, tenant, &name, &certificate, now)).await
    }

    /// The tenant's operators by time of making.
    ///
    /// # Errors
    /// The database's own.
    pub async fn list_operators(&self, tenant: TenantKey) -> Result<Vec<Operator>, StoreError> {
        let sql = "select operator_id, name, created_at, not_after, revoked_at is not null
                   from operators where tenant = ?1 order by id";
        self.list(tenant, move |transaction| transaction.all(sql, &values![tenant.0], read_operator)).await
    }

    /// Withdraws an operator; returns its active certificates. Withdrawing it again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn revoke_operator(
        &self,
        tenant: TenantKey,
        operator_id: &OperatorId,
        now: UtcMillis,
    ) -> Result<Vec<Fingerprint>, StoreError> {
        let operator_id = operator_id.clone();
        self.write(move |transaction| {
            let sql = "select id, revoked_at is not null from operators where tenant = ?1 and operator_id = ?2";
            let found = transaction
                .first(sql, &values![tenant.0, operator_id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let (key, revoked): (i64, bool) = found.ok_or(StoreError::NotFound)?;
            if revoked {
                return Ok(Vec::new());
            }
            transaction.execute("update operators set revoked_at = ?2 where id = ?1", &values![key, now])?;
            let withdrawn = withdraw(transaction, Holder::Operator(key), now)?;
            audit::note(transaction, tenant, Action::OperatorRevoked, Some(operator_id.as_str()), Json::Null, now)?;
            Ok(withdrawn)
        })
        .await
    }

    /// Finds a certificate that is active now: neither withdrawn, nor past its end, nor of a withdrawn edge.
    ///
    /// # Errors
    /// The database's own.
    pub async fn active_certificate(
        &self,
        fingerprint: &Fingerprint,
        now: UtcMillis,
    ) -> Result<Option<ActiveCertificate>, StoreError> {
        let fingerprint = *fingerprint;
        self.lookup(move |transaction| active(transaction, &fingerprint, now)).await
    }
}

/// Whom a certificate speaks for, by row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Holder {
    Edge(i64),
    Operator(i64),
}

/// Writes a certificate down.
pub(super) fn insert(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    holder: Holder,
    certificate: &NewCertificate,
    now: UtcMillis,
) -> Result<(), StoreError> {
    let (edge, operator) = match holder {
        Holder::Edge(key) => (Some(key), None),
        Holder::Operator(key) => (None, Some(key)),
    };
    let NewCertificate { fingerprint, public_key_der, not_after, .. } = certificate;
    transaction.execute(
        "insert into certificates (fingerprint, tenant, edge, operator, public_key_der, issued_at, not_after)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        &values![fingerprint, tenant.0, edge, operator, public_key_der.as_slice(), now, *not_after],
    )?;
    Ok(())
}

/// Withdraws the holder's certificates; returns those that counted until now.
pub(super) fn withdraw(
    transaction: &mut Transaction<'_>,
    holder: Holder,
    now: UtcMillis,
) -> Result<Vec<Fingerprint>, StoreError> {
    let (sql, key) = match holder {
        Holder::Edge(key) => (
            "update certificates set revoked_at = ?2 where edge = ?1 and revoked_at is null
             returning fingerprint, not_after",
            key,
        ),
        Holder::Operator(key) => (
            "update certificates set revoked_at = ?2 where operator = ?1 and revoked_at is null
             returning fingerprint, not_after",
            key,
        ),
    };
    let read = |row: &Row| Ok((row.get(0)?, row.time(1)?));
    let withdrawn: Vec<(Fingerprint, UtcMillis)> = transaction.all(sql, &values![key, now], read)?;
    let counted: Vec<Fingerprint> =
        withdrawn.into_iter().filter(|(_, not_after)| *not_after > now).map(|(fingerprint, _)| fingerprint).collect();
    if !counted.is_empty() {
        transaction.announce(News::Withdrawn(counted.clone()));
    }
    Ok(counted)
}

/// Finds a certificate that counts now.
pub(super) fn active(
    transaction: &mut Transaction<'_>,
    fingerprint: &Fingerprint,
    now: UtcMillis,
) -> Result<Option<ActiveCertificate>, StoreError> {
    transaction.first(
        "select c.tenant, t.tenant_id, c.edge, e.edge_id, o.operator_id, c.public_key_der, c.not_after,
             e.generation
         from certificates c
         join tenants t on t.id = c.tenant
         left join edges e on e.id = c.edge
         left join operators o on o.id = c.operator
         where c.fingerprint = ?1 and c.revoked_at is null and c.not_after > ?2
             and e.revoked_at is null and o.revoked_at is null",
        &values![fingerprint, now],
        read_active,
    )
}

fn create_operator(
    transaction: &mut Transaction<'_>,
    tenant: TenantKey,
    name: &str,
    certificate: &NewCertificate,
    now: UtcMillis,
) -> Result<Operator, StoreError> {
    let Role::Operator(operator_id) = &certificate.identity.role else {
        return Err(StoreError::Database(format!("{} is no operator", certificate.identity)));
    };
    let key: Option<i64> = transaction.first(
        "insert into operators (tenant, operator_id, name, created_at, not_after) values (?1, ?2, ?3, ?4, ?5)
         on conflict (tenant, operator_id) do nothing returning id",
        &values![tenant.0, operator_id.as_str(), name, now, certificate.not_after],
        |row| row.get(0),
    )?;
    let key = key.ok_or(StoreError::Taken("operator_id"))?;
    insert(transaction, tenant, Holder::Operator(key), certificate, now)?;
    let detail = json!({ "name": name, "not_after": certificate.not_after });
    audit::note(transaction, tenant, Action::OperatorCreated, Some(operator_id.as_str()), detail, now)?;
    Ok(Operator {
        operator_id: operator_id.clone(),
        name: name.to_owned(),
        created_at: now,
        not_after: certificate.not_after,
        revoked: false,
    })
}

fn read_operator(row: &Row) -> Result<Operator, StoreError> {
    Ok(Operator {
        operator_id: row.parsed(0)?,
        name: row.get(1)?,
        created_at: row.time(2)?,
        not_after: row.time(3)?,
        revoked: row.get(4)?,
    })
}

fn read_active(row: &Row) -> Result<ActiveCertificate, StoreError> {
    let edge: Option<i64> = row.get(2)?;
    let role = if edge.is_some() { Role::Edge(row.parsed(3)?) } else { Role::Operator(row.parsed(4)?) };
    Ok(ActiveCertificate {
        tenant: TenantKey(row.get(0)?),
        edge: edge.map(EdgeKey),
        identity: Identity { tenant: row.parsed(1)?, role },
        public_key_der: row.get(5)?,
        not_after: row.time(6)?,
        newest_connection: row.get::<Option<u64>>(7)?.unwrap_or_default(),
    })
}
