//! Invitations: how people come into a tenant.

use std::sync::Arc;

use aivms_cloud_core::people::InvitationId;
use aivms_cloud_core::rights::CameraScope;
use aivms_cloud_core::{account, letters};
use poem::Request;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::ToJSON;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use serde::Deserialize;

use super::brakes::Try;
use super::events::{default_limit, plain};
use super::failure::Failure;
use super::idempotency::{Asking, KeyHeader, Made};
use super::passwords::NewPerson;
use super::sign_in::{self, CameraRef, Role, SignedInAnswer, named_cameras, shown_cameras};
use super::signed_in::SignedIn;
use super::values::{Body, Text, Time, time};
use super::{Services, Tags, address, secrets};
use crate::clock;
use crate::store::{By, INVITATION_LIFE, Invitation, Joining, NewInvitation, Store, User, UserRole};

pub(super) struct InvitationsApi(pub Arc<Services>);

/// Somebody to be invited.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(example)]
struct NewInvitationRequest {
    /// Address that the invitation goes to and that will sign in.
    #[oai(validator(min_length = 3, max_length = 254, pattern = "^[^\\s@]+@[^\\s@]+[.][^\\s@]+$"))]
    email: String,
    /// What the person will be; not above your own role.
    role: Role,
    /// True, or absent without `cameras`, for every camera.
    #[serde(default)]
    #[oai(nullable)]
    all_cameras: Option<bool>,
    /// These cameras and no others; only for operators and viewers.
    #[serde(default)]
    #[oai(validator(max_items = 1000))]
    #[oai(nullable)]
    cameras: Option<Vec<CameraRef>>,
}

/// An invitation.
#[derive(Debug, Object)]
#[oai(rename = "Invitation")]
struct InvitationAnswer {
    /// The invitation.
    invitation_id: Text<InvitationId>,
    /// Who may join.
    email: String,
    /// As what.
    role: Role,
    /// Whether the person will see every camera.
    all_cameras: bool,
    /// The cameras the person will see, when not all.
    cameras: Vec<CameraRef>,
    /// Who invited.
    invited_by: String,
    /// What became of it.
    state: State,
    /// When it was made.
    created_at: Text<Time>,
    /// When it ends.
    expires_at: Text<Time>,
}

/// What became of an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase", rename = "InvitationState")]
enum State {
    /// It can be used.
    Open,
    /// It was used.
    Accepted,
    /// It was withdrawn, or another one took its place.
    Withdrawn,
    /// Its time is over.
    Expired,
}

/// A page of invitations.
#[derive(Debug, Object)]
struct InvitationPage {
    /// By time of making.
    items: Vec<InvitationAnswer>,
    /// Give it as `cursor` to get the page after this one; null on the last page.
    #[oai(nullable)]
    next_cursor: Option<Text<InvitationId>>,
}

/// An invitation with its token.
#[derive(Debug, Object)]
struct MadeInvitation {
    /// The invitation.
    invitation: InvitationAnswer,
    /// What the mail brings, for handing it over in another way. Shown only here; good once.
    token: String,
}

/// Joining a tenant by invitation.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(example)]
struct AcceptRequest {
    /// What the mail, or who invited, brought.
    #[oai(validator(max_length = 100))]
    token: String,
    /// Your name.
    #[oai(validator(min_length = 1, max_length = 100))]
    name: String,
    /// At least 12 characters, not easy to guess.
    #[oai(validator(min_length = 12, max_length = 256))]
    password: String,
}

#[derive(ApiResponse)]
enum Invited {
    /// The invitation is on its way.
    #[oai(status = 201)]
    Created(Json<MadeInvitation>, #[oai(header = "Location")] String),
}

#[derive(ApiResponse)]
enum Joined {
    /// The person exists and is signed in.
    #[oai(status = 201)]
    Created(Json<SignedInAnswer>, #[oai(header = "Location")] String),
}

#[derive(ApiResponse)]
enum Withdrawn {
    /// It is good for nothing any more.
    #[oai(status = 204)]
    Done,
}

#[OpenApi(prefix_path = "/api", tag = "Tags::People")]
impl InvitationsApi {
    /// Invite a person
    ///
    /// A mail brings the token; the answer has it too, so that it works without mail. An open invitation of the same
    /// address is withdrawn. Needs the role admin.
    #[oai(path = "/tenant/invitations", method = "post", operation_id = "invite_person")]
    async fn invite(
        &self,
        signed_in: SignedIn,
        body: Body<NewInvitationRequest>,
        /// Drawn anew for each thing to be made: a repeat with the same key and body gets the first answer again, for
        /// a day.
        #[oai(name = "Idempotency-Key")]
        key: KeyHeader,
    ) -> Result<Invited, Failure> {
        let (by, asking) = (signed_in.in_person(UserRole::Admin)?, signed_in.asking());
        let (services, asked) = (Arc::clone(&self.0), body.0.to_json());
        let NewInvitationRequest { email, role, all_cameras, cameras } = body.0;
        let email = account::normalized_email(&email).map_err(|error| Failure::unacceptable("email", error))?;
        let cameras = named_cameras(all_cameras, cameras)?.unwrap_or(CameraScope::All);
        let user = signed_in.user();
        let work = move |store| invite(services, store, (by, user), email, role.into(), cameras);
        let Made { body, location } = self.0.once(&asking, "invite_person", key, &asked, work).await?;
        Ok(Invited::Created(Json(body), location))
    }

    /// List invitations
    ///
    /// Also those that were used, withdrawn or have ended. Needs the role admin.
    #[oai(path = "/tenant/invitations", method = "get", operation_id = "list_invitations")]
    async fn list(
        &self,
        signed_in: SignedIn,
        /// Most items of the page.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u32>,
        /// `next_cursor` of the page before.
        cursor: Query<Option<Text<InvitationId>>>,
    ) -> Result<Json<InvitationPage>, Failure> {
        let by = signed_in.in_person(UserRole::Admin)?;
        let page = self.0.store.list_invitations(by.tenant, cursor.0.map(plain), limit.0).await?;
        let next_cursor = page.next(|invitation| Text(invitation.invitation_id.clone()));
        Ok(Json(InvitationPage { items: page.items.into_iter().map(answer).collect(), next_cursor }))
    }

    /// Withdraw an invitation
    ///
    /// Needs the role admin.
    #[oai(path = "/tenant/invitations/:invitation_id", method = "delete", operation_id = "withdraw_invitation")]
    async fn withdraw(
        &self,
        signed_in: SignedIn,
        invitation_id: Path<Text<InvitationId>>,
    ) -> Result<Withdrawn, Failure> {
        let by = signed_in.in_person(UserRole::Admin)?;
        self.0.store.withdraw_invitation(by, invitation_id.0.0, clock::now()).await?;
        Ok(Withdrawn::Done)
    }

    /// Accept an invitation
    ///
    /// Makes the person a user and signs it in.
    #[oai(path = "/auth/invitations/accept", method = "post", operation_id = "accept_invitation")]
    async fn accept(
        &self,
        request: &Request,
        body: Body<AcceptRequest>,
        /// Drawn anew for each thing to be made: a repeat with the same key and body gets the first answer again, for
        /// a day.
        #[oai(name = "Idempotency-Key")]
        key: KeyHeader,
    ) -> Result<Joined, Failure> {
        let (services, asked) = (Arc::clone(&self.0), body.0.to_json());
        let AcceptRequest { token, name, password } = body.0;
        let from = address(request, &services);
        let counted = services.brakes.token(&from).await?;
        let name = account::display_name(&name).map_err(|error| Failure::unacceptable("name", error))?;
        let token_hash = secrets::hash(&token);
        let asking = Asking::stranger(format!("invitation {}", hex::encode(token_hash)), from);
        let (refresh_token, sign_in) = sign_in::new_sign_in(&services, "invitation", request)?;
        let joining = Joining { token_hash, name, password_hash: String::new(), sign_in };
        let work = move |store| accept(services, store, counted, joining, password, refresh_token);
        let Made { body, location } = self.0.once(&asking, "accept_invitation", key, &asked, work).await?;
        Ok(Joined::Created(Json(body), location))
    }
}

async fn invite(
    services: Arc<Services>,
    store: Store,
    (by, user): (By, User),
    email: String,
    role: UserRole,
    cameras: CameraScope,
) -> Result<Made<MadeInvitation>, Failure> {
    let _counted = services.brakes.invitation(user.tenant_id.as_str()).await?;
    let token = secrets::random_text()?;
    let days = INVITATION_LIFE.as_secs() / 86_400;
    let mail = letters::invitation(&user.tenant_name, &user.name, services.public_url(), &token, days);
    let new = NewInvitation { email, role, cameras, token_hash: secrets::hash(&token), mail };
    let invitation = answer(store.invite(by, new, clock::now()).await?);
    Ok(Made { body: MadeInvitation { invitation, token }, location: "/api/tenant/invitations".into() })
}

/// Makes the person of `joining`, whose password is checked first, once it is known whom the token invites.
async fn accept(
    services: Arc<Services>,
    store: Store,
    counted: Try,
    joining: Joining,
    password: String,
    refresh_token: String,
) -> Result<Made<SignedInAnswer>, Failure> {
    let gone = || Failure::unacceptable("token", "is not good, was used or has ended");
    let invited = store.invited(joining.token_hash, clock::now()).await?.ok_or_else(gone)?;
    services.brakes.honest(counted).await?;
    let name = joining.name.clone();
    let person = NewPerson { email: invited.email, name, tenant_name: invited.tenant_name };
    services.passwords.check(password.clone(), person).await?;
    let password_hash = services.passwords.hash(password).await?;
    let joining = Joining { password_hash, ..joining };
    let (user, session) = store.join(joining, clock::now()).await?.ok_or_else(gone)?;
    let body = sign_in::answer(&services, &user, &session, refresh_token)?;
    Ok(Made { body, location: "/api/auth/me".into() })
}

fn answer(invitation: Invitation) -> InvitationAnswer {
    let state = match (invitation.accepted_at, invitation.open) {
        (Some(_), _) => State::Accepted,
        (None, false) => State::Withdrawn,
        (None, true) if invitation.expires_at <= clock::now() => State::Expired,
        (None, true) => State::Open,
    };
    let (all_cameras, cameras) = shown_cameras(&invitation.cameras);
    InvitationAnswer {
        invitation_id: Text(invitation.invitation_id),
        email: invitation.email,
        role: invitation.role.into(),
        all_cameras,
        cameras,
        invited_by: invitation.invited_by,
        state,
        created_at: time(invitation.created_at),
        expires_at: time(invitation.expires_at),
    }
}

impl poem_openapi::types::Example for NewInvitationRequest {
    fn example() -> Self {
        Self { email: "guard@example.com".into(), role: Role::Viewer, all_cameras: Some(true), cameras: None }
    }
}

impl poem_openapi::types::Example for AcceptRequest {
    fn example() -> Self {
        Self {
            token: "3q2-7wEjRWeJq83vEjRWeJq83vEjRWeJq83vEjRWeJo".into(),
            name: "Sam Guard".into(),
            password: "correct horse battery staple".into(),
        }
    }
}
