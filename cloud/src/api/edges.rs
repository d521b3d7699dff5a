//! A tenant's edges: list, register, rotate, revoke.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aivms_cloud_core::account;
use aivms_cloud_core::label::{Label, MAX_LABELS};
use aivms_cloud_core::page::Cursor;
use aivms_contract::id::EdgeId;
use aivms_contract::time::UtcMillis;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use serde::Deserialize;

use super::events::{default_limit, plain};
use super::failure::Failure;
use super::idempotency::{KeyHeader, Made};
use super::signed_in::SignedIn;
use super::values::{Body, Text, Time, time};
use super::{Services, Tags, secrets, to_its_end};
use crate::clock;
use crate::store::{Edge, EdgeFilter, LabelledEdge, Store, StoreError, User, UserRole};

pub(super) struct EdgesApi(pub Arc<Services>);

/// An edge to be registered.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(example)]
struct NewEdgeRequest {
    /// What people call it.
    #[oai(validator(
        min_length = 1,
        max_length = 100,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$"
    ))]
    name: String,
}

/// An edge.
#[derive(Debug, Object)]
#[oai(rename = "Edge")]
struct EdgeAnswer {
    /// Its identifier, also in topics.
    edge_id: Text<EdgeId>,
    /// What people call it.
    name: String,
    /// Whether it can be heard.
    status: EdgeStatus,
    /// Whether its MQTT session is up.
    connected: bool,
    /// When it was registered.
    created_at: Text<Time>,
    /// When it last proved its secret.
    #[oai(nullable)]
    enrolled_at: Option<Text<Time>>,
    /// Its last sign of life.
    #[oai(nullable)]
    last_seen: Option<Text<Time>>,
    /// The version it reported last.
    #[oai(nullable)]
    version: Option<String>,
    /// What people group it by.
    labels: BTreeMap<String, String>,
}

/// What is to change of an edge; what is absent stays.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(rename = "ChangeEdgeRequest", example)]
struct EdgeChange {
    /// What people call it.
    #[oai(
        nullable,
        validator(
            min_length = 1,
            max_length = 100,
            pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$"
        )
    )]
    name: Option<String>,
    /// All its labels; keys have 1 to 32 characters of `a-z`, `0-9`, `_`, `.` and `-`, values up to 64.
    #[oai(nullable)]
    labels: Option<BTreeMap<String, String>>,
}

/// Whether an edge can be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
enum EdgeStatus {
    /// Registered, not enrolled yet.
    Registered,
    /// Heard of lately.
    Online,
    /// Not heard of for longer than the time limit.
    Offline,
    /// Withdrawn.
    Revoked,
}

/// A page of the tenant's edges.
#[derive(Debug, Object)]
struct EdgeList {
    /// By time of registration.
    items: Vec<EdgeAnswer>,
    /// Give it as `cursor` to get the page after this one; null on the last page.
    #[oai(nullable)]
    next_cursor: Option<Text<Cursor>>,
}

/// A secret that enrols one edge once.
#[derive(Debug, Object)]
struct EdgeSecretAnswer {
    /// The edge.
    edge_id: Text<EdgeId>,
    /// Shown only here: give it to `aivms-appliance enroll`. It is spent by the first enrolment.
    edge_secret: String,
}

#[derive(ApiResponse)]
enum Registered {
    /// The edge exists and waits for its enrolment.
    #[oai(status = 201)]
    Created(Json<EdgeSecretAnswer>, #[oai(header = "Location")] String),
}

#[derive(ApiResponse)]
enum Revoked {
    /// The edge is out, its sessions are closed.
    #[oai(status = 204)]
    Done,
}

#[OpenApi(prefix_path = "/api/tenant/edges", tag = "Tags::Edges")]
impl EdgesApi {
    /// List edges
    ///
    /// In the order of registration. A page is `limit` long; follow `next_cursor` for further ones.
    #[oai(path = "/", method = "get", operation_id = "list_edges")]
    async fn list(
        &self,
        signed_in: SignedIn,
        /// With this label, `key:value`; several must all be there.
        #[oai(default, validator(max_items = 8))]
        label: Query<Vec<Text<Label>>>,
        /// Whether withdrawn edges are left out.
        #[oai(default)]
        active: Query<bool>,
        /// Most items of the page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u32>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Text<Cursor>>>,
    ) -> Result<Json<EdgeList>, Failure> {
        let labels = label.0.into_iter().map(plain).collect();
        let filter = EdgeFilter { labels, only_active: active.0 };
        let after = cursor.0.map(|Text(Cursor(id))| EdgeId::from_random(u128::from_be_bytes(id.to_bytes())));
        let page = self.0.store.page_of_edges(signed_in.user().tenant, filter, after, limit.0).await?;
        let last = page.next(|last| cursor_of(&last.edge.edge_id)).flatten();
        let now = clock::now();
        let items = page.items.into_iter().map(|edge| self.answer(edge, now)).collect();
        Ok(Json(EdgeList { items, next_cursor: last }))
    }

    /// Register an edge
    ///
    /// The answer holds the secret with which the edge enrols itself; it is shown only once. Needs the role admin.
    #[oai(path = "/", method = "post", operation_id = "register_edge")]
    async fn register(
        &self,
        signed_in: SignedIn,
        body: Body<NewEdgeRequest>,
        /// Drawn anew for each thing to be made: a repeat with the same key and body gets the first answer again, for
        /// a day.
        #[oai(name = "Idempotency-Key")]
        key: KeyHeader,
    ) -> Result<Registered, Failure> {
        let asking = signed_in.asking();
        let user = signed_in.with_role(UserRole::Admin)?;
        let name = account::display_name(&body.0.name).map_err(|error| Failure::unacceptable("name", error))?;
        let made = self.0.once(&asking, "register_edge", key, &body.0, |store| register_edge(store, user, name));
        let Made { body, location } = made.await?;
        Ok(Registered::Created(Json(body), location))
    }

    /// Show an edge
    #[oai(path = "/:edge_id", method = "get", operation_id = "show_edge")]
    async fn show(&self, signed_in: SignedIn, edge_id: Path<Text<EdgeId>>) -> Result<Json<EdgeAnswer>, Failure> {
        let Path(Text(edge_id)) = edge_id;
        let edge = self.0.store.labelled_edge(signed_in.user().tenant, &edge_id).await?.ok_or(StoreError::NotFound)?;
        Ok(Json(self.answer(edge, clock::now())))
    }

    /// Rename or label an edge
    ///
    /// `labels` replaces all labels; what is absent stays as it is. Needs the role admin.
    #[oai(path = "/:edge_id", method = "patch", operation_id = "change_edge")]
    async fn change(
        &self,
        signed_in: SignedIn,
        edge_id: Path<Text<EdgeId>>,
        body: Body<EdgeChange>,
    ) -> Result<Json<EdgeAnswer>, Failure> {
        let Path(Text(edge_id)) = edge_id;
        let by = signed_in.doer();
        let user = signed_in.with_role(UserRole::Admin)?;
        let EdgeChange { name, labels } = body.0;
        let name = name.map(|name| account::display_name(&name)).transpose();
        let name = name.map_err(|error| Failure::unacceptable("name", error))?;
        let labels = labels.as_ref().map(read_labels).transpose()?;
        let edge = self.0.store.by(&by).change_edge(user.tenant, &edge_id, name, labels, clock::now()).await?;
        tracing::info!(tenant.id = %user.tenant_id, edge.id = %edge_id, "edge renamed or labelled");
        Ok(Json(self.answer(edge, clock::now())))
    }

    /// Give an edge a new secret
    ///
    /// Its certificates are withdrawn and its sessions closed at once; it must enrol again. Needs the role admin.
    #[oai(path = "/:edge_id/rotate-secret", method = "post", operation_id = "rotate_edge_secret")]
    async fn rotate(
        &self,
        signed_in: SignedIn,
        edge_id: Path<Text<EdgeId>>,
    ) -> Result<Json<EdgeSecretAnswer>, Failure> {
        let by = signed_in.doer();
        let user = signed_in.with_role(UserRole::Admin)?;
        let Path(Text(edge_id)) = edge_id;
        let secret = secrets::EdgeSecret::draw()?;
        let services = Arc::clone(&self.0);
        to_its_end(async move {
            let store = services.store.by(&by);
            let rotated = store.rotate_edge_secret(user.tenant, &edge_id, secret.hash(), clock::now()).await;
            let withdrawn = match rotated {
                Err(StoreError::NotFound) if services.store.edge(user.tenant, &edge_id).await?.is_some() => {
                    return Err(Failure::conflict(
                        Some("edge_id"),
                        "edge_id: this edge has been revoked; register another one",
                    ));
                }
                rotated => rotated?,
            };
            services.sessions.end(&withdrawn);
            services.relay.end(&withdrawn);
            tracing::info!(tenant.id = %user.tenant_id, edge.id = %edge_id, "edge secret rotated");
            Ok(Json(EdgeSecretAnswer { edge_id: Text(edge_id), edge_secret: secret.into_text() }))
        })
        .await
    }

    /// Revoke an edge
    ///
    /// Its secret and certificates are withdrawn and its sessions closed at once, for good. Its events stay. Needs
    /// the role admin.
    #[oai(path = "/:edge_id/revoke", method = "post", operation_id = "revoke_edge")]
    async fn revoke(&self, signed_in: SignedIn, edge_id: Path<Text<EdgeId>>) -> Result<Revoked, Failure> {
        let by = signed_in.doer();
        let user = signed_in.with_role(UserRole::Admin)?;
        let Path(Text(edge_id)) = edge_id;
        let services = Arc::clone(&self.0);
        to_its_end(async move {
            let withdrawn = services.store.by(&by).revoke_edge(user.tenant, &edge_id, clock::now()).await?;
            services.sessions.end(&withdrawn);
            services.relay.end(&withdrawn);
            tracing::info!(tenant.id = %user.tenant_id, edge.id = %edge_id, "edge revoked");
            Ok(Revoked::Done)
        })
        .await
    }
}

async fn register_edge(store: Store, user: User, name: String) -> Result<Made<EdgeSecretAnswer>, Failure> {
    let edge_id = EdgeId::from_random(secrets::random_bits()?);
    let secret = secrets::EdgeSecret::draw()?;
    store.create_edge(user.tenant, &edge_id, &name, secret.hash(), clock::now()).await?;
    tracing::info!(tenant.id = %user.tenant_id, edge.id = %edge_id, "edge registered");
    let location = format!("/api/tenant/edges/{edge_id}");
    let body = EdgeSecretAnswer { edge_id: Text(edge_id), edge_secret: secret.into_text() };
    Ok(Made { body, location })
}

impl EdgesApi {
    fn answer(&self, LabelledEdge { edge, labels }: LabelledEdge, now: UtcMillis) -> EdgeAnswer {
        let labels = labels.iter().map(|label| (label.key().to_owned(), label.value().to_owned()));
        EdgeAnswer {
            status: status(&edge, now, self.0.settings.edge_timeout),
            edge_id: Text(edge.edge_id),
            name: edge.name,
            connected: edge.connected,
            created_at: time(edge.created_at),
            enrolled_at: edge.enrolled_at.map(time),
            last_seen: edge.last_seen.map(time),
            version: edge.version,
            labels: labels.collect(),
        }
    }
}

fn read_labels(labels: &BTreeMap<String, String>) -> Result<Vec<Label>, Failure> {
    if labels.len() > MAX_LABELS {
        return Err(Failure::unacceptable("labels", format!("at most {MAX_LABELS} labels, found {}", labels.len())));
    }
    let labels: Result<_, _> = labels.iter().map(|(key, value)| Label::new(key, value)).collect();
    labels.map_err(|error| Failure::unacceptable("labels", error))
}

/// An edge's id as a cursor holds it: the 128 bits it was made of.
fn cursor_of(edge_id: &EdgeId) -> Option<Text<Cursor>> {
    edge_id.as_str().strip_prefix("edge_")?.to_ascii_uppercase().parse().ok().map(|id| Text(Cursor(id)))
}

/// A session that is up counts as life only together with heartbeats: a hung appliance holds its connection open.
fn status(edge: &Edge, now: UtcMillis, timeout: Duration) -> EdgeStatus {
    match (edge.revoked, edge.enrolled_at, edge.last_seen) {
        (true, _, _) => EdgeStatus::Revoked,
        (false, _, Some(seen)) if now.since(seen) < timeout => EdgeStatus::Online,
        (false, None, _) => EdgeStatus::Registered,
        (false, Some(_), _) => EdgeStatus::Offline,
    }
}

impl poem_openapi::types::Example for EdgeChange {
    fn example() -> Self {
        let labels = [("site", "Hamburg"), ("floor", "2")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        Self { name: Some("Warehouse north".into()), labels: Some(labels.into()) }
    }
}

impl poem_openapi::types::Example for NewEdgeRequest {
    fn example() -> Self {
        Self { name: "Warehouse north".into() }
    }
}
