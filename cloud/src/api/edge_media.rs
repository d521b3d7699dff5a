//! Files of clips and snapshots from edges, in pieces. The wire is [`aivms_contract::media`].

use std::sync::Arc;

use aivms_contract::id::{CameraId, EventId};
use aivms_contract::identity::Identity;
use aivms_contract::media::{MediaId, MediaKind, MediaOffer, MediaProgress, Sha256Hex};
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::{Binary, Json};
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object, OpenApi};

use super::edge_devices::Documented;
use super::edge_token::{EdgeCaller, SignedByEdge};
use super::failure::Failure;
use super::values::{Body, Text, TextForm, Time, time};
use super::{Services, Tags};
use crate::media::{MediaError, Sender};
use crate::store::StoreError;

pub(super) struct EdgeMediaApi(pub Arc<Services>);

/// A file that an edge has for the cloud.
#[derive(Object)]
#[oai(write_only_all, rename = "MediaOffer", example)]
#[expect(dead_code, reason = "describes the contract's type in the document")]
struct OfferForm {
    /// What it is.
    kind: Kind,
    /// The clip or snapshot: the id its event carries.
    media_id: Text<MediaId>,
    /// The camera that filmed it.
    camera_id: Text<CameraId>,
    /// All bytes of the file.
    #[oai(validator(minimum(value = "1")))]
    size_bytes: u64,
    /// SHA-256 of the file in hexadecimal.
    sha256: Text<Sha256Hex>,
    /// `video/mp4` for a clip, `image/jpeg` for a snapshot.
    content_type: Form,
    /// Wall time of its first picture.
    captured_at: Text<Time>,
    /// The event it was made for.
    #[oai(nullable)]
    event_id: Option<Text<EventId>>,
}

/// What a file is.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "snake_case", rename = "MediaKind")]
enum Kind {
    /// A span of video.
    Clip,
    /// A picture.
    Snapshot,
}

/// The forms of files that are taken.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename = "MediaType")]
enum Form {
    /// MP4.
    #[oai(rename = "video/mp4")]
    Mp4,
    /// JPEG.
    #[oai(rename = "image/jpeg")]
    Jpeg,
}

/// How much of a file is here.
#[derive(Debug, Object)]
#[oai(rename = "MediaProgress", example)]
struct ProgressAnswer {
    /// Bytes from the beginning on: where the next piece begins.
    offset: u64,
    /// Whether it has been checked and stored, so that the edge may delete its own. While all bytes are here and this
    /// is false, ask again by offering it.
    stored: bool,
}

#[OpenApi(prefix_path = "/api/edge/media", tag = "Tags::EdgeDevices")]
impl EdgeMediaApi {
    /// Offer a file
    ///
    /// Also one that was offered before: the answer says where to go on. 409: another file has this id. 413: larger
    /// than any that is taken. 422 after the last byte: what arrived does not have the SHA-256 that was offered and is
    /// forgotten. 507: the tenant's quota or the disk is full.
    #[oai(path = "/", method = "post", operation_id = "offer_media")]
    async fn offer(
        &self,
        caller: SignedByEdge,
        body: Body<Documented<MediaOffer, OfferForm>>,
    ) -> Result<Json<ProgressAnswer>, Failure> {
        let progress = self.0.media.offer(&sender(caller), body.0.0).await?;
        Ok(Json(progress.into()))
    }

    /// Send a piece of a file
    ///
    /// The bytes from `offset` on, at most 1 MiB. What is here already is skipped, and a piece that comes too early is
    /// not taken; the answer says where to go on. 404: offer the file first.
    #[oai(path = "/:kind/:media_id", method = "patch", operation_id = "send_media")]
    async fn send(
        &self,
        caller: SignedByEdge,
        /// `clip` or `snapshot`.
        kind: Path<Text<MediaKind>>,
        /// As offered.
        media_id: Path<Text<MediaId>>,
        /// Where the piece begins.
        offset: Query<u64>,
        piece: Binary<Vec<u8>>,
    ) -> Result<Json<ProgressAnswer>, Failure> {
        let (Text(kind), Text(media_id)) = (kind.0, media_id.0);
        let progress = self.0.media.piece(&sender(caller), kind, &media_id, offset.0, piece.0.into()).await?;
        Ok(Json(progress.into()))
    }
}

fn sender(caller: SignedByEdge) -> Sender {
    let SignedByEdge(EdgeCaller { tenant, edge, edge_id, certificate, .. }) = caller;
    let Identity { tenant: tenant_id, .. } = certificate.identity;
    Sender { tenant, tenant_id, edge, edge_id }
}

impl From<MediaProgress> for ProgressAnswer {
    fn from(progress: MediaProgress) -> Self {
        Self { offset: progress.offset, stored: progress.stored }
    }
}

impl From<MediaError> for Failure {
    fn from(error: MediaError) -> Self {
        match error {
            MediaError::Store(StoreError::Taken(field)) => {
                Self::conflict(Some(field), format!("{field}: another file was offered under this id"))
            }
            MediaError::Store(error) => error.into(),
            MediaError::TooLarge(limit) => Self::file_too_large(limit),
            MediaError::Offer(problem) => {
                let (field, _) = problem.split_once(':').unwrap_or((problem, ""));
                Self::bad_request(Some(field), problem)
            }
            MediaError::Beyond => Self::bad_request(Some("offset"), format!("offset: {error}")),
            MediaError::Damaged => Self::unacceptable("sha256", error),
            MediaError::NoRoom => {
                tracing::error!("clip_upload_dir, data_dir: no room for files of edges; they wait, free some room");
                Self::no_room(error.to_string())
            }
            MediaError::Staging(_) | MediaError::Objects(_) | MediaError::NoAnswer | MediaError::Defect => {
                tracing::error!(%error, "a file can't be stored or read");
                Self::internal()
            }
        }
    }
}

impl Example for OfferForm {
    fn example() -> Self {
        Self {
            kind: Kind::Clip,
            media_id: Text("clip_01kb3x0v7t5m9q2r8s4w6y1z3a".parse().expect("the example is an id")),
            camera_id: Text(CameraId::EXAMPLE.parse().expect("the example is an id")),
            size_bytes: 5_242_880,
            sha256: Text(Sha256Hex::from_bytes([0x9f; 32])),
            content_type: Form::Mp4,
            captured_at: time(Time::EXAMPLE.parse::<Time>().expect("the example is a time").0),
            event_id: Some(Text(EventId::EXAMPLE.parse().expect("the example is an id"))),
        }
    }
}

impl Example for ProgressAnswer {
    fn example() -> Self {
        Self { offset: 1_048_576, stored: false }
    }
}
