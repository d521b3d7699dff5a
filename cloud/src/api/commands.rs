//! Commands to an edge: asked for, waited for, looked up, taken back.

mod answer;
mod wait;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aivms_cloud_core::command::{self, Deadlines, MAX_EXPIRY};
use aivms_cloud_core::page::Cursor;
use aivms_cloud_core::rights::CameraScope;
use aivms_contract::command::{Action, ActionError, Command};
use aivms_contract::id::{CameraId, CommandId, EdgeId, EventId};
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Any;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use self::answer::{CommandAnswer, State};
use self::wait::ended_or_after;
use super::analytics::without_nul;
use super::edge_devices::Documented;
use super::events::default_limit;
use super::failure::Failure;
use super::idempotency::{KeyHeader, Made};
use super::signed_in::SignedIn;
use super::values::{Body, Text};
use super::{Services, Tags};
use crate::clock;
use crate::store::{Cancelled, CommandFilter, NewCommand, Store, StoreError, StoredCommand, TenantKey, User, UserRole};

/// Longest wait for an answer in one request, in seconds.
pub(super) const MAX_WAIT_S: u32 = 60;

pub(super) struct CommandsApi(pub Arc<Services>);

/// What is asked for, as it is read.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct CommandRequest {
    command: String,
    #[serde(default)]
    payload: Map<String, Value>,
    #[serde(default)]
    expires_in_s: Option<u64>,
    #[serde(default)]
    wait_s: u32,
}

/// Something an edge shall do once.
#[derive(Object)]
#[oai(rename = "NewCommandRequest", example)]
struct CommandForm {
    /// `restart_detection`, `update_zones`, `get_status`, `request_clip`, `request_snapshot`, `lock_footage` or
    /// `unlock_footage`.
    #[oai(validator(min_length = 1, max_length = 64))]
    command: String,
    /// Its arguments; see the guide to commands.
    payload: Option<BTreeMap<String, Any<Value>>>,
    /// Seconds after which the edge does not begin any more, up to seven days. When absent, 15 minutes for what is
    /// about now, a day for clips, locks and pictures of the past.
    #[oai(nullable, validator(minimum(value = "1"), maximum(value = "604800")))]
    expires_in_s: Option<u64>,
    /// Seconds to wait for the answer.
    #[oai(default, validator(minimum(value = "0"), maximum(value = "60")))]
    wait_s: u32,
}

/// A page of commands.
#[derive(Debug, Object)]
struct CommandPage {
    /// Newest first.
    items: Vec<CommandAnswer>,
    /// Give it as `cursor` to get the page after this one; null on the last page.
    #[oai(nullable)]
    next_cursor: Option<Text<Cursor>>,
}

#[derive(ApiResponse)]
enum Asked {
    /// The command is stored, and has ended if the answer came while it was waited for.
    #[oai(status = 201)]
    Stored(Json<CommandAnswer>, #[oai(header = "Location")] String),
}

#[OpenApi(prefix_path = "/api/tenant/edges", tag = "Tags::Commands")]
impl CommandsApi {
    /// Send a command
    ///
    /// It is stored, sent when the edge is connected, and ends once: `succeeded`, `failed`, `rejected`, `timed_out`,
    /// `cancelled`, or `expired` when no answer ever comes. Needs the role operator; a person who may see only some
    /// cameras may give commands about those.
    #[oai(path = "/:edge_id/command", method = "post", operation_id = "send_command")]
    async fn send(
        &self,
        signed_in: SignedIn,
        edge_id: Path<Text<EdgeId>>,
        body: Body<Documented<CommandRequest, CommandForm>>,
        /// Drawn anew for each command: a repeat with the same key and body tells of the same command, as it is by then
        /// and after the same wait, for a day.
        #[oai(name = "Idempotency-Key")]
        key: KeyHeader,
    ) -> Result<Asked, Failure> {
        let Path(Text(edge_id)) = edge_id;
        let (scope, asking) = (signed_in.cameras().clone(), signed_in.asking());
        let user = signed_in.with_role(UserRole::Operator)?;
        let request = body.0.0;
        let (wait, tenant) = (wait_of(request.wait_s)?, user.tenant);
        let asked = json!({ "edge_id": edge_id.as_str(), "body": request });
        let (new, camera) = new_command(request, user.key)?;
        self.must_reach(tenant, &edge_id).await?;
        may_command(&scope, &edge_id, camera.as_ref())?;
        let edge = edge_id.clone();
        let work = move |store| store_command(store, user, edge, new);
        let Made { body, location } = self.0.once(&asking, "send_command", key, &asked, work).await?;
        let Some(stored) = self.0.store.command(tenant, &edge_id, body.id()).await? else {
            return Ok(Asked::Stored(Json(body), location));
        };
        let stored = ended_or_after(&self.0, tenant, &edge_id, stored, wait).await?;
        Ok(Asked::Stored(Json(CommandAnswer::of(&edge_id, stored)), location))
    }

    /// List commands
    ///
    /// Newest first. A page is `limit` long; follow `next_cursor` for older ones.
    #[oai(path = "/:edge_id/commands", method = "get", operation_id = "list_commands")]
    async fn list(
        &self,
        signed_in: SignedIn,
        edge_id: Path<Text<EdgeId>>,
        /// In this state.
        state: Query<Option<State>>,
        /// With this name.
        #[oai(validator(min_length = 1, max_length = 64))]
        command: Query<Option<String>>,
        /// Most items of the page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u32>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Text<Cursor>>>,
    ) -> Result<Json<CommandPage>, Failure> {
        let Path(Text(edge_id)) = edge_id;
        let filter = CommandFilter {
            state: state.0.map(Into::into),
            command: command.0.as_deref().map(without_nul),
            cameras: cameras_of(signed_in.cameras(), &edge_id),
        };
        let before = cursor.0.and_then(|Text(Cursor(id))| id.to_string().to_ascii_lowercase().parse().ok());
        let tenant = signed_in.user().tenant;
        let page = self.0.store.list_commands(tenant, &edge_id, filter, before, limit.0).await?;
        let last = page.next(|last| id_of(&last.command.id)).flatten();
        let items = page.items.into_iter().map(|stored| CommandAnswer::of(&edge_id, stored)).collect();
        Ok(Json(CommandPage { items, next_cursor: last.map(|id| Text(Cursor(id))) }))
    }

    /// Show a command
    ///
    /// With `wait_s`, the answer to this request comes when the command has ended, or after so many seconds.
    #[oai(path = "/:edge_id/commands/:command_id", method = "get", operation_id = "show_command")]
    async fn show(
        &self,
        signed_in: SignedIn,
        edge_id: Path<Text<EdgeId>>,
        command_id: Path<Text<CommandId>>,
        /// Seconds to wait for the end.
        #[oai(default, validator(minimum(value = "0"), maximum(value = "60")))]
        wait_s: Query<u32>,
    ) -> Result<Json<CommandAnswer>, Failure> {
        let (Path(Text(edge_id)), Path(Text(id))) = (edge_id, command_id);
        let scope = signed_in.cameras().clone();
        let tenant = signed_in.user().tenant;
        let stored = self.find(tenant, &scope, &edge_id, &id).await?;
        let stored = ended_or_after(&self.0, tenant, &edge_id, stored, wait_of(wait_s.0)?).await?;
        Ok(Json(CommandAnswer::of(&edge_id, stored)))
    }

    /// Take a command back
    ///
    /// Only while its edge has not been told of it. Needs the role operator.
    #[oai(path = "/:edge_id/commands/:command_id/cancel", method = "post", operation_id = "cancel_command")]
    async fn cancel(
        &self,
        signed_in: SignedIn,
        edge_id: Path<Text<EdgeId>>,
        command_id: Path<Text<CommandId>>,
    ) -> Result<Json<CommandAnswer>, Failure> {
        let (Path(Text(edge_id)), Path(Text(id))) = (edge_id, command_id);
        let (scope, by) = (signed_in.cameras().clone(), signed_in.doer());
        let user = signed_in.with_role(UserRole::Operator)?;
        self.find(user.tenant, &scope, &edge_id, &id).await?;
        match self.0.store.by(&by).cancel_command(user.tenant, &edge_id, &id, clock::now()).await? {
            Cancelled::Done(stored) => {
                tracing::info!(edge.id = %edge_id, command.id = id.as_str(), "command cancelled");
                Ok(Json(CommandAnswer::of(&edge_id, *stored)))
            }
            Cancelled::Not(unchanged) => Err(Failure::conflict(None, unchanged.to_string())),
        }
    }
}

async fn store_command(
    store: Store,
    user: User,
    edge_id: EdgeId,
    new: NewCommand,
) -> Result<Made<CommandAnswer>, Failure> {
    let stored = store.create_command(user.tenant, &edge_id, new).await?;
    let id = stored.command.id.clone();
    tracing::info!(tenant.id = %user.tenant_id, edge.id = %edge_id, command.id = id.as_str(),
        command = stored.command.command, "command stored");
    let location = format!("/api/tenant/edges/{edge_id}/commands/{id}");
    Ok(Made { body: CommandAnswer::of(&edge_id, stored), location })
}

impl CommandsApi {
    /// Refuses an edge that will never connect again.
    async fn must_reach(&self, tenant: TenantKey, edge_id: &EdgeId) -> Result<(), Failure> {
        let edge = self.0.store.edge(tenant, edge_id).await?.ok_or(StoreError::NotFound)?;
        if edge.revoked {
            let detail = "edge_id: this edge has been revoked and will not connect again";
            return Err(Failure::conflict(Some("edge_id"), detail));
        }
        Ok(())
    }

    async fn find(
        &self,
        tenant: TenantKey,
        scope: &CameraScope,
        edge_id: &EdgeId,
        id: &CommandId,
    ) -> Result<StoredCommand, Failure> {
        let stored = self.0.store.command(tenant, edge_id, id).await?.ok_or(StoreError::NotFound)?;
        match (scope, &stored.camera) {
            (CameraScope::All, _) => Ok(stored),
            (scope, Some(camera)) if scope.sees(edge_id, camera) => Ok(stored),
            _ => Err(StoreError::NotFound.into()),
        }
    }
}

/// Checks what is asked for by the contract's own rules.
fn new_command(request: CommandRequest, by: crate::store::UserKey) -> Result<(NewCommand, Option<CameraId>), Failure> {
    let now = clock::now();
    let expires_in = expiry_of(request.expires_in_s)?;
    let CommandRequest { command, payload, .. } = request;
    let id = CommandId::from_parts(now, super::secrets::random_bits()?);
    let mut command = Command { id, issued_at: now, expires_at: now, command, payload };
    let action = command.action().map_err(refused)?;
    if action == Action::OpenRelay {
        return Err(refused(ActionError::Unknown(command.command)));
    }
    let deadlines = Deadlines::of(&action, now, expires_in);
    command.expires_at = deadlines.expires_at;
    let camera = command::camera(&action).cloned();
    Ok((NewCommand { command, camera: camera.clone(), deadlines, by }, camera))
}

fn expiry_of(seconds: Option<u64>) -> Result<Option<Duration>, Failure> {
    match seconds {
        Some(seconds) if seconds == 0 || seconds > MAX_EXPIRY.as_secs() => {
            Err(Failure::unacceptable("expires_in_s", format!("must be 1 to {}", MAX_EXPIRY.as_secs())))
        }
        seconds => Ok(seconds.map(Duration::from_secs)),
    }
}

fn wait_of(seconds: u32) -> Result<Duration, Failure> {
    if seconds > MAX_WAIT_S {
        return Err(Failure::unacceptable("wait_s", format!("must be 0 to {MAX_WAIT_S}")));
    }
    Ok(Duration::from_secs(seconds.into()))
}

/// A person who may see only some cameras gives commands about those.
fn may_command(scope: &CameraScope, edge_id: &EdgeId, camera: Option<&CameraId>) -> Result<(), Failure> {
    match (scope, camera) {
        (CameraScope::All, _) => Ok(()),
        (CameraScope::Only(_), None) => {
            Err(Failure::forbidden("you may see only some cameras, and this command is about more than one of them"))
        }
        (scope, Some(camera)) if scope.sees(edge_id, camera) => Ok(()),
        (_, Some(_)) => Err(StoreError::NotFound.into()),
    }
}

/// The cameras of an edge whose commands may be seen; `None` for all, also those about no camera.
fn cameras_of(scope: &CameraScope, edge_id: &EdgeId) -> Option<Vec<CameraId>> {
    match scope {
        CameraScope::All => None,
        CameraScope::Only(cameras) => {
            Some(cameras.iter().filter(|(edge, _)| edge == edge_id).map(|(_, camera)| camera.clone()).collect())
        }
    }
}

/// Names the member that is wrong: `command`, or a member of `payload`.
fn refused(error: ActionError) -> Failure {
    match error {
        ActionError::Unknown(name) => {
            let name: String = name.chars().take(64).collect();
            Failure::unacceptable("command", format!("{name:?} is not known"))
        }
        ActionError::Payload(problem) => match member_of(&problem) {
            Some(member) => Failure::unacceptable(&format!("payload.{member}"), &problem),
            None => Failure::unacceptable("payload", &problem),
        },
    }
}

/// The member a problem is about: `member: …`, or the one in backticks of "missing field `member`".
fn member_of(problem: &str) -> Option<&str> {
    let is_name =
        |name: &&str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.[]".contains(c));
    let before_colon = problem.split_once(": ").map(|(member, _)| member).filter(is_name);
    before_colon.or_else(|| problem.split('`').nth(1).filter(is_name))
}

/// A command's id as the cursor holds it.
fn id_of(id: &CommandId) -> Option<EventId> {
    id.as_str().to_ascii_uppercase().parse().ok()
}

impl poem_openapi::types::Example for CommandForm {
    fn example() -> Self {
        let payload = [
            ("camera_id", Value::from("front-door")),
            ("start", "2026-11-22T13:05:00.000Z".into()),
            ("duration_ms", 20_000.into()),
        ];
        let payload = payload.into_iter().map(|(name, value)| (name.to_owned(), Any(value))).collect();
        Self { command: "request_clip".into(), payload: Some(payload), expires_in_s: None, wait_s: 30 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wrong_member_of_a_payload_is_named() {
        for (problem, member) in [
            ("missing field `start`", Some("start")),
            ("unknown field `x`, expected `camera_id`", Some("x")),
            ("end: must be after start", Some("end")),
            ("camera_id: may hold only a-z", Some("camera_id")),
            ("something is wrong", None),
        ] {
            assert_eq!(member_of(problem), member, "{problem}");
        }
    }
}
