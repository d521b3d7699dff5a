//! The audit log: who did what, whether its chain is whole, and a table of it to take away.

use std::io;
use std::sync::Arc;

use aivms_cloud_core::audit::{Action, Entry, Head};
use aivms_cloud_core::page::PlaceCursor;
use aivms_cloud_core::spreadsheet::defused;
use futures_util::stream;
use poem::Body as Bytes;
use poem_openapi::param::Query;
use poem_openapi::payload::{Binary, Json};
use poem_openapi::types::{Any, Example};
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde_json::Value;

use super::events::default_limit;
use super::failure::Failure;
use super::signed_in::SignedIn;
use super::values::{Text, TextForm, Time, time};
use super::{Services, Tags};
use crate::clock;
use crate::store::{AuditFilter, NewAudit, SharedStore, TenantKey, UserRole};

/// Entries read at once for an export.
const EXPORT_PAGE: u32 = 1_000;

pub(super) struct AuditApi(pub Arc<Services>);

/// A page of the audit log.
#[derive(Debug, Object)]
struct AuditPage {
    /// Newest first.
    items: Vec<AuditEntry>,
    /// Give it as `cursor` to get the page after this one; null on the last page.
    #[oai(nullable)]
    next_cursor: Option<Text<PlaceCursor>>,
}

/// Something that was done.
#[derive(Debug, Object)]
#[oai(example)]
struct AuditEntry {
    /// Its place in the tenant's log: 1, 2, 3 and so on.
    #[oai(validator(minimum(value = "1")))]
    seq: u64,
    /// When.
    at: Text<Time>,
    /// Who: `user`, `api_key`, `edge`, `operator`, `link` or `system`.
    actor_kind: String,
    /// Address of a person, id of a key, an edge or an operator; null for links and the system.
    #[oai(nullable)]
    actor_id: Option<String>,
    /// What people call the actor.
    actor_name: String,
    /// The network address it came from.
    #[oai(nullable)]
    address: Option<String>,
    /// What was done, such as `user.signed_in`.
    action: String,
    /// What it was done to: an id, or `<edge>/<camera>`.
    #[oai(nullable)]
    subject_id: Option<String>,
    /// More about it.
    detail: Any<Value>,
}

/// Whether the chain of the audit log is whole.
#[derive(Debug, Object)]
struct AuditReport {
    /// Nothing was edited, removed, swapped or inserted.
    valid: bool,
    /// Entries there are.
    entries: u64,
    /// Place and SHA-256 of the last one. Note it somewhere else, and a later verification that is given it as
    /// `noted_head` says whether the log still is the one of today.
    head: String,
    /// What is wrong, by place, the first hundred.
    findings: Vec<AuditFinding>,
}

/// Something that is wrong with the chain.
#[derive(Debug, Object)]
struct AuditFinding {
    /// The place.
    seq: u64,
    /// `missing`, `out_of_order`, `foreign`, `edited`, `unlinked`, `after_head` or `not_the_head`.
    flaw: String,
    /// The same in words.
    detail: String,
}

#[derive(ApiResponse)]
enum Table {
    /// One line per entry, oldest first, with a line of names before them. A cell that a spreadsheet would take for a
    /// formula has an apostrophe before it.
    #[oai(status = 200, content_type = "text/csv")]
    Csv(Binary<Bytes>, #[oai(header = "Content-Disposition")] String),
}

#[OpenApi(prefix_path = "/api/audit", tag = "Tags::Audit")]
impl AuditApi {
    /// List what was done
    ///
    /// Newest first. All filters given must match. Needs the role admin.
    #[oai(path = "/", method = "get", operation_id = "list_audit")]
    #[expect(clippy::too_many_arguments, reason = "one per query parameter")]
    async fn list(
        &self,
        signed_in: SignedIn,
        /// Not before this time: RFC 3339, or without a zone, which is UTC.
        start_time: Query<Option<Text<Time>>>,
        /// Before this time.
        end_time: Query<Option<Text<Time>>>,
        /// By this actor: address of a person, id of a key, an edge or an operator.
        #[oai(validator(max_length = 254))]
        actor_id: Query<Option<String>>,
        /// This action.
        #[oai(validator(max_length = 100, pattern = "^[a-z_]+[.][a-z_]+$"))]
        action: Query<Option<String>>,
        /// Done to this.
        #[oai(validator(max_length = 254))]
        subject_id: Query<Option<String>>,
        /// Most items of the page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u32>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Text<PlaceCursor>>>,
    ) -> Result<Json<AuditPage>, Failure> {
        let tenant = signed_in.with_role(UserRole::Admin)?.tenant;
        let filter = filter(start_time, end_time, actor_id, action, subject_id);
        let before = cursor.0.map(|Text(PlaceCursor(place))| place);
        let page = self.0.store.audit_entries(tenant, filter, before, limit.0).await?;
        let last = page.next(|entry| Text(PlaceCursor(entry.seq)));
        Ok(Json(AuditPage { items: page.items.into_iter().map(Into::into).collect(), next_cursor: last }))
    }

    /// Verify the log
    ///
    /// Walks the whole chain and names every entry that was edited, removed, swapped or inserted. Needs the role
    /// admin.
    #[oai(path = "/verify", method = "get", operation_id = "verify_audit")]
    async fn verify(
        &self,
        signed_in: SignedIn,
        /// `head` of an earlier verification.
        #[oai(validator(max_length = 81, pattern = "^[0-9]{1,16}:[0-9a-f]{64}$"))]
        noted_head: Query<Option<String>>,
    ) -> Result<Json<AuditReport>, Failure> {
        let tenant = signed_in.with_role(UserRole::Admin)?.tenant;
        let noted = noted_head.0.as_deref().map(noted).transpose()?;
        let report = self.0.store.verify_audit(tenant, noted).await?;
        let findings = report.findings.iter().map(|finding| AuditFinding {
            seq: finding.seq,
            flaw: finding.flaw.as_str().into(),
            detail: finding.to_string(),
        });
        Ok(Json(AuditReport {
            valid: report.findings.is_empty(),
            entries: report.entries,
            head: format!("{}:{}", report.head.seq, hex::encode(report.head.hash)),
            findings: findings.collect(),
        }))
    }

    /// Export the log
    ///
    /// As a table for a spreadsheet. The export itself is written to the log. Needs the role admin.
    #[oai(path = "/export", method = "get", operation_id = "export_audit")]
    async fn export(
        &self,
        signed_in: SignedIn,
        /// Not before this time: RFC 3339, or without a zone, which is UTC.
        start_time: Query<Option<Text<Time>>>,
        /// Before this time.
        end_time: Query<Option<Text<Time>>>,
        /// By this actor.
        #[oai(validator(max_length = 254))]
        actor_id: Query<Option<String>>,
        /// This action.
        #[oai(validator(max_length = 100, pattern = "^[a-z_]+[.][a-z_]+$"))]
        action: Query<Option<String>>,
        /// Done to this.
        #[oai(validator(max_length = 254))]
        subject_id: Query<Option<String>>,
    ) -> Result<Table, Failure> {
        let doer = signed_in.doer();
        let user = signed_in.with_role(UserRole::Admin)?;
        let told = NewAudit {
            tenant: user.tenant,
            actor: doer.actor,
            address: doer.address,
            action: Action::AuditExported,
            subject: None,
            detail: Value::Null,
            at: clock::now(),
        };
        self.0.store.audit(told).await?;
        let name = format!("attachment; filename=\"{}-audit.csv\"", user.tenant_id);
        let filter = filter(start_time, end_time, actor_id, action, subject_id);
        Ok(Table::Csv(Binary(rows(Arc::clone(&self.0.store), user.tenant, filter)), name))
    }
}

fn filter(
    start_time: Query<Option<Text<Time>>>,
    end_time: Query<Option<Text<Time>>>,
    actor_id: Query<Option<String>>,
    action: Query<Option<String>>,
    subject_id: Query<Option<String>>,
) -> AuditFilter {
    // No database keeps NUL, so nothing matches one.
    let text = |text: String| text.replace('\0', "\u{fffd}");
    AuditFilter {
        start: start_time.0.map(|Text(Time(at))| at),
        end: end_time.0.map(|Text(Time(at))| at),
        actor: actor_id.0.map(text),
        action: action.0,
        subject: subject_id.0.map(text),
    }
}

fn noted(text: &str) -> Result<Head, Failure> {
    let head = text.split_once(':').and_then(|(seq, hash)| {
        let mut bytes = [0; 32];
        hex::decode_to_slice(hash, &mut bytes).ok()?;
        Some(Head { seq: seq.parse().ok()?, hash: bytes })
    });
    head.ok_or_else(|| Failure::unacceptable("noted_head", "must be the head of an earlier verification"))
}

/// The lines of an export, read from the database as the caller takes them.
fn rows(store: SharedStore, tenant: TenantKey, filter: AuditFilter) -> Bytes {
    let lines = stream::try_unfold(Some(0), move |after| {
        let (store, filter) = (Arc::clone(&store), filter.clone());
        async move {
            let Some(after) = after else { return Ok(None) };
            let page = store.audit_after(tenant, filter, after, EXPORT_PAGE).await.map_err(io::Error::other)?;
            let next = page.last().filter(|_| page.len() == EXPORT_PAGE as usize).map(|last| last.entry.seq);
            let mut table = csv::Writer::from_writer(Vec::new());
            if after == 0 {
                table.write_record(COLUMNS)?;
            }
            for sealed in page {
                table.write_record(cells(&sealed.entry, &sealed.hash).iter().map(|cell| defused(cell).into_owned()))?;
            }
            let text = table.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
            Ok::<_, io::Error>(Some((text, next)))
        }
    });
    Bytes::from_bytes_stream(lines)
}

const COLUMNS: [&str; 10] =
    ["seq", "at", "actor_kind", "actor_id", "actor_name", "address", "action", "subject", "detail", "hash"];

fn cells(entry: &Entry, hash: &[u8]) -> [String; 10] {
    let Entry { seq, at, actor, address, action, subject, detail, .. } = entry.clone();
    [
        seq.to_string(),
        at.to_string(),
        actor.kind.to_string(),
        actor.id,
        actor.name,
        address.unwrap_or_default(),
        action,
        subject.unwrap_or_default(),
        detail,
        hex::encode(hash),
    ]
}

impl From<Entry> for AuditEntry {
    fn from(entry: Entry) -> Self {
        Self {
            seq: entry.seq,
            at: time(entry.at),
            actor_kind: entry.actor.kind.to_string(),
            actor_id: Some(entry.actor.id).filter(|id| !id.is_empty()),
            actor_name: entry.actor.name,
            address: entry.address,
            action: entry.action,
            subject_id: entry.subject,
            // What was written as an object reads as one; a damaged text is shown as it is.
            detail: Any(serde_json::from_str(&entry.detail).unwrap_or(Value::String(entry.detail))),
        }
    }
}

impl Example for AuditEntry {
    fn example() -> Self {
        Self {
            seq: 17,
            at: Text(Time::EXAMPLE.parse().expect("the example is a time")),
            actor_kind: "user".into(),
            actor_id: Some("jane@acme.example".into()),
            actor_name: "Jane Miller".into(),
            address: Some("192.0.2.7".into()),
            action: Action::EdgeRevoked.as_str().into(),
            subject_id: Some("edge_01kb3x0v7t5m9q2r8s4w6y1z3a".into()),
            detail: Any(serde_json::json!({})),
        }
    }
}
