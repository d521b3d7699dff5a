//! The envelope of everything durable: what lets the cloud store a message at most once.

use serde::{Deserialize, Serialize};

use crate::VERSION;
use crate::alert::Alert;
use crate::clip::Clip;
use crate::detection::Detection;
use crate::footage::Footage;
use crate::health::Health;
use crate::id::{CameraId, EdgeId, EventId, OutboxId};
use crate::snapshot::Snapshot;
use crate::time::UtcMillis;
use crate::topic::UpKind;
use crate::zone_event::ZoneEvent;

/// Largest sequence number: databases keep it in 63 bits.
pub const MAX_SEQ: u64 = i64::MAX as u64;

/// A durable message with its identity.
///
/// The cloud stores at most one message per `(edge, outbox, seq)`; the edge keeps the message on disk until
/// an [`crate::ack::Ack`] covers `seq`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// Version of the envelope, [`VERSION`].
    pub v: u8,
    /// The event; its time part equals `at`.
    pub id: EventId,
    /// Who says it; must be the connection's own identity.
    pub edge: EdgeId,
    /// The outbox `seq` counts in.
    pub outbox: OutboxId,
    /// Position in the outbox, 1 to [`MAX_SEQ`], never used twice.
    pub seq: u64,
    /// When it happened, by media time mapped to UTC.
    pub at: UtcMillis,
    /// The message itself.
    #[serde(flatten)]
    pub body: Body,
}

/// A durable message; in JSON two fields beside each other, `kind` and `body`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "body", rename_all = "kebab-case")]
pub enum Body {
    /// A track was confirmed, changed or ended.
    Detections(Detection),
    /// A track entered, left, crossed or dwelt in a zone.
    ZoneEvents(ZoneEvent),
    /// The edge itself raised an alert.
    Alerts(Alert),
    /// State of the edge.
    Health(Health),
    /// A clip is ready.
    Clips(Clip),
    /// A snapshot is ready.
    Snapshots(Snapshot),
    /// Something happened to footage.
    Footage(Footage),
}

/// Says why bytes on a durable topic are not an acceptable envelope.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Not JSON of the envelope's form.
    #[error("not an envelope: {0}")]
    Json(#[from] serde_json::Error),
    /// A version this program does not know.
    #[error("v: version {0} is not known")]
    Version(u8),
    /// `id` and `at` disagree.
    #[error("id: its time part is not `at`")]
    IdTime,
    /// Sequence numbers run from 1 to [`MAX_SEQ`].
    #[error("seq: must be 1 to 9223372036854775807")]
    Seq,
}

impl Body {
    /// The topic kind this message travels on.
    #[must_use]
    pub fn kind(&self) -> UpKind {
        match self {
            Self::Detections(_) => UpKind::Detections,
            Self::ZoneEvents(_) => UpKind::ZoneEvents,
            Self::Alerts(_) => UpKind::Alerts,
            Self::Health(_) => UpKind::Health,
            Self::Clips(_) => UpKind::Clips,
            Self::Snapshots(_) => UpKind::Snapshots,
            Self::Footage(_) => UpKind::Footage,
        }
    }

    /// The camera it is about; `None` for health, which is about the edge and all its cameras.
    #[must_use]
    pub fn camera(&self) -> Option<&CameraId> {
        match self {
            Self::Detections(body) => Some(&body.camera_id),
            Self::ZoneEvents(body) => Some(&body.camera_id),
            Self::Alerts(body) => Some(&body.camera_id),
            Self::Health(_) => None,
            Self::Clips(body) => Some(&body.camera_id),
            Self::Snapshots(body) => Some(&body.camera_id),
            Self::Footage(body) => Some(&body.camera_id),
        }
    }

    /// When it happened.
    #[must_use]
    pub fn at(&self) -> UtcMillis {
        match self {
            Self::Detections(body) => body.timestamp,
            Self::ZoneEvents(body) => body.timestamp,
            Self::Alerts(body) => body.timestamp,
            Self::Health(body) => body.timestamp,
            Self::Clips(body) => body.start,
            Self::Snapshots(body) => body.timestamp,
            Self::Footage(body) => body.timestamp,
        }
    }
}

impl Envelope {
    /// Wraps `body` for place `seq` of `outbox`; `entropy` gives the low 80 bits of the event id.
    #[must_use]
    pub fn new(edge: EdgeId, outbox: OutboxId, seq: u64, body: Body, entropy: u128) -> Self {
        let at = body.at();
        Self { v: VERSION, id: EventId::from_parts(at, entropy), edge, outbox, seq, at, body }
    }

    /// Reads and checks an envelope.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn from_json(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let envelope: Self = serde_json::from_slice(bytes)?;
        if envelope.v != VERSION {
            return Err(EnvelopeError::Version(envelope.v));
        }
        if !(1..=MAX_SEQ).contains(&envelope.seq) {
            return Err(EnvelopeError::Seq);
        }
        if envelope.id != EventId::from_parts(envelope.at, u128::from_be_bytes(envelope.id.to_bytes())) {
            return Err(EnvelopeError::IdTime);
        }
        Ok(envelope)
    }

    /// The JSON that travels.
    ///
    /// # Panics
    /// Never: no type of the contract has a failing serialiser or a non-text map key.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("contract types always serialise")
    }
}
