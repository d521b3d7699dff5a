//! Tells by which masks something was made that waits to leave.

use aivms_contract::geometry::Polygon;
use aivms_contract::media::Sha256Hex;
use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

/// A fingerprint of the masks that are burned into something; the default is that there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(Option<Sha256Hex>);

impl Hidden {
    /// The fingerprint of `masks`, of which there is at least one.
    pub(super) fn by(masks: &[Polygon]) -> Self {
        let corners = serde_json::to_vec(masks).unwrap_or_else(|_| format!("{masks:?}").into_bytes());
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &corners).as_ref());
        Self(Some(Sha256Hex::from_bytes(hash)))
    }

    /// Whether nothing is hidden.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.0.is_none()
    }
}
