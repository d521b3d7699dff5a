//! Files for the cloud, as [`aivms_contract::media`] describes them.

use std::time::Duration;

use aivms_contract::media::{MediaId, MediaKind, MediaOffer, MediaProgress};
use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;

use super::{Cloud, CloudError};

/// Longest wait for the answer to a piece. Pieces are cut so that the line moves one in seconds; on a line that has
/// become a hundred times slower the next one is smaller.
const PIECE_TIMEOUT: Duration = Duration::from_secs(60);

impl Cloud {
    /// Offers a file and returns how much of it the cloud has.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn offer_media(&self, token: &str, offer: &MediaOffer) -> Result<MediaProgress, CloudError> {
        self.post("api/edge/media", Some(token), offer).await
    }

    /// Sends a piece of a file that was offered and returns how much of it the cloud has.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn send_media(
        &self,
        token: &str,
        kind: MediaKind,
        id: &MediaId,
        offset: u64,
        piece: Bytes,
    ) -> Result<MediaProgress, CloudError> {
        let mut url = self.endpoint(&format!("api/edge/media/{kind}/{id}"));
        url.query_pairs_mut().append_pair("offset", &offset.to_string());
        let request = self.http.patch(url.clone()).bearer_auth(token).timeout(PIECE_TIMEOUT);
        self.answer(url, request.header(CONTENT_TYPE, "application/octet-stream").body(piece)).await
    }
}
