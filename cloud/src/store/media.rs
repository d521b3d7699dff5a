//! Files of clips and snapshots, as the database knows them.

use aivms_contract::id::{CameraId, EdgeId, EventId};
use aivms_contract::media::{MediaId, MediaKind, MediaOffer, MediaType, Sha256Hex};
use aivms_contract::time::UtcMillis;

use super::{EdgeKey, TenantKey};

/// A file's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaKey(pub(crate) i64);

/// A file that an edge offers.
#[derive(Debug, Clone)]
pub struct OfferedMedia {
    /// The tenant of the edge.
    pub tenant: TenantKey,
    /// Who offers it.
    pub edge: EdgeKey,
    /// The file.
    pub offer: MediaOffer,
    /// Its place in the folder or bucket.
    pub object: String,
    /// Most bytes of the tenant's files together.
    pub quota_bytes: u64,
}

/// A file as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// Its row.
    pub key: MediaKey,
    /// Its tenant's row.
    pub tenant: TenantKey,
    /// Its edge.
    pub edge_id: EdgeId,
    /// What it is.
    pub kind: MediaKind,
    /// The clip's or snapshot's id.
    pub media_id: MediaId,
    /// The camera that filmed it.
    pub camera_id: CameraId,
    /// All bytes of the file.
    pub size: u64,
    /// What the file has.
    pub sha256: Sha256Hex,
    /// Its form.
    pub content_type: MediaType,
    /// Wall time of its first picture.
    pub captured_at: UtcMillis,
    /// The event it was made for.
    pub event_id: Option<EventId>,
    /// Its place in the folder or bucket.
    pub object: String,
    /// When it was put where it stays; `None` before.
    pub stored_at: Option<UtcMillis>,
}

impl Media {
    /// Whether `offer` is of this very file.
    #[must_use]
    pub fn is(&self, offer: &MediaOffer) -> bool {
        (self.size, &self.sha256, self.content_type) == (offer.size_bytes, &offer.sha256, offer.content_type)
    }
}
