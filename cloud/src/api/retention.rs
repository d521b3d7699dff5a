//! How long a tenant keeps what, and how much it has.

use std::collections::BTreeMap;
use std::sync::Arc;

use aivms_cloud_core::retention::{Kept, Policy};
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};
use serde::Deserialize;

use super::failure::Failure;
use super::signed_in::SignedIn;
use super::values::Body;
use super::{Services, Tags};
use crate::clock;
use crate::store::{Amount, UserRole};

pub(super) struct RetentionApi(pub Arc<Services>);

/// How long what is kept, in days. What has no days is kept as long as `maximum_days` lets it, else for ever.
#[derive(Debug, Clone, Deserialize, Object)]
#[serde(deny_unknown_fields, default)]
#[oai(example, rename = "RetentionPolicy")]
struct PolicyForm {
    /// Detections.
    #[oai(nullable, validator(minimum(value = "1"), maximum(value = "3650")))]
    detections_days: Option<u32>,
    /// Zone events.
    #[oai(nullable, validator(minimum(value = "1"), maximum(value = "3650")))]
    zone_events_days: Option<u32>,
    /// What edges told as alerts, and raised alerts from when they were resolved; open ones stay.
    #[oai(nullable, validator(minimum(value = "1"), maximum(value = "3650")))]
    alerts_days: Option<u32>,
    /// Health reports of edges.
    #[oai(nullable, validator(minimum(value = "1"), maximum(value = "3650")))]
    health_days: Option<u32>,
    /// Clips with their files.
    #[oai(nullable, validator(minimum(value = "1"), maximum(value = "3650")))]
    clips_days: Option<u32>,
    /// Snapshots with their files.
    #[oai(nullable, validator(minimum(value = "1"), maximum(value = "3650")))]
    snapshots_days: Option<u32>,
    /// Accounts of what was recorded and what is missing.
    #[oai(nullable, validator(minimum(value = "1"), maximum(value = "3650")))]
    footage_days: Option<u32>,
    /// Most days of anything.
    #[oai(nullable, validator(minimum(value = "1"), maximum(value = "3650")))]
    maximum_days: Option<u32>,
    /// Nothing is deleted while this is true.
    #[oai(default)]
    legal_hold: bool,
}

/// A policy and what it deletes.
#[derive(Debug, Object)]
struct RetentionAnswer {
    /// The policy.
    policy: PolicyForm,
    /// Whether it was set; false for a preview.
    is_set: bool,
    /// What it deletes, as of now.
    deletes: Vec<KindAmount>,
}

/// How much of a kind.
#[derive(Debug, Object)]
struct KindAmount {
    /// `detections`, `zone_events`, `alerts`, `health`, `clips`, `snapshots` or `footage`.
    kind: String,
    /// How many.
    count: u64,
    /// Their bytes: of the files for clips and snapshots.
    bytes: u64,
}

/// What a tenant has.
#[derive(Debug, Object)]
struct UsageAnswer {
    /// Events by kind.
    kinds: Vec<KindAmount>,
    /// Edges, also withdrawn ones.
    edges: u64,
    /// Bytes of files, also of those on their way.
    file_bytes: u64,
    /// Most bytes of files; null without a limit.
    #[oai(nullable)]
    file_quota_bytes: Option<u64>,
}

#[OpenApi(prefix_path = "/api/tenant", tag = "Tags::Accounts")]
impl RetentionApi {
    /// Show how long what is kept
    ///
    /// With what is due for deletion. Needs the role admin.
    #[oai(path = "/retention", method = "get", operation_id = "show_retention")]
    async fn show(&self, signed_in: SignedIn) -> Result<Json<RetentionAnswer>, Failure> {
        let tenant = signed_in.with_role(UserRole::Admin)?.tenant;
        let policy = self.0.store.retention_policy(tenant).await?;
        let deletes = self.0.store.would_delete(tenant, policy.clone(), clock::now()).await?;
        Ok(Json(RetentionAnswer { policy: policy.into(), is_set: true, deletes: amounts(deletes) }))
    }

    /// Set how long what is kept
    ///
    /// The answer says what is deleted in the minutes that follow. With `preview=true` nothing is set: the answer says
    /// what would be. What has been deleted does not come back. Needs the role admin.
    #[oai(path = "/retention", method = "put", operation_id = "set_retention")]
    async fn set(
        &self,
        signed_in: SignedIn,
        body: Body<PolicyForm>,
        /// Only say what it would delete.
        preview: Query<Option<bool>>,
    ) -> Result<Json<RetentionAnswer>, Failure> {
        let by = signed_in.doer();
        let tenant = signed_in.with_role(UserRole::Admin)?.tenant;
        let policy = Policy::from(body.0);
        policy.check().map_err(|error| Failure::unacceptable(error.field(), error))?;
        let now = clock::now();
        let deletes = self.0.store.would_delete(tenant, policy.clone(), now).await?;
        let is_set = !preview.0.unwrap_or(false);
        if is_set {
            self.0.store.by(&by).set_retention_policy(tenant, policy.clone(), now).await?;
        }
        Ok(Json(RetentionAnswer { policy: policy.into(), is_set, deletes: amounts(deletes) }))
    }

    /// Show how much there is
    ///
    /// Needs the role admin.
    #[oai(path = "/usage", method = "get", operation_id = "show_usage")]
    async fn usage(&self, signed_in: SignedIn) -> Result<Json<UsageAnswer>, Failure> {
        let tenant = signed_in.with_role(UserRole::Admin)?.tenant;
        let usage = self.0.store.usage(tenant).await?;
        Ok(Json(UsageAnswer {
            kinds: amounts(usage.kinds),
            edges: usage.edges,
            file_bytes: usage.file_bytes,
            file_quota_bytes: self.0.media.quota_bytes(),
        }))
    }
}

fn amounts(amounts: BTreeMap<Kept, Amount>) -> Vec<KindAmount> {
    let told =
        |(kept, Amount { count, bytes }): (Kept, Amount)| KindAmount { kind: kept.as_str().into(), count, bytes };
    amounts.into_iter().map(told).collect()
}

impl Default for PolicyForm {
    fn default() -> Self {
        Policy::default().into()
    }
}

impl From<PolicyForm> for Policy {
    fn from(form: PolicyForm) -> Self {
        Self {
            detections: form.detections_days,
            zone_events: form.zone_events_days,
            alerts: form.alerts_days,
            health: form.health_days,
            clips: form.clips_days,
            snapshots: form.snapshots_days,
            footage: form.footage_days,
            maximum: form.maximum_days,
            legal_hold: form.legal_hold,
        }
    }
}

impl From<Policy> for PolicyForm {
    fn from(policy: Policy) -> Self {
        Self {
            detections_days: policy.detections,
            zone_events_days: policy.zone_events,
            alerts_days: policy.alerts,
            health_days: policy.health,
            clips_days: policy.clips,
            snapshots_days: policy.snapshots,
            footage_days: policy.footage,
            maximum_days: policy.maximum,
            legal_hold: policy.legal_hold,
        }
    }
}

impl Example for PolicyForm {
    fn example() -> Self {
        Policy { detections: Some(90), clips: Some(30), maximum: Some(365), ..Policy::default() }.into()
    }
}
