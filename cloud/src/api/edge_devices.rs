//! What edges call: enrolment, renewal, and events when MQTT can't connect. The wire is [`aivms_contract::edge_api`].

use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use aivms_contract::edge_api::{EnrollRequest, Enrollment, EventBatch, RenewRequest};
use aivms_contract::id::{EdgeId, OutboxId, TenantId};
use aivms_contract::identity::{Identity, Role};
use aivms_contract::limits::{MAX_BATCH_EVENTS, MAX_PAYLOAD_BYTES};
use aivms_contract::topic::UpKind;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use poem::Request;
use poem_openapi::payload::Json;
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::{Any, Type};
use poem_openapi::{Object, OpenApi};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::edge_token::{EdgeCaller, SignedByEdge, no_longer_counts};
use super::failure::Failure;
use super::operators::signing_failed;
use super::values::{Body, Text, Time, time};
use super::{Services, Tags, address, secrets};
use crate::ca::Issued;
use crate::clock;
use crate::ingest::read_message;
use crate::store::{Doer, Incoming, Message, StoreError, spent_mark};

/// Longest wait for a commit; the edge sends the batch again, and what was stored is recognised.
const COMMIT_LIMIT: Duration = Duration::from_secs(20);

pub(super) struct EdgeDevicesApi(pub Arc<Services>);

/// An edge's identity and where to use it.
#[derive(Debug, Object)]
#[oai(rename = "Enrollment")]
struct EnrollmentAnswer {
    /// The tenant the edge belongs to.
    tenant_id: Text<TenantId>,
    /// The edge.
    edge_id: Text<EdgeId>,
    /// The certificate in PEM.
    certificate_pem: String,
    /// The certificates that sign the MQTT server, in PEM.
    ca_pem: String,
    /// Host of the MQTT front.
    mqtt_host: String,
    /// Port of the MQTT front.
    #[oai(validator(minimum(value = "0"), maximum(value = "65535")))]
    mqtt_port: u16,
    /// End of the certificate's life; renew at two thirds.
    not_after: Text<Time>,
}

/// How far an outbox is stored.
#[derive(Debug, Object)]
#[oai(rename = "Ack")]
struct AckAnswer {
    /// The outbox.
    outbox: Text<OutboxId>,
    /// Last stored sequence number.
    through: u64,
}

/// Asks for the first certificate.
#[derive(Object)]
#[oai(write_only_all, rename = "EnrollRequest")]
#[expect(dead_code, reason = "describes the contract's type in the document")]
struct EnrollForm {
    /// The edge, as shown at registration.
    edge_id: Text<EdgeId>,
    /// The one-time secret, as shown at registration.
    edge_secret: String,
    /// A PKCS #10 request in PEM for a P-256 key made on the device.
    #[oai(validator(min_length = 1, max_length = 16384, pattern = "^-----BEGIN (NEW )?CERTIFICATE REQUEST-----"))]
    csr_pem: String,
}

/// Asks for the next certificate.
#[derive(Object)]
#[oai(write_only_all, rename = "RenewRequest")]
#[expect(dead_code, reason = "describes the contract's type in the document")]
struct RenewForm {
    /// A PKCS #10 request in PEM for a P-256 key made on the device.
    #[oai(validator(min_length = 1, max_length = 16384, pattern = "^-----BEGIN (NEW )?CERTIFICATE REQUEST-----"))]
    csr_pem: String,
}

/// Envelopes of one outbox in rising order, as they would travel over MQTT.
#[derive(Object)]
#[oai(write_only_all, rename = "EventBatch")]
#[expect(dead_code, reason = "describes the contract's type in the document")]
struct BatchForm {
    /// The envelopes.
    #[oai(validator(min_items = 1, max_items = 500))]
    events: Vec<Any<serde_json::Value>>,
}

/// A type of the contract, described in the document by another one.
#[derive(Debug)]
pub(super) struct Documented<C, F>(pub C, PhantomData<fn() -> F>);

impl<'de, C: Deserialize<'de>, F> Deserialize<'de> for Documented<C, F> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        C::deserialize(deserializer).map(|value| Self(value, PhantomData))
    }
}

impl<C: Send + Sync, F: Type> Type for Documented<C, F> {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        F::name()
    }

    fn schema_ref() -> MetaSchemaRef {
        F::schema_ref()
    }

    fn register(registry: &mut Registry) {
        F::register(registry);
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

#[OpenApi(prefix_path = "/api/edge", tag = "Tags::EdgeDevices")]
impl EdgeDevicesApi {
    /// Enrol an edge
    ///
    /// Spends the one-time secret and returns the certificate for the key in the request.
    #[oai(path = "/enroll", method = "post", operation_id = "enroll_edge")]
    async fn enroll(
        &self,
        request: &Request,
        body: Body<Documented<EnrollRequest, EnrollForm>>,
    ) -> Result<Json<EnrollmentAnswer>, Failure> {
        let EnrollRequest { edge_id, edge_secret, csr_pem } = body.0.0;
        let services = &self.0;
        let secret_hash = secrets::hash(edge_secret.trim());
        let identity = self.prove_secret(&edge_id, &secret_hash).await?;
        let now = clock::now();
        let issued = services.ca.issue_for_request(&csr_pem, &identity, now).map_err(signing_failed)?;
        let record = issued.record.clone();
        let from = Doer { address: Some(address(request, services)), ..Doer::system() };
        match services.store.by(&from).enroll_edge(&edge_id, secret_hash, record, now).await {
            Err(StoreError::SecretSpent) => return Err(spent()),
            other => other?,
        }
        tracing::info!(tenant.id = %identity.tenant, edge.id = %edge_id, "edge enrolled");
        Ok(Json(self.answer(issued, &identity, edge_id)))
    }

    /// Renew a certificate
    ///
    /// The current certificate stays good until its end.
    #[oai(path = "/renew", method = "post", operation_id = "renew_edge_certificate")]
    async fn renew(
        &self,
        request: &Request,
        caller: SignedByEdge,
        body: Body<Documented<RenewRequest, RenewForm>>,
    ) -> Result<Json<EnrollmentAnswer>, Failure> {
        let SignedByEdge(EdgeCaller { edge, edge_id, fingerprint, certificate, .. }) = caller;
        let services = &self.0;
        let now = clock::now();
        let csr_pem = body.0.0.csr_pem;
        let issued = services.ca.issue_for_request(&csr_pem, &certificate.identity, now).map_err(signing_failed)?;
        let record = issued.record.clone();
        let from = Doer { address: Some(address(request, services)), ..Doer::system() };
        match services.store.by(&from).add_edge_certificate(edge, fingerprint, record, now).await {
            Err(StoreError::NotFound) => return Err(no_longer_counts()),
            other => other?,
        }
        tracing::info!(tenant.id = %certificate.identity.tenant, edge.id = %edge_id, "edge certificate renewed");
        Ok(Json(self.answer(issued, &certificate.identity, edge_id)))
    }

    /// Deliver events
    ///
    /// The way for events when MQTT can't connect. The answer comes when they are on disk; delivering them again is
    /// harmless.
    #[oai(path = "/events", method = "post", operation_id = "deliver_events")]
    async fn events(
        &self,
        caller: SignedByEdge,
        body: Body<Documented<EventBatch, BatchForm>>,
    ) -> Result<Json<AckAnswer>, Failure> {
        let SignedByEdge(caller) = caller;
        let batch = read_batch(&body.0.0, &caller)?;
        let (outbox, through) = one_outbox(&batch)?;
        let recorded = tokio::time::timeout(COMMIT_LIMIT, self.0.ingest.record(batch)).await;
        match recorded {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(Failure::unavailable(error.to_string(), Duration::from_secs(5))),
            Err(_) => {
                let detail = "the database does not take events at the moment; send them again";
                return Err(Failure::unavailable(detail, Duration::from_secs(10)));
            }
        }
        self.0.store.record_heartbeat(caller.edge, clock::now(), None).await?;
        Ok(Json(AckAnswer { outbox: Text(outbox), through }))
    }
}

impl EdgeDevicesApi {
    /// Who may enrol with this secret. Only who holds it is told that it is spent or that the edge was revoked: others
    /// learn nothing, not even that there is such an edge.
    async fn prove_secret(&self, edge_id: &EdgeId, secret_hash: &[u8; 32]) -> Result<Identity, Failure> {
        let refused = || Failure::unauthorized("edge_secret: is not the secret of this edge_id", "Bearer");
        let state = self.0.store.enrollment_state(edge_id).await?.ok_or_else(refused)?;
        let kept = state.secret_hash.ok_or_else(refused)?;
        let is_good = verify_slices_are_equal(&kept, secret_hash).is_ok();
        let is_spent = verify_slices_are_equal(&kept, &spent_mark(secret_hash)).is_ok();
        if !is_good && !is_spent {
            return Err(refused());
        }
        if state.revoked {
            return Err(Failure::forbidden("edge_id: this edge has been revoked; register another one"));
        }
        if is_spent {
            return Err(spent());
        }
        Ok(Identity { tenant: state.tenant_id, role: Role::Edge(edge_id.clone()) })
    }

    fn answer(&self, issued: Issued, identity: &Identity, edge_id: EdgeId) -> EnrollmentAnswer {
        let enrollment = Enrollment {
            tenant_id: identity.tenant.clone(),
            edge_id,
            certificate_pem: issued.certificate_pem,
            ca_pem: self.0.ca.ca_pem().to_owned(),
            mqtt_host: self.0.settings.mqtt_host.clone(),
            mqtt_port: self.0.settings.mqtt_port,
            not_after: issued.record.not_after,
        };
        EnrollmentAnswer::from(enrollment)
    }
}

/// Taken apart without `..`: a member added to the contract can't be forgotten here.
impl From<Enrollment> for EnrollmentAnswer {
    fn from(enrollment: Enrollment) -> Self {
        let Enrollment { tenant_id, edge_id, certificate_pem, ca_pem, mqtt_host, mqtt_port, not_after } = enrollment;
        Self {
            tenant_id: Text(tenant_id),
            edge_id: Text(edge_id),
            certificate_pem,
            ca_pem,
            mqtt_host,
            mqtt_port,
            not_after: time(not_after),
        }
    }
}

fn spent() -> Failure {
    let detail = "edge_secret: has been used already; rotate the edge's secret in the cloud and enrol with the new one";
    Failure::conflict(Some("edge_secret"), detail)
}

fn read_batch(batch: &EventBatch, caller: &EdgeCaller) -> Result<Vec<Incoming>, Failure> {
    if batch.events.is_empty() || batch.events.len() > MAX_BATCH_EVENTS {
        return Err(Failure::unacceptable("events", format!("must be 1 to {MAX_BATCH_EVENTS}")));
    }
    let received_at = clock::now();
    let read = |(place, event): (usize, &RawValue)| {
        let message = read_event(event, &caller.edge_id)
            .map_err(|reason| Failure::unacceptable(&format!("events[{place}]"), reason))?;
        Ok(Incoming { tenant: caller.tenant, edge: caller.edge, received_at, message })
    };
    batch.events.iter().map(Box::as_ref).enumerate().map(read).collect()
}

fn read_event(event: &RawValue, edge_id: &EdgeId) -> Result<Message, String> {
    /// Over MQTT the topic says the kind.
    #[derive(Deserialize)]
    struct Kind {
        kind: String,
    }
    if event.get().len() > MAX_PAYLOAD_BYTES {
        return Err(format!("may have at most {MAX_PAYLOAD_BYTES} bytes"));
    }
    let Kind { kind } = serde_json::from_str(event.get()).map_err(|error| format!("not an envelope: {error}"))?;
    let kind: UpKind = kind.parse().map_err(|_| format!("kind: {kind:?} is not known"))?;
    if !kind.is_durable() {
        return Err(format!("kind: {} does not travel in envelopes", kind.as_str()));
    }
    read_message(kind, event.get().as_bytes(), edge_id).map_err(|error| error.to_string())
}

/// The outbox of a batch and its last place. An acknowledgement is one number, so the batch must be of one outbox
/// and in order.
fn one_outbox(batch: &[Incoming]) -> Result<(OutboxId, u64), Failure> {
    let places: Vec<_> = batch.iter().map(|incoming| place(&incoming.message)).collect();
    let in_order = places.is_sorted_by(|(outbox, seq), (next_outbox, next)| outbox == next_outbox && seq < next);
    match places.last() {
        Some((outbox, seq)) if in_order => Ok(((*outbox).clone(), *seq)),
        _ => Err(Failure::unacceptable("events", "must be of one outbox, with rising seq")),
    }
}

fn place(message: &Message) -> (&OutboxId, u64) {
    match message {
        Message::Known(envelope) => (&envelope.outbox, envelope.seq),
        Message::Unreadable { outbox, seq, .. } => (outbox, *seq),
    }
}
