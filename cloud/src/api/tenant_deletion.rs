//! The deletion of a tenant: asked for by an owner, called off by any owner until it begins.

use std::sync::Arc;
use std::time::Duration;

use aivms_cloud_core::letters;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Deserialize;

use super::failure::Failure;
use super::own_password::check_current;
use super::signed_in::SignedIn;
use super::values::{Body, Text, Time, time};
use super::{Services, Tags};
use crate::clock;
use crate::store::{TenantDeletion, UserRole};

pub(super) struct TenantDeletionApi(pub Arc<Services>);

/// Proof that the deletion is meant.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(example)]
struct DeletionRequest {
    /// Your password.
    #[oai(validator(max_length = 256))]
    current_password: String,
    /// The tenant's name, exactly as it is.
    #[oai(validator(max_length = 200))]
    tenant_name: String,
}

/// Whether the tenant is going to be deleted.
#[derive(Debug, Object)]
#[oai(rename = "TenantDeletion")]
struct DeletionAnswer {
    /// Whether a deletion was asked for.
    is_asked_for: bool,
    /// When.
    #[oai(nullable)]
    asked_at: Option<Text<Time>>,
    /// Address of who asked.
    #[oai(nullable)]
    asked_by: Option<String>,
    /// When it begins. Until then it can be called off; from then on nobody signs in any more.
    #[oai(nullable)]
    due_at: Option<Text<Time>>,
}

#[derive(ApiResponse)]
enum Asked {
    /// It begins when the answer says.
    #[oai(status = 202)]
    Accepted(Json<DeletionAnswer>),
}

#[derive(ApiResponse)]
enum CalledOff {
    /// Everything stays as it is.
    #[oai(status = 204)]
    Done,
}

#[OpenApi(prefix_path = "/api/tenant/deletion", tag = "Tags::Accounts")]
impl TenantDeletionApi {
    /// Show whether the tenant is going to be deleted
    ///
    /// Needs the role admin.
    #[oai(path = "/", method = "get", operation_id = "show_tenant_deletion")]
    async fn show(&self, signed_in: SignedIn) -> Result<Json<DeletionAnswer>, Failure> {
        let tenant = signed_in.with_role(UserRole::Admin)?.tenant;
        Ok(Json(self.0.store.tenant_deletion(tenant).await?.into()))
    }

    /// Ask for the tenant to be deleted
    ///
    /// With everything in it: people, edges, events, alerts, clips and the audit log. It begins after a waiting time,
    /// of which every owner is told by mail, and can't be stopped then. Asking again changes nothing. Needs the role
    /// owner, the password and the tenant's name.
    #[oai(path = "/", method = "post", operation_id = "request_tenant_deletion")]
    async fn ask(&self, signed_in: SignedIn, body: Body<DeletionRequest>) -> Result<Asked, Failure> {
        let by = signed_in.in_person(UserRole::Owner)?;
        let (services, user) = (&self.0, signed_in.user());
        let DeletionRequest { current_password, tenant_name } = body.0;
        check_current(services, &user, current_password, "current_password").await?;
        if tenant_name != user.tenant_name {
            return Err(Failure::unacceptable("tenant_name", "is not the tenant's name"));
        }
        let now = clock::now();
        let due_at = now + Duration::from_secs(u64::from(services.settings.deletion_wait_days) * 24 * 3_600);
        let letter = letters::deletion_asked(&user.tenant_name, &user.email, &due_at.to_string());
        let asked = services.store.ask_for_tenant_deletion(by, due_at, letter, now).await?;
        tracing::warn!(tenant.id = %user.tenant_id, %due_at, "the deletion of a tenant was asked for");
        Ok(Asked::Accepted(Json(Some(asked).into())))
    }

    /// Call the deletion off
    ///
    /// Until it begins. Needs the role owner.
    #[oai(path = "/", method = "delete", operation_id = "cancel_tenant_deletion")]
    async fn cancel(&self, signed_in: SignedIn) -> Result<CalledOff, Failure> {
        let by = signed_in.in_person(UserRole::Owner)?;
        let user = signed_in.user();
        let letter = letters::deletion_cancelled(&user.tenant_name, &user.email);
        self.0.store.cancel_tenant_deletion(by, letter, clock::now()).await?;
        tracing::info!(tenant.id = %user.tenant_id, "the deletion of a tenant was called off");
        Ok(CalledOff::Done)
    }
}

impl From<Option<TenantDeletion>> for DeletionAnswer {
    fn from(asked: Option<TenantDeletion>) -> Self {
        let is_asked_for = asked.is_some();
        let (at, by, due) = match asked {
            Some(TenantDeletion { asked_at, asked_by, due_at }) => (Some(asked_at), Some(asked_by), Some(due_at)),
            None => (None, None, None),
        };
        Self { is_asked_for, asked_at: at.map(time), asked_by: by, due_at: due.map(time) }
    }
}

impl poem_openapi::types::Example for DeletionRequest {
    fn example() -> Self {
        Self { current_password: "correct horse battery staple".into(), tenant_name: "Acme Corp".into() }
    }
}
