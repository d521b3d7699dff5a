//! What an edge should run, what it says it runs, and the difference.

mod answer;
mod read;

use std::sync::Arc;

use aivms_cloud_core::desired::{self, difference};
use aivms_cloud_core::page::Cursor;
use aivms_cloud_core::rights::CameraScope;
use aivms_contract::desired::{Camera, Cameras, Desired, ReportedState, Settings};
use aivms_contract::id::{CameraId, EdgeId, EventId};
use aivms_contract::limits::MAX_PAYLOAD_BYTES;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};

use self::answer::{
    DesiredAnswer, DesiredHistory, DesiredVersionAnswer, DifferenceAnswer, ReportedAnswer, differences,
};
use self::read::{DesiredForm, DesiredRequest, ZonesForm, ZonesRequest};
use super::edge_devices::Documented;
use super::events::default_limit;
use super::failure::Failure;
use super::signed_in::SignedIn;
use super::values::{Body, Text};
use super::{Services, Tags};
use crate::clock;
use crate::store::{DesiredChange, DesiredVersion, Doer, StoreError, User, UserRole};

pub(super) struct DesiredApi(pub Arc<Services>);

#[derive(ApiResponse)]
enum Shown {
    /// The document.
    #[oai(status = 200)]
    Document(Json<DesiredAnswer>, #[oai(header = "ETag")] String),
}

#[OpenApi(prefix_path = "/api/tenant/edges", tag = "Tags::Edges")]
impl DesiredApi {
    /// Show the desired document
    ///
    /// User names and passwords of cameras are shown as `***` to everybody, also those in addresses. A person who may
    /// see only some cameras sees those.
    #[oai(path = "/:edge_id/desired", method = "get", operation_id = "show_desired")]
    async fn show(
        &self,
        signed_in: SignedIn,
        edge_id: Path<Text<EdgeId>>,
        /// This version; the newest when absent. The latest 100 are kept.
        #[oai(validator(minimum(value = "1"), maximum(value = "9007199254740991")))]
        version: Query<Option<u64>>,
    ) -> Result<Shown, Failure> {
        let Path(Text(edge_id)) = edge_id;
        let scope = signed_in.cameras().clone();
        let found = self.0.store.desired(signed_in.user().tenant, &edge_id, version.0).await?;
        if found.is_none() && version.0.is_some() {
            return Err(StoreError::NotFound.into());
        }
        Ok(shown(&edge_id, found, &scope))
    }

    /// Change the desired document
    ///
    /// Replaces the whole document, if `version` is still the newest one (0 when there is none); `If-Match` with the
    /// `ETag` of an earlier answer says the same. The edge applies it at once, or when it connects. `***` stands for
    /// the stored user name, password or address, while the addresses lead to the same hosts. Needs the role admin,
    /// and the sight of every camera.
    #[oai(path = "/:edge_id/desired", method = "put", operation_id = "change_desired")]
    async fn change(
        &self,
        signed_in: SignedIn,
        edge_id: Path<Text<EdgeId>>,
        /// The version the change is based on, as the `ETag` of an earlier answer; wins over `version`.
        #[oai(name = "If-Match", validator(max_length = 40, pattern = "^(\"[0-9]{1,16}\"|[0-9]{1,16})$"))]
        if_match: Header<Option<String>>,
        body: Body<Documented<DesiredRequest, DesiredForm>>,
    ) -> Result<Shown, Failure> {
        let Path(Text(edge_id)) = edge_id;
        let by = signed_in.doer();
        let user = editor(signed_in)?;
        let request = body.0.0;
        let based_on = request.based_on(if_match.0.as_deref())?;
        let (cameras, settings) = request.content()?;
        let current = self.0.store.desired(user.tenant, &edge_id, None).await?;
        let changed = self.store((&user, &by), &edge_id, based_on, current, (cameras, settings)).await?;
        Ok(shown(&edge_id, Some(changed), &CameraScope::All))
    }

    /// Change the zones and lines of one camera
    ///
    /// Everything else of the document stays. With `version`, the change is refused when that is not the newest one
    /// any more. Needs the role admin, and the sight of every camera.
    #[oai(path = "/:edge_id/cameras/:camera_id/zones", method = "put", operation_id = "change_zones")]
    async fn change_zones(
        &self,
        signed_in: SignedIn,
        edge_id: Path<Text<EdgeId>>,
        camera_id: Path<Text<CameraId>>,
        body: Body<Documented<ZonesRequest, ZonesForm>>,
    ) -> Result<Shown, Failure> {
        let (Path(Text(edge_id)), Path(Text(camera_id))) = (edge_id, camera_id);
        let by = signed_in.doer();
        let user = editor(signed_in)?;
        let request = body.0.0;
        let (zones, lines) = request.content()?;
        let current = self.0.store.desired(user.tenant, &edge_id, None).await?.ok_or(StoreError::NotFound)?;
        let document = current.document.clone();
        let based_on = request.version.unwrap_or(document.version);
        let mut cameras: Vec<Camera> = document.cameras.into();
        let camera = cameras.iter_mut().find(|camera| camera.id == camera_id).ok_or(StoreError::NotFound)?;
        camera.zones = zones;
        if let Some(lines) = lines {
            camera.lines = lines;
        }
        let cameras = Cameras::try_from(cameras).map_err(|error| Failure::unacceptable("zones", error))?;
        let changed = self.store((&user, &by), &edge_id, based_on, Some(current), (cameras, document.settings)).await?;
        Ok(shown(&edge_id, Some(changed), &CameraScope::All))
    }

    /// List versions of the desired document
    ///
    /// Newest first, each with who made it and the fields it changed. The latest 100 are kept.
    #[oai(path = "/:edge_id/desired/history", method = "get", operation_id = "list_desired_versions")]
    async fn history(
        &self,
        signed_in: SignedIn,
        edge_id: Path<Text<EdgeId>>,
        /// Most items of the page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u32>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Text<Cursor>>>,
    ) -> Result<Json<DesiredHistory>, Failure> {
        let Path(Text(edge_id)) = edge_id;
        let scope = signed_in.cameras().clone();
        let before = cursor.0.map(|Text(Cursor(id))| version_of(id));
        let page = self.0.store.desired_history(signed_in.user().tenant, &edge_id, before, limit.0).await?;
        let last = page.next(|(last, _)| cursor_of(last.document.version));
        let items = page.items.into_iter().map(|(version, before)| {
            let before = before.map(|before| visible(&edge_id, before.document, &scope));
            let after = visible(&edge_id, version.document, &scope);
            // The oldest version kept has nothing beside it to differ from, unless it is the very first.
            let is_known = before.is_some() || after.version == 1;
            let changes = is_known.then(|| differences(difference(before.as_ref(), Some(&after))));
            DesiredVersionAnswer::new(after.version, version.made_at, version.made_by, changes)
        });
        Ok(Json(DesiredHistory { items: items.collect(), next_cursor: last.map(|id| Text(Cursor(id))) }))
    }

    /// Show what differs between two versions
    ///
    /// By default between the version the edge runs and the newest one: what it has not applied.
    #[oai(path = "/:edge_id/desired/difference", method = "get", operation_id = "show_desired_difference")]
    async fn difference(
        &self,
        signed_in: SignedIn,
        edge_id: Path<Text<EdgeId>>,
        /// From this version; 0 for no document, the one the edge runs when absent.
        #[oai(validator(minimum(value = "0"), maximum(value = "9007199254740991")))]
        from: Query<Option<u64>>,
        /// To this version; the newest when absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "9007199254740991")))]
        to: Query<Option<u64>>,
    ) -> Result<Json<DifferenceAnswer>, Failure> {
        let Path(Text(edge_id)) = edge_id;
        let scope = signed_in.cameras().clone();
        let (tenant, store) = (signed_in.user().tenant, &self.0.store);
        let from = match from.0 {
            Some(from) => from,
            None => store.reported(tenant, &edge_id).await?.map_or(0, |reported| reported.runs),
        };
        let before = match from {
            0 => None,
            from => Some(store.desired(tenant, &edge_id, Some(from)).await?.ok_or(StoreError::NotFound)?),
        };
        let after = store.desired(tenant, &edge_id, to.0).await?;
        if after.is_none() && to.0.is_some() {
            return Err(StoreError::NotFound.into());
        }
        let [before, after] =
            [before, after].map(|version| version.map(|version| visible(&edge_id, version.document, &scope)));
        let to = after.as_ref().map_or(0, |after| after.version);
        let items = differences(difference(before.as_ref(), after.as_ref()));
        Ok(Json(DifferenceAnswer { from, to, items }))
    }

    /// Show what the edge runs
    ///
    /// What it said last of the desired document: whether it runs it, or why it does not. Which camera is to blame is
    /// shown to who sees every camera.
    #[oai(path = "/:edge_id/reported", method = "get", operation_id = "show_reported")]
    async fn reported(
        &self,
        signed_in: SignedIn,
        edge_id: Path<Text<EdgeId>>,
    ) -> Result<Json<ReportedAnswer>, Failure> {
        let Path(Text(edge_id)) = edge_id;
        let sees_all = *signed_in.cameras() == CameraScope::All;
        let tenant = signed_in.user().tenant;
        let mut reported = self.0.store.reported(tenant, &edge_id).await?;
        if let Some(now) = reported.as_mut().filter(|_| !sees_all) {
            without_cameras(&mut now.reported.state);
        }
        let desired = self.0.store.desired(tenant, &edge_id, None).await?;
        let desired = desired.map_or(0, |desired| desired.document.version);
        Ok(Json(ReportedAnswer::new(&edge_id, reported, desired)))
    }
}

impl DesiredApi {
    /// Checks a document against what is stored, and stores it.
    async fn store(
        &self,
        (user, by): (&User, &Doer),
        edge_id: &EdgeId,
        based_on: u64,
        current: Option<DesiredVersion>,
        (cameras, settings): (Cameras, Settings),
    ) -> Result<DesiredVersion, Failure> {
        let newest = current.as_ref().map_or(0, |current| current.document.version);
        if newest != based_on {
            return Err(stale(based_on, newest));
        }
        let stored = current.as_ref().map(|current| &current.document.cameras);
        let cameras =
            desired::restore(cameras, stored).map_err(|wrong| Failure::unacceptable(&wrong.field, wrong.reason))?;
        desired::check_addresses(&cameras).map_err(|(field, reason)| Failure::unacceptable(&field, reason))?;
        let document = Desired { version: based_on + 1, cameras, settings };
        let bytes = serde_json::to_vec(&document).map_or(usize::MAX, |json| json.len());
        if bytes > MAX_PAYLOAD_BYTES {
            let reason = format!("the document has {bytes} bytes as it is sent, and may have {MAX_PAYLOAD_BYTES}");
            return Err(Failure::unacceptable("cameras", reason));
        }
        let Desired { cameras, settings, .. } = document;
        let content = (cameras, settings);
        let store = self.0.store.by(by);
        match store.change_desired(user.tenant, edge_id, based_on, content, user.key, clock::now()).await? {
            DesiredChange::Stale(newest) => Err(stale(based_on, newest)),
            DesiredChange::Done(made) => {
                tracing::info!(tenant.id = %user.tenant_id, edge.id = %edge_id, version = made.document.version,
                    "desired document changed");
                Ok(*made)
            }
        }
    }
}

/// Whoever replaces a document must see all of it.
fn editor(signed_in: SignedIn) -> Result<User, Failure> {
    let sees_all = *signed_in.cameras() == CameraScope::All;
    let user = signed_in.with_role(UserRole::Admin)?;
    if sees_all { Ok(user) } else { Err(Failure::forbidden("this needs the sight of every camera")) }
}

/// What of a report may be seen by who does not see every camera: a reason may name any of them.
fn without_cameras(state: &mut ReportedState) {
    if let ReportedState::Refused { field, reason } = state
        && field.starts_with("cameras")
    {
        (*field, *reason) = ("cameras".into(), "a camera's settings do not hold".into());
    }
}

fn stale(based_on: u64, newest: u64) -> Failure {
    let detail = format!("version: the newest version is {newest}, this change is based on {based_on}; read it again");
    Failure::conflict(Some("version"), detail)
}

fn shown(edge_id: &EdgeId, version: Option<DesiredVersion>, scope: &CameraScope) -> Shown {
    let version = version.map(|version| {
        let document = visible(edge_id, version.document, scope);
        DesiredVersion { document: Desired { cameras: desired::hide(&document.cameras), ..document }, ..version }
    });
    let tag = format!("\"{}\"", version.as_ref().map_or(0, |version| version.document.version));
    Shown::Document(Json(DesiredAnswer::new(edge_id, version)), tag)
}

/// The document with the cameras that may be seen.
fn visible(edge_id: &EdgeId, document: Desired, scope: &CameraScope) -> Desired {
    let cameras: Vec<Camera> = document.cameras.into();
    let seen = cameras.into_iter().filter(|camera| scope.sees(edge_id, &camera.id));
    // A part of a good list is a good list.
    Desired { cameras: Cameras::try_from(seen.collect::<Vec<_>>()).unwrap_or_default(), ..document }
}

/// Cursors hold 128 bits; versions are small.
fn cursor_of(version: u64) -> EventId {
    EventId::from_bytes(u128::from(version).to_be_bytes())
}

fn version_of(cursor: EventId) -> u64 {
    u64::try_from(u128::from_be_bytes(cursor.to_bytes())).unwrap_or(u64::MAX)
}
