//! Operators: the right of a person or tool to read a tenant's live messages with an MQTT client.

use std::sync::Arc;

use aivms_cloud_core::account;
use aivms_contract::id::{OperatorId, TenantId};
use aivms_contract::identity::{Identity, Role};
use aivms_contract::topic;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Deserialize;
use ulid::Ulid;

use super::failure::Failure;
use super::idempotency::{KeyHeader, Made};
use super::signed_in::SignedIn;
use super::values::{Body, Text, Time, time};
use super::{Services, Tags, secrets, to_its_end};
use crate::ca::CaError;
use crate::clock;
use crate::store::{Operator, Store, User, UserRole};

pub(super) struct OperatorsApi(pub Arc<Services>);

/// An operator to be made.
#[derive(Debug, Deserialize, Object)]
#[serde(deny_unknown_fields)]
#[oai(example)]
struct NewOperatorRequest {
    /// The person or tool.
    #[oai(validator(
        min_length = 1,
        max_length = 100,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$"
    ))]
    name: String,
}

/// An operator.
#[derive(Debug, Object)]
#[oai(rename = "Operator")]
struct OperatorAnswer {
    /// Its identifier, in its certificate.
    operator_id: Text<OperatorId>,
    /// The person or tool.
    name: String,
    /// When it was made.
    created_at: Text<Time>,
    /// End of its certificate's life.
    not_after: Text<Time>,
    /// Withdrawn.
    revoked: bool,
}

/// The tenant's operators.
#[derive(Debug, Object)]
struct OperatorList {
    /// By time of making.
    items: Vec<OperatorAnswer>,
}

/// Everything an MQTT client needs. The key is shown only here.
#[derive(Debug, Object)]
struct OperatorCredentials {
    /// Its identifier.
    operator_id: Text<OperatorId>,
    /// The person or tool.
    name: String,
    /// End of the certificate's life.
    not_after: Text<Time>,
    /// The client certificate, for `mosquitto_sub --cert`.
    certificate_pem: String,
    /// Its private key, for `mosquitto_sub --key`. Shown only here.
    private_key_pem: String,
    /// The certificates that sign the MQTT server, for `mosquitto_sub --cafile`.
    ca_pem: String,
    /// Host to connect to.
    mqtt_host: String,
    /// Port to connect to.
    #[oai(validator(minimum(value = "0"), maximum(value = "65535")))]
    mqtt_port: u16,
    /// Filters to subscribe, for example: everything all edges say, and only their zone events.
    topic_examples: Vec<String>,
}

#[derive(ApiResponse)]
enum NewOperator {
    /// The operator exists.
    #[oai(status = 201)]
    Created(Json<OperatorCredentials>, #[oai(header = "Location")] String),
}

#[derive(ApiResponse)]
enum Revoked {
    /// The operator is out, its sessions are closed.
    #[oai(status = 204)]
    Done,
}

#[OpenApi(prefix_path = "/api/tenant/operators", tag = "Tags::Operators")]
impl OperatorsApi {
    /// List operators
    #[oai(path = "/", method = "get", operation_id = "list_operators")]
    async fn list(&self, signed_in: SignedIn) -> Result<Json<OperatorList>, Failure> {
        let operators = self.0.store.list_operators(signed_in.user().tenant).await?;
        Ok(Json(OperatorList { items: operators.into_iter().map(answer).collect() }))
    }

    /// Make an operator
    ///
    /// The answer holds a certificate and key with which stock MQTT clients read the tenant's live messages, of all
    /// cameras. Needs the role admin and a person who signed in: an API key can't do it.
    #[oai(path = "/", method = "post", operation_id = "create_operator")]
    async fn create(
        &self,
        signed_in: SignedIn,
        body: Body<NewOperatorRequest>,
        /// Drawn anew for each thing to be made: a repeat with the same key and body gets the first answer again, for
        /// a day.
        #[oai(name = "Idempotency-Key")]
        key: KeyHeader,
    ) -> Result<NewOperator, Failure> {
        let asking = signed_in.asking();
        // The certificate would outlive the key: what leaks with a key must end with it.
        signed_in.in_person(UserRole::Admin)?;
        let user = signed_in.user();
        let name = account::display_name(&body.0.name).map_err(|error| Failure::unacceptable("name", error))?;
        let services = Arc::clone(&self.0);
        let work = |store| create_operator(services, store, user, name);
        let Made { body, location } = self.0.once(&asking, "create_operator", key, &body.0, work).await?;
        Ok(NewOperator::Created(Json(body), location))
    }

    /// Revoke an operator
    ///
    /// Its certificate is withdrawn and its sessions closed at once, for good. Needs the role admin.
    #[oai(path = "/:operator_id/revoke", method = "post", operation_id = "revoke_operator")]
    async fn revoke(&self, signed_in: SignedIn, operator_id: Path<Text<OperatorId>>) -> Result<Revoked, Failure> {
        let by = signed_in.doer();
        let user = signed_in.with_role(UserRole::Admin)?;
        let Path(Text(operator_id)) = operator_id;
        let services = Arc::clone(&self.0);
        to_its_end(async move {
            let withdrawn = services.store.by(&by).revoke_operator(user.tenant, &operator_id, clock::now()).await?;
            services.sessions.end(&withdrawn);
            tracing::info!(tenant.id = %user.tenant_id, operator.id = %operator_id, "operator revoked");
            Ok(Revoked::Done)
        })
        .await
    }
}

async fn create_operator(
    services: Arc<Services>,
    store: Store,
    user: User,
    name: String,
) -> Result<Made<OperatorCredentials>, Failure> {
    let operator_id = draw_id()?;
    let identity = Identity { tenant: user.tenant_id.clone(), role: Role::Operator(operator_id.clone()) };
    let now = clock::now();
    let (issued, private_key_pem) = services.ca.issue_with_key(&identity, now).map_err(signing_failed)?;
    let made = store.create_operator(user.tenant, &name, issued.record, now).await?;
    tracing::info!(tenant.id = %user.tenant_id, operator.id = %operator_id, "operator made");
    let credentials = OperatorCredentials {
        operator_id: Text(operator_id.clone()),
        name: made.name,
        not_after: time(made.not_after),
        certificate_pem: issued.certificate_pem,
        private_key_pem,
        ca_pem: services.ca.ca_pem().to_owned(),
        mqtt_host: services.settings.mqtt_host.clone(),
        mqtt_port: services.settings.mqtt_port,
        topic_examples: topic_examples(&user.tenant_id),
    };
    Ok(Made { body: credentials, location: "/api/tenant/operators".into() })
}

/// A failure of the certificate authority that is not the request's fault.
pub(super) fn signing_failed(error: CaError) -> Failure {
    match error {
        CaError::Request(reason) => Failure::unacceptable("csr_pem", reason),
        other => {
            tracing::error!(error = %other, "issuing a certificate");
            Failure::internal()
        }
    }
}

fn draw_id() -> Result<OperatorId, Failure> {
    let random = Ulid::from(secrets::random_bits()?).to_string().to_ascii_lowercase();
    format!("op_{random}").parse().map_err(|error| {
        tracing::error!(%error, "a drawn operator id is not one");
        Failure::internal()
    })
}

fn topic_examples(tenant: &TenantId) -> Vec<String> {
    ["+", "zone-events"].map(|kind| format!("{}/{tenant}/+/up/{kind}", topic::PREFIX)).into()
}

fn answer(operator: Operator) -> OperatorAnswer {
    OperatorAnswer {
        operator_id: Text(operator.operator_id),
        name: operator.name,
        created_at: time(operator.created_at),
        not_after: time(operator.not_after),
        revoked: operator.revoked,
    }
}

impl poem_openapi::types::Example for NewOperatorRequest {
    fn example() -> Self {
        Self { name: "Night desk".into() }
    }
}
