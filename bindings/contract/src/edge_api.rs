//! What an edge says to the cloud over HTTPS: enrolment, renewal and the backup way for events. Files have their own
//! module, [`crate::media`].
//!
//! | request | body | answer |
//! | --- | --- | --- |
//! | `POST /api/edge/enroll` | [`EnrollRequest`] | [`Enrollment`] |
//! | `POST /api/edge/renew` with a bearer token | [`RenewRequest`] | [`Enrollment`] |
//! | `POST /api/edge/events` with a bearer token | [`EventBatch`] | [`crate::ack::Ack`] |
//!
//! The bearer token is a JWT of [`TokenClaims`], ES256, signed with the device key; its header's `x5t#S256` is
//! the base64url SHA-256 of the edge's certificate, by which the cloud finds the key to check it with.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::id::{EdgeId, TenantId};
use crate::time::UtcMillis;

/// The `aud` claim of edge tokens.
pub const TOKEN_AUDIENCE: &str = "aivms-cloud";
/// Longest life of an edge token in seconds; the cloud refuses longer ones.
pub const TOKEN_LIFETIME_S: u64 = 300;

/// Asks for the first certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrollRequest {
    /// The edge, as shown at registration.
    pub edge_id: EdgeId,
    /// The one-time secret, as shown at registration; spent by a success.
    pub edge_secret: String,
    /// A PKCS #10 request in PEM, signed with a P-256 key made on the device. Its subject is ignored.
    pub csr_pem: String,
}

/// Asks for the next certificate; authenticated by the current one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewRequest {
    /// As in [`EnrollRequest`].
    pub csr_pem: String,
}

/// An edge's identity and where to use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrollment {
    /// The tenant the edge belongs to.
    pub tenant_id: TenantId,
    /// The edge.
    pub edge_id: EdgeId,
    /// The certificate in PEM.
    pub certificate_pem: String,
    /// The certificates that sign the cloud's MQTT server, in PEM.
    pub ca_pem: String,
    /// Host name or address of the MQTT front, as in its certificate.
    pub mqtt_host: String,
    /// TCP port of the MQTT front.
    pub mqtt_port: u16,
    /// End of the certificate's life; edges renew at two thirds.
    pub not_after: UtcMillis,
}

/// Claims of an edge's bearer token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenClaims {
    /// The edge's identity URN, [`crate::identity::Identity`].
    pub sub: String,
    /// [`TOKEN_AUDIENCE`].
    pub aud: String,
    /// Seconds since 1970 when it was made.
    pub iat: u64,
    /// Seconds since 1970 when it ends, at most [`TOKEN_LIFETIME_S`] after `iat`.
    pub exp: u64,
}

/// Envelopes of one outbox in order, when MQTT can't connect.
#[derive(Debug, Deserialize, Serialize)]
pub struct EventBatch {
    /// At most [`crate::limits::MAX_BATCH_EVENTS`] [`crate::envelope::Envelope`]s, as they would travel over MQTT.
    pub events: Vec<Box<RawValue>>,
}
