//! The people of a tenant: who they are, what they may do, and what is asked of them at signing in.

use std::sync::Arc;

use aivms_cloud_core::account;
use aivms_cloud_core::people::UserId;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Deserialize;

use super::events::{default_limit, plain};
use super::failure::Failure;
use super::sign_in::{CameraRef, Role, named_cameras, shown_cameras};
use super::signed_in::SignedIn;
use super::values::{Body, Text, Time, time};
use super::{Services, Tags};
use crate::clock;
use crate::store::{Person, PersonChange, StoreError, UserRole};

pub(super) struct PeopleApi(pub Arc<Services>);

/// A person as those who manage people see it.
#[derive(Debug, Object)]
#[oai(rename = "Person")]
struct PersonAnswer {
    /// The person.
    user_id: Text<UserId>,
    /// Address to sign in with.
    email: String,
    /// Name.
    name: String,
    /// What the person may do.
    role: Role,
    /// Whether the person sees every camera.
    all_cameras: bool,
    /// The cameras the person sees, when not all.
    cameras: Vec<CameraRef>,
    /// Whether signing in is switched off.
    disabled: bool,
    /// Whether the person has a second factor.
    second_factor: bool,
    /// When the person joined.
    created_at: Text<Time>,
    /// When the person last signed in.
    #[oai(nullable)]
    last_sign_in: Option<Text<Time>>,
}

/// A page of people.
#[derive(Debug, Object)]
struct PersonPage {
    /// By time of joining.
    items: Vec<PersonAnswer>,
    /// Give it as `cursor` to get the page after this one; null on the last page.
    #[oai(nullable)]
    next_cursor: Option<Text<UserId>>,
}

/// What is to be changed; what is absent stays.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(example)]
struct PersonChangeRequest {
    /// New name.
    #[serde(default)]
    #[oai(validator(min_length = 1, max_length = 100))]
    #[oai(nullable)]
    name: Option<String>,
    /// New role; nobody gives one above the own.
    #[serde(default)]
    #[oai(nullable)]
    role: Option<Role>,
    /// True for every camera, also those to come.
    #[serde(default)]
    #[oai(nullable)]
    all_cameras: Option<bool>,
    /// These cameras and no others; only for operators and viewers.
    #[serde(default)]
    #[oai(validator(max_items = 1000))]
    #[oai(nullable)]
    cameras: Option<Vec<CameraRef>>,
    /// True switches signing in off and signs the person out.
    #[serde(default)]
    #[oai(nullable)]
    disabled: Option<bool>,
}

/// What the organisation asks of those who sign in.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(example)]
struct SignInSettings {
    /// Whether everybody needs a second factor. Who has none can do nothing but set one up.
    second_factor_required: bool,
}

#[derive(ApiResponse)]
enum Done {
    /// It is done.
    #[oai(status = 204)]
    Done,
}

#[OpenApi(prefix_path = "/api/tenant", tag = "Tags::People")]
impl PeopleApi {
    /// List people
    ///
    /// Needs the role admin.
    #[oai(path = "/users", method = "get", operation_id = "list_people")]
    async fn list(
        &self,
        signed_in: SignedIn,
        /// Most items of the page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u32>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Text<UserId>>>,
    ) -> Result<Json<PersonPage>, Failure> {
        let by = signed_in.in_person(UserRole::Admin)?;
        let page = self.0.store.list_people(by.tenant, cursor.0.map(plain), limit.0).await?;
        let next_cursor = page.next(|person| Text(person.user_id.clone()));
        Ok(Json(PersonPage { items: page.items.into_iter().map(answer).collect(), next_cursor }))
    }

    /// Show a person
    ///
    /// Needs the role admin.
    #[oai(path = "/users/:user_id", method = "get", operation_id = "show_person")]
    async fn show(&self, signed_in: SignedIn, user_id: Path<Text<UserId>>) -> Result<Json<PersonAnswer>, Failure> {
        let by = signed_in.in_person(UserRole::Admin)?;
        let person = self.0.store.person(by.tenant, user_id.0.0).await?.ok_or(StoreError::NotFound)?;
        Ok(Json(answer(person)))
    }

    /// Change a person
    ///
    /// Name, role, cameras, or whether signing in is allowed. When rights change, the person's tokens end at once, and
    /// live streams with them; when signing in is switched off, all sessions do. Needs the role admin, and for people
    /// above an admin the role owner. The last owner stays one.
    #[oai(path = "/users/:user_id", method = "patch", operation_id = "change_person")]
    async fn change(
        &self,
        signed_in: SignedIn,
        user_id: Path<Text<UserId>>,
        body: Body<PersonChangeRequest>,
    ) -> Result<Json<PersonAnswer>, Failure> {
        let by = signed_in.in_person(UserRole::Admin)?;
        let PersonChangeRequest { name, role, all_cameras, cameras, disabled } = body.0;
        let name = name.map(|name| account::display_name(&name)).transpose();
        let change = PersonChange {
            name: name.map_err(|error| Failure::unacceptable("name", error))?,
            role: role.map(Into::into),
            cameras: named_cameras(all_cameras, cameras)?,
            disabled,
        };
        let person = self.0.store.change_person(by, user_id.0.0, change, clock::now()).await?;
        Ok(Json(answer(person)))
    }

    /// Remove a person
    ///
    /// The person is signed out at once, its API keys end, and its address may be invited again. What it did stays in
    /// the audit log. Needs the role admin, and for an owner the role owner. The last owner can't be removed.
    #[oai(path = "/users/:user_id", method = "delete", operation_id = "remove_person")]
    async fn remove(&self, signed_in: SignedIn, user_id: Path<Text<UserId>>) -> Result<Done, Failure> {
        let by = signed_in.in_person(UserRole::Admin)?;
        self.0.store.remove_person(by, user_id.0.0, clock::now()).await?;
        Ok(Done::Done)
    }

    /// Take a person's second factor away
    ///
    /// For one who has lost both the app and the recovery codes. All its sessions end. Needs the role owner.
    #[oai(path = "/users/:user_id/reset-second-factor", method = "post", operation_id = "reset_second_factor")]
    async fn reset(&self, signed_in: SignedIn, user_id: Path<Text<UserId>>) -> Result<Done, Failure> {
        let by = signed_in.in_person(UserRole::Owner)?;
        self.0.store.reset_second_factor(by, user_id.0.0, clock::now()).await?;
        Ok(Done::Done)
    }

    /// Show what is asked of those who sign in
    #[oai(path = "/sign-in", method = "get", operation_id = "show_sign_in_settings")]
    async fn settings(&self, signed_in: SignedIn) -> Result<Json<SignInSettings>, Failure> {
        let required = self.0.store.second_factor_required(signed_in.user().tenant).await?;
        Ok(Json(SignInSettings { second_factor_required: required }))
    }

    /// Say what is asked of those who sign in
    ///
    /// Needs the role owner.
    #[oai(path = "/sign-in", method = "put", operation_id = "change_sign_in_settings")]
    async fn change_settings(
        &self,
        signed_in: SignedIn,
        body: Body<SignInSettings>,
    ) -> Result<Json<SignInSettings>, Failure> {
        let by = signed_in.in_person(UserRole::Owner)?;
        self.0.store.require_second_factor(by, body.0.second_factor_required, clock::now()).await?;
        Ok(Json(body.0))
    }
}

fn answer(person: Person) -> PersonAnswer {
    let (all_cameras, cameras) = shown_cameras(&person.cameras);
    PersonAnswer {
        user_id: Text(person.user_id),
        email: person.email,
        name: person.name,
        role: person.role.into(),
        all_cameras,
        cameras,
        disabled: person.disabled,
        second_factor: person.second_factor,
        created_at: time(person.created_at),
        last_sign_in: person.last_sign_in.map(time),
    }
}

impl poem_openapi::types::Example for PersonChangeRequest {
    fn example() -> Self {
        let camera = CameraRef {
            edge_id: Text("edge_01kb3x0v7t5m9q2r8s4w6y1z3a".parse().expect("an edge id")),
            camera_id: Text("front-door".parse().expect("a camera id")),
        };
        Self { name: None, role: Some(Role::Viewer), all_cameras: None, cameras: Some(vec![camera]), disabled: None }
    }
}

impl poem_openapi::types::Example for SignInSettings {
    fn example() -> Self {
        Self { second_factor_required: true }
    }
}
